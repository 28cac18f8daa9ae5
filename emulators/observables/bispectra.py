"""Bispectra of fields in shells of ``k``, by products of filtered fields.

With ``a_k = FFT / N`` and volume ``V``, ``B(k1, k2, k3) = V^2 <a_k1 a_k2 a_k3>`` over the triangles
``k1 + k2 + k3 = 0`` that have one side in each shell, in the field's unit cubed times volume
squared.  The sum over triangles is the mean over cells of the product of the fields that hold one
shell each, and their number the same for shells of ones (Scoccimarro 2000, astro-ph/0004086;
Watkinson et al. 2017, arXiv:1705.06284).

Shells have a width, and the triangles of three shells need not be like that of their middles.  The
sets of triangles differ in the literature: `closing` has every three shells that hold a triangle,
those among them whose middles form none ("open" ones, Oddo et al. 2020, arXiv:1908.01774) too;
`at_angles` has Pylians', in shells that overlap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from emulators.errors import InputError
from emulators.observables.spectra import transformed, wavenumbers

__all__ = ["Bispectra", "at_angles", "bispectra", "closing", "equilateral", "squeezed"]

Array = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.int64]
Masks = Mapping[int, npt.NDArray[np.bool_]]  # of shells


@dataclass(frozen=True)
class Bispectra:
    """Bispectra of ``n`` fields for ``t`` kinds of triangles.

    Parameters
    ----------
    k
        Mean ``|k|`` of the shells of the three sides, shape ``(t, 3)``, inverse length.
    bispectrum
        Shape ``(n, t)``, cubed unit of the fields times squared volume.
    reduced
        ``Q = B / (P1 P2 + P2 P3 + P3 P1)`` with each field's ``B`` and the mean ``P`` of all
        fields, ``(n, t)``: a ratio of noisy numbers field by field would be biased.
    triangles
        How many ordered triples of modes, ``(t,)``; of a real field half are independent.
    """

    k: Array
    bispectrum: Array
    reduced: Array
    triangles: Array


def equilateral(edges: Array) -> Triangles:
    """Return the shells of triangles with three sides in the same shell, ``(bins, 3)``."""
    return np.repeat(np.arange(len(edges) - 1)[:, None], 3, 1)


def squeezed(edges: Array, long: int = 0) -> Triangles:
    """Return the shells of triangles with one side in shell ``long`` and two in a later one."""
    short = np.arange(long + 1, len(edges) - 1)
    return np.stack([np.full_like(short, long), short, short], 1)


def closing(edges: Array, cells: Sequence[int], lengths: Sequence[float]) -> Triangles:
    """Return the shells ``i <= j <= l`` that hold triangles of modes of a grid, ``(t, 3)``.

    Vectors in three shells can add up to nothing where the longest side's shell begins below the
    sum of the ends of the others', be its middle above the sum of theirs.
    """
    i, j, longest = np.indices((len(edges) - 1,) * 3).reshape(3, -1)
    possible = (i <= j) & (j <= longest) & (edges[longest] < edges[i + 1] + edges[j + 1])
    triangles = np.stack([i, j, longest], 1)[possible]
    masks = _masks(wavenumbers(cells, lengths)[0], _bounds(edges), triangles)
    return triangles[_numbers(masks, cells, triangles) > 0]


def at_angles(
    first: float, second: float, angles: npt.ArrayLike, half_width: float
) -> tuple[Array, Triangles]:
    """Return shells about the sides of triangles with two sides and the angle between them.

    As Pylians has them (Villaescusa-Navarro 2018, ascl:1811.008), where ``half_width`` is a
    fundamental: shells of different angles overlap, and those of one triangle may too.

    Parameters
    ----------
    first, second
        Lengths of the two sides, inverse length.
    angles
        From the one vector to the other, rad, ``(t,)``: at 0 the third side is their sum.
    half_width
        Of a shell, inverse length; a shell that would reach to ``k = 0`` begins above it.

    Returns
    -------
    Shells ``(2 + t, 2)`` and triangles ``(t, 3)``, as `bispectra` takes them.
    """
    cosines = np.cos(np.atleast_1d(np.asarray(angles, np.float64)))
    third = np.sqrt(np.maximum(first**2 + second**2 + 2 * first * second * cosines, 0))
    sides = np.array([first, second, *third])
    low = np.maximum(sides - half_width, np.finfo(np.float64).tiny)
    rows = np.arange(2, len(sides))
    return np.stack([low, sides + half_width], 1), np.stack([0 * rows, 0 * rows + 1, rows], 1)


def bispectra(
    fields: npt.NDArray[Any],
    lengths: Sequence[float],
    edges: Array,
    triangles: Triangles,
    *,
    mean: float | None = None,
    taper: bool | Sequence[bool] = False,
) -> Bispectra:
    """Measure the bispectrum of each field for the triangles given.

    Neither window nor shot noise is taken out: compare fields on the same grid and at the same
    number of particles.

    Parameters
    ----------
    fields, lengths, mean, taper
        As in `emulators.observables.spectra.power_spectra`.
    edges
        Of the shells, inverse length: ``shell_edges(cells, lengths, 3, 2 / 3)`` serves most grids;
        or begin and end of each, ``(shells, 2)``, which may overlap.
    triangles
        Which shells the three sides lie in, ``(t, 3)``: `equilateral`, `squeezed`, `closing` or any
        other.

    Raises
    ------
    InputError
        Three sides can add up to twice Nyquist, where the grid takes other modes for a triangle
        (equilateral triangles end at 2/3 Nyquist), or shells hold no triangle.
    """
    cells = fields.shape[1:]
    k, weight = wavenumbers(cells, lengths)
    nyquist = min(math.pi * n / length for n, length in zip(cells, lengths))
    bounds = _bounds(edges)
    reach = bounds[triangles, 1].sum(1).max()
    if reach > 2 * nyquist * (1 + 1e-9):
        raise InputError(
            f"triangles with sides up to {reach:.4g} in sum, on a grid that holds "
            f"{2 * nyquist:.4g}: end equilateral ones at 2/3 of Nyquist ({nyquist:.4g})"
        )
    masks = _masks(k, bounds, triangles)
    modes = {i: float((weight * mask).sum()) for i, mask in masks.items()}
    number = _numbers(masks, cells, triangles)
    if not number.all():
        sides = triangles[int(np.argmin(number))].tolist()
        raise InputError(f"shells {sides} hold no triangle: make them wider")
    found, power = [], []
    volume = math.prod(lengths)
    for piece in transformed(fields, lengths, mean, taper):
        for one in piece:  # products cancel: single precision would show
            parts = _shells(one[None], masks, cells)
            # `transformed` carries sqrt(V) in every mode: V^(3/2) of three, V of two
            found.append(_sums(parts, triangles)[0] / number * math.sqrt(volume))
            power.append([float(np.mean(parts[i] ** 2)) / modes[i] for i in masks])
    p = dict(zip(masks, np.mean(power, 0)))
    cyclic = [p[a] * p[b] + p[b] * p[c] + p[c] * p[a] for a, b, c in triangles]
    means = {i: float((weight * mask * k).sum()) / modes[i] for i, mask in masks.items()}
    b = np.array(found)
    return Bispectra(
        np.array([[means[i] for i in sides] for sides in triangles]), b, b / cyclic, number
    )


def _bounds(edges: Array) -> Array:
    """Return begin and end of each shell, ``(shells, 2)``."""
    return edges if edges.ndim == 2 else np.stack([edges[:-1], edges[1:]], 1)


def _masks(k: Array, bounds: Array, triangles: Triangles) -> Masks:
    """Return which modes are in each of the shells of triangles."""
    return {i: (k >= bounds[i, 0]) & (k < bounds[i, 1]) for i in np.unique(triangles)}


def _shells(
    modes: npt.NDArray[Any], masks: Masks, cells: Sequence[int]
) -> dict[int, npt.NDArray[Any]]:
    """Return the fields ``(n, *cells)`` that hold the modes of one shell each."""
    axes, n_cells = tuple(range(1, modes.ndim)), math.prod(cells)
    return {i: fft.irfftn(modes * mask, cells, axes=axes) * n_cells for i, mask in masks.items()}


def _sums(parts: Mapping[int, npt.NDArray[Any]], triangles: Triangles) -> Array:
    """Return the sums over triangles of the product of their three modes, ``(n, t)``."""
    rows = {i: part.reshape(len(part), -1) for i, part in parts.items()}
    return (
        np.stack([np.einsum("nx,nx,nx->n", *(rows[i] for i in sides)) for sides in triangles], 1)
        / rows[triangles[0, 0]].shape[1]
    )


def _numbers(masks: Masks, cells: Sequence[int], triangles: Triangles) -> Array:
    """Return how many ordered triples of modes there are, ``(t,)``."""
    ones = np.ones((1, *next(iter(masks.values())).shape))
    return np.asarray(np.rint(_sums(_shells(ones, masks, cells), triangles)[0]))
