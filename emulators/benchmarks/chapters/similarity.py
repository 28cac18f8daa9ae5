"""How alike generated fields are to each other: a generator that repeats itself."""

from collections.abc import Sequence
from math import prod

import numpy as np

from emulators.benchmarks.channel import NAMES, Array, Channel, channels
from emulators.benchmarks.chapter import Settings, chapter, percent
from emulators.benchmarks.measured import Measured
from emulators.benchmarks.pair import Pair, Rows
from emulators.observables.fields import compressed
from emulators.observables.similarity import ms_ssim
from emulators.random import stream

WINDOW = 11  # cells
PAIRS_CELLS = 1 << 23  # of pairs of each sample; a quarter of them is in each half
PAIRS = 400  # of them, at most


@chapter(
    "similarity",
    "Diversity",
    ("field",),
    "Multi-scale structural similarity (MS-SSIM) of two fields, 1 where they are equal, in the "
    "mean over pairs of generated fields and over pairs of the reference. A generator that repeats "
    "itself makes fields that are more alike.",
)
def similarity(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Compare the mean similarities; nothing where the window does not fit."""
    if min(pair.spec.shape[1:]) < WINDOW:
        return []
    return [n for channel in channels(pair, settings) for n in _diversity(channel, settings)]


def _diversity(channel: Channel, settings: Settings) -> list[Measured]:
    """Measure pairs once; each halving of the simulations has those with both fields in it."""
    pair, cells = channel.pair, prod(channel.cells)
    most = min(PAIRS, max(32, PAIRS_CELLS // cells))
    rows = {k: pair.at_most(k, 2 * most * cells, channel.seed) for k in NAMES}
    samples = {
        k: compressed(pair.read(k, channel.index, r), channel.unit, channel.bins.one_point)
        for k, r in rows.items()
    }
    if not (reach := float(np.ptp(samples["reference"]))) > 0:
        return []
    pairs, alike, start = [], {}, 0
    for name, values in samples.items():
        first, second = _pairs(
            len(values), most, stream(channel.seed, "similarity", channel.name, name)
        )
        alike[name] = ms_ssim(values[first], values[second], reach, channel.grid.periodic)
        pairs.append((start + first, start + second))
        start += len(values)
    one, other = (np.concatenate(side) for side in zip(*pairs))
    similarities, fields = np.concatenate(list(alike.values())), np.arange(start)[:, None]

    def mean(chosen: Array) -> float:
        """Mean over the pairs among these fields; a resampling holds some several times."""
        counts = np.bincount(chosen[:, 0].astype(int), minlength=start)
        weights = counts[one] * counts[other]
        return float(np.average(similarities, weights=weights if weights.any() else None))

    def difference(a: Array, b: Array) -> float:
        return abs(mean(a) - mean(b))

    generated, reference = np.split(fields.astype(np.float64), [len(rows["generated"])])
    groups = [None if g is None else g[rows[k]] for k, g in zip(NAMES, pair.groups)]
    means = {name: float(values.mean()) for name, values in alike.items()}
    return [
        percent(
            difference, generated, reference, pair, settings, channel.key("similarity"),
            (groups[0], groups[1]),
            name=channel.key("diversity"),
            label=channel.key("MS-SSIM of two fields, difference of the means"),
            unit="",
            says=f"Of two generated fields {means['generated']:.3f}, of two of the reference "
            f"{means['reference']:.3f}.",
        )
    ]  # fmt: skip


def _pairs(n: int, most: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Return up to ``most`` different pairs of fields, by their numbers."""
    first, second = np.triu_indices(n, 1)
    chosen = np.sort(rng.permutation(len(first))[:most])
    return first[chosen], second[chosen]
