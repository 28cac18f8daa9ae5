"""Distances between two samples of one number, with bootstrap errors.

All of them follow from the two cumulative distributions on the pooled, sorted values, so that a
bootstrap is one cumulative sum over a matrix of weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

__all__ = [
    "ChiSquared",
    "Measurement",
    "chi_squared",
    "even_edges",
    "floor_distances",
    "histogram",
    "kolmogorov_smirnov",
    "measure",
    "quantile_edges",
    "separation_power",
    "wasserstein",
]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

FEWEST_EXPECTED = 5  # of each sample, in a bin of chi-squared (Cochran's rule)


def wasserstein(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the first Wasserstein distance of two samples, in their unit.

    Examples
    --------
    >>> wasserstein([1.0, 2.0, 3.0], [1.5, 2.5, 3.5])  # a shift
    0.5
    """
    return float(_Pooled(a, b).wasserstein()[0])


def kolmogorov_smirnov(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the largest difference of the two cumulative distributions, 0 to 1.

    Examples
    --------
    >>> kolmogorov_smirnov([0, 0, 1, 1], [0, 1, 1, 1])
    0.25
    """
    return float(_Pooled(a, b).kolmogorov_smirnov()[0])


def quantile_edges(reference: npt.ArrayLike, bins: int = 50) -> Array:
    """Return edges of up to ``bins`` bins that hold equally much of the reference.

    Where the reference repeats values (a count, an exact zero) equal edges are merged.  The last
    edge lies just above the largest value, so that the reference has no overflow.

    Examples
    --------
    >>> quantile_edges([0, 1, 2, 3, 4, 5, 6, 7], bins=4).round(3).tolist()
    [0.0, 1.0, 3.0, 5.0, 7.0]
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


def even_edges(values: npt.ArrayLike, bins: int = 40, log: bool = False) -> Array:
    """Return edges of about ``bins`` equally wide bins, for a plot.

    They leave out a thousandth of the values at each end.  Of counts, or fractions of cells, each
    holds equally many of the possible values.  With ``log`` they are equal in the logarithm, of
    the values above zero, of which there must be one.
    """
    x = np.asarray(values, np.float64)
    x = x[x > 0] if log else x
    low, high = np.quantile(x, [0.001, 0.999])
    distinct = np.unique(x[(x >= low) & (x <= high)])
    step = np.diff(distinct).min() if len(distinct) > 1 else 1.0
    if len(distinct) < min(400, len(x) // 4) and (high - low) / step < 4000:
        width = step * max(1, round((high - low) / step / bins))
        return np.arange(low - step / 2, high + width, width)
    return np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)


def histogram(values: npt.ArrayLike, edges: Array) -> npt.NDArray[np.int64]:
    """Count values in ``len(edges) + 1`` bins: underflow, ``[edge, next edge)`` ..., overflow."""
    bins = np.searchsorted(edges, np.asarray(values, np.float64), side="right")
    return np.bincount(bins, minlength=len(edges) + 1)


def separation_power(counts_a: npt.ArrayLike, counts_b: npt.ArrayLike) -> Array:
    """Return the separation power of two histograms, 0 (equal) to 1 (disjoint).

    ``0.5 sum (p - q)^2 / (p + q)`` over the last axis, with p and q normalised to one; give
    histograms with their under- and overflow, or what lies outside is not counted.

    Examples
    --------
    >>> separation_power([5, 5, 0], [0, 5, 5]).item()
    0.5
    """
    p, q = (np.asarray(c, np.float64) for c in (counts_a, counts_b))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    both = p + q
    return np.asarray(0.5 * ((p - q) ** 2 / np.where(both > 0, both, 1.0)).sum(-1))


@dataclass(frozen=True)
class ChiSquared:
    """Chi-squared of two histograms, its degrees of freedom, and the chance of one as large."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


def chi_squared(counts_a: npt.ArrayLike, counts_b: npt.ArrayLike) -> ChiSquared:
    """Test whether two histograms of counts are of one distribution, whatever their totals.

    ``sum (sqrt(M / N) n - sqrt(N / M) m)^2 / (n + m)`` over the bins, with N and M the totals of
    the counts n and m; degrees of freedom are the bins less one.  This is Pearson's chi-squared of
    homogeneity.  Between equal totals in equal bins it is 2 N times the separation power.

    A bin that is expected to hold fewer than `FEWEST_EXPECTED` of either sample is merged with its
    neighbours, from the lowest on, and a last one that is left with the one before.  Only the sum
    of both samples decides, so that this favours neither.

    Parameters
    ----------
    counts_a, counts_b
        Whole numbers, shape ``(bins,)``; with under- and overflow, or what lies outside is not
        tested.

    References
    ----------
    Press et al., Numerical Recipes (3rd ed.), eq. 14.3.3; Gagunashvili, arXiv:physics/0605123,
    eq. 3.  Bins merged: Cochran, Biometrics 10 (1954) 417.
    """
    a, b = np.asarray(counts_a), np.asarray(counts_b)
    starts = _filled(a, b)
    degrees = len(starts) - 1
    statistic = float(_chi_squared(a, b, starts))
    chance = float(gammaincc(degrees / 2, statistic / 2)) if degrees else 1.0
    return ChiSquared(statistic, degrees, chance)


def _filled(a: Counts, b: Counts) -> Counts:
    """Return where to begin each merged bin, so that all are filled as `chi_squared` says."""
    needed = FEWEST_EXPECTED * (a.sum() + b.sum()) / min(a.sum(), b.sum())
    starts, held = [0], 0.0
    for i, count in enumerate(a + b):
        if held >= needed:
            starts.append(i)
            held = 0.0
        held += count
    if held < needed and len(starts) > 1:
        starts.pop()
    return np.array(starts)


def _chi_squared(a: Counts, b: Counts, starts: Counts) -> Array:
    """Chi-squared over the last axis of counts, in bins that begin at ``starts``."""
    a, b = (np.add.reduceat(counts, starts, -1) for counts in (a, b))
    root = np.sqrt(b.sum(-1, keepdims=True) / a.sum(-1, keepdims=True))
    both = a + b
    return np.asarray(((root * a - b / root) ** 2 / np.where(both > 0, both, 1.0)).sum(-1))


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
        order = np.argsort(pooled)  # of equal values in any order: no distance is taken among them
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
    floors: Mapping[str, Array] | None = None,
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
    floors
        What `floor_distances` gave for the same halves and bins, where that is known.

    Returns
    -------
    ``separation_power``, ``wasserstein`` (in the unit of the observable), ``kolmogorov_smirnov``,
    ``chi_squared`` (per degree of freedom; 0 where one bin holds everything).
    """
    reference = halves[0][0]
    values = _distances(generated, reference, bins)
    if floors is None:
        floors = floor_distances(halves, bins)
    edges = quantile_edges(reference, bins)
    counts = [histogram(sample, edges) for sample in (generated, reference)]
    drawn = [rng.multinomial(c.sum(), c / c.sum(), size=resamplings) for c in counts]
    starts = _filled(counts[0], counts[1])
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
        "separation_power": separation_power(drawn[0], drawn[1]).std(),
        "wasserstein": np.concatenate(resampled[0]).std(),
        "kolmogorov_smirnov": np.concatenate(resampled[1]).std(),
        "chi_squared": _chi_squared(drawn[0], drawn[1], starts).std() / max(len(starts) - 1, 1),
    }
    return {
        name: Measurement(
            value=values[name],
            error=float(errors[name]),
            floor=float(np.mean(floors[name])),
            floor_error=float(np.std(floors[name])),
            n=len(generated),
        )
        for name in values
    }


def floor_distances(halves: Sequence[tuple[Array, Array]], bins: int = 50) -> dict[str, Array]:
    """Return each distance of B from A, shape ``(halves,)``; parameters and names as `measure`."""
    found = [_distances(b, a, bins) for a, b in halves]
    return {name: np.array([f[name] for f in found]) for name in found[0]}


def _distances(sample: Array, reference: Array, bins: int) -> dict[str, float]:
    # Bins come from the one reference half that value and floor share: were they cut on both
    # halves, these would fluctuate against each other and the floor would be too high.
    edges = quantile_edges(reference, bins)
    counts = histogram(sample, edges), histogram(reference, edges)
    pooled = _Pooled(sample, reference)
    test = chi_squared(*counts)
    return {
        "separation_power": float(separation_power(*counts)),
        "wasserstein": float(pooled.wasserstein()[0]),
        "kolmogorov_smirnov": float(pooled.kolmogorov_smirnov()[0]),
        "chi_squared": test.statistic / max(test.degrees_of_freedom, 1),
    }


def _weights(rng: np.random.Generator, n: int, resamplings: int) -> npt.NDArray[np.float32]:
    """How often each of ``n`` samples is drawn in each resampling, ``(resamplings, n)``."""
    drawn = rng.integers(0, n, (resamplings, n)) + np.arange(resamplings)[:, None] * n
    counts = np.bincount(drawn.ravel(), minlength=resamplings * n)
    return counts.reshape(resamplings, n).astype(np.float32)
