"""Mass assignment, slabs and smoothing against closed forms and plain loops."""

import numpy as np
import pytest

from emulators.simulators import mesh
from emulators.simulators.mesh import assign, coarsen, project, smooth

RNG = np.random.default_rng(5)
POSITIONS = RNG.random((500, 3)).astype(np.float32)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("block", [1 << 22, 64])
def test_mass_is_conserved_whatever_the_block(order, block, monkeypatch):
    whole = assign(POSITIONS, (8, 6, 4), order)
    monkeypatch.setattr(mesh, "BLOCK", block)
    np.testing.assert_allclose(assign(POSITIONS, (8, 6, 4), order), whole, atol=1e-12)
    assert whole.sum() == pytest.approx(len(POSITIONS), rel=1e-12)
    assert whole.min() >= 0


def test_nearest_grid_point_is_a_histogram():
    edges = [np.linspace(0, 1, n + 1) for n in (8, 6, 4)]
    expected = np.histogramdd(POSITIONS.astype(float), edges)[0]
    np.testing.assert_array_equal(assign(POSITIONS, (8, 6, 4)), expected)


@pytest.mark.parametrize(("order", "line"), [(1, [1]), (2, [1]), (3, [1 / 8, 3 / 4, 1 / 8])])
def test_a_particle_on_the_centre_of_a_cell(order, line):
    field = assign(np.array([[2.5 / 8] * 3]), (8, 8, 8), order)
    cloud = np.einsum("i,j,k->ijk", line, line, line)
    expected = np.zeros((8, 8, 8))
    reach = len(line) // 2
    expected[(slice(2 - reach, 3 + reach),) * 3] = cloud
    np.testing.assert_allclose(field, expected, atol=1e-15)


def test_weights_between_cells_and_across_the_boundary():
    line = assign(np.array([[0.02]]), (10,), 2)  # 0.2 cells from the edge, 0.3 below a centre
    np.testing.assert_allclose(line[[0, 9]], [0.7, 0.3])
    line = assign(np.array([[0.02]]), (10,), 3)
    np.testing.assert_allclose(line[[9, 0, 1]], [0.8**2 / 2, 0.75 - 0.3**2, 0.2**2 / 2])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_window_is_a_sinc_to_the_power_of_the_order(order):
    # Averaged over all places within a cell, the transform of one particle is the window itself.
    n, places = 16, 400
    x = (np.arange(places) + 0.5) / places / n
    particles = np.stack([assign(x[i : i + 1, None], (n,), order) for i in range(places)])
    for mode in (1, 3, 5):
        waves = np.exp(-2j * np.pi * mode * (np.arange(n) + 0.5) / n)
        window = (particles @ waves * np.exp(2j * np.pi * mode * x)).mean()
        assert window == pytest.approx(np.sinc(mode / n) ** order, abs=1e-5)


def test_positions_on_the_edge_belong_to_the_first_cell():
    just_below = np.nextafter(np.float32(1), np.float32(0))
    field = assign(np.array([[1.0], [0.0], [just_below]], np.float32), (100,))
    assert field[0] == 2
    assert field[99] == 1


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("every", [1, 2])
def test_slabs_against_a_plain_loop(axis, every):
    cells, n = 4, 6
    expected = np.zeros((n, cells, cells))
    for particle in POSITIONS.astype(float):
        a, b = (int(x * cells) for x in np.delete(particle, axis))
        expected[int(particle[axis] * n), a, b] += 1
    maps = project(POSITIONS, axis, cells, n, every)
    np.testing.assert_array_equal(maps, expected[::every])


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("order", [2, 3])
def test_a_cloud_spreads_in_the_map_but_stays_in_its_slab(axis, order):
    maps = project(POSITIONS, axis, 8, 5, order=order)
    in_slab = np.bincount((POSITIONS[:, axis].astype(float) * 5).astype(int), minlength=5)
    np.testing.assert_allclose(maps.sum((1, 2)), in_slab)
    flat = assign(np.delete(POSITIONS, axis, 1), (8, 8), order)
    np.testing.assert_allclose(maps.sum(0), flat, atol=1e-12)


def test_smoothing_damps_a_wave_as_a_gaussian_does():
    n, mode, width = 64, 4, 1.5
    wave = np.cos(2 * np.pi * mode * np.arange(n) / n)
    maps = np.broadcast_to(wave, (3, n, n))
    damped = np.exp(-((2 * np.pi * mode / n * width) ** 2) / 2)
    np.testing.assert_allclose(smooth(maps, width, 2), damped * maps, atol=2e-4)
    separate = np.zeros((3, n, n))
    separate[1, 0, 0] = 1
    smoothed = smooth(separate, width, 2)
    assert not smoothed[[0, 2]].any()
    assert smoothed[1, -1, -1] == pytest.approx(smoothed[1, 1, 1])  # it comes round


@pytest.mark.parametrize(("fine", "coarse"), [(16, 8), (32, 8), (12, 4)])
def test_coarse_lattice_samples_the_same_waves(fine, coarse):
    def waves(n):
        x, y, z = np.meshgrid(*[(np.arange(n) + 0.5) / n] * 3, indexing="ij")
        turn = 2 * np.pi
        return np.stack([np.sin(turn * (x + z) + 0.3), 2 + np.cos(turn * (y - x))], -1)

    np.testing.assert_allclose(coarsen(waves(fine), coarse), waves(coarse), atol=1e-12)


def test_coarse_lattice_has_no_modes_that_it_cannot_carry():
    x = (np.arange(16) + 0.5) / 16
    for mode in (4, 5, 8):  # the Nyquist frequency of 8 points is 4
        wave = np.cos(2 * np.pi * mode * x + 0.4)[:, None, None] * np.ones((16, 16, 16))
        np.testing.assert_allclose(coarsen(wave, 8), 0, atol=1e-12)
    assert coarsen(np.zeros((16, 16, 16), np.float32), 8).dtype == np.float32
