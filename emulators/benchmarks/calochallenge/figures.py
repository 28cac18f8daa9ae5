"""CaloChallenge's figures, as its ``evaluate.py`` takes them, to be set beside the published ones.

Its thresholds and histograms, its order of features, its classifiers, its arguments of FPD and KPD;
each figure with error, floor and n, which it leaves out.

References
----------
Krause et al., arXiv:2410.21611.
"""

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
from emulators.benchmarks.feature_distances import (
    HALF_SAMPLES,
    fpd_of,
    kpd_of,
    prdc_of,
    whole_fpd_of,
)
from emulators.benchmarks.pair import Pair, Rows, other_edges, same_shapes
from emulators.data.dataset import Dataset
from emulators.errors import InputError
from emulators.observables.features import half_sample_errors
from emulators.observables.showers import high_level_features
from emulators.progress import tracked

__all__ = ["CHALLENGES", "measure_challenge", "require_showers_of"]

Features = npt.NDArray[np.float32]

PRDC_SAMPLES = 5_000  # of each side: its cost grows with the square of their number
PRDC_HALF_SAMPLES = 4  # for its errors
RESAMPLED = 10_000, 50_000  # evaluate.py's smallest and largest resampling of FPD
BATCH = 10_000  # and its batch of KPD


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
    The record's entries ``classifiers``, ``features`` and ``calochallenge``.  FPD and KPD of the
    features are the challenge's.
    """
    challenge, seed = CHALLENGES[settings["preset"]], settings["seed"]
    samples = (pair.reference, pair.generated)
    found = (
        features(Showers.of_pair(pair, "reference"), challenge),
        features(Showers.of_pair(pair, "generated"), challenge),
    )
    entries, left_out = measure_histograms(pair, found, challenge, seed)
    done()
    reference, generated = (
        high_level_features(f, challenge.geometry, e) for f, e in zip(found, pair.energies)
    )
    halves = pair.halvings(1, seed)[1][0]
    physics = _physics(pair, reference, generated, halves)
    result = {
        "data_set": challenge.data_set,
        "threshold_MeV": challenge.threshold,
        "histograms": entries,
        "left_out": left_out,
        "distances": physics | _prdc(pair, challenge, halves, seed),
        "published": published(challenge.data_set),
        "source": SOURCE,
    }
    measured = _with_spread(physics, reference, generated, seed)
    done()
    scored = {}
    for name in _views(challenge) if classifiers else ():
        words, shown, image = VIEWS.get(name, ""), name, None
        if name == "resnet":
            words, shown, image = f"{VIEWS['low']}, as an image", "low", challenge.image
        rows = reference, generated
        if name != "high":
            first, second = (
                view(shown, s.values, challenge.geometry, e, challenge.threshold)
                for s, e in zip(samples, pair.energies)
            )
            rows = first, second
        options = settings["preset"], settings["classifier_seeds"], seed
        scored[name] = classify(rows[0], rows[1], halves, words, *options, image)
        done()
    return {"classifiers": scored, "features": measured, "calochallenge": result}


def _views(challenge: Challenge) -> tuple[str, ...]:
    return ("low", "low_normed", "high", *(["resnet"] if challenge.image else []))


def _physics(
    pair: Pair, reference: Features, generated: Features, halves: tuple[Rows, Rows]
) -> dict[str, dict[str, Any]]:
    """Return FPD and KPD with CaloChallenge's arguments; errors are those of the recipes.

    These draw rows by number: they give ``evaluate.py``'s figures in the order of the files alone.
    """
    first, second = (reference[rows] for rows in halves)
    whole = (
        reference[np.argsort(pair.rows["reference"])],
        generated[np.argsort(pair.rows["generated"])],
    )
    found = []
    for a, b in tracked([whole, (first, second)], "FPD and KPD"):
        found.append({"fpd": fpd_of(a, b, *RESAMPLED), "kpd": kpd_of(a, b, BATCH)})
    value, floor = found
    n, error = (len(generated), len(first)), "recipe_error"
    return {
        name: _figure(
            value[name][name], value[name][error], floor[name][name], floor[name][error], *n
        )
        for name in value
    }


def _with_spread(
    physics: Mapping[str, Mapping[str, Any]], reference: Features, generated: Features, seed: int
) -> dict[str, dict[str, Any]]:
    """Return the entries as the record's ``features`` have them, the spread in the error of FPD.

    That of KPD is of one batch, the value of ten: it needs none.
    """
    entries = {
        name: {**figure, "recipe_error": figure["error"]} for name, figure in physics.items()
    }
    address = HALF_SAMPLES, seed, "half samples"
    spread = half_sample_errors(whole_fpd_of, reference, generated, *address)["fpd"]
    entries["fpd"]["error"] = float(np.hypot(entries["fpd"]["error"], spread))
    return entries


def _prdc(
    pair: Pair, challenge: Challenge, halves: tuple[Rows, Rows], seed: int
) -> dict[str, dict[str, Any]]:
    """Return precision, recall, density, coverage of log10 voxels; empty ones count 0.1 MeV."""

    def logs(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        values = emptied(values, challenge)
        return np.log10(np.where(values == 0, np.float32(0.1), values))

    # the pair is in random order
    ref, gen = (logs(s.values[:PRDC_SAMPLES]) for s in (pair.reference, pair.generated))
    first, second = (logs(pair.reference.values[rows[:PRDC_SAMPLES]]) for rows in halves)
    found = []
    for a, b in tracked([(ref, gen), (first, second)], "neighbours"):
        address = seed, "calochallenge", "half samples"
        spread = half_sample_errors(prdc_of, a, b, PRDC_HALF_SAMPLES, *address)
        found.append((prdc_of(a, b), spread))
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
