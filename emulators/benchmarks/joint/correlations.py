"""Rank correlations of the observables of showers: emulator against reference.

Spearman's, not Pearson's: observables cover decades and have long tails, so that few showers would
rule Pearson's coefficients and their errors.  Ranks are also those of any logarithm.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.distributions import HALVINGS, RESAMPLINGS
from emulators.benchmarks.drawing import shown
from emulators.benchmarks.pair import Pair
from emulators.observables.distances import Measurement
from emulators.observables.showers import Array, observable_table
from emulators.observables.spectra import correlation_matrix
from emulators.random import stream

__all__ = ["DRAWN", "MOST", "measure_correlations", "rank_correlations"]

MOST = 10_000  # showers of half a sample: of hundreds of observables, more would take hours
DRAWN = 48  # observables whose matrices are kept: evenly spaced ones where there are more
_PAIRS = 10  # of observables, those with the largest differences

Dense = npt.NDArray[np.int32]  # (observables, n): how many distinct smaller values there are


def rank_correlations(columns: npt.ArrayLike) -> Array:
    """Return Spearman's correlation matrix ``(k, k)`` of rows ``(n, k)``.

    Equal values have their mean rank; a constant column has no correlation with any.
    """
    return _correlations(_dense(np.asarray(columns, np.float64).T))


def _dense(columns: Array | Sequence[Array]) -> Dense:
    return np.stack([np.unique(c, return_inverse=True)[1] for c in columns]).astype(np.int32)


def _correlations(dense: Dense) -> Array:
    # sorted once, for every subset and resampling
    ranks = np.empty(dense.shape)
    for row, out in zip(dense, ranks):
        counts = np.bincount(row)
        out[:] = (np.cumsum(counts) - counts / 2)[row]
    return correlation_matrix(ranks.T)


def measure_correlations(pair: Pair, seed: int) -> dict[str, Any]:
    """Compare the correlation matrices of all observables, over all incident energies.

    Parameters
    ----------
    pair
        The showers.
    seed
        Of halvings and bootstrap.

    Returns
    -------
    The record's entry ``correlations``: ``mean`` and ``largest`` absolute difference off the
    diagonal, with error (bootstrap), floor and n, of samples half the size of the reference;
    ``pairs``, the pairs of observables with the largest differences, and the matrices of up to
    `DRAWN` observables, of all showers (`MOST` of a half, twice as many of all, at most).  The
    error of a pair is that of all showers, its floor the mean difference between halves of the
    reference.
    """
    table = observable_table(pair.geometry)
    names = [o.name for o in table]
    ref, gen = (_dense([found[name] for name in names]) for found in pair.observables)
    rows, halves = pair.halvings(HALVINGS, seed, MOST)
    m, upper = len(rows), np.triu_indices(len(names), 1)
    whole = ref[:, : 2 * MOST], gen[:, : 2 * MOST]

    def off_diagonal(dense: Dense) -> Array:
        return np.asarray(_correlations(dense)[upper])

    first = off_diagonal(ref[:, halves[0][0]])
    value = np.abs(off_diagonal(gen[:, rows]) - first)
    floors = np.abs([off_diagonal(ref[:, a]) - off_diagonal(ref[:, b]) for a, b in halves])
    rng = stream(seed, "bootstrap", "correlations")
    drawn = [
        np.array([off_diagonal(x[:, rng.integers(0, x.shape[1], m)]) for _ in range(RESAMPLINGS)])
        for x in whole
    ]
    spread = np.abs(drawn[1] - drawn[0])
    matrices = _correlations(whole[0]), _correlations(whole[1])
    difference = matrices[1][upper] - matrices[0][upper]
    # resamplings are of m showers, the matrices of all
    errors = np.sqrt(sum(d.var(0) * m / x.shape[1] for d, x in zip(drawn, whole)))
    worst = np.argsort(-np.abs(difference), kind="stable")[:_PAIRS]
    drawn_names = shown(range(len(names)), DRAWN)
    kept = np.ix_(drawn_names, drawn_names)
    return {
        "method": "Spearman's rank correlation",
        "observables": len(names),
        **{
            what: asdict(_measured(function(value), function(spread), function(floors), m))
            for what, function in (("mean", _mean), ("largest", _largest))
        },
        "pairs": [
            {
                "observables": [names[upper[0][k]], names[upper[1][k]]],
                "reference": matrices[0][upper][k],
                "generated": matrices[1][upper][k],
                "difference": difference[k],
                "error": errors[k],
                "floor": floors[:, k].mean(),
                "n": [whole[1].shape[1], whole[0].shape[1]],
            }
            for k in worst
        ],
        "drawn": [names[k] for k in drawn_names],
        "reference": matrices[0][kept],
        "generated": matrices[1][kept],
    }


def _mean(differences: Array) -> Array:
    return np.asarray(differences.mean(-1))


def _largest(differences: Array) -> Array:
    return np.asarray(differences.max(-1))


def _measured(value: Array, resampled: Array, floors: Array, n: int) -> Measurement:
    return Measurement(
        value=float(value),
        error=float(resampled.std()),
        floor=float(floors.mean()),
        floor_error=float(floors.std()),
        n=n,
    )
