"""Single samples side by side: what no mean shows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.measured import Measured, Picture
from emulators.benchmarks.pair import Pair
from emulators.data.spec import ReadoutLayer

__all__ = ["cells_of", "samples"]

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
    return [
        Picture(
            name="showers",
            label="cell energy",
            caption=f"Cells of {layer.name.replace('_', ' ')} in single showers of both samples, "
            "at nearly equal incident energies; empty cells are grey.",
            panels=tuple(rows),
            titles=("reference", "emulator"),
            names=names,
            unit="MeV",
            log=True,
            **cells_of([layer] * 2),
        )
    ]


def cells_of(layers: Sequence[ReadoutLayer]) -> dict[str, Any]:
    """Return where the cells of layers lie, a row of panels each, as a `Picture` takes it."""
    polar = layers[0].axes == ("alpha", "r")
    words = (
        (r"$\phi$ [mm]", r"$\eta$ [mm]") if polar else tuple(f"{a} [mm]" for a in layers[0].axes)
    )
    edges = tuple(tuple(np.asarray(e, np.float64) for e in layer.edges) for layer in layers)
    return {"edges": edges, "axes": words, "polar": polar}
