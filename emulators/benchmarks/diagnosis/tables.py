"""The table of the faults that were looked for, drawn from the record."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["diagnosis_part"]

Part = tuple[str, Sequence[str], list[list[str]], str]  # title, headings, rows, note

HEADINGS = (
    "fault",
    "where",
    "value, %",
    "error, %",
    "floor, %",
    "named beyond, %",
    "n emul., ref.",
    "verdict",
)

NOTE = (
    "Energy scale and lateral width: emulator / reference − 1 at equal incident energy, widths "
    "also at equal depth. Missing showers: share of the reference in the region that the emulator "
    "most clearly fails to reach, less its share of the emulator's; one wholly missing is named "
    "beyond the size stated. Duplicates and copies: share of the "
    "generated showers. Leaning: how much more often the nearest shower is one trained on than one "
    "of as many unseen ones. Noise: share of the cells empty in the reference that have energy. "
    "Small deposits: their number, emulator / reference − 1. Smearing: mean deviation of the "
    "response, emulator / reference − 1. The floor is the mean size of the same number between "
    "halves of the reference, so at half the number of showers; of duplicates, copies and leaning "
    "it is what reference showers have in the place of generated ones. A fault is named beyond its "
    "limit plus as many standard errors as keep the chance of any false name in a report below "
    "1 %; shares are compared exactly."
)


def diagnosis_part(record: Mapping[str, Any]) -> Part:
    """Return title, headings, rows and note."""
    rows = []
    for f in record["diagnosis"]:
        numbers = [f[k] for k in ("value", "error", "floor", "reach")]
        # all to the second digit of the error
        digits = 1 - math.floor(math.log10(max(100 * (f["error"] or 1), 1e-3)))
        n = ", ".join(f"{n:,}" for n in f["n"]) if f["value"] is not None else ""
        rows.append(
            [
                f["fault"],
                f["part"],
                *("" if x is None else f"{100 * x:.{max(0, digits)}f}" for x in numbers),
                n,
                f["text"],
            ]
        )
    return "Diagnosis", HEADINGS, rows, NOTE
