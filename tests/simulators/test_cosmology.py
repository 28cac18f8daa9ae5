"""Power spectra, growth and designs against closed forms and against each other."""

import numpy as np
import pytest
from scipy.special import hyp2f1

from emulators.config import build
from emulators.errors import InputError
from emulators.simulators import base, cosmology
from emulators.simulators.cosmology import (
    T_CMB,
    Cosmologies,
    Cosmology,
    growth_factor,
    halofit_power,
    linear_power,
    sigma,
)

OTHER = Cosmology(omega_m=0.25, sigma_8=0.9, h=0.72, n_s=1.0, omega_b=0.05)


def test_sigma_of_a_power_law():
    # P = A k^-2: sigma^2 = 9 A / (2 pi^2 R) int j_1(x)^2 / x^2 dx = 9 A / (2 pi^2 R) pi / 15
    k = np.geomspace(1e-6, 1e3, 20_000)
    assert sigma(k, 700 / k**2, 8.0) ** 2 == pytest.approx(9 * 700 / (2 * np.pi * 8 * 15), rel=1e-3)


@pytest.mark.parametrize(
    ("code", "universe"),
    [
        ("camb", Cosmology()),
        pytest.param("camb", OTHER, marks=pytest.mark.long),
        ("colossus", Cosmology()),
        ("colossus", OTHER),
    ],
)
def test_spectra_have_the_sigma_8_asked_for(code, universe):
    pytest.importorskip(code)
    assert sigma(*linear_power(universe, code)) == pytest.approx(universe.sigma_8, rel=1e-3)


@pytest.mark.parametrize("universe", [Cosmology(), pytest.param(OTHER, marks=pytest.mark.long)])
def test_codes_agree(universe):
    pytest.importorskip("camb")
    pytest.importorskip("colossus")
    k, exact = linear_power(universe)
    fit = np.interp(k, *linear_power(universe, "colossus"))
    np.testing.assert_allclose(fit[k > 0.005], exact[k > 0.005], rtol=0.05)
    low = (k > 0.0005) & (k < 0.002)  # primordial slope, above the scale of equality
    assert np.polyfit(np.log(k[low]), np.log(exact[low]), 1)[0] == pytest.approx(
        universe.n_s, abs=0.06
    )


@pytest.mark.long
def test_halofit_is_linear_on_large_scales_and_more_on_small_ones():
    pytest.importorskip("camb")
    (k, linear), (_, today) = linear_power(Cosmology()), halofit_power(Cosmology())
    np.testing.assert_allclose(today[k < 0.03], linear[k < 0.03], rtol=0.03)
    assert np.interp(1.0, k, today / linear) > 3


def test_growth_without_much_radiation_is_the_hypergeometric_function():
    universe, a = Cosmology(), 1 / (1 + np.array([0.0, 0.5, 1.0, 3.0]))

    def exact(a):
        return a * hyp2f1(1 / 3, 1, 11 / 6, -(a**3) * (1 / universe.omega_m - 1))

    np.testing.assert_allclose(growth_factor(universe, 1 / a - 1), exact(a) / exact(1), rtol=3e-3)


def test_growth_at_early_times_is_that_of_meszaros():
    universe = Cosmology()
    z = np.array([50.0, 200.0, 900.0])
    y = universe.omega_m / universe.omega_r / (1 + z)
    growth = growth_factor(universe, z)
    np.testing.assert_allclose(growth / growth[0], (1 + 1.5 * y) / (1 + 1.5 * y[0]), rtol=1e-4)


def test_radiation_is_that_of_astropy():
    astropy = pytest.importorskip("astropy.cosmology")
    theirs = astropy.FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=T_CMB, Neff=cosmology.NEUTRINOS)
    assert Cosmology().omega_r == pytest.approx(theirs.Ogamma0 + theirs.Onu0, rel=1e-3)


def points(law, n, seed=3):
    drawn = [law.draw(seed, i) for i in range(n)]
    return np.array([[(c.omega_m - 0.2) / 0.2, (c.sigma_8 - 0.6) / 0.4] for c in drawn])


RANGES = {"omega_m": (0.2, 0.4), "sigma_8": (0.6, 1.0)}


def test_sobol_goes_on_and_fills_evenly():
    law = Cosmologies(**RANGES)
    sixteen = points(law, 16)
    np.testing.assert_array_equal(sixteen[5:8], points(law, 8)[5:8])  # whatever was drawn before
    for axis in (0, 1):  # 16 points of a Sobol sequence: one in each sixteenth, along each axis
        assert sorted((sixteen[:, axis] * 16).astype(int)) == list(range(16))
    squares = {(int(4 * a), int(4 * b)) for a, b in sixteen}  # and one in each of 4 x 4 squares
    assert len(squares) == 16
    assert not np.allclose(sixteen, points(law, 16, seed=4))


def test_latin_hypercubes_follow_one_another():
    law = Cosmologies(**RANGES, design="latin-hypercube", size=5)
    ten = points(law, 10)
    for cube in (ten[:5], ten[5:]):
        for axis in (0, 1):
            assert sorted((cube[:, axis] * 5).astype(int)) == list(range(5))
    assert not np.allclose(ten[:5], ten[5:])


def test_uniform_draws_are_uniform_and_independent():
    drawn = points(Cosmologies(**RANGES, design="uniform"), 2000)
    assert drawn.min() > 0
    assert drawn.max() < 1
    np.testing.assert_allclose(drawn.mean(0), 0.5, atol=4 / np.sqrt(12 * 2000))
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 4 / np.sqrt(2000)


def test_a_list_is_gone_round_and_fills_in_what_it_leaves_out():
    law = build(Cosmologies, {"design": "list", "h": 0.67, "listed": [
        {"omega_m": 0.3, "sigma_8": 0.7}, {"sigma_8": 0.9, "n_s": 1.0},
    ]}, "cosmology")  # fmt: skip
    first, second, third = (law.draw(1, i) for i in range(3))
    assert first == third == Cosmology(0.3, 0.7, 0.67)
    assert second == Cosmology(0.3, 0.9, 0.67, 1.0)
    assert law.ranges["sigma_8"] == (0.7, 0.9)
    assert law.ranges["n_s"] == (0.96, 1.0)
    assert law.ranges["omega_m"] == (0.3, 0.3)


def test_fixed_parameters_stay_as_they_are():
    assert Cosmologies().draw(1, 5) == Cosmology()
    drawn = Cosmologies(sigma_8=(0.7, 0.9)).draw(1, 5)
    assert drawn == Cosmology(sigma_8=drawn.sigma_8)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"omega_m": [0.4, 0.2]}, "smaller one first"),
        ({"omega_m": [0.03, 0.3]}, "must lie between omega_b"),
        ({"omega_m": [0.1, 0.3], "omega_b": [0.04, 0.2]}, "must lie between omega_b"),
        ({"omega_m": 1.2}, "must lie between omega_b"),
        ({"sigma_8": 0.0}, "sigma_8 must be positive"),
        ({"h": float("nan")}, "smaller one first"),
        ({"design": "latin-hypercube"}, "needs its size"),
        ({"size": 10}, "needs its size"),
        ({"design": "latin-hypercube", "size": 0}, "one point or more"),
        ({"design": "list"}, "go together"),
        ({"listed": [{"h": 0.7}]}, "go together"),
        ({"design": "list", "listed": [{"omega": 0.3}]}, "omega is none of"),
        ({"design": "list", "listed": [{"h": 0.7}], "sigma_8": [0.7, 0.9]}, "give one value"),
        ({"design": "sobel"}, "did you mean 'sobol'"),
    ],
)
def test_what_makes_no_sense_is_refused(table, message):
    with pytest.raises(InputError, match=message):
        build(Cosmologies, table, "cosmology")


def test_absent_codes_are_named(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(base.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"camb.*\[nbody\]"):
        linear_power(Cosmology(sigma_8=0.123))
    with pytest.raises(InputError, match=r"colossus.*\[nbody\]"):
        linear_power(Cosmology(sigma_8=0.123), "colossus")
