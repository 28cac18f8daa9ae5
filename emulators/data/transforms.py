"""Invertible maps from physical values to what the networks see, and back.

A transform is a list of steps and a scaling of the conditions.  It is fitted on the training split
and travels with the emulator, so that whatever is generated comes out in physical units.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emulators.config import nearest
from emulators.data.spec import Samples, SampleSpec
from emulators.data.steps import STEPS, Dequantise, Step
from emulators.errors import InputError

__all__ = ["STEPS", "Transform", "condition_tensor"]


def condition_tensor(spec: SampleSpec, conditions: Mapping[str, Any], n: int) -> Tensor:
    """Return conditions of n samples, ``(n, k)`` float32, in order and units of the spec."""
    table = np.empty((n, len(spec.conditions)), np.float32)
    for column, condition in enumerate(spec.conditions):
        table[:, column] = conditions[condition.name]
    return torch.from_numpy(table)


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
        ``"unit"``: divided by the largest absolute value of its range.

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
        if any(isinstance(step, Dequantise) for step in self.steps[1:]):
            raise InputError("transform 'dequantise' takes counts: it must be the first step")

    @property
    def jitter(self) -> float:
        """Half width of the uniform noise to add to physical values in training; see `Dequantise`.

        0.5 where the first step is ``dequantise``, else 0.
        """
        return 0.5 if self.steps and isinstance(self.steps[0], Dequantise) else 0.0

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
        return value / (max(abs(low), abs(high)) or 1.0)
    if scale == "log":
        value, low, high = value.log(), math.log(low), math.log(high)
    width = (high - low) / 2
    return (value - (high + low) / 2) / (width if width > 0 else 1.0)


def _build_step(spec: SampleSpec, table: Mapping[str, Any]) -> Step:
    options = dict(table)
    name = options.pop("name", None)
    if name not in STEPS:
        raise InputError(f"unknown transform step {name!r}{nearest(str(name), list(STEPS))}")
    try:
        return STEPS[name](spec, **options)
    except TypeError as error:
        raise InputError(f"transform '{name}': {error}".replace("__init__() ", "")) from None
