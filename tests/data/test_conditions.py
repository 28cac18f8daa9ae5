import pickle

import numpy as np
import pytest
from astropy import units as u
from scipy import stats

from emulators.data.conditions import ConditionLaw, requested
from emulators.data.dataset import Dataset
from emulators.data.spec import Condition
from emulators.errors import InputError

ENERGY = Condition("incident_energy", "GeV", 1.0, 100.0, "log")
MATTER = Condition("omega_m", "", 0.2, 0.4)


def energy(request, n=None, **kwargs):
    return requested((ENERGY,), {"incident_energy": request}, n)


def draw(law, n, seed=0):
    return law.draw(seed, 0, n)["incident_energy"]


@pytest.mark.parametrize(
    "request_",
    [50, 50.0, "50", " 50 ", "50 GeV", "50000 MeV", 50 * u.GeV, 0.05 * u.TeV, np.int64(50)],
)
def test_one_energy_in_every_form(request_):
    law = energy(request_)
    np.testing.assert_array_equal(draw(law, 4), np.full(4, 50, "f4"))
    assert law.description == "incident_energy 50 GeV"
    assert (law.extrapolates, law.length) == ((), None)


@pytest.mark.parametrize(
    ("request_", "scale", "words"),
    [
        ("2:50", "log", "incident_energy log-uniform 2-50 GeV"),
        ("2:50:log", "log", "incident_energy log-uniform 2-50 GeV"),
        ("2000 MeV:50 GeV:linear", "linear", "incident_energy uniform 2-50 GeV"),
        ("2000:50000 MeV", "log", "incident_energy log-uniform 2-50 GeV"),
        ("2000:50000MeV:linear", "linear", "incident_energy uniform 2-50 GeV"),
        ("2e-3:5e-2:log TeV", "log", "incident_energy log-uniform 2-50 GeV"),
        ("2 : 50 GeV", "log", "incident_energy log-uniform 2-50 GeV"),
        (None, None, "incident_energy log-uniform 1-100 GeV"),
    ],
)
def test_laws(request_, scale, words):
    law = energy(request_)
    values = draw(law, 20_000).astype(float)
    assert law.description == words
    low, high = (1, 100) if request_ is None else (2, 50)
    assert low <= values.min() < low * 1.01
    assert high * 0.99 < values.max() <= high
    uniform = (values - low) / (high - low)
    if scale != "linear":
        uniform = np.log(values / low) / np.log(high / low)
    assert stats.kstest(uniform, "uniform").pvalue > 0.01


def test_nothing_asked_is_the_trained_range_in_its_own_scale():
    law = requested((ENERGY, MATTER), {"incident_energy": None})
    assert law.description == "incident_energy log-uniform 1-100 GeV; omega_m uniform 0.2-0.4"
    drawn = law.draw(0, 0, 1000)
    ranks = stats.spearmanr(drawn["incident_energy"], drawn["omega_m"])
    assert ranks.pvalue > 0.01  # conditions are independent of one another


def test_sample_i_depends_on_seed_and_i_alone():
    law = pickle.loads(pickle.dumps(energy("1:100")))
    everything = draw(law, 1000, seed=3)
    np.testing.assert_array_equal(law.draw(3, 300, 777)["incident_energy"], everything[300:777])
    assert not np.array_equal(draw(law, 1000, seed=4), everything)


def test_lists_are_taken_in_order():
    law = energy([10, 20, 30] * u.GeV, 3)
    assert law.length == 3
    np.testing.assert_array_equal(law.draw(9, 1, 3)["incident_energy"], [20, 30])
    assert law.description == "incident_energy given (3 values, 10-30 GeV)"
    with pytest.raises(InputError, match="samples 0 to 4 are wanted, there are 3"):
        law.draw(0, 0, 4)


def test_conditions_of_another_file(shower_file):
    law = ConditionLaw.from_file(shower_file, (ENERGY,))
    expected = Dataset(shower_file).read(0, 64).conditions["incident_energy"]
    assert law.length == 64
    np.testing.assert_array_equal(draw(law, 64), expected)
    np.testing.assert_array_equal(
        draw(ConditionLaw.from_file(shower_file, (ENERGY,), 5), 5), expected[:5]
    )
    assert law.description.startswith(f"incident_energy of {shower_file} (64 values, ")
    in_mev = Condition("incident_energy", "MeV", 1000.0, 1e5, "log")
    np.testing.assert_allclose(
        draw(ConditionLaw.from_file(shower_file, (in_mev,)), 64), 1000 * expected, rtol=1e-6
    )
    with pytest.raises(InputError, match="has 64 samples, conditions of 65 are wanted"):
        ConditionLaw.from_file(shower_file, (ENERGY,), 65)
    with pytest.raises(InputError, match="has no condition 'omega_m'"):
        ConditionLaw.from_file(shower_file, (ENERGY, MATTER))


@pytest.mark.parametrize(
    ("request_", "outside"),
    [
        ("1:100", False),
        ([1 - 5e-7, 100.00005], False),
        (0.99, True),
        ("0.5:50", True),
        ("50:101", True),
        ([5.0, 200.0], True),
        (100 * u.TeV, True),
    ],
)
def test_extrapolation_is_told(request_, outside):
    assert energy(request_).extrapolates == (("incident_energy",) if outside else ())


@pytest.mark.parametrize(
    ("request_", "n", "message"),
    [
        (50 * u.m, None, "incident_energy: 'm' is not a unit of it, give GeV"),
        ("50 m", None, "'m' is not a unit of it"),
        (50 * u.one, None, "is not a unit of it"),
        ("fifty", None, "'fifty' is not a number"),
        ("5 GeV:50", None, "'5 GeV:50' leaves a unit open: give it after the range, as 5:50 MeV"),
        ("5 GeV:50:log", None, "leaves a unit open"),
        ("5 GeV:50:log MeV", None, "leaves a unit open"),
        ("5:50 GeV:log MeV", None, "leaves a unit open"),
        ("5:50 Gev", None, "'Gev' is not a unit that astropy knows"),
        ("5:50 m", None, "'m' is not a unit of it, give GeV"),
        ("", None, "is not understood"),
        ("1:", None, "'1:' is not understood: give 50, 1:100 or 1:100:log"),
        ("1:2:log:3", None, "is not understood"),
        ("1:100:logg", None, "law 'logg' .did you mean 'log'"),
        ("100:1", None, "100:1 goes down"),
        (0, None, "0 GeV is not positive and finite"),
        ("-1:10", None, "-1 GeV is not positive"),
        (float("nan"), None, "nan GeV is not positive and finite"),
        ("1:inf", None, "inf GeV is not positive and finite"),
        ([1.0, -1.0, np.nan], 3, "-1 GeV is not positive and finite .2 such values"),
        ([1.0, 2.0], 3, "2 values for 3 samples"),
        ([[1.0], [2.0]], 2, r"expected a list of values, got shape \(2, 1\)"),
        ([], 0, "expected a list of values"),
        (True, None, "True is not a number"),
        (["1", "2"], 2, "is not a number or a list of numbers"),
        ([[1.0], [2.0, 3.0]], 2, "is not a number or a list of numbers"),
        ({"a": 1}, None, "is not a number or a list of numbers"),
    ],
)
def test_bad_requests(request_, n, message):
    with pytest.raises(InputError, match=message) as error:
        energy(request_, n)
    assert "incident_energy" in str(error.value)


def test_unknown_condition_and_unequal_lists():
    with pytest.raises(InputError, match=r"'incident_enrgy' .did you mean 'incident_en"):
        requested((ENERGY, MATTER), {"incident_enrgy": 50})
    with pytest.raises(InputError, match="differ in length"):
        requested((ENERGY, MATTER), {"incident_energy": [1, 2], "omega_m": [0.3]})


def test_conditions_that_may_be_negative():
    dark = Condition("w", "", -1.5, -0.5)
    law = requested((dark,), {"w": "-1.2:-0.8"})
    assert law.extrapolates == ()
    assert -1.2 <= law.draw(0, 0, 100)["w"].min() < law.draw(0, 0, 100)["w"].max() <= -0.8
    assert requested((dark,), {"w": 0.0}).extrapolates == ("w",)
    with pytest.raises(InputError, match="log law must begin above 0"):
        requested((dark,), {"w": "-1:1:log"})
