"""The sky: what was put in is what an astronomer would measure."""

import functools
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, stats

from emulators import random
from emulators.errors import InputError
from emulators.simulators import galaxies_drawing as drawing
from emulators.simulators.base import build_simulator
from emulators.simulators.galaxies import ACS, Galaxies, _band_flux, draw_sources

galsim = pytest.importorskip("galsim")

F775W = 2
SOURCE = {
    "x": 63.2, "y": 60.7, "half_light_radius": 0.3, "sersic_index": 1.0, "axis_ratio": 0.6,
    "position_angle": 40.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def fields():
    """Settings and nine fields of the default deep field."""
    settings = Galaxies()
    run = settings.start(11)
    return settings, [run(i) for i in range(9)]


def light_of(settings, magnitude, **changes):
    """Return the light, without noise, of one source of this AB magnitude in all bands."""
    source = SOURCE | changes | {f"mag_{band.name}": magnitude for band in settings.bands}
    columns = {name: np.array([value]) for name, value in source.items()}
    return drawing.light(galsim, settings, columns, lambda n: drawing.optics(galsim, settings, n))


def test_field_depends_on_seed_and_number_alone():
    settings = Galaxies(size=64)
    fresh, busy = settings.start(5)(7), settings.start(5)
    for i in (0, 3, 1):
        busy(i)
    again, other = busy(7), settings.start(6)(7)
    assert np.array_equal(fresh.values, again.values)
    assert not np.array_equal(fresh.values, other.values)
    for name, column in settings.beside().items():
        values = np.asarray(fresh.beside[name])
        assert values.shape == (1, *column.shape)
        assert np.array_equal(values, again.beside[name], equal_nan=True)
    assert not np.array_equal(fresh.beside["position"], other.beside["position"])


def test_flux_is_magnitude_through_zero_point():
    settings = Galaxies(size=128)
    image = drawing.exposed(galsim, settings, light_of(settings, 21.0), 1, 0)
    expected = [10 ** (-0.4 * (21.0 - band.zero_point)) for band in settings.bands]
    np.testing.assert_allclose(image.sum(axis=(1, 2)), expected, rtol=0.02)


@pytest.mark.parametrize(
    ("magnitude", "index", "radius"), [(21.0, 4.0, 0.4), (23.0, 1.0, 0.5), (28.0, 1.2, 0.1)]
)
def test_light_is_what_galsim_draws(magnitude, index, radius):
    # The same source by GalSim's own way, with its far wings: what stamps leave out is no tenth
    # of a pixel's noise anywhere in the field, so no stamp has an edge that can be seen.
    settings = Galaxies(size=128)
    light = light_of(settings, magnitude, sersic_index=index, half_light_radius=radius)
    accurate = galsim.GSParams(folding_threshold=1e-3, maximum_fft_size=16384)
    for band, image in zip(settings.bands, light, strict=True):
        flux = 10 ** (-0.4 * (magnitude - band.zero_point))
        angle = (90 + SOURCE["position_angle"]) * galsim.degrees
        profile = galsim.Sersic(index, half_light_radius=radius, flux=flux)
        psf = galsim.Airy(lam=band.wavelength, diam=2.4, obscuration=0.33)
        whole = galsim.Convolve(
            profile.shear(q=SOURCE["axis_ratio"], beta=angle),
            psf,
            galsim.Gaussian(sigma=settings.jitter),
            gsparams=accurate,
        )
        drawn = galsim.ImageD(128, 128, scale=settings.pixel_scale)
        whole.drawImage(image=drawn, center=galsim.PositionD(SOURCE["x"] + 1, SOURCE["y"] + 1))
        assert np.abs(image - drawn.array).max() < max(
            0.1 * settings.noise(band), 2e-4 * drawn.array.max()
        )


def test_position_angle_is_from_north_to_east():
    settings = Galaxies(size=128)
    image = light_of(settings, 22.0, axis_ratio=0.3)[F775W]
    y, x = np.indices(image.shape)
    x0, y0 = np.average(x, weights=image), np.average(y, weights=image)
    assert (x0, y0) == pytest.approx((SOURCE["x"], SOURCE["y"]), abs=0.02)
    east, north = x0 - x, y - y0  # east is left
    along = [
        np.average(a * b, weights=image) for a, b in ((north, north), (east, east), (north, east))
    ]
    angle = math.degrees(0.5 * math.atan2(2 * along[2], along[0] - along[1]))
    assert angle == pytest.approx(SOURCE["position_angle"], abs=0.5)


def test_noise_of_blank_sky():
    settings = Galaxies(density=0.0)
    field = settings.start(2)(0)
    assert field.beside["n_sources"] == [0]
    assert np.isnan(field.beside["catalogue"]).all()
    for band, image in zip(settings.bands, field.values[0], strict=True):
        # By hand: Poisson counts of the sky and the read-outs, all exposures together.
        electrons = 10 ** (-0.4 * (band.sky - band.zero_point)) * 0.05**2 * band.exposure_time
        variance = (electrons + band.exposures * 5.0**2) / band.exposure_time**2
        n = image.size
        assert image.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))
        assert abs(image.mean()) < 5 * math.sqrt(variance / n)


def test_depth_is_that_of_the_ultra_deep_field():
    # Ten sigma in an aperture of 0.2 arcsec^2; Beckwith et al. (2006) give about 29.
    settings = Galaxies()
    for band, limit in zip(settings.bands, (28.7, 29.0, 29.0, 28.4), strict=True):
        noise = settings.noise(band) * math.sqrt(0.2 / settings.pixel_scale**2)
        assert band.zero_point - 2.5 * math.log10(10 * noise) == pytest.approx(limit, abs=0.2)


def test_number_counts_follow_their_law():
    settings = Galaxies(magnitudes=(22.0, 30.0), slope=0.25, density=20.0)
    drawn = [draw_sources(settings, random.stream(1, "sources", i)) for i in range(150)]
    counts, edges = np.histogram(
        np.concatenate([sources["mag_F775W"] for sources in drawn]), np.arange(22, 30.5, 0.5)
    )
    area = ((256 * 0.05 + 2) / 60) ** 2 * len(drawn)
    integral = 20.0 * 10 ** (0.25 * (edges - 24)) / (0.25 * math.log(10))
    expected = area * np.diff(integral)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(chi2, len(counts)) > 1e-3
    numbers = np.array([len(sources["x"]) for sources in drawn])
    assert settings.mean_sources * len(drawn) == pytest.approx(expected.sum(), rel=1e-9)
    assert numbers.var() / numbers.mean() == pytest.approx(1, abs=5 * math.sqrt(2 / len(drawn)))


def test_catalogue_has_the_sources_of_the_field_first(fields):
    settings, made = fields
    x, y, magnitude = 0, 1, 2 + F775W
    for field in made:
        n, rows = int(field.beside["n_sources"][0]), field.beside["catalogue"][0]
        total = np.isfinite(rows).all(axis=1).sum()
        assert n < total < settings.max_sources
        assert np.isfinite(rows[:total]).all()
        assert np.isnan(rows[total:]).all()
        assert ((rows[:n, [x, y]] >= -0.5) & (rows[:n, [x, y]] <= 255.5)).all()
        around = np.abs(rows[n:total, [x, y]] - 127.5).max(axis=1)
        assert ((around >= 128) & (around <= 148)).all()
        assert (np.diff(rows[:n, magnitude]) >= 0).all()
    inside = settings.mean_sources * (256 / 296) ** 2
    total = sum(int(field.beside["n_sources"][0]) for field in made)
    assert total == pytest.approx(9 * inside, abs=5 * math.sqrt(9 * inside))


def detect(image, noise):
    """Return (x, y) of sources: groups of pixels that stand out of what is around by six sigma."""
    width = 1.2
    contrast = ndimage.gaussian_filter(image, width) - ndimage.gaussian_filter(image, 4.0)
    level = 6 * noise / (2 * math.sqrt(math.pi) * width)
    groups, n = ndimage.label(contrast > level)
    return np.array(ndimage.center_of_mass(contrast, groups, range(1, n + 1)))[:, ::-1]


def distances(some, others):
    """Return the distances between points (x, y), shape (some, others)."""
    return np.hypot(*np.moveaxis(some[:, None] - others, -1, 0))


def test_sources_are_counted_back_out(fields):
    settings, made = fields
    matched, real, offsets = [], [], []
    for field in made:
        rows = field.beside["catalogue"][0]
        rows = rows[np.isfinite(rows[:, 0])]
        places, magnitude = rows[:, :2], rows[:, 2 + F775W]
        found = detect(field.values[0, F775W], settings.noise(settings.bands[F775W]))
        gaps = distances(places, found)
        bright = (magnitude < 27.5) & (np.abs(places - 127.5).max(axis=1) < 128)
        matched += (gaps[bright].min(axis=1) < 3).tolist()
        real += (gaps[magnitude < 30].min(axis=0) < 3).tolist()
        # Nothing within 1.5 arcsec, here or across the edge, that could shift the centre.
        near = (distances(places, places) < 30) & (magnitude < magnitude[:, None] + 2)
        alone = bright & (near.sum(axis=1) == 1) & (np.abs(places - 127.5).max(axis=1) < 120)
        offsets += gaps[alone].min(axis=1).tolist()
    assert len(matched) > 80
    assert np.mean(matched) > 0.92  # completeness: the others lie on brighter ones
    assert np.mean(real) > 0.95  # purity: the others are noise on the brightest galaxies
    assert len(offsets) > 30
    assert max(offsets) < 1  # pixel


@pytest.mark.long
def test_edges_of_the_field_are_as_bright_as_its_middle():
    # Sources outside shine in; without them the outermost pixels would lack half their light.
    settings = Galaxies(size=32, density=1000.0, magnitudes=(26.0, 28.0), bands=ACS[2:3])
    optics = functools.cache(lambda n: drawing.optics(galsim, settings, n))
    draws = (draw_sources(settings, random.stream(1, "sources", i)) for i in range(20))
    light = sum(drawing.light(galsim, settings, sources, optics)[0] for sources in draws)
    middle = light[3:-3, 3:-3]
    ring = (light.sum() - middle.sum()) / (light.size - middle.size)
    assert ring / middle.mean() == pytest.approx(1, abs=0.15)


def test_colours_are_those_of_the_spectrum():
    blue, red = ACS[1], ACS[3]
    slope, z = np.array([1.3]), np.array([0.0])
    galaxy = (z, slope, slope, np.array([0.0]))

    def closed(band):  # a power law, averaged over ln wavelength
        low, high = band.wavelength - band.width / 2, band.wavelength + band.width / 2
        return (high**1.3 - low**1.3) / (1.3 * math.log(high / low))

    ratio = _band_flux(red, *galaxy) / _band_flux(blue, *galaxy)
    assert ratio[0] == pytest.approx(closed(red) / closed(blue), rel=1e-3)
    # At redshift 4.5 the Lyman limit is at 502 nm and Lyman alpha at 669 nm: a B drop-out.
    far = (np.array([4.5]), slope, slope, np.array([0.0]))
    b, v, i = (_band_flux(band, *far)[0] for band in ACS[:3])
    assert b == 0
    assert 0 < v < 0.5 * i


def test_colours_of_the_catalogue(fields):
    settings, made = fields
    rows = np.concatenate([f.beside["catalogue"][0] for f in made])
    names = list(settings.columns)
    blue, red, index, z = (
        rows[:, names.index(name)]
        for name in ("mag_F435W", "mag_F775W", "sersic_index", "redshift")
    )
    assert np.nanmax((blue - red)[z > 4.4]) == pytest.approx(10, abs=1e-3)  # kept finite
    assert np.nanmax((blue - red)[z < 3]) < 9
    assert (
        np.nanmedian((blue - red)[index >= 2.6]) > 2 > 1 > np.nanmedian((blue - red)[index < 2.5])
    )


@pytest.mark.parametrize(
    "options",
    [
        {"reference": "F160W"},
        {"size": 4},
        {"magnitudes": [30.0, 20.0]},
        {"slope": 0.0},
        {"obscuration": 1.0},
        {"density": -1.0},
        {"pixel_scale": math.inf},
        {"read_noise": -1.0},
        {"bands": []},
        {"bands": [{"name": "g", "wavelength": -1.0}]},
    ],
)
def test_bad_settings_are_refused(options):
    with pytest.raises(InputError, match="simulator"):
        build_simulator("galaxies", options)
    with pytest.raises(ValueError, match="must differ"):
        replace(Galaxies(), bands=ACS + ACS)


def test_absent_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "galsim", None)
    for ask in (Galaxies().attributes, lambda: Galaxies().start(0)):
        with pytest.raises(InputError, match=r"\[sky\]"):
            ask()
