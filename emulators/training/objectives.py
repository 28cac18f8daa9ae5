"""Adversarial objectives: what the critic and the generator minimise.

An objective sees scores alone: ``(batch, heads)`` logits, larger for the reference, with no sigmoid
in between.  Both losses are averages over batch and heads, taken in float32.  Write ``D`` for
``sigmoid(score)`` where a formula of a paper has a probability.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

__all__ = ["OBJECTIVES", "Objective"]


@dataclass(frozen=True)
class Objective:
    """The two losses of a game.

    Parameters
    ----------
    critic
        Loss of the critic from the scores of real and of generated samples.
    generator
        Loss of the generator from the same; real scores may be None unless `paired`.
    paired
        Whether the generator's loss takes real scores, one a generated sample.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    paired: bool = False


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """``-E log D(real) - E log(1 - D(fake))``; -2 log 2 + 2 JSD is its negative at the best D."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def _minimax(real: Tensor | None, fake: Tensor) -> Tensor:
    """``E log(1 - D(fake))``: vanishes where the critic is sure (arXiv:1406.2661, equation 1)."""
    return -F.softplus(fake.float()).mean()


def _non_saturating(real: Tensor | None, fake: Tensor) -> Tensor:
    """``-E log D(fake)`` (arXiv:1406.2661, section 3)."""
    return F.softplus(-fake.float()).mean()


def _least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """``E (score(real) - 1)^2 / 2 + E score(fake)^2 / 2`` (arXiv:1611.04076, equation 9)."""
    return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def _least_squares(real: Tensor | None, fake: Tensor) -> Tensor:
    """``E (score(fake) - 1)^2 / 2``."""
    return (fake.float() - 1).square().mean() / 2


def _hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """``E max(0, 1 - score(real)) + E max(0, 1 + score(fake))`` (arXiv:1705.02894)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def _wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """``E score(fake) - E score(real)``: minus W1 for the best 1-Lipschitz critic."""
    return fake.float().mean() - real.float().mean()


def _minus_score(real: Tensor | None, fake: Tensor) -> Tensor:
    """``-E score(fake)`` (arXiv:1701.07875, equation 2; also of hinge)."""
    return -fake.float().mean()


def _relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """``E softplus(score(fake) - score(real))`` over pairs (arXiv:2501.05441, equation 2)."""
    return F.softplus(fake.float() - real.float()).mean()


def _relativistic(real: Tensor | None, fake: Tensor) -> Tensor:
    """``E softplus(score(real) - score(fake))`` over pairs."""
    if real is None:
        raise ValueError("the relativistic generator loss takes real scores, one a sample")
    return F.softplus(real.float() - fake.float()).mean()


OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(_cross_entropy, _minimax),
    "non_saturating": Objective(_cross_entropy, _non_saturating),
    "least_squares": Objective(_least_squares_critic, _least_squares),
    "hinge": Objective(_hinge_critic, _minus_score),
    "wasserstein": Objective(_wasserstein_critic, _minus_score),
    "relativistic": Objective(_relativistic_critic, _relativistic, paired=True),
}
"""The objectives by name; see `docs/objectives.md` for when to take which."""
