import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.data.geometries import calogan
from emulators.data.spec import Condition, Samples, SampleSpec
from emulators.data.transforms import STEPS, Transform, condition_tensor
from emulators.errors import InputError

GEOMETRY = calogan()
ENERGY = Condition("incident_energy", "GeV", 1.0, 100.0, "log")
SPEC = SampleSpec("shower", "calogan", (504,), "MeV", (ENERGY,), GEOMETRY, "photon")
CHAINS = {
    "scale": [{"name": "scale", "factor": 1e-3}],
    "incident_share": [{"name": "incident_share"}],
    "layer_share": [{"name": "layer_share"}],
    "log": [{"name": "log", "scale": 1e-3}],
    "power": [{"name": "power", "exponent": 0.3}],
    "standardise": [{"name": "log", "scale": 1.0}, {"name": "standardise"}],
    "all": [
        {"name": "threshold", "minimum": 1e-12},
        {"name": "incident_share"},
        {"name": "power", "exponent": 0.5},
        {"name": "scale", "factor": 10},
    ],
}


def showers(n=200, seed=0):
    """Cells from 1e-10 to 1e5 MeV, 60 % of them empty, one layer empty altogether."""
    random = np.random.default_rng(seed)
    values = 10 ** random.uniform(-10, 5, (n, 504)) * (random.random((n, 504)) < 0.4)
    values[: n // 4, GEOMETRY.slices[2]] = 0
    energy = 10 ** random.uniform(0, 2, n)
    return Samples(values.astype(np.float32), {"incident_energy": energy.astype(np.float32)})


@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS.keys())
def test_round_trip_over_the_full_dynamic_range(steps):
    samples = showers()
    values, conditions = (
        torch.from_numpy(samples.values),
        condition_tensor(SPEC, samples.conditions, len(samples)),
    )
    transform = Transform(SPEC, steps)
    transform.fit(samples)
    x = transform(values, conditions)
    back = transform.inverse(x, conditions)
    assert x.dtype == back.dtype == torch.float32
    assert torch.isfinite(x).all()
    if "standardise" in [s["name"] for s in steps]:  # subtracts: an absolute error remains
        torch.testing.assert_close(back, values, rtol=2e-5, atol=1e-5)
    else:
        torch.testing.assert_close(back, values, rtol=2e-5, atol=0)
        assert torch.equal(back == 0, values == 0)


def test_every_step_is_tested():
    assert {s["name"] for steps in CHAINS.values() for s in steps} == set(STEPS)


def test_layer_shares_are_shares():
    samples = showers()
    conditions = condition_tensor(SPEC, samples.conditions, len(samples))
    x = Transform(SPEC, [{"name": "layer_share"}])(torch.from_numpy(samples.values), conditions)
    layers, within = x[:, :3], x[:, 3:]
    total = samples.values.sum(1, dtype=np.float64)
    expected = total / (1000 * samples.conditions["incident_energy"])
    np.testing.assert_allclose(layers.sum(1), expected, rtol=1e-5)
    sums = torch.stack([within[:, s].sum(1) for s in GEOMETRY.slices], 1)
    np.testing.assert_allclose(sums, layers > 0, rtol=1e-5)


def test_threshold_is_in_energy_units():
    values = torch.tensor([[0.0, 0.4, 0.5, 2.0]])
    step = Transform(SPEC, [{"name": "threshold", "minimum": 0.5}])
    expected = torch.tensor([[0.0, 0.0, 0.5, 2.0]])
    assert torch.equal(step(values, torch.ones(1, 1)), expected)
    assert torch.equal(step.inverse(values, torch.ones(1, 1)), expected)


def test_conditions_are_scaled_in_their_own_scale():
    linear = Condition("angle", "deg", -10.0, 30.0, "linear")
    one = Condition("mass", "GeV", 5.0, 5.0, "linear")
    spec = SampleSpec("shower", "calogan", (504,), "MeV", (ENERGY, linear, one), GEOMETRY)
    asked = torch.tensor([[1.0, -10.0, 5.0], [10.0, 10.0, 5.0], [100.0, 30.0, 5.0]])
    ranged = Transform(spec, condition="range").scale(asked)
    torch.testing.assert_close(ranged, torch.tensor([[-1.0, -1, 0], [0, 0, 0], [1, 1, 0]]))
    unit = Transform(spec, condition="unit").scale(asked)
    torch.testing.assert_close(unit[:, 0], torch.tensor([0.01, 0.1, 1.0]))


def test_a_fitted_transform_is_rebuilt_from_config_and_state():
    steps = CHAINS["standardise"]
    first = Transform(SPEC, steps)
    first.fit(showers())
    second = Transform(SPEC, **first.config)
    second.load_state_dict(first.state_dict())
    values, conditions = torch.rand(5, 504), torch.full((5, 1), 20.0)
    assert torch.equal(first(values, conditions), second(values, conditions))
    assert abs(float(first(torch.from_numpy(showers().values), conditions).mean())) < 1e-3


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-10, 1e5), st.floats(1e-4, 10), st.floats(0.1, 2.0))
def test_log_and_power_invert(value, scale, exponent):
    for step in ({"name": "log", "scale": scale}, {"name": "power", "exponent": exponent}):
        transform = Transform(SPEC, [step])
        there = transform(torch.tensor([[value]]), torch.ones(1, 1))
        if 1e-30 < float(there) < 1e30:
            back = float(transform.inverse(there, torch.ones(1, 1)))
            assert back == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(
    ("steps", "condition", "message"),
    [
        ([{"name": "lgo", "scale": 1.0}], "range", "did you mean 'log'"),
        ([{"scale": 1.0}], "range", "unknown transform step None"),
        ([{"name": "log"}], "range", "scale"),
        ([{"name": "log", "scale": 1.0, "base": 2}], "range", "base"),
        ([{"name": "log", "scale": -1.0}], "range", "not a positive number"),
        ([{"name": "power", "exponent": float("nan")}], "range", "not a positive number"),
        ([], "ranged", "neither 'range' nor 'unit'"),
    ],
)
def test_bad_steps_are_refused(steps, condition, message):
    with pytest.raises(InputError, match=message):
        Transform(SPEC, steps, condition)


def test_shares_need_an_incident_energy():
    spec = SampleSpec("image", "native", (3, 8, 8), "", ())
    for name in ("incident_share", "layer_share"):
        with pytest.raises(InputError, match="incident energy"):
            Transform(spec, [{"name": name}])


def test_no_conditions_are_no_columns():
    spec = SampleSpec("image", "native", (2,), "", ())
    assert condition_tensor(spec, {}, 7).shape == (7, 0)
