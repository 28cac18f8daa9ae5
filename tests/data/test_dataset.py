import h5py
import numpy as np
import pytest

from emulators.data import hdf5
from emulators.data.dataset import Dataset, split_rows
from emulators.data.hdf5 import content_hash
from emulators.errors import InputError


def test_take_returns_rows_in_the_order_asked(sample):
    dataset = Dataset(sample)
    everything = dataset.read(0, len(dataset))
    rows = np.array([3999, 0, 512, 511, 512, 1700])
    dataset._block = 512  # several blocks
    taken = dataset.take(rows)
    np.testing.assert_array_equal(taken.values, everything.values[rows])
    np.testing.assert_array_equal(
        taken.conditions["incident_energy"], everything.conditions["incident_energy"][rows]
    )
    assert len(dataset.take([])) == 0


def test_rows_that_do_not_exist(shower_file):
    dataset = Dataset(shower_file)
    for start, stop in ((60, 65), (-1, 3), (5, 4)):
        with pytest.raises(InputError, match="of 64 do not exist"):
            dataset.read(start, stop)
    for rows in ([64], [-1]):
        with pytest.raises(InputError, match="of 64"):
            dataset.take(rows)


def test_more_rows_than_memory(shower_file, monkeypatch):
    dataset = Dataset(shower_file)
    monkeypatch.setattr(hdf5, "available_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"64 rows takes .* read fewer rows at a time"):
        dataset.read(0, 64)
    with pytest.raises(InputError, match="read fewer rows"):
        dataset.take(np.arange(3))


def test_hash_is_of_the_content(shower_file, tmp_path):
    assert Dataset(shower_file).sha256 == content_hash(shower_file)
    copy = tmp_path / "copy.h5"
    copy.write_bytes(shower_file.read_bytes())
    assert content_hash(copy) == content_hash(shower_file)
    assert len(content_hash(copy)) == 64


def test_keys_of_different_length(tmp_path, write_showers):
    path = write_showers(tmp_path / "x.h5", 8, layer_2=np.ones((7, 12, 6)))
    with pytest.raises(InputError, match=r"differ in length: energy 8, .*layer_2 7"):
        Dataset(path)


@pytest.mark.parametrize("energy", [np.full((4, 1), np.nan), np.zeros((4, 1)), np.zeros((0, 1))])
def test_no_usable_energy(tmp_path, write_showers, energy):
    path = write_showers(tmp_path / "x.h5", 4, energy=energy)
    with pytest.raises(InputError, match="incident energies is finite and positive"):
        Dataset(path)


def test_damaged_chunk_says_which_rows(damaged):
    dataset = Dataset(damaged)
    assert len(dataset.read(0, 512)) == 512
    with pytest.raises(InputError, match="rows 512 to 600 cannot be read"):
        dataset.read(512, 600)


def test_split_is_a_partition_that_depends_on_its_arguments_alone():
    parts = split_rows(1000, 0.05, 0.25, seed=4)
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 700, "validation": 50, "test": 250,
    }  # fmt: skip
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(1000))
    assert all(np.array_equal(np.sort(rows), rows) for rows in parts.values())
    again, other = split_rows(1000, 0.05, 0.25, seed=4), split_rows(1000, 0.05, 0.25, seed=5)
    assert np.array_equal(parts["test"], again["test"])
    assert not np.array_equal(parts["test"], other["test"])
    # Frozen: another numpy or another machine must find the same test showers.
    assert parts["validation"][:5].tolist() == [4, 38, 41, 91, 100]


def test_small_splits_get_at_least_one_row():
    parts = split_rows(5, 0.01, 0.0, seed=0)
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [4, 1, 0]


@pytest.mark.parametrize(
    ("n", "validation", "test", "message"),
    [
        (10, 0.5, 0.5, "leave rows to train on"),
        (10, -0.1, 0.5, "must be 0 or more"),
        (10, 1.0, 0.0, "leave rows to train on"),
        (2, 0.1, 0.1, "2 rows are too few"),
        (0, 0.1, 0.0, "0 rows are too few"),
    ],
)
def test_impossible_splits(n, validation, test, message):
    with pytest.raises(InputError, match=message):
        split_rows(n, validation, test, seed=0)


def test_what_is_beside_comes_with_its_rows(field_file, monkeypatch):
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 1)
    dataset = Dataset(field_file)
    assert {k: c.unit for k, c in dataset.beside.items()} == {
        "catalogue": "Mpc/h", "seconds": "s", "simulation": ""
    }  # fmt: skip
    rows = np.array([0, 3, 17, 39])
    extras = dataset.take_extras(rows)
    np.testing.assert_array_equal(extras["seconds"], rows + 1)
    np.testing.assert_array_equal(extras["simulation"], rows // 4)
    with h5py.File(field_file) as file:
        np.testing.assert_array_equal(extras["catalogue"], file["catalogue"][rows])


def test_rows_of_one_simulation_stay_together(field_file, tmp_path):
    dataset = Dataset(field_file)
    parts = dataset.split(0.1, 0.3, seed=4)
    boxes = split_rows(10, 0.1, 0.3, seed=4)  # of four slabs each
    for name, rows in parts.items():
        assert np.unique(rows // 4).tolist() == boxes[name].tolist()
    assert np.sort(np.concatenate(list(parts.values()))).tolist() == list(range(40))
    # With a simulation for each row it is the cut that files without the column have.
    path = tmp_path / "x.h5"
    path.write_bytes(field_file.read_bytes())
    with h5py.File(path, "a") as file:
        file["simulation"][:] = np.arange(40)[::-1]
    for name, rows in Dataset(path).split(0.1, 0.3, seed=4).items():
        np.testing.assert_array_equal(rows, split_rows(40, 0.1, 0.3, seed=4)[name])


def test_simulations_too_few_to_split(write_fields, tmp_path):
    dataset = Dataset(write_fields(tmp_path / "x.h5", 8))
    with pytest.raises(InputError, match=r"2 rows are too few for 1 \+ 1"):
        dataset.split(0.1, 0.1, seed=0)
