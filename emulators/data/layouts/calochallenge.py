"""CaloChallenge's layout: one flat data set of voxels, everything in MeV.

| key | shape | unit | |
|---|---|---|---|
| ``incident_energies`` | (N, 1) | **MeV** | incident energy |
| ``showers`` | (N, voxels) | **MeV** | deposits: layer by layer, each (alpha, r), r fastest |

Any other column of one number a shower can be a condition.

Krause et al., arXiv:2410.21611.
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
from emulators.data.spec import MEV_PER_GEV, Column, Samples, SampleSpec, ShowerGeometry
from emulators.errors import InputError

NAME = "calochallenge"
KINDS = ("shower",)
ENERGY = "incident_energies"  # the key of the incident energies
UNITS = "incident_energies and showers in MeV"
# Voxels are divided by the sampling fraction: at low energy their sum may exceed the incident one.
DEPOSIT_LIMITS = (1.5, 3.0)
DATA_SETS = {368: ("1-photons", "photon"), 533: ("1-pions", "pion")} | {
    6480: ("2", "electron"), 40500: ("3", "electron")
}  # fmt: skip


def columns(spec: SampleSpec) -> dict[str, Column]:
    """Return the data sets that a file must have."""
    deposits = "energy deposited in the voxels, layer after layer"
    own = {
        ENERGY: Column((1,), "MeV", "incident energy", ("1",), "f8"),
        "showers": Column(spec.shape, "MeV", deposits, ("voxel",)),
    }
    return own | condition_columns(own, spec)


def optional(spec: SampleSpec) -> dict[str, Column]:
    """Return the data sets that a file may have beside them: none."""
    return {}


def recognises(file: h5py.File) -> bool:
    """Return whether the file has this layout's keys."""
    return all(isinstance(file.get(k), h5py.Dataset) for k in (ENERGY, "showers"))


def outline(file: h5py.File, geometry: ShowerGeometry | None = None) -> SampleSpec:
    """Return the spec less its energies.

    In the given geometry, else the file's own, else that of the data set with as many voxels.
    """
    native = native_spec(file, NAME)
    geometry = geometry or (native and native.geometry) or _known(file)
    particles = {f"calochallenge-{name}": particle for name, particle in DATA_SETS.values()}
    particle = particles.get(geometry.name, "")
    conditions, shape = stated_conditions(file, NAME), (geometry.n_cells,)
    return SampleSpec("shower", NAME, shape, "MeV", conditions, geometry, particle)


def _known(file: h5py.File) -> ShowerGeometry:
    shape = file["showers"].shape
    if len(shape) != 2 or shape[1] not in DATA_SETS:
        raise InputError(
            f"{file.filename}: showers has shape {shape}, no CaloChallenge data set has such "
            f"voxels (known: {', '.join(map(str, DATA_SETS))}): give its binning XML"
        )
    return geometries.calochallenge(DATA_SETS[shape[1]][0])


def read_energies(file: h5py.File, rows: slice) -> npt.NDArray[np.float64]:
    """Return incident energies ``(n,)`` in double precision, GeV."""
    return read_column(file, ENERGY, rows).reshape(-1).astype(np.float64) / MEV_PER_GEV


def read_spec(file: h5py.File, geometry: ShowerGeometry | None = None) -> SampleSpec:
    """Return what the samples of this file are; InputError where the voxels do not fit."""
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
    values = single(read_column(file, "showers", rows))
    return Samples(values, read_conditions(file, spec, rows))


def create(file: h5py.File, spec: SampleSpec, n: int) -> None:
    """Create the data sets for ``n`` samples."""
    create_columns(file, columns(spec), n, chunk_rows(spec))


def write(file: h5py.File, spec: SampleSpec, start: int, samples: Samples) -> None:
    """Write samples to the rows from ``start``."""
    rows = slice(start, start + len(samples))
    write_columns(file, spec, rows, samples)
    # Through decimals: 0.256 GeV in single precision is 256 MeV again, not 256.0000076.
    gev = np.char.add(samples.conditions["incident_energy"].astype(str), "e3")
    file[ENERGY][rows] = gev.astype(np.float64)[:, None]
    file["showers"][rows] = samples.values
