"""Bispectra of fields in shells of ``k``, by products of filtered fields.

With ``a_k = FFT / N`` and volume ``V``, ``B(k1, k2, k3) = V^2 <a_k1 a_k2 a_k3>`` over the triangles
``k1 + k2 + k3 = 0`` that have one side in each shell, in the field's unit cubed times volume
squared.  The sum over triangles is the mean over cells of the product of the fields that hold one
shell each, and their number the same for shells of ones (Scoccimarro 2000, astro-ph/0004086;
Watkinson et al. 2017, arXiv:1705.06284).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from emulators.errors import InputError
from emulators.observables.spectra import transformed, wavenumbers

__all__ = ["Bispectra", "bispectra", "equilateral", "squeezed"]

Array = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.int64]


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
        Of the shells, inverse length: ``shell_edges(cells, lengths, 3, 2 / 3)`` serves most grids.
    triangles
        Which shells the three sides lie in, ``(t, 3)``: `equilateral`, `squeezed` or any other.

    Raises
    ------
    InputError
        Three sides can add up to twice Nyquist, where the grid takes other modes for a triangle
        (equilateral triangles end at 2/3 Nyquist), or shells hold no triangle.
    """
    cells = fields.shape[1:]
    k, weight = wavenumbers(cells, lengths)
    nyquist = min(math.pi * n / length for n, length in zip(cells, lengths))
    reach = edges[triangles + 1].sum(1).max()
    if reach > 2 * nyquist * (1 + 1e-9):
        raise InputError(
            f"triangles with sides up to {reach:.4g} in sum, on a grid that holds "
            f"{2 * nyquist:.4g}: end equilateral ones at 2/3 of Nyquist ({nyquist:.4g})"
        )
    used = np.unique(triangles)
    masks = {i: (k >= edges[i]) & (k < edges[i + 1]) for i in used}
    modes = {i: float((weight * mask).sum()) for i, mask in masks.items()}
    n_cells, axes = math.prod(cells), tuple(range(1, len(cells) + 1))

    def shells(modes_of_fields: npt.NDArray[Any]) -> dict[int, npt.NDArray[Any]]:
        """Return the fields that hold the modes of one shell each."""
        return {
            i: fft.irfftn(modes_of_fields * mask, cells, axes=axes) * n_cells
            for i, mask in masks.items()
        }

    def products(parts: dict[int, npt.NDArray[Any]]) -> Array:
        """Return the sums over triangles, ``(n, t)``."""
        sums = [
            np.einsum("nx,nx,nx->n", *(parts[i].reshape(len(parts[i]), -1) for i in sides))
            for sides in triangles
        ]
        return np.stack(sums, 1) / n_cells

    number = np.rint(products(shells(np.ones((1, *weight.shape))))[0])
    if not number.all():
        sides = triangles[int(np.argmin(number))].tolist()
        raise InputError(f"shells {sides} hold no triangle: make them wider")
    found, power = [], []
    volume = math.prod(lengths)
    for piece in transformed(fields, lengths, mean, taper):
        for one in piece:  # products cancel: single precision would show
            parts = shells(one[None])
            # `transformed` carries sqrt(V) in every mode: V^(3/2) of three, V of two
            found.append(products(parts)[0] / number * math.sqrt(volume))
            power.append([float(np.mean(parts[i] ** 2)) / modes[i] for i in used])
    p = dict(zip(used, np.mean(power, 0)))
    cyclic = [p[a] * p[b] + p[b] * p[c] + p[c] * p[a] for a, b, c in triangles]
    means = {i: float((weight * mask * k).sum()) / modes[i] for i, mask in masks.items()}
    b = np.array(found)
    return Bispectra(
        np.array([[means[i] for i in sides] for sides in triangles]), b, b / cyclic, number
    )
