"""A report is made of chapters: one question each, asked of any kind of sample it makes sense for.

A chapter is a function ``measure(pair, settings)`` that gives measured things, each with value,
error, floor, n and limit.  Judging, drawing and writing know those alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emulators.benchmarks.measured import Measured, Number, from_json, to_json
from emulators.benchmarks.pair import Pair

__all__ = ["CHAPTERS", "Chapter", "Result", "Settings", "chapter", "chapters_of"]


@dataclass(frozen=True)
class Settings:
    """How a report is made.

    Parameters
    ----------
    seed
        Of all that is drawn.
    seeds
        Classifiers of each kind.
    preset
        Which classifier, or which public challenge; see `emulators.benchmarks.classifier`.
    classifiers
        Whether to train classifiers.
    resamplings, halvings
        Of errors and floors.
    """

    seed: int = 0
    seeds: int = 3
    preset: str = "fast"
    classifiers: bool = True
    resamplings: int = 100
    halvings: int = 20


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


CHAPTERS: dict[str, Chapter] = {}


def chapter(name: str, title: str, kinds: Sequence[str], says: str) -> Callable[[Measure], Measure]:
    """Register the decorated ``measure(pair, settings)`` as a chapter for kinds of samples."""

    def register(measure: Measure) -> Measure:
        CHAPTERS[name] = Chapter(name, title, tuple(kinds), says, measure)
        return measure

    return register


def chapters_of(kind: str) -> list[Chapter]:
    """Return the chapters for a kind of sample, in the order of a report."""
    import emulators.benchmarks.chapters  # noqa: F401  (registers them)

    return [c for c in CHAPTERS.values() if kind in c.kinds]
