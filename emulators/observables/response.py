"""Energy of each layer against incident energy: mean and width in bins, emulator over reference.

Bins of incident energy, and of any other condition, hold equally much of the reference:
`distances.quantile_edges`, up to `BINS` of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emulators.data.spec import MEV_PER_GEV, ShowerGeometry
from emulators.observables.distances import Measurement
from emulators.observables.showers import Array

__all__ = [
    "BINS",
    "MINIMUM",
    "BinnedResponse",
    "bin_numbers",
    "binned_response",
    "deviation_floors",
    "response_deviations",
    "responses",
]

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


@dataclass(frozen=True)
class BinnedResponse:
    """Mean and width of responses in bins of incident energy.

    Arrays are ``(layers + 1, bins)``, the last row the whole shower; NaN where either sample has
    fewer than `MINIMUM` showers.  Deviations are relative, emulator / reference - 1; errors are
    their standard deviations over bootstrap resamplings of both samples.
    """

    counts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # reference, generated (bins,)
    means: tuple[Array, Array]
    widths: tuple[Array, Array]
    mean_deviation: Array
    mean_error: Array
    width_deviation: Array
    width_error: Array
    moment_errors: tuple[Array, Array, Array, Array]  # of means and widths, in their order


def binned_response(
    reference: tuple[Array, Array],
    generated: tuple[Array, Array],
    edges: Array,
    rng: np.random.Generator,
    resamplings: int = 100,
) -> BinnedResponse:
    """Compare responses in bins of incident energy.

    Parameters
    ----------
    reference, generated
        What `responses` gave, and the incident energies (GeV) in any shape that matches.
    edges
        Of the bins, GeV.
    rng
        Random numbers of the bootstrap.
    resamplings
        How many.
    """
    first, second = _moments(*reference, edges), _moments(*generated, edges)
    drawn = [
        [_moments(x[rows], e[rows], edges) for rows in _resample(rng, len(x), resamplings)]
        for x, e in (reference, generated)
    ]
    means = [_spread([m[1] for m in sample]) for sample in drawn]
    widths = [_spread([m[2] for m in sample]) for sample in drawn]
    mean, width = _deviations(first, second)
    pairs = [_deviations(a, b) for a, b in zip(*drawn)]
    mean_error, width_error = (_spread([p[k] for p in pairs]) for k in (0, 1))
    return BinnedResponse(
        counts=(first[0], second[0]),
        means=(first[1], second[1]),
        widths=(first[2], second[2]),
        mean_deviation=mean,
        mean_error=mean_error,
        width_deviation=width,
        width_error=width_error,
        moment_errors=(means[0], means[1], widths[0], widths[1]),
    )


def response_deviations(
    generated: tuple[Array, Array],
    halves: Sequence[tuple[tuple[Array, Array], tuple[Array, Array]]],
    edges: Array,
    rng: np.random.Generator,
    tolerance: float,
    resamplings: int = 100,
) -> dict[str, Measurement]:
    """Measure the relative deviations over layers and bins, with error and floor.

    The largest of many noisy numbers is never zero and grows as samples shrink, so value and floor
    are both taken between samples of the size of half the reference (see `distances.measure`).

    Returns
    -------
    The largest of ``layer_mean``, ``layer_width`` over all layers and bins and of ``total_mean``,
    ``total_width`` (that is, response and resolution) over the bins of the whole shower; and with
    ``_within`` appended the share of these that is at most ``tolerance``.
    """
    reference = halves[0][0]

    def summary(sample: tuple[Array, Array], against: tuple[Array, Array]) -> Array:
        mean, width = _deviations(_moments(*against, edges), _moments(*sample, edges))
        parts = (mean[:-1], width[:-1], mean[-1:], width[-1:])
        sizes = [np.abs(p[np.isfinite(p)]) for p in parts]
        shares = [(p <= tolerance).mean() if len(p) else 0.0 for p in sizes]
        return np.array([*(p.max(initial=0.0) for p in sizes), *shares])

    value = summary(generated, reference)
    floors = np.array([summary(b, a) for a, b in halves])
    n, m = len(generated[0]), len(reference[0])
    drawn = np.array(
        [
            summary((generated[0][i], generated[1][i]), (reference[0][j], reference[1][j]))
            for i, j in zip(_resample(rng, n, resamplings), _resample(rng, m, resamplings))
        ]
    )
    names = ["layer_mean", "layer_width", "total_mean", "total_width"]
    names += [f"{name}_within" for name in names]
    return {
        name: Measurement(
            value=float(value[k]),
            error=float(drawn[:, k].std()),
            floor=float(floors[:, k].mean()),
            floor_error=float(floors[:, k].std()),
            n=n,
        )
        for k, name in enumerate(names)
    }


def deviation_floors(
    halves: Sequence[tuple[tuple[Array, Array], tuple[Array, Array]]], edges: Array
) -> tuple[Array, Array]:
    """Return the mean size of the deviations between halves of the reference, of mean and width.

    Shapes ``(layers + 1, bins)``; NaN where a half has too few showers.
    """
    found = [_deviations(_moments(*a, edges), _moments(*b, edges)) for a, b in halves]
    mean, width = (np.mean([np.abs(d[k]) for d in found], axis=0) for k in (0, 1))
    return mean, width


def _moments(x: Array, energy: Array, edges: Array) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Return counts ``(bins,)``, means and standard deviations ``(columns, bins)``."""
    bins = len(edges) - 1
    where = bin_numbers(energy, edges)
    where, x = where[where >= 0], x[where >= 0]
    counts = np.bincount(where, minlength=bins)
    safe = np.where(counts < MINIMUM, np.nan, counts)
    means = np.stack([np.bincount(where, column, minlength=bins) / safe for column in x.T])
    squares = np.stack(
        [
            np.bincount(where, (column - mean[where]) ** 2, minlength=bins) / (safe - 1)
            for column, mean in zip(x.T, means)
        ]
    )
    return counts, means, np.sqrt(squares)


def _deviations(
    reference: tuple[npt.NDArray[np.int64], Array, Array],
    generated: tuple[npt.NDArray[np.int64], Array, Array],
) -> tuple[Array, Array]:
    """Relative deviations of means and widths; NaN where the reference has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, width = (generated[k] / reference[k] - 1 for k in (1, 2))
    return tuple(np.where(np.isfinite(d), d, np.nan) for d in (mean, width))  # type: ignore[return-value]


def _spread(found: Sequence[Array]) -> Array:
    """Return the standard deviation over resamplings; those that left a bin thin are skipped."""
    values = np.ma.masked_invalid(np.array(found))
    return np.asarray(values.std(0).filled(np.nan))


def _resample(rng: np.random.Generator, n: int, resamplings: int) -> npt.NDArray[np.int64]:
    return rng.integers(0, n, (resamplings, n))
