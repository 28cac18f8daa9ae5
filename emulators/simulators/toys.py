"""Toys with known answers: random fields of a given power spectrum, Gaussians in the plane.

They stand in for no experiment: they are for tests, teaching and first steps.  Conventions of the
fields, in ``d`` dimensions with a box of volume ``V = L^d`` of ``n^d`` cells:

- ``delta_k = (L/n)^d sum_x delta(x) exp(-i k x)`` and ``<|delta_k|^2> = V P(k)``, with ``P(k)`` in
  ``(Mpc/h)^d`` and ``k`` in ``h/Mpc``; hence ``<delta^2> = (1/V) sum_k P(k)``.
- All modes of the grid have their power, out to its corners at ``sqrt(d) pi n / L``; to ``k = 0``
  P(k) gives none.  Values are those at points: no average over cells, no aliasing.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import fft

from emulators import random
from emulators.data.spec import Column, Condition, Grid, SampleSpec
from emulators.errors import InputError
from emulators.simulators.base import Simulated, simulator

__all__ = ["GaussianField", "GridOfGaussians", "LognormalField", "PowerLaw", "RingOfGaussians"]

Array = npt.NDArray[np.float64]
Range = float | tuple[float, float]


def _ends(law: Range) -> tuple[float, float]:
    return law if isinstance(law, tuple) else (law, law)


@dataclass(frozen=True)
class PowerLaw:
    """``P(k) = amplitude (k / pivot)^index``.

    Parameters
    ----------
    amplitude
        ``(Mpc/h)^d``; one value, or drawn uniformly between two.
    index
        One value, or drawn uniformly between two.
    pivot
        h/Mpc.
    """

    amplitude: Range = 500.0
    index: Range = -2.0
    pivot: float = 0.1

    def __post_init__(self) -> None:
        for name in ("amplitude", "index"):
            low, high = _ends(getattr(self, name))
            if not -np.inf < low <= high < np.inf:
                raise ValueError(f"{name} from {low:g} to {high:g}: give the smaller one first")
        if not (_ends(self.amplitude)[0] > 0 and 0 < self.pivot < np.inf):
            raise ValueError(
                f"amplitude {self.amplitude} and pivot {self.pivot} must both be positive"
            )


@simulator("toy-gaussian-field")
@dataclass(frozen=True)
class GaussianField:
    """Toy: Gaussian random field with a given power spectrum; it may lie below -1.

    White noise of unit variance, times ``sqrt(P(k) / cell volume)`` in Fourier space.

    Parameters
    ----------
    dimensions
        2 or 3.
    cells
        Cells along each side.
    box
        Length of a side, Mpc/h; the box is periodic.
    spectrum
        P(k): a `PowerLaw`, whose amplitude and index become conditions; pairs of ``k`` (h/Mpc) and
        ``P`` ((Mpc/h)^d); or the name of a text file with these two columns.  Between pairs it is
        interpolated in log k and log P; they must reach from the first mode to the last.
    """

    generator: ClassVar[str] = "toy: Gaussian random field"
    channel: ClassVar[str] = "linear_overdensity"  # no density: it may lie below -1
    dimensions: int = 3
    cells: int = 64
    box: float = 100.0
    spectrum: str | tuple[tuple[float, float], ...] | PowerLaw = PowerLaw()

    def __post_init__(self) -> None:
        if self.dimensions not in (2, 3):
            raise ValueError(f"dimensions must be 2 or 3, got {self.dimensions}")
        if self.cells < 2 or not 0 < self.box < np.inf:
            raise ValueError(f"cells {self.cells} must be 2 or more, box {self.box} positive")

    @property
    def laws(self) -> dict[str, Range]:
        """The conditions, and how they are drawn."""
        if not isinstance(self.spectrum, PowerLaw):
            return {}
        return {"amplitude": self.spectrum.amplitude, "index": self.spectrum.index}

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return (self.cells,) * self.dimensions

    @property
    def cell_volume(self) -> float:
        """Volume of a cell, (Mpc/h)^d."""
        return float((self.box / self.cells) ** self.dimensions)

    def spec(self) -> SampleSpec:
        """Return the spec, of one channel; InputError where P(k) will not do."""
        for values in itertools.product(*map(_ends, self.laws.values())):
            self.gaussian_power(self.power(*values))
        units = {"amplitude": f"Mpc{self.dimensions}/h{self.dimensions}", "index": ""}
        conditions = tuple(Condition(k, units[k], *_ends(law)) for k, law in self.laws.items())
        grid = Grid(
            channels=(self.channel,),
            axes=("x", "y", "z")[: self.dimensions],
            lengths=(self.box,) * self.dimensions,
            unit="Mpc/h",
            periodic=(True,) * self.dimensions,
        )
        return SampleSpec("field", "native", (1, *self.shape), "", conditions, grid=grid)

    def samples(self) -> int:
        """Return 1: a simulation is one field."""
        return 1

    def beside(self) -> Mapping[str, Column]:
        """Return nothing: the field says it all."""
        return {}

    def attributes(self) -> Mapping[str, Any]:
        """Return what it is, and the hash of a tabulated spectrum."""
        made = {
            "generator": self.generator,
            "licence": "made without third-party code or data",
            "convention": "<|delta_k|^2> = V P(k), P(k) in (Mpc/h)^d, k > 0",
        }
        if not self.laws:
            made["spectrum_sha256"] = hashlib.sha256(self.table().tobytes()).hexdigest()
        return made

    def start(self, seed: int) -> Callable[[int], Simulated]:
        """Return what draws field ``i``."""

        @functools.lru_cache(maxsize=1)  # where the parameters are fixed, once is enough
        def prepared(*values: float) -> tuple[Array, float, float]:
            power, cut = self.gaussian_power(self.power(*values))
            return np.sqrt(power / self.cell_volume), self.variance(power), cut

        def simulate(i: int) -> Simulated:
            drawn = random.stream(seed, "parameters", i)
            values = {k: drawn.uniform(*_ends(law)) for k, law in self.laws.items()}
            amplitudes, variance, cut = prepared(*values.values())
            white = random.stream(seed, "white noise", i).standard_normal(self.shape)
            gaussian = fft.irfftn(fft.rfftn(white) * amplitudes, self.shape)
            field = self.overdensity(gaussian, variance).astype(np.float32)
            beside = {name: np.array([cut]) for name in self.beside()}
            return Simulated(
                field[None, None], {k: np.array([v]) for k, v in values.items()}, beside
            )

        return simulate

    def wavenumbers(self) -> Array:
        """Return ``|k|`` of the modes that `scipy.fft.rfftn` gives, h/Mpc."""
        spacing = self.box / self.cells
        whole = 2 * np.pi * fft.fftfreq(self.cells, spacing)
        half = 2 * np.pi * fft.rfftfreq(self.cells, spacing)
        axes = np.meshgrid(*[whole] * (self.dimensions - 1), half, indexing="ij", sparse=True)
        k: Array = np.sqrt(sum(axis**2 for axis in axes))
        return k

    def table(self) -> Array:
        """Return a tabulated spectrum, ``(n, 2)``; InputError where it is none."""
        if isinstance(self.spectrum, str):
            where = self.spectrum
            try:
                pairs: Array = np.loadtxt(where, ndmin=2)
            except (OSError, ValueError) as error:
                raise InputError(f"{where}: not a readable table of k and P(k): {error}") from None
        else:
            where, pairs = "spectrum", np.array(self.spectrum, float, ndmin=2)
        if len(pairs) < 2 or pairs.shape[1] != 2:
            raise InputError(f"{where}: expected two or more pairs of k and P, not {pairs.shape}")
        rising = (np.diff(pairs[:, 0]) > 0).all()
        if not (rising and (pairs > 0).all() and np.isfinite(pairs).all()):
            raise InputError(f"{where}: k and P must be finite and positive, and k must increase")
        return pairs

    def power(self, *values: float) -> Array:
        """Return P at the `wavenumbers`, (Mpc/h)^d, for values of the conditions; 0 at 0."""
        k = self.wavenumbers()
        k.flat[0] = k.flat[1]  # any mode: its power is set to zero
        if isinstance(self.spectrum, PowerLaw):
            amplitude, index = values
            p = amplitude * (k / self.spectrum.pivot) ** index
        else:
            known, tabulated = self.table().T
            if known[0] > k.min() * (1 + 1e-6) or known[-1] < k.max() * (1 - 1e-6):
                raise InputError(
                    f"the spectrum is given for k from {known[0]:.4g} to {known[-1]:.4g} h/Mpc; "
                    f"this box has modes from {k.min():.4g} to {k.max():.4g}"
                )
            p = np.exp(np.interp(np.log(k), np.log(known), np.log(tabulated)))
        p.flat[0] = 0
        return p

    def variance(self, power: Array) -> float:
        """Return the variance of a field with this power."""
        # The inverse transform at no distance gives every mode its Hermitian weight.
        return float(fft.irfftn(power, self.shape).flat[0] / self.cell_volume)

    def gaussian_power(self, power: Array) -> tuple[Array, float]:
        """Return the power of the Gaussian field below, and the share of it that is cut off."""
        return power, 0.0

    def overdensity(self, gaussian: Array, variance: float) -> Array:
        """Return the overdensity for the Gaussian field below and its variance."""
        return gaussian


@simulator("toy-lognormal-field")
@dataclass(frozen=True)
class LognormalField(GaussianField):
    """Toy: lognormal random field with a given power spectrum; ``1 + delta`` is positive.

    ``1 + delta = exp(g - <g^2> / 2)`` for the Gaussian field ``g`` with the correlation
    ``xi_g(r) = ln(1 + c + xi(r))``, so that P(k) is the spectrum of ``delta`` itself (Coles and
    Jones 1991, MNRAS 248, 1).  The mean of a box is 0 on average only: its variance ``c`` is the
    least that a lognormal field can have, that for which ``g`` has no power at ``k = 0``.

    Modes at which the transform of ``xi_g`` is negative, as no field's can be, are left without
    power; how much that was is stored beside each field as ``cut_power``.  Where it is not small,
    P(k) is met in part only.

    The parameters are those of `GaussianField`.
    """

    generator: ClassVar[str] = "toy: lognormal random field"
    channel: ClassVar[str] = "overdensity"

    def beside(self) -> Mapping[str, Column]:
        """Return the share of power that no Gaussian field has."""
        words = "negative power of the Gaussian field set to zero, as a share of its variance"
        return {"cut_power": Column((), "", words)}

    def gaussian_power(self, power: Array) -> tuple[Array, float]:
        """Return the power of ``g``; InputError where the correlation reaches -1."""
        correlation = fft.irfftn(power, self.shape) / self.cell_volume
        if not correlation.min() > -1:
            raise InputError(
                "no positive field has this spectrum: its correlation function reaches "
                f"{correlation.min():.3g} and must stay above -1; lower the amplitude"
            )
        c, mean = 0.0, np.log1p(correlation).mean()
        while mean < -1e-12:  # Newton's method: rising and concave, so from one side
            c -= mean / (1 / (1 + c + correlation)).mean()
            mean = np.log1p(c + correlation).mean()
        whole = fft.rfftn(np.log1p(c + correlation)).real * self.cell_volume
        whole.flat[0] = 0
        kept = np.maximum(whole, 0)
        return kept, 1 - self.variance(whole) / self.variance(kept)

    def overdensity(self, gaussian: Array, variance: float) -> Array:
        """Return ``exp(g - <g^2> / 2) - 1``."""
        density: Array = np.expm1(gaussian - variance / 2)
        return density


@dataclass(frozen=True)
class _Gaussians:
    """Equally likely round Gaussians in the plane.

    Parameters
    ----------
    modes
        How many there are; on a grid, along each side.
    width
        Standard deviation of each along x and y.
    """

    generator: ClassVar[str]
    modes: int = 8
    width: float = 0.05

    def __post_init__(self) -> None:
        if self.modes < 1 or not 0 < self.width < np.inf:
            raise ValueError(f"modes {self.modes} must be 1 or more, width {self.width} positive")

    def centres(self) -> Array:
        """Return where they are, ``(n, 2)``."""
        raise NotImplementedError

    def spec(self) -> SampleSpec:
        """Return the spec: points in the plane, without conditions."""
        return SampleSpec("point", "native", (2,), "", ())

    def samples(self) -> int:
        """Return 1: a simulation is one point."""
        return 1

    def beside(self) -> Mapping[str, Column]:
        """Return which Gaussian a point is from."""
        return {"mode": Column((), "", "number of the Gaussian it was drawn from", (), "i4")}

    def attributes(self) -> Mapping[str, Any]:
        """Return what it is."""
        return {"generator": self.generator, "licence": "made without third-party code or data"}

    def start(self, seed: int) -> Callable[[int], Simulated]:
        """Return what draws point ``i``."""
        centres = self.centres()

        def simulate(i: int) -> Simulated:
            stream = random.stream(seed, "point", i)
            mode = stream.integers(len(centres), size=1, dtype=np.int32)
            points = centres[mode] + self.width * stream.standard_normal((1, 2))
            return Simulated(points.astype(np.float32), {}, {"mode": mode})

        return simulate


@simulator("toy-ring")
@dataclass(frozen=True)
class RingOfGaussians(_Gaussians):
    """Toy: Gaussians at equal distances on a circle around 0, the first on the x axis.

    Parameters
    ----------
    modes
        How many there are.
    width
        Standard deviation of each along x and y.
    radius
        Radius of the circle.
    """

    generator: ClassVar[str] = "toy: ring of Gaussians"
    radius: float = 2.0

    def centres(self) -> Array:
        """Return where they are, ``(modes, 2)``, anticlockwise."""
        angles = 2 * np.pi * np.arange(self.modes) / self.modes
        return self.radius * np.stack([np.cos(angles), np.sin(angles)], 1)


@simulator("toy-grid")
@dataclass(frozen=True)
class GridOfGaussians(_Gaussians):
    """Toy: Gaussians on a square grid around 0.

    Parameters
    ----------
    modes
        How many there are along each side.
    width
        Standard deviation of each along x and y.
    spacing
        Distance between neighbours.
    """

    generator: ClassVar[str] = "toy: grid of Gaussians"
    modes: int = 5
    spacing: float = 2.0

    def centres(self) -> Array:
        """Return where they are, ``(modes^2, 2)``, y fastest."""
        side = self.spacing * (np.arange(self.modes) - (self.modes - 1) / 2)
        return np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
