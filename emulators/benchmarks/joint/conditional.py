"""Distances of every observable in bins of every condition: where the emulator is off, not only if.

An emulator can have the right distribution over all incident energies and a wrong one at each.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.distributions import HALVINGS, RESAMPLINGS
from emulators.benchmarks.joint.correlations import MOST
from emulators.benchmarks.pair import Pair, Rows
from emulators.data.dataset import Dataset
from emulators.observables.distances import floor_distances, measure, quantile_edges
from emulators.observables.response import BINS, MINIMUM, bin_numbers
from emulators.observables.showers import Array, constant, observable_table
from emulators.random import stream

__all__ = ["measure_conditional"]

FEWEST = 100  # showers of half the reference in a bin: with fewer, floors are as large as faults
HISTOGRAM_BINS = 10  # of the separation power in a bin of a condition
_NUMBERS = ("value", "error", "floor", "floor_error")


def measure_conditional(pair: Pair, seed: int) -> list[dict[str, Any]]:
    """Measure the distances of all observables in bins of each condition that varies.

    Bins hold equally much of the reference: `FEWEST` showers of half of it or more, in up to
    `response.BINS` bins.

    Parameters
    ----------
    pair
        The showers.
    seed
        Of halvings and bootstrap.

    Returns
    -------
    The record's entry ``conditional``, one a condition that varies: ``condition``, ``unit``, and
    ``too_small``, why there are too few showers for two bins, or None; then ``edges``,
    ``n_generated`` and ``n_reference`` (showers of the samples compared, by bin), ``observables``
    (their names); and for ``wasserstein`` (over the reference's width in the bin) and
    ``separation_power`` (in `HISTOGRAM_BINS` bins) ``value``, ``error``, ``floor`` and
    ``floor_error``, shapes ``(observables, bins)``, NaN where either sample has fewer than
    `response.MINIMUM` showers.
    """
    path, names = pair.files["reference"]["path"], list(pair.reference.conditions)
    units = {c.name: c.unit for c in Dataset(path, conditions=names).spec.conditions}
    n = len(pair.halvings(1, seed)[0])
    found = []
    for name, asked in pair.reference.conditions.items():
        if np.ptp(asked) > 0:
            entry: dict[str, Any] = {"condition": name, "unit": units[name], "too_small": None}
            edges = quantile_edges(asked, min(BINS, max(n // FEWEST, 1)))
            if len(edges) > 2:
                entry |= {"edges": edges} | _measured(pair, seed, name, edges)
            else:
                entry["too_small"] = f"{n:,} do not fill two bins of {FEWEST:,}"
            found.append(entry)
    return found


def _measured(pair: Pair, seed: int, condition: str, edges: Array) -> dict[str, Any]:
    first, second = (
        bin_numbers(s.conditions[condition], edges) for s in (pair.reference, pair.generated)
    )
    rows, halves = pair.halvings(HALVINGS, seed, MOST)
    names = [o.name for o in observable_table(pair.geometry)]
    columns = [pair.observables[0][name] for name in names]
    still = constant(pair.observables[0], pair.geometry)
    bins = len(edges) - 1
    tables = {
        kind: {k: np.full((len(names), bins), np.nan) for k in _NUMBERS}
        for kind in ("wasserstein", "separation_power")
    }
    counts = np.zeros((2, bins), int)
    for b in range(bins):
        chosen = rows[second[rows] == b]
        parts: list[tuple[Rows, Rows]]
        parts = [(x[first[x] == b], y[first[y] == b]) for x, y in halves]
        counts[:, b] = len(chosen), len(parts[0][0])
        if min(len(chosen), *(len(x) for part in parts for x in part)) < MINIMUM:
            continue
        floors = _floors(columns, parts)
        for i, (name, ref) in enumerate(zip(names, columns)):
            gen = pair.observables[1][name]
            measured = measure(
                gen[chosen],
                [(ref[x], ref[y]) for x, y in parts],
                stream(seed, "bootstrap", name, condition, b),
                RESAMPLINGS,
                HISTOGRAM_BINS,
                {kind: distances[i] for kind, distances in floors.items()},
            )
            # an observable that never varies in the bin has the width that it has over all
            width, overall = ref[first == b].std(), 0.0 if name in still else ref.std()
            if not width > 1e-6 * overall > 0:
                width = overall or 1.0
            for kind, scale in (("wasserstein", width), ("separation_power", 1.0)):
                for k in _NUMBERS:
                    tables[kind][k][i, b] = getattr(measured[kind], k) / scale
    return {
        "n_generated": counts[0],
        "n_reference": counts[1],
        "observables": names,
        **tables,
    }


@remembered
def _floors(columns: Sequence[Array], parts: Sequence[tuple[Rows, Rows]]) -> dict[str, Array]:
    """Return `floor_distances` of all observables, ``(observables, halves)``, for every emulator.

    ``columns`` are those of the reference, ``(n,)`` each, ``parts`` rows of its halves in one bin.
    """
    found = [
        floor_distances([(column[x], column[y]) for x, y in parts], HISTOGRAM_BINS)
        for column in columns
    ]
    return {name: np.stack([f[name] for f in found]) for name in found[0]}
