"""Minkowski functionals of the cells above a threshold, in two and three dimensions.

The set is the union of the closed cells at or above the threshold (cells that touch in a corner are
connected).  It is a complex of cells, faces, edges and vertices, and its intrinsic volumes follow
from the number of each: an open box with sides ``a_i`` along the axes ``S`` adds
``(-1)^(|S| - j) e_j(a)`` to ``V_j``, with ``e_j`` the elementary symmetric polynomial (the counts
of Michielsen and De Raedt 2001, Phys. Rep. 347, 461, for any shape of cell).

On a grid, boundaries run along the axes.  Over an isotropic boundary that is smooth on the scale of
a cell, a perimeter is ``4 / pi`` times the smooth one and a surface and a mean curvature 3/2 times;
area, volume and the Euler characteristic have no such factor.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.errors import InputError
from emulators.observables.spectra import pieces

__all__ = ["minkowski"]

Array = npt.NDArray[np.float64]


def minkowski(
    fields: npt.NDArray[Any],
    thresholds: Sequence[float] | Array,
    lengths: Sequence[float],
    periodic: Sequence[bool],
) -> Array:
    """Measure the Minkowski functionals of each field at each threshold.

    Parameters
    ----------
    fields
        Shape ``(n, *cells)``, two or three axes of cells.
    thresholds
        Rising, in the unit of the fields.
    lengths
        Of the sides, in any unit of length or angle.
    periodic
        Along which axes the field comes round again.  Where it does not, the end of the grid is no
        boundary: each count is a mean over the places that lie within.

    Returns
    -------
    Shape ``(n, thresholds, d + 1)``.  In 2-D: fraction of the area, perimeter per area
    (inverse length), Euler characteristic per area (its square).  In 3-D: fraction of the volume,
    surface per volume (inverse length), integral of the mean curvature per volume (its square),
    Euler characteristic per volume (its cube).
    """
    cells, d = fields.shape[1:], fields.ndim - 1
    levels = np.asarray(thresholds, np.float64)  # in single precision close ones would be equal
    if d not in (2, 3) or not len(lengths) == len(periodic) == d:
        raise InputError(f"fields of shape {fields.shape}: expected (n, *cells), 2 or 3 axes each")
    if (np.diff(levels) <= 0).any():
        raise InputError(f"thresholds {levels.tolist()} do not rise")
    sides = [length / n for length, n in zip(lengths, cells)]
    found = []
    for piece in pieces(fields):
        volumes = np.zeros((len(piece), len(levels), d + 1))
        for around in itertools.product((False, True), repeat=d):
            # A face is in the set where one of the cells around it is: the highest of them.
            highest = piece
            for axis in (axis for axis in range(d) if around[axis]):
                highest = _highest_of_two(highest, axis + 1, periodic[axis])
            share = _share_above(highest, levels)
            extent = [a for a, across in zip(sides, around) if not across]
            for j in range(len(extent) + 1):
                measure = sum(math.prod(a) for a in itertools.combinations(extent, j))
                volumes[..., j] += (-1) ** (len(extent) - j) * measure * share
        found.append(volumes / math.prod(sides))
    # V_0 = Euler, V_d = volume; 2 V_(d-1) = boundary; pi V_1 = integral of the mean curvature
    factors = [1.0, 2.0, 1.0] if d == 2 else [1.0, 2.0, math.pi, 1.0]
    return np.asarray(np.concatenate(found)[..., ::-1] * factors)


def _highest_of_two(values: npt.NDArray[Any], axis: int, periodic: bool) -> npt.NDArray[Any]:
    """Return the higher of each cell and the one before it along an axis."""
    if periodic:
        return np.asarray(np.maximum(values, np.roll(values, 1, axis)))
    after, before = (
        values[(slice(None),) * axis + (part,)] for part in (slice(1, None), slice(-1))
    )
    return np.asarray(np.maximum(after, before))


def _share_above(values: npt.NDArray[Any], levels: npt.NDArray[Any]) -> Array:
    """Return the share of values at or above each level, of each field, ``(n, levels)``."""
    bins = np.searchsorted(levels, values.reshape(len(values), -1), side="right")
    counts = np.stack([np.bincount(row, minlength=len(levels) + 1) for row in bins])
    return np.asarray(counts[:, ::-1].cumsum(1)[:, -2::-1] / bins.shape[1])
