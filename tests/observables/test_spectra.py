"""Power spectra against sums over all modes, plane waves, white noise and Poisson points."""

import itertools
import math

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.observables import spectra
from emulators.observables.spectra import (
    correlation_coefficients,
    correlation_matrix,
    covariance,
    cross_spectra,
    log_edges,
    off_diagonal_difference,
    power_spectra,
    shell_edges,
    wavenumber_unit,
)
from emulators.simulators import mesh

RNG = np.random.default_rng(3)
GRIDS = [((8, 6), (40.0, 40.0)), ((7, 5), (30.0, 20.0)), ((6, 4, 8), (30.0, 20.0, 25.0))]


def waves(n, *numbers):
    """A cosine of each vector of mode numbers on (n, n)."""
    x = np.indices((n, n)) / n
    return sum(np.cos(2 * np.pi * np.tensordot(m, x, 1)) for m in numbers)[None]


@pytest.mark.parametrize(("cells", "lengths"), GRIDS)
def test_shells_are_sums_over_all_complex_modes(cells, lengths):
    first, second = RNG.normal(size=(2, 3, *cells))
    edges = np.array([0.5, 1.7, 2.9]) * 2 * np.pi / max(lengths)
    a, b = (np.fft.fftn(f, axes=range(1, f.ndim)) / math.prod(cells) for f in (first, second))
    k, auto, cross, modes = np.zeros(2), np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(2)
    for index in itertools.product(*map(range, cells)):
        m = [i if i <= n / 2 else i - n for i, n in zip(index, cells)]
        norm = math.sqrt(sum((2 * math.pi * i / side) ** 2 for i, side in zip(m, lengths)))
        shell = np.searchsorted(edges, norm, side="right") - 1
        if shell in (0, 1):
            modes[shell] += 1
            k[shell] += norm
            one, two = (f[(slice(None), *index)] for f in (a, b))
            auto[:, shell] += abs(one) ** 2
            cross[:, shell] += (one * two.conj()).real
    volume = math.prod(lengths)
    found = power_spectra(first, lengths, edges)
    np.testing.assert_array_equal(found.modes, modes)
    np.testing.assert_allclose(found.k, k / modes)
    np.testing.assert_allclose(found.power, volume * auto / modes, rtol=1e-12)
    crossed = cross_spectra(first, second, lengths, edges)
    np.testing.assert_allclose(crossed.power, volume * cross / modes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("cells", "lengths"), GRIDS)
def test_parseval(cells, lengths):
    fields = RNG.normal(size=(4, *cells))
    found = power_spectra(fields, lengths, np.array([1e-3, 1e3]))
    variance = fields.var(axis=tuple(range(1, fields.ndim)))
    assert found.modes[0] == math.prod(cells) - 1
    total = found.power[:, 0] * found.modes[0] / math.prod(lengths)
    np.testing.assert_allclose(total, variance, rtol=1e-12)


@pytest.mark.parametrize("shape", [(200, 32, 32), (10, 16, 24, 16)])
@pytest.mark.parametrize("taper", [False, True])
def test_white_noise_is_flat(shape, taper):
    lengths = tuple(2.0 * n for n in shape[1:])
    fields = np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)
    found = power_spectra(fields, lengths, taper=taper)
    error = np.sqrt(2 / (found.modes * len(fields))) * (1.6 if taper else 1)  # modes get correlated
    expected = 9 * 2.0 ** len(lengths)
    assert (abs(found.power.mean(0) / expected - 1) < 4.5 * error).all()
    if not taper:
        spread = np.mean(((found.power.mean(0) / expected - 1) / error) ** 2)
        assert spread == pytest.approx(1, abs=5 * np.sqrt(2 / len(error)))


def test_plane_wave_lies_in_its_shell():
    found = power_spectra(2 * waves(32, (3, 4)), (100.0, 100.0))
    power = found.power[0] * found.modes
    assert found.k[4] == pytest.approx(5 * 2 * np.pi / 100, rel=0.05)
    assert power[4] == pytest.approx(100**2 * 2**2 / 2)  # V A^2 / 2
    assert np.delete(power, 4).max() < 1e-20


def test_counts_are_divided_by_the_mean_over_all_fields():
    counts = RNG.poisson(5, (3, 16, 16)).astype(np.float32)
    counts[2] = 2 * counts[1]
    power = power_spectra(counts, (50.0, 50.0), mean=5.0).power
    np.testing.assert_allclose(power, power_spectra(counts / 5 - 1, (50.0, 50.0)).power, rtol=1e-4)
    np.testing.assert_allclose(power[2], 4 * power[1], rtol=1e-5)
    integers = power_spectra(counts.astype(np.uint16), (50.0, 50.0), mean=5.0).power
    np.testing.assert_array_equal(integers, power)


def test_memory_is_bounded_without_a_difference(monkeypatch):
    fields = RNG.normal(size=(7, 16, 16)).astype(np.float32)
    whole = power_spectra(fields, (9.0, 9.0)).power
    monkeypatch.setattr(spectra, "CELLS", 2 * 256)
    np.testing.assert_array_equal(power_spectra(fields, (9.0, 9.0)).power, whole)


def test_cross_spectrum_with_itself_and_correlation():
    x, y = RNG.normal(size=(2, 40, 16, 16))
    lengths = (10.0, 20.0)
    auto = power_spectra(x, lengths).power
    np.testing.assert_allclose(cross_spectra(x, x, lengths).power, auto, rtol=1e-12)
    np.testing.assert_allclose(correlation_coefficients(x, -3 * x, lengths)[1], -1, rtol=1e-9)
    k, r = correlation_coefficients(x, x + y, lengths)
    assert r[:, -1].mean() == pytest.approx(0.5**0.5, abs=0.05)
    np.testing.assert_allclose(k, power_spectra(x, lengths).k)
    _, r = correlation_coefficients(x, y, lengths)
    assert abs(r.mean()) < 0.03
    assert (correlation_coefficients(x, 0 * y, lengths)[1] == 0).all()


@pytest.mark.parametrize("window", ["NGP", "CIC", "TSC"])
def test_poisson_points_have_shot_noise_alone(window):
    n, particles, order = 16, 4000, mesh.ORDERS[window]
    rng = np.random.default_rng(order)
    fields = np.stack([mesh.assign(rng.random((particles, 2)), (n, n), order) for _ in range(400)])
    shot = 80.0**2 / particles
    raw = power_spectra(fields, (80.0, 80.0), mean=particles / n**2)
    error = shot * np.sqrt(2 / (raw.modes * len(fields)))
    if window == "NGP":
        assert (abs(raw.power.mean(0) - shot) < 4 * error).all()
    options = {"mean": particles / n**2, "window": window, "shot_noise": shot}
    clean = power_spectra(fields, (80.0, 80.0), **options)
    damped = np.sinc(raw.k * 5 / (2 * np.pi)) ** (2 * order)  # cells of 5 Mpc/h
    assert (abs(clean.power.mean(0)) < 4 * error / damped).all()


@pytest.mark.parametrize("window", ["NGP", "CIC", "TSC"])
def test_window_is_divided_out(window):
    # Points as dense as 1 + cos(2 pi m x) / 2, evenly: no noise, and the aliases are empty.
    n, m, fine = 16, 5, np.linspace(0, 1, 200001)
    mass = fine + np.sin(2 * np.pi * m * fine) / (4 * np.pi * m)
    x = np.interp((np.arange(1 << 15) + 0.5) / (1 << 15), mass, fine)
    points = np.stack([np.repeat(x, n), np.tile((np.arange(n) + 0.5) / n, len(x))], 1)
    field = mesh.assign(points, (n, n), (mesh.ORDERS[window], 1))[None]
    options = {"mean": float(field.mean()), "window": window}
    edges = shell_edges((n, n), (20.0, 20.0))
    clean = power_spectra(field, (20.0, 20.0), edges, **options)
    assert clean.power[0, m - 1] * clean.modes[m - 1] == pytest.approx(20**2 / 8, rel=2e-3)
    raw = power_spectra(field, (20.0, 20.0), edges, mean=options["mean"])
    damped = np.sinc(m / n) ** (2 * mesh.ORDERS[window])
    assert raw.power[0, m - 1] == pytest.approx(damped * clean.power[0, m - 1], rel=1e-9)


def test_taper_stops_leakage_of_a_cut():
    x = np.arange(64) / 64
    cut = np.cos(2 * np.pi * 2.5 * x)[:, None] * np.ones(64)
    plain, tapered = (
        power_spectra(cut[None], (1.0, 1.0), taper=t).power[0] for t in (False, [True, False])
    )
    assert tapered[20:].max() < 1e-3 * plain[20:].max()
    assert tapered[1:4].sum() == pytest.approx(plain[1:4].sum(), rel=0.3)


def test_edges_leave_no_shell_empty_and_end_at_nyquist():
    for cells, lengths in [*GRIDS, ((128, 128), (200.0, 200.0)), ((64,) * 3, (100.0,) * 3)]:
        nyquist = min(np.pi * n / side for n, side in zip(cells, lengths))
        shells, logs = shell_edges(cells, lengths), log_edges(cells, lengths)
        assert logs[-1] == pytest.approx(nyquist)
        assert nyquist - 2 * np.pi / max(lengths) < shells[-1] <= nyquist
        for edges in (shells, logs):
            found = power_spectra(np.ones((1, *cells)), lengths, edges)
            assert (found.modes > 0).all()
            assert ((found.k >= edges[:-1]) & (found.k < edges[1:])).all()
    assert np.diff(np.log(logs))[-4:-1] == pytest.approx(np.log(10) / 10, rel=1e-9)
    assert len(shell_edges((128, 128), (1.0, 1.0), 3, 2 / 3)) == 15


def test_correlation_matrix_and_its_difference():
    rng = np.random.default_rng(0)
    mixing = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 5]])
    values = rng.normal(size=(20000, 3)) @ mixing.T
    np.testing.assert_allclose(covariance(values), mixing @ mixing.T, rtol=0.03, atol=0.1)
    expected = np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(correlation_matrix(values), expected, atol=0.02)
    constant = np.column_stack([values, np.ones(len(values))])
    np.testing.assert_array_equal(correlation_matrix(constant)[3], [0, 0, 0, 1])
    other = rng.normal(size=(20000, 3))
    assert off_diagonal_difference(values, other) == pytest.approx(0.6 / 3, abs=0.01)
    a, b = rng.normal(size=(300, 40)), rng.normal(size=(100, 40))
    noise = 0.8 * math.sqrt(1 / 300 + 1 / 100)
    assert off_diagonal_difference(a, b) == pytest.approx(noise, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "lengths", "options", "words"),
    [
        ((4, 8), (1.0,), {}, "2 or 3 axes"),
        ((4, 8, 8), (1.0, 1.0, 1.0), {"edges": np.array([1.0, 9.0])}, "2 or 3 axes"),
        ((4, 8, 8), (1.0, 1.0), {"mean": 0.0}, "positive"),
        ((4, 8, 8), (1.0, 1.0), {"edges": np.array([6.0, 7.0, 8.0])}, "between k = 7 and 8"),
    ],
)
def test_bad_input_is_refused(shape, lengths, options, words):
    with pytest.raises(InputError, match=words):
        power_spectra(np.ones(shape), lengths, **options)
    with pytest.raises(InputError, match="no whole shell"):
        shell_edges((1, 64), (1.0, 1.0))
    with pytest.raises(InputError, match="equal"):
        cross_spectra(np.ones((1, 4, 4)), np.ones((2, 4, 4)), (1.0, 1.0))


@pytest.mark.parametrize("taper", [False, True, (True, False)])
def test_a_constant_has_no_power_and_changes_none(taper):
    """The mean of a temperature map is 27 times its width; through a taper it would leak."""
    fields = 0.1 * RNG.normal(size=(5, 32, 32))
    power = power_spectra(fields, (5.0, 5.0), taper=taper).power
    warm = power_spectra(fields + 2.725, (5.0, 5.0), taper=taper).power
    np.testing.assert_allclose(warm, power, rtol=1e-9)
    flat = np.full((1, 32, 32), 2.725)
    assert power_spectra(flat, (5.0, 5.0), taper=taper).power.max() < 1e-25


def test_a_fault_of_the_largest_scales_shows_beside_a_mean():
    """Each wave has the power that it has alone: waves of 1 and 3 fundamentals, on a mean of 5."""
    large, small = waves(64, (1, 0)), waves(64, (3, 0))
    strong, weak = (
        power_spectra(5 + a * large + small, (1.0, 1.0), taper=True).power[0] for a in (1, 0.1)
    )
    assert weak[0] < 0.1 * strong[0]
    np.testing.assert_allclose(weak[3:], strong[3:], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("unit", [1e14, 1e-30])
def test_power_goes_with_the_square_of_any_unit(unit):
    fields = RNG.normal(size=(3, 16, 16)).astype(np.float32)
    scaled = (fields * np.float32(unit)).astype(np.float32)
    power, there = (power_spectra(f, (1.0, 1.0), taper=True).power for f in (fields, scaled))
    np.testing.assert_allclose(there / unit / unit, power, rtol=1e-5)


def test_wavenumbers_have_the_inverse_unit_of_the_lengths():
    units = {"Mpc/h": "h/Mpc", "kpc/h": "h/kpc", "Mpc": "1/Mpc", "deg": "1/deg", "": ""}
    assert {unit: wavenumber_unit(unit) for unit in units} == units
