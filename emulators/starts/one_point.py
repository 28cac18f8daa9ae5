"""The one-point distribution of fields: a map from normal numbers that follows the conditions."""

import math

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor, nn

from emulators.starts.polynomials import averaged, decided, features, n_features

__all__ = ["OnePoint", "evaluated"]

LEVELS = 128  # values at which the one-point distribution is tabulated
SMOOTHNESS = 1e4  # of the polynomials from level to level: a prior, in cells
ENDS = 8  # levels whose mean slope goes on beyond them
SLOWEST = 0.005  # the least that a normal number changes from level to level
REACH, STEP = (-6.0, 6.5), 0.01  # the normal numbers at which the map is tabulated for evaluation
MOST = 1 << 26  # cells that levels are taken from: the rarest are a map's highest peaks
CHUNK = 1 << 24  # cells worked on at once


class OnePoint(nn.Module):
    """The map between standard normal numbers and values whose distribution follows the data's.

    The cumulative distribution at `LEVELS` values is ``Phi(polynomial of the conditions)``: a
    probit regression on how many cells lie below.  Between the values the map is linear, beyond
    them it goes on with the mean slope of the last `ENDS`, but not above the largest value that was
    fitted to: where values are logarithms, a few cells would have most of a map's power.
    """

    values: Tensor
    largest: Tensor
    coefficients: Tensor

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        start = torch.linspace(-4, 4, LEVELS).expand(channels, -1)
        self.register_buffer("values", start.clone())
        none = torch.finfo(torch.float32).max  # no value is larger
        self.register_buffer("largest", torch.full((channels, 1), none))
        coefficients = torch.zeros(channels, n_features(conditions), LEVELS)
        coefficients[:, 0] = start
        self.register_buffer("coefficients", coefficients)

    @torch.no_grad()
    def fit(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Fit to fields ``(n, channels, *cells)`` at scaled conditions ``(n, k)``.

        The polynomials have the degree that the ``simulations (n,)`` decide.
        """
        self.coefficients.zero_()
        for channel, field in enumerate(x.flatten(2).unbind(1)):
            values = _levels(field)
            chunk = max(1, CHUNK // field.shape[1])
            below = torch.cat([_below(rows, values) for rows in torch.split(field, chunk)])
            self.values[channel], self.largest[channel] = values, field.max()
            # the regression itself is small
            share, at, numbers = (t.cpu() for t in averaged(below / field.shape[1], c, simulations))
            cells = field.shape[1] * len(field) / len(share)
            normal = torch.special.ndtri(share.clamp(0.5 / cells, 1 - 0.5 / cells))
            terms = decided(normal, at, numbers)
            beta = _probit(features(at)[:, :terms], share, cells)
            self.coefficients[channel, :terms] = beta.to(self.coefficients)

    def table(self, c: Tensor) -> Tensor:
        """Return the normal numbers ``(n, channels, LEVELS)`` that map to `values`, increasing."""
        y = torch.einsum("nf,cfl->ncl", features(c.float()), self.coefficients)
        ramp = SLOWEST * torch.arange(LEVELS, device=c.device)
        return (y - ramp).cummax(2).values + ramp

    def grid(self, c: Tensor) -> Tensor:
        """Return the normal numbers at which maps are tabulated, ``(n, channels, places)``."""
        at = torch.arange(REACH[0], REACH[1] + STEP / 2, STEP, device=c.device)
        return at.expand(len(c), len(self.values), -1).contiguous()

    def forward(self, y: Tensor, c: Tensor) -> Tensor:
        """Map normal numbers ``(n, channels, places)`` to values; see `evaluated` for fields."""
        table = self.table(c)
        return _interpolate(y, table, self.values.expand_as(table)).minimum(self.largest)

    def inverse(self, x: Tensor, c: Tensor) -> Tensor:
        """Map values ``(n, channels, *cells)`` to normal numbers."""
        table = self.table(c)
        values = self.values.expand_as(table).contiguous()
        pieces = torch.split(x.flatten(2), max(1, CHUNK // (len(x) * x.shape[1])), 2)
        return torch.cat([_interpolate(some, values, table) for some in pieces], 2).view_as(x)


def _levels(field: Tensor) -> Tensor:
    """Return values at even steps of normal quantiles, from the rarest low to the rarest high."""
    flat = field.flatten()
    step = -(-len(flat) // MOST)
    some = torch.from_numpy(np.sort(flat[::step].cpu().numpy())).to(field.device)
    rarest = -torch.special.ndtri(torch.tensor(20.0 / len(some)).clamp_max(0.1).double())
    at = torch.special.ndtr(torch.linspace(-float(rarest), float(rarest), LEVELS).double())
    values = some[(at * (len(some) - 1)).round().long()]
    # where values repeat the levels must still increase
    span = (values[-1] - values[0]).clamp_min(1e-6)
    ramp = 1e-6 * span * torch.arange(LEVELS, device=field.device)
    # a little above the cells that they were taken from, which may differ by rounding
    return (values - ramp).cummax(0).values + ramp + 5e-7 * span


def _below(rows: Tensor, values: Tensor) -> Tensor:
    """Count, in each row, the cells below each of the values."""
    place = torch.searchsorted(values, rows.contiguous(), right=True)
    place += torch.arange(len(rows), device=rows.device)[:, None] * (LEVELS + 1)
    counts = torch.bincount(place.flatten(), minlength=len(rows) * (LEVELS + 1))
    return counts.view(len(rows), -1).cumsum(1)[:, :-1].double()


def _probit(design: Tensor, share: Tensor, cells: float, steps: int = 25) -> Tensor:
    """Return the coefficients ``(f, levels)`` of a probit regression on shares ``(n, levels)``.

    The shares are those of ``cells`` cells.  A penalty on the second difference from level to
    level decides where hardly any cell is rarer.
    """
    f, levels = design.shape[1], share.shape[1]
    beta = torch.zeros(f, levels, dtype=torch.float64)
    beta[0] = torch.special.ndtri(share.mean(0).clamp(1e-9, 1 - 1e-9))
    second = torch.eye(levels, dtype=torch.float64).diff(n=2, dim=0)
    penalty = SMOOTHNESS * second.T @ second
    for _ in range(steps):  # Fisher scoring
        eta = (design @ beta).clamp(-6, 6)
        p = torch.special.ndtr(eta)
        density = torch.exp(-eta.square() / 2) / math.sqrt(2 * math.pi)
        weight = cells * density.square() / (p * (1 - p))
        working = eta + ((share - p) / density).clamp(-3, 3)
        normal = torch.einsum("nf,nm,ng->mfg", design, weight, design)
        normal.diagonal(dim1=1, dim2=2).add_(1e-6 * normal.diagonal(dim1=1, dim2=2).mean())
        right = torch.einsum("nf,nm->mf", design, weight * working)
        before, beta = beta, _solve(normal, penalty, right).T
        if (beta - before).abs().max() < 1e-4:
            break
    return beta


def _solve(blocks: Tensor, penalty: Tensor, right: Tensor) -> Tensor:
    """Solve for ``x (levels, f)``: each level's own ``blocks @ x``, and the penalty between them.

    The penalty reaches two levels far, so that the matrix is a band.
    """
    levels, f = right.shape
    band = np.zeros((3 * f, levels * f))  # row k: k below the diagonal
    for i in range(f):
        for j in range(i + 1):
            band[i - j, j::f] += blocks[:, i, j].numpy()
    for reach in range(3):
        along = penalty.diagonal(-reach).repeat_interleave(f).numpy()
        band[reach * f, : len(along)] += along
    solved = solveh_banded(band, right.flatten().numpy(), lower=True)
    return torch.from_numpy(solved).view(levels, f)


def _interpolate(at: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return piecewise linear functions ``(n, channels, LEVELS)`` at ``(n, channels, places)``.

    Beyond the ends they go on with the mean slope of the last few levels.
    """
    slopes = values.diff(dim=2) / knots.diff(dim=2)
    first, last = (
        (values[..., b] - values[..., a]) / (knots[..., b] - knots[..., a])
        for a, b in ((0, ENDS), (-1 - ENDS, -1))
    )
    slopes = torch.cat([first[..., None], slopes, last[..., None]], 2)
    place = torch.searchsorted(knots, at.contiguous(), right=True)  # 0 below all, LEVELS above
    left = (place - 1).clamp(0, LEVELS - 1)
    a, b = (t.gather(2, left) for t in (knots, values))
    return b + (at - a) * slopes.gather(2, place)


def evaluated(table: Tensor, y: Tensor) -> Tensor:
    """Evaluate maps that are tabulated on `OnePoint.grid` at ``y (n, channels, *cells)``."""
    pieces = []
    for some in torch.split(y.flatten(2), max(1, CHUNK // (len(y) * y.shape[1])), 2):
        place = (some - REACH[0]) / STEP
        left = place.detach().floor().clamp_(0, table.shape[2] - 2).to(torch.int64)
        step = table.diff(dim=2).gather(2, left)
        pieces.append(table.gather(2, left) + (place - left) * step)
    return torch.cat(pieces, 2).view_as(y)
