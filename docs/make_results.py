"""Write the tables of published results into README.md.

From ``benchmarks/results/*/report.json`` and ``suite.json``: `emulators benchmark` and `emulators
benchmark run` write them.
"""

import json
import re
from pathlib import Path
from typing import Any

from emulators.benchmarks.suites.tables import comparison
from emulators.benchmarks.suites.tables import table as markdown_table

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: python docs/make_results.py -->", "<!-- /results -->"


def table() -> str:
    """Return the table of showers, one row for each report, best first."""
    reports = [json.loads(p.read_text()) for p in ROOT.glob("benchmarks/results/*/report.json")]
    # records from before there were fields do not say their kind
    reports = [r for r in reports if r.get("kind", "shower") == "shower"]
    reports.sort(key=lambda r: r["classifiers"]["high"]["auc"]["value"])
    heads = ("emulator", "AUC cells", "AUC log cells", "AUC high-level", "AUC observables")
    times = "ms a shower, batch 1 / 10,000"
    lines = [f"| {' | '.join(heads)} | {times} |", "|---|---|---|---|---|---|", *map(row, reports)]
    first = reports[0]["classifiers"]
    floors = [f"{c['auc']['floor']:.3f} ± {c['auc']['floor_error']:.3f}" for c in first.values()]
    lines.append(f"| *floor: Geant4 against Geant4* | {' | '.join(floors)} | |")
    auc, machine = first["low"]["auc"], reports[0]["machine"]
    lines.append(
        f"\nTwo-sample classifiers on showers that no training saw, {auc['n']:,} a class (a fifth "
        f"of them judges; the floor has half as many): mean and standard deviation of "
        f"{len(auc['seeds'])} trainings, 0.5 is perfect. Times: {machine['torch_threads']} thread "
        "of the processor named; compare those of one processor only."
    )
    return "\n".join(lines)


def row(report: dict[str, Any]) -> str:
    """Return one line of the table."""
    name = report["files"]["generated"]["attributes"]["emulator"]
    found = [
        f"{c['auc']['value']:.3f} ± {c['auc']['error']:.3f}" for c in report["classifiers"].values()
    ]
    times: dict[Any, Any] = {}
    for t in report["throughput"]["emulator"]:  # the CPU with one thread comes first
        times.setdefault((t["batch"], t["writing"]), t)
    processor = report["machine"]["processor"]
    one, many = (1e3 * times[n, False]["seconds_per_sample"] for n in (1, 10_000))
    return f"| `{name}` | {' | '.join(found)} | {one:.2g} / {many:.2g} ({processor}) |"


def suite_table(record: dict[str, Any]) -> str:
    """Return fidelity and cost of the systems of a suite."""
    lines = [f"**{record['title']}**"]
    for title, headings, rows, _ in comparison(record):
        if title in ("Fidelity", "Cost"):
            lines += ["", *markdown_table(headings, rows)]
    machine, data = record["machine"], record["data"]
    lines.append(
        f"\n{data['rows']['test']:,} {record['kind']}s of `{Path(data['path']).name}` that no "
        f"training saw. Times: one thread of an {machine['processor']}. "
        "[docs/benchmarks.md](docs/benchmarks.md) says what the columns mean."
    )
    return "\n".join(lines)


def readme() -> str:
    """Return README.md with the tables as they should be: of suites, those that set a limit."""
    text = (ROOT / "README.md").read_text()
    found = [json.loads(p.read_text()) for p in ROOT.glob("benchmarks/results/*/suite.json")]
    found.sort(key=lambda r: (r["kind"] != "shower", r["title"]))
    tables = [table(), *(suite_table(r) for r in found if r["thresholds"])]
    new = "\n".join([START, "\n\n".join(tables), END])
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: new, text, flags=re.S)


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme())
