"""What every architecture is: a generator and a critic built from a config and a spec.

To add one: write its config dataclass beside its modules and put a `build` function behind
``@architecture(name, Config)``.  The contract test runs over everything that is registered.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from emulators.config import build as build_config
from emulators.config import nearest
from emulators.data.spec import SampleSpec
from emulators.errors import InputError

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Critic",
    "Generator",
    "Pair",
    "architecture",
    "build_generator",
    "build_networks",
]


class Generator(nn.Module):
    """From a latent and a condition to a sample as the network sees it.

    ``latent`` is how many standard normal numbers one sample takes: everything random in a sample
    is in them, so that sample ``i`` depends on its latent alone (no dropout, no batch statistics
    in evaluation mode).
    """

    latent: int
    exponent: float = 1.0  # see `Transform.exponent`: what a training's samples are seen through

    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> str:
        """Set data-dependent starting values from training samples (default: none).

        Parameters
        ----------
        x, c
            Samples ``(n, *shape)`` and their scaled conditions ``(n, k)``.
        simulations
            The number of the simulation that each sample is from, ``(n,)``; None: its own.

        Returns
        -------
        What was decided by the data, in words for the log; empty: nothing.
        """
        return ""

    def restart(self) -> bool:
        """Go back to what `initialise` fitted, with networks that add nothing.

        False (default) where there is no such start, or it is not known any more.
        """
        return False

    def calibrate(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Fit last corrections of the trained generator to training samples (default: none).

        The parameters are those of `initialise`.
        """

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Map ``z (batch, latent)`` and ``c (batch, conditions)`` to ``x (batch, *shape)``."""
        raise NotImplementedError


class Critic(nn.Module):
    """From a sample and its condition to scores, one a head.

    A critic may look at a sample in several ways: `views` gives what its layers see (differentiable
    in ``x``), `score` judges them.  Gradient penalties act on the views.
    """

    exponent: float = 1.0  # see `Transform.exponent`: what a training's samples are seen through

    def initialise(self, x: Tensor, c: Tensor, simulations: Tensor | None = None) -> None:
        """Set data-dependent constants (means and widths of the views) from training samples."""

    def views(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """Return what the layers see, each ``(batch, ...)`` (default: the sample itself)."""
        return (x,)

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        """Return scores ``(batch, heads)``, larger for the reference; no sigmoid."""
        raise NotImplementedError

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return scores ``(batch, heads)`` of samples ``x`` with conditions ``c``."""
        return self.score(self.views(x, c), c)


# What makes the generator, and what makes the critic: in training both are called, in this order.
Pair = tuple[Callable[[], Generator], Callable[[], Critic]]


@dataclass(frozen=True)
class Architecture:
    """A registered pair of networks; ``transform`` lists the steps it expects by default.

    They are for samples in one of the ``units``, of any where there are none; else the values
    decide (`emulators.data.transforms.suited`), and what the generator ``makes``: from where to
    where.
    """

    name: str
    config: type
    build: Callable[[Any, SampleSpec], Pair]
    transform: tuple[dict[str, Any], ...]
    condition: str  # how conditions are scaled, "range" or "unit": see `Transform`
    units: tuple[str, ...]
    makes: tuple[float, float]


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(
    name: str,
    config: type,
    transform: tuple[dict[str, Any], ...] = (),
    condition: str = "range",
    units: tuple[str, ...] = (),
    makes: tuple[float, float] = (-math.inf, math.inf),
) -> Callable[[Callable[[Any, SampleSpec], Pair]], Any]:
    """Register the decorated ``build(config, spec)``, which gives a `Pair`, under a name."""

    def register(function: Callable[[Any, SampleSpec], Pair]) -> Any:
        ARCHITECTURES[name] = Architecture(
            name, config, function, transform, condition, units, makes
        )
        return function

    return register


def build_networks(
    name: str, options: dict[str, Any], spec: SampleSpec, seed: int = 0
) -> tuple[Generator, Critic]:
    """Build a registered pair from plain options; InputError names an unknown name or option.

    Weights are drawn from ``seed`` without touching torch's global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, critic = _pair(name, options, spec)
        return generator(), critic()


def build_generator(name: str, options: dict[str, Any], spec: SampleSpec) -> Generator:
    """Build the generator alone, of whatever weights: to load those of a trained one.

    A critic of large fields may take much memory, or not exist.
    """
    with torch.random.fork_rng(devices=[]):
        return _pair(name, options, spec)[0]()


def _pair(name: str, options: dict[str, Any], spec: SampleSpec) -> Pair:
    if name not in ARCHITECTURES:
        raise InputError(f"unknown network '{name}'{nearest(name, list(ARCHITECTURES))}")
    entry = ARCHITECTURES[name]
    return entry.build(build_config(entry.config, options, "network"), spec)
