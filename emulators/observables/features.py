"""Distances of two samples in a space of features: FPD and KPD.

FPD and KPD follow JetNet's recipe to the last random number: the same features and seed give the
figures that `jetnet.evaluation.fpd` and `kpd` give, so they can be set beside published ones.
Precision, recall, density and coverage are in `emulators.observables.neighbourhoods`, what a report
measures with all of them in `emulators.benchmarks.feature_distances`.

Both depend on n.  FPD extrapolates to infinite *resamplings* of the n samples at hand, which
leaves the 1/n of these samples themselves; KPD draws samples twice, which adds 1/n to an estimate
that were unbiased without.  Neither is 0 for a perfect emulator: read them beside their floor.

References
----------
Kansal et al., arXiv:2211.10295.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpstrf
from scipy.optimize import curve_fit

from emulators.errors import InputError
from emulators.progress import tracked
from emulators.random import stream

__all__ = [
    "FEWEST_OF_FPD",
    "fpd",
    "frechet_distance",
    "half_sample_errors",
    "kernel_distance",
    "kpd",
    "two_samples",
    "whole_frechet_distance",
]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]  # how often each row counts

# For each feature.  Below it a perfect sample's FPD grows faster than 1/n: with 20
# features of photon showers n FPD is 7 at n = 2,000, 8 at 1,000 and 14 at 500.
FEWEST_OF_FPD = 50

# JetNet's; published figures know no others.
_POINTS, _RESAMPLINGS, _BATCHES = 10, 20, 10
_ENTRIES = 1 << 20  # of a block of a matrix of all pairs


def frechet_distance(
    mean_a: Array, covariance_a: Array, mean_b: Array, covariance_b: Array
) -> float:
    """Return the squared Frechet distance of two Gaussians.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``, in squared units of the features.

    Parameters
    ----------
    mean_a, mean_b
        Shape ``(features,)``.
    covariance_a, covariance_b
        Shape ``(features, features)``; they may be singular.
    """
    return _distance(mean_a, _root(covariance_a), mean_b, _root(covariance_b))


def _root(covariance: Array) -> Array:
    """Return S of as many columns as the covariance S S^T has ranks (pivoted Cholesky)."""
    found, pivots, rank, _ = dpstrf(covariance, tol=0.0, lower=1)
    root = np.empty((len(found), rank))
    root[pivots - 1] = np.tril(found)[:, :rank]
    return root


def _distance(mean_a: Array, root_a: Array, mean_b: Array, root_b: Array) -> float:
    # With C = S S^T the trace of the root is the sum of the singular values of S_a^T S_b: that
    # takes no root of a rounding error where features are nearly collinear, as E_inc and E_tot are.
    overlap = np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum()
    shift = mean_a - mean_b
    return float(shift @ shift + (root_a**2).sum() + (root_b**2).sum() - 2 * overlap)


def fpd(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    min_samples: int = 20_000,
    max_samples: int = 50_000,
    seed: int = 42,
) -> tuple[float, float]:
    """Return the Frechet physics distance and the error of its extrapolation, as JetNet does.

    Features are divided by the largest absolute value of the reference.  Frechet distances of 20
    resamplings of each of 10 sizes, equally spaced in 1/size, are fitted with a line in 1/size of
    which neither intercept nor slope is negative; the intercept is the value.

    Parameters
    ----------
    reference, generated
        Shapes ``(n, features)`` and ``(m, features)``.  Computed in float64: JetNet's own means of
        float32 features lose digits.
    min_samples, max_samples
        Smallest and largest size of a resampling.
    seed
        Of the resamplings.

    Returns
    -------
    Value, and standard error of the intercept: that of the fit to these samples.  How much the
    value would differ for other samples, it does not say.

    Raises
    ------
    InputError
        The arrays are not two samples of the same features, or hold NaN.
    """
    a, b = _normalised(reference, generated)
    if not 2 <= min_samples < max_samples:
        raise InputError(
            f"FPD of resamplings of {min_samples} to {max_samples} samples: the line in 1/size "
            "needs two sizes, of 2 samples or more"
        )
    sizes = (1 / np.linspace(1 / min_samples, 1 / max_samples, _POINTS)).astype(np.int32)
    # the generator and the order of its draws are part of the recipe
    rng = np.random.default_rng(seed)
    values = []
    for n in sizes:
        drawn = ((_resampled(a, n, rng), _resampled(b, n, rng)) for _ in range(_RESAMPLINGS))
        values.append(np.mean([_frechet_of(a, counts[0], b, counts[1]) for counts in drawn]))
    found, covariance = curve_fit(_line, 1 / sizes, values, bounds=([0, 0], [np.inf, np.inf]))
    return float(found[0]), float(np.sqrt(covariance[0, 0]))


def _line(x: Array, intercept: float, slope: float) -> Array:
    return intercept + slope * x


def _resampled(sample: Array, size: int, rng: np.random.Generator) -> Counts:
    """Return how often each row is drawn: a resampling repeats rows, so fewer are multiplied."""
    return np.bincount(rng.choice(len(sample), size=size), minlength=len(sample))


def _frechet_of(a: Array, counts_a: Counts, b: Array, counts_b: Counts) -> float:
    return _distance(*_gaussian(a, counts_a), *_gaussian(b, counts_b))


def _gaussian(sample: Array, counts: Counts) -> tuple[Array, Array]:
    """Return mean and root of the covariance of a sample whose rows count so often each."""
    used = np.flatnonzero(counts)
    weights, rows = counts[used], sample[used]
    size = int(weights.sum())
    mean = weights @ rows / size
    rows -= mean
    rows *= np.sqrt(weights / (size - 1))[:, None]
    return mean, rows.T if len(rows) <= rows.shape[1] else _root(rows.T @ rows)


def whole_frechet_distance(reference: npt.ArrayLike, generated: npt.ArrayLike) -> float:
    """Return the Frechet distance of two samples as they are, of features as `fpd` divides them.

    This is where the Frechet distances of ever larger resamplings end, so the value of `fpd` but
    for the noise of its resamplings and of its line, in a two hundredth of the time: it varies from
    sample to sample as that does.

    Parameters
    ----------
    reference, generated
        Shapes ``(n, features)`` and ``(m, features)``.
    """
    a, b = _normalised(reference, generated)
    return _frechet_of(a, np.ones(len(a), np.int64), b, np.ones(len(b), np.int64))


def kernel_distance(a: Array, b: Array) -> float:
    """Return the unbiased squared maximum mean discrepancy with kernel ``(x.y / d + 1)^4``.

    Parameters
    ----------
    a, b
        Shapes ``(n, d)`` and ``(m, d)``.  The result may be negative, as unbiased estimates of 0
        are.
    """
    return _kernel_distance(a, np.ones(len(a), np.int64), b, np.ones(len(b), np.int64))


def _kernel_distance(a: Array, counts_a: Counts, b: Array, counts_b: Counts) -> float:
    """Return that of samples whose rows count so often each, 0 times among them."""
    d, sizes, own, scaled = a.shape[1], [], [], []
    for sample, counts in ((a, counts_a), (b, counts_b)):
        used = np.flatnonzero(counts)
        weights, rows = counts[used], sample[used]
        same = weights @ ((rows**2).sum(1) / d + 1) ** 4  # of each row with itself
        sizes.append(int(weights.sum()))
        own.append(same)
        # the fourth power makes of these the weights of a pair
        rows = np.column_stack([rows / np.sqrt(d), np.ones(len(rows))])
        scaled.append(rows * weights[:, None] ** 0.25)
    x, y = scaled
    pairs = x.shape[1] * (x.shape[1] + 1) // 2
    # of two ways to the same sums, the one with fewer operations
    by_moments = 2 * pairs**2 < (len(x) + len(y)) * (2 * x.shape[1] + 10)
    xx, yy, xy = (_by_moments if by_moments else _by_products)(x, y)
    n, m = sizes
    found = (xx - own[0]) / (n * (n - 1)) + (yy - own[1]) / (m * (m - 1)) - 2 * xy / (n * m)
    return float(found)


def _by_products(x: Array, y: Array) -> tuple[float, float, float]:
    """Sum ``(x.y)^4`` over all pairs of x, of y, and of both; in blocks."""

    def total(first: Array, second: Array) -> float:
        product = first @ second.T
        product *= product
        return float(np.vdot(product, product))

    def own(z: Array) -> float:
        found, rows = 0.0, max(1, _ENTRIES // len(z))
        for i in range(0, len(z), rows):
            part = z[i : i + rows]
            found += total(part, part) + 2 * total(part, z[i + rows :])
        return found

    rows = max(1, _ENTRIES // len(y))
    return own(x), own(y), sum(total(x[i : i + rows], y) for i in range(0, len(x), rows))


def _by_moments(x: Array, y: Array) -> tuple[float, float, float]:
    """Sum the same by ``(x.y)^4 = <p(x) p(x)^T, p(y) p(y)^T>``, p(x) being products of two of x."""
    i, j = np.triu_indices(x.shape[1])
    weight = np.where(i == j, 1.0, np.sqrt(2))
    rows = max(1, _ENTRIES // len(i))

    def moments(z: Array) -> Array:
        found = np.zeros((len(i), len(i)))
        for first in range(0, len(z), rows):
            columns = np.ascontiguousarray(z[first : first + rows].T)
            products = columns[i]
            products *= columns[j]
            products *= weight[:, None]
            found += products @ products.T
        return found

    a, b = moments(x), moments(y)
    return float(np.vdot(a, a)), float(np.vdot(b, b)), float(np.vdot(a, b))


def kpd(
    reference: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    batch_size: int = 5_000,
    seed: int = 42,
) -> tuple[float, float]:
    """Return the kernel physics distance and its error, as JetNet does.

    Features are divided by the largest absolute value of the reference.  The value is the median
    of the `kernel_distance` of 10 resamplings of ``batch_size`` samples of each side, the error
    half of the range that holds their central 67.45 %: the spread of one batch.

    Parameters
    ----------
    reference, generated
        Shapes ``(n, features)`` and ``(m, features)``.
    batch_size
        Samples of each side in a resampling.
    seed
        Of the resamplings.

    Raises
    ------
    InputError
        The arrays are not two samples of the same features, or hold NaN.
    """
    a, b = _normalised(reference, generated)
    if batch_size < 2:
        raise InputError(f"KPD of batches of {batch_size} samples: 2 or more are needed")
    values = []
    for k in range(_BATCHES):
        rng = np.random.default_rng(seed + 1000 * k)
        counts = _resampled(a, batch_size, rng), _resampled(b, batch_size, rng)
        values.append(_kernel_distance(a, counts[0], b, counts[1]))
    low, high = np.percentile(values, (16.275, 83.725))
    return float(np.median(values)), float(high - low) / 2


def half_sample_errors(
    function: Callable[[Any, Any], Mapping[str, float]],
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    count: int,
    seed: int,
    *address: str,
) -> dict[str, float]:
    """Return the standard deviation of numbers over random halves of both samples.

    Halves drawn without replacement spread as the whole does (delete-half jackknife), and hold no
    sample twice, which neighbourhoods would not bear.

    Parameters
    ----------
    function
        Of two arrays of rows.
    a, b
        Its arguments.
    count
        How many halves are drawn.
    seed, address
        Of the random numbers, see `emulators.random.stream`.
    """
    drawn = []
    for k in tracked(range(count), "errors"):
        rng = stream(seed, *address, k)
        drawn.append(function(*(s[rng.permutation(len(s))[: len(s) // 2]] for s in (a, b))))
    return {name: float(np.std([d[name] for d in drawn], ddof=1)) for name in drawn[0]}


def two_samples(
    reference: npt.ArrayLike, generated: npt.ArrayLike
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Return two samples ``(rows, features)``; InputError where they cannot be compared."""
    a, b = np.asarray(reference), np.asarray(generated)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or 0 in (*a.shape, *b.shape):
        raise InputError(
            f"reference features of shape {a.shape} and generated ones of shape {b.shape}: both "
            "must be (samples, features), with the same features"
        )
    for name, x in (("reference", a), ("generated", b)):
        if bad := int((~np.isfinite(x).all(1)).sum()):
            raise InputError(
                f"{name} features: {bad} of {len(x)} samples hold NaN or infinity; leave them out "
                "or see where they come from"
            )
    return a, b


def _normalised(reference: npt.ArrayLike, generated: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = (x.astype(np.float64) for x in two_samples(reference, generated))
    largest = np.abs(a).max(0)
    largest[largest == 0] = 1
    a /= largest
    b /= largest
    return a, b
