"""The emulators that ship, as a user finds them right after installation."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u

import emulators
from emulators import pretrained
from emulators.data.dataset import Dataset
from emulators.observables.fields import score
from emulators.training.monitor import scaled_w1

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
SAMPLE = SAMPLES / "photon_showers.h5"


@pytest.mark.parametrize("name", pretrained.available())
def test_it_is_small_and_has_a_card(name):
    path = pretrained.path(name)
    assert path.stat().st_size < 10_000_000
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for word in ("licence", "reference", "How good", "not good for", "How it was made"):
        assert word in card
    assert pretrained.available()[name]


def test_photon_showers_ships():
    assert "photon-showers" in pretrained.available()


def test_photon_showers_at_one_energy():
    emulator = emulators.load("photon-showers")
    showers = emulator.generate(500, incident_energy=50 * u.GeV, seed=0)
    assert showers.values.shape == (500, 504)
    total = showers.values.sum(1) / 50_000
    assert total.max() <= 1 + 1e-5
    assert total.mean() == pytest.approx(0.9963, abs=0.001)
    assert 0.3 < np.mean(showers.values > 0) < 0.6
    same = emulator.generate(200, incident_energy=50, seed=0, start=100)
    np.testing.assert_allclose(same.values, showers.values[100:300], rtol=1e-4, atol=1e-3)


def test_photon_showers_are_like_the_sample_that_ships():
    dataset = Dataset(SAMPLE)
    reference = dataset.read(0, 2000)
    made = emulators.load("photon-showers").generate(2000, seed=1, **reference.conditions)
    found = scaled_w1(made, reference, dataset.spec)
    assert found["scaled_w1"] < 0.08  # 0.04 between two halves of 1,600 Geant4 showers
    assert found["scaled_w1_largest"] < 0.3


def test_cosmic_web_maps_are_like_the_sample_that_ships():
    dataset = Dataset(SAMPLES / "cosmic_web_maps.h5")
    reference = dataset.read(0, 384)
    made = emulators.load("cosmic-web-2d").generate(96, seed=1, omega_m=0.3, sigma_8=0.8)
    assert made.values.shape == (96, 1, 128, 128)
    assert (made.values == made.values.round()).all()
    found = score(made.values[:, 0], reference.values[:, 0], dataset.spec.grid)
    # eight boxes: noise alone gives 0.05 for the spectrum
    assert found["power_distance"] < 0.12
    assert found["one_point_distance"] < 0.08


def test_cosmic_web_maps_follow_their_conditions():
    emulator = emulators.load("cosmic-web-2d")
    variances = []
    for sigma_8 in (0.65, 0.95):
        maps = emulator.generate(16, seed=3, omega_m=0.3, sigma_8=sigma_8).values
        assert maps.mean() == pytest.approx(8, rel=0.1)
        variances.append(np.log1p(maps).var())
    assert variances[1] > 1.1 * variances[0]
    with pytest.raises(emulators.InputError, match="sigma_8"):
        emulator.generate(1, omega_m=0.3, sigma_8=1.4)


def test_a_large_map_of_the_cosmic_web_has_no_seam():
    large = emulators.load("cosmic-web-2d").on_grid((256, 192))
    counts = large.generate(1, seed=0, omega_m=0.3, sigma_8=0.8).values[0, 0]
    assert counts.shape == (256, 192)
    across = np.log1p(counts)
    ends = np.abs(across[0] - across[-1]).mean()  # they meet as neighbours do
    assert ends == pytest.approx(np.abs(np.diff(across, axis=0)).mean(), rel=0.15)


def test_boxes_of_the_cosmic_web():
    emulator = emulators.load("cosmic-web-3d")
    empty = []
    for sigma_8 in (0.65, 0.95):
        boxes = emulator.generate(4, seed=1, omega_m=0.3, sigma_8=sigma_8).values
        assert boxes.shape == (4, 1, 64, 64, 64)
        assert (boxes == boxes.round()).all()
        assert boxes.mean() == pytest.approx(1, rel=0.2)  # the universe's; a box is 100 Mpc/h
        empty.append(np.mean(boxes == 0))
    assert 0.5 < empty[0] < empty[1] - 0.03 < 0.7  # voids are emptier the more has fallen together


def test_a_folder_of_its_name_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "photon-showers").mkdir()
    monkeypatch.chdir(tmp_path)
    assert emulators.load("photon-showers").name == "photon-showers"
    with pytest.raises(emulators.InputError, match=r"holds no emulator\.pt"):
        emulators.load("./photon-showers")
