"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapters import (  # noqa: I001  (their order)
    samples,
    response,
    observables,
    profiles,
    cells,
    average,
    power,
    classifiers,
    conditional,
    correlations,
    critic,
    features,
    faults,
    challenge,
    worth,
)

__all__ = [
    "average",
    "cells",
    "challenge",
    "classifiers",
    "conditional",
    "correlations",
    "critic",
    "faults",
    "features",
    "observables",
    "power",
    "profiles",
    "response",
    "samples",
    "worth",
]
