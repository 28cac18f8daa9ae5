"""`dcgan`: transposed convolutions up, strided convolutions down, in one to three dimensions.

The convolutional GAN of arXiv:1511.06434 for samples of any size and any number of channels, and
the two stacks of layers, `Upward` and `Downward`, that the published networks of `cosmogan` are
made of.  Kernels reach over the edges with zeros, as in the originals; `field` does better.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.errors import InputError
from emulators.networks.base import Critic, Generator, Pair, architecture
from emulators.networks.layers import CONVOLUTIONS, OUTPUTS, TRANSPOSED

__all__ = [
    "DCGAN",
    "ConvolutionalCritic",
    "ConvolutionalGenerator",
    "Downward",
    "Output",
    "Upward",
    "concatenated",
    "first_map",
]

Norm = Literal["channel", "cell"]
Output = Literal["linear", "tanh", "sigmoid", "relu", "softplus"]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class DCGAN:
    """Options of the convolutional pair.

    Parameters
    ----------
    latent
        Width of the latent.
    widths
        Channels of the generator's maps, from the coarsest on; the last layer goes from the last of
        them to the channels of a sample.
    strides
        By how much each of the generator's layers refines the map, as many as there are widths;
        unset: 2 each.  The coarsest map has the cells of a sample over their product.
    kernel
        Cells along each axis of every kernel; a multiple of the stride leaves no checkerboard.
    slope
        Of the generator's leaky ReLU below 0; 0: a ReLU.
    batch_norm
        Batch normalisation in the generator.  A layer has either it or a bias.
    dense_norm
        Whether the coarsest map is normalised channel by channel, or each of its cells on its own.
    output
        What the generator's last layer goes through.
    critic_widths
        Channels of the critic's maps, each half as wide as the one before it.
    critic_slope
        Slope of the critic's leaky ReLU.
    critic_batch_norm
        Batch normalisation in all of the critic's convolutions but the first.  Scores then depend
        on the whole batch, and so do gradient penalties.
    """

    latent: int = 100
    widths: tuple[int, ...] = (512, 256, 128, 64)
    strides: tuple[int, ...] | None = None
    kernel: int = 4
    slope: float = 0.0
    batch_norm: bool = True
    dense_norm: Norm = "channel"
    output: Output = "linear"
    critic_widths: tuple[int, ...] = (64, 128, 256, 512)
    critic_slope: float = 0.2
    critic_batch_norm: bool = False

    def __post_init__(self) -> None:
        if not self.widths or not self.critic_widths:
            raise ValueError("widths and critic_widths need at least one number each")
        strides = self.strides or (2,) * len(self.widths)
        if min(self.latent, *self.widths, *self.critic_widths, *strides) < 1:
            raise ValueError("latent, widths and strides must be positive")
        if len(strides) != len(self.widths):
            raise ValueError(f"{len(strides)} strides for {len(self.widths)} widths: one each")
        for stride in {*strides, 2}:
            if self.kernel < stride or (stride == 1 and self.kernel % 2 == 0):
                raise ValueError(
                    f"kernel = {self.kernel} does not fit stride {stride}: not smaller than the "
                    "stride, and odd for stride 1"
                )


def first_map(network: str, spec: SampleSpec, strides: Sequence[int]) -> tuple[int, ...]:
    """Return the cells of a sample divided by all strides; InputError where they do not divide."""
    cells, factor = spec.shape[1:], math.prod(strides)
    if not 1 <= len(cells) <= 3:
        raise InputError(
            f"network '{network}' is for samples of shape (channels, cells ...) with one to three "
            f"axes, not {spec.shape}; use 'mlp' for vectors"
        )
    if any(n % factor for n in cells):
        raise InputError(
            f"network '{network}' refines its first map by {factor}: {' x '.join(map(str, cells))} "
            f"cells are not multiples of {factor} along every axis; crop the samples"
        )
    return tuple(n // factor for n in cells)


def _padding(kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding that makes a map exactly ``stride`` times finer or coarser.

    The second number is what a transposed convolution adds at one end.
    """
    padding = (kernel - stride + 1) // 2
    return padding, 2 * padding - (kernel - stride)


class Upward(nn.Sequential):
    """Linear layers to the coarsest map, transposed convolutions from there to a sample.

    Parameters
    ----------
    inputs
        Width of what comes in, ``(batch, inputs)``.
    hidden
        Widths of linear layers before the coarsest map.
    start
        Cells of the coarsest map.
    widths
        Channels of the maps, coarsest first, and of the sample.
    kernels, strides
        Of the layers between them.
    slope
        Of the leaky ReLU after every layer but the last.
    norm
        What batch normalisation normalises, see `DCGAN`; None: there is none, and layers have
        biases.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        start: tuple[int, ...],
        widths: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        slope: float,
        norm: Norm | None,
    ) -> None:
        axes, bias, size = len(start) - 1, norm is None, widths[0] * math.prod(start)
        layers: list[nn.Module] = []
        for narrow, wide in itertools.pairwise((inputs, *hidden)):
            layers += [nn.Linear(narrow, wide), nn.LeakyReLU(slope)]
        layers.append(nn.Linear((inputs, *hidden)[-1], size, bias=bias))
        if norm == "cell":
            layers.append(nn.BatchNorm1d(size))
        layers.append(nn.Unflatten(1, (widths[0], *start)))
        if norm == "channel":
            layers.append(NORMS[axes](widths[0]))
        steps = zip(itertools.pairwise(widths), kernels, strides, strict=True)
        for i, ((narrow, wide), kernel, stride) in enumerate(steps):
            if i and norm:
                layers.append(NORMS[axes](narrow))
            padding, end = _padding(kernel, stride)
            layers += [
                nn.LeakyReLU(slope),
                TRANSPOSED[axes](narrow, wide, kernel, stride, padding, end, bias=bias),
            ]
        super().__init__(*layers)
        _initialise(self, slope, he=bias)


class Downward(nn.Module):
    """Convolutions from a sample to the coarsest map, linear layers from there to one score.

    Parameters
    ----------
    conditions
        How many there are.
    start
        Cells of the coarsest map.
    widths
        Channels of a sample and of the maps, finest first.
    kernels, strides
        Of the layers between them.
    norms
        Whether each of them is followed by batch normalisation; with none, layers have biases.
    join
        Where conditions come in: before the layer of this number, as constant maps; or, for the
        number after the last one, beside the flattened map.
    hidden
        Widths of linear layers after the coarsest map.
    slope
        Of the leaky ReLU after every layer but the last.
    """

    def __init__(
        self,
        conditions: int,
        start: tuple[int, ...],
        widths: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        norms: Sequence[bool],
        join: int,
        hidden: Sequence[int] = (),
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        axes, bias, self.join = len(start) - 1, not any(norms), join
        self.maps = nn.ModuleList()
        steps = zip(itertools.pairwise(widths), kernels, strides, norms, strict=True)
        for i, ((narrow, wide), kernel, stride, norm) in enumerate(steps):
            channels = narrow + (conditions if i == join else 0)
            padding, _ = _padding(kernel, stride)
            layer = CONVOLUTIONS[axes](channels, wide, kernel, stride, padding, bias=bias)
            normal = [NORMS[axes](wide)] if norm else []
            self.maps.append(nn.Sequential(layer, *normal, nn.LeakyReLU(slope)))
        size = widths[-1] * math.prod(start) + (conditions if join == len(self.maps) else 0)
        head: list[nn.Module] = []
        for narrow, wide in itertools.pairwise((size, *hidden)):
            head += [nn.Linear(narrow, wide), nn.LeakyReLU(slope)]
        self.head = nn.Sequential(*head, nn.Linear((size, *hidden)[-1], 1, bias=bias))
        _initialise(self, slope, he=bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Map samples ``(batch, channels, *cells)`` at ``c (batch, conditions)`` to scores."""
        for i, layer in enumerate(self.maps):
            if i == self.join:
                constant = c.reshape(*c.shape, *[1] * (x.ndim - 2))
                x = torch.cat([x, constant.expand(-1, -1, *x.shape[2:])], 1)
            x = layer(x)
        x = x.flatten(1)
        scores: Tensor = self.head(torch.cat([x, c], 1) if self.join == len(self.maps) else x)
        return scores


@torch.no_grad()
def _initialise(module: nn.Module, slope: float, he: bool) -> None:
    """Draw weights: N(0, 0.02) as DCGAN where batch norm sets the scale, else by He's rule."""
    for layer in module.modules():
        if not isinstance(layer, (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)):
            continue
        fan = layer.weight[0].numel()
        if isinstance(layer, TRANSPOSED):  # each output cell is reached by one in stride^axes taps
            fan = layer.weight[:, 0].numel() // math.prod(layer.stride)
        layer.weight.normal_(0, math.sqrt(2 / (1 + slope**2) / fan) if he else 0.02)
        if layer.bias is not None:
            layer.bias.zero_()


def concatenated(z: Tensor, c: Tensor) -> Tensor:
    """Return latent and conditions side by side."""
    return torch.cat([z, c], 1)


class ConvolutionalGenerator(Generator):
    """Latent and conditions through an `Upward` stack.

    Parameters
    ----------
    latent
        How many normal numbers a sample takes.
    upward
        The layers.
    output
        What the last of them goes through.
    code
        Makes what the layers see from ``z (batch, latent)`` and ``c (batch, conditions)``.
    """

    def __init__(
        self,
        latent: int,
        upward: Upward,
        output: Output,
        code: Callable[[Tensor, Tensor], Tensor] = concatenated,
    ) -> None:
        super().__init__()
        self.latent, self.upward, self.output, self.code = latent, upward, OUTPUTS[output], code

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Map ``z (batch, latent)`` and ``c (batch, conditions)`` to ``(batch, *shape)``."""
        x: Tensor = self.upward(self.code(z, c))
        return self.output(x.float())


class ConvolutionalCritic(Critic):
    """Sample and conditions through a `Downward` stack to one score."""

    def __init__(self, downward: Downward) -> None:
        super().__init__()
        self.downward = downward

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        """Judge samples ``(batch, *shape)`` at ``c (batch, conditions)``: ``(batch, 1)``."""
        scores: Tensor = self.downward(views[0], c)
        return scores.float()


@architecture("dcgan", DCGAN, transform=({"name": "standardise"},))
def build(options: DCGAN, spec: SampleSpec) -> Pair:
    """Build the pair; InputError where the cells of a sample cannot be halved often enough."""
    strides = options.strides or (2,) * len(options.widths)
    levels, conditions = len(options.critic_widths), len(spec.conditions)
    up = Upward(
        inputs=options.latent + conditions,
        hidden=(),
        start=first_map("dcgan", spec, strides),
        widths=(*options.widths, spec.shape[0]),
        kernels=(options.kernel,) * len(strides),
        strides=strides,
        slope=options.slope,
        norm=options.dense_norm if options.batch_norm else None,
    )
    down = Downward(
        conditions,
        start=first_map("dcgan", spec, (2,) * levels),
        widths=(spec.shape[0], *options.critic_widths),
        kernels=(options.kernel,) * levels,
        strides=(2,) * levels,
        norms=[options.critic_batch_norm and i > 0 for i in range(levels)],
        join=0,
        slope=options.critic_slope,
    )
    return (
        lambda: ConvolutionalGenerator(options.latent, up, options.output),
        lambda: ConvolutionalCritic(down),
    )
