import pytest

from emulators.benchmarks.verdict import Thresholds, judge


def record(auc=0.6, deviation=0.0, error=0.005, separation=0.005):
    cells = [
        {
            "layer": layer,
            "low": 1.0,
            "high": 2.0,
            "mean_deviation": deviation,
            "mean_error": error,
            "width_deviation": 0.0,
            "width_error": error,
        }
        for layer in ("layer_0", "total")
    ]
    score = {"value": auc, "error": 0.01, "floor": 0.5, "n": 8000}
    distance = {"value": separation, "error": 0.001, "floor": 0.005, "floor_error": 0.001}
    return {
        "classifiers": {"low": {"view": "cells", "auc": score}},
        "layer_energies": {"rows": cells},
        "observables": [{"name": "depth", "distances": {"separation_power": distance}}],
        "diagnosis": [finding(), finding("duplicates", value=None, reach=None)],
    }


def finding(fault="energy scale", part="whole shower", **changes):
    return {
        "fault": fault,
        "part": part,
        "value": 0.001,
        "error": 0.001,
        "reach": 0.006,
        "n": [800, 900],
        "found": False,
        "text": f"{fault} of {part}",
    } | changes


def status(what, **changes):
    found = {line["what"]: line for line in judge(record(**changes), Thresholds())}
    return found[what]["status"]


def test_all_good():
    assert {line["status"] for line in judge(record(), Thresholds())} == {"good"}


def test_classifier_above_its_limit_fails():
    assert status("classifier, low view", auc=0.81) == "poor"
    assert status("classifier, low view", auc=0.80) == "good"


@pytest.mark.parametrize(
    ("deviation", "error", "expected"),
    [
        (0.019, 0.001, "good"),
        (0.03, 0.001, "poor"),  # 10 standard errors beyond 2 %
        (-0.03, 0.001, "poor"),
        (0.03, 0.01, "unclear"),  # one standard error beyond: this n cannot tell
        (None, None, "unclear"),
    ],
)
def test_deviations(deviation, error, expected):
    assert status("layer means", deviation=deviation, error=error) == expected
    assert status("energy response", deviation=deviation, error=error) == expected
    if error is not None:
        assert status("energy resolution", deviation=deviation, error=error) == "good"


def test_separation_is_judged_above_its_floor():
    assert status("distributions", separation=0.014) == "good"
    assert status("distributions", separation=0.016) == "poor"


def test_the_clearest_failure_is_named():
    line = next(
        v for v in judge(record(deviation=-0.05), Thresholds()) if v["what"] == "layer means"
    )
    assert "−5 % ± 0.5 % in layer 0 at 1 to 2 GeV" in line["text"]


def faults(*findings):
    lines = judge(record() | {"diagnosis": list(findings)}, Thresholds())
    return [line for line in lines if "fault" in line["what"]]


def test_without_a_fault_it_is_said_what_would_have_been_named():
    (line,) = faults(finding(), finding("duplicates", value=None, reach=None))
    assert line["status"] == "good"
    assert "n = 800 generated, 900 reference" in line["text"]
    assert "energy scale from 0.6 %" in line["text"]
    assert "Not tested, duplicates: duplicates of whole shower." in line["text"]


def test_faults_are_named_the_whole_first_and_causes_told():
    parts = [finding(part=f"layer {i}", value=0.01 * i, found=True) for i in range(1, 5)]
    first, second = faults(*parts, finding(found=True), finding("noise in empty cells", found=True))
    assert (first["status"], first["what"]) == ("poor", "fault: energy scale")
    named = ["whole shower", "layer 4", "layer 3", "2 more", "follow from noise in empty cells."]
    places = [first["text"].index(words) for words in named]
    assert places == sorted(places)
    assert "follow" not in second["text"]
