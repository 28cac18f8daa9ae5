"""Whether fields follow their conditions: P(k) at about equal ones, and its response to each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emulators.benchmarks.channel import NAMES, Array, Channel, channels
from emulators.benchmarks.chapter import (
    NONE_JUDGED,
    Settings,
    chapter,
    curve,
    mean_deviation,
    points,
)
from emulators.benchmarks.measured import Axis, Curve, Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.observables.conditions import Response, condition_groups, response
from emulators.observables.spectra import log_edges
from emulators.random import stream

GROUPS, RESPONSE = 5.0, 10.0  # per cent: of P(k) in a group, of its derivatives
FEW = "fewer than two simulations"
FACTS: Any = {
    "unit": "%",
    "noise": "in squares",
    "purpose": "dependence on the conditions",
    "advice": "The samples do not follow their conditions: do not infer parameters with them; "
    "train longer, or on more values of the conditions.",
}


@chapter(
    "conditions",
    "Conditions",
    ("field",),
    "P(k) in groups of about equal conditions, and how much it changes with each condition, the "
    "others fixed, from a regression of ln P(k) on all of them. A group apart from the others is a "
    "dependence that was not learned.",
)
def conditions(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure both, channel by channel; nothing where no condition varies."""
    varying = np.ptp(pair.conditions["reference"], axis=0) > 0
    if not varying.any():
        return []
    measured: list[Measured] = []
    for channel in channels(pair, settings):
        k, join = _wide_bins(channel)
        measured += _groups(channel, settings, k, join)
        measured += _responses(channel, settings, k, join, varying)
    return measured


def _wide_bins(channel: Channel) -> tuple[Array, Array]:
    """Return about eight bins of k, and the matrix that averages shells into them."""
    shells = channel.shells
    edges = log_edges(channel.cells, channel.grid.lengths, 5)
    index = np.digitize(shells.k, edges[1:-1])
    join = (index[:, None] == np.arange(index.max() + 1)) * shells.modes[:, None].astype(float)
    join = join[:, join.sum(0) > 0]
    join /= join.sum(0)
    return shells.k @ join, join


def _groups(channel: Channel, settings: Settings, k: Array, join: Array) -> list[Measured]:
    """Compare P(k) in each group; one number says how far they are off in the mean."""
    pair = channel.pair
    generated, reference = (v @ join for v in channel.level("power"))
    numbers = [pair.simulations[name] for name in NAMES]
    curves: list[Measured] = []
    groups, few, families = [], [], set()
    for words, of, *masks in condition_groups(pair.names, *(pair.conditions[n] for n in NAMES)):
        simulations = numbers[0][masks[0]], numbers[1][masks[1]]
        fewest = min(len(np.unique(s)) for s in simulations)
        if fewest < 2:
            few.append(words)
            groups.append(Number(words, words, math.nan, unit="%", says=FEW))
            continue
        rows = generated[masks[0]], reference[masks[1]]
        key = channel.key(f"group {words}")
        shape = curve(
            *rows, pair, settings, key, simulations,
            name=channel.key(words),
            label=words,
            caption="P(k), emulator over reference, in groups of about equal conditions; all "
            f"should lie in the band of ±{GROUPS:g} %, and together.",
            x=k,
            axis=Axis("k", channel.k_unit, log=True),
            unit=channel.unit_of(len(channel.cells)),
            log=True,
            family=channel.key(f"P(k) by {of}" if of else "P(k)"),
            good=np.full(len(k), GROUPS / 100),
        )  # fmt: skip
        curves.append(shape)
        families.add(of)
        deviation = mean_deviation(
            rows, shape, shape.kept, pair, settings, f"{key} mean", simulations, (words, words)
        )
        groups.append(replace(deviation, simulations=fewest))
    compared = [g for g in groups if math.isfinite(g.value)]
    # groups of one condition hold different fields, those of several the same ones
    independent = max(len(compared), 1) / max(len(families), 1)
    errors = [g.error or 0.0 for g in compared]
    whole = Number(
        name=channel.key("groups"),
        label=channel.key("P(k) at equal conditions"),
        value=_mean([g.value for g in compared]),
        error=float(np.sqrt(np.mean(np.square(errors)) / independent)) if compared else None,
        floor=_mean([g.floor or 0.0 for g in compared]) if compared else None,
        floor_error=0.0,
        n=min((g.n for g in compared), default=0),
        limit=GROUPS,
        simulations=min(len(np.unique(s)) for s in numbers),
        groups=tuple(groups),
        says=f"{FEW.capitalize()}, and not compared: {'; '.join(few)}." if few else "",
        **FACTS,
    )
    return [*curves, whole]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _responses(
    channel: Channel, settings: Settings, k: Array, join: Array, varying: Array
) -> Iterator[Measured]:
    """Compare d ln P(k) / d condition, of each condition that varies."""
    pair = channel.pair
    simulations = [pair.simulations[name] for name in NAMES]
    fewest = min(len(np.unique(s)) for s in simulations)
    generated, reference = (
        (v @ join, pair.conditions[name][:, varying], s)
        for v, name, s in zip(channel.raw("power"), NAMES, simulations)
    )
    slopes = response(
        generated,
        reference,
        stream(settings["seed"], "chapter", channel.key("response")),
        settings["resamplings"],
        settings["halvings"],
    )
    units = {c.name: c.unit for c in pair.spec.conditions}
    names = [n for n, v in zip(pair.names, varying) if v]
    numbers = []
    for i, name in enumerate(names):
        number = Number(
            name=channel.key(f"response_{name}"),
            label=channel.key(f"response of P(k) to {name}"),
            value=math.nan,
            limit=RESPONSE,
            simulations=fewest,
            says=NONE_JUDGED,
            **FACTS,
        )
        if slopes is None:
            needed = 3 * (1 + len(names))
            says = f"too few simulations for a regression: {fewest}, but {needed} are needed"
            numbers.append(replace(number, says=says))
            continue
        shape = _slopes(channel, slopes, i, name, units[name], k)
        yield shape
        if shape.kept.any():
            mean = float(slopes.mean[i])
            number = replace(
                number,
                value=100 * abs(mean),
                error=100 * float(slopes.mean_error[i]),
                floor=100 * float(slopes.mean_floor[i]),
                floor_error=0.0,
                n=min(shape.n),
                groups=tuple(points(shape, shape.kept, pair)),
                listed=False,
                says=f"The emulator's is the {'stronger' if mean > 0 else 'weaker'}.",
            )
        numbers.append(number)
    yield from numbers


def _slopes(channel: Channel, slopes: Response, i: int, name: str, unit: str, k: Array) -> Curve:
    """Return the derivatives with respect to one condition as a curve."""
    return Curve(
        name=channel.key(f"slopes_{name}"),
        label=f"d ln P(k) / d {name}",
        caption="How much P(k) changes with a condition, the others fixed; below, emulator over "
        f"reference in the band of ±{RESPONSE:g} %, or where the response goes through zero the "
        "difference. Faint points are not judged: the reference itself is not five errors from 0.",
        x=k,
        axis=Axis("k", channel.k_unit, log=True),
        reference=slopes.reference[i],
        reference_error=slopes.reference_error[i],
        generated=slopes.generated[i],
        generated_error=slopes.generated_error[i],
        deviation=slopes.deviation[i],
        error=slopes.error[i],
        floor=slopes.floor[i],
        n=(len(channel.all["generated"]), len(channel.all["reference"])),
        unit=f"1 / {unit}" if unit else "",
        difference=bool(slopes.through_zero[i]),
        judged=slopes.judged[i],
        good=np.full(len(k), RESPONSE / 100),
    )
