"""Distances in the space of CaloChallenge's high-level features."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emulators.benchmarks.chapter import Settings, chapter, number, too_few
from emulators.benchmarks.feature_distances import (
    HALVINGS,
    batch_size,
    measure_fpd,
    measure_kpd,
    measure_prdc,
    resampling_sizes,
)
from emulators.benchmarks.measured import Measured
from emulators.benchmarks.pair import Pair
from emulators.observables.features import FEWEST_OF_FPD
from emulators.observables.showers import high_level_features

# Below it a ball holds more than 0.5 % of the reference, and the noise of KPD reaches what the best
# GANs of CaloChallenge have (0.001).
FEWEST = 1_000
NEIGHBOURS = {
    "precision": "Share of the emulated showers that lie where reference showers are.",
    "recall": "Share of the reference showers that lie where emulated showers are.",
    "density": "In how many balls of reference showers an emulated one lies, over that expected.",
    "coverage": "Share of the reference showers that have an emulated one in their ball.",
}


@chapter(
    "features",
    "Distances of high-level features",
    ("shower",),
    "Distances in the space of CaloChallenge's high-level features: Fréchet (FPD) and kernel (KPD) "
    "physics distance, in features over the largest size of the reference, and neighbourhoods, in "
    "features over its width. FPD and KPD follow JetNet's recipe with sizes that fit n: below "
    "50,000 showers a side compare them with their floor, not with published figures.",
    beside=True,
)
def features(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure them; they have no limits of their own, and are read beside their floors."""
    seed = settings["seed"]
    reference, generated = (
        high_level_features(sample, pair.geometry, e).astype(np.float64)
        for sample, e in zip(pair.observables, pair.energies)
    )
    rows, halves = pair.halvings(HALVINGS, seed)
    n, samples = len(rows), (reference, generated[rows], halves, seed)
    small, large = resampling_sizes(n)
    facts: dict[str, dict[str, Any]] = {
        "fpd": {
            "label": "Fréchet physics distance (FPD)",
            "says": f"In resamplings of {small:,} to {large:,} showers.",
        },
        "kpd": {
            "label": "kernel physics distance (KPD)",
            "says": f"In batches of {batch_size(n):,} showers.",
        },
    }
    facts |= {k: {"label": k, "says": says, "more": True} for k, says in NEIGHBOURS.items()}
    needed = dict.fromkeys(facts, FEWEST) | {"fpd": FEWEST_OF_FPD * reference.shape[1]}
    measured = {"fpd": measure_fpd(*samples)} if n >= needed["fpd"] else {}
    if n >= FEWEST:
        measured |= {"kpd": measure_kpd(*samples), **measure_prdc(*samples)}
    return [
        number(measured[name], name=name, **entry)
        if name in measured
        else too_few(n, f"{needed[name]:,}", name=name, label=entry["label"])
        for name, entry in facts.items()
    ]
