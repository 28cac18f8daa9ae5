"""The tables of correlations, of distances in bins of conditions and of the critic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.drawing import shown
from emulators.benchmarks.joint.correlations import DRAWN

__all__ = ["Cell", "bin_names", "cells", "joint_parts", "joint_rows", "numbers", "over_floor"]

Part = tuple[str, Sequence[str], list[list[str]], str]  # title, headings, rows, note
Table = npt.NDArray[np.float64]

_WORST = 12

CORRELATION_NOTE = (
    "Spearman's rank correlations of all showers, which heavy tails do not rule. The pairs that "
    "differ most; their floor is the mean size of the difference between two halves of the "
    "reference, so at half the number of showers."
)
CONDITIONAL_NOTE = (
    "Wasserstein distance of emulator and reference in each bin, over that of two halves of the "
    "reference: 1 ± what chance does is perfect, 3 is three times the floor. n: showers compared, "
    "emulator and reference."
)
WORST_NOTE = (
    "The bins with the largest Wasserstein distance above its floor, over the reference's width in "
    "the bin (0.1: like a shift by a tenth of it), and the separation power there in 10 bins."
)


@dataclass(frozen=True)
class Cell:
    """The Wasserstein distance of one observable in one bin of one condition, over its width."""

    observable: str
    where: str
    value: float
    error: float
    floor: float
    floor_error: float
    separation: tuple[float, float, float]  # value, error, floor
    n: tuple[int, int]  # generated, reference

    @property
    def excess(self) -> float:
        """By how much the distance lies above its floor."""
        return self.value - self.floor

    @property
    def doubt(self) -> float:
        """The standard error of that."""
        return float(np.hypot(self.error, self.floor_error))


def numbers(entry: Mapping[str, Any], kind: str, name: str) -> Table:
    """Return an array ``(observables, bins)`` of the record; NaN where it has none."""
    return np.array(entry[kind][name], np.float64)


def over_floor(entry: Mapping[str, Any], kind: str) -> Table:
    """Return distances over their floors, ``(observables, bins)``; NaN where none was measured.

    Where the reference does not vary in a bin the floor is 0: 1 if so is the distance, else
    infinite.
    """
    value, floor = (numbers(entry, kind, k) for k in ("value", "floor"))
    ratio = np.where(value > 0, np.inf, np.where(value == 0, 1.0, np.nan))
    return np.divide(value, floor, out=ratio, where=floor > 0)


def bin_names(entry: Mapping[str, Any]) -> list[str]:
    """Return the ranges of the bins of a condition, without its unit."""
    return [f"{low:.3g} to {high:.3g}" for low, high in pairwise(entry["edges"])]


def cells(record: Mapping[str, Any]) -> list[Cell]:
    """Return all bins of all conditions in which distances were measured, the worst first."""
    found = []
    for entry in record["conditional"]:
        if entry["too_small"]:
            continue
        own = [numbers(entry, "wasserstein", k) for k in ("value", "error", "floor", "floor_error")]
        power = [numbers(entry, "separation_power", k) for k in ("value", "error", "floor")]
        condition = entry["condition"].replace("_", " ")
        for b, place in enumerate(bin_names(entry)):
            where = f"{condition} {place} {entry['unit']}".strip()
            n = entry["n_generated"][b], entry["n_reference"][b]
            for i, name in enumerate(entry["observables"]):
                if np.isfinite(own[0][i, b]):
                    a, s = ([float(x[i, b]) for x in table] for table in (own, power))
                    found.append(Cell(name, where, a[0], a[1], a[2], a[3], (s[0], s[1], s[2]), n))
    return sorted(found, key=lambda c: -c.excess)


def joint_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the headline table: metric, value, error, floor, floor's error, n."""
    rows = []
    keys = ("value", "error", "floor", "floor_error")
    for key in ("mean", "largest") if record["correlations"] else ():
        m = record["correlations"][key]
        text = f"rank correlations of observables, {key} difference"
        rows.append([text, *(f"{m[k]:.4f}" for k in keys), f"{m['n']:,}"])
    measured = cells(record)
    if measured:
        means = [float(np.mean([getattr(c, k) for c in measured])) for k in keys]
        n = f"{min(min(c.n) for c in measured):,} or more in a bin"
        text = "Wasserstein / width in bins of conditions, mean"
        rows.append([text, *(f"{x:.4f}" for x in means), n])
    if not record["critic"]:
        return rows
    m = record["critic"]["frechet_distance"]
    text = "Fréchet distance, critic's features × 1e3"
    if m["too_small"]:
        rows.append([text, "n too small", "", "", "", m["too_small"]])
    else:
        rows.append([text, *(f"{1e3 * m[k]:.3f}" for k in keys), f"{m['n']:,}"])
    return rows


def joint_parts(record: Mapping[str, Any]) -> list[Part]:
    """Return title, headings, rows and note of each table."""
    parts = [_correlations(record["correlations"])] if record["correlations"] else []
    if worst := cells(record)[:_WORST]:
        parts.append(_worst(worst))
    parts += [_conditional(entry) for entry in record["conditional"] if not entry["too_small"]]
    return parts


def _correlations(found: Mapping[str, Any]) -> Part:
    rows = [
        [
            " with ".join(p["observables"]),
            f"{p['reference']:.3f}",
            f"{p['generated']:.3f}",
            f"{p['difference']:+.3f} ± {p['error']:.3f}",
            f"{p['floor']:.3f}",
            "{:,}, {:,}".format(*p["n"]),
        ]
        for p in found["pairs"]
    ]
    headings = ("observables", "reference", "emulator", "difference", "floor", "n emul., ref.")
    return "Correlations of observables", headings, rows, CORRELATION_NOTE


def _worst(worst: Sequence[Cell]) -> Part:
    headings = (
        "observable",
        "where",
        "Wasserstein / width",
        "floor",
        "separation",
        "floor",
        "n emul., ref.",
    )
    rows = [
        [
            c.observable,
            c.where,
            f"{c.value:.3f} ± {c.error:.3f}",
            f"{c.floor:.3f} ± {c.floor_error:.3f}",
            f"{c.separation[0]:.3f} ± {c.separation[1]:.3f}",
            f"{c.separation[2]:.3f}",
            "{:,}, {:,}".format(*c.n),
        ]
        for c in worst
    ]
    return "Largest distances in bins of conditions", headings, rows, WORST_NOTE


def _over(ratio: float, error: float, floor: float) -> str:
    if np.isnan(ratio):
        return "too few"
    return f"{ratio:.1f} ± {error / floor:.1f}" if floor > 0 else f"{ratio:.1f} (floor 0)"


def _conditional(entry: Mapping[str, Any]) -> Part:
    ratio = over_floor(entry, "wasserstein")
    error, floor = (numbers(entry, "wasserstein", k) for k in ("error", "floor"))
    names = entry["observables"]
    rows = [["n", *(f"{g:,}, {r:,}" for g, r in zip(entry["n_generated"], entry["n_reference"]))]]
    for i in shown(range(len(names)), DRAWN):
        row = zip(ratio[i], error[i], floor[i])
        rows.append([names[i], *(_over(r, e, f) for r, e, f in row)])
    condition = entry["condition"].replace("_", " ")
    unit = f" [{entry['unit']}]" if entry["unit"] else ""
    headings = (f"{condition}{unit}", *bin_names(entry))
    return f"Distances over their floor in bins of {condition}", headings, rows, CONDITIONAL_NOTE
