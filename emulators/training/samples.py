"""The reference samples of a training, as its networks see them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emulators.data.dataset import Dataset
from emulators.data.spec import Samples, SampleSpec
from emulators.data.stream import BatchStream
from emulators.data.transforms import Transform, condition_tensor
from emulators.errors import InputError
from emulators.random import stream
from emulators.training.distributed import World
from emulators.training.recipe import Recipe
from emulators.training.symmetry import Symmetry, symmetry_of

__all__ = ["FIT", "START", "Limit", "Reference", "require_finite"]

TURNED = 1 << 24  # numbers turned at once


class Limit(NamedTuple):
    """How many samples a fit takes at most, and in how much memory."""

    samples: int
    nbytes: int

    def count(self, spec: SampleSpec) -> int:
        """Return how many samples are within it, at least one."""
        return min(self.samples, max(1, self.nbytes // (4 * max(1, math.prod(spec.shape)))))


FIT = Limit(50_000, 1 << 30)  # of the transform, and of the last corrections
START = Limit(32_768, 1 << 28)  # of the networks' starting values


@dataclass(frozen=True)
class Reference:
    """The reference samples of a training, turned, jittered and transformed as it asks.

    What is drawn for a batch is drawn for that of all processes, each of which takes its part.

    Parameters
    ----------
    dataset
        The file.
    rows
        Of ``train``, ``validation`` and ``test``.
    transform
        From physical values to what networks see; the trainer fits it.
    symmetry
        What samples are equally likely to be; None: nothing else.
    ranges
        Least and largest value of each condition, ``(2, k)``.
    batches
        Those of the training, without end.
    world
        This process's place among the others.
    """

    dataset: Dataset
    rows: dict[str, npt.NDArray[np.int64]]
    transform: Transform
    symmetry: Symmetry | None
    ranges: Tensor
    batches: BatchStream
    world: World

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        dataset: Dataset,
        rows: dict[str, npt.NDArray[np.int64]],
        world: World,
    ) -> "Reference":
        """Return the samples that a resolved recipe trains on.

        Raises
        ------
        InputError
            There are fewer than a batch has, processes cannot share a batch, or the samples do not
            have the symmetry or take the transform.
        """
        spec, size, seed = dataset.spec, recipe.training.batch_size, recipe.training.seed
        if size % world.size:
            raise InputError(
                f"training.batch_size = {size} is not a multiple of the {world.size} processes"
            )
        if len(rows["train"]) < size:
            raise InputError(
                f"{recipe.data.path}: {len(rows['train'])} samples to train on, fewer than "
                f"training.batch_size = {size}"
            )
        symmetry = symmetry_of(spec, recipe.data.mirror, recipe.data.isotropic)
        steps, condition = recipe.transform.steps or (), recipe.transform.condition or "range"
        low, high = ([getattr(c, k) for c in spec.conditions] for k in ("minimum", "maximum"))
        return cls(
            dataset,
            rows,
            Transform(spec, steps, condition),
            symmetry,
            torch.tensor([low, high], device=world.device),
            BatchStream(dataset, rows["train"], size, seed, world.rank, world.size),
            world,
        )

    @property
    def spec(self) -> SampleSpec:
        """What the samples are."""
        return self.dataset.spec

    def batch(self, index: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``x``, ``c`` and the physical conditions of this process's part of a batch."""
        samples, device = self.batches.batch(index), self.world.device
        values = torch.from_numpy(samples.values).to(device, non_blocking=True)
        conditions = condition_tensor(self.spec, samples.conditions, len(samples))
        conditions = conditions.to(device, non_blocking=True)
        values = self._turned(values, self.batches.batch_size, random)
        values = self._jittered(values, self.batches.batch_size, random)
        with torch.no_grad():
            x = self.transform(values, conditions)
            return x, self.transform.scale(conditions), conditions

    def uniform_conditions(self, random: torch.Generator) -> Tensor:
        """Return physical conditions for a batch, uniform over their ranges, ``(n, k)``."""
        low, high = self.ranges.unbind()
        size = (self.batches.batch_size, len(low))
        shares = torch.rand(size, generator=random, device=self.world.device)
        return low + (high - low) * self.world.part(shares)

    def examples(self, limit: Limit, seed: int) -> tuple[Samples, torch.Generator]:
        """Return training samples in random order, turned, and the random numbers for more."""
        rows, random = self.rows["train"], stream(seed, "fit")
        n = min(len(rows), limit.count(self.spec))
        samples = self.dataset.take(np.sort(random.choice(rows, n, replace=False)))
        numbers = torch.Generator().manual_seed(int(random.integers(2**63)))
        samples = samples[random.permutation(n)]
        size = min(4096, max(1, TURNED // math.prod(self.spec.shape)))
        for piece in torch.split(torch.from_numpy(samples.values), size):
            piece.copy_(self._turned(piece, len(piece), numbers))
        return samples, numbers

    def inputs(
        self, samples: Samples, numbers: torch.Generator, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return samples and conditions as the networks see them, and their simulations.

        Parameters
        ----------
        samples, numbers
            As `examples` gives them.
        device
            Where the transform is.
        """
        conditions = condition_tensor(self.spec, samples.conditions, len(samples)).to(device)
        values = self._jittered(torch.from_numpy(samples.values), len(samples), numbers).to(device)
        simulations = samples.simulations
        return (
            self.transform(values, conditions),
            self.transform.scale(conditions),
            None
            if simulations is None
            else torch.from_numpy(simulations.astype(np.int64)).to(device),
        )

    def _turned(self, values: Tensor, n: int, random: torch.Generator) -> Tensor:
        """Map samples as their symmetry allows; the maps are drawn for ``n``."""
        if self.symmetry is None:
            return values
        return self.symmetry(values, self._part(self.symmetry.draw(n, random), values))

    def _jittered(self, values: Tensor, n: int, random: torch.Generator) -> Tensor:
        """Spread counts over [n, n + 1), where the transform wants that; drawn as in `_turned`."""
        if not (width := 2 * self.transform.jitter):
            return values
        noise = torch.rand(n, *values.shape[1:], generator=random, device=values.device)
        return values + width * (self._part(noise, values) - 0.5)

    def _part(self, numbers: Tensor, values: Tensor) -> Tensor:
        """Return those of the numbers that are for these samples: all, or this process's."""
        return numbers if len(numbers) == len(values) else self.world.part(numbers)


def require_finite(samples: Samples, path: Path) -> None:
    """Raise InputError where samples of a file hold NaN or infinity."""
    bad = ~np.isfinite(samples.values).reshape(len(samples), -1).all(1)
    if bad.any():
        raise InputError(
            f"{path}: {bad.sum()} of {len(samples)} samples hold NaN or infinity; to see which: "
            f"emulators data check {path}"
        )
