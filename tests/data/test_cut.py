"""Entries cut as they are read: sums against numpy, what is conserved, what is never read."""

import math

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from emulators.cli import cli
from emulators.data import cut as cut_module
from emulators.data import hashes
from emulators.data.check import check
from emulators.data.convert import convert
from emulators.data.cut import Cut, Pieces, regions
from emulators.data.dataset import Dataset
from emulators.data.sources import Told, open_source
from emulators.data.spec import Condition, Grid, SampleSpec
from emulators.errors import InputError

N = 8
BOX = SampleSpec(
    "field",
    "native",
    (1, N, N, N),
    "count",
    (Condition("omega_m", "", 0.1, 0.5),),
    grid=Grid(("counts",), ("x", "y", "z"), (200.0,) * 3, "Mpc/h", (True,) * 3),
)


@pytest.fixture(scope="module")
def boxes(write_fields, tmp_path_factory):
    """A native file of six boxes of three simulations; not to be changed."""
    path = write_fields(tmp_path_factory.mktemp("boxes") / "boxes.h5", 6, BOX)
    with h5py.File(path, "a") as file:
        file["simulation"][:] = np.arange(6) // 2
    return path


def cut(source, tmp_path, **options):
    path = convert(source, tmp_path / "cut.h5", cut=Cut(**options))
    assert check(path) == []
    return Dataset(path)


def read(dataset):
    return dataset.read(0, len(dataset)).values


def test_slabs(tmp_path, boxes):
    whole = Dataset(boxes)
    values = read(whole)[:, 0]
    maps = cut(boxes, tmp_path, slabs=4)
    expected = [
        np.stack([part.sum(axis=axis) for axis in (1, 2, 3) for part in np.split(values, 4, axis)])
    ]
    np.testing.assert_array_equal(
        read(maps)[:, 0], np.swapaxes(expected[0], 0, 1).reshape(-1, N, N)
    )
    assert maps.column("axis").tolist() == np.repeat([0, 1, 2] * 6, 4).tolist()[: 6 * 12]
    assert maps.column("slab").tolist() == list(range(4)) * 18
    assert maps.column("simulation").tolist() == np.repeat([0, 1, 2], 24).tolist()
    asked = whole.read_conditions(0, 6)["omega_m"]
    assert maps.read_conditions(0, 72)["omega_m"].tolist() == np.repeat(asked, 12).tolist()
    assert maps.column("seconds").sum() == pytest.approx(whole.column("seconds").sum())
    grid = maps.spec.grid
    assert (grid.axes, grid.lengths, grid.periodic) == (("x", "y"), (200.0,) * 2, (True,) * 2)
    said = maps.attributes
    assert said["cut"] == "4 slabs across each of x, y, z"
    assert (said["slab_thickness"], said["seed"], said["source_rows"]) == ("50 Mpc/h", 5, "0:6")
    assert "catalogue" not in maps.beside  # a list of the whole box is not that of a slab
    for part in maps.split(0.0, 0.3, 0).values():
        assert len(part) % 24 == 0  # all maps of a simulation


def test_one_axis_keeps_the_names_of_the_others(tmp_path, boxes):
    maps = cut(boxes, tmp_path, slabs=1, axes="y")
    np.testing.assert_array_equal(read(maps), read(Dataset(boxes)).sum(axis=3))
    assert maps.spec.grid.axes == ("x", "z")


def test_coarser_crops(tmp_path, boxes):
    values = read(Dataset(boxes))
    crops = cut(boxes, tmp_path, coarsen=2, crop=2)
    coarse = values.reshape(6, 4, 2, 4, 2, 4, 2).sum((2, 4, 6))
    for k, (box, *corner) in enumerate(np.ndindex(6, 2, 2, 2)):
        here = tuple(slice(2 * c, 2 * c + 2) for c in corner)
        np.testing.assert_array_equal(read(crops)[k, 0], coarse[(box, *here)])
        assert crops.column("corner")[k].tolist() == [2 * c for c in corner]
    assert read(crops).sum() == values.sum()
    grid = crops.spec.grid
    assert (grid.lengths, grid.periodic) == ((100.0,) * 3, (False,) * 3)


def test_what_is_no_count_is_averaged(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 2, 4, 4, 4))
    np.save(tmp_path / "x.npy", values)
    told = Told(box="8", unit="km/s", channels="x,y", periodic=True)
    options = {"origin": "array", "told": told}
    coarse = convert(tmp_path / "x.npy", tmp_path / "c.h5", cut=Cut(coarsen=2), **options)
    mean = values.reshape(2, 2, 2, 2, 2, 2, 2, 2).mean((3, 5, 7))
    np.testing.assert_allclose(read(Dataset(coarse)), mean, rtol=1e-6, atol=1e-7)
    maps = convert(tmp_path / "x.npy", tmp_path / "m.h5", cut=Cut(slabs=2, axes="z"), **options)
    mean = np.stack([values[..., :2].mean(-1), values[..., 2:].mean(-1)], 1).reshape(4, 2, 4, 4)
    np.testing.assert_allclose(read(Dataset(maps)), mean, rtol=1e-6, atol=1e-7)


def test_smoothing_is_the_gaussian_of_the_circle(tmp_path, boxes):
    values = read(Dataset(boxes)).astype("f8")
    width = 1.0
    smooth = read(cut(boxes, tmp_path, slabs=2, axes="x", smooth=width))
    maps = values.reshape(6, 2, 4, N, N).sum(2).reshape(12, N, N)
    k = 2 * np.pi * np.fft.fftfreq(N)
    # The sampled Gaussian, wrapped round, cut at four widths.
    x = np.arange(-4, 5)
    kernel = np.exp(-(x**2) / 2 / width**2)
    window = (kernel / kernel.sum()) @ np.cos(np.outer(x, k))
    expected = np.fft.ifft2(np.fft.fft2(maps) * window[:, None] * window).real
    np.testing.assert_allclose(smooth[:, 0], expected, rtol=1e-5)
    pieces = read(convert_again(boxes, tmp_path, Cut(slabs=2, axes="x", smooth=width, crop=4)))
    np.testing.assert_array_equal(pieces[3], smooth[0][:, 4:, 4:])


def convert_again(source, tmp_path, asked):
    return Dataset(convert(source, tmp_path / "again.h5", cut=asked))


@pytest.mark.parametrize(
    "asked",
    [
        Cut(slabs=2),
        Cut(slabs=4, crop=4),
        Cut(coarsen=2),
        Cut(coarsen=2, slabs=4),
        Cut(crop=3),
        Cut(coarsen=4, crop=1),
        Cut(crop=4, smooth=0.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("limit", [4 * N**2, 4 * 3 * N**2, 100])
def test_pieces_do_not_depend_on_what_is_read_at_once(boxes, monkeypatch, asked, limit):
    pieces = Pieces(open_source(boxes), asked)
    expected, _ = pieces.read(0, pieces.each)
    monkeypatch.setattr(cut_module, "HELD_BYTES", limit)
    monkeypatch.setattr(cut_module, "JOINED_BYTES", limit)
    again, _ = Pieces(open_source(boxes), asked).read(0, pieces.each)
    np.testing.assert_array_equal(again.values, expected.values)
    assert len(expected) == pieces.each == len(pieces) / 6


class Counting:
    """An array that knows how many cells were read of it."""

    def __init__(self, array):
        self.array, self.path, self.cells = array, array.path, 0

    def __getitem__(self, index):
        part = self.array[index]
        self.cells += part.size
        return part

    def close(self):
        self.array.close()


@pytest.mark.parametrize(
    ("asked", "limit", "share", "hashed"),
    [
        (Cut(slabs=4, crop=4), 1 << 20, 1, 0),  # a box is read once, whatever is cut from it
        (Cut(crop=4), 4 * 4 * N**2, 1, 1),  # a layer serves all crops that lie in it
        (Cut(slabs=4), 4 * 2 * N**2, 3, 1),  # once for each axis
    ],
)
def test_cells_are_read_once(boxes, monkeypatch, asked, limit, share, hashed):
    monkeypatch.setattr(cut_module, "HELD_BYTES", limit)
    monkeypatch.setattr(hashes, "LARGEST", 1)  # of larger boxes a plane is hashed, before
    source = open_source(boxes)
    counting = Counting(source.place(0).array)
    place = source.place

    def counted(i):
        found = place(i)
        return type(found)(counting, found.before, found.after, found.channels, found.origin)

    source.place = counted
    pieces = Pieces(source, asked)
    pieces.read(0, len(pieces))
    assert counting.cells == share * 6 * N**3 + hashed * 3 * N**2  # of three simulations


@pytest.fixture
def huge(tmp_path):
    """HIGAN's cube of 32 GiB, of which next to nothing is on disk: zeros, and a corner of ones."""
    path = tmp_path / "fields_z=5.hdf5"
    with h5py.File(path, "w") as file:
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((2048,) * 3)
        h5py.h5d.create(file.id, b"delta_HI", h5py.h5t.NATIVE_FLOAT, space, create)
        file["delta_HI"][-2:, -2:, -3:] = 1
    return path


def test_a_huge_cube_is_cut_lazily(tmp_path, huge):
    path = convert(
        huge, tmp_path / "x.h5", rows="4095:4096", cut=Cut(regions=16, coarsen=2, crop=32)
    )
    crops = Dataset(path)
    assert len(crops) == 8
    assert crops.spec.grid.lengths == pytest.approx((75 / 32,) * 3)
    assert set(crops.column("simulation")) == {4095}
    corner = read(crops)[-1, 0]
    assert corner[-1, -1, -2:].tolist() == [0.5, 1.0]
    assert corner.sum() == 1.5
    assert "source_sha256" not in crops.attributes  # not worth reading all of it
    with pytest.raises(InputError, match="one sample would have 32 GiB: cut it, with --regions"):
        convert(huge, tmp_path / "y.h5")


def test_regions_stay_apart(tmp_path):
    cube = np.arange(6**3, dtype="f8").reshape(1, 6, 6, 6)
    np.save(tmp_path / "x.npy", cube)
    told = Told(box="60", unit="count", periodic=True)
    path = convert(
        tmp_path / "x.npy", tmp_path / "y.h5", origin="array", told=told, cut=Cut(regions=2, crop=1)
    )
    crops = Dataset(path)
    values, numbers = read(crops).ravel(), crops.column("simulation")
    for number, (a, b, c) in enumerate(np.ndindex(2, 2, 2)):
        region = cube[0, 3 * a : 3 * a + 3, 3 * b : 3 * b + 3, 3 * c : 3 * c + 3]
        np.testing.assert_array_equal(values[numbers == number], region.ravel())
    assert (
        crops.beside["simulation"].description == "number of the region of the cube that it is from"
    )
    parts = crops.split(0.2, 0.3, 1)
    sides = [set(numbers[rows]) for rows in parts.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 8
    whole = regions(open_source(tmp_path / "x.npy", "array", told), 3)
    assert (len(whole), whole.spec.grid.lengths, whole.spec.grid.periodic) == (
        27, (20.0,) * 3, (False,) * 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"slabs": 3}, "3 slabs do not divide an axis of 8 cells"),
        ({"coarsen": 3}, "3 cells to join do not divide an axis of 8 cells"),
        ({"crop": 9}, r"crops of 9 cells are larger than \(8, 8, 8\)"),
        ({"coarsen": 2, "crop": 5}, r"crops of 5 cells are larger than \(4, 4, 4\)"),
        ({"regions": 2}, "has several simulations, which stay apart without regions"),
        ({"slabs": -1}, "slabs = -1: give 1 or more"),
        ({"coarsen": 0}, "coarsen = 0: give 1 or more"),
        ({"slabs": 2, "axes": "xx"}, "axes = 'xx': give one or more of x, y and z, each once"),
        ({"slabs": 2, "axes": "w"}, "axes = 'w'"),
        ({"axes": "x"}, "only for slabs, give how many"),
        ({"smooth": math.nan}, "smooth = nan: give a number of cells"),
        ({"smooth": -1.0}, "smooth = -1"),
    ],
)
def test_cuts_that_do_not_fit(tmp_path, boxes, asked, message):
    with pytest.raises(InputError, match=message):
        cut(boxes, tmp_path, **asked)
    assert not list(tmp_path.iterdir())


def test_only_some_fields_are_cut(tmp_path, boxes, field_file, shower_file, write_fields):
    maps = convert(boxes, tmp_path / "maps.h5", cut=Cut(slabs=1))
    with pytest.raises(InputError, match=r"only boxes are cut into slabs, these are \(8, 8\) maps"):
        cut(maps, tmp_path, slabs=2)
    with pytest.raises(InputError, match="not periodic along all axes: it cannot be smoothed"):
        cut(field_file, tmp_path, smooth=1.0)
    with pytest.raises(InputError, match="maps across its axes differ: choose one of --axes"):
        cut(field_file, tmp_path, slabs=2)
    assert cut(field_file, tmp_path, slabs=2, axes="z").spec.shape == (2, 8, 8)
    with pytest.raises(InputError, match="has showers of layout 'calogan': only fields are cut"):
        cut(shower_file, tmp_path, crop=2)
    points = write_fields(tmp_path / "p.h5", 4, SampleSpec("point", "native", (2,), "m", ()))
    with pytest.raises(InputError, match="points have no grid: they cannot be cut"):
        cut(points, tmp_path, crop=2)
    with pytest.raises(InputError, match="source and target are the same file"):
        convert(boxes, boxes, cut=Cut(crop=2), overwrite=True)
    with pytest.raises(InputError, match="are written in layout 'native'"):
        convert(boxes, tmp_path / "y.h5", "calogan", cut=Cut(crop=2))


def test_cuts_add_up(tmp_path, boxes):
    maps = convert(boxes, tmp_path / "maps.h5", cut=Cut(slabs=2), rows="2:4")
    pieces = cut(maps, tmp_path, crop=4)
    assert (
        pieces.attributes["cut"] == "2 slabs across each of x, y, z; then crops of 4 cells a side"
    )
    assert pieces.column("simulation").tolist() == [1] * 2 * 6 * 4
    assert pieces.column("slab").tolist() == np.tile(np.repeat([0, 1], 4), 6).tolist()
    assert read(pieces).sum() == 3 * read(Dataset(boxes))[2:4].sum()
    assert pieces.column("seconds").sum() == pytest.approx(7)  # of the boxes 3 and 4


def test_command_line(tmp_path, boxes):
    with h5py.File(tmp_path / "boxes.h5", "w") as file:
        file["counts"] = read(Dataset(boxes))[:, 0].astype("u2")
        file["cosmology"] = np.linspace(0.2, 0.9, 12).reshape(6, 2)
    words = (
        f"data convert {tmp_path}/boxes.h5 {tmp_path}/maps.h5 --from array --key counts --box 200"
    )
    words += " --unit count --periodic --conditions cosmology:omega_m,sigma_8 --slabs 2 --axes xz"
    done = CliRunner().invoke(cli, words.split())
    assert (done.exit_code, done.output) == (0, f"{tmp_path}/maps.h5\n")
    maps = Dataset(tmp_path / "maps.h5")
    assert (len(maps), maps.spec.shape) == (24, (1, N, N))
    assert read(maps).sum() == 2 * read(Dataset(boxes)).sum()
    assert [c.name for c in maps.spec.conditions] == ["omega_m", "sigma_8"]
    failed = CliRunner().invoke(cli, [*words.split(), "--overwrite", "--crop", "99"])
    assert failed.exit_code == 2
    assert failed.stderr.count("\n") == 1
    assert "crops of 99 cells are larger" in failed.stderr
    to_fits = f"data convert {tmp_path}/maps.h5 {tmp_path}/maps.fits --crop 2".split()
    assert "FITS files take --rows and --overwrite alone" in CliRunner().invoke(cli, to_fits).stderr
