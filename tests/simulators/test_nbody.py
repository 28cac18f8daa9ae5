"""The N-body simulator: physics against theory, pairs by their common modes, order of samples."""

import logging
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from emulators.config import as_mapping, build
from emulators.errors import InputError
from emulators.observables.spectra import correlation_coefficients, power_spectra
from emulators.simulators import base, nbody, nbody_run
from emulators.simulators.base import build_simulator
from emulators.simulators.cosmology import (
    Cosmologies,
    Cosmology,
    growth_factor,
    halofit_power,
    linear_power,
)
from emulators.simulators.nbody import Maps, NBody, Pair
from emulators.simulators.nbody_run import coarse_start, read_positions, snapshots

SMALL = NBody(particles=16, cells=16, linear_power="colossus")  # a second each
WEB = NBody(particles=64, cells=64, quantity="overdensity", assignment="CIC")  # 3.1 Mpc/h


@pytest.fixture(scope="module")
def codes():
    """PySCo is compiled when this is there: minutes on the first time, then seconds.

    Its table of the expansion stays empty: writing what nobody reads is most of a small run.
    """
    threads = torch.get_num_threads()
    for code in ("pysco", "camb", "colossus"):
        pytest.importorskip(code)
    written = np.savetxt

    def briefly(file, values, *rest, **options):
        table = "evolution_table" in str(file)
        written(file, values[:1] if table else values, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "savetxt", briefly)
        nbody_run.prepare(SMALL._run)
        yield
    torch.set_num_threads(threads)  # PySCo's OpenMP is torch's, and takes all processors


def fields(settings, seed):
    """Return fields and inputs of one universe, ``(redshifts, maps, *cells)``, double precision."""
    return tuple(
        np.array(f, float).reshape(len(f), -1, *f[0].shape[2:]) if f else None
        for f in settings.fields(Cosmology(), seed)
    )


def spectrum(box, length):
    """Return k (h/Mpc), P and the number of modes of one box."""
    found = power_spectra(box[None], (length,) * 3)
    return found.k, found.power[0], found.modes


def correlation(first, second, length):
    """Return k (h/Mpc) and the correlation of two boxes, shell by shell."""
    k, r = correlation_coefficients(first[None], second[None], (length,) * 3)
    return k, r[0]


@pytest.fixture(scope="module")
def web(codes):
    """One universe of 64^3 particles in 200 Mpc/h, overdensity today."""
    return fields(WEB, 7)[0][0, 0]


# Physics


@pytest.fixture(scope="module")
def large(codes):
    """Mean of k (h/Mpc), P at redshifts 0, 1, 3 of three boxes of 1000 Mpc/h, modes in a box.

    Up to an eighth of the Nyquist frequency of the lattice, where the mesh resolves forces.
    """
    settings = replace(WEB, box=1000.0, redshifts=(0.0, 1.0, 3.0), assignment="TSC")
    power = []
    for seed in range(1, 4):
        boxes = fields(settings, seed)[0][:, 0]
        spectra = [spectrum(box, settings.box) for box in boxes]
        power.append([p[:4] for _, p, _ in spectra])
    k, _, modes = spectra[0]
    waves = k[:4] * settings.box / settings.cells / (2 * np.pi)
    window = np.sinc(waves / np.sqrt(3)) ** (3 * 3)  # TSC, for waves along the diagonal
    return k[:4], np.array(power) / window**2, modes[:4]


def test_power_of_one_small_box_is_linear_theory_and_grows(codes):
    settings = NBody(
        particles=32, cells=32, box=1000.0, redshifts=(0.0, 3.0), linear_power="colossus",
        quantity="overdensity", assignment="TSC",
    )  # fmt: skip
    spectra = [spectrum(box, settings.box) for box in fields(settings, 3)[0][:, 0]]
    k, modes = spectra[0][0][:3], spectra[0][2][:3]
    today, early = (power[:3] for _, power, _ in spectra)
    expected = growth_factor(Cosmology(), [3.0])[0] ** 2  # the same modes: no cosmic variance
    np.testing.assert_allclose(early / today, expected, rtol=0.02)
    window = np.sinc(k * settings.box / settings.cells / (2 * np.pi * np.sqrt(3))) ** (3 * 3)
    linear = np.interp(k, *linear_power(Cosmology(), "colossus"))
    mean = (today / window**2 / linear * modes).sum() / modes.sum()
    assert abs(mean - 1) < 3 * np.sqrt(2 / modes.sum())  # Gaussian cosmic variance


@pytest.mark.long
def test_power_on_large_scales_is_linear_theory_within_cosmic_variance(large):
    k, power, modes = large
    ratio = power[:, 0] / np.interp(k, *linear_power(Cosmology()))
    mean = (ratio.mean(0) * modes).sum() / modes.sum()
    # Gaussian modes: the variance of a mean of |delta|^2 over n modes, half of them independent,
    # is 2/n of its square; 380 modes in each of 3 boxes make 4.2 %.
    cosmic = np.sqrt(2 / (len(power) * modes.sum()))
    assert cosmic == pytest.approx(0.042, abs=0.001)
    assert abs(mean - 1) < 3 * cosmic


@pytest.mark.long
def test_power_grows_as_the_growth_factor_squared(large):
    _, power, _ = large
    growth = power.mean(0)[1:] / power.mean(0)[0]  # the same modes: no cosmic variance
    expected = growth_factor(Cosmology(), [1.0, 3.0]) ** 2
    np.testing.assert_allclose(growth, expected[:, None] * np.ones(4), rtol=0.01)


@pytest.mark.long
def test_power_is_near_halofit_where_resolved(codes):
    settings = NBody(quantity="overdensity")  # the default: 128^3, 200 Mpc/h
    box = fields(settings, 5000)[0][0, 0]
    k, power, modes = spectrum(box, settings.box)
    inside = (k > 0.1) & (k < 0.35)
    shot = (settings.box / settings.particles) ** 3
    ratio = (power - shot) / np.interp(k, *halofit_power(Cosmology()))
    mean = (ratio * modes)[inside].sum() / modes[inside].sum()
    # 0.95 in the mean of many boxes; in one of them +- 0.02 by Gaussian cosmic variance
    assert 0.89 < mean < 1.01


@pytest.fixture(scope="module")
def snapshot(codes):
    """The file of one small run, today."""
    universe = Cosmology(), linear_power(Cosmology(), "colossus"), 3
    with snapshots(SMALL._run, *universe, (0.0,)) as (_, file):
        yield file


def test_quantities_of_one_snapshot(snapshot):
    counts = SMALL._measure(snapshot)
    assert counts.sum() == 16**3
    assert (counts == np.rint(counts)).all()
    delta = replace(SMALL, quantity="overdensity")._measure(snapshot)
    np.testing.assert_allclose(delta, counts / counts.mean() - 1, atol=1e-6)
    smoothed = replace(SMALL, quantity="overdensity", smoothing=2.0)._measure(snapshot)
    assert smoothed.std() < 0.5 * delta.std()
    assert smoothed.mean() == pytest.approx(0, abs=1e-6)


@pytest.mark.long
def test_the_web_is_clustered(web):
    assert web.min() >= -1
    assert 0.7 < web.std() < 3  # as many particles at random make 0.54 by CIC


def test_maps_of_one_snapshot(snapshot):
    box = SMALL._measure(snapshot)[0, 0]
    expected = []
    for axis in (1, 2):
        slices = np.moveaxis(box, axis, 0).reshape(4, 4, 16, 16).sum(1)
        expected += [slices[0], slices[2]]
    cut = replace(SMALL, maps=Maps(slabs=4, every=2, axes=("y", "z")))
    made = cut._measure(snapshot)[:, 0]
    np.testing.assert_array_equal(made, expected)
    delta = replace(cut, quantity="overdensity")._measure(snapshot)[:, 0]
    np.testing.assert_allclose(delta, made / (16**3 / 4 / 16**2) - 1, atol=1e-6)


# Same modes


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "least"),
    [
        ({"mesh": 128}, 0.995),  # fft_7pt on the finer mesh
        ({"mesh": 128, "solver": "multigrid"}, 0.995),
        ({"solver": "fft_7pt"}, 0.99),  # softer, not otherwise placed
        ({"linear_power": "colossus"}, 0.999),
    ],
)
def test_the_same_seed_gives_the_same_web_whatever_the_settings(web, change, least):
    other = fields(replace(WEB, **change), 7)[0][0, 0]
    _, r = correlation(web, other, WEB.box)
    assert r[:10].min() > least  # k < 0.33 h/Mpc
    assert not np.array_equal(web, other)


@pytest.mark.long
def test_another_seed_gives_another_web(web):
    other = fields(WEB, 8)[0][0, 0]
    _, r = correlation(web, other, WEB.box)
    modes = spectrum(web, WEB.box)[2]
    assert (abs(r) < 5 * np.sqrt(2 / modes)).all()


@pytest.mark.long
def test_pairs_of_perturbation_theory(web):
    (full,), (lpt,) = fields(replace(WEB, pair=Pair("2lpt")), 7)
    np.testing.assert_array_equal(full[0], web)  # a pair changes nothing in the sample
    _, r = correlation(web, lpt[0], WEB.box)
    assert r[:4].min() > 0.998
    assert r[15] < 0.95  # where shells have crossed
    assert lpt.std() < web.std()


@pytest.mark.long
def test_pairs_of_redshifts(web):
    settings = replace(WEB, pair=Pair("redshift", redshift=1.0))
    (full,), (early,) = fields(settings, 7)
    # To stop at another redshift shifts the steps a little: as close as the steps are fine.
    assert correlation(web, full[0], WEB.box)[1].min() > 0.99
    _, r = correlation(full[0], early[0], WEB.box)
    assert r[:3].min() > 0.99
    (apart,), _ = fields(replace(WEB, redshifts=(1.0,)), 7)
    np.testing.assert_array_equal(apart[0], early[0])


@pytest.mark.long
def test_pairs_of_resolutions(web):
    settings = replace(WEB, pair=Pair("resolution", particles=32))
    (full,), (coarse,) = fields(settings, 7)
    np.testing.assert_array_equal(full[0], web)
    assert coarse[0].shape == (32, 32, 32)
    averaged = full[0].reshape(32, 2, 32, 2, 32, 2).mean((1, 3, 5))
    _, r = correlation(averaged, coarse[0], WEB.box)
    assert r[:4].min() > 0.998
    assert r[:8].min() > 0.98  # to half the Nyquist frequency of the coarse lattice
    (alone,), _ = fields(replace(WEB, particles=32, cells=32), 7)
    assert abs(correlation(averaged, alone[0], WEB.box)[1][:8]).max() < 0.7  # not automatic


def test_coarse_start_has_the_modes_of_the_fine_one(codes):
    universe = Cosmology()
    run = replace(WEB._run, particles=32, mesh=32)

    def waves(positions, n):
        """Return the modes of the displacement, with their phases as from the corner of the box."""
        moved = (positions - nbody_run._lattice(n).reshape(-1, 3) + 0.5) % 1 - 0.5
        modes = np.fft.fftn(moved.astype(float).reshape(n, n, n, 3), axes=(0, 1, 2)) / n**3
        k = np.fft.fftfreq(n, 1 / n)
        return modes, np.exp(-1j * np.pi * k / n)

    with snapshots(run, universe, linear_power(universe, "colossus"), 5) as (file,):
        fine, phase = waves(read_positions(file), 32)
        for n in (16, 24):
            coarse, other = waves(coarse_start(file, 32, n)[0], n)
            for a, b, c in ((1, 0, 0), (0, 2, -1), (-3, 5, 6), (7, -7, 7)):
                expected = fine[a, b, c] * phase[a] * phase[b] * phase[c]
                found = coarse[a, b, c] * other[a] * other[b] * other[c]
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-8)


# Samples


def test_simulation_i_depends_on_seed_and_i_alone(codes, monkeypatch):
    monkeypatch.setattr(nbody, "prepare", lambda run: None)  # done by `codes`
    settings = replace(SMALL, cosmology=Cosmologies(sigma_8=(0.7, 0.9)))
    simulate = settings.start(1)
    first, second, again = simulate(0), simulate(1), settings.simulate(1, 1)
    assert first.values.tobytes() != second.values.tobytes()
    assert first.beside["initial_seed"] != second.beside["initial_seed"]
    assert again.values.tobytes() == second.values.tobytes()  # bit for bit, without history
    assert again.conditions["sigma_8"] == second.conditions["sigma_8"]
    assert 0.7 < first.conditions["sigma_8"][0] < 0.9


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(SMALL, marks=pytest.mark.long),
        pytest.param(
            replace(SMALL, redshifts=(0.5, 2.0), pair=Pair("2lpt")), marks=pytest.mark.long
        ),
        replace(
            SMALL,
            maps=Maps(slabs=5, every=2, axes=("z", "x")),
            cosmology=Cosmologies(h=(0.6, 0.8)),
            redshifts=(1.0, 0.0),
            pair=Pair("redshift", redshift=3.0),
        ),
    ],
)
def test_samples_are_what_the_spec_says(settings, codes):
    made, spec = settings.simulate(3, 2), settings.spec()
    n = settings.samples()
    assert made.values.shape == (n, *spec.shape)
    assert made.values.dtype == np.float32
    assert list(made.conditions) == [c.name for c in spec.conditions]
    for condition in spec.conditions:
        values = np.asarray(made.conditions[condition.name])
        assert values.shape == (n,)
        assert condition.minimum <= values.min() <= values.max() <= condition.maximum
    assert made.beside.keys() == settings.beside().keys()
    for name, column in settings.beside().items():
        assert np.shape(made.beside[name]) == (n, *column.shape)
    assert build_simulator("nbody", as_mapping(settings)) == settings


@pytest.mark.long
def test_order_of_redshifts_and_maps(codes):
    maps = Maps(slabs=4, every=2, axes=("y", "z"))
    made = replace(SMALL, redshifts=(0.0, 1.0), maps=maps).simulate(1, 0)
    assert made.beside["axis"].tolist() == [1, 1, 2, 2] * 2
    assert made.beside["slab"].tolist() == [0, 2] * 4
    assert made.conditions["redshift"].tolist() == [0.0] * 4 + [1.0] * 4
    variance = made.values.reshape(2, -1).var(1)
    assert variance[0] > variance[1]  # more clustered today


def test_spec_of_boxes_and_of_maps():
    spec = NBody(cosmology=Cosmologies(n_s=(0.9, 1.0)), redshifts=(0.0, 2.0)).spec()
    ranges = {c.name: (c.minimum, c.maximum) for c in spec.conditions}
    assert ranges == {
        "omega_m": (0.3, 0.3), "sigma_8": (0.8, 0.8), "n_s": (0.9, 1.0), "redshift": (0.0, 2.0),
    }  # fmt: skip
    assert spec.shape == (1, 128, 128, 128)
    assert spec.grid.lengths == (200.0,) * 3
    # as Rodriguez et al. 2018: 1000 slabs an axis, 500 of them kept, three axes
    cut = NBody(cells=256, maps=Maps(slabs=1000, every=2), smoothing=1.0)
    assert cut.samples() == 1500
    assert cut.spec().shape == (1, 256, 256)
    assert cut.spec().grid.channels == ("counts",)


# Running PySCo


@pytest.mark.long
def test_a_last_redshift_that_rounding_misses(codes):
    # t(a) and back leaves 1.08 a hair early: PySCo raises after it has written its snapshot.
    field = fields(replace(SMALL, redshifts=(1.08,)), 5)[0]
    assert field.sum() == 16**3


@pytest.mark.long
def test_nothing_is_left_behind(codes, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root, level = logging.getLogger().handlers[:], logging.getLogger().level
    universe = Cosmology(), linear_power(Cosmology(), "colossus"), 1
    with snapshots(SMALL._run, *universe, (0.0,)) as files:
        assert all(tmp_path in file.parents for file in files)
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotImplementedError, match="solver"), snapshots(
        replace(SMALL._run, solver="none"), *universe, (0.0,)
    ):  # fmt: skip
        raise AssertionError
    assert not list(tmp_path.iterdir())
    assert (logging.getLogger().handlers, logging.getLogger().level) == (root, level)
    assert capfd.readouterr() == ("", "")


def test_solver_follows_the_mesh():
    assert NBody()._run.solver == "fft"
    assert NBody(mesh=256)._run.solver == "fft_7pt"
    assert NBody(mesh=256, solver="multigrid")._run.solver == "multigrid"


def test_attributes_name_codes_and_versions(codes):
    said = replace(SMALL, maps=Maps(slabs=10)).attributes()
    assert said["generator"].startswith("PySCo 1.")
    assert "Eisenstein and Hu" in said["linear_power"]
    assert "16^3 particles" in said["run"]
    assert said["slab_thickness"] == "20 Mpc/h"
    assert "CAMB" in NBody().attributes()["linear_power"]


def test_absent_code_is_named(monkeypatch):
    def absent(name, *rest):
        if name == "pysco":
            raise ImportError("No module named 'pysco'")

    monkeypatch.setattr(base.importlib, "import_module", absent)
    monkeypatch.setattr(nbody.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pysco.*\[nbody\]"):
        NBody().attributes()
    with pytest.raises(InputError, match=r"pysco.*\[nbody\]"):
        NBody().start(1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"particles": 100}, "particles = 100 a side"),
        ({"mesh": 96}, "mesh = 96 a side"),
        ({"mesh": 64}, "coarser than"),
        ({"box": 0.0}, "box = 0 Mpc/h"),
        ({"box": 5.0}, "or more between particles"),
        ({"redshifts": []}, "give one or more"),
        ({"redshifts": [0.0, 0.0]}, "each once"),
        ({"redshifts": [-0.1]}, "must lie from 0"),
        ({"redshifts": [60.0]}, "below start_redshift"),
        ({"start_redshift": 300.0}, "up to 199"),
        ({"cells": 1}, "must be 2 or more"),
        ({"smoothing": -1.0}, "smoothing = -1"),
        ({"assignment": "CIC"}, "counts are whole"),
        ({"maps": {"every": 2}}, "every = 2 of 1 slabs"),
        ({"maps": {"slabs": 8, "axes": []}}, "one or more"),
        ({"maps": {"slabs": 8, "axes": ["x", "x"]}}, "each once"),
        ({"pair": {"kind": "redshift"}}, "needs redshift"),
        ({"pair": {"kind": "2lpt", "redshift": 1.0}}, "has no redshift"),
        ({"pair": {"kind": "resolution"}}, "needs particles"),
        ({"pair": {"kind": "redshift", "redshift": 0.0}}, "of the samples themselves"),
        ({"pair": {"kind": "redshift", "redshift": 70.0}}, "below start_redshift"),
        ({"pair": {"kind": "resolution", "particles": 128}}, "power of two, 16 to 64"),
        ({"pair": {"kind": "resolution", "particles": 32}, "cells": 30}, "no multiple of 4"),
        ({"cosmology": {"omega": 0.3}}, "did you mean 'omega_m'"),
        ({"design": "sobol"}, "unknown key"),
    ],
)
def test_settings_that_make_no_sense_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        build(NBody, table, "simulator")
