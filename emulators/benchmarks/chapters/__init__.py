"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapter import CHAPTERS, Chapter
from emulators.benchmarks.chapters import (
    average,
    bispectra,
    cells,
    challenge,
    classifiers,
    conditional,
    conditions,
    copies,
    correlations,
    critic,
    faults,
    features,
    minkowski,
    observables,
    one_point,
    pictures,
    power,
    profiles,
    response,
    samples,
    scores,
    similarity,
    worth,
)

__all__ = [
    "average",
    "bispectra",
    "cells",
    "challenge",
    "chapters_of",
    "classifiers",
    "conditional",
    "conditions",
    "copies",
    "correlations",
    "critic",
    "faults",
    "features",
    "minkowski",
    "observables",
    "one_point",
    "pictures",
    "power",
    "profiles",
    "response",
    "samples",
    "scores",
    "similarity",
    "worth",
]


def chapters_of(kind: str) -> list[Chapter]:
    """Return the chapters for a kind of sample, in the order of a report."""
    return [c for c in CHAPTERS.values() if kind in c.kinds]
