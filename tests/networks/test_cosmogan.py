import math

import numpy as np
import pytest
import torch
from scipy import stats

from emulators.data.spec import Condition, Grid, SampleSpec
from emulators.errors import InputError
from emulators.networks import ARCHITECTURES, build_networks
from emulators.networks.cosmogan import latent_norm, student_t

TWO = (Condition("omega_m", "", 0.1, 0.5), Condition("sigma_8", "", 0.4, 1.4))
NAMES = ["cosmogan", "cosmogan-conditional", "heavy-tail"]


def spec(*cells, conditions=()):
    axes = len(cells)
    grid = Grid(("counts",), tuple("xyz"[:axes]), (1.0,) * axes, "Mpc/h", (True,) * axes)
    return SampleSpec("field", "native", (1, *cells), "count", conditions, grid=grid)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def weights(network):
    """Return the shapes of all weights of layers, in order."""
    return [tuple(p.shape) for n, p in network.named_parameters() if p.ndim > 1]


@pytest.mark.parametrize(("variant", "latent"), [("500Mpc", 100), ("100Mpc", 200)])
def test_cosmogan_is_the_published_table(variant, latent):
    with torch.device("meta"):  # shapes alone: 14 million weights take a second to draw
        generator, critic = build_networks("cosmogan", {"variant": variant}, spec(256, 256))
        z, c = torch.empty(2, latent), torch.empty(2, 0)
        assert generator(z, c).shape == (2, 1, 256, 256)
        assert critic(generator(z, c), c).shape == (2, 1)
    assert generator.latent == latent
    up = [(512, 256), (256, 128), (128, 64), (64, 1)]
    assert weights(generator) == [(16 * 16 * 512, latent), *((a, b, 5, 5) for a, b in up)]
    assert weights(critic) == [*((a, b, 5, 5) for a, b in up[::-1]), (1, 16 * 16 * 512)]
    kernels, norms = 25 * sum(a * b for a, b in up), 2 * (512 + 256 + 128 + 64)
    assert parameters(generator) == latent * 16 * 16 * 512 + kernels + norms
    assert parameters(critic) == kernels + norms + 16 * 16 * 512


def test_the_conditional_network_is_the_published_one():
    with torch.device("meta"):
        options: dict[str, int] = {}
        networks = build_networks("cosmogan-conditional", options, spec(128, 128, conditions=TWO))
        generator, critic = networks
        x = generator(torch.empty(2, 128), torch.empty(2, 2))
        assert x.shape == (2, 1, 128, 128)
        assert critic(x, torch.empty(2, 2)).shape == (2, 1)
    assert generator.latent == 2 * 64
    up = [(512, 256, 3), (256, 128, 5), (128, 64, 5), (64, 32, 5), (32, 1, 7)]
    assert weights(generator) == [
        (256, 128),
        (512, 256),
        (8 * 8 * 512, 512),
        *((a, b, k, k) for a, b, k in up),
    ]
    down = [(1, 32, 7), (32, 64, 5), (64, 128, 5), (128, 256, 5), (256, 512, 3)]
    assert weights(critic) == [
        *((b, a, k, k) for a, b, k in down),
        (512, 8 * 8 * 512 + 2),
        (256, 512),
        (128, 256),
        (1, 128),
    ]
    biases = [256, 512, 8 * 8 * 512, 256, 128, 64, 32, 1], [32, 64, 128, 256, 512, 512, 256, 128, 1]
    for network, bias in zip((generator, critic), biases, strict=True):
        assert parameters(network) == sum(map(math.prod, weights(network))) + sum(bias)


def test_the_heavy_tailed_network_is_the_published_one():
    with torch.device("meta"):
        generator, critic = build_networks("heavy-tail", {}, spec(64, 64, 64))
        z, c = torch.empty(2, generator.latent), torch.empty(2, 0)
        assert critic(generator(z, c), c).shape == (2, 1)
    up = [(256, 128), (128, 64), (64, 32), (32, 1)]
    # the published first layer, a transposed convolution of a single cell, is this linear one
    kernels = 64 * sum(a * b for a, b in up)
    assert parameters(generator) == 200 * 256 * 64 + kernels + 2 * (256 + 128 + 64 + 32)
    assert parameters(critic) == kernels + 2 * (64 + 128 + 256) + 256 * 64
    assert generator.latent == 200 * 4


@pytest.mark.parametrize("name", NAMES)
def test_conditions_and_sizes_are_free(name):
    for cells, conditions in (((16, 48), ()), ((32, 16), TWO), ((16, 16, 16), TWO[:1])):
        generator, critic = build_networks(name, {"width": 2}, spec(*cells, conditions=conditions))
        z, c = torch.randn(3, generator.latent), torch.rand(3, len(conditions))
        x = generator(z, c)
        assert x.shape == (3, 1, *cells)
        assert critic(x, c).shape == (3, 1)


@pytest.mark.parametrize("name", NAMES)
def test_cells_that_cannot_be_halved_four_times_are_refused(name):
    with pytest.raises(InputError, match=f"'{name}'.*24 x 16 cells are not multiples of 16"):
        build_networks(name, {}, spec(24, 16))
    with pytest.raises(InputError, match="width = 0 is not positive"):
        build_networks(name, {"width": 0}, spec(16, 16))


def test_published_transforms_are_the_defaults():
    assert ARCHITECTURES["cosmogan"].transform == ({"name": "rational", "a": 4.0},)
    assert ARCHITECTURES["heavy-tail"].transform == ({"name": "piecewise"},)


def test_norms_of_the_latent_are_the_conditions():
    z = torch.randn(1000, 2 * 64, generator=torch.Generator().manual_seed(0))
    c = torch.tensor([-1.0, 1.0]).expand(1000, 2)
    code = latent_norm(z, c).reshape(1000, 2, 64)
    norms = code.norm(dim=2)
    torch.testing.assert_close(norms[:, 0], torch.full((1000,), 0.8))  # 0.1 sqrt(64)
    torch.testing.assert_close(norms[:, 1], torch.full((1000,), 8.0))  # sqrt(64)
    middle = latent_norm(z, torch.zeros(1000, 2)).reshape(1000, 2, 64).norm(dim=2)
    torch.testing.assert_close(middle, torch.full((1000, 2), 4.4))  # linear in between
    # directions are those of the normal numbers: uniform on the sphere
    cosine = torch.cosine_similarity(code, z.reshape(1000, 2, 64), dim=2)
    torch.testing.assert_close(cosine, torch.ones(1000, 2))


def test_a_latent_without_conditions_is_left_alone():
    z = torch.randn(4, 64)
    assert torch.equal(latent_norm(z, torch.zeros(4, 0)), z)


def test_extrapolation_and_a_latent_of_zeros_stay_finite():
    c = torch.tensor([[-3.0, 2.0]])
    assert latent_norm(torch.zeros(1, 8), c).isfinite().all()
    assert torch.equal(latent_norm(torch.ones(1, 8), c)[0, :4], torch.zeros(4))
    assert student_t(torch.zeros(2, 12), 3).isfinite().all()


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 30])
def test_quantiles_are_those_of_the_student_t_law(degrees):
    n = 100_000
    numbers = np.random.default_rng(degrees).standard_normal((n, 1 + degrees), np.float32)
    drawn = student_t(torch.from_numpy(numbers), degrees)
    assert drawn.shape == (n, 1)
    law = stats.t(degrees)
    p = np.array([0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999])
    errors = np.sqrt(p * (1 - p) / n) / law.pdf(law.ppf(p))
    pulls = (np.quantile(drawn.double().numpy(), p) - law.ppf(p)) / errors
    assert np.abs(pulls).max() < 4
    assert stats.kstest(drawn[:, 0].double().numpy(), law.cdf).pvalue > 1e-3


def test_student_numbers_are_independent_and_follow_their_own_normals():
    z = torch.randn(20_000, 3 * 4, generator=torch.Generator().manual_seed(5))
    t = student_t(z, 3)
    ranks = np.abs(stats.spearmanr(t.abs().numpy()).statistic[np.triu_indices(3, 1)])
    assert ranks.max() < 4 / math.sqrt(20_000)
    changed = z.clone()
    changed[:, 4:8] *= 2
    moved = (student_t(changed, 3) != t).any(0)
    assert moved.tolist() == [False, False, False] or moved.tolist() == [False, True, False]
    changed[:, 4] += 1
    assert (student_t(changed, 3) != t).any(0).tolist() == [False, True, False]
