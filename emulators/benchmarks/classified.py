"""Two-sample tests as the record of a report holds them: scores, floors, curves."""

from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.classifier import VIEWS, TwoSampleTest, two_sample_test, view
from emulators.benchmarks.pair import Pair
from emulators.data.spec import Samples

__all__ = ["classify", "classify_showers"]

Features = npt.NDArray[np.float32]


def classify(
    reference: Features,
    generated: Features,
    halves: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    words: str,
    preset: str,
    seeds: int,
    seed: int,
    image: tuple[int, int, int] | None = None,
) -> dict[str, Any]:
    """Train classifiers on rows of features, and on two halves of the reference for the floor.

    Parameters
    ----------
    reference, generated
        Rows of features, ``(n, features)``; as many of each are used as the smaller sample has.
    halves
        Equally many rows of the reference each.
    words
        What the classifier is shown.
    preset, seeds, seed
        Which classifier, how many trainings, and the seed of the first.
    image
        Layers, alpha and r bins, where the rows are images; see `two_sample_test`.

    Returns
    -------
    One entry of ``record["classifiers"]``.
    """
    n = min(len(reference), len(generated))
    numbers = range(seed, seed + seeds)
    found = two_sample_test(reference[:n], generated[:n], preset, numbers, image)
    floor = two_sample_test(reference[halves[0]], reference[halves[1]], preset, numbers, image)
    return {
        "view": words,
        "preset": preset,
        "n_test": found.n_test,
        "auc": _scored(found, floor, "auc"),
        "jsd": _scored(found, floor, "jsd"),
        **_curves(found),
    }


def classify_showers(pair: Pair, name: str, preset: str, seeds: int, seed: int) -> dict[str, Any]:
    """Return the entry of one view of showers: with the energy it shows all other conditions."""
    ref, gen = (
        np.concatenate([view(name, s.values, pair.geometry, e), *_others(pair, s)], 1)
        for s, e in zip((pair.reference, pair.generated), pair.energies)
    )
    return classify(ref, gen, pair.halvings(1, seed)[1][0], VIEWS[name], preset, seeds, seed)


def _others(pair: Pair, samples: Samples) -> list[Features]:
    """Return the conditions beside the energy, ``(n, 1)`` each, in widths of the reference's."""
    columns = []
    for name, values in samples.conditions.items():
        asked = pair.reference.conditions[name].astype(np.float64)
        if name != "incident_energy" and asked.std() > 0:
            columns.append((values[:, None] - asked.mean()) / asked.std())
    return [column.astype(np.float32) for column in columns]


def _scored(found: TwoSampleTest, floor: TwoSampleTest, kind: str) -> dict[str, Any]:
    error = getattr(found, f"{kind}_error")
    # seeds have the showers in common, so their mean does not become as exact as independent ones
    # would make it: Nadeau and Bengio, Machine Learning 52 (2003) 239
    shared = 1 / len(found.aucs) + found.n_test / (found.n - found.n_test)
    return {
        "value": getattr(found, kind),
        "error": error,
        "standard_error": None if error is None else error * shared**0.5,
        "seeds": getattr(found, f"{kind}s"),
        "n": found.n,
        "floor": getattr(floor, kind),
        "floor_error": getattr(floor, f"{kind}_error"),
        "floor_n": floor.n,
    }


def _curves(found: TwoSampleTest, points: int = 101) -> dict[str, Any]:
    """Return ROC curve and score histogram of the first seed."""
    cuts = np.quantile(found.generated_scores, np.linspace(1, 0, points))
    kept = [(found.reference_scores[:, None] >= cuts).mean(0)]
    edges = np.linspace(0, 1, 41)
    return {
        "roc": {
            "generated_kept": (found.generated_scores[:, None] >= cuts).mean(0),
            "reference_kept": kept[0],
        },
        "scores": {
            "edges": edges,
            "reference": np.histogram(found.reference_scores, edges)[0],
            "generated": np.histogram(found.generated_scores, edges)[0],
        },
    }
