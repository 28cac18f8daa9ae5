"""The layout of fields, images and points that this package writes.

| key | shape | unit | |
|---|---|---|---|
| ``fields`` or ``images`` | (N, channels, cells, cells ...) | stated | values on a regular grid |
| ``points`` | (N, components) | stated | plain vectors |
| ``conditions`` | (N,) | stated | a table: one column a condition, by its name |

A file has one of the first three; without conditions there is no table.  The attribute ``spec``
at the root says what the samples are.
"""

from dataclasses import replace

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.counts import COUNTS, counted
from emulators.data.layouts._columns import (
    FORMAT,
    chunk_rows,
    covering,
    create_columns,
    create_dataset,
    native_spec,
    read_column,
    require_columns,
    single,
    text,
)
from emulators.data.spec import Column, Samples, SampleSpec, ShowerGeometry
from emulators.errors import InputError

NAME = "native"
KINDS = {"field": "fields", "image": "images", "point": "points"}  # the key of each
CONDITIONS = "conditions"
NO_COUNTS = "convert it with --from array --unit none, as numbers that are not counts"


def columns(spec: SampleSpec) -> dict[str, Column]:
    """Return the data sets that a file must have; the table of conditions as bytes."""
    axes = ("channel", *spec.grid.axes) if spec.grid else ("component",)
    what = f"{', '.join(spec.grid.channels)} in the cells" if spec.grid else "components"
    samples = {KINDS[spec.kind]: Column(spec.shape, spec.unit, f"{what} of a {spec.kind}", axes)}
    table = Column((), "", "conditions of a sample", (), f"V{_row(spec).itemsize}")
    return samples | ({CONDITIONS: table} if spec.conditions else {})


def optional(spec: SampleSpec) -> dict[str, Column]:
    """Return the data sets that a file may have beside them: none."""
    return {}


def recognises(file: h5py.File) -> bool:
    """Return whether the file says that it was written here, and has samples of this layout."""
    return text(file, "format") == FORMAT and any(key in file for key in KINDS.values())


def outline(file: h5py.File, geometry: ShowerGeometry | None = None) -> SampleSpec:
    """Return the spec that the file states."""
    spec = native_spec(file, NAME)
    if spec is None:
        raise InputError(f"{file.filename}: has no attribute 'spec' that says what is in it")
    if geometry is not None:
        raise InputError(
            f"{file.filename}: only showers have a geometry, this file has {spec.kind}s"
        )
    grid = spec.grid
    wrong = f"{file.filename}: attribute 'spec': {spec.kind}s of shape {spec.shape}"
    if spec.kind not in KINDS or (grid is None) != (spec.kind == "point"):
        raise InputError(f"{wrong} with{'' if grid else 'out'} a grid are not of this layout")
    if grid and (spec.shape[0], len(spec.shape) - 1) != (len(grid.channels), len(grid.axes)):
        raise InputError(f"{wrong} do not fit {len(grid.channels)} channels, axes {grid.axes}")
    return spec


def read_spec(file: h5py.File, geometry: ShowerGeometry | None = None) -> SampleSpec:
    """Return what the samples of this file are, with the ranges that their conditions have."""
    spec = outline(file, geometry)
    require_columns(file, columns(spec), spec)
    if not spec.conditions:
        return spec
    table = read_conditions(file, spec, slice(None))
    ranges = tuple(covering(file, c, table[c.name].astype(np.float64)) for c in spec.conditions)
    return replace(spec, conditions=ranges)


def _row(spec: SampleSpec) -> np.dtype[np.void]:
    # Single precision, as conditions are in memory: what is asked for is what the file says.
    return np.dtype([(c.name, "f4") for c in spec.conditions])


def read_conditions(
    file: h5py.File, spec: SampleSpec, rows: slice
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the conditions of these rows, ``(n,)`` each, in the units of the spec."""
    stored = (CONDITIONS in file and file[CONDITIONS].dtype.names) or ()
    if missing := [c.name for c in spec.conditions if c.name not in (*stored, *file)]:
        raise InputError(f"{file.filename}: its table of conditions lacks {', '.join(missing)}")
    table = file[CONDITIONS][rows] if stored else {}
    return {  # those that are not in the table were asked for: columns beside the samples
        c.name: single(table[c.name] if c.name in stored else file[c.name][rows]).reshape(-1)
        for c in spec.conditions
    }


def read(file: h5py.File, spec: SampleSpec, rows: slice) -> Samples:
    """Return these rows, in the unit of the spec."""
    values = read_column(file, KINDS[spec.kind], rows)
    if spec.unit in COUNTS:
        where = f"{file.filename}: rows {rows.start} to {rows.stop}"
        values = counted(values, where, NO_COUNTS)
    values = single(values)
    return Samples(values, read_conditions(file, spec, rows))


def create(file: h5py.File, spec: SampleSpec, n: int) -> None:
    """Create the data sets for ``n`` samples."""
    rows, key = chunk_rows(spec), KINDS[spec.kind]
    create_columns(file, {key: columns(spec)[key]}, n, rows)
    if grid := spec.grid:
        file[key].attrs.update(
            channels=grid.channels, lengths=grid.lengths, length_unit=grid.unit,
            cell_sizes=np.divide(grid.lengths, spec.shape[1:]), periodic=grid.periodic,
            **({"components": grid.components} if grid.components else {}),
        )  # fmt: skip
    if spec.conditions:
        create_dataset(file, CONDITIONS, (n,), _row(spec), rows).attrs.update(
            units=[c.unit for c in spec.conditions],
            description="what each sample is conditional on",
            axes="sample",
        )


def write(file: h5py.File, spec: SampleSpec, start: int, samples: Samples) -> None:
    """Write samples to the rows from ``start``."""
    rows = slice(start, start + len(samples))
    file[KINDS[spec.kind]][rows] = samples.values
    if spec.conditions:
        table = np.empty(len(samples), _row(spec))
        for c in spec.conditions:
            table[c.name] = samples.conditions[c.name]
        file[CONDITIONS][rows] = table
