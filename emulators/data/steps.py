"""The steps of a transform: invertible maps of values, fitted where they need to be.

What a step cannot map is refused when it is fitted.  Relative errors of a round trip are those of
single precision, measured over all counts from 0 to 250,000.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from emulators.data.spec import MEV_PER_GEV, SampleSpec
from emulators.errors import InputError

__all__ = ["STEPS", "Step"]


class Step(nn.Module):
    """One invertible step between physical values and network values, both ``(n, *shape)``."""

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        """Set what the step takes from the training split (default: nothing)."""

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Map network values back."""
        raise NotImplementedError


class Scale(Step):
    """Multiply by a fixed factor, e.g. 1e-3 for MeV to GeV."""

    def __init__(self, spec: SampleSpec, factor: float) -> None:
        super().__init__()
        self.factor = _positive("scale", "factor", factor)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return values * self.factor

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x / self.factor


class IncidentShare(Step):
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


class Log(Step):
    """``log(1 + v / scale)``: linear well below ``scale``, logarithmic well above; keeps zeros.

    With ``scale = 1`` this is what is called log1p.  Below zero it goes on, to ``-scale``.
    Round trip within 2e-6.
    """

    def __init__(self, spec: SampleSpec, scale: float) -> None:
        super().__init__()
        self.scale = _positive("log", "scale", scale)

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        good, advice = values > -self.scale, "; take 'standardise', 'asinh' or a larger scale"
        _require("log", values, good, f"values above {-self.scale:g}", advice)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return torch.log1p(values / self.scale)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return torch.expm1(x) * self.scale


class Power(Step):
    """``sign(v) |v|^exponent``: compresses large values, keeps zeros."""

    def __init__(self, spec: SampleSpec, exponent: float) -> None:
        super().__init__()
        self.exponent = _positive("power", "exponent", exponent)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return values.sign() * values.abs() ** self.exponent

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x.sign() * x.abs() ** (1 / self.exponent)


class Threshold(Step):
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


class Standardise(Step):
    """Subtract the mean and divide by the standard deviation of all training values."""

    mean: Tensor
    width: Tensor

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("width", torch.ones(()))

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        self.mean.copy_(values.double().mean())
        width = float(values.double().std())
        self.width.fill_(width if width > 0 else 1.0)  # one number, or equal ones, have none

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return (values - self.mean) / self.width

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x * self.width + self.mean


class Asinh(Step):
    """``asinh(v / scale)``: linear well below ``scale``, logarithmic well above, of either sign.

    Round trip within 2e-6.
    """

    def __init__(self, spec: SampleSpec, scale: float) -> None:
        super().__init__()
        self.scale = _positive("asinh", "scale", scale)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return torch.asinh(values / self.scale)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return torch.sinh(x) * self.scale


class Log10(Step):
    """``log10(v + epsilon)``, for values of 0 or more (as HIGAN, arXiv:1904.12846).

    Zeros are at ``log10(epsilon)``; they come back within 1e-6 epsilon of zero.  Round trip of all
    else within 2e-6.
    """

    def __init__(self, spec: SampleSpec, epsilon: float) -> None:
        super().__init__()
        self.epsilon = _positive("log10", "epsilon", epsilon)

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        _require_densities("log10", values)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return torch.log10(values + self.epsilon)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return (10**x - self.epsilon).clamp_min(0)


class Rational(Step):
    """``2 v / (v + a) - 1``: from [0, inf) to [-1, 1) (arXiv:1801.09070).

    Without ``a`` it is the mean of the training values, so that a density with overdensity d goes
    to ``d / (d + 2)`` whatever its unit; published: 4 particles a cell.

    The largest number below 1 in single precision is ``1 - 2^-24``: nothing above it comes back,
    so the inverse is cut at ``(2^25 - 1) a``.  Well before, numbers grow coarse: the round trip is
    within ``(v + a)^2 / 2a * 3e-8``, which is 0.1 % at 250,000 for a = 4.  After `Dequantise`
    counts are exact up to 11,658 for a = 4 and up to 25,963 for a = 20.
    """

    a: Tensor

    def __init__(self, spec: SampleSpec, a: float | None = None) -> None:
        super().__init__()
        self.fitted = a is None
        self.register_buffer("a", torch.tensor(1.0 if a is None else _positive("rational", "a", a)))

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        _require_densities("rational", values)
        if self.fitted:
            mean = values.mean(dtype=torch.float64)
            if not mean > 0:
                raise InputError("transform 'rational': all training values are 0; give it an a")
            self.a.copy_(mean)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return 1 - 2 * self.a / (values + self.a)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return _rational_inverse(x.clamp(-1, 1 - 2**-24), self.a)


class Piecewise(Step):
    """``2 v / (v + a) - 1`` up to ``c``, from there ``s(c) + (1 - s(c)) log(v / c) / log(m / c)``.

    The map of heavy-tailed GANs (arXiv:2005.03050): as `Rational` where most cells are, but with
    a logarithmic tail that keeps peaks apart.  It is continuous, and m, the ``maximum``, is where
    it reaches 1.  Round trip within 3e-6; after `Dequantise` counts are exact up to 193,450.
    """

    def __init__(
        self, spec: SampleSpec, a: float = 20.0, c: float = 100.0, maximum: float = 5e4
    ) -> None:
        super().__init__()
        self.a, self.c = _positive("piecewise", "a", a), _positive("piecewise", "c", c)
        if self.c >= _positive("piecewise", "maximum", maximum):
            raise InputError(f"transform 'piecewise': maximum = {maximum:g} is not above c = {c:g}")
        self.knee = 1 - 2 * self.a / (self.c + self.a)
        self.slope = (1 - self.knee) / math.log(maximum / self.c)

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        _require_densities("piecewise", values)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        low = 1 - 2 * self.a / (values.clamp(max=self.c) + self.a)
        return low + self.slope * torch.log(values.clamp_min(self.c) / self.c)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        # Each branch sees only what is its own: no overflow in the one that is not taken.
        low = _rational_inverse(x.clamp(-1, self.knee), self.a)
        high = self.c * torch.exp((x.clamp_min(self.knee) - self.knee) / self.slope)
        return torch.where(x > self.knee, high, low)


class NBodyLog(Step):
    """``S(v + shift) - S(shift)``, logarithmic up to ``c`` and linear above.

    ``S(v) = 3 / log(c + 1) * (log(v + 1) if v <= c else log(c + 1) + v / c - 1)``: the map of the
    N-body benchmark (arXiv:1908.05519).  Zeros stay zero.  Round trip within 2e-6.
    """

    def __init__(self, spec: SampleSpec, c: float = 2e4, shift: float = 1.0) -> None:
        super().__init__()
        self.c, self.shift = _positive("nbody_log", "c", c), _positive("nbody_log", "shift", shift)
        if self.c <= self.shift:
            raise InputError(f"transform 'nbody_log': c = {c:g} is not above shift = {shift:g}")
        self.factor = 3 / math.log1p(self.c)
        self.edge = self.c - self.shift  # the value at which the branches meet
        self.knee = self.factor * math.log1p(self.edge / (1 + self.shift))

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        _require_densities("nbody_log", values)

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        # log(v + shift + 1) - log(shift + 1) in one: small values keep their digits
        low = torch.log1p(values.clamp(max=self.edge) / (1 + self.shift))
        return self.factor * (low + (values - self.edge).clamp_min(0) / self.c)

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        low = torch.expm1(x.clamp(0, self.knee) / self.factor) * (1 + self.shift)
        return low + (x - self.knee).clamp_min(0) / self.factor * self.c


class Dequantise(Step):
    """``n + 1/2`` for counts n = 0, 1, 2 ...; back by rounding down, never below 0.

    A network that sees whole numbers learns that they are whole; with a number uniform in
    [-1/2, 1/2) added to each in training (`Transform.jitter`) it sees a density on [n, n + 1) whose
    integral is the probability of n: uniform dequantisation (arXiv:1511.01844, section 3.1).

    Exact below 2^23, also through any step after it whose round trip is within 1/2.
    """

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()

    def fit(self, values: Tensor, conditions: Tensor) -> None:
        whole = (values >= 0) & (values == values.floor())
        advice = "; for what is not counted leave it out, and say what is after it"
        _require("dequantise", values, whole, "whole numbers from 0", advice)
        _require("dequantise", values, values < 1 << 23, f"counts below {1 << 23:,}")

    def forward(self, values: Tensor, conditions: Tensor) -> Tensor:
        return values + 0.5

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        return x.floor().clamp_min(0)


STEPS: dict[str, Callable[..., Step]] = {
    "asinh": Asinh,
    "dequantise": Dequantise,
    "incident_share": IncidentShare,
    "layer_share": LayerShare,
    "log": Log,
    "log10": Log10,
    "nbody_log": NBodyLog,
    "piecewise": Piecewise,
    "power": Power,
    "rational": Rational,
    "scale": Scale,
    "standardise": Standardise,
    "threshold": Threshold,
}


def _rational_inverse(x: Tensor, a: float | Tensor) -> Tensor:
    return a * (1 + x) / (1 - x)


def _positive(step: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"transform '{step}': {name} = {value!r} is not a positive number")
    return float(value)


def _require_densities(step: str, values: Tensor) -> None:
    advice = (
        "; for overdensities take 'asinh', or 'log' with a scale above 1; for values of either "
        "sign 'standardise' or 'asinh'"
    )
    _require(step, values, values >= 0, "values of 0 or more", advice)


def _require(step: str, values: Tensor, good: Tensor, what: str, advice: str = "") -> None:
    """Raise InputError where a value of the training split is not what the step takes."""
    if bad := values.numel() - int(good.sum()):
        raise InputError(
            f"transform '{step}' takes {what}: {bad:,} of {values.numel():,} training values are "
            f"not, the smallest is {float(values[~good].min()):g}{advice}"
        )
