"""The comparison of a suite in words and tables, drawn from its record."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emulators.benchmarks.frame import Part
from emulators.benchmarks.judge import STATUS, written
from emulators.benchmarks.suites.metrics import headline
from emulators.benchmarks.write import summary

__all__ = [
    "comparison",
    "fact_rows",
    "find",
    "lead",
    "markdown",
    "metrics_of",
    "outcome",
    "simulation_time",
    "table",
    "verdict",
    "warnings",
]

Record = Mapping[str, Any]

_NOTES = {
    "Cost": "Times on one thread of the CPU; training by the clock. Times have no floor.",
    "Distances in feature space": "Of precision, recall, density and coverage more is better.",
}
_NOTE = (
    "The floor is the reference against itself at the same n. AUC: two-sample classifiers, 0.5 is "
    "perfect. Worth: as many reference samples are as far from the simulation by chance. Errors "
    "are those of the measurement; that two trainings of one recipe differ is not in them."
)


_GROUPS = {  # of suites of version 1
    "classifiers": "Fidelity",
    "distributions": "Fidelity",
    "spectra": "Fidelity",
    "equivalent": "Fidelity",
    "layers": "Energies",
    "statistics": "Statistics of fields",
    "features": "Distances in feature space",
    "cost": "Cost",
}


def metrics_of(entry: Record) -> dict[str, dict[str, Any]]:
    """Return the metrics of a system by name, as this version writes them."""
    return {
        m["name"]: {"more": False, "at_least": False, "label": m["name"]}
        | m
        | {"group": _GROUPS.get(m["group"], m["group"])}
        for m in entry["metrics"]
    }


def find(entry: Record, name: str) -> dict[str, Any] | None:
    """Return a metric of a system by name or by the name of its column, if it was measured."""
    metrics = metrics_of(entry)
    labelled = {m["label"]: m for m in metrics.values()}
    return metrics.get(name) or labelled.get(name)


def ranked(record: Record) -> list[tuple[Mapping[str, Any], Record]]:
    """Return headline metric and entry of the systems that have one, best first."""
    pairs = [(headline(record["kind"], metrics_of(s)), s) for s in record["systems"]]
    measured = [(m, s) for m, s in pairs if m is not None and m["value"] is not None]
    return sorted(measured, key=lambda p: p[0]["value"])


def _value(m: Mapping[str, Any], key: str = "value", error: str = "error") -> str:
    if m[key] is None:
        return ""
    text = written(m[key], m["unit"] if m["unit"] == "%" else "", m.get(error))
    return f"more than {text}" if m.get("at_least") and key == "value" else text


def _with_floor(m: Mapping[str, Any]) -> str:
    return f"{_value(m)} (floor {_value(m, 'floor', 'floor_error')})"


def lead(record: Record) -> str:
    """Return the outcome in a few sentences: who is closest, who follows, who is fastest."""
    order = ranked(record)
    if not order:
        return "No system could be measured."
    best, entry = order[0]
    closest = " is closest to the simulation" if len(order) > 1 else ""
    text = f"{entry['name']}{closest}: {best['label']} {_with_floor(best)}{_worth(entry)}."
    if len(order) > 1:
        second, other = order[1]
        gap = second["value"] - best["value"]
        if gap < 2 * math.hypot(best["error"] or 0, second["error"] or 0):
            text += f" {other['name']} cannot be told from it by that at this n."
        else:
            text += f" {other['name']} follows with {_value(second)}."
    timed = [(m, s) for _, s in order if (m := find(s, "ms, largest batch")) is not None]
    if len(timed) > 1:
        fast, entry = min(timed, key=lambda p: p[0]["value"])
        text += f" {entry['name']} is the fastest: {fast['value']:.2g} ms a {record['kind']}."
    return text


def _worth(entry: Record) -> str:
    worth = find(entry, "worth/samples")
    if worth is None or worth["value"] is None:
        return ""
    return f", worth {_value(worth)} {worth['label'].rpartition(' ')[2]} of the reference"


def verdict(record: Record) -> list[dict[str, str]]:
    """Return a line a system, by its own report and by the thresholds that hold for it."""
    return [_line(record, entry) for entry in record["systems"]]


def _line(record: Record, entry: Record) -> dict[str, str]:
    limits = [t for t in record["thresholds"] if t["system"] == entry["name"]]
    if "failed" in entry:
        text = f"{entry['name']}: the training came to no end: {entry['failed']}"
        return {"status": "poor", "what": entry["name"], "text": text}
    metrics = metrics_of(entry)
    text = f"{entry['name']}: "
    if (best := headline(record["kind"], metrics)) is not None and best["value"] is not None:
        text += f"{best['label']} {_with_floor(best)}{_worth(entry)}"
        areas = sorted(m["value"] for m in metrics.values() if m["label"].startswith("AUC"))
        ends = dict.fromkeys(f"{area:.2f}" for area in areas[:1] + areas[-1:])
        text += f"; AUC {' to '.join(ends)}. " if areas else ". "
    text += f"In its own report {summary(entry)}"
    statuses = {v["status"] for v in entry["verdict"]}
    status = next((s for s in STATUS if s in statuses), "good")
    if limits:
        missed = [t for t in limits if not t["met"]]
        status = "poor" if missed else status
        words = "; ".join(
            f"{t['metric']} "
            + ("was not measured" if t["value"] is None else written(t["value"], "", t["error"]))
            + f", limit {t['limit']:g}"
            for t in missed or limits
        )
        text += f" {'Thresholds missed' if missed else 'Thresholds met'}: {words}."
    return {"status": status, "what": entry["name"], "text": text}


def outcome(record: Record) -> list[str]:
    """Return what a terminal is told: warnings, the outcome, a line a system."""
    lines = [f"{v['status']}: {v['text']}" for v in verdict(record)]
    return [*warnings(record), lead(record), *lines]


def warnings(record: Record) -> list[str]:
    """Return what each report warns of, and whether the systems can be compared."""
    texts = [f"{s['name']}: {w}" for s in record["systems"] for w in s.get("warnings", ())]
    sizes = {tuple(s["n"].values()) for s in record["systems"] if "n" in s}
    if len(sizes) > 1:
        words = ", ".join(f"{g:,} against {r:,}" for g, r in sorted(sizes))
        texts.append(
            f"The systems were measured with different numbers of samples ({words}). Distances "
            "shrink with n: compare each with its own floor, or set benchmark.max_samples."
        )
    machines = {str(s["machine"]) for s in record["systems"] if "machine" in s}
    if len(machines) > 1:
        texts.append("The systems were timed on different machines: do not compare their times.")
    return texts


def comparison(record: Record) -> list[Part]:
    """Return the tables of all systems: title, headings, rows with a floor row, note."""
    systems = [(s["name"], metrics_of(s)) for s in record["systems"]]
    columns: dict[str, dict[str, dict[str, Any]]] = {}  # by group: the first metric of each name
    for _, metrics in systems:
        for m in metrics.values():
            columns.setdefault(m["group"], {}).setdefault(m["name"], m)
    parts: list[Part] = []
    for title, firsts in columns.items():
        rows = [
            [name, *(_cell(s, metrics.get(n), first) for n, first in firsts.items())]
            for (name, metrics), s in zip(systems, record["systems"])
        ]
        if title == "Cost":
            rows += _simulation(record, list(firsts))
        else:
            rows += _others(record, list(firsts))
            floors = [_value(m, "floor", "floor_error") for m in firsts.values()]
            sizes = [f"{m['n']:,}" if m["n"] else "" for m in firsts.values()]
            rows += [["floor: reference against itself", *floors], ["n a sample", *sizes]]
        names = [f"{m['label']}, %" if m["unit"] == "%" else m["label"] for m in firsts.values()]
        parts.append((title, ("system", *names), rows, _NOTES.get(title, _NOTE)))
    return parts


def _cell(entry: Record, m: Mapping[str, Any] | None, first: Mapping[str, Any]) -> str:
    if m is None:
        return "diverged" if "failed" in entry else ""
    text = _value(m)
    if m["n"] != first["n"] and m["floor"] is not None:
        text += f" (floor {_value(m, 'floor', 'floor_error')}, n {m['n']:,})"
    return text


def _others(record: Record, names: Sequence[str]) -> list[list[str]]:
    """Return a row for each start and baseline that was measured beside a system."""
    rows: dict[str, list[str]] = {}
    for s in record["systems"]:
        for other, values in s.get("beside", {}).items():
            shared = "untrained" not in other  # a baseline is the same for all
            name = other if shared else f"{s['name']}, {other}"
            cells = ["" if n not in values else written(values[n]["value"], "", values[n]["error"])
                     for n in names]  # fmt: skip
            if any(cells):
                rows.setdefault(name, [name, *cells])
    return list(rows.values())


def _simulation(record: Record, names: Sequence[str]) -> list[list[str]]:
    time = simulation_time(record)
    if time is None:
        return []
    cells = [f"{time:.4g}" if "time" in n or n.startswith("ms") else "" for n in names]
    return [["simulation", *cells]] if any(cells) else []


def simulation_time(record: Record) -> float | None:
    """Return the milliseconds of one core that the simulation takes for a sample, if known."""
    seconds = record["format_version"] == 1
    known = (s["simulation"] for s in record["systems"] if s.get("simulation"))
    return next((1e3 * t if seconds else t for t in known), None)


def fact_rows(record: Record) -> list[list[str]]:
    """Return what was compared and how, as pairs of words."""
    data, machine, settings = record["data"], record["machine"], record["suite"]["benchmark"]
    rows = ", ".join(f"{n:,} {name}" for name, n in data["rows"].items())
    facts = [
        ["reference", f"{data['path']}: {data['samples']:,} {record['kind']}s, {rows}"],
        ["its sha256", data["sha256"]],
        *(
            [["measured of", f"the first channel alone, {data['channels'][0]}"]]
            if len(data.get("channels", ())) > 1
            else []
        ),
        ["reports", ", ".join(f"{k} {v}" for k, v in settings.items())],
    ]
    for s in record["systems"]:
        words = []
        if "recipe" in s:
            words.append(f"trained here, network {s['recipe']['network']['name']}")
        if "emulator" in s:
            words.append(f"emulator {s['emulator']['name']}, sha256 {s['emulator']['sha256']}")
        if "selection" in s:
            words.append(f"measured with {s['selection']}")
        facts.append([s["name"], "; ".join(words)])
    if machine:
        facts.append(
            [
                "machine",
                f"{machine['processor']}, {machine['cores']} cores, {machine['torch_threads']} "
                f"torch threads, accelerator {machine['accelerator'] or 'none'}, "
                f"{machine['system']}",
            ]
        )
        facts.append(["versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())])
    return [*facts, ["command", record["command"]], ["made", record["created"]]]


def markdown(record: Record) -> str:
    """Return the comparative report as Markdown."""
    lines = [f"# {record['title']}", "", lead(record), ""]
    lines += [line for w in warnings(record) for line in (f"**Warning.** {w}", "")]
    lines += [f"- **{STATUS[v['status']]}**: {v['text']}" for v in verdict(record)]
    parts = [*comparison(record), ("What was compared", ("what", "value"), fact_rows(record), "")]
    for title, headings, rows, note in parts:
        lines += ["", f"## {title}", "", *table(headings, rows)]
        lines += ["", note] if note else []
    return "\n".join(lines) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    cells = (headings, ["---"] * len(headings), *rows)
    return ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells]
