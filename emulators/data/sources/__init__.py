"""Public data sets of fields that are read, and never written: one module a layout.

A module has ``NAME``, ``USES`` (which of `Told` it has a use for, beside unit, channels, components
and periodic), ``recognises`` and ``open_source``, which gives a `Source`: entries of which any
region is read by itself, so that a cube larger than memory can be cut.  To add one, write it and
enter it in `SOURCES`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import h5py

from emulators.config import nearest
from emulators.data.hdf5 import HDF5Reader
from emulators.data.sources import (
    array,
    camels,
    cosmoflow,
    feder,
    higan,
    kids,
    map2map,
    mustafa,
    native,
    nbody_cubes,
)
from emulators.data.sources.arrays import NpyArray, files_of
from emulators.data.sources.base import Place, Source, Told, stated
from emulators.errors import InputError

__all__ = ["SOURCES", "Place", "Source", "Told", "open_source", "stated"]

log = logging.getLogger(__name__)

SOURCES: dict[str, ModuleType] = {
    m.NAME: m
    for m in (
        nbody_cubes, kids, cosmoflow, higan, feder, camels, map2map, mustafa, array, native
    )
}  # fmt: skip


def open_source(path: str | Path, layout: str | None = None, told: Told | None = None) -> Source:
    """Open fields of a public layout.

    Parameters
    ----------
    path
        A file, a folder of files, or a pattern of them (``boxes/*_350Mpc_*.h5``).
    layout
        Name of the layout; by default it is recognised by keys and names.
    told
        What the files do not say.

    Raises
    ------
    InputError
        There are no such files, they are of no known layout or of several, they are damaged or do
        not fit each other, or something is still to be said.
    """
    path, told = Path(path), told or Told()
    files = files_of(path)
    if layout is not None and layout not in SOURCES:
        raise InputError(f"unknown source '{layout}'{nearest(layout, list(SOURCES))}")
    module = SOURCES[layout] if layout else _recognised(path, files)
    common = () if module is native else ("unit", "channels", "components", "periodic")
    for name in told.said:
        if name not in (*module.USES, *common):
            raise InputError(f"{path}: --{name} is not for source '{module.NAME}'")
    source: Source = module.open_source(path, files, told)
    if files[0].suffix != ".npy":
        reader = HDF5Reader(files[0])
        if left := sorted({*reader.file} - {*source.taken}):
            log.info("%s: not taken over: %s", path, ", ".join(left))
        reader.close()
    return source


def _recognised(path: Path, files: Sequence[Path]) -> ModuleType:
    first: h5py.File | NpyArray
    if files[0].suffix == ".npy":
        first = NpyArray(files[0])
        what = f"an array of shape {first.shape}"
    else:
        reader = HDF5Reader(files[0])
        first = reader.file
        keys = sorted(first)
        what = f"keys {', '.join(keys[:8])}" + (" ..." if keys[8:] else "") if keys else "no keys"
    found = [module for module in SOURCES.values() if module.recognises(files, first)]
    if len(found) == 1:
        return found[0]
    which = "several" if found else "no"
    raise InputError(
        f"{path}: of {which} known source{'s' if found else ''} "
        f"({', '.join(m.NAME for m in found) or ', '.join(SOURCES)}): {files[0].name} has {what}: "
        "say which with --from; 'array' reads any"
    )
