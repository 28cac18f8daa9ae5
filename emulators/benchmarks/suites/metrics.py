"""What a suite compares: a few numbers out of the record of each report, each with its floor."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emulators.benchmarks.classifier import VIEWS

__all__ = ["HEADLINE", "equivalent_samples", "known_metrics", "met", "metric", "summary_of"]

Record = Mapping[str, Any]

# The metric that systems are ranked by, and that the plot of fidelity against time shows.
HEADLINE = {"shower": "separation power", "field": "P(k) to Nyquist"}

_LAYERS = {
    "layer_mean": "layer means",
    "layer_width": "layer widths",
    "total_mean": "response",
    "total_width": "resolution",
}
_FEATURES = {
    "fpd": "FPD",
    "kpd": "KPD",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
_JOINT = ("correlations", "Fréchet, critic")
_CURVES = {
    "one_point": "one-point distribution",
    "peaks": "peaks",
    "voids": "voids",
    "bispectrum_equilateral": "bispectrum, equilateral",
    "bispectrum_squeezed": "bispectrum, squeezed",
}
# Of these more is better; of all others less is.
_MORE = {"precision", "recall", "density", "coverage", "speed-up", "equivalent samples"}


def known_metrics(kind: str) -> list[str]:
    """Return the names of all metrics that a suite may have for showers or fields."""
    common = ["equivalent samples", "ms, batch 1", "ms, largest batch", "speed-up"]
    common += ["minutes of training", "weights"]
    if kind == "shower":
        names = ["separation power", "Wasserstein", *_JOINT, *_LAYERS.values(), *_FEATURES.values()]
        return [f"AUC {view}" for view in VIEWS] + names + common
    names = ["P(k) to half Nyquist", "P(k) to Nyquist", "correlation of P(k)", *_CURVES.values()]
    return [*names, "response", "AUC observables", *common]


def metric(
    name: str, group: str, found: Mapping[str, Any], unit: str = "", scale: float = 1.0
) -> dict[str, Any]:
    """Return an entry of the record: name, group, unit, value, error, floor, its error, n."""
    numbers = {k: found.get(k) for k in ("value", "error", "floor", "floor_error")}
    scaled = {k: None if v is None else scale * v for k, v in numbers.items()}
    return {"name": name, "group": group, "unit": unit, **scaled, "n": found.get("n")}


def met(found: Mapping[str, Any], limit: float) -> bool:
    """Tell whether a metric keeps to a threshold; one without a value does not."""
    value = found["value"]
    if value is None:
        return False
    return bool(value >= limit if found["name"] in _MORE else value <= limit)


def summary_of(report: Record, entry: Record) -> dict[str, Any]:
    """Return what a suite keeps of a report.

    Parameters
    ----------
    report
        Its record.
    entry
        What is known of the system already: ``emulator``, ``minutes``.

    Returns
    -------
    ``metrics``, a list of `metric`; ``equivalent`` of `equivalent_samples`; ``simulation``, its
    seconds a sample; and of the report: ``verdict``, ``warnings``, ``n``, ``selection``,
    ``machine``, ``versions``.
    """
    showers = report["kind"] == "shower"
    own = _classifiers(report) + (_showers(report) if showers else _fields(report))
    equivalent = equivalent_samples(report)
    reference = report["files"]["reference"]
    timed = report["throughput"]
    simulation = timed.get("reference")
    return {
        "metrics": [*own, _equivalent(equivalent), *_cost(report, entry)],
        "equivalent": equivalent,
        "simulation": simulation["cpu_seconds_per_sample"]
        if simulation
        else timed["reference_seconds_per_sample"],
        "verdict": report["verdict"],
        "warnings": report["warnings"],
        "n": {k: report["files"][k]["used"] for k in ("generated", "reference")},
        "selection": reference["selection"],
        "machine": report["machine"],
        "versions": report["versions"],
    }


def _classifiers(report: Record) -> list[dict[str, Any]]:
    return [
        metric(f"AUC {name}", "classifiers", found["auc"])
        for name, found in report["classifiers"].items()
    ]


def _showers(report: Record) -> list[dict[str, Any]]:
    found = []
    for key, name in (("separation_power", "separation power"), ("wasserstein", "Wasserstein")):
        # in units of the reference's width, which an observable that never varies has not
        distances = [
            (o["distances"][key], o["reference"]["std"] if key == "wasserstein" else 1.0)
            for o in report["observables"]
            if key != "wasserstein" or o["reference"]["std"]
        ]
        found.append(metric(name, "distributions", _mean(distances)))
    for key, name in _FEATURES.items():
        entry = report.get("features", {}).get(key)
        if entry is not None and not entry.get("too_small"):
            scale, unit = (1e3, "1e-3") if key in ("fpd", "kpd") else (1.0, "")
            found.append(metric(name, "features", entry, unit, scale))
    if "correlations" in report:  # not in reports of before
        found.append(metric(_JOINT[0], "distributions", report["correlations"]["mean"]))
        distance = report["critic"]["frechet_distance"]
        if not distance["too_small"]:
            found.append(metric(_JOINT[1], "features", distance, "1e-3", 1e3))
    deviations = report["layer_energies"]["deviations"]
    for key, name in _LAYERS.items():
        if deviations[key]["value"] or deviations[key]["floor"]:  # else no bin has enough showers
            found.append(metric(name, "layers", deviations[key], "%", 100))
    return found


def _mean(distances: Sequence[tuple[Mapping[str, Any], float]]) -> dict[str, Any]:
    """Return the mean of measurements over scales; its error as if all were correlated."""
    keys = ("value", "error", "floor", "floor_error")
    means = {k: float(np.mean([m[k] / scale for m, scale in distances])) for k in keys}
    return means | {"n": distances[0][0]["n"]}


def _fields(report: Record) -> list[dict[str, Any]]:
    """Return the metrics of the first channel: the one that a training is judged by."""
    entry = report["channels"][0]
    curves = {c["name"]: c for c in entry["curves"]}

    def deviation(name: str, curve: str, part: str) -> list[dict[str, Any]]:
        found = curves.get(curve, {}).get("summary", {}).get(part)
        if not found:
            return []
        mean = {"n": curves[curve]["n"][0]} | found["mean"]  # records of before have no n there
        return [metric(name, "spectra" if curve == "power" else "statistics", mean, "%", 100)]

    found = deviation("P(k) to half Nyquist", "power", "half")
    found += deviation("P(k) to Nyquist", "power", "all")
    found.append(metric("correlation of P(k)", "spectra", entry["correlations"]["difference"]))
    for curve, name in _CURVES.items():
        found += deviation(name, curve, "all")
    return found + _response(entry)


def _response(entry: Record) -> list[dict[str, Any]]:
    """Return the mean deviation of d ln P(k) / d condition over all conditions and judged bins."""
    off, errors, floors = [], [], []
    for one in (entry["conditional"] or {"response": []})["response"]:
        for i, judged in enumerate(one["judged"]):
            if judged and one["ratio"][i] is not None:
                off.append(abs(one["ratio"][i] - 1))
                errors.append(one["error"][i])
                floors.append(one["floor"][i])
    if not off:
        return []
    means = {
        k: float(np.mean(v)) for k, v in (("value", off), ("error", errors), ("floor", floors))
    }
    return [metric("response", "statistics", means, "%", 100)]


def _equivalent(found: Mapping[str, Any]) -> dict[str, Any]:
    # where only a limit is known, it is what a threshold is held against
    value = found["low"] if found["value"] is None else found["value"]
    return metric("equivalent samples", "equivalent", {"value": value})


def _cost(report: Record, entry: Record) -> list[dict[str, Any]]:
    """Return times on one thread of the CPU, the speed-up there, training and size."""
    timed = [
        e
        for e in report["throughput"]["emulator"] or ()
        if (e["device"], e["threads"], e["writing"]) == ("cpu", 1, False)
    ]
    found = []
    for name, e in (("ms, batch 1", timed[0]), ("ms, largest batch", timed[-1])) if timed else ():
        times = {"value": e["seconds_per_sample"], "error": e["spread"], "n": e["batch"]}
        found.append(metric(name, "cost", times, scale=1e3))
    if timed and timed[-1].get("speed_up"):
        found.append(metric("speed-up", "cost", timed[-1]["speed_up"] | {"n": timed[-1]["batch"]}))
    if entry.get("minutes") is not None:
        found.append(metric("minutes of training", "cost", {"value": entry["minutes"]}))
    if "emulator" in entry:
        found.append(metric("weights", "cost", {"value": entry["emulator"]["weights"]}))
    return found


def equivalent_samples(report: Record) -> dict[str, Any]:
    """Return how many reference samples are as far from the simulation as the emulator is.

    An emulator is off by the same amount however many samples it makes; reference samples are off
    by chance, less the more there are.  So there is an n at which both are equally far from what
    the simulation gives in the limit.

    Showers: the expected separation power of n samples from that limit is ``c / n``, and between
    two samples of m, as in a report, ``2 c / m``, which is the floor.  The excess of the emulator's
    over the floor is its own, at infinite n.  So ``n = floor m / (2 excess)``, with both averaged
    over the observables.

    Fields: the mean square relative deviation of the mean P(k) of n independent simulations is
    ``v / n``, averaged over shells, and v follows from the error of the reference's mean.  The
    emulator's is that of the ratio minus the square of its statistical error.

    Returns
    -------
    ``value``, and ``low`` and ``high``, one standard error of the excess away; where the excess is
    less than two of its errors, ``value`` and ``high`` are None, and ``low`` is the limit at two.
    ``excess``, ``error``, and ``of``: what is counted.
    """
    if report["kind"] == "shower":
        found = _mean([(o["distances"]["separation_power"], 1.0) for o in report["observables"]])
        excess = found["value"] - found["floor"]
        error = math.hypot(found["error"], found["floor_error"])
        return _solved(found["floor"] * found["n"] / 2, excess, error, "showers")
    curve = next(c for c in report["channels"][0]["curves"] if c["name"] == "power")
    kept = np.array(curve["judged"], bool)
    numbers = ("ratio", "error", "reference", "reference_error")
    ratio, error, mean, own = (np.array(curve[k], float)[kept] for k in numbers)
    noise = curve["simulations"][1] * float(np.mean((own / mean) ** 2))
    squares = (ratio - 1) ** 2 - error**2
    # of (x + e)^2 with e of this error; shells as if all were correlated
    spread = np.sqrt(4 * np.maximum(squares, 0) * error**2 + 2 * error**4)
    return _solved(noise, float(np.mean(squares)), float(np.mean(spread)), "simulations")


def _solved(noise: float, excess: float, error: float, of: str) -> dict[str, Any]:
    result: dict[str, Any] = {"of": of, "excess": excess, "error": error}
    if excess > 2 * error:
        places: tuple[tuple[str, Callable[[float], float]], ...] = (
            ("value", lambda e: e),
            ("low", lambda e: e + error),
            ("high", lambda e: e - error),
        )
        return result | {k: noise / at(excess) for k, at in places}
    return result | {"value": None, "low": noise / (max(excess, 0.0) + 2 * error), "high": None}
