"""What keeps a critic smooth: weight clipping, gradient penalties, spectral norm.

The gradient penalties act on the critic's views (what its layers see, see
`emulators.networks.base.Critic`), take norms sample by sample over all elements of all views, and
only then average over the batch.  Where a critic has several heads, the gradient is that of their
sum.  Norms are taken in float32, outside autocast.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from emulators.errors import InputError
from emulators.networks.base import Critic
from emulators.networks.layers import CONVOLUTIONS, TRANSPOSED

__all__ = ["gradient_penalty", "r1", "r2", "spectral_norm", "watch", "weight_clip"]

NORMALISED = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)


@torch.no_grad()
def weight_clip(critic: nn.Module, bound: float) -> None:
    """Clip every parameter to ``[-bound, bound]``, after a critic step (arXiv:1701.07875)."""
    for parameter in critic.parameters():
        parameter.clamp_(-bound, bound)


def gradient_penalty(
    critic: Critic,
    real_views: Sequence[Tensor],
    fake_views: Sequence[Tensor],
    c: Tensor,
    generator: torch.Generator,
    target: float = 1.0,
) -> Tensor:
    """Return WGAN-GP's penalty ``E (|grad score| - target)^2`` (arXiv:1704.00028, equation 3).

    Each sample is mixed with one weight, uniform in [0, 1), the same for all its views.

    Parameters
    ----------
    critic
        Its `score` is evaluated on the mixed views.
    real_views, fake_views
        Views of as many real as generated samples with equal conditions, each ``(batch, ...)``.
    c
        The conditions, shape ``(batch, conditions)``.
    generator
        Source of the mixing weights, on the CPU (equal numbers on every device).
    target
        The norm that is free of charge.
    """
    n = len(c)
    weight = torch.rand(n, generator=generator).to(real_views[0].device)
    with torch.autocast(c.device.type, enabled=False):
        mixed = watch(
            [
                fake.float() + weight.view(n, *[1] * (real.ndim - 1)) * (real - fake).float()
                for real, fake in zip(real_views, fake_views, strict=True)
            ]
        )
        squares = _squared_norms(critic.score(mixed, c), mixed)
        # the square root has no derivative at 0
        return ((squares + 1e-12).sqrt() - target).square().mean()


def r1(real_scores: Tensor, real_views: Sequence[Tensor], gamma: float) -> Tensor:
    """Return ``gamma / 2 E |grad score|^2`` over real samples (arXiv:1801.04406, equation 9).

    Parameters
    ----------
    real_scores
        Scores of `real_views`, shape ``(batch, heads)``: the ones that the loss takes, so that the
        penalty costs no forward pass of its own.
    real_views
        The views behind the scores, made by `watch` before scoring.
    gamma
        Strength.
    """
    return _zero_centred(real_scores, real_views, gamma)


def r2(fake_scores: Tensor, fake_views: Sequence[Tensor], gamma: float) -> Tensor:
    """Return `r1` over generated samples (arXiv:1801.04406, equation 10)."""
    return _zero_centred(fake_scores, fake_views, gamma)


def watch(views: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return views, cut off from what made them, with respect to which gradients can be taken."""
    return tuple(view.detach().requires_grad_() for view in views)


def _zero_centred(scores: Tensor, views: Sequence[Tensor], gamma: float) -> Tensor:
    with torch.autocast(scores.device.type, enabled=False):
        return gamma / 2 * _squared_norms(scores, views).mean()


def _squared_norms(scores: Tensor, views: Sequence[Tensor]) -> Tensor:
    """Return each sample's squared norm over all views, shape ``(batch,)``, differentiable."""
    # The sum over the batch gives each sample its own gradient, as long as the critic does not
    # mix samples; one that does (CaloGAN's) gets the gradient of the whole batch's score.
    gradients = torch.autograd.grad(scores.sum(), list(views), create_graph=True)
    norms: Tensor = torch.stack([g.float().square().flatten(1).sum(1) for g in gradients]).sum(0)
    return norms


def spectral_norm(critic: nn.Module, seed: int = 0) -> None:
    """Divide every linear and convolution weight by its largest singular value (arXiv:1802.05957).

    Call it once, before the optimiser is made: the parameters change their names.

    Parameters
    ----------
    critic
        Changed in place.
    seed
        Of the first power iteration; torch's global generator is not touched.

    Raises
    ------
    InputError
        A layer has weights of another kind, so that the critic would not be bounded.
    """
    for name, module in critic.named_modules():
        weights = [n for n, p in module.named_parameters(recurse=False) if p.ndim > 1]
        if weights and not isinstance(module, NORMALISED):
            kind = type(module).__name__
            raise InputError(f"spectral norm is not defined for {kind} ({name}) of this critic")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in [m for m in critic.modules() if isinstance(m, NORMALISED)]:
            parametrizations.spectral_norm(module)
