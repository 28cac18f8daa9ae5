import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.stats import binomtest, norm

from emulators.benchmarks import distributions, measured_features, report
from emulators.benchmarks.classified import classify_showers
from emulators.benchmarks.diagnosis import diagnose as diagnosis
from emulators.benchmarks.diagnosis.diagnose import diagnose
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
from emulators.benchmarks.diagnosis.tables import diagnosis_part
from emulators.benchmarks.joint import conditional, correlations
from emulators.benchmarks.pair import Pair, load_pair
from emulators.benchmarks.report import benchmark
from emulators.benchmarks.verdict import _faults
from emulators.data.convert import convert
from emulators.data.dataset import Dataset, split_rows
from emulators.data.hdf5 import HDF5Writer, content_hash
from emulators.data.spec import ReadoutLayer, Samples, ShowerGeometry
from emulators.errors import InputError
from emulators.observables.closest import closest_rows
from emulators.observables.showers import observables

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"
N = 1200


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few halvings for the floors: they take most of the time."""
    monkeypatch.setattr(diagnosis, "HALVINGS", 2)


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
    trained = some(reference, slice(0)) if trained is None else trained
    return Pair(generated, reference, trained, geometry, False, 1.0, (), {})


def found(findings):
    return {f["fault"]: f for f in reversed(findings) if f["found"]}


def one(findings, fault, part):
    return next(f for f in findings if (f["fault"], f["part"]) == (fault, part))


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
    findings = diagnose(compared(generated, reference, showers[1], trained), seed)
    assert found(findings) == {}
    assert {f["fault"] for f in findings} == set(FAMILIES)
    assert all(f["value"] is not None for f in findings)


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
    pair = compared(broken(generated, trained, showers[1]), reference, showers[1], trained)
    findings = diagnose(pair, 0)
    assert set(found(findings)) == {fault}
    (line,) = _faults(findings)
    assert (line["status"], line["what"]) == ("poor", f"fault: {fault}")
    assert "n = " in line["text"]


def scales(measure, generated, reference, geometry):
    """Return what one check of `scales` finds."""
    samples = (reference, generated)
    energies = [np.asarray(s.conditions["incident_energy"], float) for s in samples]
    summaries = [
        summarise(s.values, e, observables(s.values, geometry, e), geometry, 0.1)
        for s, e in zip(samples, energies)
    ]
    n = len(reference) // 2
    found = measure(tuple(summaries), [(np.arange(n), np.arange(n, 2 * n))], geometry)
    return {f.part: f for f in found}


def test_the_size_of_an_energy_scale(parts, showers):
    generated, reference, _ = parts
    broken = changed(generated, 1.01 * generated.values)
    found = scales(energy_scale, broken, reference, showers[1])
    whole = found["whole shower"]
    assert abs(whole.value - 0.01) < 4 * whole.error < 0.001
    assert whole.text.startswith("whole shower off by +")
    for layer in (found["layer 0"], found["layer 1"]):
        assert layer.found
        assert abs(layer.value - 0.01) < 4 * layer.error


def test_one_layer_alone_is_off(parts, showers):
    generated, reference, _ = parts
    values = generated.values.copy()
    values[:, showers[1].slices[0]] *= 1.01
    found = scales(energy_scale, changed(generated, values), reference, showers[1])
    assert abs(found["layer 0"].value - 0.01) < 4 * found["layer 0"].error
    assert (found["layer 0"].found, found["layer 1"].found) == (True, False)
    # a layer with little energy is compared by its mean, which needs more
    values[:, showers[1].slices[2]] *= 1.5
    found = scales(energy_scale, changed(generated, values), reference, showers[1])
    assert found["layer 2"].found


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
    lines = _faults(diagnose(compared(broken, reference, showers[1]), 0))
    assert lines[0]["what"] == "fault: lateral width"
    # what is moved outwards changes the spectrum there as well
    assert all("may follow from lateral width" in line["text"] for line in lines[1:])
    found = scales(lateral_width, reference, broken, showers[1])
    assert found["all layers"].text.endswith("too narrow in all layers")


def test_missing_late_showers_are_described(parts, showers):
    generated, reference, _ = parts
    depth = late(generated, showers[1])
    kept = some(generated, depth < np.quantile(depth, 0.85))
    findings = diagnose(compared(kept, reference, showers[1]), 0)
    text = found(findings)["missing showers"]["text"]
    # in which words the region is found may differ, that they are late is told
    assert "shower depth" in text
    assert "energy fraction layer 1 above" in text or "shower depth above" in text
    assert "0 % of the generated" in text
    lines = _faults(findings)
    assert lines[0]["what"] == "fault: missing showers"
    # late showers are wide in layer 0 and leak into layer 2
    assert all("may follow from missing showers" in line["text"] for line in lines[1:])
    assert not one(findings, "energy scale", "whole shower")["found"]


def test_showers_missing_at_some_energies_only(parts, showers):
    generated, reference, _ = parts
    energy, depth = generated.conditions["incident_energy"], late(generated, showers[1])
    kept = some(generated, ~((energy > 30) & (depth > 0.85)))
    findings = diagnose(compared(kept, reference, showers[1]), 0)
    assert "incident energy above" in found(findings)["missing showers"]["text"]


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
    assert (whole.found, corner.found) == (False, True)
    assert "several observables" in corner.text


@pytest.mark.parametrize(("share", "size"), [(1.0, 0.05), (0.05, 1.0), (0.02, 5.0)])
def test_noise_is_measured(parts, showers, share, size):
    findings = diagnose(compared(noisy(parts[0], share, size), parts[1], showers[1]), 0)
    noise = one(findings, "noise in empty cells", "all layers")
    assert noise["found"]
    assert abs(noise["value"] - share) < 4 * noise["error"] + 1e-6
    lines = {line["what"]: line["text"] for line in _faults(findings)}
    assert "of the cells that should be empty have energy" in lines["fault: noise in empty cells"]
    # noise makes showers wider too, and the verdict says so
    assert "may follow from noise in empty cells" in lines["fault: lateral width"]


def test_smearing_is_measured(parts, showers):
    findings = diagnose(compared(smeared(parts[0]), parts[1], showers[1]), 0)
    text = found(findings)["smearing"]["text"]
    assert 1.7 < float(text.split("smeared by ")[1].split(" %")[0]) < 2.3


def test_without_training_showers_copies_of_them_cannot_be_told(parts, showers):
    findings = diagnose(compared(*parts[:2], showers[1]), 0)
    (entry,) = [f for f in findings if f["fault"] == "memorised"]
    assert (entry["value"], entry["found"]) == (None, False)
    (line,) = _faults(findings)
    assert line["status"] == "good"
    assert "Not tested, memorised" in line["text"]
    rows = diagnosis_part({"diagnosis": findings})[2]
    assert len(rows) == len(findings)
    assert {len(r) for r in rows} == {8}


def test_training_showers_are_not_among_the_reference(write_showers, tmp_path):
    shares = {"validation": 0.1, "test": 0.4, "seed": 3}
    source = write_showers(tmp_path / "r.h5", 400, seed=2)
    path = write_showers(tmp_path / "g.h5", 150, seed=1)
    assert len(load_pair(path, source, None, 0).trained) == 0
    with h5py.File(path, "a") as file:
        file.attrs["training_data_sha256"] = content_hash(source)
        file.attrs["training_split"] = json.dumps(shares)
    pair = load_pair(path, source, None, 0)
    with h5py.File(source) as file:
        energy = file["energy"][:, 0].astype("f4")[split_rows(400, **shares)["train"]]
    assert len(pair.trained) == len(pair.reference) == 160
    assert set(pair.trained.conditions["incident_energy"]) <= set(energy)
    assert len(load_pair(path, source, 120, 0).trained) == 120
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


def test_an_emulator_that_ignores_a_condition_is_told(write_showers, tmp_path):
    """Angles dealt out anew leave every distribution as it is, and are seen by the classifier."""
    n = 2000
    source = write_showers(tmp_path / "r.h5", n, seed=2)
    with h5py.File(source, "a") as file:
        share = file["layer_0"][:].sum((1, 2)) / file["energy"][:, 0]
        file["theta"] = share / share.std()
    stated = Dataset(source, conditions=["theta"])
    samples = other(stated.read(0, n))
    rng = np.random.default_rng(0)
    samples.conditions["theta"] = rng.permutation(samples.conditions["theta"])
    with HDF5Writer(tmp_path / "g.h5", stated.spec, n) as writer:
        writer.append(samples)
    pair = load_pair(tmp_path / "g.h5", source, None, 0)
    assert classify_showers(pair, "observables", "fast", 1, 0)["auc"]["value"] > 0.8


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
    assert found(diagnose(compared(*samples, geometry), 0)) == {}
    both = ShowerGeometry("both", (layer, ReadoutLayer("dead", ("x", "y"), (edges, edges))))
    samples = [changed(s, np.pad(s.values, ((0, 0), (0, 16)))) for s in samples]
    findings = diagnose(compared(*samples, both), 0)
    assert found(findings) == {}
    assert one(findings, "energy scale", "dead")["value"] is None


def test_a_sample_of_one_shower_is_all_duplicates(parts, showers):
    same = some(parts[0], np.zeros(N, int))
    assert "duplicates" in found(diagnose(compared(same, parts[1], showers[1]), 0))


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
    findings = diagnose(compared(only(generated, cells), reference, showers[1]), 0)
    lines = {line["what"]: line["text"] for line in _faults(findings)}
    text = lines["fault: missing showers"]
    assert text.startswith(
        "Missing showers: showers with energy fraction layer 1 0.30"
    )  # to the largest there is
    assert "are 100 % of the reference and 0 % of the generated; they are all" in text
    assert "layer 1 off by -100.0" in lines["fault: energy scale"]
    assert {"fault: duplicates", "fault: lateral width"} <= set(lines)


def test_a_layer_that_is_never_hit(parts, showers):
    generated, reference = (some(s, slice(300)) for s in parts[:2])
    cells = slice(showers[1].slices[1].start, None)
    findings = diagnose(compared(only(generated, cells), reference, showers[1]), 0)
    lines = {line["what"]: line["text"] for line in _faults(findings)}
    assert "layer 0 off by -100" in lines["fault: energy scale"]
    assert "100 ± " in lines["fault: lateral width"]
    assert "too narrow in layer 0 along x" in lines["fault: lateral width"]


SPLIT = {"validation": 0.0, "test": 0.5, "seed": 0}


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory):
    """A file of 1,200 showers, of which a training saw the half."""
    return convert(SAMPLE, tmp_path_factory.mktemp("faults") / "photons.h5", rows="0:1200")


# what is done to independent showers or to those trained on; what the verdict says of it, and of
# which size, %
REPORTED = {
    "missing showers": (
        lambda g, _t, geo: some(g, late(g, geo) < np.quantile(late(g, geo), 0.8)),
        r"are ([\d.]+)() % of the reference and 0 % of the generated",
        20,
    ),
    "energy scale": (
        lambda g, _t, _: changed(g, 1.01 * g.values),
        r"whole shower off by \+([\d.]+) ± ([\d.]+) %",
        1,
    ),
    "lateral width": (
        lambda g, _t, geo: wider(g, geo, 0.01),
        r"([\d.]+) ± ([\d.]+) % too wide in all layers",
        2,
    ),
    "duplicates": (
        lambda g, _t, _: repeated(g),
        r"(120)() of 600 generated showers are exact copies of each other",
        120,
    ),
    "memorised": (
        lambda _g, t, _: t,
        r"(\d+)() of 300 generated showers are copies of training showers",
        150,  # half of what was trained on is compared, as unseen showers are
    ),
    "noise in empty cells": (
        lambda g, _t, _: noisy(g, 0.05, 1.0),
        r"([\d.]+) ± ([\d.]+) % of the cells that should be empty have energy",
        5,
    ),
    "": (lambda g, _t, _: g, r"No fault is found \(n = (600)() generated, 600 reference\)", 600),
}


@pytest.mark.parametrize("fault", REPORTED)
def test_the_report_names_the_fault(showers, trained_on, tmp_path, monkeypatch, fault):
    """From two files to report.md; any other fault that is named may follow from this one."""
    for room in (distributions, conditional, correlations, measured_features):
        monkeypatch.setattr(room, "HALVINGS", 2)
    for room in (distributions, conditional, correlations):
        monkeypatch.setattr(room, "RESAMPLINGS", 5)
    monkeypatch.setattr(report, "html", lambda record: "")
    change, says, size = REPORTED[fault]
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
    benchmark(path, trained_on, tmp_path / "out", classifiers=False, speed=False)
    text = (tmp_path / "out" / "report.md").read_text()
    named = dict(re.findall(r"^- \*\*Fails\*\* \(fault: (.*?)\): (.*)$", text, re.MULTILINE))
    line = named.pop(fault) if fault else text
    value, error = re.search(says, line, re.IGNORECASE).groups()[:2]
    assert float(value) == pytest.approx(size, abs=4 * float(error or 0) or 0.3 * size)
    assert all(re.search(f"may follow from .*{fault}", other) for other in named.values())
    assert fault or not named


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
