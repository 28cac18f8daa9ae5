"""The cosmic web by N-body simulation: PySCo's particle mesh, from linear modes to fields."""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emulators import random
from emulators.data.counts import counted
from emulators.data.spec import Column, Condition, Grid, SampleSpec
from emulators.simulators.base import Simulated, require, simulator
from emulators.simulators.cosmology import K_MAX, Code, Cosmologies, Cosmology, linear_power
from emulators.simulators.mesh import ORDERS, Assignment, assign, project, smooth
from emulators.simulators.nbody_run import Run, coarse_start, prepare, read_positions, snapshots

__all__ = ["Maps", "NBody", "Pair"]

Fields = list[npt.NDArray[np.float32]]  # of each redshift: (maps, 1, *cells)
Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, ...] = ("x", "y", "z")
CODES = {
    "camb": ("CAMB", "CAMB: Lewis, Challinor and Lasenby 2000, ApJ 538, 473"),
    "colossus": (
        "Eisenstein and Hu 1998 by colossus",
        "colossus: Diemer 2018, ApJS 239, 35; transfer function: Eisenstein and Hu 1998, "
        "ApJ 496, 605",
    ),
}


@dataclass(frozen=True)
class Maps:
    """Two-dimensional samples: slabs of the box, each projected on its face.

    Parameters
    ----------
    slabs
        How many slabs each axis is cut into, each ``box / slabs`` thick; 1 projects the whole box.
    every
        Which to keep: 2 keeps slabs 0, 2, 4 ..., so that no two of them touch.
    axes
        Across which the box is cut; one set of maps each.
    """

    slabs: int = 1
    every: int = 1
    axes: tuple[Axis, ...] = AXES

    def __post_init__(self) -> None:
        if not 1 <= self.every <= self.slabs:
            raise ValueError(f"every = {self.every} of {self.slabs} slabs: give 1 to all of them")
        if not self.axes or len(set(self.axes)) < len(self.axes):
            raise ValueError(f"axes = {list(self.axes)}: give one or more, each once")

    @property
    def places(self) -> list[tuple[int, int]]:
        """Axis and slab of each map, in the order in which they are made."""
        kept = range(0, self.slabs, self.every)
        return [(AXES.index(axis), slab) for axis in self.axes for slab in kept]


@dataclass(frozen=True)
class Pair:
    """The other field of each pair: the same universe, stored as ``inputs`` beside the sample.

    Parameters
    ----------
    kind
        ``"2lpt"``: carried to the redshift of the sample by second-order perturbation theory.
        ``"redshift"``: the same run, at another redshift.  ``"resolution"``: another run, with
        fewer particles, from the same modes.
    redshift
        Of the inputs, for ``"redshift"``.
    particles
        Of the inputs, along each side, for ``"resolution"``.
    """

    kind: Literal["2lpt", "redshift", "resolution"]
    redshift: float | None = None
    particles: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("redshift", self.redshift), ("particles", self.particles)):
            needed = self.kind == {"redshift": "redshift", "particles": "resolution"}[name]
            if needed != (value is not None):
                raise ValueError(f'kind = "{self.kind}" {"needs" if needed else "has no"} {name}')


@simulator("nbody")
@dataclass(frozen=True)
class NBody:
    """Dark matter in a periodic box, by the particle-mesh code PySCo (Breton 2025, A&A 695, A170).

    Parameters
    ----------
    box
        Length of a side, Mpc/h.
    particles
        Along each side, a power of two.
    mesh
        Cells along each side of the mesh that forces are computed on, a power of two; as many as
        particles where it is not given.
    start_redshift
        Where second-order Lagrangian perturbation theory (2LPT) hands over to the N-body code.
    redshifts
        Of the samples; several are snapshots of one run, and redshift is then a condition.
    solver
        Of Poisson's equation.  ``"fft"`` divides the mass-assignment window out of the potential,
        up to 15 times an axis at the Nyquist frequency of the mesh: right where the mesh is as
        fine as the lattice of particles; where it is finer there is little but the lattice itself
        at these frequencies, and power comes out 1.2 to 3 times too high.  ``"fft_7pt"`` (discrete
        Laplacian) and ``"multigrid"`` leave the window in.  ``"auto"``: ``fft`` where mesh and
        particles agree, ``fft_7pt`` otherwise.
    linear_power
        Power spectrum of the start: ``"camb"``, or ``"colossus"`` (Eisenstein and Hu, within 3 %).
    cosmology
        Which universes: `Cosmologies`.
    quantity
        ``"counts"`` of particles, or ``"overdensity"``: density over its mean, less 1.
    assignment
        Of particles to cells: ``"NGP"``, ``"CIC"`` or ``"TSC"``; counts are NGP.
    cells
        Along each side of a sample.
    smoothing
        Standard deviation, in cells, of a Gaussian that the fields are convolved with.
    maps
        Samples are maps where this is given, and boxes otherwise: `Maps`.
    pair
        What each sample is paired with: `Pair`.
    """

    box: float = 200.0
    particles: int = 128
    mesh: int | None = None
    start_redshift: float = 49.0
    redshifts: tuple[float, ...] = (0.0,)
    solver: Literal["auto", "fft", "fft_7pt", "multigrid"] = "auto"
    linear_power: Code = "camb"
    cosmology: Cosmologies = field(default_factory=Cosmologies)
    quantity: Literal["counts", "overdensity"] = "counts"
    assignment: Assignment = "NGP"
    cells: int = 128
    smoothing: float = 0.0
    maps: Maps | None = None
    pair: Pair | None = None

    def __post_init__(self) -> None:
        for name, n in (("particles", self.particles), ("mesh", self._run.mesh)):
            if n < 16 or n & (n - 1):
                raise ValueError(f"{name} = {n} a side: PySCo takes powers of two from 16")
        if self._run.mesh < self.particles:
            raise ValueError(f"mesh = {self.mesh} is coarser than the {self.particles} particles")
        if not 0 < self.box <= 10_000 or 3**0.5 * np.pi * self.particles / self.box > K_MAX:
            raise ValueError(
                f"box = {self.box:g} Mpc/h for {self.particles} particles a side: give up to 10000 "
                f"Mpc/h, and {3**0.5 * np.pi / K_MAX:.2f} or more between particles"
            )
        if not self.redshifts or len(set(self.redshifts)) < len(self.redshifts):
            raise ValueError(f"redshifts = {list(self.redshifts)}: give one or more, each once")
        if not 0 <= self._falling[-1] <= self._falling[0] < self.start_redshift <= 199:
            raise ValueError(
                f"redshifts {self._falling} must lie from 0 to below start_redshift = "
                f"{self.start_redshift:g}, which may be up to 199"
            )
        if self.cells < 2 or not 0 <= self.smoothing < self.cells / 2:
            raise ValueError(
                f"cells = {self.cells} must be 2 or more, and smoothing = {self.smoothing:g} less "
                "than half of them"
            )
        if self.quantity == "counts" and self.assignment != "NGP":
            raise ValueError(f'counts are whole: {self.assignment} needs quantity = "overdensity"')
        if self.pair:
            self._check_pair(self.pair)

    def _check_pair(self, pair: Pair) -> None:
        if pair.redshift in self.redshifts:
            raise ValueError(f"pair: redshift {pair.redshift:g} is that of the samples themselves")
        if (n := pair.particles) is None:
            return
        if not 16 <= n < self.particles or n & (n - 1):
            raise ValueError(
                f"pair: particles = {n}, give a power of two, 16 to {self.particles // 2}"
            )
        if self.cells * n % self.particles:
            raise ValueError(
                f"cells = {self.cells} is no multiple of {self.particles // n}, the ratio of "
                "particles a side"
            )

    @property
    def _run(self) -> Run:
        mesh = self.particles if self.mesh is None else self.mesh
        auto = "fft" if mesh == self.particles else "fft_7pt"
        solver = auto if self.solver == "auto" else self.solver
        return Run(self.box, self.particles, mesh, solver, self.start_redshift)

    @property
    def _falling(self) -> list[float]:
        """All redshifts at which the run is looked at, in the order of time."""
        other = self.pair.redshift if self.pair else None
        return sorted({*self.redshifts, *(() if other is None else (other,))}, reverse=True)

    @property
    def _places(self) -> list[tuple[int, int]]:
        return self.maps.places if self.maps else [(-1, -1)]

    @property
    def _ratio(self) -> int:
        """How many times fewer particles, and cells, the inputs have along each side."""
        return self.particles // ((self.pair and self.pair.particles) or self.particles)

    @property
    def _unit(self) -> str:
        return "count" if self.quantity == "counts" else ""

    @property
    def _dimensions(self) -> int:
        return 2 if self.maps else 3

    def spec(self) -> SampleSpec:
        """Return the spec: one channel on a periodic grid; conditions are what varies."""
        ranges, always = self.cosmology.ranges, ("omega_m", "sigma_8")
        conditions = [Condition(k, "", *v) for k, v in ranges.items() if k in always or v[0] < v[1]]
        if len(self.redshifts) > 1:
            conditions.append(Condition("redshift", "", min(self.redshifts), max(self.redshifts)))
        d = self._dimensions
        grid = Grid((self.quantity,), AXES[:d], (self.box,) * d, "Mpc/h", (True,) * d)
        shape = (1, *(self.cells,) * d)
        return SampleSpec("field", "native", shape, self._unit, tuple(conditions), grid=grid)

    def samples(self) -> int:
        """Return how many samples one run gives: redshifts times maps."""
        return len(self.redshifts) * len(self._places)

    def beside(self) -> Mapping[str, Column]:
        """Return the seed of the universe, where a map was cut, and the other field of a pair."""
        columns = {"initial_seed": Column((), "", "seed of the initial conditions", (), "i8")}
        if self.maps:
            columns["axis"] = Column((), "", "axis of the box across which it is cut", (), "i4")
            columns["slab"] = Column((), "", f"number of the slab, of {self.maps.slabs}", (), "i4")
        if self.pair:
            shape = (1, *(self.cells // self._ratio,) * self._dimensions)
            what = {
                "2lpt": "second-order perturbation theory",
                "redshift": f"redshift {self.pair.redshift}",
                "resolution": f"{self.pair.particles}^3 particles from the same modes",
            }[self.pair.kind]
            words = f"{self.quantity} of the same universe: {what}"
            axes = ("channel", *AXES[: self._dimensions])
            columns["inputs"] = Column(shape, self._unit, words, axes)
        return columns

    def attributes(self) -> Mapping[str, Any]:
        """Return codes, versions and resolution; InputError where a code is not installed."""
        if importlib.util.find_spec("pysco") is None:  # to import it takes seconds, once minutes
            require("pysco", "nbody", "simulator 'nbody'")
        require(self.linear_power, "nbody", f"linear power by '{self.linear_power}'")
        versions = {n: importlib.metadata.version(n) for n in ("pysco-nbody", self.linear_power)}
        run, (name, citation) = self._run, CODES[self.linear_power]
        said = {
            "generator": f"PySCo {versions['pysco-nbody']}",
            "linear_power": f"{name} {versions[self.linear_power]}, scaled to sigma_8 today",
            "run": f"{run.particles}^3 particles, forces on a mesh of {run.mesh}^3 ({run.solver}, "
            f"TSC), 2LPT at redshift {run.start_redshift:g}, radiation in the background",
            "acknowledgement": f"PySCo: Breton 2025, A&A 695, A170; {citation}",
        }
        if self.maps:
            said["slab_thickness"] = f"{self.box / self.maps.slabs:g} Mpc/h"
        return said

    def start(self, seed: int) -> Callable[[int], Simulated]:
        """Compile PySCo, or load what is compiled; return what runs universe ``i``."""
        prepare(self._run)
        if all(low == high for low, high in self.cosmology.ranges.values()):
            linear_power(self.cosmology.draw(seed, 0), self.linear_power)  # kept for all
        return functools.partial(self.simulate, seed)

    def simulate(self, seed: int, i: int) -> Simulated:
        """Return the samples of universe ``i``: by redshift as given, then axis, then slab."""
        cosmology = self.cosmology.draw(seed, i)
        initial = int(random.stream(seed, "initial conditions", i).integers(1, 2**31 - 1))
        fields, inputs = self.fields(cosmology, initial)
        axes, cut = np.array(self._places, np.int32).T
        n, repeats = self.samples(), len(self.redshifts)
        conditions = {name: np.full(n, value) for name, value in asdict(cosmology).items()}
        conditions["redshift"] = np.repeat(self.redshifts, len(axes))
        beside: dict[str, npt.NDArray[Any]] = {"initial_seed": np.full(n, initial, np.int64)}
        beside |= {"axis": np.tile(axes, repeats), "slab": np.tile(cut, repeats)}
        if self.pair:
            beside["inputs"] = np.concatenate(inputs)
        return Simulated(
            np.concatenate(fields),
            {c.name: conditions[c.name] for c in self.spec().conditions},
            {name: beside[name] for name in self.beside()},
        )

    def fields(self, cosmology: Cosmology, initial_seed: int) -> tuple[Fields, Fields]:
        """Return the samples of a universe at each redshift, and the inputs paired with them.

        Parameters
        ----------
        cosmology, initial_seed
            The same seed gives the same modes in boxes with equally many particles.
        """
        universe = cosmology, linear_power(cosmology, self.linear_power), initial_seed
        with snapshots(self._run, *universe, self._falling) as (first, *files):
            at = dict(zip(self._falling, files, strict=True))
            fields = [self._measure(at[z]) for z in self.redshifts]
            if self.pair is None:
                return fields, []
            if self.pair.redshift is not None:
                return fields, [self._measure(at[self.pair.redshift])] * len(fields)
            if self.pair.particles is not None:
                start = coarse_start(first, self.particles, self.pair.particles)
        if self.pair.particles is None:
            return fields, [self._second_order(universe, z) for z in self.redshifts]
        run = replace(self._run, particles=self.pair.particles, mesh=self._run.mesh // self._ratio)
        with snapshots(run, *universe, self._falling, start) as (_, *files):
            at = dict(zip(self._falling, files, strict=True))
            return fields, [self._measure(at[z], self._ratio) for z in self.redshifts]

    def _second_order(
        self, universe: tuple[Cosmology, Any, int], redshift: float
    ) -> npt.NDArray[np.float32]:
        """Return the field where 2LPT alone carries the same modes to this redshift."""
        with snapshots(replace(self._run, start_redshift=redshift), *universe) as (only,):
            return self._measure(only)

    def _measure(self, file: Path, ratio: int = 1) -> npt.NDArray[np.float32]:
        """Return the samples of one snapshot, ``(maps, 1, *cells)``."""
        positions = read_positions(file)
        order, cells, d = ORDERS[self.assignment], self.cells // ratio, self._dimensions
        if self.maps:
            slabs, every = self.maps.slabs, self.maps.every
            axes = [AXES.index(axis) for axis in self.maps.axes]
            sets = [project(positions, axis, cells, slabs, every, order) for axis in axes]
            mass, volumes = np.concatenate(sets), slabs * cells**d
        else:
            mass, volumes = assign(positions, (cells,) * d, order)[None], cells**d
        if self.quantity == "overdensity":
            mass = mass * (volumes / len(positions)) - 1
        if self.smoothing:
            mass = smooth(mass, self.smoothing, d)
        elif self.quantity == "counts":
            return counted(mass[:, None], "simulator 'nbody'", "give more cells, or overdensities")
        return mass[:, None].astype(np.float32)
