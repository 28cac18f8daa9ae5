"""Distances of every observable in bins of every condition: where the emulator is off, not only if.

An emulator can have the right distribution over all incident energies and a wrong one at each.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.chapter import Settings, chapter, number, too_few
from emulators.benchmarks.drawing import shown
from emulators.benchmarks.measured import Matrix, Measured, Number
from emulators.benchmarks.pair import Pair, Rows
from emulators.observables.distances import floor_distances, measure, quantile_edges
from emulators.observables.response import BINS, MINIMUM, bin_numbers
from emulators.observables.showers import constant, observable_table
from emulators.random import stream

Array = npt.NDArray[np.float64]
Distances = Mapping[str, Sequence[Number]]  # of every observable in a bin, by kind

GOOD = 0.1  # Wasserstein distance above its floor, in widths of the reference in the bin
FEWEST = 100  # showers of half the reference in a bin: with fewer, floors are as large as faults
MOST = 10_000  # showers of half a sample
HISTOGRAM_BINS = 10  # of the separation power in a bin of a condition
DRAWN = 48  # observables in the matrix: evenly spaced ones where there are more
FAR = 8.0  # times the floor; the colours end there
CLEAR = 4.0  # standard errors beyond the limit, of what is marked
FACTS: dict[str, dict[str, Any]] = {
    "wasserstein": {
        "label": "Wasserstein distance / width in bins of conditions",
        "limit": GOOD,
        "purpose": "distributions at fixed energy",
        "advice": "Train longer, or on more showers of the range that is off.",
    },
    "separation_power": {"label": "separation power in bins of conditions"},
}


@chapter(
    "conditional",
    "Bins of the conditions",
    ("shower",),
    "Distances of all observables in bins of each condition that hold equally many showers: an "
    "emulator can be right over all of them and wrong at each. The mean over bins and observables, "
    "and in each bin the observable that is furthest off.",
)
def conditional(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure them in bins of each condition that varies."""
    n = len(pair.halvings(1, settings["seed"])[0])
    units = {c.name: c.unit for c in pair.spec.conditions}
    varying = {k: v for k, v in pair.reference.conditions.items() if np.ptp(v) > 0}
    edges = {k: quantile_edges(v, min(BINS, max(n // FEWEST, 1))) for k, v in varying.items()}
    conditions = {
        name: dict(_bins(pair, settings, name, units[name], e))
        for name, e in edges.items()
        if len(e) > 2
    }
    if not conditions:
        needed = f"two bins of {FEWEST:,}"
        return [too_few(n, needed, name=k, **FACTS[k]) for k in FACTS] if varying else []
    labels = [o.label for o in observable_table(pair.geometry)]
    return [
        *(_matrix(name, bins, labels) for name, bins in conditions.items()),
        *_numbers(conditions),
    ]


def _bins(
    pair: Pair, settings: Settings, condition: str, unit: str, edges: Array
) -> Iterator[tuple[str, Distances]]:
    """Measure all observables in bins of a condition; yield the range of each, and distances.

    The Wasserstein distance is over the reference's width in the bin; NaN where either sample has
    fewer than `MINIMUM` showers.
    """
    seed = settings["seed"]
    first, second = (
        bin_numbers(s.conditions[condition], edges) for s in (pair.reference, pair.generated)
    )
    rows, halves = pair.halvings(settings["halvings"], seed, MOST)
    names = [o.name for o in observable_table(pair.geometry)]
    columns = [pair.observables[0][name] for name in names]
    still = constant(pair.observables[0], pair.geometry)
    for b, (low, high) in enumerate(pairwise(edges)):
        chosen = rows[second[rows] == b]
        parts = [(x[first[x] == b], y[first[y] == b]) for x, y in halves]
        n = min(len(chosen), *(len(x) for part in parts for x in part))
        distances: dict[str, list[Number]] = {kind: [] for kind in FACTS}
        floors = _floors(columns, parts) if n >= MINIMUM else {}
        for i, (name, ref) in enumerate(zip(names, columns)):
            if n < MINIMUM:
                for kind in FACTS:
                    distances[kind].append(too_few(n, f"{MINIMUM}", name=kind, label=name))
                continue
            measured = measure(
                pair.observables[1][name][chosen],
                [(ref[x], ref[y]) for x, y in parts],
                stream(seed, "bootstrap", name, condition, b),
                settings["resamplings"],
                HISTOGRAM_BINS,
                {kind: floor[i] for kind, floor in floors.items()},
            )
            # an observable that never varies in the bin has the width that it has over all
            width, overall = ref[first == b].std(), 0.0 if name in still else ref.std()
            if not width > 1e-6 * overall > 0:
                width = overall or 1.0
            for kind, scale in (("wasserstein", 1 / width), ("separation_power", 1.0)):
                words = name.replace("_", " ")
                distances[kind].append(number(measured[kind], scale, name=kind, label=words))
        yield f"{low:.3g} to {high:.3g} {unit}".strip(), distances


@remembered
def _floors(columns: Sequence[Array], parts: Sequence[tuple[Rows, Rows]]) -> dict[str, Array]:
    """Return `floor_distances` of all observables, ``(observables, halves)``, for every emulator.

    ``columns`` are those of the reference, ``(n,)`` each, ``parts`` rows of its halves in one bin.
    """
    floors = [
        floor_distances([(column[x], column[y]) for x, y in parts], HISTOGRAM_BINS)
        for column in columns
    ]
    return {name: np.stack([f[name] for f in floors]) for name in floors[0]}


def _numbers(conditions: Mapping[str, Mapping[str, Distances]]) -> Iterator[Number]:
    """Return both distances: the mean, and in each bin of the observable that is furthest off."""
    worst: dict[str, list[Number]] = {kind: [] for kind in FACTS}
    every: dict[str, list[Number]] = {kind: [] for kind in FACTS}
    for condition, bins in conditions.items():
        for place, distances in bins.items():
            where = f"{condition.replace('_', ' ')} {place}"
            excess = [g.excess for g in distances["wasserstein"]]
            i = int(np.argmax(np.nan_to_num(excess)))
            for kind, numbers in distances.items():
                every[kind] += [g for g in numbers if math.isfinite(g.value)]
                worst[kind].append(replace(numbers[i], label=f"{numbers[i].label} at {where}"))
    for kind, numbers in every.items():
        # a mean of numbers that hang together: its error is at most the mean of theirs
        means: dict[str, Any] = {
            k: float(np.mean([getattr(g, k) for g in numbers])) if numbers else math.nan
            for k in ("value", "error", "floor", "floor_error")
        }
        n = min((g.n for g in numbers), default=0)
        yield Number(name=kind, n=n, groups=tuple(worst[kind]), **means, **FACTS[kind])


def _matrix(condition: str, bins: Mapping[str, Distances], labels: Sequence[str]) -> Matrix:
    """Return distances over their floors, observables against bins."""
    rows = shown(range(len(labels)), DRAWN)
    words = condition.replace("_", " ")
    ratios = [
        np.array([[_over_floor(d[kind][i]) for d in bins.values()] for i in rows]) for kind in FACTS
    ]
    clear = [
        [g.excess - GOOD > CLEAR * g.doubt for g in (d["wasserstein"][i] for d in bins.values())]
        for i in rows
    ]
    left = (
        f" {len(rows)} of {len(labels)} observables are drawn." if len(rows) < len(labels) else ""
    )
    return Matrix(
        name=f"bins_of_{condition}",
        label="distance / floor",
        caption=f"How far each observable is off in bins of {words} that hold equally many "
        "showers: distance of emulator and reference over that of two halves of the reference. "
        f"White is at the floor; full colour is {FAR:g} times the floor or more. Dots: beyond the "
        f"limit of {GOOD:g} widths by more than {CLEAR:g} standard errors. A dark column is a "
        "range of the condition that the emulator has not learned, a dark row an observable that "
        f"is off everywhere; grey: too few showers.{left}",
        panels=tuple(np.clip(r, 0.5, 2 * FAR) for r in ratios),
        titles=tuple(
            f"{kind} in bins of {words}" for kind in ("Wasserstein distance", "separation")
        ),
        limits=((1, FAR), (1, FAR)),
        rows=tuple(labels[i] for i in rows),
        columns=tuple(bins),
        bars=("distance / floor",) * 2,
        log=True,
        marked=np.array(clear),
    )


def _over_floor(g: Number) -> float:
    """Return a distance over its floor: where that is 0, 1 if so is the distance, else infinity."""
    if not math.isfinite(g.value):
        return math.nan
    if g.floor:
        return g.value / g.floor
    return math.inf if g.value > 0 else 1.0
