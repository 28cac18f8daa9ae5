"""A report is made of chapters: one question each, asked of any kind of sample it makes sense for.

A chapter is a function ``measure(pair, settings)`` that gives measured things, each with value,
error, floor, n and limit.  Judging, drawing and writing know those alone.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.measured import Axis, Curve, Measured, Number, from_json, to_json
from emulators.benchmarks.pair import Pair
from emulators.observables.distances import Measurement
from emulators.observables.resampling import Groups, Statistic, compare, measure_differences
from emulators.random import stream

__all__ = [
    "CHAPTERS",
    "Chapter",
    "Result",
    "chapter",
    "curve",
    "differences",
    "judged_curve",
    "mean_deviation",
    "number",
    "percent",
    "points",
    "results_of",
    "too_few",
]


Array = npt.NDArray[np.float64]
Settings = Mapping[str, Any]  # of the record: seed, resamplings, halvings ...
Measure = Callable[[Pair, Settings], Sequence[Measured]]


@dataclass(frozen=True)
class Chapter:
    """One question of a report.

    Parameters
    ----------
    name, title
        In the record, and in words.
    kinds
        The kinds of samples that it is asked of.
    says
        What is measured and what to see, in a sentence or two.
    measure
        Gives the measured things; none where the samples have nothing to ask about.
    beside
        Whether it is asked of the untrained start and of the baseline too, whose numbers stand
        beside the emulator's.
    trains
        Whether it trains classifiers, and is left out where none are asked for.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    says: str
    measure: Measure
    beside: bool = False
    trains: bool = False


@dataclass(frozen=True)
class Result:
    """What a chapter measured of a pair."""

    name: str
    title: str
    says: str
    measured: tuple[Measured, ...]

    @property
    def numbers(self) -> dict[str, Number]:
        """Its figures of merit, by ``chapter/name``."""
        return {f"{self.name}/{m.name}": m for m in self.measured if isinstance(m, Number)}

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "says": self.says,
            "measured": [to_json(m) for m in self.measured],
        }

    @classmethod
    def from_json(cls, mapping: dict[str, Any]) -> "Result":
        """Rebuild what `to_json` gave."""
        return cls(
            mapping["name"],
            mapping["title"],
            mapping["says"],
            tuple(from_json(m) for m in mapping["measured"]),
        )


def number(measurement: Measurement, scale: float = 1.0, **facts: Any) -> Number:
    """Return a measurement as a number, ``scale`` times as large; ``facts`` are the number's."""
    scaled: dict[str, Any] = {
        k: None if (v := getattr(measurement, k)) is None else scale * v
        for k in ("value", "error", "floor", "floor_error")
    }
    return Number(**scaled, n=measurement.n, **facts)


def too_few(n: int, needed: str, **facts: Any) -> Number:
    """Return a number that n samples are too few for; ``needed`` says how many would do."""
    says = f"too few samples: n = {n:,}, but {needed} are needed"
    return Number(value=math.nan, n=n, says=says, **facts)


def percent(
    statistic: Callable[[Array, Array], float],
    generated: Array,
    reference: Array,
    pair: Pair,
    settings: Settings,
    key: str,
    groups: tuple[Groups, Groups] | None = None,
    **facts: Any,
) -> Number:
    """Return a relative difference of two samples of rows as a number in per cent.

    Parameters
    ----------
    statistic
        Of two arrays of rows; its noise adds in squares, as that of mean sizes of deviations does.
    generated, reference
        Numbers of every sample, ``(n, m)``.
    pair, settings
        Of the report.
    key
        What the random numbers are for.
    groups
        Simulations of the rows; by default those of all samples of the pair.
    facts
        Of the number: ``name``, ``label``, ``limit`` in per cent ...
    """
    (measured,) = differences(
        lambda a, b: np.array([statistic(a, b)]), generated, reference, pair, settings, key, groups
    )
    facts = {"unit": "%", "noise": "in squares", "simulations": pair.independent, **facts}
    return number(measured, 100.0 if facts["unit"] == "%" else 1.0, **facts)


def differences(
    statistic: Callable[[Array, Array], Array],
    generated: Array,
    reference: Array,
    pair: Pair,
    settings: Settings,
    key: str,
    groups: tuple[Groups, Groups] | None = None,
) -> list[Measurement]:
    """Measure several differences of two samples of rows at once; parameters as `percent`."""
    groups = pair.groups if groups is None else groups
    return measure_differences(
        statistic,
        generated,
        reference,
        stream(settings["seed"], "chapter", key),
        groups=groups,
        paired=pair.paired and all(g is None for g in groups) and len(generated) == len(reference),
        halvings=settings["halvings"],
    )


def curve(
    generated: Array,
    reference: Array,
    pair: Pair,
    settings: Settings,
    key: str,
    groups: tuple[Groups, Groups] | None = None,
    /,
    statistic: Statistic | None = None,
    **facts: Any,
) -> Curve:
    """Return the means of rows ``(n, points)`` of both samples as a curve, compared by ratio.

    The parameters are those of `percent`, ``facts`` those of the curve.  With ``difference`` the
    deviation is ``generated - reference`` over the largest size of the reference.  A ``statistic``
    of rows is taken in place of their mean.
    """
    # ratios of numbers moved far from 0 have the errors and floors of differences
    away = 0.0
    if facts.get("difference"):
        largest = float(np.nanmax(np.abs((statistic or _mean)(reference)))) or 1.0
        away = 1e6 * largest
    if statistic is None:
        generated, reference = generated + away, reference + away
    ratio = compare(
        generated,
        reference,
        stream(settings["seed"], "chapter", key, "points"),
        statistic=statistic and (lambda rows: statistic(rows) + away),
        groups=pair.groups if groups is None else groups,
        resamplings=settings["resamplings"],
        halvings=settings["halvings"],
    )
    scale = 1e6 if away else 1.0
    measured: dict[str, Any] = {
        "reference": ratio.reference - away,
        "reference_error": ratio.reference_error,
        "generated": ratio.generated - away,
        "generated_error": ratio.generated_error,
        "deviation": scale * (ratio.ratio - 1),
        "error": scale * ratio.error,
        "floor": scale * ratio.floor,
        "n": ratio.n,
    }
    return Curve(**measured | facts)


def _mean(rows: npt.NDArray[Any]) -> Array:
    return np.asarray(rows.mean(0))


def judged_curve(
    rows: tuple[Array, Array],
    pair: Pair,
    settings: Settings,
    key: str,
    ranges: Sequence[tuple[str, str, Any, float]],
    groups: tuple[Groups, Groups] | None = None,
    number_facts: Mapping[str, Any] | None = None,
    statistic: Statistic | None = None,
    **facts: Any,
) -> list[Measured]:
    """Return a curve, and for each range of its points how far both samples are apart there.

    The number of a range is the mean size of the deviations of its points; its groups are their
    mean with its sign, since points are correlated, and every point by itself.

    Parameters
    ----------
    rows
        The statistic of every sample of generated and reference, ``(n, points)``, at equal
        conditions: what is compared.
    pair, settings, key, groups
        As `percent` takes them.
    ranges
        Of each: name and label of the number, which points, and the limit in per cent.
    number_facts
        Of every number.
    statistic
        Of rows, ``(n, columns)`` to ``(points,)``, in place of their mean.
    facts
        Of the curve; ``reference`` and ``generated`` are the means that are shown, where these are
        not those of the rows.  ``judged`` says which points can be.
    """
    means = statistic or _mean
    good = np.full(len(means(rows[1])), np.nan)
    for _, _, inside, limit in ranges:
        good[inside] = limit / 100
    shape = curve(
        *rows, pair, settings, key, groups, statistic=statistic, **{"good": good, **facts}
    )
    measured: list[Measured] = [shape]
    for name, label, inside, limit in ranges:
        kept = shape.kept & inside
        common = {"name": name, "label": label, "limit": limit, **(number_facts or {})}
        if not kept.any():
            measured.append(Number(value=math.nan, says=NONE_JUDGED, unit="%", **common))
            continue

        def deviation(a: Array, b: Array, kept: npt.NDArray[np.bool_] = kept) -> float:
            """Mean size of the deviations; points that are empty in a half are left out."""
            first, second = means(a)[kept], means(b)[kept]
            scale = _scale(shape, second)
            counted = np.isfinite(first - second) & (scale != 0)
            off = np.divide(first - second, scale, out=np.zeros_like(first), where=counted)
            return float(np.abs(off).mean())

        whole = percent(deviation, *rows, pair, settings, f"{key} {name}", groups, **common)
        signed = mean_deviation(
            rows, shape, kept, pair, settings, f"{key} {name} mean", groups,
            ("mean", "their mean with its sign"), statistic,
        )  # fmt: skip
        measured.append(replace(whole, groups=(signed, *points(shape, kept, pair)), listed=False))
    return measured


NONE_JUDGED = "The reference itself is too uncertain at every point: too few samples."


def mean_deviation(
    rows: tuple[Array, Array],
    shape: Curve,
    kept: npt.NDArray[np.bool_],
    pair: Pair,
    settings: Settings,
    key: str,
    groups: tuple[Groups, Groups] | None,
    words: tuple[str, str],
    statistic: Statistic | None = None,
) -> Number:
    """Return the mean deviation of points, which are correlated: one number of all samples.

    Parameters
    ----------
    rows, pair, settings, key, groups, statistic
        As `judged_curve` takes them.
    shape, kept
        The curve of the rows, and which of its points.
    words
        Name and label of the number.
    """
    scale = _scale(shape, (statistic or _mean)(rows[1])[kept])
    shift = 1e6 if shape.difference else 0.0

    def average(values: npt.NDArray[Any]) -> Array:
        """Mean over points, ``(..., points)`` to ``(..., 1)``."""
        return np.asarray((values[..., kept] / scale).mean(-1, keepdims=True) + shift)

    if statistic is None:
        rows = average(rows[0]), average(rows[1])
    mean = curve(
        *rows, pair, settings, key, groups,
        statistic=statistic and (lambda values: average(statistic(values))),
        name="", label="", caption="", x=np.zeros(1), axis=Axis(""),
    )  # fmt: skip
    return _deviation_number(mean, 0, *words, pair, shift or 1.0)


def _scale(shape: Curve, reference: Array) -> Array:
    """Return what deviations of a curve are in units of: the reference, or its largest size."""
    if shape.difference:
        return np.full_like(reference, np.nanmax(np.abs(shape.reference)))
    return reference


def points(shape: Curve, kept: npt.NDArray[np.bool_], pair: Pair) -> Iterator[Number]:
    """Yield the deviation of each of these points of a curve as a number."""
    for i in map(int, np.flatnonzero(kept)):
        place = f"{shape.axis.label} = {shape.x[i]:.3g} {shape.axis.unit}".strip()
        yield _deviation_number(shape, i, f"{i}", shape.names[i] if shape.names else place, pair)


def _deviation_number(
    shape: Curve, i: int, name: str, label: str, pair: Pair, scale: float = 1.0
) -> Number:
    """Return the size of one deviation of a curve as a number in per cent, its sign in words."""
    value = 100 * scale * float(shape.deviation[i])
    return Number(
        name=name,
        label=f"{label} ({'above' if value > 0 else 'below'} the reference)",
        value=abs(value),
        error=100 * scale * float(shape.error[i]),
        floor=100 * scale * float(shape.floor[i]),
        floor_error=0.0,
        n=min(shape.n),
        unit="%",
        noise="in squares",
        simulations=pair.independent,
    )


CHAPTERS: dict[str, Chapter] = {}


def chapter(
    name: str,
    title: str,
    kinds: Sequence[str],
    says: str,
    *,
    beside: bool = False,
    trains: bool = False,
) -> Callable[[Measure], Measure]:
    """Register the decorated ``measure(pair, settings)`` as a chapter for kinds of samples.

    The parameters are those of `Chapter`.
    """

    def register(measure: Measure) -> Measure:
        CHAPTERS[name] = Chapter(name, title, tuple(kinds), says, measure, beside, trains)
        return measure

    return register


def results_of(record: Mapping[str, Any]) -> list[Result]:
    """Return what the chapters of a record measured; none of records that are older than they."""
    return [Result.from_json(entry) for entry in record.get("chapters", [])]
