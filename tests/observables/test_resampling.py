"""Bootstrap over simulations against closed forms; floors; ratios."""

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.observables.resampling import compare, measure_difference, standard_error
from emulators.observables.spectra import off_diagonal_difference


def rng(seed=0):
    return np.random.default_rng(seed)


def test_standard_error_of_independent_fields():
    values = rng().normal(5, [1.0, 4.0], (400, 2))
    found = standard_error(values, rng(1), resamplings=2000)
    np.testing.assert_allclose(found, values.std(0) / 20, rtol=0.06)


def test_fields_of_one_simulation_stay_together():
    shared = rng().normal(size=(50, 1))
    values = np.repeat(shared, 16, 0)  # sixteen copies tell nothing new
    groups = np.repeat([f"box {i}" for i in range(50)], 16)
    order = rng(2).permutation(len(values))
    found = standard_error(values[order], rng(1), groups[order], resamplings=2000)
    np.testing.assert_allclose(found, shared.std() / 50**0.5, rtol=0.06)
    assert standard_error(values, rng(1)) < 0.3 * found


def test_ratio_of_means_with_error():
    a, b = rng(1).normal(11, 2, (300, 3)), rng(2).normal(10, 2, (500, 3))
    found = compare(a, b, rng(3), resamplings=2000)
    np.testing.assert_allclose(found.ratio, a.mean(0) / b.mean(0))
    np.testing.assert_allclose(found.generated, a.mean(0))
    expected = 1.1 * np.sqrt((2 / 11) ** 2 / 300 + (2 / 10) ** 2 / 500)
    np.testing.assert_allclose(found.error, expected, rtol=0.1)
    np.testing.assert_allclose(found.reference_error, 2 / 500**0.5, rtol=0.1)
    assert found.n == found.simulations == (300, 500)


def test_errors_cover_and_floors_are_of_halves():
    pulls, floors = [], []
    for seed in range(60):
        draw = rng(seed)
        boxes = [draw.normal(10, 1, (40, 5)) for _ in range(2)]
        fields = [np.repeat(b, 4, 0) + draw.normal(0, 1, (160, 5)) for b in boxes]
        groups = (np.repeat(np.arange(40), 4),) * 2
        found = compare(*fields, draw, groups=groups)
        assert found.simulations == (40, 40)
        pulls.append((found.ratio - 1) / found.error)
        floors.append(found.floor)
    assert np.std(pulls) == pytest.approx(1, abs=0.15)
    # means of 20 boxes have variance (1 + 1/4) / 20, of 10 squared
    expected = (2 * 1.25 / 20) ** 0.5 / 10 * (2 / np.pi) ** 0.5
    assert np.mean(floors) == pytest.approx(expected, rel=0.1)


def test_groups_of_unequal_size_count_by_their_fields():
    values, groups = np.array([[1.0], [1.0], [1.0], [5.0]]), np.array([7, 7, 7, 3])
    found = compare(values, values, rng(), groups=(groups, groups))
    assert found.generated[0] == 2
    assert found.n == (4, 4)
    assert found.simulations == (2, 2)
    assert found.floor[0] in (0.8, 4.0) or 0.8 < found.floor[0] < 4.0


def test_empty_and_rare_bins_have_no_ratio_but_no_warning_either():
    values = np.zeros((30, 2))
    values[0, 1] = 1
    found = compare(values + np.array([1, 0]), values, rng())
    assert np.isnan(found.ratio[0])
    assert np.isnan(found.floor[0])
    assert found.ratio[1] == 1
    assert np.isfinite(found.error[1])


def test_difference_of_correlations_against_its_floor():
    def rows(seed, c, n=400):
        draws = rng(seed).normal(size=(n, 6))
        return c * draws[:, :1] + draws

    same = measure_difference(off_diagonal_difference, rows(1, 1.0), rows(2, 1.0), rng())
    assert same.n == 200
    assert same.value == pytest.approx(same.floor, abs=0.03)
    assert 0 < same.floor_error < same.floor
    other = measure_difference(off_diagonal_difference, rows(1, 0.0), rows(2, 1.0), rng())
    assert other.value == pytest.approx(0.5, abs=0.15)
    assert other.value > other.floor + 5 * other.error
    groups = (np.arange(400) // 4, np.arange(400) // 4)
    grouped = measure_difference(
        off_diagonal_difference, rows(1, 1.0), rows(2, 1.0), rng(), groups=groups
    )
    assert grouped.n == 200
    few = measure_difference(off_diagonal_difference, rows(1, 1.0, 60), rows(2, 1.0), rng())
    assert few.n == 60


def test_one_simulation_and_wrong_groups_are_refused():
    values = np.ones((4, 2))
    with pytest.raises(InputError, match="4 fields of 1 simulation"):
        standard_error(values, rng(), np.zeros(4))
    with pytest.raises(InputError, match="4 rows but 3 groups"):
        compare(values, values, rng(), groups=(np.arange(3), None))
