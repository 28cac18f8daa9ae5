"""Public layouts: tiny files as they are published, read through `convert` as a user does."""

import h5py
import numpy as np
import pytest

from emulators.data.check import check
from emulators.data.convert import convert
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Reader, HDF5Writer, content_hash
from emulators.data.sources import Told, arrays, open_source
from emulators.data.sources.arrays import HDF5Array
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec
from emulators.errors import InputError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write(path, **columns):
    with h5py.File(path, "w") as file:
        for key, values in columns.items():
            file[key] = values
    return path


def save(path, values):
    np.save(path, values)
    return path


def counts(rng, *shape, dtype="f8"):
    return rng.poisson(2, shape).astype(dtype)


def imported(source, tmp_path, **options):
    """Return the converted file, which `check` finds nothing wrong with."""
    path = convert(source, tmp_path / "out" / "native.h5", **options)
    assert check(path) == []
    return Dataset(path)


def read(dataset):
    return dataset.read(0, len(dataset)).values


def condition(dataset, name):
    return dataset.read_conditions(0, len(dataset))[name].tolist()


def test_nbody_cubes(tmp_path, rng):
    boxes = counts(rng, 12, 4, 4, 4)
    folder = tmp_path / "boxes"
    folder.mkdir()
    for i, box in enumerate(boxes):
        write(folder / f"256_nbody_350Mpc_{i}.h5", data=box)
    dataset = imported(folder, tmp_path)
    np.testing.assert_array_equal(read(dataset)[:, 0], boxes)  # 2 before 10
    grid = dataset.spec.grid
    assert (grid.lengths, grid.unit, grid.periodic) == ((350.0,) * 3, "Mpc/h", (True,) * 3)
    assert (dataset.spec.unit, grid.channels, dataset.spec.conditions) == ("count", ("counts",), ())
    assert dataset.column("simulation").tolist() == list(range(12))
    said = {"source": "boxes", "source_layout": "nbody_cubes", "source_rows": "0:12"}
    said |= {"source_samples": 12}
    assert dataset.attributes == said
    chosen = convert(folder / "*_1?.h5", tmp_path / "some.h5", rows="1:")
    np.testing.assert_array_equal(read(Dataset(chosen))[:, 0], boxes[11:])


def test_nbody_cubes_of_two_kinds(tmp_path, rng):
    first = write(tmp_path / "256_nbody_350Mpc_0.h5", data=counts(rng, 4, 4, 4))
    second = write(tmp_path / "256_nbody_70Mpc_0.h5", data=counts(rng, 4, 4, 4))
    with pytest.raises(InputError, match="boxes of 350 and 70 Mpc/h: convert them apart"):
        open_source(tmp_path)
    second.unlink()
    write(tmp_path / "256_nbody_350Mpc_1.h5", data=counts(rng, 8, 8, 8))
    with pytest.raises(InputError, match=r"shape \(8, 8, 8\), but 256_nbody_350Mpc_0"):
        open_source(tmp_path)
    bare = write(tmp_path / "box.h5", data=counts(rng, 4, 4, 4))
    with pytest.raises(InputError, match="does not say its box: give it, as --box 200"):
        open_source(bare, "nbody_cubes")
    told = open_source(bare, "nbody_cubes", Told(box="100,100,50"))
    assert told.spec.grid.lengths == (100.0, 100.0, 50.0)
    assert open_source(first).spec.grid.lengths == (350.0,) * 3


def test_kids(tmp_path, rng):
    labels = np.repeat([[0.3, 0.8], [0.1, 1.3], [0.4, 0.5]], 4, axis=0)[rng.permutation(12)]
    maps = rng.exponential(0.01, (12, 128, 128)).astype("f4")
    source = write(tmp_path / "kids.h5", train_maps=maps, train_labels=labels)
    dataset = imported(source, tmp_path)
    np.testing.assert_array_equal(read(dataset)[:, 0], maps)
    assert condition(dataset, "omega_m") == labels[:, 0].astype("f4").tolist()
    assert condition(dataset, "sigma_8") == labels[:, 1].astype("f4").tolist()
    assert dataset.spec.condition("omega_m").maximum == 0.4
    grid = dataset.spec.grid
    assert (grid.lengths, grid.unit, grid.periodic) == ((5.0, 5.0), "deg", (False, False))
    assert dataset.attributes["source_sha256"] == content_hash(source)
    for part in dataset.split(0, 0.4, 0).values():  # a cosmology is on one side whole
        here = set(labels[part, 0])
        assert len(part) == 4 * len(here)
    small = write(tmp_path / "s.h5", train_maps=maps[:, :64, :64], train_labels=labels)
    with pytest.raises(InputError, match="does not say its box"):
        open_source(small)
    assert open_source(small, told=Told(box="2.5")).spec.grid.unit == "deg"
    short = write(tmp_path / "short.h5", train_maps=maps, train_labels=labels[:9])
    with pytest.raises(InputError, match="has 12 entries, but conditions of 9"):
        open_source(short)
    labels[[2, 7], 1] = np.nan
    with pytest.raises(InputError, match=r"2 values of sigma_8 are not finite \(first: 2, 7\)"):
        open_source(write(tmp_path / "nan.h5", train_maps=maps, train_labels=labels))


def test_cosmoflow(tmp_path, rng):
    boxes = counts(rng, 2, 4, 4, 4, 3, dtype="i2")
    folder = tmp_path / "flow"
    folder.mkdir()
    names = np.array(["Omega_m", "sigma_8", "N_spec", "H_0"], object)
    for i, box in enumerate(boxes):
        physics = [0.3 + 0.01 * i, 0.8, 0.96, 70]
        columns = {"namePar": names, "physPar": physics, "redshifts": [0, 0.5, 3]}
        write(folder / f"univ_ics_2019-03_a{i}.hdf5", full=box, **columns)
    dataset = imported(folder, tmp_path, told=Told(box="512"))
    np.testing.assert_array_equal(
        read(dataset)[:, 0], np.moveaxis(boxes, -1, 1).reshape(6, 4, 4, 4)
    )
    assert dataset.column("simulation").tolist() == [0, 0, 0, 1, 1, 1]
    assert condition(dataset, "redshift") == [0, 0.5, 3] * 2
    assert condition(dataset, "omega_m") == np.repeat(["0.3", "0.31"], 3).astype("f4").tolist()
    assert [c.name for c in dataset.spec.conditions] == [
        "omega_m", "sigma_8", "n_s", "h_0", "redshift",
    ]  # fmt: skip
    assert dataset.spec.condition("h_0").unit == "km / (Mpc s)"
    with pytest.raises(InputError, match="does not say its box"):  # only of the published size
        open_source(folder)
    write(folder / "univ_ics_2019-03_a2.hdf5", full=boxes[0], physPar=[0.3, 0.8])
    with pytest.raises(InputError, match=r"_a2\.hdf5: has parameters \['Omega_m', 'sigma_8'\]"):
        open_source(folder)


def test_feder(tmp_path, rng):
    boxes = counts(rng, 2, 3, 4, 4, 4)
    folder = tmp_path / "feder"
    folder.mkdir()
    for i in range(2):
        columns = dict(zip(("003", "007", "009"), boxes[i]))
        write(folder / f"n512_512Mpc_cosmo1_seed{i + 1}_gridpart.h5", **columns)
    dataset = imported(folder, tmp_path)
    np.testing.assert_array_equal(read(dataset)[:, 0], boxes.reshape(6, 4, 4, 4))
    assert condition(dataset, "redshift") == [3, 0.5, 0] * 2
    assert dataset.column("simulation").tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.spec.grid.lengths == (512.0,) * 3
    columns = {f"seed{s}_z{z:03d}": boxes[s, z] for s in range(2) for z in range(2)}
    grid = write(tmp_path / "n512_512Mpc_cosmo3_gridpart.h5", **columns)
    source = open_source(grid)
    assert source.simulations.tolist() == [0, 0, 1, 1]
    assert source.conditions["redshift"].tolist() == [10, 7.5, 10, 7.5]
    bad = write(tmp_path / "bad.h5", **{"012": boxes[0, 0]})
    with pytest.raises(InputError, match="'012' is snapshot 12: redshifts are known of 10"):
        open_source(bad)


def test_higan(tmp_path, rng):
    cube = rng.exponential(1, (6, 6, 6)).astype("f4")
    source = write(tmp_path / "fields_z=5.hdf5", delta_HI=cube)
    dataset = imported(source, tmp_path, told=Told(box="75"))
    np.testing.assert_array_equal(read(dataset), cube[None, None])
    assert dataset.spec.condition("redshift").maximum == 5
    assert dataset.spec.grid.channels == ("delta_HI",)
    assert dataset.spec.unit == ""


@pytest.mark.parametrize(("suite", "names"), [("Astrid", 6), ("Nbody_SIMBA", 2)])
def test_camels(tmp_path, rng, suite, names):
    parameters = rng.uniform(0.1, 0.5, (2, 6))
    np.savetxt(tmp_path / f"params_LH_{suite.removeprefix('Nbody_')}.txt", parameters)
    maps = rng.exponential(1e10, (30, 4, 4)).astype("f4")
    source = save(tmp_path / f"Maps_Mtot_{suite}_LH_z=0.00.npy", maps)
    dataset = imported(source, tmp_path)
    np.testing.assert_array_equal(read(dataset)[:, 0], maps)
    assert dataset.column("simulation").tolist() == [0] * 15 + [1] * 15
    assert condition(dataset, "sigma_8") == np.repeat(parameters[:, 1], 15).astype("f4").tolist()
    assert len(dataset.spec.conditions) == names + 1
    assert dataset.attributes["suite"] == suite
    assert dataset.spec.condition("redshift").maximum == 0
    assert (dataset.spec.unit, dataset.spec.grid.lengths) == ("(Msun/h)/(Mpc/h)^2", (25.0, 25.0))
    boxes = save(tmp_path / f"Grids_Mtot_{suite}_LH_4_z=1.50.npy", np.stack([maps[:4]] * 2))
    source = open_source(boxes)
    assert (source.simulations.tolist(), source.spec.grid.periodic) == ([0, 1], (True,) * 3)
    assert source.conditions["redshift"].tolist() == [1.5, 1.5]
    assert source.spec.unit == "(Msun/h)/(Mpc/h)^3"


def test_camels_labels(tmp_path, rng):
    source = save(tmp_path / "Maps_T_SIMBA_SB28_z=0.00.npy", rng.random((30, 4, 4)))
    with pytest.raises(InputError, match=r"no params_SB28_SIMBA\.txt beside it: give it with --c"):
        open_source(source)
    labels = tmp_path / "labels.txt"
    np.savetxt(labels, rng.random((2, 28)))
    told = Told(conditions=str(labels))
    assert list(open_source(source, told=told).conditions)[1:3] == ["sigma_8", "parameter_3"]
    np.savetxt(labels, rng.random((3, 28)))
    with pytest.raises(InputError, match="30 maps, 15 a simulation, but parameters of 3"):
        open_source(source, told=told)
    labels.write_text("0.3 many\n")
    with pytest.raises(InputError, match="not a table of numbers"):
        open_source(source, told=told)


def test_map2map(tmp_path, rng):
    fields = rng.normal(size=(3, 3, 4, 4, 4)).astype("f4")
    folder = tmp_path / "disp"
    folder.mkdir()
    for i, values in enumerate(fields):
        save(folder / f"{i}.npy", values)
    told = Told(box="100", unit="Mpc/h", channels="x, y, z", periodic=True)
    dataset = imported(folder, tmp_path, told=told)
    np.testing.assert_array_equal(read(dataset), fields)
    assert dataset.spec.grid.channels == ("x", "y", "z")
    assert dataset.spec.grid.periodic == (True,) * 3
    assert dataset.column("simulation").tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="has 3 channels, named are none: give --channels"):
        open_source(folder, told=Told(box="100", unit="Mpc/h"))
    with pytest.raises(InputError, match=r"of no known source .* say which with --from"):
        open_source(folder / "0.npy")  # may be three boxes as well
    np.testing.assert_array_equal(
        open_source(folder / "0.npy", "map2map", told).read(0, (slice(1, 3),) * 3),
        fields[0, :, 1:3, 1:3, 1:3],
    )


def test_mustafa(tmp_path, rng):
    maps = rng.normal(size=(5, 8, 8)).astype("f4")
    source = save(tmp_path / "cosmogan_maps_256_8k_1.npy", maps)
    dataset = imported(source, tmp_path, told=Told(box="3.5"))
    np.testing.assert_array_equal(read(dataset)[:, 0], maps)
    assert (dataset.spec.grid.channels, dataset.spec.grid.unit) == (("convergence",), "deg")
    folder = tmp_path / "3d"
    folder.mkdir()
    boxes = counts(rng, 5, 1, 4, 4, 4)
    save(folder / "Om0.3_Sg0.5_H70.0.npy", boxes[:2])
    save(folder / "Om0.3_Sg1.1_H70.0.npy", boxes[2:])
    source = open_source(folder, told=Told(box="64"))
    np.testing.assert_array_equal([source.read(i, (slice(0, 4),) * 3) for i in range(5)], boxes)
    assert (
        source.conditions["sigma_8"].tolist()
        == np.repeat(["0.5", "1.1"], [2, 3]).astype("f4").tolist()
    )
    assert source.simulations.tolist() == [0, 0, 1, 1, 1]
    assert source.spec.unit == "count"


def test_array(tmp_path, rng):
    boxes = counts(rng, 6, 4, 4, 4, dtype="u2")
    cosmology = rng.uniform(0.2, 1, (6, 2))
    columns = {"cosmology": cosmology, "seed": np.arange(6) + 50, "seconds": np.full(6, 12.0)}
    source = write(tmp_path / "boxes.h5", counts=boxes, **columns)
    with h5py.File(source, "a") as file:
        file["cosmology"].attrs["names"] = ["Omega_m", "sigma_8"]
        file.attrs["code"] = "PySCo"
    told = Told(key="counts", box="200", unit="count", periodic=True, conditions="cosmology")
    dataset = imported(source, tmp_path, origin="array", told=told)
    np.testing.assert_array_equal(read(dataset)[:, 0], boxes)
    assert condition(dataset, "Omega_m") == cosmology[:, 0].astype("f4").tolist()
    assert dataset.column("seed").tolist() == list(range(50, 56))
    assert dataset.beside["seconds"].unit == "s"
    assert dataset.attributes["code"] == "PySCo"
    told = Told(key="counts", box="200", unit="count", conditions="cosmology:a,b")
    assert list(open_source(source, "array", told).conditions) == ["a", "b"]


def test_array_with_channels_and_a_table(tmp_path, rng):
    values = rng.normal(size=(5, 2, 4, 6))
    labels = save(tmp_path / "labels.npy", np.arange(5.0))
    told = Told(
        box="4,6 arcmin", unit="none", channels="e,b", conditions=f"{labels}:noise", periodic=False
    )
    dataset = imported(save(tmp_path / "maps.npy", values), tmp_path, origin="array", told=told)
    np.testing.assert_array_equal(read(dataset), values.astype("f4"))
    assert condition(dataset, "noise") == [0, 1, 2, 3, 4]
    grid = dataset.spec.grid
    assert (grid.channels, grid.lengths, grid.unit) == (("e", "b"), (4.0, 6.0), "arcmin")
    # Without such channels the second axis is one of the box.
    boxes = open_source(tmp_path / "maps.npy", "array", Told(box="4", unit="overdensity"))
    assert (boxes.spec.shape, boxes.spec.grid.channels) == ((1, 2, 4, 6), ("overdensity",))


@pytest.mark.parametrize("limit", [1 << 20, 4 * 16 * 8, 1])
def test_entries_of_a_chunk_are_read_together(tmp_path, rng, monkeypatch, limit):
    maps = rng.normal(size=(30, 4, 4))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("maps", data=maps, chunks=(8, 2, 4), compression="gzip")
    monkeypatch.setattr(arrays, "AHEAD_BYTES", limit)
    array = HDF5Array(HDF5Reader(tmp_path / "x.h5"), "maps")
    for i in (*range(30), 3, 29, 0):
        np.testing.assert_array_equal(array[i, 1:3, :], maps[i, 1:3])
    np.testing.assert_array_equal(array[2:7,], maps[2:7])
    array.close()
    np.testing.assert_array_equal(array[29,], maps[29])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"unit": None}, "does not say its unit"),
        ({"key": None}, "give the data set to read, --key: there are counts, labels"),
        ({"key": "none"}, "has no data set 'none': it has counts, labels"),
        ({"key": "labels"}, r"fields have 2 or 3 axes, these have 1"),
        ({"box": "wide"}, "box 'wide' is not understood: give one length or 2"),
        ({"box": "1,2,3"}, "give one length or 2"),
        ({"box": "-4"}, "is not understood"),
        ({"box": "4 miles"}, "box in 'miles': known are Mpc/h"),
        ({"channels": "a,b"}, "has 1 channels, named are a, b"),
        ({"unit": "overdensity", "channels": "a"}, "unit overdensity is for a channel of that"),
        ({"conditions": "labels"}, r"2 conditions an entry, 0 names \(none\)"),
        ({"conditions": "labels:a,a"}, r"2 names \(a, a\)"),
        ({"conditions": "absent:a"}, "no data set and no file 'absent'"),
    ],
)
def test_what_is_told_must_fit(tmp_path, rng, told, message):
    source = write(tmp_path / "x.h5", counts=counts(rng, 3, 4, 4), labels=rng.random((3, 2)))
    right = {"key": "counts", "box": "100", "unit": "count"}
    with pytest.raises(InputError, match=message):
        open_source(source, "array", Told(**right | told))


def test_unknown_and_ambiguous(tmp_path, rng, shower_file):
    with pytest.raises(InputError, match="no such file or folder"):
        open_source(tmp_path / "absent*.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"this folder has no \.h5, \.hdf5, \.npy files"):
        convert(tmp_path / "empty", tmp_path / "x.h5")
    source = write(tmp_path / "x.h5", data=counts(rng, 4, 4, 4))
    with pytest.raises(InputError, match=r"of no known source .*has keys data: say which"):
        convert(source, tmp_path / "y.h5")
    both = write(tmp_path / "b.h5", delta_HI=counts(rng, 4, 4, 4), full=1.0, physPar=1.0)
    with pytest.raises(InputError, match=r"of several known sources \(cosmoflow, higan\)"):
        open_source(both)
    assert len(open_source(both, "higan", Told(box="1"))) == 1
    with pytest.raises(InputError, match=r"unknown source 'hign' .did you mean 'higan'"):
        open_source(both, "hign")
    with pytest.raises(InputError, match="--key is not for source 'higan'"):
        open_source(both, "higan", Told(key="delta_HI"))
    with pytest.raises(InputError, match="has showers of layout 'calogan': only fields are"):
        convert(shower_file, tmp_path / "y.h5", told=Told(box="3"))


def test_bad_values_leave_nothing(tmp_path, rng):
    boxes = counts(rng, 5, 4, 4, 4)
    boxes[2, 0, 0, 0], boxes[4, 1, 1, 1] = -1, np.nan
    source = save(tmp_path / "x.npy", boxes)
    told = Told(box="1", unit="count")
    with pytest.raises(InputError, match=r"2 entries with NaN, .*first: 2, 4"):
        convert(source, tmp_path / "y.h5", origin="array", told=told)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]
    convert(source, tmp_path / "y.h5", origin="array", told=told, rows="0:2")


def test_pickles_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    source = tmp_path / "x.npy"
    np.save(source, np.array([[[Trap()]]], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not a readable \.npy file of numbers"):
        open_source(source, "array", Told(box="1", unit="count"))


def npy(header):
    text = f"{{'fortran_order': False, {header}}}".ljust(79) + "\n"
    return b"\x93NUMPY\x01\x00\x50\x00" + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable"),
        (b"text", "not a readable"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, "not a readable"),
        (npy("'descr': '<f4', 'shape': (9, 9, 9)"), "not a readable .*size"),
        (npy("'descr': '<f4', 'shape': (9, -9, -9)"), "not a readable|holds"),
        (npy("'descr': '<c8', 'shape': (1, 1, 1)") + b"\0" * 8, "holds complex64"),
    ],
    ids=["empty", "text", "header", "truncated", "negative", "complex"],
)
def test_damaged_npy(tmp_path, content, message):
    source = tmp_path / "x.npy"
    source.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.npy: ({message})"):
        open_source(source, "array", Told(box="1", unit="count"))


def test_links_are_not_followed(tmp_path, rng):
    inner = write(tmp_path / "inner.h5", x=counts(rng, 4, 4, 4))
    for name in ("256_nbody_350Mpc_0.h5", "256_nbody_350Mpc_1.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            if name.endswith("0.h5"):
                file["data"] = counts(rng, 4, 4, 4)
            else:
                file["data"] = h5py.ExternalLink(inner.name, "x")
    with pytest.raises(InputError, match=r"_1\.h5: 'data' is a link to another file"):
        open_source(tmp_path / "256*.h5")


def native_file(path, omega, first, length=8.0):
    """Write two boxes of one simulation, numbered 7, and their cost."""
    grid = Grid(("counts",), ("x", "y", "z"), (length,) * 3, "Mpc/h", (True,) * 3)
    conditions = (Condition("omega_m", "", omega, omega),)
    spec = SampleSpec("field", "native", (1, 4, 4, 4), "count", conditions, grid=grid)
    beside = {
        "simulation": Column((), "", "number of the simulation", dtype="i8"),
        "seconds": Column((), "s", "CPU time"),
    }
    attributes = {"generator": "a code", "title": path.stem}
    values = np.arange(first * 64.0, (first + 2) * 64).reshape(2, 1, 4, 4, 4).astype("f4")
    with HDF5Writer(path, spec, 2, attributes=attributes, beside=beside) as writer:
        asked = {"omega_m": np.full(2, omega, "f4")}
        writer.append(Samples(values, asked), {"simulation": [7, 7], "seconds": [1.0, first]})


def test_native_files_are_joined(tmp_path):
    native_file(tmp_path / "a.h5", 0.2, 0)
    native_file(tmp_path / "b.h5", 0.4, 2)
    joined = Dataset(convert(tmp_path / "?.h5", tmp_path / "joined.h5"))
    assert np.array_equal(joined.read(0, 4).values.ravel(), np.arange(256))
    assert joined.simulations.tolist() == [0, 0, 1, 1]  # of different files: different ones
    assert joined.column("seconds").tolist() == [1, 0, 1, 2]
    omega = joined.spec.condition("omega_m")
    assert (omega.minimum, omega.maximum) == (0.2, 0.4)
    assert joined.attributes["generator"] == "a code"
    assert "title" not in joined.attributes  # they do not agree in it
    native_file(tmp_path / "c.h5", 0.4, 2, length=9.0)
    with pytest.raises(InputError, match=r"c.h5 and .*a.h5 differ in grid"):
        convert(tmp_path / "[ac].h5", tmp_path / "other.h5")
    assert not (tmp_path / "other.h5").exists()
