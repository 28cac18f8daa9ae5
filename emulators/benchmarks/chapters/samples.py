"""Single samples side by side: what no mean shows."""

from collections.abc import Sequence

import numpy as np

from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.measured import Measured, Picture
from emulators.benchmarks.pair import Pair

SHOWERS = 4


@chapter(
    "samples",
    "Single showers",
    ("shower",),
    "Showers of the reference, and below them emulated ones of the nearest incident energies: the "
    "cells of the layer that holds most energy. Both rows should be equally ragged; an emulated "
    "shower that is smooth lacks what fluctuates from cell to cell.",
)
def samples(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Choose showers over the range of energies, by rank and not by looks."""
    geometry = pair.geometry
    reference, generated = pair.energies
    rank = np.argsort(reference, kind="stable")
    places = ((np.arange(SHOWERS) + 0.5) / SHOWERS * len(rank)).astype(int)
    first = rank[places]
    second = [int(np.abs(np.log(generated / e)).argmin()) for e in reference[first]]
    means = pair.reference.values.mean(0)
    deepest = int(np.argmax([means[s].sum() for s in geometry.slices]))
    layer = geometry.layers[deepest]
    rows = [
        tuple(
            np.asarray(geometry.layer(s.values[i : i + 1], deepest)[0], np.float64) for i in chosen
        )
        for s, chosen in ((pair.reference, first), (pair.generated, second))
    ]
    names = tuple(
        tuple(f"{e[i]:.3g} GeV" for i in chosen)
        for e, chosen in ((reference, first), (generated, second))
    )
    extent = [float(edges[-1] - edges[0]) for edges in layer.edges]
    return [
        Picture(
            name="showers",
            label="cell energy",
            caption=f"Cells of {layer.name.replace('_', ' ')}, {layer.axes[0]} upwards and "
            f"{layer.axes[1]} across; in mm; empty cells are white.",
            panels=tuple(rows),
            titles=("reference", "emulator"),
            names=names,
            unit="MeV",
            log=True,
            extent=(extent[0], extent[1]),
        )
    ]
