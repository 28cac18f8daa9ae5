"""The textbook's ring of Gaussians: which objectives lose modes, and which keep them all.

Eight narrow Gaussians on a circle; the same fully connected networks, optimiser, batch and number
of steps for every objective.  A mode is covered when at least a tenth of its fair share of the
generated points lies within three standard deviations of it; points within three standard
deviations of any mode are of high quality.  Writes a Markdown table and a picture:

    python examples/ring_of_gaussians.py --output ring
"""

import argparse
import math
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emulators.data.spec import SampleSpec
from emulators.networks import build_networks
from emulators.training import penalties
from emulators.training.objectives import OBJECTIVES

MODES = 8
RADIUS = 2.0
WIDTH = 0.1  # standard deviation of a mode
SPEC = SampleSpec(kind="field", layout="ring", shape=(2,), unit="", conditions=())
NETWORK = {"latent": 4, "widths": [128, 128], "critic_widths": [128, 128]}


@dataclass(frozen=True)
class Case:
    """An objective and what keeps its critic smooth; everything else is common to all cases."""

    objective: str
    clip: float = 0.0  # bound of every critic weight
    gradient_penalty: float = 0.0  # strength
    gamma: float = 0.0  # of R1 and R2
    spectral: bool = False


CASES = {
    "minimax": Case("minimax"),
    "non-saturating": Case("non_saturating"),
    "least squares": Case("least_squares"),
    "hinge": Case("hinge"),
    "hinge + spectral norm": Case("hinge", spectral=True),
    "Wasserstein + clipping": Case("wasserstein", clip=0.1),
    "Wasserstein + gradient penalty": Case("wasserstein", gradient_penalty=1.0),
    "non-saturating + R1": Case("non_saturating", gamma=0.1),
    "relativistic": Case("relativistic"),
    "relativistic + R1 + R2": Case("relativistic", gamma=0.1),
}


def centres() -> Tensor:
    """Return the centres of the modes, shape ``(MODES, 2)``."""
    angle = 2 * math.pi * torch.arange(MODES) / MODES
    return RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


def draw(n: int, generator: torch.Generator) -> Tensor:
    """Draw points of the ring, shape ``(n, 2)``."""
    mode = torch.randint(MODES, (n,), generator=generator)
    return centres()[mode] + WIDTH * torch.randn(n, 2, generator=generator)


def train(
    case: Case, seed: int, steps: int, batch: int = 256, rate: float = 1e-3, n: int = 5000
) -> Tensor:
    """Train one case and return ``n`` generated points, shape ``(n, 2)``."""
    numbers = torch.Generator().manual_seed(seed)
    generator, critic = build_networks("mlp", NETWORK, SPEC, seed)
    if case.spectral:
        penalties.spectral_norm(critic, seed)
    objective = OBJECTIVES[case.objective]
    adam = {"lr": rate, "betas": (0.5, 0.99), "fused": True}
    step_generator = torch.optim.Adam(generator.parameters(), **adam)
    step_critic = torch.optim.Adam(critic.parameters(), **adam)
    c = torch.empty(batch, 0)  # no conditions

    def fake() -> Tensor:
        return generator(torch.randn(batch, generator.latent, generator=numbers), c)

    for _ in range(steps):
        with torch.no_grad():
            x = fake()
        real_views = penalties.watch(critic.views(draw(batch, numbers), c))
        fake_views = penalties.watch(critic.views(x, c))
        real, generated = critic.score(real_views, c), critic.score(fake_views, c)
        loss = objective.critic(real, generated)
        if case.gradient_penalty:
            loss = loss + case.gradient_penalty * penalties.gradient_penalty(
                critic, real_views, fake_views, c, numbers
            )
        if case.gamma:
            loss = loss + penalties.r1(real, real_views, case.gamma)
            loss = loss + penalties.r2(generated, fake_views, case.gamma)
        step_critic.zero_grad()
        loss.backward()
        step_critic.step()
        if case.clip:
            penalties.weight_clip(critic, case.clip)

        real = critic(draw(batch, numbers), c).detach() if objective.paired else None
        loss = objective.generator(real, critic(fake(), c))
        step_generator.zero_grad()
        loss.backward()
        step_generator.step()

    with torch.no_grad():
        z = torch.randn(n, generator.latent, generator=numbers)
        return generator(z, torch.empty(n, 0))


def measure(points: Tensor) -> tuple[int, float]:
    """Return how many modes are covered, and the share of points of high quality."""
    distance, mode = torch.cdist(points, centres()).min(1)
    good = distance < 3 * WIDTH
    counts = torch.bincount(mode[good], minlength=MODES)
    return int((counts >= 0.1 * len(points) / MODES).sum()), float(good.float().mean())
