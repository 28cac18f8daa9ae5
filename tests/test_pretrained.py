"""The emulators that ship, as a user finds them right after installation."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u

import emulators
from emulators import pretrained
from emulators.data.dataset import Dataset
from emulators.training.monitor import scaled_w1

SAMPLE = Path(__file__).parent.parent / "data" / "samples" / "photon_showers.h5"


@pytest.mark.parametrize("name", pretrained.available())
def test_it_is_small_and_has_a_card(name):
    path = pretrained.path(name)
    assert path.stat().st_size < 5_000_000
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


def test_a_folder_of_its_name_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "photon-showers").mkdir()
    monkeypatch.chdir(tmp_path)
    assert emulators.load("photon-showers").name == "photon-showers"
    with pytest.raises(emulators.InputError, match=r"holds no emulator\.pt"):
        emulators.load("./photon-showers")
