"""Files of fields and images that this package wrote, as a source: to be cut, or joined."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Reader
from emulators.data.layouts import native
from emulators.data.sources.arrays import HDF5Array, NpyArray
from emulators.data.sources.base import Place, Source, Told
from emulators.data.spec import Condition, SampleSpec
from emulators.errors import InputError

NAME = "native"
USES = ()


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether this package wrote the file."""
    return isinstance(first, h5py.File) and native.recognises(first)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the samples of all files, with the numbers that are beside them, one each.

    Simulations of different files are different ones: they are numbered anew where there are
    several files.
    """
    datasets = [Dataset(file, NAME) for file in files]
    first = datasets[0]
    if first.spec.grid is None:
        raise InputError(f"{path}: {first.spec.kind}s have no grid: they cannot be cut")
    for other in datasets[1:]:
        for name in ("kind", "shape", "unit", "grid"):
            if getattr(other.spec, name) != getattr(first.spec, name):
                raise InputError(f"{other.path} and {first.path} differ in {name}: join like files")
        if [c.name for c in other.spec.conditions] != [c.name for c in first.spec.conditions]:
            raise InputError(f"{other.path} and {first.path} have different conditions")
    lengths = [len(d) for d in datasets]
    entries = [(file, row) for file, n in enumerate(lengths) for row in range(n)]
    tables = [d.read_conditions(0, n) for d, n in zip(datasets, lengths)]
    numbers, following = [], 0
    for dataset, n in zip(datasets, lengths):
        own = dataset.column("simulation") if "simulation" in dataset.beside else np.arange(n)
        if len(datasets) > 1:
            own = following + np.unique(own, return_inverse=True)[1]
        numbers.append(own.astype(np.int64))
        following = int(numbers[-1].max()) + 1
    beside = {
        key: (column, np.concatenate([d.column(key) for d in datasets]))
        for key, column in first.beside.items()
        if key != "simulation"
        and not column.shape
        and all(d.beside.get(key) == column for d in datasets)
    }
    attributes = {
        key: value
        for key, value in first.attributes.items()
        if all(np.array_equal(d.attributes.get(key, ""), value) for d in datasets[1:])
    }
    for dataset in datasets:
        dataset.close()
    key = native.KINDS[first.spec.kind]
    arrays = [HDF5Array(HDF5Reader(file), key) for file in files]
    return Source(
        NAME,
        path,
        replace(first.spec, conditions=_joined([d.spec for d in datasets])),
        lambda i: Place(arrays[entries[i][0]], (entries[i][1],), channels=True),
        np.concatenate(numbers),
        {name: np.concatenate([table[name] for table in tables]) for name in tables[0]},
        beside,
        attributes,
        {key, native.CONDITIONS, "simulation", *beside},
    )


def _joined(specs: Sequence[SampleSpec]) -> tuple[Condition, ...]:
    """Return the conditions, with ranges that cover those of all files."""
    return tuple(
        replace(
            condition,
            minimum=min(spec.condition(condition.name).minimum for spec in specs),
            maximum=max(spec.condition(condition.name).maximum for spec in specs),
        )
        for condition in specs[0].conditions
    )
