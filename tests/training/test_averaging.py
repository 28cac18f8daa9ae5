"""The moving average against its closed form."""

import math

import pytest
import torch
from torch import nn

from emulators.training.averaging import average_of, refresh_statistics, update_average


def constant(value: float) -> nn.BatchNorm1d:
    module = nn.BatchNorm1d(2)
    with torch.no_grad():
        module.weight.fill_(value)
        module.running_mean.fill_(value)
        module.num_batches_tracked.fill_(int(value))
    return module


def test_after_one_half_life_the_start_counts_half():
    average = average_of(constant(0))
    now = constant(1)
    for step in range(20):
        update_average(
            average, now, batch=50, seen=50 * (step + 1), half_life=1000, ramp_up=math.inf
        )
    assert average.weight[0].item() == pytest.approx(0.5)


@pytest.mark.parametrize("batch", [10, 40, 200])
def test_memory_is_in_samples_whatever_the_batch(batch):
    average = average_of(constant(0))
    for step in range(400 // batch):
        seen = batch * (step + 1)
        update_average(
            average, constant(1), batch=batch, seen=seen, half_life=100, ramp_up=math.inf
        )
    assert average.weight[0].item() == pytest.approx(1 - 2**-4)


def test_ramp_up_forgets_the_first_networks():
    average = average_of(constant(0))
    # memory is min(1000, 0.05 * 200) = 10 samples: half lives passed = 20 / 10
    update_average(average, constant(1), batch=20, seen=200, half_life=1000, ramp_up=0.05)
    assert average.weight[0].item() == pytest.approx(1 - 2**-2)
    average = average_of(constant(0))
    update_average(average, constant(1), batch=20, seen=10**6, half_life=1000, ramp_up=0.05)
    assert average.weight[0].item() == pytest.approx(1 - 2 ** -(20 / 1000))


def test_no_memory_is_a_copy():
    average = average_of(constant(0))
    update_average(average, constant(3), batch=1, seen=1, half_life=0)
    assert average.weight[0].item() == 3


def test_buffers_are_copied_not_averaged():
    average = average_of(constant(0))
    update_average(average, constant(7), batch=1, seen=100, half_life=100, ramp_up=math.inf)
    assert average.running_mean[0].item() == 7
    assert average.num_batches_tracked.item() == 7
    assert 0 < average.weight[0].item() < 0.1


def test_the_average_is_apart_from_its_module():
    module = constant(2).train()
    average = average_of(module)
    assert not average.training
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in module.parameters())
    with torch.no_grad():
        module.weight.fill_(5)
    assert average.weight[0].item() == 2


def test_statistics_are_those_of_the_batches_it_is_shown():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    batches = torch.randn(10, 64, 2, generator=torch.Generator().manual_seed(0)) * 3 + 5
    refresh_statistics(module, ((batch,) for batch in batches))
    first, second = module
    torch.testing.assert_close(first.running_mean, batches.mean((0, 1)))
    torch.testing.assert_close(first.running_var, batches.var(1).mean(0))
    torch.testing.assert_close(second.running_var, torch.ones(2), rtol=0.02, atol=0)
    assert not module.training
    assert first.momentum == 0.1


def test_a_network_without_statistics_is_not_called():
    refresh_statistics(nn.Linear(2, 2), iter([("no tensor",)]))
