"""Write the published results into README.md (one table) and docs/benchmarks.md (the suites).

From ``benchmarks/results/*/report.json`` and ``suite.json``: `emulators benchmark` and `emulators
benchmark run` write them.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emulators.benchmarks.judge import purposes, written
from emulators.benchmarks.measured import Number
from emulators.benchmarks.report import Report
from emulators.benchmarks.suites.tables import comparison
from emulators.benchmarks.suites.tables import table as markdown_table

ROOT = Path(__file__).parent.parent
MARKS = "<!-- results: python docs/make_results.py -->", "<!-- /results -->"
COLUMNS = {
    "AUC cells": ("classifiers/low",),
    "AUC summaries": ("classifiers/high", "classifiers/observables"),
    "separation power, P(k)": ("observables/separation_power", "power/half"),
    "ms a sample": ("speed/time",),
    "speed-up": ("speed/speed_up",),
}
NOTE = (
    "Value (untrained start; floor: simulation against itself) on samples that no training saw. "
    "AUC: a classifier tells emulator from simulation, by cells or by summaries (high-level "
    "features of showers; spectra, values, peaks and voids of fields): 0.5 is perfect, 1 tells "
    "every sample. Separation power of all observables of showers; mean deviation of P(k) of "
    "fields to half of Nyquist. Times: one thread, the largest batch. All figures: "
    "`benchmarks/results/`; suites: [docs/benchmarks.md](docs/benchmarks.md)."
)


def published() -> list[tuple[str, Report]]:
    """Return the published reports by name: showers first, the closest to the simulation first."""
    paths = ROOT.glob("benchmarks/results/*/report.json")
    reports = [(path.parent.name, Report.read(path)) for path in paths]
    return sorted(reports, key=lambda r: (r[1].record["kind"] != "shower", _rank(r[1]), r[0]))


def _rank(report: Report) -> float:
    number = _first(report, COLUMNS["AUC summaries"])
    return 2.0 if number is None else number.value


def _first(report: Report, names: Sequence[str]) -> Number | None:
    return next((report[name] for name in names if name in report), None)


def table(reports: Sequence[tuple[str, Report]]) -> str:
    """Return one row for each report, and what each is good and not good for."""
    rows = [
        [f"`{name}`", *(_cell(_first(report, names)) for names in COLUMNS.values())]
        for name, report in reports
    ]
    sentences = [
        f"- `{name}`: {text}"
        for name, report in reports
        if (text := purposes(n for r in report.results for n in r.numbers.values()))
    ]
    lines = markdown_table(["emulator", *COLUMNS], rows)
    return "\n".join([*lines, "", NOTE, *([""] if sentences else []), *sentences])


def _cell(number: Number | None) -> str:
    if number is None or not math.isfinite(number.value):
        return ""
    unit = "" if number.unit == "ms" else number.unit

    def text(value: float, error: float | None = None) -> str:
        return f"{value:.3f}" if number.label.startswith("AUC") else written(value, unit, error)

    beside = {name: value for name, value, _ in number.beside}
    parts = [f"start {text(v)}" for name, v in beside.items() if name == "untrained start"]
    parts += [] if number.floor is None else [f"floor {text(number.floor)}"]
    value = text(number.value, number.error)
    return f"{value} ({'; '.join(parts)})" if parts else value


def suite_tables(record: dict[str, Any]) -> str:
    """Return fidelity and cost of the systems of a suite."""
    lines = [f"**{record['title']}**"]
    known = {path.parent.name for path in ROOT.glob("benchmarks/results/*/report.json")}
    for title, headings, rows, _ in comparison(record):
        if title in ("Fidelity", "Cost"):  # what has a report of its own has its figures there
            lines += ["", *markdown_table(headings, (r for r in rows if r[0] not in known))]
    machine, data = record["machine"], record["data"]
    lines.append(
        f"\n{data['rows']['test']:,} {record['kind']}s of `{Path(data['path']).name}` that no "
        f"training saw. Times: one thread of an {machine['processor']}."
    )
    return "\n".join(lines)


def _filled(path: Path, content: str) -> str:
    start, end = MARKS
    new = "\n".join([start, content, end])
    pattern = f"{re.escape(start)}.*?{re.escape(end)}"
    return re.sub(pattern, lambda _: new, path.read_text(), flags=re.S)


def readme() -> str:
    """Return README.md with the table as it should be."""
    return _filled(ROOT / "README.md", table(published()))


def benchmarks_page() -> str:
    """Return docs/benchmarks.md with the suites' tables as they should be."""
    records = [json.loads(p.read_text()) for p in ROOT.glob("benchmarks/results/*/suite.json")]
    records.sort(key=lambda r: (r["kind"] != "shower", r["title"]))
    return _filled(ROOT / "docs" / "benchmarks.md", "\n\n".join(map(suite_tables, records)))


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme())
    (ROOT / "docs" / "benchmarks.md").write_text(benchmarks_page())
