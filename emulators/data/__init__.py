"""From a simulation's file to a spec and arrays in physical units, and back."""

from emulators.data.check import Finding, check
from emulators.data.conditions import ConditionLaw, requested
from emulators.data.convert import convert, split
from emulators.data.dataset import Dataset, split_rows
from emulators.data.describe import describe
from emulators.data.hdf5 import HDF5Reader, HDF5Writer, content_hash
from emulators.data.spec import Condition, ReadoutLayer, Samples, SampleSpec, ShowerGeometry
from emulators.data.stream import BatchStream

__all__ = [
    "BatchStream",
    "Condition",
    "ConditionLaw",
    "Dataset",
    "Finding",
    "HDF5Reader",
    "HDF5Writer",
    "ReadoutLayer",
    "SampleSpec",
    "Samples",
    "ShowerGeometry",
    "check",
    "content_hash",
    "convert",
    "describe",
    "requested",
    "split",
    "split_rows",
]
