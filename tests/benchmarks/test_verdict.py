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
    }


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
