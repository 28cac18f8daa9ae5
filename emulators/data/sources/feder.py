"""Feder et al. 2020: snapshots of N-body boxes, ``n512_512Mpc_cosmo1_seed3_gridpart.h5``.

| key | shape | |
|---|---|---|
| ``000`` to ``009`` | (512, 512, 512) | counts at redshift 10, 7.5, 5, 3, 2, 1.5, 1, 0.5, 0.25, 0 |
| ``seed3_z009`` | (512, 512, 512) | the same, of several seeds in one file |

Snapshots of one seed are of one simulation.  arXiv:2005.03050.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from emulators.data.hdf5 import HDF5Reader
from emulators.data.sources.arrays import HDF5Array, NpyArray, same_shape
from emulators.data.sources.base import Place, Source, Told, field_spec
from emulators.errors import InputError

NAME = "feder"
USES = ("box",)
KEY = re.compile(r"(?:seed(\d+)_z)?(\d{3})")
REDSHIFTS = (10.0, 7.5, 5.0, 3.0, 2.0, 1.5, 1.0, 0.5, 0.25, 0.0)


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether the keys of the file are those of snapshots."""
    return isinstance(first, h5py.File) and any(KEY.fullmatch(key) for key in first)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the boxes: file after file, by key; redshift is a condition."""
    arrays, redshifts, names = [], [], []
    for file in files:
        reader = HDF5Reader(file)
        for key in sorted(reader.file):
            if not (match := KEY.fullmatch(key)):
                continue
            if int(match[2]) >= len(REDSHIFTS):
                raise InputError(
                    f"{file}: '{key}' is snapshot {int(match[2])}: redshifts are known of "
                    f"{len(REDSHIFTS)}"
                )
            arrays.append(HDF5Array(reader, key))
            redshifts.append(REDSHIFTS[int(match[2])])
            names.append((file.name, match[1]))
        reader.close()
    if not arrays:
        raise InputError(f"{path}: has no keys of snapshots, as 009 or seed1_z009")
    lengths = {match[1] for f in files if (match := re.search(r"_(\d+)Mpc", f.name))}
    facts = Told(box=lengths.pop() if len(lengths) == 1 else None, unit="count", periodic=True)
    conditions = {"redshift": np.array(redshifts, np.float32)}
    spec = field_spec(path, same_shape(arrays, 3), told | facts, conditions)
    known = list(dict.fromkeys(names))
    numbers = np.array([known.index(name) for name in names])
    taken = {array.key for array in arrays}
    return Source(NAME, path, spec, lambda i: Place(arrays[i]), numbers, conditions, taken=taken)
