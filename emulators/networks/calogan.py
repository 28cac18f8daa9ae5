"""CaloGAN as published (arXiv:1712.10321), for the calorimeter it was made for.

Three streams of locally connected layers, one a readout layer, joined by in-painting attention; the
only conditioning is a latent scaled by the incident energy.  In the counting of Keras (parameters
and batch-norm statistics) the generator has 29,726,376 numbers and the critic 2,744,524.  Other
conditions, which the published networks do not have, stand beside the latent and the features.

Kept although one would do it differently today, because it is what was published: the sparsity and
the 5 GeV indicator in the critic are hard and give the generator no gradient, and the critic sees
the condition only through the difference between requested and deposited energy.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.errors import InputError
from emulators.networks.base import Critic, Generator, Pair, architecture
from emulators.networks.layers import (
    LocallyConnected2d,
    MinibatchDiscrimination,
    full_precision,
)

__all__ = ["SHAPES", "CaloGAN", "CaloGANCritic", "CaloGANGenerator"]

SHAPES = ((3, 96), (12, 12), (12, 6))  # cells of the three readout layers
SLICES = (slice(0, 288), slice(288, 432), slice(432, 504))  # where they lie in a flat shower
SLOPE = 0.3  # Keras's LeakyReLU
ENERGY_WELL = 5.0  # GeV


@dataclass(frozen=True)
class CaloGAN:
    """Options of CaloGAN.

    Parameters
    ----------
    latent
        Width of the latent; published: 1024.
    attention
        Mix each layer with an up- or downsampled copy of the layer before it.
    """

    latent: int = 1024
    attention: bool = True

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise ValueError(f"latent = {self.latent} is not positive")


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # Keras's defaults


def _same(x: Tensor) -> Tensor:
    """Pad as Keras's "same" does for a 2x2 kernel: one column right, one row below."""
    return F.pad(x, (0, 1, 0, 1))


def _glorot(layer: nn.Linear | nn.Conv2d, he: bool = False) -> nn.Linear | nn.Conv2d:
    """Give a layer Keras's initial weights: glorot_uniform (or he_uniform), bias 0."""
    if he:
        nn.init.kaiming_uniform_(layer.weight)
    else:
        nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class _Stream(nn.Module):
    """From the scaled latent to one layer's image before its ReLU (the LAGAN generator)."""

    def __init__(self, latent: int, rows: int, columns: int) -> None:
        super().__init__()
        self.start = (36, rows + 2, columns + 2)
        self.dense = _glorot(nn.Linear(latent, 36 * (rows + 2) * (columns + 2)))
        self.conv = _glorot(nn.Conv2d(36, 16, 2), he=True)
        self.norm = _norm(16)
        self.local = LocallyConnected2d(
            16, 6, (rows + 2, columns + 2), (2, 2), positions_in_fan=True
        )
        self.last = LocallyConnected2d(
            6,
            1,
            (rows + 1, columns + 1),
            (2, 2),
            bias=False,
            initial="glorot_normal",
            positions_in_fan=True,
        )

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(batch, latent)`` to ``(batch, 1, rows, columns)``."""
        x = self.dense(h).unflatten(1, self.start)
        x = self.norm(F.leaky_relu(self.conv(_same(x)), SLOPE))
        out: Tensor = self.last(F.leaky_relu(self.local(x), SLOPE))
        return out


class _Inpaint(nn.Module):
    """Per-pixel convex mix of a layer and what the layer before it suggests.

    The bias starts at -10 for the suggestion, so the mix starts as the layer itself.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.local = LocallyConnected2d(
            2,
            2,
            (rows + 2, columns + 2),
            (3, 3),
            initial="glorot_uniform",
            positions_in_fan=True,
        )
        assert self.local.bias is not None
        nn.init.constant_(self.local.bias[1], -10.0)

    def forward(self, primary: Tensor, carry: Tensor) -> Tensor:
        """Mix two images ``(batch, 1, rows, columns)``."""
        both = torch.cat([primary, carry], 1)
        logits: Tensor = self.local(F.pad(both, (1, 1, 1, 1)))
        return (logits.float().softmax(1) * both).sum(1, keepdim=True)


class CaloGANGenerator(Generator):
    """CaloGAN's generator: latent and energy share in, cells in GeV out.

    ``n_conditions`` counts the incident energy, the first condition.
    """

    def __init__(self, options: CaloGAN, n_conditions: int = 1) -> None:
        super().__init__()
        self.latent = options.latent
        width = options.latent + n_conditions - 1
        self.streams = nn.ModuleList(_Stream(width, *shape) for shape in SHAPES)
        self.inpaint = nn.ModuleList(
            _Inpaint(*shape) for shape in (SHAPES[1:] if options.attention else ())
        )

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Generate showers.

        Parameters
        ----------
        z
            Latent, shape ``(batch, latent)``.
        c
            Incident energy over the upper end of its range, then other conditions likewise, shape
            ``(batch, conditions)``.

        Returns
        -------
        Cells of the three layers, flat, shape ``(batch, 504)``, GeV, none negative.
        """
        seen = torch.cat([z * c[:, :1], c[:, 1:]], 1)
        images = [stream(seen) for stream in self.streams]
        if self.inpaint:
            wide = F.interpolate(images[0], scale_factor=(4.0, 1.0), mode="nearest")
            images[1] = self.inpaint[0](images[1], F.avg_pool2d(wide, (1, 8)))
            images[2] = self.inpaint[1](images[2], F.avg_pool2d(images[1], (1, 2)))
        return torch.cat([image.float().relu().flatten(1) for image in images], 1)


class _Eye(nn.Module):
    """What the critic reads off one layer's image."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        half = columns // 2
        self.conv = _glorot(nn.Conv2d(1, 64, 2))
        layers = [
            LocallyConnected2d(
                i, o, size, kernel, stride, initial="glorot_uniform", positions_in_fan=True
            )
            for i, o, size, kernel, stride in (
                (64, 16, (rows + 2, columns + 2), (3, 3), (1, 2)),
                (16, 8, (rows + 2, half + 2), (2, 2), (1, 1)),
                (8, 8, (rows + 3, half + 3), (2, 2), (1, 2)),
            )
        ]
        self.locals = nn.ModuleList(layers)
        self.width = 8 * math.prod(layers[-1].out_size)
        self.norms = nn.ModuleList(_norm(channels) for channels in (16, 8, 8))
        self.closeness = MinibatchDiscrimination(self.width)
        self.sparsity_closeness = MinibatchDiscrimination(1)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image ``(batch, rows, columns)``, GeV, to features ``(batch, width + 21)``."""
        x = F.leaky_relu(self.conv(_same(image[:, None])), SLOPE)
        for local, norm in zip(self.locals, self.norms):
            x = norm(F.leaky_relu(local(F.pad(x, (1, 1, 1, 1))), SLOPE))
        x = x.flatten(1).float()
        sparsity = (image > 0).float().mean((1, 2))[:, None]
        close = [self.closeness(x).tanh(), self.sparsity_closeness(sparsity).tanh()]
        return torch.cat([x, close[0], sparsity, close[1]], 1)


class CaloGANCritic(Critic):
    """CaloGAN's discriminator, one logit a shower.

    Its features depend on the whole batch (minibatch discrimination, batch norm): real and
    generated showers must come in batches of their own, as in the published training.

    Parameters
    ----------
    maximum_energy
        What an incident energy of 1 stands for, GeV.
    n_conditions
        How many conditions there are, the incident energy first.
    """

    def __init__(self, maximum_energy: float, n_conditions: int = 1) -> None:
        super().__init__()
        self.maximum_energy = maximum_energy
        eyes = [_Eye(*shape) for shape in SHAPES]
        self.eyes = nn.ModuleList(eyes)
        self.energy_closeness = MinibatchDiscrimination(len(SHAPES))
        # per eye: 10 for closeness, 1 sparsity, 10 for its closeness; see `score` for the rest
        width = sum(eye.width + 21 for eye in eyes) + 3 + 1 + 1 + 1 + 10 + n_conditions - 1
        self.last = _glorot(nn.Linear(width, 1))

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        """Judge showers ``(batch, 504)``, GeV, at ``c (batch, conditions)``: ``(batch, 1)``."""
        x = views[0].float()
        images = [x[:, s].reshape(-1, *shape) for s, shape in zip(SLICES, SHAPES)]
        features = [eye(image) for eye, image in zip(self.eyes, images)]
        with full_precision(x):
            layers = torch.stack([image.sum((1, 2)) for image in images], 1)  # GeV
            total = layers.sum(1, keepdim=True)
            well = (total - c[:, :1].float() * self.maximum_energy).abs()
            outside = (well > ENERGY_WELL).float()
            close = self.energy_closeness(layers).tanh()
            energies = [layers / 10, total / 100, well, 10 * outside, close]
            scores: Tensor = self.last(torch.cat([*features, *energies, c[:, 1:].float()], 1))
        return scores


@architecture("calogan", CaloGAN, transform=({"name": "scale", "factor": 1e-3},), condition="unit")
def build(options: CaloGAN, spec: SampleSpec) -> Pair:
    """Build CaloGAN; InputError where the spec is not that of CaloGAN's calorimeter."""
    shapes = tuple(layer.shape for layer in spec.geometry.layers) if spec.geometry else ()
    if shapes != SHAPES:
        found = " + ".join(f"{a}x{b}" for a, b in shapes) or "no layers"
        raise InputError(
            f"network 'calogan' is made for layers of 3x96 + 12x12 + 12x6 cells, not {found}; "
            "use 'shower' or 'mlp'"
        )
    names = [c.name for c in spec.conditions]
    if names[:1] != ["incident_energy"]:
        raise InputError("network 'calogan' takes incident_energy as its first condition")
    largest, n = spec.conditions[0].maximum, len(names)
    return lambda: CaloGANGenerator(options, n), lambda: CaloGANCritic(largest, n)
