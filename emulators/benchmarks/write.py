"""A report as JSON, as Markdown and as one HTML page: one table, one page for every kind of sample."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from emulators.benchmarks.draw import draw
from emulators.benchmarks.drawing import png, svg
from emulators.benchmarks.frame import figure, frame, judged, notes, table
from emulators.benchmarks.judge import STATUS, judge, written
from emulators.benchmarks.measured import Curve, Measured, Number, Picture, plain

if TYPE_CHECKING:
    from emulators.benchmarks.report import Report

__all__ = ["HEADINGS", "html", "json_text", "markdown", "number_rows", "opening"]

LEADING = 8  # figures that a page opens with, at most
DRAWN = 24  # things of one type that a chapter draws, at most
HEADINGS = ("figure", "value", "floor", "good up to", "worst group", "n", "verdict")
NOTE = (
    "The floor is the same figure between two independent parts of the reference of n samples each: "
    "what a perfect emulator would have. Values and floors are of one n, with simulations halved and "
    "resampled whole. ± is a standard deviation."
)


def json_text(report: "Report") -> str:
    """Return the record as JSON."""
    return json.dumps(plain(report.to_json()), indent=1, allow_nan=False) + "\n"


def opening(report: "Report") -> str:
    """Return in one sentence what the emulator is good enough for, and what it is not."""
    said: dict[str, list[str]] = {}
    for number in report.leading:
        said.setdefault(judge(number).status, []).append(number.purpose)
    parts = []
    for statuses, words in (
        (("good",), "Good enough for"),
        (("poor", "fair"), "not good enough for"),
        (("unclear",), "not to be told at this n:"),
    ):
        if purposes := [p for s in statuses for p in said.get(s, [])]:
            parts.append(f"{words} {_joined(purposes)}")
    text = "; ".join(parts) or "Nothing that is judged could be measured"
    return f"{text[0].upper()}{text[1:]}."


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def number_rows(
    numbers: Sequence[tuple[str, Number]], beside: Mapping[str, Mapping[str, Number]]
) -> list[list[str]]:
    """Return a row for each number, with a column for each system beside the emulator."""
    rows = []
    for key, number in numbers:
        worst = max(number.groups, key=lambda g: g.excess / max(g.doubt, 1e-12), default=None)
        row = [number.label, written(number.value, number.unit, number.error)]
        for systems in beside.values():
            other = systems.get(key)
            row.append("" if other is None else written(other.value, other.unit, other.error))
        row += [
            "" if number.floor is None else written(number.floor, number.unit),
            "" if number.limit is None else _limit(number),
            ""
            if worst is None
            else f"{written(worst.value, worst.unit, worst.error)}, {worst.label}",
            f"{number.n:,}" if number.n else "",
            "" if number.limit is None else STATUS[judge(number).status],
        ]
        rows.append(row)
    return rows


def _limit(number: Number) -> str:
    assert number.limit is not None
    above = " above the floor" if number.floor is not None else ""
    return f"{written(number.limit, number.unit)}{above}"


def _headings(beside: Mapping[str, Any]) -> tuple[str, ...]:
    return (*HEADINGS[:2], *beside, *HEADINGS[2:])


def _group_rows(numbers: Sequence[tuple[str, Number]]) -> list[list[str]]:
    return [
        [
            number.label,
            group.label,
            written(group.value, group.unit, group.error),
            "" if group.floor is None else written(group.floor, group.unit),
            f"{group.n:,}" if group.n else "",
        ]
        for _, number in numbers
        for group in number.groups
    ]


def _point_rows(curves: Sequence[Curve]) -> list[list[str]]:
    rows = []
    for c in curves:
        kept = c.judged if len(c.judged) else [True] * len(c.x)
        for i, judged_point in enumerate(kept):
            deviation = written(100 * c.deviation[i], "%", 100 * c.error[i])
            rows.append(
                [
                    c.label,
                    c.names[i] if c.names else f"{c.x[i]:.4g}",
                    f"{c.reference[i]:.4g}",
                    f"{c.generated[i]:.4g}",
                    deviation if judged_point else f"({deviation})",
                    written(100 * c.floor[i], "%"),
                ]
            )
    return rows


def _tables(
    report: "Report", numbers: Sequence[tuple[str, Number]], measured: Sequence[Measured]
) -> Iterator[tuple[str, Sequence[str], list[list[str]], str]]:
    """Yield title, headings, rows and note of each table of a chapter."""
    if numbers:
        yield "figures", _headings(report.beside), number_rows(numbers, report.beside), ""
    if groups := _group_rows(numbers):
        yield "by group", ("figure", "group", "value", "floor", "n"), groups, ""
    if curves := [m for m in measured if isinstance(m, Curve)]:
        headings = ("statistic", "at", "reference", "emulator", "deviation", "floor")
        yield (
            "points of the curves",
            headings,
            _point_rows(curves),
            "In brackets: not judged, since the reference itself is too uncertain there.",
        )


def markdown(report: "Report") -> str:
    """Return the report as Markdown."""
    lines = [f"# Benchmark of generated {report.kind}s", "", opening(report), ""]
    lines += [line for w in report.warnings for line in (f"**Warning.** {w}", "")]
    lines += ["## Verdict", "", report.summary, ""]
    lines += [f"- **{STATUS[v.status]}** ({v.what}): {v.text}" for v in report.lines]
    leading = [(k, n) for k, n in report.items() if n in report.leading]
    lines += ["", "## Leading figures", "", *_table(_headings(report.beside), number_rows(
        leading, report.beside)), "", NOTE]  # fmt: skip
    lines += [
        line for name, words in report.beside_words.items() for line in ("", f"*{name}*: {words}")
    ]
    for result in report.results:
        lines += ["", f"## {result.title}", "", result.says]
        for title, headings, rows, note in _tables(
            report, list(result.numbers.items()), result.measured
        ):
            if title == "points of the curves":
                continue  # in the record and on the page
            lines += ["", *_table(headings, rows), *(["", note] if note else [])]
    lines += ["", "## What was compared", "", *_table(("what", "value"), report.facts_rows)]
    return "\n".join(lines) + "\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(c.replace("|", "\\|") for c in row) + " |"
        for row in (headings, ["---"] * len(headings), *rows)
    ]


def html(report: "Report") -> str:
    """Return the report as one HTML page that needs no other file and no network."""
    leading = [(k, n) for k, n in report.items() if n in report.leading]
    beside = "\n".join(f"{name}: {words}" for name, words in report.beside_words.items())
    first = next((m for r in report.results for m in r.measured if isinstance(m, Picture)), None)
    first = first or next(
        (m for r in report.results for m in r.measured if not isinstance(m, Number)), None
    )
    sections = [
        (
            "verdict",
            "Verdict",
            judged(
                report.warnings,
                opening(report),
                [
                    {"status": v.status, "what": v.what, "text": v.text}
                    for v in report.lines[:LEADING]
                ],
            )
            + (_figure([first]) if first is not None else "")
            + table(_headings(report.beside), number_rows(leading, report.beside))
            + notes(f"{NOTE}\n{beside}" if beside else NOTE)
            + _rest(report),
        )
    ]
    for result in report.results:
        content = notes(result.says)
        for _, things in groupby(
            (m for m in result.measured if not isinstance(m, Number) and m is not first), key=type
        ):
            content += _figure(list(things)[:DRAWN])
        for title, headings, rows, note in _tables(
            report, list(result.numbers.items()), result.measured
        ):
            part = (f"{result.title}, {title}", headings, rows, note)
            content += (
                table(headings, rows) + notes(note)
                if title == "figures" and len(rows) <= 12
                else f"<details><summary>Table: {title}</summary>{table(headings, rows)}"
                f"{notes(note)}</details>"
            )
            del part
        sections.append((result.name.replace(" ", "-"), result.title, content))
    sections.append(("compared", "What was compared", table(("what", "value"), report.facts_rows)))
    return frame(
        f"Benchmark: {report.subject}",
        f"How good are these {report.kind}s?",
        report.subject,
        sections,
    )


def _rest(report: "Report") -> str:
    lines = [{"status": v.status, "what": v.what, "text": v.text} for v in report.lines[LEADING:]]
    if not lines:
        return ""
    return (
        f"<details><summary>{len(lines)} more checks</summary>"
        f"{judged((), report.summary, lines)}</details>"
    )


def _figure(things: list[Measured]) -> str:
    drawn = draw(things)
    source = png(drawn) if isinstance(things[0], Picture) else svg(drawn)
    captions = dict.fromkeys(getattr(t, "caption", "") for t in things)
    return figure(source, " ".join(c for c in captions if c))
