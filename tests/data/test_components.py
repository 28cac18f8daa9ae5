"""What channels say they are: stated, checked, kept by every way that a file takes."""

import json

import h5py
import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from emulators.cli import cli
from emulators.data.convert import convert, split
from emulators.data.cut import Cut
from emulators.data.dataset import Dataset
from emulators.data.describe import describe
from emulators.data.fits import write_fits
from emulators.data.sources import Told
from emulators.data.spec import Grid, SampleSpec
from emulators.errors import InputError
from emulators.loading import load
from emulators.simulators.galaxies import Galaxies

VECTOR = ("x", "y", "scalar", "z")


@pytest.fixture
def moved(tmp_path):
    """Four boxes of a density between the components of a displacement."""
    np.save(tmp_path / "moved.npy", np.random.default_rng(0).normal(size=(4, 4, 8, 8, 8)))
    told = Told(
        box="100", unit="Mpc/h", channels="dx,dy,rho,dz", components="x,y, scalar,z", periodic=True
    )
    return convert(tmp_path / "moved.npy", tmp_path / "moved.h5", origin="array", told=told)


def grid(d=3, components=(), channels=0):
    names = tuple(f"c{i}" for i in range(channels or len(components)))
    return Grid(names, tuple("xyz"[:d]), (1.0,) * d, "Mpc/h", (True,) * d, components)


@pytest.mark.parametrize(
    ("d", "components", "message"),
    [
        (3, ("x", "y"), "x and y and z go together, here are 1 of x, 1 of y, 0 of z"),
        (3, ("x", "y", "z", "z"), "2 of z"),
        (2, ("x", "y", "z"), "component 'z' of a channel is not known: give scalar, or one of x, "),
        (2, ("Q", "scalar"), "Q and U go together, here are 1 of Q, 0 of U"),
        (3, ("Q", "U"), "give scalar, or one of x, y, z; Q and U are of maps"),
        (2, ("Scalar",), "'Scalar'"),
    ],
)
def test_components_that_cannot_be_turned_are_refused(d, components, message):
    with pytest.raises(ValueError, match=message):
        grid(d, components)


def test_components_are_one_a_channel():
    with pytest.raises(ValueError, match="2 channels, but 3 components"):
        grid(2, ("x", "y", "scalar"), channels=2)
    assert grid(2, ("Q", "x", "U", "scalar", "y")).components[0] == "Q"


def test_components_are_kept(moved, tmp_path):
    assert Dataset(moved).spec.grid.components == VECTOR
    with h5py.File(moved) as file:
        assert file["fields"].attrs["components"].tolist() == list(VECTOR)
    copies = [
        convert(moved, tmp_path / "rows.h5", rows="1:3"),
        convert(moved, tmp_path / "coarse.h5", cut=Cut(coarsen=2, smooth=0.5, crop=2)),
        *split(moved, tmp_path / "parts", 0.25, 0.25).values(),
    ]
    np.save(tmp_path / "one.npy", np.zeros((1, 3, 8, 8, 8)))
    told = Told(box="100", unit="Mpc/h", channels="a,b,c", components="z,x,y")
    one = convert(tmp_path / "one.npy", tmp_path / "o.h5", origin="array", told=told)
    regions = convert(one, tmp_path / "regions.h5", cut=Cut(regions=2))
    assert Dataset(regions).spec.grid.components == ("z", "x", "y")
    assert len(copies) == 5
    assert {Dataset(path).spec.grid.components for path in copies} == {VECTOR}


@pytest.mark.parametrize("axis", "xyz")
def test_along_the_line_of_sight_a_component_is_a_scalar(moved, tmp_path, axis):
    maps = Dataset(convert(moved, tmp_path / "maps.h5", cut=Cut(slabs=2, axes=axis)))
    assert maps.spec.grid.axes == tuple(name for name in "xyz" if name != axis)
    expected = tuple("scalar" if name == axis else name for name in VECTOR)
    assert maps.spec.grid.components == expected
    values, along = Dataset(moved).read(0, 4).values, 2 + "xyz".index(axis)
    halves = np.stack([part.mean(axis=along) for part in np.split(values, 2, along)], 1)
    np.testing.assert_allclose(maps.read(0, 8).values, halves.reshape(8, 4, 8, 8), atol=1e-6)


def test_maps_across_several_axes_are_of_scalars(moved, tmp_path):
    message = "now across the line of sight: choose one of --axes, .*--components scalar,scalar"
    with pytest.raises(InputError, match=message):
        convert(moved, tmp_path / "maps.h5", cut=Cut(slabs=2))
    told = Told(components="scalar,scalar,scalar,scalar")
    maps = convert(moved, tmp_path / "maps.h5", told=told, cut=Cut(slabs=2))
    assert Dataset(maps).spec.grid.components == ("scalar",) * 4


def test_a_file_that_does_not_say_is_told(moved, tmp_path):
    silent = unsaid(moved)
    assert Dataset(silent).spec.grid.components == ()
    assert "not stated" in describe(silent)
    with pytest.raises(InputError, match="choose one of --axes"):
        convert(silent, tmp_path / "maps.h5", cut=Cut(slabs=2))
    target = tmp_path / "said.h5"
    words = ["data", "convert", silent, target, "--components", "x,y,scalar,z"]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert Dataset(target).spec.grid.components == VECTOR
    assert Dataset(target).beside == Dataset(silent).beside
    np.testing.assert_array_equal(
        Dataset(target).read(0, 4).values, Dataset(silent).read(0, 4).values
    )
    info = " ".join(describe(target).split())
    assert "components dx: x, dy: y, rho: scalar, dz: z" in info
    wrong = CliRunner().invoke(cli, [str(word) for word in [*words[:-1], "x,y,z", "--overwrite"]])
    assert wrong.exit_code == 2
    assert "moved.h5: --components x,y,z: 4 channels, but 3 components" in wrong.output


def unsaid(path):
    """Rewrite the spec as files of before have it."""
    with h5py.File(path, "a") as file:
        spec = json.loads(file.attrs["spec"])
        del spec["grid"]["components"]
        file.attrs["spec"] = json.dumps(spec)
    return path


def test_showers_have_no_components(sample, tmp_path):
    with pytest.raises(InputError, match="showers have no grid: --components are of fields"):
        convert(sample, tmp_path / "x.h5", told=Told(components="scalar"))


def test_files_that_say_different_things_are_not_joined(moved, tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.h5").write_bytes(moved.read_bytes())
    unsaid(folder / "b.h5")
    with pytest.raises(InputError, match="differ in grid"):
        convert(folder, tmp_path / "joined.h5", cut=Cut(crop=4))
    told = Told(components="x,y,scalar,z")
    joined = convert(folder, tmp_path / "joined.h5", cut=Cut(crop=4), told=told)
    assert Dataset(joined).spec.grid.components == VECTOR


def test_emulators_of_before_load():
    emulator = load("cosmic-web-2d", "cpu")
    assert emulator.spec.grid.components == ("scalar",)  # there is one channel
    mapping = emulator.spec.to_mapping()
    del mapping["grid"]["components"]
    assert SampleSpec.from_mapping(mapping) == emulator.spec


def test_fits_says_what_an_image_is(tmp_path):
    np.save(tmp_path / "sky.npy", np.random.default_rng(0).normal(size=(2, 3, 8, 8)))
    told = Told(box="5 deg", unit="uK", channels="T,Q,U", components="scalar,Q,U")
    sky = convert(tmp_path / "sky.npy", tmp_path / "sky.h5", origin="array", told=told)
    with fits.open(write_fits(sky, tmp_path / "sky.fits")) as hdus:
        assert [hdus[name, 2].header["COMPONEN"] for name in "TQU"] == ["scalar", "Q", "U"]


def test_images_of_galaxies_are_scalars():
    spec = Galaxies().spec()
    assert spec.grid.components == ("scalar",) * spec.shape[0]


def test_a_single_channel_is_a_scalar():
    assert grid(channels=1).components == ("scalar",)
    assert grid(channels=2).components == ()
