"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapters import (  # noqa: I001  (their order)
    samples,
    profiles,
    cells,
    power,
    challenge,
)

__all__ = ["cells", "challenge", "power", "profiles", "samples"]
