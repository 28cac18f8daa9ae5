"""One-point distribution, moments, extremes, bands and the score against closed forms and loops."""

import dataclasses
import itertools
import math
import time

import numpy as np
import pytest

from emulators.data.spec import Grid
from emulators.errors import InputError
from emulators.observables.fields import (
    band_sparsity,
    choose_bins,
    distance,
    extreme_counts,
    extremes,
    left_out,
    moments,
    observables,
    one_point,
    score,
    smooth,
    value_edges,
)

RNG = np.random.default_rng(8)
MAP = Grid(("counts",), ("x", "y"), (40.0, 40.0), "Mpc/h", (True, True))
CUT = dataclasses.replace(MAP, periodic=(False, False))


def webs(n, seed=0, width=1.5, mean=4.0, cells=(32, 32)):
    """Poisson counts of smooth lognormal densities."""
    rng = np.random.default_rng(seed)
    noise = smooth(rng.normal(size=(n, *cells)), cells, width, (True,) * len(cells))
    noise *= 1.2 / noise.std()
    return rng.poisson(mean * np.exp(noise - 0.72)).astype(np.float32)


@pytest.mark.parametrize("cells", [(40,), (7, 9), (4, 5, 6)])
def test_one_point_is_a_histogram_with_open_ends(cells):
    fields = RNG.normal(size=(3, *cells)).astype(np.float32)
    edges = np.array([-1.0, 0.0, 0.3, 2.0])
    inner = [-np.inf, 0, 0.3, np.inf]
    expected = [np.histogram(f, inner)[0] / math.prod(cells) for f in fields]
    np.testing.assert_allclose(one_point(fields, edges), expected)


def test_edges_of_values():
    counts = np.array([0, 3, 5000], np.float32)
    edges = value_edges(counts, "count")
    assert edges[0] == -0.5
    assert edges[-1] >= 5000.5
    assert (np.mod(edges, 1) == 0.5).all()
    steps = np.diff(np.log10(1 + edges[25:]))
    assert np.ptp(steps) < 0.1 * steps.mean()
    edges = value_edges(np.array([-1.0, 98.0]), "overdensity")
    np.testing.assert_allclose(np.diff(np.log10(2 + edges)), 2 / 40)
    np.testing.assert_allclose(value_edges(np.array([-3.0, 5.0]), ""), np.linspace(-3, 5, 41))
    np.testing.assert_allclose(value_edges(np.array([2.0]), ""), [1.0, 3.0])


def test_moments_of_an_exponential_and_of_a_constant():
    found = moments(RNG.exponential(2.0, (50, 100, 100)).astype(np.float32))
    np.testing.assert_allclose(found.mean(0), [2, 4, 2, 6], rtol=0.06)
    np.testing.assert_array_equal(moments(np.full((1, 4, 4), 7.0)), [[7, 0, 0, 0]])


def test_smoothing_damps_a_wave_and_keeps_the_mean():
    wave = 3 + np.cos(2 * np.pi * 3 * np.arange(64) / 64)[None, :, None] * np.ones(32)
    k, width = 2 * np.pi * 3 / 80.0, 4.0
    found = smooth(wave, (80.0, 10.0), width, (True, True))
    np.testing.assert_allclose(found - 3, (wave - 3) * np.exp(-((k * width) ** 2) / 2), atol=2e-3)
    edge = smooth(np.arange(32.0)[None, :, None] * np.ones(8), (32.0, 8.0), 1.0, (False, True))
    assert edge[0, 0].max() < 2  # not wrapped to the high end


@pytest.mark.parametrize("minima", [False, True])
@pytest.mark.parametrize(
    ("cells", "periodic"),
    [
        ((6, 7), (True, True)),
        ((6, 7), (False, True)),
        ((5, 4, 6), (True, False, True)),
        ((4, 5, 5), (False, False, False)),
    ],
)
def test_extremes_are_strict_over_all_neighbours(cells, periodic, minima):
    fields = RNG.poisson(20, (40, *cells)).astype(np.float32)  # with some equal neighbours
    sign = -1 if minima else 1
    expected = np.zeros(fields.shape, bool)
    for index in itertools.product(*map(range, cells)):
        if any(i in (0, n - 1) and not p for i, n, p in zip(index, cells, periodic)):
            continue
        around = [
            tuple((i + s) % n for i, s, n in zip(index, shift, cells))
            for shift in itertools.product((-1, 0, 1), repeat=len(cells))
            if any(shift)
        ]
        here = (slice(None), *index)
        expected[here] = np.all(
            [sign * fields[here] > sign * fields[(slice(None), *a)] for a in around], axis=0
        )
    assert expected.any()
    np.testing.assert_array_equal(extremes(fields, periodic, minima), expected)


def test_white_noise_has_one_maximum_in_nine_cells():
    fields = RNG.normal(size=(50, 60, 60)).astype(np.float32)
    edges = np.array([-9.0, 0.0, 1.0, 2.0, 9.0])
    counts = extreme_counts(fields, edges, (True, True))
    # heights of the highest of nine: the distribution function to the power nine
    below = np.array([0.5 * (1 + math.erf(e / 2**0.5)) for e in edges]) ** 9
    expected = 400 * np.diff(below)
    assert counts.shape == (50, 4)
    assert (abs(counts.mean(0) - expected) < 4.5 * counts.std(0, ddof=1) / 50**0.5).all()
    pits = extreme_counts(fields, -edges[::-1], (True, True), minima=True)
    np.testing.assert_array_equal(pits, extreme_counts(-fields, edges, (True, True))[:, ::-1])


def test_bands_of_gaussian_and_of_sparse_fields():
    gaussian = smooth(RNG.normal(size=(30, 64, 64)), (64.0, 64.0), 1.0, (True, True))
    found = band_sparsity(gaussian, (64.0, 64.0), (1.0, 2.0, 4.0))
    assert found.shape == (30, 3)
    np.testing.assert_allclose(found.mean(0), (2 / np.pi) ** 0.5, atol=0.01)
    points = (RNG.random((30, 64, 64)) < 1e-3).astype(np.float32)
    found = band_sparsity(points, (64.0, 64.0), (1.0, 2.0, 4.0)).mean(0)
    assert found[0] < 0.4
    assert (np.diff(found) > 0).all()
    # scale is in Mpc/h: a wave of wavenumber k passes best at k s = (2 ln 4 / 3)^0.5 = 0.961
    assert (band_sparsity(np.zeros((1, 8, 8)), (1.0, 1.0), (1.0,)) == 0).all()


@pytest.mark.parametrize("grid", [MAP, CUT])
def test_observables_are_rows_of_fields(grid):
    fields = webs(60)
    bins = choose_bins(fields, grid)
    found = observables(fields, grid, bins)
    assert list(found) == ["power", "one_point", "peaks", "voids", "moments"]
    assert all(len(v) == 60 and np.isfinite(v).all() for v in found.values())
    np.testing.assert_allclose(found["one_point"].sum(1), 1)
    np.testing.assert_array_equal(
        found["peaks"].sum(1), extremes(fields, grid.periodic).sum((1, 2))
    )
    inner = found["voids"].sum(0)[1:-3]
    np.testing.assert_allclose(inner, inner.mean(), rtol=0.25)  # equally filled on themselves
    one = observables(fields[7:8], grid, bins)
    for name, rows in found.items():
        np.testing.assert_allclose(rows[7], one[name][0], rtol=1e-5, atol=1e-7)
    own = observables(fields, grid)
    np.testing.assert_array_equal(own["power"], found["power"])


def test_units_that_are_no_counts():
    fields = webs(20) / 4 - 1
    bins = choose_bins(fields, MAP, "overdensity")
    assert bins.mean is None
    counted = observables((fields + 1) * 4, MAP, unit="count")
    found = observables(fields, MAP, bins)
    scale = (4 / ((fields + 1) * 4).mean()) ** 2
    np.testing.assert_allclose(counted["power"], found["power"] * scale, rtol=1e-3)


def test_score_is_small_for_the_same_law_and_larger_for_others():
    reference, same = webs(200, 1), webs(200, 2)
    floor = score(same, reference, MAP)
    names = ["field_distance", "power_distance", "one_point_distance", "peak_distance"]
    assert list(floor) == names
    assert floor["field_distance"] == pytest.approx(np.mean([floor[n] for n in names[1:]]))
    assert floor["field_distance"] < 0.1
    for others in (webs(200, 2, width=2.0), webs(200, 2, mean=4.6), same[:, ::-1].round(-1)):
        found = score(others, reference, MAP)
        assert found["field_distance"] > 2 * floor["field_distance"]
    assert score(reference, reference, MAP) == dict.fromkeys(names, 0.0)


def test_power_distance_is_the_logarithm_of_the_ratio():
    reference = webs(20)
    contrast = reference.mean() + 1.1 * (reference - reference.mean())
    found = score(contrast, reference, MAP)
    assert found["power_distance"] == pytest.approx(2 * math.log(1.1), rel=1e-4)
    made = {"power": [[1, 2]], "one_point": [[0.5, 5e-5, 0.3]], "peaks": [[0, 4]]}
    made["moments"] = np.array([[5.0, 1.0, 0.0, 0.0]])
    model = {"power": [[2, 2]], "one_point": [[0.6, 9e-5, 0.3]], "peaks": [[3, 5]]}
    found = distance(model, made)
    assert found["power_distance"] == pytest.approx(math.log(2) / 2)
    assert found["one_point_distance"] == pytest.approx(0.1)
    assert found["peak_distance"] == pytest.approx(0.25)


def test_score_survives_what_training_throws_at_it():
    reference, broken = webs(20), webs(20)
    for value in (np.nan, np.inf):
        broken[3, 4, 5] = value
        assert set(score(broken, reference, MAP).values()) == {np.inf}
    for value in (1e11, -1e30, 3e38):
        broken[3, 4, 5] = value
        found = score(broken, reference, MAP)
        assert np.isfinite(list(found.values())).all()
        assert found["power_distance"] == 10
    flat = score(np.full_like(reference, 4.0), reference, MAP)
    assert flat["power_distance"] == 10
    assert np.isfinite(list(flat.values())).all()
    assert np.isfinite(list(score(-reference, reference, MAP).values())).all()


def test_score_is_cheap():
    cells, grid = (128, 128), dataclasses.replace(MAP, lengths=(200.0, 200.0))
    fields = RNG.poisson(8, (128, *cells)).astype(np.float32)
    began = time.process_time()
    score(fields, fields, grid)
    assert time.process_time() - began < 5  # about 0.4 s


@pytest.mark.parametrize("shape", [(4, 1, 16, 16), (0, 16, 16), (16, 16)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="expected"):
        choose_bins(np.ones(shape, np.float32), MAP)
    with pytest.raises(InputError, match="expected"):
        observables(np.ones(shape, np.float32), MAP)


def test_empty_reference_is_refused():
    with pytest.raises(InputError, match="nothing to compare"):
        choose_bins(np.zeros((3, 16, 16), np.float32), MAP)


def test_edges_of_values_over_decades():
    masses = (10 ** RNG.normal(10.7, 0.7, 40_000)).astype(np.float32)
    edges = value_edges(masses, "Msun/h")
    np.testing.assert_allclose(np.diff(np.log(edges)), np.log(edges[1] / edges[0]))
    assert edges[-1] == masses.max()
    assert one_point(masses[None, None], edges).max() < 0.15
    some = masses * (RNG.random(masses.shape) < 0.5)  # half of the cells hold nothing
    shares = one_point(some[None, None], value_edges(some, "Msun/h"))[0]
    assert shares[0] == pytest.approx(0.5, abs=0.01)
    assert shares[1:].max() < 0.1
    warm = RNG.normal(2.725, 0.1, 1000)
    np.testing.assert_allclose(np.diff(value_edges(warm, "K")), np.ptp(warm) / 40)


@pytest.mark.parametrize("unit", [1e10, 1e-26])
def test_the_score_does_not_depend_on_the_unit(unit):
    """Densities of 1e-26 or 1e14 are as far apart as the same numbers near 1."""
    reference, others = (
        # no value lies on an edge, where rounding would decide
        1 + webs(40, seed, width=w) + np.random.default_rng(seed).random((40, 32, 32))
        for seed, w in ((1, 1.5), (2, 2.0))
    )
    reference, others = reference.astype(np.float32), others.astype(np.float32)
    near = score(others, reference, CUT, "Msun/h")
    scaled = [(f.astype(float) * unit).astype(np.float32) for f in (others, reference)]
    assert score(*scaled, CUT, "Msun/h") == pytest.approx(near, rel=1e-3)


def test_what_is_rounding_is_not_compared():
    """Of equal maps nothing is left; of smooth ones the shells without waves are left out."""
    flat = np.full((6, 16, 16), 2.725, np.float32)
    flat[::2] = np.nextafter(np.float32(2.725), np.float32(3))
    assert math.isnan(score(flat, flat, MAP, "K")["field_distance"])
    parts = left_out(flat, MAP, "K")
    assert [p.split(" of ", 1)[1].split(" ", 1)[1] for p in parts] == [
        "shells of P(k)",
        "bins of the one-point distribution",
        "bins of peaks",
    ]
    x, y = np.indices((32, 32)) * 2 * np.pi / 32
    phase = RNG.uniform(0, 2 * np.pi, (2, 8, 1, 1))
    smooth_maps = (np.cos(x + phase[0]) + np.cos(2 * y + phase[1])).astype(np.float32)
    assert left_out(smooth_maps, MAP, "K") == ["13 of 15 shells of P(k)"]
    assert score(2 * smooth_maps, smooth_maps, MAP, "K")["power_distance"] == pytest.approx(
        math.log(4), rel=1e-4
    )
