"""The physics of a generator in training, on the validation split: a number and a picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.data.spec import Samples, SampleSpec
from emulators.emulator import Emulator

__all__ = ["Measure", "Monitor", "default_measure", "preview", "scaled_w1"]

# measure(generated values, reference values, conditions of both, spec) -> numbers.  The first
# number decides which state is the best; smaller is better.
Measure = Callable[
    [npt.NDArray[np.float32], npt.NDArray[np.float32], Mapping[str, Any], SampleSpec],
    dict[str, float],
]
LATENTS = 1  # seed of the latents of every measurement and picture: the same from start to end


def default_measure(spec: SampleSpec) -> Measure | None:
    """Return the measure for samples of this kind, or None where there is none yet."""
    return scaled_w1 if spec.kind == "shower" and spec.geometry is not None else None


def scaled_w1(
    generated: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
    conditions: Mapping[str, Any],
    spec: SampleSpec,
) -> dict[str, float]:
    """Compare showers by their observables, one by one.

    Parameters
    ----------
    generated, reference
        Deposits at the same conditions, shape ``(n, cells)``, MeV.
    conditions
        ``incident_energy`` of both, shape ``(n,)``, GeV.
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
    energy = np.asarray(conditions["incident_energy"])
    ours, theirs = (observables(v, spec.geometry, energy) for v in (generated, reference))
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
        asked: dict[str, Any] = dict(reference.conditions)
        generated = emulator.generate(len(reference), seed=LATENTS, **asked)
        found = self.measure(generated.values, reference.values, reference.conditions, self.spec)
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
        return self.measure(a.values, b.values, b.conditions, self.spec)


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
    energies = reference.conditions.get("incident_energy")
    rows = [
        ("mean\nreference", reference.values.mean(0)),
        ("mean\nemulator", generated.values.mean(0)),
    ]
    for shower in range(min(3, len(reference))):
        at = "" if energies is None else f"\n{energies[shower]:.3g} GeV"
        rows += [(f"reference{at}", reference.values[shower])]
        rows += [(f"emulator{at}", generated.values[shower])]
    figure = Figure(figsize=(0.9 + 2.3 * len(layers), 1.25 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(layers), squeeze=False, sharex="col", sharey="col")
    for column, index in enumerate(layers):
        layer, cells = geometry.layers[index], geometry.slices[index]
        largest = max(float(values[cells].max()) for _, values in rows) or 1.0
        norm = LogNorm(largest * 1e-5, largest)
        for axis, (_, values) in zip(axes[:, column], rows):
            grid = values[cells].reshape(layer.shape).T
            image = axis.pcolormesh(*layer.edges, np.ma.masked_less_equal(grid, 0), norm=norm)
        units = ["rad" if a == "alpha" else "mm" for a in layer.axes]
        axes[0, column].set_title(layer.name.replace("_", " "), fontsize=9)
        axes[-1, column].set_xlabel(f"{layer.axes[0]} [{units[0]}]", fontsize=8)
        axes[-1, column].set_ylabel(f"{layer.axes[1]} [{units[1]}]", fontsize=8)
        bar = figure.colorbar(image, ax=axes[:, column], location="bottom", aspect=25)
        bar.set_label("cell energy [MeV]", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    for axis, (label, _) in zip(axes[:, 0], rows):
        axis.annotate(
            label, (-0.42, 0.5), xycoords="axes fraction", ha="right", va="center", fontsize=8
        )
    for axis in axes.flat:
        axis.tick_params(labelsize=7)
    figure.savefig(path, dpi=90)
