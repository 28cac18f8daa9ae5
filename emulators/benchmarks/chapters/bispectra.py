"""The bispectrum of fields: whether their phases make filaments and knots."""

from collections.abc import Sequence

import numpy as np

from emulators.benchmarks.channel import Channel, channels
from emulators.benchmarks.chapter import Settings, chapter, judged_curve
from emulators.benchmarks.measured import Axis, Curve, Measured
from emulators.benchmarks.pair import Pair

GOOD = 10.0  # per cent


@chapter(
    "bispectra",
    "Bispectrum",
    ("field",),
    "Bispectrum B(k) of equilateral triangles, and of squeezed ones with one side in the largest "
    "shell and two in a smaller one. Points that are too low while P(k) is right are filaments and "
    "knots that are too faint.",
    beside=True,
)
def bispectra(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure both kinds of triangles, channel by channel."""
    measured: list[Measured] = []
    for channel in channels(pair, settings):
        measured += _bispectra(channel, settings)
    # curves first, so that they share a figure
    return sorted(measured, key=lambda thing: not isinstance(thing, Curve))


def _bispectra(channel: Channel, settings: Settings) -> list[Measured]:
    sides = channel.costly["reference"]["sides"][0]
    generated, reference = channel.level("bispectrum")
    known, means = channel.known("bispectrum", settings), channel.mean("bispectrum")
    equilateral = np.ptp(sides, axis=1) == 0
    measured: list[Measured] = []
    for name, kind, words in (
        ("equilateral", equilateral, "k"),
        ("squeezed", ~equilateral, "k of the short modes"),
    ):
        if not kind.any():  # a small grid has one shell
            continue
        judged = known[kind]
        shown = {sample: mean[kind] for sample, mean in means.items()}
        measured += judged_curve(
            (generated[:, kind], reference[:, kind]),
            channel.pair,
            settings,
            channel.key(f"bispectrum {name}"),
            [
                (
                    channel.key(name),
                    channel.key(f"bispectrum, {name}"),
                    np.ones(len(judged), bool),
                    GOOD,
                )
            ],
            channel.groups("bispectrum"),
            number_facts={
                "purpose": "bispectra",
                "advice": "Phases are not those of the simulation: P(k) may be used, higher orders "
                "not.",
            },
            name=channel.key(f"{name}_bispectrum"),
            label=f"B(k), {name}",
            caption="Bispectrum; below, emulator over reference, in the band of "
            f"±{GOOD:g} %. Faint points are not judged: the reference itself is not five errors "
            "from zero.",
            x=sides[kind, 2],
            axis=Axis(words, channel.k_unit, log=True),
            unit=channel.unit_of(2 * len(channel.cells), 3),
            log=bool((shown["reference"][judged] > 0).all()),
            judged=judged,
            **shown,
        )
    return measured
