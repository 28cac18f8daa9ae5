"""All that a step changes, and the step."""

import copy
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import emulators.networks  # noqa: F401  (registers the architectures)
from emulators.config import nearest
from emulators.data.dataset import Dataset
from emulators.data.spec import Samples
from emulators.data.stream import BatchStream
from emulators.data.transforms import Transform, condition_tensor, suited
from emulators.errors import InputError
from emulators.networks.base import ARCHITECTURES, Generator, build_networks
from emulators.random import stream
from emulators.training import penalties
from emulators.training.averaging import (
    average_of,
    batch_norms,
    refresh_statistics,
    update_average,
)
from emulators.training.distributed import World
from emulators.training.games import Batch, Duel, Phase
from emulators.training.graphs import Recorded
from emulators.training.recipe import Recipe
from emulators.training.start import start_of
from emulators.training.symmetry import symmetry_of

__all__ = ["Trainer", "TrainingDiverged", "resolve"]

FIT_SAMPLES, FIT_BYTES = 50_000, 1 << 30  # what the transform is fitted on, at most
TURNED = 1 << 24  # numbers turned at once
START_SAMPLES, START_BYTES = 32_768, 1 << 28  # what networks take their starting values from
SEEN_SAMPLES, SEEN_CELLS = 256, 1 << 24  # what transforms that suit the values are chosen by
LARGEST_SCORE = 1e4


class TrainingDiverged(RuntimeError):
    """A loss or a score left every reasonable range; the last checkpoint is good."""


def native_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 products are an instruction of the device, and not emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    checks = (getattr(torch.cpu, f"_is_{n}_supported", None) for n in ("avx512_bf16", "amx_tile"))
    return device.type == "cpu" and any(check is not None and check() for check in checks)


def resolve(
    recipe: Recipe, dataset: Dataset, rows: npt.NDArray[np.int64], device: torch.device
) -> Recipe:
    """Return the recipe with every choice that was left to the program made and written out.

    ``rows`` are those to train on.
    """
    name = recipe.architecture
    if name not in ARCHITECTURES:
        raise InputError(f"unknown network '{name}'{nearest(name, list(ARCHITECTURES))}")
    entry, chosen = ARCHITECTURES[name], recipe.transform
    steps = chosen.steps
    if steps is None:
        steps = entry.transform
        if entry.units and dataset.spec.unit not in entry.units:
            steps = suited(dataset.spec.unit, _glance(dataset, rows), entry.makes)
    precision: Any = recipe.training.precision
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    return recipe.replace(
        data={"path": str(Path(dataset.path).absolute()), "layout": dataset.layout},
        transform={
            "steps": steps,
            "condition": chosen.condition or entry.condition,
        },
        training={
            "precision": precision,
            "device": device.type if recipe.training.device == "auto" else recipe.training.device,
        },
    )


def _glance(dataset: Dataset, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the values of a few samples of these rows, from the first to the last."""
    most = max(1, min(len(rows), SEEN_SAMPLES, SEEN_CELLS // math.prod(dataset.spec.shape)))
    return dataset.take(np.unique(rows[np.linspace(0, len(rows) - 1, most).astype(int)])).values


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
        self.world = world
        data = recipe.data
        self.dataset = Dataset(data.path, data.layout or None, conditions=data.conditions)
        self.rows = self.dataset.split(data.validation, data.test, data.split_seed)
        self.recipe = recipe = resolve(recipe, self.dataset, self.rows["train"], world.device)
        self.spec, seed = self.dataset.spec, recipe.training.seed
        self.batch_size, train = recipe.training.batch_size, self.rows["train"]
        if self.batch_size % world.size:
            raise InputError(
                f"training.batch_size = {self.batch_size} is not a multiple of the {world.size} "
                "processes"
            )
        if len(train) < self.batch_size:
            raise InputError(
                f"{data.path}: {len(train)} samples to train on, fewer than "
                f"training.batch_size = {self.batch_size}"
            )
        names = [c.name for c in self.spec.conditions]
        if recipe.game.energy_weight and "incident_energy" not in names:
            raise InputError("game.energy_weight needs samples with an incident energy")
        self.symmetry = symmetry_of(self.spec, data.mirror, data.isotropic)
        steps, condition = recipe.transform.steps or (), recipe.transform.condition or "range"
        self.transform = Transform(self.spec, steps, condition)
        self.generator, self.critic = build_networks(
            recipe.architecture, recipe.options, self.spec, seed
        )
        self._fit(seed)
        if recipe.game.spectral_norm:
            penalties.spectral_norm(self.critic, seed)
        for module in (self.transform, self.generator, self.critic):
            module.to(world.device)
        world.share((self.transform, self.generator, self.critic))
        self.average = average_of(self.generator)
        rates, betas = recipe.optimiser, recipe.optimiser.betas
        self.graphs = recipe.training.graphs and world.device.type == "cuda"
        if self.graphs and world.size > 1:
            raise InputError(f"training.graphs is for one process; there are {world.size}")
        self._recorded: dict[tuple[str, bool], Recorded] = {}
        self._aside = torch.cuda.Stream() if self.graphs else None  # type: ignore[no-untyped-call]
        self.optimisers = {
            name: torch.optim.Adam(
                module.parameters(), rate, betas, fused=True, capturable=self.graphs
            )
            for name, module, rate in (
                ("generator", self.generator, rates.learning_rate_generator),
                ("critic", self.critic, rates.learning_rate_critic),
            )
        }
        self.rates = {name: o.param_groups[0]["lr"] for name, o in self.optimisers.items()}
        self._settle_rates()
        self.stream = BatchStream(
            self.dataset, train, self.batch_size, seed, world.rank, world.size
        )
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
        if recipe.training.precision == "bfloat16":
            autocast = functools.partial(torch.autocast, world.device.type, torch.bfloat16)
        self.duel = Duel(self.generator, self.critic, self.transform, recipe.game, autocast)
        low, high = ([getattr(c, k) for c in self.spec.conditions] for k in ("minimum", "maximum"))
        self.ranges = torch.tensor([low, high], device=world.device)
        self.step_samples = self.batch_size * recipe.game.n_critic
        self.steps = 0
        self.seconds = 0.0  # spent so far, set by the loop
        self.best: dict[str, Any] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def _settle_rates(self) -> None:
        """Have each rate where steps look for it: what is recorded reads it from the device."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["capturable"], rate = self.graphs, float(group["lr"])
                group["lr"] = torch.tensor(rate, device=self.world.device) if self.graphs else rate

    def _fit(self, seed: int) -> None:
        """Fit the transform on the training split, then give the networks starting values."""
        samples, numbers = self._examples(FIT_SAMPLES, FIT_BYTES, seed)
        bad = ~np.isfinite(samples.values).reshape(len(samples), -1).all(1)
        if bad.any():
            raise InputError(
                f"{self.dataset.path}: {bad.sum()} of {len(samples)} samples hold NaN or infinity; "
                f"to see which: emulators data check {self.dataset.path}"
            )
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
            seen = self._seen(samples[: self._fitting(START_SAMPLES, START_BYTES)], numbers)
            if start is None:
                self.decided = self.generator.initialise(*seen)
            else:
                self.generator.load_state_dict(start.generator.state_dict())
            self.critic.initialise(*seen)

    def _fitting(self, most: int, nbytes: int) -> int:
        """Return how many samples are within both limits, at least one."""
        return min(most, max(1, nbytes // (4 * max(1, math.prod(self.spec.shape)))))

    def _examples(self, most: int, nbytes: int, seed: int) -> tuple[Samples, torch.Generator]:
        """Return training samples in random order, turned, and the random numbers for more."""
        rows, random = self.rows["train"], stream(seed, "fit")
        n = min(len(rows), self._fitting(most, nbytes))
        samples = self.dataset.take(np.sort(random.choice(rows, n, replace=False)))
        numbers = torch.Generator().manual_seed(int(random.integers(2**63)))
        samples = samples[random.permutation(n)]
        piece = min(4096, max(1, TURNED // math.prod(self.spec.shape)))
        for some in torch.split(torch.from_numpy(samples.values), piece):
            some.copy_(self._turned(some, len(some), numbers))
        return samples, numbers

    def _seen(
        self, samples: Samples, numbers: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return samples and conditions as the networks see them, and their simulations."""
        conditions = condition_tensor(self.spec, samples.conditions, len(samples))
        values = self._jittered(torch.from_numpy(samples.values), len(samples), numbers)
        simulations = samples.simulations
        return (
            self.transform(values, conditions),
            self.transform.scale(conditions),
            None if simulations is None else torch.from_numpy(simulations.astype(np.int64)),
        )

    def finished(self) -> Generator:
        """Return a copy of the averaged generator with everything set that training does not set.

        That are the statistics of batch normalisation, and the generator's last corrections.
        """
        generator, seed = copy.deepcopy(self.average), self.recipe.training.seed
        calibrates = type(generator).calibrate is not Generator.calibrate
        if not batch_norms(generator) and not calibrates:
            return generator  # nothing to read the data for
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            most = (FIT_SAMPLES, FIT_BYTES) if calibrates else (START_SAMPLES, START_BYTES)
            examples = self._examples(*most, seed)
            x, c, simulations = (
                None if t is None else t.to(self.world.device) for t in self._seen(*examples)
            )
            assert x is not None
            assert c is not None
            latents = (
                (torch.randn(len(some), generator.latent).to(some), some)
                for some in torch.split(c[: 32 * self.batch_size], self.batch_size)
                if len(some) > 1
            )
            refresh_statistics(generator, latents)
            generator.calibrate(x, c, simulations)
        return generator

    def close(self) -> None:
        """Close the data file."""
        self.dataset.close()

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
        table = self.recipe.optimiser
        warm = min(1.0, (self.samples + self.step_samples) / max(table.warm_up, 1.0))
        if table.schedule == "constant":
            return warm
        falling = (1 + math.cos(math.pi * min(1.0, self.fraction))) / 2
        return warm * (table.final + (1 - table.final) * falling)

    def step(self) -> None:
        """Update the critic ``n_critic`` times, each on a fresh batch, then the generator."""
        game, factor = self.recipe.game, self.rate_factor
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(self.rates[name] * factor)
                else:
                    group["lr"] = self.rates[name] * factor
        random = self._random("step")
        mixing = self._random("mixing", self.world.rank) if game.gradient_penalty else random
        for k in range(game.n_critic):
            update = self.steps * game.n_critic + k
            reference = self._reference(update, random)
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

    def _random(self, *name: int | str) -> torch.Generator:
        """Return the generator of this step; it lives where its numbers are needed."""
        device = "cpu" if name[0] == "mixing" else self.world.device
        seed = stream(self.recipe.training.seed, *name, self.steps).integers(2**63)
        return torch.Generator(device).manual_seed(int(seed))

    def _mine(self, numbers: Tensor) -> Tensor:
        """Return this process's rows of numbers that were drawn for the batch of all processes."""
        share = len(numbers) // self.world.size
        return numbers[self.world.rank * share : (self.world.rank + 1) * share]

    def _reference(self, index: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``x``, ``c`` and the physical conditions of reference batch ``index``."""
        samples, device = self.stream.batch(index), self.world.device
        values = torch.from_numpy(samples.values).to(device, non_blocking=True)
        conditions = condition_tensor(self.spec, samples.conditions, len(samples))
        conditions = conditions.to(device, non_blocking=True)
        values = self._turned(values, self.batch_size, random)
        values = self._jittered(values, self.batch_size, random)
        with torch.no_grad():
            x = self.transform(values, conditions)
            return x, self.transform.scale(conditions), conditions

    def _turned(self, values: Tensor, n: int, random: torch.Generator) -> Tensor:
        """Map reference samples as their symmetry allows; drawn for ``n`` of all processes."""
        if self.symmetry is None:
            return values
        drawn = self.symmetry.draw(n, random)
        return self.symmetry(values, drawn if len(values) == n else self._mine(drawn))

    def _jittered(self, values: Tensor, n: int, random: torch.Generator) -> Tensor:
        """Spread counts over [n, n + 1), where the transform wants that; drawn as in `_turned`."""
        if not (width := 2 * self.transform.jitter):
            return values
        noise = torch.rand(n, *values.shape[1:], generator=random, device=values.device)
        return values + width * ((noise if len(values) == n else self._mine(noise)) - 0.5)

    def _batch(self, reference: tuple[Tensor, Tensor, Tensor], random: torch.Generator) -> Batch:
        """Return a batch with fresh latents, and fresh conditions where the recipe says so."""
        x, c, conditions = reference
        size, device = (self.batch_size, self.generator.latent), self.world.device
        z = self._mine(torch.randn(size, generator=random, device=device))
        if self.recipe.game.conditions == "data":
            return Batch(x, c, z, conditions, c)
        low, high = self.ranges
        asked = torch.rand(self.batch_size, len(low), generator=random, device=device)
        asked = low + (high - low) * self._mine(asked)
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
            found = phase(Batch(*tensors))
            optimiser.zero_grad(set_to_none=True)
            found.loss.backward()  # type: ignore[no-untyped-call]
            self.world.average_gradients(module.parameters())
            optimiser.step()
            return found.parts

        if self._aside is not None and (name, due) not in self._recorded:
            self._recorded[name, due] = Recorded(update, self._aside)
        for key, value in self._recorded.get((name, due), update)(*batch).items():
            old = self._sums.get(key)
            if old is None:
                self._sums[key] = value.clone()
            elif key == "score_largest":
                torch.maximum(old, value, out=old)
            else:
                old += value
            self._counts[key] = self._counts.get(key, 0) + 1

    def healthy(self) -> bool:
        """Tell whether losses and scores since the last `take_averages` are finite and small."""
        if not self._sums:
            return True
        largest = self._sums["score_largest"]
        total = torch.stack([v for k, v in self._sums.items() if k != "score_largest"]).sum()
        # written so that NaN is not healthy
        return bool(((largest <= LARGEST_SCORE) & total.isfinite()).item())

    def finite_weights(self) -> bool:
        """Tell whether every weight is finite."""
        weights = [p.detach() for m in (self.generator, self.critic) for p in m.parameters()]
        return bool(torch.stack(torch._foreach_norm(weights)).isfinite().all())

    def take_averages(self) -> dict[str, float]:
        """Return what was logged since the last call, averaged over updates and processes."""
        if not self._sums:
            return {}
        values = [v if k == "score_largest" else v / self._counts[k] for k, v in self._sums.items()]
        numbers = dict(zip(self._sums, self.world.mean(torch.stack(values)).tolist()))
        self._sums, self._counts = {}, {}
        return numbers

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
            self._settle_rates()
            self.steps, self.seconds = state["steps"], state["seconds"]
            self.best = state["best"]
        except (KeyError, RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())
            line = line if len(line) < 200 else f"{line[:200]} ..."
            raise InputError(f"the saved state does not fit the recipe: {line}") from None
