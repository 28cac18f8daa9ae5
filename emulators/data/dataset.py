"""One file of samples: its spec, and any of its rows in physical units."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from emulators import random
from emulators.data.hashes import ANCESTOR, ANCESTOR_COLUMN, TRAINING, Hashes, sample_hashes
from emulators.data.hdf5 import (
    HDF5Reader,
    content_hash,
    first_line,
    require_memory,
    rows_at_once,
)
from emulators.data.layouts import LAYOUTS, find_layout
from emulators.data.layouts._columns import UNSAID, beside, matches, native_attributes
from emulators.data.layouts._conditions import column_condition, is_number
from emulators.data.spec import Column, Samples, SampleSpec, ShowerGeometry
from emulators.errors import InputError

__all__ = ["Dataset", "split_rows"]

RECORDED = ("simulation", "seconds", "seed")  # of how samples were made, not of what they are
T = TypeVar("T")


class Dataset:
    """The samples of one HDF5 file.

    Picklable; opened lazily in each process.

    Parameters
    ----------
    path
        The file.
    layout
        Name of its layout; by default found by its keys.
    geometry
        Its geometry, where it has showers and neither the file nor its layout says it.
    conditions
        Columns of one number a sample that are conditions too, by name.

    Raises
    ------
    InputError
        The file cannot be read, is of no known layout, does not fit the geometry, or has no such
        columns.
    """

    layout: str
    spec: SampleSpec

    def __init__(
        self,
        path: str | Path,
        layout: str | None = None,
        geometry: ShowerGeometry | None = None,
        conditions: Sequence[str] = (),
    ) -> None:
        self._reader = HDF5Reader(path)
        self.path = self._reader.path
        module = find_layout(self._reader.file, layout)
        self.layout = module.NAME
        try:
            self.spec = module.read_spec(self._reader.file, geometry)
        except InputError:
            raise
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read: {first_line(error)}") from None
        keys = module.columns(self.spec)
        lengths = {key: len(self._reader.file[key]) for key in keys}
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise InputError(f"{self.path}: its data sets differ in length: {text}")
        self._length = next(iter(lengths.values()))
        self._add_conditions(conditions)
        self.chunk_rows, self._block = rows_at_once([self._reader.file[key] for key in keys])

    def _add_conditions(self, names: Sequence[str]) -> None:
        known = [c.name for c in self.spec.conditions]
        file, columns = self._reader.file, self._beside()
        added = [column_condition(file, n, columns, known) for n in names if n not in known]
        self.spec = replace(self.spec, conditions=(*self.spec.conditions, *added))

    def __len__(self) -> int:
        return self._length

    @cached_property
    def sha256(self) -> str:
        """The hash of the file's content."""
        return content_hash(self.path)

    @cached_property
    def hashes(self) -> Hashes:
        """Hash of what each sample holds, ``(n,)``: the same in every copy of it."""
        starts = range(0, len(self), self._block)
        pieces = (self.read(i, min(i + self._block, len(self))).values for i in starts)
        return np.concatenate([np.empty(0, np.uint64), *map(sample_hashes, pieces)])

    @cached_property
    def ancestors(self) -> Hashes:
        """Hash of what each sample was cut from, ``(n,)``; else of the first of its simulation."""
        if self.beside.get(ANCESTOR) == ANCESTOR_COLUMN:
            return self.column(ANCESTOR)
        if self.simulations is None:
            return self.hashes
        _, first, which = np.unique(self.simulations, return_index=True, return_inverse=True)
        return np.concatenate([sample_hashes(self.read(i, i + 1).values) for i in first])[which]

    @cached_property
    def training(self) -> dict[str, Hashes]:
        """Hashes of the samples that the emulator of a generated file has read, by split part."""
        group = self._reader.file.get(TRAINING)
        columns = group.items() if isinstance(group, h5py.Group) else ()
        return {
            part: column[:]
            for part, column in columns
            if isinstance(column, h5py.Dataset) and column.dtype == "u8" and column.ndim == 1
        }

    @property
    def sample_bytes(self) -> int:
        """Memory that one sample takes."""
        return 4 * (math.prod(self.spec.shape) + len(self.spec.conditions))

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file's root says beside its format and spec: origin, licence, generator..."""
        native, attributes = native_attributes(self.spec), self._reader.file.attrs
        # Those of conditions that do not vary: what else has such a name, as "seed", wins.
        plain = {c.name: c.minimum for c in self.spec.conditions if native.get(c.name) == c.minimum}
        values: dict[str, Any] = {}
        for name in attributes:
            # An attribute that cannot be read (a reference, an unknown type) is no reason to stop.
            with contextlib.suppress(OSError, TypeError, ValueError, RuntimeError):
                if name not in native or attributes[name] != plain.get(name, attributes[name]):
                    values[name] = attributes[name]
        return values

    def read(self, start: int, stop: int) -> Samples:
        """Return rows ``start`` to ``stop`` in physical units, as `Samples` says."""
        # Twice: the file's own precision or its separate layers stand beside the result.
        require_memory(2 * (stop - start) * self.sample_bytes, f"{self.path}: {stop - start} rows")
        samples: Samples = self._read(LAYOUTS[self.layout].read, start, stop)
        return samples

    def read_conditions(self, start: int, stop: int) -> dict[str, npt.NDArray[np.float32]]:
        """Return the conditions alone of rows ``start`` to ``stop``, in the units of the spec."""
        conditions: dict[str, npt.NDArray[np.float32]]
        conditions = self._read(LAYOUTS[self.layout].read_conditions, start, stop)
        return conditions

    def _read(self, read: Callable[[h5py.File, SampleSpec, slice], T], start: int, stop: int) -> T:
        if not 0 <= start <= stop <= len(self):
            raise InputError(f"{self.path}: rows {start} to {stop} of {len(self)} do not exist")
        try:
            return read(self._reader.file, self.spec, slice(start, stop))
        except InputError:
            raise
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: rows {start} to {stop} cannot be read: {first_line(error)}"
            ) from None

    def take(self, rows: npt.ArrayLike) -> Samples:
        """Return any rows in the order asked; they are read block by block in file order."""
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise InputError(f"{self.path}: rows {rows.min()} to {rows.max()} of {len(self)}")
        require_memory(len(rows) * self.sample_bytes, f"{self.path}: {len(rows)} rows")
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        values = np.empty((len(rows), *self.spec.shape), np.float32)
        conditions = {c.name: np.empty(len(rows), np.float32) for c in self.spec.conditions}
        for places in self._places(wanted):
            first = int(wanted[places[0]])
            block = self.read(first, int(wanted[places[-1]]) + 1)
            picked, target = wanted[places] - first, order[places]
            values[target] = block.values[picked]
            for name, column in conditions.items():
                column[target] = block.conditions[name][picked]
        simulations = None if self.simulations is None else self.simulations[rows]
        return Samples(values, conditions, simulations)

    def _places(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
        """Cut sorted rows where a block of the file ends; return places in ``rows``."""
        cuts = np.flatnonzero(np.diff(rows // self._block)) + 1
        return np.split(np.arange(len(rows)), cuts) if len(rows) else []

    @cached_property
    def beside(self) -> dict[str, Column]:
        """What the file has beside its samples, one entry each, less the layout's own."""
        return self._beside()

    def _beside(self) -> dict[str, Column]:
        module = LAYOUTS[self.layout]
        own = {*module.columns(self.spec), *module.optional(self.spec)}
        return beside(self._reader.file, own, len(self))

    @property
    def unread(self) -> tuple[str, ...]:
        """What else the file has: groups, and data sets of other lengths or types."""
        module, file = LAYOUTS[self.layout], self._reader.file
        optional = {k for k, c in module.optional(self.spec).items() if matches(file.get(k), c)}
        return tuple(sorted({*file} - {*module.columns(self.spec), *optional, *self.beside}))

    @property
    def unused(self) -> tuple[list[str], list[str]]:
        """What is beside the samples and no condition: what could be one, and all else."""
        used = {c.name for c in self.spec.conditions}
        columns = {
            key: column
            for key, column in self.beside.items()
            if key not in used and (key not in RECORDED or column.description == UNSAID)
        }
        numbers = [key for key, column in columns.items() if is_number(column)]
        return numbers, [key for key in columns if key not in numbers] + list(self.unread)

    def take_extras(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        """Return what is kept beside these samples, by key; ``rows`` sorted.

        That is `beside`, and what the layout has of its own (CaloGAN's overflow).
        """
        file, optional = self._reader.file, LAYOUTS[self.layout].optional(self.spec)
        keys = [
            *(
                k
                for k, c in optional.items()
                if matches(file.get(k), c) and len(file[k]) == len(self)
            ),
            *self.beside,
        ]
        return {key: self._entries(key, rows) for key in keys}

    def column(self, key: str) -> npt.NDArray[Any]:
        """Return all entries of a data set that is `beside` the samples."""
        return self._entries(key, np.arange(len(self)))

    def _entries(self, key: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        column = self._reader.file[key]
        entries = np.empty((len(rows), *column.shape[1:]), column.dtype)
        for places in self._places(rows):
            first = int(rows[places[0]])
            entries[places] = column[first : int(rows[places[-1]]) + 1][rows[places] - first]
        return entries

    def split(self, validation: float, test: float, seed: int) -> dict[str, npt.NDArray[np.int64]]:
        """Cut the rows as `split_rows` does; all rows of one simulation go into the same set.

        Where the file has a column ``simulation`` in which rows share a number (slabs of one box,
        snapshots of one run), simulations are cut instead of rows.
        """
        numbers = self.simulations
        if numbers is None:
            return split_rows(len(self), validation, test, seed)
        simulations, which = np.unique(numbers, return_inverse=True)
        parts = split_rows(len(simulations), validation, test, seed)
        return {name: np.flatnonzero(np.isin(which, part)) for name, part in parts.items()}

    @cached_property
    def simulations(self) -> npt.NDArray[Any] | None:
        """The simulation that each row is from, ``(n,)``; None where every row has its own."""
        column = self.beside.get("simulation")
        if column is None or column.shape:
            return None
        numbers = self.column("simulation")
        return numbers if len(np.unique(numbers)) < len(numbers) else None

    def close(self) -> None:
        """Close the file; it is opened again when it is next used."""
        self._reader.close()


def split_rows(
    n: int, validation: float, test: float, seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Cut rows into three disjoint sets, at random; depends on the arguments alone.

    Parameters
    ----------
    n
        Number of rows.
    validation, test
        Their shares of the rows, 0 to 1; a share above zero gets at least one row.
    seed
        Seed of the permutation.

    Returns
    -------
    Sorted rows under ``train``, ``validation`` and ``test``.
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise InputError(
            f"split: validation = {validation} and test = {test} must be 0 or more and leave "
            "rows to train on"
        )
    sizes = [max(round(share * n), int(share > 0)) for share in (validation, test)]
    if sum(sizes) >= n:
        raise InputError(f"split: {n} rows are too few for {sizes[0]} + {sizes[1]} to be set aside")
    rows = random.stream(seed, "split").permutation(n)
    parts = np.split(rows, [sizes[0], sum(sizes)])
    return {name: np.sort(part) for name, part in zip(("validation", "test", "train"), parts)}
