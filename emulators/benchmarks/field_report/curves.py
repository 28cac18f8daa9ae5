"""Statistics of fields against scale or height, both samples, with ratios, errors and floors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.field_report.channel import Array, Channel, Statistics
from emulators.benchmarks.field_report.conditional import Levelling
from emulators.benchmarks.pair import Rows
from emulators.observables.resampling import Ratio, compare, measure_difference
from emulators.observables.spectra import wavenumber_unit

__all__ = ["Curve", "both", "curves_of_all", "curves_of_some"]

Curve = dict[str, Any]

DECADES = 4.0  # of probability below the highest bin, in which one-point distributions are judged
KNOWN = 5.0  # standard errors that a reference's number must be away from 0 to be divided by


def both(rows: Statistics, key: str) -> tuple[Array, Array]:
    """Return one statistic of the generated and of the reference."""
    return rows["generated"][key], rows["reference"][key]


def curves_of_all(
    channel: Channel, rows: Statistics, level: Levelling, power: tuple[Array, Array]
) -> list[Curve]:
    """Return P(k), one-point distribution, extremes, moments and band sparsity.

    ``power`` are the spectra at equal conditions.
    """
    return [
        _power(channel, rows, power),
        _one_point(channel, rows, level),
        *_extremes(channel, rows, level),
        _moments(channel, rows, level),
        _sparsity(channel, rows, level),
    ]


def _power(channel: Channel, rows: Statistics, levelled: tuple[Array, Array]) -> Curve:
    k = channel.shells.k
    half = k <= channel.nyquist / 2
    return _curve(
        channel,
        "power",
        "P(k)",
        k,
        ("k", wavenumber_unit(channel.grid.unit)),
        levelled,
        both(rows, "power"),
        channel.all,
        np.ones(len(k), bool),
        ranges={"half": half, "nyquist": ~half, "all": half | True},
        nyquist=channel.nyquist,
        unit=channel.unit_of(len(channel.cells)),
    )


def _one_point(channel: Channel, rows: Statistics, level: Levelling) -> Curve:
    edges = channel.bins.one_point
    raw = both(rows, "one_point")
    share = raw[1].mean(0)
    return _curve(
        channel,
        "one_point",
        "one-point distribution",
        _centres(edges),
        (channel.name.replace("_", " "), channel.unit),
        level.differences(*raw),
        raw,
        channel.all,
        share >= share.max() / 10**DECADES,
        edges=edges,
        unit=_per(channel, "share of cells"),
    )


def _extremes(channel: Channel, rows: Statistics, level: Levelling) -> list[Curve]:
    found = []
    for name, edges in (("peaks", channel.bins.peaks), ("voids", channel.bins.voids)):
        raw = both(rows, name)
        found.append(
            _curve(
                channel,
                name,
                f"number of {name}",
                _centres(edges),
                ("height" if name == "peaks" else "depth (smoothed)", channel.unit),
                level.differences(*raw),
                raw,
                channel.all,
                edges=edges,
                unit=_per(channel, f"{name} / field"),
            )
        )
    return found


def _moments(channel: Channel, rows: Statistics, level: Levelling) -> Curve:
    raw = both(rows, "moments")
    names = ["mean", "variance", "skewness", "excess kurtosis"]
    return _curve(
        channel, "moments", "moments", np.arange(4), ("", ""),
        level.differences(*raw), raw, channel.all, names=names, unit=channel.unit,
    )  # fmt: skip


def _sparsity(channel: Channel, rows: Statistics, level: Levelling) -> Curve:
    raw = both(rows, "sparsity")
    names = [f"band sparsity at {s:.3g} {channel.grid.unit}" for s in channel.scales]
    return _curve(
        channel, "sparsity", "band sparsity", channel.scales, ("scale", channel.grid.unit),
        level.differences(*raw), raw, channel.all, names=names, unit="",
    )  # fmt: skip


def curves_of_some(channel: Channel, rows: Statistics, level: Levelling) -> list[Curve]:
    """Return the equilateral and the squeezed bispectrum."""
    sides = rows["reference"]["sides"][0]
    raw = both(rows, "bispectrum")
    levelled = level.differences(*raw)
    is_equilateral = np.ptp(sides, axis=1) == 0
    found, unit = [], wavenumber_unit(channel.grid.unit)
    for name, kept, column in (
        ("equilateral", is_equilateral, 0),
        ("squeezed", ~is_equilateral, 2),
    ):
        if kept.any():
            found.append(
                _curve(
                    channel,
                    f"bispectrum_{name}",
                    f"B(k), {name}",
                    sides[kept, column],
                    ("k" if name == "equilateral" else "k of the short modes", unit),
                    (levelled[0][:, kept], levelled[1][:, kept]),
                    (raw[0][:, kept], raw[1][:, kept]),
                    channel.some,
                    unit=channel.unit_of(2 * len(channel.cells), 3),
                    long=None if name == "equilateral" else sides[kept][0, 0],
                )
            )
    return found


def _curve(
    channel: Channel,
    name: str,
    label: str,
    x: npt.ArrayLike,
    axis: tuple[str, str],
    levelled: tuple[Array, Array],
    raw: tuple[Array, Array],
    positions: Mapping[str, Rows],
    judged: npt.NDArray[np.bool_] | None = None,
    **more: Any,
) -> Curve:
    """Return a statistic of both samples against ``x``, ratio, errors and floors.

    ``levelled`` rows are compared; ``raw`` means are shown.
    """
    options = channel.options(positions, name)
    found = compare(*levelled, **options)
    known = np.abs(found.reference) > KNOWN * found.reference_error
    judged = known if judged is None else known & judged
    ranges: dict[str, npt.NDArray[np.bool_]] = more.pop("ranges", {"all": judged})
    return {
        "name": name,
        "label": label,
        "x": np.asarray(x, np.float64),
        "axis": axis,
        "reference": raw[1].mean(0),
        "generated": raw[0].mean(0),
        "reference_error": found.reference_error,
        "generated_error": found.generated_error,
        "ratio": found.ratio,
        "error": found.error,
        "floor": found.floor,
        "floor_error": found.floor_error,
        "n": found.n,
        "simulations": found.simulations,
        "judged": judged,
        "summary": {
            key: _summary(found, judged & inside, levelled, channel.equal(options))
            for key, inside in ranges.items()
        },
        **more,
    }


def _per(channel: Channel, what: str) -> str:
    """Return the unit of a density, as an axis says it."""
    return f"{what} / {channel.unit or 'unit of the field'}"


def _centres(edges: Array) -> Array:
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def _summary(
    found: Ratio,
    kept: npt.NDArray[np.bool_],
    levelled: tuple[Array, Array],
    options: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Return the largest and the mean ``|ratio - 1|`` of some bins, with error and floor.

    Values are of all fields; floors of equally many on each side, half of the reference at most.
    """
    if not kept.any():
        return None
    off = np.where(kept, np.abs(found.ratio - 1), -1)
    worst = int(np.nanargmax(off))

    def deviations(a: Array, b: Array) -> Array:
        """Leave out bins that are empty in a half."""
        first, second = a[:, kept].mean(0), b[:, kept].mean(0)
        ratio = np.divide(first, second, out=np.ones_like(first), where=second != 0)
        return np.asarray(np.abs(ratio - 1))

    def largest(a: Array, b: Array) -> float:
        return float(deviations(a, b).max())

    def mean(a: Array, b: Array) -> float:
        return float(deviations(a, b).mean())

    measured = [measure_difference(f, *levelled, **options) for f in (largest, mean)]
    return {
        "bin": worst,
        "bins": int(kept.sum()),
        "largest": {
            "value": off[worst],
            "error": found.error[worst],
            "floor": measured[0].floor,
            "floor_error": measured[0].floor_error,
        },
        "mean": {
            "value": float(off[kept].mean()),
            "error": measured[1].error,
            "floor": measured[1].floor,
            "floor_error": measured[1].floor_error,
        },
    }
