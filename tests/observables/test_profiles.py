"""Profiles of showers against sums by hand."""

import numpy as np
import pytest

from emulators.data.spec import ReadoutLayer, ShowerGeometry
from emulators.observables.profiles import (
    cell_spectrum,
    longitudinal,
    radial,
    radial_edges,
    ring_areas,
)

SQUARE = ReadoutLayer("square", ("x", "y"), ((-2.0, 0.0, 2.0), (-3.0, -1.0, 1.0, 3.0)))
RINGS = ReadoutLayer("rings", ("alpha", "r"), ((0.0, np.pi, 2 * np.pi), (0.0, 1.0, 5.0)))
GEOMETRY = ShowerGeometry("test", (SQUARE, RINGS))


def test_energy_along_and_across():
    values = np.random.default_rng(0).random((5, 10)).astype("f4")
    along = longitudinal(values, GEOMETRY)
    assert along == pytest.approx(np.stack([values[:, :6].sum(1), values[:, 6:].sum(1)], 1))
    edges = radial_edges(GEOMETRY)
    across = radial(values, GEOMETRY, edges)
    assert across.sum(1) == pytest.approx(values.sum(1))  # nothing lies outside
    # the six cells of the square have their centres at (+-1, -2 0 2), the rings at 0.5 and 3
    radii = np.array([5**0.5, 1, 5**0.5] * 2 + [0.5, 3] * 2)
    for k in range(len(edges) - 1):
        inside = (radii >= edges[k]) & (radii < edges[k + 1])
        assert across[:, k] == pytest.approx(values[:, inside].sum(1))
        assert inside.any()
    areas = ring_areas(GEOMETRY, edges)
    assert areas.sum() == pytest.approx(4 * 6 + np.pi * 25)


def test_the_spectrum_counts_cells():
    values = np.array([[0.0, 0.5, 1.0, 7.0], [2.0, 2.0, 100.0, 0.9]])
    counts = cell_spectrum(values, np.array([0.5, 1.0, 10.0]))
    assert counts.tolist() == [[1, 2], [1, 2]]  # [0.5, 1) and [1, 10); zero and 100 are left out
