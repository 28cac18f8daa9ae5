"""The questions of a report, one a module, in the order in which a page has them."""

from importlib import import_module

from emulators.benchmarks.chapter import CHAPTERS, Chapter

__all__ = ["MODULES", "chapters_of"]

MODULES = (
    "samples",
    "response",
    "observables",
    "profiles",
    "cells",
    "average",
    "pictures",
    "power",
    "conditions",
    "one_point",
    "bispectra",
    "minkowski",
    "classifiers",
    "conditional",
    "correlations",
    "critic",
    "features",
    "copies",
    "similarity",
    "scores",
    "faults",
    "challenge",
    "worth",
)
for _module in MODULES:  # each registers its chapters
    import_module(f"{__name__}.{_module}")


def chapters_of(kind: str) -> list[Chapter]:
    """Return the chapters for a kind of sample, in the order of a report."""
    return [c for c in CHAPTERS.values() if kind in c.kinds]
