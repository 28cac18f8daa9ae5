"""Speed: closed forms of ratios and costs, counters of energy, fresh processes, simulations."""

import ctypes
import importlib.util
import io
import json
import math
import shutil
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emulators import load
from emulators.benchmarks import report
from emulators.benchmarks.chapter import Result
from emulators.benchmarks.chapters import chapters_of
from emulators.benchmarks.draw import draw
from emulators.benchmarks.measured import Curve
from emulators.benchmarks.pair import load_pair
from emulators.benchmarks.speed import (
    energy_use,
    fresh_process,
    reference_cost,
    start_up,
    throughput,
    timing,
)
from emulators.benchmarks.speed.energy_use import Counter, joules
from emulators.benchmarks.speed.reference_cost import (
    Simulation,
    find_simulation,
    mean_cost,
    measure_simulation,
)
from emulators.benchmarks.speed.result import speed_result
from emulators.benchmarks.write import figures_of
from emulators.cli import cli
from emulators.data.convert import convert
from emulators.data.cut import Cut
from emulators.errors import InputError
from emulators.simulators.campaign import simulate_file
from emulators.simulators.cosmology import Cosmologies
from emulators.simulators.nbody import NBody
from emulators.simulators.recipe import read_simulation
from emulators.simulators.toys import GaussianField

needs_geant4 = pytest.mark.skipif(
    importlib.util.find_spec("geant4_pybind") is None, reason="needs geant4-pybind"
)
TOY = {"simulator": {"name": "toy-shower", "energy": "1:100:log"}, "samples": 100}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short timings; the logic is the same."""
    monkeypatch.setattr(throughput, "_SECONDS", 0.01)
    monkeypatch.setattr(start_up, "SECONDS", 0.05)
    monkeypatch.setattr(start_up, "START_UPS", 1)


class Clock:
    """A clock that goes by what answers take."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def canned(monkeypatch):
    """Answer at once for fresh processes, by a clock of its own; simulations cost ``costs``."""
    clock, costs, requests, begun = Clock(), [1.0], [], []

    class Canned:
        def __init__(self, request, environment=None):
            requests.append(request)
            self.answers, self.began = [], clock.now
            if request["what"] == "emulator":
                begun.append(self)
                self.slowness = len(begun)
                clock.now += 4.0  # one second of it before Python runs
                parts = {"import": 2.0, "load": 0.75, "first_sample": 0.25}
                self.answers.append({**parts, "peak_bytes": 1, "accelerator_peak_bytes": None})
            else:
                self.answers.append({"start": 0.5})

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, request):
            requests.append(request)
            if isinstance(request, dict):  # the second draws half as fast as the first
                times = [t * self.slowness for t in (0.1, 0.2, 0.3)]
                self.answers.append(
                    {"times": times, "peak_bytes": 9, "accelerator_peak_bytes": None}
                )
                return
            seconds = costs[request % len(costs)]
            failed = "" if math.isfinite(seconds) else "Error: of its own"
            seconds = 1.0 if failed else seconds
            clock.now += seconds
            used = {"seconds": seconds, "cpu_seconds": 0.8 * seconds}
            self.answers.append({**used, "failed": failed})

        def answer(self, patience=start_up.PATIENCE):
            answer = self.answers.pop(0)
            if answer.get("seconds", 0.0) > patience:
                raise start_up.Ended("no answer")
            return answer

    for module in (start_up, reference_cost):
        monkeypatch.setattr(module, "Fresh", Canned)
        monkeypatch.setattr(module, "time", clock)
    return SimpleNamespace(clock=clock, costs=costs, requests=requests)


@pytest.fixture(scope="module")
def toy_showers(tmp_path_factory):
    return simulate_file(
        read_simulation(TOY), tmp_path_factory.mktemp("toy") / "toy.h5", 120, seed=3
    )


@pytest.fixture(scope="module")
def generated(toy_showers):
    """Return what an emulator may have made: no shower is one of the reference's."""
    return changed(toy_showers, toy_showers.with_name("generated.h5"))


@pytest.fixture(scope="module")
def pair(toy_showers, generated):
    return load_pair(generated, toy_showers, None, 0)


def changed(source, target):
    shutil.copy(source, target)
    with h5py.File(target, "a") as file:
        for key, values in file.items():
            if key.startswith("layer_"):
                values[...] = 1.01 * values[:]
            if key == "fields":
                values[...] = values[:] + 1
    return target


def entry(**values):
    usual = {"device": "cpu", "threads": 1, "batch": 10, "writing": False, "repeats": 3}
    usual |= {"seconds_per_sample": 0.02, "spread": 0.002, "joules_per_sample": None}
    usual |= {"cpu_seconds_per_sample": 0.01, "cpu_spread": 0.0003, "energy_of": []}
    return usual | {"speed_up": None} | values


def simulated(**values):
    usual = {"generator": "a code", "source": "preset x", "conditions": "its own law"}
    usual |= {"simulations": 7, "failed": 0, "samples_per_simulation": 1.0, "start": 2.0}
    usual |= {"seconds_per_sample": 3.0, "error": 0.4, "cpu_seconds_per_sample": 2.0}
    usual |= {"cpu_error": 0.08, "joules_per_sample": None, "energy_of": [], "regressed": False}
    return usual | values


# The simulation's cost


def test_mean_cost_is_the_plain_mean_with_its_standard_error():
    costs = np.array([1.0, 2.0, 6.0])
    assert mean_cost(costs, None, None) == pytest.approx((3, np.std(costs, ddof=1) / 3**0.5))
    assert mean_cost(costs[:1], None, None) == (1, None)
    one_energy = np.full(20, 50.0)
    assert mean_cost(np.arange(20.0), one_energy, one_energy)[0] == pytest.approx(9.5)


def test_costs_on_a_line_give_the_mean_at_the_energies_wanted():
    run, wanted = np.linspace(1, 20, 12), np.linspace(1, 100, 500)
    mean, error = mean_cost(0.1 + 0.0088 * run, run, wanted)
    assert mean == pytest.approx(0.1 + 0.0088 * wanted.mean())
    assert error == pytest.approx(0, abs=1e-12)


def test_the_error_of_a_regressed_cost_is_its_scatter():
    rng = np.random.default_rng(2)
    wanted = np.exp(rng.uniform(0, np.log(100), 1000))  # log-uniform, 1 to 100 GeV
    found, plain = [], []
    for _ in range(400):
        run = rng.choice(wanted, 30)
        costs = 0.0088 * run + rng.normal(0, 0.02, 30)
        found.append(mean_cost(costs, run, wanted))
        plain.append(mean_cost(costs, None, None))
    means, errors = np.array(found).T
    assert means.mean() == pytest.approx(0.0088 * wanted.mean(), rel=0.005)
    assert errors.mean() == pytest.approx(means.std(), rel=0.12)
    assert np.array(plain)[:, 0].std() > 5 * means.std()


def test_a_ratio_has_the_error_of_both():
    reference = simulated()
    equal = timing.ratio(entry(), reference)
    assert equal == {
        "value": pytest.approx(200),
        "error": pytest.approx(200 * np.hypot(0.04, 0.03)),
        "equal": True,
    }
    clock = timing.ratio(entry(threads=2), reference)
    assert clock["value"] == pytest.approx(100)
    assert clock["error"] == pytest.approx(100 * np.hypot(0.04, 0.1))
    assert not clock["equal"]
    assert timing.ratio(entry(), simulated(cpu_error=None))["error"] is None
    assert timing.ratio(entry(), None) is None


# Energy


def test_packages_alone_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(energy_use, "POWERCAP", tmp_path)
    assert energy_use.counters("cpu") == []
    for folder, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:1", "psys"),
        ("intel-rapl:2", "package-1"),
        ("intel-rapl:3", "package-2"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "energy_uj").write_text("2500000\n")
        (tmp_path / folder / "max_energy_range_uj").write_text("262143328850\n")
    (tmp_path / "intel-rapl:3" / "energy_uj").unlink()
    (tmp_path / "intel-rapl:3" / "energy_uj").mkdir()  # cannot be read, by whoever runs this
    found = energy_use.counters("cpu")
    assert [c.name for c in found] == ["package-0 (RAPL)", "package-1 (RAPL)"]
    assert [c.read() for c in found] == [2.5, 2.5]
    assert found[0].wrap == pytest.approx(262143.32885)


def test_counters_that_came_round():
    counted = [Counter("a", float, 100.0), Counter("b", float, 50.0)]
    assert joules(counted, [10, 45], [30, 5]) == 20 + 10


REFUSED = ("nvmlInit_v2", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetTotalEnergyConsumption")


@pytest.mark.parametrize("refused", [None, "library", *REFUSED])
def test_energy_of_an_accelerator(monkeypatch, tmp_path, refused):
    asked = []

    def told(handle, value):
        value._obj.value = 1234
        return 0

    library = SimpleNamespace(
        nvmlInit_v2=lambda: 0,
        nvmlDeviceGetHandleByUUID=lambda uuid, handle: asked.append(uuid),
        nvmlDeviceGetTotalEnergyConsumption=told,
    )
    if refused in REFUSED:
        setattr(library, refused, lambda *_: 1)
    properties = SimpleNamespace(name="some GPU", uuid="ab-12")
    monkeypatch.setattr(energy_use, "POWERCAP", tmp_path)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)

    def linked(name):
        if refused == "library":
            raise OSError(f"{name}: cannot open shared object file")
        return library

    monkeypatch.setattr(ctypes, "CDLL", linked)
    found = energy_use.counters("cuda")
    if refused:
        assert found == []
    else:
        assert asked == [b"GPU-ab-12"]
        assert [(c.name, c.read()) for c in found] == [("some GPU (NVML)", 1.234)]


def test_energy_is_shared_by_samples(emulator_file, monkeypatch):
    reading = iter(range(1000))
    counter = Counter("clock", lambda: 40.0 * next(reading), 1e9)
    monkeypatch.setattr(throughput, "counters", lambda device: [counter])
    monkeypatch.setattr(throughput, "BATCHES", (10,))
    for e in throughput.measure_throughput(load(emulator_file)):
        assert e["joules_per_sample"] == pytest.approx(40 / (10 * e["repeats"]))
        assert e["energy_of"] == ["clock"]


# Batches


def test_every_batch_size_is_timed_on_one_thread_and_on_all(emulator_file, monkeypatch):
    monkeypatch.setattr(throughput, "BATCHES", (1, 10))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = throughput.measure_throughput(load(emulator_file, "cpu"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    each = [(1, False), (10, False), (10, True)]
    cpu = [e for e in found if e["device"] == "cpu"]
    assert [(e["batch"], e["writing"]) for e in cpu] == 2 * each
    assert [e["threads"] for e in cpu] == [1, 1, 1, 2, 2, 2]
    for e in found:
        assert e["repeats"] >= 3
        assert e["seconds_per_sample"] > 0
        assert e["cpu_seconds_per_sample"] > 0


def test_batches_that_take_too_much_are_left_out(emulator_file, monkeypatch):
    monkeypatch.setattr(throughput, "_BYTES", 4 * 504 * 150)
    found = throughput.measure_throughput(load(emulator_file, "cpu"))
    one = [(e["batch"], e["writing"]) for e in found if (e["device"], e["threads"]) == ("cpu", 1)]
    assert one == [(1, False), (10, False), (100, False), (100, True)]
    monkeypatch.setattr(throughput, "_PATIENCE", 0.0)
    monkeypatch.setattr(throughput, "_BYTES", 1)
    found = throughput.measure_throughput(load(emulator_file, "cpu"))
    assert {e["batch"] for e in found} == {1}  # one sample is always timed


def test_samples_are_asked_for_at_the_conditions_compared(emulator_file, monkeypatch):
    emulator, asked = load(emulator_file), []
    draw = emulator.generate
    monkeypatch.setattr(
        emulator, "generate", lambda n, **options: asked.append(options) or draw(n, **options)
    )
    monkeypatch.setattr(throughput, "BATCHES", (5,))
    # beyond the trained range, and of a name that the emulator does not know
    compared = {"incident_energy": np.array([2.0, 500.0, 7.0]), "other": np.zeros(3)}
    throughput.measure_throughput(emulator, compared)
    conditions = asked[0]["conditions"]
    assert list(conditions) == ["incident_energy"]
    np.testing.assert_array_equal(conditions["incident_energy"], [2, 500, 7, 2, 500])


def test_conditions_of_fields_are_those_of_simulations(field_file, tmp_path):
    pair = load_pair(changed(field_file, tmp_path / "maps.h5"), field_file, None, 0)
    found = timing.compared_conditions(pair, 0)
    assert {k: len(v) for k, v in found.items()} == {"omega_m": 24, "sigma_8": 24}
    known = {tuple(row) for row in pair.conditions["reference"]}
    assert {*zip(found["omega_m"], found["sigma_8"])} == known


# Fresh processes


@pytest.mark.long
def test_a_fresh_process_tells_its_start_and_its_memory(emulator_file, tmp_path, monkeypatch):
    # what lies in the working folder must not stand in for Python's own modules
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    emulator = load(emulator_file)
    with start_up.saved(emulator) as path:
        told = start_up.measure_start_up(path, "cpu", 20_000, 0)
    assert (emulator.name, emulator.sha256) == ("tiny", load(emulator_file).sha256)
    seconds = {k: v["median"] for k, v in told["seconds"].items()}
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()))
    assert all(value > 0 for value in seconds.values())
    assert seconds["import"] > seconds["python"]  # torch
    small, large = told["peak_bytes"]
    assert large > small + 20_000 * 504 * 4 > 100 << 20


def test_what_runs_in_a_fresh_process_times_what_it_is_asked(emulator_file, monkeypatch):
    request = {"batch": 5, "seconds": 0, "least": 3, "threads": None}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request) + "\n"))
    answers = []
    fresh_process._emulator(
        lambda **values: answers.append(values), path=str(emulator_file), device="cpu", seed=0
    )
    first, repeated = answers
    assert min(first[k] for k in ("import", "load", "first_sample")) > 0
    assert len(repeated["times"]) == 3
    assert first["peak_bytes"] <= repeated["peak_bytes"]


def test_a_start_up_is_the_sum_of_its_parts(canned):
    told = start_up.measure_start_up("emulator.pt", "cpu", 1000, 0)
    seconds = {k: v["median"] for k, v in told["seconds"].items()}
    assert seconds == {
        "python": 1.0, "import": 2.0, "load": 0.75, "first_sample": 0.25, "total": 4.0
    }  # fmt: skip
    assert (told["n"], told["batch"], told["peak_bytes"]) == (1, 1000, [1, 9])
    assert canned.requests[-1]["batch"] == 1000


def test_the_efficiency_is_of_all_together(canned, monkeypatch):
    monkeypatch.setattr(start_up, "cores", lambda: 2)
    single, double = start_up.measure_scaling("emulator.pt", 10, None, 0)["rows"]
    assert (single["samples_per_second"], single["efficiency"], single["error"]) == (50, 1, 0)
    assert double["samples_per_second"] == pytest.approx(50 + 25)  # the second is half as fast
    assert double["efficiency"] == pytest.approx(0.75)
    relative = np.hypot(50, 25) * 0.34 / 75, 0.34  # half of 16 % to 84 % of 0.1, 0.2, 0.3
    assert double["error"] == pytest.approx(0.75 * np.hypot(*relative))


@pytest.mark.long
def test_processes_draw_at_once(emulator_file, monkeypatch):
    monkeypatch.setattr(start_up, "cores", lambda: 2)
    told = start_up.measure_scaling(emulator_file, 10, None, 0)
    assert [row["processes"] for row in told["rows"]] == [1, 2]
    assert min(row["samples_per_second"] for row in told["rows"]) > 0


def test_no_more_processes_than_cores_and_memory(monkeypatch):
    monkeypatch.setattr(start_up, "cores", lambda: 12)
    monkeypatch.setattr(start_up, "available_memory", lambda: 11 << 30)
    assert start_up.numbers_of_processes(100 << 20) == [1, 2, 4, 8, 12]
    assert start_up.numbers_of_processes(None) == [1, 2, 4, 8, 12]
    assert start_up.numbers_of_processes(1 << 30) == [1, 2, 4, 5]
    assert start_up.numbers_of_processes(20 << 30) == [1]
    monkeypatch.setattr(start_up, "available_memory", lambda: None)  # not told
    assert start_up.numbers_of_processes(20 << 30) == [1, 2, 4, 8, 12]


def test_a_process_that_ends_or_hangs_is_said():
    request = {"what": "simulation", "name": "no-such-code", "settings": {}, "seed": 0}
    with start_up.Fresh(request) as process:
        with pytest.raises(start_up.Ended, match=r"in 0 s"):
            process.answer(0.01)
        with pytest.raises(start_up.Ended, match="unknown simulator 'no-such-code'"):
            process.answer()
        process.ask({"batch": 1})  # nobody reads it: no error of its own


# Which simulation


def test_a_file_that_does_not_say_is_not_guessed_at(shower_file):
    found = find_simulation(shower_file, None, {})
    assert found.simulator is None
    assert "--simulate" in found.why_not


def test_the_recorded_simulation_is_put_at_the_energies_compared(toy_showers, pair):
    found = timing.plan_simulation(pair, toy_showers, None, 0)
    assert found.name == "toy-shower"
    assert found.conditions == "incident_energy of the compared samples"
    assert found.samples == 1
    np.testing.assert_allclose(sorted(found.simulator.energy), sorted(pair.energies[0]), rtol=1e-6)
    np.testing.assert_allclose(found.energies, found.simulator.energy, rtol=1e-6)


def test_a_recorded_simulation_that_cannot_be_run_is_said(toy_showers, tmp_path):
    for changes, words in (
        ({"simulator": "lhc"}, "'lhc', which is not known"),
        ({"settings": "{"}, "cannot be read"),
        ({"settings": json.dumps({"colour": 1})}, "unknown key 'simulator.colour'"),
    ):
        path = tmp_path / "changed.h5"
        path.write_bytes(toy_showers.read_bytes())
        with h5py.File(path, "a") as file:
            file.attrs.update(changes)
        found = find_simulation(path, None, {})
        assert found.simulator is None
        assert words in found.why_not


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("calogan-photns", "unknown preset 'calogan-photns' .did you mean 'calogan-photons'"),
        ("no.toml", "no such recipe"),
        ("cosmic-web", "differ in kind of sample: field and shower"),
        ("siw-electrons", "differ in readout layers"),
    ],
)
def test_a_named_simulation_must_fit(shower_file, named, words):
    with pytest.raises(InputError, match=words):
        find_simulation(shower_file, named, {})


def test_another_particle_is_refused(toy_showers, tmp_path):
    recipe = tmp_path / "electrons.toml"
    recipe.write_text('[simulator]\nname = "toy-shower"\nparticle = "electron"\n')
    with pytest.raises(InputError, match="differ in particle: electron and photon"):
        find_simulation(toy_showers, recipe, {})


def test_maps_cut_from_a_box_share_its_cost(tmp_path, canned):
    plan = {"name": "toy-gaussian-field", "cells": 8, "box": 50.0}
    boxes = simulate_file(read_simulation({"simulator": plan}), tmp_path / "boxes.h5", 3)
    maps = convert(boxes, tmp_path / "maps.h5", cut=Cut(slabs=4))
    found = find_simulation(maps, None, {})
    assert found.samples == 12  # four slabs across each of three axes
    assert found.conditions == "its own law"
    cost = measure_simulation(found, 0)
    assert cost["samples_per_simulation"] == 12
    assert cost["seconds_per_sample"] == pytest.approx(1 / 12)
    assert not cost["regressed"]
    plan["box"] = 70.0
    recipe = tmp_path / "other.toml"
    recipe.write_text("[simulator]\n" + "\n".join(f"{k} = {v!r}" for k, v in plan.items()))
    with pytest.raises(InputError, match=r"length of a side: 70\.0 and 50\.0"):
        find_simulation(boxes, recipe, {})


def test_universes_are_those_compared():
    law = Cosmologies(omega_m=(0.2, 0.4), sigma_8=(0.6, 1.0))
    asked = {"omega_m": np.float32([0.25, 0.31]), "sigma_8": np.float32([0.9, 0.7])}
    found, names = reference_cost._at(NBody(cosmology=law), asked)
    assert names == ["omega_m", "sigma_8"]
    drawn = [found.cosmology.draw(5, i) for i in range(3)]
    assert [(c.omega_m, c.sigma_8) for c in drawn] == [(0.25, 0.9), (0.31, 0.7), (0.25, 0.9)]
    # a parameter that varies and is not known of the samples: the recipe's own law stays
    wide = NBody(cosmology=Cosmologies(omega_m=(0.2, 0.4), h=(0.6, 0.8)))
    assert reference_cost._at(wide, asked) == (wide, [])


# Running it

FIELDS = Simulation(GaussianField(cells=8), name="toy-gaussian-field")


@pytest.mark.parametrize(
    ("seconds", "simulations"),
    [
        (1e-3, 1000),  # a thousand at most
        (1.0, 20),  # 20 seconds at least
        (10.0, 5),  # five at least
        (40.0, 2),  # two where they take a minute
    ],
)
def test_a_simulation_is_run_so_often_and_so_long(canned, seconds, simulations):
    canned.costs[:] = [seconds]
    cost = measure_simulation(FIELDS, 0)
    assert cost["simulations"] == simulations
    assert cost["seconds_per_sample"] == pytest.approx(seconds)
    assert cost["cpu_seconds_per_sample"] == pytest.approx(0.8 * seconds)
    assert cost["cpu_error"] == pytest.approx(0, abs=1e-9)
    assert (cost["start"], cost["failed"], cost["regressed"]) == (0.5, 0, False)


def test_simulations_that_fail_or_hang_are_said(canned):
    canned.costs[:] = [2.0, math.inf]
    cost = measure_simulation(FIELDS, 0)
    assert cost["failed"] == pytest.approx(cost["simulations"], abs=1)
    assert cost["seconds_per_sample"] == 2.0
    canned.costs[:] = [10.0, 400.0]  # beyond patience
    cost = measure_simulation(FIELDS, 0)
    assert (cost["simulations"], cost["error"]) == (1, None)
    canned.costs[:] = [math.inf]
    with pytest.raises(start_up.Ended, match=r"all of \d+ simulations failed.*Error: of its own"):
        measure_simulation(FIELDS, 0)
    canned.costs[:] = [400.0]
    with pytest.raises(start_up.Ended, match="no answer"):
        measure_simulation(FIELDS, 0)


def test_the_mean_is_that_of_all_energies_compared(toy_showers, canned):
    energies = np.linspace(1, 100, 50)
    simulation = find_simulation(toy_showers, None, {"incident_energy": energies})
    canned.costs[:] = [0.05 * e for e in energies]
    cost = measure_simulation(simulation, 0)
    assert cost["regressed"]
    assert cost["simulations"] < 50  # the first are of little energy
    assert cost["seconds_per_sample"] == pytest.approx(0.05 * energies.mean())


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(reference_cost, "SECONDS", 0.0)
    monkeypatch.setattr(reference_cost, "LEAST", 4)
    monkeypatch.setattr(reference_cost, "MOST", 5)


@pytest.mark.long
def test_simulations_run_in_a_fresh_process(toy_showers, brief):
    asked = {"incident_energy": np.array([2.0, 80.0])}
    cost = measure_simulation(find_simulation(toy_showers, None, asked), 0)
    assert cost["simulations"] == 4
    assert cost["cpu_seconds_per_sample"] > 0
    assert cost["cpu_error"] > 0
    narrow = GaussianField(cells=8, spectrum=((0.1, 1.0), (0.2, 1.0)))
    with pytest.raises(start_up.Ended, match=r"all of 5 simulations failed.*the spectrum is given"):
        measure_simulation(Simulation(narrow, name="toy-gaussian-field"), 0)


@pytest.mark.long
@needs_geant4
def test_geant4_runs_beside_an_emulator(shower_file, brief):
    found = find_simulation(
        shower_file, "calogan-photons", {"incident_energy": np.array([1.0, 2.0])}
    )
    cost = measure_simulation(found, 0)
    assert cost["simulations"] == 4
    assert cost["failed"] == 0
    assert cost["generator"].startswith("Geant4")
    assert cost["source"] == "preset calogan-photons"


# The chapter


def timed(**values):
    usual = {"emulator": [entry()], "why_not": None, "start_up": [], "scaling": None}
    usual |= {"fresh_why_not": None, "reference": None, "reference_why_not": "nobody said"}
    usual |= {"reference_seconds_per_sample": None, "reference_samples_per_simulation": None}
    return usual | values


def numbers(kind="shower", **values):
    """Return the numbers of a result by name, after a way through JSON, and what it says."""
    result = speed_result(timed(**values), kind)
    again = Result.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
    return {key.removeprefix("speed/"): n for key, n in again.numbers.items()}, result.says


def test_times_are_of_one_thread_and_their_groups_of_all():
    entries = [entry(batch=1, seconds_per_sample=0.5), entry(batch=100), entry(writing=True)]
    entries += [entry(threads=2, batch=100, seconds_per_sample=0.01)]
    entries += [entry(device="cuda", threads=2, batch=100, seconds_per_sample=0.001)]
    told, _ = numbers(emulator=entries)
    assert [*told] == ["time_1", "time", "cpu_time"]
    assert (told["time_1"].value, told["time_1"].unit, told["time_1"].n) == (500, "ms", 3)
    assert (told["time"].value, told["time"].error, told["time"].floor) == (20, 2, None)
    assert (told["cpu_time"].value, told["cpu_time"].error) == (10, pytest.approx(0.3))
    assert told["time"].leading
    groups = {g.name: g.value for g in told["time"].groups}
    assert groups == {
        "cpu_1_1": 500, "cpu_1_100": 20, "cpu_1_10_file": 20, "cpu_2_100": 10, "cuda_100": 1
    }  # fmt: skip
    labels = [g.label for g in told["time"].groups]
    assert labels[2:] == [
        "batch 10 into a file, CPU, 1 thread", "batch 100, CPU, 2 threads", "batch 100, CUDA"
    ]  # fmt: skip


def test_measured_and_recorded_ratios_are_told_apart():
    reference = simulated()
    e = entry(speed_up=timing.ratio(entry(), reference))
    told, says = numbers(emulator=[e], reference=reference, reference_seconds_per_sample=4.0)
    assert told["speed_up"].value == 200
    assert told["speed_up"].error == pytest.approx(10)
    assert told["speed_up"].leading
    assert told["speed_up"].more
    simulation = told["simulation"]
    assert (simulation.value, simulation.error, simulation.n) == (2000, 80, 7)  # CPU ms
    assert (told["simulation_clock"].value, told["simulation_clock"].error) == (3000, 400)
    assert told["simulation_recorded"].value == 4000
    assert told["simulation_start"].value == 2.0
    assert "no measurement" not in says
    assert "a code; preset x" in says
    told, says = numbers(reference_seconds_per_sample=4.0)
    assert "speed_up" not in told
    assert (told["speed_up_recorded"].value, told["simulation"].value) == (200, 4000)
    assert not told["speed_up_recorded"].leading
    assert "no measurement of this report" in says
    assert "nobody said" in says
    told, _ = numbers()
    assert [*told] == ["time_1", "time", "cpu_time"]


def test_what_is_not_timed_says_why():
    told, says = numbers(emulator=None, why_not="left out.", reference_seconds_per_sample=2.0)
    assert [*told] == ["time", "simulation"]
    assert math.isnan(told["time"].value)
    assert told["time"].says == "not timed: left out."
    assert says.startswith("Not timed: left out.")


def test_energy_is_a_number_where_it_is_told():
    told, says = numbers()
    assert "per_watt_hour" not in told
    assert "not told by this machine" in says
    e = entry(joules_per_sample=0.36, energy_of=["package-0 (RAPL)"])
    told, says = numbers(emulator=[entry(batch=1), e], reference=None)
    assert told["per_watt_hour"].value == pytest.approx(1e4)
    assert [g.says for g in told["per_watt_hour"].groups] == ["not told", "not told"]
    assert math.isnan(told["per_watt_hour"].groups[0].value)
    assert "package-0 (RAPL)" in says


def started(device, **values):
    part = {"median": 1.0, "spread": 0.1}
    seconds = dict.fromkeys(("python", "import", "load", "first_sample"), part)
    seconds["total"] = {"median": 4.0, "spread": 0.2}
    usual = {"device": device, "n": 3, "batch": 100, "seconds": seconds}
    usual |= {"peak_bytes": [1e6, 2e6], "accelerator_peak_bytes": [None, None]}
    return usual | values


def test_start_up_and_memory_are_of_each_device():
    starts = [
        started("cpu", peak_bytes=[None, 2e6]),
        started("cuda", accelerator_peak_bytes=[3e6, 4e6]),
    ]
    told, _ = numbers(start_up=starts)
    assert (told["start_up"].value, told["start_up"].error, told["start_up"].n) == (4, 0.2, 3)
    assert told["start_up_cuda"].groups[0].label == "Python itself"
    assert told["memory_1"].says == "not told by this machine"
    of = ("memory", "memory_cuda_1", "accelerator_memory_cuda_1", "accelerator_memory_cuda")
    assert [told[name].value for name in of] == [2, 1, 3, 4]
    assert "accelerator_memory" not in told


ROWS = [
    {"processes": 1, "samples_per_second": 50.0, "spread": 1.0, "efficiency": 1.0, "error": 0.0},
    {"processes": 2, "samples_per_second": 80.0, "spread": 2.0, "efficiency": 0.8, "error": 0.1},
]


def test_processes_left_out_for_want_of_memory_are_said():
    for cores, memory in ((2, False), (4, True)):
        told, says = numbers(scaling={"cores": cores, "batch": 10, "rows": ROWS})
        assert ("half of the free memory" in says) == memory
        assert (told["efficiency"].value, told["efficiency"].error) == (80, 10)
        assert [g.value for g in told["efficiency"].groups] == [100, 80]
    told, _ = numbers(scaling={"cores": 1, "batch": 10, "rows": ROWS[:1]})
    assert "efficiency" not in told  # of one it means nothing


@pytest.mark.parametrize(("kind", "words"), [("shower", "full simulation"), ("field", "a single")])
def test_what_batches_stand_for_is_said(kind, words):
    _, says = numbers(kind, emulator=[entry(), entry(batch=10_000)])
    assert words in says
    assert "batch 10,000 is production in bulk" in says
    assert "too much time or memory" not in says
    assert "no floor" in says
    shared = {"reference": simulated(samples_per_simulation=12.0, failed=2, regressed=True)}
    entries = [entry(speed_up=timing.ratio(entry(), shared["reference"]))]
    _, says = numbers(kind, emulator=entries, **shared)
    assert "too much time or memory" in says
    assert f"One simulation gave 12 {kind}s" in says
    assert "2 more failed" in says
    assert "from a line through costs against energies" in says


def test_curves_show_speeds_and_the_simulation():
    reference = simulated()
    entries = [entry(batch=b, seconds_per_sample=1 / b, spread=0.1 / b) for b in (1, 10, 100)]
    entries += [entry(batch=100, threads=2, seconds_per_sample=1e-3), entry(writing=True)]
    for e in entries:
        e["speed_up"] = timing.ratio(e, reference)
    scaling = {"cores": 2, "batch": 10, "rows": ROWS}
    result = speed_result(timed(emulator=entries, reference=reference, scaling=scaling), "field")
    first, second, together = (m for m in result.measured if isinstance(m, Curve))
    np.testing.assert_allclose(first.generated, [1, 10, 100])
    np.testing.assert_allclose(first.generated_error, [0.1, 1, 10])
    np.testing.assert_allclose(first.reference, 1 / 3)
    np.testing.assert_allclose(first.reference_error, 0.4 / 9)
    assert (first.label, first.axis.label) == ("fields a second", "batch size, CPU, 1 thread")
    assert (second.axis.label, [*second.x]) == ("batch size, CPU, 2 threads", [100])
    np.testing.assert_allclose(together.reference, [50, 100])
    np.testing.assert_allclose(together.deviation, [0, -0.2])
    (_, rates), (_, processes) = figures_of(result)
    assert rates == [first, second]
    panels = draw(rates).axes
    assert len(panels) == 2  # one each: nothing is compared
    assert {axes.get_xscale() + axes.get_yscale() for axes in panels} == {"loglog"}
    assert len(draw(processes).axes) == 2  # the efficiency below
    unknown = speed_result(timed(), "field").measured[0]
    assert np.isnan(unknown.reference).all()


def measured(toy_showers, pair, emulator_file, monkeypatch, batches=(1, 10)):
    monkeypatch.setattr(throughput, "BATCHES", batches)
    simulation = timing.plan_simulation(pair, toy_showers, None, 0)
    return timing.measure_speed(load(emulator_file), None, pair, toy_showers, simulation, 0)


def whole(toy_showers, pair, emulator_file, monkeypatch):
    """Check that all is there and agrees."""
    monkeypatch.setattr(start_up, "cores", lambda: 2)
    record = measured(toy_showers, pair, emulator_file, monkeypatch)
    result = speed_result(record, "shower")
    told = {key.removeprefix("speed/"): n for key, n in result.numbers.items()}
    assert told.keys() >= {
        "time_1", "time", "cpu_time", "speed_up", "simulation", "simulation_clock",
        "simulation_start", "simulation_recorded", "start_up", "memory_1", "memory", "efficiency",
    }  # fmt: skip
    for e, group in zip(record["emulator"], told["speed_up"].groups, strict=True):
        kind = "cpu_" if e["speed_up"]["equal"] else ""
        seconds = e[f"{kind}seconds_per_sample"]
        assert group.value == pytest.approx(told["simulation"].value / 1e3 / seconds)
    assert [n.name for n in told.values() if n.leading] == ["time", "speed_up"]
    assert "toy: parametrised electromagnetic shower" in result.says
    return told


def test_a_measurement_of_a_toy_on_a_canned_clock(
    toy_showers, pair, emulator_file, monkeypatch, canned
):
    told = whole(toy_showers, pair, emulator_file, monkeypatch)
    assert (told["simulation"].value, told["simulation"].n) == (pytest.approx(800), 20)
    assert told["start_up"].value == 4


@pytest.mark.long
def test_a_whole_measurement_of_a_toy(toy_showers, pair, emulator_file, monkeypatch, brief):
    told = whole(toy_showers, pair, emulator_file, monkeypatch)
    assert told["simulation"].n == 4
    assert told["memory"].value > 50  # MB


def test_a_failing_process_leaves_the_rest(toy_showers, pair, emulator_file, monkeypatch):
    def fail(*_):
        raise start_up.Ended("gone")

    monkeypatch.setattr(timing, "measure_start_up", fail)
    monkeypatch.setattr(timing, "measure_simulation", fail)
    result = speed_result(measured(toy_showers, pair, emulator_file, monkeypatch, (1,)), "shower")
    assert "Start-up and several processes were not timed: gone" in result.says
    assert "The simulation could not be timed: gone" in result.says
    assert result.numbers["speed/time"].value > 0


def test_timing_can_be_left_out(toy_showers, generated, emulator_file, monkeypatch):
    for name in ("measure_speed", "plan_simulation"):
        monkeypatch.setattr(report, name, lambda *_: pytest.fail("timed all the same"))
    few = [c for c in chapters_of("shower") if c.name == "samples"]
    monkeypatch.setattr(report, "chapters_of", lambda kind: few)
    made = report.benchmark(generated, toy_showers, emulator=emulator_file, speed=False)
    assert math.isnan(made["speed/time"].value)
    assert "Not timed: left out." in made.markdown()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--simulate", "calogan-photons", "--no-speed"], "--no-speed to time nothing"),
        (["--simulate", "calogan-photns"], "did you mean 'calogan-photons'"),
    ],
)
def test_bad_requests_are_one_line(toy_showers, generated, tmp_path, words, message):
    command = ["benchmark", str(generated), str(toy_showers), "-o", str(tmp_path / "r"), *words]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert message in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["data set", "attribute"])
def test_seconds_that_a_file_records(write_showers, tmp_path, how):
    path = write_showers(tmp_path / "r.h5", 100)
    with h5py.File(path, "a") as file:
        if how == "data set":
            file["seconds"] = np.linspace(0, 1, 100)
        else:
            file.attrs["seconds_per_sample"] = 0.5
    assert throughput.recorded_seconds(path) == pytest.approx(0.5)
