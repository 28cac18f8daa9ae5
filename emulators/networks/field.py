"""The default pair for density fields: a random start, a residual network, a critic with eyes.

The generator draws a Gaussian field whose spectrum follows the conditions
(`emulators.starts.gaussian`), or displaces particles (`emulators.starts.lattice`), adds what a
periodic residual network makes of that and of white noise, and maps the sum cell by cell to the
distribution of the data (`emulators.starts.one_point`).  There are no normalisation layers, as
in R3GAN (arXiv:2501.05441); conditions modulate every block, and the critic's score has a
projection (arXiv:1802.05637).  The critic judges the field by convolutions, and by its power
spectra (as Psi-GAN's, arXiv:2410.07349) and one-point distributions.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.errors import InputError
from emulators.networks.base import Critic, Generator, Pair, architecture
from emulators.networks.corrections import Corrections, target_of
from emulators.networks.layers import full_precision, mlp
from emulators.networks.residual import (
    Block,
    Convolution,
    activation,
    halved,
    ordered,
    packed,
    unpacked,
)
from emulators.networks.summaries import Summaries
from emulators.starts.gaussian import GaussianStart
from emulators.starts.lattice import ParticleStart, whole_counts
from emulators.starts.one_point import OnePoint
from emulators.starts.polynomials import degree, features, n_features
from emulators.starts.spectrum import Spectrum

__all__ = ["Field", "FieldCritic", "FieldGenerator"]

CALIBRATED = "calibrated"  # in the state of a generator: whether its last corrections act
CELLS = 1 << 28  # most cells that these are fitted to
CHUNK = 1 << 22  # cells worked on at once
TILE = 1 << 22  # cells that the generator's network works on at once


@dataclass(frozen=True)
class Field:
    """Options of the pair.

    Parameters
    ----------
    widths, critic_widths
        Channels at cells of twice the size, four times, ...: one level each.
    blocks
        Residual blocks of the generator at each level, on the way down and on the way up.
    fine
        Channels of the generator's last layers, at full resolution; 0: none.
    noise
        Channels of white noise beside the Gaussian field.
    particles
        Particles a cell in the mean, where samples are counts of a simulation that starts from a
        lattice: then the generator starts from such a lattice, displaced as Zel'dovich says; 0: it
        starts from a Gaussian field.
    whole
        Whether the critic judges counts as whole numbers, and by their peaks and minima as well;
        for fields that start from particles.
    margin
        Cells on either side of a field that is not periodic which are generated and cut off, so
        that its ends do not touch.
    summary_width
        Width of the network that judges spectra and distributions.
    calibration
        Fields that the last corrections are fitted to: their means are as exact as these are many.
    """

    widths: tuple[int, ...] = (32, 64, 96)
    critic_widths: tuple[int, ...] = (32, 64, 128, 128)
    blocks: int = 1
    fine: int = 16
    noise: int = 1
    particles: int = 0
    whole: bool = False
    margin: int = 8
    summary_width: int = 128
    calibration: int = 2048

    def __post_init__(self) -> None:
        if not self.widths or not self.critic_widths:
            raise ValueError("widths and critic_widths need at least one level")
        positive = (self.blocks, self.noise, self.summary_width, self.calibration)
        if min(*self.widths, *self.critic_widths, *positive) < 1:
            raise ValueError("widths, blocks, noise and calibration must be positive")
        if self.particles < 0:
            raise ValueError(f"particles = {self.particles} must be 0 or more")
        if self.whole and not self.particles:
            raise ValueError("whole = true is for counts: say how many particles a cell has")


def _grid(spec: SampleSpec) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return cells and periodicity of a field; InputError where samples are no fields."""
    cells = spec.shape[1:]
    if not 1 <= len(cells) <= 3:
        raise InputError(f"network 'field' needs fields in 1 to 3 dimensions, not {spec.shape}")
    return cells, spec.grid.periodic if spec.grid else (False,) * len(cells)


def _cut(x: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Take these cells along each axis."""
    for axis, place in enumerate(places, 2):
        x = x.index_select(axis, place.to(x.device))
    return x


def _reach(config: Field) -> int:
    """Return how far a cell can act through the generator, in cells: whole largest cells."""
    sizes = [2 ** (level + 1) for level in range(len(config.widths))]
    down = sum((2 * config.blocks + 1) * size + size // 2 for size in sizes)
    up = sum(2 * config.blocks * size + 2 * size for size in sizes[:-1])
    return int(-(-(down + up + sizes[0] + 2) // sizes[-1]) * sizes[-1])


class FieldGenerator(Generator):
    """A random field, what a network adds to it, and the one-point map.

    The latent of a sample is white noise on the grid, margins included: first one field for each
    channel, for large scales, then the noise.  No weight depends on the number of cells.
    """

    def __init__(self, config: Field, spec: SampleSpec) -> None:
        super().__init__()
        cells, periodic = _grid(spec)
        self.channels, k = spec.shape[0], len(spec.conditions)
        self.margins = [0 if p else config.margin for p in periodic]
        self.domain = [n + 2 * m for n, m in zip(cells, self.margins)]
        self.unit = 2 ** len(config.widths)
        self.reach = _reach(config)
        if any(n % self.unit for n in self.domain):
            raise InputError(
                f"network 'field': {len(config.widths)} levels need multiples of {self.unit} cells "
                f"along each side, margins included, not {self.domain}: change widths or margin"
            )
        self.calibration = config.calibration
        self.latent = (self.channels + config.noise) * math.prod(self.domain)
        self.one_point = OnePoint(self.channels, k)
        self.start: GaussianStart | ParticleStart = (
            ParticleStart(spec, config.particles) if config.particles else GaussianStart(spec)
        )
        # modules of the generator itself: emulator files hold them by these names
        self.filter, self.remap = Spectrum(spec), OnePoint(self.channels, k)
        self.corrections = Corrections(self.filter, self.remap, self.one_point)
        d, ends = len(cells), (True,) * len(cells)
        modulated, scale = n_features(k) - 1, 1 / math.sqrt(2 * len(config.widths) * config.blocks)

        def blocks(width: int) -> nn.ModuleList:
            return nn.ModuleList(Block(width, ends, modulated, scale) for _ in range(config.blocks))

        widths, fine = config.widths, config.fine
        sources = self.channels + config.noise + self.start.extra
        inputs = [sources << d, *widths[:-1]]
        self.enter = nn.ModuleList(Convolution(a, b, ends) for a, b in zip(inputs, widths))
        self.down = nn.ModuleList(blocks(w) for w in widths)
        self.up = nn.ModuleList(blocks(w) for w in widths[:-1])
        self.leave = nn.ModuleList(Convolution(b, a, ends) for a, b in itertools.pairwise(widths))
        # the last convolution starts small: at first there is little but the start
        kept = max(1, fine // 4) if fine else self.channels
        self.last = Convolution(widths[0], kept << d, ends, 1.0 if fine else 0.1)
        self.fine: nn.ModuleList | None = None
        if fine:
            first, second = (sources + kept, fine), (fine, self.channels)
            self.fine = nn.ModuleList(
                [Convolution(*first, ends), Convolution(*second, ends, scale=0.1)]
            )

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> str:
        """Fit the one-point distribution, and what the generator starts from."""
        self.one_point.fit(x, c, simulations)
        power = self.start.fit(x, c, simulations, self.domain, self.one_point.inverse, self._values)
        values = degree(self.one_point.coefficients[0], c.shape[1])
        boxes = len(c) if simulations is None else len(torch.unique(simulations))
        return (
            f"{boxes:,} simulations decide polynomials of the conditions of degree {power} for the "
            f"power spectrum and {values} for the one-point distribution"
        )

    @torch.no_grad()
    def restart(self) -> bool:
        """Go back to the start and the one-point map, without last corrections."""
        for weights in self.parameters():
            weights.zero_()
        self.corrections.fitted = False
        return True

    @torch.no_grad()
    def calibrate(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Fit the last corrections to training samples.

        They act from now on, also where a training goes on from here.
        """
        self.eval()
        target = target_of(x, c, simulations, self.exponent, self.filter)
        self.one_point.fit(x, c, simulations)  # a trained network does not depend on it
        pairs = max(1, min(self.calibration, CELLS // math.prod(self.domain)) // 2)
        c = c.repeat(-(-pairs // len(c)), 1)[:pairs]
        gaussianised, conditions = [], []
        for asked in torch.split(c, max(1, CHUNK // math.prod(self.domain))):
            z = torch.randn(len(asked), self.latent, device=asked.device)
            # in pairs: a field that is too dense as a whole, by chance, is met by one too thin
            for latent in (z, -z):
                gaussianised.append(self.gaussianised(latent, asked).bfloat16())
                conditions.append(asked)
        self.corrections.fit(gaussianised, conditions, target, self._inner)

    # Whether corrections act is a plain value, since a tensor's would be waited for at every call;
    # states hold it as one.
    def _save_to_state_dict(self, state: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(state, prefix, keep_vars)
        device = self.filter.coefficients.device
        state[prefix + CALIBRATED] = torch.tensor(self.corrections.fitted, device=device)

    def _load_from_state_dict(
        self,
        state: dict[str, Any],
        prefix: str,
        metadata: dict[str, Any],
        strict: bool,
        missing: list[str],
        *rest: Any,
    ) -> None:
        if prefix + CALIBRATED in state:
            self.corrections.fitted = bool(state.pop(prefix + CALIBRATED))
        else:
            missing.append(prefix + CALIBRATED)
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, *rest)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return fields ``(batch, channels, *cells)``."""
        y = self.gaussianised(z, c)
        with full_precision(z):
            return self._values(self.corrections.filtered(y, c), c).contiguous()

    def gaussianised(self, z: Tensor, c: Tensor) -> Tensor:
        """Return the start and what the network adds, ``(batch, channels, *domain)``.

        A large domain is worked on in tiles.  Each is surrounded by as many cells as can reach it
        through the network, so that there is no seam.
        """
        white = z.view(len(z), -1, *self.domain)
        with torch.no_grad(), full_precision(z):
            start, sources = self.start(white, c)
        tiles = self.tiles()
        if len(tiles) == 1:
            added = self.added(torch.cat([s.float() for s in sources], 1), c).float()
            return cast(Tensor, start + added)
        y = torch.empty_like(start)
        for tile in tiles:
            halo = [torch.arange(a - self.reach, b + self.reach) % n for (a, b), n in tile]
            added = self.added(torch.cat([_cut(s, halo).float() for s in sources], 1), c)
            before, target = start, y
            for axis, ((a, b), _) in enumerate(tile, 2):
                before, target = (t.narrow(axis, a, b - a) for t in (before, target))
                added = added.narrow(axis, self.reach, b - a)
            target.copy_(before + added)
        return y

    def tiles(self) -> list[tuple[tuple[tuple[int, int], int], ...]]:
        """Return the tiles of the domain: for each axis where it begins and ends, of how many."""
        sizes = list(self.domain)
        while math.prod(sizes) > TILE:
            longest = sizes.index(max(sizes))
            half = -(-sizes[longest] // 2)
            sizes[longest] = -(-half // self.unit) * self.unit
        axes = [
            [((a, min(n, a + size)), n) for a in range(0, n, size)]
            for size, n in zip(sizes, self.domain)
        ]
        return list(itertools.product(*axes))

    def _values(self, y: Tensor, c: Tensor) -> Tensor:
        """Map a filtered field to values; cut its margins."""
        return self._inner(self.corrections.values(y, c))

    def _inner(self, x: Tensor) -> Tensor:
        """Cut the margins off."""
        for axis, (margin, n) in enumerate(zip(self.margins, self.domain), 2):
            x = x.narrow(axis, margin, n - 2 * margin)
        return x

    def added(self, sources: Tensor, c: Tensor) -> Tensor:
        """Return what the network adds to the start, from ``sources (batch, channels, *cells)``."""
        e = features(c)[:, 1:]
        h, skips = packed(sources), []
        for level, (enter, blocks) in enumerate(zip(self.enter, self.down)):
            h = enter(h if level == 0 else halved(h))
            for block in cast(nn.ModuleList, blocks):
                h = block(h, e)
            skips.append(h)
        h = skips.pop()
        for level in reversed(range(len(self.up))):
            h = self.leave[level](activation(h))
            h = F.interpolate(h, scale_factor=2.0, mode="nearest") + skips[level]
            for block in cast(nn.ModuleList, self.up[level]):
                h = block(h, e)
        r = unpacked(self.last(activation(h)))
        if self.fine is None:
            return r
        h = self.fine[0](ordered(torch.cat([r, sources.to(r.dtype)], 1)))
        return cast(Tensor, self.fine[1](activation(h)))


class FieldCritic(Critic):
    """Two heads: convolutions over the field, and its `Summaries`.

    With ``whole`` counts are judged as the whole numbers that they become: what spreads them over
    an interval hides how few there are.
    """

    def __init__(self, config: Field, spec: SampleSpec) -> None:
        super().__init__()
        self.cells, self.periodic = _grid(spec)
        self.whole = config.whole
        unit = 2 ** len(config.critic_widths)
        if any(n % unit for n in self.cells):
            raise InputError(
                f"network 'field': {len(config.critic_widths)} levels of the critic need multiples "
                f"of {unit} cells along each side, not {list(self.cells)}: change critic_widths"
            )
        channels, k, d = spec.shape[0], len(spec.conditions), len(self.cells)
        f = n_features(k)
        self.summaries = Summaries(channels, self.cells, self.periodic, k, self.whole)
        widths, scale = config.critic_widths, 1 / math.sqrt(len(config.critic_widths))
        inputs = [channels << d, *widths[:-1]]
        self.enter = nn.ModuleList(Convolution(a, b, self.periodic) for a, b in zip(inputs, widths))
        self.blocks = nn.ModuleList(Block(w, self.periodic, f - 1, scale) for w in widths)
        self.judge = nn.Linear(widths[-1], 1)
        self.project = nn.Linear(f - 1, widths[-1], bias=False) if f > 1 else None
        if self.project is not None:
            nn.init.normal_(self.project.weight, std=0.05)
        self.summary = mlp([len(self.summaries.width) + f - 1, *[config.summary_width] * 3, 1])

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Fit the summaries' thresholds, and their mean and width at each condition."""
        self.summaries.exponent = self.exponent
        self.summaries.fit(self._rounded(x), c, simulations)

    def views(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """Return the field, and the pulls of its summaries: ``sign(p) log(1 + |p|)``."""
        with full_precision(x):
            x = self._rounded(x)
            pulls = self.summaries(x.float(), c.float())
            return x, pulls.sign() * pulls.abs().log1p()

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        """Return the scores ``(batch, 2)`` of the two heads."""
        field, pulls = views
        e = features(c)[:, 1:]
        h = packed(field)
        for level, (enter, block) in enumerate(zip(self.enter, self.blocks)):
            h = block(enter(h if level == 0 else halved(h)), e)
        h = activation(h).flatten(2).mean(2)
        texture = self.judge(h)
        if self.project is not None:
            texture = texture + (h * self.project(e)).sum(1, keepdim=True)
        summary = self.summary(torch.cat([pulls, e], 1))
        return torch.cat([texture.float(), summary.float()], 1)

    def _rounded(self, x: Tensor) -> Tensor:
        """Return whole counts where particles are judged; their gradient is that of ``x``."""
        if not self.whole:
            return x
        return x + (whole_counts(x).log1p_() - x.detach())


@architecture(
    "field",
    Field,
    transform=({"name": "dequantise"}, {"name": "log", "scale": 1.0}),
    condition="range",
    units=("count",),
)
def build(config: Field, spec: SampleSpec) -> Pair:
    """Build the pair for the grid of the spec."""
    return lambda: FieldGenerator(config, spec), lambda: FieldCritic(config, spec)
