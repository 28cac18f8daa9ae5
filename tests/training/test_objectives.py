"""Each objective at its best critic, where its value is a known divergence."""

import math

import pytest
import torch
import torch.nn.functional as F

from emulators.training.objectives import OBJECTIVES

# Two laws on four values, as counts of 1000 samples: expectations are then plain means.
P = torch.tensor([400, 300, 200, 100])
Q = torch.tensor([100, 250, 250, 400])
p, q = P / 1000, Q / 1000


def draws(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores of all samples of both laws, ``(1000, 1)``, if value i scores this much."""
    return values.repeat_interleave(P)[:, None], values.repeat_interleave(Q)[:, None]


def jensen_shannon() -> float:
    m = (p + q) / 2
    return float((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2


def is_best(name: str, scores: torch.Tensor) -> bool:
    """Say whether no small change of any score makes the critic's loss smaller."""
    critic = OBJECTIVES[name].critic
    best = critic(*draws(scores))
    steps = [sign * 0.05 * row for row in torch.eye(4) for sign in (-1, 1)]
    return all(critic(*draws(scores + step)) >= best - 1e-7 for step in steps)


def test_cross_entropy_is_jensen_shannon_at_the_best_critic():
    scores = (p / q).log()  # D = p / (p + q)
    expected = 2 * jensen_shannon() - 2 * math.log(2)
    for name in ("minimax", "non_saturating"):
        assert is_best(name, scores)
        critic = OBJECTIVES[name].critic
        assert critic(*draws(scores)).item() == pytest.approx(-expected, abs=1e-6)


def test_minimax_generator_minimises_the_same_value():
    real, fake = draws((p / q).log())
    value = (q * (q / (p + q)).log()).sum()  # E log(1 - D)
    assert OBJECTIVES["minimax"].generator(None, fake).item() == pytest.approx(value.item())
    # the game has one value: what the generator adds to it is what the critic takes from it
    total = -F.softplus(-real).mean() + OBJECTIVES["minimax"].generator(None, fake)
    assert total.item() == pytest.approx(-OBJECTIVES["minimax"].critic(real, fake).item())


def test_minimax_gradient_vanishes_where_non_saturating_stays():
    """A generated sample that the critic is sure about: D = 4.5e-5."""
    found = {}
    for name in ("minimax", "non_saturating"):
        score = torch.full((1, 1), -10.0, requires_grad=True)
        OBJECTIVES[name].generator(None, score).backward()
        found[name] = score.grad.item()
    d = 1 / (1 + math.exp(10))
    assert found["minimax"] == pytest.approx(-d)
    assert found["non_saturating"] == pytest.approx(-(1 - d))


def test_non_saturating_generator():
    _, fake = draws((p / q).log())
    expected = -(q * (p / (p + q)).log()).sum()
    assert OBJECTIVES["non_saturating"].generator(None, fake).item() == pytest.approx(expected)


def test_least_squares_is_pearson_at_the_best_critic():
    scores = p / (p + q)
    assert is_best("least_squares", scores)
    found = OBJECTIVES["least_squares"].critic(*draws(scores)).item()
    pearson = ((2 * q - (p + q)).square() / (p + q)).sum()  # of 2q from p + q
    assert found == pytest.approx((2 - pearson.item()) / 8)
    expected = (q * (scores - 1).square()).sum() / 2
    generator = OBJECTIVES["least_squares"].generator
    assert generator(None, draws(scores)[1]).item() == pytest.approx(expected.item())


def test_hinge_is_total_variation_at_the_best_critic():
    scores = (p - q).sign()
    assert is_best("hinge", scores)
    variation = (p - q).abs().sum().item() / 2
    real, fake = draws(scores)
    assert OBJECTIVES["hinge"].critic(real, fake).item() == pytest.approx(2 * (1 - variation))
    assert OBJECTIVES["hinge"].generator(None, fake).item() == pytest.approx(-fake.mean().item())


def test_wasserstein_of_a_shift_is_the_shift():
    torch.manual_seed(0)
    fake = torch.randn(4000, 3)
    shift = torch.tensor([0.3, -0.4, 1.2])  # length 1.3
    direction = (shift / shift.norm())[:, None]  # the best 1-Lipschitz critic is linear
    critic = OBJECTIVES["wasserstein"].critic
    scores = ((fake + shift) @ direction, fake @ direction)
    assert critic(*scores).item() == pytest.approx(-1.3, rel=1e-5)
    generator = OBJECTIVES["wasserstein"].generator
    assert generator(None, scores[1]).item() == pytest.approx(-scores[1].mean().item())


def test_relativistic_looks_at_differences_of_pairs():
    losses = OBJECTIVES["relativistic"]
    torch.manual_seed(0)
    real, fake = torch.randn(50, 2), torch.randn(50, 2)
    assert losses.paired
    assert losses.critic(real, real).item() == pytest.approx(math.log(2))
    assert losses.generator(real, real).item() == pytest.approx(math.log(2))
    expected = F.binary_cross_entropy_with_logits(real - fake, torch.ones(50, 2))
    assert losses.critic(real, fake).item() == pytest.approx(expected.item())
    expected = F.binary_cross_entropy_with_logits(real - fake, torch.zeros(50, 2))
    assert losses.generator(real, fake).item() == pytest.approx(expected.item())
    shifted = losses.critic(real + 7, fake + 7)
    torch.testing.assert_close(shifted, losses.critic(real, fake))
    with pytest.raises(ValueError, match="real"):
        losses.generator(None, fake)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_losses_average_over_heads_and_push_the_right_way(name):
    torch.manual_seed(0)
    real, fake = 0.5 + 0.1 * torch.randn(2, 6, 3)  # in (0, 1): least squares wants them at 1 and 0
    losses = OBJECTIVES[name]
    heads = [slice(i, i + 1) for i in range(3)]
    one_by_one = torch.stack([losses.critic(real[:, h], fake[:, h]) for h in heads]).mean()
    torch.testing.assert_close(losses.critic(real, fake), one_by_one)
    real.requires_grad_()
    fake.requires_grad_()
    for_real, for_fake = torch.autograd.grad(losses.critic(real, fake), [real, fake])
    assert (for_real < 0).all()  # the critic raises real scores and lowers others
    assert (for_fake > 0).all()
    (for_fake,) = torch.autograd.grad(losses.generator(real, fake), fake)
    assert (for_fake < 0).all()


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_losses_of_low_precision_or_large_scores_are_finite_float32(name):
    real, fake = torch.full((4, 1), 200.0), torch.full((4, 1), -200.0)
    for precision in (torch.bfloat16, torch.float32):
        scores = real.to(precision), fake.to(precision)
        for loss in (OBJECTIVES[name].critic, OBJECTIVES[name].generator):
            for pair in (scores, scores[::-1]):
                assert loss(*pair).dtype == torch.float32
                assert loss(*pair).isfinite()
