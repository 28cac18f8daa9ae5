"""How public data sets arrange their HDF5 files: one module a layout, found by its keys.

A layout module has ``NAME``, ``KINDS`` (of samples) and ``recognises``; ``outline`` (the spec
before any value is read), ``columns`` and ``optional`` (the data sets of such samples);
``read_spec``, ``read`` and ``read_conditions``; ``create`` and ``write``.  One of showers also has
``ENERGY``, ``UNITS``, ``DEPOSIT_LIMITS`` and ``read_energies``, which `check` looks at.  To add
one, write it and enter it in `LAYOUTS`.
"""

from types import ModuleType

import h5py

from emulators.config import nearest
from emulators.data.layouts import calochallenge, calogan, native
from emulators.errors import InputError

__all__ = ["LAYOUTS", "find_layout"]

LAYOUTS: dict[str, ModuleType] = {m.NAME: m for m in (calogan, calochallenge, native)}


def find_layout(file: h5py.File, name: str | None = None) -> ModuleType:
    """Return the layout of this name, or the one whose keys the file has.

    Raises
    ------
    InputError
        The name is unknown, or the file's keys are no layout's.
    """
    if name is not None:
        if name not in LAYOUTS:
            raise InputError(f"unknown layout '{name}'{nearest(name, list(LAYOUTS))}")
        if not LAYOUTS[name].recognises(file):
            raise InputError(f"{file.filename}: not of layout '{name}': it has {_keys(file)}")
        return LAYOUTS[name]
    for layout in LAYOUTS.values():
        if layout.recognises(file):
            return layout
    raise InputError(
        f"{file.filename}: no known layout ({', '.join(LAYOUTS)}): it has {_keys(file)}"
    )


def _keys(file: h5py.File) -> str:
    keys = sorted(file)
    more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
    return f"keys {', '.join(keys[:8])}{more}" if keys else "no keys"
