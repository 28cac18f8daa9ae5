"""Bootstrap over simulations against closed forms; floors; ratios."""

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.observables.resampling import (
    compare,
    measure_difference,
    measure_differences,
    standard_error,
)
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


def test_errors_cover_and_floors_are_of_the_same_n():
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
    # means of 40 boxes have variance (1 + 1/4) / 40, of 10 squared
    expected = (2 * 1.25 / 40) ** 0.5 / 10 * (2 / np.pi) ** 0.5
    assert np.mean(floors) == pytest.approx(expected, rel=0.1)


def largest(a, b):
    return float(np.abs(a.mean(0) / b.mean(0) - 1).max())


def draws(boxes, alone=False, count=40):
    """Pairs of samples of one law, four maps of five numbers a box; each with its groups.

    ``alone``: generated maps are each their own, as those of a generator are.
    """
    for seed in range(count):
        draw = rng(seed)
        means = [draw.normal(10, 1, (n, 5)).repeat(4, 0) for n in boxes]
        groups = [np.arange(4 * n) // 4 for n in boxes]
        if alone:
            means[0] = draw.normal(10, 1, means[0].shape)
        yield draw, [m + draw.normal(0, 1, m.shape) for m in means], groups


@pytest.mark.parametrize("boxes", [(40, 40), (15, 60)])
def test_a_perfect_sample_is_at_its_floor(boxes):
    ratios, differences, errors, seen = [], [], [], []
    for draw, rows, groups in draws(boxes):
        whole = compare(*rows, draw, groups=groups, resamplings=50)
        halves = measure_difference(largest, *rows, draw, groups=groups, resamplings=50)
        off = np.abs(whole.ratio - 1).mean()
        ratios.append((off / whole.floor.mean(), halves.value / halves.floor))
        differences.append(halves.value - halves.floor)
        errors.append(halves.error)
        shifted = rows[0] * (1 + 5 * whole.floor)
        found = measure_difference(largest, shifted, rows[1], draw, groups=groups, resamplings=50)
        seen.append((found.value - found.floor) / found.error)
    np.testing.assert_allclose(np.mean(ratios, 0), 1, atol=0.1)
    assert 0.5 < np.std(differences) / np.mean(errors) < 1.2
    assert min(seen) > 2
    assert np.median(seen) > 4


def test_maps_that_are_each_their_own_count_as_boxes_of_as_many():
    ratios = []
    for draw, rows, groups in draws((40, 40), alone=True):
        found = compare(*rows, draw, groups=(None, groups[1]), resamplings=2)
        assert found.simulations == (160, 40)
        ratios.append(np.abs(found.ratio - 1).mean() / found.floor.mean())
    # they scatter less, by (2 / 160 + 1.25 / 40) against 2 * 1.25 / 40: on the safe side
    assert np.mean(ratios) == pytest.approx(0.7**0.5, abs=0.08)


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


def test_a_statistic_is_compared_as_a_mean_is():
    generated, reference = rng(1).normal(5, 1, (90, 3)), rng(2).normal(5, 1, (80, 3))
    groups = np.arange(90) // 3, np.arange(80) // 2
    means = compare(generated, reference, rng(), groups=groups)
    other = compare(generated, reference, rng(), groups=groups, statistic=lambda rows: rows.mean(0))
    for name in ("ratio", "error", "floor", "generated_error", "reference_error"):
        np.testing.assert_allclose(getattr(other, name), getattr(means, name), rtol=1e-9)
    assert (other.n, other.simulations) == (means.n, means.simulations)


def test_width_of_normal_numbers_and_its_error():
    generated, reference = rng(1).normal(0, 2, (4000, 1)), rng(2).normal(0, 1, (2000, 1))
    widths = compare(generated, reference, rng(), statistic=lambda rows: rows.std(0))
    assert widths.ratio[0] == pytest.approx(2, abs=5 * widths.error[0])
    # the standard deviation of n normal numbers scatters by 1 / sqrt(2 n) of itself
    expected = 2 * np.sqrt(1 / 8000 + 1 / 4000)
    assert widths.error[0] == pytest.approx(expected, rel=0.3)


def test_several_differences_at_once_are_those_one_by_one():
    generated, reference = rng(1).normal(0, 1, (60, 2)), rng(2).normal(0, 1, (80, 2))

    def shifts(a, b):
        return a.mean(0) - b.mean(0)

    both = measure_differences(shifts, generated, reference, rng())
    for i, m in enumerate(both):
        one = measure_difference(
            lambda a, b, i=i: float(shifts(a, b)[i]), generated, reference, rng()
        )
        assert m.n == one.n
        for name in ("value", "error", "floor", "floor_error"):
            assert getattr(m, name) == pytest.approx(getattr(one, name))


def test_one_simulation_and_wrong_groups_are_refused():
    values = np.ones((4, 2))
    with pytest.raises(InputError, match="4 fields of 1 simulation"):
        standard_error(values, rng(), np.zeros(4))
    with pytest.raises(InputError, match="4 rows but 3 groups"):
        compare(values, values, rng(), groups=(np.arange(3), None))
