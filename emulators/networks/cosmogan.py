"""The published convolutional GANs of cosmic density and mass maps.

``cosmogan`` (Rodriguez et al. 2018, arXiv:1801.09070), ``cosmogan-conditional`` (Perraudin et al.
2020, arXiv:2004.08139) and ``heavy-tail`` (Feder et al. 2020, arXiv:2005.03050), each out of the
layers of `dcgan`.  They were made for one size; here the first map is a sixteenth of the sample's,
whatever that is, in one to three dimensions.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from emulators.data.spec import SampleSpec
from emulators.networks.base import Pair, architecture
from emulators.networks.dcgan import (
    ConvolutionalCritic,
    ConvolutionalGenerator,
    Downward,
    Upward,
    first_map,
)

__all__ = ["ConditionalCosmoGAN", "CosmoGAN", "HeavyTail", "latent_norm", "student_t"]

HALVINGS = (2, 2, 2, 2)


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} = {number} is not positive")


@dataclass(frozen=True)
class CosmoGAN:
    """Options of CosmoGAN (arXiv:1801.09070, table 1).

    Parameters
    ----------
    variant
        Which of the two published networks: ``"500Mpc"`` has a latent of 100 and was trained with
        the Wasserstein objective; ``"100Mpc"`` has 200 and was a standard GAN.
    width
        Channels of the finest maps; published: 64.
    """

    variant: Literal["500Mpc", "100Mpc"] = "500Mpc"
    width: int = 64

    def __post_init__(self) -> None:
        _require_positive(width=self.width)


@architecture(
    "cosmogan",
    CosmoGAN,
    transform=({"name": "rational", "a": 4.0},),
    units=("count",),
    makes=(-1.0, 1.0),
)
def cosmogan(options: CosmoGAN, spec: SampleSpec) -> Pair:
    """Build CosmoGAN: 5-cell kernels, batch norm after every hidden layer of both networks."""
    latent = {"500Mpc": 100, "100Mpc": 200}[options.variant]
    start, conditions = first_map("cosmogan", spec, HALVINGS), len(spec.conditions)
    widths = [options.width * 2**i for i in range(4)]
    up = Upward(
        inputs=latent + conditions,
        hidden=(),
        start=start,
        widths=(*reversed(widths), spec.shape[0]),
        kernels=(5,) * 4,
        strides=HALVINGS,
        slope=0.0,
        norm="channel",
    )
    down = Downward(
        conditions,
        start=start,
        widths=(spec.shape[0], *widths),
        kernels=(5,) * 4,
        strides=HALVINGS,
        norms=(True,) * 4,
        join=0,
    )
    return (
        lambda: ConvolutionalGenerator(latent, up, "tanh"),
        lambda: ConvolutionalCritic(down),
    )


@dataclass(frozen=True)
class ConditionalCosmoGAN:
    """Options of the conditional GAN of mass maps (arXiv:2004.08139).

    Parameters
    ----------
    latent
        Width of the latent, for each condition; published: 64.
    width
        Channels of the finest maps; published: 32.
    """

    latent: int = 64
    width: int = 32

    def __post_init__(self) -> None:
        _require_positive(latent=self.latent, width=self.width)


def latent_norm(z: Tensor, c: Tensor) -> Tensor:
    """Write conditions into the norms of latents (arXiv:2004.08139, section 2).

    Parameters
    ----------
    z
        Normal numbers, shape ``(batch, conditions * width)``: one vector a condition.
    c
        Conditions scaled to [-1, 1], shape ``(batch, conditions)``.

    Returns
    -------
    The vectors of `z`, each with the norm ``sqrt(width)`` times a number that goes with the
    condition from 0.1 to 1; zero where a condition is far below its range.  Without conditions,
    `z`.
    """
    if not c.shape[1]:
        return z
    vectors = z.reshape(*c.shape, -1)
    norms = math.sqrt(vectors.shape[2]) * (0.55 + 0.45 * c).clamp_min(0)
    scale: Tensor = norms / torch.linalg.vector_norm(vectors, dim=2).clamp_min(1e-12)
    return (vectors * scale[..., None]).flatten(1)


@architecture(
    "cosmogan-conditional",
    ConditionalCosmoGAN,
    transform=({"name": "log", "scale": 1.0},),
    units=("count", ""),
    makes=(0.0, math.inf),
)
def conditional(options: ConditionalCosmoGAN, spec: SampleSpec) -> Pair:
    """Build the conditional GAN: no batch norm, the critic sees conditions after its maps."""
    start, conditions = first_map("cosmogan-conditional", spec, HALVINGS), len(spec.conditions)
    latent = options.latent * max(1, conditions)
    widths = [options.width * 2**i for i in range(5)]
    up = Upward(
        inputs=latent,
        hidden=(8 * options.width, 16 * options.width),
        start=start,
        widths=(*reversed(widths), spec.shape[0]),
        kernels=(3, 5, 5, 5, 7),
        strides=(*HALVINGS, 1),
        slope=0.2,
        norm=None,
    )
    down = Downward(
        conditions,
        start=start,
        widths=(spec.shape[0], *widths),
        kernels=(7, 5, 5, 5, 3),
        strides=(1, *HALVINGS),
        norms=(False,) * 5,
        join=5,
        hidden=(16 * options.width, 8 * options.width, 4 * options.width),
    )
    return (
        lambda: ConvolutionalGenerator(latent, up, "relu", latent_norm),
        lambda: ConvolutionalCritic(down),
    )


@dataclass(frozen=True)
class HeavyTail:
    """Options of the heavy-tailed GAN (arXiv:2005.03050).

    Parameters
    ----------
    latent
        How many Student-t numbers a sample takes; published: 200.  Each takes
        ``1 + degrees_of_freedom`` normal numbers.
    degrees_of_freedom
        Of the Student-t law, a whole number: the smaller, the heavier the tail.
    width
        Channels of the finest maps; published: 32.
    """

    latent: int = 200
    degrees_of_freedom: int = 3
    width: int = 32

    def __post_init__(self) -> None:
        _require_positive(
            latent=self.latent, degrees_of_freedom=self.degrees_of_freedom, width=self.width
        )


def student_t(z: Tensor, degrees_of_freedom: int) -> Tensor:
    """Return independent Student-t numbers out of normal ones.

    By the law's definition, a normal number over the root of the mean square of as many others as
    there are degrees of freedom: exact, and as random as `z` is.

    Parameters
    ----------
    z
        Independent standard normal numbers, shape ``(batch, n * (1 + degrees_of_freedom))``.
    degrees_of_freedom
        A whole number from 1.

    Returns
    -------
    Shape ``(batch, n)``.
    """
    numbers = z.reshape(len(z), -1, 1 + degrees_of_freedom)
    square = numbers[..., 1:].square().mean(2)
    return numbers[..., 0] / square.clamp_min(1e-12).sqrt()


def _heavy_tailed(z: Tensor, c: Tensor, degrees_of_freedom: int) -> Tensor:
    return torch.cat([student_t(z, degrees_of_freedom), c], 1)


@architecture(
    "heavy-tail",
    HeavyTail,
    transform=({"name": "piecewise"},),
    units=("count",),
    makes=(-1.0, 1.0),
)
def heavy_tail(options: HeavyTail, spec: SampleSpec) -> Pair:
    """Build the heavy-tailed GAN: conditions join the critic's maps after the first layer."""
    start, conditions = first_map("heavy-tail", spec, HALVINGS), len(spec.conditions)
    widths = [options.width * 2**i for i in range(4)]
    up = Upward(
        inputs=options.latent + conditions,
        hidden=(),
        start=start,
        widths=(*reversed(widths), spec.shape[0]),
        kernels=(4,) * 4,
        strides=HALVINGS,
        slope=0.0,
        norm="channel",
    )
    down = Downward(
        conditions,
        start=start,
        widths=(spec.shape[0], *widths),
        kernels=(4,) * 4,
        strides=HALVINGS,
        norms=(False, True, True, True),
        join=1,
    )
    code = functools.partial(_heavy_tailed, degrees_of_freedom=options.degrees_of_freedom)
    latent = options.latent * (1 + options.degrees_of_freedom)
    return (
        lambda: ConvolutionalGenerator(latent, up, "tanh", code),
        lambda: ConvolutionalCritic(down),
    )
