"""The comparison of a suite in words and tables, drawn from its record."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emulators.benchmarks.suites.metrics import HEADLINE
from emulators.benchmarks.tables import STATUS, Part, short, summary, with_error

__all__ = [
    "comparison",
    "equivalent_words",
    "fact_rows",
    "find",
    "lead",
    "markdown",
    "outcome",
    "verdict",
    "warnings",
]

Record = Mapping[str, Any]

_PARTS = (
    ("Fidelity", ("classifiers", "distributions", "spectra", "equivalent")),
    ("Layers of the calorimeter", ("layers",)),
    ("Statistics of fields", ("statistics",)),
    ("Distances in feature space", ("features",)),
    ("Cost", ("cost",)),
)
_NOTES = {
    "Fidelity": "{means} Equivalent samples: {equivalent} "
    "Errors are those of the measurement; that two trainings of one recipe differ is not in them.",
    "Layers of the calorimeter": "Largest relative deviation of a layer's mean or width in a bin "
    "of incident energy, and of the whole shower's response and resolution.",
    "Statistics of fields": "Mean of |ratio - 1| over bins, at equal conditions.",
    "Distances in feature space": "In CaloChallenge's high-level features; Fréchet, critic: in "
    "those of a network trained on the reference. Of precision, recall, density and coverage more "
    "is better.",
    "Cost": "Times on one thread of the CPU, batch in brackets; training by the clock. Times have "
    "no floor.",
}
_MEANS = {
    "shower": "AUC: two-sample classifiers, 0.5 is perfect. Separation power, and Wasserstein "
    "distance over the width of the reference: means over all observables. Correlations: mean "
    "difference of the rank correlations of all pairs of observables.",
    "field": "P(k): mean of |ratio - 1| over shells; its correlation: mean difference of the "
    "matrices. AUC: two-sample classifier, 0.5 is perfect.",
}
_EQUIVALENT = {
    "shower": "the number of reference showers whose mean separation power from the simulation in "
    "the limit of many showers is as large, by chance, as the emulator's is by its faults "
    "(floor n / 2 over the excess above the floor; range: one standard error of the excess, or the "
    "limit at two where the excess is not clear of 0).",
    "field": "the number of independent simulations whose mean P(k) is as far from that of many, "
    "by chance, as the emulator's is by its faults (mean square over shells; range: one standard "
    "error, or the limit at two where the excess is not clear of 0).",
}


def find(entry: Record, name: str) -> dict[str, Any] | None:
    """Return a metric of a system by name, if it was measured."""
    return next((m for m in entry["metrics"] if m["name"] == name), None)


def ranked(record: Record) -> list[tuple[dict[str, Any], Record]]:
    """Return headline metric and entry of the systems that have one, best first."""
    pairs = [(find(s, HEADLINE[record["kind"]]), s) for s in record["systems"]]
    return sorted(((m, s) for m, s in pairs if m is not None), key=lambda p: p[0]["value"])


def equivalent_words(found: Mapping[str, Any]) -> str:
    """Write an equivalent number of samples, with what is known of it."""
    if found["value"] is None:
        return f"more than {_count(found['low'])}"
    return f"{_count(found['value'])} ({_count(found['low'])} to {_count(found['high'])})"


def _count(n: float) -> str:
    return f"{float(f'{n:.3g}'):,.0f}" if n >= 100 else f"{n:.3g}"


def _number(m: Mapping[str, Any], key: str = "value", error: str = "error") -> str:
    """Write a value with its error."""
    value, spread = m[key], m[error]
    if value is None:
        return ""
    if m["name"].startswith("AUC"):
        return f"{value:.3f}" + ("" if spread is None else f" ± {spread:.3f}")
    if value >= 1e4:
        return f"{value:,.0f}" + ("" if spread is None else f" ± {spread:,.0f}")
    return short(value) if spread is None else with_error(value, spread)


def _with_floor(m: Mapping[str, Any]) -> str:
    return f"{_number(m)}{_percent(m)} (floor {_number(m, 'floor', 'floor_error')})"


def _percent(m: Mapping[str, Any]) -> str:
    return f" {m['unit']}" if m["unit"] == "%" else ""


def lead(record: Record) -> str:
    """Return the outcome in a few sentences: who is closest, who follows, who is fastest."""
    order = ranked(record)
    if not order:
        return "No system could be measured."
    best, entry = order[0]
    found = f"{best['name']} {_with_floor(best)}"
    text = f"{entry['name']}: {found}, as good as "
    if len(order) > 1:
        text = f"{entry['name']} is closest to the simulation: {found}, as good as "
    equivalent = entry["equivalent"]
    text += f"{equivalent_words(equivalent)} {equivalent['of']} of the reference."
    if len(order) > 1:
        second, other = order[1]
        gap = second["value"] - best["value"]
        if gap < 2 * math.hypot(best["error"] or 0, second["error"] or 0):
            text += f" {other['name']} cannot be told from it by that at this n."
        else:
            text += f" {other['name']} follows with {_number(second)}{_percent(second)}."
    timed = [(m, s) for _, s in order if (m := find(s, "ms, largest batch")) is not None]
    if len(timed) > 1:
        fast, entry = min(timed, key=lambda p: p[0]["value"])
        text += f" {entry['name']} is the fastest: {short(fast['value'], 2)} ms a {record['kind']}."
    return text


def verdict(record: Record) -> list[dict[str, str]]:
    """Return a line a system: by the thresholds where they hold for it, else by its own report."""
    return [_line(record, entry) for entry in record["systems"]]


def _line(record: Record, entry: Record) -> dict[str, str]:
    own = [t for t in record["thresholds"] if t["system"] == entry["name"]]
    if "failed" in entry:
        text = f"The training came to no end: {entry['failed']}"
        return {"status": "poor", "what": entry["name"], "text": text}
    found = find(entry, HEADLINE[record["kind"]])
    text = ""
    if found is not None:
        name = found["name"][0].upper() + found["name"][1:]
        text = f"{name} {_with_floor(found)}, as good as "
        text += f"{equivalent_words(entry['equivalent'])} {entry['equivalent']['of']}"
        areas = sorted(m["value"] for m in entry["metrics"] if m["group"] == "classifiers")
        ends = dict.fromkeys(f"{area:.2f}" for area in areas[:1] + areas[-1:])
        text += f"; AUC {' to '.join(ends)}. " if areas else ". "
    text += f"In its own report {summary(entry)}"
    statuses = {v["status"] for v in entry["verdict"]}
    status = next((s for s in ("poor", "unclear") if s in statuses), "good")
    if own:
        missed = [t for t in own if not t["met"]]
        status = "poor" if missed else "good"
        words = "; ".join(
            f"{t['metric']} "
            + ("was not measured" if t["value"] is None else _number(t | {"name": t["metric"]}))
            + f", limit {t['limit']:g}"
            for t in missed or own
        )
        text += f" {'Thresholds missed' if missed else 'Thresholds met'}: {words}."
    return {"status": status, "what": entry["name"], "text": text}


def outcome(record: Record) -> list[str]:
    """Return what a terminal is told: warnings, the outcome, a line a system."""
    lines = [f"{v['what']}: {v['status']}: {v['text']}" for v in verdict(record)]
    return [*warnings(record), lead(record), *lines]


def warnings(record: Record) -> list[str]:
    """Return what each report warns of, and whether the systems can be compared."""
    found = [f"{s['name']}: {w}" for s in record["systems"] for w in s.get("warnings", ())]
    sizes = {tuple(s["n"].values()) for s in record["systems"] if "n" in s}
    if len(sizes) > 1:
        words = ", ".join(f"{g:,} against {r:,}" for g, r in sorted(sizes))
        found.append(
            f"The systems were measured with different numbers of samples ({words}). Distances "
            "shrink with n: compare each with its own floor, or set benchmark.max_samples."
        )
    machines = {str(s["machine"]) for s in record["systems"] if "machine" in s}
    if len(machines) > 1:
        found.append("The systems were timed on different machines: do not compare their times.")
    return found


def comparison(record: Record) -> list[Part]:
    """Return the tables of all systems: title, headings, rows with a floor row, note."""
    parts: list[Part] = []
    for title, groups in _PARTS:
        names = list(
            dict.fromkeys(
                m["name"] for s in record["systems"] for m in s["metrics"] if m["group"] in groups
            )
        )
        if not names:
            continue
        rows = [[s["name"], *(_cell(record, s, n) for n in names)] for s in record["systems"]]
        if title == "Cost":
            rows += _simulation(record, names)
        else:
            shown = [_first(record, n) for n in names]
            floors = [_number(m, "floor", "floor_error") for m in shown]
            sizes = ["" if m["n"] is None else f"{m['n']:,}" for m in shown]
            rows += [["floor: reference against itself", *floors], ["n a sample", *sizes]]
        kind = record["kind"]
        note = _NOTES[title].format(means=_MEANS[kind], equivalent=_EQUIVALENT[kind])
        parts.append((title, ("system", *(_heading(record, n) for n in names)), rows, note))
    return parts


def _first(record: Record, name: str) -> dict[str, Any]:
    """Return the metric of the first system that has it: its floor and n stand below the table."""
    return next(m for s in record["systems"] if (m := find(s, name)) is not None)


def _heading(record: Record, name: str) -> str:
    unit = _first(record, name)["unit"]
    return f"{name}, {unit}" if unit else name


def _cell(record: Record, entry: Record, name: str) -> str:
    found = find(entry, name)
    if found is None:
        return "diverged" if "failed" in entry else ""
    if name == "equivalent samples":
        return equivalent_words(entry["equivalent"])
    text = _number(found)
    if found["group"] == "cost" and found["n"]:
        return f"{text} ({found['n']:,})"
    if found["n"] != _first(record, name)["n"] and found["floor"] is not None:
        text += f" (floor {_number(found, 'floor', 'floor_error')}, n {found['n']:,})"
    return text


def _simulation(record: Record, names: Sequence[str]) -> list[list[str]]:
    seconds = simulation_seconds(record)
    if seconds is None or not any(n.startswith("ms") for n in names):
        return []
    return [["simulation", *(short(1e3 * seconds) if n.startswith("ms") else "" for n in names)]]


def simulation_seconds(record: Record) -> float | None:
    """Return the seconds of one core that the simulation takes for a sample, if it is known."""
    return next((s["simulation"] for s in record["systems"] if s.get("simulation")), None)


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
    facts.append(["command", record["command"]])
    facts.append(["made", record["created"]])
    return facts


def markdown(record: Record) -> str:
    """Return the comparative report as Markdown."""
    lines = [f"# {record['title']}", "", lead(record), ""]
    lines += [line for w in warnings(record) for line in (f"**Warning.** {w}", "")]
    lines += [f"- **{STATUS[v['status']]}** ({v['what']}): {v['text']}" for v in verdict(record)]
    parts = [*comparison(record), ("What was compared", ("what", "value"), fact_rows(record), "")]
    for title, headings, rows, note in parts:
        lines += ["", f"## {title}", "", *table(headings, rows)]
        lines += ["", note] if note else []
    return "\n".join(lines) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    cells = (headings, ["---"] * len(headings), *rows)
    return ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells]
