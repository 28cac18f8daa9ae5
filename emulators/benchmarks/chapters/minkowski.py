"""Minkowski functionals of fields: how what is above a threshold is shaped and connected."""

from collections.abc import Sequence

import numpy as np

from emulators.benchmarks.channel import Array, Channel, channels
from emulators.benchmarks.chapter import Settings, chapter, curve, percent
from emulators.benchmarks.measured import Curve, Measured, Number
from emulators.benchmarks.pair import Pair

FUNCTIONALS = {
    2: {"area": "area fraction", "perimeter": "perimeter", "euler": "Euler characteristic"},
    3: {
        "volume": "volume fraction",
        "surface": "surface",
        "curvature": "mean curvature",
        "euler": "Euler characteristic",
    },
}


@chapter(
    "minkowski",
    "Minkowski functionals",
    ("field",),
    "Size, border and Euler characteristic (in maps: pieces less holes) of the cells above a "
    "threshold, against the threshold. Too many pieces are knots that do not hang together.",
)
def minkowski(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure them, channel by channel, by differences: the Euler characteristic crosses 0."""
    measured: list[Measured] = []
    for channel in channels(pair, settings):
        names = FUNCTIONALS[len(channel.cells)]
        pairs = [_functional(channel, settings, i, name) for i, name in enumerate(names)]
        measured += [*(c for c, _ in pairs), *(n for _, n in pairs)]
    return measured


def _functional(channel: Channel, settings: Settings, i: int, name: str) -> tuple[Curve, Number]:
    d, pair = len(channel.cells), channel.pair
    label = FUNCTIONALS[d][name]
    generated, reference = (rows[:, i :: d + 1] for rows in channel.level("functionals"))
    largest = float(np.abs(reference.mean(0)).max()) or 1.0
    axis, places = channel.axis(channel.name.replace("_", " "), channel.thresholds)

    def difference(a: Array, b: Array) -> float:
        return float(np.abs(a.mean(0) - b.mean(0)).max() / largest)

    key, groups = channel.key(f"minkowski {name}"), channel.groups("functionals")
    shape = curve(
        generated, reference, pair, settings, key, groups,
        name=channel.key(f"{name}_by_threshold"),
        label=label,
        caption="Functionals of the cells above a threshold, per "
        f"{'area' if d == 2 else 'volume'} of the grid. The blue line should run inside the "
        "grey one. Below: difference in units of the largest value of the reference.",
        x=places,
        axis=axis,
        unit=("", channel.k_unit, *(f"({channel.k_unit})^{n}" for n in (2, 3)))[i],
        difference=True,
        **{sample: mean[i :: d + 1] for sample, mean in channel.mean("functionals").items()},
    )  # fmt: skip
    number = percent(
        difference, generated, reference, pair, settings, key, groups,
        name=channel.key(name),
        label=channel.key(f"{label}: largest difference / largest value"),
    )  # fmt: skip
    return shape, number
