import h5py
import numpy as np
import pytest

from emulators.config import load_toml
from emulators.data.check import check
from emulators.data.convert import convert, split
from emulators.data.dataset import Dataset, split_rows
from emulators.data.describe import describe
from emulators.data.hashes import ANCESTOR, ANCESTOR_COLUMN
from emulators.data.hdf5 import HDF5Writer, content_hash
from emulators.data.spec import Samples, SampleSpec
from emulators.errors import InputError


def same(a, b) -> None:
    np.testing.assert_array_equal(a.values, b.values)
    for name, values in a.conditions.items():
        np.testing.assert_array_equal(values, b.conditions[name])


def test_there_and_back_is_exact(tmp_path, sample):
    there = convert(sample, tmp_path / "cc.h5", "calochallenge", rows="100:700")
    back = convert(there, tmp_path / "back.h5", "calogan")
    original = Dataset(sample)
    assert (Dataset(there).layout, Dataset(back).layout) == ("calochallenge", "calogan")
    same(Dataset(there).read(0, 600), original.read(100, 700))
    same(Dataset(back).read(0, 600), original.read(100, 700))
    assert Dataset(back).spec == original.spec
    assert check(there) == check(back) == []


def test_a_bare_file_becomes_self_describing(tmp_path, write_showers):
    rng = np.random.default_rng(0)
    source = write_showers(tmp_path / "in.h5", 20, overflow=rng.random((20, 3)))
    target = convert(
        source, tmp_path / "out.h5", attributes={"licence": "CC0-1.0", "particle": "e+"}
    )
    dataset = Dataset(target)
    same(dataset.read(0, 20), Dataset(source).read(0, 20))
    assert dataset.spec.particle == "e+"
    assert dataset.attributes == {
        "licence": "CC0-1.0",
        "particle": "e+",
        "source": "in.h5",
        "source_rows": "0:20",
        "source_samples": 20,
        "source_sha256": content_hash(source),
    }
    with h5py.File(source) as a, h5py.File(target) as b:
        np.testing.assert_array_equal(b["overflow"][:], a["overflow"][:].astype("f4"))
        assert b["layer_0"].compression == "gzip"
    # What the first file said is handed on.
    assert Dataset(convert(target, tmp_path / "again.h5")).attributes["licence"] == "CC0-1.0"


def test_equal_conversions_give_equal_bytes(tmp_path, sample):
    a, b = (convert(sample, tmp_path / name, rows=slice(0, 50)) for name in ("a.h5", "b.h5"))
    assert content_hash(a) == content_hash(b)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(":3", (0, 3)), ("61:", (61, 64)), (slice(2, 4), (2, 4)), (None, (0, 64))],
)
def test_rows(tmp_path, shower_file, rows, expected):
    target = Dataset(convert(shower_file, tmp_path / "x.h5", rows=rows))
    assert target.attributes["source_rows"] == "{}:{}".format(*expected)
    same(target.read(0, len(target)), Dataset(shower_file).read(*expected))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "calochalenge"}, "did you mean 'calochallenge'"),
        ({"rows": "1-4"}, "rows '1-4' are not understood"),
        ({"rows": "0:65"}, "has 64 rows, rows 0:65 are not among them"),
        ({"rows": "9:9"}, "rows 9:9 are not among them"),
    ],
)
def test_bad_requests_leave_nothing(tmp_path, shower_file, arguments, message):
    with pytest.raises(InputError, match=message):
        convert(shower_file, tmp_path / "x.h5", **arguments)
    assert not list(tmp_path.iterdir())


def test_bad_rows_leave_nothing(tmp_path, write_showers):
    source = write_showers(tmp_path / "in.h5", 20)
    with h5py.File(source, "a") as file:
        file["layer_0"][4, 0, 0] = np.nan
        file["energy"][11] = -1
    with pytest.raises(InputError, match=r"2 rows with NaN, .*first: 4, 11"):
        convert(source, tmp_path / "out.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["in.h5"]
    assert len(Dataset(convert(source, tmp_path / "out.h5", rows="5:11"))) == 6


def test_targets_are_not_overwritten_unasked(tmp_path, shower_file):
    target = convert(shower_file, tmp_path / "x.h5", rows="0:5")
    with pytest.raises(InputError, match=r"x\.h5 exists"):
        convert(shower_file, target)
    assert len(Dataset(target)) == 5
    convert(shower_file, target, overwrite=True)
    assert len(Dataset(target)) == 64
    with pytest.raises(InputError, match="source and target are the same file"):
        convert(target, target, overwrite=True)


def test_split_writes_what_split_rows_says(tmp_path, sample):
    files = split(sample, tmp_path / "parts", 0.1, 0.2, seed=7)
    rows = split_rows(4000, 0.1, 0.2, seed=7)
    original = Dataset(sample)
    assert {name: path.name for name, path in files.items()} == {
        name: f"photon_showers_{name}.h5" for name in ("train", "validation", "test")
    }
    for name, path in files.items():
        part = Dataset(path)
        same(part.read(0, len(part)), original.take(rows[name]))
        assert part.attributes["split"] == name
        assert part.attributes["source_sha256"] == original.sha256
        assert part.attributes["source_rows"] == (
            f"split_rows(4000, validation=0.1, test=0.2, seed=7)['{name}']"
        )


def test_split_is_all_or_nothing(tmp_path, write_showers, shower_file):
    source = write_showers(tmp_path / "in.h5", 40)
    last = split_rows(40, 0.1, 0.2, seed=0)["test"][0]
    with h5py.File(source, "a") as file:
        file["layer_0"][last, 0, 0] = np.nan
    with pytest.raises(InputError, match="1 rows with NaN"):
        split(source, tmp_path / "parts", 0.1, 0.2)
    assert not list((tmp_path / "parts").iterdir())
    split(shower_file, tmp_path / "parts", 0.0, 0.5)
    assert len(list((tmp_path / "parts").iterdir())) == 2
    with pytest.raises(InputError, match=r"_train\.h5 exists"):
        split(shower_file, tmp_path / "parts")


def test_shipped_sample(sample):
    dataset = Dataset(sample)
    energy = dataset.spec.condition("incident_energy")
    assert (len(dataset), energy.minimum, energy.maximum) == (4000, 1.0, 100.0)
    assert sample.stat().st_size < 4e6
    assert dataset.attributes["source_rows"] == "0:4000"
    said = load_toml(sample.with_suffix(".toml"))
    assert {name: dataset.attributes[name] for name in said} == said
    samples = dataset.read(0, 4000)
    fraction = samples.values.sum(1, dtype=float) / samples.conditions["incident_energy"] / 1000
    assert 0.99 < fraction.mean() < fraction.max() < 1.000001  # almost all energy stays inside


def test_describe(sample, tmp_path, write_challenge):
    text = describe(sample)
    for words in (
        "4,000 showers, 3.2 MB",
        "calogan: 504 cells",
        "layer_1: 12 x 12 cells, x -240 to 240 mm, y -240 to 240 mm, depth 90 to 437 mm",
        "1.00054 to 99.8142 GeV, median 9.398 (range 1-100, log)",
        "0.9963 of the incident energy",
        "160.9 on average",
        "Geant4 11.4.1",
    ):
        assert words in text
    text = describe(write_challenge(tmp_path / "x.h5", voxels=6480))
    assert "... 45 layers ..." in text
    assert "layer_0: 16 alpha x 9 r cells, r 0 to 41.85 mm, depth 0 to 3.4 mm" in text
    with pytest.raises(InputError, match="no such file"):
        describe(tmp_path / "none.h5")


def test_fields_are_converted_with_what_is_beside_them(tmp_path, field_file):
    source, target = (
        Dataset(field_file),
        Dataset(convert(field_file, tmp_path / "x.h5", rows="3:9")),
    )
    same(target.read(0, 6), source.read(3, 9))
    assert (target.spec, target.beside) == (
        source.spec,
        source.beside | {ANCESTOR: ANCESTOR_COLUMN},
    )
    assert target.attributes["seed"] == 5
    for key in source.beside:
        np.testing.assert_array_equal(target.column(key), source.column(key)[3:9])
    assert check(target.path) == []
    for layout in ("calogan", "calochallenge"):
        with pytest.raises(InputError, match=f"layout '{layout}' is not for fields"):
            convert(field_file, tmp_path / "y.h5", layout)


def test_showers_are_not_fields(tmp_path, shower_file):
    with pytest.raises(InputError, match="layout 'native' is not for showers"):
        convert(shower_file, tmp_path / "x.h5", "native")


def test_bad_fields_are_not_converted(tmp_path, field_file):
    for change in ("values", "conditions"):
        source = tmp_path / f"{change}.h5"
        source.write_bytes(field_file.read_bytes())
        with h5py.File(source, "a") as file:
            if change == "values":
                file["fields"][11, 0, 0, 0, 0] = -1
            else:
                table = file["conditions"][:]
                table["redshift"][11] = np.nan
                file["conditions"][:] = table
        with pytest.raises(InputError, match=r"1 rows with NaN, infinite or negative .*first: 11"):
            convert(source, tmp_path / "out.h5")
        assert not (tmp_path / "out.h5").exists()


def test_columns_beside_showers_survive_another_layout(tmp_path, write_showers):
    source = write_showers(tmp_path / "in.h5", 8, seconds=np.arange(8.0), notes=np.arange(8.0))
    with h5py.File(source, "a") as file:
        file["seconds"].attrs.update(units="s", description="CPU time")
    there = convert(source, tmp_path / "cc.h5", "calochallenge")
    with h5py.File(there) as file:
        assert set(file) == {"incident_energies", "showers", "seconds", "notes"}
        assert file["seconds"][:].tolist() == list(range(8))
        assert file["seconds"].attrs["units"] == "s"
    assert check(there) == check(convert(there, tmp_path / "back.h5", "calogan")) == []


def test_a_column_that_the_other_layout_has_itself_goes_there(tmp_path, write_challenge):
    source = write_challenge(tmp_path / "in.h5", 8)
    with h5py.File(source, "a") as file:
        for key, values in {"overflow": np.ones((8, 5)), "energy": np.ones(8)}.items():
            file[key] = values
            file[key].attrs.update(units="MeV", description="made up")
    back = convert(source, tmp_path / "back.h5", "calogan")
    with h5py.File(back) as file, h5py.File(source) as original:
        assert (file["overflow"][:] == 1).all()
        np.testing.assert_allclose(
            file["energy"][:, 0], original["incident_energies"][:, 0] / 1000, rtol=1e-6
        )


def test_split_keeps_simulations_together(tmp_path, field_file):
    files = split(field_file, tmp_path, 0.1, 0.3, seed=4)
    seen = {}
    for name, path in files.items():
        part = Dataset(path)
        seen[name] = set(part.column("simulation"))
        assert len(part) == 4 * len(seen[name])
        assert part.attributes["source_rows"] == (
            f"simulations of split_rows(10, validation=0.1, test=0.3, seed=4)['{name}']"
        )
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())) == 10


def test_describe_fields(field_file, tmp_path):
    text = describe(field_file)
    fields = Dataset(field_file).read(0, 40)
    for words in (
        "samples             40 fields, ",
        "grid                x: 200 Mpc/h in 8 cells of 25 Mpc/h, periodic",
        "                    z: 12.5 Mpc/h in 4 cells of 3.125 Mpc/h\n",
        "(range 0.1-0.5, linear)",
        "redshift            0.5\n",
        f"counts              mean {fields.values[:, 0].mean():.4g}, standard deviation "
        f"{fields.values[:, 0].std():.4g}, 0 to {fields.values[:, 0].max():.4g} count",
        "reference cost      20.5 CPU seconds a sample, 820 seconds in all",
        "catalogue           (N, 3, 2) Mpc/h: halos, then NaN",
        "seconds             (N,) s: CPU time",
    ):
        assert words in text
    spec = SampleSpec("point", "native", (2,), "m", ())
    with HDF5Writer(tmp_path / "p.h5", spec, 4) as writer:
        writer.append(Samples(np.arange(8, dtype="f4").reshape(4, 2), {}))
    text = describe(tmp_path / "p.h5")
    assert "component 1         mean 4, standard deviation 2.236, 1 to 7 m" in text
    assert "beside" not in text


@pytest.mark.parametrize(
    ("energies", "words"),
    [
        (
            [1, 2, 3, 5, 6, 20, 25, 40, 100],
            "1 s at 1-3.2, 3.5 s at 3.2-10, 5.5 s at 10-32, 7.5 s at 32-100",
        ),
        ([20, 20, 20, 50, 50, 50, 80, 80, 80], "1 s at 20, 4 s at 50, 7 s at 80"),
    ],
)
def test_cost_by_energy(tmp_path, write_showers, energies, words):
    energy = np.array(energies, "f4")[:, None]
    path = write_showers(tmp_path / "x.h5", 9, energy=energy, seconds=np.arange(9.0))
    with h5py.File(path, "a") as file:
        file["seconds"].attrs.update(units="s", description="CPU time")
    text = describe(path)
    assert "reference cost      4 CPU seconds a sample, 36 seconds in all" in text
    assert f"by incident_energy (GeV): {words}" in text


def test_a_fixed_energy_has_no_bins(tmp_path, write_showers):
    path = write_showers(tmp_path / "x.h5", 4, energy=np.full((4, 1), 50.0))
    assert "incident_energy     50 GeV" in describe(path)
