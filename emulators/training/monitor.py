"""The physics of a generator in training, on the validation split: a number and a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from emulators.data.spec import Samples, SampleSpec
from emulators.emulator import Emulator

__all__ = ["Measure", "Monitor", "default_measure", "field_distance", "left_out", "scaled_w1"]

# measure(generated, reference, spec) -> numbers.  The first number decides which state is the best;
# smaller is better.
Measure = Callable[[Samples, Samples, SampleSpec], dict[str, float]]
LATENTS = 1  # seed of the latents of every measurement and picture: the same from start to end


def default_measure(spec: SampleSpec) -> Measure | None:
    """Return the measure for samples of this kind, or None where there is none yet."""
    if spec.kind == "shower" and spec.geometry is not None:
        return scaled_w1
    fields = spec.kind == "field" and spec.grid is not None and len(spec.grid.axes) in (2, 3)
    return field_distance if fields else None


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
    standard deviation of the reference, and ``scaled_w1_largest``, the largest of them; without
    what is `left_out`, NaN where nothing is left.
    """
    # only these two modules of the benchmarks are used here; they know nothing of training
    from emulators.observables.distances import wasserstein
    from emulators.observables.showers import constant

    assert spec.geometry is not None
    ours, theirs = (_observables(s, spec) for s in (generated, reference))
    still = constant(theirs, spec.geometry)
    distances = [
        wasserstein(ours[name], values) / float(np.std(values))
        for name, values in theirs.items()
        if name not in still
    ] or [np.nan]
    return {"scaled_w1": float(np.mean(distances)), "scaled_w1_largest": float(np.max(distances))}


def _observables(showers: Samples, spec: SampleSpec) -> dict[str, npt.NDArray[np.float64]]:
    from emulators.observables.showers import observables

    assert spec.geometry is not None
    return observables(showers.values, spec.geometry, showers.conditions["incident_energy"])


def left_out(reference: Samples, spec: SampleSpec) -> list[str]:
    """Return what the measure of `default_measure` cannot judge: its width is rounding noise.

    See `emulators.observables.showers.constant` and `emulators.observables.fields.left_out`.
    """
    if spec.geometry is None:
        from emulators.observables import fields

        assert spec.grid is not None
        return fields.left_out(reference.values[:, 0], spec.grid, spec.unit)
    from emulators.observables.showers import constant

    return sorted(constant(_observables(reference, spec), spec.geometry))


def field_distance(generated: Samples, reference: Samples, spec: SampleSpec) -> dict[str, float]:
    """Compare the first channel of fields at the same conditions by what cosmologists look at.

    Parameters
    ----------
    generated, reference
        Fields ``(n, channels, *cells)``, in the unit of the spec.
    spec
        Its grid says how large the cells are.

    Returns
    -------
    ``field_distance`` and the parts that it is the mean of, see `observables.fields.distance`.
    """
    # this room of the benchmarks knows nothing of training
    from emulators.observables.fields import score

    assert spec.grid is not None
    return score(generated.values[:, 0], reference.values[:, 0], spec.grid, spec.unit)


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
        generated = emulator.generate(
            len(reference), seed=LATENTS, allow_extrapolation=True, conditions=reference.conditions
        )
        found = self.measure(generated, reference, self.spec)
        return found, generated

    @cached_property
    def left_out(self) -> list[str]:
        """What the measure cannot judge; of a measure of the user's own nothing is known."""
        known = self.measure is default_measure(self.spec)
        return left_out(self.reference, self.spec) if known else []

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
