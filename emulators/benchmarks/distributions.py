"""Distributions of observables and of layer energies: histograms, distances, moments."""

from dataclasses import asdict
from typing import Any

import numpy as np

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.pair import Pair
from emulators.observables.distances import (
    chi_squared,
    floor_distances,
    histogram,
    measure,
    quantile_edges,
)
from emulators.observables.response import (
    BINS,
    binned_response,
    deviation_floors,
    response_deviations,
    responses,
)
from emulators.observables.showers import (
    Array,
    calogan_observables,
    constant,
    observable_table,
)
from emulators.progress import tracked
from emulators.random import stream

__all__ = ["HALVINGS", "RESAMPLINGS", "average_showers", "distributions"]

HALVINGS = 20
RESAMPLINGS = 100

_floors = remembered(floor_distances)  # the same for every emulator


def distributions(pair: Pair, seed: int, tolerance: float) -> dict[str, Any]:
    """Measure every observable, and the layer energies in bins of incident energy.

    Parameters
    ----------
    pair
        The showers.
    seed
        Of halvings and bootstrap.
    tolerance
        Relative deviation of a layer's mean or width that counts as none.

    Returns
    -------
    The record's entries ``observables`` and ``layer_energies``.
    """
    geometry = pair.geometry
    energies = pair.energies
    found = pair.observables
    rows, halves = pair.halvings(HALVINGS, seed)
    original = calogan_observables(geometry)
    still = constant(found[0], geometry)
    entries = []
    for o in tracked(observable_table(geometry), "observables"):
        ref, gen = found[0][o.name], found[1][o.name]
        parts = [(ref[a], ref[b]) for a, b in halves]
        rng = stream(seed, "bootstrap", o.name)
        distances = measure(gen[rows], parts, rng, RESAMPLINGS, floors=_floors(parts))
        edges = quantile_edges(ref[halves[0][0]])
        tested = chi_squared(*(histogram(x, edges) for x in (gen[rows], ref[halves[0][0]])))
        entries.append(
            asdict(o)
            | {
                "calogan": o.name in original,
                "reference": {"mean": ref.mean(), "std": 0.0 if o.name in still else ref.std()},
                "generated": {"mean": gen.mean(), "std": gen.std()},
                "distances": {k: asdict(v) for k, v in distances.items()},
                "chi_squared_test": asdict(tested),
                "histogram": _histogram(ref, gen, o.log),
            }
        )
    edges = quantile_edges(energies[0], BINS)
    ref, gen = (responses(f, geometry, e) for f, e in zip(found, energies))
    rng = stream(seed, "bootstrap", "response")
    table = binned_response((ref, energies[0]), (gen, energies[1]), edges, rng, RESAMPLINGS)
    halved = [
        (
            (ref[a], energies[0][a]),
            (ref[b], energies[0][b]),
        )
        for a, b in halves
    ]
    chosen = gen[rows], energies[1][rows]
    deviations = response_deviations(chosen, halved, edges, rng, tolerance, RESAMPLINGS)
    floors = deviation_floors(halved, edges)
    names = [layer.name for layer in geometry.layers] + ["total"]
    layer_rows = [
        {
            "layer": name,
            "low": edges[k],
            "high": edges[k + 1],
            "n_reference": table.counts[0][k],
            "n_generated": table.counts[1][k],
            "mean_reference": table.means[0][i, k],
            "mean_generated": table.means[1][i, k],
            "mean_reference_error": table.moment_errors[0][i, k],
            "mean_generated_error": table.moment_errors[1][i, k],
            "width_reference": table.widths[0][i, k],
            "width_generated": table.widths[1][i, k],
            "width_reference_error": table.moment_errors[2][i, k],
            "width_generated_error": table.moment_errors[3][i, k],
            "mean_deviation": table.mean_deviation[i, k],
            "mean_error": table.mean_error[i, k],
            "mean_floor": floors[0][i, k],
            "width_deviation": table.width_deviation[i, k],
            "width_error": table.width_error[i, k],
            "width_floor": floors[1][i, k],
        }
        for i, name in enumerate(names)
        for k in range(len(edges) - 1)
    ]
    return {
        "observables": entries,
        "layer_energies": {
            "edges_GeV": edges,
            "rows": layer_rows,
            "deviations": {k: asdict(v) for k, v in deviations.items()},
        },
    }


def _histogram(
    reference: Array, generated: Array, log_axis: bool, bins: int = 40
) -> dict[str, Any]:
    """Return counts for a plot, first and last being under- and overflow."""
    both = np.concatenate([reference, generated])
    log_axis = log_axis and bool((both > 0).any())  # a layer may be empty in both
    if log_axis:
        both = both[both > 0]
    low, high = np.quantile(both, [0.001, 0.999])
    distinct = np.unique(both[(both >= low) & (both <= high)])
    step = np.diff(distinct).min() if len(distinct) > 1 else 1.0
    if len(distinct) < min(400, len(both) // 4) and (high - low) / step < 4000:
        # a count, or a fraction of cells: bins of equally many of its values
        width = step * max(1, round((high - low) / step / bins))
        edges = np.arange(low - step / 2, high + width, width)
    elif log_axis:
        edges = np.geomspace(low, high, bins + 1)
    else:
        edges = np.linspace(low, high, bins + 1)
    inner = [np.histogram(x, edges)[0] for x in (reference, generated)]
    outer = [
        (int((x < edges[0]).sum()), int((x > edges[-1]).sum())) for x in (reference, generated)
    ]
    return {
        "edges": edges,
        "reference": inner[0],
        "generated": inner[1],
        "outside": {"reference": outer[0], "generated": outer[1]},
    }


def average_showers(pair: Pair) -> list[dict[str, Any]]:
    """Return the mean energy of every cell, MeV, layer by layer with its edges."""
    averages = [s.values.mean(0, dtype=np.float64)[None] for s in (pair.reference, pair.generated)]
    return [
        {
            "layer": layer.name,
            "axes": layer.axes,
            "edges": layer.edges,
            "reference": pair.geometry.layer(averages[0], i)[0],
            "generated": pair.geometry.layer(averages[1], i)[0],
        }
        for i, layer in enumerate(pair.geometry.layers)
    ]
