"""The toy shower against the closed forms that it is made of, and shower rules of thumb."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit
from scipy.special import gammainc

from emulators.data import geometries
from emulators.data.spec import ReadoutLayer, ShowerGeometry
from emulators.errors import InputError
from emulators.simulators.base import build_simulator
from emulators.simulators.toy_shower import (
    LEAD_ARGON,
    TUNGSTEN_SILICON,
    Medium,
    ToyShower,
    _spots,
    longitudinal,
    radial,
)

X0 = LEAD_ARGON.radiation_length
HUGE = 1e5  # mm: beyond all spots but one in millions


def slabs(thickness=0.5, depth=60.0, half_width=HUGE):
    """Return layers of one wide cell; lengths along the shower in X0."""
    z = np.arange(0, depth + 1e-9, thickness) * X0
    edges = (-half_width, half_width)
    return ShowerGeometry(
        "slabs",
        tuple(
            ReadoutLayer(f"layer_{i}", ("x", "y"), (edges, edges), (float(a), float(b)))
            for i, (a, b) in enumerate(itertools.pairwise(z))
        ),
    )


def showers(simulator, n, seed=1):
    """Return deposits ``(n, cells)`` in GeV, and beside the cells ``(n, layers)``."""
    simulate = simulator.start(seed)
    made = [simulate(i) for i in range(n)]
    values = np.concatenate([m.values for m in made]).astype(float)
    return values / 1000, np.concatenate([m.beside["overflow"] for m in made]).astype(float) / 1000


def with_fluctuation(c, visible=1.0):
    return Medium(**{**vars(LEAD_ARGON), "fluctuation": c, "visible": visible})


def gamma_shares(edges, alpha, beta):
    return np.diff(gammainc(alpha, beta * edges))


class Still(np.random.Generator):
    """Draws no normal numbers: every shower has the mean maximum and the mean shape."""

    def standard_normal(self, *arguments, **options):
        return np.zeros(2)


def test_lead_and_argon_have_the_known_effective_constants():
    # A 6 mm layer is 2 mm of lead (X0 5.6122 mm) and 4 mm of argon (139.99 mm).
    layer = 2 / 5.6122 + 4 / 139.99
    assert layer * X0 == pytest.approx(6, rel=1e-3)
    assert LEAD_ARGON.sampling_frequency == pytest.approx(1 / layer, rel=1e-3)
    # Critical energy: the plates' 7.4 and 29 MeV weighted by radiation lengths.
    expected = (7.36 * 2 / 5.6122 + 29.1 * 4 / 139.99) / layer
    assert LEAD_ARGON.critical_energy == pytest.approx(expected, rel=2e-3)
    assert LEAD_ARGON.moliere_radius == pytest.approx(21.2 * X0 / LEAD_ARGON.critical_energy)
    mass = 11.35 * 2, 1.396 * 4
    assert LEAD_ARGON.atomic_number == pytest.approx((82 * mass[0] + 18 * mass[1]) / sum(mass))
    assert LEAD_ARGON.electron_response == pytest.approx(1 / 1.448)
    # Silicon and tungsten: nearly tungsten's 3.50 mm, diluted by silicon.
    assert TUNGSTEN_SILICON.radiation_length == pytest.approx(3.50 * 1.7 / 1.4, rel=0.01)


def test_formulas_are_the_papers():
    # Worked out by hand at ln y = 5 and at tau = 1, ln E = 0, for round numbers.
    medium = Medium(10.0, 20.0, 10.0, 70.0, 2.5, 0.7, 0.1, 1.0)
    means, sigmas, rho = longitudinal(np.exp(5) / 100, medium)
    np.testing.assert_allclose(np.exp(means), [3.761, 3.071029], rtol=1e-5)
    np.testing.assert_allclose(sigmas, [1 / 3.75, 1 / 3.13])
    assert rho == pytest.approx(0.669)
    for ln_e, expected in [
        (0, [0.1143819, 0.5644649, 0.9194397]),
        (2, [0.1207619, 0.5797205, 0.9078536]),
    ]:
        found = radial(np.array([1.0]), np.exp(ln_e), medium)
        np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-6)


def test_spots_have_the_papers_number_and_depth():
    # A.2.4: 10.3 / c E^0.959 of them, in a gamma function a little less deep than the energy's.
    edges = np.arange(0, 60.01, 0.25)
    depths = np.stack([edges[:-1], edges[1:]], 1)
    medium = with_fluctuation(0.001)
    steps, deposits, _ = _spots(Still(np.random.Philox(1)), 10.0, depths, medium)
    t, alpha = np.exp(longitudinal(10.0, medium)[0])
    assert len(steps) == pytest.approx(10.3 / 0.001 * 10**0.959, rel=0.01)
    alpha_spot = alpha * (0.844 + 0.0026 * medium.atomic_number)
    beta_spot = (alpha_spot - 1) / (t * (0.813 + 0.0019 * medium.atomic_number))
    middle = depths.mean(1)[steps]
    assert middle.mean() == pytest.approx(alpha_spot / beta_spot, rel=0.01)
    assert middle @ deposits / deposits.sum() == pytest.approx(alpha / (alpha - 1) * t, rel=0.01)


def test_one_shower_is_a_gamma_function_in_depth():
    simulator = ToyShower("electron", 20.0, slabs(), with_fluctuation(0.002))
    values, _ = showers(simulator, 3)
    edges = np.arange(0, 60.01, 0.5)
    for profile in values / 20:
        (alpha, beta), _ = curve_fit(
            lambda _, a, b: gamma_shares(edges, a, b), edges[1:], profile, p0=[5.0, 0.5]
        )
        # What is left is the sampling fluctuation of each slab, c sqrt(E_slab) / E.
        noise = 0.002 * np.sqrt(profile[profile > 1e-4] / 20)
        pull = (profile - gamma_shares(edges, alpha, beta))[profile > 1e-4] / noise
        assert np.sqrt(np.mean(pull**2)) == pytest.approx(1, abs=0.35)


def test_maximum_and_shape_fluctuate_together_as_stated():
    simulator = ToyShower("electron", 10.0, slabs(), with_fluctuation(0.01))
    values, _ = showers(simulator, 200)
    centre = np.arange(0.25, 60, 0.5)
    # alpha and T from the first two moments; a slab's own width adds 0.5^2 / 12 to the second.
    mean = values @ centre / values.sum(1)
    variance = values @ centre**2 / values.sum(1) - mean**2 - 0.5**2 / 12
    alpha, beta = mean**2 / variance, mean / variance
    found = np.log([(alpha - 1) / beta, alpha])
    means, sigmas, rho = longitudinal(10.0, LEAD_ARGON)
    np.testing.assert_array_less(np.abs(found.mean(1) - means), 4 * sigmas / np.sqrt(200))
    np.testing.assert_allclose(found.std(1), sigmas, rtol=4 / np.sqrt(2 * 200))
    assert np.corrcoef(found)[0, 1] == pytest.approx(rho, abs=4 * (1 - rho**2) / np.sqrt(200))


@pytest.mark.parametrize("energy", [5.0, pytest.param(50.0, marks=pytest.mark.long)])
def test_mean_profile_is_that_of_average_showers(energy):
    # The paper's fit to mean profiles (A.1.1, A.2.1) knows nothing of the fluctuations (A.1.2).
    values, _ = showers(ToyShower("electron", energy, slabs(), with_fluctuation(0.03)), 400)
    ln_y = np.log(1000 * energy / LEAD_ARGON.critical_energy)
    plates, deficit = 1 / LEAD_ARGON.sampling_frequency, 1 - LEAD_ARGON.electron_response
    t = ln_y - 0.858 - 0.59 * plates - 0.53 * deficit
    alpha = 0.21 + (0.492 + 2.38 / LEAD_ARGON.atomic_number) * ln_y - 0.444 * plates
    expected = gamma_shares(np.arange(0, 60.01, 0.5), alpha, (alpha - 1) / t)
    profile = values.mean(0) / energy
    assert np.abs(profile - expected).max() < 0.08 * expected.max()
    assert np.argmax(profile) == pytest.approx(np.argmax(expected), abs=1)


def test_the_maximum_deepens_by_one_radiation_length_a_factor_e():
    energies, depths = np.array([2.0, 20.0, 200.0]), []
    edges = np.arange(0, 60.01, 0.5)
    for energy in energies:
        values, _ = showers(ToyShower("electron", float(energy), slabs()), 60)
        (_, alpha, beta), _ = curve_fit(
            lambda _, n, a, b: n * gamma_shares(edges, a, b),
            edges[1:],
            values.mean(0),
            p0=[energy * 0.19, 5.0, 0.5],
        )
        depths.append((alpha - 1) / beta)
    slope = np.polyfit(np.log(energies), depths, 1)[0]
    assert slope == pytest.approx(1, abs=0.07)
    # Rule of thumb: ln(E / Ec) - 1/2 or so.
    assert depths[1] == pytest.approx(np.log(20000 / LEAD_ARGON.critical_energy) - 0.5, abs=1)


@pytest.mark.long
def test_photons_begin_one_conversion_length_later():
    centre = np.arange(0.5, 60, 1)
    depth = {}
    for particle in ("electron", "photon"):
        values, _ = showers(ToyShower(particle, 10.0, slabs(1.0)), 500)
        depth[particle] = values @ centre / values.sum(1)
    shift = depth["photon"].mean() - depth["electron"].mean()
    error = np.hypot(depth["photon"].std(), depth["electron"].std()) / np.sqrt(500)
    assert error < 0.1
    assert abs(shift - 9 / 7) < 4 * error
    # The distance is exponential: its variance, the square of its mean, adds to the electron's.
    added = depth["photon"].var() - depth["electron"].var()
    assert added == pytest.approx((9 / 7) ** 2, rel=0.35)


@pytest.mark.parametrize("medium", [LEAD_ARGON, TUNGSTEN_SILICON])
def test_nine_tenths_lie_within_a_moliere_radius(medium):
    radii = tuple(np.array([0, 1, 3.5, 1e5]) * medium.moliere_radius)
    edges = ((-np.pi, np.pi), radii)
    depth = (0.0, 40 * medium.radiation_length)
    geometry = ShowerGeometry("rings", (ReadoutLayer("layer_0", ("alpha", "r"), edges, depth),))
    values, _ = showers(ToyShower("electron", 10.0, geometry, medium), 100)
    within = np.cumsum(values.mean(0)) / values.mean(0).sum()
    assert within[0] == pytest.approx(0.90, abs=0.02)
    assert within[1] == pytest.approx(0.98, abs=0.02)


def test_photons_begin_later_than_electrons():
    centre = np.arange(0.5, 60, 1)
    electrons, photons = (
        showers(ToyShower(particle, 10.0, slabs(1.0)), 60)[0] for particle in ("electron", "photon")
    )
    depths = [values @ centre / values.sum(1) for values in (electrons, photons)]
    error = np.hypot(*(depth.std() for depth in depths)) / np.sqrt(60)
    assert error < 0.3
    assert abs(depths[1].mean() - depths[0].mean() - 9 / 7) < 4 * error


def test_radii_follow_core_and_tail(monkeypatch):
    monkeypatch.setattr(
        "emulators.simulators.toy_shower.random.stream",
        lambda seed, name, i: Still(np.random.Philox(key=[seed, i])),
    )
    # A thin slab at tau = 1 and another at tau = 2.
    t, _ = np.exp(longitudinal(10.0, LEAD_ARGON)[0])  # tau is 1 at the maximum
    x = np.array([0, 0.1, 0.3, 1, 3, 1e6])
    rings = ((-np.pi, np.pi), tuple((x * LEAD_ARGON.moliere_radius).tolist()))
    depths = [((tau * t - 0.02) * X0, (tau * t + 0.02) * X0) for tau in (1, 2)]
    layers = [ReadoutLayer(f"at_{d[0]:.0f}_mm", ("alpha", "r"), rings, d) for d in depths]
    simulator = ToyShower(
        "electron", 10.0, ShowerGeometry("slabs", tuple(layers)), with_fluctuation(0.002)
    )
    values = showers(simulator, 150)[0].reshape(150, 2, 5)
    shares = values / values.sum(2, keepdims=True)
    for tau, found in zip((1.0, 2.0), shares.transpose(1, 0, 2)):
        core, tail, p = radial(np.array([tau]), 10.0, LEAD_ARGON)
        expected = np.diff(p * x**2 / (x**2 + core**2) + (1 - p) * x**2 / (x**2 + tail**2))
        error = found.std(0) / np.sqrt(150)
        assert error.max() < 0.008
        np.testing.assert_array_less(np.abs(found.mean(0) - expected) / error, 4)


def test_the_sum_is_linear_and_its_resolution_goes_with_the_root_of_the_energy():
    for energy in (4.0, 16.0, 64.0):
        total = showers(ToyShower("photon", energy, slabs(2.0)), 200)[0].sum(1)
        sigma = LEAD_ARGON.fluctuation / np.sqrt(energy)
        mean = LEAD_ARGON.visible * energy
        assert abs(total.mean() / mean - 1) < 4 * sigma / np.sqrt(200) + 2e-3
        assert total.std() / mean == pytest.approx(sigma, rel=4 / np.sqrt(400))
        assert total.max() < energy  # visible energy is a fifth of it


def test_showers_are_symmetric_in_x_and_y():
    simulator = ToyShower("photon", 50.0)
    values, _ = showers(simulator, 400)
    layer = simulator.readout.layer(values, 1)
    x, y = simulator.readout.layers[1].centres
    total = layer.sum((1, 2))
    for moment in (x, y, x * y, x**2 - y**2):
        each = (layer * moment).sum((1, 2)) / total
        assert abs(each.mean()) < 4 * each.std() / np.sqrt(400)
    polar = ToyShower("electron", 20.0, "calochallenge-2")
    slices = showers(polar, 300)[0].reshape(300, 45, 16, 9).sum((1, 3))
    shares = slices / slices.sum(1, keepdims=True)
    pull = (shares.mean(0) - 1 / 16) / shares.std(0) * np.sqrt(300)
    assert np.abs(pull).max() < 4.5


def test_what_misses_the_cells_is_counted_beside_them():
    wide, narrow = (ToyShower("photon", 20.0, slabs(2.0, 40.0, w)) for w in (HUGE, 20.0))
    everything, nothing = showers(wide, 5)
    cells, beside = showers(narrow, 5)
    assert nothing.max() < 1e-3 * everything.max()
    assert 0.1 < beside.sum() / everything.sum() < 0.5
    np.testing.assert_allclose(cells + beside, everything + nothing, rtol=1e-5)


def test_spots_fall_into_the_cells_where_they_lie():
    # The same spots in one cell, in many cells, and in cells of uneven widths.
    one = slabs(5.0, 30.0, 100.0)
    uneven = (-100.0, -40.0, -10.0, 0.0, 5.0, 100.0)
    fine = tuple(np.linspace(-100, 100, 41).tolist())
    split = ShowerGeometry(
        "split",
        tuple(ReadoutLayer(la.name, la.axes, (uneven, fine), la.depth) for la in one.layers),
    )
    whole, beside = showers(ToyShower("photon", 20.0, one), 4)
    parts, beside_parts = showers(ToyShower("photon", 20.0, split), 4)
    parts = parts.reshape(4, 6, 5, 40)
    np.testing.assert_allclose(parts.sum((2, 3)), whole, rtol=1e-5)
    np.testing.assert_allclose(beside_parts, beside, rtol=1e-5)
    # Most of it on either side of the axis: cells 2 and 3 along x, 19 and 20 along y.
    assert parts.sum((0, 1, 3)).argmax() in (2, 3)
    assert parts.sum((0, 1, 2)).argmax() in (19, 20)


def test_layouts_and_columns_of_the_known_detectors():
    for name, layout, shape, beside in [
        ("calogan", "calogan", (504,), []),
        ("calochallenge-2", "calochallenge", (6480,), ["overflow"]),
        ("calochallenge-3", "calochallenge", (40500,), ["overflow"]),
    ]:
        simulator = ToyShower("electron", 20.0, name)
        spec = simulator.spec()
        assert (spec.kind, spec.layout, spec.shape) == ("shower", layout, shape)
        assert sorted(simulator.beside()) == beside
        made = simulator.start(1)(0)
        assert made.values.shape == (1, *shape)
        assert made.values.dtype == np.float32
        assert made.beside["overflow"].shape == (1, len(spec.geometry.layers))
    silicon, _ = showers(ToyShower("electron", 20.0, "calochallenge-2"), 200)
    assert silicon.sum(1).mean() / 20 == pytest.approx(0.98, abs=0.02)  # calibrated, contained
    assert ToyShower().attributes()["generator"].startswith("toy: ")


def test_energies_follow_their_law():
    spec = build_simulator("toy-shower", {"energy": "2:50:linear"}).spec()
    (condition,) = spec.conditions
    assert (condition.minimum, condition.maximum, condition.scale) == (2, 50, "linear")
    assert (condition.name, condition.unit) == ("incident_energy", "GeV")
    simulate = ToyShower(energy="1:100:log").start(3)
    energies = np.concatenate([simulate(i).conditions["incident_energy"] for i in range(500)])
    assert stats.kstest(np.log(energies), stats.uniform(0, np.log(100)).cdf).pvalue > 1e-3
    listed = build_simulator("toy-shower", {"energy": [5.0, 10.0, 1.0]})
    assert (listed.spec().conditions[0].minimum, listed.spec().conditions[0].maximum) == (1, 10)
    simulate = listed.start(3)
    taken = [float(simulate(i).conditions["incident_energy"][0]) for i in (0, 1, 2, 3, 7)]
    assert taken == [5, 10, 1, 5, 10]
    assert not np.array_equal(simulate(0).values, simulate(3).values)


@pytest.mark.parametrize("energy", ["1:100:log", (5.0, 20.0)])
def test_shower_i_depends_on_the_seed_and_i_alone(energy):
    simulator = ToyShower(energy=energy)
    simulate = simulator.start(5)
    simulate(0)
    first, again, fresh = simulate(300), simulate(300), simulator.start(5)(300)
    np.testing.assert_array_equal(first.values, fresh.values)
    np.testing.assert_array_equal(again.values, fresh.values)
    assert not np.array_equal(simulator.start(6)(300).values, fresh.values)


def test_bad_settings_are_refused_in_words():
    deep = geometries.calochallenge("1-photons")
    with pytest.raises(ValueError, match="layer_0, layer_1, layer_2, layer_3, layer_12 has no"):
        ToyShower(geometry=deep)
    for options, message in [
        ({"geometry": "calogans"}, "did you mean 'calogan'"),
        ({"particle": "pion"}, "'pion' is not known"),
        ({"energy": 0.1}, r"0.1 GeV is below 0.45 GeV"),
        ({"energy": "100:1"}, "goes down"),
        ({"energy": -1.0}, "not positive"),
        ({"energy": []}, "expected a list of values"),
        ({"medium": {**vars(LEAD_ARGON), "fluctuation": 0.0}}, "fluctuation must be positive"),
        ({"medium": {"radiation_length": 5.0}}, "missing key"),
    ]:
        with pytest.raises(InputError, match=message):
            build_simulator("toy-shower", options).spec()
