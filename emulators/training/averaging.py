"""The exponential moving average of a generator, with a half-life counted in samples."""

import copy
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["average_of", "batch_norms", "refresh_statistics", "update_average"]

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
    Buffers (fitted constants) are copied, not averaged; those of batch normalisation belong to
    weights that are not the average's: `refresh_statistics` finds its own.
    """
    memory = min(half_life, ramp_up * seen)
    keep = 0.5 ** (batch / memory) if memory > 0 else 0.0
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - keep)
    if buffers := list(average.buffers()):
        torch._foreach_copy_(buffers, list(module.buffers()))


def batch_norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Return the layers that normalise by statistics of batches."""
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def refresh_statistics(module: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Set the batch-normalisation statistics of a network to those of its own activations.

    Parameters
    ----------
    module
        Changed in place and left in evaluation mode; nothing happens to one without such layers.
    batches
        What it is called with; the mean over all of them is kept.
    """
    layers = batch_norms(module)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the cumulative mean
    module.train()
    for batch in batches:
        module(*batch)
    module.eval()
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
