"""A report: what it holds, what it writes, what it refuses; how it is used from Python."""

import dataclasses
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import emulators
from emulators.benchmarks import chapter as chapters
from emulators.benchmarks import classifier, report, write
from emulators.benchmarks.chapter import Chapter
from emulators.benchmarks.chapters import MODULES, chapters_of
from emulators.benchmarks.measured import Number
from emulators.benchmarks.report import Report, benchmark, read_limits
from emulators.benchmarks.speed import throughput
from emulators.benchmarks.speed import timing as speed
from emulators.cli import cli
from emulators.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Small classifiers, short timings and few resamplings; the logic is the same."""
    with pytest.MonkeyPatch.context() as patch:
        tiny = dataclasses.replace(classifier.PRESETS["fast"], width=8, epochs=1)
        patch.setitem(classifier.PRESETS, "fast", tiny)
        patch.setattr(throughput, "BATCHES", (1, 10))
        patch.setattr(throughput, "_SECONDS", 0.01)
        patch.setattr(speed, "_fresh", lambda *_: {})  # see test_throughput
        patch.setattr(report, "HALVINGS", 4)
        patch.setattr(report, "RESAMPLINGS", 20)
        patch.setattr(write, "DRAWN", 2)
        yield


@pytest.fixture
def few(monkeypatch):
    """Ask two chapters alone."""
    asked = [c for c in chapters_of("shower") if c.name in ("profiles", "cells")]
    monkeypatch.setattr(report, "chapters_of", lambda kind: asked)


@pytest.fixture(scope="module")
def files(write_showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return (
        write_showers(folder / "generated.h5", 300, seed=1),
        write_showers(folder / "reference.h5", 400, seed=2),
    )


@pytest.fixture(scope="module")
def made(files, emulator_file, tmp_path_factory):
    """One whole report, and its folder."""
    output = tmp_path_factory.mktemp("out") / "report"
    whole = benchmark(*files, output, emulator=emulator_file, seeds=2, beside=False)
    return whole, output


def test_the_record_is_the_json_file_and_comes_back(made):
    whole, output = made
    assert json.loads((output / "report.json").read_text()) == whole.record
    assert sorted(p.name for p in output.iterdir()) == ["report.html", "report.json", "report.md"]
    assert not list(output.parent.glob("*.part"))
    again = Report.read(output)
    assert dict(again) == dict(whole)
    assert again.record["format_version"] == 2


def test_every_chapter_of_showers_is_in_record_markdown_and_page(made):
    whole, output = made
    names = [r.name for r in whole.results]
    expected = [c.name for c in chapters_of("shower") if c.name != "challenge"]
    assert [n for n in names if n in expected] == expected
    assert names[-1] == "speed"
    text, page = ((output / f"report.{end}").read_text() for end in ("md", "html"))
    for result in whole.results:
        assert any(f"## {result.title}" in line for line in text.splitlines()) or not result.numbers
        assert f"<h2>{result.title}</h2>" in page or result.name == "samples"


def test_every_number_has_value_floor_and_n(made):
    whole, _ = made
    for name, number in whole.items():
        without = ("speed/", "worth/", "faults/exact_copies", "critic/explained")
        if not name.startswith(without) and np.isfinite(number.value):
            assert number.floor is not None, name
            assert number.n > 0, name


def test_the_page_is_whole_and_needs_no_network(made):
    text = (made[1] / "report.html").read_text()
    assert text.count("<script") == 1
    bare = re.sub(r"data:image/[^\"]+", "", text)
    assert "http" not in bare
    for link in re.findall(r'href="#(\w+)"', bare):
        assert f'id="{link}"' in bare
    opening = text[: text.index("</section>")]
    assert opening.count("<table") == 1  # the leading figures alone are not folded
    assert opening.count("<tbody><tr>") + opening.count("</tr><tr>") <= 9


def test_markdown_tables_are_rectangular(made):
    blocks = [b for b in made[0].markdown().split("\n\n") if b.startswith("|")]
    assert len(blocks) > 10
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1, block[:80]


def test_a_report_is_a_mapping_of_numbers_and_draws_itself(files, few):
    whole = emulators.benchmark(*files, speed=False, beside=False)
    number = whole["cells/deviation"]
    assert isinstance(number, Number)
    assert number.value > 0
    assert whole.measured["cells/spectrum"].axis.unit == "MeV"
    assert "<iframe srcdoc=" in whole._repr_html_()
    assert "figures of showers" in repr(whole)
    with pytest.raises(KeyError):
        whole["cells/nothing"]


def test_figures_are_written_one_by_one(files, few, tmp_path):
    benchmark(*files, tmp_path / "r", speed=False, beside=False, figures="png")
    assert sorted(p.name for p in (tmp_path / "r" / "figures").iterdir()) == [
        "cells-1.png", "profiles-1.png", "profiles-2.png",
    ]  # fmt: skip
    benchmark(*files, tmp_path / "r", speed=False, beside=False)
    assert not (tmp_path / "r" / "figures").exists()


def test_a_report_is_replaced_and_anything_else_is_kept(files, few, tmp_path):
    output, options = tmp_path / "report", {"speed": False, "beside": False, "max_samples": 150}
    for _ in range(2):
        benchmark(*files, output, **options)
    (output / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        benchmark(*files, output, **options)
    (output / "thesis.tex").unlink()
    (output / "report.json").write_text('{"format": "another"}')
    with pytest.raises(InputError, match="not ours"):
        benchmark(*files, output, **options)
    with pytest.raises(InputError, match="not the record of a benchmark"):
        Report.read(output)


def test_the_same_seed_gives_the_same_figures(files, few):
    first, second, other = (
        dict(benchmark(*files, speed=False, beside=False, max_samples=200, seed=seed))
        for seed in (0, 0, 1)
    )
    assert first == second != other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "fats"}, "did you mean 'fast'"),
        ({"seeds": 0}, "at least one classifier"),
        ({"max_samples": 50}, "at least 100"),
        ({"emulator": "nonsense"}, "nonsense"),
        ({"limits": {"cels/deviation": 3}}, "did you mean 'cells'"),
    ],
)
def test_bad_requests(files, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        benchmark(*files, tmp_path / "report", **changes)
    assert not list(tmp_path.iterdir())


def test_limits_decide_what_passes(files, few, write_showers, tmp_path):
    options = {"speed": False, "beside": False}
    with h5py.File(files[0]) as file:
        stronger = {"layer_0": 1.5 * file["layer_0"][:], "energy": file["energy"][:]}
    faulty = write_showers(tmp_path / "g.h5", 300, seed=1, **stronger)
    names = ("cells/deviation", "profiles/radial", "profiles/longitudinal")
    for limit, passed in ((1e3, True), (1.0, False)):
        asked = dict.fromkeys(names, limit)
        assert benchmark(faulty, files[1], limits=asked, **options).passed == passed
    with pytest.raises(InputError, match=r"no figure 'cells/deviant' \(did you mean"):
        benchmark(*files, limits={"cells/deviant": 1.0}, **options)
    with pytest.raises(InputError, match="must be a number"):
        benchmark(*files, limits={"cells/deviation": "few"}, **options)
    (tmp_path / "limits.toml").write_text('[limits]\n"cells/deviation" = 3\n')
    assert read_limits(tmp_path / "limits.toml") == {"cells/deviation": 3}
    (tmp_path / "limits.toml").write_text("cells = 3\n")
    with pytest.raises(InputError, match=r"one table, \[limits\]"):
        read_limits(tmp_path / "limits.toml")


def provenance(path, **attributes):
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)
    return path


def test_the_emulator_named_in_the_file_is_timed_only_if_it_is_the_same(
    files, few, write_showers, emulator_file, tmp_path
):
    emulator = emulators.load(emulator_file)
    path = provenance(
        write_showers(tmp_path / "g.h5", 300, seed=1),
        emulator=str(emulator_file),
        emulator_sha256=emulator.sha256,
    )
    options = {"max_samples": 120, "beside": False}
    assert "speed/time_1" in benchmark(path, files[1], **options)
    provenance(path, emulator_sha256="f" * 64)
    whole = benchmark(path, files[1], **options)
    assert "speed/time_1" not in whole
    assert "not the one that made the file" in whole.results[-1].says
    whole = benchmark(path, files[1], emulator=emulator, **options)
    assert "is not the one" in whole.record["warnings"][0]


@pytest.mark.parametrize(
    "empty",
    ["both", *(pytest.param(name, marks=pytest.mark.long) for name in ("reference", "generated"))],
)
def test_a_last_layer_that_is_empty(write_showers, tmp_path, empty):
    """Showers of low energy end before the last layer."""
    pair = [
        write_showers(
            tmp_path / f"{name}.h5",
            300,
            seed=seed,
            **({"layer_2": np.zeros((300, 12, 6))} if empty in ("both", name) else {}),
        )
        for name, seed in (("generated", 5), ("reference", 6))
    ]
    whole = benchmark(*pair, classifiers=False, speed=False, beside=False)
    assert "nan" not in whole.markdown().lower()
    assert "<img" in whole.html()


# -- a new kind of sample -------------------------------------------------------------------------


def test_a_new_kind_is_its_observables_and_a_chapter(tmp_path, monkeypatch):
    """Points of a ring: one observable, one chapter; nothing else of the report knows them."""
    from emulators.benchmarks.chapter import percent
    from emulators.data.hdf5 import HDF5Writer
    from emulators.data.spec import Samples, SampleSpec

    def radius(values):  # the observables
        return np.hypot(*values.T.astype(float))[:, None]

    def measure(pair, settings):  # the chapter
        rows = radius(pair.generated.values), radius(pair.reference.values)

        def off(a, b):
            return abs(float(a.mean() / b.mean() - 1))

        return [percent(off, *rows, pair, settings, "radius", name="radius", label="mean radius",
                        limit=3.0, purpose="radii", leading=True)]  # fmt: skip

    ring = Chapter("ring", "Ring", ("point",), "How wide it is.", measure)
    monkeypatch.setitem(chapters.CHAPTERS, "ring", ring)
    spec, rng = SampleSpec("point", "native", (2,), "mm", ()), np.random.default_rng(0)
    for name, size in (("a", 1.0), ("b", 1.0), ("wide", 1.2)):
        angle = rng.uniform(0, 2 * np.pi, 1000)
        at = size * (1 + 0.05 * rng.standard_normal(1000))
        points = np.stack([at * np.cos(angle), at * np.sin(angle)], 1).astype("f4")
        with HDF5Writer(tmp_path / f"{name}.h5", spec, 1000) as writer:
            writer.append(Samples(points, {}))
    whole = benchmark(tmp_path / "b.h5", tmp_path / "a.h5", tmp_path / "report", speed=False)
    assert whole.passed
    assert "Good enough for radii" in whole.markdown()
    assert "Ring" in (tmp_path / "report" / "report.html").read_text()
    wide = benchmark(tmp_path / "wide.h5", tmp_path / "a.h5", speed=False)
    assert not wide.passed
    assert wide["ring/radius"].excess == pytest.approx(20, abs=2)
    monkeypatch.delitem(chapters.CHAPTERS, "ring")
    with pytest.raises(InputError, match="no chapter of a report"):
        benchmark(tmp_path / "b.h5", tmp_path / "a.h5", speed=False)


def test_the_command_exits_with_1_where_a_limit_is_missed(files, few, tmp_path):
    (tmp_path / "limits.toml").write_text('[limits]\n"cells/deviation" = 1e3\n')
    words = ["benchmark", *files, "-o", tmp_path / "report", "--no-speed", "--no-beside"]
    words += ["--no-cache", "--check", "--limits", tmp_path / "limits.toml"]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "good: Spectrum of cell energies" in done.output
    (tmp_path / "limits.toml").write_text('[limits]\n"cells/deviant" = 1\n')
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 2


def test_a_missed_limit_is_exit_code_1(few, files, write_showers, tmp_path):
    with h5py.File(files[0]) as file:
        stronger = {"layer_0": 1.5 * file["layer_0"][:], "energy": file["energy"][:]}
    faulty = write_showers(tmp_path / "g.h5", 300, seed=1, **stronger)
    words = ["benchmark", faulty, files[1], "-o", tmp_path / "r", "--no-speed", "--no-beside"]
    codes = [
        CliRunner().invoke(cli, [str(w) for w in [*words, "--no-cache", *check]]).exit_code
        for check in ([], ["--check"])
    ]
    assert codes == [0, 1]


def test_chapters_are_in_their_order_and_none_is_forgotten():
    names = [c.name for c in chapters_of("shower")]
    assert names[:5] == ["samples", "response", "layers", "observables", "profiles"]
    assert [c.name for c in chapters_of("field")][:3] == ["pictures", "power", "conditions"]
    folder = Path(emulators.__file__).parent / "benchmarks" / "chapters"
    assert {p.stem for p in folder.glob("[!_]*.py")} == set(MODULES)
