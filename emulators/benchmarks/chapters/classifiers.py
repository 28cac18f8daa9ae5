"""Two-sample classifiers: how well a network tells generated samples from the reference."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emulators.benchmarks.channel import channels
from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.classifier import TwoSampleTest, two_sample_test
from emulators.benchmarks.measured import Axis, Curve, Histogram, Measured, Number
from emulators.benchmarks.pair import FEW_SIMULATIONS, Pair
from emulators.benchmarks.views import View, channel_view, shower_views

NOT_TOLD, TOLD = 0.05, 0.30  # AUC above its floor: where good ends, where poor begins
FEWEST = 100  # fields of each sample
SHARES = ((0.55, "hardly any"), (0.7, "some"), (0.8, "many"), (0.95, "most"), (2, "nearly all"))
LEADING = {"low": "cells", "high": "high-level features"}  # what these classifiers see
POINTS, BINS = 101, 40


@chapter(
    "classifiers",
    "Classifiers",
    ("shower", "field"),
    "A network is trained to tell generated samples from the reference, and asked of others that "
    "it has not seen. Its AUC is the chance that it puts the right one of two samples first: 1 "
    "where it always does, 0.5 where they cannot be told apart, whatever n. The floor is that of "
    "two halves of the reference, the error that of the mean over trainings. An AUC grows with n "
    "and with the network: compare at an equal n and preset.",
    beside=True,
    trains=True,
)
def classifiers(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Train a classifier on each view of showers, or on the statistics of each channel."""
    things: list[Measured] = []
    if pair.kind == "shower":
        for view in shower_views(pair, settings["preset"], settings["seed"]):
            facts: dict[str, Any] = {}
            if words := LEADING.get(view.name):
                facts = {"leading": True, "purpose": f"what a classifier of {words} sees"}
            things += _told_apart(view, pair.kind, settings, **facts)
    else:
        why = _too_few(pair)
        for channel in channels(pair, settings):
            name = channel.key("observables")
            facts = {
                "leading": not channel.index,
                "purpose": "what a classifier of statistics sees",
            }
            if why:
                label = f"AUC of a classifier, {name}"
                things.append(Number(name, label, math.nan, limit=NOT_TOLD, says=why, **facts))
            else:
                things += _told_apart(channel_view(channel), pair.kind, settings, **facts)
    # what shares a table or a figure stands together
    return sorted(things, key=lambda t: (type(t).__name__, t.name.startswith("jsd")))


def _too_few(pair: Pair) -> str:
    """Say what fields lack for a classifier; nothing where there are enough."""
    simulations = len(np.unique(pair.simulations["reference"]))
    n = min(len(rows) for rows in pair.rows.values())
    if simulations < FEW_SIMULATIONS:  # a floor is of halves of them, each in three parts
        return f"Too few simulations: {simulations}, but {FEW_SIMULATIONS} are needed."
    return f"Too few fields: n = {n}, but {FEWEST} are needed." if n < FEWEST else ""


def _told_apart(view: View, kind: str, settings: Settings, **facts: Any) -> list[Measured]:
    """Train on generated and reference, and on two halves of the reference for the floor."""
    seed, beside = settings["seed"], "beside" in settings
    options: dict[str, Any] = {
        "preset": settings["preset"],
        "seeds": range(seed, seed + (1 if beside else settings["classifier_seeds"])),
        "image": view.image,
    }
    n, (a, b) = min(len(view.generated), len(view.reference)), view.halves
    of = view.simulations
    test = two_sample_test(
        view.reference[:n],
        view.generated[:n],
        simulations=None if of is None else (of[1][:n], of[0][:n]),
        **options,
    )
    if beside:  # they stand beside the emulator's, which have a floor
        return _numbers(view, test, None, kind, facts)
    floor = two_sample_test(
        view.reference[a],
        view.reference[b],
        simulations=None if of is None else (of[1][a], of[1][b]),
        **options,
    )
    return [*_numbers(view, test, floor, kind, facts), *_curves(view, test, kind)]


def _numbers(
    view: View, test: TwoSampleTest, floor: TwoSampleTest | None, kind: str, facts: dict[str, Any]
) -> list[Measured]:
    share = next(words for limit, words in SHARES if test.auc < limit)
    return [
        Number(
            name=view.name,
            label=f"AUC of a classifier on {view.words}",
            value=test.auc,
            error=test.standard_error("auc"),
            floor=floor.auc if floor else None,
            floor_error=floor.standard_error("auc") if floor else None,
            n=test.n,
            limit=NOT_TOLD,
            fails=TOLD,
            says=f"It tells {share} {kind}s apart.",
            advice="Look in the other chapters for what is off the most. Where nothing is, what "
            "belongs together in a sample does not: train longer, or a larger network.",
            **facts,
        ),
        Number(
            name=f"jsd_{view.name}",
            label=f"Jensen-Shannon divergence, {view.name}",
            value=test.jsd,
            error=test.standard_error("jsd"),
            floor=floor.jsd if floor else None,
            floor_error=floor.standard_error("jsd") if floor else None,
            n=test.n,
            unit="bit",
        ),
    ]


def _curves(view: View, test: TwoSampleTest, kind: str) -> list[Measured]:
    """Return the scores and the ROC curve of the first seed."""
    scores = test.generated_scores, test.reference_scores
    edges = np.linspace(0, 1, BINS + 1)
    counts = [np.histogram(s, edges)[0].astype(np.float64) for s in scores]
    cuts = np.quantile(scores[0], np.linspace(1, 0, POINTS))
    emulated, reference = ((s[:, None] >= cuts).mean(0) for s in scores)
    none, exact = np.full(POINTS, np.nan), np.zeros(POINTS)
    return [
        Histogram(
            name=f"scores_{view.name}",
            label="score",
            caption=f"Scores of {kind}s that the first classifier has not seen: the further the "
            "two histograms are apart, the more it tells.",
            edges=edges,
            axis=Axis(f"probability of reference, {view.name}"),
            reference=counts[1],
            generated=counts[0],
            text=f"AUC {test.auc:.3f}",
        ),
        Curve(
            name=f"roc_{view.name}",
            label=f"reference {kind}s accepted, {view.name}",
            caption=f"Reference {kind}s accepted against emulated {kind}s accepted, of the first "
            "classifier. On the diagonal it cannot tell, in the upper left corner it tells all.",
            x=emulated,
            axis=Axis(f"emulated {kind}s accepted"),
            reference=emulated,
            reference_error=exact,
            generated=reference,
            generated_error=exact,
            deviation=none,
            error=none,
            floor=none,
            n=(len(scores[0]), len(scores[1])),
        ),
    ]
