"""A record as Markdown and as one HTML page: the same tables and sections for every kind of sample.

The page opens with what the samples are good enough for, a picture and the leading figures; what
stands behind them follows, a section a chapter, its tables folded.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from emulators.benchmarks.chapter import Result, results_of
from emulators.benchmarks.draw import draw
from emulators.benchmarks.drawing import png, shown, svg
from emulators.benchmarks.frame import Part, figure, folded, frame, judged, notes, table
from emulators.benchmarks.judge import STATUS, is_judged, judge, purposes, written
from emulators.benchmarks.measured import Curve, Drawn, Matrix, Number, Picture

__all__ = [
    "DRAWN",
    "facts",
    "figures_of",
    "html",
    "leading",
    "markdown",
    "number_rows",
    "opening",
    "summary",
]

DRAWN = 12  # things of one type that a chapter draws on one figure, at most
LEADING = 8  # figures that a page opens with, at most
COLUMNS = 4  # other samples whose numbers stand in columns; more of them are rows

WORDS = (
    "The floor is the same figure between two parts of the reference, of different simulations, at "
    "the same n: the best value that can be measured. Distances shrink and AUCs grow with n, so "
    "compare at equal n. Errors are standard deviations over bootstrap resamplings of simulations, "
    "of classifiers over trainings."
)


def summary(record: Mapping[str, Any]) -> str:
    """Return in a sentence how many checks are good."""
    counts = {s: sum(v["status"] == s for v in record["verdict"]) for s in STATUS}
    text = f"{counts['good']} of {len(record['verdict'])} checks are good"
    if counts["fair"]:
        text += f", {counts['fair']} differ{'s' if counts['fair'] == 1 else ''} measurably"
    if counts["poor"]:
        text += f", {counts['poor']} fail{'s' if counts['poor'] == 1 else ''}"
    if counts["unclear"]:
        text += f", {counts['unclear']} cannot be told at this n"
    return text + "."


def opening(record: Mapping[str, Any]) -> str:
    """Return what the samples are good enough for, and how many checks are good."""
    return f"{purposes(_numbers(results_of(record)))} {summary(record)}".strip()


def leading(results: Sequence[Result]) -> list[Number]:
    """Return the few figures that a page opens with."""
    return [n for n in _numbers(results) if n.leading][:LEADING]


def _numbers(results: Iterable[Result]) -> list[Number]:
    return [n for r in results for n in r.numbers.values()]


def number_rows(numbers: Sequence[Number]) -> tuple[list[str], list[list[str]]]:
    """Return headings and a row for each number; a column for each of a few other samples."""
    names = list(dict.fromkeys(name for n in numbers for name, *_ in n.beside))
    names = names if len(names) <= COLUMNS else []
    rows = []
    for n in numbers:
        limit = ""
        if n.limit is not None:
            side = "" if n.floor is None else " below the floor" if n.more else " above the floor"
            limit = f"{written(n.limit, n.unit)}{side}"
        others = {name: written(value, n.unit, error) for name, value, error in n.beside}
        rows.append(
            [
                n.label,
                _value(n),
                "" if n.floor is None else written(n.floor, n.unit, n.floor_error),
                *(others.get(name, "") for name in names),
                limit,
                f"{n.n:,}" if n.n else "",
                STATUS[judge(n).status] if is_judged(n) else "",
            ]
        )
    return ["figure", "value", "floor", *names, "good up to", "n", "verdict"], rows


def _value(n: Number) -> str:
    if not math.isfinite(n.value):
        return n.says or "not measured"
    return f"{'more than ' if n.at_least else ''}{written(n.value, n.unit, n.error)}"


def _tables(result: Result) -> Iterator[Part]:
    """Return the tables of a chapter: figures, their groups, other samples, points of curves."""
    numbers = list(result.numbers.values())
    if numbers:
        said = [n for n in numbers if n.says and math.isfinite(n.value) and not is_judged(n)]
        note = "\n".join(f"{n.label[:1].upper()}{n.label[1:]}: {n.says}" for n in said)
        yield result.title, *_filled(*number_rows(numbers)), note
    yield from _group_tables(result.title, numbers)
    if many := [n for n in numbers if len(n.beside) > COLUMNS]:
        yield _systems(result.title, many)
    if curves := [m for m in result.measured if isinstance(m, Curve)]:
        headings = ["statistic", "at", "reference", "emulator", "deviation", "floor"]
        yield (
            f"{result.title}, point by point", headings, _point_rows(curves),
            "In brackets: not judged, since the reference itself is too uncertain there.",
        )  # fmt: skip


def _group_tables(title: str, numbers: Sequence[Number]) -> Iterator[Part]:
    """Return a table for numbers with the same groups: a row a group, value and floor of each."""
    grouped = [n for n in numbers if n.groups and n.listed]

    def names(n: Number) -> tuple[str, ...]:
        return tuple(g.label for g in n.groups)

    for labels, together in groupby(grouped, key=names):
        members = list(together)
        rows = []
        for i, label in enumerate(labels):
            row = [label]
            for n in members:
                g = n.groups[i]
                row += [_value(g), "" if g.floor is None else written(g.floor, g.unit)]
            said = (g.says for g in (n.groups[i] for n in members) if math.isfinite(g.value))
            rows.append([*row, "; ".join(filter(None, said))])
        headings = ["of", *(h for n in members for h in (n.label, "floor")), ""]
        headings, rows = _filled(headings, rows)
        yield f"{title}: {members[0].label}, one by one", headings, rows, ""


def _filled(headings: Sequence[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return a table without columns in which nothing stands."""
    kept = [i for i in range(len(headings)) if any(row[i] for row in rows)]
    return [headings[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _systems(title: str, numbers: Sequence[Number]) -> Part:
    """Return a table of many other samples, a row each, with these and the floor above them."""
    names = list(dict.fromkeys(name for n in numbers for name, *_ in n.beside))
    tables = [{name: (value, error) for name, value, error in n.beside} for n in numbers]
    rows = [
        ["this file", *map(_value, numbers)],
        ["floor", *("" if n.floor is None else written(n.floor, n.unit, n.floor_error)
                    for n in numbers)],
        *(
            [name, *(
                written(t[name][0], n.unit, t[name][1]) if name in t else "–"
                for n, t in zip(numbers, tables)
            )]
            for name in names
        ),
    ]  # fmt: skip
    return f"{title}, beside others", ["samples", *(n.label for n in numbers)], rows, ""


def _point_rows(curves: Sequence[Curve]) -> list[list[str]]:
    """Return a row for each point of curves; in brackets what is not judged."""
    rows = []
    for c in curves:
        for i, kept in enumerate(c.kept):
            known = math.isfinite(c.deviation[i])
            text = written(100 * c.deviation[i], "%", 100 * c.error[i]) if known else ""
            rows.append(
                [
                    c.label,
                    c.names[i] if c.names else f"{c.x[i]:.4g}",
                    f"{c.reference[i]:.4g}",
                    f"{c.generated[i]:.4g}",
                    text if kept or not known else f"({text})",
                    written(100 * c.floor[i], "%") if math.isfinite(c.floor[i]) else "",
                ]
            )
    return rows


def facts(record: Mapping[str, Any]) -> list[list[str]]:
    """Return what was compared and how, as pairs of words."""
    generated, reference = record["files"]["generated"], record["files"]["reference"]
    attributes = generated["attributes"]
    machine, settings = record["machine"], record["settings"]
    samples = f"{record['kind']}s"
    rows = [
        ["generated file", f"{generated['path']} ({generated['layout']} layout)"],
        ["its sha256", generated["sha256"]],
        [f"its {samples}", f"{generated['used']:,} used of {generated[samples]:,}"],
        ["made by", attributes.get("generator", "not said in the file")],
        ["its seed", attributes.get("seed", "not said in the file")],
        ["its law of conditions", attributes.get("conditions", "not said in the file")],
        ["reference file", f"{reference['path']} ({reference['layout']} layout)"],
        ["its sha256", reference["sha256"]],
        [f"its {samples}", f"{reference['used']:,} used of {reference[samples]:,}"],
        ["which of them", reference["selection"]],
        ["made by", reference["attributes"].get("generator", "not said in the file")],
        *record["compared"],
        ["seed of this report", str(settings["seed"])],
        [
            "classifiers",
            f"preset {settings['preset']}, {settings['classifier_seeds']} seeds each"
            if settings.get("classifiers", True)
            else "left out",
        ],
        [
            "errors and floors",
            f"{settings['resamplings']} bootstrap resamplings, {settings['halvings']} halvings",
        ],
        [
            "machine",
            f"{machine['processor']}, {machine['cores']} cores, {machine['torch_threads']} torch "
            f"threads, accelerator {machine['accelerator'] or 'none'}, {machine['system']}",
        ],
        ["versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())],
        [
            "record",
            f"written by emulators {record['versions']['emulators']}, format version "
            f"{record['format_version']}",
        ],
        ["command", record["command"]],
        ["made", f"{record['created']}, in {record['seconds']:.0f} s"],
    ]
    if attributes.get("extrapolated"):
        rows.insert(6, ["beyond its training", attributes["extrapolated"]])
    return rows


def markdown(record: Mapping[str, Any]) -> str:
    """Return the report as Markdown: what it is good for, verdict, a table a chapter."""
    results = results_of(record)
    lines = [f"# Benchmark of generated {record['kind']}s", "", opening(record), ""]
    lines += [line for w in record["warnings"] for line in (f"**Warning.** {w}", "")]
    lines += [f"- **{STATUS[v['status']]}**: {v['text']}" for v in record["verdict"]]
    parts: list[Part] = []
    if few := leading(results):
        parts.append(("Leading figures", *number_rows(few), WORDS))
    for result in results:
        own = [p for p in _tables(result) if not p[0].endswith("point by point")]
        parts += [(title, heads, rows, f"{result.says}\n{note}".strip() if not i else note)
                  for i, (title, heads, rows, note) in enumerate(own)]  # fmt: skip
    parts.append(("What was compared", ("what", "value"), facts(record), ""))
    for title, headings, rows, note in parts:
        lines += ["", f"## {title}", ""]
        for row in (headings, ["---"] * len(headings), *rows):
            lines.append("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |")
        lines += ["", note] if note else []
    return "\n".join(lines) + "\n"


def html(record: Mapping[str, Any]) -> str:
    """Return the report as one HTML page that needs no other file and no network."""
    results = results_of(record)
    picture = next((m for r in results for m in r.measured if isinstance(m, Picture)), None)
    sections = [("verdict", "Verdict", _first(record, results, picture))]
    for r in results:  # what the page opens with is not shown twice
        rest = tuple(m for m in r.measured if m is not picture)
        if rest:
            sections.append((r.name, r.title, _section(replace(r, measured=rest))))
    sections.append(("compared", "What was compared", table(("what", "value"), facts(record))))
    samples = f"{record['kind']}s"
    heading = f"Benchmark of generated {samples}"
    name = record["files"]["generated"]["attributes"].get("emulator", "")
    return frame(f"{heading} {name}".strip(), heading, _subject(record, samples), sections)


def _subject(record: Mapping[str, Any], samples: str) -> str:
    generated, reference = record["files"]["generated"], record["files"]["reference"]
    name = generated["attributes"].get("emulator")
    made = f"by emulator {name} " if name else ""
    return (
        f"{generated['used']:,} {samples} generated {made}against {reference['used']:,} of the "
        f"reference, {record['created'][:10]}"
    )


def _first(record: Mapping[str, Any], results: Sequence[Result], picture: Picture | None) -> str:
    """Return warnings, the sentence, the leading figures, a picture, and the verdict's lines."""
    said = [v for v in record["verdict"] if v["status"] != "good"]
    good = [v for v in record["verdict"] if v["status"] == "good"]
    content = judged(record["warnings"], opening(record), [])
    if few := leading(results):
        content += table(*number_rows(few)) + notes(WORDS)
    if picture is not None:
        content += _figure([picture])
    content += judged([], "", said)
    if good:
        lines = judged([], "", good)
        content += f"<details><summary>What is good: {len(good)} checks</summary>{lines}</details>"
    return content


def _section(result: Result) -> str:
    content = notes(result.says)
    for _, things in figures_of(result):
        content += _figure(things)
    for part in _tables(result):
        if part[0] == result.title:
            content += table(part[1], part[2]) + notes(part[3])
        else:
            content += folded(part)
    return content


def figures_of(result: Result) -> Iterator[tuple[str, list[Drawn]]]:
    """Return what is drawn of a chapter, figure by figure, with a name each.

    Things of one type and caption share a figure; matrices and pictures have one each.
    """
    drawn: list[Drawn] = [m for m in result.measured if not isinstance(m, Number)]
    for i, (_, things) in enumerate(groupby(drawn, key=lambda m: (type(m), m.caption))):
        members = list(things)
        if isinstance(members[0], Picture | Matrix):
            yield from ((f"{result.name}-{m.name}", [m]) for m in members)
        else:
            yield f"{result.name}-{i + 1}", members


def _figure(things: Sequence[Drawn]) -> str:
    family = isinstance(things[0], Curve) and things[0].family  # many curves on few panels
    chosen = list(things) if family else shown(things, DRAWN)
    left = "" if len(chosen) == len(things) else f" {len(chosen)} of {len(things)} are drawn."
    painted = draw(chosen)
    source = png(painted) if isinstance(things[0], Picture | Matrix) else svg(painted)
    return figure(source, things[0].caption + left)
