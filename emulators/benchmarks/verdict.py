"""What a benchmark found, in words: what is good, what fails, and what its n cannot tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Thresholds", "judge"]

# What a fault may be the mere consequence of.
_CAUSES = {
    "energy scale": ("missing showers", "noise in empty cells"),
    "lateral width": ("missing showers", "noise in empty cells"),
    "missing showers": ("noise in empty cells",),
    "noise in empty cells": ("lateral width",),
    "small deposits": ("lateral width", "noise in empty cells"),
    "smearing": ("noise in empty cells", "energy scale"),
}

# Standard errors beyond a limit that are no chance: there are dozens of bins, with long tails.
_CLEAR = 4.0


@dataclass(frozen=True)
class Thresholds:
    """Where good ends.

    Parameters
    ----------
    auc
        Largest AUC of a two-sample classifier.
    deviation
        Largest relative deviation of a layer's mean or width in a bin of incident energy.
    separation
        Largest excess of an observable's separation power over its floor.
    """

    auc: float = 0.80
    deviation: float = 0.02
    separation: float = 0.01


def judge(record: Mapping[str, Any], thresholds: Thresholds) -> list[dict[str, str]]:
    """Return one line per check: ``status`` (good, poor, unclear), ``what``, ``text``."""
    lines = [_classifier(name, c, thresholds) for name, c in record["classifiers"].items()]
    table = record["layer_energies"]
    for moment in ("mean", "width"):
        cells = [c for c in table["rows"] if c["layer"] != "total"]
        lines.append(_deviations(f"layer {moment}s", cells, moment, thresholds))
    for moment, what in (("mean", "energy response"), ("width", "energy resolution")):
        cells = [c for c in table["rows"] if c["layer"] == "total"]
        lines.append(_deviations(what, cells, moment, thresholds))
    lines.append(_observables(record["observables"], thresholds))
    return lines + _faults(record["diagnosis"])


def _line(status: str, what: str, text: str) -> dict[str, str]:
    return {"status": status, "what": what, "text": text}


def _classifier(name: str, found: Mapping[str, Any], thresholds: Thresholds) -> dict[str, str]:
    value, error = found["auc"]["value"], found["auc"]["error"]
    spread = "(one seed)" if error is None else f"± {error:.3f}"
    limits = ((0.55, "hardly any"), (0.7, "some"), (0.8, "many"), (0.95, "most"))
    words = next((w for limit, w in limits if value < limit), "nearly all")
    text = (
        f"A classifier on {found['view']} tells {words} showers apart: AUC "
        f"{value:.3f} {spread} at n = {found['auc']['n']:,} a class "
        f"(limit {thresholds.auc:.2f}; two halves of the reference: {found['auc']['floor']:.3f})."
    )
    return _line("good" if value <= thresholds.auc else "poor", f"classifier, {name} view", text)


def _deviations(
    what: str, cells: Sequence[Mapping[str, Any]], moment: str, thresholds: Thresholds
) -> dict[str, str]:
    limit = thresholds.deviation
    known = [c for c in cells if None not in (c[f"{moment}_deviation"], c[f"{moment}_error"])]
    if not known:
        return _line("unclear", what, f"Too few showers in every bin to compare {what}.")
    within = sum(abs(c[f"{moment}_deviation"]) <= limit for c in known)
    beyond = [c for c in known if _excess(c, moment, limit) > _CLEAR]
    text = f"{within} of {len(known)} {what} are within {_percent(limit)} of the reference"
    if cells[0]["layer"] == "total":
        text = f"{what.capitalize()}: {within} of {len(known)} bins are within {_percent(limit)}"
    if beyond:
        cell = max(beyond, key=lambda c: _excess(c, moment, limit))
        deviation, error = abs(cell[f"{moment}_deviation"]), cell[f"{moment}_error"]
        layer = "" if cell["layer"] == "total" else f"in {cell['layer'].replace('_', ' ')} "
        sign = "+" if cell[f"{moment}_deviation"] > 0 else "−"
        text += (
            f"; {len(beyond)} outside by more than four standard errors, the clearest "
            f"{sign}{_percent(deviation)} ± {_percent(error)} {layer}at "
            f"{cell['low']:.3g} to {cell['high']:.3g} GeV."
        )
        return _line("poor", what, text)
    if within == len(known):
        return _line("good", what, text + ".")
    text += (
        "; none is outside by more than four standard errors, but for the rest this n is too "
        "small to tell."
    )
    return _line("unclear", what, text)


def _excess(cell: Mapping[str, Any], moment: str, limit: float) -> float:
    """By how many standard errors a ratio lies outside; in its logarithm, as 1/2 is as far as 2."""
    ratio = max(1 + cell[f"{moment}_deviation"], 1e-9)
    error = max(cell[f"{moment}_error"], 1e-9) / ratio
    return float((abs(math.log(ratio)) - math.log1p(limit)) / error)


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.995 else f"{100 * value:.0f} %"


def _observables(found: Sequence[Mapping[str, Any]], thresholds: Thresholds) -> dict[str, str]:
    failing = []
    for entry in found:
        s = entry["distances"]["separation_power"]
        excess = s["value"] - s["floor"]
        if excess > max(
            thresholds.separation, 3 * (s["error"] ** 2 + s["floor_error"] ** 2) ** 0.5
        ):
            failing.append((excess, entry["name"], s))
    n = len(found)
    if not failing:
        return _line(
            "good",
            "distributions",
            f"The separation power of all {n} observables stays within {thresholds.separation:g} "
            "of its floor, or within three standard errors.",
        )
    failing.sort(reverse=True)
    names = ", ".join(
        f"{name} ({s['value']:.3f}, floor {s['floor']:.3f})" for _, name, s in failing[:4]
    )
    more = f" and {len(failing) - 4} more" if len(failing) > 4 else ""
    return _line(
        "poor",
        "distributions",
        f"{n - len(failing)} of {n} observables have a separation power within "
        f"{thresholds.separation:g} of their floor; the others are led by {names}{more}.",
    )


def _faults(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Name the faults that were found, one line each; else say which would have been."""
    families: dict[str, list[Mapping[str, Any]]] = {}
    for f in findings:
        families.setdefault(f["fault"], []).append(f)
    named = [name for name, parts in families.items() if any(f["found"] for f in parts)]
    if not named:
        return [_no_fault(families)]
    lines = []
    for name in named:
        parts = sorted((f for f in families[name] if f["found"]), key=_clearest)
        text = "; ".join(f["text"] for f in parts[:3])
        more = f"; and {len(parts) - 3} more in the table" if len(parts) > 3 else ""
        causes = [c for c in _CAUSES.get(name, ()) if c in named]
        follows = f" It may follow from {' and '.join(causes)}." if causes else ""
        text = f"{text[0].upper()}{text[1:]}{more}; n = {_both(parts[0])}.{follows}"
        lines.append(_line("poor", f"fault: {name}", text))
    return lines


def _no_fault(families: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    would, untested, n = [], "", ""
    for name, parts in families.items():
        reach = [f["reach"] for f in parts if f["reach"] is not None]
        if reach:
            would.append(f"{name} from {_percent(min(reach))}")
            n = n or f" (n = {_both(parts[0])})"
        else:
            untested += f" Not tested, {name}: {parts[0]['text']}."
    text = f"No fault is found{n}. It would be named: {', '.join(would)}.{untested}"
    return _line("good", "faults", text)


def _both(finding: Mapping[str, Any]) -> str:
    generated, reference = finding["n"]
    return f"{generated:,} generated, {reference:,} reference"


def _clearest(finding: Mapping[str, Any]) -> tuple[bool, float]:
    whole = finding["part"] in ("whole shower", "all layers")
    return not whole, -abs(finding["value"]) / max(finding["error"], 1e-9)
