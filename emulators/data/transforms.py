"""Invertible maps from physical values to what the networks see, and back.

A transform is a list of steps and a scaling of the conditions.  It is fitted on the training split
and travels with the emulator, so that whatever is generated comes out in physical units.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emulators.config import nearest
from emulators.data.spec import Samples, SampleSpec
from emulators.data.steps import STEPS, Dequantise, Log, Log10, Scale, Standardise, Step, Threshold
from emulators.errors import InputError

__all__ = ["STEPS", "Transform", "condition_tensor", "decades", "suited"]

DECADES = 100.0


def condition_tensor(spec: SampleSpec, conditions: Mapping[str, Any], n: int) -> Tensor:
    """Return conditions of n samples, ``(n, k)`` float32, in order and units of the spec."""
    table = np.empty((n, len(spec.conditions)), np.float32)
    for column, condition in enumerate(spec.conditions):
        table[:, column] = conditions[condition.name]
    return torch.from_numpy(table)


def decades(values: npt.NDArray[Any]) -> tuple[float, float] | None:
    """Return the ends of a logarithmic scale for values; None where a linear one shows them.

    Values reach over decades where none is negative and the largest is more than 100 times the
    median of those above 0.  The lower end has a thousandth of these below it, but is not further
    from the median than the upper one.
    """
    low, high = float(values.min()), float(values.max())
    some = values.ravel()[:: max(1, values.size >> 20)]
    if low < 0 or not (some := some[some > 0]).size:
        return None
    small, median = (float(q) for q in np.quantile(some.astype(np.float64), (1e-3, 0.5)))
    return (max(small, median * (median / high)), high) if high > DECADES * median else None


def suited(
    unit: str, values: npt.NDArray[Any], makes: tuple[float, float]
) -> tuple[dict[str, Any], ...]:
    """Return steps that suit values in a unit and what a network ``makes``, from where to where.

    Without bounds: for overdensities (above -2) a logarithm; for values that reach over `decades`
    one whose scale is their lower end; for others mean 0 and width 1.  From -1 to 1: ``rational``;
    from 0: a logarithm; both take values of 0 or more.

    Raises
    ------
    InputError
        No value may be negative, and some are.
    """
    low = float(values.min())
    if makes == (-math.inf, math.inf):
        if unit == "overdensity" and low > -2:
            return ({"name": "log", "scale": 2.0},)
        if ends := decades(values):
            return ({"name": "log", "scale": float(f"{ends[0]:.2g}")},)
        return ({"name": "standardise"},)
    if low < 0:
        raise InputError(
            f"this network makes no values of either sign, and the smallest here is {low:g}: take "
            "network 'field' or 'dcgan'"
        )
    if makes[1] == 1:
        return ({"name": "rational"},)
    return ({"name": "log", "scale": float(f"{values.mean(dtype=np.float64) or 1.0:.2g}")},)


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

    @property
    def exponent(self) -> float:
        """The ``a`` for which ``exp(a x)`` is the physical value up to factor and offset.

        0 where no step is a logarithm, or other steps than linear ones are beside it.
        """
        a = 0.0
        for step in self.steps:
            if isinstance(step, Log | Log10) and not a:
                a = 1.0 if isinstance(step, Log) else math.log(10)
            elif isinstance(step, Scale):
                a /= step.factor
            elif isinstance(step, Standardise):
                a *= float(step.width)
            elif not isinstance(step, Dequantise | Threshold):
                return 0.0
        return a

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
