"""3DcosmoGAN's scores, for comparison with its papers."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.channel import Channel, channels
from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.measured import Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.observables.cosmogan_scores import CosmoGANScore, cosmogan_scores
from emulators.random import stream


@chapter(
    "scores",
    "3DcosmoGAN's scores",
    ("field",),
    "In the manner of 3DcosmoGAN (Perraudin et al. 2019; larger is better), for comparison with "
    "its papers only: they depend on n, on the grid and on a few rare bins, and nothing is judged "
    "by them. Measured against its code: up to 5 % (power spectrum, mass) and 10 % (peaks) from "
    "its own, since modes are weighted and peaks are sought across periodic borders here.",
)
def scores(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Score counts against one half of the reference; the floor is the other half."""
    if pair.spec.unit != "count":
        return []
    return [number for channel in channels(pair, settings) for number in _scores(channel)]


def _scores(channel: Channel) -> list[Measured]:
    first = _half(channel)
    n = int(min(first.sum(), (~first).sum(), len(channel.some["generated"])))
    if n < 2:
        return []
    generated, reference = (
        channel.pair.read(k, channel.index, channel.some[k]) for k in ("generated", "reference")
    )
    if channel.pair.paired:  # the partners of the other half
        generated = generated[~first][:n]
    else:
        order = stream(channel.seed, "scores", "generated").permutation(len(generated))
        generated = generated[order[:n]]
    extent = channel.grid.lengths, channel.grid.periodic
    values = cosmogan_scores(generated, reference[first][:n], *extent)
    floors = cosmogan_scores(reference[~first][:n], reference[first][:n], *extent)
    return [
        Number(
            name=channel.key(name),
            label=channel.key(f"score of {name}, 1 / FD"),
            value=value.score if math.isfinite(value.score) else math.nan,
            floor=floors[name].score if math.isfinite(floors[name].score) else None,
            n=value.n,
            more=True,
            says=_words(value),
        )
        for name, value in values.items()
    ]


def _half(channel: Channel) -> npt.NDArray[np.bool_]:
    """Return which of the costly reference fields are in the first half of the simulations."""
    numbers = channel.pair.simulations["reference"][channel.some["reference"]]
    order = stream(channel.seed, "scores", channel.name).permutation(np.unique(numbers))
    return np.isin(numbers, order[: len(order) // 2])


def _words(score: CosmoGANScore) -> str:
    if not math.isfinite(score.score):
        return "infinite: both samples have the same"
    singular = ": fewer fields than that, and the covariances are singular" * score.singular
    return f"Of {score.dimensions} numbers a field{singular}."
