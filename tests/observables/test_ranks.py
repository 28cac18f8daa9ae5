import numpy as np
import pytest
from scipy import stats

from emulators.observables.ranks import dense_ranks, rank_correlations


def test_rank_correlations_are_scipys_with_ties_and_do_not_see_a_logarithm():
    rng = np.random.default_rng(1)
    common = rng.standard_normal(300)
    rows = np.stack(
        [
            np.exp(common),
            common + rng.standard_normal(300),
            rng.poisson(np.exp(common)),
            rng.poisson(1, 300),
        ],
        1,
    )
    dense = dense_ranks(rows)
    np.testing.assert_allclose(rank_correlations(dense), stats.spearmanr(rows).statistic)
    some = rng.integers(0, 300, 100)
    expected = stats.spearmanr(rows[some]).statistic
    np.testing.assert_allclose(rank_correlations(dense[some]), expected)
    rows[:, 0] = np.log(rows[:, 0])
    np.testing.assert_array_equal(dense_ranks(rows), dense)
    constant = rank_correlations(dense_ranks(np.column_stack([rows[:, 0], np.ones(300)])))
    assert constant[0, 1] == 0


def test_rank_correlation_of_normal_numbers():
    rng = np.random.default_rng(2)
    rows = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 20_000)
    found = rank_correlations(dense_ranks(rows))
    assert found[0, 1] == pytest.approx(6 / np.pi * np.arcsin(0.35), abs=0.015)
