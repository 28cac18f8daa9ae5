"""What a report measures in the space of features: each distance with error, floor and n."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.pair import Pair, Rows
from emulators.observables.features import (
    FEWEST_OF_FPD,
    Array,
    fpd,
    half_sample_errors,
    kpd,
    whole_frechet_distance,
)
from emulators.observables.neighbourhoods import prdc
from emulators.observables.showers import high_level_features
from emulators.progress import tracked

__all__ = [
    "fpd_of",
    "kpd_of",
    "measure_features",
    "prdc_of",
    "whole_fpd_of",
]

HALVINGS = 5  # of the reference, for floors: each costs as much as the value
HALF_SAMPLES = 10  # of both samples, for errors
MOST = 10_000  # samples a side for precision to coverage, whose cost grows with the square
# Below it a ball holds more than 0.5 % of the reference, and the noise of KPD reaches what the best
# GANs of CaloChallenge have (0.001).
FEWEST = 1_000

# CaloChallenge's: smallest and largest resampling of FPD, batch of KPD.  Where n is below the
# largest, all are scaled with n.
_SMALLEST, _LARGEST, _BATCH = 10_000, 50_000, 10_000

Values = Mapping[str, float]
Features = npt.NDArray[np.floating]


def measure_features(
    pair: Pair,
    seed: int,
    features: tuple[Features, Features] | None = None,
    physics: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Measure the distances of generated and reference showers in CaloChallenge's features.

    Value and floor are between samples of one size, as for all distances of the report: generated
    against a half of the reference, the other half against it.

    Parameters
    ----------
    pair
        The showers.
    seed
        Of halvings and half samples.  The resamplings of FPD and KPD have JetNet's own seed, 42.
    features
        Of reference and generated, in the order of the pair; by default those of its observables.
    physics
        The entries ``fpd`` and ``kpd``, where they have been measured.

    Returns
    -------
    The record's entry ``features``: for ``fpd``, ``kpd``, ``precision``, ``recall``, ``density``,
    ``coverage`` each ``value``, ``error`` (standard deviation over random halves of both samples,
    which is that of the whole where the samples differ clearly, and up to twice that where they do
    not), ``floor`` and ``floor_error`` (mean and standard deviation over halvings of the
    reference), ``n`` and ``too_small``: None, or why this n is too small to mean anything.  FPD and
    KPD have a ``recipe_error`` too; in the error of FPD it is added to the spread, which is that of
    `whole_frechet_distance`.
    """
    ref, gen = (f.astype(np.float64) for f in features or _high_level(pair))
    rows, halves = pair.halvings(HALVINGS, seed)
    gen = gen[rows]
    # Euclidean distances need features of one scale; one that the reference has constant stays.
    width = np.where(np.ptp(ref, 0) > 0, ref.std(0), 1.0)
    fewer = [(a[:MOST], b[:MOST]) for a, b in halves]
    found: dict[str, Any] = dict(physics) if physics else _physics(ref, gen, halves, seed)
    found |= _measure("neighbours", prdc_of, prdc_of, ref / width, gen[:MOST] / width, fewer, seed)
    for name, entry in found.items():
        n, needed = entry["n"], FEWEST_OF_FPD * ref.shape[1] if name == "fpd" else FEWEST
        entry["too_small"] = f"{n:,}, but {needed:,} are needed" if n < needed else None
    return {
        "features": f"CaloChallenge's {ref.shape[1]} high-level features; FPD and KPD divide them "
        "by the largest absolute value of the reference, the others by its standard deviation",
        "halvings": HALVINGS,
        "half_samples": HALF_SAMPLES,
        **found,
    }


def _high_level(pair: Pair) -> tuple[Features, Features]:
    first, second = (
        high_level_features(found, pair.geometry, e)
        for found, e in zip(pair.observables, pair.energies)
    )
    return first, second


@remembered
def fpd_of(reference: Features, generated: Features, smallest: int, largest: int) -> Values:
    """Return `features.fpd`, and its error as ``recipe_error``."""
    value, error = fpd(reference, generated, min_samples=smallest, max_samples=largest)
    return {"fpd": value, "recipe_error": error}


@remembered
def kpd_of(reference: Features, generated: Features, batch_size: int) -> Values:
    """Return `features.kpd`, and its error as ``recipe_error``."""
    value, error = kpd(reference, generated, batch_size=batch_size)
    return {"kpd": value, "recipe_error": error}


@remembered
def prdc_of(reference: Features, generated: Features) -> Values:
    """Return `neighbourhoods.prdc` of five neighbours."""
    return prdc(reference, generated, k=5)


def whole_fpd_of(reference: Features, generated: Features) -> Values:
    """Return what the spread of FPD is taken of."""
    return {"fpd": whole_frechet_distance(reference, generated)}


def _sizes(n: int) -> tuple[int, int, int]:
    """Return smallest and largest resampling of FPD, and KPD's batch, for n samples a side."""
    return min(_SMALLEST, n // 5), min(_LARGEST, n), min(_BATCH, n // 5)


def _physics(
    reference: Array, generated: Array, halves: Sequence[tuple[Rows, Rows]], seed: int
) -> dict[str, Any]:
    """Return the entries of FPD and KPD, in resamplings as large as n allows."""

    def fpd_scaled(a: Features, b: Features) -> Values:
        return fpd_of(a, b, *_sizes(len(a))[:2])

    def kpd_scaled(a: Features, b: Features) -> Values:
        return kpd_of(a, b, _sizes(len(a))[2])

    samples = reference, generated, halves, seed
    found = _measure("FPD", fpd_scaled, whole_fpd_of, *samples)
    # halves do not see how the value depends on its resamplings
    found["fpd"]["error"] = float(np.hypot(found["fpd"]["error"], found["fpd"]["recipe_error"]))
    found |= _measure("KPD", kpd_scaled, kpd_scaled, *samples)
    found["fpd"]["sizes"] = list(_sizes(len(generated))[:2])
    found["kpd"]["batch_size"] = _sizes(len(generated))[2]
    return found


def _measure(
    name: str,
    function: Callable[[Array, Array], Values],
    varying: Callable[[Array, Array], Values],
    reference: Array,
    generated: Array,
    halves: Sequence[tuple[Rows, Rows]],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return value and floor of all that a function of two samples gives, errors of ``varying``."""
    first = reference[halves[0][0]]
    pairs = [(first, generated), *((reference[a], reference[b]) for a, b in halves)]
    values, *floors = [function(*both) for both in tracked(pairs, name)]
    errors = half_sample_errors(varying, first, generated, HALF_SAMPLES, seed, "half samples")
    recipe = {key: values[key] for key in values if key == "recipe_error"}
    return {
        key: {
            "value": values[key],
            "error": errors[key],
            "floor": float(np.mean([f[key] for f in floors])),
            "floor_error": float(np.std([f[key] for f in floors], ddof=1)),
            "n": len(generated),
            **recipe,
        }
        for key in values
        if key not in recipe
    }
