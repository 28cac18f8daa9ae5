"""Distributions of every observable of showers: histograms and four distances of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.chapter import Settings, chapter, number
from emulators.benchmarks.judge import written
from emulators.benchmarks.measured import Axis, Histogram, Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.observables.distances import (
    ChiSquared,
    Measurement,
    chi_squared,
    even_edges,
    floor_distances,
    histogram,
    measure,
    quantile_edges,
)
from emulators.observables.showers import Observable, constant, observable_table
from emulators.random import stream

Array = npt.NDArray[np.float64]

GOOD = 0.01  # separation power above its floor
CHANCE = 0.01  # that chi-squared tells any observable of a report apart, where none differs
BINS = 40  # of a histogram, at most

CAPTIONS = {
    "energy": "Energies. Deposited energy, whole shower and layer by layer. The emulator's line "
    "should follow the top of the grey fill and its ratio stay inside the grey band; a slope in "
    "the ratio is an energy scale that is off, a bump at both ends a width.",
    "sharing": "Sharing of energy. How a shower divides its energy between layers, and the two "
    "hottest cells of each layer between them (E₁ the hottest, E₂ the second). The lines should "
    "follow the grey fill also at the steep ends, where rare showers are.",
    "position": "Centres of energy of each layer across the shower axis. A beam on the axis gives "
    "a peak at zero, symmetric to both sides; a peak beside zero is a shift, tails that are too "
    "high are showers with stray energy.",
    "width": "Lateral width of each layer: the standard deviation of position, weighted by energy. "
    "A peak that is shifted is a shower too narrow or too wide. At zero are showers that hit a "
    "single row of cells of that layer, or none.",
    "depth": "Depth: the deepest layer hit; l_d, the sum of layer energies times the number of the "
    "layer; s_d, that sum over the whole energy (the mean depth); and the standard deviation of "
    "depth. A shift to the left is a shower that ends too early.",
    "cells": "Cells hit: fraction of the cells of a layer with any energy, and above a threshold. "
    "The many cells with very little energy are what emulators find hardest: if the fraction above "
    "zero is off and that above the threshold is not, the fault is in these.",
}
DISTANCES = {
    "separation_power": ("separation power", "In up to 50 bins that hold equally much of the "
                         "reference, under- and overflow counted: 0 (equal) to 1 (disjoint)."),
    "wasserstein": ("Wasserstein distance / width", "Over the reference's width."),
    "kolmogorov_smirnov": ("Kolmogorov-Smirnov distance", "The largest difference of the "
                           "cumulative distributions."),
    "chi_squared": ("χ² / degrees of freedom", "Of the same bins, neighbours merged until 5 of "
                    "either sample are expected: 1 where nothing differs."),
}  # fmt: skip

JUDGED: dict[str, Any] = {
    "limit": GOOD,
    "leading": True,
    "purpose": "distributions of observables",
    "advice": "See in the histograms of the worst what is shifted; train longer, or on more "
    "showers.",
}

_floors = remembered(floor_distances)  # the same for every emulator


@chapter(
    "observables",
    "Observables",
    ("shower",),
    "Grey fill: reference. Blue line: emulator. Bars and bands: statistical errors. Triangles at a "
    "ratio panel's border stand for points outside it. S is the separation power, 0 (equal) to 1 "
    "(disjoint).",
    beside=True,
)
def observables(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure the distances of every observable, and draw its distribution."""
    seed = settings["seed"]
    rows, halves = pair.halvings(settings["halvings"], seed)
    table = observable_table(pair.geometry)
    still = constant(pair.observables[0], pair.geometry)
    distances, tests, histograms = {}, {}, []
    for o in table:
        reference, generated = (sample[o.name] for sample in pair.observables)
        parts = [(reference[a], reference[b]) for a, b in halves]
        first, chosen = parts[0][0], generated[rows]
        rng = stream(seed, "bootstrap", o.name)
        measured = measure(chosen, parts, rng, settings["resamplings"], floors=_floors(parts))
        edges = quantile_edges(first)
        tests[o.name] = chi_squared(histogram(chosen, edges), histogram(first, edges))
        distances[o.name] = measured
        if not settings.get("beside"):
            histograms.append(_histogram(o, reference, generated, measured["separation_power"]))
    says = {
        "separation_power": {o.name: _in_words(o, pair) for o in table},
        "chi_squared": {name: f"p = {t.p_value:.2g}" for name, t in tests.items()},
    }
    widths = {o.name: 0.0 if o.name in still else pair.observables[0][o.name].std() for o in table}
    numbers = {
        kind: _number(
            kind,
            {name: measured[kind] for name, measured in distances.items()},
            says.get(kind, {}),
            widths if kind == "wasserstein" else dict.fromkeys(widths, 1.0),
        )
        for kind in DISTANCES
    }
    told = _told_apart(numbers["chi_squared"], tests)
    numbers["chi_squared"] = replace(
        numbers["chi_squared"], says=f"{numbers['chi_squared'].says} {told}"
    )
    return [*histograms, *numbers.values()]


def _in_words(o: Observable, pair: Pair) -> str:
    """Return mean and width of an observable in both samples."""
    samples = zip(("reference", "emulator"), (sample[o.name] for sample in pair.observables))
    return ", ".join(f"{name} {written(x.mean(), o.unit, x.std())}" for name, x in samples)


def _number(
    kind: str,
    measured: Mapping[str, Measurement],
    says: Mapping[str, str],
    widths: Mapping[str, float],
) -> Number:
    """Return one distance over widths: its mean over observables, and every one by itself.

    Observables hang together: the error of the mean is at most the mean of their errors.
    """
    groups = []
    for name, m in measured.items():
        facts: dict[str, Any] = {"name": kind, "label": name.replace("_", " ")}
        if widths[name]:
            groups.append(number(m, 1 / widths[name], says=says.get(name, ""), **facts))
        else:
            groups.append(Number(value=math.nan, n=m.n, says="never varies", **facts))
    varying = [g for g in groups if math.isfinite(g.value)]
    means: dict[str, Any] = {
        k: float(np.mean([getattr(g, k) for g in varying]))
        for k in ("value", "error", "floor", "floor_error")
    }
    words, meaning = DISTANCES[kind]
    judged = JUDGED if kind == "separation_power" else {}
    return Number(
        name=kind, label=f"{words} of observables", n=groups[0].n, groups=tuple(groups),
        says=f"{meaning} The mean of all.", **means, **judged,
    )  # fmt: skip


def _told_apart(chi: Number, tests: Mapping[str, ChiSquared]) -> str:
    """Say what chi-squared tells; it has no limit of its own, as it grows with n."""
    limit = CHANCE / len(tests)
    told = [g for g, t in zip(chi.groups, tests.values()) if t.p_value < limit]
    if not told:
        return f"It tells none of the {len(tests)} observables apart (p < {limit:.1g})."
    worst = max(told, key=lambda g: g.value)
    return (
        f"It tells {len(told)} of {len(tests)} observables apart (p < {limit:.1g}), most clearly "
        f"{worst.label}."
    )


def _histogram(
    o: Observable, reference: Array, generated: Array, separation: Measurement
) -> Histogram:
    """Return the distribution in bins whose number follows n."""
    both = np.concatenate([reference, generated])
    bins = min(BINS, round(2 * min(len(reference), len(generated)) ** (1 / 3)))
    log = o.log and bool((both > 0).any())  # a layer may be empty in both
    edges = even_edges(both, bins, log)
    counts = [np.histogram(x, edges)[0].astype(np.float64) for x in (reference, generated)]
    below, above = (
        (int((x < edges[0]).sum()), int((x > edges[-1]).sum())) for x in (reference, generated)
    )
    return Histogram(
        name=f"{o.name}_histogram",
        label=o.label,
        caption=CAPTIONS[o.group],
        edges=edges,
        axis=Axis(o.label, o.unit, log=log and edges[0] > 0),
        reference=counts[0],
        generated=counts[1],
        outside=(below, above),
        log=o.group in ("position", "width") or o.name == "energy_response",  # a core and tails
        text=f"S = {separation.value:.3f} (floor {separation.floor:.3f})",
    )
