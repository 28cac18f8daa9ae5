"""The chapter of features that a network learned from the reference."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from emulators.benchmarks.chapters import critic
from emulators.benchmarks.critic import FEATURES, train_critic
from emulators.benchmarks.judge import judge
from emulators.benchmarks.pair import load_pair
from emulators.data.convert import convert
from emulators.data.dataset import Dataset

SAMPLE = Path(__file__).parents[3] / "data" / "samples" / "photon_showers.h5"
SETTINGS = {"seed": 0, "halvings": 4, "resamplings": 30}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("critic")
    rows = {"generated": "2000:4000", "reference": "0:2000"}
    return [convert(SAMPLE, folder / f"{k}.h5", rows=v) for k, v in rows.items()]


def test_a_shift_by_a_tenth_of_a_width_is_a_hundredth(files, monkeypatch):
    rng = np.random.default_rng(1)
    pair = load_pair(*files, None, 0)
    known = SimpleNamespace(
        features=lambda values: np.clip(
            rng.standard_normal((len(values), FEATURES)) + 0.1 * (values is pair.generated.values),
            -3, 3,
        ) / 3,
        rows=1, explained=0.5, words="",
    )  # fmt: skip
    monkeypatch.setattr(critic, "train_critic", lambda data: known)
    monkeypatch.setattr(critic, "FEWEST_OF_FPD", 30)
    distance, explained = critic.critic(pair, SETTINGS)
    assert distance.n == 1000
    assert distance.value - distance.floor == pytest.approx(0.01, abs=2 * distance.doubt)
    assert distance.doubt < 0.004
    assert explained.value == 50


@pytest.mark.long
def test_an_independent_sample_is_at_the_floor_and_exchanged_layers_are_not(files, monkeypatch):
    trained = train_critic(Dataset(files[1]))
    monkeypatch.setattr(critic, "train_critic", lambda data: trained)
    monkeypatch.setattr(critic, "FEWEST_OF_FPD", 30)
    pair = load_pair(*files, None, 0)
    good, explained = critic.critic(pair, SETTINGS)
    assert abs(good.value - good.floor) < 3 * good.doubt
    assert trained.sha256 in explained.says
    bad = load_pair(*files, None, 0)
    order = np.argsort(bad.energies[1])
    values, last = bad.generated.values, bad.geometry.slices[2]
    values[order, last] = values[np.roll(order, 400), last]
    exchanged = critic.critic(bad, SETTINGS)[0]
    assert exchanged.excess > 4 * exchanged.doubt
    assert judge(exchanged).status == "poor"


def test_no_critic_is_trained_where_n_is_too_small_for_its_features(files, monkeypatch):
    monkeypatch.setattr(critic, "train_critic", lambda data: pytest.fail("trained"))
    (number,) = critic.critic(load_pair(*files, 300, 0), SETTINGS)
    assert number.says == "too few samples: n = 150, but 1,600 are needed"
    assert judge(number).status == "unclear"
