"""All that a step changes, and the step."""

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from emulators.data.dataset import Dataset
from emulators.errors import InputError
from emulators.networks.base import Generator, build_networks
from emulators.random import stream
from emulators.training import penalties
from emulators.training.averaging import (
    average_of,
    batch_norms,
    refresh_statistics,
    update_average,
)
from emulators.training.choices import resolve
from emulators.training.distributed import World
from emulators.training.games import Batch, Duel, Phase
from emulators.training.graphs import Recorded
from emulators.training.optimisers import adams, rate_factor, set_rates, settle_rates
from emulators.training.recipe import Recipe
from emulators.training.samples import FIT, START, Reference, require_finite
from emulators.training.start import start_of
from emulators.training.tally import Tally

__all__ = ["Trainer"]


class Trainer:
    """The networks of a training, their optimisers, and where it stands.

    Everything random in a step comes from the seed and the number of the step, so that going on
    from a saved state needs no state of a random generator.

    Parameters
    ----------
    recipe
        The training.
    world
        This process's place among the others.
    """

    def __init__(self, recipe: Recipe, world: World) -> None:
        self.world, data, device = world, recipe.data, world.device
        self.graphs = recipe.training.graphs and device.type == "cuda"
        if self.graphs and world.size > 1:
            raise InputError(f"training.graphs is for one process; there are {world.size}")
        dataset = Dataset(data.path, data.layout or None, conditions=data.conditions)
        rows = dataset.split(data.validation, data.test, data.split_seed)
        self.recipe = recipe = resolve(recipe, dataset, rows["train"], device)
        self.reference = Reference.of(recipe, dataset, rows, world)
        self.spec, self.transform = dataset.spec, self.reference.transform
        names = [c.name for c in self.spec.conditions]
        if recipe.game.energy_weight and "incident_energy" not in names:
            raise InputError("game.energy_weight needs samples with an incident energy")
        seed = recipe.training.seed
        self.generator, self.critic = build_networks(
            recipe.architecture, recipe.options, self.spec, seed
        )
        self._fit(seed)
        if recipe.game.spectral_norm:
            penalties.spectral_norm(self.critic, seed)
        for module in (self.transform, self.generator, self.critic):
            module.to(device)
        world.share((self.transform, self.generator, self.critic))
        self.average = average_of(self.generator)
        networks = {"generator": self.generator, "critic": self.critic}
        self.optimisers = adams(networks, recipe.optimiser, device, self.graphs)
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
        if recipe.training.precision == "bfloat16":
            autocast = functools.partial(torch.autocast, device.type, torch.bfloat16)
        self.duel = Duel(self.generator, self.critic, self.transform, recipe.game, autocast)
        self.step_samples = recipe.training.batch_size * recipe.game.n_critic
        self.steps = 0
        self.seconds = 0.0  # spent so far, set by the loop
        self.best: dict[str, Any] = {}
        self.tally = Tally()
        self._recorded: dict[tuple[str, bool], Recorded] = {}
        self._aside = torch.cuda.Stream() if self.graphs else None  # type: ignore[no-untyped-call]

    def _fit(self, seed: int) -> None:
        """Fit the transform on the training split, then give the networks starting values."""
        samples, numbers = self.reference.examples(FIT, seed)
        require_finite(samples, self.reference.dataset.path)
        start = start_of(self.recipe, self.transform, self.generator)
        self.decided = ""  # by the data, in words
        self.start_card = {} if start is None else start.card
        if start is None:
            self.transform.fit(samples)
        else:
            self.transform.load_state_dict(start.transform.state_dict())
        self.generator.exponent = self.critic.exponent = self.transform.exponent
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inputs = self.reference.inputs(samples[: START.count(self.spec)], numbers)
            if start is None:
                self.decided = self.generator.initialise(*inputs)
            else:
                self.generator.load_state_dict(start.generator.state_dict())
            self.critic.initialise(*inputs)

    def finished(self) -> Generator:
        """Return a copy of the averaged generator with everything set that training does not set.

        That are the statistics of batch normalisation, and the generator's last corrections.
        """
        generator, table = copy.deepcopy(self.average), self.recipe.training
        calibrates = type(generator).calibrate is not Generator.calibrate
        if not batch_norms(generator) and not calibrates:
            return generator  # nothing to read the data for
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(table.seed)
            examples = self.reference.examples(FIT if calibrates else START, table.seed)
            x, c, simulations = self.reference.inputs(*examples, self.world.device)
            latents = (
                (torch.randn(len(piece), generator.latent).to(piece), piece)
                for piece in torch.split(c[: 32 * table.batch_size], table.batch_size)
                if len(piece) > 1
            )
            refresh_statistics(generator, latents)
            generator.calibrate(x, c, simulations)
        return generator

    def close(self) -> None:
        """Close the data file."""
        self.reference.dataset.close()

    @property
    def samples(self) -> int:
        """Reference samples that the critic has seen."""
        return self.steps * self.step_samples

    @property
    def fraction(self) -> float:
        """Which part of the budget is spent: of samples or of time, the larger one."""
        table = self.recipe.training
        parts = [self.samples / table.samples] if table.samples else []
        parts += [self.seconds / (60 * table.minutes)] if table.minutes else []
        return max(parts)

    @property
    def rate_factor(self) -> float:
        """What the learning rates are multiplied by at this point of warm-up and schedule."""
        samples = self.samples + self.step_samples
        return rate_factor(self.recipe.optimiser, samples, self.fraction)

    def step(self) -> None:
        """Update the critic ``n_critic`` times, each on a fresh batch, then the generator."""
        game, device = self.recipe.game, self.world.device
        set_rates(self.optimisers, self.recipe.optimiser, self.rate_factor)
        random = self._random(device, "step")
        mixing = random
        if game.gradient_penalty:
            mixing = self._random("cpu", "mixing", self.world.rank)
        for k in range(game.n_critic):
            update = self.steps * game.n_critic + k
            reference = self.reference.batch(update, random)
            batch = self._batch(reference, random)
            due = self.duel.penalised(update)
            critic = functools.partial(self.duel.critic_phase, due=due, random=mixing)
            self._descend("critic", due, self.critic, critic, batch)
            if game.weight_clip:
                penalties.weight_clip(self.critic, game.weight_clip)
        alone = self.samples < self.recipe.training.critic_alone
        for _ in range(0 if alone else game.n_generator):
            # the last batch again, with new latents: what it would cost to read another one buys
            # nothing, since the generator sees the reference only through the critic
            batch = self._batch(reference, random)
            self._descend("generator", False, self.generator, self.duel.generator_phase, batch)
        self.steps += 1
        update_average(
            self.average,
            self.generator,
            batch=self.step_samples,
            seen=self.samples,
            half_life=self.recipe.training.ema_half_life,
        )

    def _random(self, device: torch.device | str, *name: int | str) -> torch.Generator:
        """Return random numbers of this step, on the device where they are needed."""
        seed = stream(self.recipe.training.seed, *name, self.steps).integers(2**63)
        return torch.Generator(device).manual_seed(int(seed))

    def _batch(self, reference: tuple[Tensor, Tensor, Tensor], random: torch.Generator) -> Batch:
        """Return a batch with fresh latents, and fresh conditions where the recipe says so."""
        x, c, conditions = reference
        size = (self.recipe.training.batch_size, self.generator.latent)
        z = self.world.part(torch.randn(size, generator=random, device=self.world.device))
        if self.recipe.game.conditions == "data":
            return Batch(x, c, z, conditions, c)
        asked = self.reference.uniform_conditions(random)
        return Batch(x, c, z, asked, self.transform.scale(asked))

    def _descend(
        self,
        name: str,
        due: bool,
        module: nn.Module,
        phase: Callable[[Batch], Phase],
        batch: Batch,
    ) -> None:
        """Take a step of an optimiser down a phase's loss, and add up what it says for the log."""
        optimiser = self.optimisers[name]

        def update(*tensors: Tensor) -> dict[str, Tensor]:
            loss, numbers = phase(Batch(*tensors))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.world.average_gradients(module.parameters())
            optimiser.step()
            return numbers

        if self._aside is not None and (name, due) not in self._recorded:
            self._recorded[name, due] = Recorded(update, self._aside)
        self.tally.add(self._recorded.get((name, due), update)(*batch))

    def finite_weights(self) -> bool:
        """Tell whether every weight is finite."""
        weights = [p.detach() for m in (self.generator, self.critic) for p in m.parameters()]
        return bool(torch.stack(torch._foreach_norm(weights)).isfinite().all())

    def _parts(self) -> Iterator[tuple[str, Any]]:
        yield from (("generator", self.generator), ("critic", self.critic))
        yield from (("average", self.average), ("transform", self.transform))
        yield from ((f"optimiser_{name}", o) for name, o in self.optimisers.items())

    def state(self) -> dict[str, Any]:
        """Return all that `load` takes: plain values and tensors."""
        numbers = {"steps": self.steps, "seconds": self.seconds, "best": self.best}
        return {**numbers, **{name: part.state_dict() for name, part in self._parts()}}

    def load(self, state: dict[str, Any]) -> None:
        """Go to where a saved state was."""
        try:
            for name, part in self._parts():
                part.load_state_dict(state[name])
            settle_rates(self.optimisers, self.world.device, self.graphs)
            self.steps, self.seconds = state["steps"], state["seconds"]
            self.best = state["best"]
        except (KeyError, RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())
            line = line if len(line) < 200 else f"{line[:200]} ..."
            raise InputError(f"the saved state does not fit the recipe: {line}") from None
