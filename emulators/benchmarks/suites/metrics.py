"""What a suite compares: some numbers of the record of each report, by their names there."""

import math
from collections.abc import Mapping
from typing import Any

from emulators.benchmarks.measured import Number
from emulators.benchmarks.report import Report

__all__ = ["COMPARED", "HEADLINE", "entry_of", "headline", "known_metrics", "met", "summary_of"]

# The number that systems are ranked by, and that the plot of fidelity against time shows; of suites
# of version 1 the metric.
HEADLINE = {
    "shower": ("observables/separation_power", "separation power"),
    "field": ("power/half", "P(k) to Nyquist"),
}

# By the part of the comparison: names of numbers, and what their column is called.
COMPARED: dict[str, dict[str, dict[str, str]]] = {
    "shower": {
        "Fidelity": {
            "classifiers/low": "AUC cells",
            "classifiers/log": "AUC log cells",
            "classifiers/high": "AUC high-level",
            "classifiers/observables": "AUC observables",
            "observables/separation_power": "separation power",
            "observables/wasserstein": "Wasserstein / width",
            "correlations/mean": "correlations",
            "worth/samples": "worth, showers",
        },
        "Energies": {
            "response/mean": "response",
            "response/width": "resolution",
            "layers/mean": "layer means",
            "layers/width": "layer widths",
            "profiles/radial": "radial profile",
            "cells/deviation": "cell spectrum",
        },
        "Distances in feature space": {
            "features/fpd": "FPD",
            "features/kpd": "KPD",
            "features/precision": "precision",
            "features/recall": "recall",
            "features/density": "density",
            "features/coverage": "coverage",
            "critic/frechet_distance": "Fréchet, critic",
        },
    },
    "field": {
        "Fidelity": {
            "power/half": "P(k) to half of Nyquist",
            "power/nyquist": "P(k) from there",
            "power/correlation": "correlation of P(k)",
            "classifiers/observables": "AUC",
            "worth/samples": "worth, simulations",
        },
        "Statistics of fields": {
            "one_point/one_point": "one-point distribution",
            "one_point/peaks": "peaks",
            "one_point/voids": "voids",
            "bispectra/equilateral": "bispectrum, equilateral",
            "bispectra/squeezed": "bispectrum, squeezed",
            "conditions/groups": "P(k) at equal conditions",
        },
    },
}
COST = {
    "speed/time_1": "ms, batch 1",
    "speed/time": "ms, largest batch",
    "speed/speed_up": "speed-up",
    "training/minutes": "minutes of training",
    "training/weights": "weights",
}


def known_metrics(kind: str) -> list[str]:
    """Return the names of all numbers that a suite compares and may limit, of a kind."""
    return [name for part in COMPARED[kind].values() for name in part] + list(COST)


def headline(kind: str, metrics: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the metric that systems are ranked by, out of metrics by name."""
    return next((metrics[name] for name in HEADLINE[kind] if name in metrics), None)


def entry_of(name: str, label: str, group: str, number: Number) -> dict[str, Any]:
    """Return a number as an entry of the record."""
    keys = ("unit", "value", "error", "floor", "floor_error", "n", "more", "at_least")
    return {"name": name, "label": label, "group": group} | {k: getattr(number, k) for k in keys}


def met(metric: Mapping[str, Any], limit: float) -> bool:
    """Tell whether a metric keeps to a threshold; one without a value does not."""
    value = metric["value"]
    if value is None or value != value:
        return False
    return bool(value >= limit if metric["more"] else value <= limit)


def summary_of(report: Report, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a suite keeps of a report.

    Parameters
    ----------
    report
        The report of a system.
    entry
        What is known of the system already: ``emulator``, ``minutes``.

    Returns
    -------
    ``metrics``, a list of `entry_of`; ``beside``, the values of other samples by name and metric;
    and of the report: ``verdict``, ``warnings``, ``n``, ``selection``, ``machine``, ``versions``.
    """
    record = report.record
    metrics: list[dict[str, Any]] = []
    beside: dict[str, dict[str, Any]] = {}
    parts = {**COMPARED[record["kind"]], "Cost": COST}
    for group, names in parts.items():
        for name, label in names.items():
            if name in report and math.isfinite(report[name].value):
                number = report[name]
                metrics.append(entry_of(name, label, group, number))
                for other, value, error in number.beside:
                    beside.setdefault(other, {})[name] = {"value": value, "error": error}
    for name, known in (
        ("training/minutes", entry.get("minutes")),
        ("training/weights", entry.get("emulator", {}).get("weights")),
    ):
        if known is not None:
            metrics.append(entry_of(name, COST[name], "Cost", Number(name, COST[name], known)))
    files = record["files"]
    return {
        "metrics": metrics,
        "beside": beside,
        "simulation": report["speed/simulation"].value if "speed/simulation" in report else None,
        "verdict": record["verdict"],
        "warnings": record["warnings"],
        "n": {k: files[k]["used"] for k in ("generated", "reference")},
        "selection": files["reference"]["selection"],
        "machine": record["machine"],
        "versions": record["versions"],
    }
