"""Showers in a block of plates, by Geant4: the same geometry object that the layouts use.

The block fills ``z > 0``; the shower axis is z.  Every readout layer collects the plates between
its two depths; a plate that a depth cuts is cut there.  Deposits are summed by Geant4's own scorers
on replicated cells, so that Python runs once an event and not once a step.
"""

import importlib.metadata
import itertools
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Literal

import numpy as np

from emulators import random
from emulators.config import nearest
from emulators.data import geometries
from emulators.data.spec import Column, ReadoutLayer, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.simulators.base import Simulated, require, simulator
from emulators.simulators.energies import Energy, incident_energy
from emulators.simulators.geant4_tables import DATA_SETS, HADRONS, PARTICLES, data_environment

__all__ = ["Geant4", "Plate", "Readout", "Stack"]

log = logging.getLogger(__name__)

Range = float | tuple[float, float]


@dataclass(frozen=True)
class Plate:
    """One plate across the shower axis: a NIST material, its thickness (mm), whether it is read."""

    material: str
    thickness: float
    active: bool = False

    def __post_init__(self) -> None:
        if not self.thickness > 0:
            raise ValueError(f"thickness must be positive, got {self.thickness}")


@dataclass(frozen=True)
class Stack:
    """Plates one behind the other, and how often they come again."""

    plates: tuple[Plate, ...]
    repeat: int = 1


@dataclass(frozen=True)
class Readout:
    """One readout layer of equal cells between two depths (mm).

    ``cells`` along ``x, y`` over the square from ``-extent`` to ``extent`` mm, or along
    ``alpha, r`` out to the radius ``extent``.
    """

    depth: tuple[float, float]
    cells: tuple[int, int]
    extent: float
    axes: Literal["xy", "cylinder"] = "xy"

    def layer(self, index: int) -> ReadoutLayer:
        """Return the layer of this number."""
        first = self.extent if self.axes == "xy" else math.pi
        low = -self.extent if self.axes == "xy" else 0.0
        edges = (
            np.linspace(-first, first, self.cells[0] + 1),
            np.linspace(low, self.extent, self.cells[1] + 1),
        )
        axes = ("x", "y") if self.axes == "xy" else ("alpha", "r")
        a, b = (tuple(e.tolist()) for e in edges)
        return ReadoutLayer(f"layer_{index}", axes, (a, b), self.depth)  # type: ignore[arg-type]


LEAD_ARGON = (Stack((Plate("G4_Pb", 2.0), Plate("G4_lAr", 4.0, active=True)), 80),)


@simulator("geant4")
@dataclass(frozen=True)
class Geant4:
    """Showers of single particles by Geant4.

    Parameters
    ----------
    particle
        ``photon``, ``electron``, ``positron``; hadrons where Geant4's full data are installed.
    energy
        Incident (kinetic) energy, GeV: one, a law such as ``1:100:log``, or a list that
        simulations take in turn.
    stack
        The plates, front to back; materials of Geant4's NIST table.  By default CaloGAN's block.
    readout
        ``calogan``, ``calochallenge-2``, ``calochallenge-3``, or a list of `Readout`.
    half_width
        Half the width of the block, or its radius, mm; 0: as far as the cells reach.
    layout
        Layout of the file: ``calogan`` or ``calochallenge``.
    deposits
        ``all``: energy in every plate, with that in active plates beside; or ``active``.
    sampling_fraction
        Deposits are divided by it: what CaloChallenge calls calibrated.
    impact
        Where the particle enters the front face, x and y in mm; each a value or a range.
    theta, phi
        Its direction: degrees off the axis, and around it; each a value or a range.
    cut
        Production cut, mm.
    physics_list
        One of Geant4's electromagnetic lists; hadrons take ``FTFP_BERT``.
    """

    particle: str = "photon"
    energy: Energy = "1:100:log"
    stack: tuple[Stack, ...] = LEAD_ARGON
    readout: str | tuple[Readout, ...] = "calogan"
    half_width: float = 0.0
    layout: Literal["calogan", "calochallenge"] = "calogan"
    deposits: Literal["all", "active"] = "all"
    sampling_fraction: float = 1.0
    impact: tuple[Range, Range] = (0.0, 0.0)
    theta: Range = 0.0
    phi: Range = 0.0
    cut: float = 0.7
    physics_list: str = "G4EmStandardPhysics"

    def __post_init__(self) -> None:
        known = [*PARTICLES, *HADRONS]
        if self.particle not in known:
            raise ValueError(f"particle '{self.particle}'{nearest(self.particle, known)}")
        for name in ("cut", "sampling_fraction"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for layer in self.geometry.layers:
            for axis, edges in zip(layer.axes, layer.edges):
                if not np.allclose(np.diff(edges), edges[1] - edges[0]):
                    raise ValueError(
                        f"cells of {layer.name} along {axis} differ in width: "
                        "Geant4 replicates equal cells only"
                    )
            if layer.depth is None:
                raise ValueError(f"{layer.name} has no depth: the readout must say where it lies")
        depths = [layer.depth for layer in self.geometry.layers if layer.depth]
        if any(b[0] < a[1] - 1e-9 for a, b in itertools.pairwise(depths)):
            raise ValueError("readout layers overlap, or are not in order of depth")
        if depths[-1][1] > self.depth + 1e-6:
            raise ValueError(
                f"the readout reaches {depths[-1][1]:g} mm deep, the plates {self.depth:g} mm"
            )
        if len({layer.axes for layer in self.geometry.layers}) > 1:
            raise ValueError("readout layers are either all xy or all cylinder")
        if 0 < self.half_width < self.reach - 1e-9:
            raise ValueError(f"half_width {self.half_width:g} mm: cells reach {self.reach:g} mm")
        if not all(0 <= v < 90 for v in np.ravel(self.theta)):
            raise ValueError(f"theta = {self.theta}: degrees off the axis, from 0 to below 90")
        if any(abs(v) >= max(self.half_width, self.reach) for v in np.hstack(self.impact)):
            raise ValueError(f"impact {self.impact} mm is beside the block")
        if self.deposits == "active" and not any(p.active for s in self.stack for p in s.plates):
            raise ValueError("deposits = 'active', but no plate is active")
        incident_energy(self.energy)

    @cached_property
    def geometry(self) -> ShowerGeometry:
        """The readout as the layouts know it."""
        if not isinstance(self.readout, str):
            layers = tuple(readout.layer(i) for i, readout in enumerate(self.readout))
            return ShowerGeometry("custom", layers)
        return geometries.named(self.readout)

    @property
    def depth(self) -> float:
        """Depth of the block, mm."""
        return sum(p.thickness for s in self.stack for p in s.plates * s.repeat)

    @property
    def reach(self) -> float:
        """How far the cells reach across the axis, mm."""
        return max(layer.edges[1][-1] for layer in self.geometry.layers)

    def spec(self) -> SampleSpec:
        """Return the showers' spec: deposits in MeV, incident energy in GeV."""
        energy, _ = incident_energy(self.energy)
        cells = (self.geometry.n_cells,)
        return SampleSpec(
            "shower", self.layout, cells, "MeV", (energy,), self.geometry, self.particle
        )

    def samples(self) -> int:
        """Return 1: a simulation is one shower."""
        return 1

    def beside(self) -> Mapping[str, Column]:
        """Return the deposits in active plates, and where the particle came from if that varies."""
        columns = {}
        layers = self.geometry.layers
        if self.layout != "calogan":  # where it is part of the layout
            columns["overflow"] = Column(
                (len(layers),), "MeV", "energy deposited beside the cells of each layer", ("layer",)
            )
        if self.deposits == "all" and any(p.active for s in self.stack for p in s.plates):
            for i, layer in enumerate(layers):
                words = f"energy deposited in the active plates of {layer.name}"
                columns[f"active_layer_{i}"] = Column(layer.shape, "MeV", words, layer.axes)
        if any(isinstance(v, tuple) for v in self.impact):
            words = "where the particle enters the front face: x, y"
            columns["impact"] = Column((2,), "mm", words, ("axis",))
        if isinstance(self.theta, tuple) or isinstance(self.phi, tuple):
            words = "direction of the particle: off the axis, around it"
            columns["direction"] = Column((2,), "deg", words, ("angle",))
        return columns

    def attributes(self) -> Mapping[str, Any]:
        """Return code, data, cut and detector; InputError where they cannot be had."""
        _, stock = data_environment()
        if self.particle in HADRONS:
            missing = [v for v, (_, needed) in DATA_SETS.items() if needed and v not in stock]
            if missing:
                raise InputError(
                    f"{self.particle}s need Geant4's full data, of which {', '.join(missing)} "
                    "are not found: install them and set those variables, or choose photon, "
                    "electron or positron"
                )
        version = _import_geant4().G4VERSION_NUMBER
        materials = {p.material for s in self.stack for p in s.plates}
        if not all(name.startswith("G4_") for name in materials):
            raise InputError(f"materials are those of Geant4's NIST table (G4_Pb): {materials}")
        used = "stock" if "G4LEDATA" in stock else "derived tables, see data/geant4/README.md"
        if "G4LEDATA" not in stock:
            log.warning(
                "Geant4's own data are not installed (G4LEDATA): derived tables are used. "
                "Photoelectric effect and Rayleigh scattering are approximate, there is no atomic "
                "de-excitation and no photonuclear reaction; data/geant4/README.md says how much "
                "that matters"
            )
        package = importlib.metadata.version("geant4-pybind")
        release = f"{version // 100}.{version // 10 % 10}.{version % 10}"
        stack = "; ".join(
            f"{s.repeat} x ({', '.join(f'{p.thickness:g} mm {p.material}' for p in s.plates)})"
            for s in self.stack
        )
        counted = "all plates" if self.deposits == "all" else "active plates"
        return {
            "generator": f"Geant4 {release} through geant4-pybind {package}",
            "geant4_data": used,
            "physics_list": self.physics_list if self.particle in PARTICLES else "FTFP_BERT",
            "production_cut": f"{self.cut:g} mm",
            "detector": f"block of {stack}; energy counted in {counted}, "
            f"divided by {self.sampling_fraction:g}",
            "acknowledgement": "Simulated with Geant4: NIM A 506 (2003) 250, "
            "IEEE TNS 53 (2006) 270, NIM A 835 (2016) 186",
        }

    def start(self, seed: int) -> Callable[[int], Simulated]:
        """Build detector and physics in this process, which can be done once; return the gun."""
        _import_geant4()
        from emulators.simulators.geant4_run import Run

        run, (_, draw) = Run(self), incident_energy(self.energy)
        columns = {*self.beside(), *(["overflow"] if self.layout == "calogan" else [])}

        def simulate(i: int) -> Simulated:
            energy = draw(seed, i)
            stream = random.stream(seed, "shower", i)
            x, y, theta, phi = (
                float(stream.uniform(*v)) if isinstance(v, tuple) else v
                for v in (*self.impact, self.theta, self.phi)
            )
            engine = int(stream.integers(1, 1 << 31))
            found = run.shoot(float(energy[0]), (x, y), (theta, phi), engine)
            found |= {"impact": np.array([x, y]), "direction": np.array([theta, phi])}
            beside = {key: found[key][None] for key in columns}
            return Simulated(found["cells"][None], {"incident_energy": energy}, beside)

        return simulate


def _import_geant4() -> ModuleType:
    """Import Geant4's binding where it finds its data: else it asks for them on stdin."""
    environment, _ = data_environment()
    os.environ.update(environment)
    return require("geant4_pybind", "geant4", "simulator 'geant4'")
