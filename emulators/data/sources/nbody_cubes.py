"""Cubes of 3DcosmoGAN: particle counts of one N-body box a file, ``256_nbody_350Mpc_0.h5``.

| key | shape | |
|---|---|---|
| ``data`` | (256, 256, 256) float64 | counts of particles at redshift 0 |

The length of the box (Mpc/h) stands in the name alone.  Perraudin et al., arXiv:1908.05519.
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

NAME = "nbody_cubes"
USES = ("box",)
NAMED = re.compile(r"\d+_nbody_(\d+)Mpc_\d+\.h(?:df)?5")


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether the files have this layout's key and names."""
    return isinstance(first, h5py.File) and "data" in first and bool(NAMED.match(files[0].name))


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the boxes."""
    arrays = [HDF5Array(HDF5Reader(file), "data") for file in files]
    for array in arrays:
        array.close()
    lengths = {match[1] for file in files if (match := NAMED.match(file.name))}
    if len(lengths) > 1:
        raise InputError(
            f"{path}: boxes of {' and '.join(sorted(lengths))} Mpc/h: convert them apart, "
            "as 'folder/*_350Mpc_*.h5'"
        )
    facts = Told(box=next(iter(lengths), None), unit="count", periodic=True)
    spec = field_spec(path, same_shape(arrays, 3), told | facts, {})
    numbers = np.arange(len(arrays))
    return Source(NAME, path, spec, lambda i: Place(arrays[i]), numbers, taken={"data"})
