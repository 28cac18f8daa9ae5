"""`cosmogan-multiscale`: fields made coarse to fine, and at every scale patch by patch.

After Perraudin et al. 2019 (arXiv:1908.05519), who made boxes of 256^3 cells as 32^3, 64^3 and
256^3 out of patches of 32^3.  In raster order, the network of a scale makes a patch from its noise,
the conditions, the coarser field at that place, and the 2^d - 1 neighbouring patches that are there
already, each mirrored so that the cells next to the new patch stay next to it.  No weight depends
on the number of patches: one set of weights makes boxes of any size.

What differs from the original, which trains every scale as a GAN of its own:

* All scales are trained together.  Coarser field and neighbours are what the generator made, as in
  generation; theirs come from the data.
* What a scale adds to the coarser field has block means of 0.  Every field is such a sum, and in
  one way only: the coarser fields *are* the block means of a sample, so that the critic of a scale
  judges what the generator made at that scale.  Theirs may contradict the coarser field.
* Every scale has the same network, a residual one with white noise at each level; theirs has a
  latent and layers of its own.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.errors import InputError
from emulators.networks.base import Critic, Generator, Pair, architecture
from emulators.networks.dcgan import Downward
from emulators.networks.layers import full_precision, mlp
from emulators.networks.residual import Block, Convolution, activation, halved
from emulators.starts.spectrum import shell_means, taper

__all__ = ["Multiscale", "MultiscaleCritic", "MultiscaleGenerator", "fronts"]

NAME = "cosmogan-multiscale"
CELLS = 1 << 21  # that a network of the generator works on at once
Place = tuple[int, ...]  # of a patch: its number along each axis


@dataclass(frozen=True)
class Multiscale:
    """Options of the pair.

    Parameters
    ----------
    patch
        Cells along each side of a patch, at every scale.
    factors
        By how much each scale is finer than the one before it: (2, 4) makes 256 cells as 32, 64,
        256.  A field has a multiple of ``patch`` times all factors along each side.
    noise
        Channels of white noise at each level of a network.
    widths
        Channels of the generator's networks at cells of a patch, at twice the size, four times ...
    critic_widths
        Channels of the critic's networks, each map half as wide as the one before it.
    summary_width
        Width of the networks that judge power spectra.
    """

    patch: int = 32
    factors: tuple[int, ...] = (2, 4)
    noise: int = 1
    widths: tuple[int, ...] = (32, 64, 128, 128)
    critic_widths: tuple[int, ...] = (32, 64, 128, 256)
    summary_width: int = 64

    def __post_init__(self) -> None:
        if not self.widths or not self.critic_widths:
            raise ValueError("widths and critic_widths need at least one level")
        sizes = (self.patch, self.noise, *self.widths, *self.critic_widths, self.summary_width)
        if min(sizes) < 1 or min(self.factors, default=2) < 2:
            raise ValueError("patch, noise and widths must be positive, factors at least 2")
        levels = max(len(self.widths) - 1, len(self.critic_widths))
        if self.patch % 2**levels:
            raise ValueError(
                f"patch = {self.patch} is not a multiple of {2**levels}: {levels} halvings by "
                "widths or critic_widths"
            )
        if any(self.patch % factor for factor in self.factors):
            raise ValueError(
                f"patch = {self.patch} is not a multiple of each of factors = {list(self.factors)}"
            )


def _grids(config: Multiscale, spec: SampleSpec) -> list[Place]:
    """Return the numbers of patches along each axis, by scale, coarsest first."""
    cells, unit = spec.shape[1:], config.patch * math.prod(config.factors)
    if not 1 <= len(cells) <= 3:
        raise InputError(f"network '{NAME}' needs fields in 1 to 3 dimensions, not {spec.shape}")
    if any(n % unit for n in cells):
        raise InputError(
            f"network '{NAME}': {' x '.join(map(str, cells))} cells are not multiples of {unit}, "
            f"which is patch = {config.patch} times factors = {list(config.factors)}: crop the "
            "fields, or change patch or factors"
        )
    grids = [tuple(n // unit for n in cells)]
    for factor in config.factors:
        grids.append(tuple(factor * n for n in grids[-1]))
    return grids


def fronts(grid: Place) -> Iterator[list[Place]]:
    """Give the places of a grid in turns; the earlier neighbours of a place had earlier turns.

    What a turn gives does not depend on each other, so that it is made at once: the result is that
    of a raster scan.
    """
    places = sorted(itertools.product(*map(range, grid)), key=sum)
    for _, turn in itertools.groupby(places, sum):
        yield list(turn)


def _means(x: Tensor, factor: int) -> Tensor:
    """Average ``(n, channels, *cells)`` over blocks of ``factor`` cells a side."""
    pool: Any = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[x.ndim]
    return cast(Tensor, pool(x, factor)) if factor > 1 else x


def _spread(x: Tensor, factor: int) -> Tensor:
    """Repeat every cell of ``(n, channels, *cells)`` over a block of ``factor`` cells a side."""
    return F.interpolate(x, scale_factor=float(factor), mode="nearest")


class Scales(nn.Module):
    """The scales of a field: its block means, their mean and widths, and that of what each adds.

    Buffers have a row a scale, coarsest first, and a column a channel.
    """

    mean: Tensor
    width: Tensor
    added: Tensor

    def __init__(self, factors: Sequence[int], channels: int, axes: int) -> None:
        super().__init__()
        self.factors = (1, *factors)  # by how much a scale is finer than the one before it
        shape = (len(self.factors), channels, *[1] * axes)
        self.register_buffer("mean", torch.zeros(shape[1:]))
        self.register_buffer("width", torch.ones(shape))
        self.register_buffer("added", torch.ones(shape))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the fields of all scales, coarsest first; the finest is ``x``."""
        fields = [x]
        for factor in reversed(self.factors[1:]):
            fields.append(_means(fields[-1], factor))
        return fields[::-1]

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and widths from fields ``(n, channels, *cells)``."""
        dims = (0, *range(2, x.ndim))
        self.mean.copy_(x.mean(dims).view_as(self.mean))
        coarser = self.mean
        for scale, (field, factor) in enumerate(zip(self(x), self.factors)):
            added = field - (_spread(coarser, factor) if scale else coarser)
            for buffer, values in ((self.width, field - self.mean), (self.added, added)):
                spread = values.square().mean(dims).sqrt().clamp_min(1e-6)
                buffer[scale] = spread.view_as(self.mean)
            coarser = field


class PatchNetwork(nn.Module):
    """Makes a patch of a scale: down and up again, with noise, a block and a skip at each level.

    It sees the neighbours and, but for the coarsest ``scale`` 0, the coarser field; the conditions
    and whether there are neighbours along each axis modulate its blocks.
    """

    def __init__(self, config: Multiscale, spec: SampleSpec, scale: int) -> None:
        super().__init__()
        channels, axes, widths = spec.shape[0], len(spec.shape) - 1, config.widths
        ends, constants = (False,) * axes, len(spec.conditions) + axes
        small = 1 / math.sqrt(2 * len(widths))
        self.sizes = [[config.noise, *[config.patch >> n] * axes] for n in range(len(widths))]
        self.numbers = [math.prod(size) for size in self.sizes]
        seen = channels * (2**axes - 1 + (scale > 0))
        into = [n + config.noise for n in (seen, *widths[:-1])]
        self.enter = nn.ModuleList(Convolution(a, b, ends) for a, b in zip(into, widths))
        self.down = nn.ModuleList(Block(w, ends, constants, small) for w in widths)
        self.leave = nn.ModuleList(Convolution(b, a, ends) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(Block(w, ends, constants, small) for w in widths[:-1])
        self.last = Convolution(widths[0], channels, ends)
        if scale:
            self.last.layer.bias = None  # it would be taken away again with the block means

    def forward(self, seen: Tensor, z: Tensor, e: Tensor) -> Tensor:
        """Map ``seen (n, seen, *patch)``, noise ``z (n, numbers)``, constants to a patch."""
        noise = [
            part.view(-1, *size) for part, size in zip(torch.split(z, self.numbers, 1), self.sizes)
        ]
        h, passed = seen, []
        for level, (enter, block) in enumerate(zip(self.enter, self.down)):
            h = torch.cat([halved(h) if level else h, noise[level].to(h.dtype)], 1)
            h = block(enter(h), e)
            passed.append(h)
        h = passed.pop()
        for level in reversed(range(len(self.up))):
            h = self.up[level](_spread(self.leave[level](activation(h)), 2) + passed[level], e)
        return cast(Tensor, self.last(activation(h))).float()


def _check_scanned(generator: nn.Module, _: Any) -> None:
    """Refuse weights for a field with neighbours where those of the training had none."""
    assert isinstance(generator, MultiscaleGenerator)
    asked = zip(generator.grids[0], generator.scanned.tolist())
    if axes := [axis for axis, (n, scanned) in enumerate(asked) if n > 1 and not scanned]:
        unit = generator.patch * math.prod(generator.scales.factors)
        raise InputError(
            f"network '{NAME}' was trained on fields of {unit} cells along axis {axes[0]}, one "
            "patch at the coarsest scale: it has seen no neighbours there and makes no larger "
            "fields; train it with half the patch, or on larger fields"
        )


class MultiscaleGenerator(Generator):
    """A network a scale, and the raster scans.

    The latent of a sample is the noise of its patches: scale by scale, coarsest first, patches in
    raster order.  Ends never meet, whether or not the axes of the spec are periodic.
    """

    scanned: Tensor

    def __init__(self, config: Multiscale, spec: SampleSpec) -> None:
        super().__init__()
        self.grids, self.patch = _grids(config, spec), config.patch
        axes = len(spec.shape) - 1
        self.offsets = list(itertools.product((0, 1), repeat=axes))[1:]
        self.scales = Scales(config.factors, spec.shape[0], axes)
        # along which axes there were neighbours at the coarsest scale in training
        self.register_buffer("scanned", torch.ones(axes, dtype=torch.bool))
        self.register_load_state_dict_post_hook(_check_scanned)  # type: ignore[no-untyped-call]
        self.networks = nn.ModuleList(
            PatchNetwork(config, spec, scale) for scale in range(len(self.grids))
        )
        self.numbers = sum(cast(PatchNetwork, self.networks[0]).numbers)  # of a patch
        self.latent = self.numbers * sum(map(math.prod, self.grids))

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> str:
        """Take mean and widths from training samples, and note where there are neighbours."""
        self.scales.fit(x)
        self.scanned.copy_(torch.tensor([n > 1 for n in self.grids[0]]))
        return ""

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return fields ``(batch, channels, *cells)``."""
        field: Tensor | None = None
        counts = [self.numbers * math.prod(grid) for grid in self.grids]
        for scale, noise in enumerate(torch.split(z, counts, 1)):
            field = self._scan(scale, noise, c, field)
        assert field is not None
        return field + self.scales.mean

    def _scan(self, scale: int, noise: Tensor, c: Tensor, coarser: Tensor | None) -> Tensor:
        """Make the field of a scale, less the mean, out of the coarser one and all its noise."""
        network, grid, factor = self.networks[scale], self.grids[scale], self.scales.factors[scale]
        places = itertools.product(*map(range, grid))
        zs = dict(zip(places, torch.split(noise, self.numbers, 1)))
        made: dict[Place, Tensor] = {}
        for turn in fronts(grid):
            seen, base = torch.cat([self._neighbours(made, place, c) for place in turn]), None
            if coarser is not None:
                under = [_at(coarser, place, self.patch // factor) for place in turn]
                base = _spread(torch.cat(under), factor)
                seen = torch.cat([seen, base[:, None]], 1)
            seen = (seen / self.scales.width[scale]).flatten(1, 2)
            begun = [torch.stack([c.new_full((), n > 0) for n in place]) for place in turn]
            e = torch.cat([torch.cat([c, b.expand(len(c), -1)], 1) for b in begun])
            z, rows = (
                torch.cat([zs[place] for place in turn]),
                max(1, CELLS // self.patch ** len(grid)),
            )
            pieces = zip(*(torch.split(t, rows) for t in (seen, z, e)))
            values = torch.cat([network(*piece) for piece in pieces]) * self.scales.added[scale]
            if base is not None:
                values = values - _spread(_means(values, factor), factor) + base
            made.update(zip(turn, torch.split(values, len(c))))
        return _joined(made, grid)

    def _neighbours(self, made: dict[Place, Tensor], place: Place, c: Tensor) -> Tensor:
        """Return the earlier neighbours, mirrored; 0 for those that a patch does not have.

        Shape ``(batch, neighbours, channels, *patch)``.
        """
        channels = len(self.scales.mean)
        none = c.new_zeros(1).expand(len(c), channels, *[self.patch] * len(place))
        found = []
        for offset in self.offsets:
            before = made.get(tuple(n - o for n, o in zip(place, offset)))
            mirrored = [axis for axis, o in enumerate(offset, 2) if o]
            found.append(none if before is None else before.flip(mirrored))
        return torch.stack(found, 1)


def _at(x: Tensor, place: Place, side: int) -> Tensor:
    """Cut the patch of this place, of ``side`` cells a side, out of ``(n, channels, *cells)``."""
    for axis, n in enumerate(place, 2):
        x = x.narrow(axis, n * side, side)
    return x


def _joined(made: dict[Place, Tensor], grid: Place, first: Place = ()) -> Tensor:
    """Put patches ``(n, channels, *patch)`` side by side."""
    if len(first) == len(grid):
        return made[first]
    along = [_joined(made, grid, (*first, n)) for n in range(grid[len(first)])]
    return torch.cat(along, 2 + len(first))


class GroupCritic(nn.Module):
    """What judges groups of neighbouring patches of one scale: convolutions, and their spectrum."""

    share: Tensor
    window: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, config: Multiscale, spec: SampleSpec, grid: Place, factor: int) -> None:
        super().__init__()
        cells = tuple(config.patch * min(2, n) for n in grid)
        channels, conditions = spec.shape[0], len(spec.conditions)
        self.factor, levels = factor, len(config.critic_widths)
        self.maps = Downward(
            conditions,
            start=tuple(n >> levels for n in cells),
            widths=(channels * (1 + (factor > 1)), *config.critic_widths),
            kernels=(4,) * levels,
            strides=(2,) * levels,
            norms=(False,) * levels,
            join=0,
        )
        self.register_buffer("share", shell_means(cells) / math.prod(cells), persistent=False)
        self.register_buffer("window", taper(cells, (False,) * len(cells)), persistent=False)
        seen = channels * self.share.shape[1]
        self.register_buffer("centre", torch.zeros(seen))
        self.register_buffer("spread", torch.ones(seen))
        self.summary = mlp([seen + conditions, config.summary_width, config.summary_width, 1])

    def log_power(self, x: Tensor) -> Tensor:
        """Return the logarithms of the power in shells of ``k``, ``(n, channels * shells)``."""
        dims = tuple(range(2, x.ndim))
        modes = torch.fft.rfftn((x - x.mean(dims, keepdim=True)) * self.window, dim=dims)
        # not abs: it has no second derivative at 0
        power = (modes.real.square() + modes.imag.square()).flatten(2)
        logarithms: Tensor = (power @ self.share + 1e-6).log()
        return logarithms.flatten(1)

    def forward(self, x: Tensor, c: Tensor, ratio: Tensor) -> Tensor:
        """Score groups ``(n, channels, *cells)``; ``ratio`` enlarges what the scale has added."""
        with full_precision(x):
            pulls = (self.log_power(x.float()) - self.centre) / self.spread
        seen = x
        if self.factor > 1:
            coarser = _spread(_means(x, self.factor), self.factor)
            seen = torch.cat([coarser, (x - coarser) * ratio], 1)
        spectral: Tensor = self.summary(torch.cat([pulls.asinh(), c], 1))
        return cast(Tensor, self.maps(seen, c)).float() + spectral.float()


class MultiscaleCritic(Critic):
    """A critic a scale, each with a head.

    The views are the fields of all scales, in units of their widths, cut into all groups of two
    neighbouring patches along each axis, ``(batch, groups, channels, *cells)``: every seam between
    patches is in one.  The score of a scale is the mean over its groups.  As in the original, a
    group's finer field is seen as the coarser field and what is added to it, and its power spectrum
    is judged beside it.
    """

    def __init__(self, config: Multiscale, spec: SampleSpec) -> None:
        super().__init__()
        self.patch = config.patch
        self.scales = Scales(config.factors, spec.shape[0], len(spec.shape) - 1)
        self.critics = nn.ModuleList(
            GroupCritic(config, spec, grid, factor)
            for grid, factor in zip(_grids(config, spec), self.scales.factors)
        )

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Take means and widths of fields and log spectra from training samples."""
        self.scales.fit(x)
        critics = cast(Sequence[GroupCritic], self.critics)
        chunk = max(1, CELLS // x[0].numel())
        parts = [
            [critic.log_power(g.flatten(0, 1)) for critic, g in zip(critics, self.views(some, c))]
            for some in torch.split(x, chunk)
        ]
        for critic, of_parts in zip(critics, zip(*parts)):
            power = torch.cat(of_parts)
            critic.centre.copy_(power.mean(0))
            critic.spread.copy_(power.std(0, correction=0).clamp_min(1e-4))

    def views(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """Return the groups of each scale, coarsest first."""
        fields = zip(self.scales(x), self.scales.width)
        return tuple(self._groups((field - self.scales.mean) / width) for field, width in fields)

    def _groups(self, x: Tensor) -> Tensor:
        axes = x.ndim - 2
        for axis in range(2, x.ndim):
            x = x.unfold(axis, min(2 * self.patch, x.shape[axis]), self.patch)
        # (batch, channels, *numbers of groups, *cells of a group)
        groups: Tensor = x.movedim(1, 1 + axes).flatten(1, axes)
        return groups

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        """Return the scores ``(batch, scales)``."""
        ratios = self.scales.width / self.scales.added
        scores = [
            critic(groups.flatten(0, 1), c.repeat_interleave(groups.shape[1], 0), ratio)
            .view(groups.shape[:2])
            .mean(1)
            for critic, groups, ratio in zip(self.critics, views, ratios)
        ]
        return torch.stack(scores, 1)


@architecture(
    NAME,
    Multiscale,
    transform=({"name": "dequantise"}, {"name": "nbody_log"}),
    units=("count",),
)
def build(config: Multiscale, spec: SampleSpec) -> Pair:
    """Build the pair for the grid of the spec."""
    return lambda: MultiscaleGenerator(config, spec), lambda: MultiscaleCritic(config, spec)
