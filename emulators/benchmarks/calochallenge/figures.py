"""CaloChallenge's figures, as its ``evaluate.py`` takes them, to be set beside the published ones.

Its thresholds and histograms, its order of features, its classifiers, its arguments of FPD and KPD;
each figure with error, floor and n, which it leaves out.

References
----------
Krause et al., arXiv:2410.21611.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.calochallenge.histograms import (
    CHALLENGES,
    Challenge,
    Showers,
    emptied,
    features,
    measure_histograms,
)
from emulators.benchmarks.calochallenge.published import SOURCE, published
from emulators.benchmarks.classified import classify
from emulators.benchmarks.classifier import VIEWS, view
from emulators.benchmarks.features import fpd, half_sample_errors, kpd, prdc
from emulators.benchmarks.pair import Pair, Rows, other_edges, same_shapes
from emulators.benchmarks.showers import high_level_features
from emulators.data.dataset import Dataset
from emulators.errors import InputError

__all__ = ["CHALLENGES", "measure_challenge", "require_showers_of"]

PRDC_SAMPLES = 5_000  # of each side: its cost grows with the square of their number
PRDC_HALF_SAMPLES = 4  # for its errors


def require_showers_of(preset: str, path: str | Path) -> None:
    """Raise InputError unless a file has showers in the geometry of the preset's data set."""
    wanted, spec = CHALLENGES[preset].geometry, Dataset(path).spec
    for_what = f"{path}: preset '{preset}' is for showers of {wanted.n_cells} voxels"
    geometry = spec.geometry
    if geometry is None:
        raise InputError(f"{for_what}, these are {spec.kind}s")
    if not same_shapes(geometry, wanted) or other_edges(geometry, wanted):
        edges = " with other edges" if geometry.n_cells == wanted.n_cells else ""
        raise InputError(
            f"{for_what}, these have {geometry.n_cells} cells{edges} ({geometry.name}); take the "
            "preset of their data set, or 'calochallenge' for its classifiers alone"
        )


def measure_challenge(
    pair: Pair, settings: Mapping[str, Any], classifiers: bool, done: Callable[[], Any]
) -> dict[str, Any]:
    """Measure what ``evaluate.py`` measures.

    Parameters
    ----------
    pair
        Showers of the preset's data set.
    settings
        Those of the record: ``preset``, ``seed``, ``classifier_seeds``.
    classifiers
        False leaves them out.
    done
        Called after each part.

    Returns
    -------
    The record's entries ``classifiers`` and ``calochallenge``.
    """
    challenge, seed = CHALLENGES[settings["preset"]], settings["seed"]
    samples = (pair.reference, pair.generated)
    entries, left_out = measure_histograms(pair, challenge, seed)
    done()
    high = [
        high_level_features(features(Showers.of_sample(s), challenge), challenge.geometry, e)
        for s, e in zip(samples, pair.energies)
    ]
    halves = pair.halvings(1, seed)[1][0]
    result = {
        "data_set": challenge.data_set,
        "threshold_MeV": challenge.threshold,
        "histograms": entries,
        "left_out": left_out,
        "distances": _distances(high[0], high[1], halves) | _prdc(pair, challenge, halves, seed),
        "published": published(challenge.data_set),
        "source": SOURCE,
    }
    done()
    scored = {}
    for name in _views(challenge) if classifiers else ():
        words, shown, image = VIEWS.get(name, ""), name, None
        if name == "resnet":
            words, shown, image = f"{VIEWS['low']}, as an image", "low", challenge.image
        rows = high
        if name != "high":
            rows = [
                view(shown, s.values, challenge.geometry, e, challenge.threshold)
                for s, e in zip(samples, pair.energies)
            ]
        options = settings["preset"], settings["classifier_seeds"], seed
        scored[name] = classify(rows[0], rows[1], halves, words, *options, image)
        done()
    return {"classifiers": scored, "calochallenge": result}


def _views(challenge: Challenge) -> tuple[str, ...]:
    return ("low", "low_normed", "high", *(["resnet"] if challenge.image else []))


def _distances(
    reference: npt.NDArray[np.float32],
    generated: npt.NDArray[np.float32],
    halves: tuple[Rows, Rows],
) -> dict[str, dict[str, Any]]:
    """Return FPD and KPD with CaloChallenge's arguments; errors are those of the recipes."""
    first, second = (reference[rows] for rows in halves)
    found = {
        "fpd": [
            fpd(a, b, min_samples=10_000) for a, b in ((reference, generated), (first, second))
        ],
        "kpd": [kpd(a, b, batch_size=10_000) for a, b in ((reference, generated), (first, second))],
    }
    return {
        name: _figure(*value, *floor, len(generated), len(first))
        for name, (value, floor) in found.items()
    }


def _prdc(
    pair: Pair, challenge: Challenge, halves: tuple[Rows, Rows], seed: int
) -> dict[str, dict[str, Any]]:
    """Return precision, recall, density, coverage of log10 voxels; empty ones count 0.1 MeV."""

    def logs(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        values = emptied(values, challenge)
        return np.log10(np.where(values == 0, np.float32(0.1), values))

    neighbourhoods = functools.partial(prdc, k=5)
    # the pair is in random order
    ref, gen = (logs(s.values[:PRDC_SAMPLES]) for s in (pair.reference, pair.generated))
    first, second = (logs(pair.reference.values[rows[:PRDC_SAMPLES]]) for rows in halves)
    found = []
    for a, b in ((ref, gen), (first, second)):
        address = seed, "calochallenge", "half samples"
        spread = half_sample_errors(neighbourhoods, a, b, PRDC_HALF_SAMPLES, *address)
        found.append((neighbourhoods(a, b), spread))
    (value, error), (floor, floor_error) = found
    return {
        name: _figure(
            value[name], error[name], floor[name], floor_error[name], len(gen), len(first)
        )
        for name in value
    }


def _figure(
    value: float, error: float, floor: float, floor_error: float, n: int, floor_n: int
) -> dict[str, Any]:
    return {
        "value": value,
        "error": error,
        "floor": floor,
        "floor_error": floor_error,
        "n": n,
        "floor_n": floor_n,
    }
