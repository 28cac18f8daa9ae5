"""map2map: one field a ``.npy`` file, channels first and no axis of samples, ``(C, D, H, W)``.

Whole boxes as a rule; the files say no length, no unit and no names of channels (for a
displacement the three components).  Each file counts as a simulation.  Li et al., arXiv:2010.06608.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from emulators.data.sources.arrays import NpyArray, same_shape
from emulators.data.sources.base import Place, Source, Told, field_spec

NAME = "map2map"
USES = ("box",)


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether these are several files of four axes, or one with a single channel.

    One file of four axes may as well be many boxes without channels.
    """
    four = isinstance(first, NpyArray) and len(first.shape) == 4
    return four and (len(files) > 1 or first.shape[0] == 1)


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the fields, in natural order of their names."""
    arrays = [NpyArray(file) for file in files]
    channels, *cells = same_shape(arrays, 4)
    spec = field_spec(path, tuple(cells), told, {}, channels=channels)
    numbers = np.arange(len(files))
    return Source(NAME, path, spec, lambda i: Place(arrays[i], channels=True), numbers)
