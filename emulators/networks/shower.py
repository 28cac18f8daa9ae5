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
from torch import Tensor, nn

from emulators.data.spec import MEV_PER_GEV, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.networks.base import Critic, Generator, Pair, architecture
from emulators.networks.layers import mlp
from emulators.starts.copula import KNOTS, ROUNDING, ByEnergy, Copula, moments

__all__ = ["ShowerConfig", "ShowerCritic", "ShowerGenerator"]

LARGEST = 20.0  # of log(1 + energy / scale): 500 TeV at a scale of 1 MeV; keeps float32 finite


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
        self.layer_start = Copula(layers + 1, config.layer_latent)
        self.cell_start = Copula(cells, config.latent)
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
    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> str:
        """Fit the starting distribution of every layer and cell at each incident energy."""
        frame = self.frame
        frame.set_ceiling(x)
        x, c = frame.symmetrised(x.double(), c)
        position = frame.position(c)
        layers = frame.layer_energies(x)
        leak = frame.ceiling - x.sum(1, keepdim=True)
        leak = torch.where(leak > ROUNDING * frame.ceiling, leak, 0.0)
        energy = frame.energy(torch.linspace(-1, 1, KNOTS)[:, None].expand(-1, c.shape[1]))
        unit = energy.expand(-1, layers.shape[1] + 1)
        self.layer_start.fit(torch.cat([layers, leak], 1), unit, position)
        # Cells as shares of their layer, in units of the layer's mean energy.
        shares = [e / layers[:, i, None].clamp_min(1e-9) for i, e in enumerate(frame.split(x))]
        typical = moments(layers, position)[0] * energy
        unit = typical.repeat_interleave(torch.tensor(frame.sizes), 1)
        self.cell_start.fit(torch.cat(shares, 1), unit, position)
        return ""

    @torch.no_grad()
    def restart(self) -> bool:
        """Go back to the copulas as they were fitted; emulators of before do not hold them."""
        for weights in (*self.layers.parameters(), *self.cells.parameters()):
            weights.zero_()
        return self.layer_start.restart() and self.cell_start.restart()

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return showers ``(batch, cells)`` as shares of the incident energy."""
        z_layers, own_layers, z_cells, own_cells, z_mirror = torch.split(z, self.parts, 1)
        position, energy = self.frame.position(c), self.frame.energy(c)
        offset, log_width = self.layers(torch.cat([z_layers, c], 1)).float().chunk(2, 1)
        u = self.layer_start(z_layers, own_layers, offset, log_width, position)
        parts = torch.expm1(u.clamp(0, LARGEST))  # the layers and the leakage
        shares = self.frame.ceiling * parts[:, :-1] / parts.sum(1, keepdim=True).clamp_min(1e-9)
        seen = torch.cat([z_cells, c, torch.log1p(shares * energy) / 3, shares], 1)
        offset, log_width = self.cells(seen).float().chunk(2, 1)
        u = self.cell_start(z_cells, own_cells, offset, log_width, position)
        x_layers = []
        for i, layer in enumerate(self.frame.split(u)):
            e = torch.expm1(layer.clamp(0, LARGEST))
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
        self.centre = ByEnergy(sum(widths))
        self.width = ByEnergy(sum(widths), 1.0)
        seen = (widths[0], widths[0] + widths[1], sum(widths))
        sizes = ((128, 3), (256, 3), (config.critic_width, config.critic_depth))
        self.heads = nn.ModuleList(mlp([n + k, *[w] * d, 1]) for n, (w, d) in zip(seen, sizes))

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Fit mean and width of everything that is seen at each incident energy."""
        self.frame.set_ceiling(x)
        x, c = self.frame.symmetrised(x, c)
        position, cells = self.frame.position(c), self.frame.geometry.n_cells
        mean, width = moments(torch.cat(self._observables(x, c), 1), position)
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
            q = e.square()
            for threshold in (0.1, 1.0, 10.0):
                filled.append((q / (q + threshold**2)).mean(1, keepdim=True).clamp_min(1e-4).sqrt())
            contrast = (leading[:, :1] - leading[:, 1:]) / (leading.sum(1, keepdim=True) + 0.1)
            sums += [mean, (spread + 0.004).log(), contrast, torch.log1p(leading[:, :1]), *filled]
            shares.append((e / layer + 1e-6).sqrt() - 1e-3)
        depth = torch.arange(layers.shape[1], device=x.device, dtype=layers.dtype)
        sums.append(layers @ depth[:, None] / (layers.sum(1, keepdim=True) + 0.1))
        return energies, torch.cat(sums, 1), torch.cat([torch.log1p(cells), *shares], 1)


@architecture("shower", ShowerConfig, transform=({"name": "incident_share"},), condition="range")
def build_shower(config: ShowerConfig, spec: SampleSpec) -> Pair:
    """Build the pair for the geometry of the spec."""
    return lambda: ShowerGenerator(config, spec), lambda: ShowerCritic(config, spec)
