import dataclasses
import json

import h5py
import numpy as np
import pytest
import torch
from scipy.stats import norm

from emulators.benchmarks import classifier
from emulators.benchmarks.chapters.classifiers import classifiers
from emulators.benchmarks.classifier import auc, recalibrate, two_sample_test, view
from emulators.benchmarks.classifier_networks import ResidualNetwork
from emulators.benchmarks.draw import draw
from emulators.benchmarks.judge import judge
from emulators.benchmarks.measured import Curve, Histogram, Number, from_json, to_json
from emulators.benchmarks.pair import load_pair
from emulators.benchmarks.views import shower_views
from emulators.data.dataset import Dataset
from emulators.data.geometries import calochallenge, calogan
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec
from emulators.errors import InputError

SETTINGS = {"seed": 0, "classifier_seeds": 2, "preset": "fast"}


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
    rng, tests = np.random.default_rng(6), []
    for _ in range(300):
        reference, generated = rng.standard_normal((2, 300, 3)).astype("f4")
        test = two_sample_test(reference, generated, "fast", range(5))
        tests.append((test.auc, test.auc_error, test.standard_error("auc")))
    values, errors, stated = np.array(tests).T
    spread = values.std(ddof=1)
    assert abs(values.mean() - 0.5) < 3 * spread / 300**0.5
    assert np.sqrt(np.mean(stated**2)) == pytest.approx(spread, rel=0.15)
    assert np.sqrt(np.mean(errors**2) / 5) < 0.75 * spread  # of seeds that shared nothing


def test_standard_error_of_one_training_is_that_of_its_test_part():
    """Scores that mean nothing: the AUC scatters as the statistic of Mann and Whitney does."""
    rng = np.random.default_rng(7)
    labels = np.repeat([True, False], 60)
    spread = np.std([auc(rng.random(120), labels) for _ in range(2000)])
    test = classifier.TwoSampleTest(300, 60, (0.5,), (0.0,), np.zeros(60), np.zeros(60))
    assert test.standard_error("auc") == pytest.approx(spread, rel=0.05)
    assert test.standard_error("jsd") is None


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


@pytest.mark.long
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


@pytest.fixture(scope="module")
def shower_files(write_showers, tmp_path_factory):
    """Two samples of one law, and one with less than half the energy in a layer."""
    folder = tmp_path_factory.mktemp("classified")
    paths = [write_showers(folder / f"{i}.h5", 600, seed=i) for i in range(2)]
    with h5py.File(paths[0]) as file:
        less = 0.4 * file["layer_1"][:]
        kept = {key: file[key][:] for key in ("energy", "layer_0", "layer_2")}
    return (*paths, write_showers(folder / "less.h5", 600, layer_1=less, **kept))


def by_name(things):
    return {t.name: t for t in things if isinstance(t, Number)}


def test_showers_of_one_law_are_not_told_apart_and_all_is_drawn(shower_files):
    pair = load_pair(*shower_files[:2], None, 0)
    things = classifiers(pair, SETTINGS | {"classifier_seeds": 1})
    numbers = by_name(things)
    views = ["low", "log", "high", "observables"]
    assert [*numbers] == [*views, *(f"jsd_{v}" for v in views)]
    for name in views:
        number = numbers[name]
        assert judge(number).status not in ("poor", "fair")
        assert number.floor == pytest.approx(0.5, abs=0.15)
        assert (number.n, number.limit, number.fails) == (600, 0.05, 0.3)
        assert "apart" in number.says
    assert [n.name for n in numbers.values() if n.leading] == ["low", "high"]
    for kind in (Curve, Histogram):
        panels = draw([t for t in things if isinstance(t, kind)]).axes
        assert len(panels) == (4 if kind is Curve else 8)  # with ratios below
    for thing in things:
        values = json.loads(json.dumps(to_json(thing), allow_nan=False))
        assert to_json(from_json(values)) == values


def test_showers_with_a_fault_are_told_apart(shower_files):
    pair = load_pair(shower_files[2], shower_files[1], None, 0)
    things = classifiers(pair, SETTINGS | {"classifier_seeds": 1})
    numbers = by_name(things)
    assert judge(numbers["observables"]).status == "poor"
    assert "It tells nearly all showers apart." in judge(numbers["observables"]).text
    (roc,) = [t for t in things if t.name == "roc_observables"]
    assert np.trapezoid(roc.generated, roc.x) == pytest.approx(
        numbers["observables"].value, abs=0.05
    )
    beside = classifiers(pair, SETTINGS | {"beside": "start"})
    assert by_name(beside).keys() == numbers.keys()
    assert all(isinstance(t, Number) and t.floor is None for t in beside)


def test_an_emulator_that_ignores_a_condition_is_told(write_showers, tmp_path):
    """Angles dealt out anew leave every distribution as it is, and are seen by the classifier."""
    n = 1000
    source = write_showers(tmp_path / "r.h5", n, seed=2)
    with h5py.File(source, "a") as file:
        share = file["layer_0"][:].sum((1, 2)) / file["energy"][:, 0]
        file["theta"] = share / share.std()
    stated = Dataset(source, conditions=["theta"])
    samples = stated.read(0, n)
    rng = np.random.default_rng(0)
    samples.conditions["theta"] = rng.permutation(samples.conditions["theta"])
    with HDF5Writer(tmp_path / "g.h5", stated.spec, n) as writer:
        writer.append(dataclasses.replace(samples, values=samples.values * np.float32(1.001)))
    pair = load_pair(tmp_path / "g.h5", source, None, 0)
    shown = next(v for v in shower_views(pair, "fast", 0) if v.name == "observables")
    assert two_sample_test(shown.reference, shown.generated, seeds=(0,)).auc > 0.75


def voxels(path, data_set, n, seed):
    """Write showers of CaloChallenge; a tenth of the voxels have less than any threshold."""
    rng, geometry = np.random.default_rng(seed), calochallenge(data_set)
    energy = (Condition("incident_energy", "GeV", 0.25, 4200.0),)
    spec = SampleSpec("shower", "calochallenge", (geometry.n_cells,), "MeV", energy, geometry)
    values = rng.exponential(100, (n, geometry.n_cells)).astype("f4")
    values[rng.random(values.shape) < 0.1] = 1e-3
    with HDF5Writer(path, spec, n) as writer:
        writer.append(Samples(values, {"incident_energy": np.full(n, 100, "f4")}))
    return path


@pytest.mark.parametrize(
    ("data_set", "views"),
    [
        ("1-photons", ["low", "low_normed", "high"]),
        ("2", ["low", "low_normed", "high", "resnet"]),
    ],
)
def test_a_preset_of_calochallenge_has_its_views_and_threshold(tmp_path, data_set, views):
    paths = [voxels(tmp_path / f"{i}.h5", data_set, 100, i) for i in range(2)]
    pair = load_pair(*paths, None, 0)
    shown = {v.name: v for v in shower_views(pair, f"calochallenge-{data_set}", 0)}
    assert [*shown] == views
    cells = shown["low"].generated[:, 1:]
    assert cells[cells > 0].min() > 1e-3 / 100e3
    assert (cells == 0).mean() == pytest.approx(0.1, abs=0.02)
    if "resnet" in shown:
        assert shown["resnet"].image == (45, 16, 9)
        np.testing.assert_array_equal(shown["resnet"].reference, shown["low"].reference)


def counts(path, amplitude, seed, simulations=80, each=4):
    """Write Poisson counts of white lognormal maps, several of each simulation."""
    rng = np.random.default_rng(seed)
    n = simulations * each
    normal = rng.standard_normal((n, 1, 16, 16)) * amplitude
    maps = rng.poisson(8 * np.exp(normal - amplitude**2 / 2)).astype("f4")
    grid = Grid(("counts",), ("x", "y"), (32.0, 32.0), "Mpc/h", (True, True))
    spec = SampleSpec("field", "native", (1, 16, 16), "count", (), grid=grid)
    column = {"simulation": Column((), "", "number of the simulation", dtype="i8")}
    with HDF5Writer(path, spec, n, beside=column) as writer:
        writer.append(Samples(maps, {}), {"simulation": np.arange(simulations).repeat(each)})
    return path


def test_fields_are_told_by_their_statistics(tmp_path):
    reference = counts(tmp_path / "r.h5", 0.5, 0)
    good = counts(tmp_path / "g.h5", 0.5, 1)
    bad = counts(tmp_path / "b.h5", 0.9, 2)
    perfect = by_name(classifiers(load_pair(good, reference, None, 0), SETTINGS))["observables"]
    assert judge(perfect).status not in ("poor", "fair")
    assert (perfect.n, perfect.leading) == (320, True)
    told = by_name(classifiers(load_pair(bad, reference, None, 0), SETTINGS))["observables"]
    assert judge(told).status == "poor"
    assert "nearly all fields apart" in told.says


@pytest.mark.parametrize(
    ("simulations", "each", "words"),
    [(8, 20, "Too few simulations: 8, but 10"), (20, 4, "Too few fields: n = 80, but 100")],
)
def test_too_few_fields_train_no_classifier(tmp_path, simulations, each, words):
    paths = [counts(tmp_path / f"{i}.h5", 0.5, i, simulations, each) for i in range(2)]
    (number,) = classifiers(load_pair(*paths, None, 0), SETTINGS)
    assert np.isnan(number.value)
    assert judge(number).status == "unclear"
    assert words in judge(number).text
