import logging
import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from emulators.benchmarks import cache, classifier, feature_distances, report, results
from emulators.benchmarks.cache import default_folder, keeping, remembered
from emulators.benchmarks.chapters import chapters_of, critic
from emulators.benchmarks.classifier import Preset
from emulators.benchmarks.report import benchmark
from emulators.cli import cli

CALLS = []


@remembered
def moments(sample, power=1, *rest, **named):
    CALLS.append(power)
    return {"mean": float((sample**power).mean()), "n": len(sample), "sorted": np.sort(sample)}


@remembered
def pair(sample):
    return sample.sum(), sample > 0


@pytest.fixture(autouse=True)
def forget():
    CALLS.clear()


X = np.random.default_rng(0).standard_normal(50)


def entries(folder):
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_result_is_taken_as_it_was(tmp_path):
    alone = moments(X, 3)
    with keeping(tmp_path) as taken:
        first = moments(X, 3)
        assert taken == []
        second = moments(X.copy(), 3)
        assert taken == [f"{__name__}.moments"]
    assert len(CALLS) == 2  # alone, and first
    for found in (first, second):
        assert found.keys() == alone.keys()
        assert (found["mean"], found["n"]) == (alone["mean"], 50)
        assert (type(found["mean"]), type(found["n"])) == (float, int)
        assert found["sorted"].tobytes() == alone["sorted"].tobytes()
    moments(X, 3)
    assert len(CALLS) == 3  # nothing is taken outside
    assert len(entries(tmp_path)) == 1


def test_tuples_come_back_as_tuples(tmp_path):
    with keeping(tmp_path):
        first, second = pair(X), pair(X)
    assert isinstance(second, tuple)
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    assert second[1].dtype == bool


def test_whatever_differs_is_measured(tmp_path, monkeypatch):
    last = X.copy()
    last[-1] = np.nextafter(last[-1], 9)
    preset = classifier.PRESETS["fast"]
    asked = [
        ((X,), {}),
        ((last,), {}),
        ((X[::-1],), {}),
        ((X.astype("f4"),), {}),
        ((X[:-1],), {}),
        ((X, 2), {}),
        ((X, True), {}),
        ((X, 1, "a"), {}),
        ((X, 1, "a", "b"), {}),
        ((X, 1, ("a", "b")), {}),
        ((X, 1, None), {}),
        ((X, 1, range(3)), {}),
        ((X, 1, preset), {}),
        ((X, 1, Preset(**{**vars(preset), "epochs": preset.epochs + 1})), {}),
        ((X,), {"named": 1}),
        ((X,), {"named": "1"}),
        ((X,), {"other": 1}),
    ]
    with keeping(tmp_path) as taken:
        for args, kwargs in asked:
            moments(*args, **kwargs)
        assert taken == []
        for args, kwargs in asked:
            moments(*args, **kwargs)
        assert len(taken) == len(asked) == len(entries(tmp_path))
    with keeping(tmp_path, {"numpy": "3.0"}) as taken:
        moments(X)
    monkeypatch.setattr(cache, "_source", lambda: b"other code")
    with keeping(tmp_path) as taken:
        moments(X)
    assert taken == []


def test_what_says_nothing_of_its_content_is_no_key(tmp_path):
    with keeping(tmp_path), pytest.raises(TypeError, match="kept by a Generator"):
        moments(X, 1, np.random.default_rng(0))
    with keeping(tmp_path), pytest.raises(TypeError, match="kept by a ndarray"):
        moments(X, 1, np.array([None]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: bytes([content[0] ^ 1]) + content[1:],
    ],
)
def test_a_damaged_entry_is_measured_anew(tmp_path, caplog, damage):
    with keeping(tmp_path):
        first = moments(X)
        (path,) = entries(tmp_path)
        good = path.read_bytes()
        path.write_bytes(damage(good))
        second = moments(X)
    assert second["mean"] == first["mean"]
    assert len(CALLS) == 2
    assert "damaged entry" in caplog.text
    with keeping(tmp_path) as taken:
        moments(X)
    assert len(taken) == 1


def test_those_not_used_for_longest_make_room(tmp_path, monkeypatch):
    names = []
    with keeping(tmp_path):
        for power in range(1, 5):
            moments(X, power)
            (new,) = {*entries(tmp_path)} - {*names}
            names.append(new)
            os.utime(new, (power, power))
        moments(X, 1)  # used last
        size = names[0].stat().st_size
        monkeypatch.setattr(cache, "LARGEST", int(3.5 * size))
        moments(X, 5)
    kept = entries(tmp_path)
    assert len(kept) == 3
    assert names[0] in kept
    assert names[3] in kept


def test_a_folder_that_cannot_be_written_is_said(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    with keeping(tmp_path / "file" / "cache"):
        assert moments(X)["n"] == moments(X, 2)["n"] == 50
    assert caplog.text.count("cannot be kept there: Not a directory") == 1


MANY = """
import sys
from pathlib import Path
import numpy as np
from emulators.benchmarks.cache import keeping, remembered

@remembered
def mean(sample):
    return {"mean": sample.mean()}

rng = np.random.default_rng(0)
with keeping(Path(sys.argv[1])) as taken:
    for _ in range(300):
        sample = rng.standard_normal(1000)
        assert mean(sample) == {"mean": sample.mean()}
print(len(taken))
"""


def test_two_processes_at_once(tmp_path):
    jobs = [
        subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    taken = [int(job.communicate()[0]) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    assert sum(taken) <= 300
    assert len(entries(tmp_path)) == 300
    assert not [path for path in entries(tmp_path) if path.suffix == ".part"]


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "emulators" / "benchmarks"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(default_folder()) == "/home/someone/.cache/emulators/benchmarks"


# reports --------------------------------------------------------------------------------------

CHAPTERS = ("observables", "classifiers", "conditional", "critic", "features")


@pytest.fixture
def files(write_showers, monkeypatch, tmp_path):
    """Two emulators' files and a reference; few resamplings and chapters, a small classifier."""
    tiny = Preset(**{**vars(classifier.PRESETS["fast"]), "width": 8, "epochs": 1})
    monkeypatch.setitem(classifier.PRESETS, "fast", tiny)
    for module in (report, feature_distances):
        monkeypatch.setattr(module, "HALVINGS", 2)
    monkeypatch.setattr(report, "RESAMPLINGS", 5)
    monkeypatch.setattr(feature_distances, "HALF_SAMPLES", 2)
    monkeypatch.setattr(critic, "FEWEST_OF_FPD", 1)
    monkeypatch.setattr(results, "html", lambda record: "")
    asked = [c for c in chapters_of("shower") if c.name in CHAPTERS]
    monkeypatch.setattr(report, "chapters_of", lambda kind: asked)
    return [write_showers(tmp_path / f"{i}.h5", 120, seed=i) for i in range(3)]


def taken(caplog):
    """Return how many results the last report says that it did not measure."""
    said = re.findall(r"(\d+) results were measured before", caplog.text)
    caplog.clear()
    return int(said[0]) if said else 0


def test_a_second_report_is_the_same_and_one_of_other_showers_has_its_floors(
    files, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    first, second, reference = files
    folder = tmp_path / "cache"
    options = {"speed": False, "beside": False, "seeds": 1}
    plain = benchmark(first, reference, **options)
    assert not folder.exists()
    once = benchmark(first, reference, cache=folder, **options)
    assert taken(caplog) == 0
    kept = len(entries(folder))
    again = benchmark(first, reference, cache=folder, **options)
    assert taken(caplog) == kept
    for whole in (once, again):
        np.testing.assert_equal(whole.record["chapters"], plain.record["chapters"])
    other = benchmark(second, reference, cache=folder, **options)
    # at the least the floors of FPD, KPD, neighbourhoods and four classifiers; and the critic
    assert 3 * 2 + 4 + 1 <= taken(caplog) < kept
    for name in ("observables/wasserstein", "critic/frechet_distance"):
        assert other[name].floor == once[name].floor
        assert other[name].value != once[name].value
    with h5py.File(reference, "a") as file:
        file["layer_1"][:] = 1.001 * file["layer_1"][:]
    options["classifiers"] = False
    changed = benchmark(second, reference, cache=folder, **options)
    assert 0 < taken(caplog) < 40  # what does not depend on layer 1
    whole = benchmark(second, reference, **options)
    np.testing.assert_equal(changed.record["chapters"], whole.record["chapters"])


def test_the_command_keeps_results_unless_told_not_to(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    words = ["benchmark", *files[1:], "-o", tmp_path / "report", "--no-speed", "--no-classifiers"]
    ran = CliRunner().invoke(cli, [str(word) for word in [*words, "--no-cache", "--no-beside"]])
    assert ran.exit_code == 0, ran.output
    assert not default_folder().exists()
    ran = CliRunner().invoke(cli, [str(word) for word in [*words, "--no-beside"]])
    assert ran.exit_code == 0, ran.output
    assert len(entries(default_folder())) >= 3 + 5 + 5
