"""What every registered architecture keeps.

Stored values are in ``reference.json``.  After a change that is meant to change what a network
computes, write them anew and say so in the commit:

    python tests/networks/test_contract.py
"""

import functools
import io
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from emulators.data.spec import Condition, ReadoutLayer, SampleSpec, ShowerGeometry
from emulators.data.transforms import Transform
from emulators.networks import ARCHITECTURES, Critic, Generator, build_networks
from emulators.training.objectives import OBJECTIVES

REFERENCE = Path(__file__).with_name("reference.json")
N = 8
SEED = 11


def showers(*shapes: tuple[int, int]) -> SampleSpec:
    """Return the spec of a calorimeter of these layers, 480 mm wide."""

    def edges(n: int) -> tuple[float, ...]:
        return tuple(480 / n * i - 240 for i in range(n + 1))

    layers = tuple(
        ReadoutLayer(f"layer_{i}", ("x", "y"), (edges(a), edges(b)))
        for i, (a, b) in enumerate(shapes)
    )
    energy = Condition("incident_energy", "GeV", 1.0, 100.0, "log")
    cells = (sum(a * b for a, b in shapes),)
    geometry = ShowerGeometry("test", layers)
    return SampleSpec("shower", "calogan", cells, "MeV", (energy,), geometry)


# Small enough to be fast; calogan's sizes are fixed but for its latent.
CASES = {
    "calogan": ({"latent": 16}, showers((3, 96), (12, 12), (12, 6))),
    "mlp": ({"latent": 8, "widths": [16, 16], "critic_widths": [16]}, showers((2, 6), (4, 4))),
    "shower": (
        {
            "latent": 8,
            "width": 16,
            "depth": 2,
            "layer_latent": 4,
            "layer_width": 8,
            "critic_width": 16,
            "critic_depth": 2,
        },
        showers((2, 6), (4, 4), (4, 2)),
    ),
}
# Parameters that no loss can reach, by the end of their names.
UNREACHED = {
    # The bias of minibatch discrimination cancels in the distances; published and counted with it.
    "calogan": ("closeness.bias",),
}


@functools.cache
def batch(name: str, n: int = N) -> tuple[Tensor, Tensor]:
    """Return showers and conditions as the networks see them, from a law in closed form.

    Layers share half to all of the incident energy; about half of the cells are exactly zero.
    """
    _, spec = CASES[name]
    numbers = torch.Generator().manual_seed(SEED)
    low, high = spec.conditions[0].minimum, spec.conditions[0].maximum
    energy = low * (high / low) ** torch.rand(n, 1, generator=numbers)  # GeV
    cells = torch.rand(n, *spec.shape, generator=numbers) - 0.5
    cells = cells.relu() ** 2
    total = energy * 1000 * (0.5 + 0.5 * torch.rand(n, 1, generator=numbers))  # MeV
    values = cells / cells.sum(1, keepdim=True) * total
    entry = ARCHITECTURES[name]
    transform = Transform(spec, entry.transform, entry.condition)
    return transform(values, energy), transform.scale(energy)


def networks(name: str, seed: int = SEED) -> tuple[Generator, Critic]:
    """Build a pair and show it training samples, as training does."""
    options, spec = CASES[name]
    pair = build_networks(name, options, spec, seed)
    x, c = batch(name, 512)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # `initialise` may draw random numbers
        for network in pair:
            network.initialise(x, c)
    return pair


def latent(generator: Generator, n: int = N) -> Tensor:
    return torch.randn(n, generator.latent, generator=torch.Generator().manual_seed(SEED + 1))


@torch.no_grad()
def samples(generator: Generator, name: str, n: int = N) -> Tensor:
    """Return what the generator gives in evaluation mode, as in generation."""
    return generator.eval()(latent(generator, n), batch(name, n)[1])


every = pytest.mark.parametrize("name", sorted(ARCHITECTURES))


@every
def test_shapes_and_types(name):
    generator, critic = networks(name)
    x, c = batch(name)
    generated = generator(latent(generator), c)
    assert generated.shape == x.shape
    assert generated.dtype == torch.float32
    views = critic.views(x, c)
    assert all(len(v) == N and v.dtype == torch.float32 for v in views)
    scores = critic(x, c)
    assert scores.ndim == 2
    assert len(scores) == N
    assert scores.dtype == torch.float32
    for values in (generated, scores, *views):
        assert values.isfinite().all()


def without_gradient(network: nn.Module, loss: Tensor, excluded: tuple[str, ...] = ()) -> list[str]:
    network.zero_grad()
    loss.backward()
    named = [(n, p) for n, p in network.named_parameters() if not n.endswith(excluded)]
    return [n for n, p in named if p.grad is None or not (p.grad != 0).any()]


@every
def test_every_parameter_gets_a_gradient(name):
    # Not the relativistic objective: no bias of a last layer can matter to a difference of scores.
    generator, critic = networks(name)
    x, c = batch(name)
    fake = generator(latent(generator), c)
    losses = OBJECTIVES["non_saturating"]
    loss = losses.critic(critic(x, c), critic(fake.detach(), c))
    assert without_gradient(critic, loss, UNREACHED.get(name, ())) == []
    assert without_gradient(generator, losses.generator(None, critic(fake, c))) == []


@pytest.mark.parametrize("name", sorted(UNREACHED))
def test_unreached_parameters_are_what_they_are_said_to_be(name):
    _, critic = networks(name)
    x, c = batch(name)
    critic(x, c).square().sum().backward()
    gradients = {n: p.grad.abs().max().item() for n, p in critic.named_parameters()}
    unreached = [n for n in gradients if n.endswith(UNREACHED[name])]
    assert unreached
    for n in unreached:  # rounding only, beside the gradient of the weights of the same layer
        assert gradients[n] < 1e-4 * gradients[n.replace("bias", "weight")]


@every
def test_a_saved_network_gives_the_same_samples(name):
    generator, critic = networks(name)
    x, c = batch(name)
    file = io.BytesIO()
    torch.save([generator.state_dict(), critic.state_dict()], file)
    file.seek(0)
    options, spec = CASES[name]
    others = build_networks(name, options, spec, seed=SEED + 5)  # other weights, not initialised
    for network, state in zip(others, torch.load(file, weights_only=True)):
        network.load_state_dict(state)
    assert torch.equal(samples(generator, name), samples(others[0], name))
    assert torch.equal(critic.eval()(x, c), others[1].eval()(x, c))


@every
def test_a_sample_does_not_depend_on_its_batch(name):
    generator, _ = networks(name)
    together = samples(generator, name)
    z, c = latent(generator), batch(name)[1]
    with torch.no_grad():
        apart = torch.cat([generator(z[i : i + 1], c[i : i + 1]) for i in range(N)])
        reverse = generator(z.flip(0), c.flip(0)).flip(0)
    scale = together.abs().max().item()
    torch.testing.assert_close(apart, together, rtol=1e-5, atol=1e-6 * scale)
    torch.testing.assert_close(reverse, together, rtol=1e-5, atol=1e-6 * scale)


@every
def test_seeds_reproduce_and_differ(name):
    state = torch.get_rng_state()
    first, again, other = networks(name), networks(name), networks(name, SEED + 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(samples(first[0], name), samples(again[0], name))
    assert not torch.equal(samples(first[0], name), samples(other[0], name))
    x, c = batch(name)
    assert torch.equal(first[1](x, c), again[1](x, c))
    assert not torch.equal(first[1](x, c), other[1](x, c))


@every
def test_the_condition_matters_to_both(name):
    generator, critic = networks(name)
    x, c = batch(name)
    z = latent(generator)
    generator.eval()
    assert not torch.equal(generator(z, c), generator(z, c.flip(0)))
    assert not torch.equal(critic(x, c), critic(x, c.flip(0)))


def numbers(name: str) -> dict[str, list[float]]:
    """Return a few numbers that change when a network computes something else."""
    generator, critic = networks(name)
    x, c = batch(name)
    values = samples(generator, name)
    columns = [0, values.shape[1] // 2, -1]
    return {
        "samples": values[:3, columns].flatten().tolist(),
        "sums": values.sum(1).tolist(),
        "scores": critic(x, c).flatten()[:N].tolist(),
    }


@every
def test_non_regression(name):
    stored = json.loads(REFERENCE.read_text()).get(name)
    assert stored, f"no stored values of {name}: python {Path(__file__).name} writes them"
    for key, found in numbers(name).items():
        largest = max(map(abs, stored[key]))
        assert largest > 0
        # Loose: a fit in `initialise` turns the rounding of other thread counts into a cell of its
        # own; a change of what is computed is far larger.
        expected = pytest.approx(stored[key], rel=5e-3, abs=5e-3 * largest)
        assert found == expected, f"{key} of {name}; meant? run {Path(__file__).name}"
    assert all(map(math.isfinite, stored["sums"]))


if __name__ == "__main__":
    stored = {name: numbers(name) for name in sorted(ARCHITECTURES)}
    REFERENCE.write_text(json.dumps(stored, indent=1) + "\n")
