"""HIGAN: neutral hydrogen of IllustrisTNG in one huge cube, ``fields_z=5.hdf5``.

| key | shape | |
|---|---|---|
| ``delta_HI`` | (2048, 2048, 2048) | neutral hydrogen in a cell of 35 kpc/h |

The box is TNG100's, 75 Mpc/h wide; the redshift stands in the name.  Zamudio-Fernandez et al.,
arXiv:1904.12846.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from emulators.data.hdf5 import HDF5Reader
from emulators.data.sources.arrays import HDF5Array, NpyArray, same_shape
from emulators.data.sources.base import Place, Source, Told, field_spec

NAME = "higan"
USES = ("box",)
CUBE = "delta_HI"


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether the file has this layout's key."""
    return isinstance(first, h5py.File) and CUBE in first


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the cubes, one a file; redshift is a condition where all names say it."""
    cubes = [HDF5Array(HDF5Reader(file), CUBE) for file in files]
    cells = same_shape(cubes, 3)
    found = [re.search(r"z=(\d+(?:\.\d+)?)", file.stem) for file in files]
    redshifts = np.array([float(match[1]) for match in found if match], np.float32)
    conditions = {"redshift": redshifts} if len(redshifts) == len(files) else {}
    box = "75" if cells == (2048, 2048, 2048) else None
    facts = Told(box=box, unit="none", channels=CUBE, periodic=True)
    spec = field_spec(path, cells, told | facts, conditions)
    # Of several redshifts of one simulation: the same matter.
    numbers = np.zeros(len(files), np.int64)
    return Source(NAME, path, spec, lambda i: Place(cubes[i]), numbers, conditions, taken={CUBE})
