import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.data.geometries import calogan
from emulators.data.spec import Condition, Grid, Samples, SampleSpec
from emulators.data.transforms import STEPS, Transform, condition_tensor, suited
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
# Steps for counts, the largest relative error of a round trip over 0 to 250,000 counts in single
# precision, and the first count that does not survive it after dequantisation.
DENSITY_CHAINS = {
    "rational": ({"name": "rational", "a": 4.0}, 1e-3, 11_659),
    "rational_20": ({"name": "rational", "a": 20.0}, 2e-4, 25_964),
    "piecewise": ({"name": "piecewise"}, 3e-6, 193_451),
    "nbody_log": ({"name": "nbody_log"}, 2e-6, None),
    "log": ({"name": "log", "scale": 1.0}, 2e-6, None),
    "log10": ({"name": "log10", "epsilon": 0.01}, 2e-6, None),
    "asinh": ({"name": "asinh", "scale": 1.0}, 2e-6, None),
    "dequantise": ({"name": "dequantise"}, 0.0, None),
}
COUNTS = SampleSpec(
    "field",
    "native",
    (1, 250_001),
    "count",
    (),
    grid=Grid(("counts",), ("x",), (1.0,), "Mpc/h", (True,)),
)
NONE = torch.zeros(1, 0)


def all_counts():
    return torch.arange(250_001, dtype=torch.float32)[None, None]


def fitted(*steps, values=None):
    transform = Transform(COUNTS, steps)
    transform.fit(Samples((all_counts() if values is None else torch.tensor(values)).numpy()))
    return transform


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
    tested = {s["name"] for steps in CHAINS.values() for s in steps}
    assert tested | {step["name"] for step, *_ in DENSITY_CHAINS.values()} == set(STEPS)


@pytest.mark.parametrize(
    ("step", "error", "limit"), DENSITY_CHAINS.values(), ids=DENSITY_CHAINS.keys()
)
def test_counts_go_there_and_back(step, error, limit):
    counts, transform = all_counts(), fitted(step)
    x = transform(counts, NONE)
    back = transform.inverse(x, NONE)
    assert x.dtype == back.dtype == torch.float32
    assert (x.diff() >= 0).all()
    assert ((back - counts).abs() / counts.clamp_min(1)).max() <= error
    assert back[0, 0, 0] == 0 or step["name"] == "log10"
    assert (back >= 0).all()
    if step["name"] == "dequantise":
        return
    whole = Transform(COUNTS, [{"name": "dequantise"}, step])
    for one, other in zip(whole.steps[1:], transform.steps):
        one.load_state_dict(other.state_dict())
    again = whole.inverse(whole(counts, NONE), NONE)
    wrong = (again != counts).flatten().nonzero()
    # within 1 %: the last bit of a division or a logarithm is the machine's
    assert limit is None or wrong[0] > 0.99 * limit
    assert limit is not None or not len(wrong)


@pytest.mark.parametrize(
    "step", [step for step, *_ in DENSITY_CHAINS.values()], ids=DENSITY_CHAINS.keys()
)
def test_whatever_a_network_gives_comes_back_finite(step):
    transform = fitted(step)
    x = torch.cat([torch.linspace(-30, 5, 1001), torch.tensor([1.0, -1.0, 0.0])])[None, None]
    x.requires_grad_()
    values = transform.inverse(x, NONE)
    assert values.isfinite().all()
    # asinh is for values of either sign, and log goes on below zero
    assert (values >= 0).all() or step["name"] in ("asinh", "log")
    if step["name"] != "dequantise":  # rounding has no gradient
        values.sum().backward()
        assert x.grad.isfinite().all()
    nan = torch.tensor([[[math.nan, 1.0]]])
    assert transform.inverse(nan, NONE).isnan().tolist() == [[[True, False]]]
    assert transform(nan, NONE).isnan().tolist() == [[[True, False]]]


def test_the_benchmark_s_map_has_its_published_values():
    counts = torch.tensor([[[0.0, 1.0, 10.0, 100.0, 1000.0, 2e4, 83628.0, 250884.0]]])
    expected = torch.tensor([[[0.0, 0.1228, 0.5428, 1.191, 1.883, 2.790, 3.754, 6.287]]])
    x = fitted({"name": "nbody_log"})(counts, NONE)
    torch.testing.assert_close(x, expected, rtol=5e-4, atol=0)


def test_the_rational_map_has_its_published_values_and_its_end():
    transform = fitted({"name": "rational", "a": 4.0})
    counts = torch.tensor([[[0.0, 4.0, 12.0]]])
    assert torch.equal(transform(counts, NONE), torch.tensor([[[-1.0, 0.0, 0.5]]]))
    largest = float(transform.inverse(torch.tensor([[[1.5]]]), NONE))
    assert largest == pytest.approx(4 * (2**25 - 1), rel=1e-6)
    assert largest == float(transform.inverse(torch.tensor([[[1 - 2**-24]]]), NONE))


def test_a_fitted_rational_map_knows_overdensities_alone():
    density = torch.tensor([[[0.0, 1.0, 3.0, 8.0]]])  # mean 3
    one, other = (fitted({"name": "rational"}, values=d.tolist()) for d in (density, 7 * density))
    d = density / 3 - 1
    torch.testing.assert_close(one(density, NONE), d / (d + 2))
    torch.testing.assert_close(other(7 * density, NONE), d / (d + 2))
    rebuilt = Transform(COUNTS, **one.config)
    rebuilt.load_state_dict(one.state_dict())
    assert torch.equal(rebuilt(density, NONE), one(density, NONE))


def test_the_piecewise_map_is_continuous_and_reaches_one():
    transform = fitted({"name": "piecewise", "a": 4.0, "c": 50.0, "maximum": 2e4})
    below, at, above, most = transform(torch.tensor([[[49.999, 50.0, 50.001, 2e4]]]), NONE)[0, 0]
    assert below < at < above
    assert at == pytest.approx(2 * 50 / 54 - 1)
    assert above - below < 1e-5
    assert most == pytest.approx(1, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 250_000),
    st.floats(0.5, 100),
    st.floats(1.5, 1e3),
    st.floats(2, 1e3),
    st.floats(1e-3, 10),
)
def test_maps_of_counts_invert_for_any_setting(count, a, c, ratio, scale):
    value = torch.tensor([[[float(count)]]])
    for step, error in (
        # how coarse single precision is near s = 1, see `Rational`; thrice for the sums on the way
        ({"name": "rational", "a": a}, 1e-7 * (count + a) ** 2 / (2 * a) / max(count, 1)),
        ({"name": "piecewise", "a": a, "c": c, "maximum": c * ratio}, None),
        ({"name": "nbody_log", "c": c + scale, "shift": scale}, 1e-5),
        ({"name": "log10", "epsilon": scale}, 1e-5),
        ({"name": "asinh", "scale": scale}, 1e-5),
    ):
        transform = Transform(COUNTS, [step])
        if error is None:
            width = transform.steps[0].slope  # of the tail: the smaller, the coarser
            error = 2e-7 * max((min(count, c) + a) / a, 1 / width)
        back = float(transform.inverse(transform(value, NONE), NONE))
        assert back == pytest.approx(count, rel=error + 3e-6, abs=1e-6 * (a + scale))


def test_dequantised_counts_are_exact_with_any_jitter():
    transform = fitted({"name": "dequantise"})
    counts = torch.cat([all_counts(), torch.tensor([[[2.0**23 - 1]]])], 2)
    assert torch.equal(transform.inverse(transform(counts, NONE), NONE), counts)
    for jitter in (-0.5, 0.25, 0.49):  # what training adds
        some = counts[..., :100_000]
        assert torch.equal(transform.inverse(transform(some + jitter, NONE), NONE), some)
    low = torch.tensor([[[-3.0, -0.1, 0.9, 1.0]]])
    assert transform.inverse(low, NONE).tolist() == [[[0, 0, 0, 1]]]


def test_jitter_is_asked_for_by_dequantisation_alone():
    count, log = {"name": "dequantise"}, {"name": "log", "scale": 1.0}
    assert [Transform(COUNTS, s).jitter for s in ([count, log], [log], [])] == [0.5, 0, 0]
    with pytest.raises(InputError, match=r"'dequantise' .* must be the first step"):
        Transform(COUNTS, [log, count])


@pytest.mark.parametrize(
    ("step", "values", "message"),
    [
        ({"name": "rational"}, [3, -1, -0.5], "'rational' .*2 of 3 .*smallest is -1;.*'asinh'"),
        ({"name": "nbody_log"}, [-0.25, 0], "values of 0 or more: 1 of 2 .*smallest is -0.25"),
        ({"name": "piecewise"}, [1, -2], "'piecewise' .*1 of 2 .*smallest is -2"),
        ({"name": "log10", "epsilon": 0.1}, [0, -1], "'log10' .*1 of 2 .*smallest is -1"),
        ({"name": "log", "scale": 1.0}, [-1, 2], "'log' takes values above -1: 1 of 2"),
        ({"name": "dequantise"}, [1, 0.5, 2], "whole numbers from 0: 1 of 3 .*smallest is 0.5"),
        ({"name": "dequantise"}, [-1, 2], "whole numbers from 0: 1 of 2 .*smallest is -1"),
        ({"name": "dequantise"}, [2**23 - 1, 2**23], "counts below 8,388,608: 1 of 2 .*8.38861e"),
        ({"name": "rational"}, [1, math.nan], "1 of 2 .*smallest is nan"),
        ({"name": "rational"}, [0, 0], "all training values are 0"),
    ],
)
def test_values_that_a_step_cannot_map_are_counted(step, values, message):
    with pytest.raises(InputError, match=message):
        fitted(step, values=[[[float(v) for v in values]]])


def test_overdensities_have_steps():
    values = [[[-1.0, 0.0, 30.0]]]
    for step in ({"name": "asinh", "scale": 1.0}, {"name": "log", "scale": 1.01}):
        transform = fitted(step, values=values)
        back = transform.inverse(transform(torch.tensor(values), NONE), NONE)
        torch.testing.assert_close(back, torch.tensor(values), rtol=1e-5, atol=1e-6)


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
        ([{"name": "rational", "a": 0}], "range", "a = 0 is not a positive number"),
        ([{"name": "piecewise", "c": 100, "maximum": 9}], "range", "9 is not above c = 100"),
        ([{"name": "nbody_log", "c": 1}], "range", "c = 1 is not above shift = 1"),
        ([{"name": "log10"}], "range", "epsilon"),
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


ANY = (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("unit", "values", "makes", "step"),
    [
        ("overdensity", [-1.0, 40.0], ANY, {"name": "log", "scale": 2.0}),
        ("overdensity", [-3.0, 3.0], ANY, {"name": "standardise"}),
        ("K", [2.6, 2.7, 2.8], ANY, {"name": "standardise"}),
        ("K", [-1e-5, 0.0, 1e-5], ANY, {"name": "standardise"}),
        ("Msun/h", [1e9, 1e10, 1e10, 1e14], ANY, {"name": "log", "scale": 1e9}),
        ("Msun/h", [1e9, 1e10], (-1.0, 1.0), {"name": "rational"}),
        ("K", [2.6, 2.8], (0.0, math.inf), {"name": "log", "scale": 2.7}),
    ],
)
def test_steps_that_suit_values(unit, values, makes, step):
    (found,) = suited(unit, np.array(values), makes)
    assert found.pop("scale", 1.0) == pytest.approx(step.pop("scale", 1.0), rel=0.05)
    assert found == step


def test_a_network_that_makes_no_negative_values_is_refused_where_there_are():
    for makes in ((-1.0, 1.0), (0.0, math.inf)):
        with pytest.raises(InputError, match="network 'field' or 'dcgan'"):
            suited("K", np.array([-1.0, 2.0]), makes)


@pytest.mark.parametrize(
    ("steps", "exponent"),
    [
        ([{"name": "dequantise"}, {"name": "log", "scale": 1.0}], 1.0),
        ([{"name": "log10", "epsilon": 0.1}], math.log(10)),
        ([{"name": "log", "scale": 3.0}, {"name": "scale", "factor": 4.0}], 0.25),
        ([{"name": "log", "scale": 2.0}, {"name": "standardise"}], None),
        ([{"name": "standardise"}], 0.0),
        ([{"name": "asinh", "scale": 1.0}], 0.0),
        ([{"name": "power", "exponent": 0.5}, {"name": "log", "scale": 1.0}], 0.0),
        ([], 0.0),
    ],
)
def test_the_exponential_of_what_is_seen_is_the_density(steps, exponent):
    """Up to factor and offset, wherever the transform is a logarithm; else the exponent is 0."""
    grid = Grid(("mass",), ("x", "y"), (1.0, 1.0), "Mpc/h", (True, True))
    spec = SampleSpec("field", "native", (1, 8, 8), "count", (), grid=grid)
    values = np.random.default_rng(1).poisson(30, (20, 1, 8, 8)).astype(np.float32)
    transform = Transform(spec, steps)
    transform.fit(Samples(values, {}))
    if exponent is not None:
        assert transform.exponent == pytest.approx(exponent)
    if transform.exponent:
        x = transform(torch.from_numpy(values), torch.empty(20, 0)).double()
        density = (transform.exponent * x).exp().flatten().numpy()
        assert np.corrcoef(density, values.ravel())[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e14])
def test_standardise_is_of_any_unit(unit):
    grid = Grid(("mass",), ("x", "y"), (1.0, 1.0), "Mpc/h", (True, True))
    spec = SampleSpec("field", "native", (1, 8, 8), "g/cm^3", (), grid=grid)
    values = (unit * np.random.default_rng(1).normal(3, 1, (20, 1, 8, 8))).astype(np.float32)
    transform = Transform(spec, [{"name": "standardise"}])
    transform.fit(Samples(values, {}))
    seen = transform(torch.from_numpy(values), torch.empty(20, 0))
    assert float(seen.std()) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(
        transform.inverse(seen, torch.empty(20, 0)).numpy(), values, rtol=1e-5
    )
