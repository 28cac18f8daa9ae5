"""CaloGAN's layout: one data set a layer, deposits in MeV beside incident energies in GeV.

| key | shape | unit | |
|---|---|---|---|
| ``energy`` | (N, 1) | **GeV** | incident energy |
| ``layer_0``, ``layer_1``, ... | (N, rows, columns) | **MeV** | deposits |
| ``overflow`` | (N, layers) | **MeV** | deposits outside the cells (optional) |

Any other column of one number a shower, ``theta`` or ``particle``, can be a condition.

Paganini, de Oliveira and Nachman, arXiv:1712.10321.  This module is the one place that knows of
the two units.
"""

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data import geometries
from emulators.data.layouts._columns import (
    chunk_rows,
    create_columns,
    native_spec,
    read_column,
    require_columns,
    shower_spec,
    single,
)
from emulators.data.layouts._conditions import (
    condition_columns,
    read_columns,
    stated_conditions,
    write_columns,
)
from emulators.data.spec import Column, Samples, SampleSpec, ShowerGeometry

NAME = "calogan"
KINDS = ("shower",)
ENERGY = "energy"  # the key of the incident energies
UNITS = "energy in GeV, layers in MeV"
# Deposits are not calibrated: above the incident energy they are doubtful, further up wrong.
DEPOSIT_LIMITS = (1.001, 1.1)


def columns(spec: SampleSpec) -> dict[str, Column]:
    """Return the data sets that a file must have."""
    assert spec.geometry is not None
    layers = {
        f"layer_{i}": Column(
            layer.shape, "MeV", f"energy deposited in the cells of {layer.name}", layer.axes
        )
        for i, layer in enumerate(spec.geometry.layers)
    }
    own = {ENERGY: Column((1,), "GeV", "incident energy", ("1",)), **layers}
    return own | condition_columns(own | optional(spec), spec)


def optional(spec: SampleSpec) -> dict[str, Column]:
    """Return the data sets that a file may have beside them."""
    assert spec.geometry is not None
    outside = "energy deposited outside the cells; 0 where it is not known"
    return {"overflow": Column((len(spec.geometry.layers),), "MeV", outside, ("layer",))}


def recognises(file: h5py.File) -> bool:
    """Return whether the file has this layout's keys."""
    return all(isinstance(file.get(k), h5py.Dataset) for k in (ENERGY, "layer_0"))


def outline(file: h5py.File, geometry: ShowerGeometry | None = None) -> SampleSpec:
    """Return the spec less its energies: in the given geometry, the file's own or CaloGAN's."""
    native = native_spec(file, NAME)
    geometry = geometry or (native and native.geometry) or geometries.calogan()
    conditions = stated_conditions(file, NAME)
    return SampleSpec("shower", NAME, (geometry.n_cells,), "MeV", conditions, geometry)


def read_energies(file: h5py.File, rows: slice) -> npt.NDArray[np.float64]:
    """Return incident energies ``(n,)`` in double precision, GeV."""
    return read_column(file, ENERGY, rows).reshape(-1).astype(np.float64)


def read_spec(file: h5py.File, geometry: ShowerGeometry | None = None) -> SampleSpec:
    """Return what the samples of this file are; InputError where the layers do not fit."""
    spec = outline(file, geometry)
    require_columns(file, columns(spec), spec)
    return shower_spec(file, spec, read_energies(file, slice(None)))


def read_conditions(
    file: h5py.File, spec: SampleSpec, rows: slice
) -> dict[str, npt.NDArray[np.float32]]:
    """Return incident energies, GeV, and other conditions of these rows, ``(n,)`` each."""
    return {"incident_energy": single(read_energies(file, rows)), **read_columns(file, spec, rows)}


def read(file: h5py.File, spec: SampleSpec, rows: slice) -> Samples:
    """Return these rows: deposits in MeV, incident energies in GeV."""
    assert spec.geometry is not None
    layers = [
        single(read_column(file, f"layer_{i}", rows)).reshape(-1, layer.n_cells)
        for i, layer in enumerate(spec.geometry.layers)
    ]
    return Samples(np.concatenate(layers, axis=1), read_conditions(file, spec, rows))


def create(file: h5py.File, spec: SampleSpec, n: int) -> None:
    """Create the data sets for ``n`` samples."""
    create_columns(file, columns(spec) | optional(spec), n, chunk_rows(spec))


def write(file: h5py.File, spec: SampleSpec, start: int, samples: Samples) -> None:
    """Write samples to the rows from ``start``; the overflow is 0."""
    assert spec.geometry is not None
    rows = slice(start, start + len(samples))
    write_columns(file, spec, rows, samples)
    file[ENERGY][rows] = samples.conditions["incident_energy"][:, None]
    for i in range(len(spec.geometry.layers)):
        file[f"layer_{i}"][rows] = spec.geometry.layer(samples.values, i)
    file["overflow"][rows] = 0
