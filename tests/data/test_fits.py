"""FITS files: what astronomers' tools read is what the HDF5 file says."""

import errno
import math

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from emulators.data.fits import write_fits
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec
from emulators.errors import InputError

SHAPE = (2, 24, 32)  # bands, y, x: not square, so that axes cannot be mistaken
CENTRE = np.array([[53.16, -27.79], [210.0, 54.0], [0.001, 89.0]])
ATTRIBUTES = {
    "generator": "a test",
    "licence": "CC0-1.0",
    "seed": 3,
    "acknowledgement": "Thanks to Sérsic " + 9 * "and to all others ",
    "zero_points": [25.5, 26.0],
    "exposure_times": [1000.0, 2000.0],
    "catalogue_columns": "x, y, mag_g",
    "catalogue_units": "pix, pix, mag",
}
BESIDE = {
    "position": Column((2,), "deg", "centre", ("coordinate",), "f8"),
    "catalogue": Column((4, 3), "", "x, y, mag_g", ("source", "column")),
    "n_sources": Column((), "", "number of sources", dtype="i4"),
    "seconds": Column((), "s", "CPU time"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three images of two bands with positions and catalogues; the file and its values."""
    path = tmp_path_factory.mktemp("images") / "sky.h5"
    rng = np.random.default_rng(0)
    grid = Grid(("g", "r"), ("y", "x"), (24 * 0.05, 32 * 0.05), "arcsec", (False, False))
    redshift = Condition("redshift", "", 0.0, 1.0)
    spec = SampleSpec("image", "native", SHAPE, "electron / s", (redshift,), grid=grid)
    values = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    catalogue = np.full((3, 4, 3), np.nan, np.float32)
    catalogue[:, :2] = rng.uniform(0, 24, (3, 2, 3))
    beside = {
        "position": CENTRE,
        "catalogue": catalogue,
        "n_sources": np.array([2, 2, 2], np.int32),
        "seconds": np.array([0.5, np.nan, 1.5], np.float32),
    }
    with HDF5Writer(path, spec, 3, attributes=ATTRIBUTES, beside=BESIDE) as writer:
        writer.append(Samples(values, {"redshift": np.float32([0.25, 0.5, 0.75])}), beside)
    return path, values, catalogue


@pytest.fixture(scope="module")
def written(images, tmp_path_factory):
    """The same in FITS."""
    return write_fits(images[0], tmp_path_factory.mktemp("fits") / "new" / "sky.fits")


def test_every_band_is_an_extension(images, written):
    with fits.open(written) as hdus:
        hdus.verify("exception")
        assert len(hdus) == 1 + 3 * (2 + 1)
        for i in range(3):
            for band, name in enumerate("gr"):
                hdu = hdus[name, i + 1]
                assert np.array_equal(hdu.data, images[1][i, band])
                assert hdu.header["ROW"] == i
                assert hdu.header["FILTER"] == name
                assert hdu.header["ZEROPT"] == ATTRIBUTES["zero_points"][band]
                assert hdu.header["EXPTIME"] == ATTRIBUTES["exposure_times"][band]
                assert hdu.header["REDSHIFT"] == 0.25 * (i + 1)
                assert hdu.header["N_SOURCES"] == 2
                assert units.Unit(hdu.header["BUNIT"]) == units.electron / units.s
                assert ("SECONDS" in hdu.header) == (i != 1)  # a card cannot hold NaN


def test_file_says_where_it_is_from(images, written):
    with fits.open(written) as hdus:
        header = hdus[0].header
        assert header["ORIGIN"].startswith("emulators ")
        assert header["INFILE"] == images[0].name
        assert len(header["INSHA256"]) == 64
        assert [header[k] for k in ("GENERATR", "LICENCE", "SEED")] == ["a test", "CC0-1.0", 3]
        assert header["ACKNOWL"] == ATTRIBUTES["acknowledgement"].replace("é", "?").strip()


@pytest.mark.parametrize("i", range(3))
def test_sky_to_pixel_and_back(images, written, i):
    with fits.open(written) as hdus:
        wcs, table = WCS(hdus["r", i + 1].header), hdus["CATALOGUE", i + 1]
        assert wcs.pixel_shape == (32, 24)
        centre = wcs.pixel_to_world(15.5, 11.5)  # the middle, pixels counted from 0
        assert centre.separation(SkyCoord(*CENTRE[i], unit="deg")).arcsec < 1e-6
        assert proj_plane_pixel_scales(wcs) * 3600 == pytest.approx([0.05, 0.05])
        # North is up and east, where right ascension grows, is left.
        up, left = wcs.pixel_to_world(15.5, 21.5), wcs.pixel_to_world(5.5, 11.5)
        assert centre.position_angle(up).deg == pytest.approx(0, abs=0.1)
        assert centre.position_angle(left).deg == pytest.approx(90, abs=0.1)
        assert centre.separation(left).arcsec == pytest.approx(0.5)
        # Sources: by hand on the tangential plane, and back.
        assert table.columns.names == ["x", "y", "mag_g", "ra", "dec"]
        assert table.columns["x"].unit == "pix"
        x, y = images[2][i, :2, :2].T
        assert np.array_equal(table.data["x"], x)
        sky = SkyCoord(table.data["ra"], table.data["dec"], unit="deg")
        assert np.allclose(wcs.world_to_pixel(sky), [x, y], atol=1e-5)
        east, north = (15.5 - x) * 0.05, (y - 11.5) * 0.05
        assert centre.separation(sky).arcsec == pytest.approx(np.hypot(east, north), rel=1e-6)
        angle = np.arctan2(east, north) % (2 * math.pi)
        assert centre.position_angle(sky).rad == pytest.approx(angle, abs=1e-4)


def test_rows_are_chosen(images, tmp_path):
    target = write_fits(images[0], tmp_path / "one.fits", rows="2:3")
    with fits.open(target) as hdus:
        assert len(hdus) == 4
        assert np.array_equal(hdus["g", 1].data, images[1][2, 0])
        assert hdus["g", 1].header["ROW"] == 2


def test_fields_of_two_dimensions_have_linear_coordinates(tmp_path):
    grid = Grid(("overdensity",), ("y", "x"), (100.0, 50.0), "Mpc/h", (True, True))
    spec = SampleSpec("field", "native", (1, 10, 10), "", (), grid=grid)
    with HDF5Writer(tmp_path / "slices.h5", spec, 1) as writer:
        writer.append(Samples(np.ones((1, 1, 10, 10), np.float32)))
    with fits.open(write_fits(tmp_path / "slices.h5", tmp_path / "slices.fits")) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "OVERDENSITY"]
        wcs = WCS(hdus[1].header)
        assert not wcs.has_celestial
        assert "BUNIT" not in hdus[1].header
        right, top = wcs.pixel_to_world_values(9, 9)
        assert (right, top) == pytest.approx((4.5 * 5, 4.5 * 10))  # from the middle, Mpc/h


def test_bad_requests_are_refused(images, shower_file, tmp_path):
    target = tmp_path / "sky.fits"
    box = Grid(("overdensity",), ("x", "y", "z"), (1.0,) * 3, "Mpc/h", (True,) * 3)
    spec = SampleSpec("field", "native", (1, 4, 4, 4), "", (), grid=box)
    with HDF5Writer(tmp_path / "boxes.h5", spec, 1) as writer:
        writer.append(Samples(np.ones((1, 1, 4, 4, 4), np.float32)))
    (tmp_path / "file").touch()
    for source, where, rows, words in (
        (shower_file, target, None, "not from showers"),
        (tmp_path / "boxes.h5", target, None, "two dimensions"),
        (tmp_path / "absent.h5", target, None, "no such file"),
        (images[0], target, "2:5", "are not among them"),
        (images[0], tmp_path / "file" / "sky.fits", None, "cannot be written"),
    ):
        with pytest.raises(InputError, match=words):
            write_fits(source, where, rows)
    assert {path.name for path in tmp_path.iterdir()} == {"boxes.h5", "file"}


def test_target_is_replaced_on_request_alone(images, tmp_path):
    target = tmp_path / "sky.fits"
    target.write_text("precious")
    with pytest.raises(InputError, match="exists"):
        write_fits(images[0], target)
    assert target.read_text() == "precious"
    write_fits(images[0], target, "0:1", overwrite=True)
    assert fits.getval(target, "ORIGIN").startswith("emulators")
    with pytest.raises(InputError, match="same file"):
        write_fits(images[0], images[0], overwrite=True)


def test_full_disk_leaves_nothing_behind(images, tmp_path, monkeypatch):
    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", fail)
    with pytest.raises(InputError, match="No space left"):
        write_fits(images[0], tmp_path / "sky.fits")
    assert not list(tmp_path.iterdir())
