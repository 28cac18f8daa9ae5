"""Minkowski functionals of shapes made of cells, and of Gaussian fields."""

import math

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.observables.fields import smooth
from emulators.observables.minkowski import minkowski


def totals(shape, sides=1.0, periodic=True):
    """The functionals of one shape of cells, not divided by the volume."""
    lengths = [n * s for n, s in zip(shape.shape, np.broadcast_to(sides, shape.ndim))]
    found = minkowski(shape[None].astype(np.float32), [0.5], lengths, (periodic,) * shape.ndim)
    return found[0, 0] * math.prod(lengths)


def box(cells, *parts):
    shape = np.zeros(cells, bool)
    for part in parts:
        shape[part] ^= True
    return shape


SQUARE = np.s_[2:7, 3:6]
PLANE = {
    "square": (box((12, 12), SQUARE), (15, 16, 1)),
    "across the boundary": (np.roll(box((12, 12), SQUARE), 7, (0, 1)), (15, 16, 1)),
    "ring": (box((12, 12), np.s_[2:7, 2:7], np.s_[4:5, 4:5]), (24, 24, 0)),
    "two": (box((12, 12), np.s_[1:3, 1:3], np.s_[6:7, 6:7]), (5, 12, 2)),
    "touching": (box((12, 12), np.s_[1:3, 1:3], np.s_[3:5, 3:5]), (8, 16, 1)),
    "band around": (box((12, 12), np.s_[2:4]), (24, 24, 0)),
    "all": (np.ones((12, 12), bool), (144, 0, 0)),
    "nothing": (np.zeros((12, 12), bool), (0, 0, 0)),
}


@pytest.mark.parametrize("name", PLANE)
def test_shapes_of_pixels(name):
    shape, expected = PLANE[name]
    np.testing.assert_allclose(totals(shape), expected, atol=1e-9)


SOLID = {
    "cuboid": (box((12,) * 3, np.s_[2:5, 3:5, 4:8]), (24, 52, 9 * np.pi, 1)),
    "hollow cube": (
        box((12,) * 3, np.s_[2:7, 2:7, 2:7], np.s_[4:5, 4:5, 4:5]),
        (124, 156, (15 - 3) * np.pi, 2),
    ),
    # a square ring, 3 x 3 x 1 without its middle; edges add a quarter of pi of their length:
    # 28 outside and 8 around the hole, less the 4 concave ones within
    "torus": (box((12,) * 3, np.s_[2:5, 2:5, 2:3], np.s_[3:4, 3:4, 2:3]), (8, 32, 8 * np.pi, 0)),
    "all": (np.ones((12,) * 3, bool), (1728, 0, 0, 0)),
}


@pytest.mark.parametrize("name", SOLID)
def test_shapes_of_cubes(name):
    shape, expected = SOLID[name]
    np.testing.assert_allclose(totals(shape), expected, atol=1e-9)


def test_cells_of_any_shape():
    np.testing.assert_allclose(
        totals(box((12, 12), SQUARE), (2.0, 0.5)), (15, 2 * (10 + 1.5), 1), atol=1e-9
    )
    a, b, c = 3 * 2.0, 2 * 0.5, 4 * 1.5
    solid = totals(box((12,) * 3, np.s_[2:5, 3:5, 4:8]), (2.0, 0.5, 1.5))
    expected = (a * b * c, 2 * (a * b + b * c + c * a), np.pi * (a + b + c), 1)
    np.testing.assert_allclose(solid, expected, atol=1e-9)


def test_end_of_a_grid_that_is_not_periodic_is_no_boundary():
    for cells in ((9, 9), (7, 7, 7)):
        full = totals(np.ones(cells, bool), periodic=False)
        np.testing.assert_allclose(full, [math.prod(cells)] + [0] * len(cells), atol=1e-9)
    noise = np.random.default_rng(0).random((400, 12, 12))
    cut, whole = (minkowski(noise, [0.6], (12.0, 12.0), (p, p)).mean((0, 1)) for p in (False, True))
    np.testing.assert_allclose(cut, whole, atol=0.01)
    # white noise: the share of faces, edges and vertices is 1 - q^m with q below and m around
    q = 0.6
    vertices, edges, faces = 1 - q**4, 2 * (1 - q**2), 1 - q
    np.testing.assert_allclose(whole[2], vertices - edges + faces, atol=0.01)
    np.testing.assert_allclose(whole[1], 4 * q * (1 - q), atol=0.01)


def test_thresholds_at_once_are_thresholds_one_by_one():
    fields = np.random.default_rng(1).poisson(3, (5, 8, 6, 7))
    levels = [0.0, 1.0, 2.5, 4.0, 40.0]
    lengths, periodic = (8.0, 6.0, 7.0), (True, False, True)
    found = minkowski(fields, levels, lengths, periodic)
    for i, level in enumerate(levels):
        alone = minkowski((fields >= level).astype(np.float32), [0.5], lengths, periodic)[:, 0]
        np.testing.assert_allclose(found[:, i], alone, atol=1e-12)
    assert (found[:, 0, 0] == 1).all()
    assert (found[:, -1] == 0).all()


@pytest.mark.parametrize(("cells", "n", "width"), [((128, 128), 40, 4.0), ((48,) * 3, 12, 3.0)])
def test_gaussian_fields(cells, n, width):
    # Tomita 1986; Schmalzing and Buchert 1997, arXiv:astro-ph/9702130, eq. 17
    d = len(cells)
    rng = np.random.default_rng(5)
    lengths = tuple(float(c) for c in cells)
    fields = smooth(rng.normal(size=(n, *cells)), lengths, width, (True,) * d)
    fields *= (4 * np.pi * width**2) ** (d / 4)  # to unit variance
    levels = np.array([-1.5, -0.5, 0.0, 0.7, 1.5])
    found = minkowski(fields, levels, lengths, (True,) * d)
    gauss, slope2 = np.exp(-(levels**2) / 2), 1 / (2 * width**2)  # <(df/dx)^2>
    area = np.array([0.5 * math.erfc(x / 2**0.5) for x in levels])
    per_axis = gauss * slope2**0.5 / np.pi  # crossings of a line
    sections = gauss * levels * slope2 / (2 * np.pi) ** 1.5  # Euler characteristic of a plane
    if d == 2:
        expected = [area, 2 * per_axis, sections]
    else:
        solid = gauss * (levels**2 - 1) * slope2**1.5 / (2 * np.pi) ** 2
        expected = [area, 3 * per_axis, 3 * np.pi * sections, solid]
    for j, values in enumerate(expected):
        error = found[..., j].std(0, ddof=1) / n**0.5
        scale = abs(values).max()
        off = abs(found[..., j].mean(0) - values)
        assert (off < 4 * error + 0.02 * scale).all(), j  # 2 % for cells that are not points
        assert error.max() < 0.2 * scale


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="do not rise"):
        minkowski(np.ones((1, 4, 4)), [1.0, 1.0], (1.0, 1.0), (True, True))
    with pytest.raises(InputError, match="2 or 3 axes"):
        minkowski(np.ones((1, 4, 4)), [1.0], (1.0,), (True, True))


def test_thresholds_closer_than_single_precision_tells():
    fields = np.full((1, 8, 8), 2.725, np.float32)
    fields[0, 2:4, 2:4] += 3e-6
    close = 2.725 + np.linspace(0.5e-6, 2.5e-6, 24)
    found = minkowski(fields, close, (8.0, 8.0), (True, True))
    np.testing.assert_allclose(found[0, :, 0], 4 / 64)
