"""Geant4's side of the shower simulation: detector, physics and one event at a time.

Import this only where ``geant4_pybind`` can be imported and the data variables are set.
"""

import itertools
import os
from collections.abc import Sequence
from typing import Any, Protocol

import geant4_pybind as g4
import numpy as np
import numpy.typing as npt

from emulators.data.spec import ReadoutLayer, ShowerGeometry
from emulators.errors import InputError
from emulators.simulators.geant4_tables import HADRONS, PARTICLES, available, data_environment

__all__ = ["Run"]

GAP = 1.0  # mm of vacuum between the gun and the front face, along the axis


class Settings(Protocol):
    """What of a simulation's settings the detector is built from; see `geant4.Geant4`."""

    @property
    def particle(self) -> str: ...
    @property
    def stack(self) -> Sequence[Any]: ...
    @property
    def geometry(self) -> ShowerGeometry: ...
    @property
    def depth(self) -> float: ...
    @property
    def reach(self) -> float: ...
    @property
    def half_width(self) -> float: ...
    @property
    def deposits(self) -> str: ...
    @property
    def sampling_fraction(self) -> float: ...
    @property
    def cut(self) -> float: ...
    @property
    def physics_list(self) -> str: ...


class Run:
    """One detector in one process: Geant4 allows no second one."""

    def __init__(self, settings: Settings) -> None:
        # Geant4 writes banners and tables to the C++ stdout: away with them, for good.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        self.settings, self.layers = settings, settings.geometry.layers
        self._detector = _Detector(settings)
        self._actions = _Actions((PARTICLES | HADRONS)[settings.particle], self._detector)
        self._manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.Serial)
        self._manager.SetUserInitialization(self._detector)
        self._physics = _physics(settings)
        self._manager.SetUserInitialization(self._physics)
        self._manager.SetUserInitialization(self._actions)
        parameters = g4.G4EmParameters.Instance()
        parameters.SetVerbose(0)
        for switch in (parameters.SetFluo, parameters.SetAuger, parameters.SetPixe):
            switch(False)
        # The one way that has an effect: the binding ignores SetDefaultCutValue and SetCuts.
        g4.G4UImanager.GetUIpointer().ApplyCommand(f"/run/setCut {settings.cut} mm")
        self._manager.Initialize()
        self.shoot(1e-3, (0.0, 0.0), (0.0, 0.0), 1)  # Geant4 makes its tables at the first event

    def shoot(
        self, energy: float, impact: tuple[float, float], angles: tuple[float, float], seed: int
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Return one shower; depends on its arguments alone.

        Parameters
        ----------
        energy
            Kinetic energy, GeV.
        impact
            x and y on the front face, mm.
        angles
            Degrees off the axis and around it.
        seed
            Of Geant4's random engine.

        Returns
        -------
        ``cells (n_cells,)``, ``overflow (layers,)`` and ``active_layer_<i>``, MeV.
        """
        self._actions.gun.aim(energy, impact, angles, seed)
        self._manager.BeamOn(1)
        found = self._actions.event.found
        active = self.settings.deposits == "active"
        cells, overflow, beside = [], np.zeros(len(self.layers)), {}
        for i, layer in enumerate(self.layers):
            read = np.zeros((2, layer.n_cells))
            for j, kind in enumerate(("active", "passive")):
                for cell, value in found.get(f"{kind}{i}", ()):
                    read[j, cell] += value
                if kind == "active" or not active:
                    overflow[i] += sum(v for _, v in found.get(f"{kind}{i}beside", ()))
            cells.append(read[0] if active else read.sum(0))
            beside[f"active_layer_{i}"] = read[0].reshape(layer.shape)
        scale = 1 / self.settings.sampling_fraction
        return {"cells": np.concatenate(cells) * scale, "overflow": overflow * scale, **beside}


class _Gun(g4.G4VUserPrimaryGeneratorAction):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.gun = g4.G4ParticleGun(1)
        self.gun.SetParticleDefinition(g4.G4ParticleTable.GetParticleTable().FindParticle(name))
        self.seed = 1

    def aim(
        self, energy: float, impact: tuple[float, float], angles: tuple[float, float], seed: int
    ) -> None:
        theta, phi = np.radians(angles)
        direction = np.array(
            [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
        )
        start = np.array([*impact, 0.0]) - GAP * direction / direction[2]
        self.gun.SetParticleEnergy(energy * g4.GeV)
        self.gun.SetParticlePosition(g4.G4ThreeVector(*(start * g4.mm)))
        self.gun.SetParticleMomentumDirection(g4.G4ThreeVector(*direction))
        self.seed = seed

    def GeneratePrimaries(self, event: Any) -> None:  # Geant4's name
        g4.G4Random.setTheSeed(self.seed)
        self.gun.GeneratePrimaryVertex(event)


class _Event(g4.G4UserEventAction):
    """Takes the scorers' sums out of Geant4 at the end of an event."""

    def __init__(self, detector: "_Detector") -> None:
        super().__init__()
        self.detector = detector
        self.collections: dict[str, int] = {}
        self.found: dict[str, list[tuple[int, float]]] = {}

    def EndOfEventAction(self, event: Any) -> None:  # Geant4's name
        if not self.collections:
            manager = g4.G4SDManager.GetSDMpointer()
            self.collections = {
                name: manager.GetCollectionID(f"{name}/energy") for name in self.detector.scored
            }
        hits = event.GetHCofThisEvent()
        self.found = {n: list(hits.GetHC(i)) for n, i in self.collections.items()}


class _Actions(g4.G4VUserActionInitialization):
    def __init__(self, particle: str, detector: "_Detector") -> None:
        super().__init__()
        self.particle, self.detector = particle, detector

    def Build(self) -> None:  # Geant4's name; not before Geant4 asks for it
        self.gun, self.event = _Gun(self.particle), _Event(self.detector)
        self.SetUserAction(self.gun)
        self.SetUserAction(self.event)


def _physics(settings: Settings) -> Any:
    if settings.particle in HADRONS:
        return g4.FTFP_BERT(0)
    lists = [n for n in dir(g4) if n.startswith("G4EmStandardPhysics")]
    if settings.physics_list not in lists:
        raise InputError(f"physics_list '{settings.physics_list}' is none of {', '.join(lists)}")

    class Physics(g4.G4VModularPhysicsList):
        def __init__(self) -> None:
            super().__init__()
            self.SetVerboseLevel(0)
            self.electromagnetic = getattr(g4, settings.physics_list)()
            self.electromagnetic.SetVerboseLevel(0)
            self.RegisterPhysics(self.electromagnetic)

    return Physics()


class _Detector(g4.G4VUserDetectorConstruction):
    """The block: plates along z, each with a region of replicated cells and a rim around it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.kept: list[Any] = []  # Python must own every object for as long as Geant4 uses it
        self.scored: dict[str, list[tuple[Any, ReadoutLayer | None]]] = {}

    def Construct(self) -> Any:  # Geant4's name
        settings, keep = self.settings, self.kept.append
        nist = g4.G4NistManager.Instance()
        nist.SetVerbose(0)
        vacuum = nist.FindOrBuildMaterial("G4_Galactic")
        depth, half = settings.depth, max(settings.half_width, settings.reach)
        polar = settings.geometry.layers[0].axes == ("alpha", "r")
        room = g4.G4Box("world", 2 * half, 2 * half, depth + 10)
        world = g4.G4LogicalVolume(room, vacuum, "world")
        placed = g4.G4PVPlacement(None, g4.G4ThreeVector(), world, "world", None, False, 0)
        self.kept += [room, world, placed]
        turn = g4.G4RotationMatrix()
        if polar:
            turn.rotateZ(np.pi)  # so that the first slice begins at alpha = -pi
        keep(turn)
        made: dict[Any, Any] = {}
        for layer, plate, low, high in _plates(settings):
            thickness = round((high - low) / 2, 6)
            key = layer, plate, thickness
            if key not in made:
                material = _material(plate.material)
                made[key] = self._plate(*key, half, material, polar)
            where = g4.G4ThreeVector(0, 0, (low + high) / 2)
            keep(g4.G4PVPlacement(turn, where, made[key], "plate", world, False, 0))
            keep(where)
        return placed

    def _plate(
        self, index: int | None, plate: Any, thick: float, half: float, material: Any, polar: bool
    ) -> Any:
        def volume(name: str, x: float, y: float, alpha: float, width: float) -> Any:
            """Return a box of half widths x, y; or, out to radius y, a slice of a cylinder."""
            if polar:
                solid = g4.G4Tubs(name, 0, y, thick, alpha, width)
            else:
                solid = g4.G4Box(name, x, y, thick)
            logical = g4.G4LogicalVolume(solid, material, name)
            self.kept += [solid, logical]
            return logical

        full = 2 * np.pi
        rim = volume("rim", half, half, 0, full)
        if index is None:
            return rim
        layer = self.settings.geometry.layers[index]
        (n, m), edges = layer.shape, layer.edges
        reach, kind = edges[1][-1], "active" if plate.active else "passive"
        region = rim
        if reach < half - 1e-9:
            region = volume("cells", reach, reach, 0, full)
            self.kept.append(
                g4.G4PVPlacement(None, g4.G4ThreeVector(), region, "cells", rim, False, 0)
            )
            self.scored.setdefault(f"{kind}{index}beside", []).append((rim, None))
        a, b = (full / n, reach / m) if polar else (2 * reach / n, 2 * reach / m)
        first = volume("first", a / 2, reach, -a / 2, a)
        second = volume("second", a / 2, b if polar else b / 2, -a / 2, a)
        axes = (g4.EAxis.kPhi, g4.EAxis.kRho) if polar else (g4.EAxis.kXAxis, g4.EAxis.kYAxis)
        self.kept += [
            g4.G4PVReplica("first", first, region, axes[0], n, a),
            g4.G4PVReplica("second", second, first, axes[1], m, b),
        ]
        self.scored.setdefault(f"{kind}{index}", []).append((second, layer))
        return rim

    def ConstructSDandField(self) -> None:  # Geant4's name
        manager = g4.G4SDManager.GetSDMpointer()
        manager.SetVerboseLevel(0)
        for name, volumes in self.scored.items():
            detector = g4.G4MultiFunctionalDetector(name)
            manager.AddNewDetector(detector)
            layer = volumes[0][1]
            scorer = (
                g4.G4PSEnergyDeposit3D("energy", 1, *layer.shape, 2, 1, 0)
                if layer
                else g4.G4PSEnergyDeposit("energy", 0)
            )
            detector.RegisterPrimitive(scorer)
            self.kept += [detector, scorer]
            for volume, _ in volumes:
                self.SetSensitiveDetector(volume, detector)


def _material(name: str) -> Any:
    """Return one of Geant4's materials; InputError where there are no cross sections for it."""
    material = g4.G4NistManager.Instance().FindOrBuildMaterial(name)
    if material is None:
        raise InputError(f"material '{name}' is not in Geant4's NIST table (G4_Pb, G4_lAr, ...)")
    if "G4LEDATA" in data_environment()[1]:
        return material
    charges = {round(e.GetZ()): str(e.GetName()) for e in material.GetElementVector()}
    if missing := [symbol for z, symbol in charges.items() if z not in available()]:
        raise InputError(
            f"material '{name}' has {', '.join(missing)}, for which there are no derived tables: "
            "install Geant4's own data (G4LEDATA), or see data/geant4/README.md for how to add it"
        )
    return material


def _plates(settings: Settings) -> list[tuple[int | None, Any, float, float]]:
    """Return ``(readout layer or None, plate, z from, z to)`` mm; plates are cut at readouts."""
    depths = [layer.depth for layer in settings.geometry.layers if layer.depth]
    cuts = sorted({z for depth in depths for z in depth})
    pieces, z = [], 0.0
    for plate in (p for s in settings.stack for p in s.plates * s.repeat):
        inside = [c for c in cuts if z + 1e-6 < c < z + plate.thickness - 1e-6]
        ends = [z, *inside, z + plate.thickness]
        for low, high in itertools.pairwise(ends):
            middle = (low + high) / 2
            layer = next((i for i, d in enumerate(depths) if d[0] < middle < d[1]), None)
            pieces.append((layer, plate, low, high))
        z += plate.thickness
    return pieces
