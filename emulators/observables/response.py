"""Energy of each layer against incident energy: mean and width in bins.

Bins of incident energy, and of any other condition, hold equally much of the reference:
`distances.quantile_edges`, up to `BINS` of them.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from emulators.data.spec import MEV_PER_GEV, ShowerGeometry
from emulators.observables.showers import Array

__all__ = ["BINS", "MINIMUM", "bin_numbers", "binned_moments", "deviation_sizes", "responses"]

BINS = 10
MINIMUM = 20  # showers of either sample below which a bin is left empty


def bin_numbers(values: npt.ArrayLike, edges: Array) -> npt.NDArray[np.int64]:
    """Return in which bin each value is, ``[edge, next edge)``; -1 outside of all."""
    where = np.searchsorted(edges, values, side="right") - 1
    return np.where(where < len(edges) - 1, where, -1)


def responses(
    found: Mapping[str, Array],
    geometry: ShowerGeometry,
    incident_energy: npt.NDArray[np.floating],
) -> Array:
    """Return E_layer / E_inc of every layer, then E_tot / E_inc, shape ``(n, layers + 1)``."""
    names = [f"energy_{layer.name}" for layer in geometry.layers] + ["energy_total"]
    energy = np.asarray(incident_energy, np.float64) * MEV_PER_GEV
    return np.stack([found[name] for name in names], 1) / energy[:, None]


def binned_moments(rows: Array, bins: int) -> Array:
    """Return means and standard deviations of columns in bins, shape ``(2, columns, bins)``.

    Parameters
    ----------
    rows
        Shape ``(n, columns + 1)``; the last column is the number of the bin, -1 outside of all.
    bins
        How many there are; one with fewer than `MINIMUM` rows has NaN.
    """
    x, where = rows[:, :-1], rows[:, -1]
    inside = (where == np.arange(bins)[:, None]).astype(np.float64)
    counts = inside.sum(1)[:, None]
    counts = np.where(counts < MINIMUM, np.nan, counts)
    # squares of differences from a value that is near: no digits are lost in small widths
    near = x.mean(0)
    mean = inside @ (x - near) / counts
    square = inside @ (x - near) ** 2 / counts - mean**2
    width = np.sqrt(np.clip(square, 0, None) * counts / (counts - 1))
    return np.stack([(mean + near).T, width.T])


def deviation_sizes(first: Array, second: Array, scale: Array, tolerance: float) -> Array:
    """Return how large the relative deviations of moments are, ``(2, columns + 3)``.

    Of means and of widths: the mean size over columns and bins, that of each column, the largest,
    and the share of those that are within a tolerance.  Bins without a deviation do not count; a
    column that has none at all is NaN.

    Parameters
    ----------
    first, second
        What `binned_moments` gave; the second is the reference.
    scale
        What differences of means are divided by, ``(columns,)``; NaN: by the reference.
    tolerance
        Size of a deviation that is within.
    """
    divisor = np.stack([scale, np.full_like(scale, np.nan)])[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.abs((first - second) / np.where(np.isnan(divisor), second, divisor))
        counted = np.isfinite(sizes)
        sizes, n = np.where(counted, sizes, 0.0), counted.sum(2)
        columns = np.where(n > 0, sizes.sum(2) / n, np.nan)
        whole = sizes.sum((1, 2)) / n.sum(1)
        within = (counted & (sizes <= tolerance)).sum((1, 2)) / n.sum(1)
    return np.column_stack([whole, columns, sizes.max((1, 2)), within])
