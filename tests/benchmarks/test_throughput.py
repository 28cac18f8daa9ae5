"""Speed: closed forms of ratios and costs, counters of energy, fresh processes, simulations."""

import base64
import ctypes
import importlib.util
import json
import shutil
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure

from emulators import load
from emulators.benchmarks import measured_features, report
from emulators.benchmarks.field_report.pair import load_fields
from emulators.benchmarks.measured import plain
from emulators.benchmarks.page import throughput as section
from emulators.benchmarks.pair import load_pair
from emulators.benchmarks.speed import energy_use, reference_cost, start_up, throughput
from emulators.benchmarks.speed import plots as throughput_plots
from emulators.benchmarks.speed import timing as speed
from emulators.benchmarks.speed.energy_use import Counter, joules
from emulators.benchmarks.speed.reference_cost import (
    Simulation,
    find_simulation,
    mean_cost,
    measure_simulation,
)
from emulators.benchmarks.speed.tables import throughput_parts
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
    monkeypatch.setattr(reference_cost, "SECONDS", 0.0)
    monkeypatch.setattr(reference_cost, "LEAST", 4)


@pytest.fixture(scope="module")
def toy_showers(tmp_path_factory):
    return simulate_file(
        read_simulation(TOY), tmp_path_factory.mktemp("toy") / "toy.h5", 120, seed=3
    )


@pytest.fixture(scope="module")
def generated(toy_showers):
    """Return what an emulator may have made: no shower is one of the reference's."""
    return changed(toy_showers, toy_showers.with_name("generated.h5"))


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
    known = {"device": "cpu", "threads": 1, "batch": 10, "writing": False, "repeats": 3}
    known |= {"seconds_per_sample": 0.02, "spread": 0.002, "joules_per_sample": None}
    known |= {"cpu_seconds_per_sample": 0.01, "cpu_spread": 0.0003, "energy_of": []}
    return known | {"speed_up": None} | values


def simulated(**values):
    known = {"generator": "a code", "source": "preset x", "conditions": "its own law"}
    known |= {"simulations": 7, "failed": 0, "samples_per_simulation": 1.0, "start": 2.0}
    known |= {"seconds_per_sample": 3.0, "error": 0.4, "cpu_seconds_per_sample": 2.0}
    known |= {"cpu_error": 0.08, "joules_per_sample": None, "energy_of": [], "regressed": False}
    return known | values


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
    equal = speed.ratio(entry(), reference)
    assert equal == {
        "value": pytest.approx(200),
        "error": pytest.approx(200 * np.hypot(0.04, 0.03)),
        "equal": True,
    }
    clock = speed.ratio(entry(threads=2), reference)
    assert clock["value"] == pytest.approx(100)
    assert clock["error"] == pytest.approx(100 * np.hypot(0.04, 0.1))
    assert not clock["equal"]
    assert speed.ratio(entry(), simulated(cpu_error=None))["error"] is None
    assert speed.ratio(entry(), None) is None


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
    pair = load_fields(changed(field_file, tmp_path / "maps.h5"), field_file, None, 0)
    found = speed.compared_conditions(pair, 0)
    assert {k: len(v) for k, v in found.items()} == {"omega_m": 24, "sigma_8": 24}
    known = {tuple(row) for row in pair.conditions["reference"]}
    assert {*zip(found["omega_m"], found["sigma_8"])} == known


# Fresh processes


def test_a_fresh_process_tells_its_start_and_its_memory(emulator_file, tmp_path, monkeypatch):
    # what lies in the working folder must not stand in for Python's own modules
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    emulator = load(emulator_file)
    with start_up.saved(emulator) as path:
        found = start_up.measure_start_up(path, "cpu", 20_000, 0)
    assert (emulator.name, emulator.sha256) == ("tiny", load(emulator_file).sha256)
    seconds = {k: v["median"] for k, v in found["seconds"].items()}
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()))
    assert all(value > 0 for value in seconds.values())
    assert seconds["import"] > seconds["python"]  # torch
    one, many = found["peak_bytes"]
    assert many > one + 20_000 * 504 * 4 > 100 << 20


def test_processes_draw_at_once(emulator_file, monkeypatch):
    monkeypatch.setattr(start_up, "cores", lambda: 2)
    found = start_up.measure_scaling(emulator_file, 10, None, 0)
    assert [row["processes"] for row in found["rows"]] == [1, 2]
    one, two = found["rows"]
    assert (one["efficiency"], one["error"]) == (1, 0)
    assert two["efficiency"] == two["samples_per_second"] / (2 * one["samples_per_second"])
    assert two["error"] > 0


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


def test_the_recorded_simulation_is_put_at_the_energies_compared(toy_showers, generated):
    pair = load_pair(generated, toy_showers, None, 0)
    found = speed.plan_simulation(pair, toy_showers, None, 0)
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


def test_maps_cut_from_a_box_share_its_cost(tmp_path):
    plan = {"name": "toy-gaussian-field", "cells": 8, "box": 50.0}
    boxes = simulate_file(read_simulation({"simulator": plan}), tmp_path / "boxes.h5", 3)
    maps = convert(boxes, tmp_path / "maps.h5", cut=Cut(slabs=4))
    found = find_simulation(maps, None, {})
    assert found.samples == 12  # four slabs across each of three axes
    assert found.conditions == "its own law"
    cost = measure_simulation(found, 0)
    assert cost["samples_per_simulation"] == 12
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


def test_a_simulation_is_timed_at_least_so_often_and_so_long(toy_showers, monkeypatch):
    found = find_simulation(toy_showers, None, {"incident_energy": np.array([2.0, 80.0])})
    few = measure_simulation(found, 0)
    assert few["simulations"] == 4
    assert few["cpu_seconds_per_sample"] > 0
    assert few["cpu_error"] > 0
    monkeypatch.setattr(reference_cost, "SECONDS", 1.0)
    monkeypatch.setattr(reference_cost, "REGRESSED", 5)
    more = measure_simulation(found, 0)
    assert more["simulations"] > 4
    assert more["regressed"]
    monkeypatch.setattr(reference_cost, "LEAST", 1000)
    monkeypatch.setattr(reference_cost, "LONG", 0.0)
    assert measure_simulation(found, 0)["simulations"] == 2


def test_simulations_that_fail_are_said(monkeypatch):
    monkeypatch.setattr(reference_cost, "MOST", 2)
    narrow = GaussianField(cells=8, spectrum=((0.1, 1.0), (0.2, 1.0)))
    with pytest.raises(start_up.Ended, match=r"all of 2 simulations failed.*the spectrum is given"):
        measure_simulation(Simulation(narrow, name="toy-gaussian-field"), 0)


@needs_geant4
def test_geant4_runs_beside_an_emulator(shower_file):
    found = find_simulation(
        shower_file, "calogan-photons", {"incident_energy": np.array([1.0, 2.0])}
    )
    cost = measure_simulation(found, 0)
    assert cost["simulations"] == 4
    assert cost["failed"] == 0
    assert cost["generator"].startswith("Geant4")
    assert cost["source"] == "preset calogan-photons"


# The report


def timed(**values):
    known = {"emulator": [entry()], "why_not": None, "start_up": [], "scaling": None}
    known |= {"fresh_why_not": None, "reference": None, "reference_why_not": "nobody said"}
    known |= {"reference_seconds_per_sample": None, "reference_samples_per_simulation": None}
    return known | values


def rows_of(found, kind="shower"):
    title, headings, rows, note = throughput_parts({"kind": kind, "throughput": found})[0]
    assert title == "Throughput"
    assert {len(row) for row in rows} == {len(headings)}
    return headings, {row[0]: dict(zip(headings, row)) for row in rows}, note


def test_measured_and_recorded_ratios_are_told_apart():
    reference = simulated()
    e = entry(speed_up=speed.ratio(entry(), reference))
    _, rows, note = rows_of(timed(emulator=[e], reference=reference))
    row = rows["emulator, batch 10"]
    assert row["speed-up"] == "200 ± 10"
    assert (row["ms / shower"], row["CPU ms / shower"]) == ("20.0 ± 2.0", "10.00 ± 0.30")
    assert rows["simulation, run here"]["CPU ms / shower"] == "2,000 ± 80"
    assert rows["simulation, run here"]["n"] == "7 simulations"
    assert "no measurement" not in note
    _, rows, note = rows_of(timed(reference_seconds_per_sample=4.0))
    assert rows["emulator, batch 10"]["speed-up"] == "200, not measured"
    assert "no measurement of this report" in note
    assert "nobody said" in note
    _, rows, note = rows_of(timed())
    assert rows["emulator, batch 10"]["speed-up"] == "not known"
    assert rows["simulation, as its file records"]["ms / shower"] == "not recorded"


def test_energy_has_a_column_where_it_is_told():
    headings, _, note = rows_of(timed())
    assert "showers / Wh" not in headings
    assert "not told by this machine" in note
    e = entry(joules_per_sample=0.36, energy_of=["package-0 (RAPL)"])
    headings, rows, note = rows_of(timed(emulator=[e, entry(batch=1)]))
    assert rows["emulator, batch 10"]["showers / Wh"] == "1e+04"
    assert rows["emulator, batch 1"]["showers / Wh"] == "not told"
    assert "package-0 (RAPL)" in note


def test_processes_left_out_for_want_of_memory_are_said():
    row = {"processes": 1, "samples_per_second": 50.0, "spread": 1.0, "efficiency": 1, "error": 0}
    for cores, said in ((1, False), (4, True)):
        scaling = {"cores": cores, "batch": 10, "rows": [row]}
        note = throughput_parts({"kind": "shower", "throughput": timed(scaling=scaling)})[-1][-1]
        assert ("half of the free memory" in note) == said


@pytest.mark.parametrize(("kind", "words"), [("shower", "full simulation"), ("field", "a single")])
def test_what_batches_stand_for_is_said(kind, words):
    note = rows_of(timed(emulator=[entry(), entry(batch=10_000)]), kind)[2]
    assert words in note
    assert "batch 10,000 is production in bulk" in note
    assert "Larger batches" not in note
    assert "no floor" in note


def test_a_whole_measurement_of_a_toy(toy_showers, generated, emulator_file, monkeypatch):
    monkeypatch.setattr(throughput, "BATCHES", (1, 10))
    monkeypatch.setattr(start_up, "cores", lambda: 1)
    pair = load_pair(generated, toy_showers, None, 0)
    simulation = speed.plan_simulation(pair, toy_showers, None, 0)
    found = speed.measure_speed(load(emulator_file), None, pair, toy_showers, simulation, 0)
    found = plain(found)
    assert found["reference"]["simulations"] == 4
    assert found["reference_seconds_per_sample"] > 0  # recorded too
    for e in found["emulator"]:
        kind = "cpu_" if e["speed_up"]["equal"] else ""
        simulated = found["reference"]["cpu_seconds_per_sample"]
        assert e["speed_up"]["value"] == pytest.approx(simulated / e[f"{kind}seconds_per_sample"])
    record = {"kind": "shower", "throughput": found}
    parts = throughput_parts(record)
    assert [p[0] for p in parts] == [
        "Throughput",
        "Start-up and memory",
        "Several processes at once",
    ]
    text = section(record)
    assert text.count("<table") == 3
    assert "toy: parametrised electromagnetic shower" in text
    drawing = text.split("data:image/svg+xml;base64,")[1].split('"')[0]
    ElementTree.fromstring(base64.b64decode(drawing))


def test_a_failing_process_leaves_the_rest(toy_showers, generated, emulator_file, monkeypatch):
    def fail(*_):
        raise start_up.Ended("gone")

    monkeypatch.setattr(throughput, "BATCHES", (1,))
    monkeypatch.setattr(speed, "measure_start_up", fail)
    monkeypatch.setattr(speed, "measure_simulation", fail)
    pair = load_pair(generated, toy_showers, None, 0)
    simulation = speed.plan_simulation(pair, toy_showers, None, 0)
    found = speed.measure_speed(load(emulator_file), None, pair, toy_showers, simulation, 0)
    note = rows_of(found)[2]
    assert "Start-up and several processes were not timed: gone" in note
    assert "The simulation could not be timed: gone" in note


def test_the_figure_shows_speeds_and_the_simulation():
    lines = [entry(batch=b, seconds_per_sample=1 / b) for b in (1, 10, 100)]
    lines += [entry(batch=100, threads=2, seconds_per_sample=1e-3), entry(batch=100, writing=True)]
    found = timed(emulator=lines, reference=simulated())
    axes = Figure().subplots()
    throughput_plots._batches(axes, found, "shower")
    drawn = {c.get_label(): c for c in axes.containers}
    assert [*drawn] == ["CPU, 1 thread", "CPU, 2 threads"]
    np.testing.assert_allclose(drawn["CPU, 1 thread"][0].get_ydata(), [1, 10, 100])
    labels = [t.get_text() for t in axes.get_legend().get_texts()]
    assert "simulation, 1 thread" in labels
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    axes = Figure().subplots()
    throughput_plots._batches(axes, timed(reference_seconds_per_sample=2.0), "field")
    assert [*axes.lines[-1].get_ydata()] == [0.5, 0.5]
    assert axes.get_ylabel() == "fields / s"


def test_timing_can_be_left_out(toy_showers, generated, emulator_file, tmp_path, monkeypatch):
    for module, name in ((report, "measure_speed"), (report, "plan_simulation")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("timed all the same"))
    monkeypatch.setattr(measured_features, "HALVINGS", 2)
    monkeypatch.setattr(measured_features, "HALF_SAMPLES", 2)
    monkeypatch.setattr(report, "html", lambda record: "")
    record = report.benchmark(
        generated,
        toy_showers,
        tmp_path / "report",
        emulator=emulator_file,
        classifiers=False,
        speed=False,
    )
    assert record["throughput"]["emulator"] is None
    assert "Not timed: left out." in (tmp_path / "report" / "report.md").read_text()


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
