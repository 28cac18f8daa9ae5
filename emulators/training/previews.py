"""A picture of what a generator makes in training, beside the reference."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emulators.data.spec import Samples, SampleSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["preview"]


def preview(generated: Samples, reference: Samples, spec: SampleSpec, path: Path) -> None:
    """Draw some of both, at the same conditions; nothing for samples that have no picture."""
    if spec.kind == "shower" and spec.geometry is not None:
        figure = _showers(generated, reference, spec)
    elif spec.grid is not None and len(spec.shape) in (3, 4):
        figure = _fields(generated, reference, spec)
    else:
        return
    figure.savefig(path, dpi=90)


def _fields(generated: Samples, reference: Samples, spec: SampleSpec) -> "Figure":
    """Draw four fields of both, the first channel; of a box its middle layer of cells."""
    from matplotlib.colors import SymLogNorm
    from matplotlib.figure import Figure

    grid = spec.grid
    assert grid is not None
    shown = np.unique(np.linspace(0, len(reference) - 1, 4).round().astype(int))
    middle = [spec.shape[1] // 2] if len(spec.shape) == 4 else []
    sets = {"reference": reference, "emulator": generated}
    maps = {k: s.values[(shown, 0, *middle)] for k, s in sets.items()}
    low, high = (np.quantile(maps["reference"], q) for q in (0.001, 0.999))
    # linear around the typical value, so that zeros and negative values have a colour
    norm = SymLogNorm(max(float(np.median(np.abs(maps["reference"]))), 1e-6), vmin=low, vmax=high)
    figure = Figure(figsize=(2.3 * len(shown) + 1.2, 5.2), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False)
    names, ends = grid.axes[-2:], grid.lengths[-2:]
    for row, (label, values) in enumerate(maps.items()):
        for column, (sample, image) in enumerate(zip(shown, values)):
            axis = axes[row, column]
            shades = axis.imshow(
                image.T, norm=norm, origin="lower", extent=(0, ends[0], 0, ends[1])
            )
            axis.set(xticks=(0, ends[0]), yticks=(0, ends[1]))
            axis.tick_params(labelsize=6)
            if row == 0:
                asked = (f"{k} {v[sample]:.3g}" for k, v in reference.conditions.items())
                axis.set_title("\n".join(asked), fontsize=8)
            if row == 1:
                axis.set_xlabel(f"{names[0]} [{grid.unit}]", fontsize=7)
            if column == 0:
                axis.set_ylabel(f"{label}\n{names[1]} [{grid.unit}]", fontsize=7)
    figure.colorbar(shades, ax=axes, label=f"{grid.channels[0]} [{spec.unit}]", shrink=0.7)
    return figure


def _showers(generated: Samples, reference: Samples, spec: SampleSpec) -> "Figure":
    """Draw average and first showers of both, one column a layer, logarithmic colours.

    At most six layers are drawn, evenly spaced in depth.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    geometry = spec.geometry
    assert geometry is not None
    layers = np.unique(np.linspace(0, len(geometry.layers) - 1, 6).round().astype(int))
    incident = reference.conditions.get("incident_energy")
    rows = [
        ("mean\nreference", reference.values.mean(0)),
        ("mean\nemulator", generated.values.mean(0)),
    ]
    for shower in range(min(3, len(reference))):
        at = "" if incident is None else f"\n{incident[shower]:.3g} GeV"
        rows += [(f"reference{at}", reference.values[shower])]
        rows += [(f"emulator{at}", generated.values[shower])]
    # placed by hand: a layout engine would take ten times as long as the drawing
    width, height = 1.1 + 2.3 * len(layers), 1.1 + 1.15 * len(rows)
    figure = Figure(figsize=(width, height))
    box = {"left": 1.1 / width, "right": 1 - 0.1 / width, "top": 1 - 0.3 / height}
    grid = figure.add_gridspec(
        len(rows) + 1,
        len(layers),
        height_ratios=[1.0] * len(rows) + [0.08],
        bottom=0.45 / height,
        **box,
    )
    for column, index in enumerate(layers):
        layer, cells = geometry.layers[index], geometry.slices[index]
        largest = max(float(values[cells].max()) for _, values in rows) or 1.0
        norm = LogNorm(largest * 1e-5, largest)
        for row, (label, values) in enumerate(rows):
            axis = figure.add_subplot(grid[row, column], xticks=[], yticks=[])
            energies = np.ma.masked_less_equal(values[cells].reshape(layer.shape).T, 0)
            image = axis.pcolormesh(*layer.edges, energies, norm=norm)
            if row == 0:
                axis.set_title(layer.name.replace("_", " "), fontsize=9)
            if column == 0:
                axis.set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center")
        for k, name in enumerate(("x", "y")):
            ends = (layer.edges[k][0], layer.edges[k][-1])
            unit = "rad" if layer.axes[k] == "alpha" else "mm"
            axis.set(**{f"{name}ticks": ends})
            axis.tick_params(labelsize=6, pad=1)
            axis.annotate(
                f"{layer.axes[k]} [{unit}]",
                ((0.5, -0.07), (-0.03, 0.5))[k],
                xycoords="axes fraction",
                ha=("center", "right")[k],
                va=("top", "center")[k],
                fontsize=7,
                rotation=90 * k,
            )
        bar = figure.colorbar(
            image, cax=figure.add_subplot(grid[len(rows), column]), orientation="horizontal"
        )
        bar.set_label("cell energy [MeV]", fontsize=7)
        bar.ax.tick_params(labelsize=6)
    return figure
