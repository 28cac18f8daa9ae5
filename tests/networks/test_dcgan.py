import pytest
import torch

from emulators.data.spec import Condition, Grid, SampleSpec
from emulators.errors import InputError
from emulators.networks import build_networks

# The tutorial that everyone knows, digits of 28 x 28 cells, as a recipe.
DIGITS = {
    "latent": 100,
    "widths": [256, 128, 64],
    "strides": [1, 2, 2],
    "kernel": 5,
    "slope": 0.3,
    "dense_norm": "cell",
    "output": "tanh",
    "critic_widths": [64, 128],
    "critic_slope": 0.3,
}
SIGMA_8 = Condition("sigma_8", "", 0.6, 1.0)


def spec(*cells, channels=1, conditions=()):
    axes = len(cells)
    grid = Grid(("c",) * channels, tuple("xyz"[:axes]), (1.0,) * axes, "Mpc/h", (True,) * axes)
    return SampleSpec("field", "native", (channels, *cells), "count", conditions, grid=grid)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def shapes(modules, kinds, start):
    """Return what each module of these kinds gives, for an input of this shape."""
    found = []
    hooks = [
        m.register_forward_hook(lambda m, i, o: found.append(tuple(o.shape)))
        for m in modules.modules()
        if isinstance(m, kinds)
    ]
    with torch.no_grad():
        modules.eval()(*start)
    for hook in hooks:
        hook.remove()
    return found


def test_the_digits_tutorial_is_a_recipe_of_it():
    generator, critic = build_networks("dcgan", DIGITS, spec(28, 28))
    none = torch.zeros(2, 0)
    transposed = shapes(generator, torch.nn.ConvTranspose2d, (torch.randn(2, 100), none))
    assert transposed == [(2, 128, 7, 7), (2, 64, 14, 14), (2, 1, 28, 28)]
    convolved = shapes(critic, torch.nn.Conv2d, (torch.randn(2, 1, 28, 28), none))
    assert convolved == [(2, 64, 14, 14), (2, 128, 7, 7)]
    dense, norms = 100 * 7 * 7 * 256, 2 * (7 * 7 * 256 + 128 + 64)
    assert parameters(generator) == dense + norms + 25 * (256 * 128 + 128 * 64 + 64 * 1)
    statistics = sum(b.numel() for b in generator.buffers() if b.ndim)
    # as the tutorial's own summaries count them
    assert (parameters(generator) + statistics, parameters(critic)) == (2_330_944, 212_865)


def test_every_layer_refines_by_its_stride():
    for kernel, stride in [(2, 2), (3, 1), (3, 2), (4, 2), (5, 1), (5, 2), (4, 4), (7, 3)]:
        options = {"widths": [4], "strides": [stride], "kernel": kernel, "critic_widths": [4]}
        shape = spec(6 * stride, 2 * stride, channels=3)
        generator, critic = build_networks("dcgan", options, shape)
        x = generator(torch.randn(2, 100), torch.zeros(2, 0))
        assert x.shape == (2, *shape.shape)
        assert critic(x, torch.zeros(2, 0)).shape == (2, 1)


@pytest.mark.parametrize("cells", [(16,), (16, 8), (8, 8, 16)])
@pytest.mark.parametrize("conditions", [(), (SIGMA_8,)])
def test_one_to_three_dimensions_with_and_without_conditions(cells, conditions):
    options = {"latent": 5, "widths": [8, 4], "critic_widths": [4, 8], "kernel": 4}
    generator, critic = build_networks("dcgan", options, spec(*cells, conditions=conditions))
    c = torch.zeros(3, len(conditions))
    x = generator(torch.randn(3, 5), c)
    assert x.shape == (3, 1, *cells)
    assert critic(x, c).shape == (3, 1)
    taps, first = 4 ** len(cells), torch.tensor(cells).prod().item() // 4 ** len(cells)
    inputs = 5 + len(conditions)
    assert parameters(generator) == inputs * 8 * first + 2 * (8 + 4) + taps * (8 * 4 + 4)
    expected = taps * ((1 + len(conditions)) * 4 + 4 * 8) + 4 + 8 + 8 * first + 1
    assert parameters(critic) == expected


@pytest.mark.parametrize("output", ["tanh", "sigmoid", "relu", "softplus"])
def test_outputs_keep_to_their_range(output):
    options = {"widths": [8, 4], "critic_widths": [4], "output": output}
    generator, _ = build_networks("dcgan", options, spec(16, 16))
    generator.upward[-1].weight.data.mul_(100)
    x = generator(torch.randn(64, 100), torch.zeros(64, 0))
    low, high = {"tanh": (-1, 1), "sigmoid": (0, 1)}.get(output, (0, torch.inf))
    assert low <= x.min() < x.max() <= high


def test_untrained_networks_keep_the_scale_of_what_they_see():
    # He's rule: without batch norm a normal input stays of order one through every layer
    options = {"widths": [64, 32, 16], "batch_norm": False, "critic_widths": [16, 32, 64]}
    generator, critic = build_networks("dcgan", options, spec(16, 16, 16))
    with torch.no_grad():
        x = generator(torch.randn(64, 100), torch.zeros(64, 0))
        scores = critic(torch.randn(64, 1, 16, 16, 16), torch.zeros(64, 0))
    assert 0.3 < x.std() < 3
    assert 0.3 < scores.square().mean().sqrt() < 3


def test_batch_norm_of_the_critic_makes_scores_depend_on_the_batch():
    x, c = torch.randn(6, 1, 16, 16), torch.zeros(6, 0)
    for norm in (False, True):
        options = {"widths": [4], "critic_widths": [4, 8], "critic_batch_norm": norm}
        _, critic = build_networks("dcgan", options, spec(16, 16))
        alone = torch.allclose(critic(x, c)[:3], critic(x[:3], c[:3]), atol=1e-6)
        assert alone != norm


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 30, 30), {}, "30 x 30 cells are not multiples of 16"),
        ((1, 28, 28), {"widths": [4, 4]}, "multiples of 16"),  # the critic's four halvings
        ((504,), {}, "not .504,.*'mlp'"),
        ((1, 8, 8, 8, 8), {}, "one to three axes"),
        ((1, 16, 16), {"strides": [2, 2]}, "2 strides for 4 widths"),
        ((1, 16, 16), {"kernel": 1}, "kernel = 1 does not fit stride 2"),
        ((1, 16, 16), {"widths": [8], "strides": [1], "kernel": 4}, "odd for stride 1"),
        ((1, 16, 16), {"widths": []}, "at least one number"),
        ((1, 16, 16), {"latent": 0}, "must be positive"),
        ((1, 16, 16), {"output": "tan"}, "did you mean 'tanh'"),
        ((1, 16, 16), {"dropout": 0.3}, "unknown key 'network.dropout'"),
    ],
)
def test_what_does_not_fit_is_refused(shape, options, message):
    with pytest.raises(InputError, match=message):
        build_networks("dcgan", options, SampleSpec("image", "native", shape, "", ()))
