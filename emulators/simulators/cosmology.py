"""Flat LCDM: linear power spectra of given sigma_8, growth, and designs of parameters.

Wavenumbers are h/Mpc, power spectra (Mpc/h)^3, all at redshift 0 unless a redshift is given.
"""

import functools
import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from emulators import random
from emulators.simulators.base import require

__all__ = [
    "K_MAX",
    "NEUTRINOS",
    "PARAMETERS",
    "T_CMB",
    "Code",
    "Cosmologies",
    "Cosmology",
    "growth_factor",
    "halofit_power",
    "linear_power",
    "sigma",
]

Array = npt.NDArray[np.float64]
Code = Literal["camb", "colossus"]
Range = float | tuple[float, float]

T_CMB, NEUTRINOS = 2.726, 3.044  # K; effective number of massless neutrinos: PySCo's background
K_MIN, K_MAX = 1e-4, 36.0  # h/Mpc: what power spectra are given for
PIVOT_AMPLITUDE = 2e-9  # any: the spectrum is scaled to sigma_8


@dataclass(frozen=True)
class Cosmology:
    """A flat LCDM universe with massless neutrinos.

    Parameters
    ----------
    omega_m
        Matter density today, baryons included, in units of the critical density.
    sigma_8
        Linear rms overdensity today in spheres of 8 Mpc/h.
    h
        Hubble constant in 100 km/s/Mpc.
    n_s
        Spectral index of the primordial fluctuations.
    omega_b
        Density of baryons today.
    """

    omega_m: float = 0.3
    sigma_8: float = 0.8
    h: float = 0.7
    n_s: float = 0.96
    omega_b: float = 0.045

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value:g}")
        if not self.omega_b < self.omega_m < 1:
            raise ValueError(
                f"omega_m = {self.omega_m:g} must lie between omega_b = {self.omega_b:g} and 1"
            )

    @property
    def omega_r(self) -> float:
        """Density of photons and massless neutrinos today."""
        photons = 2.472806e-5 * (T_CMB / 2.7255) ** 4 / self.h**2
        return float(photons * (1 + NEUTRINOS * 7 / 8 * (4 / 11) ** (4 / 3)))


PARAMETERS = tuple(asdict(Cosmology()))


def sigma(k: Array, power: Array, radius: float = 8.0) -> float:
    """Return the rms overdensity in spheres of this radius.

    Parameters
    ----------
    k, power
        Power spectrum, h/Mpc and (Mpc/h)^3, on points dense and even in log k.
    radius
        Of the spheres, Mpc/h.
    """
    x = k * radius
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    per_log_k = power * window**2 * k**3 / (2 * np.pi**2)
    return float(np.sqrt(((per_log_k[1:] + per_log_k[:-1]) / 2 * np.diff(np.log(k))).sum()))


@functools.lru_cache(maxsize=64)
def linear_power(cosmology: Cosmology, code: Code = "camb") -> tuple[Array, Array]:
    """Return the linear matter power spectrum today, of the sigma_8 asked for.

    Parameters
    ----------
    cosmology
        The universe.
    code
        ``"camb"`` (Lewis, Challinor and Lasenby 2000, about 2 s), or ``"colossus"`` for the
        fitting formula of Eisenstein and Hu 1998 (milliseconds, within 3 % of CAMB).

    Returns
    -------
    ``k`` (800,), h/Mpc, and ``P(k)``, (Mpc/h)^3; not to be changed, for they are kept.
    """
    return _camb(cosmology, nonlinear=False) if code == "camb" else _eisenstein_hu(cosmology)


@functools.lru_cache(maxsize=64)
def halofit_power(cosmology: Cosmology) -> tuple[Array, Array]:
    """Return the non-linear power spectrum of halofit today (Takahashi et al. 2012), by CAMB."""
    return _camb(cosmology, nonlinear=True)


def _camb(c: Cosmology, nonlinear: bool) -> tuple[Array, Array]:
    camb = require("camb", "nbody", "the linear power spectrum by 'camb'")
    camb.config.ThreadNum = 1  # processes share the cores; and CPU seconds are what is booked

    def results(amplitude: float) -> tuple[float, tuple[Array, Array]]:
        asked = camb.CAMBparams()
        cold = (c.omega_m - c.omega_b) * c.h**2
        asked.set_cosmology(
            H0=100 * c.h, ombh2=c.omega_b * c.h**2, omch2=cold, mnu=0, omk=0,
            num_massive_neutrinos=0,
        )  # fmt: skip
        asked.InitPower.set_params(As=amplitude, ns=c.n_s)
        asked.set_matter_power(redshifts=[0.0], kmax=K_MAX / 0.9)
        asked.NonLinear = camb.model.NonLinear_none
        if nonlinear:
            asked.NonLinear = camb.model.NonLinear_both
            asked.NonLinearModel.set_params(halofit_version="takahashi")
        made = camb.get_results(asked)
        k, _, power = made.get_matter_power_spectrum(minkh=K_MIN, maxkh=K_MAX, npoints=800)
        return float(made.get_sigma8_0()), (k, power[0])

    sigma_8, (k, power) = results(PIVOT_AMPLITUDE)
    scale = (c.sigma_8 / sigma_8) ** 2
    if nonlinear:  # not proportional to its amplitude
        return results(PIVOT_AMPLITUDE * scale)[1]
    return k, power * scale


def _eisenstein_hu(c: Cosmology) -> tuple[Array, Array]:
    module = require("colossus.cosmology.cosmology", "nbody", "linear power by 'colossus'")
    # Without persistence: it would keep files in the home folder. Not made the current cosmology.
    made = module.Cosmology(
        name="", flat=True, H0=100 * c.h, Om0=c.omega_m, Ob0=c.omega_b, sigma8=c.sigma_8, ns=c.n_s,
        Tcmb0=T_CMB, Neff=NEUTRINOS, persistence="", interpolation=False,
    )  # fmt: skip
    k = np.geomspace(K_MIN, K_MAX, 800)
    return k, np.asarray(made.matterPowerSpectrum(k, model="eisenstein98"))


def growth_factor(cosmology: Cosmology, redshift: npt.ArrayLike) -> Array:
    """Return the linear growth factor D(z), 1 today, with radiation in the background.

    Solves ``D'' + (2 + dln H/dln a) D' = 3/2 Omega_m(a) D`` in ln a from deep in the radiation era
    (Peebles 1980, section 10).

    Parameters
    ----------
    cosmology
        The universe.
    redshift
        0 to 1000, any shape.
    """
    from scipy.integrate import solve_ivp  # slow to import

    m, r = cosmology.omega_m, cosmology.omega_r

    def derivative(log_a: float, y: Array) -> tuple[float, float]:
        a = math.exp(log_a)
        matter, radiation, vacuum = m / a**3, r / a**4, 1 - m - r
        total = matter + radiation + vacuum
        slope = -(3 * matter + 4 * radiation) / (2 * total)
        return y[1], 1.5 * matter / total * y[0] - (2 + slope) * y[1]

    logs = -np.log1p(np.asarray(redshift, float))
    start = (1.0, 0.0)  # constant in the radiation era (Meszaros 1974)
    solved = solve_ivp(derivative, (-17.0, 0.0), start, rtol=1e-8, atol=1e-10, dense_output=True)
    growth: Array = solved.sol(logs.ravel())[0].reshape(logs.shape) / solved.y[0, -1]
    return growth


@dataclass(frozen=True)
class Cosmologies:
    """Which universe each simulation has.

    Parameters
    ----------
    omega_m, sigma_8, h, n_s, omega_b
        See `Cosmology`: one value, or the two ends of a range.
    design
        How ranges are filled.  ``"sobol"``: simulation i takes point i of one scrambled sequence,
        which goes on for ever and is most even at powers of two (Sobol 1967, Owen 1998).
        ``"latin-hypercube"``: hypercubes of ``size`` points (McKay, Beckman and Conover 1979), one
        after another.  ``"uniform"``: independent draws.  ``"list"``: the universes ``listed``.
    size
        Points of a Latin hypercube.
    listed
        Tables of parameters, one a simulation and round again; those left out are as given above.
    """

    omega_m: Range = 0.3
    sigma_8: Range = 0.8
    h: Range = 0.7
    n_s: Range = 0.96
    omega_b: Range = 0.045
    design: Literal["sobol", "latin-hypercube", "uniform", "list"] = "sobol"
    size: int | None = None
    listed: tuple[dict[str, float], ...] = ()

    def __post_init__(self) -> None:
        if (self.design == "list") != bool(self.listed):
            raise ValueError('design = "list" and listed = [{omega_m = 0.3}, ...] go together')
        if (self.design == "latin-hypercube") != (self.size is not None):
            raise ValueError(
                'design = "latin-hypercube" needs its size in points, others have none'
            )
        if self.size is not None and self.size < 1:
            raise ValueError(f"size = {self.size}: a Latin hypercube has one point or more")
        laws = self._laws
        for name, (low, high) in laws.items():
            if not low <= high:
                raise ValueError(f"{name} from {low:g} to {high:g}: give the smaller one first")
            if self.listed and low < high:
                raise ValueError(f"{name} has a range: beside a list of universes give one value")
        for entry in self.listed:
            if unknown := sorted(set(entry) - set(PARAMETERS)):
                raise ValueError(f"listed: {unknown[0]} is none of {', '.join(PARAMETERS)}")
            self._listed(entry)
        if not self.listed:  # the corners, with the one where omega_m and omega_b are closest
            for corner in ((0, 0), (0, 1), (1, 1)):
                ends = {name: law[corner[name != "omega_m"]] for name, law in laws.items()}
                Cosmology(**ends)

    @property
    def _laws(self) -> dict[str, tuple[float, float]]:
        laws = {name: getattr(self, name) for name in PARAMETERS}
        return {k: law if isinstance(law, tuple) else (law, law) for k, law in laws.items()}

    def _listed(self, entry: dict[str, float]) -> Cosmology:
        return Cosmology(**{name: low for name, (low, _) in self._laws.items()} | entry)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each parameter."""
        if not self.listed:
            return self._laws
        all_of = [asdict(self._listed(entry)) for entry in self.listed]
        values = {name: [c[name] for c in all_of] for name in PARAMETERS}
        return {name: (min(v), max(v)) for name, v in values.items()}

    def draw(self, seed: int, i: int) -> Cosmology:
        """Return the universe of simulation ``i``."""
        if self.listed:
            return self._listed(self.listed[i % len(self.listed)])
        varied = [name for name, (low, high) in self._laws.items() if low < high]
        place = dict(zip(varied, self._point(len(varied), seed, i).tolist(), strict=True))
        values = {k: a + place.get(k, 0.0) * (b - a) for k, (a, b) in self._laws.items()}
        return Cosmology(**values)

    def _point(self, dimensions: int, seed: int, i: int) -> Array:
        """Return point ``i`` of the design, between 0 and 1 along each dimension."""
        if dimensions == 0:
            return np.empty(0)
        if self.design == "uniform":
            return random.stream(seed, "design", i).random(dimensions)
        from scipy.stats import qmc  # slow to import

        if self.design == "sobol":
            sobol = qmc.Sobol(dimensions, seed=_integer(seed, "design"))
            if i:  # scipy cannot go forward by nothing
                sobol.fast_forward(i)
            return np.asarray(sobol.random(1)[0])
        which, row = divmod(i, self.size or 1)
        cube = qmc.LatinHypercube(dimensions, seed=_integer(seed, "design", which))
        return np.asarray(cube.random(self.size or 1)[row])


def _integer(seed: int, *coordinates: int | str) -> int:
    """Return a seed for scipy, which cannot spawn from a stream."""
    return int(random.stream(seed, *coordinates).integers(1, 2**31 - 1))
