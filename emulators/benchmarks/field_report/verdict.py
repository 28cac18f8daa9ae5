"""What a benchmark of fields found, in words; limits are the project's targets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.classified import judge_classifiers
from emulators.benchmarks.seen import copies_in_words

__all__ = ["FieldThresholds", "furthest", "judge_bins", "judge_fields", "judge_groups"]

Line = dict[str, str]

# Standard errors beyond a limit that are no chance: there are dozens of bins, with long tails.
CLEAR = 4.0


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

    def curve(
        name: str, what: str, limit: float, where: str, part: str = "all", inside: Any = None
    ) -> Line:
        return judge_bins(what, curves[name], curves[name]["summary"][part], limit, where, inside)

    lines = [
        curve("power", "P(k) to half of Nyquist", t.power_half, at_k, "half", half),
        curve("power", "P(k) from half of Nyquist to Nyquist", t.power, at_k, "nyquist", ~half),
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
            lines.append(curve(name, what, limit, where))
    if found := entry["conditional"]:
        lines.append(judge_groups(found, t.conditions, at_k))
        lines += [
            judge_bins(f"response to {r['condition']}", r | {"x": found["k"]}, r, t.response, at_k)
            for r in found["response"]
        ]
    lines += [_copies(entry["copies"], kind) for kind in ("known", "each_other")]
    return lines


def _line(status: str, what: str, text: str) -> Line:
    return {"status": status, "what": what, "text": text}


def judge_bins(
    what: str,
    curve: Mapping[str, Any],
    summary: Mapping[str, Any] | None,
    limit: float,
    where: str,
    inside: npt.NDArray[np.bool_] | None = None,
    place: str = "",
) -> Line:
    """Judge the mean of signed deviations over the bins, and the clearest of these by itself.

    Parameters
    ----------
    what, place
        What was compared; where, in words.
    curve
        ``ratio``, ``error``, ``floor``, ``x``, and which bins are ``judged``.
    summary
        ``signed``, the mean deviation over these bins, with its error and floor: bins are
        correlated, so that these cannot be had from theirs.  Perhaps ``mean``, of the sizes of the
        deviations.
    limit
        Relative deviation at which good ends.
    where
        Format of a place along ``x``.
    inside
        The bins that are meant; all by default.
    """
    name = f"{what[0].upper()}{what[1:]}{place}"
    ratio, error, floor, x = (_numbers(curve[k]) for k in ("ratio", "error", "floor", "x"))
    kept = np.array(curve["judged"], bool) & np.isfinite(ratio) & np.isfinite(error)
    if inside is not None:
        kept &= inside
    signed = summary and summary["signed"]
    if not kept.any() or not signed or signed["error"] is None:
        return _line("unclear", what, f"{name}: too few fields to compare any bin.")
    ratio, error, floor, x = (v[kept] for v in (ratio, error, floor, x))
    off = np.abs(ratio - 1)
    excess = _excess(ratio, error, limit)
    clear = int((excess > CLEAR).sum())
    worst = int(np.argmax(excess if clear else off))
    deviation, doubt = abs(signed["value"]), signed["error"]
    # noise and difference add in squares
    size, noise = float(off.mean()), float(floor.mean())
    text = (
        f"{name}: {_signed(signed['value'])} ± {_percent(doubt)} in the mean of {len(off)} bins "
        f"(limit {_percent(limit)}; without any difference {_percent(signed['floor'])}), "
        f"{int((off <= limit).sum())} of them within the limit; "
        f"{'the clearest' if clear else 'the largest deviation'} "
        f"{_signed(ratio[worst] - 1)} ± {_percent(error[worst])} at {where.format(x[worst])} "
        f"(without any difference {_percent(floor[worst])})"
    )
    if clear:
        text += f", {clear} outside by more than four standard errors."
        return _line("poor", what, text)
    if deviation - limit > CLEAR * doubt:
        return _line("poor", what, f"{text}: the mean is outside by more than four.")
    mean = summary.get("mean") if summary else None
    if mean and mean["value"] - math.hypot(mean["floor"], limit) > CLEAR * _doubt(mean):
        text += (
            f": bins deviate by {_percent(mean['value'])} ± {_percent(mean['error'])}, those of "
            f"two halves of the reference by {_percent(mean['floor'])}."
        )
        return _line("poor", what, text)
    if doubt > limit:
        text += f": this n cannot tell {_percent(limit)}."
    elif deviation > limit:
        text += ": the mean is outside, but not by more than chance."
    elif size > math.hypot(noise, limit):
        text += (
            f": bins deviate by {_percent(size)}, by {_percent(noise)} without any difference; "
            "this n is too small to tell which of them."
        )
    else:
        return _line("good", what, text + ".")
    return _line("unclear", what, text)


def _doubt(found: Mapping[str, float]) -> float:
    """Return the standard error of a value less its floor."""
    return math.hypot(found["error"], found["floor_error"])


def furthest(groups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the group of conditions whose mean P(k) is surely furthest off.

    By the size of its deviation less one standard error, so that a group of few simulations is not
    the worst by its noise alone.
    """
    return max(groups, key=lambda g: abs(g["signed"]["value"]) - g["signed"]["error"])


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


def judge_groups(found: Mapping[str, Any], limit: float, at_k: str) -> Line:
    """Judge each group of about equal conditions by itself; the worst speaks for all."""
    what = "P(k) at equal conditions"
    groups = [g for g in found["groups"] if "signed" in g]
    if not groups:
        return _line("unclear", what, "Too few fields in every group of conditions.")
    lines = []
    for group in groups:
        n = group["simulations"]
        place = f", {group['group']} ({n[0]:,} and {n[1]:,} simulations)"
        curve = group | {"x": found["k"], "judged": [True] * len(found["k"])}
        lines.append(judge_bins(what, curve, group, limit, at_k, place=place))
    statuses = [line["status"] for line in lines]
    status = next(s for s in ("poor", "unclear", "good") if s in statuses)
    worst = furthest([g for g, s in zip(groups, statuses) if s == status])
    text = lines[groups.index(worst)]["text"]
    words = {"good": "good", "unclear": "cannot be told", "poor": "fail"}
    counts = [f"{statuses.count(s)} {word}" for s, word in words.items() if s in statuses]
    if few := len(found["groups"]) - len(groups):
        counts.append(f"{few} with fewer than two simulations")
        status = "unclear" if status == "good" else status
    return _line(status, what, f"{text} Of {len(found['groups'])} groups: {', '.join(counts)}.")


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


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−'}{_percent(abs(value))}"


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.995 else f"{100 * value:.0f} %"
