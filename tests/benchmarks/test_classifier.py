import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import norm

from emulators.benchmarks import classifier
from emulators.benchmarks.classified import classify
from emulators.benchmarks.classifier import auc, recalibrate, two_sample_test, view
from emulators.benchmarks.classifier_networks import ResidualNetwork
from emulators.data.geometries import calogan
from emulators.errors import InputError


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Replace the presets by narrow ones with the same logic."""
    for name, preset in classifier.PRESETS.items():
        tiny = dataclasses.replace(preset, width=32, epochs=8, batch_size=100, rate=5e-3)
        monkeypatch.setitem(classifier.PRESETS, name, tiny)


def test_auc_by_hand_with_ties():
    # pairs (1, 0): 0.9 beats both, 0.4 ties with one and beats one
    assert auc([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0]) == (2 + 0.5 + 1) / 4
    assert auc([1, 2, 3], [0, 0, 1]) == 1
    assert auc([5, 5, 5, 5], [0, 1, 0, 1]) == 0.5


def test_auc_of_two_normals():
    rng = np.random.default_rng(0)
    scores = np.r_[rng.standard_normal(20_000), rng.standard_normal(20_000) + 1]
    labels = np.repeat([0, 1], 20_000)
    assert auc(scores, labels) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.01)


@pytest.mark.parametrize("preset", ["fast", "calochallenge"])
def test_shifted_normals_reach_the_best_possible_auc(preset):
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((2000, 4)).astype(np.float32) for _ in range(2))
    a[:, 2] += 1
    found = two_sample_test(a, b, preset, seeds=(0, 1))
    assert found.auc == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.05)
    assert 0.08 < found.jsd < 0.22  # the true divergence is 0.16 bit
    assert found.n == 2000
    assert found.n_test == len(found.reference_scores) == 400
    assert found.auc_error > 0


def test_equal_distributions_cannot_be_told_apart():
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal((2000, 4)).astype(np.float32) for _ in range(2))
    found = two_sample_test(a, b, seeds=(0, 1))
    assert found.auc == pytest.approx(0.5, abs=0.06)
    assert abs(found.jsd) < 0.02


def test_standard_error_is_that_of_a_mean_over_seeds_that_share_their_showers(monkeypatch):
    """Means of 5 seeds scatter by it around 0.5, among pairs of samples of one law.

    The classifier is the difference of the means of the training part.
    """

    def linear(reference, generated, preset, seed, image, simulations):
        order = np.random.default_rng(seed).permutation(len(reference))
        train, test = order[: len(order) * 3 // 5], order[len(order) * 4 // 5 :]
        direction = reference[train].mean(0) - generated[train].mean(0)
        scores = np.concatenate([reference[test], generated[test]]) @ direction
        labels = np.arange(len(scores)) < len(test)
        return auc(scores, labels), 0.0, scores, labels

    monkeypatch.setattr(classifier, "_train", linear)
    rng, halves, found = np.random.default_rng(6), (np.arange(99), np.arange(99, 198)), []
    for _ in range(300):
        reference, generated = rng.standard_normal((2, 300, 3)).astype("f4")
        entry = classify(reference, generated, halves, "", "fast", 5, 0)
        found.append([entry["auc"][name] for name in ("value", "error", "standard_error")])
    values, errors, stated = np.array(found).T
    spread = values.std(ddof=1)
    assert abs(values.mean() - 0.5) < 3 * spread / 300**0.5
    assert np.sqrt(np.mean(stated**2)) == pytest.approx(spread, rel=0.15)
    assert np.sqrt(np.mean(errors**2) / 5) < 0.75 * spread  # of seeds that shared nothing


def test_same_seed_same_result_and_the_global_stream_is_left_alone():
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal((200, 3)).astype(np.float32) for _ in range(2))
    before = torch.get_rng_state()
    first = two_sample_test(a, b, seeds=(7,))
    assert torch.equal(before, torch.get_rng_state())
    assert first.aucs == two_sample_test(a, b, seeds=(7,)).aucs
    assert first.auc_error is None
    assert first.aucs != two_sample_test(a, b, seeds=(8,)).aucs


def test_recalibration_gives_the_frequencies():
    scores = np.repeat([0.1, 0.2, 0.9], [10, 10, 20])
    labels = np.r_[np.ones(4), np.zeros(6), np.ones(2), np.zeros(8), np.ones(20)]
    # 0.4 then 0.2 is no rising curve: both become 0.3
    found = recalibrate(scores, labels, np.array([0.0, 0.1, 0.2, 0.9, 1.0]))
    np.testing.assert_allclose(found, [0.3, 0.3, 0.3, 1, 1])


def test_views_of_a_shower():
    values = np.zeros((1, 504), np.float32)
    values[0, 5], values[0, 6] = 100.0, 0.001
    energy = np.array([10.0], np.float32)  # 10 GeV
    low = view("low", values, calogan(), energy)
    assert low.shape == (1, 505)
    np.testing.assert_allclose(low[0, [0, 6]], [4, 0.01], rtol=1e-6)
    log = view("log", values, calogan(), energy)
    np.testing.assert_allclose(log[0, [0, 1, 6, 7]], [4, 0, 4, 0], rtol=1e-6)
    assert view("high", values, calogan(), energy).shape[0] == 1


def test_unknown_names_are_refused_by_the_nearest():
    x = np.zeros((200, 2), np.float32)
    with pytest.raises(InputError, match="did you mean 'fast'"):
        two_sample_test(x, x, "fats")
    with pytest.raises(InputError, match="did you mean 'low'"):
        view("lo", x, calogan(), x[:, 0])
    with pytest.raises(ValueError, match="200 and 100"):
        two_sample_test(x, x[:100])


def test_normed_view_divides_by_the_layer_and_shows_its_energy():
    values = np.zeros((1, 504), np.float32)
    values[0, 5], values[0, 6], values[0, 300] = 30.0, 0.5, 8.0  # two cells of layer 0, one of 1
    found = view("low_normed", values, calogan(), np.array([10.0]), threshold=1.0)
    assert found.shape == (1, 1 + 504 + 3)
    # the cell below the threshold is shown, but is not in the energy of its layer
    np.testing.assert_allclose(
        found[0, [0, 6, 7, 301, 505, 506, 507]],
        [4, 1, 0.5 / 30, 1, np.log10(30), np.log10(8), -8],
        rtol=1e-6,
    )
    low = view("low", values, calogan(), np.array([10.0]), threshold=1.0)
    np.testing.assert_allclose(low[0, [6, 7, 301]], [0.003, 0, 0.0008], rtol=1e-6)


def test_parts_of_a_data_set_are_those_of_calochallenge():
    x = np.zeros((1210, 1), np.float32)  # a hundredth of data set 1
    assert two_sample_test(x, x, "calochallenge-1-photons", (0,)).n_test == 210
    assert two_sample_test(x, x, "calochallenge-2", (0,)).n_test == 242


def test_the_auc_of_calochallenge_is_that_of_recalibrated_scores():
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal((600, 2)).astype(np.float32) for _ in range(2))
    found = two_sample_test(a + np.float32(0.5), b, "calochallenge", (0,))
    raw = auc(
        np.r_[found.reference_scores, found.generated_scores],
        np.r_[np.ones(found.n_test), np.zeros(found.n_test)],
    )
    assert found.auc != raw  # isotonic steps tie scores
    assert found.auc == pytest.approx(raw, abs=0.03)


def test_residual_network_has_the_original_number_of_weights_in_any_image():
    # CaloChallenge's evaluate.py prints 2,516,644 for both data sets
    for image in ((45, 16, 9), (45, 50, 18)):
        network = ResidualNetwork(image)
        assert sum(p.numel() for p in network.parameters()) == 2_516_644


def test_residual_network_sees_cells_and_incident_energy():
    torch.manual_seed(0)
    network = ResidualNetwork((6, 5, 4)).eval()
    rows = torch.rand(3, 121)
    logits = network(rows)
    assert logits.shape == (3, 1)
    torch.testing.assert_close(network(rows[:1]), logits[:1])  # no batch statistics in eval
    for column in (0, 77):
        other = rows.clone()
        other[0, column] += 1
        changed = (network(other) != logits)[:, 0]
        assert changed.tolist() == [True, False, False]


def test_images_that_differ_in_where_the_energy_is_are_told_apart(monkeypatch):
    few = dataclasses.replace(classifier.PRESETS["fast"], epochs=4, batch_size=40)
    monkeypatch.setitem(classifier.PRESETS, "fast", few)
    rng = np.random.default_rng(4)
    a, b = (rng.random((200, 1 + 6 * 5 * 4)).astype(np.float32) for _ in range(2))
    a[:, 1:61] *= 3  # the first three layers
    b[:, 61:] *= 3
    found = two_sample_test(a, b, "fast", (0,), image=(6, 5, 4))
    assert found.auc > 0.95


def test_fields_of_one_simulation_are_in_one_part():
    """Each box has features of its own: between boxes of one law there is nothing to tell."""
    rng = np.random.default_rng(3)

    def maps(boxes, each):
        own = np.repeat(rng.standard_normal((boxes, 6)), each, 0)
        return (own + 0.05 * rng.standard_normal(own.shape)).astype("f4")

    reference, generated = maps(30, 20), maps(30, 20)
    numbers = np.repeat(np.arange(30), 20)
    order = rng.permutation(600)  # not in the order of the boxes
    samples = reference[order], generated[order]
    rows = two_sample_test(*samples, seeds=(0, 1))
    boxes = two_sample_test(*samples, seeds=(0, 1), simulations=(numbers[order], numbers[order]))
    assert rows.auc > 0.8  # it recognises boxes that it has seen
    assert boxes.auc < 0.7
    assert boxes.n_test == 120
    with pytest.raises(InputError, match="4 simulations: a classifier needs 5"):
        two_sample_test(*samples, simulations=(order % 4, numbers[order]))
