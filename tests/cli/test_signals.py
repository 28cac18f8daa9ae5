"""Ctrl-C and SIGTERM end every long command with 130 and 143, and what is done is kept."""

import os
import signal
import socket
import subprocess
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from emulators.cli import cli
from emulators.config import dump_toml
from emulators.data import hdf5
from emulators.data.dataset import Dataset
from emulators.training import checkpoint

# The command line, which gets a signal in the n-th call of a method of a class.
PROGRAM = """
import importlib, os, sys
import emulators.data.hdf5
from emulators.cli import main

number, calls, module, owner, name = sys.argv[1:6]
del sys.argv[1:6]
emulators.data.hdf5.SHARD_BYTES = 1 << 16
owner = getattr(importlib.import_module(module), owner)
original, left = getattr(owner, name), int(calls)

def interrupted(*words, **options):
    global left
    left -= 1
    if not left:
        for _ in range(int(os.environ.get("TIMES", "1"))):
            os.kill(os.getpid(), int(number))
    return original(*words, **options)

setattr(owner, name, interrupted)
main()
"""
APPEND = ("emulators.data.hdf5", "HDF5Writer", "append")
STEP = ("emulators.training.trainer", "Trainer", "step")
TAKE = ("emulators.data.dataset", "Dataset", "take")
LONG = pytest.mark.long  # the other signal, and the commands that share their ending with one


def command(number, calls, place, *words, env=None):
    """Start the command, which gets the signal in this call of the place; 0 is no signal."""
    program = [sys.executable, "-c", PROGRAM, str(int(number)), str(calls), *place]
    return subprocess.Popen(
        [*program, *map(str, words)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    _, said = process.communicate(timeout=300)
    assert "Traceback" not in said, said
    return process.returncode, said


def whole(monkeypatch, *words):
    """Run a command that nothing interrupts, without a process of its own."""
    monkeypatch.setattr(hdf5, "SHARD_BYTES", 1 << 16)
    done = CliRunner().invoke(cli, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stderr


@pytest.fixture(scope="module")
def recipe(write_showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals")
    tables = {
        "data": {"path": str(write_showers(folder / "photons.h5", n=200))},
        "network": {"name": "mlp", "latent": 4, "widths": [8], "critic_widths": [8]},
        "training": {
            "samples": 1024,
            "batch_size": 16,
            "precision": "float32",
            "device": "cpu",
            "log_samples": 64,
        },
        "monitor": {"every": 256, "previews": False},
    }
    (folder / "recipe.toml").write_text(dump_toml(tables))
    return folder / "recipe.toml"


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=LONG), signal.SIGTERM])
def test_a_training_is_saved_and_goes_on(recipe, tmp_path, monkeypatch, number):
    run = tmp_path / "run"
    code, said = ended(command(number, 20, STEP, "train", recipe, "--run", run))
    assert code == 128 + number
    assert f"stopped by {number.name}" in said
    assert checkpoint.load(run / "checkpoints" / "last.pt")["steps"] == 20
    whole(monkeypatch, "train", "--resume", run)
    assert checkpoint.load(run / "checkpoints" / "last.pt")["steps"] == 64


@pytest.mark.long
def test_all_processes_of_a_training_say_so(recipe, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    words = ("train", recipe, "--run", tmp_path / "run")
    processes = [
        command(
            signal.SIGTERM if rank == 0 else 0,  # the other one is told
            20,
            STEP,
            *words,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": "0"},
        )
        for rank in range(2)
    ]
    assert [ended(process)[0] for process in processes] == [143, 143]
    assert checkpoint.load(tmp_path / "run" / "checkpoints" / "last.pt")["steps"] == 32


@pytest.mark.long
def test_a_second_signal_ends_at_once(recipe, tmp_path):
    words = ("train", recipe, "--run", tmp_path / "run")
    code, said = ended(command(signal.SIGTERM, 20, STEP, *words, env={"TIMES": "2"}))
    assert (code, "stopped by" in said) == (143, False)
    assert checkpoint.load(tmp_path / "run" / "checkpoints" / "last.pt")["steps"] == 0


@pytest.mark.long
def test_a_generation_goes_on(emulator_file, tmp_path, monkeypatch):
    number = signal.SIGTERM
    words = ("generate", emulator_file, "-n", 6_000, "--energy", "2:90:log", "-o")
    code, said = ended(command(number, 2, APPEND, *words, tmp_path / "out.h5"))
    assert code == 128 + number
    assert "the same command goes on from here" in said
    assert not (tmp_path / "out.h5").exists()
    assert list((tmp_path / "out.h5.part").glob("*.h5"))
    for name in ("out.h5", "whole.h5"):
        said = whole(monkeypatch, *words, tmp_path / name)
        assert ("going on after" in said) == (name == "out.h5")
    first, second = (
        Dataset(tmp_path / name).read(0, 6_000).values for name in ("out.h5", "whole.h5")
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=LONG)])
def test_a_simulation_goes_on(tmp_path, monkeypatch, number):
    plan = tmp_path / "ring.toml"
    plan.write_text(dump_toml({"samples": 1500, "simulator": {"name": "toy-ring"}}))
    words = ("simulate", plan, "-o", tmp_path / "out.h5")
    code, said = ended(command(number, 1200, APPEND, *words))
    assert code == 128 + number, said
    assert "the same command goes on from here" in said
    assert not (tmp_path / "out.h5").exists()
    said = whole(monkeypatch, *words)
    assert len(Dataset(tmp_path / "out.h5")) == 1500
    assert "going on after" in said


@pytest.mark.parametrize(
    ("number", "words", "place"),
    [
        (signal.SIGINT, ("data", "convert", "{0}", "{2}/out.h5"), APPEND),
        pytest.param(signal.SIGTERM, ("data", "split", "{0}", "-o", "{2}/out"), APPEND, marks=LONG),
        pytest.param(
            signal.SIGTERM, ("benchmark", "{1}", "{0}", "-o", "{2}/out"), TAKE, marks=LONG
        ),
    ],
)
def test_nothing_half_done_is_left(write_showers, tmp_path, number, words, place):
    files = [write_showers(tmp_path / f"{i}.h5", 200, seed=i) for i in range(2)]
    target = tmp_path / "target"
    target.mkdir()
    code, _ = ended(command(number, 1, place, *(w.format(*files, target) for w in words)))
    assert code == 128 + number
    assert not [p for p in target.rglob("*") if p.is_file()]


@pytest.mark.long
def test_a_file_is_kept_until_its_successor_is_whole(write_showers, tmp_path, monkeypatch):
    source, target = write_showers(tmp_path / "in.h5", 50), tmp_path / "out.h5"
    whole(monkeypatch, "data", "convert", source, target)
    words = ("data", "convert", source, target, "--rows", "0:9", "--overwrite")
    assert ended(command(signal.SIGTERM, 1, APPEND, *words))[0] == 143
    with h5py.File(target) as file:
        assert len(file["energy"]) == 50
