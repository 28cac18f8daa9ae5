"""Distances of two samples in a space of features: FPD, KPD, precision, recall, density, coverage.

FPD and KPD follow JetNet's recipe to the last random number: the same features and seed give the
figures that `jetnet.evaluation.fpd` and `kpd` give, so they can be set beside published ones.
Precision, recall, density and coverage are those of the package `prdc`.

All of them depend on n.  FPD extrapolates to infinite *resamplings* of the n samples at hand, which
leaves the 1/n of these samples themselves; KPD draws samples twice, which adds 1/n to an estimate
that were unbiased without.  Neither is 0 for a perfect emulator: read them beside their floor.

References
----------
FPD and KPD: Kansal et al., arXiv:2211.10295.  Precision and recall: Kynkaanniemi et al.,
arXiv:1904.06991.  Density and coverage: Naeem et al., arXiv:2002.09797.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import curve_fit

from emulators.benchmarks.pair import Pair, Rows
from emulators.benchmarks.showers import high_level_features
from emulators.errors import InputError
from emulators.random import stream

__all__ = [
    "fpd",
    "frechet_distance",
    "half_sample_errors",
    "kernel_distance",
    "kpd",
    "measure_features",
    "prdc",
]

Array = npt.NDArray[np.float64]

HALVINGS = 5  # of the reference, for floors: each costs as much as the value
HALF_SAMPLES = 10  # of both samples, for errors
MOST = 10_000  # samples a side for precision to coverage, whose cost grows with the square
# Below it a ball holds more than 0.5 % of the reference, and the noise of KPD reaches what the best
# GANs of CaloChallenge have (0.001).
FEWEST = 1_000
# For each feature.  Below it a perfect sample's FPD grows faster than 1/n: with 20
# features of photon showers n FPD is 7 at n = 2,000, 8 at 1,000 and 14 at 500.
FEWEST_OF_FPD = 50

# JetNet's; published figures know no others.
_POINTS, _RESAMPLINGS, _BATCHES = 10, 20, 10
# CaloChallenge's: smallest and largest resampling of FPD, batch of KPD.  Where n is below the
# largest, all are scaled with n.
_SMALLEST, _LARGEST, _BATCH = 10_000, 50_000, 10_000
_ENTRIES = 1 << 20  # of a block of a kernel matrix


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
    # With C = S S^T the trace of the root is the sum of the singular values of S_a^T S_b: that
    # takes no root of a rounding error where features are nearly collinear, as E_inc and E_tot are.
    roots = []
    for covariance in (covariance_a, covariance_b):
        variances, axes = np.linalg.eigh(covariance)
        roots.append(axes * np.sqrt(np.maximum(variances, 0)))
    overlap = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    shift = mean_a - mean_b
    return float(shift @ shift + np.trace(covariance_a) + np.trace(covariance_b) - 2 * overlap)


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
    a, b = _normalised(*_two_samples(reference, generated))
    if not 2 <= min_samples < max_samples:
        raise InputError(
            f"FPD of resamplings of {min_samples} to {max_samples} samples: the line in 1/size "
            "needs two sizes, of 2 samples or more"
        )
    sizes = (1 / np.linspace(1 / min_samples, 1 / max_samples, _POINTS)).astype(np.int32)
    # the generator and the order of its draws are part of the recipe
    rng = np.random.default_rng(seed)
    values = [np.mean([_resampled(a, b, int(n), rng) for _ in range(_RESAMPLINGS)]) for n in sizes]
    found, covariance = curve_fit(_line, 1 / sizes, values, bounds=([0, 0], [np.inf, np.inf]))
    return float(found[0]), float(np.sqrt(covariance[0, 0]))


def _line(x: Array, intercept: float, slope: float) -> Array:
    return intercept + slope * x


def _resampled(a: Array, b: Array, size: int, rng: np.random.Generator) -> float:
    rows = [rng.choice(len(sample), size=size) for sample in (a, b)]
    drawn = a[rows[0]], b[rows[1]]
    return frechet_distance(*(f for s in drawn for f in (s.mean(0), np.cov(s, rowvar=False))))


def kernel_distance(a: Array, b: Array) -> float:
    """Return the unbiased squared maximum mean discrepancy with kernel ``(x.y / d + 1)^4``.

    Parameters
    ----------
    a, b
        Shapes ``(n, d)`` and ``(m, d)``.  The result may be negative, as unbiased estimates of 0
        are.
    """
    n, m = len(a), len(b)
    own = (_kernel_sum(a, a) - _diagonal_sum(a)) / (n * (n - 1))
    other = (_kernel_sum(b, b) - _diagonal_sum(b)) / (m * (m - 1))
    return float(own + other - 2 * _kernel_sum(a, b) / (n * m))


def _kernel_sum(a: Array, b: Array) -> float:
    """Sum the kernel over all pairs, block by block; half of them if it is one sample."""
    rows = max(1, _ENTRIES // len(b))
    total, same = 0.0, a is b
    for first in range(0, len(a), rows):
        last = min(first + rows, len(a))
        total += _kernel(a[first:last], b[first:last] if same else b).sum()
        if same:
            total += 2 * _kernel(a[first:last], b[last:]).sum()
    return total


def _kernel(a: Array, b: Array) -> Array:
    kernel = a @ b.T
    kernel /= a.shape[1]
    kernel += 1
    kernel *= kernel
    kernel *= kernel
    return kernel


def _diagonal_sum(a: Array) -> float:
    return float((((a * a).sum(1) / a.shape[1] + 1) ** 4).sum())


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
    a, b = _normalised(*_two_samples(reference, generated))
    if batch_size < 2:
        raise InputError(f"KPD of batches of {batch_size} samples: 2 or more are needed")
    values = []
    for k in range(_BATCHES):
        rng = np.random.default_rng(seed + 1000 * k)
        rows = [rng.choice(len(sample), size=batch_size) for sample in (a, b)]
        values.append(kernel_distance(a[rows[0]], b[rows[1]]))
    low, high = np.percentile(values, (16.275, 83.725))
    return float(np.median(values)), float(high - low) / 2


def prdc(reference: npt.ArrayLike, generated: npt.ArrayLike, k: int = 5) -> dict[str, float]:
    """Return precision, recall, density and coverage of two samples.

    The ball of a sample reaches to its ``k``-th nearest neighbour in its own set, its border left
    out.

    Parameters
    ----------
    reference, generated
        Shapes ``(n, features)`` and ``(m, features)``, of features whose Euclidean distance means
        something.  Computed in float32 from differences, so that equal rows have distance 0.
    k
        Which neighbour.

    Returns
    -------
    ``precision``
        Share of the generated samples that lie in the ball of a reference sample.
    ``recall``
        Share of the reference samples that lie in the ball of a generated sample.
    ``density``
        In how many balls of reference samples a generated one lies on average, over ``k``.  1 for
        two samples of one distribution; it can be larger.
    ``coverage``
        Share of the reference samples whose ball holds a generated one.  About 1 - 2^-k for two
        equally large samples of one distribution.

    Raises
    ------
    InputError
        The arrays are not two samples of the same features, hold NaN, or have no ``k`` neighbours.
    """
    found = _two_samples(reference, generated)
    if not 1 <= k < min(len(x) for x in found):
        raise InputError(
            f"{k} nearest neighbours among {len(found[0])} reference and {len(found[1])} generated "
            "samples: each sample needs 1 neighbour or more, and more samples than neighbours"
        )
    ref, gen = (torch.from_numpy(x.astype(np.float32)) for x in found)
    radii, generated_radii = _radii(ref, k), _radii(gen, k)
    precise = torch.zeros(len(gen), dtype=torch.bool)
    recalled = covered = inside = 0
    rows = max(1, 4 * _ENTRIES // len(gen))
    for first in range(0, len(ref), rows):
        distances = _distances(ref[first : first + rows], gen)
        within = distances < radii[first : first + rows, None]
        precise |= within.any(0)
        inside += int(within.count_nonzero())
        covered += int(within.any(1).count_nonzero())
        recalled += int((distances < generated_radii).any(1).count_nonzero())
    return {
        "precision": int(precise.count_nonzero()) / len(gen),
        "recall": recalled / len(ref),
        "density": inside / (k * len(gen)),
        "coverage": covered / len(ref),
    }


def _radii(sample: torch.Tensor, k: int) -> torch.Tensor:
    """Return the distance of each sample to its k-th neighbour; the nearest is itself, at 0."""
    rows = max(1, 4 * _ENTRIES // len(sample))
    nearest = [
        _distances(sample[i : i + rows], sample).topk(k + 1, 1, largest=False).values.amax(1)
        for i in range(0, len(sample), rows)
    ]
    return torch.cat(nearest)


def _distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # not from scalar products: their rounding would put equal rows apart
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _two_samples(reference: npt.ArrayLike, generated: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(reference, np.float64), np.asarray(generated, np.float64)
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


def _normalised(reference: Array, generated: Array) -> tuple[Array, Array]:
    largest = np.abs(reference).max(0)
    largest[largest == 0] = 1
    return reference / largest, generated / largest


def measure_features(pair: Pair, seed: int) -> dict[str, Any]:
    """Measure the distances of generated and reference showers in CaloChallenge's features.

    Value and floor are between samples of one size, as for all distances of the report: generated
    against a half of the reference, the other half against it.

    Parameters
    ----------
    pair
        The showers.
    seed
        Of halvings and half samples.  The resamplings of FPD and KPD have JetNet's own seed, 42.

    Returns
    -------
    The record's entry ``features``: for ``fpd``, ``kpd``, ``precision``, ``recall``, ``density``,
    ``coverage`` each ``value``, ``error`` (standard deviation over random halves of both samples,
    which is that of the whole where the samples differ clearly, and up to twice that where they do
    not), ``floor`` and ``floor_error`` (mean and standard deviation over halvings of the
    reference), ``n`` and ``too_small``: None, or why this n is too small to mean anything.
    """
    ref, gen = (
        high_level_features(found, pair.geometry, e).astype(np.float64)
        for found, e in zip(pair.observables, pair.energies)
    )
    rows, halves = pair.halvings(HALVINGS, seed)
    gen = gen[rows]
    # Euclidean distances need features of one scale; one that the reference has constant stays.
    width = np.where(np.ptp(ref, 0) > 0, ref.std(0), 1.0)
    fewer = [(a[:MOST], b[:MOST]) for a, b in halves]
    found = (
        _measure(_fpd_of_all, ref, gen, halves, seed)
        | _measure(_kpd_of_all, ref, gen, halves, seed)
        | _measure(prdc, ref / width, gen[:MOST] / width, fewer, seed)
    )
    for name in ("fpd", "kpd"):
        found[name]["recipe_error"] = found.pop(f"{name}_recipe_error")["value"]
    for name, entry in found.items():
        n, needed = entry["n"], FEWEST_OF_FPD * ref.shape[1] if name == "fpd" else FEWEST
        entry["too_small"] = f"{n:,}, but {needed:,} are needed" if n < needed else None
    smallest, largest, batch = _sizes(len(gen))
    return {
        "features": f"CaloChallenge's {ref.shape[1]} high-level features; FPD and KPD divide them "
        "by the largest absolute value of the reference, the others by its standard deviation",
        "halvings": HALVINGS,
        "half_samples": HALF_SAMPLES,
        "fpd_sizes": [smallest, largest],
        "kpd_batch_size": batch,
        **found,
    }


def _measure(
    function: Callable[[Array, Array], Mapping[str, float]],
    reference: Array,
    generated: Array,
    halves: Sequence[tuple[Rows, Rows]],
    seed: int,
) -> dict[str, dict[str, Any]]:
    first = reference[halves[0][0]]
    values = function(first, generated)
    floors = [function(reference[a], reference[b]) for a, b in halves]
    errors = half_sample_errors(function, first, generated, HALF_SAMPLES, seed, "half samples")
    return {
        name: {
            "value": values[name],
            "error": errors[name],
            "floor": float(np.mean([f[name] for f in floors])),
            "floor_error": float(np.std([f[name] for f in floors], ddof=1)),
            "n": len(generated),
        }
        for name in values
    }


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
    for k in range(count):
        rng = stream(seed, *address, k)
        drawn.append(function(*(s[rng.permutation(len(s))[: len(s) // 2]] for s in (a, b))))
    return {name: float(np.std([d[name] for d in drawn], ddof=1)) for name in drawn[0]}


def _sizes(n: int) -> tuple[int, int, int]:
    """Return smallest and largest resampling of FPD, and KPD's batch, for n samples a side."""
    return min(_SMALLEST, n // 5), min(_LARGEST, n), min(_BATCH, n // 5)


def _fpd_of_all(reference: Array, generated: Array) -> dict[str, float]:
    smallest, largest, _ = _sizes(len(reference))
    found = fpd(reference, generated, min_samples=smallest, max_samples=largest)
    return dict(zip(("fpd", "fpd_recipe_error"), found))


def _kpd_of_all(reference: Array, generated: Array) -> dict[str, float]:
    found = kpd(reference, generated, batch_size=_sizes(len(reference))[2])
    return dict(zip(("kpd", "kpd_recipe_error"), found))
