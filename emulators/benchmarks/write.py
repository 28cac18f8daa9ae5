"""Chapters as parts of a report: one table and one way to draw for every kind of sample."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from emulators.benchmarks.chapter import Result
from emulators.benchmarks.draw import draw
from emulators.benchmarks.drawing import png, svg
from emulators.benchmarks.frame import figure, notes, table
from emulators.benchmarks.judge import STATUS, judge, written
from emulators.benchmarks.measured import Curve, Number, Picture
from emulators.benchmarks.tables import Part

__all__ = ["HEADINGS", "number_rows", "parts", "sections"]

DRAWN = 12  # things of one type that a chapter draws on one figure, at most
HEADINGS = ("figure", "value", "floor", "good up to", "n", "verdict")


def number_rows(numbers: Sequence[Number]) -> list[list[str]]:
    """Return a row for each number; below it, one for each of its groups."""
    rows = []
    for number in numbers:
        limit, status = "", ""
        if number.limit is not None:
            above = " above the floor" if number.floor is not None else ""
            limit = f"{written(number.limit, number.unit)}{above}"
            status = STATUS[judge(number).status]
        for one, label in (
            (number, number.label),
            *((g, f"{number.label}, {g.label}") for g in number.groups),
        ):
            rows.append(
                [
                    label,
                    written(one.value, one.unit, one.error),
                    "" if one.floor is None else written(one.floor, one.unit),
                    limit if one is number else "",
                    f"{one.n:,}" if one.n else "",
                    status if one is number else "",
                ]
            )
    return rows


def point_rows(curves: Sequence[Curve]) -> list[list[str]]:
    """Return a row for each point of curves; in brackets what is not judged."""
    rows = []
    for c in curves:
        judged = c.judged if len(c.judged) else [True] * len(c.x)
        for i, kept in enumerate(judged):
            deviation = written(100 * c.deviation[i], "%", 100 * c.error[i])
            rows.append(
                [
                    c.label,
                    c.names[i] if c.names else f"{c.x[i]:.4g}",
                    f"{c.reference[i]:.4g}",
                    f"{c.generated[i]:.4g}",
                    deviation if kept else f"({deviation})",
                    written(100 * c.floor[i], "%"),
                ]
            )
    return rows


def _tables(result: Result) -> Iterator[Part]:
    if numbers := list(result.numbers.values()):
        yield result.title, HEADINGS, number_rows(numbers), result.says
    if curves := [m for m in result.measured if isinstance(m, Curve)]:
        yield (
            f"{result.title}, point by point",
            ("statistic", "at", "reference", "emulator", "deviation", "floor"),
            point_rows(curves),
            "In brackets: not judged, since the reference itself is too uncertain there.",
        )


def parts(results: Sequence[Result]) -> list[Part]:
    """Return the tables of the figures of merit, for a report in Markdown."""
    return [part for r in results for part in _tables(r) if part[1] == HEADINGS]


def sections(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """Return a section of the page for each chapter: its key, title and content."""
    found = []
    for result in results:
        content = notes(result.says)
        drawn = [m for m in result.measured if not isinstance(m, Number)]
        for _, things in groupby(drawn, key=type):
            shown = list(things)[:DRAWN]
            one = draw(shown)
            source = png(one) if isinstance(shown[0], Picture) else svg(one)
            captions = dict.fromkeys(thing.caption for thing in shown)
            content += figure(source, " ".join(c for c in captions if c))
        for title, headings, rows, _ in _tables(result):
            text = table(headings, rows)
            if headings != HEADINGS:
                text = f"<details><summary>Table: {title}</summary>{text}</details>"
            content += text
        found.append((result.name, result.title, content))
    return found
