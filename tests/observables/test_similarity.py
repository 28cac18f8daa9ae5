"""Multi-scale structural similarity: identity, closed forms, mode collapse."""

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.observables.similarity import WEIGHTS, ms_ssim

RNG = np.random.default_rng(6)


@pytest.mark.parametrize(
    ("cells", "periodic"), [((64, 48), (True, True)), ((24,) * 3, (False,) * 3)]
)
def test_equal_fields_give_one_and_independent_ones_none(cells, periodic):
    a, b = RNG.normal(size=(2, 6, *cells)).astype(np.float32)
    np.testing.assert_allclose(ms_ssim(a, a, 6.0, periodic), 1, rtol=1e-9)
    found = ms_ssim(a, b, 6.0, periodic)
    assert found.shape == (6,)
    assert (found < 0.35).all()
    np.testing.assert_allclose(found, ms_ssim(b, a, 6.0, periodic), rtol=1e-9)
    closer = ms_ssim(a, a + 0.3 * b, 6.0, periodic)
    assert (closer > found).all()
    assert (closer < 1).all()


def test_a_shift_shows_in_the_means_of_the_coarsest_scale_alone():
    a, b = np.full((1, 32, 32), 2.0), np.full((1, 32, 32), 3.0)
    c1 = (0.01 * 5) ** 2
    weight = WEIGHTS[1] / WEIGHTS[:2].sum()  # 32 cells hold two scales
    expected = ((2 * 6 + c1) / (4 + 9 + c1)) ** weight
    assert ms_ssim(a, b, 5.0, (True, True))[0] == pytest.approx(expected, rel=1e-9)


def test_contrast_halved_at_every_scale():
    # one scale, the same structure: (2 s t + c) / (s^2 + t^2 + c), with t = s / 2
    a = 100 + np.tile([[1.0, -1.0], [-1.0, 1.0]], (8, 8))[None]
    b = 100 + (a - 100) / 2
    c2 = (0.03 * 2) ** 2
    expected = (2 * 0.5 + c2) / (1 + 0.25 + c2)
    assert ms_ssim(a, b, 2.0, (True, True))[0] == pytest.approx(expected, rel=1e-3)


def test_periodic_fields_are_alike_wherever_they_begin():
    a, b = RNG.normal(size=(2, 1, 32, 32))
    rolled = [np.roll(f, (8, 20), (1, 2)) for f in (a, b)]  # by whole coarse cells
    whole = ms_ssim(a, b + a, 6.0, (True, True))
    moved = ms_ssim(rolled[0], rolled[0] + rolled[1], 6.0, (True, True))
    np.testing.assert_allclose(moved, whole, rtol=1e-9)
    cut = ms_ssim(rolled[0], rolled[0] + rolled[1], 6.0, (False, False))
    assert abs(cut - whole) > 1e-4


def test_bad_input_is_refused():
    ones = np.ones((2, 16, 16))
    with pytest.raises(InputError, match="11 cells"):
        ms_ssim(ones[:, :8], ones[:, :8], 1.0, (True, True))
    with pytest.raises(InputError, match="positive"):
        ms_ssim(ones, ones, 0.0, (True, True))
