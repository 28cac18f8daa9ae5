"""Two gloo processes on the CPU: the same training as one."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emulators.config import dump_toml
from emulators.errors import InputError
from emulators.loading import load
from emulators.training import checkpoint
from emulators.training.distributed import World, check_same, choose_device
from emulators.training.loop import resume, train
from emulators.training.recipe import recipe_from
from emulators.training.trainer import Trainer

PROGRAM = """
import os, sys
from pathlib import Path
import torch
from emulators.training.distributed import check_same, join, leave
from emulators.training.loop import resume, train
from emulators.training.recipe import read_recipe

ports = iter(sys.argv[3:])
os.environ["MASTER_PORT"] = next(ports)
train(read_recipe(sys.argv[1]), Path(sys.argv[2]))
os.environ["MASTER_PORT"] = next(ports)
resume(sys.argv[2], ["training.samples=640"])

os.environ["MASTER_PORT"] = next(ports)
world = join("cpu")  # the check itself: equal weights pass, different ones do not
layer = torch.nn.Linear(2, 2)
world.share([layer])
check_same(world, [layer])
layer.weight.data += world.rank
try:
    check_same(world, [layer])
except RuntimeError as error:
    print(error)
assert world.agree(float(world.rank), 0.5) == (1.0, 0.5)
leave(world)
"""


@pytest.fixture(scope="module")
def recipe(write_showers, tmp_path_factory):
    path = write_showers(tmp_path_factory.mktemp("distributed") / "photons.h5", n=200)
    return recipe_from(
        {
            "data": {"path": str(path), "validation": 0.1, "mirror": ["x", "y"]},
            "network": {"name": "mlp", "latent": 4, "widths": [16], "critic_widths": [16]},
            "game": {"n_critic": 2, "energy_weight": 0.01},
            "optimiser": {"warm_up": 0, "schedule": "constant"},
            "training": {
                "samples": 512,
                "batch_size": 16,
                "precision": "float32",
                "device": "cpu",
                "log_samples": 64,
            },
            "monitor": {"every": 256, "previews": False},
        }
    )


@pytest.fixture(scope="module")
def pair(recipe, tmp_path_factory):
    """The folder of a run of two processes, stopped once and gone on with, and what they said."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "recipe.toml").write_text(dump_toml(recipe.to_mapping()))
    with contextlib.ExitStack() as stack:  # three free ports: the processes meet three times
        probes = [stack.enter_context(socket.socket()) for _ in range(3)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [str(probe.getsockname()[1]) for probe in probes]
    shared = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    arguments = [str(folder / "recipe.toml"), str(folder / "run"), *ports]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    return folder / "run", [out for out, _ in said]


def state(run: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.load(run / "checkpoints" / "last.pt")
    return {f"{m}.{k}": v for m in ("generator", "critic", "average") for k, v in found[m].items()}


def test_two_processes_train_as_one_does(pair, recipe, tmp_path):
    run = tmp_path / "alone"
    train(recipe, run)
    first = Trainer(recipe, World(0, 1, torch.device("cpu"))).generator.state_dict()
    resume(run, ["training.samples=640"])
    alone, together = state(run), state(pair[0])
    moved = max(float((alone[f"generator.{k}"] - v).abs().max()) for k, v in first.items())
    assert moved > 1e-3
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=0, atol=1e-5, msg=key)


def test_one_process_writes(pair):
    run = pair[0]
    log = (run / "log.txt").read_text()
    assert log.count("finished at") == 2  # the first run and what was added
    assert "2 processes" in log
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len([line for line in lines if "loss_critic" in line]) == 640 // 64
    assert load(run, "cpu").generate(3, incident_energy=20).values.shape == (3, 504)


def test_different_weights_are_noticed(pair):
    for said in pair[1]:
        assert "the 2 processes no longer hold the same weights" in said


def test_alone_nothing_is_exchanged():
    world = World(0, 1, torch.device("cpu"))
    assert world.agree(1.0, 2.0) == (1.0, 2.0)
    layer = torch.nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad.clone()
    world.average_gradients(layer.parameters())
    assert torch.equal(layer.weight.grad, before)
    check_same(world, [layer])


def test_a_batch_that_cannot_be_shared_is_refused(recipe):
    with pytest.raises(InputError, match="not a multiple of the 3 processes"):
        Trainer(recipe, World(0, 3, torch.device("cpu")))


def test_unknown_device_is_one_line():
    with pytest.raises(InputError, match=r"training.device = 'cuda:99'") as raised:
        choose_device("cuda:99")
    assert "\n" not in str(raised.value)
