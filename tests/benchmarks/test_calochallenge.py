import dataclasses
import json

import h5py
import numpy as np
import pytest

from emulators.benchmarks import classifier, measured_features, plots
from emulators.benchmarks.calochallenge import figures as calochallenge
from emulators.benchmarks.calochallenge.figures import require_showers_of
from emulators.benchmarks.calochallenge.histograms import (
    CHALLENGES,
    Showers,
    separations,
)
from emulators.benchmarks.calochallenge.histograms import features as observables_of
from emulators.benchmarks.calochallenge.histograms import measure_histograms as measure
from emulators.benchmarks.calochallenge.published import published
from emulators.benchmarks.calochallenge.tables import calochallenge_parts
from emulators.benchmarks.pair import load_pair
from emulators.benchmarks.report import benchmark
from emulators.data import geometries
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Condition, Samples, SampleSpec
from emulators.errors import InputError
from emulators.observables import features

VOXELS = {"1-photons": 368, "1-pions": 533, "2": 6480}
THRESHOLD = {"1-photons": 1.0, "1-pions": 1.0, "2": 0.5e-3 / 0.033}  # MeV


def showers(data_set, n, seed, width=1.0):
    """Energies and voxels, MeV, doubles: most voxels empty, some below the threshold."""
    rng = np.random.default_rng(seed)
    energy = 2.0 ** rng.integers(8, 23, n)
    if data_set == "2":
        energy = np.exp(rng.uniform(np.log(1e3), np.log(1e6), n))
    voxels = rng.exponential(1, (n, VOXELS[data_set])) ** 3
    voxels *= rng.random(voxels.shape) < 0.3
    response = rng.normal(0.95, 0.1 * width, n)
    return energy, voxels * (response * energy / voxels.sum(1))[:, None]


def write(path, energy, voxels):
    """Write a file as any program does: two data sets, no attribute."""
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = energy[:, None], voxels
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("challenge"), {}
    for data_set, n in (("1-photons", 400), ("1-pions", 300), ("2", 120)):
        samples = showers(data_set, n + 20, 1), showers(data_set, n, 2, width=1.5)
        paths = [
            write(folder / f"{name}_{data_set}.h5", *s)
            for name, s in zip("rg", samples, strict=True)
        ]
        made[data_set] = (*paths, samples)
    return made


def measure_histograms(pair, challenge, seed):
    found = [
        observables_of(Showers.of_pair(pair, k), challenge) for k in ("reference", "generated")
    ]
    return measure(pair, found, challenge, seed)


def by_numpy(data_set, reference, generated):
    """Every separation power, computed once more from the definitions, by `numpy.histogram`."""
    threshold, found = THRESHOLD[data_set], {}
    samples = [
        (energy, np.where(voxels < threshold, 0.0, voxels))
        for energy, voxels in (reference, generated)
    ]

    def add(name, values, bins):
        p, q = (np.histogram(v, bins, density=True)[0] * np.diff(bins) for v in values)
        found[name] = 0.5 * np.sum((p - q) ** 2 / (p + q + 1e-16))

    ratios = [voxels.sum(1) / energy for energy, voxels in samples]
    add("Etot / Einc", ratios, np.linspace(0.5, 1.5, 101))
    for k in range(8, 23) if data_set != "2" else ():
        here = [r[e == 2**k] for r, (e, _) in zip(ratios, samples, strict=True)]
        narrow = data_set == "1-photons" and 2**k > 4000
        bins = np.linspace(0.9, 1.1, 21) if narrow else np.linspace(0.4, 1.4, 21)
        if min(map(len, here)):
            add(f"Etot / Einc at E = {2.0**k}", here, bins)
    first = 0
    for layer in geometries.calochallenge(data_set).layers:
        number, (n_alpha, n_r) = int(layer.name.split("_")[1]), layer.shape
        alpha = -np.pi + 2 * np.pi * (np.arange(n_alpha) + 0.5) / n_alpha
        edges = np.array(layer.edges[1])
        r = (edges[1:] + edges[:-1]) / 2
        cells = [voxels[:, first : first + n_alpha * n_r] for _, voxels in samples]
        first += n_alpha * n_r
        energies = [c.sum(1) for c in cells]
        add(
            f"E layer {number}",
            energies,
            np.logspace(np.log10(threshold), np.log10(energies[0].max()), 40),
        )
        add(f"Sparsity layer {number}", [1 - (c > 0).mean(1) for c in cells], np.linspace(0, 1, 21))
        far, regular = number in (12, 13, 14), data_set == "2"
        axes = {"r": np.tile(r, n_alpha)}
        if n_alpha > 1:
            axes |= {
                "Eta": np.outer(np.cos(alpha), r).ravel(),
                "Phi": np.outer(np.sin(alpha), r).ravel(),
            }
        for axis, x in axes.items():
            means = [c @ x / (e + 1e-16) for c, e in zip(cells, energies, strict=True)]
            squares = [c @ x**2 / (e + 1e-16) for c, e in zip(cells, energies, strict=True)]
            widths = [
                np.sqrt(np.clip(s - m**2, 0, None)) for s, m in zip(squares, means, strict=True)
            ]
            if axis == "r":
                low, high = 0, 42 if regular else 1500 if far else 500
                widest = 20 if regular else 1500 if far else 500
            else:
                high = 30 if regular else 500 if far else 100
                low, widest = -high, 30 if regular else 400 if far else 100
            add(f"EC {axis} layer {number}", means, np.linspace(low, high, 101))
            add(f"Width {axis} layer {number}", widths, np.linspace(0, widest, 101))
    bins = np.logspace(np.log10(threshold), np.log10(samples[0][1].max()), 50)
    add("Voxel distribution", [v.ravel() for _, v in samples], bins)
    return found


@pytest.mark.parametrize("data_set", VOXELS)
def test_separation_powers_are_those_of_the_definitions(files, data_set):
    reference, generated, samples = files[data_set]
    pair = load_pair(generated, reference, None, 0)
    entries, left_out = measure_histograms(pair, CHALLENGES[f"calochallenge-{data_set}"], 0)
    found = {entry["name"]: entry["compatible"]["value"] for entry in entries}
    expected = by_numpy(data_set, *samples)
    assert left_out == []
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert len(found) == {"1-photons": 45, "1-pions": 61, "2": 362}[data_set]


def test_a_wider_response_is_seen_beyond_its_floor(files):
    reference, generated, _ = files["1-photons"]
    pair = load_pair(generated, reference, None, 0)
    entries, _ = measure_histograms(pair, CHALLENGES["calochallenge-1-photons"], 0)
    of = {entry["name"]: entry for entry in entries}
    response = of["Etot / Einc"]
    inside = response["compatible"]
    # Of halves of 210 showers in about 60 filled bins: half the bins over n, less where many bins
    # have one shower or none.
    assert 0.5 < inside["floor"] / (60 / 2 / 210) < 1.1
    assert inside["floor_n"] == 210
    assert inside["value"] > inside["floor"] / 2 + 3 * inside["error"]
    outside = [response[k]["below"] + response[k]["above"] for k in ("reference", "generated")]
    ratios = [(v * (v >= 1)).sum(1) / e for e, v in files["1-photons"][2]]
    assert outside == [int(((x < 0.5) | (x > 1.5)).sum()) for x in ratios]
    assert sum(response["generated"]["counts"]) + outside[1] == response["generated"]["n"] == 400


def test_separation_powers_by_hand():
    # inside: (1/4, 3/4) against (3/4, 1/4); with the overflow: (0.1, 0.3, 0.6), (0.6, 0.2, 0.2)
    inside, counted = separations([0, 1, 3, 6], [0, 6, 2, 2])
    assert inside == pytest.approx(0.5 * (0.5**2 + 0.5**2))
    assert counted == pytest.approx(0.5 * (0.5**2 / 0.7 + 0.1**2 / 0.5 + 0.4**2 / 0.8))
    assert separations([0, 2, 2, 0], [9, 1, 1, 0])[0] == 0  # what lies below is not seen
    inside, counted = separations([3, 0, 0], [0, 3, 0])
    assert np.isnan(inside)
    assert counted == 1


def test_noise_of_equal_distributions_is_half_the_bins_over_n():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(5000, np.r_[0, np.full(40, 1 / 40), 0], size=(2, 400))
    assert separations(*counts)[0].mean() == pytest.approx(40 / 2 / 5000, rel=0.05)


def test_discrete_energies_survive_single_precision(files):
    reference, generated, samples = files["1-photons"]
    pair = load_pair(generated, reference, 350, 0)  # a part of the rows: read in single precision
    energy = np.asarray(pair.reference.conditions["incident_energy"], np.float64) * 1000
    assert not {*energy} & {*samples[0][0]}  # 0.256 GeV is 256.00001 MeV
    assert {*Showers.of_pair(pair, "reference").incident_energy} <= {*samples[0][0]}
    entries, _ = measure_histograms(pair, CHALLENGES["calochallenge-1-photons"], 0)
    at = [e for e in entries if e["group"] == "energy_total_discrete"]
    assert sum(e["reference"]["n"] for e in at) == 350


def test_files_are_read_in_their_precision_where_all_rows_are_compared(files):
    reference, generated, ((energy, voxels), _) = files["1-photons"]
    pair = load_pair(generated, reference, None, 0)
    found = Showers.of_pair(pair, "reference")
    np.testing.assert_array_equal(np.concatenate([*found.pieces()]), voxels)
    np.testing.assert_array_equal(found.incident_energy, energy)


def test_showers_that_another_order_of_layers_would_show(files):
    energy, voxels = files["1-photons"][2][0]
    challenge = CHALLENGES["calochallenge-1-photons"]
    found = observables_of(Showers(energy, lambda: iter([voxels])), challenge)
    kept = np.where(voxels < 1, 0, voxels)
    for name, cells in (("layer_0", slice(0, 8)), ("layer_12", slice(363, 368))):
        np.testing.assert_allclose(found[f"energy_{name}"], kept[:, cells].sum(1))


def test_empty_layers_and_absent_energies_are_left_out_and_named(files, tmp_path):
    energy, voxels = showers("1-photons", 150, 3)
    voxels[:, :8], energy[:] = 0.5, 4096.0  # layer 0 stays below the threshold
    path = write(tmp_path / "r.h5", energy, voxels)
    pair = load_pair(files["1-photons"][1], path, None, 0)
    entries, left_out = measure_histograms(pair, CHALLENGES["calochallenge-1-photons"], 0)
    assert left_out[0] == "E layer 0: the reference has at most 0 MeV there, no range for its bins"
    assert len(left_out) == 1 + 14
    assert "E = 8192.0: one of the files has no shower of that energy" in left_out[-10]
    assert "Etot / Einc at E = 4096.0" in {e["name"] for e in entries}


def test_deposits_in_another_unit_are_refused(files, tmp_path):
    energy, voxels = showers("1-photons", 150, 3)
    path = write(tmp_path / "r.h5", energy, np.minimum(voxels, 1) * 0.9)
    pair = load_pair(files["1-photons"][1], path, None, 0)
    with pytest.raises(InputError, match=r"no voxel .* more than 1 MeV.*are the energies MeV"):
        measure_histograms(pair, CHALLENGES["calochallenge-1-photons"], 0)


def test_another_data_set_is_one_clear_error(files, write_showers, field_file, tmp_path):
    require_showers_of("calochallenge-2", files["2"][0])
    for path, words in (
        (files["1-pions"][0], "368 voxels, these have 533 cells"),
        (write_showers(tmp_path / "calogan.h5"), "368 voxels, these have 504 cells"),
        (field_file, "368 voxels, these are fields"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            benchmark(path, path, tmp_path / "report", preset="calochallenge-1-photons")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_published_entries():
    counts = {d: len(published(d)) for d in ("1-photons", "1-pions", "2", "3")}
    assert counts == {"1-photons": 16, "1-pions": 13, "2": 18, "3": 16}
    photons = {e["entry"]: e for e in published("1-photons")}
    assert photons["BoloGAN"]["auc_low"] == 0.9265
    assert photons["CaloShower3GAN"]["fpd_1e3"] == 20.5146
    assert photons["CaloForest"]["parameters"] == 3_837_598_845
    assert {e["entry"] for e in published("2") if e["gan"]} == {"MDMA", "DeepTree"}
    # Two samples of Geant4, 121,000 showers each, in 100 bins: half the bins over n.
    assert photons["GEANT4"]["energy_total"] == pytest.approx(100 / 2 / 121_000, rel=0.1)
    assert photons["GEANT4"]["auc_resnet"] is None


@pytest.fixture
def quick(monkeypatch):
    """Narrow classifiers, no recipe of distances; notes what these were asked."""
    asked = []

    def noted(name, result):
        def call(reference, generated, **options):
            asked.append((name, reference.shape, generated.shape, options))
            return result(reference, generated)

        return call

    manifold = dict.fromkeys(("precision", "recall", "density", "coverage"), 0.5)
    monkeypatch.setattr(measured_features, "fpd", noted("fpd", lambda a, b: (0.02, 0.001)))
    monkeypatch.setattr(measured_features, "kpd", noted("kpd", lambda a, b: (0.004, 0.0005)))
    monkeypatch.setattr(measured_features, "prdc", noted("prdc", lambda a, b: manifold))
    for name, preset in classifier.PRESETS.items():
        tiny = dataclasses.replace(preset, width=8, epochs=1, batch_size=100)
        monkeypatch.setitem(classifier.PRESETS, name, tiny)
    monkeypatch.setattr(measured_features, "HALVINGS", 2)
    monkeypatch.setattr(measured_features, "HALF_SAMPLES", 2)
    monkeypatch.setattr(features, "_RESAMPLINGS", 1)
    for name in plots.__all__:  # they take most of the time
        monkeypatch.setattr(plots, name, lambda *_: "")
    return asked


def test_the_report_sets_the_file_beside_the_published(files, quick, tmp_path):
    reference, _, samples = files["1-photons"]
    spec = SampleSpec(
        "shower",
        "calochallenge",
        (368,),
        "MeV",
        (Condition("incident_energy", "GeV", 0.25, 4200.0),),
        geometries.calochallenge("1-photons"),
    )
    ours = tmp_path / "ours.h5"  # as our own writer makes it, against a file of another program
    energy, voxels = samples[1]
    with HDF5Writer(ours, spec, 400) as writer:
        conditions = {"incident_energy": (energy / 1000).astype(np.float32)}
        writer.append(Samples(voxels.astype(np.float32), conditions))
    record = benchmark(ours, reference, tmp_path / "out", preset="calochallenge-1-photons", seeds=2)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == record
    assert [*record["classifiers"]] == ["low", "low_normed", "high"]
    sizes = {"min_samples": 10_000, "max_samples": 50_000}
    assert [asked for asked in quick if asked[0] != "prdc"] == [
        ("fpd", (420, 30), (400, 30), sizes),
        ("kpd", (420, 30), (400, 30), {"batch_size": 10_000}),
        ("fpd", (210, 30), (210, 30), sizes),
        ("kpd", (210, 30), (210, 30), {"batch_size": 10_000}),
    ]
    assert {str(options) for name, *_, options in quick if name == "prdc"} == {"{'k': 5}"}
    # both tables show what was measured once; the spread of the samples is not in the recipe's
    general = record["features"]
    assert (general["fpd"]["value"], general["fpd"]["floor"]) == (0.02, 0.02)
    assert general["fpd"]["error"] > general["fpd"]["recipe_error"] == 0.001
    assert general["fpd"]["too_small"] == "400, but 1,500 are needed"
    assert (general["kpd"]["value"], general["kpd"]["error"]) == (0.004, 0.0005)
    assert general["recall"]["n"] == 210
    found = record["calochallenge"]["distances"]["fpd"]
    assert (found["value"], found["n"], found["floor_n"]) == (0.02, 400, 210)

    text = (tmp_path / "out" / "report.md").read_text()
    scores = text[text.index("## CaloChallenge 1-photons: scores") :].splitlines()
    this, floor, geant4 = scores[4:7]
    auc = record["classifiers"]["low"]["auc"]["value"]
    assert this.startswith(f"| this file (n = 400) | {auc:.1f}"[:-1])
    assert "20.0 ± 1.0" in this
    assert floor.startswith("| floor (n = 420, halved) |")
    assert geant4.startswith("| GEANT4 | 0.4992 ± 0.0024 |")
    assert any(line.startswith("| BoloGAN (GAN) | 0.9265") for line in scores)
    assert "arXiv:2410.21611" in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="#calochallenge"' in page
    assert "BoloGAN (GAN)" in page


def test_voxels_of_the_neighbourhoods_are_logarithms(files, quick, monkeypatch):
    reference, generated, samples = files["1-photons"]
    seen = []
    monkeypatch.setattr(
        measured_features,
        "prdc",
        lambda a, b, k: seen.append(a) or dict.fromkeys(("recall", "coverage"), 1.0),
    )
    pair = load_pair(generated, reference, None, 0)
    settings = {"preset": "calochallenge-1-photons", "seed": 0, "classifier_seeds": 1}
    calochallenge.measure_challenge(pair, settings, False, lambda: None)
    first = max(seen, key=len)
    kept = samples[0][1][samples[0][1] >= 1]
    assert np.sort(first[first > -0.5]) == pytest.approx(np.sort(np.log10(kept)), abs=1e-5)
    np.testing.assert_allclose(np.unique(first[first < -0.5]), [-1], rtol=1e-6)


def test_images_are_shown_where_layers_are_alike(files, quick, monkeypatch):
    reference, generated, _ = files["2"]
    asked = []
    monkeypatch.setattr(
        calochallenge,
        "classify",
        lambda reference, generated, *rest: asked.append((reference.shape[1], rest[-1])) or {},
    )
    pair = load_pair(generated, reference, None, 0)
    settings = {"preset": "calochallenge-2", "seed": 0, "classifier_seeds": 1}
    record = calochallenge.measure_challenge(pair, settings, True, lambda: None)
    assert asked == [(6481, None), (6526, None), (362, None), (6481, (45, 16, 9))]
    record |= {"files": pair.files, "throughput": {"emulator": None}, "classifiers": {}}
    (_, headings, rows, _), *_, (_, _, histograms, _) = calochallenge_parts(record)
    of = {row[0]: dict(zip(headings, row, strict=True)) for row in rows}
    ours, mdma = of["this file (n = 120)"], of["MDMA (GAN)"]
    assert [ours[f"AUC {k}"] for k in ("low", "high", "resnet")] == ["–"] * 3
    assert [mdma[k] for k in ("AUC low", "AUC resnet")] == ["0.9415 ± 0.0051", "0.99960 ± 0.00010"]
    assert len(histograms) == 362


def test_speed_of_the_emulator_is_that_with_all_threads():
    timed = [
        {"device": "cpu", "batch": batch, "writing": writing, "seconds_per_sample": s, "spread": 0}
        for batch, writing, s in (
            (1, False, 9.0),
            (1, False, 0.5),
            (100, False, 0.25),
            (1, True, 7),
        )
    ]
    numbers = dict.fromkeys(("value", "error", "floor", "floor_error", "n", "floor_n"), 1)
    names = ("fpd", "kpd", "precision", "recall", "density", "coverage")
    record = {
        "classifiers": {},
        "files": {"generated": {"used": 1}, "reference": {"used": 1}},
        "throughput": {"emulator": timed},
        "calochallenge": {
            "data_set": "1-photons",
            "threshold_MeV": 1.0,
            "histograms": [],
            "left_out": [],
            "distances": dict.fromkeys(names, numbers),
            "published": published("1-photons"),
            "source": "",
        },
    }
    rows = calochallenge_parts(record)[2][2]
    assert rows[0] == ["this file's emulator", "–", "500 ± 0", "250 ± 0", "–", "–", "–", "–"]
    assert ["BoloGAN (GAN)", "368,558", "106", "1.73", "0.553", "286", "2.26", "0.529"] in rows
