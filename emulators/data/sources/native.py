"""Files of fields and images that this package wrote, as a source: to be cut, or joined."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from emulators.data.dataset import Dataset
from emulators.data.hashes import ANCESTOR
from emulators.data.hdf5 import HDF5Reader
from emulators.data.layouts import native
from emulators.data.origins import origins, without_source
from emulators.data.sources.arrays import HDF5Array, NpyArray
from emulators.data.sources.base import Place, Source, Told, stated
from emulators.data.spec import Condition, SampleSpec
from emulators.errors import InputError

NAME = "native"
USES = ("components",)


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether this package wrote the file."""
    return isinstance(first, h5py.File) and native.recognises(first)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the samples of all files, with the numbers that are beside them, one each.

    Simulations of different files are different ones: they are numbered anew where there are
    several files.
    """
    datasets = [Dataset(file, NAME) for file in files]
    specs = [stated(d.path, d.spec, told.components) for d in datasets]
    first, spec = datasets[0], specs[0]
    if spec.grid is None:
        raise InputError(f"{path}: {spec.kind}s have no grid: they cannot be cut")
    for dataset, other in zip(datasets[1:], specs[1:]):
        for name in ("kind", "shape", "unit", "grid"):
            if getattr(other, name) != getattr(spec, name):
                raise InputError(
                    f"{dataset.path} and {first.path} differ in {name}: join like files"
                )
        if [c.name for c in other.conditions] != [c.name for c in spec.conditions]:
            raise InputError(f"{dataset.path} and {first.path} have different conditions")
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
        if key not in ("simulation", ANCESTOR)
        and not column.shape
        and all(d.beside.get(key) == column for d in datasets)
    }
    attributes = {
        key: value
        for key, value in first.attributes.items()
        if all(np.array_equal(d.attributes.get(key, ""), value) for d in datasets[1:])
    }
    joined = []
    if len(datasets) > 1:
        attributes = without_source(attributes)
        joined = [
            {"source": d.path.name, "source_sha256": d.sha256, "origins": origins(d.attributes)}
            for d in datasets
        ]
    alike = all(
        d.training.keys() == first.training.keys()
        and all(np.array_equal(d.training[k], v) for k, v in first.training.items())
        for d in datasets
    )
    cut = any(ANCESTOR in d.beside for d in datasets)
    ancestors = np.concatenate([d.ancestors for d in datasets]) if cut else None
    for dataset in datasets:
        dataset.close()
    key = native.KINDS[spec.kind]
    arrays = [HDF5Array(HDF5Reader(file), key) for file in files]
    return Source(
        NAME,
        path,
        replace(spec, conditions=_joined(specs)),
        lambda i: Place(arrays[entries[i][0]], (entries[i][1],), channels=True),
        np.concatenate(numbers),
        {name: np.concatenate([table[name] for table in tables]) for name in tables[0]},
        beside,
        attributes,
        ancestors=ancestors,
        joined=joined,
        training=first.training if alike else {},
        taken={key, native.CONDITIONS, "simulation", *beside},
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
