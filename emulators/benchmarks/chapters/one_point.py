"""The values of cells: their distribution, peaks and voids, moments, sparsity of bands."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.channel import Array, Channel, channels
from emulators.benchmarks.chapter import Settings, chapter, curve, judged_curve
from emulators.benchmarks.measured import Axis, Curve, Measured
from emulators.benchmarks.pair import Pair

GOOD = 5.0  # per cent
DECADES = 4.0  # of probability below the highest bin, in which the distribution is judged
RARE = "A tail that is too short misses the densest cells: take no extremes from these fields."
MOMENTS = ("mean", "variance", "skewness", "excess kurtosis")


@chapter(
    "one_point",
    "One-point distribution and extremes",
    ("field",),
    "Distribution of the values of cells; number of peaks (local maxima) and of voids (local "
    "minima of the smoothed fields) a field, by height; moments of the values; and the band "
    "sparsity, mean size over width of a band of scales, 0.798 for a Gaussian field and less the "
    "more filaments and haloes there are. Too few high peaks are haloes that are washed out.",
    beside=True,
)
def one_point(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure them, channel by channel."""
    measured: list[Measured] = []
    for channel in channels(pair, settings):
        measured += _histograms(channel, settings)
        if not settings.get("beside"):
            measured += _moments(channel, settings)
    return measured


def _histograms(channel: Channel, settings: Settings) -> list[Measured]:
    share = channel.raw("one_point")[1].mean(0)
    common = share >= share.max() / 10**DECADES
    words = channel.name.replace("_", " ")
    extremes = {"purpose": "peak and void counts"}
    values = {"purpose": "one-point statistics", "leading": not channel.index}
    measured = [
        *_judged(
            channel, settings, "one_point", "one-point distribution", channel.bins.one_point,
            {**values, "advice": RARE}, words, common,
            name=channel.key("one_point_distribution"), label="share of cells",
        ),
        *_judged(
            channel, settings, "peaks", "number of peaks", channel.bins.peaks,
            {**extremes, "advice": RARE}, "height",
            name=channel.key("peak_counts"), label="peaks a field",
        ),
        *_judged(
            channel, settings, "voids", "number of voids", channel.bins.voids,
            extremes, "depth (smoothed)",
            name=channel.key("void_counts"), label="voids a field",
        ),
    ]  # fmt: skip
    # curves first, so that they share a figure
    return sorted(measured, key=lambda thing: not isinstance(thing, Curve))


def _judged(
    channel: Channel,
    settings: Settings,
    statistic: str,
    words: str,
    edges: Array,
    number: dict[str, Any],
    across: str,
    common: npt.NDArray[np.bool_] | bool = True,
    **facts: Any,
) -> list[Measured]:
    """Compare how often values are in bins, drawn over the widths of the bins."""
    widths = np.diff(edges)
    generated, reference = channel.level(statistic)
    judged = channel.known(statistic, settings) & common
    axis, places = channel.axis(across, edges)
    means = channel.mean(statistic)
    return judged_curve(
        (generated / widths, reference / widths),
        channel.pair,
        settings,
        channel.key(statistic),
        [(channel.key(statistic), channel.key(words), np.ones(len(widths), bool), GOOD)],
        number_facts=number,
        caption="Distribution of the values of cells, and numbers of extremes by height; below, "
        f"emulator over reference, in the band of ±{GOOD:g} %. Curved band: what the ratio "
        "deviates by chance. Faint points are not judged: rarer than four decades below the top, "
        "or too few in the reference.",
        x=(places[1:] + places[:-1]) / 2,
        axis=axis,
        unit=f"1 / {channel.unit}" if channel.unit else "",
        edges=places,
        log=bool((means["reference"][judged] > 0).all()),
        judged=judged,
        **facts,
        **{name: mean / widths for name, mean in means.items()},
    )


def _moments(channel: Channel, settings: Settings) -> list[Measured]:
    """Return moments, and the sparsity of bands by scale."""

    def plain(statistic: str, label: str, **facts: Any) -> Curve:
        return curve(
            *channel.level(statistic), channel.pair, settings, channel.key(statistic),
            name=channel.key(statistic), label=label,
            caption="Moments of the values of cells, and sparsity of bands by scale: lower is "
            "sparser.",
            judged=channel.known(statistic, settings), **facts, **channel.mean(statistic),
        )  # fmt: skip

    positive = min(rows.mean(0).min() for rows in channel.raw("moments")) > 0
    return [
        plain("moments", "moments", x=np.arange(4.0), axis=Axis(""), names=MOMENTS, log=positive),
        plain("sparsity", "band sparsity", x=np.array(channel.scales),
              axis=Axis("scale", channel.grid.unit, log=True)),
    ]  # fmt: skip
