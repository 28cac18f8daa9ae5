import dataclasses
import json
import os
import re
import runpy
import shutil
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emulators import load
from emulators.benchmarks import cache, classifier, report, results
from emulators.benchmarks.chapters import chapters_of
from emulators.benchmarks.report import Report
from emulators.benchmarks.suites import steps as suite_steps
from emulators.benchmarks.suites.metrics import known_metrics, met
from emulators.benchmarks.suites.page import html
from emulators.benchmarks.suites.run import plan_suite, run_suite
from emulators.benchmarks.suites.suite import Suite, read_suite
from emulators.benchmarks.suites.tables import comparison, lead, markdown, verdict, warnings
from emulators.cli import cli
from emulators.config import as_mapping, build
from emulators.data.convert import convert
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Samples
from emulators.errors import InputError
from emulators.simulators.toy_shower import ToyShower
from emulators.training import loop
from emulators.training.tally import TrainingDiverged
from emulators.training.trainer import Trainer

ROOT = Path(__file__).parents[2]

RECIPE = """
[data]
path = "elsewhere.h5"
test = 0.01

[network]
name = "mlp"
latent = 4
widths = [8]
critic_widths = [8]

[optimiser]
warm_up = 32

[training]
samples = 480
batch_size = 16
precision = "float32"
device = "cpu"
log_samples = 160

[monitor]
every = 160
previews = false
"""

SUITE = """
title = "Toy"
kind = "shower"

[data]
path = "toy.h5"
validation = 0.1
test = 0.4

[[system]]
name = "one"
recipe = "recipe.toml"

[[system]]
name = "two, wider"
recipe = "recipe.toml"
set = ["network.widths=[16]"]
judged = false

[benchmark]
seeds = 1
speed = false
beside = false

[thresholds]
"observables/separation_power" = 0.9
"""


def quick(patch, folder):
    """Small classifiers, few resamplings, few chapters and no pages of single reports.

    What is kept, is kept in ``folder``.
    """
    patch.setattr(cache, "default_folder", lambda: folder)
    tiny = dataclasses.replace(classifier.PRESETS["fast"], width=8, epochs=1)
    patch.setitem(classifier.PRESETS, "fast", tiny)
    patch.setattr(report, "HALVINGS", 4)
    patch.setattr(report, "RESAMPLINGS", 20)
    asked = {
        kind: [c for c in chapters_of(kind) if c.name in CHAPTERS] for kind in ("shower", "field")
    }
    patch.setattr(report, "chapters_of", asked.__getitem__)
    patch.setattr(results, "html", lambda record: "")


CHAPTERS = ("observables", "classifiers", "correlations", "power", "one_point", "worth")


@pytest.fixture(autouse=True)
def fast(monkeypatch, tmp_path):
    quick(monkeypatch, tmp_path / "cache")


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A file of 300 toy showers; not to be changed."""
    simulator = ToyShower(energy="1:20:log")
    simulate = simulator.start(seed=1)
    showers = [simulate(i) for i in range(300)]
    path = tmp_path_factory.mktemp("toy") / "toy.h5"
    with HDF5Writer(path, simulator.spec(), len(showers)) as writer:
        energies = np.concatenate([s.conditions["incident_energy"] for s in showers])
        values = np.concatenate([s.values for s in showers])
        writer.append(Samples(values, {"incident_energy": energies.astype(np.float32)}))
    return path


def desk(folder, toy, text=SUITE):
    """Lay out a folder to run a suite in."""
    (folder / "toy.h5").symlink_to(toy)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "suite.toml").write_text(text)
    return folder


def run(*words):
    return CliRunner().invoke(cli, ["benchmark", "run", *map(str, words)])


@pytest.fixture(scope="module")
def made(toy, tmp_path_factory):
    """One whole suite: its folder and record."""
    folder = desk(tmp_path_factory.mktemp("suite"), toy)
    with pytest.MonkeyPatch.context() as patch:
        quick(patch, folder / "cache")
        patch.chdir(folder)
        done = run("suite.toml", "-o", "out")
        assert done.exit_code == 0, done.output
    return folder / "out", json.loads((folder / "out" / "suite.json").read_text()), done


@pytest.fixture
def measured(made, monkeypatch):
    """Let every report be that of the suite above: these tests are of the steps alone."""
    text = (made[0] / "reports" / "one" / "report.json").read_text()

    def benchmark(generated, reference, output, **options):
        output.mkdir(parents=True, exist_ok=True)
        (output / "report.json").write_text(text)

    monkeypatch.setattr(suite_steps, "benchmark", benchmark)


def test_everything_is_in_its_place(made):
    folder, record, done = made
    assert sorted(p.name for p in folder.iterdir()) == [
        "index.html", "reports", "runs", "samples", "steps.json", "suite.json", "suite.md",
    ]  # fmt: skip
    assert [s["name"] for s in record["systems"]] == ["one", "two, wider"]
    for slug in ("one", "two-wider"):
        assert (folder / "runs" / slug / "emulator.pt").is_file()
        assert len(Dataset(folder / "samples" / f"{slug}.h5")) == 120
        assert (folder / "reports" / slug / "report.json").is_file()
    assert not list(folder.rglob("*.part"))
    steps = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(steps) == 7
    assert all(re.fullmatch(r"\[\d/7\] .*: \d+\.\d s", line) for line in steps)
    assert "out/index.html" in done.output


def test_all_share_the_split_of_the_suite(made, toy):
    folder, record, _ = made
    reference = Dataset(folder / "samples" / "reference_test.h5")
    rows = Dataset(toy).split(validation=0.1, test=0.4, seed=0)
    np.testing.assert_array_equal(
        reference.read(0, 120).values, Dataset(toy).take(rows["test"]).values
    )
    for slug, entry in zip(("one", "two-wider"), record["systems"]):
        assert load(folder / "runs" / slug).card["split"]["rows"] == record["data"]["rows"]
        assert entry["n"] == {"generated": 120, "reference": 120}
        assert entry["selection"] == "all showers of the file, which the training did not see"
        generated = Dataset(folder / "samples" / f"{slug}.h5")
        for name, values in reference.read_conditions(0, 120).items():
            np.testing.assert_array_equal(generated.read_conditions(0, 120)[name], values)


def test_metrics_have_floors_and_known_names(made):
    for entry, slug in zip(made[1]["systems"], ("one", "two-wider"), strict=True):
        found = {m["name"]: m for m in entry["metrics"]}
        assert set(found) <= set(known_metrics("shower"))
        whole = Report.read(made[0] / "reports" / slug)
        for name in ("classifiers/high", "observables/separation_power", "correlations/mean"):
            assert found[name]["floor"] is not None
            assert found[name]["n"] in (120, 60)
            assert found[name]["value"] == whole[name].value
        assert found["training/minutes"]["value"] > 0
        assert found["training/weights"]["value"] == entry["emulator"]["weights"]
        curve = entry["curve"]
        assert curve["samples"] == [160, 320, 480]
        assert len(curve["values"]) == len(curve["minutes"]) == 3
        assert curve["floor"] > 0


def test_systems_share_the_floors_of_the_reference(made):
    folder, record, done = made
    taken = re.findall(r"(\d+) results were measured before", done.stderr)
    assert len(taken) == 1  # by the second report alone
    # at the least the floors of four classifiers
    assert 4 <= int(taken[0]) < len(list((folder.parent / "cache").iterdir()))
    one, two = ({m["name"]: m for m in s["metrics"]} for s in record["systems"])
    for name in ("classifiers/high", "observables/separation_power"):
        assert one[name]["floor"] == two[name]["floor"]
        assert one[name]["value"] != two[name]["value"]


@pytest.mark.parametrize(("words", "kept"), [([], True), (["--no-cache"], False)])
def test_reports_keep_results_unless_told_not_to(toy, tmp_path, monkeypatch, made, words, kept):
    folder = desk(tmp_path, toy)
    monkeypatch.chdir(folder)
    caches = []

    def benchmark(generated, reference, output, *, cache, **options):
        caches.append(cache)
        shutil.copytree(made[0] / "reports" / "one", output)

    monkeypatch.setattr(suite_steps, "benchmark", benchmark)
    done = run("suite.toml", "-o", "out", *words)
    assert done.exit_code == 0, done.output
    assert caches == [tmp_path / "cache" if kept else None] * 2


def test_the_pages_are_whole(made):
    folder, record, _ = made
    page = (folder / "index.html").read_text()
    bare = re.sub(r"data:image/[^\"]+", "", page)
    assert page.count("<script") == 1
    assert "http" not in bare
    for link in re.findall(r'href="#(\w+)"', bare):
        assert f'id="{link}"' in bare
    for link in re.findall(r'href="([^#"]+)"', bare):
        assert (folder / link).exists()
    assert page.count("data:image/svg") == 1  # nothing was timed: the curves alone
    text = (folder / "suite.md").read_text()
    assert text == markdown(record)
    for block in text.split("\n\n"):
        if block.startswith("| "):
            assert len({line.count("|") for line in block.splitlines()}) == 1
    assert lead(record) in text


def test_nothing_is_done_twice(made, monkeypatch):
    folder, record, _ = made

    def never(*words, **options):
        raise AssertionError("a step was done again")

    monkeypatch.chdir(folder.parent)
    for name in ("benchmark", "generate_file", "split"):
        monkeypatch.setattr(suite_steps, name, never)
    for name in ("train", "resume"):
        monkeypatch.setattr(loop, name, never)
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 0, done.output
    assert done.stderr.count(": done before\n") == 7
    again = json.loads((folder / "suite.json").read_text())
    assert again["systems"] == record["systems"]


def test_a_suite_killed_between_steps_goes_on(made, measured, toy, tmp_path, monkeypatch):
    folder = desk(tmp_path, toy)
    monkeypatch.chdir(folder)
    calls = []

    def counted(module, name, stop=None):
        original = getattr(module, name)

        def call(*words, **options):
            calls.append(name)
            if calls.count(name) == stop:
                raise KeyboardInterrupt
            return original(*words, **options)

        monkeypatch.setattr(module, name, call)

    counted(loop, "train")
    counted(suite_steps, "generate_file", stop=2)
    counted(suite_steps, "benchmark")
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 130
    assert calls == ["train", "generate_file", "benchmark", "train", "generate_file"]
    assert not (folder / "out" / "suite.json").exists()
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 0, done.output
    assert calls[5:] == ["generate_file", "benchmark"]
    for slug in ("one", "two-wider"):  # as if it had never been killed
        whole = load(made[0] / "runs" / slug).generator.state_dict()
        for name, weights in load(folder / "out" / "runs" / slug).generator.state_dict().items():
            assert torch.equal(weights, whole[name])


def test_a_stopped_training_goes_on_where_it_was(made, measured, toy, tmp_path, monkeypatch):
    folder = desk(tmp_path, toy)
    monkeypatch.chdir(folder)
    step = Trainer.step

    def stopped(self):
        if self.steps == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        done = run("suite.toml", "-o", "out")
    assert done.exit_code == 143
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 0, done.output
    assert "going on from" in (folder / "out" / "runs" / "one" / "log.txt").read_text()
    whole = load(made[0] / "runs" / "one").generator.state_dict()
    for name, weights in load(folder / "out" / "runs" / "one").generator.state_dict().items():
        assert torch.equal(weights, whole[name])


def test_what_changes_is_done_again_and_runs_are_kept(made, measured, toy, tmp_path, monkeypatch):
    folder = desk(tmp_path, toy)
    shutil.copytree(made[0], folder / "out")
    monkeypatch.chdir(folder)
    plan = run("suite.toml", "-o", "out", "--set", "recipe.training.seed=7", "--dry-run")
    assert plan.output.count("[to do]") == 2
    text = (folder / "suite.toml").read_text()
    (folder / "suite.toml").write_text(text.replace("widths=[16]", "widths=[12]"))
    plan = run("suite.toml", "-o", "out", "--dry-run")
    assert [plan.output.count(state) for state in ("[done before]", "[to do]")] == [1, 1]
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 0, done.output
    assert done.stderr.count(": done before\n") == 4
    runs = folder / "out" / "runs"
    assert sorted(p.name for p in runs.iterdir()) == ["one", "two-wider", "two-wider.before-1"]
    assert load(runs / "two-wider").options["widths"] == [12]


def test_a_threshold_that_is_missed_is_exit_code_1_if_asked(made, monkeypatch):
    folder = made[0]
    monkeypatch.chdir(folder.parent)
    # a training of 30 steps is far from anything
    limit = ["--set", 'thresholds={"observables/separation_power"=0.001}']
    assert run("suite.toml", "-o", "out", *limit).exit_code == 0
    missed = run("suite.toml", "-o", "out", *limit, "--check")
    assert missed.exit_code == 1
    assert "poor: one: " in missed.output
    assert "Thresholds missed: observables/separation_power" in missed.output
    assert "poor: two, wider: " in missed.output  # by its report: no threshold holds for it
    assert run("suite.toml", "-o", "out", *limit, "--set", "check=true").exit_code == 1
    assert run("suite.toml", "-o", "out", "--check").exit_code == 0
    unmeasured = run(
        "suite.toml", "-o", "out", "--check", "--set", 'thresholds={"features/fpd"=1e9}'
    )
    assert unmeasured.exit_code == 1
    assert "features/fpd was not measured" in unmeasured.output


def test_a_training_that_diverges_is_not_the_end(measured, toy, tmp_path, monkeypatch):
    folder = desk(tmp_path, toy)
    monkeypatch.chdir(folder)
    train = loop.train

    def diverge(recipe, run, **options):
        if recipe.options["widths"] == [16]:
            raise TrainingDiverged("diverged before 160 samples")
        return train(recipe, run, **options)

    monkeypatch.setattr(loop, "train", diverge)
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 0, done.output
    assert "poor: two, wider: the training came to no end: diverged before 160" in done.output
    again = run("suite.toml", "-o", "out")
    assert again.stderr.count(": done before\n") == 5
    assert "diverged" in (folder / "out" / "suite.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[benchmark]", "[benchmrk]", "unknown key 'benchmrk' (did you mean 'benchmark'?)"),
        ("judged", "juged", "unknown key 'system[1].juged' (did you mean 'judged'?)"),
        ('kind = "shower"', 'kind = "showers"', "did you mean 'shower'?"),
        ('kind = "shower"', 'kind = "field"', "no metric 'observables/separation_power'"),
        ('"observables/sep', '"observable/sep', "did you mean 'observables/separation_power'?"),
        ("title =", "titel =", "unknown key 'titel' (did you mean 'title'?)"),
        ('recipe = "recipe.toml"', 'emulator = "x"\nrecipe = "recipe.toml"', "recipe and emulator"),
        ('name = "two, wider"', 'name = "One!"', "'one' and 'One!' would share the files of 'one'"),
        ("test = 0.4", "test = 0.95", "some left to train on"),
        ("seeds = 1", "seeds = 0", "seeds must be at least 1"),
        ('"observables/separation_power" = 0.9', "[check]", "'check' = {} is not of type bool"),
        ("widths=[16]", "width=16", "unknown key 'network.width' (did you mean 'widths'?)"),
        ('"recipe.toml"', '"recipes.toml"', "recipes.toml: no such recipe"),
        ('path = "toy.h5"', 'path = "no.h5"', "no.h5: no such file"),
        (
            'recipe = "recipe.toml"\nset',
            'emulator = "nothing"\n#set',
            "'nothing' is neither a file",
        ),
        ('recipe = "recipe.toml"\nset', 'samples = "no.h5"\n#set', "no.h5: no such file"),
        ("[[system]]", "[system", "suite.toml: not a readable TOML file"),
    ],
)
def test_a_bad_suite_is_one_line_and_nothing_is_written(toy, tmp_path, monkeypatch, old, new, says):
    assert old in SUITE
    folder = desk(tmp_path, toy, SUITE.replace(old, new))
    monkeypatch.chdir(folder)
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not (folder / "out").exists()


def test_a_folder_of_something_else_is_refused(toy, tmp_path, monkeypatch):
    folder = desk(tmp_path, toy)
    monkeypatch.chdir(folder)
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").write_text("")
    done = run("suite.toml", "-o", "out")
    assert done.exit_code == 2
    assert "holds no suite" in done.stderr
    (folder / "out" / "steps.json").write_text("{")
    assert "damaged" in run("suite.toml", "-o", "out").stderr


def test_samples_of_another_program_and_a_loaded_emulator(made, toy, tmp_path, monkeypatch):
    """And an emulator of the file that the data were cut from is measured on what it never saw."""
    emulator = made[0] / "runs" / "one"
    monkeypatch.chdir(tmp_path)
    cut = convert(toy, tmp_path / "cut.h5", rows="0:270")
    foreign = Path(shutil.copy(made[0] / "samples" / "two-wider.h5", tmp_path / "foreign.h5"))
    with h5py.File(foreign, "a") as written:  # another program says nothing of a training
        del written["training"], written.attrs["training_data_sha256"]
    plan = build(
        Suite,
        {
            "title": "Made elsewhere",
            "kind": "shower",
            "data": {"path": str(cut), "test": 0.4},
            "system": [
                {"name": "file", "samples": str(foreign)},
                {"name": "emulator", "emulator": str(emulator)},
            ],
            "benchmark": {"seeds": 1, "speed": False},
        },
    )
    assert "load" in plan_suite(plan, tmp_path / "out")
    record = run_suite(plan, tmp_path / "out")
    file, loaded = record["systems"]
    assert file["n"] == {"generated": 120, "reference": 108}
    assert "cannot be told" in file["selection"]
    assert "emulator" not in file
    test = Dataset(toy).split(validation=0.1, test=0.4, seed=0)["test"]
    unseen = int((test < 270).sum())
    assert loaded["n"] == {"generated": unseen, "reference": unseen}
    assert "which the training did not see" in loaded["selection"]
    assert any("different numbers of samples" in w for w in warnings(record))
    (fidelity,) = (p for p in comparison(record) if p[0] == "Fidelity")
    assert "(floor " in fidelity[2][1][1]
    assert "Made elsewhere" in html(record)


def test_showers_and_fields_are_not_mixed(field_file, tmp_path, toy, monkeypatch):
    folder = desk(tmp_path, toy)
    monkeypatch.chdir(folder)
    done = run("suite.toml", "-o", "out", "--set", f"data.path={field_file}")
    assert done.exit_code == 2
    assert "holds fields, and the suite is for showers" in done.stderr


def test_fields(field_file, field_emulator_file, tmp_path):
    plan = build(
        Suite,
        {
            "title": "Maps",
            "kind": "field",
            "data": {"path": str(field_file), "validation": 0.2, "test": 0.5},
            "system": [{"name": "maps", "emulator": str(field_emulator_file)}],
            "benchmark": {"seeds": 1, "speed": False},
            "thresholds": {"power/half": 1e6},
        },
    )
    record = run_suite(plan, tmp_path / "out")
    (entry,) = record["systems"]
    names = {m["name"] for m in entry["metrics"]}
    assert names <= set(known_metrics("field"))
    for name in ("power/half", "power/nyquist", "power/correlation", "one_point/peaks"):
        assert name in names
    assert record["thresholds"][0]["met"]
    assert set(entry["beside"]) == {"untrained start", "lognormal fields"}
    text = markdown(record)
    assert "P(k) to half of Nyquist, %" in text
    assert "| maps, untrained start |" in text
    assert "| lognormal fields |" in text
    assert verdict(record)[0]["status"] != "good"  # by its report, whatever the threshold


@pytest.mark.parametrize(
    ("name", "value", "limit", "kept"),
    [
        ("classifiers/high", 0.7, 0.8, True),
        ("classifiers/high", 0.9, 0.8, False),
        ("features/recall", 0.9, 0.8, True),
        ("features/recall", 0.7, 0.8, False),
        ("features/recall", None, 0.8, False),
    ],
)
def test_more_is_better_of_some_metrics(name, value, limit, kept):
    assert met({"more": name == "features/recall", "value": value}, limit) is kept


@pytest.mark.parametrize("name", ["showers-smoke", "showers", "fields", "objectives"])
def test_the_suites_that_ship_are_good_suites(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = ["data.path=data/samples/photon_showers.h5"] if name == "showers" else []
    plan = read_suite(ROOT / "benchmarks" / f"{name}.toml", settings)
    assert build(Suite, as_mapping(plan)) == plan
    work = suite_steps.Work(plan, Path("does not exist"))
    work.check()
    for system in plan.system:
        if system.recipe:
            recipe = work.recipe(system)
            assert recipe.data.path == plan.data.path
            assert (recipe.data.test, recipe.data.validation) == (
                plan.data.test,
                plan.data.validation,
            )


def test_a_published_suite_is_a_table_of_the_docs(made, tmp_path):
    results = runpy.run_path(str(ROOT / "docs" / "make_results.py"))
    table = results["suite_tables"](made[1])
    assert "**Toy**" in table
    assert "| one |" in table
    assert "| floor: reference against itself |" in table


@pytest.mark.parametrize("settings", [["thresholds={}"], ["system=[]"]])
def test_a_check_that_cannot_fail_is_refused(toy, tmp_path, settings):
    folder = desk(tmp_path, toy)
    with pytest.raises(InputError):
        read_suite(folder / "suite.toml", ["check=true", *settings])


def test_what_is_wrong_with_a_recipe_names_the_system(toy, tmp_path, monkeypatch):
    folder = desk(tmp_path, toy)
    monkeypatch.chdir(folder)
    plan = read_suite("suite.toml", ["recipe.game.objectiv=hinge"])
    with pytest.raises(InputError, match=r"system 'one', recipe.toml: unknown key 'game.objectiv'"):
        run_suite(plan, folder / "out")
