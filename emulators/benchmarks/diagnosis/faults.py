"""What every check for a fault shares: its result, what counts as chance, bins of energy.

A fault is named where it exceeds its limit by more than chance allows. All checks of one report
together name a fault of an independent sample with a probability below `CHANCE`: each family of
checks gets an equal part of it, divided among the numbers that the family looks at.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc
from scipy.stats import norm

from emulators.observables.distances import quantile_edges
from emulators.observables.showers import Array

__all__ = [
    "CHANCE",
    "FAMILIES",
    "Finding",
    "at_full",
    "beyond",
    "depth_strata",
    "energy_strata",
    "more_often",
    "share_error",
    "untested",
]

CHANCE = 0.01  # that any fault is named where there is none
FAMILIES = (
    "missing showers",
    "duplicates",
    "memorised",
    "noise",
    "energy scale",
    "lateral width",
    "small deposits",
    "smearing",
)
STRATA = 10  # bins of incident energy
DEPTH_STRATA = 5  # of depth in each of them
MINIMUM = 20  # showers of either sample in one

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Finding:
    """One check for a fault.

    Parameters
    ----------
    fault
        Its family, one of `FAMILIES`.
    part
        Where it was looked for: ``whole shower``, ``layer 0``...
    value, error
        How large it is, and its standard error; pure numbers.
    floor
        The mean size of the same number between two parts of the reference, at this n; None where
        these are too small to tell.
    reach
        From what size on this n would name it.
    n
        Showers on each side, generated and reference.
    named
        Whether it exceeds its limit by more than chance.
    text
        What that means, in words; of one that is not named empty.
    """

    fault: str
    part: str
    value: float
    error: float
    floor: float | None
    reach: float
    n: tuple[int, int]
    named: bool
    text: str


def untested(fault: str, part: str, n: tuple[int, int], text: str) -> Finding:
    """Return a check that could not be made, and why."""
    return Finding(fault, part, np.nan, np.nan, None, np.nan, n, False, text)


def at_full(n: tuple[int, int], half: int) -> float:
    """Return what brings the size of a difference of two halves to samples of ``n``."""
    return float(np.sqrt((1 / n[0] + 1 / n[1]) * half / 2))


def beyond(numbers: int, sides: int = 2) -> float:
    """Return how many standard errors are no chance, for one of so many numbers of a family."""
    return float(norm.isf(CHANCE / len(FAMILIES) / numbers / sides))


def more_often(counts: tuple[int, int], n: tuple[int, int]) -> float:
    """Return the chance that the first sample has so many, were both equally likely to have them.

    Exact, given the sum of the two counts.
    """
    total = sum(counts)
    return float(bdtrc(counts[0] - 1, total, n[0] / sum(n))) if counts[0] else 1.0


def share_error(count: int, n: int) -> float:
    """Return the standard error of a share, which is not 0 where the count is 0."""
    share = (count + 0.5) / (n + 1)
    return float(np.sqrt(share * (1 - share) / n))


def energy_strata(reference: Array, generated: Array) -> tuple[Rows, Rows]:
    """Return in which bin of incident energy each shower is, -1 where a bin is too thin to use.

    Parameters
    ----------
    reference, generated
        Incident energies, GeV.  The bins hold equally many reference showers.
    """
    edges = _edges(reference, generated, STRATA)
    return _used(edges, reference, generated)


def depth_strata(energies: tuple[Array, Array], depths: tuple[Array, Array]) -> tuple[Rows, Rows]:
    """Return in which bin of incident energy and depth each shower is, as `energy_strata`.

    Parameters
    ----------
    energies, depths
        Of reference and generated showers; each bin of energy is divided by depth.
    """
    outer = energy_strata(*energies)
    inner = np.full(len(outer[0]), -1), np.full(len(outer[1]), -1)
    for b in np.unique(outer[0][outer[0] >= 0]):
        rows = [np.flatnonzero(o == b) for o in outer]
        reference, generated = (d[r] for d, r in zip(depths, rows))
        # The outer bins are open: without what lies beyond the reference, the rest is no fair one.
        edges = np.concatenate(
            [[-np.inf], _edges(reference, generated, DEPTH_STRATA)[1:-1], [np.inf]]
        )
        for target, r, bins in zip(inner, rows, _used(edges, reference, generated)):
            target[r] = np.where(bins >= 0, b * DEPTH_STRATA + bins, -1)
    return inner


def _edges(reference: Array, generated: Array, most: int) -> Array:
    """Return edges of bins that hold equally many of the reference, enough of both on average."""
    fewer = min(len(reference), len(generated))
    return quantile_edges(reference, max(1, min(most, fewer // (2 * MINIMUM))))


def _used(edges: Array, reference: Array, generated: Array) -> tuple[Rows, Rows]:
    bins = len(edges) - 1
    inside = [np.searchsorted(edges, x, side="right") - 1 for x in (reference, generated)]
    inside = [np.where((b >= 0) & (b < bins), b, -1) for b in inside]
    counts = [np.bincount(b[b >= 0], minlength=bins) for b in inside]
    used = np.append(np.minimum(*counts) >= MINIMUM, False)  # the last entry is that of -1
    first, second = (np.where(used[b], b, -1) for b in inside)
    return first, second
