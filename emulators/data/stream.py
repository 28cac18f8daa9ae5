"""Endless shuffled batches for training, from memory or from a file larger than memory."""

from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators import random
from emulators.data.dataset import Dataset
from emulators.data.spec import Samples
from emulators.errors import InputError

__all__ = ["BatchStream"]


class BatchStream:
    """Batches of some rows of a file: each row once an epoch, batch after batch without end.

    The order of an epoch depends on the seed and the number of the epoch alone; batch ``k`` is
    the ``k``-th piece of the endless row of epochs, so that any batch can be had directly and a
    resumed training sees what an uninterrupted one would have.  Rows that fit in memory are read
    once and shuffled as a whole.  Otherwise blocks of neighbouring rows are dealt at random into
    buffers, each buffer is read in file order and shuffled within.

    Parameters
    ----------
    dataset
        Where the samples are.
    rows
        The rows to use, each once.
    batch_size
        Samples of one batch of all ranks together.
    seed
        Seed of the order.
    rank, world_size
        Of the processes that share each batch: rank ``r`` gets the ``r``-th of equal parts, so
        that all ranks together see the same batches whatever the number of processes.
    memory_limit
        Bytes that samples may take in memory.
    start
        The batch that iteration begins with.

    Raises
    ------
    InputError
        There are no rows, or ranks cannot share a batch equally.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: npt.ArrayLike,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        memory_limit: int = 2 << 30,
        start: int = 0,
    ) -> None:
        self.dataset, self.batch_size, self.seed, self.start = dataset, batch_size, seed, start
        self.rows = np.unique(np.asarray(rows, dtype=np.int64))
        self._rank, self._world_size = rank, world_size
        if not len(self.rows):
            raise InputError(f"{dataset.path}: no rows to train on")
        if batch_size < 1 or batch_size % world_size:
            raise InputError(
                f"batch size {batch_size} cannot be shared equally by {world_size} processes"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        self.in_memory = len(self.rows) * dataset.sample_bytes <= memory_limit
        # Runs of rows that lie in the same chunk of the file are read together.
        cuts = np.flatnonzero(np.diff(self.rows // dataset.chunk_rows)) + 1
        self._blocks = np.split(np.arange(len(self.rows)), cuts)
        # Two buffers are kept, a third is being read and sorted.
        block_bytes = dataset.chunk_rows * dataset.sample_bytes
        self._blocks_a_buffer = max(2, memory_limit // 4 // block_bytes)
        self._forget()

    def _forget(self) -> None:
        self._samples: Samples | None = None
        self._buffers: OrderedDict[tuple[int, int], Samples] = OrderedDict()
        self._order = lru_cache(2)(self._draw_order)

    def __getstate__(self) -> dict[str, Any]:
        kept = self.__dict__.copy()
        for name in ("_samples", "_buffers", "_order"):
            del kept[name]
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __iter__(self) -> Iterator[Samples]:
        index = self.start
        while True:
            yield self.batch(index)
            index += 1

    def batch(self, index: int) -> Samples:
        """Return this rank's part of batch ``index``, ``batch_size / world_size`` samples."""
        share = self.batch_size // self._world_size
        position = index * self.batch_size + self._rank * share
        end, parts = position + share, []
        while position < end:
            epoch, first = divmod(position, len(self.rows))
            last = min(len(self.rows), first + end - position)
            parts += self._part(epoch, first, last)
            position += last - first
        return _join(parts)

    def _part(self, epoch: int, first: int, last: int) -> list[Samples]:
        """Return positions ``first`` to ``last`` of an epoch."""
        if self.in_memory:
            if self._samples is None:
                self._samples = self.dataset.take(self.rows)
            return [self._samples[self._order(epoch)[0][first:last]]]
        parts, begin = [], 0
        for number, places in enumerate(self._order(epoch)):
            a, b = max(first - begin, 0), min(last - begin, len(places))
            if a < b:
                parts.append(self._buffer(epoch, number, places)[a:b])
            begin += len(places)
        return parts

    def _buffer(self, epoch: int, number: int, places: npt.NDArray[np.int64]) -> Samples:
        key = epoch, number
        if key not in self._buffers:
            if len(self._buffers) == 2:
                self._buffers.popitem(last=False)
            self._buffers[key] = self.dataset.take(self.rows[places])
        return self._buffers[key]

    def _draw_order(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """Return the order of an epoch, buffer by buffer: indices into the rows."""
        generator = random.stream(self.seed, "epoch", epoch)
        if self.in_memory:
            return [generator.permutation(len(self.rows))]
        blocks, size = generator.permutation(len(self._blocks)), self._blocks_a_buffer
        buffers = [blocks[i : i + size] for i in range(0, len(blocks), size)]
        return [
            generator.permutation(np.concatenate([self._blocks[i] for i in buffer]))
            for buffer in buffers
        ]


def _join(parts: list[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    return Samples(
        np.concatenate([part.values for part in parts]),
        {k: np.concatenate([part.conditions[k] for part in parts]) for k in parts[0].conditions},
    )
