"""The comparative report of a suite as one self-contained HTML page, and its three files."""

import html as escape
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulators.benchmarks.frame import figure, frame, judged, notes, table
from emulators.benchmarks.suites.plots import fidelity_against_time, training_curves
from emulators.benchmarks.suites.tables import (
    comparison,
    fact_rows,
    lead,
    markdown,
    verdict,
    warnings,
)
from emulators.errors import InputError
from emulators.training.checkpoint import write_text

__all__ = ["html", "write_pages"]


def write_pages(record: Mapping[str, Any], folder: Path) -> None:
    """Write ``suite.json``, ``suite.md`` and ``index.html``, each whole or not at all."""
    try:
        write_text(folder / "suite.json", json.dumps(record, indent=1) + "\n")
        write_text(folder / "suite.md", markdown(record))
        write_text(folder / "index.html", html(record))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None


def html(record: Mapping[str, Any]) -> str:
    """Return the comparative report as one HTML page; only its links need other files."""
    sections = [("verdict", "Verdict", judged(warnings(record), lead(record), verdict(record)))]
    names = {s["name"] for s in record["systems"]}
    for title, headings, rows, note in comparison(record):
        systems = [row for row in rows if row[0] in names]
        # floor, n and simulation stay below the systems, however these are sorted
        below = [row for row in rows if row[0] not in names]
        content = table(headings, systems, below) + notes(note)
        sections.append((title.split()[0].lower(), title, content))
    if drawn := fidelity_against_time(record):
        caption = (
            "Distance from the simulation against the time of a sample; below and left is better. "
            "Full points: the largest batch, hollow ones: batch 1, both on one thread of the CPU. "
            "Bars and band: errors. Below the dashed line nothing can be measured. The star is "
            "the simulation at its own cost, where that is known; the way to it is the speed-up."
        )
        sections.insert(2, ("time", "Fidelity against time", figure(drawn, caption)))
    if drawn := training_curves(record):
        caption = (
            "The number by which each training chooses its best state, on validation samples, "
            "against time by the clock; lower is better. Dotted: the same between two halves of "
            "the validation samples, about 1.4 times what a perfect emulator reaches. A line that "
            "still falls at its end wants a longer training."
        )
        sections.append(("training", "Training", figure(drawn, caption)))
    links = "".join(
        f'<li><a href="{s["report"]}/report.html">{escape.escape(s["name"])}</a></li>'
        for s in record["systems"]
        if "report" in s
    )
    sections.append(("reports", "Reports", f"<ul>{links}</ul>"))
    sections.append(("compared", "What was compared", table(("what", "value"), fact_rows(record))))
    title = record["title"]
    subject = (
        f"{len(record['systems'])} systems on {Path(record['data']['path']).name}, "
        f"{record['created'][:10]}"
    )
    return frame(title, title, subject, sections)
