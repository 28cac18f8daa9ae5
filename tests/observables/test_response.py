import numpy as np
import pytest

from emulators.data.geometries import calogan
from emulators.observables.response import (
    bin_numbers,
    binned_moments,
    deviation_sizes,
    responses,
)
from emulators.observables.showers import observables


def test_values_outside_of_all_bins_are_in_none():
    values = np.array([0.5, 1, 1.5, 2, 4, 5], np.float32)
    assert bin_numbers(values, np.array([1.0, 2.0, 4.0, 5.0])).tolist() == [-1, 0, 0, 1, 2, -1]


def test_responses_are_shares_of_the_incident_energy():
    values = np.zeros((2, 504), np.float32)
    values[:, 300] = 500.0  # MeV, in layer 1
    energy = np.array([1.0, 2.0])
    found = responses(observables(values, calogan(), energy), calogan(), energy)
    np.testing.assert_allclose(found, [[0, 0.5, 0, 0.5], [0, 0.25, 0, 0.25]])


def test_moments_of_normal_numbers_in_bins():
    rng = np.random.default_rng(0)
    where = rng.integers(-1, 3, 40_000)
    x = 1e6 + np.stack([where, 10 * rng.standard_normal(40_000)], 1) * [1, 0.01]
    means, widths = binned_moments(np.column_stack([x, where]), 3)
    np.testing.assert_allclose(means[0], 1e6 + np.arange(3))
    np.testing.assert_allclose(widths[0], 0, atol=1e-6)
    np.testing.assert_allclose(means[1] - 1e6, 0, atol=5 * 0.1 / 100)
    np.testing.assert_allclose(widths[1], 0.1, rtol=0.05)
    inside = x[where == 2, 1]
    assert widths[1, 2] == pytest.approx(inside.std(ddof=1))


def test_a_bin_with_few_showers_is_left_empty():
    where = np.repeat([0, 1], [20, 19])
    moments = binned_moments(np.column_stack([np.ones(39), where]), 3)
    np.testing.assert_array_equal(np.isfinite(moments), [[[True, False, False]]] * 2)


def test_sizes_of_deviations():
    nan = np.nan
    second = np.array([[[1.0, 2.0, nan], [0.0, 1.0, -1.0]], [[1.0, 1.0, 1.0], [nan] * 3]])
    first = second + np.array([[[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]] * 2)
    mean, width = deviation_sizes(first, second, np.array([nan, 2.0]), 0.06)
    # the second column goes through zero: its differences are over 2
    sizes = [0.1, 0.05, 0.05, 0.05, 0.05]
    np.testing.assert_allclose(mean, [np.mean(sizes), 0.075, 0.05, 0.1, 0.8])
    np.testing.assert_allclose(width, [0.1, 0.1, nan, 0.1, 0.0])
