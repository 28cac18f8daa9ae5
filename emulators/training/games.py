"""Who plays, in which phases, for which losses: one generator against one critic.

A phase gives a loss; the trainer takes the gradient, averages it over the processes and steps.
Networks run under autocast; views, losses and penalties are float32.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from emulators.data.spec import MEV_PER_GEV, SampleSpec
from emulators.data.transforms import Transform
from emulators.networks.base import Critic, Generator
from emulators.training import penalties
from emulators.training.objectives import OBJECTIVES
from emulators.training.recipe import Game

__all__ = ["Batch", "Duel", "Phase", "energy_loss"]


class Batch(NamedTuple):
    """What one phase takes.

    ``x (n, ...)`` and ``c (n, k)`` are reference samples and their conditions as the networks see
    them; ``z (n, latent)`` is the latent of the generated samples, asked for at the physical
    conditions ``asked (n, k)``, ``asked_c`` as the networks see them.
    """

    x: Tensor
    c: Tensor
    z: Tensor
    asked: Tensor
    asked_c: Tensor


class Phase(NamedTuple):
    """A loss to descend, and numbers for the log (0-dimensional tensors, not yet read)."""

    loss: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True)
class Duel:
    """One generator against one critic.

    Parameters
    ----------
    generator, critic
        The networks; each phase switches off the gradients of the other one.
    transform
        Between physical and network values; only the energy loss takes it.
    table
        Objective, penalties, weights.
    autocast
        Gives the context in which the networks run.
    """

    generator: Generator
    critic: Critic
    transform: Transform
    table: Game
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    def penalised(self, update: int) -> bool:
        """Tell whether gradient penalties act at this update of the critic."""
        return update % self.table.penalty_interval == 0

    def critic_phase(self, batch: Batch, due: bool, random: torch.Generator) -> Phase:
        """Return the critic's loss, with its penalties where they are ``due``.

        ``random`` (on the CPU) mixes real and generated samples for the gradient penalty.
        """
        table, objective = self.table, OBJECTIVES[self.table.objective]
        with torch.no_grad():
            with self.autocast():
                fake = self.generator(batch.z, batch.asked_c)
            real_views = self.critic.views(batch.x, batch.c)
            fake_views = self.critic.views(fake.float(), batch.asked_c)
        if due and table.r1:
            real_views = penalties.watch(real_views)
        if due and table.r2:
            fake_views = penalties.watch(fake_views)
        with self.autocast():
            real = self._scores(real_views, batch.c)
            fake_scores = self._scores(fake_views, batch.asked_c)
        loss = objective.critic(real, fake_scores)
        parts = {"loss_critic": loss.detach()}
        if due:
            terms = {}
            if table.r1:
                terms["r1"] = penalties.r1(real, real_views, table.r1)
            if table.r2:
                terms["r2"] = penalties.r2(fake_scores, fake_views, table.r2)
            if table.gradient_penalty:
                terms["gradient_penalty"] = table.gradient_penalty * penalties.gradient_penalty(
                    self.critic, real_views, fake_views, batch.c, random
                )
            for name, term in terms.items():
                loss = loss + table.penalty_interval * term
                parts[name] = term.detach()
        with torch.no_grad():
            parts["score_reference"], parts["score_generated"] = real.mean(), fake_scores.mean()
            parts["score_largest"] = torch.maximum(real.abs().max(), fake_scores.abs().max())
        return Phase(loss, parts)

    def generator_phase(self, batch: Batch) -> Phase:
        """Return the generator's loss against the critic as it is."""
        table, objective = self.table, OBJECTIVES[self.table.objective]
        real = None
        if objective.paired:
            with torch.no_grad():
                views = self.critic.views(batch.x, batch.c)
                with self.autocast():
                    real = self._scores(views, batch.c)
        with self.frozen_critic():
            with self.autocast():
                fake = self.generator(batch.z, batch.asked_c)
            fake = fake.float()
            views = self.critic.views(fake, batch.asked_c)
            with self.autocast():
                scores = self._scores(views, batch.asked_c)
        loss = objective.generator(real, scores)
        parts = {"loss_generator": loss.detach()}
        if table.energy_weight:
            physical = self.transform.inverse(fake, batch.asked)
            term = energy_loss(self.transform.spec, physical, batch.asked)
            loss = loss + table.energy_weight * term
            parts["energy_loss"] = term.detach()
        return Phase(loss, parts)

    @contextlib.contextmanager
    def frozen_critic(self) -> Iterator[None]:
        """Without gradients of the critic's weights: they would cost time and be thrown away."""
        self.critic.requires_grad_(False)
        try:
            yield
        finally:
            self.critic.requires_grad_(True)

    def _scores(self, views: tuple[Tensor, ...], c: Tensor) -> Tensor:
        return self.critic.score(views, c).float()


def energy_loss(spec: SampleSpec, values: Tensor, conditions: Tensor) -> Tensor:
    """Return ``mean |sum of cells - incident energy|``, GeV (arXiv:1712.10321, section III).

    Parameters
    ----------
    spec
        Its conditions name the column that holds the incident energy.
    values
        Deposits, shape ``(n, cells)``, MeV.
    conditions
        Shape ``(n, k)``, the incident energy in GeV.
    """
    column = [c.name for c in spec.conditions].index("incident_energy")
    return (values.sum(1) / MEV_PER_GEV - conditions[:, column]).abs().mean()
