"""Bispectra against sums over all triangles, locked waves, Gaussian and quadratic fields."""

import itertools
import math

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.observables.bispectra import at_angles, bispectra, closing, equilateral, squeezed
from emulators.observables.spectra import power_spectra, shell_edges


def directly(fields, lengths, bounds, triangles):
    """Sum over all triples of modes: bispectra ``(n, t)`` and how many triples."""
    cells = fields.shape[1:]
    a = np.fft.fftn(fields, axes=range(1, fields.ndim)) / math.prod(cells)
    shells = [[] for _ in bounds]
    for m in itertools.product(*(range(-(n // 2), (n + 1) // 2) for n in cells)):
        k = math.sqrt(sum((2 * math.pi * i / side) ** 2 for i, side in zip(m, lengths)))
        for shell, (low, high) in zip(shells, bounds):
            if low <= k < high:
                shell.append(m)
    sums, numbers = np.zeros((len(fields), len(triangles))), np.zeros(len(triangles), int)
    for t, sides in enumerate(triangles):
        third = set(shells[sides[2]])
        for one, two in itertools.product(shells[sides[0]], shells[sides[1]]):
            three = tuple(-i - j for i, j in zip(one, two))
            if three in third:
                numbers[t] += 1
                modes = (a[(slice(None), *m)] for m in (one, two, three))
                sums[:, t] += math.prod(modes).real
    return math.prod(lengths) ** 2 * sums / np.maximum(numbers, 1), numbers


def require_sums(fields, lengths, shells, triangles):
    found = bispectra(fields, lengths, shells, triangles)
    bounds = shells if shells.ndim == 2 else list(itertools.pairwise(shells))
    expected, numbers = directly(fields, lengths, bounds, triangles)
    assert (numbers > 0).all()
    np.testing.assert_array_equal(found.triangles, numbers)
    np.testing.assert_allclose(found.bispectrum, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("cells", "lengths"), [((9, 9), (20.0, 20.0)), ((9, 8, 8), (9.0, 9.0, 8.0))]
)
def test_sums_over_all_triangles(cells, lengths):
    fields = np.random.default_rng(2).normal(size=(2, *cells))
    edges = shell_edges(cells, lengths, 1.0)[:3]
    require_sums(fields, lengths, edges, np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 1]]))


def test_shells_that_only_partly_hold_triangles():
    cells, lengths = (14, 14), (10.0, 10.0)
    fields = np.random.default_rng(3).normal(size=(1, *cells))
    edges = shell_edges(cells, lengths, 1.0, 2 / 3)
    triangles = closing(edges, cells, lengths)
    require_sums(fields, lengths, edges, triangles)
    middles = (edges[1:] + edges[:-1])[triangles]
    assert (middles[:, 2] > middles[:, :2].sum(1) + 0.1).any()  # open: the middles form none
    every = list(itertools.combinations_with_replacement(range(len(edges) - 1), 3))
    _, numbers = directly(fields, lengths, list(itertools.pairwise(edges)), every)
    assert [list(t) for t, number in zip(every, numbers) if number] == triangles.tolist()
    assert (numbers == 0).any()


@pytest.mark.parametrize("cells", [(12, 12), (10, 10, 10)])
def test_shells_that_overlap_each_other(cells):
    lengths = (7.0,) * len(cells)
    fundamental = 2 * np.pi / 7
    angles = np.array([0.0, 1.2, 1.5, 2.8, np.pi])
    shells, triangles = at_angles(fundamental, 1.5 * fundamental, angles, fundamental)
    third = np.hypot(1 + 1.5 * np.cos(angles), 1.5 * np.sin(angles))
    np.testing.assert_allclose(shells[2:, 1], (1 + third) * fundamental)
    assert (shells[2:-1, 1] > shells[3:, 0]).all()
    assert shells.min() > 0  # never the mean of the field
    fields = 5 + np.random.default_rng(4).normal(size=(1, *cells))
    require_sums(fields, lengths, shells, triangles)


@pytest.mark.parametrize("phase", [0.0, 1.0, np.pi])
def test_three_waves_with_locked_phases(phase):
    x = np.indices((24, 24)) / 24
    numbers = np.array([(3, 1), (-2, 2), (-1, -3)])  # they add up to nothing; 2.8 < |m| < 3.2
    field = sum(
        np.cos(2 * np.pi * np.tensordot(m, x, 1) + p) for m, p in zip(numbers, (0.4, phase, -0.4))
    )
    edges = np.array([2.5, 3.5]) * 2 * np.pi / 50
    found = bispectra(field[None], (50.0, 50.0), edges, equilateral(edges))
    # six orders, each with its mirror image, of amplitudes (1/2)^3
    total = found.bispectrum[0, 0] * found.triangles[0] / 50.0**4
    assert total == pytest.approx(12 / 8 * np.cos(phase), abs=1e-12)


def quadratic(b, n, cells, seed=4):
    """Gaussian fields below a third of Nyquist plus b times their square: local non-Gaussianity."""
    rng = np.random.default_rng(seed)
    modes = np.fft.rfftn(rng.normal(size=(n, *cells)), axes=range(1, len(cells) + 1))
    k2 = sum(
        np.meshgrid(
            *[np.fft.fftfreq(c) ** 2 for c in cells[:-1]],
            np.fft.rfftfreq(cells[-1]) ** 2,
            indexing="ij",
            sparse=True,
        )
    )
    g = np.fft.irfftn(modes * (k2 < (1 / 6) ** 2), cells, axes=range(1, len(cells) + 1))
    g /= g.std()
    return g + b * (g**2 - 1)


@pytest.mark.parametrize(("cells", "n"), [((32, 32), 600), ((18, 18, 18), 60)])
@pytest.mark.parametrize("b", [0.0, 0.1])
def test_gaussian_fields_have_none_and_quadratic_ones_tree_level(cells, n, b):
    lengths = tuple(float(c) for c in cells)
    fields = quadratic(b, n, cells)
    edges = shell_edges(cells, lengths, 1.0, 0.33)
    triangles = np.concatenate([equilateral(edges)[1:], squeezed(edges)[1:]])
    found = bispectra(fields, lengths, edges, triangles)
    power = power_spectra(quadratic(0.0, n, cells), lengths, edges).power.mean(0)
    p = power[triangles]
    cyclic = p[:, 0] * p[:, 1] + p[:, 1] * p[:, 2] + p[:, 2] * p[:, 0]
    expected = 2 * b * cyclic  # the next order is b^3
    error = found.bispectrum.std(0, ddof=1) / np.sqrt(n)
    off = (found.bispectrum.mean(0) - expected) / error
    assert (abs(off) < 4.5).all()
    if b:
        assert (expected > 4 * error).any()
        weight = (expected / error) ** 2
        ratio = np.average(found.bispectrum.mean(0) / expected, weights=weight)
        assert ratio == pytest.approx(1, abs=4 / np.sqrt(weight.sum()) + 0.03)
        assert np.average(found.reduced.mean(0), weights=weight) == pytest.approx(2 * b, rel=0.15)


def test_poisson_points_have_one_over_density_squared():
    counts = np.random.default_rng(0).poisson(2.0, (200, 32, 32)).astype(np.float32)
    edges = shell_edges((32, 32), (64.0, 64.0), 3, 2 / 3)
    found = bispectra(counts, (64.0, 64.0), edges, equilateral(edges), mean=2.0)
    error = found.bispectrum.std(0, ddof=1) / np.sqrt(200)
    assert (abs(found.bispectrum.mean(0) - (4 / 2.0) ** 2) < 4 * error).all()
    k = power_spectra(counts, (64.0, 64.0), edges, mean=2.0).k
    np.testing.assert_allclose(found.k, np.repeat(k[:, None], 3, 1))


def test_shells_of_configurations():
    edges = np.arange(5.0)
    np.testing.assert_array_equal(equilateral(edges), [[0] * 3, [1] * 3, [2] * 3, [3] * 3])
    np.testing.assert_array_equal(squeezed(edges, 1), [[1, 2, 2], [1, 3, 3]])


def test_triangles_that_the_grid_cannot_hold_are_refused():
    fields = np.ones((1, 16, 16))
    edges = shell_edges((16, 16), (16.0, 16.0))
    with pytest.raises(InputError, match="2/3 of Nyquist"):
        bispectra(fields, (16.0, 16.0), edges, equilateral(edges))
    with pytest.raises(InputError, match="no triangle"):
        bispectra(fields, (16.0, 16.0), edges, np.array([[0, 0, 3]]))


def test_a_constant_changes_no_triangle_of_a_tapered_field():
    fields = np.random.default_rng(4).normal(size=(4, 24, 24)) ** 2
    edges = shell_edges((24, 24), (3.0, 3.0), 3, 2 / 3)
    triangles = np.concatenate([equilateral(edges), squeezed(edges)])
    cold, warm = (
        bispectra(f, (3.0, 3.0), edges, triangles, taper=True).bispectrum
        for f in (fields, fields + 300)
    )
    np.testing.assert_allclose(warm, cold, rtol=1e-7, atol=1e-9 * np.abs(cold).max())
