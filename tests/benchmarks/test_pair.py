"""The two files of a benchmark: which samples are compared, and what is refused."""

import json

import h5py
import numpy as np
import pytest

from emulators.benchmarks.pair import load_pair
from emulators.data.convert import convert, split
from emulators.data.dataset import split_rows
from emulators.data.hdf5 import content_hash
from emulators.errors import InputError


@pytest.fixture(scope="module")
def files(write_showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return (
        write_showers(folder / "generated.h5", 300, seed=1),
        write_showers(folder / "reference.h5", 400, seed=2),
    )


def test_few_showers_nan_and_other_geometry_are_refused(files, write_showers, tmp_path):
    few = write_showers(tmp_path / "few.h5", 99)
    with pytest.raises(InputError, match="99 generated showers"):
        load_pair(few, files[1], None, 0)
    energy = np.full((150, 1), 10.0)
    energy[7] = np.nan
    bad = write_showers(tmp_path / "nan.h5", 150, energy=energy)
    with pytest.raises(InputError, match="row 7 has a condition that is NaN"):
        load_pair(bad, files[1], None, 0)
    cells = np.ones((150, 3, 96))
    cells[5, 0, 0] = np.nan
    bad = write_showers(tmp_path / "cells.h5", 150, layer_0=cells)
    pair = load_pair(bad, files[1], None, 0)
    with pytest.raises(InputError, match=r"1 showers \(the first is row 5\)"):
        _ = pair.generated
    with h5py.File(tmp_path / "challenge.h5", "w") as file:
        file["incident_energies"] = np.full((150, 1), 1e4)
        file["showers"] = np.ones((150, 368))
    with pytest.raises(InputError, match="differ in geometry"):
        load_pair(tmp_path / "challenge.h5", files[1], None, 0)


def test_different_energies_are_warned_of(files, write_showers, tmp_path):
    assert load_pair(*files, None, 0).warnings == ()
    narrow = write_showers(tmp_path / "narrow.h5", 300, energy=np.full((300, 1), 50.0))
    pair = load_pair(narrow, files[1], None, 0)
    assert pair.p_values["incident_energy"] < 1e-6
    assert "--conditions" in pair.warnings[0]


def provenance(path, **attributes):
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)
    return path


def test_only_the_test_split_of_the_training_file_is_used(files, write_showers, tmp_path):
    split = {"validation": 0.1, "test": 0.4, "seed": 3}
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1),
        training_data_sha256=content_hash(files[1]),
        training_split=json.dumps(split),
    )
    pair = load_pair(path, files[1], None, 0)
    rows = split_rows(400, **split)["test"]
    assert len(pair.reference) == len(rows) == 160
    with h5py.File(files[1]) as file:
        held_out = np.sort(file["energy"][:, 0][rows].astype(np.float32))
    np.testing.assert_array_equal(np.sort(pair.reference.conditions["incident_energy"]), held_out)
    assert "test split" in pair.files["reference"]["selection"]
    assert pair.warnings == ()


def test_training_data_without_a_test_split_is_warned_of(files, write_showers, tmp_path):
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1), training_data_sha256=content_hash(files[1])
    )
    assert "held out" in load_pair(path, files[1], None, 0).warnings[0]


def test_cuts_of_the_training_file_are_recognised(files, write_showers, tmp_path):
    source = files[1]
    shares = {"validation": 0.1, "test": 0.4, "seed": 3}
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1),
        training_data_sha256=content_hash(source),
        training_split=json.dumps(shares | {"rows": {"train": 200, "validation": 40, "test": 160}}),
    )
    parts = split(source, tmp_path / "parts", **shares)
    tested = load_pair(path, parts["test"], None, 0)
    assert len(tested.reference) == 160
    assert tested.warnings == ()
    assert "did not see" in tested.files["reference"]["selection"]
    assert "held out" in load_pair(path, parts["train"], None, 0).warnings[0]
    cut = convert(source, tmp_path / "cut.h5", rows="0:300")
    held_out = split_rows(400, **shares)["test"]
    assert len(load_pair(path, cut, None, 0).reference) == (held_out < 300).sum()
    provenance(cut, source_rows="every third")
    assert "may have seen" in load_pair(path, cut, None, 0).warnings[0]


def test_unknown_training_data_is_said(files):
    assert "cannot be told" in load_pair(*files, None, 0).files["reference"]["selection"]


def test_paired_showers_stay_together(files, write_showers, tmp_path):
    with h5py.File(files[1]) as file:
        twin = write_showers(tmp_path / "g.h5", 400, seed=5, energy=file["energy"][:])
    pair = load_pair(twin, files[1], 300, 0)
    assert pair.paired
    np.testing.assert_array_equal(*pair.energies)
    rows, halves = pair.halvings(2, 0)
    np.testing.assert_array_equal(rows, halves[0][1])
    assert not {*halves[1][0]} & {*halves[1][1]}


def test_samples_of_a_simulation_stay_together(field_file, tmp_path):
    cut = convert(field_file, tmp_path / "cut.h5", rows="0:48")
    rest = convert(field_file, tmp_path / "rest.h5", rows="48:96")
    pair = load_pair(cut, rest, None, 0)
    assert pair.independent == 12
    assert [len(np.unique(g)) for g in pair.groups] == [12, 12]
    np.testing.assert_array_equal(np.sort(pair.rows["reference"]), pair.rows["reference"])
    one_box = load_pair(cut, convert(field_file, tmp_path / "few.h5", rows="48:64"), None, 0)
    assert "from 4 simulations" in one_box.warnings[0]


def test_kinds_and_grids_that_differ_are_refused(files, field_file, tmp_path):
    with pytest.raises(InputError, match=r"holds fields and .* showers"):
        load_pair(field_file, files[1], None, 0)
    small = convert(field_file, tmp_path / "small.h5", rows="0:3")
    with pytest.raises(InputError, match=r"3 generated fields .* at least 8"):
        load_pair(small, convert(field_file, tmp_path / "r.h5", rows="48:96"), None, 0)
