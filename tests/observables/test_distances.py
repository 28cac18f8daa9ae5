import numpy as np
import pytest
from scipy import stats

from emulators.observables.distances import (
    chi_squared,
    histogram,
    kolmogorov_smirnov,
    measure,
    quantile_edges,
    separation_power,
    wasserstein,
)


@pytest.fixture
def normals():
    return np.random.default_rng(0).standard_normal(5001)


def test_wasserstein_of_a_shift_is_the_shift(normals):
    assert wasserstein(normals, normals + 0.25) == pytest.approx(0.25)


def test_wasserstein_of_a_scaled_sample(normals):
    assert wasserstein(normals, 3 * normals) == pytest.approx(2 * np.abs(normals).mean())
    quantiles = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert wasserstein(quantiles, 1.5 * quantiles) == pytest.approx(
        0.5 * np.sqrt(2 / np.pi), rel=1e-3
    )


def test_against_scipy_with_other_sizes_and_ties():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 12, 300), rng.integers(1, 14, 211)
    assert wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b))
    assert kolmogorov_smirnov(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)


def test_equal_samples_have_no_distance(normals):
    shuffled = np.random.default_rng(2).permutation(normals)
    edges = quantile_edges(normals)
    assert wasserstein(normals, shuffled) == 0
    assert kolmogorov_smirnov(normals, shuffled) == 0
    assert separation_power(histogram(normals, edges), histogram(shuffled, edges)) == 0


def test_separation_power_of_known_histograms():
    assert separation_power([1, 0], [0, 7]) == 1
    # p = (3/4, 1/4), q = (1/4, 3/4): 0.5 * 2 * (1/2)^2 / 1
    assert separation_power([3, 1], [5, 15]) == pytest.approx(0.25)


def test_under_and_overflow_are_counted():
    edges = np.array([0.0, 1.0])
    assert histogram([-5, 0, 0.5, 1.0, 9, 9], edges).tolist() == [1, 2, 3]
    # what lies outside would be dropped by a density: half of b is outside, none of a
    a, b = np.full(100, 0.5), np.r_[np.full(50, 0.5), np.full(50, 3.0)]
    found = separation_power(histogram(a, edges), histogram(b, edges))
    assert found == pytest.approx(0.5 * (0.25 / 1.5 + 0.5))


@pytest.mark.parametrize("totals", [(600, 600), (900, 200)])
def test_chi_squared_is_scipys_of_homogeneity(totals):
    rng = np.random.default_rng(6)
    counts = np.array([rng.multinomial(n, np.full(12, 1 / 12)) for n in totals])
    found = chi_squared(*counts)
    expected = stats.chi2_contingency(counts, correction=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.degrees_of_freedom == expected.dof == 11
    assert found.p_value == pytest.approx(expected.pvalue)


def test_chi_squared_of_equal_totals_is_the_separation_power():
    a, b = np.array([40, 60, 30, 70]), np.array([55, 45, 50, 50])
    assert chi_squared(a, b).statistic == pytest.approx(2 * 200 * separation_power(a, b))


def test_chi_squared_merges_neighbours_until_five_of_each_are_expected():
    # of 2 N = 40 + 40 a bin needs 10: 12 | 1 + 3 + 9 | 10 | 36 + 9, as 9 are too few at the end
    a, b = np.array([6, 0, 1, 5, 3, 20, 5]), np.array([6, 1, 2, 4, 7, 16, 4])
    merged = chi_squared([6, 6, 3, 25], [6, 7, 7, 20])
    assert chi_squared(a, b) == merged
    assert merged.degrees_of_freedom == 3
    # with ten times as many of b, those of a decide
    assert chi_squared([2, 3, 5], [20, 30, 50]).degrees_of_freedom == 1
    assert chi_squared([7], [9]).p_value == 1


@pytest.mark.parametrize("draw", ["standard_normal", "counts"])
def test_chi_squared_has_uniform_p_values_where_nothing_differs(draw):
    rng = np.random.default_rng(7)
    chances = []
    for _ in range(400):
        a, b = (
            rng.poisson(2, 700) if draw == "counts" else rng.standard_normal(700) for _ in range(2)
        )
        edges = quantile_edges(b)
        chances.append(chi_squared(histogram(a, edges), histogram(b, edges)).p_value)
    assert stats.kstest(chances, "uniform").pvalue > 0.01


def test_quantile_edges_hold_equal_shares(normals):
    counts = histogram(normals, quantile_edges(normals, 10))
    assert counts[0] == counts[-1] == 0
    assert np.ptp(counts[1:-1]) <= 2


def test_quantile_edges_of_a_count_keep_its_values_apart():
    counted = np.repeat([0, 1, 2], [10, 30, 60])
    assert histogram(counted, quantile_edges(counted)).tolist() == [0, 10, 30, 60, 0]


def halves(sample, count, rng):
    m = len(sample) // 2
    orders = [rng.permutation(len(sample)) for _ in range(count)]
    return [(sample[o[:m]], sample[o[m : 2 * m]]) for o in orders]


def test_a_perfect_sample_reaches_the_floor():
    rng = np.random.default_rng(3)
    names = ("separation_power", "wasserstein", "kolmogorov_smirnov", "chi_squared")
    excess = {name: [] for name in names}
    for _ in range(30):
        sample, reference = rng.standard_normal(1000), rng.standard_normal(2000)
        for name, m in measure(sample, halves(reference, 5, rng), rng, resamplings=2).items():
            assert m.n == 1000
            excess[name].append(m.value / m.floor - 1)
    for name, found in excess.items():
        assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(30) + 0.02, name


def test_a_shifted_sample_stands_above_the_floor_by_its_errors():
    rng = np.random.default_rng(4)
    reference = rng.standard_normal(4000)
    found = measure(rng.standard_normal(2000) + 0.3, halves(reference, 5, rng), rng)
    for m in found.values():
        assert m.value - m.floor > 3 * np.hypot(m.error, m.floor_error)
    assert found["wasserstein"].value == pytest.approx(0.3, abs=0.1)


def test_bootstrap_error_of_wasserstein_is_that_of_a_mean_for_a_clear_shift():
    # far apart, W1 is the difference of means, whose error is sqrt(2 / n)
    rng = np.random.default_rng(5)
    reference = rng.standard_normal(1000)
    found = measure(rng.standard_normal(500) + 50, halves(reference, 1, rng), rng, 400)
    assert found["wasserstein"].error == pytest.approx(np.sqrt(2 / 500), rel=0.2)
