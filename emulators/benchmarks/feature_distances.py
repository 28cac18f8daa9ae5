"""Distances of two samples of features, each with error, floor and n; what is costly is remembered.

Value and floor are between samples of one size, as for all distances of a report: generated against
a half of the reference, the other half against it.  Errors are standard deviations over random
halves of both samples, which is that of the whole where the samples differ clearly, and up to twice
that where they do not.  The resamplings of FPD and KPD have JetNet's own seed, 42.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.pair import Rows
from emulators.observables.distances import Measurement
from emulators.observables.features import (
    Array,
    fpd,
    half_sample_errors,
    kpd,
    whole_frechet_distance,
)
from emulators.observables.neighbourhoods import prdc
from emulators.progress import tracked

__all__ = [
    "HALF_SAMPLES",
    "HALVINGS",
    "batch_size",
    "fpd_of",
    "kpd_of",
    "measure_fpd",
    "measure_kpd",
    "measure_prdc",
    "prdc_of",
    "resampling_sizes",
    "whole_fpd_of",
]

HALVINGS = 5  # of the reference, for floors: each costs as much as the value
HALF_SAMPLES = 10  # of both samples, for errors
MOST = 10_000  # samples a side for precision to coverage, whose cost grows with the square

# CaloChallenge's: smallest and largest resampling of FPD, batch of KPD.  Where n is below the
# largest, all are scaled with n.
_SMALLEST, _LARGEST, _BATCH = 10_000, 50_000, 10_000

Values = Mapping[str, float]
Features = npt.NDArray[np.floating]
Halves = Sequence[tuple[Rows, Rows]]


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


def resampling_sizes(n: int) -> tuple[int, int]:
    """Return smallest and largest resampling of FPD for n samples a side."""
    return min(_SMALLEST, n // 5), min(_LARGEST, n)


def batch_size(n: int) -> int:
    """Return the batch of KPD for n samples a side."""
    return min(_BATCH, n // 5)


def measure_fpd(reference: Array, generated: Array, halves: Halves, seed: int) -> Measurement:
    """Measure FPD in resamplings as large as n allows.

    Parameters
    ----------
    reference, generated
        Rows of features, ``(n, features)`` and ``(m, features)``.
    halves
        Disjoint halves of the reference, of ``m`` rows each.
    seed
        Of the half samples.
    """

    def scaled(a: Features, b: Features) -> Values:
        return fpd_of(a, b, *resampling_sizes(len(a)))

    return _measured("FPD", scaled, whole_fpd_of, reference, generated, halves, seed)["fpd"]


def measure_kpd(reference: Array, generated: Array, halves: Halves, seed: int) -> Measurement:
    """Measure KPD in batches as large as n allows; parameters as `measure_fpd`."""

    def scaled(a: Features, b: Features) -> Values:
        return kpd_of(a, b, batch_size(len(a)))

    return _measured("KPD", scaled, scaled, reference, generated, halves, seed)["kpd"]


def measure_prdc(
    reference: Array, generated: Array, halves: Halves, seed: int
) -> dict[str, Measurement]:
    """Measure precision, recall, density and coverage; parameters as `measure_fpd`.

    Of the first `MOST` rows, in widths of the reference: Euclidean distances need features of one
    scale.  A feature that the reference has constant stays.
    """
    width = np.where(np.ptp(reference, 0) > 0, reference.std(0), 1.0)
    samples = reference / width, generated[:MOST] / width, [(a[:MOST], b[:MOST]) for a, b in halves]
    return _measured("neighbours", prdc_of, prdc_of, *samples, seed)


def _measured(
    name: str,
    function: Callable[[Array, Array], Values],
    varying: Callable[[Array, Array], Values],
    reference: Array,
    generated: Array,
    halves: Halves,
    seed: int,
) -> dict[str, Measurement]:
    """Return value and floor of all that a function of two samples gives, errors of ``varying``."""
    first = reference[halves[0][0]]
    samples = [(first, generated), *((reference[a], reference[b]) for a, b in halves)]
    values, *floors = [function(a, b) for a, b in tracked(samples, name)]
    errors = half_sample_errors(varying, first, generated, HALF_SAMPLES, seed, "half samples")
    # another function does not see how the value depends on its own resamplings
    recipe = values["recipe_error"] if varying is not function else 0.0
    return {
        key: Measurement(
            value=values[key],
            error=float(np.hypot(error, recipe)),
            floor=float(np.mean([f[key] for f in floors])),
            floor_error=float(np.std([f[key] for f in floors], ddof=1)),
            n=len(generated),
        )
        for key, error in errors.items()
        if key != "recipe_error"
    }
