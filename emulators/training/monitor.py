"""The physics of a generator in training, on the validation split: a number and a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emulators.data.spec import Samples, SampleSpec
from emulators.emulator import Emulator

__all__ = ["Measure", "Monitor", "default_measure", "preview", "scaled_w1"]

# measure(generated, reference, spec) -> numbers.  The first number decides which state is the best;
# smaller is better.
Measure = Callable[[Samples, Samples, SampleSpec], dict[str, float]]
LATENTS = 1  # seed of the latents of every measurement and picture: the same from start to end


def default_measure(spec: SampleSpec) -> Measure | None:
    """Return the measure for samples of this kind, or None where there is none yet."""
    return scaled_w1 if spec.kind == "shower" and spec.geometry is not None else None


def scaled_w1(generated: Samples, reference: Samples, spec: SampleSpec) -> dict[str, float]:
    """Compare showers by their observables, one by one.

    Parameters
    ----------
    generated, reference
        Showers at the same incident energies: deposits ``(n, cells)``, MeV.
    spec
        Its geometry says where the cells are.

    Returns
    -------
    ``scaled_w1``, the mean over the observables of the first Wasserstein distance divided by the
    standard deviation of the reference, and ``scaled_w1_largest``, the largest of them; an
    observable that is the same for all reference showers is left out.
    """
    # only these two modules of the benchmarks are used here; they know nothing of training
    from emulators.benchmarks.distances import wasserstein
    from emulators.benchmarks.showers import observables

    assert spec.geometry is not None
    ours, theirs = (
        observables(s.values, spec.geometry, s.conditions["incident_energy"])
        for s in (generated, reference)
    )
    widths = {name: float(np.std(values)) for name, values in theirs.items()}
    found = [wasserstein(ours[k], theirs[k]) / width for k, width in widths.items() if width > 0]
    return {"scaled_w1": float(np.mean(found)), "scaled_w1_largest": float(np.max(found))}


@dataclass(frozen=True)
class Monitor:
    """Measures an emulator against reference samples that training does not see.

    Parameters
    ----------
    reference
        Validation samples; generated ones have their conditions.
    spec
        What they are.
    measure
        See `Measure`.
    """

    reference: Samples
    spec: SampleSpec
    measure: Measure

    def __call__(self, emulator: Emulator) -> tuple[dict[str, float], Samples]:
        """Return the measured numbers and the generated samples that they were measured on."""
        reference = self.reference
        # the file's own conditions, even where its attributes state a narrower range
        asked: dict[str, Any] = dict(reference.conditions)
        generated = emulator.generate(
            len(reference), seed=LATENTS, allow_extrapolation=True, **asked
        )
        found = self.measure(generated, reference, self.spec)
        return found, generated

    @cached_property
    def floor(self) -> dict[str, float]:
        """The same numbers between two halves of the reference.

        Neighbours in the first condition go to different halves, so that the halves have nearly
        equal conditions.  With half as many samples it lies about sqrt(2) above the value that a
        perfect emulator reaches.
        """
        order = np.arange(len(self.reference))
        if self.spec.conditions:
            order = np.argsort(self.reference.conditions[self.spec.conditions[0].name])
        half = len(order) // 2
        a, b = (self.reference[order[k : 2 * half : 2]] for k in (0, 1))
        return self.measure(a, b, self.spec)


def preview(generated: Samples, reference: Samples, spec: SampleSpec, path: Path) -> None:
    """Draw average and first showers of both, one column a layer, logarithmic colours.

    At most six layers are drawn, evenly spaced in depth.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    geometry = spec.geometry
    if geometry is None:
        return
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
    figure.savefig(path, dpi=90)
