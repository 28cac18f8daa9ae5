"""PySCo, one run at a time: quietly, in a folder of its own that is removed, on one thread."""

import contextlib
import importlib.util
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emulators.simulators.base import require
from emulators.simulators.cosmology import NEUTRINOS, T_CMB, Cosmology
from emulators.simulators.mesh import coarsen

__all__ = ["Run", "coarse_start", "prepare", "read_positions", "snapshots"]

Array = npt.NDArray[np.float64]
Start = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # positions, velocities

# Taken on import: a process of a campaign then has a folder of its own for temporary files.
LOCK_FOLDER = Path(tempfile.gettempdir())
# Numerical settings of PySCo that are the same for all: those of its documentation.
FIXED = {
    "nthreads": 1, "theory": "newton", "T_cmb": T_CMB, "N_eff": NEUTRINOS, "w0": -1.0, "wa": 0.0,
    "position_ICS": "center", "fixed_ICS": False, "paired_ICS": False, "dealiased_ICS": False,
    "output_snapshot_format": "HDF5", "save_power_spectrum": "no", "integrator": "leapfrog",
    "n_reorder": 50, "mass_scheme": "TSC", "Courant_factor": 1.0, "max_aexp_stepping": 10,
    "gradient_stencil_order": 5, "Npre": 2, "Npost": 1, "epsrel": 1e-2, "verbose": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What a run needs beside its universe: box (Mpc/h), particles and mesh a side, solver."""

    box: float
    particles: int
    mesh: int
    solver: str
    start_redshift: float


@contextlib.contextmanager
def snapshots(
    run: Run,
    cosmology: Cosmology,
    power: tuple[Array, Array],
    seed: int,
    redshifts: Sequence[float] = (),
    start: Start | None = None,
    **settings: Any,
) -> Iterator[list[Path]]:
    """Run PySCo and lend its snapshots; they are removed when the block is left.

    Parameters
    ----------
    run, cosmology
        What to run.
    power
        Linear power spectrum today: ``k``, h/Mpc, and ``P``, (Mpc/h)^3.
    seed
        Of the Gaussian initial conditions.
    redshifts
        Where to stop and write, falling; none to make the 2LPT start alone.
    start
        Begin from these positions (in units of the box) and velocities (in PySCo's units) instead.
    settings
        More settings of PySCo.

    Returns
    -------
    HDF5 files with ``position (n, 3)`` and ``velocity (n, 3)``: the start, then one a redshift.
    """
    with tempfile.TemporaryDirectory(prefix="nbody-") as name:
        folder = Path(name)
        spectrum = folder / "power.txt"
        np.savetxt(spectrum, np.column_stack(power))
        level = run.mesh.bit_length() - 1
        file = f"particles_newton_{run.solver}_ncoarse{level}.h5"
        files = [folder / f"output_{i:05d}" / file for i in range(len(redshifts) + 1)]
        if start is not None:
            _write_start(files[0], start, run.start_redshift)
        options = {
            **FIXED, "H0": 100 * cosmology.h, "Om_m": cosmology.omega_m, "boxlen": run.box,
            "ncoarse": level, "npart": run.particles**3, "z_start": run.start_redshift,
            "seed": seed, "power_spectrum_file": str(spectrum), "base": f"{folder}/",
            # A number makes PySCo go on from its snapshot of that number.
            "initial_conditions": "2LPT" if start is None else 0,
            "z_out": str(list(redshifts) or [run.start_redshift]),
            "linear_newton_solver": run.solver, **settings,
        }  # fmt: skip
        with _quiet():
            try:
                _pysco().run(options)
            except IndexError:
                # Rounding may leave PySCo 1.0.9 a hair before its last redshift when it has
                # written it; it then looks for one more.
                if not files[-1].exists():
                    raise
        yield files


def read_positions(file: Path) -> npt.NDArray[np.float32]:
    """Return the positions of a snapshot, ``(n, 3)``, in units of the box."""
    with h5py.File(file, "r") as snapshot:
        positions: npt.NDArray[np.float32] = snapshot["position"][:]
    return positions


def coarse_start(file: Path, fine: int, coarse: int) -> Start:
    """Return the start of the same universe with fewer particles.

    Displacements and velocities of the fine start are cut at the Nyquist frequency of the coarse
    lattice: all modes that it can carry are those of the fine run, phase by phase.

    Parameters
    ----------
    file
        Start of the fine run: its particles are still in the order of their lattice.
    fine, coarse
        Particles a side.
    """
    with h5py.File(file, "r") as snapshot:
        shape = (fine, fine, fine, 3)
        positions, velocities = (snapshot[k][:].reshape(shape) for k in ("position", "velocity"))
    moved = (positions - _lattice(fine) + 0.5) % 1 - 0.5
    starts = (_lattice(coarse) + coarsen(moved, coarse)) % 1, coarsen(velocities, coarse)
    return starts[0].reshape(-1, 3), starts[1].reshape(-1, 3)


def prepare(run: Run) -> None:
    """Compile PySCo: numba keeps the result, which then loads in seconds.

    The first process compiles (minutes, once an installation) while others wait: numba's files do
    not suffer two writers with different halves of the work.
    """
    tiny = replace(run, particles=16, mesh=16 * run.mesh // run.particles)
    white = np.array([1e-4, 1e4]), np.full(2, 0.1 * (run.box / 16) ** 3)
    with _lock():
        with snapshots(tiny, Cosmology(), white, 1, (0.0,), n_reorder=10) as files:
            start = coarse_start(files[0], 16, 16)
        with snapshots(tiny, Cosmology(), white, 1, (0.0,), start, n_reorder=10):
            pass


def _lattice(n: int) -> npt.NDArray[np.float32]:
    points = (np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n)
    return np.stack(np.meshgrid(points, points, points, indexing="ij"), -1)


def _write_start(file: Path, start: Start, redshift: float) -> None:
    file.parent.mkdir()
    with h5py.File(file, "w") as snapshot:
        snapshot["position"], snapshot["velocity"] = start
        snapshot.attrs["aexp"] = 1 / (1 + redshift)


def _pysco() -> ModuleType:
    """Import PySCo, whose own modules have names like ``utils`` and ``mesh``, before any others."""
    found = importlib.util.find_spec("pysco")
    if found is None or not found.origin:
        return require("pysco", "nbody", "simulator 'nbody'")
    folder = str(Path(found.origin).parent)
    sys.path.insert(0, folder)
    try:
        return require("pysco", "nbody", "simulator 'nbody'")
    finally:
        sys.path.remove(folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep PySCo's warnings in, and the handlers of the root logger, which it would replace."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Let one process of this user in at a time; the system frees it if the process is killed."""
    try:
        import fcntl
    except ImportError:  # Windows: processes may compile the same thing twice
        yield
        return
    with (LOCK_FOLDER / f"pysco-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
