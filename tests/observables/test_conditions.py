"""Statistics at equal conditions, groups of conditions, and responses to them."""

import numpy as np
import pytest

from emulators.observables.conditions import Levelling, condition_groups, response


def test_levelling_takes_conditions_out_and_leaves_means_at_equal_ones():
    rng = np.random.default_rng(10)
    c = rng.uniform(1, 2, (500, 2))
    rows = np.exp(c @ [[1.0], [-0.5]]) * rng.lognormal(0, 0.01, (500, 1))
    level = Levelling(c, c, 500)
    gen, ref = level.ratios(1.1 * rows, rows)
    assert ref.std() / ref.mean() < 0.02 < rows.std() / rows.mean()
    assert gen.mean() / ref.mean() == pytest.approx(1.1)
    gen, ref = level.differences(rows + 1, rows)
    assert gen.mean() - rows.mean() == pytest.approx(1)
    assert ref.mean() == pytest.approx(rows.mean())
    few = Levelling(c[:4], c[:4], 4).differences(rows[:4], rows[:4])
    np.testing.assert_array_equal(few[1], rows[:4])


def test_groups_of_conditions():
    c = np.repeat([[0.3, 0.8], [0.3, 0.9]], 5, 0)
    groups = condition_groups(("omega_m", "sigma_8"), c[:3], c)
    assert [g[0] for g in groups] == ["sigma_8 = 0.8", "sigma_8 = 0.9"]
    assert [int(g[2].sum()) for g in groups] == [3, 0]
    assert condition_groups(("omega_m",), c[:, :1], c[:, :1]) == []
    wide = np.linspace(0, 1, 90)[:, None]
    thirds = condition_groups(("sigma_8",), wide, wide)
    assert [int(g[3].sum()) for g in thirds] == [30, 30, 30]


def sample(rng, slopes, n=400, noise=0.1):
    """Statistics that follow conditions by these slopes, conditions, and simulations of two."""
    c = rng.uniform(0, 1, (n, len(slopes)))
    rows = np.exp(c @ slopes) * rng.lognormal(0, noise, (n, np.shape(slopes)[1]))
    return rows, c, np.arange(n) // 2


def test_response_is_the_slope_of_the_logarithm():
    rng = np.random.default_rng(11)
    rows, c, groups = sample(rng, [[2.0, 1.0], [-1.0, -3.0]])
    slopes = response((rows, c, groups), (rows**2, c, groups), rng)
    np.testing.assert_allclose(slopes.generated, [[2, 1], [-1, -3]], atol=0.1)
    np.testing.assert_allclose(slopes.deviation, -0.5)
    np.testing.assert_allclose(slopes.mean, -0.5)
    assert not slopes.through_zero.any()
    assert response((rows, c, groups), (rows, c, np.zeros(400)), rng) is None


def test_a_response_through_zero_is_compared_by_differences():
    rng = np.random.default_rng(12)
    reference = np.array([[2.0, 1.0, 0.01, -1.0]])
    half = response(sample(rng, 0.5 * reference), sample(rng, reference), rng)
    assert half.through_zero[0]
    assert half.judged.all()  # nothing is divided by the slope near zero
    np.testing.assert_allclose(half.deviation[0], [-0.5, -0.25, 0, 0.25], atol=0.05)
    assert half.mean[0] == pytest.approx(-0.25, abs=0.03)  # weaker everywhere: signs do not cancel
    assert half.mean[0] < -5 * half.mean_error[0]


@pytest.mark.parametrize("slopes", [[[2.0, 1.5, 1.0]], [[2.0, 0.0, -2.0]]])
def test_two_samples_of_one_law_respond_alike_to_their_floor(slopes):
    rng = np.random.default_rng(13)
    found = [
        response(*(sample(rng, np.array(slopes), 60) for _ in range(2)), rng, 50, 10)
        for _ in range(60)
    ]
    assert np.std([r.mean[0] / r.mean_error[0] for r in found]) == pytest.approx(1, abs=0.25)
    size, floor = np.mean([(abs(r.mean[0]), r.mean_floor[0]) for r in found], 0)
    assert size / floor == pytest.approx(1, abs=0.25)
    errors = [r.deviation[0] / r.error[0] for r in found]
    np.testing.assert_allclose(np.std(errors, 0), 1, atol=0.3)
