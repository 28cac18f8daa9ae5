"""Copies of fields, however shifted and turned."""

import numpy as np
import pytest

from emulators.observables.closest import aligned, closest, large_scales


@pytest.mark.parametrize("d", [2, 3])
def test_copies_are_found_however_shifted_and_turned(d):
    rng = np.random.default_rng(9)
    fields = rng.normal(size=(6, *(32,) * d)).astype(np.float32)
    images = np.roll(np.flip(fields.swapaxes(1, d), 2), (5, 11), (1, 2))
    scales = [large_scales(f, [False] * d) for f in (images, fields)]
    nearest = closest(*scales)
    np.testing.assert_array_equal(nearest.partners, np.arange(6))
    assert nearest.correlations.min() > 0.8
    others = closest(*scales, ~np.eye(6, dtype=bool))
    assert others.correlations.max() < 0.5
    np.testing.assert_allclose(aligned(images[0], fields[0], True), fields[0])
