"""The questions of a report, one a module, in the order in which a page has them."""

from emulators.benchmarks.chapters import (  # noqa: I001  (their order)
    samples,
    profiles,
    cells,
    pictures,
    power,
    conditions,
    one_point,
    bispectra,
    minkowski,
    copies,
    similarity,
    scores,
)

__all__ = [
    "bispectra",
    "cells",
    "conditions",
    "copies",
    "minkowski",
    "one_point",
    "pictures",
    "power",
    "profiles",
    "samples",
    "scores",
    "similarity",
]
