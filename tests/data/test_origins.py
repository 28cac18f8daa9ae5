"""What a file says of its origins, what a sample holds, what a training has read."""

import json

import h5py
import numpy as np
import pytest
import torch

from emulators.data import hashes
from emulators.data.convert import convert, split
from emulators.data.cut import Cut
from emulators.data.dataset import Dataset, split_rows
from emulators.data.hashes import ANCESTOR, leading, sample_hashes
from emulators.data.hdf5 import HDF5Writer
from emulators.data.origins import (
    Training,
    origins,
    read_samples,
    same_samples,
    training_attributes,
    training_hashes,
    training_of,
    training_record,
)
from emulators.data.spec import Column, Grid, Samples, SampleSpec

SHARES = {"validation": 0.1, "test": 0.3, "seed": 2}
BOXES = 12


@pytest.fixture(scope="module")
def showers(write_showers, tmp_path_factory):
    """A file of 300 showers, and the training that read 60 and 10 % of them."""
    path = write_showers(tmp_path_factory.mktemp("origins") / "photons.h5", 300, seed=4)
    return path, card_of(path)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Twelve boxes of 8^3 counts, each a simulation, and a training on 24 maps of each."""
    folder = tmp_path_factory.mktemp("boxes")
    grid = Grid(("counts",), ("x", "y", "z"), (32.0,) * 3, "Mpc/h", (True,) * 3)
    spec = SampleSpec("field", "native", (1, 8, 8, 8), "count", (), grid=grid)
    column = {"simulation": Column((), "", "number of the simulation", dtype="i8")}
    with HDF5Writer(folder / "boxes.h5", spec, BOXES, beside=column) as writer:
        counts = np.random.default_rng(3).poisson(8, (BOXES, *spec.shape)).astype("f4")
        writer.append(Samples(counts), {"simulation": np.arange(BOXES) + 5})
    maps = convert(folder / "boxes.h5", folder / "maps.h5", cut=Cut(slabs=8))
    return folder, card_of(maps)


def card_of(path, start=None, **shares):
    """Return the card of a training on a file."""
    dataset, shares = Dataset(path), SHARES | shares
    parts = dataset.split(**shares)
    split_ = shares | {"rows": {k: len(v) for k, v in parts.items()}}
    card = {"data_file": path.name, "data_sha256": dataset.sha256, "split": split_}
    return card | training_record(dataset, parts, start or {})


def training(card):
    return training_of(training_attributes(card), training_hashes(card))


def without_hashes(card):
    """Return the card as the previous version wrote it."""
    return {k: card[k] for k in ("data_file", "data_sha256", "split")}


def rows_read(path, card):
    return np.flatnonzero(read_samples(Dataset(path), training(card)).any)


# -- what a sample holds --------------------------------------------------------------------------


def test_equal_values_have_equal_hashes():
    values = np.random.default_rng(0).normal(size=(6, 1, 5, 4)).astype("f4")
    values[1] = values[0]
    values[2, 0, 0, 0], values[3] = 0.0, values[2]
    values[3, 0, 0, 0] = -0.0
    values[5] = values[4]
    values[5, 0, 4, 3] = np.nextafter(values[4, 0, 4, 3], np.float32(9))
    found = sample_hashes(values)
    assert found.dtype == np.uint64
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len(set(found.tolist())) == 4
    np.testing.assert_array_equal(sample_hashes(values.astype(">f4")), found)
    np.testing.assert_array_equal(sample_hashes(values.reshape(6, -1)), found)


def test_empty_samples_are_no_copies(write_showers, tmp_path):
    layers = {f"layer_{i}": np.zeros((9, *s)) for i, s in enumerate(((3, 96), (12, 12), (12, 6)))}
    dataset = Dataset(write_showers(tmp_path / "x.h5", 9, **layers))
    assert not dataset.hashes.any()
    assert not same_samples(dataset, dataset.hashes).any()


def test_of_large_fields_whole_planes_are_hashed(monkeypatch):
    assert leading((1, 512, 512, 512)) == 64
    assert leading((2, 64, 64)) == 64
    monkeypatch.setattr(hashes, "LARGEST", 40)
    values = np.random.default_rng(0).normal(size=(2, 1, 10, 8)).astype("f4")
    values[1, 0, :5] = values[0, 0, :5]
    assert len(set(sample_hashes(values).tolist())) == 1
    values[1, 0, 4, 7] += 1
    assert len(set(sample_hashes(values).tolist())) == 2


def test_a_hash_does_not_depend_on_the_file(showers, tmp_path):
    path, _ = showers
    original = Dataset(path).hashes
    other = convert(path, tmp_path / "other.h5", "calochallenge")
    np.testing.assert_array_equal(Dataset(other).hashes, original)
    order = np.random.default_rng(1).permutation(300)
    with h5py.File(path) as file, h5py.File(tmp_path / "copy.h5", "w") as copy:
        for key, values in file.items():
            copy.create_dataset(key, data=values[:][order], compression="lzf", chunks=True)
    np.testing.assert_array_equal(Dataset(tmp_path / "copy.h5").hashes, original[order])


# -- the files before -----------------------------------------------------------------------------


def test_the_chain_of_origins_is_kept(showers, tmp_path):
    path, _ = showers
    cut = convert(path, tmp_path / "cut.h5", rows="50:250")
    part = split(cut, tmp_path / "parts", **SHARES)["test"]
    last = convert(part, tmp_path / "last.h5", "calochallenge", rows="10:30")
    chain = origins(Dataset(last).attributes)
    assert [step["source"] for step in chain] == ["cut_test.h5", "cut.h5", "photons.h5"]
    assert [step["source_samples"] for step in chain] == [60, 200, 300]
    assert [step["source_sha256"] for step in chain] == [
        Dataset(p).sha256 for p in (part, cut, path)
    ]
    assert [step["source_rows"] for step in chain] == [
        "10:30",
        "split_rows(200, validation=0.1, test=0.3, seed=2)['test']",
        "50:250",
    ]


def test_joined_files_keep_all_of_their_chains(boxes, tmp_path):
    folder, _ = boxes
    parts = split(folder / "boxes.h5", tmp_path / "parts", **SHARES)
    joined = convert(tmp_path / "parts" / "*.h5", tmp_path / "joined.h5", cut=Cut(slabs=2))
    (step,) = origins(Dataset(joined).attributes)
    assert {f["source"] for f in step["joined"]} == {p.name for p in parts.values()}
    for file in step["joined"]:
        (before,) = file["origins"]
        assert before["source_sha256"] == Dataset(folder / "boxes.h5").sha256
    assert set(Dataset(joined).column(ANCESTOR)) == set(Dataset(folder / "boxes.h5").hashes)
    again = convert(joined, tmp_path / "again.h5", rows="0:9")
    assert origins(Dataset(again).attributes)[1] == step


def test_attributes_of_others_are_no_chain():
    assert origins({"origins": "Geant4", "title": "x"}) == []
    assert origins({"origins": json.dumps({"a": 1})}) == []
    assert origins({"source": "a.h5", "source_rows": "0:4"}) == [
        {"source": "a.h5", "source_rows": "0:4"}
    ]


# -- what a training has read ---------------------------------------------------------------------


def test_rows_read_are_known_in_every_copy(showers, tmp_path):
    path, card = showers
    parts = split_rows(300, **SHARES)
    read = np.sort(np.concatenate([parts["train"], parts["validation"]]))
    np.testing.assert_array_equal(rows_read(path, card), read)
    found = read_samples(Dataset(path), training(card))
    np.testing.assert_array_equal(np.flatnonzero(found.train), parts["train"])
    assert found.unknown == ()

    cut = convert(path, tmp_path / "cut.h5", rows="50:250")
    for seed in (2, 9):
        for name, part in split(cut, tmp_path / str(seed), **(SHARES | {"seed": seed})).items():
            original = split_rows(200, **(SHARES | {"seed": seed}))[name] + 50
            expected = np.flatnonzero(np.isin(original, read))
            np.testing.assert_array_equal(rows_read(part, card), expected)
            again = convert(part, tmp_path / f"{seed}-{name}.h5", "calochallenge")
            np.testing.assert_array_equal(rows_read(again, card), expected)

    order = np.random.default_rng(1).permutation(300)[:80]
    with h5py.File(path) as file, h5py.File(tmp_path / "copy.h5", "w") as copy:
        for key, values in file.items():
            copy.create_dataset(key, data=values[:][order], compression="gzip", chunks=True)
    np.testing.assert_array_equal(
        rows_read(tmp_path / "copy.h5", card), np.flatnonzero(np.isin(order, read))
    )


def test_what_the_start_of_a_start_read_is_known(showers, write_showers, tmp_path):
    path, card = showers
    others = [write_showers(tmp_path / f"{i}.h5", 100, seed=20 + i) for i in range(2)]
    second = card_of(others[0], card)
    third = card_of(others[1], second)
    np.testing.assert_array_equal(rows_read(path, third), rows_read(path, card))
    for other in others:
        assert len(rows_read(other, third)) == 70
    said = json.loads(training_attributes(third)["training_start"])
    assert (said["data_file"], said["start"]["data_file"]) == ("0.h5", "photons.h5")
    assert said["start"]["split"] == card["split"]
    unread = write_showers(tmp_path / "new.h5", 100, seed=30)
    assert not len(rows_read(unread, third))
    assert read_samples(Dataset(unread), training(third)).unknown == ()


def test_of_a_start_without_hashes_it_cannot_be_told(showers, write_showers, tmp_path):
    path, card = showers
    other = write_showers(tmp_path / "other.h5", 100, seed=20)
    further = card_of(other, without_hashes(card))
    assert read_samples(Dataset(other), training(further)).unknown == ("photons.h5",)
    np.testing.assert_array_equal(rows_read(path, further), rows_read(path, card))
    named = without_hashes(card) | {"recipe": {"training": {"start": "older"}}}
    assert read_samples(Dataset(path), training(named)).unknown == (
        "the data of its start 'older'",
    )
    same_data = card_of(path, without_hashes(card))  # its start read nothing else
    assert read_samples(Dataset(other), training(same_data)).unknown == ()


def test_files_of_the_previous_version_are_followed_back(showers, tmp_path):
    path, card = showers
    old = without_hashes(card)
    np.testing.assert_array_equal(rows_read(path, old), rows_read(path, card))
    cut = convert(path, tmp_path / "cut.h5", rows="50:250")
    with h5py.File(cut, "a") as file:  # which kept no number of samples, and the last step alone
        del file.attrs["source_samples"]
    part = split(cut, tmp_path / "parts", **(SHARES | {"seed": 9}))["test"]
    copy = convert(part, tmp_path / "copy.h5")
    for file in (cut, part, copy):
        assert read_samples(Dataset(file), training(old)).unknown == ()
        np.testing.assert_array_equal(rows_read(file, old), rows_read(file, card))
    with h5py.File(copy, "a") as file:
        del file.attrs["origins"]
    assert read_samples(Dataset(copy), training(old)).unknown == ("photons.h5",)
    with h5py.File(cut, "a") as file:
        file.attrs["source_rows"] = "every third"
    assert read_samples(Dataset(cut), training(old)).unknown == ("photons.h5",)
    assert not Training({}, ())


# -- fields of simulations ------------------------------------------------------------------------


def simulations(path):
    """Return the boxes that the samples of a file are from."""
    return Dataset(path).column("simulation")


def test_pieces_of_a_box_that_was_read_are_known(boxes, tmp_path):
    folder, card = boxes
    maps = Dataset(folder / "maps.h5")
    read = {*simulations(maps.path)} - {*simulations(maps.path)[maps.split(**SHARES)["test"]]}
    assert len(read) == BOXES - 4

    def expected(path):
        return np.flatnonzero(np.isin(simulations(path), [*read]))

    files = [maps.path, folder / "boxes.h5"]
    files += split(maps.path, tmp_path / "parts", **(SHARES | {"seed": 5})).values()
    files.append(convert(folder / "boxes.h5", tmp_path / "slabs.h5", cut=Cut(slabs=4)))
    files.append(convert(folder / "boxes.h5", tmp_path / "crops.h5", rows="3:9", cut=Cut(crop=4)))
    files.append(convert(files[-1], tmp_path / "some.h5", rows="3:20"))
    files.append(convert(files[-2], tmp_path / "finer.h5", cut=Cut(crop=2)))
    for path in files:
        found = read_samples(Dataset(path), training(card))
        np.testing.assert_array_equal(np.flatnonzero(found.any), expected(path), str(path))
        assert found.unknown == ()


def test_a_row_of_a_simulation_tells_of_the_others(boxes, tmp_path):
    """Even where only a part of its maps was trained on, in a plain copy without more."""
    folder, _ = boxes
    card = card_of(convert(folder / "maps.h5", tmp_path / "few.h5", rows="0:100"), test=0.0)
    rest = convert(folder / "maps.h5", tmp_path / "rest.h5", rows="100:288")
    number = simulations(rest)
    np.testing.assert_array_equal(rows_read(rest, card), np.flatnonzero(number == number[0]))
    with h5py.File(folder / "maps.h5") as file, h5py.File(tmp_path / "copy.h5", "w") as copy:
        copy.attrs.update(file.attrs)
        for key in ("fields", "simulation"):
            copy[key] = file[key][90:140]
            copy[key].attrs.update(file[key].attrs)
    found = simulations(tmp_path / "copy.h5")
    expected = np.flatnonzero(np.isin(found, found[:10]))
    np.testing.assert_array_equal(rows_read(tmp_path / "copy.h5", card), expected)


def test_simulations_are_followed_back_through_splits(boxes, tmp_path):
    folder, card = boxes
    old, maps = without_hashes(card), folder / "maps.h5"
    copy = convert(maps, tmp_path / "copy.h5")
    part = split(copy, tmp_path / "parts", **(SHARES | {"seed": 5}))["train"]
    again = split(part, tmp_path / "again", 0.0, 0.5, seed=6)["test"]
    for path in (maps, copy, part, again):
        np.testing.assert_array_equal(rows_read(path, old), rows_read(path, card))
        assert read_samples(Dataset(path), training(old)).unknown == ()
    some = convert(maps, tmp_path / "some.h5", rows="10:200")
    assert read_samples(Dataset(some), training(old)).unknown == ("maps.h5",)


def test_a_card_holds_plain_values(showers, tmp_path):
    _, card = showers
    torch.save(card, tmp_path / "card.pt")
    again = torch.load(tmp_path / "card.pt", weights_only=True)
    assert json.loads(json.dumps(again)) == card
    assert [len(h) for h in training_hashes(again).values()] == [180, 30]
