"""Whether the generator hardly reaches a region of what the reference covers: a mode dropped.

Regions are all intervals between quantiles of each observable, at all energies and in intervals of
them, and the clusters of all observables together.  In each, the numbers of generated and reference
showers are compared exactly.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import vq
from scipy.special import bdtr

from emulators.benchmarks.diagnosis.faults import (
    CHANCE,
    FAMILIES,
    Finding,
    at_full,
    share_error,
)
from emulators.benchmarks.diagnosis.scales import Halves
from emulators.observables.showers import Array
from emulators.random import stream

__all__ = ["missing_showers"]

COVERAGE = 1 / 3  # of its share of showers below which a region is hardly reached
SHARES = np.array([0, 1, 2, *range(5, 100, 5), 98, 99, 100]) / 100  # where intervals begin and end
ENERGY_SHARES = np.linspace(0, 1, 6)
WHOLE = np.array([0, 1])
CLUSTERS = 64
IN_CLUSTER = 60  # reference showers in each, on average
ITERATIONS = 20
HALVINGS = 5
TOLD = 2  # observables that describe what is missing

Columns = Mapping[str, Array]
Counts = npt.NDArray[np.int64]  # of showers, in each region


@dataclass(frozen=True)
class _Scan:
    """Regions of one kind: how many showers each has, and which it is.

    ``region`` gives the words for one, and which of the reference are in it.
    """

    reference: Counts
    generated: Counts
    region: Callable[[int], tuple[str, npt.NDArray[np.bool_]]]


def missing_showers(
    reference: Columns, generated: Columns, units: Mapping[str, str], halves: Halves, seed: int
) -> list[Finding]:
    """Look for a region that has less than a third of the generated showers that it should have.

    That it has as few must be no chance for an independent sample.  Of several regions the least
    likely one is reported.

    Parameters
    ----------
    reference, generated
        The observables, each ``(n,)``, by name; ``incident_energy`` is one of them.
    units
        Theirs, by the same names.
    halves
        Rows of disjoint halves of the reference.
    seed
        Of the clusters' beginning.
    """
    clusters = _clusters(reference, seed)

    def scan(first: Columns, second: Columns) -> list[_Scan]:
        energies = first["incident_energy"], second["incident_energy"]
        intervals = [
            _intervals(k, units[k], (first[k], energies[0]), (second[k], energies[1]))
            for k in first
        ]
        return [*intervals, _in_clusters(clusters(first), clusters(second))]

    n = len(next(iter(reference.values()))), len(next(iter(generated.values())))
    half = len(halves[0][0])
    between = []
    for a, b in halves[:HALVINGS]:
        scans = scan(
            {k: v[a] for k, v in reference.items()}, {k: v[b] for k, v in reference.items()}
        )
        s, i, _ = _worst(scans, (half, half))
        between.append(abs(s.reference[i] - s.generated[i]) / half)
    scans = scan(reference, generated)
    s, i, clear = _worst(scans, n)
    counts = int(s.reference[i]), int(s.generated[i])
    shares = [count / size for count, size in zip(counts, n)]
    errors = [share_error(count, size) for count, size in zip(counts, n)]
    text = ""
    if clear:
        words, members = s.region(i)
        text = (
            f"showers with {words} are {100 * shares[0]:.3g} % of the reference and "
            f"{100 * shares[1]:.3g} % of the generated; {_look(reference, words, members)}"
        )
    # reference showers, where none is generated
    empty = np.log(_least(scans)) / np.log(n[0] / sum(n))
    return [
        Finding(
            "missing showers",
            "any region",
            shares[0] - shares[1],
            float(np.hypot(errors[0], errors[1])),
            at_full(n, half) * float(np.mean(between)),
            float(empty / n[0]),
            (n[1], n[0]),
            clear,
            text,
        )
    ]


def _least(scans: Sequence[_Scan]) -> float:
    """Return the chance below which one region of so many is clear."""
    return CHANCE / len(FAMILIES) / sum(s.reference.size for s in scans)


def _worst(scans: Sequence[_Scan], n: tuple[int, int]) -> tuple[_Scan, int, bool]:
    """Return the least likely region, if possible of those hardly reached, and whether it is clear.

    Of several that have no chance at all, the one that misses most.
    """
    least, candidates = _least(scans), []
    for s in scans:
        both = s.reference + s.generated
        chances = bdtr(s.generated, both, n[1] / sum(n))  # were both samples of one law
        missing = s.reference / n[0] - s.generated / n[1]
        reached = missing <= (1 - COVERAGE) * s.reference / n[0]
        i = int(np.lexsort((-missing, chances, reached))[0])
        candidates.append((bool(reached[i]), chances[i], -missing[i], s, i))
    touched, chance, _, s, i = min(candidates, key=lambda c: c[:3])
    return s, i, bool(chance < least) and not touched


def _intervals(
    name: str, unit: str, reference: tuple[Array, Array], generated: tuple[Array, Array]
) -> _Scan:
    """Count showers in intervals of one observable, at all energies and in intervals of them.

    ``reference`` and ``generated`` are the observable and the energies, or the energies twice.
    """
    energies, alone = (reference[1], generated[1]), reference[0] is reference[1]
    edges = _edges(reference[0], SHARES), _edges(energies[0], WHOLE if alone else ENERGY_SHARES)
    sums = [
        np.pad(np.histogram2d(x, e, edges)[0].astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        for x, e in (reference, generated)
    ]
    grids = np.meshgrid(*(np.arange(len(e) * (len(e) - 1) // 2) for e in edges), indexing="ij")
    pairs = [np.triu_indices(len(e), 1) for e in edges]
    first, second = (p[grids[0].ravel()] for p in pairs[0])
    low, high = (p[grids[1].ravel()] for p in pairs[1])
    r, g = (s[second, high] - s[first, high] - s[second, low] + s[first, low] for s in sums)

    def region(i: int) -> tuple[str, npt.NDArray[np.bool_]]:
        spans = [
            _Span(name.replace("_", " "), unit, edges[0], int(first[i]), int(second[i])),
            _Span("incident energy", "GeV", edges[1], int(low[i]), int(high[i])),
        ]
        words = " and ".join(s.words for s in spans if not s.whole) or spans[0].words
        return words, spans[0].holds(reference[0]) & spans[1].holds(energies[0])

    return _Scan(r, g, region)


def _edges(values: Array, shares: Array) -> Array:
    """Return quantiles, the last just above the largest value."""
    edges = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    if len(edges) == 1:
        return np.array([edges[0], np.nextafter(edges[0], np.inf)])
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return np.asarray(edges)


@dataclass(frozen=True)
class _Span:
    """From one edge to another: ``edges[first]`` to below ``edges[last]``."""

    what: str
    unit: str
    edges: Array
    first: int
    last: int

    @property
    def whole(self) -> bool:
        return self.first == 0 and self.last == len(self.edges) - 1

    @property
    def words(self) -> str:
        low, high = (f"{self.edges[k]:.3g}" for k in (self.first, self.last))
        unit = f" {self.unit}" if self.unit else ""
        if self.first == 0 and not self.whole:
            return f"{self.what} below {high}{unit}"
        if self.last == len(self.edges) - 1 and not self.whole:
            return f"{self.what} above {low}{unit}"
        return f"{self.what} {low} to {high}{unit}"

    def holds(self, values: Array) -> npt.NDArray[np.bool_]:
        return np.asarray((values >= self.edges[self.first]) & (values < self.edges[self.last]))


def _clusters(reference: Columns, seed: int) -> Callable[[Columns], npt.NDArray[np.int32]]:
    """Cluster the ranks of all observables of the reference; return what puts showers into them."""
    ordered = {name: np.sort(column) for name, column in reference.items()}

    def ranks(columns: Columns) -> Array:
        shares = [
            (np.searchsorted(o, columns[name]) + np.searchsorted(o, columns[name], "right"))
            / (2 * len(o))
            for name, o in ordered.items()
        ]
        return np.stack(shares, 1)

    rows = ranks(reference)
    count = max(2, min(CLUSTERS, len(rows) // IN_CLUSTER))
    centres = rows[stream(seed, "clusters").permutation(len(rows))[:count]]
    for _ in range(ITERATIONS):
        label, _ = vq(rows, centres)
        n = np.bincount(label, minlength=count)[:, None]
        sums = np.stack([np.bincount(label, c, minlength=count) for c in rows.T], 1)
        centres = np.where(n > 0, sums / np.maximum(n, 1), centres)
    return lambda columns: vq(ranks(columns), centres)[0]


def _in_clusters(reference: npt.NDArray[np.int32], generated: npt.NDArray[np.int32]) -> _Scan:
    """Count showers in clusters."""
    count = int(max(reference.max(), generated.max())) + 1
    r, g = (np.bincount(x, minlength=count) for x in (reference, generated))
    words = "several observables of one kind together"
    return _Scan(r, g, lambda i: (words, reference == i))


def _look(reference: Columns, region: str, members: npt.NDArray[np.bool_]) -> str:
    """Say in which observables the showers of a region differ most from all others."""
    rest = ~members
    if not rest.any():
        return "they are all showers of the reference"
    told = []
    for name, column in reference.items():
        words = name.replace("_", " ")
        means = column[members].mean(), column[rest].mean()
        spread = column[rest].std()
        if spread > 0 and f"{words} " not in region:
            text = f"{words} {means[0]:.3g} on average, {means[1]:.3g} elsewhere"
            told.append((abs(means[0] - means[1]) / spread, text))
    return "they have " + ", and ".join(text for _, text in sorted(told, reverse=True)[:TOLD])
