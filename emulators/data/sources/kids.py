"""Convergence maps with labels, ``kids.h5``: 57 cosmologies, noise-free, redshifts of KiDS-450.

| key | shape | |
|---|---|---|
| ``train_maps`` | (N, 128, 128) | convergence; a map is 5 degrees wide |
| ``train_labels`` | (N, 2) | Omega_m, sigma_8 |

The file does not say which simulation a map is from: maps of one cosmology count as one.
Perraudin et al., arXiv:2004.08139.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from emulators.data.hdf5 import HDF5Reader
from emulators.data.sources.arrays import HDF5Array, NpyArray, same_shape
from emulators.data.sources.base import Place, Source, Told, as_conditions, field_spec
from emulators.errors import InputError

NAME = "kids"
USES = ("key", "box")
MAPS = "train_maps"
PUBLISHED = (128, 128), "5 deg"


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether the file has this layout's keys."""
    return isinstance(first, h5py.File) and {MAPS, "train_labels"} <= set(first)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the maps of one file, those of ``told.key`` if it is given."""
    if len(files) > 1:
        raise InputError(f"{path}: {len(files)} files: give one file of maps and labels")
    reader = HDF5Reader(files[0])
    key = told.key or MAPS
    taken = {key, key.replace("maps", "labels")}
    maps, labels = HDF5Array(reader, key), HDF5Array(reader, key.replace("maps", "labels"))
    n, *cells = same_shape([maps], 3)
    values = labels[:,]
    conditions = as_conditions(path, values, ["omega_m", "sigma_8"], n)
    box = PUBLISHED[1] if tuple(cells) == PUBLISHED[0] else None
    facts = Told(box=box, unit="none", channels="convergence", periodic=False)
    spec = field_spec(path, tuple(cells), told | facts, conditions, box_unit="deg")
    _, cosmologies = np.unique(values, axis=0, return_inverse=True)
    numbers = cosmologies.reshape(-1).astype(np.int64)
    return Source(NAME, path, spec, lambda i: Place(maps, (i,)), numbers, conditions, taken=taken)
