"""How the sky simulator draws: GalSim's profiles, PSFs and noise, fast.

Images are those of ``GSObject.drawImage``, made cheaper without approximation: what a source looks
like is the same in all bands up to flux and PSF, so its Fourier transform is taken once; and the
transforms of the PSFs, which cost most, are kept for each size of stamp.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from emulators import random

__all__ = ["exposed", "light", "optics"]

Array = npt.NDArray[np.float64]

EDGE = 0.03  # a stamp ends where its source is fainter than this share of one pixel's noise
LARGEST = 2048  # pixels of a stamp: what bounds the memory
ARCSEC = math.pi / 180 / 3600


class Sky(Protocol):
    """What of a simulation's settings drawing takes; see `galaxies.Galaxies`."""

    @property
    def size(self) -> int: ...
    @property
    def pixel_scale(self) -> float: ...
    @property
    def margin(self) -> float: ...
    @property
    def bands(self) -> Sequence[Any]: ...
    @property
    def diameter(self) -> float: ...
    @property
    def obscuration(self) -> float: ...
    @property
    def jitter(self) -> float: ...
    @property
    def read_noise(self) -> float: ...

    def noise(self, band: Any) -> float: ...
    def sky(self, band: Any) -> float: ...


def optics(galsim: Any, settings: Sky, n: int) -> npt.NDArray[np.float32]:
    """Return the transforms of PSF and pixel, ``(bands, m, m)``, for stamps of ``n`` pixels."""
    jitter, pixel = galsim.Gaussian(sigma=settings.jitter), galsim.Pixel(settings.pixel_scale)
    mirror = {"diam": settings.diameter, "obscuration": settings.obscuration}
    psfs = [
        galsim.Convolve(galsim.Airy(lam=b.wavelength, **mirror), jitter) for b in settings.bands
    ]
    step = 2 * math.pi / (n * settings.pixel_scale)
    # All that the PSF passes; an even multiple leaves folded modes in the order of an FFT.
    m = n * 2 * math.ceil(max(psf.maxk for psf in psfs) * settings.pixel_scale / (2 * math.pi))
    transforms = [galsim.Convolve(p, pixel).drawKImage(nx=m, ny=m, scale=step) for p in psfs]
    return np.stack([transform.array.real.astype(np.float32) for transform in transforms])


def light(
    galsim: Any, settings: Sky, sources: Mapping[str, Array], optics_of: Callable[[int], Any]
) -> Array:
    """Return the sources' light without noise, ``(bands, y, x)``, electron / s.

    Each source has a square stamp that is periodic, so that it holds the whole flux exactly; it
    ends where nothing of it can be seen in the noise.
    """
    size, bands = settings.size, settings.bands
    light = np.zeros((len(bands), size, size))
    columns = [10 ** (-0.4 * (sources[f"mag_{b.name}"] - b.zero_point)) for b in bands]
    fluxes = np.stack(columns, axis=1)
    largest = min(2 * (size + 2 * math.ceil(settings.margin)), LARGEST)
    for i, reach in enumerate(_reach(settings, sources, fluxes)):
        n = galsim.Image.good_fft_size(max(32, min(2 * math.ceil(reach), largest)))
        centre = np.array([sources["y"][i], sources["x"][i]])
        corner = np.rint(centre).astype(int) - n // 2
        low, high = np.maximum(corner, 0), np.minimum(corner + n, size)
        if (low >= high).any():
            continue
        source = {name: float(column[i]) for name, column in sources.items()}
        stamp = _stamp(galsim, settings, source, centre - corner, n, optics_of(n))
        (top, left), (bottom, right) = low - corner, high - corner
        part = fluxes[i][:, None, None] * stamp[:, top:bottom, left:right]
        light[:, low[0] : high[0], low[1] : high[1]] += part
    return light


def _reach(settings: Sky, sources: Mapping[str, Array], fluxes: Array) -> Array:
    """Return how far from its centre each source is brighter than `EDGE` of the noise, pixels.

    The sum of two radii: that of the Sersic profile along its major axis, and that of the wings of
    the PSF, whose mean is ``(wavelength / diameter) / (pi^3 (1 - obscuration) r^3)``.
    """
    from scipy import special

    radius, n = sources["half_light_radius"], sources["sersic_index"]
    signal = (fluxes / [settings.noise(band) for band in settings.bands]).max(axis=1)
    level = signal * settings.pixel_scale**2 / EDGE  # arcsec^2
    b = 2 * n - 1 / 3 + 0.009876 / n  # Prugniel and Simien (1997, A&A 321, 111)
    integral = np.log(2 * math.pi * n * radius**2) + special.gammaln(2 * n) + b - 2 * n * np.log(b)
    above = np.maximum(1 + (np.log(level) - integral) / b, 0)
    profile = radius / np.sqrt(sources["axis_ratio"]) * above**n
    resolution = max(b.wavelength for b in settings.bands) * 1e-9 / settings.diameter / ARCSEC
    wings = np.cbrt(resolution * level / (math.pi**3 * (1 - settings.obscuration)))
    reach: Array = (profile + wings + 4 * settings.jitter + 2 * resolution) / settings.pixel_scale
    return reach


def _stamp(
    galsim: Any,
    settings: Sky,
    source: Mapping[str, float],
    centre: Array,
    n: int,
    transforms: npt.NDArray[np.float32],
) -> Array:
    """Return one source of flux 1, ``(bands, n, n)``, centred on this (y, x) of its stamp."""
    profile = galsim.Sersic(source["sersic_index"], source["half_light_radius"])
    # GalSim counts angles from the x axis, astronomers from north.
    angle = (source["position_angle"] + 90) * galsim.degrees
    profile = profile.shear(q=source["axis_ratio"], beta=angle)
    m = transforms.shape[-1]
    step = 2 * math.pi / n
    waves = profile.drawKImage(nx=m, ny=m, scale=step / settings.pixel_scale).array.real
    shift_y, shift_x = np.exp(-1j * step * (np.arange(m) - m // 2) * centre[:, None])
    waves = waves * shift_y[:, None] * shift_x
    # Modes beyond what the spacing of pixels resolves alias, as they do on a real detector.
    folded = [(band * waves).reshape(m // n, n, m // n, n).sum(axis=(0, 2)) for band in transforms]
    return np.stack([np.fft.ifft2(part).real for part in folded])


def exposed(galsim: Any, settings: Sky, light: Array, seed: int, i: int) -> npt.NDArray[np.float32]:
    """Return the images with the Poisson noise of light and sky and the noise of the read-out."""
    deviate = galsim.BaseDeviate(int(random.stream(seed, "noise", i).integers(1, 2**31 - 1)))
    images = []
    for band, rate in zip(settings.bands, light, strict=True):
        image = galsim.ImageD(rate * band.exposure_time)
        sky = settings.sky(band) * band.exposure_time
        read_noise = settings.read_noise * math.sqrt(band.exposures)
        image.addNoise(galsim.CCDNoise(deviate, sky_level=sky, gain=1.0, read_noise=read_noise))
        images.append(image.array / band.exposure_time)
    return np.stack(images).astype(np.float32)
