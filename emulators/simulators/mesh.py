"""Particles to fields: mass assignment, slabs, smoothing.

All boxes are periodic.  Positions are in units of the box, 0 to 1, in any precision; cell ``i`` of
``n`` reaches from ``i/n`` to ``(i+1)/n``.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

__all__ = ["ORDERS", "assign", "coarsen", "project", "smooth"]

Array = npt.NDArray[np.float64]
Assignment = Literal["NGP", "CIC", "TSC"]

# Cells that a particle is shared by along each axis; its cloud is as many top hats, convolved.
ORDERS: dict[Assignment, int] = {"NGP": 1, "CIC": 2, "TSC": 3}
BLOCK = 1 << 22  # particles at once: bounds the memory


def assign(
    positions: npt.NDArray[Any], cells: Sequence[int], orders: int | Sequence[int] = 1
) -> Array:
    """Share unit masses among the cells of a periodic mesh (Hockney and Eastwood 1981, ch. 5).

    Parameters
    ----------
    positions
        Shape ``(n, d)``, in units of the box.
    cells
        Numbers of cells along the ``d`` axes.
    orders
        1 nearest grid point, 2 cloud in cell, 3 triangular-shaped cloud; one, or one an axis.

    Returns
    -------
    Mass in each cell, of shape ``cells``; it adds up to ``n``.
    """
    shape = tuple(cells)
    each = (orders,) * len(shape) if isinstance(orders, int) else tuple(orders)
    mass = np.zeros(math.prod(shape))
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    for start in range(0, len(positions), BLOCK):
        block = positions[start : start + BLOCK].astype(np.float64)
        shares = [
            [(cell * stride, weight) for cell, weight in _shares(block[:, axis] * n, n, order)]
            for axis, (n, order, stride) in enumerate(zip(shape, each, strides, strict=True))
        ]
        for corner in itertools.product(*shares):
            index = sum(cell for cell, _ in corner)
            weight = math.prod(weight for _, weight in corner)
            weights = None if isinstance(weight, float) else weight
            mass += np.bincount(index, weights, minlength=mass.size)
    return mass.reshape(shape)


def _shares(x: Array, n: int, order: int) -> list[tuple[npt.NDArray[np.int64], Any]]:
    """Return the cells along one axis that particles at ``x`` cells touch, and the weights."""
    if order == 1:
        return [(np.floor(x).astype(np.int64) % n, 1.0)]
    if order == 2:
        first = np.floor(x - 0.5)
        d = x - 0.5 - first  # from the centre of the cell below, 0 to 1
        weights = [1 - d, d]
    else:
        nearest = np.floor(x)
        d = x - 0.5 - nearest  # from the centre of the nearest cell, -1/2 to 1/2
        first = nearest - 1
        weights = [(0.5 - d) ** 2 / 2, 0.75 - d**2, (0.5 + d) ** 2 / 2]
    cells = first.astype(np.int64)
    return [((cells + j) % n, weight) for j, weight in enumerate(weights)]


def project(
    positions: npt.NDArray[Any], axis: int, cells: int, slabs: int, every: int = 1, order: int = 1
) -> Array:
    """Cut a box into slabs across one axis and project each on its face.

    Parameters
    ----------
    positions
        Shape ``(particles, 3)``, in units of the box.
    axis
        Across which the box is cut, 0 to 2.
    cells
        Pixels along each side of a map.
    slabs
        How many the whole axis is cut into: each is ``box / slabs`` thick.
    every
        Which to keep: 2 keeps slabs 0, 2, 4 ..., so that no two of them touch (Rodriguez et al.
        2018, arXiv:1801.09070, keep 500 of 1000).
    order
        Of the mass assignment within the map; a particle lies in one slab only.

    Returns
    -------
    Mass in each pixel, ``(kept, cells, cells)``; the axes of a map are those left, in order.
    """
    shape, orders = [cells] * 3, [order] * 3
    shape[axis], orders[axis] = slabs, 1
    return np.moveaxis(assign(positions, shape, orders), axis, 0)[::every]


def smooth(fields: Array, width: float, dimensions: int) -> Array:
    """Convolve periodic fields with a Gaussian.

    Parameters
    ----------
    fields
        Shape ``(..., *cells)``.
    width
        Standard deviation, in cells.
    dimensions
        How many of the last axes to smooth along.
    """
    axes = tuple(range(-dimensions, 0))
    return np.asarray(ndimage.gaussian_filter(fields, width, mode="wrap", axes=axes))


def coarsen(lattice: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Return the same periodic field on fewer points: its Fourier modes below their Nyquist one.

    Parameters
    ----------
    lattice
        Values at the centres of ``(N, N, N)`` cells, axes of components after these.
    n
        Points along each side of the coarse lattice, even and smaller than ``N``.

    Returns
    -------
    The band-limited field at the centres of ``(n, n, n)`` cells, in the same precision.
    """
    large, axes = len(lattice), (0, 1, 2)
    whole, half = (np.rint(f * n).astype(int) for f in (fft.fftfreq(n), fft.rfftfreq(n)))
    modes = fft.rfftn(lattice, axes=axes)[np.ix_(whole % large, whole % large, half)]
    for axis, k in enumerate((whole, whole, half)):
        # Centres of the first cells differ: half a coarse cell against half a fine one.
        phase = np.exp(1j * np.pi * k * (1 / n - 1 / large)) * (abs(k) < n / 2) * n / large
        modes *= phase.reshape([-1 if a == axis else 1 for a in range(modes.ndim)])
    return np.asarray(fft.irfftn(modes, (n, n, n), axes=axes)).astype(lattice.dtype)
