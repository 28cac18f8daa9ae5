"""Power spectra of fields: auto, cross, correlation with scale, and covariance.

Convention: on a grid of volume ``V`` with ``N`` cells, ``P(k) = V <|a_k|^2>`` with
``a_k = FFT / N``.  Lengths have the unit of the file: ``k`` is in radians per that length (h/Mpc,
1/deg: `wavenumber_unit`), ``P`` in the field's unit squared times that length to the power ``d``.
White noise of variance ``s^2`` has ``P = s^2 V / N`` at every ``k``.

Each field's own mean is taken off first: it is the mode ``k = 0``, which no shell holds and which
`emulators.observables.fields.moments` measures.  Where a window tapers the ends the mean would leak
into the lowest shells: of a map in K with a mean of 2.7, thousands of times their power.  Taking
the mean of all fields off instead would leave what each differs from it, which follows the
conditions and would hide the largest scales as well.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft

from emulators.errors import InputError

__all__ = [
    "Spectra",
    "correlation_coefficients",
    "correlation_matrix",
    "covariance",
    "cross_spectra",
    "log_edges",
    "off_diagonal_difference",
    "pieces",
    "power_spectra",
    "shell_edges",
    "transformed",
    "wavenumber_unit",
    "wavenumbers",
]

Array = npt.NDArray[np.float64]
Window = Literal["NGP", "CIC", "TSC"]
ORDERS: dict[str, int] = {"NGP": 1, "CIC": 2, "TSC": 3}
CELLS = 1 << 20  # cells at once: bounds the memory, and stays near the cache


@dataclass(frozen=True)
class Spectra:
    """Spectra of ``n`` fields in shells of ``k``.

    Parameters
    ----------
    k
        Mean ``|k|`` of the modes of each shell, shape ``(bins,)``, inverse length.
    power
        Shape ``(n, bins)``, squared unit of the fields times volume.
    modes
        Modes in each shell; a real field has half as many independent ones.
    edges
        Of the shells, shape ``(bins + 1,)``, inverse length.
    """

    k: Array
    power: Array
    modes: npt.NDArray[np.int64]
    edges: Array


def shell_edges(
    cells: Sequence[int], lengths: Sequence[float], width: float = 1.0, upper: float = 1.0
) -> Array:
    """Return edges of shells ``width`` fundamentals wide, in the inverse of the lengths.

    The fundamental is that of the longest side.  The first shell begins at half of it, the last
    one ends at or below ``upper`` times the smallest Nyquist wavenumber: all shells are whole.
    """
    fundamental, nyquist = _scales(cells, lengths)
    shells = int((upper * nyquist / fundamental - 0.5) / width + 1e-9)
    if shells < 1:
        raise InputError(f"a grid of {tuple(cells)} cells has no whole shell below {upper} Nyquist")
    return np.asarray((0.5 + width * np.arange(shells + 1)) * fundamental, np.float64)


def log_edges(
    cells: Sequence[int], lengths: Sequence[float], per_decade: float = 10, upper: float = 1.0
) -> Array:
    """Return edges ``per_decade`` to a factor of ten, but nowhere closer than a fundamental.

    The last edge is ``upper`` times the smallest Nyquist wavenumber, inverse length.
    """
    fundamental, nyquist = _scales(cells, lengths)
    edges, top = [0.5 * fundamental], upper * nyquist
    while (after := max(edges[-1] + fundamental, edges[-1] * 10 ** (1 / per_decade))) <= top:
        edges.append(after)
    if len(edges) == 1:
        raise InputError(f"a grid of {tuple(cells)} cells has no whole shell below {upper} Nyquist")
    return np.array([*edges[:-1], top])


def _scales(cells: Sequence[int], lengths: Sequence[float]) -> tuple[float, float]:
    """Return the fundamental of the longest side and the smallest Nyquist wavenumber."""
    nyquist = min(math.pi * n / length for n, length in zip(cells, lengths, strict=True))
    return 2 * math.pi / max(lengths), nyquist


def power_spectra(
    fields: npt.NDArray[Any],
    lengths: Sequence[float],
    edges: Array | None = None,
    *,
    mean: float | None = None,
    window: Window | None = None,
    shot_noise: float = 0.0,
    taper: bool | Sequence[bool] = False,
) -> Spectra:
    """Measure the power spectrum of each field.

    Parameters
    ----------
    fields
        Shape ``(n, *cells)``, two or three axes of cells.
    lengths
        Of the sides, in any unit of length or angle.
    edges
        Of the shells, inverse length; by default those of `shell_edges`.
    mean
        Of the cells of *all* fields: counts become overdensities ``fields / mean - 1``.  Divided by
        a mean of its own, a field would hide that fields differ in mass.  None: not divided.
    window
        Mass assignment to divide out, ``W(k)^2`` with ``W`` the product of
        ``sinc(k_i L_i / 2 N_i)`` to the power 1 (NGP), 2 (CIC) or 3 (TSC).
    shot_noise
        ``V / particles``, a volume, taken off before the window is: that damps the clustering,
        but of the noise it adds up the aliases (Jing 2005, astro-ph/0409240, eq. 21).
    taper
        Multiply by ``sin^2`` along every axis, or along those that are True, and divide by the mean
        of its square: for cuts out of a larger field, whose ends do not meet.

    Examples
    --------
    White noise of variance 1 in a box of 32 cells of unit length has P = 1 everywhere:

    >>> noise = np.random.default_rng(0).standard_normal((20, 32, 32))
    >>> spectra = power_spectra(noise, (32.0, 32.0))
    >>> spectra.power.shape, round(float(spectra.power.mean()), 1)
    ((20, 15), 1.0)

    Raises
    ------
    InputError
        The fields are not two- or three-dimensional, or a shell holds no mode.
    """
    shells = _Shells(fields.shape[1:], lengths, edges, window, shot_noise)
    rows = [shells.average((m * m.conj()).real) for m in transformed(fields, lengths, mean, taper)]
    return shells.result(rows)


def cross_spectra(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    lengths: Sequence[float],
    edges: Array | None = None,
    *,
    means: tuple[float | None, float | None] = (None, None),
    window: Window | None = None,
    taper: bool | Sequence[bool] = False,
) -> Spectra:
    """Measure the cross power spectrum of field i of the one and field i of the other.

    The parameters are those of `power_spectra`, with a mean for each; shot noise of different
    particles does not correlate, so that there is none to take off.
    """
    _same_shape(first, second)
    shells = _Shells(first.shape[1:], lengths, edges, window, 0.0)
    pairs = zip(*(transformed(f, lengths, m, taper) for f, m in zip((first, second), means)))
    return shells.result([shells.average((a * b.conj()).real) for a, b in pairs])


def correlation_coefficients(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    lengths: Sequence[float],
    edges: Array | None = None,
    *,
    means: tuple[float | None, float | None] = (None, None),
    taper: bool | Sequence[bool] = False,
) -> tuple[Array, Array]:
    """Return ``k`` and ``r(k) = P_ab / sqrt(P_aa P_bb)`` of each pair, ``(n, bins)``.

    1 where the modes are the same up to a factor, 0 where they are independent or one has none.
    """
    cross = cross_spectra(first, second, lengths, edges, means=means, taper=taper)
    a, b = (
        power_spectra(f, lengths, edges, mean=m, taper=taper).power
        for f, m in zip((first, second), means)
    )
    both = np.sqrt(a * b)
    return cross.k, np.divide(cross.power, both, out=np.zeros_like(both), where=both > 0)


def covariance(values: npt.NDArray[Any]) -> Array:
    """Return the covariance ``(bins, bins)`` of rows ``(n, bins)``, in their unit squared."""
    return np.asarray(np.atleast_2d(np.cov(values, rowvar=False)), np.float64)


def correlation_matrix(values: npt.NDArray[Any]) -> Array:
    """Return the correlation ``(bins, bins)`` of rows ``(n, bins)``; a constant bin has none."""
    matrix = covariance(values)
    width = np.sqrt(np.diag(matrix))
    both = np.outer(width, width)
    correlation = np.eye(len(matrix))
    np.divide(matrix, both, out=correlation, where=(both > 0) & (correlation == 0))
    return correlation


def off_diagonal_difference(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Return the mean absolute difference of two correlation matrices off the diagonal.

    The rows ``(n, bins)`` are of the two samples.  Noise alone gives about ``0.8 sqrt(1/n + 1/m)``
    where bins are hardly correlated: compare it with its floor at the same ``n``.
    """
    a, b = correlation_matrix(first), correlation_matrix(second)
    return float(np.abs(a - b)[~np.eye(len(a), dtype=bool)].mean())


def pieces(fields: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield the fields a few at a time, so that copies of them fit into memory."""
    step = max(1, CELLS // math.prod(fields.shape[1:]))
    for start in range(0, len(fields), step):
        yield fields[start : start + step]


def transformed(
    fields: npt.NDArray[Any],
    lengths: Sequence[float],
    mean: float | None,
    taper: bool | Sequence[bool],
) -> Iterator[npt.NDArray[Any]]:
    """Yield ``sqrt(V) a_k`` of a few fields at a time, as `scipy.fft.rfftn` lays modes out.

    In double precision: squares of fields of any unit fit, be they 1e14 Msun/h or 1e-30 g/cm^3.
    """
    cells = fields.shape[1:]
    if mean is not None and not mean > 0:
        raise InputError(f"mean of the fields = {mean}: overdensities need a positive one")
    along = (taper,) * len(cells) if isinstance(taper, bool) else tuple(taper)
    weight = np.ones(())
    for n, tapered in zip(cells, along, strict=True):
        line = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 if tapered else np.ones(n)
        weight = np.multiply.outer(weight, line / np.sqrt(np.mean(line**2)))
    weight *= math.sqrt(math.prod(lengths)) / math.prod(cells)
    axes = tuple(range(1, len(cells) + 1))
    for piece in pieces(fields):
        values = piece.astype(np.float64) / (1.0 if mean is None else mean)
        values -= values.mean(axes, keepdims=True)
        yield fft.rfftn(values * weight, axes=axes)


def wavenumber_unit(unit: str) -> str:
    """Return the unit of ``k`` on a grid in a unit of length.

    Examples
    --------
    >>> wavenumber_unit("Mpc/h"), wavenumber_unit("deg")
    ('h/Mpc', '1/deg')
    """
    above, _, below = unit.partition("/")
    return f"{below or 1}/{above}" if above else ""


def wavenumbers(cells: Sequence[int], lengths: Sequence[float]) -> tuple[Array, Array]:
    """Return ``|k|`` and weight of each mode, as `scipy.fft.rfftn` lays modes out.

    ``k`` is in radians per unit of the lengths.
    A mode counts twice where its mirror image is not stored, once in the planes where the last
    number is 0 or (for an even number of cells) Nyquist.
    """
    if len(cells) not in (2, 3) or len(cells) != len(lengths):
        raise InputError(
            f"fields of {tuple(cells)} cells with {len(lengths)} lengths: expected 2 or 3 axes of "
            "cells and a length for each"
        )
    numbers = _numbers(cells)
    sides = zip(numbers, lengths, strict=True)
    k = np.sqrt(sum((2 * np.pi / length * m) ** 2 for m, length in sides))
    alone = (numbers[-1] == 0) | (2 * numbers[-1] == cells[-1])
    return k, np.where(np.broadcast_to(alone, k.shape), 1.0, 2.0)


def _numbers(cells: Sequence[int]) -> list[Array]:
    """Return the mode numbers along each axis, shaped to broadcast."""
    lines = [fft.fftfreq(n, 1 / n) for n in cells[:-1]] + [fft.rfftfreq(cells[-1], 1 / cells[-1])]
    return list(np.meshgrid(*lines, indexing="ij", sparse=True))


class _Shells:
    """Averages of modes in shells, corrected for window and shot noise."""

    def __init__(
        self,
        cells: Sequence[int],
        lengths: Sequence[float],
        edges: Array | None,
        window: Window | None,
        shot_noise: float,
    ) -> None:
        k, weight = (values.ravel() for values in wavenumbers(cells, lengths))
        self.edges = shell_edges(cells, lengths) if edges is None else np.asarray(edges, float)
        shell = np.searchsorted(self.edges, k, side="right") - 1
        self.inside = np.flatnonzero((shell >= 0) & (shell < len(self.edges) - 1))
        self.shell, self.weight = shell[self.inside], weight[self.inside]
        self.modes = self._total(np.ones(len(self.shell)))
        if not self.modes.all():
            i = int(np.argmin(self.modes))
            raise InputError(
                f"no mode of the grid lies between k = {self.edges[i]:.4g} and "
                f"{self.edges[i + 1]:.4g} of inverse length: make the shells wider"
            )
        self.k = self._total(k[self.inside]) / self.modes
        if window is not None:
            damping, noise = (values.ravel()[self.inside] for values in _window(cells, window))
            self.weight = self.weight / damping
        else:
            noise = np.ones(len(self.shell))
        self.noise = shot_noise * self._total(noise) / self.modes

    def _total(self, values: Array) -> Array:
        totals = np.bincount(self.shell, self.weight * values, len(self.edges) - 1)
        return totals.astype(np.float64)

    def average(self, power: npt.NDArray[Any]) -> Array:
        rows = power.reshape(len(power), -1)
        totals = np.stack([self._total(row[self.inside]) for row in rows])
        return np.asarray(totals / self.modes - self.noise)

    def result(self, rows: list[Array]) -> Spectra:
        power = np.concatenate(rows) if rows else np.empty((0, len(self.k)))
        return Spectra(self.k, power, np.rint(self.modes).astype(np.int64), self.edges)


def _window(cells: Sequence[int], window: Window) -> tuple[Array, Array]:
    """Return how much the window damps power at each mode, and the sum over its aliases."""
    damping = noise = np.ones((1,) * len(cells))
    for m, n in zip(_numbers(cells), cells):
        damping = damping * np.sinc(m / n) ** (2 * ORDERS[window])
        s = np.sin(np.pi * m / n) ** 2
        aliases = {"NGP": np.ones_like(s), "CIC": 1 - 2 * s / 3, "TSC": 1 - s + 2 * s**2 / 15}
        noise = noise * aliases[window]
    return damping, noise


def _same_shape(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
    if first.shape != second.shape:
        raise InputError(f"fields of shapes {first.shape} and {second.shape}: they must be equal")
