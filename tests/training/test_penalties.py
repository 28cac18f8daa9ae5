"""Penalties on critics whose gradients are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.errors import InputError
from emulators.networks import Critic, build_networks
from emulators.networks.layers import LocallyConnected2d, MinibatchDiscrimination
from emulators.training.penalties import (
    gradient_penalty,
    r1,
    r2,
    spectral_norm,
    watch,
    weight_clip,
)

NONE = torch.empty(4, 0)


class Formula(Critic):
    """A critic that is a formula of its views."""

    def __init__(self, formula) -> None:
        super().__init__()
        self.formula = formula

    def score(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        return self.formula(*views)


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gradient_penalty_of_a_linear_critic():
    w = torch.tensor([1.0, 2.0, 2.0])  # length 3
    critic = Formula(lambda x: (x @ w)[:, None])
    real, fake = torch.randn(4, 3), torch.randn(4, 3)
    found = gradient_penalty(critic, [real], [fake], NONE, numbers())
    assert found.item() == pytest.approx((3 - 1) ** 2, rel=1e-5)
    found = gradient_penalty(critic, [real], [fake], NONE, numbers(), target=3.0)
    assert found.item() == pytest.approx(0, abs=1e-9)


def test_gradient_penalty_takes_each_samples_norm_before_the_mean():
    # |grad| is 1 + s and 1 - s: their mean is on target, and so is the mean of squares almost
    slopes = torch.tensor([1.5, 0.5, 1.5, 0.5])[:, None]
    critic = Formula(lambda x: slopes * x)
    found = gradient_penalty(critic, [torch.ones(4, 1)], [torch.zeros(4, 1)], NONE, numbers())
    assert found.item() == pytest.approx(0.25)
    of_the_mean_norm = (slopes.mean() - 1) ** 2
    of_the_mean_square = (slopes.square().mean() - 1) ** 2  # what one published code does
    assert of_the_mean_norm.item() == 0
    assert of_the_mean_square.item() == pytest.approx(0.0625)


def test_gradient_penalty_norm_is_over_all_elements_of_all_views():
    critic = Formula(lambda a, b: (3 * a[:, 0, 1] + 4 * b[:, 2])[:, None])
    views = [torch.randn(4, 2, 2), torch.randn(4, 3)]
    others = [torch.randn(4, 2, 2), torch.randn(4, 3)]
    found = gradient_penalty(critic, views, others, NONE, numbers())
    assert found.item() == pytest.approx((5 - 1) ** 2, rel=1e-5)


def test_gradient_penalty_mixes_views_of_a_sample_with_one_uniform_weight():
    n = 4000
    seen: list[Tensor] = []

    def formula(a: Tensor, b: Tensor) -> Tensor:
        seen.extend((a.detach(), b.detach()))
        return a.sum((1, 2))[:, None] + b.sum(1, keepdim=True)

    ones, zeros = [torch.ones(n, 2, 3), torch.ones(n, 1)], [torch.zeros(n, 2, 3), torch.zeros(n, 1)]
    gradient_penalty(Formula(formula), ones, zeros, torch.empty(n, 0), numbers(1))
    weight = seen[1][:, 0]
    assert torch.equal(seen[0], weight[:, None, None].expand(n, 2, 3))
    assert weight.min() >= 0
    assert weight.max() < 1
    ordered = weight.sort().values
    expected = (torch.arange(n) + 0.5) / n
    assert (ordered - expected).abs().max() < 1.63 / n**0.5  # Kolmogorov, 1 % level
    gradient_penalty(Formula(formula), ones, zeros, torch.empty(n, 0), numbers(1))
    assert torch.equal(seen[1], seen[3])


def test_gradient_penalty_of_a_flat_critic_has_a_gradient():
    slope = torch.zeros((), requires_grad=True)
    critic = Formula(lambda x: slope * x[:, :1])
    found = gradient_penalty(critic, [torch.ones(4, 2)], [torch.zeros(4, 2)], NONE, numbers())
    found.backward()
    assert found.item() == pytest.approx(1, abs=1e-5)
    assert slope.grad.isfinite()


@pytest.mark.parametrize("penalty", [r1, r2])
def test_r1_and_r2_of_a_quadratic_critic(penalty):
    # score |x|^2 / 2 has gradient x: the penalty is gamma / 2 times the mean of |x|^2
    views = watch([torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.tensor([[2.0], [4.0]])])
    scores = sum(v.square().sum(1, keepdim=True) for v in views) / 2
    expected = 0.5 * 0.3 * ((1 + 4 + 4) + (9 + 16)) / 2
    assert penalty(scores, views, 0.3).item() == pytest.approx(expected)


def test_r1_takes_the_gradient_of_the_sum_of_heads():
    (view,) = watch([torch.randn(6, 2)])
    heads = torch.stack([2 * view[:, 0], -2 * view[:, 0], 3 * view[:, 1]], 1)
    assert r1(heads, [view], 2.0).item() == pytest.approx(9.0)


def test_watch_cuts_views_off():
    x = torch.ones(2, 2, requires_grad=True)
    (view,) = watch([2 * x])
    (view.sum()).backward()
    assert x.grad is None
    assert torch.equal(view.grad, torch.ones(2, 2))


def small_critic() -> Critic:
    spec = SampleSpec("field", "test", (6,), "", ())
    options = {"latent": 2, "widths": [4], "critic_widths": [32, 32], "activation": "swish"}
    return build_networks("mlp", options, spec, seed=2)[1]


@pytest.mark.parametrize("name", ["r1", "gradient_penalty"])
def test_penalties_reach_the_weights_under_autocast(name):
    """Second derivatives through bfloat16 layers, against those in float32."""
    critic = small_critic()
    c = torch.empty(64, 0)
    x, y = torch.randn(64, 6, generator=numbers()), torch.randn(64, 6, generator=numbers(1))
    gradients = []
    for enabled in (False, True):
        critic.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            views = watch(critic.views(x, c))
            if name == "r1":
                loss = r1(critic.score(views, c), views, 1.0)
            else:
                loss = gradient_penalty(critic, views, critic.views(y, c), c, numbers())
        assert loss.dtype == torch.float32
        loss.backward()
        weights = [p.grad.flatten() for n, p in critic.named_parameters() if "weight" in n]
        gradients.append(torch.cat(weights))
    assert gradients[0].norm() > 0
    assert F.cosine_similarity(*gradients, dim=0) > 0.99
    if name == "gradient_penalty":  # it does its own forward pass, in float32
        torch.testing.assert_close(*gradients)


def test_weight_clip_bounds_every_parameter_and_keeps_small_ones():
    critic = small_critic()
    before = [p.detach().clone() for p in critic.parameters()]
    assert max(p.abs().max() for p in before) > 0.05
    weight_clip(critic, 0.05)
    for old, new in zip(before, critic.parameters()):
        assert torch.equal(new, old.clamp(-0.05, 0.05))


def test_spectral_norm_bounds_every_layer():
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 20), nn.Linear(20, 1)
    )
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=3.0)
    assert not bounded(critic)
    spectral_norm(critic)
    for _ in range(50):  # the power iteration goes on while training
        critic(torch.randn(2, 1, 5, 5))
    assert bounded(critic.eval())
    x, y = torch.randn(200, 72), torch.randn(200, 72)
    change = (critic[3:](x) - critic[3:](y)).norm(dim=1)
    assert (change <= 1.001 * (x - y).norm(dim=1)).all()  # 1-Lipschitz


def bounded(critic: nn.Module) -> bool:
    layers = [m for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return all(torch.linalg.matrix_norm(m.weight.flatten(1), 2) <= 1.001 for m in layers)


def test_spectral_norm_is_reproducible_and_leaves_the_global_generator():
    critics = [small_critic(), small_critic()]
    state = torch.get_rng_state()
    for critic in critics:
        spectral_norm(critic, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    x, c = torch.randn(5, 6), torch.empty(5, 0)
    assert torch.equal(critics[0](x, c), critics[1](x, c))


@pytest.mark.parametrize(
    "layer", [LocallyConnected2d(1, 1, (3, 3), (2, 2)), MinibatchDiscrimination(3)]
)
def test_spectral_norm_refuses_what_it_cannot_bound(layer):
    critic = nn.Sequential(nn.Linear(2, 2), layer)
    with pytest.raises(InputError, match=type(layer).__name__):
        spectral_norm(critic)
    assert isinstance(critic[0].weight, nn.Parameter)  # untouched
