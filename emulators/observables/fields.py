"""Observables of density fields in real space, and the summary that a training is judged by.

Fields have shape ``(n, *cells)``: one channel, two or three axes, in physical units.  Every
observable is a row a field, so that errors can be resampled over simulations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from emulators.data.spec import Grid
from emulators.data.transforms import decades
from emulators.errors import InputError
from emulators.observables.spectra import (
    pieces,
    power_spectra,
    shell_edges,
    transformed,
    wavenumbers,
)

__all__ = [
    "FieldBins",
    "band_sparsity",
    "binned",
    "choose_bins",
    "compressed",
    "distance",
    "extreme_counts",
    "extremes",
    "left_out",
    "logarithmic",
    "moments",
    "observables",
    "one_point",
    "score",
    "smooth",
    "value_edges",
]

Array = npt.NDArray[np.float64]
# Quantiles of the heights of extremes: twenty bins, the last one split for the rare ones.
SHARES = np.array([*np.arange(0, 0.99, 0.05), 0.98, 0.99, 1.0])
RARE = 1e-4  # share of the cells below which a bin of the one-point distribution is not compared
ROUNDING = 1e-6  # of the largest amplitude: what is below it in single precision is rounding


def value_edges(values: npt.NDArray[Any], unit: str, bins: int = 40) -> Array:
    """Return edges of up to ``bins`` bins that cover all values, in their unit.

    ``count``: halfway between integers, about equal in ``log10(1 + count)``; ``overdensity``: equal
    in ``log10(2 + delta)``; any other unit: equal, or where values reach over `decades` equal in
    the logarithm, the first bin with all that is below the others.
    """
    low, high = float(np.min(values)), float(np.max(values))
    if unit == "count":
        steps = 10 ** np.linspace(np.log10(1 + max(low, 0)), np.log10(2 + max(high, 0)), bins + 1)
        edges = np.unique(np.rint(steps - 1)) - 0.5
    elif unit == "overdensity" and low > -2:
        edges = 10 ** np.linspace(np.log10(2 + low), np.log10(2 + high), bins + 1) - 2
    elif ends := decades(values):
        edges = np.geomspace(*ends, bins)
        edges = np.array([edges[0] ** 2 / edges[1], *edges])
    else:
        edges = np.linspace(low, high, bins + 1)
    half = abs(low) / 2 or 0.5
    return edges if edges[0] < edges[-1] else np.array([low - half, low + half])


def logarithmic(edges: Array) -> bool:
    """Whether edges are closer together at low values, all above 0: a logarithmic scale shows."""
    return bool(edges[0] > 0 and edges[-1] > 5 * edges[len(edges) // 2])


def compressed(values: npt.NDArray[Any], unit: str, edges: Array) -> npt.NDArray[Any]:
    """Return values on the scale of the ``edges`` of `value_edges`: a few haloes decide nothing."""
    if unit == "count":
        return np.asarray(np.log10(1 + np.maximum(values, 0)))
    if unit == "overdensity":
        return np.asarray(np.log10(2 + np.maximum(values, -1)))
    if logarithmic(edges):
        return np.asarray(np.log10(np.maximum(values, edges[0])))
    return values


def one_point(fields: npt.NDArray[Any], edges: Array) -> Array:
    """Return the share of each field's cells in each bin ``[edge, next edge)``, ``(n, bins)``.

    The first and the last bin also hold what lies beyond them: each row adds up to 1.
    """
    rows = [binned(piece.reshape(len(piece), -1), edges) for piece in pieces(fields)]
    return np.concatenate(rows) / np.prod(fields.shape[1:])


def binned(values: npt.NDArray[Any], edges: Array) -> Array:
    """Count the values of each row ``(n, m)`` in each bin, the end bins open: ``(n, bins)``."""
    bins = np.searchsorted(edges[1:-1].astype(values.dtype), values, side="right")
    return np.stack([np.bincount(row, minlength=len(edges) - 1) for row in bins]).astype(float)


def moments(fields: npt.NDArray[Any]) -> Array:
    """Return mean, variance, skewness and excess kurtosis of each field's cells, ``(n, 4)``.

    Skewness is ``<d^3> / <d^2>^1.5`` and kurtosis ``<d^4> / <d^2>^2 - 3`` with ``d`` off the
    field's own mean; both are 0 where all cells are equal.
    """
    rows = []
    for piece in pieces(fields):
        d = piece.reshape(len(piece), -1).astype(np.float64)
        mean = d.mean(1)
        d -= mean[:, None]
        square = d * d
        second = square.mean(1)
        third, fourth = (np.einsum("nx,nx->n", square, x) / d.shape[1] for x in (d, square))
        safe = np.where(second > 0, second, 1.0)
        excess = np.where(second > 0, fourth / safe**2 - 3, 0.0)
        rows.append(np.stack([mean, second, third / safe**1.5, excess], 1))
    return np.concatenate(rows)


def smooth(
    fields: npt.NDArray[Any], lengths: Sequence[float], width: float, periodic: Sequence[bool]
) -> npt.NDArray[Any]:
    """Convolve each field with a Gaussian of standard deviation ``width``, a length as ``lengths``.

    Along an axis that is not periodic the field is continued by its mirror image.
    """
    widths = [width * n / length for n, length in zip(fields.shape[1:], lengths, strict=True)]
    modes = ["wrap" if p else "reflect" for p in periodic]
    values = fields.astype(np.result_type(fields.dtype, np.float32), copy=False)
    return np.asarray(ndimage.gaussian_filter(values, [0, *widths], mode=["wrap", *modes]))


def extremes(
    fields: npt.NDArray[Any], periodic: Sequence[bool], minima: bool = False
) -> npt.NDArray[np.bool_]:
    """Find cells above all of their ``3^d - 1`` neighbours (below, for minima).

    Along a periodic axis the first and the last cells are neighbours; along another one they lack
    some, and are never extremes.  Equal neighbours are not extremes either: smooth counts before
    looking for voids.

    Parameters
    ----------
    fields
        Shape ``(n, *cells)``.
    periodic
        Which axes come round again.
    minima
        Find the lowest instead of the highest.

    Returns
    -------
    True at the extremes, in the shape of the fields.
    """
    better, beats = (np.minimum, np.less) if minima else (np.maximum, np.greater)
    block = fields  # the best of the cells around along the axes so far, the cell itself included
    found = np.ones(fields.shape, bool)
    for axis in range(1, fields.ndim):
        sides = better(np.roll(block, 1, axis), np.roll(block, -1, axis))
        found &= beats(fields, sides)
        block = better(block, sides)
    for axis, comes_round in enumerate(periodic, 1):
        if not comes_round:
            found[(slice(None),) * axis + ([0, -1],)] = False
    return found


def extreme_counts(
    fields: npt.NDArray[Any], edges: Array, periodic: Sequence[bool], minima: bool = False
) -> Array:
    """Count the extremes of each field by height, ``(n, bins)``; the parameters of `extremes`.

    The first and the last bin also hold what lies beyond them.  Counts above a threshold are sums
    over bins.
    """
    rows = []
    for piece in pieces(fields):
        found = extremes(piece, periodic, minima)
        heights = np.split(piece[found], found.reshape(len(piece), -1).sum(1).cumsum()[:-1])
        rows += [binned(h[None], edges) for h in heights]
    return np.concatenate(rows)


def band_sparsity(
    fields: npt.NDArray[Any], lengths: Sequence[float], scales: Sequence[float]
) -> Array:
    """Return ``<|b|> / <b^2>^0.5`` of the part ``b`` of each periodic field at each scale.

    ``b`` is the field smoothed with a Gaussian of ``scale`` (a length as ``lengths``) less the
    field smoothed with twice that: an isotropic wavelet.  A Gaussian field has
    ``(2 / pi)^0.5 = 0.798``, whatever its power spectrum; filaments and haloes make it smaller.
    Shape ``(n, scales)``.
    """
    cells = fields.shape[1:]
    k, _ = wavenumbers(cells, lengths)
    rows = []
    for piece in transformed(fields, lengths, None, False):
        columns = []
        for scale in scales:
            band = np.exp(-((k * scale) ** 2) / 2) - np.exp(-2 * (k * scale) ** 2)
            axes = tuple(range(1, piece.ndim))
            part = fft.irfftn(piece * band.astype(np.float32), cells, axes=axes)
            part = part.reshape(len(part), -1)
            rms = np.sqrt((part**2).mean(1))
            columns.append(np.abs(part).mean(1) / np.where(rms > 0, rms, 1.0))
        rows.append(np.stack(columns, 1))
    return np.concatenate(rows).astype(np.float64)


@dataclass(frozen=True)
class FieldBins:
    """The bins in which fields are compared: chosen once, on the reference.

    Parameters
    ----------
    mean
        Of the reference's cells, where counts are made overdensities; both samples are divided by
        it, so that too much mass shows.  None for other units.
    k
        Edges of the shells of ``P(k)``, inverse length of the grid.
    one_point
        Edges of the one-point distribution, in the unit of the fields.
    peaks, voids
        Edges of the heights of maxima, and of minima of the smoothed fields.
    void_width
        Of the Gaussian that fields are smoothed with before voids are sought, a length of the grid.
    """

    mean: float | None
    k: Array
    one_point: Array
    peaks: Array
    voids: Array
    void_width: float


def choose_bins(reference: npt.NDArray[Any], grid: Grid, unit: str = "count") -> FieldBins:
    """Choose the bins on the reference: ``P(k)`` to Nyquist, extremes in bins equally filled.

    Voids are minima of the fields smoothed with a Gaussian of two cells.
    """
    _check(reference, grid)
    cells = reference.shape[1:]
    mean = float(np.mean(reference, dtype=np.float64)) if unit == "count" else None
    if mean is not None and not mean > 0:
        raise InputError(f"the reference fields hold {mean:g} counts a cell: nothing to compare")
    width = 2 * max(length / n for n, length in zip(cells, grid.lengths))
    peaks, voids = [], []
    for piece in pieces(reference):
        peaks.append(piece[extremes(piece, grid.periodic)])
        smoothed = smooth(piece, grid.lengths, width, grid.periodic)
        voids.append(smoothed[extremes(smoothed, grid.periodic, minima=True)])
    return FieldBins(
        mean=mean,
        k=shell_edges(cells, grid.lengths),
        one_point=value_edges(reference, unit),
        peaks=_filled_edges(np.concatenate(peaks), unit == "count"),
        voids=_filled_edges(np.concatenate(voids), False),
        void_width=width,
    )


def _filled_edges(heights: npt.NDArray[Any], counted: bool) -> Array:
    edges = np.quantile(heights, SHARES) if heights.size else np.zeros(1)
    edges = np.unique(np.ceil(edges) - 0.5 if counted else edges)
    return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1.0])


def observables(
    values: npt.NDArray[Any], grid: Grid, bins: FieldBins | None = None, unit: str = "count"
) -> dict[str, Array]:
    """Summarise each field.

    Parameters
    ----------
    values
        Shape ``(n, *cells)``, in ``unit``.
    grid
        Lengths, and which axes are periodic: along others ``P(k)`` is measured with a taper.
    bins
        Of the reference; by default chosen on these fields.
    unit
        ``count`` (divided by the reference's mean for ``P(k)``), ``overdensity`` or another.

    Returns
    -------
    ``power`` (squared unit of the fields, none of counts and overdensities, times length to the
    ``d``), ``one_point`` (share of cells), ``peaks`` and ``voids`` (numbers) of shape
    ``(n, bins)``, and ``moments`` ``(n, 4)``.
    """
    _check(values, grid)
    bins = choose_bins(values, grid, unit) if bins is None else bins
    taper = [not p for p in grid.periodic]
    voids = [
        extreme_counts(
            smooth(piece, grid.lengths, bins.void_width, grid.periodic),
            bins.voids,
            grid.periodic,
            minima=True,
        )
        for piece in pieces(values)
    ]
    return {
        "power": power_spectra(values, grid.lengths, bins.k, mean=bins.mean, taper=taper).power,
        "one_point": one_point(values, bins.one_point),
        "peaks": extreme_counts(values, bins.peaks, grid.periodic),
        "voids": np.concatenate(voids),
        "moments": moments(values),
    }


def distance(generated: Mapping[str, Array], reference: Mapping[str, Array]) -> dict[str, float]:
    """Return how far two summaries in the same bins are apart: 0 where their means agree.

    ``power_distance`` is the mean of ``|ln ratio|`` over the shells whose amplitudes in the
    reference are above 1e-6 of the largest: others are rounding; ``one_point_distance`` and
    ``peak_distance`` the means of ``|ratio - 1|`` over bins with more than 1e-4 of the reference's
    cells, and with any peak of it; ``field_distance`` is the mean of those of the three that have
    a bin, NaN where none has.  Ratios are of means over all fields; noise alone gives more than 0:
    compare at equal numbers.
    """
    compared = _compared(reference)
    parts = {}
    for name, (label, _) in _PARTS.items():
        if (kept := compared[name]).any():
            gen, ref = (np.mean(s[name], 0)[kept] for s in (generated, reference))
            with np.errstate(divide="ignore"):
                off = np.abs(np.log(gen / ref)) if name == "power" else np.abs(gen / ref - 1)
            # a constant field has no power
            parts[label] = float((off.clip(max=10.0) if name == "power" else off).mean())
    return {"field_distance": float(np.mean([*parts.values()])) if parts else np.nan, **parts}


# What is compared, what its distance is called, and what it is called where it is left out.
_PARTS = {
    "power": ("power_distance", "shells of P(k)"),
    "one_point": ("one_point_distance", "bins of the one-point distribution"),
    "peaks": ("peak_distance", "bins of peaks"),
}


def _compared(reference: Mapping[str, Array]) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which shells and bins of a reference's summary tell something."""
    power, cells, peaks = (np.mean(reference[name], 0) for name in _PARTS)
    mean, variance = np.mean(reference["moments"], 0)[:2]
    spread = variance + np.var(reference["moments"][:, 0])
    told = spread > ROUNDING**2 * (mean**2 + spread)  # else all cells are equal, up to rounding
    return {
        "power": told & (power > ROUNDING**2 * power.max()),
        "one_point": told & (cells > RARE),
        "peaks": told & (peaks > 0),
    }


def left_out(values: npt.NDArray[Any], grid: Grid, unit: str) -> list[str]:
    """Return what `score` leaves out of a reference ``(n, *cells)``, as it is only rounding."""
    compared = _compared(observables(values, grid, unit=unit))
    empty = {name: kept.size - kept.sum() for name, kept in compared.items()}
    return [
        f"{empty[name]} of {kept.size} {words}"
        for (name, kept), (_, words) in zip(compared.items(), _PARTS.values())
        if (empty[name] if name == "power" else not kept.any())
    ]


def score(
    generated: npt.NDArray[Any], reference: npt.NDArray[Any], grid: Grid, unit: str = "count"
) -> dict[str, float]:
    """Return `distance` of two samples of fields.

    Fields of any conditions are compared as means over all: give both the same conditions.  All
    numbers are infinite where a generated cell is NaN or infinite.
    """
    bins = choose_bins(reference, grid, unit)
    theirs = observables(reference, grid, bins, unit)
    if not np.isfinite(generated).all():
        return dict.fromkeys(distance(theirs, theirs), np.inf)
    return distance(observables(generated, grid, bins, unit), theirs)


def _check(values: npt.NDArray[Any], grid: Grid) -> None:
    if values.ndim != len(grid.axes) + 1 or values.ndim not in (3, 4) or not len(values):
        raise InputError(
            f"fields of shape {values.shape} on axes {grid.axes}: expected (n, *cells) of one "
            "channel, two or three axes, and at least one field"
        )
