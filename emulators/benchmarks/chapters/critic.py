"""Frechet distance in features that a fixed network learned from the reference alone."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from emulators.benchmarks.chapter import Settings, chapter, number, too_few
from emulators.benchmarks.critic import CLIP, FEATURES, train_critic
from emulators.benchmarks.feature_distances import HALVINGS, measure_fpd
from emulators.benchmarks.measured import Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.data.dataset import Dataset
from emulators.observables.features import FEWEST_OF_FPD

GOOD = 0.01  # squared widths: what a shift of every feature by a tenth of its width gives


@chapter(
    "critic",
    "Learned features",
    ("shower",),
    f"Fréchet distance in {FEATURES} features of a network, the critic, that was trained on "
    "showers of the reference alone and combines cells of all layers in ways that no list of "
    "observables has; in squared widths of a feature, mean over the features.",
)
def critic(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure it, extrapolated in the number of samples as FPD is.

    FPD divides features by the largest of the reference, which is 1 where any shower reaches `CLIP`
    widths.

    References
    ----------
    Chong and Forsyth, arXiv:1911.07023; Kansal et al., arXiv:2211.10295.
    """
    seed = settings["seed"]
    rows, halves = pair.halvings(HALVINGS, seed)
    facts: dict[str, Any] = {
        "name": "frechet_distance",
        "label": "Fréchet distance of learned features, squared widths",
        "limit": GOOD,
        "purpose": "features that a network learns",
        "advice": "Something that no observable names is off: look at single showers, and at what "
        "classifiers of the cells see.",
    }
    if len(rows) < (needed := FEWEST_OF_FPD * FEATURES):
        return [too_few(len(rows), f"{needed:,}", **facts)]
    # the file as it is: the critic must not hang on what it is compared with
    network = train_critic(Dataset(pair.files["reference"]["path"]))
    reference, generated = (network.features(s.values) for s in (pair.reference, pair.generated))
    measured = measure_fpd(reference, generated[rows], halves, seed)
    distance = number(measured, CLIP**2 / FEATURES, **facts)
    shift = 100 * math.sqrt(distance.excess)
    return [
        replace(distance, says=f"As if every feature were shifted by {shift:.2g} % of its width."),
        Number(
            name="explained",
            label="variance of observables that the critic predicts",
            value=100 * network.explained,
            n=network.rows,
            unit="%",
            more=True,
            says=network.words,
        ),
    ]
