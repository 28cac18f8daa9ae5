"""Two-sample tests as the record of a report holds them: scores, floors, curves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.classifier import VIEWS, TwoSampleTest, two_sample_test, view
from emulators.benchmarks.judge import judge
from emulators.benchmarks.measured import Number
from emulators.benchmarks.pair import Pair
from emulators.data.spec import Samples

__all__ = ["classify", "classify_showers", "judge_classifiers"]

NOT_TOLD, TOLD = 0.05, 0.80  # AUC above its floor that is good; AUC that fails
_SHARES = ((0.55, "hardly any"), (0.7, "some"), (0.8, "many"), (0.95, "most"), (2, "nearly all"))

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
    simulations: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None,
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
    simulations
        Of the rows of reference and generated, where several are from one.

    Returns
    -------
    One entry of ``record["classifiers"]``.
    """
    n = min(len(reference), len(generated))
    numbers = range(seed, seed + seeds)
    samples = (reference[:n], generated[:n]), tuple(reference[rows] for rows in halves)
    groups: list[Any] = [None, None]
    if simulations is not None:
        of_reference, of_generated = simulations
        groups = [
            (of_reference[:n], of_generated[:n]),
            tuple(of_reference[rows] for rows in halves),
        ]
    found, floor = (
        two_sample_test(a, b, preset, numbers, image, which)
        for (a, b), which in zip(samples, groups)
    )
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


def judge_classifiers(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a line for each classifier of a record, as verdicts hold them."""
    lines = []
    for name, entry in record["classifiers"].items():
        auc, what = entry["auc"], f"classifier, {name} view"
        number = Number(
            name=name,
            label=f"AUC of a classifier on {entry['view']}",
            value=auc["value"],
            error=auc.get("standard_error") or auc["error"],
            floor=auc["floor"],
            floor_error=auc["floor_error"],
            n=auc["n"],
            limit=NOT_TOLD,
            fails=TOLD - 0.5,
        )
        line = judge(number)
        share = next(words for limit, words in _SHARES if auc["value"] < limit)
        text = f"{line.text} It tells {share} {record['kind']}s apart."
        lines.append({"status": line.status, "what": what, "text": text})
    return lines


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
