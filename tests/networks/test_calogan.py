"""CaloGAN against what is published, and its parts against plain formulas."""

import dataclasses

import pytest
import torch
from torch import nn

from emulators.data.spec import Condition, ReadoutLayer, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.networks import build_networks
from emulators.networks.calogan import SHAPES, SLICES


def edges(n: int) -> tuple[float, ...]:
    return tuple(480 / n * i - 240 for i in range(n + 1))


def layer(index: int, rows: int, columns: int) -> ReadoutLayer:
    return ReadoutLayer(f"layer_{index}", ("x", "y"), (edges(rows), edges(columns)))


GEOMETRY = ShowerGeometry("calogan", tuple(layer(i, *s) for i, s in enumerate(SHAPES)))
ENERGY = Condition("incident_energy", "GeV", 1.0, 100.0)
SPEC = SampleSpec("shower", "calogan", (504,), "MeV", (ENERGY,), GEOMETRY)


def keras_count(network: nn.Module) -> int:
    """Parameters and the running statistics of batch norm (torch also counts batches)."""
    statistics = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    extra = sum(m.running_mean.numel() + m.running_var.numel() for m in statistics)
    return sum(p.numel() for p in network.parameters()) + extra


@pytest.fixture(scope="module")
def small():
    return build_networks("calogan", {"latent": 16}, SPEC, seed=3)


def test_parameter_counts_are_the_published_ones():
    generator, critic = build_networks("calogan", {}, SPEC)
    assert keras_count(generator) == 29_726_376
    assert sum(p.numel() for p in generator.parameters()) == 29_726_280
    assert keras_count(critic) == 2_744_524
    assert sum(p.numel() for p in critic.parameters()) == 2_744_332


def test_slices_are_those_of_the_geometry():
    assert GEOMETRY.slices == SLICES


def test_condition_scales_the_latent(small):
    generator, _ = small
    generator.eval()
    torch.manual_seed(0)
    z = torch.randn(5, generator.latent)
    with torch.no_grad():
        half = generator(z, torch.full((5, 1), 0.5))
        torch.testing.assert_close(half, generator(z / 2, torch.ones(5, 1)))


def test_showers_are_sparse_and_not_negative(small):
    generator, _ = small
    generator.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        x = generator(torch.randn(50, generator.latent), torch.rand(50, 1))
    assert x.shape == (50, 504)
    assert x.min() == 0
    assert 0.2 < (x == 0).float().mean() < 0.8


def test_inpainting_starts_as_the_layer_itself_and_is_a_convex_mix(small):
    generator, _ = small
    torch.manual_seed(0)
    primary, carry = torch.randn(4, 1, 12, 12), torch.randn(4, 1, 12, 12)
    mix = generator.inpaint[0]
    with torch.no_grad():
        torch.testing.assert_close(mix(primary, carry), primary, atol=5e-3, rtol=0)
        bias = mix.local.bias.clone()
        mix.local.bias.zero_()
        mixed = mix(primary, carry)
        mix.local.bias.copy_(bias)
    low, high = torch.minimum(primary, carry), torch.maximum(primary, carry)
    assert ((mixed >= low - 1e-6) & (mixed <= high + 1e-6)).all()
    assert (mixed - primary).abs().max() > 0.1


def test_attention_feeds_layers_from_the_one_before():
    def depends(attention: bool) -> list[bool]:
        options = {"latent": 16, "attention": attention}
        generator, _ = build_networks("calogan", options, SPEC)
        x = generator(torch.randn(4, 16), torch.ones(4, 1))
        sums = [x[:, s].sum() for s in SLICES]
        first = generator.streams[0].last.weight
        gradients = [
            torch.autograd.grad(s, first, retain_graph=True, allow_unused=True)[0] for s in sums
        ]
        return [g is not None and bool((g != 0).any()) for g in gradients]

    torch.manual_seed(0)
    assert depends(attention=True) == [True, True, True]
    assert depends(attention=False) == [True, False, False]


def test_critic_sees_the_energies_it_is_told(small):
    _, critic = small
    seen = []
    hook = critic.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.zeros(3, 504)
    x[:, 0], x[:, 300], x[:, 503] = 20.0, 30.0, 4.0  # GeV, one cell a layer
    critic(x, torch.tensor([[0.54], [0.58], [0.60]]))
    hook.remove()
    energies = seen[0][:, -16:]
    torch.testing.assert_close(energies[:, :3], torch.tensor([[2.0, 3.0, 0.4]]).expand(3, 3))
    torch.testing.assert_close(energies[:, 3], torch.full((3,), 0.54))
    well = torch.tensor([0.0, 4.0, 6.0])
    torch.testing.assert_close(energies[:, 4], well, atol=1e-4, rtol=0)
    torch.testing.assert_close(energies[:, 5], torch.tensor([0.0, 0.0, 10.0]))
    torch.testing.assert_close(energies[:, 6:], torch.full((3, 10), 3.0).tanh())  # three copies
    sparsity = seen[0][:, 1000 + 10]
    torch.testing.assert_close(sparsity, torch.full((3,), 1 / 288))


def test_bfloat16_autocast_keeps_the_sums(small):
    generator, critic = small
    torch.manual_seed(0)
    z, c = torch.randn(8, generator.latent), torch.rand(8, 1)
    x = generator(z, c)
    with torch.autocast("cpu", torch.bfloat16):
        y, scores = generator(z, c), critic(x, c)
    assert y.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(y.sum(1), x.sum(1), rtol=0.02, atol=0.01)
    torch.testing.assert_close(scores, critic(x, c), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"geometry": ShowerGeometry("other", GEOMETRY.layers[:2])}, "not 3x96 \\+ 12x12;"),
        ({"geometry": None}, "not no layers"),
        ({"conditions": ()}, "incident_energy"),
    ],
)
def test_other_calorimeters_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build_networks("calogan", {"latent": 4}, dataclasses.replace(SPEC, **changes))


def test_options_are_checked():
    with pytest.raises(InputError, match="latent = 0"):
        build_networks("calogan", {"latent": 0}, SPEC)
