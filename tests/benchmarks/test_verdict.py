import pytest

from emulators.benchmarks.frame import judged
from emulators.benchmarks.tables import sentence
from emulators.benchmarks.verdict import Thresholds, judge


def record(deviation=0.0, error=0.005, separation=0.005, **joint):
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
    distance = {"value": separation, "error": 0.001, "floor": 0.005, "floor_error": 0.001}
    distances = {"separation_power": distance, "chi_squared": distance | {"value": 1.7, "n": 100}}
    tested = {"name": "depth", "distances": distances, "chi_squared_test": {"p_value": 0.02}}
    return {
        "kind": "shower",
        "layer_energies": {"rows": cells},
        "observables": [tested],
        "conditional": [conditional()],
        "correlations": correlations(),
        "critic": critic(),
    } | joint


def conditional(value=0.08, error=0.02, too_small=None):
    """Two observables in two bins of an angle; one of them is off in the second."""
    tables = {
        "value": [[0.05, value], [0.06, 0.06]],
        "error": [[error, error], [error, error]],
        "floor": [[0.06, 0.06], [0.05, 0.06]],
        "floor_error": [[0.01, 0.0], [0.01, 0.0]],
    }
    tables["value"][1][1] = None  # too few showers
    return {
        "condition": "theta",
        "unit": "deg",
        "too_small": too_small,
        "edges": [0, 30, 60],
        "n_generated": [100, 90],
        "n_reference": [100, 110],
        "observables": ["depth", "width_x_layer_0"],
        "wasserstein": tables,
        "separation_power": tables,
    }


def correlations(difference=0.01, error=0.01):
    measured = {"value": 0.01, "error": 0.002, "floor": 0.009, "floor_error": 0.002, "n": 4000}
    pair = {
        "observables": ["depth", "width_x_layer_0"],
        "reference": 0.2,
        "generated": 0.2 + difference,
        "difference": difference,
        "error": error,
        "floor": 0.01,
        "n": [8000, 8000],
    }
    return {"mean": measured, "largest": measured, "pairs": [pair]}


def critic(value=0.006, error=0.001, too_small=None):
    numbers = {"value": value, "error": error, "floor": 0.005, "floor_error": 0.0, "n": 4000}
    return {"features": 32, "frechet_distance": numbers | {"too_small": too_small}}


def status(what, **changes):
    found = {line["what"]: line for line in judge(record(**changes), Thresholds())}
    return found[what]["status"]


def test_all_good():
    assert {line["status"] for line in judge(record(), Thresholds())} == {"good"}


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


def test_chi_squared_is_told_beside_the_separation_power():
    text = judge(record(), Thresholds())[5]["text"]
    assert text.endswith("Chi-squared tells none of them apart at n = 100 (p < 0.01).")
    found = record()
    found["observables"][0]["chi_squared_test"]["p_value"] = 1e-5
    text = judge(found, Thresholds())[5]["text"]
    assert "tells 1 of them apart at n = 100 (p < 0.01), most clearly depth: 1.7 a degree" in text


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.16, 0.02, "good"),  # 0.1 above its floor
        (0.26, 0.02, "poor"),  # five standard errors more than that
        (0.22, 0.02, "unclear"),  # three more, and ten above the floor
        (0.22, 0.05, "good"),  # what chance does
        (0.5, 0.15, "unclear"),  # chance does more than the limit
    ],
)
def test_distances_in_bins_of_conditions(value, error, expected):
    changes = {"conditional": [conditional(value, error)]}
    assert status("conditional distributions", **changes) == expected
    lines = judge(record(**changes), Thresholds())
    text = next(v["text"] for v in lines if v["what"] == "conditional distributions")
    assert f"depth at theta 30 to 60 deg, {value:.2f} ± {error:.2f} widths (floor 0.06" in text
    within = 3 if value == 0.16 else 2
    assert f"{within} of 3 Wasserstein" in text


def test_conditions_that_do_not_vary_are_not_judged():
    lines = judge(record(conditional=[]), Thresholds())
    assert "conditional distributions" not in {line["what"] for line in lines}
    few = [conditional(too_small="150 do not fill two bins of 100")]
    assert status("conditional distributions", conditional=few) == "unclear"


@pytest.mark.parametrize(
    ("difference", "error", "expected"),
    [
        (0.05, 0.001, "good"),
        (-0.1, 0.01, "poor"),
        (-0.08, 0.01, "unclear"),
        (0.1, 0.03, "good"),
        (0.3, 0.07, "unclear"),
    ],
)
def test_correlations(difference, error, expected):
    changes = {"correlations": correlations(difference, error)}
    assert status("correlations", **changes) == expected
    text = judge(record(**changes), Thresholds())[7]["text"]
    assert f"depth with width_x_layer_0, {0.2 + difference:.3f} where the reference has" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"value": 0.015}, "good"),
        ({"value": 0.016}, "poor"),
        ({"value": 0.016, "error": 0.005}, "unclear"),
        ({"value": 0.9, "too_small": "n"}, "unclear"),
    ],
)
def test_critic(changes, expected):
    assert status("critic's features", critic=critic(**changes)) == expected


def test_the_clearest_failure_is_named():
    line = next(
        v for v in judge(record(deviation=-0.05), Thresholds()) if v["what"] == "layer means"
    )
    assert "−5 % ± 0.5 % in layer 0 at 1 to 2 GeV" in line["text"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"deviation": 0.05},
        {"deviation": None, "error": None, "critic": critic(too_small="9, but 960 are needed")},
    ],
)
def test_the_name_of_a_check_stands_before_its_line_once(changes):
    lines = judge(record(**changes), Thresholds())
    for line in lines:
        assert not sentence(line).lower().startswith(line["what"])
    assert "layer means" in {v["what"] for v in lines if v["text"] != sentence(v)}


def test_names_of_channels_stand_before_the_line_alone():
    line = {"status": "poor", "what": "dm: P(k) to Nyquist", "text": "P(k) to Nyquist: 1 of 2 bins"}
    assert sentence(line) == "1 of 2 bins"
    assert "Fails (dm: P(k) to Nyquist).</strong> 1 of 2 bins<" in judged([], "", [line])
    other = {"status": "good", "what": "peaks", "text": "Peaks of all heights: 2 %"}
    assert sentence(other) == other["text"]
