import contextlib
import dataclasses
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emulators.cli import cli
from emulators.config import dump_toml, load_toml
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Grid, Samples, SampleSpec
from emulators.data.transforms import condition_tensor
from emulators.errors import InputError
from emulators.loading import load
from emulators.training import checkpoint
from emulators.training.distributed import World
from emulators.training.loop import TrainingDiverged, dry_run, resume, train
from emulators.training.recipe import recipe_from
from emulators.training.trainer import Trainer

ALONE = World(0, 1, torch.device("cpu"))


def distance(generated, reference, spec):
    """A cheap measure: mean difference of the total energy, MeV."""
    return {"far": float(np.abs(generated.values.sum(1) - reference.values.sum(1)).mean())}


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_clock(run):
    clock = ("seconds", "samples_per_second")
    return [{k: v for k, v in row.items() if k not in clock} for row in rows(run)]


def same_state(a, b):
    """Compare two nested states bit for bit; the clock apart."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a.keys() - {"seconds"}:
            same_state(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same_state(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def last(run):
    return checkpoint.load(run / "checkpoints" / "last.pt")


@pytest.fixture(scope="session")
def uninterrupted(recipe, tmp_path_factory):
    """A run that nothing interrupted; not to be changed."""
    run = tmp_path_factory.mktemp("uninterrupted") / "whole"
    train(recipe, run, measure=distance)
    return run


@pytest.fixture
def whole(uninterrupted, tmp_path):
    """A copy of a run that nothing interrupted."""
    return shutil.copytree(uninterrupted, tmp_path / "whole")


def test_a_run_folder_says_everything(recipe, tmp_path):
    run = tmp_path / "deep" / "run"
    recipe = recipe.replace(monitor={"previews": True})
    path = train(recipe, run)
    assert path == run / "emulator.pt"
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert names == {
        "recipe.toml",
        "environment.json",
        "metrics.jsonl",
        "log.txt",
        "emulator.pt",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
        "previews/000000000640.png",
        "previews/000000001280.png",
    }
    resolved = recipe_from(load_toml(run / "recipe.toml"))
    assert resolved.data.layout == "calogan"
    assert resolved.transform.steps == ({"name": "incident_share"},)
    (start,) = json.loads((run / "environment.json").read_text())
    assert start["versions"]["torch"] == torch.__version__
    measured = [row for row in rows(run) if "scaled_w1" in row]
    losses = [row for row in rows(run) if "loss_critic" in row]
    assert [row["samples"] for row in measured] == [640, 1280]
    assert [row["step"] for row in losses] == [10, 20, 30, 40]
    assert {"r1", "r2", "gradient_penalty", "energy_loss"} <= losses[0].keys()
    log = (run / "log.txt").read_text()
    assert "floor" in log
    assert "1.3 k samples (100%)" in log
    assert "\r" not in log
    emulator = load(path, "cpu")
    card = emulator.card
    assert card["data_sha256"] == last(run)["data_sha256"]
    assert card["split"]["rows"] == {"validation": 40, "test": 100, "train": 260}
    assert card["validation"]["scaled_w1"] == pytest.approx(
        min(row["scaled_w1"] for row in measured), rel=1e-5
    )
    assert os.sep not in card["recipe"]["data"]["path"]
    assert emulator.generate(5, incident_energy=50).values.shape == (5, 504)


def test_any_name_is_a_condition_from_file_to_file(recipe, tmp_path, write_showers):
    names = ("n", "seed", "start", "device", "output", "Theta", "theta")
    path = write_showers(tmp_path / "x.h5", 200, phi=np.ones(200), vertex=np.ones((200, 2)))
    with h5py.File(path, "a") as file:
        for i, name in enumerate(names):
            file[name] = np.random.default_rng(i).uniform(1, 2, 200)
    data = {"path": str(path), "conditions": names, "mirror": ()}
    plan = recipe.replace(data=data, training={"samples": 64}, monitor={"every": 32})
    emulator = load(train(plan, tmp_path / "run"), "cpu")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "phi: in the file, not used as conditions; data.conditions takes them" in log
    assert "vertex: in the file, not used\n" in log
    assert "n 1.0" in log.split("conditions: ")[1].split("\n")[0]
    target = tmp_path / "made.h5"
    words = [w for k, name in enumerate(names) for w in ("--condition", f"{name}={1.2 + k / 10}")]
    done = CliRunner().invoke(
        cli,
        ["generate", str(tmp_path / "run"), "-n", "8", "--seed", "3", *words, "-o", str(target)],
    )
    assert done.exit_code == 0, done.output
    made = Dataset(target)
    asked = {name: 1.2 + k / 10 for k, name in enumerate(names)}
    for name, value in asked.items():
        np.testing.assert_array_equal(made.read(0, 8).conditions[name], np.full(8, value, "f4"))
    assert made.attributes["seed"] == 3
    again = emulator.generate(8, seed=3, conditions=asked)
    np.testing.assert_array_equal(again.values, made.read(0, 8).values)
    with pytest.raises(InputError, match=r"has no condition 'ph' .did you mean 'phi'"):
        train(plan.replace(data={"conditions": ("ph",)}), tmp_path / "other")


def test_the_emulator_is_the_average_at_its_best(recipe, tmp_path):
    values = iter([5.0, 1.0, 3.0, 4.0])
    run = tmp_path / "run"
    recipe = recipe.replace(monitor={"every": 320})
    train(recipe, run, measure=lambda g, r, s: {"far": next(values, 9.0)} if len(g) == 40 else {})
    best = checkpoint.load(run / "checkpoints" / "best.pt")
    assert best["steps"] == 20
    assert best["best"] == {"samples": 640, "found": {"far": 1.0}}
    emulator = load(run, "cpu")
    assert emulator.card["samples_seen"] == 640
    same_state(dict(emulator.generator.state_dict()), best["average"])
    assert not torch.equal(
        best["average"]["layers.0.weight"], last(run)["average"]["layers.0.weight"]
    )


def test_without_validation_the_last_average_is_kept(recipe, tmp_path):
    path = train(recipe.replace(data={"validation": 0.0}), tmp_path / "run")
    same_state(dict(load(path, "cpu").generator.state_dict()), last(tmp_path / "run")["average"])
    assert "no physics metric" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_bit_for_bit(recipe, tmp_path, whole, number):
    def interrupting(generated, reference, spec):
        if len(generated) == 40:  # not the floor
            os.kill(os.getpid(), number)
        return distance(generated, reference, spec)

    before = signal.getsignal(number)
    run = tmp_path / "run"
    train(recipe, run, measure=interrupting)
    assert signal.getsignal(number) == before
    assert last(run)["steps"] == 20
    assert "emulators train --resume" in (run / "log.txt").read_text()
    assert (run / "emulator.pt").exists()
    resume(run, measure=distance)
    same_state(last(run), last(whole))
    assert without_clock(run) == without_clock(whole)
    assert len(json.loads((run / "environment.json").read_text())) == 2
    states = [dict(load(r, "cpu").generator.state_dict()) for r in (run, whole)]
    same_state(*states)


def test_a_run_that_ends_anywhere_goes_on_from_its_last_state(recipe, tmp_path, whole, monkeypatch):
    class Killed(BaseException):
        pass

    step = Trainer.step

    def ending(self):
        if self.steps == 25:
            raise Killed
        step(self)

    run, often = tmp_path / "run", recipe.replace(training={"checkpoint_minutes": 1e-9})
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", ending)
        with pytest.raises(Killed):
            train(often, run, measure=distance)
    assert last(run)["steps"] == 25
    assert "checkpoint_minutes = 1e-09" in (run / "recipe.toml").read_text()
    resume(run, measure=distance)
    same_state(last(run), last(whole))


KILLED = """
import sys, pathlib
from emulators.training.loop import train
from emulators.training.recipe import read_recipe
train(read_recipe(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


@pytest.mark.long
def test_a_killed_run_goes_on_bit_for_bit(recipe, tmp_path):
    recipe = recipe.replace(
        training={"samples": 9600, "checkpoint_minutes": 1e-3, "log_samples": 64.0},
        game={"n_generator": 1, "gradient_penalty": 0.0},
        data={"validation": 0.0},
    )
    path, run = tmp_path / "recipe.toml", tmp_path / "run"
    path.write_text(dump_toml(recipe.to_mapping()))
    command = [sys.executable, "-c", KILLED, str(path), str(run)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, env=os.environ | threads)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "metrics.jsonl").exists() and last(run)["steps"]:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    steps = last(run)["steps"]
    assert 0 < steps < 300
    assert not (run / "emulator.pt").exists()
    resume(run)
    train(recipe, tmp_path / "whole")
    same_state(last(run), last(tmp_path / "whole"))
    assert without_clock(run)[-1] == without_clock(tmp_path / "whole")[-1]
    seen = [row["step"] for row in rows(run)]
    assert seen == sorted(set(seen))


def test_a_finished_run_has_nothing_left_to_do(whole):
    state = last(whole)
    assert resume(whole) == whole / "emulator.pt"
    same_state(last(whole), state)
    assert "nothing left to do" in (whole / "log.txt").read_text()


def test_a_run_can_be_given_a_larger_budget(whole):
    resume(whole, ["training.samples=1920"], measure=distance)
    assert last(whole)["steps"] == 60
    assert recipe_from(load_toml(whole / "recipe.toml")).training.samples == 1920


def test_divergence_is_said_and_the_last_good_state_kept(recipe, tmp_path):
    run = tmp_path / "run"
    recipe = recipe.replace(
        game={"objective": "wasserstein", "r1": 0.0, "r2": 0.0, "gradient_penalty": 0.0},
        optimiser={"learning_rate_critic": 1e6, "warm_up": 0.0},
    )
    with pytest.raises(TrainingDiverged, match=r"last good state is .*last.pt"):
        train(recipe, run, measure=distance)
    state = last(run)
    for name in ("generator", "critic", "average"):
        assert all(torch.isfinite(v).all() for v in state[name].values())
    assert "diverged" in (run / "log.txt").read_text()


def test_nan_weights_are_never_saved(recipe, tmp_path, monkeypatch):
    run = tmp_path / "run"
    step = Trainer.step

    def poisoned(self):
        step(self)
        if self.steps == 40:  # the last one: no later loss can tell
            next(self.critic.parameters()).data[0, 0] = float("nan")

    monkeypatch.setattr(Trainer, "step", poisoned)
    with pytest.raises(TrainingDiverged, match="not finite"):
        train(recipe, run, measure=distance)
    assert last(run)["steps"] == 0


def test_a_budget_in_minutes_stops_the_run_and_counts_across_resumes(recipe, tmp_path):
    run = tmp_path / "run"
    recipe = recipe.replace(training={"samples": None, "minutes": 0.01})
    train(recipe, run, measure=distance)
    assert last(run)["seconds"] >= 0.6
    assert "depends on the speed" in (run / "log.txt").read_text()
    steps = last(run)["steps"]
    resume(run, measure=distance)
    assert last(run)["steps"] == steps


def test_a_run_is_not_written_over(recipe, whole):
    with pytest.raises(InputError, match="there is a run in this folder"):
        train(recipe, whole)


def test_resume_wants_a_run(tmp_path):
    with pytest.raises(InputError, match="no run"):
        resume(tmp_path)


def test_resume_refuses_other_data(recipe, tmp_path, write_showers):
    path = write_showers(tmp_path / "photons.h5", n=400, seed=3)
    recipe = recipe.replace(data={"path": str(path)})
    train(recipe, tmp_path / "run", measure=distance)
    write_showers(path, n=400, seed=4)
    with pytest.raises(InputError, match="not the file that this run began with"):
        resume(tmp_path / "run", ["training.samples=2000"], measure=distance)


@pytest.mark.parametrize(
    "setting",
    [
        "network.widths=[8]",
        "training.batch_size=64",
        "training.seed=1",
        "data.test=0.3",
        "game.r1=2",
    ],
)
def test_what_was_trained_cannot_change(whole, setting):
    key = setting.split("=")[0]
    with pytest.raises(InputError, match=f"{key} cannot change within a run: it began with"):
        resume(whole, [setting])


def test_a_state_of_other_networks_is_refused(recipe, whole):
    trainer = Trainer(recipe_from(recipe.to_mapping() | {"network": {"name": "mlp"}}), ALONE)
    with pytest.raises(InputError, match="does not fit the recipe") as raised:
        trainer.load(last(whole))
    assert "\n" not in str(raised.value)


def test_dry_run_writes_nothing(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = dry_run(recipe, steps=3)
    assert "40 validation, 100 test, 260 train" in text
    assert "generator 8,728 weights, critic 8,113, 8 latents" in text
    assert 'steps = [{name = "incident_share"}]' in text
    assert "samples/s" in text
    assert not list(tmp_path.iterdir())


def test_rates_warm_up_then_fall_as_a_cosine(recipe):
    trainer = Trainer(recipe, ALONE)
    assert trainer.rate_factor == pytest.approx(32 / 320)
    trainer.steps = 20  # half of the budget
    assert trainer.rate_factor == pytest.approx((1 + 0.03) / 2)
    trainer.steps = 40
    assert trainer.rate_factor == pytest.approx(0.03)
    constant = Trainer(recipe.replace(optimiser={"schedule": "constant"}), ALONE)
    constant.steps = 40
    assert constant.rate_factor == 1


def test_a_trained_generator_is_trained_further(recipe, whole):
    table = {"start": str(whole), "critic_alone": 64}
    trainer = Trainer(recipe.replace(training=table), ALONE)
    begun = {k: v.clone() for k, v in load(whole, "cpu").generator.state_dict().items()}
    critic = [p.clone() for p in trainer.critic.parameters()]
    for alone in (True, True, False):
        trainer.step()
        same_now = [torch.equal(v, begun[k]) for k, v in trainer.generator.state_dict().items()]
        assert all(same_now) is alone
    assert all(torch.equal(v, begun[k]) for k, v in trainer.average.state_dict().items()) is False
    assert not all(torch.equal(a, b) for a, b in zip(critic, trainer.critic.parameters()))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"network": {"name": "mlp", "latent": 8, "widths": [8]}}, "generator is another.*latent"),
        ({"transform": {"condition": "unit"}}, r"its \[transform\] is"),
        ({"training": {"start": "absent.pt"}}, "absent.pt"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(recipe, whole, tables, message):
    mapping = recipe.replace(training={"start": str(whole)}).to_mapping()
    for table, values in tables.items():
        mapping[table] = mapping[table] | values
    with pytest.raises(InputError, match=message):
        Trainer(recipe_from(mapping), ALONE)


def test_a_start_of_other_samples_is_refused(recipe, whole, field_file):
    data = {"path": str(field_file), "mirror": (), "layout": ""}
    other = recipe.replace(
        training={"start": str(whole)},
        data=data,
        game={"energy_weight": 0.0},
        transform={"steps": ()},
    )
    with pytest.raises(InputError, match=r"it is for 504 numbers at incident_energy.*1x16x16"):
        Trainer(other, ALONE)


def test_conditions_over_the_range(recipe):
    trainer = Trainer(recipe.replace(game={"conditions": "range", "gradient_penalty": 0.0}), ALONE)
    known = trainer.spec.condition("incident_energy")
    seen = []
    phase = trainer.duel.generator_phase
    object.__setattr__(trainer.duel, "generator_phase", lambda b: seen.append(b.asked) or phase(b))
    for _ in range(10):
        trainer.step()
    asked = torch.cat(seen)
    assert asked.min() >= known.minimum
    assert asked.max() <= known.maximum
    # uniform, where the file is log-uniform (mean about 21 GeV)
    mean = (known.minimum + known.maximum) / 2
    assert asked.mean().item() == pytest.approx(mean, abs=4 * 29 / 640**0.5)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"training": {"batch_size": 1000}}, "260 samples to train on, fewer than"),
        ({"training": {"device": "warp"}}, "device = 'warp'"),
        ({"transform": {"steps": ({"name": "logg"},)}}, "did you mean 'log'"),
        ({"data": {"path": "absent.h5"}}, "absent.h5"),
        ({"data": {"layout": "calogann"}}, "calogan"),
    ],
)
def test_bad_recipes_leave_no_folder(recipe, tmp_path, tables, message):
    with pytest.raises(InputError, match=message) as raised:
        train(recipe.replace(**tables), tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_unknown_network_is_named(recipe, tmp_path):
    mapping = recipe.to_mapping() | {"network": {"name": "showr"}}
    with pytest.raises(InputError, match="did you mean 'shower'"):
        train(recipe_from(mapping), tmp_path / "run")


def test_nan_in_the_data_is_said_before_training(recipe, tmp_path, write_showers):
    energy = np.full((400, 3, 96), np.nan)
    path = write_showers(tmp_path / "nan.h5", n=400, layer_0=energy)
    with pytest.raises(InputError, match=r"hold NaN or infinity.*data check"):
        train(recipe.replace(data={"path": str(path)}), tmp_path / "run")


def test_training_leaves_torch_as_it_was(recipe, tmp_path):
    state, handlers = torch.random.get_rng_state(), [*logging.getLogger("emulators").handlers]
    train(recipe, tmp_path / "run", measure=distance)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert logging.getLogger("emulators").handlers == handlers


@pytest.mark.parametrize("components", [(), ("x", "y")], ids=["unstated", "vector"])
def test_the_log_says_which_channels_are_turned_and_compared(tmp_path, components):
    grid = Grid(("vx", "vy"), ("x", "y"), (8.0, 8.0), "Mpc/h", (True, True), components)
    spec = SampleSpec("field", "native", (2, 8, 8), "km/s", (), grid=grid)
    values = np.random.default_rng(0).normal(size=(64, 2, 8, 8)).astype("f4")
    with HDF5Writer(tmp_path / "v.h5", spec, 64) as writer:
        writer.append(Samples(values))
    recipe = recipe_from(
        {
            "data": {"path": str(tmp_path / "v.h5"), "validation": 0.25, "test": 0.25},
            "network": {"name": "mlp", "widths": [8], "critic_widths": [8]},
            "transform": {"steps": []},
            "training": {"samples": 16, "batch_size": 8, "device": "cpu"},
            "monitor": {"previews": False},
        }
    )
    emulator = load(train(recipe, tmp_path / "run"), "cpu")
    assert emulator.spec.grid.components == components
    log = (tmp_path / "run" / "log.txt").read_text()
    (line,) = [line for line in log.splitlines() if "of 2 channels" in line]
    assert line.endswith("the first is compared alone: vx")
    said = [line for line in log.splitlines() if "not turned" in line]
    assert len(said) == (0 if components else 1)
    for line in said:
        assert "its channels vx, vy are" in line
        assert f"convert {tmp_path / 'v.h5'} NEW.h5 --components NAMES" in line
        assert line.endswith("scalar or one of x, y")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_metric_that_cannot_judge_chooses_no_state(recipe, tmp_path, value):
    """Of the floor: the run says so and keeps the last state; of a state: it is not the best."""
    train(recipe, tmp_path / "blind", measure=lambda g, r, s: {"far": value})
    log = (tmp_path / "blind" / "log.txt").read_text()
    assert "no physics metric (it cannot judge these validation samples" in log
    assert "emulator.pt will be the last state" in log
    assert not (tmp_path / "blind" / "checkpoints" / "best.pt").exists()
    assert load(tmp_path / "blind", "cpu").card["samples_seen"] == 1280
    numbers = iter([0.5, value, 0.7])  # floor, and two states
    train(recipe, tmp_path / "once", measure=lambda g, r, s: {"far": next(numbers)})
    assert load(tmp_path / "once", "cpu").card["validation"]["far"] == 0.7
    numbers = iter([0.5, value, value])
    train(recipe, tmp_path / "never", measure=lambda g, r, s: {"far": next(numbers)})
    assert "never with a finite physics metric" in (tmp_path / "never" / "log.txt").read_text()
    assert load(tmp_path / "never", "cpu").card["samples_seen"] == 1280


def test_what_the_metric_leaves_out_is_said_once(recipe, reference, write_showers, tmp_path):
    path = write_showers(tmp_path / "e.h5", n=400, seed=3, layer_2=np.zeros((400, 12, 6)))
    run = tmp_path / "run"
    train(recipe.replace(data={"path": str(path)}), run)
    log = (run / "log.txt").read_text()
    assert log.count("left out of the physics metric, as constant: ") == 1
    assert "width_x_layer_2" in log
    assert "finished" in log
    assert ", best at " in log


@pytest.mark.parametrize(
    ("unit", "values", "steps"),
    [
        ("count", lambda n: n, ("dequantise", "log")),
        ("overdensity", lambda n: n / 8 - 1, ("log",)),
        ("K", lambda n: 2.725 + 1e-4 * n, ("standardise",)),
        ("uK", lambda n: n - 8, ("standardise",)),
        ("Msun/h", lambda n: 1e10 * (1 + n) ** 2, ("log",)),
    ],
)
def test_the_unit_and_the_values_choose_the_transform(field_file, tmp_path, unit, values, steps):
    """Networks see numbers near 1, and give them back in the unit of the file."""
    data = Dataset(field_file)
    spec = dataclasses.replace(data.spec, unit=unit)
    samples = data.read(0, len(data))
    there = values(samples.values.astype(float)).astype("f4")
    with HDF5Writer(tmp_path / "maps.h5", spec, len(data)) as writer:
        writer.append(Samples(there, samples.conditions), {})
    recipe = recipe_from(
        {
            "data": {"path": str(tmp_path / "maps.h5"), "validation": 0.0},
            "network": {"name": "field", "widths": [4], "critic_widths": [4, 8], "fine": 0},
            "training": {"batch_size": 8, "samples": 16, "device": "cpu", "log_samples": 8},
        }
    )
    with contextlib.closing(Trainer(recipe, ALONE)) as trainer:
        chosen = trainer.recipe.transform.steps
        assert tuple(step["name"] for step in chosen) == steps
        conditions = condition_tensor(spec, samples.conditions, len(samples))
        seen = trainer.transform(torch.from_numpy(there), conditions)
        assert 0.2 < seen.std() < 4
        torch.testing.assert_close(trainer.transform.inverse(seen, conditions).numpy(), there)
        logarithmic = "log" in steps
        assert trainer.generator.exponent == trainer.critic.summaries.exponent == logarithmic
