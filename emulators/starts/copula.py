"""Where the `shower` network starts: a Gaussian copula, tabulated along the incident energy."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emulators.random import stream

__all__ = ["KNOTS", "QUANTILES", "ROUNDING", "ByEnergy", "Copula", "knot_weights", "moments"]

KNOTS = 9  # incident energies at which distributions are tabulated
ROUNDING = 1e-6  # of shares and scaled energies: what differs by less is equal
QUANTILES = (-2.0, -1.0, 0.0, 0.7, 1.4, 2.0, 2.5, 3.0, 3.5)  # in standard deviations


class ByEnergy(nn.Module):
    """A row of numbers tabulated at `KNOTS` incident energies, linear in between."""

    table: Tensor

    def __init__(self, width: int, value: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("table", torch.full((KNOTS, width), value))

    def set(self, table: Tensor) -> None:
        """Take these numbers, ``(KNOTS, width)``."""
        self.table.copy_(table)

    def forward(self, c: Tensor) -> Tensor:
        """Return the row ``(n, width)`` at each scaled incident energy ``c (n, 1)``."""
        return torch.matmul(knot_weights(c), self.table)


def knot_weights(c: Tensor) -> Tensor:
    """Return the weights ``(n, KNOTS)`` of the knots, for scaled energies ``c (n, 1)``."""
    position = (c.float().clamp(-1, 1) + 1) * (KNOTS - 1) / 2
    return (1 - (position - torch.arange(KNOTS, device=c.device)).abs()).clamp_min(0)


def moments(values: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and width ``(KNOTS, d)`` of ``values (n, d)`` around each knot."""
    w = knot_weights(c).double()
    w = w / w.sum(0).clamp_min(1e-9)
    mean = w.T @ values.double()
    square = w.T @ values.double().square()
    return mean.float(), (square - mean.square()).clamp_min(0).sqrt().float()


class Copula(nn.Module):
    """Where a group of numbers starts before training: a Gaussian copula at each incident energy.

    Every number has its own quantile function, a straight line between `QUANTILES` (in standard
    deviations) and extended below zero where the number is often zero; the numbers are correlated
    through ``latent`` common factors.  What a network adds moves the factors' effect and the
    widths; with nothing added, each number has the distribution of the training samples.
    """

    steps: Tensor
    fitted: Tensor

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.register_buffer("steps", torch.tensor(QUANTILES), persistent=False)
        self.quantiles = ByEnergy(len(QUANTILES) * width)
        self.spread = ByEnergy(width, 1.0)
        self.factors = nn.Linear(KNOTS * latent, width, bias=False)
        # the factors before training, which goes on from them; zeros: not known
        unknown = torch.zeros(self.factors.weight.shape, dtype=torch.bfloat16)
        self.register_buffer("fitted", unknown)

    @torch.no_grad()
    def fit(self, shares: Tensor, unit: Tensor, position: Tensor) -> None:
        """Fit quantiles and factors of ``log(1 + shares * unit)``.

        ``shares (n, width)`` at ``position (n, 1)``; ``unit (KNOTS, width)`` makes energies of
        them, at each knot one and the same for all showers around it, so that what is fitted does
        not hold the spread of the incident energies.

        Equal showers give equal numbers, on every processor and in any order: nothing is drawn,
        sums are in double precision, and what a factor analysis leaves open is fixed.
        """
        knots = torch.linspace(-1, 1, KNOTS, dtype=torch.float64, device=shares.device)
        # what the first knot's factors are turned towards; those of each later one, towards the
        # factors of the knot before, so that what lies between two knots is like both
        towards = torch.from_numpy(stream(0, "factors").standard_normal((len(unit.T), self.latent)))
        loading = towards = towards.to(shares.device)
        table: list[Tensor] = []
        spread: list[Tensor] = []
        factors: list[Tensor] = []
        for knot, scale in zip(knots, unit.double()):
            # The showers nearest to the knot; at least enough of them for its quantiles.
            near = (position[:, 0].double() - knot).abs()
            reach = max(1 / (KNOTS - 1), float(near.kthvalue(min(len(near), 200)).values))
            chosen = near <= reach + ROUNDING
            values = torch.log1p(shares[chosen].double() * scale)
            quantiles = _quantiles(values)
            table.append(quantiles.ravel())
            unturned, rest = _factors(values, quantiles, position[chosen].double(), self.latent)
            # a little of the first: a factor that has no like at the knot before must turn too
            loading = _turned(unturned, loading + 0.1 * towards)
            factors.append(loading)
            spread.append(rest)
        self.quantiles.set(torch.stack(table))
        self.spread.set(torch.stack(spread))
        self.factors.weight.copy_(torch.cat(factors, 1))
        self.fitted.copy_(self.factors.weight)

    @torch.no_grad()
    def restart(self) -> bool:
        """Go back to the fitted factors; False where they are not known."""
        self.factors.weight.copy_(self.fitted)
        return bool(self.fitted.any())

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state.setdefault(f"{prefix}fitted", torch.zeros_like(self.fitted))  # emulators of before
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(
        self, z: Tensor, own: Tensor, offset: Tensor, log_width: Tensor, position: Tensor
    ) -> Tensor:
        """Return ``(n, width)`` from common ``z (n, latent)`` and one number each, ``own``."""
        common = self.factors((knot_weights(position)[:, :, None] * z[:, None]).flatten(1)).float()
        u = common + offset + self.spread(position) * log_width.clamp(-5, 2).exp() * own
        q = self.quantiles(position).unflatten(1, (len(QUANTILES), -1))
        steps = self.steps
        slopes = (q[:, 1:] - q[:, :-1]) / steps.diff()[:, None]
        value: Tensor = q[:, 0] + slopes[:, 0] * (u - steps[0])
        for k in range(1, len(QUANTILES) - 1):
            value = value + (slopes[:, k] - slopes[:, k - 1]) * F.relu(u - steps[k])
        return value


def _quantiles(values: Tensor) -> Tensor:
    """Return the values at `QUANTILES`, ``(len(QUANTILES), width)``.

    Where the smallest value is a pile of zeros, the line above it is carried on below zero, so that
    the positive part of the result has as many zeros as the values.
    """
    steps = torch.tensor(QUANTILES, dtype=torch.float64, device=values.device)
    n = len(values)
    ordered = values.double().sort(0).values
    rank = torch.special.ndtr(steps) * (n - 1)
    low = rank.floor().long()
    q = torch.lerp(ordered[low], ordered[(low + 1).clamp_max(n - 1)], (rank - low)[:, None])
    empty = (ordered <= 0).double().mean(0)
    edge = torch.special.ndtri(empty.clamp(1 / n, 1 - 1 / n))  # where the pile ends
    for k in reversed(range(len(QUANTILES))):
        below = (steps[k] < edge) & (empty > 1 / n)
        if k == len(QUANTILES) - 1:
            line = 3.0 * (steps[k] - edge)
        else:
            ends = steps[k + 1] > edge  # the pile ends in this interval
            rise = q[k + 1] / (steps[k + 1] - edge).clamp_min(0.05)
            beyond = (
                (q[k + 2] - q[k + 1]) / (steps[k + 2] - steps[k + 1]) if k + 2 < len(q) else rise
            )
            slope = torch.where(ends, rise, beyond).clamp(0.3, 8.0)
            start = torch.where(ends, torch.zeros_like(edge), q[k + 1])
            line = start + slope * (steps[k] - torch.where(ends, edge, steps[k + 1]))
        q[k] = torch.where(below, line, q[k])
    return q


def _factors(
    values: Tensor, quantiles: Tensor, position: Tensor, latent: int
) -> tuple[Tensor, Tensor]:
    """Return loadings ``(width, latent)`` and the remaining widths ``(width,)`` of normal scores.

    Factor analysis by expectation maximisation (Rubin and Thayer, Psychometrika 47, 1982) of the
    scores at fixed incident energy; each number keeps at least a hundredth of its variance.
    """
    n, width = values.shape
    scores = _scores(values, quantiles)
    scores -= scores.mean(0)
    along = position - position.mean()
    # equal energies differ by rounding, and that must not become a direction
    scores -= along * (along.T @ scores / (along.square().sum() + 1e-9 * n))
    x = scores / scores.std(0).clamp_min(0.05)
    w = _principal(x, min(latent, width, n))
    rest = (1 - w.square().sum(1)).clamp(0.01, 1)
    identity = torch.eye(w.shape[1], dtype=w.dtype, device=w.device)
    covariance = x.T @ x / n if width < n else None
    for _ in range(30):
        scaled = w / rest[:, None]
        spread = torch.linalg.inv(identity + w.T @ scaled)
        gain = scaled @ spread  # the factors are x @ gain, with this spread around it
        cross = x.T @ (x @ gain) / n if covariance is None else covariance @ gain
        w = torch.linalg.solve(spread + gain.T @ cross, cross, left=False)
        rest = (1 - (w * cross).sum(1)).clamp(0.01, 1)
    w = w * ((1 - rest) / w.square().sum(1).clamp_min(1e-9)).sqrt()[:, None]
    return F.pad(w, (0, latent - w.shape[1])), rest.sqrt()


def _scores(values: Tensor, quantiles: Tensor) -> Tensor:
    """Return the normal numbers ``(n, width)`` that the quantile functions map to these values.

    Zeros of a pile all have the mean of the normal numbers that make them.
    """
    steps = torch.tensor(QUANTILES, dtype=torch.float64, device=values.device)
    scores = torch.full_like(values, QUANTILES[0])
    for k in range(len(QUANTILES) - 1):
        low, high = quantiles[k], quantiles[k + 1]
        part = (values - low) / (high - low).clamp_min(1e-9)
        scores += (steps[k + 1] - steps[k]) * part.clamp(-4.0 if k == 0 else 0.0, 1)
    zero = values <= 0
    edge = torch.special.ndtri(zero.double().mean(0).clamp(1 / len(values), 1 - 1 / len(values)))
    below = -torch.exp(-edge.square() / 2) / math.sqrt(2 * math.pi) / torch.special.ndtr(edge)
    return torch.where(zero, below, scores)


def _principal(x: Tensor, k: int) -> Tensor:
    """Return ``w (width, k)`` of which ``w w^T`` is the leading part of the covariance of ``x``.

    From each of the ``k`` largest variances the next one is taken off, as in probabilistic
    principal components (Tipping and Bishop, JRSS B 61, 1999): of directions of equal variance,
    between which the cut falls, all are left out, and none is chosen by rounding.
    """
    n, width = x.shape
    variance, direction = torch.linalg.eigh((x.T @ x if width < n else x @ x.T) / n)
    variance, direction = variance.flip(0), direction.flip(1)[:, :k]
    beyond = variance[k] if k < len(variance) else 0.0
    if width >= n:
        direction = x.T @ direction / (n * variance[:k].clamp_min(1e-12)).sqrt()
    strength = variance[:k] - beyond
    strength[strength < ROUNDING * variance[0]] = 0.0
    w: Tensor = direction * strength.sqrt()
    return w


def _turned(w: Tensor, towards: Tensor) -> Tensor:
    """Rotate the loadings ``w`` as near as possible to others, both ``(width, latent)``.

    Independent factors are free to rotate and to change sign: turned towards the same loadings,
    all that are equal but for that become the same.
    """
    left, _, right = torch.linalg.svd(w.T @ towards)
    turned: Tensor = w @ (left @ right)
    return turned
