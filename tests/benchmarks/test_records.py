"""Records that earlier versions wrote can be read and drawn; nothing measured is changed."""

import copy
import gzip
import json
from pathlib import Path

import pytest

from emulators.benchmarks.records import upgraded
from emulators.benchmarks.report import Report
from emulators.benchmarks.suites.page import html
from emulators.benchmarks.suites.tables import comparison, lead
from emulators.errors import InputError

GOLDEN = sorted(Path(__file__).parent.glob("records/[!s]*.json.gz"))  # of format version 1
FIGURES = {  # as their pages had them
    "calogan": {"classifiers/high": 1.0, "observables/separation_power": 0.6045},
    "cosmic-web-3d": {"classifiers/observables": 1.0, "power/half": 1.68},
    "photon-showers": {"classifiers/high": 0.605, "correlations/mean": 0.0172},
}


def content(path):
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name.partition(".")[0])
def test_records_of_version_1_are_read(path):
    """The first of them had no kinds, and fewer metrics."""
    record = content(path)
    before = copy.deepcopy(record)
    report = Report(record)
    assert record == before
    assert report.record["format_version"] == 2
    old = {line["text"] for line in record["verdict"]}
    assert {line["text"] for line in report.verdict} == old
    for name, value in FIGURES[path.name.partition(".")[0]].items():
        assert report[name].value == pytest.approx(value, rel=0.02), name
    text = report.markdown()
    assert "version 1: what it lacks is left out" in text
    for block in (b for b in text.split("\n\n") if b.startswith("|")):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert dict(Report(report.record)) == dict(report)  # and again


@pytest.mark.long
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name.partition(".")[0])
def test_records_of_version_1_are_drawn(path):
    page = Report(content(path)).html()
    assert page.count("<img") >= 2
    assert "<h2>What was compared</h2>" in page


def test_a_suite_of_version_1_is_drawn():
    record = content(Path(__file__).parent / "records" / "suite.json.gz")
    assert lead(record).startswith("photon-showers is closest to the simulation")
    assert [part[0] for part in comparison(record)][-1] == "Cost"
    assert "<h2>Fidelity</h2>" in html(record)


def test_records_of_later_versions_are_refused():
    with pytest.raises(InputError, match="format version 3: this version of emulators reads up to"):
        upgraded({"format_version": 3})


PUBLISHED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/report.json"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_published_records_are_what_their_markdown_says(path):
    report = Report.read(path.parent)
    assert len(report) >= 10
    assert (path.parent / "report.md").read_text() == report.markdown()
