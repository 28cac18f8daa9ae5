"""What classifiers are shown of a pair: showers as cells or features, fields as statistics."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.calochallenge.figures import CHALLENGES, Challenge
from emulators.benchmarks.calochallenge.histograms import Showers, features
from emulators.benchmarks.channel import Channel
from emulators.benchmarks.classifier import DEFAULT_VIEWS, VIEWS, view
from emulators.benchmarks.pair import Pair, Rows
from emulators.data.spec import Samples
from emulators.observables.showers import Array, high_level_features
from emulators.random import stream

__all__ = ["View", "channel_view", "shower_views"]

Features = npt.NDArray[np.float32]

STATISTICS = "P(k), one-point distribution, peaks and voids of each field"


@dataclass(frozen=True)
class View:
    """What a classifier is shown of both samples.

    Parameters
    ----------
    name, words
        In the record, and in words.
    generated, reference
        A row a sample, in random order, shapes ``(n, features)`` and ``(m, features)``.
    halves
        Equally many rows of the reference each.
    image
        Layers, alpha and r bins, where the rows are images; as `two_sample_test` takes it.
    simulations
        Of the rows of generated and reference, where several are from one.
    """

    name: str
    words: str
    generated: Features
    reference: Features
    halves: tuple[Rows, Rows]
    image: tuple[int, int, int] | None = None
    simulations: tuple[Rows, Rows] | None = None


def shower_views(pair: Pair, preset: str, seed: int) -> Iterator[View]:
    """Show showers as each view has them; with a preset of CaloChallenge, as that has them."""
    halves = pair.halvings(1, seed)[1][0]
    if preset in CHALLENGES:
        yield from _challenge_views(pair, CHALLENGES[preset], halves)
        return
    for name in DEFAULT_VIEWS:
        reference, generated = (
            np.concatenate([view(name, s.values, pair.geometry, e), *_others(pair, s)], 1)
            for s, e in zip((pair.reference, pair.generated), pair.energies)
        )
        yield View(name, VIEWS[name], generated, reference, halves)


def _others(pair: Pair, samples: Samples) -> list[Features]:
    """Return the conditions beside the energy, ``(n, 1)`` each, in widths of the reference's."""
    columns = []
    for name, values in samples.conditions.items():
        asked = pair.reference.conditions[name].astype(np.float64)
        if name != "incident_energy" and asked.std() > 0:
            columns.append((values[:, None] - asked.mean()) / asked.std())
    return [column.astype(np.float32) for column in columns]


def _challenge_views(pair: Pair, challenge: Challenge, halves: tuple[Rows, Rows]) -> Iterator[View]:
    """Show what ``evaluate.py`` does, of showers whose voxels below its threshold are empty."""
    geometry, threshold = challenge.geometry, challenge.threshold

    def rows(name: str, sample: str, energy: Array) -> Features:
        if name == "high":
            measured = features(Showers.of_pair(pair, sample), challenge)
            return high_level_features(measured, geometry, energy)
        return view(name, getattr(pair, sample).values, geometry, energy, threshold)

    for name in ("low", "low_normed", "high", *(["resnet"] if challenge.image else [])):
        image = challenge.image if name == "resnet" else None
        shown = "low" if image else name
        words = VIEWS[shown] + (", as an image" if image else "")
        reference, generated = (
            rows(shown, sample, e) for sample, e in zip(("reference", "generated"), pair.energies)
        )
        yield View(name, words, generated, reference, halves, image)


def channel_view(channel: Channel) -> View:
    """Show the statistics of fields at equal conditions; halves are of different simulations."""
    pair, seed = channel.pair, channel.seed
    logs = [np.log(np.maximum(p, np.finfo(np.float64).tiny)) for p in channel.level("power")]
    others = [channel.level(k) for k in ("one_point", "peaks", "voids")]
    rows = [
        np.concatenate([logs[i], *(o[i] for o in others)], 1).astype(np.float32) for i in range(2)
    ]
    numbers = [pair.simulations[k] for k in ("generated", "reference")]
    simulations = stream(seed, "halves", channel.name).permutation(np.unique(numbers[1]))
    first = np.isin(numbers[1], simulations[: len(simulations) // 2])
    order = [
        stream(seed, "rows", int(pair.paired) or i).permutation(len(r)) for i, r in enumerate(rows)
    ]
    places = np.argsort(order[1])
    parts = [places[np.flatnonzero(mask)] for mask in (first, ~first)]
    n = min(map(len, parts))
    if pair.paired:  # fields of equal conditions go to one part
        numbers[0] = numbers[1]
    name = channel.key("observables")
    return View(
        name,
        name.replace("observables", STATISTICS, 1),
        rows[0][order[0]],
        rows[1][order[1]],
        (parts[0][:n], parts[1][:n]),
        simulations=(numbers[0][order[0]], numbers[1][order[1]]),
    )
