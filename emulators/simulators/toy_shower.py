"""A toy calorimeter: electromagnetic showers from a parametrisation, in milliseconds.

After Grindhammer and Peters (hep-ex/0001020), whose appendix A gives all numbers here: the
longitudinal profile is a gamma function whose maximum and shape fluctuate together, the radial one
a core and a tail, both for a sampling calorimeter; energy comes in spots.  No particle is followed:
this is for tests and teaching, and not a stand-in for Geant4.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

from emulators import random
from emulators.data import geometries
from emulators.data.spec import MEV_PER_GEV, Column, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.simulators.base import Simulated, simulator
from emulators.simulators.energies import Energy, incident_energy

__all__ = ["LEAD_ARGON", "TUNGSTEN_SILICON", "Medium", "Plate", "ToyShower", "sandwich"]

Array = npt.NDArray[np.float64]

SCATTERING_ENERGY = 21.2  # MeV
CONVERSION_LENGTH = 9 / 7  # X0, of a photon
STEP = 0.5  # X0, the longest step along the shower
LEAST_SPOT = 1e-6  # GeV; the gamma law of a small share gives next to nothing most of the time
LEAST_Y = 50  # E / critical energy, below which the fluctuations' formulas have no meaning


@dataclass(frozen=True)
class Plate:
    """One plate of a sandwich.

    ``density`` g/cm3, ``radiation_length`` g/cm2, ``thickness`` mm.
    """

    atomic_number: float
    atomic_weight: float
    density: float
    radiation_length: float
    thickness: float


@dataclass(frozen=True)
class Medium:
    """What a shower sees of a calorimeter of equal layers; `sandwich` works it out from plates.

    Parameters
    ----------
    radiation_length, moliere_radius
        mm.
    critical_energy
        MeV.
    atomic_number
        Effective Z.
    sampling_frequency
        Layers in a radiation length.
    electron_response
        Response to electrons over that to minimum ionising particles.
    fluctuation
        Sampling fluctuation ``c`` in ``sigma / E = c / sqrt(E / GeV)``.
    visible
        Mean deposit of a contained shower over its incident energy: 1 where deposits are
        calibrated to it, the sampling fraction where they are those in the active plates.
    """

    radiation_length: float
    moliere_radius: float
    critical_energy: float
    atomic_number: float
    sampling_frequency: float
    electron_response: float
    fluctuation: float
    visible: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")


def sandwich(absorber: Plate, active: Plate, fluctuation: float, visible: float) -> Medium:
    """Return the medium of which these two plates are one layer.

    Effective values after section 2 and appendix A.2 of the paper, with weights by mass: critical
    energies of the plates are ``2.66 MeV (X0 Z / A)^1.1``.
    """
    plates = absorber, active
    mass = np.array([p.density * p.thickness / 10 for p in plates])  # g/cm2
    x0 = np.array([p.radiation_length for p in plates])
    z = np.array([p.atomic_number for p in plates])
    critical = 2.66 * (x0 * z / [p.atomic_weight for p in plates]) ** 1.1
    thickness = absorber.thickness + active.thickness
    radiation_length = thickness / (mass / x0).sum()
    mean_critical = (mass / x0 * critical).sum() / (mass / x0).sum()
    return Medium(
        radiation_length=float(radiation_length),
        moliere_radius=float(radiation_length * SCATTERING_ENERGY / mean_critical),
        critical_energy=float(mean_critical),
        atomic_number=float((mass * z).sum() / mass.sum()),
        sampling_frequency=float(radiation_length / thickness),
        electron_response=1 / (1 + 0.007 * (absorber.atomic_number - active.atomic_number)),
        fluctuation=fluctuation,
        visible=visible,
    )


# Materials: Particle Data Group.  Fluctuations: of the deposits in the active plates in Geant4 with
# its derived tables: 0.07 in argon; 0.127(4), 0.136(6), 0.130(12) in silicon, for electrons of 1,
# 10 and 50 GeV.  Visible: argon's sampling fraction there; in silicon calibrated.
LEAD_ARGON = sandwich(
    Plate(82, 207.2, 11.35, 6.37, 2.0), Plate(18, 39.948, 1.396, 19.55, 4.0), 0.07, 0.189
)
TUNGSTEN_SILICON = sandwich(
    Plate(74, 183.84, 19.3, 6.76, 1.4), Plate(14, 28.085, 2.329, 21.82, 0.3), 0.13, 1.0
)


@simulator("toy-shower")
@dataclass(frozen=True)
class ToyShower:
    """Toy: electromagnetic showers by a parametrisation, on the axis of a block.

    Parameters
    ----------
    particle
        ``electron``, or ``photon``: an electron's shower that begins a conversion length
        (exponential, mean 9/7 X0) behind the front face.
    energy
        Incident energy, GeV: one, a law such as ``1:100:log``, or a list that simulations take in
        turn.
    geometry
        ``calogan``, ``calochallenge-2``, ``calochallenge-3``, or any `ShowerGeometry` with depths;
        its axes say the layout of the file.
    medium
        What fills it; by default lead and argon, for CaloChallenge's tungsten and silicon.
    """

    particle: Literal["photon", "electron"] = "photon"
    energy: Energy = "1:100:log"
    geometry: str | ShowerGeometry = "calogan"
    medium: Medium | None = None

    def __post_init__(self) -> None:
        layers = self.readout.layers
        if missing := [layer.name for layer in layers if layer.depth is None]:
            raise ValueError(f"geometry: {', '.join(missing)} has no depth")
        if len({layer.axes for layer in layers}) != 1:
            raise ValueError("geometry: layers are either all x, y or all alpha, r")

    @cached_property
    def readout(self) -> ShowerGeometry:
        """The geometry, where it is given by name too."""
        if isinstance(self.geometry, ShowerGeometry):
            return self.geometry
        return geometries.named(self.geometry)

    @property
    def filling(self) -> Medium:
        """The medium, where none is given too."""
        silicon = self.readout.name.startswith("calochallenge")
        return self.medium or (TUNGSTEN_SILICON if silicon else LEAD_ARGON)

    def spec(self) -> SampleSpec:
        """Return the showers' spec: deposits in MeV, incident energy in GeV."""
        energy, _ = incident_energy(self.energy)
        least = LEAST_Y * self.filling.critical_energy / MEV_PER_GEV
        if energy.minimum < least:
            raise InputError(
                f"energy: {energy.minimum:g} GeV is below {least:.2g} GeV, where the "
                "parametrisation ends in this medium"
            )
        layout = "calogan" if self.readout.layers[0].axes == ("x", "y") else "calochallenge"
        shape = (self.readout.n_cells,)
        return SampleSpec("shower", layout, shape, "MeV", (energy,), self.readout, self.particle)

    def samples(self) -> int:
        """Return 1: a simulation is one shower."""
        return 1

    def beside(self) -> Mapping[str, Column]:
        """Return the energy beside the cells, where it is not part of the layout."""
        if self.spec().layout == "calogan":
            return {}
        words = "energy deposited beside the cells of each layer"
        return {"overflow": Column((len(self.readout.layers),), "MeV", words, ("layer",))}

    def attributes(self) -> Mapping[str, Any]:
        """Return what it is, and the medium."""
        medium = {f"medium_{name}": value for name, value in vars(self.filling).items()}
        return {
            "generator": "toy: parametrised electromagnetic shower after Grindhammer and Peters",
            "licence": "made without third-party code or data",
            "citation": "G. Grindhammer and S. Peters, hep-ex/0001020",
            **medium,
        }

    def start(self, seed: int) -> Callable[[int], Simulated]:
        """Cut the depth into steps; return what throws shower ``i``."""
        medium, readout, (_, draw) = self.filling, self.readout, incident_energy(self.energy)
        layers, depths = _steps(readout, STEP * medium.radiation_length)
        depths /= medium.radiation_length

        def simulate(i: int) -> Simulated:
            energy = draw(seed, i)
            stream = random.stream(seed, "shower", i)
            begin = stream.exponential(CONVERSION_LENGTH) if self.particle == "photon" else 0.0
            steps, deposits, r = _spots(
                stream, float(energy[0]), np.maximum(depths - begin, 0), medium
            )
            deposits *= medium.visible * MEV_PER_GEV
            alpha = np.pi * (2 * stream.random(len(r)) - 1)
            cells, overflow = _fill(readout, layers[steps], deposits, alpha, r)
            return Simulated(
                cells.astype(np.float32)[None],
                {"incident_energy": energy},
                {"overflow": overflow.astype(np.float32)[None]},
            )

        return simulate


def longitudinal(energy: float, medium: Medium) -> tuple[Array, Array, float]:
    """Return how ``ln T`` and ``ln alpha`` of showers are distributed (A.1.2, A.2.2).

    Parameters
    ----------
    energy
        Of the electron, GeV.

    Returns
    -------
    Means and standard deviations of ``ln T`` (depth of the maximum, X0) and ``ln alpha`` (shape),
    ``(2,)``, and their correlation.
    """
    ln_y = math.log(energy * MEV_PER_GEV / medium.critical_energy)
    t = ln_y - 0.812 - 0.55 / medium.sampling_frequency - 0.69 * (1 - medium.electron_response)
    alpha = 0.81 + (0.458 + 2.26 / medium.atomic_number) * ln_y - 0.476 / medium.sampling_frequency
    sigmas = 1 / np.array([-2.5 + 1.25 * ln_y, -0.82 + 0.79 * ln_y])
    return np.log([t, alpha]), sigmas, 0.784 - 0.023 * ln_y


def radial(tau: Array, energy: float, medium: Medium) -> tuple[Array, Array, Array]:
    """Return the radial profile at depths ``tau``, in units of the maximum's (A.1.3, A.2.3).

    It is ``p f(r; R_C) + (1 - p) f(r; R_T)`` with ``f(r; R) = 2 r R^2 / (r^2 + R^2)^2``.

    Returns
    -------
    ``R_C`` and ``R_T`` in Moliere radii, and ``p``.
    """
    z, ln_e = medium.atomic_number, math.log(energy)
    deficit, plates = 1 - medium.electron_response, 1 / medium.sampling_frequency
    core = 0.0251 + 0.00319 * ln_e + (0.1162 - 0.000381 * z) * tau
    core += -0.0203 * deficit + 0.0397 * plates * np.exp(-tau)
    rise = np.exp(-2.59 * (tau - 0.645)) + np.exp((0.3585 + 0.0421 * ln_e) * (tau - 0.645))
    tail = (0.659 - 0.00309 * z) * rise - 0.14 * deficit - 0.495 * plates * np.exp(-tau)
    x = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * ln_e)
    share = (2.632 - 0.00094 * z) * np.exp(x - np.exp(x))
    share += deficit * (0.348 - 0.642 * plates * np.exp(-((tau - 1) ** 2)))
    return core, tail, np.clip(share, 0, 1)


def _spots(
    stream: np.random.Generator, energy: float, depths: Array, medium: Medium
) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Return the step, the energy (GeV) and the radius (mm) of each energy spot of a shower."""
    (ln_t, ln_alpha), sigmas, rho = longitudinal(energy, medium)
    common, opposite = stream.standard_normal(2) * np.sqrt([(1 + rho) / 2, (1 - rho) / 2])
    t = math.exp(ln_t + sigmas[0] * (common + opposite))
    alpha = max(math.exp(ln_alpha + sigmas[1] * (common - opposite)), 1.1)  # 1: no maximum
    shares = np.diff(gammainc(alpha, (alpha - 1) / t * depths), axis=1)[:, 0]

    # Spots lie less deep than energy (A.2.4); a step with energy has one at least.
    z = medium.atomic_number
    n = 10.3 / medium.fluctuation * energy**0.959
    t_spot, alpha_spot = t * (0.813 + 0.0019 * z), alpha * (0.844 + 0.0026 * z)
    density = np.diff(gammainc(alpha_spot, (alpha_spot - 1) / t_spot * depths), axis=1)[:, 0]
    counts = np.where(shares > 0, np.maximum(np.ceil(n * density), 1), 0).astype(int)
    steps = np.repeat(np.arange(len(counts)), counts)

    # Gamma laws of one scale add up: with c^2 GeV, all spots together have sigma = c sqrt(E).
    scale = medium.fluctuation**2
    deposits = scale * stream.standard_gamma(
        (energy * shares / np.maximum(counts, 1))[steps] / scale
    )
    deposits[deposits < LEAST_SPOT] = 0

    centre = t * alpha / (alpha - 1)
    mean_alpha = math.exp(ln_alpha)
    tau = depths.mean(1) / centre * mean_alpha / (mean_alpha - 1)
    core, tail, p = (values[steps] for values in radial(tau, energy, medium))
    u, v = stream.random((2, len(steps)))
    r = np.where(u < p, core, tail) * np.sqrt(v / (1 - v)) * medium.moliere_radius
    return steps, deposits, r


def _steps(geometry: ShowerGeometry, longest: float) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the layer and the two depths (mm) of steps no longer than this, none in two layers."""
    numbers, depths = [], []
    for number, layer in enumerate(geometry.layers):
        assert layer.depth is not None
        edges = np.linspace(
            *layer.depth, math.ceil((layer.depth[1] - layer.depth[0]) / longest) + 1
        )
        depths.append(np.stack([edges[:-1], edges[1:]], 1))
        numbers += [number] * len(depths[-1])
    return np.array(numbers), np.concatenate(depths)


def _fill(
    geometry: ShowerGeometry, layers: npt.NDArray[np.int64], deposits: Array, alpha: Array, r: Array
) -> tuple[Array, Array]:
    """Return what spots, layer after layer, deposit in the cells and beside those of each layer."""
    x, y = r * np.cos(alpha), r * np.sin(alpha)
    values, overflow = np.zeros(geometry.n_cells), np.zeros(len(geometry.layers))
    bounds = np.searchsorted(layers, np.arange(len(geometry.layers) + 1))
    for number, (layer, cells) in enumerate(zip(geometry.layers, geometry.slices)):
        mine = slice(*bounds[number : number + 2])
        where = (x[mine], y[mine]) if layer.axes == ("x", "y") else (alpha[mine], r[mine])
        i, j = (np.searchsorted(e, w, "right") - 1 for e, w in zip(layer.edges, where))
        inside = (i >= 0) & (i < layer.shape[0]) & (j >= 0) & (j < layer.shape[1])
        found, cell = deposits[mine], (i * layer.shape[1] + j)[inside]
        values[cells] = np.bincount(cell, found[inside], layer.n_cells)
        overflow[number] = found[~inside].sum()
    return values, overflow
