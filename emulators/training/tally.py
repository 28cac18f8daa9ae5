"""What the updates of a training say for its log, and whether that is still reasonable."""

from collections.abc import Mapping

import torch
from torch import Tensor

from emulators.training.distributed import World

__all__ = ["Tally", "TrainingDiverged"]

LARGEST_SCORE = 1e4


class TrainingDiverged(RuntimeError):
    """A loss or a score left every reasonable range; the last checkpoint is good."""


class Tally:
    """Sums of the numbers that updates give, kept on the device: to read them waits for it.

    Of ``score_largest`` it is the maximum that is kept.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, numbers: Mapping[str, Tensor]) -> None:
        """Add the numbers of an update, by name."""
        for name, number in numbers.items():
            total = self._sums.get(name)
            if total is None:
                self._sums[name] = number.clone()
            elif name == "score_largest":
                torch.maximum(total, number, out=total)
            else:
                total += number
            self._counts[name] = self._counts.get(name, 0) + 1

    def healthy(self) -> bool:
        """Tell whether losses and scores since `take_means` are finite and small."""
        if not self._sums:
            return True
        largest = self._sums["score_largest"]
        total = torch.stack([v for k, v in self._sums.items() if k != "score_largest"]).sum()
        # written so that NaN is not healthy
        return bool(((largest <= LARGEST_SCORE) & total.isfinite()).item())

    def take_means(self, world: World) -> dict[str, float]:
        """Return what was added since the last call, averaged over updates and processes."""
        if not self._sums:
            return {}
        values = [v if k == "score_largest" else v / self._counts[k] for k, v in self._sums.items()]
        means = dict(zip(self._sums, world.mean(torch.stack(values)).tolist()))
        self._sums, self._counts = {}, {}
        return means
