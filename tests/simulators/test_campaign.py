"""Simulations to files: any number of processes, kills, failures, costs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from emulators.data.check import check
from emulators.data.dataset import Dataset
from emulators.errors import InputError
from emulators.simulators.campaign import estimate, simulate_file
from emulators.simulators.pool import Failure, run_simulations
from emulators.simulators.recipe import presets, read_simulation

FIELDS = {"simulator": {"name": "toy-gaussian-field", "dimensions": 2, "cells": 16}}


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """A simulator with bad days, in a module that other processes can import."""
    (tmp_path / "fragile.py").write_text(
        textwrap.dedent(
            """
            import os
            import signal
            import threading
            import time
            from dataclasses import dataclass

            import numpy as np

            from emulators.data.spec import SampleSpec
            from emulators.simulators.base import Simulated, require

            @dataclass(frozen=True)
            class Fragile:
                fails: tuple[int, ...] = ()
                dies: tuple[int, ...] = ()
                waits: tuple[int, ...] = ()
                dies_idle: tuple[int, ...] = ()
                rows: int = 1
                needs: str = ""

                def spec(self):
                    return SampleSpec("point", "native", (2,), "", ())

                def samples(self):
                    return self.rows

                def beside(self):
                    return {}

                def attributes(self):
                    return {"generator": "made up for tests"}

                def start(self, seed):
                    if self.needs:
                        require(self.needs, "nothing", "this simulator")

                    def simulate(i):
                        if i in self.waits:
                            open(f"{os.getpid()}.waits", "w").close()
                            time.sleep(600)
                        if self.dies_idle and i not in self.dies_idle:
                            time.sleep(1)
                        if i in self.dies_idle:
                            kill = os.kill, (os.getpid(), signal.SIGKILL)
                            threading.Timer(0.2, *kill).start()
                        if i in self.fails:
                            raise ArithmeticError(f"no luck with {i}")
                        if i in self.dies:
                            os.kill(os.getpid(), signal.SIGKILL)
                        values = np.full((self.rows, 2), seed * 1000.0 + i)
                        return Simulated(values + np.arange(self.rows)[:, None] / 10)

                    return simulate
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    import fragile

    yield fragile.Fragile
    del sys.modules["fragile"]


@pytest.fixture
def simulate(monkeypatch):
    """Return `simulate_file` for a simulator that no recipe names."""

    def run(simulator, *args, **kwargs):
        recipe = read_simulation({"simulator": {"name": "fragile"}})
        monkeypatch.setattr(type(recipe), "build", lambda self: simulator)
        return simulate_file(recipe, *args, **kwargs)

    return run


@pytest.mark.parametrize("processes", [1, 3])
def test_failures_and_deaths_cost_one_simulation_each(fragile, processes):
    outcomes = run_simulations(fragile(fails=(1, 4), dies=(2, 7)), 0, 0, 6, processes)
    found = list(outcomes)
    assert [o.index for o in found] == list(range(10))
    failed = {o.index: o.result.reason for o in found if isinstance(o.result, Failure)}
    assert set(failed) == {1, 2, 4, 7}
    assert failed[1] == "ArithmeticError: no luck with 1"
    assert failed[7] == "its process was killed by SIGKILL"
    assert all(o.result.values[0, 0] == o.index for o in found if o.index not in failed)


def test_an_idle_process_may_die(fragile):
    found = list(run_simulations(fragile(dies_idle=(0,)), 0, 0, 2, 2))
    assert not [o for o in found if isinstance(o.result, Failure)]


def test_a_simulator_that_cannot_start_is_bad_input(fragile):
    with pytest.raises(InputError, match=r"this simulator needs nowhere.*emulators\[nothing\]"):
        next(run_simulations(fragile(needs="nowhere"), 0, 0, 9, 2))


def test_the_next_simulation_takes_the_place_of_one_that_failed(fragile, simulate, tmp_path):
    target = simulate(fragile(fails=(0, 3), dies=(4,)), tmp_path / "x.h5", 5, processes=2)
    with h5py.File(target) as file:
        assert file["simulation"][:].tolist() == [1, 2, 5, 6, 7]
        assert file["points"][:, 0].tolist() == [1, 2, 5, 6, 7]
        assert (file["seconds"][:] >= 0).all()
        failed = json.loads(file.attrs["failed"])
        assert failed.keys() == {"0", "3", "4"}
        assert failed["3"] == "ArithmeticError: no luck with 3"
    assert check(target) == []
    assert not (tmp_path / "x.h5.part").exists()


def test_several_samples_of_one_simulation_stay_together(fragile, simulate, tmp_path):
    with h5py.File(simulate(fragile(fails=(1,), rows=3), tmp_path / "x.h5", 8)) as file:
        assert file["simulation"][:].tolist() == [0, 0, 0, 2, 2, 2, 3, 3]
        assert file["points"][:, 0] == pytest.approx([0, 0.1, 0.2, 2, 2.1, 2.2, 3, 3.1])


def test_too_many_failures_are_an_error(fragile, simulate, tmp_path):
    with pytest.raises(RuntimeError, match=r"21 simulations failed, .* no luck with 20"):
        simulate(fragile(fails=tuple(range(1000))), tmp_path / "x.h5", 50)
    assert not (tmp_path / "x.h5").exists()


def test_resume_knows_of_failures(fragile, simulate, tmp_path):
    """Interrupted in the second shard (1,024 points), after failures in both."""
    whole, again = tmp_path / "whole.h5", tmp_path / "again.h5"
    unlucky = fragile(fails=(3, 1025, 1100))
    simulate(unlucky, whole, 1500)

    class Stop(Exception):
        pass

    from emulators.simulators import campaign

    def stopping(*args):
        for outcome in run_simulations(*args):
            if outcome.index == 1200:
                raise Stop
            yield outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "run_simulations", stopping)
        with pytest.raises(Stop):
            simulate(unlucky, again, 1500)
    assert (tmp_path / "again.h5.part").is_dir()
    simulate(unlucky, again, 1500, processes=2)
    with h5py.File(whole) as a, h5py.File(again) as b:
        assert a.attrs["failed"] == b.attrs["failed"]
        for key in ("points", "simulation"):
            np.testing.assert_array_equal(a[key][:], b[key][:])


def test_samples_do_not_depend_on_the_number_of_processes(tmp_path):
    recipe = read_simulation(FIELDS)
    files = [simulate_file(recipe, tmp_path / f"{p}.h5", 7, seed=3, processes=p) for p in (1, 3)]
    a, b = (Dataset(f).read(0, 7).values for f in files)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a[0], a[1])
    fewer = simulate_file(recipe, tmp_path / "fewer.h5", 2, seed=3)
    np.testing.assert_array_equal(Dataset(fewer).read(0, 2).values, a[:2])


@pytest.mark.long
def test_killed_and_given_again(tmp_path):
    """The command line, killed with all its processes; the second call ends where one would."""
    recipe = tmp_path / "points.toml"
    recipe.write_text('[simulator]\nname = "toy-ring"\n')
    command = [sys.executable, "-m", "emulators.cli", "simulate", str(recipe), "-n", "6000"]
    target = tmp_path / "x.h5"
    job = subprocess.Popen([*command, "-o", str(target)], start_new_session=True, stderr=-3)
    shards = tmp_path / "x.h5.part"
    deadline = time.monotonic() + 60
    while not list(shards.glob("0*.h5")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert list(shards.glob("0*.h5"))
    assert not target.exists()
    done = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True, check=True)
    assert "going on after" in done.stderr
    subprocess.run([*command, "-o", str(tmp_path / "y.h5")], capture_output=True, check=True)
    a, b = (Dataset(tmp_path / f"{name}.h5").read(0, 6000).values for name in "xy")
    np.testing.assert_array_equal(a, b)


def test_no_process_outlives_the_command(fragile, tmp_path):
    run = "next(run_simulations(Fragile(waits=(0,)), 0, 0, 9, 1))"
    imports = "from fragile import Fragile\nfrom emulators.simulators.pool import run_simulations\n"
    (tmp_path / "job.py").write_text(f"{imports}if __name__ == '__main__': {run}\n")
    job = subprocess.Popen([sys.executable, "job.py"], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (waiting := list(tmp_path.glob("*.waits"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    job.kill()
    job.wait()
    worker = int(waiting[0].stem)
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_another_recipe_does_not_go_on(tmp_path, fragile, simulate):
    with pytest.raises(RuntimeError):
        simulate(fragile(fails=tuple(range(99))), tmp_path / "x.h5", 50)
    with pytest.raises(InputError, match="begun by a job that differs in seed"):
        simulate(fragile(fails=tuple(range(99))), tmp_path / "x.h5", 50, seed=1)


def test_estimate(fragile, monkeypatch):
    recipe = read_simulation(FIELDS)
    found = estimate(recipe, 100_000, patience=0.3)
    assert found.samples == 100_000
    assert 0 < found.error < found.seconds_per_sample < 1
    assert found.bytes == 100_000 * 4 * 16 * 16
    assert "CPU seconds" in str(found)
    monkeypatch.setattr(type(recipe), "build", lambda self: fragile(fails=(0,)))
    with pytest.raises(RuntimeError, match="simulation 0 failed: ArithmeticError"):
        estimate(recipe, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "0 samples"),
        ({"processes": 0}, "processes = 0"),
        ({"path": "no/x.h5"}, "there is no folder"),
        ({"path": ".", "overwrite": True}, "this is a folder"),
    ],
)
def test_bad_requests(tmp_path, arguments, message):
    path = tmp_path / arguments.pop("path", "x.h5")
    with pytest.raises(InputError, match=message):
        simulate_file(read_simulation(FIELDS), path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_title_tells_of_changes():
    assert "deep" in read_simulation("deep-field", preset=True).title.lower()
    changed = read_simulation("deep-field", ["simulator.size=64", "samples=3"], preset=True)
    assert changed.title.endswith("Deep Field (with simulator.size=64)")
    assert changed.samples == 3


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "missing key 'simulator'"),
        ({"simulator": {"cells": 3}}, "needs a name"),
        ({"simulator": {"name": "geant5"}}, "did you mean 'geant4'"),
        ({"simulator": {"name": "toy-ring", "modus": 3}}, "did you mean 'modes'"),
        ({"simulator": {"name": "toy-ring"}, "sample": 3}, "did you mean 'samples'"),
    ],
)
def test_recipes_that_are_not(recipe, message):
    with pytest.raises(InputError, match=message):
        read_simulation(recipe).build()


def test_presets():
    named = ["calogan-photons", "calogan-positrons", "cosmic-web", "cosmic-web-pairs"]
    assert sorted(presets()) == [*named, "deep-field", "siw-electrons"]
    for name in presets():
        recipe = read_simulation(name, preset=True)
        assert recipe.build().spec().shape
        assert recipe.attributes["licence"]
    with pytest.raises(InputError, match=r"unknown preset 'cosmic-wep'.*'cosmic-web'"):
        read_simulation("cosmic-wep", preset=True)
