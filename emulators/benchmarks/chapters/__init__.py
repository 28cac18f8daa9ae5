"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapters import (  # noqa: I001  (their order)
    samples,
    response,
    profiles,
    cells,
    power,
)

__all__ = ["cells", "power", "profiles", "response", "samples"]
