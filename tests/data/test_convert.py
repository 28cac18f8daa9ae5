import h5py
import numpy as np
import pytest

from emulators.config import load_toml
from emulators.data.check import check
from emulators.data.convert import convert, split
from emulators.data.dataset import Dataset, split_rows
from emulators.data.describe import describe
from emulators.data.hdf5 import content_hash
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
