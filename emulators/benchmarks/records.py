"""Records of reports that earlier versions wrote, brought to today's version.

In version 1 every statistic had entries of its own.  Their figures, curves and histograms become
those of chapters; the verdict stays as it was written then.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from emulators.benchmarks.chapter import Result
from emulators.benchmarks.measured import (
    FORMAT_VERSION,
    Axis,
    Curve,
    Histogram,
    Measured,
    Number,
    plain,
)
from emulators.benchmarks.speed.result import speed_result
from emulators.errors import InputError

__all__ = ["upgraded"]

_SPEED: Mapping[str, Any] = {
    "emulator": None,
    "why_not": None,
    "start_up": (),
    "scaling": None,
    "fresh_why_not": None,
    "reference": None,
    "reference_why_not": None,
    "reference_seconds_per_sample": None,
    "reference_samples_per_simulation": None,
}
_TIMED: Mapping[str, Any] = {
    "cpu_seconds_per_sample": None,
    "cpu_spread": None,
    "joules_per_sample": None,
    "energy_of": (),
    "speed_up": None,
}
_DISTANCES = ("separation_power", "wasserstein", "kolmogorov_smirnov", "chi_squared")


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of this version, of one of this or an earlier version.

    InputError where it is of a later one.
    """
    version = record.get("format_version", 1)
    if version == FORMAT_VERSION:
        return dict(record)
    if version != 1:
        raise InputError(
            f"a record of format version {version}: this version of emulators reads up to "
            f"{FORMAT_VERSION}"
        )
    kind = record.get("kind", "shower")  # the first were of showers, and did not say it
    results = [*(_showers(record) if kind == "shower" else _fields(record))]
    if scores := record["classifiers"]:
        numbers = (
            _number(k, f"AUC of a classifier on {c['view']}", c["auc"]) for k, c in scores.items()
        )
        results.append(Result("classifiers", "Classifiers", "", tuple(numbers)))
    results.append(speed_result(_timed(record), kind))
    kept = ("format", "created", "command", "files", "machine", "versions", "warnings", "seconds")
    same = {"text": "", "what": "", "status": "unclear"}
    return {
        **{key: record[key] for key in kept},
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "compared": [["format of this record", "version 1: what it lacks is left out"]],
        "settings": {"classifiers": bool(scores), **record["settings"]},
        "chapters": plain([r.to_json() for r in results if r.measured]),
        "verdict": [same | line for line in record["verdict"]],
    }


def _number(name: str, label: str, entry: Mapping[str, Any], **more: Any) -> Number:
    """Return a measurement of a record; what its n was too small for has no value."""
    if entry.get("too_small"):
        return Number(name, label, float("nan"), says=f"too few: n = {entry['too_small']}", **more)
    scale = 100.0 if more.get("unit") == "%" else 1.0
    numbers: dict[str, Any] = {
        k: None if entry.get(k) is None else scale * entry[k]
        for k in ("value", "error", "floor", "floor_error")
    }
    numbers["error"] = entry.get("standard_error") or numbers["error"]
    return Number(name, label, **numbers, n=entry.get("n", 0), **more)


def _showers(record: Mapping[str, Any]) -> Iterator[Result]:
    deviations = record["layer_energies"]["deviations"]
    for chapter, title, part in (
        ("response", "Response", "total"), ("layers", "Energies of layers", "layer"),
    ):  # fmt: skip
        numbers = (
            _number(f"largest_{moment}", f"{part} {moment}, largest deviation",
                    deviations[f"{part}_{moment}"], unit="%")
            for moment in ("mean", "width")
        )  # fmt: skip
        yield Result(chapter, title, "", tuple(numbers))
    entries = record["observables"]
    measured: list[Measured] = [_histogram(o) for o in entries]
    for name in _DISTANCES:
        groups = tuple(
            _number(o["name"], o["label"], o["distances"][name])
            for o in entries
            if name in o["distances"]
        )
        if groups:
            measured.append(_mean(name, groups))
    yield Result("observables", "Observables", "", tuple(measured))
    if correlations := record.get("correlations"):
        numbers = (
            _number(k, f"rank correlations, {k} difference", correlations[k])
            for k in ("mean", "largest")
        )
        yield Result("correlations", "Correlations", "", tuple(numbers))
    if critic := record.get("critic"):
        distance = _number("frechet_distance", "Fréchet distance, critic's features",
                           critic["frechet_distance"])  # fmt: skip
        yield Result("critic", "Features of a critic", "", (distance,))
    names = ("fpd", "kpd", "precision", "recall", "density", "coverage")
    features = record.get("features", {})
    numbers = (_number(k, k, features[k]) for k in names if k in features)
    yield Result("features", "Distances of features", "", tuple(numbers))


def _histogram(entry: Mapping[str, Any]) -> Histogram:
    bins = entry["histogram"]
    outside = bins["outside"]
    edges = np.array(bins["edges"], float)
    return Histogram(
        name=entry["name"],
        label=entry["label"],
        caption="Distributions of observables; below, emulator over reference.",
        edges=edges,
        axis=Axis(entry["label"], entry["unit"], log=bool(entry["log"]) and bool(edges[0] > 0)),
        reference=np.array(bins["reference"], float),
        generated=np.array(bins["generated"], float),
        outside=(tuple(outside["reference"]), tuple(outside["generated"])),
    )


def _mean(name: str, groups: tuple[Number, ...]) -> Number:
    """Return the mean over observables; their errors as if all were correlated."""

    def mean(key: str) -> float:
        return float(np.mean([getattr(g, key) or 0.0 for g in groups]))

    return Number(
        name,
        f"{name.replace('_', ' ')}, mean of observables",
        mean("value"),
        mean("error"),
        mean("floor"),
        mean("floor_error"),
        groups[0].n,
        groups=groups,
    )


def _fields(record: Mapping[str, Any]) -> Iterator[Result]:
    for entry in record["channels"]:
        several = len(record["channels"]) > 1
        end = f" of {entry['channel']}" if several else ""
        measured: list[Measured] = []
        for curve in entry["curves"]:
            measured.append(_curve(curve, end))
            for part, summary in curve["summary"].items():
                if summary is not None:
                    name = part if curve["name"] == "power" else curve["name"]
                    label = f"{curve['label']}, {part}: mean deviation{end}"
                    mean = {"n": curve["n"][0]} | summary["mean"]
                    measured.append(_number(f"{name}{end}", label, mean, unit="%"))
        difference = entry["correlations"]["difference"]
        measured.append(_number(f"correlation{end}", "correlation matrix of P(k)", difference))
        yield Result("power", f"Statistics of fields{end}", "", tuple(measured))


def _curve(entry: Mapping[str, Any], end: str) -> Curve:
    label, unit = entry["axis"]
    numbers: dict[str, Any] = {
        key: np.array(entry[key], float)
        for key in ("x", "reference", "reference_error", "generated", "generated_error", "error",
                    "floor")
    }  # fmt: skip
    return Curve(
        name=f"{entry['name']}{end}",
        label=entry["label"],
        caption="Both samples; below, emulator over reference. Faint points are not judged.",
        axis=Axis(label, unit, log=entry["name"].startswith(("power", "bispectrum"))),
        deviation=np.array(entry["ratio"], float) - 1,
        n=(entry["n"][0], entry["n"][1]),
        unit=entry["unit"],
        log=bool((numbers["reference"] > 0).all()),
        judged=np.array(entry["judged"], bool),
        names=tuple(entry.get("names", ())),
        **numbers,
    )


def _timed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was timed, with what the version did not time there, and empty."""
    speed = {**_SPEED, **record["throughput"]}
    threads = {**_TIMED, "threads": record["machine"]["torch_threads"]}
    speed["emulator"] = speed["emulator"] and [{**threads, **t} for t in speed["emulator"]]
    return speed
