import numpy as np
import pytest

from emulators.data.geometries import calogan
from emulators.observables.response import (
    bin_numbers,
    binned_response,
    response_deviations,
    responses,
)
from emulators.observables.showers import observables


def sample(n, mean, width, seed):
    """Responses of one layer and the total, normal in each bin of energy."""
    rng = np.random.default_rng(seed)
    return mean + width * rng.standard_normal((n, 2)), np.exp(rng.uniform(0, np.log(100), n))


def test_values_outside_of_all_bins_are_in_none():
    values = np.array([0.5, 1, 1.5, 2, 4, 5], np.float32)
    assert bin_numbers(values, np.array([1.0, 2.0, 4.0, 5.0])).tolist() == [-1, 0, 0, 1, 2, -1]


def test_responses_are_shares_of_the_incident_energy():
    values = np.zeros((2, 504), np.float32)
    values[:, 300] = 500.0  # MeV, in layer 1
    energy = np.array([1.0, 2.0])
    found = responses(observables(values, calogan(), energy), calogan(), energy)
    np.testing.assert_allclose(found, [[0, 0.5, 0, 0.5], [0, 0.25, 0, 0.25]])


def test_known_deviations_are_found_within_their_errors():
    reference, generated = sample(20_000, 0.5, 0.05, 0), sample(20_000, 0.51, 0.055, 1)
    found = binned_response(reference, generated, np.geomspace(1, 101, 6), np.random.default_rng(2))
    assert found.mean_deviation.shape == (2, 5)
    assert sum(found.counts[0]) == 20_000
    assert np.all(np.abs(found.mean_deviation - 0.02) < 5 * found.mean_error)
    assert np.all(np.abs(found.width_deviation - 0.1) < 5 * found.width_error)
    # closed forms: sqrt(2 / n) width / mean, and 1.1 sqrt(2 / 2n)
    n = found.counts[0]
    np.testing.assert_allclose(found.mean_error[0], np.sqrt(2 / n) * 0.1, rtol=0.35)
    np.testing.assert_allclose(found.width_error[0], 1.1 / np.sqrt(n), rtol=0.35)


def test_a_bin_with_few_showers_is_left_empty():
    reference, generated = sample(500, 0.5, 0.05, 0), sample(500, 0.5, 0.05, 1)
    generated[1][:] = 2.0
    found = binned_response(
        reference, generated, np.array([1.0, 10, 101]), np.random.default_rng(2)
    )
    assert np.isfinite(found.mean_deviation[0, 0])
    assert np.isnan(found.mean_deviation[0, 1])


def test_deviations_of_halves_are_the_floor():
    reference = sample(4000, 0.5, 0.05, 0)
    rng = np.random.default_rng(3)
    orders = [rng.permutation(4000) for _ in range(10)]
    halves = [
        tuple((reference[0][o[s]], reference[1][o[s]]) for s in (slice(2000), slice(2000, 4000)))
        for o in orders
    ]
    edges = np.geomspace(1, 101, 6)
    good = response_deviations(sample(2000, 0.5, 0.05, 5), halves, edges, rng, 0.02, 20)
    bad = response_deviations(sample(2000, 0.55, 0.05, 5), halves, edges, rng, 0.02, 20)
    assert good["layer_mean"].n == 2000
    assert good["layer_mean"].value == pytest.approx(
        good["layer_mean"].floor, abs=4 * good["layer_mean"].floor_error
    )
    assert good["layer_mean_within"].value == 1
    assert bad["layer_mean"].value == pytest.approx(0.1, abs=0.02)
    assert bad["layer_mean_within"].value == 0
