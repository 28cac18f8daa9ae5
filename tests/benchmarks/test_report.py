import base64
import copy
import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import h5py
import numpy as np
import pytest

from emulators import load
from emulators.benchmarks import classifier, measured_features, plots, report
from emulators.benchmarks.joint import critic
from emulators.benchmarks.pair import load_pair
from emulators.benchmarks.report import benchmark, draw
from emulators.benchmarks.speed import throughput
from emulators.benchmarks.speed import timing as speed
from emulators.benchmarks.tables import headline, markdown
from emulators.data.convert import convert, split
from emulators.data.dataset import split_rows
from emulators.data.hdf5 import content_hash
from emulators.errors import InputError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small classifiers, short timings and few resamplings; the logic is the same."""
    tiny = dataclasses.replace(classifier.PRESETS["fast"], width=8, epochs=1)
    monkeypatch.setitem(classifier.PRESETS, "fast", tiny)
    monkeypatch.setattr(throughput, "BATCHES", (1, 10))
    monkeypatch.setattr(throughput, "_SECONDS", 0.01)
    monkeypatch.setattr(speed, "_fresh", lambda *_: {})  # see test_throughput
    monkeypatch.setattr(measured_features, "HALVINGS", 2)
    monkeypatch.setattr(measured_features, "HALF_SAMPLES", 2)


@pytest.fixture
def no_page(monkeypatch):
    """Draw no figures: they take most of the time."""
    monkeypatch.setattr(report, "html", lambda record: "")


@pytest.fixture(scope="module")
def files(write_showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return (
        write_showers(folder / "generated.h5", 300, seed=1),
        write_showers(folder / "reference.h5", 400, seed=2),
    )


@pytest.fixture(scope="module")
def made(files, emulator_file, tmp_path_factory):
    """One whole report: record and folder."""
    with pytest.MonkeyPatch.context() as patch:
        tiny = dataclasses.replace(classifier.PRESETS["fast"], width=8, epochs=1)
        patch.setitem(classifier.PRESETS, "fast", tiny)
        patch.setattr(throughput, "BATCHES", (1, 10))
        patch.setattr(throughput, "_SECONDS", 0.01)
        patch.setattr(speed, "_fresh", lambda *_: {})
        patch.setattr(measured_features, "HALVINGS", 2)
        patch.setattr(measured_features, "HALF_SAMPLES", 2)
        patch.setattr(critic, "FEWEST_OF_FPD", 1)
        output = tmp_path_factory.mktemp("out") / "report"
        record = benchmark(*files, output, emulator=emulator_file, seeds=2)
    return record, output


def test_the_record_is_the_json_file(made):
    record, output = made
    assert json.loads((output / "report.json").read_text()) == record
    assert sorted(p.name for p in output.iterdir()) == ["report.html", "report.json", "report.md"]
    assert not list(output.parent.glob("*.part"))


def test_value_and_floor_have_equal_n(made):
    record, _ = made
    n = {m["n"] for o in record["observables"] for m in o["distances"].values()}
    assert n == {200}  # half of the 400 reference showers
    auc = record["classifiers"]["low"]["auc"]
    assert (auc["n"], auc["floor_n"], len(auc["seeds"])) == (300, 200, 2)
    assert record["classifiers"]["low"]["n_test"] == 60


def test_headline_has_the_distances_of_features_and_says_that_they_are_of_too_few(made):
    record, output = made
    rows = {row[0]: row for row in headline(record)}
    for name in ("FPD × 1e3", "KPD × 1e3", "precision", "recall", "density", "coverage"):
        assert rows[name][1] == "n too small"
        assert rows[name][5] == "200, but 1,000 are needed"
        assert f"| {name} | n too small |" in (output / "report.md").read_text()
    assert record["features"]["recall"]["n"] == 200


def test_every_metric_is_in_record_headline_markdown_and_page(made):
    record, output = made
    rows = {row[0]: row for row in headline(record)}
    assert float(rows["χ² / degrees of freedom, mean of observables"][3]) == pytest.approx(
        1, abs=0.3
    )
    for key in ("mean", "largest"):
        row = rows[f"rank correlations of observables, {key} difference"]
        assert float(row[1]) == pytest.approx(record["correlations"][key]["value"], abs=1e-4)
    assert rows["Wasserstein / width in bins of conditions, mean"][5].endswith("more in a bin")
    learned = record["critic"]["frechet_distance"]
    row = rows["Fréchet distance, critic's features × 1e3"]
    assert float(row[1]) == pytest.approx(1e3 * learned["value"], abs=1e-3)
    (entry,) = record["conditional"]
    assert (entry["condition"], len(entry["edges"])) == ("incident_energy", 3)
    for observable in record["observables"]:
        test = observable["chi_squared_test"]
        value = observable["distances"]["chi_squared"]["value"]
        expected = test["statistic"] / max(test["degrees_of_freedom"], 1)
        assert value == pytest.approx(expected, rel=1e-5)
    checks = {line["what"]: line for line in record["verdict"]}
    assert "32 features that a network learned" in checks["critic's features"]["text"]
    assert "Chi-squared tells" in checks["distributions"]["text"]
    for name in ("report.md", "report.html"):
        text = (output / name).read_text()
        assert record["critic"]["sha256"] in text
        assert "Distances over their floor in bins of incident energy" in text
        assert " with ".join(record["correlations"]["pairs"][0]["observables"]) in text


def test_no_critic_is_trained_where_n_is_too_small_for_its_features(files, no_page, tmp_path):
    record = benchmark(*files, tmp_path / "report", classifiers=False, max_samples=150)
    rows = {row[0]: row for row in headline(record)}
    assert rows["Fréchet distance, critic's features × 1e3"][5] == "75, but 1,600 are needed"
    checks = {line["what"]: line["status"] for line in record["verdict"]}
    assert checks["critic's features"] == checks["conditional distributions"] == "unclear"
    assert "not trained: n = 75, but" in (tmp_path / "report" / "report.md").read_text()


def test_layer_table_has_ten_bins_of_every_layer(made):
    rows = made[0]["layer_energies"]["rows"]
    assert len(rows) == 4 * 10
    assert {r["layer"] for r in rows} == {"layer_0", "layer_1", "layer_2", "total"}
    assert sum(r["n_reference"] for r in rows if r["layer"] == "total") == 400


def test_throughput_and_what_the_reference_does_not_record(made):
    record, output = made
    timed = [e for e in record["throughput"]["emulator"] if e["threads"] == 1]
    assert [(e["batch"], e["writing"]) for e in timed] == [(1, False), (10, False), (10, True)]
    assert all(e["seconds_per_sample"] > 0 for e in timed)
    assert record["throughput"]["reference_seconds_per_sample"] is None
    assert "not recorded" in (output / "report.md").read_text()


def test_the_page_is_whole_and_needs_no_network(made):
    text = (made[1] / "report.html").read_text()
    assert text.count("<script") == 1
    bare = re.sub(r"data:image/[^\"]+", "", text)
    assert "http" not in bare
    for link in re.findall(r'href="#(\w+)"', bare):
        assert f'id="{link}"' in bare
    drawings = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text)
    # response, layers, classifiers, six of observables, profiles, cells, speed
    assert len(drawings) == 12
    for drawing in drawings:
        ElementTree.fromstring(base64.b64decode(drawing))
    # average and single showers, correlations, bins of conditions
    assert text.count("data:image/png") == 4
    for axis in (
        "Verdict",
        "What was compared",
        content := made[0]["files"]["generated"]["sha256"],
    ):
        assert axis in text, content


def test_markdown_tables_are_rectangular(made):
    widths = {}
    for block in markdown(made[0]).split("\n\n"):
        if block.startswith("|"):
            widths[block[:20]] = {line.count("|") for line in block.splitlines()}
    assert len(widths) == 9
    assert all(len(w) == 1 for w in widths.values())


def test_a_report_is_replaced_and_anything_else_is_kept(files, no_page, tmp_path):
    output = tmp_path / "report"
    for _ in range(2):
        benchmark(*files, output, classifiers=False, max_samples=150)
    (output / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        benchmark(*files, output, classifiers=False)
    (output / "thesis.tex").unlink()
    (output / "report.json").write_text('{"format": "another"}')
    with pytest.raises(InputError, match="not ours"):
        benchmark(*files, output, classifiers=False)


def test_the_same_seed_gives_the_same_figures(files, no_page, tmp_path):
    first, second, other = (
        benchmark(*files, tmp_path / name, classifiers=False, max_samples=200, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first["observables"] == second["observables"]
    assert first["observables"] != other["observables"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "fats"}, "did you mean 'fast'"),
        ({"seeds": 0}, "at least one classifier"),
        ({"max_samples": 50}, "at least 100"),
        ({"emulator": "nonsense"}, "nonsense"),
    ],
)
def test_bad_requests(files, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        benchmark(*files, tmp_path / "report", **changes)
    assert not list(tmp_path.iterdir())


def test_few_showers_nan_and_other_geometry_are_refused(files, write_showers, tmp_path):
    few = write_showers(tmp_path / "few.h5", 99)
    with pytest.raises(InputError, match="99 generated showers"):
        load_pair(few, files[1], None, 0)
    energy = np.full((150, 1), 10.0)
    energy[7] = np.nan
    bad = write_showers(tmp_path / "nan.h5", 150, energy=energy)
    with pytest.raises(InputError, match=r"1 showers \(the first is row 7\)"):
        load_pair(bad, files[1], None, 0)
    with h5py.File(tmp_path / "challenge.h5", "w") as file:
        file["incident_energies"] = np.full((150, 1), 1e4)
        file["showers"] = np.ones((150, 368))
    with pytest.raises(InputError, match="differ in geometry"):
        load_pair(tmp_path / "challenge.h5", files[1], None, 0)


def test_different_energies_are_warned_of(files, write_showers, tmp_path):
    assert load_pair(*files, None, 0).warnings == ()
    narrow = write_showers(tmp_path / "narrow.h5", 300, energy=np.full((300, 1), 50.0))
    pair = load_pair(narrow, files[1], None, 0)
    assert pair.energy_p_value < 1e-6
    assert "--conditions" in pair.warnings[0]


def provenance(path, **attributes):
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)
    return path


def test_only_the_test_split_of_the_training_file_is_used(files, write_showers, tmp_path):
    split = {"validation": 0.1, "test": 0.4, "seed": 3}
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1),
        training_data_sha256=content_hash(files[1]),
        training_split=json.dumps(split),
    )
    pair = load_pair(path, files[1], None, 0)
    rows = split_rows(400, **split)["test"]
    assert len(pair.reference) == len(rows) == 160
    with h5py.File(files[1]) as file:
        held_out = np.sort(file["energy"][:, 0][rows].astype(np.float32))
    np.testing.assert_array_equal(np.sort(pair.reference.conditions["incident_energy"]), held_out)
    assert "test split" in pair.files["reference"]["selection"]
    assert pair.warnings == ()


def test_training_data_without_a_test_split_is_warned_of(files, write_showers, tmp_path):
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1), training_data_sha256=content_hash(files[1])
    )
    assert "held out" in load_pair(path, files[1], None, 0).warnings[0]


def test_cuts_of_the_training_file_are_recognised(files, write_showers, tmp_path):
    source = files[1]
    shares = {"validation": 0.1, "test": 0.4, "seed": 3}
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1),
        training_data_sha256=content_hash(source),
        training_split=json.dumps(shares | {"rows": {"train": 200, "validation": 40, "test": 160}}),
    )
    parts = split(source, tmp_path / "parts", **shares)
    tested = load_pair(path, parts["test"], None, 0)
    assert len(tested.reference) == 160
    assert tested.warnings == ()
    assert "did not see" in tested.files["reference"]["selection"]
    assert "held out" in load_pair(path, parts["train"], None, 0).warnings[0]
    cut = convert(source, tmp_path / "cut.h5", rows="0:300")
    held_out = split_rows(400, **shares)["test"]
    assert len(load_pair(path, cut, None, 0).reference) == (held_out < 300).sum()
    provenance(cut, source_rows="every third")
    assert "may have seen" in load_pair(path, cut, None, 0).warnings[0]


def test_unknown_training_data_is_said(files):
    assert "cannot be told" in load_pair(*files, None, 0).files["reference"]["selection"]


def test_paired_showers_stay_together(files, write_showers, tmp_path):
    with h5py.File(files[1]) as file:
        twin = write_showers(tmp_path / "g.h5", 400, seed=5, energy=file["energy"][:])
    pair = load_pair(twin, files[1], 300, 0)
    assert pair.paired
    np.testing.assert_array_equal(*pair.energies)
    rows, halves = pair.halvings(2, 0)
    np.testing.assert_array_equal(rows, halves[0][1])
    assert not {*halves[1][0]} & {*halves[1][1]}


def test_the_emulator_named_in_the_file_is_timed_only_if_it_is_the_same(
    files, no_page, write_showers, emulator_file, tmp_path
):
    emulator = load(emulator_file)
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1),
        emulator=str(emulator_file),
        emulator_sha256=emulator.sha256,
    )
    options = {"classifiers": False, "max_samples": 120}
    record = benchmark(path, files[1], tmp_path / "a", **options)
    assert record["throughput"]["emulator"][0]["batch"] == 1
    provenance(path, emulator_sha256="f" * 64)
    record = benchmark(path, files[1], tmp_path / "b", **options)
    assert record["throughput"]["emulator"] is None
    assert "not the one that made the file" in record["throughput"]["why_not"]
    record = benchmark(path, files[1], tmp_path / "c", emulator=emulator, **options)
    assert "is not the one" in record["warnings"][0]


def test_rings_are_drawn_too(no_page, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("g.h5", "r.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["incident_energies"] = 2.0 ** rng.integers(8, 23, (200, 1))
            file["showers"] = rng.exponential(1, (200, 368)) * (rng.random((200, 368)) < 0.3)
    output = tmp_path / "report"
    record = benchmark(tmp_path / "g.h5", tmp_path / "r.h5", output, classifiers=False)
    assert [layer["axes"] for layer in record["average_shower"]] == [["alpha", "r"]] * 5
    assert plots.average_showers(record["average_shower"]).startswith("data:image/png")
    assert plots.shown(range(45), 6) == [0, 9, 18, 26, 35, 44]


def test_too_few_showers_in_every_bin_can_be_drawn(files, no_page, tmp_path):
    record = benchmark(*files, tmp_path / "report", classifiers=False, max_samples=100)
    rows = record["layer_energies"]["rows"]
    empty = [c | dict.fromkeys((k for k in c if "_" in k), None) for c in rows]
    assert plots.layer_energies({"rows": empty}).startswith("data:image/svg")
    assert plots.response({"rows": empty}).startswith("data:image/svg")


@pytest.mark.parametrize("empty", ["both", "reference", "generated"])
def test_a_last_layer_that_is_empty(write_showers, tmp_path, empty):
    """Showers of low energy end before the last layer."""
    files = [
        write_showers(
            tmp_path / f"{name}.h5",
            300,
            seed=seed,
            **({"layer_2": np.zeros((300, 12, 6))} if empty in ("both", name) else {}),
        )
        for name, seed in (("generated", 5), ("reference", 6))
    ]
    classifiers = empty == "both"
    record = benchmark(*files, tmp_path / "report", classifiers=classifiers, seeds=1)
    found = {o["name"]: o for o in record["observables"]}
    last = found["energy_layer_2"]
    assert (last["reference"]["std"] == 0) == (empty != "generated")
    counted = last["histogram"]
    for name in ("reference", "generated"):
        inside = sum(counted[name]) + sum(counted["outside"][name])
        assert inside == 300
    separation = last["distances"]["separation_power"]["value"]
    assert separation == pytest.approx(0.0 if empty == "both" else 1.0)
    row = next(r for r in headline(record) if r[0].startswith("Wasserstein"))
    assert float(row[1]) < 5  # in widths of what varies
    assert "nan" not in (tmp_path / "report" / "report.md").read_text().lower()


# -- records of earlier versions ------------------------------------------------------------------

PUBLISHED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/report.json"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_published_records_can_be_drawn(path):
    """Of several versions, the first of which had no kinds and fewer metrics."""
    record = json.loads(path.read_text())
    before = copy.deepcopy(record)
    text, page = draw(record)
    assert record == before
    written = f"written by emulators {record['versions']['emulators']}, format version 1"
    assert written in text
    assert written in page
    for what in ("Headline figures", "Throughput", "What was compared"):
        assert f"## {what}" in text
        assert what in page
    for block in (b for b in text.split("\n\n") if b.startswith("|")):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    row = "Fréchet distance, critic's features"
    assert (row in text) == ("critic" in record) or record.get("kind") == "field"
