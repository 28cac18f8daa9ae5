"""What every registered architecture keeps.

Stored values are in ``reference.json``.  After a change that is meant to change what a network
computes, write them anew and say so in the commit:

    python tests/networks/test_contract.py
"""

import copy
import functools
import io
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from emulators.data.spec import (
    Condition,
    Grid,
    ReadoutLayer,
    Samples,
    SampleSpec,
    ShowerGeometry,
)
from emulators.data.transforms import Transform
from emulators.networks import ARCHITECTURES, Architecture, Critic, Generator, build_networks
from emulators.training.graphs import Recorded
from emulators.training.objectives import OBJECTIVES
from emulators.training.penalties import r1, watch

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


def fields(*cells: int, channels: int = 1) -> SampleSpec:
    """Return the spec of periodic counts at two cosmological parameters."""
    axes = len(cells)
    names = tuple(f"counts_{i}" for i in range(channels))
    grid = Grid(names, tuple("xyz"[:axes]), (100.0,) * axes, "Mpc/h", (True,) * axes)
    conditions = (Condition("omega_m", "", 0.1, 0.5), Condition("sigma_8", "", 0.6, 1.0))
    return SampleSpec("field", "native", (channels, *cells), "count", conditions, grid=grid)


# Small enough to be fast; calogan's sizes are fixed but for its latent.  A case is an architecture,
# or an architecture and what is special about the case, after a slash.
CASES = {
    "calogan": ({"latent": 16}, showers((3, 96), (12, 12), (12, 6))),
    "cosmogan": ({"width": 2}, fields(32, 32)),
    "cosmogan/3-D": ({"width": 2, "variant": "100Mpc"}, fields(16, 16, 16)),
    "cosmogan-conditional": ({"latent": 8, "width": 2}, fields(32, 16)),
    "cosmogan-conditional/3-D": ({"latent": 8, "width": 2}, fields(16, 16, 16)),
    "cosmogan-multiscale": (
        {
            "patch": 4,
            "factors": [2, 2],
            "widths": [4, 8],
            "critic_widths": [4, 8],
            "summary_width": 8,
        },
        fields(16, 32, channels=2),
    ),
    "cosmogan-multiscale/3-D": (
        {
            "patch": 4,
            "factors": [2],
            "widths": [4, 8],
            "critic_widths": [4, 8],
            "summary_width": 8,
        },
        fields(16, 16, 16),
    ),
    "dcgan": (
        {"latent": 8, "widths": [8, 4], "critic_widths": [4, 8]},
        fields(16, 12, channels=2),
    ),
    "dcgan/1-D": (
        {"latent": 8, "widths": [8], "batch_norm": False, "critic_widths": [4]},
        fields(16),
    ),
    "dcgan/3-D": (
        {
            "latent": 8,
            "widths": [8, 4],
            "strides": [1, 2],
            "kernel": 5,
            "dense_norm": "cell",
            "critic_widths": [4, 8],
            "critic_batch_norm": True,
        },
        fields(8, 8, 8),
    ),
    "field": ({"widths": [4, 8], "critic_widths": [4, 8], "fine": 4}, fields(16, 24)),
    "field/particles": (
        {"widths": [4], "critic_widths": [4], "fine": 4, "particles": 4, "whole": True},
        fields(16, 16),
    ),
    "field/3-D": ({"widths": [4], "critic_widths": [4], "fine": 0}, fields(8, 8, 8, channels=2)),
    "heavy-tail": ({"latent": 8, "width": 2}, fields(32, 32)),
    "heavy-tail/3-D": ({"latent": 8, "width": 2}, fields(16, 16, 32)),
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


def entry(name: str) -> Architecture:
    return ARCHITECTURES[name.partition("/")[0]]


def shower_law(spec: SampleSpec, n: int, numbers: torch.Generator) -> tuple[Tensor, Tensor]:
    """Layers share half to all of the incident energy; about half of the cells are exactly zero."""
    low, high = spec.conditions[0].minimum, spec.conditions[0].maximum
    energy = low * (high / low) ** torch.rand(n, 1, generator=numbers)  # GeV
    cells = torch.rand(n, *spec.shape, generator=numbers) - 0.5
    cells = cells.relu() ** 2
    total = energy * 1000 * (0.5 + 0.5 * torch.rand(n, 1, generator=numbers))  # MeV
    return cells / cells.sum(1, keepdim=True) * total, energy


def field_law(spec: SampleSpec, n: int, numbers: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lognormal counts: the mean goes with the first condition, the width with the second."""
    low, high = (
        torch.tensor([getattr(c, k) for c in spec.conditions]) for k in ("minimum", "maximum")
    )
    conditions = low + (high - low) * torch.rand(n, len(low), generator=numbers)
    mean, width = (c.reshape(n, *[1] * len(spec.shape)) for c in conditions.unbind(1))
    normal = torch.randn(n, *spec.shape, generator=numbers)
    return (10 * mean * torch.exp(width * normal - width**2 / 2)).round(), conditions


def law(name: str, n: int) -> tuple[Tensor, Tensor]:
    """Return samples and conditions in physical units, from a law in closed form."""
    _, spec = CASES[name]
    numbers = torch.Generator().manual_seed(SEED)
    return (shower_law if spec.kind == "shower" else field_law)(spec, n, numbers)


@functools.cache
def transform(name: str) -> Transform:
    """Return the transform that the architecture asks for, fitted."""
    _, spec = CASES[name]
    fitted = Transform(spec, entry(name).transform, entry(name).condition)
    values, conditions = law(name, 512)
    columns = {c.name: conditions[:, i].numpy() for i, c in enumerate(spec.conditions)}
    fitted.fit(Samples(values.numpy(), columns))
    return fitted


@functools.cache
def batch(name: str, n: int = N) -> tuple[Tensor, Tensor]:
    """Return samples and conditions as the networks see them."""
    values, conditions = law(name, n)
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(SEED + 2))
    values = values + 2 * transform(name).jitter * (noise - 0.5)
    return transform(name)(values, conditions), transform(name).scale(conditions)


def networks(name: str, seed: int = SEED) -> tuple[Generator, Critic]:
    """Return a pair of one's own that has seen training samples."""
    return copy.deepcopy(begun(name, seed))


@functools.cache
def begun(name: str, seed: int) -> tuple[Generator, Critic]:
    return build(name, seed)


def build(name: str, seed: int) -> tuple[Generator, Critic]:
    """Build a pair and show it training samples, as training does."""
    options, spec = CASES[name]
    pair = build_networks(entry(name).name, options, spec, seed)
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


every = pytest.mark.parametrize("name", sorted(CASES))


def test_every_architecture_has_a_case():
    assert {entry(name).name for name in CASES} == set(ARCHITECTURES)


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
    others = build_networks(
        entry(name).name, options, spec, seed=SEED + 5
    )  # other weights, not initialised
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
    first, again, other = networks(name), build(name, SEED), build(name, SEED + 1)
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every
def test_cuda_computes_what_the_cpu_does(name):
    pair, (x, c) = networks(name), batch(name, 512)
    generator, critic = pair
    z = latent(generator)
    for network in pair:
        network.eval()
    with torch.no_grad():
        expected = generator(z, c[:N]), critic(x[:N], c[:N])
        for network in pair:
            network.cuda()
        x, c, z = x.cuda(), c.cuda(), z.cuda()
        found = generator(z, c[:N]), critic(x[:N], c[:N])
    for ours, theirs in zip(found, expected):
        near = torch.isclose(ours.cpu(), theirs, rtol=0, atol=0.01 * theirs.abs().max().item())
        assert near.float().mean() > 0.98  # a particle at the border of a cell may fall to either

    # what a training does: a penalty's second derivative, recorded as a graph; last corrections
    def update(x: Tensor, c: Tensor, z: Tensor) -> dict[str, Tensor]:
        for network in pair:
            network.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            views = watch(critic.views(x, c))
            scores = critic.score(views, c).float()
            fake = critic(generator(z, c), c).float()
        loss = r1(scores, views, 1.0) + fake.square().mean()
        loss.backward()
        return {"loss": loss.detach()}

    for network in pair:
        network.train()
    recorded = Recorded(update, torch.cuda.Stream())
    losses = [recorded(x[:N], c[:N], z)["loss"].item() for _ in range(6)]
    assert recorded.graph is not None
    assert losses == pytest.approx([losses[0]] * 6, rel=0.05)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in generator.parameters())
    assert recorded(x[N : 2 * N], c[N : 2 * N], z)["loss"].item() != losses[0]
    generator.eval().calibrate(x, c)
    assert generator(z, c[:N]).isfinite().all()


def numbers(name: str) -> dict[str, list[float]]:
    """Return a few numbers that change when a network computes something else."""
    generator, critic = networks(name)
    x, c = batch(name)
    values = samples(generator, name).flatten(1)
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
    stored = {name: numbers(name) for name in sorted(CASES)}
    REFERENCE.write_text(json.dumps(stored, indent=1) + "\n")
