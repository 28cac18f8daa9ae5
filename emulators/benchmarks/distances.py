"""Distances between two samples of one number, with bootstrap errors.

All of them follow from the two cumulative distributions on the pooled, sorted values, so that a
bootstrap is one cumulative sum over a matrix of weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Measurement",
    "histogram",
    "kolmogorov_smirnov",
    "measure",
    "quantile_edges",
    "separation_power",
    "wasserstein",
]

Array = npt.NDArray[np.float64]


def wasserstein(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the first Wasserstein distance of two samples, in their unit."""
    return float(_Pooled(a, b).wasserstein()[0])


def kolmogorov_smirnov(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the largest difference of the two cumulative distributions, 0 to 1."""
    return float(_Pooled(a, b).kolmogorov_smirnov()[0])


def quantile_edges(reference: npt.ArrayLike, bins: int = 50) -> Array:
    """Return edges of up to ``bins`` bins that hold equally much of the reference.

    Where the reference repeats values (a count, an exact zero) equal edges are merged.  The last
    edge lies just above the largest value, so that the reference has no overflow.
    """
    values = np.asarray(reference, np.float64)
    shares = np.linspace(0, 1, bins + 1)
    edges = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    above = np.nextafter(edges[-1], np.inf)
    # a largest value that repeats (a count) is a bin of its own, not the end of the one before
    if len(edges) == 1 or (values == edges[-1]).mean() > 0.5 / bins:
        return np.append(edges, above)
    edges[-1] = above
    return edges


def histogram(values: npt.ArrayLike, edges: Array) -> npt.NDArray[np.int64]:
    """Count values in ``len(edges) + 1`` bins: underflow, ``[edge, next edge)`` ..., overflow."""
    bins = np.searchsorted(edges, np.asarray(values, np.float64), side="right")
    return np.bincount(bins, minlength=len(edges) + 1)


def separation_power(counts_a: npt.ArrayLike, counts_b: npt.ArrayLike) -> Array:
    """Return the separation power of two histograms, 0 (equal) to 1 (disjoint).

    ``0.5 sum (p - q)^2 / (p + q)`` over the last axis, with p and q normalised to one; give
    histograms with their under- and overflow, or what lies outside is not counted.
    """
    p, q = (np.asarray(c, np.float64) for c in (counts_a, counts_b))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    both = p + q
    return np.asarray(0.5 * ((p - q) ** 2 / np.where(both > 0, both, 1.0)).sum(-1))


class _Pooled:
    """Cumulative distributions of two samples on their pooled, sorted values.

    ``weights`` are the bootstrap counts of the samples, shapes ``(resamplings, n)``; without them
    there is one row, the samples themselves.
    """

    def __init__(
        self,
        a: npt.ArrayLike,
        b: npt.ArrayLike,
        weights: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None,
    ) -> None:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        pooled = np.concatenate([a, b])
        order = np.argsort(pooled, kind="stable")
        self.values = pooled[order]
        self.steps = np.diff(self.values)
        if weights is None:
            signed = np.concatenate([np.full(len(a), 1 / len(a)), np.full(len(b), -1 / len(b))])
            self.difference = np.cumsum(signed[order])[None, :-1]
        else:
            signed = np.concatenate([weights[0] / len(a), -weights[1] / len(b)], 1)
            self.difference = np.cumsum(signed[:, order], 1, dtype=np.float64)[:, :-1]

    def wasserstein(self) -> Array:
        return np.asarray(np.abs(self.difference) @ self.steps)

    def kolmogorov_smirnov(self) -> Array:
        # within equal values the cumulative distributions have not yet taken all of their step
        return np.asarray(np.abs(self.difference * (self.steps > 0)).max(1))


@dataclass(frozen=True)
class Measurement:
    """A distance, and what two halves of the reference have between them.

    Parameters
    ----------
    value, error
        The distance, and its standard deviation over bootstrap resamplings of both samples.
    floor, floor_error
        Mean and standard deviation of the same distance over random halvings of the reference.
    n
        Samples on each side; the same for value and floor, as these distances shrink with n.
    """

    value: float
    error: float
    floor: float
    floor_error: float
    n: int


def measure(
    generated: Array,
    halves: Sequence[tuple[Array, Array]],
    rng: np.random.Generator,
    resamplings: int = 100,
    bins: int = 50,
) -> dict[str, Measurement]:
    """Measure every distance of one observable, with error and floor.

    Parameters
    ----------
    generated
        Shape ``(m,)``.
    halves
        Pairs (A, B) of disjoint halves of the reference, ``(m,)`` each: the value is the distance
        of ``generated`` from the first A, the floor that of B from A, over all pairs.
    rng
        Random numbers of the bootstrap.
    resamplings, bins
        Number of bootstrap resamplings, and of equally filled bins of the separation power.

    Returns
    -------
    ``separation_power``, ``wasserstein`` (in the unit of the observable), ``kolmogorov_smirnov``.
    """
    reference = halves[0][0]
    values = _distances(generated, reference, bins)
    floors = [_distances(b, a, bins) for a, b in halves]
    edges = quantile_edges(reference, bins)
    drawn = [
        rng.multinomial(len(sample), histogram(sample, edges) / len(sample), size=resamplings)
        for sample in (generated, reference)
    ]
    resampled: tuple[list[Array], list[Array]] = ([], [])
    for first in range(0, resamplings, chunk := max(1, 4_000_000 // (2 * len(reference)))):
        rows = min(chunk, resamplings - first)
        pooled = _Pooled(
            generated,
            reference,
            (_weights(rng, len(generated), rows), _weights(rng, len(reference), rows)),
        )
        resampled[0].append(pooled.wasserstein())
        resampled[1].append(pooled.kolmogorov_smirnov())
    errors = {
        "separation_power": separation_power(*drawn).std(),
        "wasserstein": np.concatenate(resampled[0]).std(),
        "kolmogorov_smirnov": np.concatenate(resampled[1]).std(),
    }
    return {
        name: Measurement(
            value=values[name],
            error=float(errors[name]),
            floor=float(np.mean([f[name] for f in floors])),
            floor_error=float(np.std([f[name] for f in floors])),
            n=len(generated),
        )
        for name in values
    }


def _distances(sample: Array, reference: Array, bins: int) -> dict[str, float]:
    # Bins come from the one reference half that value and floor share: were they cut on both
    # halves, these would fluctuate against each other and the floor would be too high.
    edges = quantile_edges(reference, bins)
    counts = histogram(sample, edges), histogram(reference, edges)
    pooled = _Pooled(sample, reference)
    return {
        "separation_power": float(separation_power(*counts)),
        "wasserstein": float(pooled.wasserstein()[0]),
        "kolmogorov_smirnov": float(pooled.kolmogorov_smirnov()[0]),
    }


def _weights(rng: np.random.Generator, n: int, resamplings: int) -> npt.NDArray[np.float32]:
    """How often each of ``n`` samples is drawn in each resampling, ``(resamplings, n)``."""
    drawn = rng.integers(0, n, (resamplings, n)) + np.arange(resamplings)[:, None] * n
    counts = np.bincount(drawn.ravel(), minlength=resamplings * n)
    return counts.reshape(resamplings, n).astype(np.float32)
