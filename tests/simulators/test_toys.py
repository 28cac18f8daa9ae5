"""The toys against closed forms: power, variance, skewness, moments and fractions."""

import numpy as np
import pytest
from scipy import stats

from emulators.errors import InputError
from emulators.simulators.base import build_simulator
from emulators.simulators.toys import GaussianField, LognormalField, PowerLaw, RingOfGaussians

TOYS = ["toy-gaussian-field", "toy-lognormal-field", "toy-ring", "toy-grid"]


def fields(simulator, n, seed=1):
    """Return ``(n, *cells)`` fields and what came with them."""
    simulate = simulator.start(seed)
    made = [simulate(i) for i in range(n)]
    return np.concatenate([m.values[:, 0] for m in made]).astype(float), made


def modes(simulator):
    """Return |k| of all modes of the full transform, from the definition."""
    n, length = simulator.cells, simulator.box
    whole = 2 * np.pi / length * ((np.arange(n) + n // 2) % n - n // 2)
    return np.sqrt(sum(k**2 for k in np.meshgrid(*[whole] * simulator.dimensions)))


def periodograms(values, simulator):
    """Return ``|delta_k|^2 / V`` of each field, at all modes."""
    axes = tuple(range(1, values.ndim))
    cell = (simulator.box / simulator.cells) ** simulator.dimensions
    return np.abs(np.fft.fftn(values, axes=axes) * cell) ** 2 / simulator.box**simulator.dimensions


def binned_ratio(values, simulator, law):
    """Return measured over stated power in bins of k: mean over fields, and its standard error."""
    k = modes(simulator)
    edges = np.linspace(0, k.max() * 1.001, 11)
    number = np.digitize(k, edges) - 1
    number[k == 0] = -1
    ratio = periodograms(values, simulator) / np.where(k > 0, law(np.where(k > 0, k, 1)), 1)
    bins = np.array([ratio[:, number == b].mean(1) for b in range(10)])
    return bins.mean(1), bins.std(1, ddof=1) / np.sqrt(len(values))


def power_law(k):
    return 20.0 * (k / 0.2) ** -1.5


SPECTRUM = PowerLaw(20.0, -1.5, 0.2)
# Dimensions, cells and box; even and odd: with and without modes at Nyquist. Variances of 0.5.
SHAPES = [(2, 32, 60.0), (2, 33, 60.0), (3, 16, 15.0), (3, 15, 15.0)]


@pytest.mark.parametrize("kind", [GaussianField, LognormalField])
@pytest.mark.parametrize(("dimensions", "cells", "box"), SHAPES)
def test_power_is_the_stated_one_in_every_bin(kind, dimensions, cells, box):
    simulator = kind(dimensions, cells, box, SPECTRUM)
    values, _ = fields(simulator, 600)
    mean, error = binned_ratio(values, simulator, power_law)
    assert error.max() < 0.04
    np.testing.assert_array_less(np.abs(mean - 1) / error, 4)


def test_every_single_mode_has_its_power_also_on_the_nyquist_planes():
    simulator = GaussianField(2, 8, 20.0, SPECTRUM)
    values, _ = fields(simulator, 4000)
    k = modes(simulator)
    power = periodograms(values, simulator)
    assert power[:, 0, 0].max() < 1e-10
    pull = (power.mean(0)[k > 0] - power_law(k[k > 0])) / power.std(0)[k > 0] * np.sqrt(len(power))
    np.testing.assert_array_less(np.abs(pull), 4.5)
    # |delta_k|^2 is exponential (relative variance 1); 2 where the mode is its own conjugate.
    spread = power.var(0)[k > 0] / power.mean(0)[k > 0] ** 2
    own = np.zeros((8, 8), bool)
    own[np.ix_([0, 4], [0, 4])] = True
    assert spread[own[k > 0]].mean() == pytest.approx(2, rel=0.15)
    assert spread[~own[k > 0]].mean() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize(("dimensions", "cells", "box"), SHAPES)
def test_variance_is_the_sum_over_modes_and_the_field_gaussian(dimensions, cells, box):
    simulator = GaussianField(dimensions, cells, box, SPECTRUM)
    values, _ = fields(simulator, 300)
    k = modes(simulator)
    expected = power_law(k[k > 0]).sum() / box**dimensions
    each = (values**2).mean(tuple(range(1, values.ndim)))
    assert abs(each.mean() - expected) < 4 * each.std() / np.sqrt(len(each))
    assert each.std() / np.sqrt(len(each)) < 0.03 * expected
    skewness = (values**3).mean(tuple(range(1, values.ndim))) / expected**1.5
    assert abs(skewness.mean()) < 4 * skewness.std() / np.sqrt(len(skewness))
    assert np.abs(values.mean(tuple(range(1, values.ndim)))).max() < 1e-6


@pytest.mark.parametrize(("dimensions", "cells"), [(2, 64), (3, 24)])
def test_lognormal_moments(dimensions, cells):
    # Variances of 0.35 and 0.09: where it is larger, the third moment lives in a few rare peaks and
    # the scatter of 300 fields says little of its error.
    amplitude = {2: 5.0, 3: 20.0}[dimensions]
    simulator = LognormalField(dimensions, cells, 100.0, PowerLaw(amplitude, -1.0, 0.2))
    values, made = fields(simulator, 300)
    axes = tuple(range(1, values.ndim))
    assert values.min() > -1
    assert max(m.beside["cut_power"][0] for m in made) < 1e-6
    means, variances, cubes = values.mean(axes), (values**2).mean(axes), (values**3).mean(axes)
    assert abs(means.mean()) < 4 * means.std() / np.sqrt(len(values))
    assert means.std() < 0.03
    # Variance about the box mean as put in; <delta^3> = v^2 (v + 3) for the variance found.
    k = modes(simulator)
    put_in = (amplitude * (k[k > 0] / 0.2) ** -1.0).sum() / 100.0**dimensions
    about = variances - means**2
    assert abs(about.mean() - put_in) < 4 * about.std() / np.sqrt(len(values))
    found = variances.mean()
    expected = found**2 * (found + 3)
    error = (cubes - 3 * found * (found + 2) * variances).std() / np.sqrt(len(values))
    assert error < 0.05 * expected
    assert abs(cubes.mean() - expected) < 4 * error
    skewness = stats.skew(np.log1p(values).reshape(len(values), -1), axis=1)
    assert abs(skewness.mean()) < 4 * skewness.std() / np.sqrt(len(values))


def test_exponential_of_the_gaussian_correlation_gives_the_stated_power_back():
    # Exactly, without drawing anything; where the variance is 2.5.
    simulator = LognormalField(2, 32, 60.0, PowerLaw(80.0, -1.5, 0.2))
    stated, cell = simulator.power(80.0, -1.5), (60.0 / 32) ** 2
    gaussian, cut = simulator.gaussian_power(stated)
    correlation = np.expm1(np.fft.irfft2(gaussian) / cell)
    found = np.fft.rfft2(correlation).real * cell
    assert cut < 1e-9
    assert gaussian.flat[0] == 0
    np.testing.assert_allclose(found.ravel()[1:], stated.ravel()[1:], rtol=1e-6)
    # The variance of the box mean is what takes the power at k = 0 from the Gaussian field.
    c = found.flat[0] / 60.0**2
    assert c > 1e-3
    assert np.log1p(c + np.fft.irfft2(stated) / cell).mean() == pytest.approx(0, abs=1e-9)


def test_power_that_no_gaussian_field_has_is_cut_off_and_told():
    # All power in a narrow band: ln(1 + xi) has negative power beside it.
    k = np.array([0.01, 0.4, 0.5, 0.6, 5.0])
    pairs = tuple(zip(k.tolist(), [1e-3, 1e-3, 300.0, 1e-3, 1e-3]))
    simulator = LognormalField(3, 24, 100.0, pairs)
    values, made = fields(simulator, 3)
    cut = made[0].beside["cut_power"][0]
    assert 1e-4 < cut < 0.5
    assert all(m.beside["cut_power"][0] == cut for m in made)
    assert values.min() > -1
    too_much = tuple((a, 1e3 * p) for a, p in pairs)
    with pytest.raises(InputError, match="must stay above -1; lower the amplitude"):
        LognormalField(3, 24, 100.0, too_much).spec()


def test_a_table_gives_the_field_that_its_power_law_gives(tmp_path):
    k = np.geomspace(0.01, 10, 5)
    pairs = np.stack([k, power_law(k)], 1)
    np.savetxt(tmp_path / "power.txt", pairs, header="k P")
    simulators = [
        GaussianField(3, 12, 60.0, SPECTRUM),
        GaussianField(3, 12, 60.0, tuple(map(tuple, pairs.tolist()))),
        GaussianField(3, 12, 60.0, str(tmp_path / "power.txt")),
    ]
    law, listed, read = (s.start(4)(7) for s in simulators)
    np.testing.assert_allclose(listed.values, law.values, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(read.values, listed.values)
    assert simulators[1].spec().conditions == ()
    assert simulators[1].attributes() == simulators[2].attributes()
    assert len(simulators[2].attributes()["spectrum_sha256"]) == 64


def test_conditions_are_what_the_field_was_made_with():
    options = {"dimensions": 2, "cells": 32, "spectrum": {"amplitude": [1, 50], "index": [-2, 0.0]}}
    simulator = build_simulator("toy-gaussian-field", options)
    amplitude, index = simulator.spec().conditions
    assert (amplitude.minimum, amplitude.maximum, amplitude.unit) == (1, 50, "Mpc2/h2")
    assert (index.minimum, index.maximum, index.unit) == (-2, 0, "")
    values, made = fields(simulator, 300)
    a, n = (np.concatenate([m.conditions[c] for m in made]) for c in ("amplitude", "index"))
    assert stats.kstest(a, stats.uniform(1, 49).cdf).pvalue > 1e-3
    assert stats.kstest(n, stats.uniform(-2, 2).cdf).pvalue > 1e-3
    k = modes(simulator)
    power, shape = periodograms(values, simulator)[:, k > 0], (k[k > 0] / 0.1)[None]
    ratio = (power / (a[:, None] * shape ** n[:, None])).mean(1)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(300)
    assert ratio.std() < 0.1  # 1,023 modes, in pairs: 4 % from field to field, and no more


@pytest.mark.parametrize("name", TOYS)
def test_sample_i_depends_on_the_seed_and_i_alone(name):
    simulator = build_simulator(name, {})
    simulate = simulator.start(5)
    simulate(0)
    first, again, fresh = simulate(3), simulate(3), simulator.start(5)(3)
    np.testing.assert_array_equal(first.values, fresh.values)
    np.testing.assert_array_equal(again.values, fresh.values)
    assert not np.array_equal(simulate(4).values, fresh.values)
    assert not np.array_equal(simulator.start(6)(3).values, fresh.values)


@pytest.mark.parametrize("name", TOYS)
def test_samples_are_what_the_spec_says_and_are_called_toys(name):
    simulator = build_simulator(name, {})
    made, spec = simulator.start(1)(0), simulator.spec()
    assert made.values.shape == (simulator.samples(), *spec.shape)
    assert made.values.dtype == np.float32
    assert sorted(made.conditions) == sorted(c.name for c in spec.conditions)
    assert sorted(made.beside) == sorted(simulator.beside())
    assert simulator.attributes()["generator"].startswith("toy: ")


def test_only_the_positive_field_claims_to_be_a_density():
    # What is called overdensity is checked not to lie below -1.
    channels = {kind: kind().spec().grid.channels for kind in (GaussianField, LognormalField)}
    assert channels == {GaussianField: ("linear_overdensity",), LognormalField: ("overdensity",)}
    assert GaussianField().start(1)(0).values.min() < -1 < LognormalField().start(1)(0).values.min()


def centres(name):
    """Return where the Gaussians of the default toys are."""
    if name == "toy-ring":
        angles = np.pi / 4 * np.arange(8)
        return 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    side = [-4, -2, 0, 2, 4]
    return np.array([(x, y) for x in side for y in side])


@pytest.mark.parametrize("name", ["toy-ring", "toy-grid"])
def test_points_are_normal_around_equally_likely_centres(name):
    simulate = build_simulator(name, {}).start(2)
    made = [simulate(i) for i in range(6000)]
    points = np.concatenate([m.values for m in made])
    mode = np.concatenate([m.beside["mode"] for m in made])
    assert mode.dtype == np.int32
    expected = centres(name)
    assert stats.chisquare(np.bincount(mode, minlength=len(expected))).pvalue > 1e-3
    pull = (points - expected[mode]) / 0.05
    assert stats.kstest(pull.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(pull.T)[0, 1]) < 4 / np.sqrt(6000)
    # Nearest centre: a mode's number is that of the centre it lies at.
    nearest = ((points[:, None] - expected) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(nearest, mode)


def test_settings_of_the_ring_are_used():
    simulate = RingOfGaussians(modes=3, width=1e-4, radius=7.0).start(0)
    made = [simulate(i) for i in range(60)]
    assert {int(m.beside["mode"][0]) for m in made} == {0, 1, 2}
    radii = np.hypot(*np.concatenate([m.values for m in made]).T)
    np.testing.assert_allclose(radii, 7, atol=1e-3)


BAD = [
    ("toy-ring", {"modes": 0}, "modes 0 must be 1 or more"),
    ("toy-ring", {"width": 0.0}, "width 0.0 positive"),
    ("toy-ring", {"spacing": 1.0}, "unknown key 'simulator.spacing'"),
    ("toy-gaussian-field", {"dimensions": 4}, "dimensions must be 2 or 3, got 4"),
    ("toy-gaussian-field", {"box": -1.0}, "box -1.0 positive"),
    ("toy-gaussian-field", {"spectrum": {"index": [0.0, -1.0]}}, "give the smaller one first"),
    ("toy-gaussian-field", {"spectrum": {"index": float("nan")}}, "index from nan"),
    ("toy-gaussian-field", {"spectrum": {"amplitude": 0.0}}, "must both be positive"),
    ("toy-gaussian-field", {"spectrum": {"amplitud": 1.0}}, "did you mean 'amplitude'"),
    ("toy-gaussian-field", {"spectrum": "nowhere.txt"}, "nowhere.txt: not a readable table"),
    ("toy-gaussian-field", {"spectrum": [[0.1, 1.0]]}, "two or more pairs"),
    ("toy-gaussian-field", {"spectrum": [[0.1, 1.0], [0.1, 2.0]]}, "k must increase"),
    ("toy-gaussian-field", {"spectrum": [[0.1, 1.0], [0.2, -2.0]]}, "finite and positive"),
    ("toy-gaussian-field", {"spectrum": [[0.1, 1.0], [9.0, 2.0]]}, "modes from 0.06283 to 3.482"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD)
def test_bad_settings_are_refused_in_words(name, options, message):
    with pytest.raises(InputError, match=message):
        build_simulator(name, options).spec()
