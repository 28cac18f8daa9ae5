"""From a simulation's file to a spec and arrays in physical units, and back.

`check`, `convert` and `describe` are in the modules of their names.
"""

from emulators.data.conditions import ConditionLaw, requested
from emulators.data.dataset import Dataset, split_rows
from emulators.data.hdf5 import HDF5Reader, HDF5Writer, content_hash
from emulators.data.spec import (
    Column,
    Condition,
    Grid,
    ReadoutLayer,
    Samples,
    SampleSpec,
    ShowerGeometry,
)
from emulators.data.stream import BatchStream

__all__ = [
    "BatchStream",
    "Column",
    "Condition",
    "ConditionLaw",
    "Dataset",
    "Grid",
    "HDF5Reader",
    "HDF5Writer",
    "ReadoutLayer",
    "SampleSpec",
    "Samples",
    "ShowerGeometry",
    "content_hash",
    "requested",
    "split_rows",
]
