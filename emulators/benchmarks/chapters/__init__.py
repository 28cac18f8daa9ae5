"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapters import (  # noqa: I001  (their order)
    samples,
    profiles,
    cells,
    power,
    classifiers,
    faults,
    challenge,
    worth,
)

__all__ = [
    "cells",
    "challenge",
    "classifiers",
    "faults",
    "power",
    "profiles",
    "samples",
    "worth",
]
