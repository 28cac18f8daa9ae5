"""Adam for either network, and its learning rate at every step."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from emulators.training.recipe import Optimiser

__all__ = ["adams", "rate_factor", "set_rates", "settle_rates"]


def adams(
    networks: Mapping[str, nn.Module], table: Optimiser, device: torch.device, graphs: bool
) -> dict[str, torch.optim.Adam]:
    """Return an optimiser of each network.

    Parameters
    ----------
    networks
        The ``generator`` and the ``critic``.
    table
        Rates and decays.
    device
        Where the networks are.
    graphs
        Whether steps are recorded as CUDA graphs.
    """
    optimisers = {
        name: torch.optim.Adam(
            network.parameters(), _rates(table)[name], table.betas, fused=True, capturable=graphs
        )
        for name, network in networks.items()
    }
    settle_rates(optimisers, device, graphs)
    return optimisers


def settle_rates(
    optimisers: Mapping[str, torch.optim.Adam], device: torch.device, graphs: bool
) -> None:
    """Have each rate where steps look for it: recorded ones read it from the device."""
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["capturable"], rate = graphs, float(group["lr"])
            group["lr"] = torch.tensor(rate, device=device) if graphs else rate


def set_rates(optimisers: Mapping[str, torch.optim.Adam], table: Optimiser, factor: float) -> None:
    """Set the rates to those of the table, times a factor."""
    for name, rate in _rates(table).items():
        for group in optimisers[name].param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor


def rate_factor(table: Optimiser, samples: float, fraction: float) -> float:
    """Return what the rates are multiplied by: the warm-up times the schedule.

    Parameters
    ----------
    table
        Warm-up and schedule.
    samples
        Reference samples that the critic has seen after this step.
    fraction
        Which part of the budget was spent before it.
    """
    warm = min(1.0, samples / max(table.warm_up, 1.0))
    if table.schedule == "constant":
        return warm
    cosine = (1 + math.cos(math.pi * min(1.0, fraction))) / 2
    return warm * (table.final + (1 - table.final) * cosine)


def _rates(table: Optimiser) -> dict[str, float]:
    return {
        "generator": table.learning_rate_generator,
        "critic": table.learning_rate_critic,
    }
