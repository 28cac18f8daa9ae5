"""CAMELS Multifield Dataset: one field of one set of simulations a ``.npy`` file.

| name | shape | |
|---|---|---|
| ``Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy`` | (N, 256, 256) | 15 maps a simulation |
| ``Grids_Mtot_Nbody_SIMBA_LH_128_z=0.50.npy`` | (N, 128, 128, 128) | one box a simulation |
| ``params_LH_IllustrisTNG.txt`` | (simulations, 6) | Omega_m, sigma_8, four of feedback |

Boxes are periodic, 25 Mpc/h wide.  All fields are scalars: velocity and magnetic field are given as
magnitudes.  The arrays are mapped into memory.  Villaescusa-Navarro et al.,
arXiv:2109.10915.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from emulators.data.sources.arrays import NpyArray, same_shape, table
from emulators.data.sources.base import Place, Source, Told, as_conditions, field_spec
from emulators.errors import InputError

NAME = "camels"
USES = ("box", "conditions")
NAMED = re.compile(r"(Maps|Grids)_([^_]+)_(.+?)_([^_]+)(?:_\d+)?_z=(\d+\.\d+)\.npy")
MAPS = 15  # of one simulation
PARAMETERS = ["omega_m", "sigma_8", "a_sn1", "a_agn1", "a_sn2", "a_agn2"]
MASS, VELOCITY = ("(Msun/h)/(Mpc/h)^2", "(Msun/h)/(Mpc/h)^3"), ("km/s", "km/s")
UNITS = {  # of maps and of boxes
    **dict.fromkeys(("Mgas", "HI", "Mcdm", "Mstar", "Mtot"), MASS),
    **dict.fromkeys(("Vgas", "Vcdm"), VELOCITY),
    "T": ("K", "K"),
    "B": ("Gauss", "Gauss"),
    "P": ("h^2 Msun (km/s)^2/kpc^3",) * 2,
    "ne": ("h^2/cm^3 (Mpc/h)", "h^2/cm^3"),
    **dict.fromkeys(("Z", "MgFe"), ("none", "none")),
}


def recognises(files: Sequence[Path], first: h5py.File | NpyArray) -> bool:
    """Return whether the file has a name of this data set."""
    return bool(NAMED.fullmatch(files[0].name))


def open_source(path: Path, files: Sequence[Path], told: Told) -> Source:
    """Return the maps or boxes of one file, with parameters and redshift as conditions."""
    match = NAMED.fullmatch(files[0].name)
    if len(files) > 1 or match is None:
        raise InputError(
            f"{path}: give one file with its public name, as Maps_Mcdm_Astrid_LH_z=0.00.npy"
        )
    kind, field, suite, group, redshift = match.groups()
    array = NpyArray(files[0])
    n, *cells = same_shape([array], 3 if kind == "Maps" else 4)
    share = MAPS if kind == "Maps" else 1
    parameters = table(_parameters(files[0], group, suite, told.conditions))
    if suite.startswith("Nbody"):
        parameters = parameters[:, :2]  # these know nothing of feedback
    if len(parameters) * share != n:
        raise InputError(
            f"{path}: has {n} {kind.lower()}, {share} a simulation, but parameters of "
            f"{len(parameters)} simulations"
        )
    more = [f"parameter_{i + 1}" for i in range(parameters.shape[1])]
    names = PARAMETERS if len(more) <= len(PARAMETERS) else PARAMETERS[:2] + more[2:]
    conditions = as_conditions(
        path, np.repeat(parameters, share, axis=0), names[: len(more)], n
    ) | {"redshift": np.full(n, float(redshift), np.float32)}
    unit = UNITS[field][kind == "Grids"] if field in UNITS else None
    facts = Told(box="25", unit=unit, channels=field, periodic=True)
    spec = field_spec(path, tuple(cells), told | facts, conditions)
    said = {"suite": suite, "simulation_set": group}
    numbers = np.arange(n) // share
    return Source(
        NAME, path, spec, lambda i: Place(array, (i,)), numbers, conditions, attributes=said
    )


def _parameters(file: Path, group: str, suite: str, given: str | None) -> Path:
    if given is not None:
        return Path(given)
    # Those of N-body runs are the ones of the hydrodynamic runs that they match.
    suites = list(dict.fromkeys((suite, suite.removeprefix("Nbody_"), "Nbody")))
    for name in suites:
        if (found := file.with_name(f"params_{group}_{name}.txt")).is_file():
            return found
    raise InputError(
        f"{file}: there is no params_{group}_{suites[0]}.txt beside it: give it with --conditions"
    )
