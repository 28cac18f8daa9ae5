"""Which reference samples no training has read, and generated ones that are known ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from emulators.benchmarks.chapters.faults import faults
from emulators.benchmarks.judge import judge
from emulators.benchmarks.pair import load_pair
from emulators.cli import cli
from emulators.data.convert import convert, split
from emulators.data.dataset import Dataset, split_rows
from emulators.errors import InputError
from emulators.generation import generate_file
from emulators.loading import load
from emulators.training.loop import train
from emulators.training.recipe import recipe_from

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"
SHARES = {"validation": 0.1, "test": 0.4}


def copied(source, target, rows):
    """Copy some rows of a file as h5py does, with none of its attributes, stored otherwise."""
    with h5py.File(source) as file, h5py.File(target, "w") as copy:
        for key, values in file.items():
            if isinstance(values, h5py.Dataset):
                copy.create_dataset(key, data=values[:][rows], compression="lzf", chunks=True)
    return target


def selection(pair):
    return pair.files["reference"]["selection"]


def small(path, **training):
    network = {"name": "mlp", "latent": 4, "widths": [8], "critic_widths": [8]}
    told = {"batch_size": 16, "samples": 16, "device": "cpu", "precision": "float32"}
    return recipe_from(
        {
            "data": {"path": str(path), **SHARES},
            "network": network,
            "training": told | training,
            "monitor": {"previews": False},
        }
    )


@pytest.fixture(scope="module")
def trained(write_showers, tmp_path_factory):
    """Two files of 400 showers, an emulator of each, the second of which starts from the first."""
    folder = tmp_path_factory.mktemp("seen")
    energy = np.geomspace(1, 100, 400)[:, None]
    files = [
        write_showers(folder / f"{i}.h5", 400, seed=i, energy=np.roll(energy, 7 * i))
        for i in range(2)
    ]
    first = train(small(files[0]), folder / "first")
    second = train(small(files[1], start=str(folder / "first")), folder / "second")
    made = []
    for i, emulator in enumerate((first, second)):
        conditions = {"incident_energy": "1:100:log"}
        path = folder / f"made-{i}.h5"
        made.append(generate_file(load(emulator, "cpu"), 200, path, conditions=conditions))
    return files, made


def test_the_shipped_emulator_is_measured_with_what_it_has_not_read(tmp_path):
    """The shipped sample is the first 4,000 of the 32,000 showers that were split."""
    made = tmp_path / "made.h5"
    emulator = load("photon-showers", "cpu")
    generate_file(emulator, 150, made, conditions={"incident_energy": "1:100:log"})
    unread = split_rows(32_000, 0.05, 0.25, 0)["test"]
    part = split(SAMPLE, tmp_path / "split")["test"]
    rows = split_rows(4_000, 0.05, 0.25, 0)["test"]
    copy = copied(part, tmp_path / "copy.h5", np.arange(1000)[::-1])
    for path, original in ((SAMPLE, np.arange(4000)), (part, rows), (copy, rows[::-1])):
        pair = load_pair(made, path, None, 0)
        expected = np.flatnonzero(np.isin(original, unread))
        assert sorted(pair.rows["reference"]) == expected.tolist()
        assert f"the {len(expected):,} of the {len(original):,} showers" in selection(pair)
        assert pair.warnings == ()
    assert np.isin(rows, split_rows(32_000, 0.05, 0.25, 0)["train"]).sum() == 695
    assert len(expected) == 263  # of 1,000: it learned from 695, 42 chose its best state


def test_the_start_of_a_training_has_read_its_data_too(trained, tmp_path):
    files, made = trained
    test = split_rows(400, **SHARES, seed=0)["test"]
    for path, rows in ((files[0], test), (files[1], np.arange(400))):
        assert sorted(load_pair(made[0], path, None, 0).rows["reference"]) == rows.tolist()
    for path in files:
        pair = load_pair(made[1], path, None, 0)
        assert sorted(pair.rows["reference"]) == test.tolist()
        assert "did not see" in selection(pair)
    others = copied(files[0], tmp_path / "copy.h5", np.setdiff1d(np.arange(400), test))
    assert "none of them was held out" in load_pair(made[1], others, None, 0).warnings[0]


def test_it_is_said_where_nothing_can_be_known(trained, write_showers, tmp_path):
    files, made = trained
    foreign = write_showers(tmp_path / "foreign.h5", 200, seed=9)
    assert "cannot be told" in selection(load_pair(foreign, files[0], None, 0))
    old = tmp_path / "old.h5"
    convert(made[0], old)
    with h5py.File(old, "a") as file:  # as the previous version wrote it
        del file["training"], file.attrs["training_data_file"]
    pair = load_pair(old, files[1], None, 0)
    for words in (selection(pair), pair.warnings[0]):
        assert "cannot be told" in words
        assert "did not see" not in words
        assert Dataset(files[0]).sha256[:12] in words
    assert len(load_pair(old, files[0], None, 0).reference) == 160


def test_a_converted_file_still_says_what_was_read(trained, tmp_path):
    files, made = trained
    again = convert(made[0], tmp_path / "again.h5", "calochallenge", rows="0:150")
    assert len(load_pair(again, files[0], None, 0).reference) == 160


def test_a_file_is_not_measured_against_itself(trained, field_file, tmp_path):
    files, _ = trained
    copy = copied(files[0], tmp_path / "copy.h5", np.random.default_rng(0).permutation(400))
    part = convert(files[0], tmp_path / "part.h5", rows="100:300")
    for first, second in ((files[0], files[0]), (copy, files[0]), (part, files[0]), (copy, part)):
        with pytest.raises(InputError, match=r"of its .* showers are showers of .*itself"):
            load_pair(first, second, None, 0)
    with pytest.raises(InputError, match=r"96 of its 96 fields are fields of .*itself"):
        load_pair(field_file, field_file, None, 0)
    words = ["benchmark", copy, files[0], "-o", tmp_path / "out"]
    done = CliRunner().invoke(cli, list(map(str, words)))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "400 of its 400 showers are showers of" in done.stderr
    assert not (tmp_path / "out").exists()


def mixed(made, source, rows, target):
    """Replace the first generated samples by these of another file."""
    convert(made, target)
    with h5py.File(target, "a") as file, h5py.File(source) as other:
        for key in other:
            file[key][: len(rows)] = other[key][:][rows]
    return target


def test_known_showers_among_the_generated_are_named(trained, tmp_path):
    files, made = trained
    parts = split_rows(400, **SHARES, seed=0)
    rows = np.concatenate([parts["test"][:3], parts["train"][:5]])
    pair = load_pair(mixed(made[0], files[0], rows, tmp_path / "g.h5"), files[0], None, 0)
    assert pair.files["generated"]["copies"] == {"reference": 3, "training": 5}
    copies = exact_copies(pair)
    assert copies.value == 100 * 8 / 200
    text = judge(copies).text
    assert "3 of 200 generated showers are showers of the reference, value for value." in text
    assert "5 of 200 generated showers are showers that were trained on" in text
    clean = load_pair(made[0], files[0], None, 0)
    assert clean.files["generated"]["copies"] == {"reference": 0, "training": 0}
    assert (exact_copies(clean).value, exact_copies(clean).status) == (0, "good")


def exact_copies(pair):
    number = faults(pair, {"seed": 0, "halvings": 2})[0]
    assert number.name == "exact_copies"
    return number


def test_known_fields_among_the_generated_are_named(field_emulator_file, field_file, tmp_path):
    conditions = {"omega_m": 0.3, "sigma_8": "0.6:1"}
    made = generate_file(
        load(field_emulator_file, "cpu"), 40, tmp_path / "made.h5", conditions=conditions
    )
    pair = load_pair(made, field_file, None, 0)
    parts = Dataset(field_file).split(0.2, 0.2, 0)
    np.testing.assert_array_equal(pair.rows["reference"], parts["test"])
    np.testing.assert_array_equal(pair.trained, parts["train"])
    rows = np.concatenate([parts["test"][:2], parts["train"][:4]])
    changed = convert(made, tmp_path / "changed.h5")
    with h5py.File(changed, "a") as file:
        file["fields"][:6] = Dataset(field_file).take(rows).values
    pair = load_pair(changed, field_file, None, 0)
    assert pair.files["generated"]["copies"] == {"reference": 2, "training": 4}
    copies = exact_copies(pair)
    assert (copies.value, copies.status) == (100 * 6 / 40, "poor")
    assert "2 of 40 generated fields are fields of the reference, value for value." in copies.says
    assert exact_copies(load_pair(made, field_file, None, 0)).status == "good"
