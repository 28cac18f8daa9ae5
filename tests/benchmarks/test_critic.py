import shutil
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from emulators.benchmarks.joint import critic
from emulators.benchmarks.joint.critic import FEATURES, measure_critic, train_critic
from emulators.benchmarks.pair import Pair
from emulators.data.dataset import Dataset
from emulators.data.geometries import calogan
from emulators.data.spec import Samples

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"


@pytest.fixture(scope="module")
def trained():
    return train_critic(Dataset(SAMPLE))


def compared(generated, reference, path=SAMPLE):
    files = {"reference": {"path": str(path)}}
    return Pair(generated, reference, reference[:0], calogan(), False, 1.0, (), files)


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


def test_a_shift_by_a_tenth_of_a_width_is_a_hundredth(monkeypatch):
    rng = np.random.default_rng(1)
    samples = [
        Samples(np.clip(rng.standard_normal((4000, FEATURES)) + shift, -3, 3) / 3)
        for shift in (0, 0.1)
    ]
    known = SimpleNamespace(
        features=lambda values: values, inputs=torch.zeros(2, 9), rows=1, explained=0.5, sha256=""
    )
    monkeypatch.setattr(critic, "train_critic", lambda data: known)
    found = measure_critic(compared(samples[1], samples[0]), 0)["frechet_distance"]
    assert found["n"] == 2000
    assert found["too_small"] is None
    doubt = np.hypot(found["error"], found["floor_error"])
    assert found["value"] - found["floor"] == pytest.approx(0.01, abs=2 * doubt)
    assert doubt < 0.002


def test_an_independent_sample_is_at_the_floor_and_exchanged_layers_are_not(trained, monkeypatch):
    monkeypatch.setattr(critic, "train_critic", lambda data: trained)
    monkeypatch.setattr(critic, "FEWEST_OF_FPD", 30)
    data = Dataset(SAMPLE)
    order = np.random.default_rng(2).permutation(len(data))
    reference, generated = data.take(order[:2000]), data.take(order[2000:])
    good = measure_critic(compared(generated, reference), 0)["frechet_distance"]
    doubt = np.hypot(good["error"], good["floor_error"])
    assert abs(good["value"] - good["floor"]) < 3 * doubt
    assert good["n"] == 1000
    by_energy = np.argsort(generated.conditions["incident_energy"])
    values, last = generated.values.copy(), calogan().slices[2]
    values[by_energy, last] = values[np.roll(by_energy, 400), last]
    exchanged = Samples(values, generated.conditions)
    bad = measure_critic(compared(exchanged, reference), 0)["frechet_distance"]
    assert bad["value"] - bad["floor"] > 4 * np.hypot(bad["error"], bad["floor_error"])


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
