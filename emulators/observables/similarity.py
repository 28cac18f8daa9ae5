"""How alike fields are, pair by pair: multi-scale structural similarity, for mode collapse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from emulators.errors import InputError
from emulators.observables.spectra import pieces

__all__ = ["ms_ssim"]

Array = npt.NDArray[np.float64]
WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # of the scales, finest first
WIDTH, REACH = 1.5, 5  # Gaussian window of 11 cells


def ms_ssim(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    data_range: float,
    periodic: Sequence[bool],
) -> Array:
    """Return the multi-scale structural similarity of each pair of fields, 1 where they are equal.

    Wang, Simoncelli and Bovik 2003, eq. 7: means are compared at the coarsest scale, contrast and
    structure at all.  Scales halve the grid while it holds the window of 11 cells; where fewer than
    five fit (below 176 cells), the first of the five weights are normalised to one.  A negative
    mean of contrast and structure counts as 0.

    Parameters
    ----------
    first, second
        Shape ``(n, *cells)``; counts as ``log10(1 + count)``, or a few haloes decide everything.
    data_range
        Largest minus smallest value: of the reference, and the same for all comparisons.
    periodic
        Which axes come round again; along others only places where the window fits are used.
    """
    if first.shape != second.shape or min(first.shape[1:]) < 2 * REACH + 1:
        raise InputError(
            f"similarity of fields of shapes {first.shape} and {second.shape}: they must be equal "
            f"and hold {2 * REACH + 1} cells along each axis"
        )
    if not data_range > 0:
        raise InputError(f"similarity with a data range of {data_range}: it must be positive")
    return np.concatenate(
        [_ms_ssim(a, b, data_range, periodic) for a, b in zip(pieces(first), pieces(second))]
    )


def _ms_ssim(
    a: npt.NDArray[Any], b: npt.NDArray[Any], data_range: float, periodic: Sequence[bool]
) -> Array:
    a, b = a.astype(np.float64), b.astype(np.float64)
    axes = tuple(range(1, a.ndim))
    scales = min(len(WEIGHTS), int(np.log2(min(a.shape[1:]) / (2 * REACH + 1))) + 1)
    weights = WEIGHTS[:scales] / WEIGHTS[:scales].sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    inner = (slice(None), *(slice(None) if p else slice(REACH, -REACH) for p in periodic))

    def local(values: Array) -> Array:
        """Return the mean of values within the window around each place where it fits."""
        width, reach = [0.0, *[WIDTH] * len(axes)], [0, *[REACH] * len(axes)]
        return np.asarray(ndimage.gaussian_filter(values, width, mode="wrap", radius=reach)[inner])

    similarity = np.ones(len(a))
    for scale, weight in enumerate(weights):
        means = local(a), local(b)
        variances = local(a * a) - means[0] ** 2 + local(b * b) - means[1] ** 2
        joint = local(a * b) - means[0] * means[1]
        found = (2 * joint + c2) / (variances + c2)
        if scale == scales - 1:
            found = found * (2 * means[0] * means[1] + c1) / (means[0] ** 2 + means[1] ** 2 + c1)
        similarity *= np.clip(found.mean(axes), 0, None) ** weight
        a, b = _halved(a), _halved(b)
    return similarity


def _halved(values: Array) -> Array:
    """Average neighbouring cells two by two along every axis; an odd last cell is left out."""
    for axis in range(1, values.ndim):
        values = np.moveaxis(values, axis, 0)
        even = len(values) // 2 * 2
        values = np.moveaxis((values[:even:2] + values[1:even:2]) / 2, 0, axis)
    return values
