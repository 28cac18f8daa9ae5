"""How observables of showers hang together: their rank correlations, emulator against reference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.chapter import Settings, chapter, curve, differences, number
from emulators.benchmarks.drawing import shown
from emulators.benchmarks.measured import Axis, Curve, Matrix, Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.observables.ranks import dense_ranks, rank_correlations
from emulators.observables.showers import Observable, observable_table

Array = npt.NDArray[np.float64]
Dense = npt.NDArray[Any]  # ranks, a row a shower

GOOD = 0.05  # difference of a rank correlation
MOST = 10_000  # showers of half a sample: of hundreds of observables, more would take hours
DRAWN = 48  # observables whose matrices are drawn: evenly spaced ones where there are more
PAIRS = 10  # of observables, those with the largest differences
GROUPS = {
    "energy": "energies",
    "sharing": "sharing",
    "position": "centres",
    "width": "widths",
    "depth": "depth",
    "cells": "cells hit",
}


@chapter(
    "correlations",
    "Correlations",
    ("shower",),
    "Spearman's rank correlations of all pairs of observables over all incident energies: what "
    "distances of one observable at a time cannot see.",
)
def correlations(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Compare the correlation matrices of all observables."""
    table = observable_table(pair.geometry)
    reference, generated = (
        dense_ranks(np.stack([sample[o.name][: 2 * MOST] for o in table], 1))
        for sample in pair.observables
    )
    first, second = (None if g is None else g[: 2 * MOST] for g in pair.groups)
    groups = first, second
    upper = np.triu_indices(len(table), 1)

    def off_diagonal(rows: Dense) -> npt.NDArray[np.float64]:
        return np.asarray(rank_correlations(rows)[upper])

    def sizes(a: Dense, b: Dense) -> npt.NDArray[np.float64]:
        off = np.abs(off_diagonal(a) - off_diagonal(b))
        return np.array([off.mean(), off.max()])

    samples = generated, reference, pair, settings
    mean, largest = differences(sizes, *samples, "correlations", groups)
    every = curve(
        *samples, "pairs of observables", groups, statistic=off_diagonal, difference=True,
        name="", label="", caption="", x=np.arange(len(upper[0])), axis=Axis(""),
    )  # fmt: skip
    names = [o.name.replace("_", " ") for o in table]
    return [
        _matrix(table, rank_correlations(reference), rank_correlations(generated), largest.floor),
        number(
            mean,
            name="mean",
            label="rank correlations of observables, mean difference",
            noise="in squares",
        ),
        number(
            largest,
            name="largest",
            label="rank correlations of observables, largest difference",
            limit=GOOD,
            purpose="correlations of observables",
            advice="Do not combine observables of these showers, as a classifier of particles "
            "does: they hang together otherwise than in the simulation.",
            groups=tuple(_pairs(every, names, upper)),
        ),
    ]


def _pairs(every: Curve, names: Sequence[str], upper: Sequence[npt.NDArray[Any]]) -> list[Number]:
    """Return the pairs of observables whose correlations differ most, of all samples."""
    difference = every.generated - every.reference
    largest = np.abs(every.reference).max()  # what a difference of curves is in units of
    return [
        Number(
            name="difference",
            label=f"{names[upper[0][k]]} with {names[upper[1][k]]}",
            value=abs(difference[k]),
            error=every.error[k] * largest,
            floor=every.floor[k] * largest,
            floor_error=0.0,
            n=min(every.n),
            noise="in squares",
            says=f"{every.generated[k]:.3f} where the reference has {every.reference[k]:.3f}",
        )
        for k in np.argsort(-np.abs(difference), kind="stable")[:PAIRS]
    ]


def _matrix(
    table: Sequence[Observable], reference: Array, generated: Array, chance: float
) -> Matrix:
    chosen = shown(range(len(table)), DRAWN)
    names = tuple(GROUPS[table[i].group] for i in chosen)
    first, second = (m[np.ix_(chosen, chosen)] for m in (reference, generated))
    reach = max(float(np.abs(second - first).max()), 1.5 * chance, 1e-3)
    return Matrix(
        name="matrix",
        label="rank correlation",
        caption="Spearman's rank correlations of all pairs of observables, in the order of the "
        "report: red go up together, blue against each other. Left and middle should be the same "
        "picture. Right: emulator minus reference; two halves of the reference differ by up to "
        f"{chance:.2g}. A row or block of one colour is an observable, or a layer, that does not "
        "hang together with the others as in simulated showers.",
        panels=(first, second, second - first),
        titles=("reference", "emulator", "difference"),
        limits=((-1, 1), (-1, 1), (-reach, reach)),
        rows=names,
        columns=names,
        bars=("rank correlation", "rank correlation", "emulator − reference"),
    )
