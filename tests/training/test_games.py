import math

import pytest
import torch
from torch import nn

from emulators.data.spec import Condition, SampleSpec
from emulators.data.transforms import Transform
from emulators.networks.base import Critic, Generator
from emulators.training.games import Batch, Duel, energy_loss
from emulators.training.recipe import Game

SPEC = SampleSpec("shower", "none", (3,), "MeV", (Condition("incident_energy", "GeV", 1, 100),))


class LinearCritic(Critic):
    """score = w . x, so that every penalty is known."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def score(self, views, c):
        return views[0] @ self.weight[:, None]


class LinearGenerator(Generator):
    latent = 2

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, z, c):
        return self.layer(torch.cat([z, c], 1))


def duel(**table):
    torch.manual_seed(0)
    game = Duel(LinearGenerator(), LinearCritic(), Transform(SPEC), Game(**table))
    c = torch.rand(16, 1)
    return game, Batch(torch.randn(16, 3), c, torch.randn(16, 2), 50 * c, c)


def test_zero_centred_penalties_of_a_linear_critic():
    game, batch = duel(objective="hinge", r1=0.4, r2=0.2)
    plain, _ = duel(objective="hinge")
    phase = game.critic_phase(batch, True, torch.Generator())
    # |grad score|^2 = |w|^2 = 5.25 everywhere
    assert phase.parts["r1"].item() == pytest.approx(0.2 * 5.25, rel=1e-6)
    assert phase.parts["r2"].item() == pytest.approx(0.1 * 5.25, rel=1e-6)
    without = plain.critic_phase(batch, True, torch.Generator()).loss
    assert (phase.loss - without).item() == pytest.approx(0.3 * 5.25, rel=1e-5)


def test_gradient_penalty_of_a_linear_critic():
    game, batch = duel(objective="wasserstein", gradient_penalty=10.0)
    phase = game.critic_phase(batch, True, torch.Generator())
    assert phase.parts["gradient_penalty"].item() == pytest.approx(
        10 * (math.sqrt(5.25) - 1) ** 2, rel=1e-5
    )


def test_lazy_penalties_keep_their_mean():
    every, batch = duel(objective="hinge", r1=0.4)
    lazy, _ = duel(objective="hinge", r1=0.4, penalty_interval=4)
    phases = [lazy.critic_phase(batch, lazy.penalised(k), torch.Generator()) for k in range(8)]
    assert ["r1" in p.parts for p in phases] == [True, False, False, False] * 2
    mean = torch.stack([p.loss for p in phases]).mean()
    assert mean.item() == pytest.approx(
        every.critic_phase(batch, True, torch.Generator()).loss.item()
    )


@pytest.mark.parametrize("objective", ["minimax", "wasserstein", "relativistic"])
def test_a_phase_moves_its_own_network_alone(objective):
    game, batch = duel(objective=objective, gradient_penalty=1.0)
    game.critic_phase(batch, True, torch.Generator()).loss.backward()
    assert game.critic.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in game.generator.parameters())
    game.critic.weight.grad = None
    game.generator_phase(batch).loss.backward()
    assert game.critic.weight.grad is None
    assert all(p.grad.abs().sum() > 0 for p in game.generator.parameters())
    assert game.critic.weight.requires_grad


def test_energy_loss_is_in_gev():
    values = torch.tensor([[1000.0, 500.0], [0.0, 4000.0]])  # MeV
    energy = torch.tensor([[2.0], [3.0]])  # GeV
    assert energy_loss(SPEC, values, energy).item() == pytest.approx((0.5 + 1.0) / 2)


def test_energy_weight_enters_the_generator_loss():
    plain, batch = duel(objective="hinge")
    game, _ = duel(objective="hinge", energy_weight=0.05)
    phase = game.generator_phase(batch)
    added = phase.loss - plain.generator_phase(batch).loss
    assert added.item() == pytest.approx(0.05 * phase.parts["energy_loss"].item(), rel=1e-4)
