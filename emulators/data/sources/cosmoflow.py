"""CosmoFlow: particle counts of one simulation a file, ``univ_ics_2019-03_a*.hdf5``.

| key | shape | |
|---|---|---|
| ``full`` | (512, 512, 512, 4) | counts; the last axis is the redshift |
| ``namePar``, ``physPar`` | (4,) | Omega_m, sigma_8, N_spec, H_0 |
| ``redshifts`` | (4,) | 0, 0.5, 1.5, 3; optional |

Every file gives an entry for each redshift, and they are of one simulation.  The box is 512 Mpc/h
wide.  Mathuriya et al., arXiv:1808.04728.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.hdf5 import HDF5Reader
from emulators.data.sources.arrays import HDF5Array, NpyArray, same_shape, words
from emulators.data.sources.base import HUBBLE, Place, Source, Told, as_conditions, field_spec
from emulators.errors import InputError

NAME = "cosmoflow"
USES = ("box",)
REDSHIFTS = (0.0, 0.5, 1.5, 3.0)
PARAMETERS = ["Omega_m", "sigma_8", "N_spec", "H_0"]
NAMES = {"Omega_m": "omega_m", "N_spec": "n_s", "H_0": "h_0"}  # as other sources call them


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether the file has this layout's keys."""
    return isinstance(first, h5py.File) and {"full", "physPar"} <= set(first)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the boxes: file after file, each at its redshifts."""
    arrays, rows, names = [], [], PARAMETERS
    for i, file in enumerate(files):
        reader = HDF5Reader(file)
        arrays.append(HDF5Array(reader, "full"))
        n = arrays[-1].shape[-1]
        parameters = HDF5Array(reader, "physPar")[...,].reshape(-1)
        here = _names(reader.file) or PARAMETERS[: len(parameters)]
        names = names if i else here
        if here != names or len(parameters) != len(names):
            raise InputError(f"{file}: has parameters {here}, {files[0].name} has {names}")
        redshifts = _redshifts(reader, n)
        rows += [[*parameters, z] for z in redshifts]
        reader.close()
    shape = same_shape(arrays, 4)
    cells, n = shape[:3], shape[3]
    called = [*(NAMES.get(name, name) for name in names), "redshift"]
    conditions = as_conditions(path, np.array(rows), called, len(rows))
    box = "512" if cells == (512, 512, 512) else None
    facts = Told(box=box, unit="count", periodic=True)
    spec = field_spec(path, cells, told | facts, conditions, units=HUBBLE)

    def place(i: int) -> Place:
        return Place(arrays[i // n], after=(i % n,))

    taken = {"full", "physPar", "namePar", "redshifts"}
    numbers = np.repeat(np.arange(len(files)), n)
    return Source(NAME, path, spec, place, numbers, conditions, taken=taken)


def _names(file: h5py.File) -> list[str]:
    found = file.get("namePar")
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "OS":
        return []
    return words(found[()])


def _redshifts(reader: HDF5Reader, n: int) -> npt.NDArray[np.float64]:
    values = np.array(REDSHIFTS)
    if "redshifts" in reader.file:
        values = HDF5Array(reader, "redshifts")[...,].reshape(-1).astype(np.float64)
    if len(values) != n:
        raise InputError(f"{reader.path}: full has {n} redshifts, known are {values.tolist()}")
    return values
