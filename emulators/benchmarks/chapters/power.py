"""The power spectrum of fields, and how its shells scatter together."""

from collections.abc import Sequence

import numpy as np

from emulators.benchmarks.channel import Channel, channels
from emulators.benchmarks.chapter import Settings, chapter, judged_curve, percent
from emulators.benchmarks.measured import Axis, Matrix, Measured
from emulators.benchmarks.pair import Pair
from emulators.observables.spectra import correlation_matrix, off_diagonal_difference

HALF, BEYOND = 2.0, 5.0  # per cent of P(k): up to half of Nyquist, and from there on
CORRELATION = 0.05  # mean difference of the correlation matrices


@chapter(
    "power",
    "Power spectrum",
    ("field",),
    "Mean power spectrum P(k) at equal conditions, and the correlation coefficient of P(k) in two "
    "shells over the scatter from field to field. Nyquist is the largest k of the grid: pi over "
    "the side of a cell.",
    beside=True,
)
def power(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure both, channel by channel."""
    measured: list[Measured] = []
    for channel in channels(pair, settings):
        measured += _spectrum(channel, settings)
        measured += _correlations(channel, settings)
    return measured


def _spectrum(channel: Channel, settings: Settings) -> list[Measured]:
    k = channel.shells.k
    half = k <= channel.nyquist / 2
    ranges = [
        (channel.key("half"), channel.key("P(k) to half of Nyquist"), half, HALF),
        (channel.key("nyquist"), channel.key("P(k) from half of Nyquist"), ~half, BEYOND),
    ]
    return judged_curve(
        channel.level("power"),
        channel.pair,
        settings,
        channel.key("power"),
        ranges,
        number_facts={"purpose": "power spectra", "leading": not channel.index},
        name=channel.key("power"),
        label="P(k)",
        caption="Mean power spectrum; below, emulator over reference at equal conditions, with "
        f"bootstrap errors, in the band of ±{HALF:g} % to half of Nyquist and ±{BEYOND:g} % "
        "beyond. Curved band: what the ratio deviates by chance.",
        x=k,
        axis=Axis("k", channel.k_unit, log=True),
        unit=channel.unit_of(len(channel.cells)),
        log=True,
        judged=channel.known("power", settings),
        marks=((channel.nyquist / 2, "Nyquist / 2"),),
        **channel.mean("power"),
    )


def _correlations(channel: Channel, settings: Settings) -> list[Measured]:
    generated, reference = channel.level("power")
    matrices = [correlation_matrix(rows) for rows in (reference, generated)]
    low = min(0.0, float(matrices[0].min()))
    return [
        Matrix(
            name=channel.key("correlations"),
            label="correlation",
            caption="Correlation coefficient of P(k) in two shells at equal conditions; right, the "
            "difference, which should have no structure: red where the emulator couples scales too "
            "strongly, blue where too weakly.",
            panels=(*matrices, matrices[1] - matrices[0]),
            titles=("reference", "emulator", "emulator − reference"),
            limits=((low, 1.0), (low, 1.0), (-0.3, 0.3)),
            axis=Axis("k", channel.k_unit, log=True),
            at=np.asarray(channel.shells.k),
            bars=("correlation", "correlation", "difference"),
        ),
        percent(
            off_diagonal_difference,
            generated,
            reference,
            channel.pair,
            settings,
            channel.key("correlations"),
            name=channel.key("correlation"),
            label=channel.key("correlation matrix of P(k), mean difference"),
            unit="",
            limit=CORRELATION,
            purpose="covariances of P(k)",
            advice="Scales scatter together otherwise than in the simulation: do not take "
            "covariances from these fields.",
        ),
    ]
