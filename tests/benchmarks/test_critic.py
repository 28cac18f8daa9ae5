"""The network that learns features from the reference alone."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from emulators.benchmarks import critic
from emulators.benchmarks.critic import FEATURES, train_critic
from emulators.data.dataset import Dataset
from emulators.data.geometries import calogan

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"


@pytest.fixture(scope="module")
def trained():
    return train_critic(Dataset(SAMPLE))


def test_the_content_of_the_file_alone_decides(trained, write_showers, tmp_path):
    path = write_showers(tmp_path / "a.h5", 400)
    threads = torch.get_num_threads()
    first = train_critic(Dataset(path))
    assert torch.get_num_threads() == threads
    np.random.default_rng(0).standard_normal(7)
    torch.manual_seed(8)
    copy = shutil.copy(path, tmp_path / "b.h5")
    second = train_critic(Dataset(copy))
    assert first.sha256 == second.sha256
    for one, other in zip(first.layers.parameters(), second.layers.parameters()):
        assert torch.equal(one, other)
    with h5py.File(copy, "a") as file:
        file["layer_1"][:100] *= 1.5
    assert train_critic(Dataset(copy)).sha256 != first.sha256 != trained.sha256


def test_features_are_white_and_bounded(trained):
    values = Dataset(SAMPLE).take(np.arange(1000)).values
    found = trained.features(values)
    assert found.shape == (1000, FEATURES)
    assert np.abs(found).max() == 1
    assert trained.rows == 1000
    assert 0.3 < trained.explained < 1
    # cut at three widths, and over that: a width of a third, a little less for the tails
    width = 3 * found.std(0)
    assert 0.85 < np.median(width) < 1.05
    correlation = np.corrcoef(found, rowvar=False)[~np.eye(FEATURES, dtype=bool)]
    assert np.abs(correlation).mean() < 0.1


def test_neighbouring_cells_of_large_readouts_are_added_up(monkeypatch):
    monkeypatch.setattr(critic, "INPUTS", 100)
    values = np.random.default_rng(3).exponential(1, (5, 504)).astype("f4")
    found = critic._inputs(values, calogan())
    assert found.shape == (5, 48 + 24 + 12)  # six together, none across layers
    energies = 0.01 * 10**found
    np.testing.assert_allclose(energies[:, :48].sum(1), values[:, :288].sum(1), rtol=1e-5)
    np.testing.assert_allclose(energies[:, 72], values[:, 432:438].sum(1), rtol=1e-5)


def test_showers_that_cannot_be_used_are_left_out(write_showers, tmp_path):
    path = write_showers(tmp_path / "nan.h5", 400)
    with h5py.File(path, "a") as file:
        file["layer_0"][::4, 0, 0] = np.nan
    found = train_critic(Dataset(path))
    assert 50 < found.rows < 100
    assert np.isfinite(found.whitening).all()
