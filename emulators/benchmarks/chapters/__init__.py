"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapters import (  # noqa: I001  (their order)
    samples,
    profiles,
    cells,
    power,
    classifiers,
    faults,
    worth,
)

__all__ = ["cells", "classifiers", "faults", "power", "profiles", "samples", "worth"]
