"""What a benchmark found, in words: what is good, what fails, and what its n cannot tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.chapter import results_of
from emulators.benchmarks.classified import judge_classifiers
from emulators.benchmarks.joint.tables import cells
from emulators.benchmarks.judge import lines as lines_of

__all__ = ["Thresholds", "beyond", "judge"]

Numbers = npt.NDArray[np.float64]

# What a fault may be the mere consequence of.
_CAUSES = {
    "energy scale": ("missing showers", "noise in empty cells"),
    "lateral width": ("missing showers", "noise in empty cells"),
    "missing showers": ("noise in empty cells",),
    "noise in empty cells": ("missing showers", "lateral width"),
    "small deposits": ("missing showers", "lateral width", "noise in empty cells"),
    "smearing": ("noise in empty cells", "energy scale"),
}

# Standard errors beyond a limit that are no chance: there are dozens of bins, with long tails.
_CLEAR = 4.0

# That chi-squared tells any observable of a report apart, where none differs.
_CHANCE = 0.01


@dataclass(frozen=True)
class Thresholds:
    """Where good ends.

    Parameters
    ----------
    deviation
        Largest relative deviation of a layer's mean or width in a bin of incident energy.
    separation
        Largest excess of an observable's separation power over its floor.
    correlation
        Largest difference of a rank correlation of two observables.
    conditional
        Largest excess of an observable's Wasserstein distance over its floor in a bin of a
        condition, in units of the reference's width there.
    critic
        Largest excess of the Frechet distance in the critic's features, in squared widths: 0.01
        is a shift of every feature by a tenth of its width.
    """

    deviation: float = 0.02
    separation: float = 0.01
    correlation: float = 0.05
    conditional: float = 0.1
    critic: float = 0.01


def judge(record: Mapping[str, Any], thresholds: Thresholds) -> list[dict[str, str]]:
    """Return one line per check: ``status`` (good, poor, unclear), ``what``, ``text``."""
    lines = judge_classifiers(record)
    table = record["layer_energies"]
    for moment in ("mean", "width"):
        cells = [c for c in table["rows"] if c["layer"] != "total"]
        lines.append(_deviations(f"layer {moment}s", cells, moment, thresholds))
    for moment, what in (("mean", "energy response"), ("width", "energy resolution")):
        cells = [c for c in table["rows"] if c["layer"] == "total"]
        lines.append(_deviations(what, cells, moment, thresholds))
    lines.append(_observables(record["observables"], thresholds))
    lines += _conditional(record, thresholds)
    lines.append(_correlations(record["correlations"], thresholds))
    lines.append(_critic(record["critic"], thresholds))
    chapters = (n for r in results_of(record) for n in r.numbers.values())
    return [*lines, *lines_of(chapters), *_faults(record["diagnosis"])]


def _line(status: str, what: str, text: str) -> dict[str, str]:
    return {"status": status, "what": what, "text": text}


def _deviations(
    what: str, cells: Sequence[Mapping[str, Any]], moment: str, thresholds: Thresholds
) -> dict[str, str]:
    limit, name = thresholds.deviation, what.capitalize()
    known = [c for c in cells if None not in (c[f"{moment}_deviation"], c[f"{moment}_error"])]
    if not known:
        return _line("unclear", what, f"{name}: too few showers in every bin to compare.")
    within = sum(abs(c[f"{moment}_deviation"]) <= limit for c in known)
    beyond = [c for c in known if _excess(c, moment, limit) > _CLEAR]
    text = f"{name}: {within} of {len(known)} bins are within {_percent(limit)} of the reference"
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
    told = _told_apart(found)
    if not failing:
        return _line(
            "good",
            "distributions",
            f"The separation power of all {n} observables stays within {thresholds.separation:g} "
            f"of its floor, or within three standard errors. {told}",
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
        f"{thresholds.separation:g} of their floor; the others are led by {names}{more}. {told}",
    )


def _told_apart(found: Sequence[Mapping[str, Any]]) -> str:
    """Say what chi-squared finds; it has no limit of its own, as it grows with n."""
    limit = _CHANCE / len(found)
    told = [o for o in found if o["chi_squared_test"]["p_value"] < limit]
    n = f"{found[0]['distances']['chi_squared']['n']:,}"
    if not told:
        return f"Chi-squared tells none of them apart at n = {n} (p < {limit:.1g})."
    worst = max(told, key=lambda o: o["distances"]["chi_squared"]["value"])
    m = worst["distances"]["chi_squared"]
    return (
        f"Chi-squared tells {len(told)} of them apart at n = {n} (p < {limit:.1g}), most clearly "
        f"{worst['name']}: {m['value']:.1f} a degree of freedom, floor {m['floor']:.1f}."
    )


def _conditional(record: Mapping[str, Any], thresholds: Thresholds) -> list[dict[str, str]]:
    """Judge the distances in bins of each condition; nothing where none varies."""
    what, limit, found = "conditional distributions", thresholds.conditional, cells(record)
    if not found:
        reasons = {entry["too_small"] for entry in record["conditional"]}
        text = "Too few showers for bins of the conditions: n = "
        return [_line("unclear", what, f"{text}{'; '.join(reasons)}.")] if reasons else []
    excess = np.array([c.excess for c in found])
    doubt = np.array([c.doubt for c in found])
    status = _status(excess, doubt, limit)
    worst = (
        found[int(np.argmax((excess - limit) / np.maximum(doubt, 1e-9)))]
        if status == "poor"
        else found[0]
    )
    clear = int(beyond(excess, doubt, limit).sum())
    text = (
        f"In bins of the conditions {int((excess <= limit).sum())} of {len(found)} Wasserstein "
        f"distances of observables lie within {_percent(limit)} of the reference's width above "
        f"their floor, {clear or 'none'} beyond by more than four standard errors. The "
        f"{'clearest' if clear else 'largest'}: {worst.observable} at {worst.where}, "
        f"{worst.value:.2f} ± {worst.error:.2f} widths (floor {worst.floor:.2f}; "
        f"n = {worst.n[0]:,})."
    )
    return [_line(status, what, text + _too_few(status))]


def _correlations(found: Mapping[str, Any], thresholds: Thresholds) -> dict[str, str]:
    pairs, limit, mean = found["pairs"], thresholds.correlation, found["mean"]
    sizes = np.array([abs(p["difference"]) for p in pairs])
    errors = np.array([p["error"] for p in pairs])
    status = _status(sizes, errors, limit)
    worst = pairs[int(np.argmax((sizes - limit) / np.maximum(errors, 1e-9)))]
    text = (
        f"Rank correlations of observables differ by up to {sizes.max():.3f} (limit {limit:g}), by "
        f"{mean['value']:.3f} ± {mean['error']:.3f} on average (floor {mean['floor']:.3f}, "
        f"n = {mean['n']:,}). The clearest: {' with '.join(worst['observables'])}, "
        f"{worst['generated']:.3f} where the reference has {worst['reference']:.3f}, "
        f"± {worst['error']:.3f} (floor {worst['floor']:.3f})."
    )
    if status == "good" and sizes.max() > limit:
        text += " That is no more than chance does."
    return _line(status, "correlations", text + _too_few(status))


def _critic(found: Mapping[str, Any], thresholds: Thresholds) -> dict[str, str]:
    m, what = found["frechet_distance"], "critic's features"
    if m["too_small"]:
        return _line("unclear", what, f"Critic's features: too few showers, n = {m['too_small']}.")
    excess, doubt = m["value"] - m["floor"], math.hypot(m["error"], m["floor_error"])
    limit = thresholds.critic
    status = "good" if excess <= limit else "poor" if excess > 3 * doubt else "unclear"
    text = (
        f"In {found['features']} features that a network learned from the reference alone the "
        f"Fréchet distance is {m['value']:.4f} ± {m['error']:.4f} squared widths (floor "
        f"{m['floor']:.4f}, limit {limit:g} above it; n = {m['n']:,}): as if each were "
        f"shifted by {_percent(math.sqrt(max(excess, 0)))} of its width."
    )
    return _line(status, what, text + _too_few(status))


def beyond(values: Numbers, errors: Numbers, limit: float) -> npt.NDArray[np.bool_]:
    """Tell which values exceed a limit by more than chance."""
    return values - limit > _CLEAR * errors


def _status(values: Numbers, errors: Numbers, limit: float) -> str:
    """Judge many numbers: good are those within a limit, or no larger than chance makes them.

    That counts only where n can tell: if most errors are smaller than the limit.
    """
    if beyond(values, errors, limit).any():
        return "poor"
    within = (values <= np.maximum(limit, _CLEAR * errors)).all() and np.median(errors) < limit
    return "good" if within or (values <= limit).all() else "unclear"


def _too_few(status: str) -> str:
    return " This n is too small to tell." if status == "unclear" else ""


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
        told = " and ".join(filter(None, (", ".join(causes[:-1]), *causes[-1:])))
        follows = f" It may follow from {told}." if causes else ""
        text = f"{name.capitalize()}: {text}{more}; n = {_both(parts[0])}.{follows}"
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
