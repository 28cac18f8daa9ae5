"""Conditions that are columns beside the samples: one number a sample, by the column's name."""

import logging
from collections.abc import Mapping

import h5py
import numpy as np
import numpy.typing as npt

from emulators.config import nearest
from emulators.data.layouts._columns import native_spec, single, text
from emulators.data.spec import ENERGY, Column, Condition, Samples, SampleSpec
from emulators.errors import InputError

log = logging.getLogger(__name__)


def is_number(column: Column) -> bool:
    """Return whether a column holds one number a sample, and so can be a condition."""
    return column.shape in ((), (1,)) and np.dtype(column.dtype).kind in "fiu"


def column_condition(
    file: h5py.File, name: str, columns: Mapping[str, Column], known: list[str]
) -> Condition:
    """Return a column as a condition, with its unit and the range of its values.

    Parameters
    ----------
    file
        The file.
    name
        The column.
    columns
        All that there is beside the samples.
    known
        The conditions that the file has already.

    Raises
    ------
    InputError
        There is no such column of numbers, one of them is not finite, or not in single precision.
    """
    if name not in columns:
        names = [*known, *(key for key, column in columns.items() if is_number(column))]
        raise InputError(f"{file.filename}: has no condition '{name}'{nearest(name, names)}")
    if not is_number(columns[name]):
        raise InputError(
            f"{file.filename}: '{name}' has {file[name].dtype} of shape {file[name].shape}: a "
            "condition is one number a sample"
        )
    values = file[name][:].reshape(-1)
    finite = np.isfinite(single(values))
    rounded = finite & (single(values) != values) & (values.dtype.kind in "iu")
    for bad, what in ((~finite, "not finite"), (rounded, "too long for single precision")):
        if bad.any():
            first = ", ".join(map(str, np.flatnonzero(bad)[:5]))
            raise InputError(
                f"{file.filename}: {bad.sum()} values of {name} are {what} (first rows: {first})"
            )
    low, high = (float(str(single(end))) for end in (values.min(), values.max()))
    return Condition(name, _unit(file[name]), low, high)


def _unit(dataset: h5py.Dataset) -> str:
    from astropy import units

    stated = text(dataset, "units") or text(dataset, "unit")
    try:
        return "" if units.Unit(stated) == units.dimensionless_unscaled else stated
    except ValueError:
        log.info("%s: '%s' is no unit that astropy knows: plain numbers", dataset.name, stated)
        return ""


def stated_conditions(file: h5py.File, layout: str) -> tuple[Condition, ...]:
    """Return the conditions beside the incident energy that a file of showers states."""
    native = native_spec(file, layout)
    return _beside_energy(native) if native else ()


def _beside_energy(spec: SampleSpec) -> tuple[Condition, ...]:
    return tuple(c for c in spec.conditions if c.name != ENERGY.name)


def condition_columns(own: Mapping[str, Column], spec: SampleSpec) -> dict[str, Column]:
    """Return the data sets of the conditions beside the incident energy.

    InputError where a name is one of the data sets ``own`` to the layout.
    """
    columns = {
        c.name: Column((1,), c.unit, "condition of the shower", ("1",))
        for c in _beside_energy(spec)
    }
    if taken := own.keys() & columns.keys():
        raise InputError(
            f"layout '{spec.layout}' has a data set '{min(taken)}' of its own: a condition cannot "
            "have this name in it"
        )
    return columns


def read_columns(
    file: h5py.File, spec: SampleSpec, rows: slice
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the conditions of these rows beside the incident energy, ``(n,)`` each."""
    return {c.name: single(file[c.name][rows]).reshape(-1) for c in _beside_energy(spec)}


def write_columns(file: h5py.File, spec: SampleSpec, rows: slice, samples: Samples) -> None:
    """Write the conditions beside the incident energy."""
    for c in _beside_energy(spec):
        file[c.name][rows] = samples.conditions[c.name][:, None]
