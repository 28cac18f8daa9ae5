"""Average showers: the mean energy of every cell."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.chapters.samples import cells_of
from emulators.benchmarks.drawing import shown
from emulators.benchmarks.measured import Measured, Picture
from emulators.benchmarks.pair import Pair

Array = npt.NDArray[np.float64]

LAYERS = 6  # that are drawn, at most


@chapter(
    "average",
    "Average showers",
    ("shower",),
    "Mean energy of every cell, and emulator over reference beside what chance does.",
)
def average(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Average the cells of both samples, and of two halves of the reference."""
    geometry = pair.geometry
    halves = pair.halvings(1, settings["seed"])[1][0]
    samples = [pair.reference.values, pair.generated.values]
    samples += [pair.reference.values[rows] for rows in halves]
    reference, generated, first, second = (s.mean(0, dtype=np.float64)[None] for s in samples)
    layers = shown(range(len(geometry.layers)), LAYERS)

    def cells(values: Array, layer: int) -> Array:
        return np.asarray(geometry.layer(values, layer)[0], np.float64)

    def ratio(a: Array, b: Array, layer: int) -> Array:
        upper, lower = cells(a, layer), cells(b, layer)
        return np.divide(upper, lower, out=np.full_like(upper, np.nan), where=lower > 0)

    chosen = [geometry.layers[i] for i in layers]
    titles = tuple(layer.name.replace("_", " ") for layer in chosen)
    left = f" {len(layers)} of {len(geometry.layers)} layers are drawn."
    left = left if len(layers) < len(geometry.layers) else ""
    return [
        Picture(
            name="mean",
            label="mean energy",
            caption=f"Mean energy of every cell; empty cells are grey.{left}",
            panels=tuple((cells(reference, i), cells(generated, i)) for i in layers),
            titles=titles,
            names=(("reference", "emulator"),) * len(layers),
            unit="MeV",
            log=True,
            **cells_of(chosen),
        ),
        Picture(
            name="ratio",
            label="ratio",
            caption="Left, emulator over reference: red where the emulator has too much, blue "
            "where it has too little. It should be as white as the ratio of two halves of the "
            "reference, right, whose noise is that of half as many showers. One colour all round "
            "the outskirts is a halo that is too wide or too narrow, a mixture of colours is "
            f"noise.{left}",
            panels=tuple((ratio(generated, reference, i), ratio(first, second, i)) for i in layers),
            titles=titles,
            names=(("emulator / reference", "two halves"),) * len(layers),
            diverging=True,
            **cells_of(chosen),
        ),
    ]
