"""Invertible maps from physical values to what the networks see, and back.

A transform is a list of steps and a scaling of the conditions.  It is fitted on the training split
and travels with the emulator, so that whatever is generated comes out in physical units.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emulators.config import nearest
from emulators.data.spec import MEV_PER_GEV, Samples, SampleSpec
from emulators.errors import InputError

__all__ = ["STEPS", "Transform", "condition_tensor"]


def condition_tensor(spec: SampleSpec, conditions: Mapping[str, Any], n: int) -> Tensor:
    """Return conditions of n samples, ``(n, k)`` float32, in order and units of the spec."""
    table = np.empty((n, len(spec.conditions)), np.float32)
    for column, condition in enumerate(spec.conditions):
        table[:, column] = conditions[condition.name]
    return torch.from_numpy(table)


class _Step(nn.Module):
    """One invertible step between physical values and network values, both ``(n, *shape)``."""

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        """Set what the step takes from the training split (default: nothing)."""

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        raise NotImplementedError


class Scale(_Step):
    """Multiply by a fixed factor, e.g. 1e-3 for MeV to GeV."""

    def __init__(self, spec: SampleSpec, factor: float) -> None:
        super().__init__()
        self.factor = _positive("scale", "factor", factor)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return values * self.factor

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x / self.factor


class IncidentShare(_Step):
    """Divide each shower by its incident energy: cells become shares of it."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        names = [c.name for c in spec.conditions]
        if spec.kind != "shower" or "incident_energy" not in names:
            raise InputError("transform 'incident_share' needs showers with an incident energy")
        self.column = names.index("incident_energy")

    def energy(self, conditions: Tensor) -> Tensor:
        return conditions[:, self.column, None] * MEV_PER_GEV

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return values / self.energy(conditions)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x * self.energy(conditions)


class LayerShare(IncidentShare):
    """Split a shower into layer shares and shares within a layer.

    ``(n, cells)`` MeV becomes ``(n, layers + cells)``: first each layer's energy over the incident
    energy, then each cell's energy over its layer's.  An empty layer has shares 0.
    """

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        if spec.geometry is None:
            raise InputError("transform 'layer_share' needs a shower geometry")
        self.slices = spec.geometry.slices

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        layers = torch.stack([values[:, s].sum(1) for s in self.slices], 1)
        within = [
            torch.where(layers[:, i, None] > 0, values[:, s] / layers[:, i, None], 0.0)
            for i, s in enumerate(self.slices)
        ]
        return torch.cat([layers / self.energy(conditions), *within], 1)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        n = len(self.slices)
        layers, within = x[:, :n] * self.energy(conditions), x[:, n:]
        return torch.cat([within[:, s] * layers[:, i, None] for i, s in enumerate(self.slices)], 1)


class Log(_Step):
    """``log(1 + v / scale)``: linear well below ``scale``, logarithmic well above; keeps zeros."""

    def __init__(self, spec: SampleSpec, scale: float) -> None:
        super().__init__()
        self.scale = _positive("log", "scale", scale)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return torch.log1p(values / self.scale)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return torch.expm1(x) * self.scale


class Power(_Step):
    """``sign(v) |v|^exponent``: compresses large values, keeps zeros."""

    def __init__(self, spec: SampleSpec, exponent: float) -> None:
        super().__init__()
        self.exponent = _positive("power", "exponent", exponent)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return values.sign() * values.abs() ** self.exponent

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x.sign() * x.abs() ** (1 / self.exponent)


class Threshold(_Step):
    """Set values below ``minimum`` (in the units of the values it sees) to zero, both ways.

    The one step that loses something: the round trip is exact at or above the threshold.
    """

    def __init__(self, spec: SampleSpec, minimum: float) -> None:
        super().__init__()
        self.minimum = _positive("threshold", "minimum", minimum)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return torch.where(values < self.minimum, 0.0, values)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return torch.where(x < self.minimum, 0.0, x)


class Standardise(_Step):
    """Subtract the mean and divide by the standard deviation of all training values."""

    mean: Tensor
    width: Tensor

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("width", torch.ones(()))

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        self.mean.copy_(values.double().mean())
        self.width.copy_(values.double().std().clamp_min(1e-12))

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return (values - self.mean) / self.width

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x * self.width + self.mean


STEPS: dict[str, Callable[..., _Step]] = {
    "incident_share": IncidentShare,
    "layer_share": LayerShare,
    "log": Log,
    "power": Power,
    "scale": Scale,
    "standardise": Standardise,
    "threshold": Threshold,
}


def _positive(step: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"transform '{step}': {name} = {value!r} is not a positive number")
    return float(value)


class Transform(nn.Module):
    """The steps in order, and the scaling of the conditions.

    Parameters
    ----------
    spec
        What the samples are; its condition ranges fix the scaling of the conditions.
    steps
        Plain tables, e.g. ``[{"name": "incident_share"}, {"name": "power", "exponent": 0.5}]``.
    condition
        ``"range"``: each condition's trained range to [-1, 1], in its own scale (linear or log);
        ``"unit"``: divided by the upper end of its range.

    Raises
    ------
    InputError
        A step or one of its settings is unknown or out of range.
    """

    def __init__(
        self,
        spec: SampleSpec,
        steps: Sequence[Mapping[str, Any]] = (),
        condition: str = "range",
    ) -> None:
        super().__init__()
        if condition not in ("range", "unit"):
            raise InputError(f"transform.condition = '{condition}' is neither 'range' nor 'unit'")
        self.spec = spec
        self.config = {"steps": [dict(s) for s in steps], "condition": condition}
        self.steps = nn.ModuleList([_build_step(spec, step) for step in steps])

    @torch.no_grad()
    def fit(self, samples: Samples) -> None:
        """Fit every step in turn on training samples."""
        values = torch.from_numpy(samples.values)
        conditions = condition_tensor(self.spec, samples.conditions, len(samples))
        for step in self.steps:
            step.fit(values, conditions)  # type: ignore[operator]
            values = step(values, conditions)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        """Map physical values ``(n, *shape)`` at ``conditions (n, k)`` to what networks see."""
        for step in self.steps:
            values = step(values, conditions)
        return values

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Map what a generator gave back to physical values."""
        for step in reversed(list(self.steps)):
            x = step.inverse(x, conditions)  # type: ignore[operator]
        return x

    def scale(self, conditions: Tensor) -> Tensor:
        """Map physical conditions ``(n, k)`` to what networks see."""
        columns = [
            _scaled(conditions[:, i], c.minimum, c.maximum, c.scale, str(self.config["condition"]))
            for i, c in enumerate(self.spec.conditions)
        ]
        return torch.stack(columns, 1) if columns else conditions


def _scaled(value: Tensor, low: float, high: float, scale: str, how: str) -> Tensor:
    if how == "unit":
        return value / high
    if scale == "log":
        value, low, high = value.log(), math.log(low), math.log(high)
    width = (high - low) / 2
    return (value - (high + low) / 2) / (width if width > 0 else 1.0)


def _build_step(spec: SampleSpec, table: Mapping[str, Any]) -> _Step:
    options = dict(table)
    name = options.pop("name", None)
    if name not in STEPS:
        raise InputError(f"unknown transform step {name!r}{nearest(str(name), list(STEPS))}")
    try:
        return STEPS[name](spec, **options)
    except TypeError as error:
        raise InputError(f"transform '{name}': {error}".replace("__init__() ", "")) from None
