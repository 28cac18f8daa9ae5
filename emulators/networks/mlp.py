"""The vanilla GAN: fully connected generator and critic, samples of any shape.

With showers as shares of the incident energy and the Wasserstein objective with gradient penalty
this is FastCaloGAN (ATL-SOFT-PUB-2020-006): ``latent = 50, widths = [50, 100, 200]``,
``critic_widths`` three layers as wide as the number of cells, ReLU everywhere.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from emulators.data.spec import SampleSpec
from emulators.networks.base import Critic, Generator, Pair, architecture
from emulators.networks.layers import OUTPUTS, Activation, mlp

__all__ = ["MLP", "MLPCritic", "MLPGenerator"]


@dataclass(frozen=True)
class MLP:
    """Options of the fully connected pair.

    Parameters
    ----------
    latent
        Width of the latent.
    widths, critic_widths
        Hidden widths of the two networks, input to output.
    activation
        What follows each hidden layer.
    batch_norm
        Batch normalisation in the generator's hidden layers (never in the critic: a penalty on one
        sample's gradient has no meaning there).
    output
        What the generator's last layer goes through; unset: ReLU for showers (exact zeros, no
        negative energy), else linear.
    """

    latent: int = 64
    widths: tuple[int, ...] = (256, 256, 256)
    critic_widths: tuple[int, ...] = (256, 256, 256)
    activation: Activation = "leaky_relu"
    batch_norm: bool = False
    output: Literal["linear", "relu", "softplus"] | None = None

    def __post_init__(self) -> None:
        for width in (self.latent, *self.widths, *self.critic_widths):
            if width < 1:
                raise ValueError(f"a width of {width} is not positive")


class MLPGenerator(Generator):
    """Latent and conditions, concatenated, through linear layers to a sample."""

    def __init__(self, options: MLP, spec: SampleSpec) -> None:
        super().__init__()
        self.latent, self.shape = options.latent, spec.shape
        self.output = OUTPUTS[options.output or ("relu" if spec.kind == "shower" else "linear")]
        widths = (options.latent + len(spec.conditions), *options.widths, math.prod(spec.shape))
        self.layers = mlp(widths, options.activation, batch_norm=options.batch_norm)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Map ``z (batch, latent)`` and ``c (batch, conditions)`` to ``(batch, *shape)``."""
        x: Tensor = self.layers(torch.cat([z, c], 1))
        return self.output(x.float()).reshape(-1, *self.shape)


class MLPCritic(Critic):
    """Sample and conditions, concatenated, through linear layers to one score."""

    def __init__(self, options: MLP, spec: SampleSpec) -> None:
        super().__init__()
        widths = (math.prod(spec.shape) + len(spec.conditions), *options.critic_widths, 1)
        self.layers = mlp(widths, options.activation)

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        """Judge samples ``(batch, *shape)`` at ``c (batch, conditions)``: ``(batch, 1)``."""
        scores: Tensor = self.layers(torch.cat([views[0].flatten(1), c], 1))
        return scores.float()


@architecture("mlp", MLP, transform=({"name": "incident_share"},), condition="range")
def build(options: MLP, spec: SampleSpec) -> Pair:
    """Build the fully connected pair for samples of any shape, with or without conditions."""
    return lambda: MLPGenerator(options, spec), lambda: MLPCritic(options, spec)
