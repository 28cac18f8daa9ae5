"""Any array of fields: a data set of an HDF5 file, or a ``.npy`` file.

Shape ``(N, [channels,] *cells)`` with cells along 2 or 3 axes.  What the array does not say is
given: the box, the unit, channels, whether it is periodic, where the conditions are.  Data sets of
one number an entry (``seed``, ``seconds``) are taken over.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.hdf5 import HDF5Reader
from emulators.data.layouts._columns import text
from emulators.data.layouts.native import CONDITIONS, KINDS
from emulators.data.sources.arrays import HDF5Array, LazyArray, NpyArray, table, words
from emulators.data.sources.base import Place, Source, Told, as_conditions, field_spec
from emulators.data.spec import Column
from emulators.errors import InputError

NAME = "array"
USES = ("key", "box", "conditions")
COLUMNS = {  # which simulations write too, and what they say of them
    "seconds": Column((), "s", "CPU time of the simulation, per sample that it gave"),
    "seed": Column((), "", "seed of the simulation"),
}


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return False: it must be asked for, with ``--from array``."""
    return False


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the entries of the array."""
    if len(files) > 1:
        raise InputError(f"{path}: {len(files)} files: give one")
    reader = None if files[0].suffix == ".npy" else HDF5Reader(files[0])
    array: LazyArray
    if reader is None:
        if told.key is not None:
            raise InputError(
                f"{path}: a .npy file has no data sets, --key {told.key} is not for it"
            )
        array = NpyArray(files[0])
    else:
        if told.key is None:
            raise InputError(
                f"{path}: give the data set to read, --key: there are {', '.join(reader.file)}"
            )
        array = HDF5Array(reader, told.key)
    n, *rest = array.shape
    named = len(told.channels.split(",")) if told.channels else 1
    with_channels = len(rest) == 4 or (len(rest) == 3 and rest[0] == named)
    channels, cells = (rest[0], rest[1:]) if with_channels else (1, rest)
    conditions = _conditions(path, reader, told.conditions, n)
    spec = field_spec(path, tuple(cells), told, conditions, channels=channels)
    taken = {told.key, (told.conditions or "").partition(":")[0]}
    beside = _beside(reader.file, taken, n) if reader else {}
    taken |= beside.keys()
    _, numbers = beside.pop("simulation", (None, np.arange(n)))
    return Source(
        NAME,
        path,
        spec,
        lambda i: Place(array, (i,), channels=with_channels),
        numbers.astype(np.int64),
        conditions,
        beside,
        _attributes(reader.file) if reader else {},
        taken={key for key in taken if key},
    )


def _conditions(
    path: Path, reader: HDF5Reader | None, said: str | None, n: int
) -> dict[str, npt.NDArray[np.float32]]:
    if said is None:
        return {}
    key, _, listed = said.partition(":")
    names = [name.strip() for name in listed.split(",")] if listed else []
    if reader is None or key not in reader.file:
        if reader is not None and not Path(key).is_file():
            raise InputError(f"{path}: there is no data set and no file '{key}' of conditions")
        return as_conditions(path, table(Path(key)), names, n)
    values = HDF5Array(reader, key)
    if len(values.shape) > 2:
        raise InputError(f"{path}: '{key}' has shape {values.shape}, not one row an entry")
    return as_conditions(
        path, values[...,], names or words(reader.file[key].attrs.get("names", ())), n
    )


def _attributes(file: h5py.File) -> dict[str, Any]:
    """Return texts and numbers that the root of a file has; what cannot be read is left out."""
    found: dict[str, Any] = {}
    for name in file.attrs:
        with contextlib.suppress(OSError, TypeError, ValueError, RuntimeError):
            value = file.attrs[name]
            if isinstance(value, str | bytes) or np.asarray(value).dtype.kind in "fiu":
                found[name] = value
    return found


def _beside(
    file: h5py.File, taken: set[str | None], n: int
) -> dict[str, tuple[Column, npt.NDArray[Any]]]:
    found = {}
    for key in sorted(set(file) - taken - {*KINDS.values(), CONDITIONS}):
        values = file.get(key)
        if isinstance(values, h5py.Dataset) and values.shape == (n,) and values.dtype.kind in "fiu":
            known = COLUMNS.get(key, Column((), "", "as in the source"))
            column = Column(
                (),
                text(values, "units") or known.unit,
                text(values, "description") or known.description,
                dtype=values.dtype.str[1:],
            )
            found[key] = column, values[:]
    return found
