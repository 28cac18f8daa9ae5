import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from scipy.stats import binomtest, norm

from emulators.benchmarks import report
from emulators.benchmarks.chapter import CHAPTERS
from emulators.benchmarks.chapters.faults import FAULTS, faults
from emulators.benchmarks.diagnosis.faults import (
    CHANCE,
    FAMILIES,
    beyond,
    depth_strata,
    energy_strata,
    more_often,
)
from emulators.benchmarks.diagnosis.missing import missing_showers
from emulators.benchmarks.diagnosis.repeats import shapes
from emulators.benchmarks.diagnosis.scales import energy_scale, lateral_width, ratio, summarise
from emulators.benchmarks.judge import is_judged, judge
from emulators.benchmarks.measured import from_json, to_json
from emulators.benchmarks.pair import Pair, load_pair
from emulators.benchmarks.report import benchmark
from emulators.benchmarks.write import markdown
from emulators.data.convert import convert
from emulators.data.dataset import Dataset, split_rows
from emulators.data.hdf5 import HDF5Writer, content_hash
from emulators.data.spec import Condition, ReadoutLayer, Samples, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.observables.closest import closest_rows
from emulators.observables.showers import observables

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"
N = 1200
SETTINGS = {"seed": 0, "halvings": 2}  # few for the floors: they take most of the time


@pytest.fixture(scope="module")
def showers():
    data = Dataset(SAMPLE)
    return data.take(np.arange(len(data))), data.spec.geometry


def some(samples, rows):
    return Samples(samples.values[rows], {k: v[rows] for k, v in samples.conditions.items()})


def changed(samples, values, energy=None):
    energy = samples.conditions["incident_energy"] if energy is None else energy
    return Samples(values.astype("f4"), {"incident_energy": energy})


def compared(generated, reference, geometry, trained=None):
    """Return a pair of samples in memory; those trained on follow the reference in its file."""
    trained = some(reference, slice(0)) if trained is None else trained
    n, m = len(reference), len(generated)
    stored = Samples(
        np.concatenate([reference.values, trained.values]),
        {
            k: np.concatenate([reference.conditions[k], trained.conditions[k]])
            for k in reference.conditions
        },
    )
    held = {"generated": generated, "reference": stored}
    rows = {"generated": np.arange(m), "reference": np.arange(n)}
    energy = (Condition("incident_energy", "GeV", 0.0, 1e4),)
    return Pair(
        data={
            name: SimpleNamespace(take=lambda rows, s=s: some(s, rows), path=name)
            for name, s in held.items()
        },
        spec=SampleSpec("shower", "native", (geometry.n_cells,), "MeV", energy, geometry),
        rows=rows,
        trained=n + np.arange(len(trained)),
        names=("incident_energy",),
        conditions={
            name: held[name].conditions["incident_energy"][r][:, None].astype(float)
            for name, r in rows.items()
        },
        simulations=rows,
        paired=False,
        p_values={},
        warnings=(),
        files={"generated": {"showers": m, "copies": {}}},
    )


def named(generated, reference, geometry, trained=None):
    """Return the faults that are named, by what they are, and all of them."""
    numbers = {
        n.name: n for n in faults(compared(generated, reference, geometry, trained), SETTINGS)
    }
    return {name: n for name, n in numbers.items() if n.status == "poor"}, numbers


def part(number, label):
    """Return one part of a fault."""
    return next(g for g in number.groups if g.label == label)


@pytest.fixture(scope="module")
def parts(showers):
    """Three independent samples: generated, reference, trained on."""
    order = np.random.default_rng(1).permutation(len(showers[0]))
    return tuple(some(showers[0], order[i * N : (i + 1) * N]) for i in range(3))


@pytest.mark.parametrize(("n", "m"), [(400, 400), (600, 300), (120, 500)])
@pytest.mark.parametrize("seed", [0, 1])
def test_independent_samples_are_not_accused(showers, seed, n, m):
    # a report names anything with a probability below 1 %; these never change
    order = np.random.default_rng(seed).permutation(len(showers[0]))
    parts = (order[:n], order[n : n + m], order[n + m : n + 2 * m])
    generated, reference, trained = (some(showers[0], rows) for rows in parts)
    numbers = faults(compared(generated, reference, showers[1], trained), SETTINGS | {"seed": seed})
    assert [n.name for n in numbers] == ["exact_copies", *FAMILIES]
    for number in numbers:
        assert (number.status, judge(number).status) == ("good", "good")
        assert {g.status for g in number.groups} <= {"good"}
        values = json.loads(json.dumps(to_json(number), allow_nan=False))
        assert to_json(from_json(values)) == values


def wider(samples, geometry, by):
    """Move energy outwards within the cells that are hit: they are wider, none is added."""
    values = samples.values.astype(float)
    for cells, layer in zip(geometry.slices, geometry.layers):
        part = values[:, cells]
        energy = part.sum(1, keepdims=True)
        squares = sum(c.ravel() ** 2 for c in layer.centres)
        mean = (part @ squares)[:, None] / np.where(energy > 0, energy, 1)
        moved = part * np.maximum(1 + by * (squares / np.where(mean > 0, mean, 1) - 1), 0)
        total = moved.sum(1, keepdims=True)
        values[:, cells] = moved * energy / np.where(total > 0, total, 1)
    return changed(samples, values)


def late(samples, geometry):
    energy = samples.conditions["incident_energy"]
    return observables(samples.values, geometry, energy)["shower_depth"]


def repeated(samples, cells=slice(None), jitter=0.0):
    """Return the sample with its first tenth replaced by copies of the second."""
    values, energy, k = samples.values.copy(), samples.conditions["incident_energy"].copy(), N // 10
    noise = 1 + jitter * np.random.default_rng(0).standard_normal((k, values.shape[1]))
    values[:k] = values[k : 2 * k][:, cells] * noise
    energy[:k] = energy[k : 2 * k]
    return changed(samples, values, energy)


def noisy(samples, share, size):
    """Return the sample with deposits of about ``size`` MeV in a share of the empty cells."""
    rng, values = np.random.default_rng(0), samples.values.copy()
    hit = (values == 0) & (rng.random(values.shape) < share)
    values[hit] = size * rng.random(hit.sum())
    return changed(samples, values)


def mixed(samples, others):
    """Return the sample with every fifth shower replaced by one of the others."""
    values, energy = samples.values.copy(), samples.conditions["incident_energy"].copy()
    values[::5], energy[::5] = others.values[::5], others.conditions["incident_energy"][::5]
    return changed(samples, values, energy)


def smeared(samples):
    noise = np.random.default_rng(0).standard_normal(samples.values.shape)
    return changed(samples, samples.values * (1 + 0.02 * noise))


BROKEN = {
    "1 % too much energy": (lambda g, _t, _: changed(g, 1.01 * g.values), "energy scale"),
    "1 % too little energy": (lambda g, _t, _: changed(g, 0.99 * g.values), "energy scale"),
    "energies left out": (
        lambda g, _t, _: some(g, np.abs(g.conditions["incident_energy"] - 15) > 5),
        "missing showers",
    ),
    "copies": (lambda g, _t, _: repeated(g), "duplicates"),
    "near copies": (lambda g, _t, _: repeated(g, jitter=1e-3), "duplicates"),
    "mirrored copies": (lambda g, _t, geo: repeated(g, geo.mirrored("x")), "duplicates"),
    "training set": (lambda _g, t, _: t, "memorised"),
    "training set, in part": (lambda g, t, _: mixed(g, t), "memorised"),
    "smeared cells": (lambda g, _t, _: smeared(g), "smearing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_named_and_no_other(parts, showers, name):
    generated, reference, trained = parts
    broken, fault = BROKEN[name]
    poor, _ = named(broken(generated, trained, showers[1]), reference, showers[1], trained)
    assert set(poor) == {fault}
    line = judge(poor[fault])
    assert line.status == "poor"
    assert "n = " in line.text
    assert "follow" not in line.text
    assert line.text.endswith(FAULTS[fault][2])  # what to do about it


def scales(measure, generated, reference, geometry):
    """Return what one check of `scales` finds."""
    samples = (reference, generated)
    energies = [np.asarray(s.conditions["incident_energy"], float) for s in samples]
    summaries = [
        summarise(s.values, e, observables(s.values, geometry, e), geometry, 0.1)
        for s, e in zip(samples, energies)
    ]
    n = len(reference) // 2
    findings = measure(tuple(summaries), [(np.arange(n), np.arange(n, 2 * n))], geometry)
    return {f.part: f for f in findings}


def test_the_size_of_an_energy_scale(parts, showers):
    generated, reference, _ = parts
    broken = changed(generated, 1.01 * generated.values)
    found = scales(energy_scale, broken, reference, showers[1])
    whole = found["whole shower"]
    assert abs(whole.value - 0.01) < 4 * whole.error < 0.001
    assert whole.text.startswith("whole shower off by +")
    for layer in (found["layer 0"], found["layer 1"]):
        assert layer.named
        assert abs(layer.value - 0.01) < 4 * layer.error


def test_one_layer_alone_is_off(parts, showers):
    generated, reference, _ = parts
    values = generated.values.copy()
    values[:, showers[1].slices[0]] *= 1.01
    found = scales(energy_scale, changed(generated, values), reference, showers[1])
    assert abs(found["layer 0"].value - 0.01) < 4 * found["layer 0"].error
    assert (found["layer 0"].named, found["layer 1"].named) == (True, False)
    # a layer with little energy is compared by its mean, which needs more
    values[:, showers[1].slices[2]] *= 1.5
    found = scales(energy_scale, changed(generated, values), reference, showers[1])
    assert found["layer 2"].named


def test_calibration_is_exact(parts, showers):
    """The same showers with one layer scaled: the factor itself, whatever the spread."""
    values = parts[1].values.astype(float)
    values[:, showers[1].slices[1]] *= 1.01
    found = scales(energy_scale, changed(parts[1], values), parts[1], showers[1])
    layers = [found[f"layer {i}"].value for i in (0, 1)]
    np.testing.assert_allclose(layers, [0, 0.01], atol=1e-6)


def test_the_size_of_a_width(parts, showers):
    generated, reference, _ = parts
    broken = wider(generated, showers[1], 0.01)
    widths = [
        observables(s.values, showers[1], s.conditions["incident_energy"])["width_x_layer_1"]
        for s in (generated, broken)
    ]
    by = widths[1].mean() / widths[0].mean() - 1
    assert 0.015 < by < 0.03
    found = scales(lateral_width, broken, reference, showers[1])
    layer, every = found["layer 1 along x"], found["all layers"]
    assert abs(layer.value - by) < 4 * layer.error
    assert every.error < layer.error  # x and y fluctuate independently
    assert every.text.endswith("too wide in all layers")
    poor, _ = named(broken, reference, showers[1])
    assert poor.pop("lateral width").unit == "%"
    # what is moved outwards changes the spectrum there as well
    assert all("may follow from lateral width" in n.says for n in poor.values())
    found = scales(lateral_width, reference, broken, showers[1])
    assert found["all layers"].text.endswith("too narrow in all layers")


def test_missing_late_showers_are_described(parts, showers):
    generated, reference, _ = parts
    depth = late(generated, showers[1])
    kept = some(generated, depth < np.quantile(depth, 0.85))
    poor, numbers = named(kept, reference, showers[1])
    text = poor.pop("missing showers").says
    # in which words the region is found may differ, that they are late is told
    assert "shower depth" in text
    assert "energy fraction layer 1 above" in text or "shower depth above" in text
    assert "0 % of the generated" in text
    # late showers are wide in layer 0 and leak into layer 2
    assert all("may follow from missing showers" in n.says for n in poor.values())
    assert part(numbers["energy scale"], "whole shower").status == "good"


def test_showers_missing_at_some_energies_only(parts, showers):
    generated, reference, _ = parts
    energy, depth = generated.conditions["incident_energy"], late(generated, showers[1])
    kept = some(generated, ~((energy > 30) & (depth > 0.85)))
    poor, _ = named(kept, reference, showers[1])
    assert "incident energy above" in poor["missing showers"].says


def test_missing_in_several_observables_together():
    """A corner of a cube: no interval of one observable is empty, but a cluster is."""
    rng = np.random.default_rng(0)
    names = ("incident_energy", "a", "b", "c")
    reference, generated = (dict(zip(names, rng.random((4, 6000)))) for _ in range(2))
    halves = [(np.arange(3000), np.arange(3000, 6000))]
    units = dict.fromkeys(names, "")
    (whole,) = missing_showers(reference, generated, units, halves, 0)
    kept = ~((generated["a"] > 0.5) & (generated["b"] > 0.5) & (generated["c"] > 0.5))
    cut = {k: v[kept] for k, v in generated.items()}
    (corner,) = missing_showers(reference, cut, units, halves, 0)
    assert (whole.named, corner.named) == (False, True)
    assert "several observables" in corner.text


@pytest.mark.parametrize(("share", "size"), [(1.0, 0.05), (0.05, 1.0), (0.02, 5.0)])
def test_noise_is_measured(parts, showers, share, size):
    poor, _ = named(noisy(parts[0], share, size), parts[1], showers[1])
    noise = poor["noise"]
    assert abs(noise.value - 100 * share) < 4 * noise.error + 1e-4
    assert noise.floor < 1
    assert "of the cells that should be empty have energy" in noise.says
    # noise makes showers wider too, and it is said
    assert "may follow from noise" in poor["lateral width"].says


def test_smearing_is_measured(parts, showers):
    poor, _ = named(smeared(parts[0]), parts[1], showers[1])
    text = poor["smearing"].says
    assert 1.7 < float(text.split("smeared by ")[1].split(" %")[0]) < 2.3


def test_without_training_showers_copies_of_them_cannot_be_told(parts, showers):
    poor, numbers = named(*parts[:2], showers[1])
    assert not poor
    entry = numbers["memorised"]
    assert np.isnan(entry.value)
    assert entry.error is None
    line = judge(entry)
    assert line.status == "unclear"
    assert "which showers were trained on" in line.text
    assert all(is_judged(n) for n in numbers.values())


def test_it_is_said_from_what_size_a_fault_would_be_named(parts, showers):
    _, numbers = named(*parts[:2], showers[1])
    assert numbers["missing showers"].says.startswith("A region wholly missing would be named from")
    scale = numbers["energy scale"]
    assert float(scale.says.split("from ")[1].split(" %")[0]) == pytest.approx(0.25, rel=0.3)
    for group in scale.groups:
        assert group.says[0] in "+-"
        assert "it would be named from" in group.says
    assert scale.value == part(scale, "whole shower").value
    assert 0 < scale.floor < 0.1


def test_many_parts_of_a_fault_are_told_the_whole_first(parts, showers):
    """All layers off by 1 %, and noise that may be why."""
    generated, reference, _ = parts
    broken = noisy(changed(generated, 1.01 * generated.values), 1.0, 0.05)
    poor, _ = named(broken, reference, showers[1])
    text = poor["energy scale"].says
    places = [text.index(words) for words in ("Whole shower", "layer 1", "follow from noise.")]
    assert places == sorted(places)
    width = poor["lateral width"]
    assert sum(g.status == "poor" for g in width.groups) > 3
    assert "more in the table. It may follow from" in width.says
    assert "The worst of" not in judge(width).text  # its clearest part is its value


def test_training_showers_are_not_among_the_reference(write_showers, tmp_path):
    shares = {"validation": 0.1, "test": 0.4, "seed": 3}
    source = write_showers(tmp_path / "r.h5", 400, seed=2)
    path = write_showers(tmp_path / "g.h5", 150, seed=1)
    assert len(load_pair(path, source, None, 0).seen) == 0
    with h5py.File(path, "a") as file:
        file.attrs["training_data_sha256"] = content_hash(source)
        file.attrs["training_split"] = json.dumps(shares)
    pair = load_pair(path, source, None, 0)
    with h5py.File(source) as file:
        energy = file["energy"][:, 0].astype("f4")[split_rows(400, **shares)["train"]]
    assert len(pair.trained) == len(pair.reference) == 160
    assert set(pair.seen.conditions["incident_energy"]) <= set(energy)
    assert len(load_pair(path, source, 120, 0).trained) == 120
    del pair  # it holds the file
    with h5py.File(path, "a") as file:  # nothing held out: what was trained on is the reference
        del file.attrs["training_split"]
    assert len(load_pair(path, source, None, 0).trained) == 0


def other(samples):
    """Return the showers with one part in a thousand more energy: none is one of the file's."""
    return replace(samples, values=samples.values * np.float32(1.001))


def test_showers_are_paired_by_all_conditions(write_showers, tmp_path):
    """A column of one file is a condition where the other file says that it is one."""
    angles = np.linspace(40, 140, 200)
    source = write_showers(tmp_path / "r.h5", 200, seed=2, theta=angles, phi=angles)
    stated = Dataset(source, conditions=["theta"])

    energy, theta = stated.spec.conditions

    def written(angles, unit=""):
        spec = replace(stated.spec, conditions=(energy, replace(theta, unit=unit)))
        samples = other(stated.read(0, 200))
        samples.conditions["theta"] = angles.astype("f4")
        with HDF5Writer(tmp_path / "g.h5", spec, 200, overwrite=True) as writer:
            writer.append(samples)
        return tmp_path / "g.h5"

    pair = load_pair(written(angles), source, None, 0)
    assert (pair.paired, pair.warnings) == (True, ())
    for samples in (pair.generated, pair.reference):
        assert list(samples.conditions) == ["incident_energy", "theta"]
    # at the same energies, but at other angles: not paired, and said
    pair = load_pair(written(angles / 2 + 20), source, None, 0)
    assert not pair.paired
    assert pair.warnings[0].startswith("The theta of the two files are distributed differently")
    with pytest.raises(InputError, match="theta is in 'deg' and ''"):
        load_pair(written(angles, "deg"), source, None, 0)
    plain = write_showers(tmp_path / "p.h5", 200, seed=2)
    pair = load_pair(written(angles), plain, None, 0)
    assert list(pair.generated.conditions) == ["incident_energy"]
    assert "Only one of the files has theta" in pair.warnings[0]


def test_equal_energies_few_cells_and_empty_layers(parts):
    """One energy, one layer, a shower without energy: no warning, no accusation."""
    edges = tuple(np.linspace(-2, 2, 5))
    layer = ReadoutLayer("only", ("x", "y"), (edges, edges))
    geometry = ShowerGeometry("small", (layer,))
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(2):
        cells = rng.exponential(1, (300, 16)) * (rng.random((300, 16)) < 0.7)
        cells[0] = 0
        samples.append(Samples(cells.astype("f4"), {"incident_energy": np.full(300, 0.01, "f4")}))
    assert named(*samples, geometry)[0] == {}
    both = ShowerGeometry("both", (layer, ReadoutLayer("dead", ("x", "y"), (edges, edges))))
    samples = [changed(s, np.pad(s.values, ((0, 0), (0, 16)))) for s in samples]
    poor, numbers = named(*samples, both)
    assert poor == {}
    dead = part(numbers["energy scale"], "dead")
    assert np.isnan(dead.value)
    assert (dead.status, dead.says) == (
        "unclear",
        "Too few showers, or too little energy, to tell.",
    )


def test_a_sample_of_one_shower_is_all_duplicates(parts, showers):
    same = some(parts[0], np.zeros(N, int))
    assert "duplicates" in named(same, parts[1], showers[1])[0]


def only(samples, cells):
    """Return the sample with all cells but these empty."""
    values = np.zeros_like(samples.values)
    values[:, cells] = samples.values[:, cells]
    return changed(samples, values)


@pytest.mark.parametrize("layer", [None, 2])
def test_where_no_shower_is_like_any_of_the_reference(parts, showers, layer):
    """Nothing, or the last layer alone, is hit: of the reference no shower is elsewhere then."""
    generated, reference = (some(s, slice(300)) for s in parts[:2])
    cells = slice(0) if layer is None else showers[1].slices[layer]
    poor, _ = named(only(generated, cells), reference, showers[1])
    text = poor["missing showers"].says
    # to the largest there is
    assert text.startswith("Showers with energy fraction layer 1 0.30")
    assert "are 100 % of the reference and 0 % of the generated; they are all" in text
    assert "layer 1 off by -100.0" in poor["energy scale"].says
    assert {"duplicates", "lateral width"} <= set(poor)


def test_a_layer_that_is_never_hit(parts, showers):
    generated, reference = (some(s, slice(300)) for s in parts[:2])
    cells = slice(showers[1].slices[1].start, None)
    poor, _ = named(only(generated, cells), reference, showers[1])
    assert "layer 0 off by -100" in poor["energy scale"].says
    assert "100 ± " in poor["lateral width"].says
    assert "too narrow in layer 0 along x" in poor["lateral width"].says


SPLIT = {"validation": 0.0, "test": 0.5, "seed": 0}


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory):
    """A file of 1,200 showers, of which a training saw the half."""
    return convert(SAMPLE, tmp_path_factory.mktemp("faults") / "photons.h5", rows="0:1200")


# what is done to independent showers or to those trained on; which size the report states, %
REPORTED = {
    "missing showers": (
        lambda g, _t, geo: some(g, late(g, geo) < np.quantile(late(g, geo), 0.8)),
        20,
    ),
    "energy scale": (lambda g, _t, _: changed(g, 1.01 * g.values), 1),
    "lateral width": (lambda g, _t, geo: wider(g, geo, 0.01), 2),
    "duplicates": (lambda g, _t, _: repeated(g), 40),  # both of two that are alike
    # half of what was trained on is compared, as unseen showers are
    "memorised": (lambda _g, t, _: t, 50),
    "noise": (lambda g, _t, _: noisy(g, 0.05, 1.0), 5),
    "": (lambda g, _t, _: g, 0),
}


@pytest.mark.parametrize("fault", REPORTED)
def test_the_report_names_the_fault(showers, trained_on, tmp_path, monkeypatch, fault):
    """From two files to Markdown; any other fault that is named may follow from this one."""
    monkeypatch.setattr(report, "chapters_of", lambda kind: [CHAPTERS["faults"]])
    monkeypatch.setattr(report, "HALVINGS", 2)
    change, size = REPORTED[fault]
    data, geometry = Dataset(trained_on), showers[1]
    known = data.take(data.split(**SPLIT)["train"])
    generated = change(some(showers[0], slice(1200, 1800)), known, geometry)
    told = {
        "training_data_sha256": content_hash(trained_on),
        "training_split": json.dumps(SPLIT),
    }
    path = tmp_path / "generated.h5"
    with HDF5Writer(path, data.spec, len(generated), attributes=told) as writer:
        writer.append(generated)
    written = benchmark(path, trained_on, speed=False, beside=False)
    poor = {n.name: n for n in written.values() if n.status == "poor" and n.name != "exact_copies"}
    text = markdown(written.record)
    copies = written["faults/exact_copies"]
    assert (copies.value, copies.status) == ((100, "poor") if fault == "memorised" else (0, "good"))
    if not fault:
        assert not poor
        return
    number = poor.pop(fault)
    assert number.value == pytest.approx(size, abs=4 * (number.error or 0) or 0.3 * size)
    assert f"- **Fails**: {fault.capitalize()} (" in text
    assert number.says in text
    assert all(fault in n.says.partition("may follow from")[2] for n in poor.values())


def test_chance_is_shared_among_all_numbers():
    assert len(FAMILIES) * 5 * 2 * norm.sf(beyond(5)) == pytest.approx(CHANCE)
    assert beyond(5, 1) < beyond(5) < beyond(50)


@pytest.mark.parametrize(
    ("counts", "n"), [((9, 1), (100, 100)), ((3, 3), (50, 200)), ((0, 5), (9, 9))]
)
def test_more_often_is_the_exact_binomial_test(counts, n):
    expected = binomtest(counts[0], sum(counts), n[0] / sum(n), alternative="greater").pvalue
    assert more_often(counts, n) == pytest.approx(expected)


def test_ratios_and_errors_at_equal_energies():
    """Means that follow the energy, drawn from different laws of it: 3 % is left, error as seen."""
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(200):
        energies = rng.uniform(0, 1, 400), rng.uniform(0, 1, 500) ** 1.3
        strata = energy_strata(*energies)
        columns = [
            f * (1 + 0.01 * np.round(4 * e) + 0.1 * rng.standard_normal(len(e)))
            for f, e in zip((1, 1.03), energies)
        ]
        r, error = ratio((columns[0][:, None], columns[1][:, None]), strata)
        seen.append((r[0], error[0]))
    values, errors = np.array(seen).T
    assert abs(values.mean() - 1.03) < 4 * values.std() / 200**0.5
    assert errors.mean() == pytest.approx(values.std(), rel=0.2)


def test_strata_hold_enough_of_both():
    rng = np.random.default_rng(0)
    energies = np.exp(rng.uniform(0, 4, 3000)), np.exp(rng.uniform(1, 5, 900))
    first, second = energy_strata(*energies)
    for b in set(first[first >= 0]):
        assert min((first == b).sum(), (second == b).sum()) >= 20
        low, high = (f(energies[0][first == b]) for f in (np.min, np.max))
        assert np.all(
            (energies[1][second == b] >= low - 1) & (energies[1][second == b] <= high * 1.1)
        )
    energies = np.full(2000, 3.0), np.full(900, 3.0)
    depths = rng.standard_normal(2000), 1 + 2 * rng.standard_normal(900)
    first, second = depth_strata(energies, depths)
    assert len(set(first)) == 5
    assert np.all(second >= 0)  # the outermost bins are open
    energies = np.full(100, 5.0), np.full(80, 5.0)
    assert [set(s) for s in energy_strata(*energies)] == [{0}, {0}]


def test_closest_rows_against_a_loop(showers):
    samples, geometry = showers
    rows = shapes(samples.values[:12])
    np.testing.assert_allclose((rows.astype(float) ** 2).sum(1), 1, rtol=1e-5)
    mirror = geometry.mirrored("y")
    apart = ~np.eye(12, dtype=bool)
    nearest = closest_rows(rows, rows, apart, [mirror])
    for i in range(12):
        overlaps = [
            max(rows[i] @ rows[j], rows[i][mirror] @ rows[j]) if i != j else -1 for j in range(12)
        ]
        assert nearest.partners[i] == np.argmax(overlaps)
        assert nearest.correlations[i] == pytest.approx(max(overlaps), rel=1e-5)
