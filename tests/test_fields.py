"""Density fields on the whole way: training, emulator, fields of any size, the command line."""

import json

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emulators.cli import cli
from emulators.config import load_toml
from emulators.data.dataset import Dataset
from emulators.errors import InputError
from emulators.generation import generate_file
from emulators.loading import load
from emulators.networks import field
from emulators.training import checkpoint
from emulators.training.loop import resume, train
from emulators.training.recipe import recipe_from


def run(*words: object):
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture(scope="module")
def emulator(field_emulator_file):
    return load(field_emulator_file, "cpu")


def test_a_training_measures_what_cosmologists_look_at(field_emulator_file):
    folder = field_emulator_file.parent
    rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = [row for row in rows if "field_distance" in row]
    assert [row["samples"] for row in measured] == [32, 64]
    parts = ("power_distance", "one_point_distance", "peak_distance")
    for row in measured:
        assert row["field_distance"] == pytest.approx(np.mean([row[p] for p in parts]), rel=1e-4)
    assert (folder / "previews" / "000000000032.png").read_bytes().startswith(b"\x89PNG")
    # simulations stay together: 24 of four maps each
    split = load(field_emulator_file, "cpu").card["split"]
    assert all(n % 4 == 0 for n in split["rows"].values())
    assert sum(split["rows"].values()) == 96


def test_an_interrupted_training_ends_where_the_whole_one_does(field_emulator_file, tmp_path):
    folder = field_emulator_file.parent
    recipe = recipe_from(load_toml(folder / "recipe.toml"))
    train(recipe.replace(training={"samples": 24}, monitor={"previews": False}), tmp_path / "cut")
    state = checkpoint.load(tmp_path / "cut" / "checkpoints" / "last.pt")
    assert state["steps"] == 3
    resume(tmp_path / "cut", ["training.samples=64"])
    ends = [
        checkpoint.load(path / "checkpoints" / "last.pt") for path in (folder, tmp_path / "cut")
    ]
    for part in ("generator", "critic", "average"):
        for a, b in zip(ends[0][part].values(), ends[1][part].values(), strict=True):
            assert torch.equal(a, b)


def test_counts_are_whole_and_follow_the_condition(emulator):
    low, high = (
        emulator.generate(64, seed=2, omega_m=0.3, sigma_8=value).values for value in (0.6, 1.0)
    )
    assert np.array_equal(low, np.floor(low))
    assert low.min() >= 0
    assert high.var() > 1.5 * low.var()


def test_a_field_of_another_size_has_the_same_law(emulator, monkeypatch):
    asked = {"omega_m": 0.3, "sigma_8": 0.8}
    small = emulator.generate(200, **asked).values
    large = emulator.on_grid((64, 96))
    assert large.spec.grid.lengths == (128.0, 192.0)
    fields = large.generate(9, **asked)
    assert fields.values.shape == (9, 1, 64, 96)
    assert fields.values.mean() == pytest.approx(small.mean(), rel=0.1)
    assert fields.values.std() == pytest.approx(small.std(), rel=0.15)
    monkeypatch.setattr(field, "TILE", 1024)  # the same realisation, tile by tile
    tiled = large.generate(9, **asked).values
    assert (tiled != fields.values).mean() < 1e-3  # rounding may move one count to the next
    # its ends meet where it is periodic, and do not where it is not
    cut = emulator.on_grid((64, 96), periodic=False)
    assert cut.spec.grid.periodic == (False, False)
    ends = []
    for one in (large, cut):
        first, last = np.log1p(one.generate(50, **asked).values[:, 0, [0, -1]]).swapaxes(0, 1)
        ends.append(np.corrcoef(first.ravel(), last.ravel())[0, 1])
    assert ends[0] > 0.15
    assert abs(ends[1]) < 0.1


def test_sizes_that_cannot_be_made_are_refused(emulator, emulator_file):
    with pytest.raises(InputError, match="multiples of 2 cells"):
        emulator.on_grid((15, 16))
    with pytest.raises(InputError, match="2 positive numbers of cells"):
        emulator.on_grid((16,))
    with pytest.raises(InputError, match="only fields come in other sizes"):
        load(emulator_file, "cpu").on_grid((4, 4))


def test_the_command_line_takes_conditions_by_name(field_emulator_file, tmp_path):
    target = tmp_path / "maps.h5"
    words = ("generate", field_emulator_file, "-n", 6, "-o", target)
    done = run(*words, "--omega-m", 0.3, "--sigma-8=0.6:0.8")
    assert done.exit_code == 0, done.output
    with h5py.File(target) as file:
        assert file["fields"].shape == (6, 1, 16, 16)
        assert file.attrs["omega_m"] == 0.3
        assert list(file.attrs["box_size"]) == [32, 32]
        assert np.allclose(file["conditions"]["omega_m"], 0.3)
        assert (file["conditions"]["sigma_8"] <= 0.8).all()
    wrong = run(*words, "--sigma8", 0.8)
    assert wrong.exit_code != 0
    unknown = run("generate", field_emulator_file, "-o", tmp_path / "x.h5", "-n", 1, "--sead", 3)
    assert (
        "--sead' is neither an option nor a condition: --omega-m, --sigma-8"
        in str(unknown.exception or unknown.output) + unknown.output
    )
    assert not (tmp_path / "x.h5").exists()


def test_a_large_field_is_written_in_chunks(field_emulator_file, tmp_path, monkeypatch):
    from emulators.data.layouts import _columns

    monkeypatch.setattr(_columns, "LARGEST_CHUNK", 4096)
    target = tmp_path / "large.h5"
    done = run(
        "generate",
        field_emulator_file,
        "-n",
        2,
        "--cells",
        "64x48",
        "--not-periodic",
        "--seed",
        4,
        "-o",
        target,
    )
    assert done.exit_code == 0, done.output
    with h5py.File(target) as file:
        assert file["fields"].chunks[1:] == (1, 32, 24)
    made = Dataset(target)
    assert made.spec.grid.periodic == (False, False)
    emulator = load(field_emulator_file, "cpu").on_grid((64, 48), periodic=False)
    expected = emulator.generate(2, seed=4)
    assert np.array_equal(made.read(0, 2).values, expected.values)
    for cells in ("0", "12x", "1x2x3"):
        refused = run(
            "generate", field_emulator_file, "-n", 1, "--cells", cells, "-o", tmp_path / "y.h5"
        )
        assert refused.exit_code != 0


def test_generating_in_pieces_gives_the_same_file(emulator, tmp_path):
    conditions = {"omega_m": 0.3, "sigma_8": 0.8}
    generate_file(emulator, 70, tmp_path / "all.h5", conditions=conditions, seed=3)
    few = emulator.generate(10, seed=3, start=55, **conditions).values
    assert np.array_equal(Dataset(tmp_path / "all.h5").read(55, 65).values, few)
