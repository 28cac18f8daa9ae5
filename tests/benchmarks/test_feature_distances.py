"""Distances of features with error, floor and n."""

import numpy as np
import pytest

from emulators.benchmarks.feature_distances import _measured, batch_size, resampling_sizes


def test_the_error_is_that_of_a_difference_of_means():
    rng = np.random.default_rng(8)
    reference, generated = rng.standard_normal((800, 1)), rng.standard_normal((400, 1)) + 1
    rows = rng.permutation(800)

    def shift(a, b):
        return {"shift": float(b.mean() - a.mean()), "recipe_error": 0.1}

    halves = [(rows[:400], rows[400:]), (rows[400:], rows[:400])]
    found = _measured("shifts", shift, shift, reference, generated, halves, 0)
    assert list(found) == ["shift"]
    m = found["shift"]
    assert m.value == pytest.approx(generated.mean() - reference[rows[:400]].mean())
    assert m.error == pytest.approx(np.sqrt(2 / 400), rel=0.5)  # of ten numbers
    assert m.floor == pytest.approx(0)
    assert m.n == 400
    # the error of a recipe whose own resamplings the spread does not see is added to it
    other = _measured("shifts", shift, lambda a, b: shift(a, b), reference, generated, halves, 0)[
        "shift"
    ]
    assert other.error == pytest.approx(np.hypot(m.error, 0.1))


def test_sizes_are_those_of_calochallenge_where_there_are_enough():
    for n, sizes, batch in (
        (50_000, (10_000, 50_000), 10_000),
        (121_000, (10_000, 50_000), 10_000),
        (16_000, (3_200, 16_000), 3_200),
    ):
        assert resampling_sizes(n) == sizes
        assert batch_size(n) == batch
