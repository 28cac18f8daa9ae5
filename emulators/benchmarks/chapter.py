"""A report is made of chapters: one question each, asked of any kind of sample it makes sense for.

A chapter is a function ``measure(pair, settings)`` that gives measured things, each with value,
error, floor, n and limit.  Judging, drawing and writing know those alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.measured import Curve, Measured, Number, from_json, to_json
from emulators.benchmarks.pair import Pair
from emulators.observables.resampling import compare, measure_difference
from emulators.random import stream

__all__ = [
    "CHAPTERS",
    "Chapter",
    "Result",
    "chapter",
    "chapters_of",
    "curve",
    "percent",
    "results_of",
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
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    says: str
    measure: Measure


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


def percent(
    statistic: Callable[[Array, Array], float],
    generated: Array,
    reference: Array,
    pair: Pair,
    settings: Settings,
    key: str,
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
    facts
        Of the number: ``name``, ``label``, ``limit`` in per cent ...
    """
    rng = stream(settings["seed"], "chapter", key)
    found = measure_difference(
        statistic, generated, reference, rng, paired=pair.paired, halvings=settings["halvings"]
    )
    scaled: dict[str, Any] = {
        k: 100 * getattr(found, k) for k in ("value", "error", "floor", "floor_error")
    }
    return Number(**scaled, n=found.n, unit="%", noise="in squares", **facts)


def curve(generated: Array, reference: Array, settings: Settings, key: str, **facts: Any) -> Curve:
    """Return the means of rows ``(n, points)`` of both samples as a curve, compared by ratio.

    The parameters are those of `percent`, ``facts`` those of the curve.
    """
    found = compare(
        generated,
        reference,
        stream(settings["seed"], "chapter", key, "points"),
        resamplings=settings["resamplings"],
        halvings=settings["halvings"],
    )
    return Curve(
        reference=found.reference,
        reference_error=found.reference_error,
        generated=found.generated,
        generated_error=found.generated_error,
        deviation=found.ratio - 1,
        error=found.error,
        floor=found.floor,
        n=found.n,
        **facts,
    )


CHAPTERS: dict[str, Chapter] = {}


def chapter(name: str, title: str, kinds: Sequence[str], says: str) -> Callable[[Measure], Measure]:
    """Register the decorated ``measure(pair, settings)`` as a chapter for kinds of samples."""

    def register(measure: Measure) -> Measure:
        CHAPTERS[name] = Chapter(name, title, tuple(kinds), says, measure)
        return measure

    return register


def results_of(record: Mapping[str, Any]) -> list[Result]:
    """Return what the chapters of a record measured; none of records that are older than they."""
    return [Result.from_json(entry) for entry in record.get("chapters", [])]


def chapters_of(kind: str) -> list[Chapter]:
    """Return the chapters for a kind of sample, in the order of a report."""
    import emulators.benchmarks.chapters  # noqa: F401  (registers them)

    return [c for c in CHAPTERS.values() if kind in c.kinds]
