"""The chapters of a report, in its order; importing this package registers them."""

from emulators.benchmarks.chapters import samples, profiles, cells  # noqa: I001  (their order)

__all__ = ["cells", "profiles", "samples"]
