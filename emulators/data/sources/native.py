"""Files of fields and images that this package wrote, as a source: to be cut."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Reader
from emulators.data.layouts import native
from emulators.data.sources.arrays import HDF5Array, NpyArray
from emulators.data.sources.base import Place, Source, Told
from emulators.errors import InputError

NAME = "native"
USES = ()


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether this package wrote the file."""
    return isinstance(first, h5py.File) and native.recognises(first)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the samples, with the numbers that are beside them, one each."""
    if len(files) > 1:
        raise InputError(f"{path}: {len(files)} files: give one")
    dataset = Dataset(files[0], NAME)
    if dataset.spec.grid is None:
        raise InputError(f"{path}: {dataset.spec.kind}s have no grid: they cannot be cut")
    n = len(dataset)
    beside = {
        key: (column, dataset.column(key))
        for key, column in dataset.beside.items()
        if not column.shape
    }
    _, numbers = beside.pop("simulation", (None, np.arange(n)))
    conditions = dataset.read_conditions(0, n)
    attributes = dataset.attributes
    dataset.close()
    array = HDF5Array(HDF5Reader(files[0]), native.KINDS[dataset.spec.kind])
    return Source(
        NAME,
        path,
        dataset.spec,
        lambda i: Place(array, (i,), channels=True),
        numbers.astype(np.int64),
        conditions,
        beside,
        attributes,
    )
