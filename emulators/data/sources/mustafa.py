"""``.npy`` stacks of CosmoGAN (Mustafa et al.) and of its successor for N-body fields (Ayyar).

| name | shape | |
|---|---|---|
| ``cosmogan_maps_256_8k_1.npy`` | (N, 256, 256) | convergence |
| ``Om0.3_Sg0.5_H70.0.npy`` | (N, 1, D, D, D) | pieces of CosmoFlow's counts, at one cosmology |

How wide they are is not said.  Of several files each counts as one simulation, since it is not said
which pieces are of the same; of one file every entry does.  Mustafa et al., arXiv:1706.02390.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from emulators.data.sources.arrays import NpyArray, same_shape
from emulators.data.sources.base import HUBBLE, Place, Source, Told, as_conditions, field_spec
from emulators.errors import InputError

NAME = "mustafa"
USES = ("box",)
NAMED = re.compile(r"Om([\d.]+)_Sg([\d.]+)_H([\d.]+)\.npy")
PARAMETERS = ["omega_m", "sigma_8", "h_0"]


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether these are maps with a name of this data set, or boxes of one channel."""
    if not isinstance(first, NpyArray):
        return False
    maps = len(first.shape) == 3 and files[0].name.startswith("cosmogan_maps")
    return maps or (len(first.shape) == 5 and first.shape[1] == 1)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the maps or boxes, file after file; the cosmology where the names say it."""
    arrays = [NpyArray(file) for file in files]
    d = len(arrays[0].shape) - 1
    lengths = [array.shape[0] for array in arrays]
    if d not in (2, 4) or (d == 4 and any(a.shape[1:2] != (1,) for a in arrays)):
        raise InputError(
            f"{files[0]}: has shape {arrays[0].shape}, expected are (N, H, W) or (N, 1, D, H, W)"
        )
    cells = same_shape(arrays, d + 1, start=1)[-3:]
    named = [match for file in files if (match := NAMED.fullmatch(file.name))]
    which = np.repeat(np.arange(len(files)), lengths)
    conditions = {}
    if len(named) == len(files):
        values = np.array([[float(word) for word in match.groups()] for match in named])
        conditions = as_conditions(path, values[which], PARAMETERS, len(which))
    convergence = Told(unit="none", channels="convergence")
    spec = field_spec(
        path,
        cells,
        told | (convergence if d == 2 else Told(unit="count")),
        conditions,
        box_unit="deg" if d == 2 else "Mpc/h",
        units=HUBBLE,
    )
    starts = np.cumsum([0, *lengths])

    def place(i: int) -> Place:
        return Place(arrays[which[i]], (int(i - starts[which[i]]),), channels=d == 4)

    numbers = which if len(files) > 1 else np.arange(len(which))
    return Source(NAME, path, spec, place, numbers, conditions)
