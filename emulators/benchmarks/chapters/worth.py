"""How many samples of the simulation the generated ones are worth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.channel import Channel, channels
from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.measured import Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.observables.conditions import condition_groups
from emulators.observables.distances import histogram, quantile_edges, separation_power
from emulators.observables.resampling import Groups, compare
from emulators.random import stream

__all__ = ["showers_worth", "simulations_worth"]

Array = npt.NDArray[np.float64]

RANGES = 3  # of the incident energy, with equally many showers
FEWEST = {"shower": 100, "field": 5}  # showers, or simulations, on each side of a group
CLEAR = 2.0  # standard errors of the excess: with less, only a limit is known


@chapter(
    "worth",
    "Equivalent samples",
    ("shower", "field"),
    "An emulator is off by the same amount however many samples it makes; simulated samples are "
    "off by chance, less the more there are. So there is a number of simulated samples that are as "
    "far from what the simulation gives in the limit: beyond it, more generated ones come no "
    "nearer. Showers by the separation power averaged over the observables, fields by P(k).",
    beside=True,
)
def worth(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Invert the law by which samples of the simulation come nearer to it."""
    if pair.kind == "shower":
        return [_showers(pair, settings)]
    return [_simulations(channel, settings) for channel in channels(pair, settings)]


def _showers(pair: Pair, settings: Settings) -> Number:
    """Measure all showers, and those in ranges of the incident energy."""
    sides = [np.arange(len(e)) for e in pair.energies]  # reference, generated
    if pair.paired:  # others than their partners, which follow the same incident energies
        generated, halves = pair.halvings(1, settings["seed"])
        sides = [halves[0][0], generated]

    def of(rows: Sequence[npt.NDArray[np.int64]], words: str, **facts: Any) -> Number:
        second, first = (
            {name: column[r] for name, column in f.items()} for f, r in zip(pair.observables, rows)
        )
        rng = stream(settings["seed"], "worth", words)
        number = showers_worth(first, second, rng, settings["resamplings"])
        return replace(number, **{"name": words, "label": words, **facts})

    groups = []
    edges = np.unique(np.quantile(pair.energies[0], np.linspace(0, 1, RANGES + 1)))
    for low, high in pairwise(edges) if "beside" not in settings else ():
        rows = [
            r[(e[r] >= low) & ((e[r] < high) | ((high == edges[-1]) & (e[r] == high)))]
            for e, r in zip(pair.energies, sides)
        ]
        if min(map(len, rows)) >= FEWEST["shower"] and len(edges) > 2:
            groups.append(of(rows, f"{low:.3g} to {high:.3g} GeV", says=""))
    words = "worth of the sample, simulated showers"
    return of(sides, words, name="samples", leading=True, groups=tuple(groups))


def showers_worth(
    generated: Mapping[str, Array],
    reference: Mapping[str, Array],
    rng: np.random.Generator,
    resamplings: int = 100,
) -> Number:
    """Return how many reference showers are as far from the simulation as the generated are.

    In bins that hold equally much of the reference the expected separation power of n showers from
    the simulation's limit is ``c / n``, with c a quarter of the bins less one, and between samples
    of n and m ``c / n + c / m``.  The excess over that is the emulator's own, at infinite n.  So
    the number is ``c / excess``, with both averaged over the observables.

    Parameters
    ----------
    generated, reference
        Observables ``(n,)`` and ``(m,)``, by name; the two samples are independent.
    rng, resamplings
        Of the bootstrap.
    """
    laws, excess, errors = [], [], []
    n, m = (len(next(iter(s.values()))) for s in (generated, reference))
    for name in reference:
        edges = quantile_edges(reference[name])
        # open ends, or the chance of what lies beyond the reference would count; not of a constant
        edges = edges if len(edges) == 2 else edges[1:-1]
        counts = [histogram(s[name], edges) for s in (generated, reference)]
        resampled = [rng.multinomial(c.sum(), c / c.sum(), size=resamplings) for c in counts]
        laws.append(((counts[1] > 0).sum() - 1) / 4)
        excess.append(separation_power(*counts) - laws[-1] * (1 / n + 1 / m))
        errors.append(separation_power(*resampled).std())
    # errors as if all observables were correlated
    return _solved(laws, excess, errors, min(n, m), "showers")


def _simulations(channel: Channel, settings: Settings) -> Number:
    """Measure all fields of a channel, and those of each group of conditions."""
    pair, rows, simulations = channel.pair, channel.level("power"), channel.groups("power")

    def of(masks: Sequence[npt.NDArray[np.bool_]], words: str, **facts: Any) -> Number:
        rng = stream(settings["seed"], "worth", channel.name, words)
        first, second = (r[mask] for r, mask in zip(rows, masks))
        of_first, of_second = (
            None if g is None else g[mask] for g, mask in zip(simulations, masks)
        )
        number = simulations_worth(
            first, second, rng, (of_first, of_second), settings["resamplings"]
        )
        return replace(number, **{"name": words, "label": words, **facts})

    groups = []
    conditions = pair.conditions["generated"], pair.conditions["reference"]
    for words, _, *masks in condition_groups(pair.names, *conditions):
        counts = [
            len(np.unique(pair.simulations[k][mask]))
            for k, mask in zip(("generated", "reference"), masks)
        ]
        if "beside" not in settings and min(counts) >= FEWEST["field"]:
            groups.append(of(masks, words, says=""))
    name = channel.key("samples")
    return of(
        [np.ones(len(r), bool) for r in rows],
        name.replace("samples", "worth of the sample, simulations"),
        name=name,
        leading=not channel.index,
        groups=tuple(groups),
    )


def simulations_worth(
    generated: Array,
    reference: Array,
    rng: np.random.Generator,
    groups: tuple[Groups, Groups] = (None, None),
    resamplings: int = 100,
) -> Number:
    """Return how many simulations' mean P(k) is as far from the limit as the generated mean is.

    The mean square relative deviation of the mean P(k) of n independent simulations is ``v / n``,
    averaged over shells, and v follows from the error of the reference's mean.  The emulator's is
    that of the ratio minus the square of its statistical error.  So the number is ``v`` over that.

    Parameters
    ----------
    generated, reference
        P(k) of every field at equal conditions, ``(n, shells)`` and ``(m, shells)``.
    rng, groups, resamplings
        As `emulators.observables.resampling.compare` takes them.
    """
    ratio = compare(generated, reference, rng, groups=groups, resamplings=resamplings, halvings=1)
    kept = np.isfinite(ratio.ratio) & np.isfinite(ratio.error)
    off, error = ratio.ratio[kept] - 1, ratio.error[kept]
    scatter = (ratio.reference_error[kept] / ratio.reference[kept]) ** 2
    squares = off**2 - error**2
    # of (x + e)^2 with e of this error; shells as if all were correlated
    spread = np.sqrt(4 * np.maximum(squares, 0) * error**2 + 2 * error**4)
    return _solved(ratio.simulations[1] * scatter, squares, spread, min(ratio.n), "simulations")


def _solved(laws: Any, excesses: Any, errors: Any, n: int, unit: str) -> Number:
    """Return law over excess, means of all, or the least that it can be where that is chance."""
    law, excess, error = (float(np.mean(values)) for values in (laws, excesses, errors))
    common: dict[str, Any] = {"name": "samples", "label": "samples", "n": n, "unit": unit,
                              "more": True}  # fmt: skip
    if excess > CLEAR * error:
        low, high = law / (excess + error), law / (excess - error)
        says = "More generated samples than this come no nearer to the simulation."
        return Number(value=law / excess, error=(high - low) / 2, says=says, **common)
    if not error > 0:
        return Number(value=math.nan, says="Nothing varies: it cannot be told.", **common)
    says = "No difference from the simulation is seen at this n; a larger one may tell more."
    value = law / (max(excess, 0.0) + CLEAR * error)
    return Number(value=value, at_least=True, says=says, **common)
