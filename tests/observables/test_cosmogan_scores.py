"""Frechet distance against closed forms, and the compatible scores."""

import numpy as np
import pytest
from scipy import linalg

from emulators.errors import InputError
from emulators.observables.cosmogan_scores import cosmogan_scores, frechet_distance

RNG = np.random.default_rng(9)


def test_frechet_distance_of_known_gaussians():
    shift = frechet_distance(RNG.normal(0, 1, (50000, 2)), RNG.normal([3, 0], 1, (50000, 2)))
    assert shift == pytest.approx(9, rel=0.02)
    width = frechet_distance(RNG.normal(0, 1, (50000, 3)), RNG.normal(0, 2, (50000, 3)))
    assert width == pytest.approx(3 * (2 - 1) ** 2, rel=0.03)


def test_frechet_distance_is_the_matrix_formula():
    a = RNG.normal(size=(200, 4)) @ RNG.normal(size=(4, 4))
    b = RNG.normal(size=(150, 4)) @ RNG.normal(size=(4, 4)) + 1
    first, second = (np.cov(x, rowvar=False) for x in (a, b))
    root = linalg.sqrtm(first @ second).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_fewer_rows_than_dimensions():
    a = RNG.normal(size=(5, 20))
    assert frechet_distance(a, a + 2) == pytest.approx(80, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def counts(n, mean, cells=(32, 32), width=1.0):
    return RNG.poisson(mean * np.exp(RNG.normal(0, width, (n, *cells)))).astype(np.float32)


@pytest.mark.parametrize("cells", [(32, 32), (12, 12, 12)])
def test_scores_fall_with_the_difference(cells):
    d = len(cells)
    reference, same, other = (counts(80, 3.0, cells, w) for w in (1.0, 1.0, 1.5))
    good, bad = (cosmogan_scores(f, reference, (50.0,) * d, (True,) * d) for f in (same, other))
    assert list(good) == ["power", "mass", "peaks"]
    for name, score in good.items():
        assert score.score == pytest.approx(1 / score.distance)
        assert score.score > bad[name].score
        assert score.n == 80
        assert not score.singular
    assert good["mass"].dimensions == good["peaks"].dimensions == 20
    assert 10 < good["power"].dimensions <= 49


def test_few_fields_are_said_to_be_few():
    few = cosmogan_scores(counts(10, 3.0), counts(80, 3.0), (50.0, 50.0), (False, True))
    assert all(s.singular and s.n == 10 for s in few.values())
    with pytest.raises(InputError, match="two or more"):
        cosmogan_scores(counts(1, 3.0), counts(80, 3.0), (50.0, 50.0), (True, True))


def test_empty_fields_get_a_number():
    nothing = np.zeros((5, 16, 16), np.float32)
    found = cosmogan_scores(nothing, counts(5, 3.0, (16, 16)), (50.0, 50.0), (True, True))
    assert all(0 <= s.score < 1 for s in found.values())
