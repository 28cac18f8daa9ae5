"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapters import (  # noqa: I001  (their order)
    samples,
    response,
    observables,
    profiles,
    cells,
    average,
    conditional,
    correlations,
    critic,
    features,
    power,
)

__all__ = [
    "average",
    "cells",
    "conditional",
    "correlations",
    "critic",
    "features",
    "observables",
    "power",
    "profiles",
    "response",
    "samples",
]
