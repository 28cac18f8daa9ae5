"""`shower`: our own conditional GAN for any layered calorimeter.

**Generator.**  First the energies of the layers and what leaks, then the shares of the cells
within each layer, so that energy is conserved by construction and empty cells are exactly zero.
Every cell has a random number of its own beside the shared latent: most of what fluctuates in a
shower is local, and no latent of moderate size could carry it.  Cell energies are
``scale * expm1(relu(u))``: linear near zero, where the spectrum of cells is flat, logarithmic
above.  ``u`` starts from a Gaussian copula, fitted once before training: at each incident energy,
each cell's own quantile function and the factors by which cells vary together.  The networks learn
what that cannot say, so a small learning rate of the generator does.

**Critic.**  Three heads that see pulls (value minus mean, over width, *at the shower's incident
energy*), compressed: the layer energies and the leakage; those and the summed observables
(centres, widths, occupancies, leading cells); and every cell, logarithmic and as a share of its
layer.  Without the pulls a 2 % asymmetry at 100 GeV drowns in the spread over energies.
"""

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from emulators.data.spec import MEV_PER_GEV, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.networks.base import Critic, Generator, architecture
from emulators.networks.layers import mlp

__all__ = ["ShowerConfig", "ShowerCritic", "ShowerGenerator"]

KNOTS = 9  # incident energies at which distributions are tabulated
QUANTILES = (-2.0, -1.0, 0.0, 0.7, 1.4, 2.0, 2.5, 3.0, 3.5)  # in standard deviations


@dataclass(frozen=True)
class ShowerConfig:
    """Sizes of the networks.

    ``mirror`` names the axes along which mirror images are equally likely; ``scale`` is the cell
    energy (MeV) where the compression turns from linear to logarithmic.
    """

    latent: int = 64
    width: int = 512
    depth: int = 4
    layer_latent: int = 16
    layer_width: int = 128
    critic_width: int = 512
    critic_depth: int = 3
    scale: float = 1.0
    mirror: tuple[Literal["x", "y"], ...] = ()

    def __post_init__(self) -> None:
        sizes = (self.latent, self.width, self.depth, self.layer_latent, self.layer_width)
        if min(*sizes, self.critic_width, self.critic_depth) < 1 or self.scale <= 0:
            raise ValueError("sizes and scale must be positive")


class _ByEnergy(nn.Module):
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
        return torch.matmul(_weights(c), self.table)


def _weights(c: Tensor) -> Tensor:
    """Return the weights ``(n, KNOTS)`` of the knots, for scaled energies ``c (n, 1)``."""
    position = (c.float().clamp(-1, 1) + 1) * (KNOTS - 1) / 2
    return (1 - (position - torch.arange(KNOTS, device=c.device)).abs()).clamp_min(0)


def _moments(values: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and width ``(KNOTS, d)`` of ``values (n, d)`` around each knot."""
    w = _weights(c).double()
    w = w / w.sum(0).clamp_min(1e-9)
    mean = w.T @ values.double()
    square = w.T @ values.double().square()
    return mean.float(), (square - mean.square()).clamp_min(0).sqrt().float()


class _Copula(nn.Module):
    """Where a group of numbers starts before training: a Gaussian copula at each incident energy.

    Every number has its own quantile function, a straight line between `QUANTILES` (in standard
    deviations) and extended below zero where the number is often zero; the numbers are correlated
    through ``latent`` common factors.  What a network adds moves the factors' effect and the
    widths; with nothing added, each number has the distribution of the training samples.
    """

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.quantiles = _ByEnergy(len(QUANTILES) * width)
        self.spread = _ByEnergy(width, 1.0)
        self.factors = nn.Linear(KNOTS * latent, width, bias=False)

    @torch.no_grad()
    def fit(self, shares: Tensor, unit: Tensor, position: Tensor) -> None:
        """Fit quantiles and factors of ``log(1 + shares * unit)``.

        ``shares (n, width)`` at ``position (n, 1)``; ``unit (KNOTS, width)`` makes energies of
        them, at each knot one and the same for all showers around it, so that what is fitted does
        not hold the spread of the incident energies.
        """
        knots = torch.linspace(-1, 1, KNOTS, device=shares.device)
        table: list[Tensor] = []
        spread: list[Tensor] = []
        factors: list[Tensor] = []
        for knot, scale in zip(knots, unit):
            # The showers nearest to the knot; at least enough of them for its quantiles.
            near = (position[:, 0] - knot).abs()
            chosen = near <= max(1 / (KNOTS - 1), float(near.kthvalue(min(len(near), 200)).values))
            values = torch.log1p(shares[chosen] * scale)
            table.append(_quantiles(values).ravel())
            loading, rest = _factors(values, position[chosen], self.latent)
            if factors:  # factors are free to rotate: turn them to those of the knot before
                left, _, right = torch.linalg.svd(loading.T @ factors[-1])
                loading = loading @ (left @ right)
            factors.append(loading)
            spread.append(rest)
        self.quantiles.set(torch.stack(table))
        self.spread.set(torch.stack(spread))
        self.factors.weight.copy_(torch.cat(factors, 1))

    def forward(
        self, z: Tensor, own: Tensor, offset: Tensor, log_width: Tensor, position: Tensor
    ) -> Tensor:
        """Return ``(n, width)`` from common ``z (n, latent)`` and one number each, ``own``."""
        common = self.factors((_weights(position)[:, :, None] * z[:, None]).flatten(1)).float()
        u = common + offset + self.spread(position) * log_width.clamp(-5, 2).exp() * own
        q = self.quantiles(position).unflatten(1, (len(QUANTILES), -1))
        steps = torch.tensor(QUANTILES, device=q.device)
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
    return q.float()


def _factors(values: Tensor, position: Tensor, latent: int) -> tuple[Tensor, Tensor]:
    """Return loadings ``(width, latent)`` and the remaining widths ``(width,)`` of normal scores.

    Factor analysis by expectation maximisation (Rubin and Thayer, Psychometrika 47, 1982) of the
    scores at fixed incident energy; each number keeps at least a hundredth of its variance.
    """
    n, width = values.shape
    ranks = torch.from_numpy(rankdata(values.cpu().numpy(), axis=0)).to(values.device)
    scores = torch.special.ndtri(ranks / (n + 1))
    design = torch.cat([torch.ones_like(position), position], 1).double()
    scores = scores - design @ torch.linalg.lstsq(design, scores).solution
    x = (scores / scores.std(0).clamp_min(0.05)).float()
    k = min(latent, width, n)
    _, strength, direction = torch.svd_lowrank(x, min(k + 16, width, n))
    w = direction[:, :k] * (strength[:k] / math.sqrt(n)) * 0.9
    rest = (1 - w.square().sum(1)).clamp_min(0.01)
    one = torch.eye(k, device=values.device)
    for _ in range(30):
        scaled = w / rest[:, None]
        covariance = torch.linalg.inv(one + w.T @ scaled)
        z = x @ (scaled @ covariance)
        cross = x.T @ z / n
        w = torch.linalg.solve(covariance + z.T @ z / n, cross, left=False)
        rest = (1 - (w * cross).sum(1)).clamp(0.01, 1)
    w = w * ((1 - rest) / w.square().sum(1).clamp_min(1e-9)).sqrt()[:, None]
    return F.pad(w, (0, latent - k)), rest.sqrt()


class _Frame(nn.Module):
    """What generator and critic share: the geometry, and energies from scaled conditions."""

    ceiling: Tensor

    def __init__(self, config: ShowerConfig, spec: SampleSpec) -> None:
        super().__init__()
        names = [c.name for c in spec.conditions]
        if spec.geometry is None or "incident_energy" not in names:
            raise InputError(
                "network 'shower' needs showers with a geometry and an incident energy"
            )
        self.geometry: ShowerGeometry = spec.geometry
        self.sizes = [layer.n_cells for layer in spec.geometry.layers]
        self.column = names.index("incident_energy")
        self.range = spec.condition("incident_energy")
        self.n_conditions = len(names)
        self.scale = config.scale
        self.register_buffer("ceiling", torch.ones(()))
        self.mirrors = [torch.from_numpy(self.geometry.mirrored(a)) for a in config.mirror]

    def set_ceiling(self, x: Tensor) -> None:
        """Set the most that a shower deposits over its incident energy; 1 where all is absorbed."""
        most = float(x.sum(1).max())
        self.ceiling.fill_(1.0 if most < 1.0001 else 1.02 * most)

    def position(self, c: Tensor) -> Tensor:
        """Return the scaled incident energy ``(n, 1)``."""
        return c[:, self.column, None].float()

    def energy(self, c: Tensor) -> Tensor:
        """Return the incident energy ``(n, 1)`` in units of ``scale`` (MeV)."""
        low, high = self.range.minimum * MEV_PER_GEV, self.range.maximum * MEV_PER_GEV
        k = (self.position(c) + 1) / 2
        if self.range.scale == "log":
            return (math.log(low) + k * math.log(high / low)).exp() / self.scale
        return (low + k * (high - low)) / self.scale

    def layer_energies(self, cells: Tensor) -> Tensor:
        """Return the sums ``(n, layers)`` of the cells of each layer."""
        return torch.stack([layer.sum(1) for layer in self.split(cells)], 1)

    def split(self, cells: Tensor) -> tuple[Tensor, ...]:
        """Return the cells ``(n, cells)`` layer by layer; cheaper to differentiate than slices."""
        return torch.split(cells, self.sizes, 1)

    def symmetrised(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples together with all their mirror images."""
        for mirror in self.mirrors:
            x, c = torch.cat([x, x[:, mirror]]), torch.cat([c, c])
        return x, c


class ShowerGenerator(Generator):
    """Layer energies and leakage first, then the shares of the cells within each layer.

    The latent of a shower holds, in this order: the factors of the layers and one number a layer
    and the leakage, the factors of the cells and one number a cell, and one number for each mirror
    axis (its sign says whether the shower is mirrored).
    """

    def __init__(self, config: ShowerConfig, spec: SampleSpec) -> None:
        super().__init__()
        self.frame = _Frame(config, spec)
        layers, cells = len(self.frame.sizes), self.frame.geometry.n_cells
        k = self.frame.n_conditions
        self.parts = [config.layer_latent, layers + 1, config.latent, cells, len(config.mirror)]
        self.latent = sum(self.parts)
        self.layer_start = _Copula(layers + 1, config.layer_latent)
        self.cell_start = _Copula(cells, config.latent)
        hidden = [config.layer_width] * 3
        self.layers = mlp([config.layer_latent + k, *hidden, 2 * (layers + 1)])
        hidden = [config.width] * config.depth
        self.cells = mlp([config.latent + k + 2 * layers, *hidden, 2 * cells])
        with torch.no_grad():  # the networks start by adding little to the fitted distributions
            for net in (self.layers, self.cells):
                last = cast(nn.Linear, net[-1])
                last.weight.mul_(0.3)
                last.bias.zero_()

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor) -> None:
        """Fit the starting distribution of every layer and cell at each incident energy."""
        frame = self.frame
        frame.set_ceiling(x)
        x, c = frame.symmetrised(x, c)
        position = frame.position(c)
        layers = frame.layer_energies(x)
        leak = (frame.ceiling - x.sum(1, keepdim=True)).clamp_min(0)
        energy = frame.energy(torch.linspace(-1, 1, KNOTS)[:, None].expand(-1, c.shape[1]))
        unit = energy.expand(-1, layers.shape[1] + 1)
        self.layer_start.fit(torch.cat([layers, leak], 1), unit, position)
        # Cells as shares of their layer, in units of the layer's mean energy.
        shares = [e / layers[:, i, None].clamp_min(1e-9) for i, e in enumerate(frame.split(x))]
        typical = _moments(layers, position)[0] * energy
        unit = typical.repeat_interleave(torch.tensor(frame.sizes), 1)
        self.cell_start.fit(torch.cat(shares, 1), unit, position)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return showers ``(batch, cells)`` as shares of the incident energy."""
        z_layers, own_layers, z_cells, own_cells, z_mirror = torch.split(z, self.parts, 1)
        position, energy = self.frame.position(c), self.frame.energy(c)
        offset, log_width = self.layers(torch.cat([z_layers, c], 1)).float().chunk(2, 1)
        u = self.layer_start(z_layers, own_layers, offset, log_width, position)
        parts = torch.expm1(u.clamp(0, 14))  # the layers and the leakage
        shares = self.frame.ceiling * parts[:, :-1] / parts.sum(1, keepdim=True).clamp_min(1e-9)
        seen = torch.cat([z_cells, c, torch.log1p(shares * energy) / 3, shares], 1)
        offset, log_width = self.cells(seen).float().chunk(2, 1)
        u = self.cell_start(z_cells, own_cells, offset, log_width, position)
        x_layers = []
        for i, layer in enumerate(self.frame.split(u)):
            e = torch.expm1(layer.clamp(0, 14))
            total = e.sum(1, keepdim=True)
            # A layer with energy has at least one cell with energy: the one nearest to it.
            one = F.one_hot(layer.argmax(1), e.shape[1]).to(e.dtype)
            within = torch.where(total > 0, e / total.clamp_min(1e-12), one)
            x_layers.append(within * shares[:, i, None])
        x = torch.cat(x_layers, 1)
        for i, mirror in enumerate(self.frame.mirrors):
            x = torch.where(z_mirror[:, i, None] > 0, x[:, mirror.to(x.device)], x)
        return x


class ShowerCritic(Critic):
    """Three heads on pulls: layer energies; summed observables; every cell."""

    def __init__(self, config: ShowerConfig, spec: SampleSpec) -> None:
        super().__init__()
        self.frame = _Frame(config, spec)
        g, k = self.frame.geometry, self.frame.n_conditions
        centres = [layer.centres for layer in g.layers]
        scale = max(abs(float(a.max())) for pair in centres for a in pair)
        for i, pair in enumerate(centres):
            axes = torch.stack([torch.from_numpy(a).float().ravel() / scale for a in pair], 1)
            self.register_buffer(f"axes_{i}", axes)
        widths = (2 * len(g.layers) + 1, 10 * len(g.layers) + 1, 2 * g.n_cells)
        self.centre = _ByEnergy(sum(widths))
        self.width = _ByEnergy(sum(widths), 1.0)
        seen = (widths[0], widths[0] + widths[1], sum(widths))
        sizes = ((128, 3), (256, 3), (config.critic_width, config.critic_depth))
        self.heads = nn.ModuleList(mlp([n + k, *[w] * d, 1]) for n, (w, d) in zip(seen, sizes))

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor) -> None:
        """Fit mean and width of everything that is seen at each incident energy."""
        self.frame.set_ceiling(x)
        x, c = self.frame.symmetrised(x, c)
        position, cells = self.frame.position(c), self.frame.geometry.n_cells
        mean, width = _moments(torch.cat(self._observables(x, c), 1), position)
        # Floors, so that what hardly ever varies is not blown up.
        floor = 0.02 * width.mean(0) + 1e-4
        floor[-2 * cells : -cells], floor[-cells:] = 0.15, 0.004
        self.centre.set(mean)
        self.width.set((width.square() + floor.square()).sqrt())

    def views(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """Return the pulls that each head sees, compressed: ``sign(p) log(1 + |p|)``."""
        position = self.frame.position(c)
        seen = self._observables(x, c)
        pulls = (torch.cat(seen, 1) - self.centre(position)) / self.width(position)
        pulls = pulls.sign() * pulls.abs().log1p()
        n = seen[0].shape[1]
        return pulls[:, :n], pulls[:, : n + seen[1].shape[1]], pulls

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        """Return the scores ``(batch, 3)`` of the three heads."""
        scores = [head(torch.cat([v, c], 1)) for head, v in zip(self.heads, views)]
        return torch.cat(scores, 1).float()

    def _observables(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return layer energies, summed observables and cells, before they become pulls."""
        cells = x.float() * self.frame.energy(c)
        layers, total = self.frame.layer_energies(cells), x.float().sum(1, keepdim=True)
        leak = (self.frame.ceiling - total).clamp_min(1e-6).log()
        energies = torch.cat([torch.log1p(layers), layers / self.frame.energy(c), leak], 1)
        sums, shares = [], []
        for i, e in enumerate(self.frame.split(cells)):
            layer = layers[:, i, None] + 0.3
            axes = getattr(self, f"axes_{i}")
            mean = e @ axes / layer
            spread = (e @ axes.square() / layer - mean.square()).clamp_min(1e-7).sqrt()
            leading = e.topk(2, 1).values
            filled = [(e / (e + 0.3)).mean(1, keepdim=True)]
            for threshold in (0.1, 1.0, 10.0):
                q = e.square()
                filled.append((q / (q + threshold**2)).mean(1, keepdim=True).clamp_min(1e-4).sqrt())
            contrast = (leading[:, :1] - leading[:, 1:]) / (leading.sum(1, keepdim=True) + 0.1)
            sums += [mean, (spread + 0.004).log(), contrast, torch.log1p(leading[:, :1]), *filled]
            shares.append((e / layer + 1e-6).sqrt() - 1e-3)
        depth = torch.arange(layers.shape[1], device=x.device, dtype=layers.dtype)
        sums.append(layers @ depth[:, None] / (layers.sum(1, keepdim=True) + 0.1))
        return energies, torch.cat(sums, 1), torch.cat([torch.log1p(cells), *shares], 1)


@architecture("shower", ShowerConfig, transform=({"name": "incident_share"},), condition="range")
def build_shower(config: ShowerConfig, spec: SampleSpec) -> tuple[ShowerGenerator, ShowerCritic]:
    """Build the pair for the geometry of the spec."""
    return ShowerGenerator(config, spec), ShowerCritic(config, spec)
