"""The sky: multi-band deep fields of galaxies, drawn with GalSim.

A field is a Poisson number of galaxies on a flat sky, seen by a telescope with a circular, partly
obscured mirror, with the noise of the sky, of the sources and of the read-out.  The defaults are
like the Hubble Ultra Deep Field with ACS (Beckwith et al. 2006, AJ 132, 1729).  The population is
stated in `draw_sources`; it is made up in the likeness of deep counts, not fitted to a catalogue.
There are no stars, no clustering, no lensing, no cosmic rays and no correlated noise.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators import random
from emulators.data.spec import Column, Grid, SampleSpec
from emulators.simulators import galaxies_drawing as drawing
from emulators.simulators.base import Simulated, require, simulator

__all__ = ["ACS", "Band", "Galaxies", "draw_sources"]

Array = npt.NDArray[np.float64]

COUNTED_AT = 24.0  # AB magnitude at which `density` counts
MARGIN = 1.0  # arcsec around the field in which sources are drawn too: their light reaches in
PATCH = (53.1625, -27.7914, 5.0)  # field centres: degrees around the Ultra Deep Field's
LYMAN_LIMIT, LYMAN_ALPHA, BALMER_BREAK = 91.2, 121.6, 400.0  # nm


@dataclass(frozen=True)
class Band:
    """One filter of the camera.

    Parameters
    ----------
    name
        Its name; a channel of the images.
    wavelength, width
        Pivot wavelength and full width, nm.
    zero_point
        AB magnitude of a source of one electron / s.
    exposure_time
        Seconds, all exposures together.
    exposures
        How many exposures; each is read out once.
    sky
        Surface brightness of the sky, AB mag / arcsec^2.
    """

    name: str
    wavelength: float
    width: float
    zero_point: float
    exposure_time: float
    exposures: int
    sky: float

    def __post_init__(self) -> None:
        positive = (self.wavelength, self.width, self.exposure_time, self.exposures)
        if not all(0 < value < math.inf for value in positive):
            raise ValueError(f"wavelength, width and exposures of {self.name} must be positive")
        if self.width >= 2 * self.wavelength:
            raise ValueError(f"width of {self.name} reaches below wavelength 0")


# Zero points, times and numbers of exposures: Beckwith et al. (2006).  Pivot wavelengths, widths:
# ACS Instrument Handbook.  The skies give the depths of the Ultra Deep Field: 28.7, 29.0, 29.0 and
# 28.4 for ten sigma in 0.2 arcsec^2.
ACS = (
    Band("F435W", 433.0, 104.0, 25.673, 134_880.0, 112, 22.8),
    Band("F606W", 592.0, 234.0, 26.486, 135_320.0, 112, 22.2),
    Band("F775W", 769.0, 153.0, 25.654, 347_110.0, 288, 22.0),
    Band("F850LP", 903.0, 123.0, 24.862, 346_620.0, 288, 21.8),
)


@simulator("galaxies")
@dataclass(frozen=True)
class Galaxies:
    """Deep fields of galaxies in several bands; images ``(bands, y, x)``, electron / s.

    North is up (rows count upwards, as in FITS), east is left.

    Parameters
    ----------
    size
        Pixels along each side.
    pixel_scale
        arcsec.
    bands
        The filters, a channel each.
    reference
        The band whose magnitudes the number counts are of.
    density
        Galaxies per magnitude and arcmin^2 at AB magnitude 24 of the reference band.
    slope
        ``dlogN/dm`` of the counts.
    magnitudes
        The brightest and the faintest magnitude that is drawn.
    diameter, obscuration
        Of the mirror: metres, and the share of the diameter that is in shadow.
    jitter
        Width of the Gaussian (sigma, arcsec) that stands for pointing and the spread of charge.
    read_noise
        Electrons per pixel and exposure.
    """

    size: int = 256
    pixel_scale: float = 0.05
    bands: tuple[Band, ...] = ACS
    reference: str = "F775W"
    density: float = 14.0
    slope: float = 0.3
    magnitudes: tuple[float, float] = (19.0, 30.5)
    diameter: float = 2.4
    obscuration: float = 0.33
    jitter: float = 0.03
    read_noise: float = 5.0

    def __post_init__(self) -> None:
        names = [band.name for band in self.bands]
        if len(set(names)) < len(names):
            raise ValueError(f"names of bands must differ, got {names}")
        if self.reference not in names:
            raise ValueError(f"reference '{self.reference}' is not one of the bands {names}")
        if self.size < 8 or not 0 < self.pixel_scale < math.inf:
            raise ValueError(f"size {self.size} must be 8 or more, pixel_scale positive")
        if not (0 <= self.density < math.inf and 0 < self.slope < math.inf):
            raise ValueError("density must not be negative, slope must be positive")
        if not -math.inf < self.magnitudes[0] < self.magnitudes[1] < math.inf:
            raise ValueError(f"magnitudes {list(self.magnitudes)}: give the brighter end first")
        if not (self.diameter > 0 and 0 <= self.obscuration < 1 and self.jitter > 0):
            raise ValueError("diameter and jitter must be positive, obscuration 0 to 1")
        if self.read_noise < 0:
            raise ValueError("read_noise must not be negative")

    def spec(self) -> SampleSpec:
        """Return the spec: an image with a channel a band."""
        side = self.size * self.pixel_scale
        grid = Grid(
            channels=tuple(band.name for band in self.bands),
            axes=("y", "x"),
            lengths=(side, side),
            unit="arcsec",
            periodic=(False, False),
            components=("scalar",) * len(self.bands),
        )
        shape = (len(self.bands), self.size, self.size)
        return SampleSpec("image", "native", shape, "electron / s", (), grid=grid)

    def samples(self) -> int:
        """Return 1: a simulation is one field."""
        return 1

    def beside(self) -> Mapping[str, Column]:
        """Return the truth: what was put into each field, and where the field lies."""
        columns = ", ".join(f"{n} ({u})" if u else n for n, u in self.columns.items())
        words = (
            f"{columns}; a row a source, brightest first: the n_sources in the field, then those "
            f"up to {MARGIN:g} arcsec outside, then NaN; x and y count from 0 at the centre of the "
            "first pixel; magnitudes are AB; the half-light ellipse has the area of a circle of "
            "the half-light radius; its major axis is at the position angle from north (y) to "
            "east (-x)"
        )
        shape = (self.max_sources, len(self.columns))
        position = "right ascension and declination (ICRS) of the centre of the field"
        return {
            "n_sources": Column((), "", "sources whose centres lie in the field", dtype="i4"),
            "catalogue": Column(shape, "", words, ("source", "column")),
            "position": Column((2,), "deg", position, ("coordinate",), "f8"),
        }

    def attributes(self) -> Mapping[str, Any]:
        """Return what made the images, and what is needed to read them as a camera's."""
        galsim = require("galsim", "sky", "simulator 'galaxies'")
        return {
            "generator": f"GalSim {galsim.__version__}",
            "licence": "CC-BY-4.0",
            "citation": "GalSim: Rowe et al., Astronomy and Computing 10 (2015) 121",
            "zero_points": [band.zero_point for band in self.bands],
            "exposure_times": [band.exposure_time for band in self.bands],
            "sky_noise": [self.noise(band) for band in self.bands],
            "catalogue_columns": ", ".join(self.columns),
            "catalogue_units": ", ".join(self.columns.values()),
        }

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the catalogue and their units."""
        magnitudes = {f"mag_{band.name}": "mag" for band in self.bands}
        shape = {"half_light_radius": "arcsec", "sersic_index": "", "axis_ratio": ""}
        place, rest = {"x": "pix", "y": "pix"}, {"position_angle": "deg", "redshift": ""}
        return place | magnitudes | shape | rest

    @property
    def margin(self) -> float:
        """Pixels around the field in which sources are drawn too."""
        return MARGIN / self.pixel_scale

    @property
    def mean_sources(self) -> float:
        """Expected number of sources that are drawn for one field, those in its margin included."""
        bright, faint = (10 ** (self.slope * (m - COUNTED_AT)) for m in self.magnitudes)
        area = ((self.size * self.pixel_scale + 2 * MARGIN) / 60) ** 2
        return self.density * area * (faint - bright) / (self.slope * math.log(10))

    @property
    def max_sources(self) -> int:
        """Rows of the catalogue: more sources happen less than once in 10^12 fields."""
        return math.ceil(self.mean_sources + 8 * math.sqrt(self.mean_sources) + 8)

    def noise(self, band: Band) -> float:
        """Return the noise of one pixel of blank sky (standard deviation), electron / s."""
        variance = self.sky(band) * band.exposure_time + band.exposures * self.read_noise**2
        return math.sqrt(variance) / band.exposure_time

    def sky(self, band: Band) -> float:
        """Return the brightness of the sky, electron / s in one pixel."""
        return float(10 ** (-0.4 * (band.sky - band.zero_point)) * self.pixel_scale**2)

    def start(self, seed: int) -> Callable[[int], Simulated]:
        """Return what makes field ``i``."""
        galsim = require("galsim", "sky", "simulator 'galaxies'")
        # A dozen sizes of stamp: each costs as much as a field.
        optics = functools.lru_cache(16)(functools.partial(drawing.optics, galsim, self))

        def simulate(i: int) -> Simulated:
            sources = draw_sources(self, random.stream(seed, "sources", i))
            light = drawing.light(galsim, self, sources, optics)
            catalogue = np.full((1, self.max_sources, len(self.columns)), np.nan, np.float32)
            catalogue[0, : len(sources["x"])] = np.column_stack([sources[c] for c in self.columns])
            beside: dict[str, npt.NDArray[Any]] = {
                "n_sources": _inside(self, sources["x"], sources["y"]).sum(keepdims=True),
                "catalogue": catalogue,
                "position": _position(seed, i)[None],
            }
            return Simulated(drawing.exposed(galsim, self, light, seed, i)[None], {}, beside)

        return simulate


def draw_sources(settings: Galaxies, generator: np.random.Generator) -> dict[str, Array]:
    """Draw the galaxies of one field.

    With ``m`` the AB magnitude in the reference band:

    - Number: Poisson; ``dN/dm = density 10^(slope (m - 24))`` per arcmin^2, uniform on the sky.
      By default 900 per arcmin^2 at ``m < 29.5``, as many as the Ultra Deep Field's catalogue has,
      with a slope between the 0.33 of Benitez et al. (2004, ApJS 150, 1) at 22 to 27 and the 0.26
      of Marin-Franch and Aparicio (2003, ApJ 585, 714) at the faint end.
    - Type: early with probability ``0.35 - 0.04 (m - 20)``, kept within 0.05 and 0.35; else late.
    - Redshift: ``p(z) ~ z^2 exp(-z / z0)``, ``z0 = 0.0417 m - 0.744`` (LSST Science Book 2009,
      section 3.7, extrapolated), up to where Lyman alpha reaches the middle of the reference band.
    - Half-light radius: log-normal, median ``0.30 arcsec 10^(-0.1 (m - 24))``, 0.7 of that for
      early types, scatter 0.2 dex, within 0.02 and 3 arcsec.
    - Sersic index: late log-normal about 1.1 with 0.3 in ln n, within 0.5 and 2.5; early normal,
      3.8 +- 0.8, within 2.5 and 6; in steps of 0.1, since GalSim keeps a table for each.
    - Axis ratio: late: discs of thickness 0.25 seen from random directions (Hubble 1926, ApJ 64,
      321); early: uniform, 0.5 to 1.  Position angle: uniform.
    - Colours: those of `spectrum`, averaged over the bands.  UV slopes of late types are
      ``beta = -1.8 +- 0.4``.

    Returns
    -------
    The columns of the catalogue by name, each ``(n,)``, in its units and order.
    """
    n = generator.poisson(settings.mean_sources)
    margin = settings.margin + 0.5
    x, y = generator.uniform(-margin, settings.size - 1 + margin, (2, n))
    bright, faint = (10 ** (settings.slope * m) for m in settings.magnitudes)
    m = np.log10(generator.uniform(bright, faint, n)) / settings.slope
    early = generator.random(n) < np.clip(0.35 - 0.04 * (m - 20), 0.05, 0.35)
    redshift = _redshifts(settings, m, generator.random(n))
    radius = (
        0.30 * np.where(early, 0.7, 1.0) * 10 ** (-0.1 * (m - 24) + generator.normal(0, 0.2, n))
    )
    spread = generator.normal(size=n)
    late_index = np.clip(1.1 * np.exp(0.3 * spread), 0.5, 2.5)
    cosine = generator.random(n)
    late_ratio = np.sqrt(0.25**2 + (1 - 0.25**2) * cosine**2)
    angle = generator.uniform(0, 180, n)
    # Exponents of f_nu below and above the break, and the break in magnitudes; f_nu ~ beta + 2.
    tilt = generator.normal(0, 0.4, n)
    below, above = np.where(early, 4.5, 0.2) + tilt, np.where(early, 2.0, 1.0) + tilt
    flux = {
        band.name: _band_flux(band, redshift, below, above, np.where(early, 0.7, 0.3))
        for band in settings.bands
    }
    # A drop-out keeps a finite magnitude, 10 fainter than in the reference band.
    relative = {b: np.maximum(f / flux[settings.reference], 1e-4) for b, f in flux.items()}
    sources = {
        "x": x,
        "y": y,
        **{f"mag_{b}": m - 2.5 * np.log10(f) for b, f in relative.items()},
        "half_light_radius": np.clip(radius, 0.02, 3.0),
        "sersic_index": np.where(early, np.clip(3.8 + 0.8 * spread, 2.5, 6.0), late_index).round(1),
        "axis_ratio": np.where(early, 0.5 + 0.5 * cosine, late_ratio),
        "position_angle": angle,
        "redshift": redshift,
    }
    order = np.lexsort((m, ~_inside(settings, x, y)))
    return {name: column[order] for name, column in sources.items()}


def _inside(settings: Galaxies, x: Array, y: Array) -> npt.NDArray[np.bool_]:
    last = settings.size - 0.5
    inside: npt.NDArray[np.bool_] = (x >= -0.5) & (x < last) & (y >= -0.5) & (y < last)
    return inside


def _redshifts(settings: Galaxies, m: Array, u: Array) -> Array:
    from scipy import special

    band = next(b for b in settings.bands if b.name == settings.reference)
    z0 = np.maximum(0.0417 * m - 0.744, 0.05)
    # A gamma law of order 3, cut off: beyond, the reference band would not see the galaxy.
    highest = special.gammainc(3, max(band.wavelength / LYMAN_ALPHA - 1, 0.5) / z0)
    z: Array = z0 * special.gammaincinv(3, u * highest)
    return z


def spectrum(wavelength: Array, z: Array, below: Array, above: Array, step: Array) -> Array:
    """Return the flux density of a galaxy per unit frequency, up to a factor.

    Power laws below and above 400 nm at rest with a ``step`` in magnitudes between them; from
    Lyman alpha to the Lyman limit dimmed by the forest, ``tau = 0.0036 (wavelength /
    121.6 nm)^3.46`` (Madau 1995, ApJ 441, 18, Lyman alpha alone); nothing below the limit.

    Parameters
    ----------
    wavelength
        As observed, nm.
    z
        Redshift.
    below, above
        The exponents of the wavelength.
    step
        Magnitudes.
    """
    rest = wavelength / (1 + z)
    exponent = np.where(rest < BALMER_BREAK, below, above)
    flux = (rest / BALMER_BREAK) ** exponent * np.where(rest < BALMER_BREAK, 10 ** (-0.4 * step), 1)
    forest = np.exp(-0.0036 * (wavelength / LYMAN_ALPHA) ** 3.46)
    seen: Array = flux * np.where(rest < LYMAN_ALPHA, forest, 1) * (rest > LYMAN_LIMIT)
    return seen


def _band_flux(band: Band, *galaxy: Array) -> Array:
    # AB magnitudes weigh with d(ln wavelength); the filter is taken as a top hat.
    ends = band.wavelength - band.width / 2, band.wavelength + band.width / 2
    wavelengths = np.geomspace(*ends, 32)[:, None]
    flux: Array = spectrum(wavelengths, *galaxy).mean(axis=0)
    return flux


def _position(seed: int, i: int) -> Array:
    """Return right ascension and declination of field i, uniform on a patch of sky, degrees."""
    ra, dec, half = PATCH
    u, v = random.stream(seed, "position", i).uniform(-1, 1, 2)
    low, high = (math.sin(math.radians(dec + side * half)) for side in (-1, 1))
    return np.array([
        ra + half * u / math.cos(math.radians(dec)),
        math.degrees(math.asin((low + high + (high - low) * v) / 2)),
    ])  # fmt: skip
