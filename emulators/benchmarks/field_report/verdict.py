"""What a benchmark of fields found, in words; limits are the project's targets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.classified import judge_classifiers
from emulators.benchmarks.seen import copies_in_words

__all__ = ["FieldThresholds", "judge_fields"]

Line = dict[str, str]

# Standard errors beyond a limit that are no chance: there are dozens of bins, with long tails.
CLEAR = 4.0
NOISE = 3.0  # standard errors within which nothing can be told


@dataclass(frozen=True)
class FieldThresholds:
    """Where good ends: relative deviations, but for the correlation matrix.

    Parameters
    ----------
    power_half, power
        Of the mean P(k): up to half of Nyquist, and beyond.
    correlations
        Mean absolute difference of the correlation matrices of P(k), above its floor.
    one_point
        Of the one-point distribution, in bins within four decades of the fullest.
    peaks
        Of numbers of peaks and of voids, in bins of height.
    bispectrum
        Of equilateral and squeezed bispectra.
    conditions
        Of the mean P(k) in a group of about equal conditions.
    response
        Of d ln P(k) / d condition.
    """

    power_half: float = 0.02
    power: float = 0.05
    correlations: float = 0.05
    one_point: float = 0.05
    peaks: float = 0.05
    bispectrum: float = 0.10
    conditions: float = 0.05
    response: float = 0.10


def judge_fields(record: Mapping[str, Any], thresholds: FieldThresholds) -> list[Line]:
    """Return one line per check: ``status`` (good, poor, unclear), ``what``, ``text``."""
    generated = record["files"]["generated"]
    lines = [
        _line("poor", "fault: copies", f"{text}: nothing else of this report says how good it is.")
        for text in copies_in_words(generated["copies"], generated["fields"], "fields")
    ]
    for entry in record["channels"]:
        prefix = "" if len(record["channels"]) == 1 else f"{entry['channel']}: "
        lines += [line | {"what": prefix + line["what"]} for line in _channel(entry, thresholds)]
    return judge_classifiers(record) + lines


def _channel(entry: Mapping[str, Any], t: FieldThresholds) -> list[Line]:
    curves = {c["name"]: c for c in entry["curves"]}
    power = curves["power"]
    half = np.array(power["x"]) <= power["nyquist"] / 2
    at_k = f"k = {{:.3g}} {power['axis'][1]}"
    lines = [
        _bins("P(k) to half of Nyquist", power, t.power_half, at_k, half, "half"),
        _bins("P(k) from half of Nyquist to Nyquist", power, t.power, at_k, ~half, "nyquist"),
        _matrix(entry["correlations"]["difference"], t.correlations),
    ]
    for name, what, limit, where in (
        ("one_point", "one-point distribution", t.one_point, "value {:.4g}"),
        ("peaks", "number of peaks", t.peaks, "height {:.4g}"),
        ("voids", "number of voids", t.peaks, "depth {:.3g}"),
        ("bispectrum_equilateral", "bispectrum, equilateral", t.bispectrum, at_k),
        ("bispectrum_squeezed", "bispectrum, squeezed", t.bispectrum, at_k),
    ):
        if name in curves:
            lines.append(_bins(what, curves[name], limit, where))
    if found := entry["conditional"]:
        lines.append(_groups(found, t.conditions, at_k))
        lines += [
            _bins(f"response to {r['condition']}", r | {"x": found["k"]}, t.response, at_k)
            for r in found["response"]
        ]
    lines += [_copies(entry["copies"], kind) for kind in ("known", "each_other")]
    return lines


def _line(status: str, what: str, text: str) -> Line:
    return {"status": status, "what": what, "text": text}


def _bins(
    what: str,
    curve: Mapping[str, Any],
    limit: float,
    where: str,
    inside: npt.NDArray[np.bool_] | None = None,
    part: str = "all",
) -> Line:
    """Judge ratios bin by bin: none may be clearly outside, and the errors must be able to tell."""
    name = what[0].upper() + what[1:]
    mean = curve["summary"][part]["mean"] if curve.get("summary", {}).get(part) else None
    ratio, error, floor, x = (_numbers(curve[k]) for k in ("ratio", "error", "floor", "x"))
    kept = np.array(curve["judged"], bool) & np.isfinite(ratio) & np.isfinite(error)
    if inside is not None:
        kept &= inside
    if not kept.any():
        return _line("unclear", what, f"{name}: too few fields to compare any bin.")
    ratio, error, floor, x = (v[kept] for v in (ratio, error, floor, x))
    spread = _numbers(curve["floor_error"])[kept] if "floor_error" in curve else floor
    off = np.abs(ratio - 1)
    excess = _excess(ratio, error, limit)
    within = int((off <= limit).sum())
    text = f"{name}: {within} of {len(off)} bins are within {_percent(limit)} of the reference"
    worst = int(np.argmax(excess)) if (excess > CLEAR).any() else int(np.argmax(off))
    sign = "+" if ratio[worst] > 1 else "−"
    largest = (
        f"{sign}{_percent(off[worst])} ± {_percent(error[worst])} at {where.format(x[worst])} "
        f"(two halves of the reference: {_percent(floor[worst])})"
    )
    if clear := int((excess > CLEAR).sum()):
        text += f"; {clear} outside by more than four standard errors, the clearest {largest}."
        return _line("poor", what, text)
    if mean and mean["value"] > limit and _far(mean):
        text += (
            f"; the mean deviation is {_percent(mean['value'])} ± {_percent(mean['error'])} (two "
            f"halves of the reference: {_percent(mean['floor'])}), the largest {largest}."
        )
        return _line("poor", what, text)
    noise = np.maximum(floor + spread, NOISE * error)
    blind = float(np.median(np.maximum(floor, error))) > limit
    if within == len(off) and not blind:
        return _line("good", what, f"{text}, the largest deviation {largest}.")
    if (off <= np.maximum(noise, limit)).all():
        if blind:
            text += (
                f", the largest deviation {largest}: as good as can be measured, but this n "
                f"cannot tell {_percent(limit)}."
            )
            return _line("unclear", what, text)
        text += (
            f"; the others are as good as can be measured, no further off than noise, the largest "
            f"{largest}."
        )
        return _line("good", what, text)
    text += (
        f"; none is outside by more than four standard errors, but for the rest this n is too "
        f"small to tell; the largest deviation {largest}."
    )
    return _line("unclear", what, text)


def _far(mean: Mapping[str, float]) -> bool:
    """Whether a mean deviation is above its floor by more than chance."""
    noise = math.hypot(mean["error"], mean["floor_error"])
    return mean["value"] - mean["floor"] > CLEAR * noise


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    return np.array(values, np.float64)  # None becomes NaN


def _excess(
    ratio: npt.NDArray[np.float64], error: npt.NDArray[np.float64], limit: float
) -> npt.NDArray[np.float64]:
    """By how many errors ratios lie outside; in the logarithm, as 1/2 is as far as 2."""
    safe = np.maximum(ratio, 1e-9)
    own = np.maximum(error, 1e-9) / np.maximum(safe, 0.1)
    return np.asarray((np.abs(np.log(safe)) - math.log1p(limit)) / own)


def _matrix(found: Mapping[str, float], limit: float) -> Line:
    value, floor = found["value"], found["floor"]
    noise = math.hypot(found["error"], found["floor_error"])
    excess = math.sqrt(max(value**2 - floor**2, 0.0))  # noise and difference add in squares
    text = (
        f"The correlation matrices of P(k) differ by {value:.3f} ± {found['error']:.3f} off the "
        f"diagonal (limit {limit:g}; two halves of the reference: {floor:.3f}, at n = "
        f"{found['n']:,})"
    )
    what = "correlation of P(k)"
    if value <= limit:
        return _line("good", what, text + ".")
    if value <= floor + 2 * noise:
        told = "as good as can be measured"
        if floor > 2 * limit:
            return _line("unclear", what, f"{text}: {told}, but this n cannot tell {limit:g}.")
        return _line("good", what, f"{text}: {told}.")
    if excess <= limit:
        return _line("good", what, f"{text}: {excess:.3f} without the noise.")
    if value - max(floor, limit) > 3 * noise:
        return _line("poor", what, f"{text}: {excess:.3f} without the noise.")
    return _line("unclear", what, f"{text}: this n is too small to tell.")


def _groups(found: Mapping[str, Any], limit: float, at_k: str) -> Line:
    groups = [g for g in found["groups"] if "ratio" in g]
    what = "P(k) at equal conditions"
    if not groups:
        return _line("unclear", what, "Too few fields in every group of conditions.")
    joined = {
        key: np.concatenate([_numbers(g[key]) for g in groups])
        for key in ("ratio", "error", "floor", "floor_error")
    }
    joined["x"] = np.tile(_numbers(found["k"]), len(groups))
    joined["judged"] = np.ones(len(joined["x"]), bool)
    line = _bins(what, joined, limit, at_k)
    safe = _excess(joined["ratio"], joined["error"], limit)
    worst = int(np.argmax(safe if (safe > CLEAR).any() else np.abs(joined["ratio"] - 1)))
    group = groups[worst // len(found["k"])]["group"]
    return line | {"text": f"{line['text'][:-1]}, in the group {group}."}


def _copies(found: Mapping[str, Any], kind: str) -> Line:
    pair = found[kind]
    of = f"{found['against']} fields" if kind == "known" else "each other"
    what = f"copies of {of}"
    n = f"{found['checked']} generated fields with {found['others'][kind]:,}"
    text = (
        f"The largest correlation of large scales, of {n} "
        f"{of if kind == 'known' else 'others generated'}, shifted, turned and mirrored, is "
        f"{pair['largest']:.2f}"
    )
    floor = _numbers(pair["floor"])
    if not len(floor):
        return _line("unclear", what, text + "; the reference has too few simulations to compare.")
    text += f" (independent reference fields: {floor.max():.2f})"
    reach = floor.max() + max(0.1, 4 * floor.std())
    count = int((_numbers(pair["correlations"]) > reach).sum())
    if count:
        text += f": {count} of {found['checked']} are copies of what they are closest to."
        return _line("poor", what, text)
    if pair["mean"] - floor.mean() > max(0.05, 2 * floor.std()):
        text += f": the mean, {pair['mean']:.2f}, is above the {floor.mean():.2f} of these."
        return _line("poor", what, text)
    return _line("good", what, text + ": they are independent.")


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.995 else f"{100 * value:.0f} %"
