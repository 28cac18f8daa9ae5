"""The exponential moving average of a generator, with a half-life counted in samples."""

import copy
from typing import TypeVar

import torch
from torch import nn

__all__ = ["average_of", "update_average"]

M = TypeVar("M", bound=nn.Module)


def average_of(module: M) -> M:
    """Return a copy to average into: evaluation mode, no gradients."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def update_average(
    average: nn.Module,
    module: nn.Module,
    *,
    batch: int,
    seen: int,
    half_life: float,
    ramp_up: float = 0.05,
) -> None:
    """Move the average towards the module after a generator step, as StyleGAN does.

    The weight of the old average is ``2^(-batch / h)`` with ``h = min(half_life, ramp_up * seen)``:
    a memory in samples, whatever the batch size, that forgets the first networks quickly.

    Parameters
    ----------
    average
        Made by `average_of`; changed in place.
    module
        The network as the optimiser left it.
    batch
        Samples of this step, over all processes.
    seen
        Samples of all steps so far, this one included.
    half_life
        Samples after which a network counts half; 0 copies the module.
    ramp_up
        Upper limit of the half-life as a share of `seen`; ``inf`` turns it off.

    Notes
    -----
    Buffers (batch-norm statistics, fitted constants) are copied, not averaged.
    """
    memory = min(half_life, ramp_up * seen)
    keep = 0.5 ** (batch / memory) if memory > 0 else 0.0
    for mean, now in zip(average.parameters(), module.parameters(), strict=True):
        mean.lerp_(now, 1 - keep)
    for kept, buffer in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(buffer)
