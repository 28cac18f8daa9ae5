import math

import numpy as np
import pytest
import torch
from torch import nn

from emulators.data.geometries import calochallenge, calogan
from emulators.data.spec import Condition, ReadoutLayer, SampleSpec, ShowerGeometry
from emulators.data.transforms import Transform
from emulators.errors import InputError
from emulators.networks.base import Critic, Generator
from emulators.training.games import Batch, Duel, energy_loss, mirrored, mirrors
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
    phase = game.critic_phase(batch, 0, torch.Generator())
    # |grad score|^2 = |w|^2 = 5.25 everywhere
    assert phase.parts["r1"].item() == pytest.approx(0.2 * 5.25, rel=1e-6)
    assert phase.parts["r2"].item() == pytest.approx(0.1 * 5.25, rel=1e-6)
    without = plain.critic_phase(batch, 0, torch.Generator()).loss
    assert (phase.loss - without).item() == pytest.approx(0.3 * 5.25, rel=1e-5)


def test_gradient_penalty_of_a_linear_critic():
    game, batch = duel(objective="wasserstein", gradient_penalty=10.0)
    phase = game.critic_phase(batch, 0, torch.Generator())
    assert phase.parts["gradient_penalty"].item() == pytest.approx(
        10 * (math.sqrt(5.25) - 1) ** 2, rel=1e-5
    )


def test_lazy_penalties_keep_their_mean():
    every, batch = duel(objective="hinge", r1=0.4)
    lazy, _ = duel(objective="hinge", r1=0.4, penalty_interval=4)
    phases = [lazy.critic_phase(batch, k, torch.Generator()) for k in range(8)]
    assert ["r1" in p.parts for p in phases] == [True, False, False, False] * 2
    mean = torch.stack([p.loss for p in phases]).mean()
    assert mean.item() == pytest.approx(every.critic_phase(batch, 0, torch.Generator()).loss.item())


@pytest.mark.parametrize("objective", ["minimax", "wasserstein", "relativistic"])
def test_a_phase_moves_its_own_network_alone(objective):
    game, batch = duel(objective=objective, gradient_penalty=1.0)
    game.critic_phase(batch, 0, torch.Generator()).loss.backward()
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


def test_mirrors_of_a_grid_reverse_its_axes():
    geometry = calogan()
    table = mirrors(geometry, ("x", "y"))
    values = torch.arange(1.0, 505.0).expand(4, -1)
    flipped = mirrored(values, table, torch.arange(4))
    for index, axes in enumerate([(), (0,), (1,), (0, 1)]):
        for k in range(3):
            expected = np.flip(geometry.layer(values.numpy(), k)[0], axes)
            assert np.array_equal(geometry.layer(flipped.numpy(), k)[index], expected)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_mirrors_of_rings_move_the_centres(axis):
    geometry = calochallenge("1-pions")
    table = mirrors(geometry, (axis,))
    x, y = (np.concatenate([layer.centres[k].ravel() for layer in geometry.layers]) for k in (0, 1))
    sign = np.array([-1, 1] if axis == "x" else [1, -1])
    rings = np.concatenate([np.full(la.n_cells, la.shape[0] > 1) for la in geometry.layers])
    assert rings.any()
    assert np.allclose(x[table[1]][rings], sign[0] * x[rings], atol=1e-4)
    assert np.allclose(y[table[1]][rings], sign[1] * y[rings], atol=1e-4)
    assert torch.equal(table[1][table[1]], table[0])


def test_mirror_of_an_asymmetric_layer_is_refused():
    layer = ReadoutLayer("layer_0", ("x", "y"), ((0, 1, 3), (0, 1, 2)))
    geometry = ShowerGeometry("lopsided", (layer,))
    assert len(mirrors(geometry, ("y",))) == 2
    with pytest.raises(InputError, match="layer_0 is not symmetric along x"):
        mirrors(geometry, ("x",))
    with pytest.raises(InputError, match="geometry"):
        mirrors(None, ("x",))
