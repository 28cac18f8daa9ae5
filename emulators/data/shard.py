"""The part of a file that is being collected in memory before it is written."""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.layouts import LAYOUTS
from emulators.data.spec import Column, Samples, SampleSpec

__all__ = ["Shard"]


class Shard:
    """Room for some rows of a file, filled in place: one by one costs no more than all at once.

    Parameters
    ----------
    spec
        What the samples are.
    extras
        The data sets beside them, by key.
    rows
        How many samples it takes.
    """

    def __init__(self, spec: SampleSpec, extras: Mapping[str, Column], rows: int) -> None:
        self.spec, self.rows, self.filled = spec, rows, 0
        self._samples = Samples(
            np.empty((rows, *spec.shape), np.float32),
            {c.name: np.empty(rows, np.float32) for c in spec.conditions},
        )
        self._extras = {k: np.empty((rows, *c.shape), c.dtype) for k, c in extras.items()}

    def fill(self, samples: Samples, extras: Mapping[str, npt.NDArray[Any]]) -> int:
        """Copy as many of these samples as there is room for; return how many."""
        if extras.keys() != self._extras.keys():
            before = ", ".join(self._extras) or "nothing"
            raise ValueError(f"beside the samples before came {before}")
        n = min(len(samples), self.rows - self.filled)
        rows = slice(self.filled, self.filled + n)
        self._samples.values[rows] = samples.values[:n]
        for name, column in self._samples.conditions.items():
            column[rows] = samples.conditions[name][:n]
        for key, column in self._extras.items():
            column[rows] = extras[key][:n]
        self.filled += n
        return n

    def write(self, file: h5py.File) -> None:
        """Write everything to the data sets of a file."""
        LAYOUTS[self.spec.layout].write(file, self.spec, 0, self._samples)
        for key, entries in self._extras.items():
            file[key][:] = entries
