"""The chapters of showers: a perfect emulator is not poor, planted faults are found."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

from emulators.benchmarks.chapter import CHAPTERS, Result
from emulators.benchmarks.chapters import chapters_of, conditional, correlations, features
from emulators.benchmarks.draw import draw
from emulators.benchmarks.judge import is_judged, judge, worst_group
from emulators.benchmarks.measured import Curve, Histogram, Matrix, Number, Picture
from emulators.benchmarks.pair import load_pair
from emulators.benchmarks.write import figures_of
from emulators.data.convert import convert
from emulators.data.spec import Condition
from emulators.observables.distances import quantile_edges
from emulators.observables.response import bin_numbers

SAMPLE = Path(__file__).parents[3] / "data" / "samples" / "photon_showers.h5"
SETTINGS = {"seed": 0, "halvings": 4, "resamplings": 30}
NAMES = (
    "samples", "response", "layers", "observables", "profiles", "cells", "average", "conditional",
    "correlations", "features",
)  # fmt: skip


def measure(name, pair, **settings):
    """Return what a chapter measures, after a way through JSON."""
    c = next(c for c in chapters_of("shower") if c.name == name)
    result = Result(c.name, c.title, c.says, tuple(c.measure(pair, SETTINGS | settings)))
    text = json.dumps(result.to_json(), allow_nan=False)
    again = Result.from_json(json.loads(text))
    assert [type(m) for m in again.measured] == [type(m) for m in result.measured]
    return again


def things(result):
    return {m.name: m for m in result.measured}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Return a reader of two independent samples of one law, of 1,000 showers each."""
    folder = tmp_path_factory.mktemp("showers")
    files = [convert(SAMPLE, folder / f"{i}.h5", rows=f"{i}000:{i + 1}000") for i in (1, 2)]
    return lambda n=None, seed=0: load_pair(*files, n, seed)


@pytest.fixture(scope="module")
def good(load):
    return load()


@pytest.fixture(scope="module")
def results(good):
    return {name: measure(name, good) for name in NAMES}


@pytest.fixture(scope="module")
def scaled(load):
    """An emulator with 15 % too much energy in layer 1."""
    pair = load()
    pair.generated.values[:, pair.geometry.slices[1]] *= 1.15
    return pair


def test_the_order_is_that_of_a_page():
    order = [c.name for c in chapters_of("shower") if c.name in (*NAMES, "critic")]
    assert order == [*NAMES[:-1], "critic", "features"]
    beside = {c.name for c in chapters_of("shower") if c.beside}
    assert beside >= {"observables", "profiles", "cells", "features"}
    assert not beside & {"samples", "response", "layers", "average", "conditional"}


def test_a_perfect_emulator_is_not_poor(results):
    judged = [n for r in results.values() for n in r.numbers.values() if is_judged(n)]
    assert {n.purpose for n in judged} >= {
        "mean response", "energy resolution", "mean energies of layers",
        "distributions of observables", "distributions at fixed energy",
        "correlations of observables",
    }  # fmt: skip
    assert [judge(n).text for n in judged if judge(n).status == "poor"] == []
    assert judge(results["response"].numbers["response/mean"]).status == "good"


def test_value_and_floor_have_one_n(results):
    for name in ("response", "layers", "observables", "profiles", "cells", "correlations"):
        for number in results[name].numbers.values():
            assert number.n == 500, number.name  # half of the reference
            assert np.isfinite([number.value, number.error, number.floor, number.floor_error]).all()


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_drawn(results, name):
    figures = list(figures_of(results[name]))
    assert bool(figures) == (name != "features")
    for _, members in figures:
        few = members[:3]
        panels = {
            Curve: lambda m: 2 * len(m),
            Histogram: lambda m: 2 * len(m),
            Matrix: lambda m: 2 * len(m[0].panels),  # and a bar of colours each
            Picture: lambda m: sum(map(len, m[0].panels)) + 1,
        }[type(few[0])](few)
        assert len(draw(few).axes) == panels
        assert few[0].caption


def test_a_layer_with_too_much_energy_is_found(scaled):
    poor = {}
    for name in NAMES[1:-1]:
        for key, number in measure(name, scaled).numbers.items():
            if is_judged(number) and judge(number).status == "poor":
                worst = worst_group(number)
                poor[key] = worst.label if worst else ""
    assert poor["layers/mean"] == "layer 1"
    assert poor["observables/separation_power"] == "energy response"
    assert poor["conditional/wasserstein"].startswith("energy response at incident energy")
    assert "energy response with" in poor["correlations/largest"]
    assert {"response/mean", "response/width", "profiles/longitudinal"} <= poor.keys()


def test_beside_there_are_numbers_alone_and_the_same(good, results):
    for name in ("observables", "profiles", "cells", "features"):
        other = measure(name, good, beside="start")
        assert all(isinstance(m, Number) for m in other.measured)
        assert {k: n.value for k, n in other.numbers.items()} == pytest.approx(
            {k: n.value for k, n in results[name].numbers.items()}, nan_ok=True
        )


# -- response -------------------------------------------------------------------------------------


def test_the_response_of_a_known_scale(load):
    pair = load()
    pair.generated.values[...] *= 1.03
    found = things(measure("response", pair))
    shape = found["mean_curve"]
    np.testing.assert_allclose(shape.deviation, 0.03, atol=0.003)
    np.testing.assert_allclose(shape.good, 0.02)
    assert found["mean"].value == pytest.approx(3, abs=0.1)
    assert found["mean_largest"].value == pytest.approx(3, abs=0.3)
    assert (found["mean_within"].value, found["mean_within"].floor) == (0, 100)


def test_bins_follow_n(load, results):
    assert len(things(results["response"])["mean_curve"].x) == 10
    few = things(measure("response", load(200)))
    assert len(few["mean_curve"].x) == 2  # of a hundred showers, a half has twenty in each
    assert np.isfinite(few["mean"].floor)
    fine, coarse = (
        things(measure("observables", load(n)))["energy_total_histogram"] for n in (1000, 125)
    )
    assert (len(fine.reference), len(coarse.reference)) == (20, 10)


def test_a_mean_through_zero_is_compared_by_its_difference(load):
    pair = load()
    for values, energies in (
        (pair.reference.values, pair.energies[0]), (pair.generated.values, pair.energies[1]),
    ):  # fmt: skip
        # noise that was taken off, beyond what there is at low energies
        last = pair.geometry.slices[2]
        values[:, last] += 5 * (energies - 10)[:, None]
    found = measure("layers", pair)
    shape = things(found)["mean, layer 2"]
    assert shape.difference
    assert not things(found)["mean, layer 1"].difference
    assert np.abs(shape.deviation).max() < 0.02
    assert found.numbers["layers/mean"].groups[2].value < 2
    assert "difference" in draw([shape]).axes[1].get_ylabel()


@pytest.mark.parametrize("empty", ["both", "reference", "generated"])
def test_a_last_layer_that_is_empty(load, empty):
    """Showers of low energy end before the last layer."""
    pair = load(300)
    for name in ("reference", "generated"):
        if empty in ("both", name):
            getattr(pair, name).values[:, pair.geometry.slices[2]] = 0
    layers = measure("layers", pair).numbers["layers/mean"]
    assert np.isnan(layers.groups[2].value) == (empty != "generated")
    assert np.isfinite(layers.value)
    found = things(measure("observables", pair))
    histogram = found["energy_layer_2_histogram"]
    for counts, outside in zip((histogram.reference, histogram.generated), histogram.outside):
        assert counts.sum() + sum(outside) == 300
    groups = {g.label: g for g in found["separation_power"].groups}
    separation = groups["energy layer 2"].value  # many photons do not reach that layer at all
    assert separation == 0 if empty == "both" else separation > 0.5
    assert found["wasserstein"].value < 5  # in widths of what varies


def test_rings_are_drawn_too(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("g.h5", "r.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["incident_energies"] = 2.0 ** rng.integers(8, 23, (200, 1))
            file["showers"] = rng.exponential(1, (200, 368)) * (rng.random((200, 368)) < 0.3)
    pair = load_pair(tmp_path / "g.h5", tmp_path / "r.h5", None, 0)
    for name in ("average", "layers", "profiles", "samples"):
        for _, members in figures_of(measure(name, pair)):
            assert draw(members).axes
    mean = things(measure("average", pair))["mean"]
    assert mean.polar
    assert len(mean.panels) == 5


# -- observables and features ---------------------------------------------------------------------


def test_distances_of_an_observable_are_scipys(good, results):
    found = things(results["observables"])
    groups = {g.label: g for g in found["wasserstein"].groups}
    rows, halves = good.halvings(1, 0)
    reference, generated = (o["shower_depth"] for o in good.observables)
    first = reference[halves[0][0]]
    distance = stats.wasserstein_distance(generated[rows], first) / reference.std()
    assert groups["shower depth"].value == pytest.approx(distance)
    test = {g.label: g for g in found["kolmogorov_smirnov"].groups}["shower depth"]
    assert test.value == pytest.approx(stats.ks_2samp(generated[rows], first).statistic)
    kinds = ("separation_power", "wasserstein", "kolmogorov_smirnov", "chi_squared")
    assert len({tuple(g.label for g in found[k].groups) for k in kinds}) == 1
    assert all(g.says.startswith("p = ") for g in found["chi_squared"].groups)
    assert "It tells none of the 33 observables apart" in found["chi_squared"].says


def test_what_chi_squared_tells_apart_is_named(scaled):
    found = things(measure("observables", scaled, beside="none"))
    assert "most clearly energy response." in found["chi_squared"].says


def test_distances_of_features_know_too_few(results):
    numbers = results["features"].numbers
    assert "n = 500, but 1,000 are needed" in numbers["features/kpd"].says
    assert all(np.isnan(n.value) and not is_judged(n) for n in numbers.values())


def test_features_find_a_layer_that_is_missing(load, monkeypatch):
    monkeypatch.setattr(features, "FEWEST", 100)
    monkeypatch.setattr(features, "FEWEST_OF_FPD", 1)
    monkeypatch.setattr(features, "HALVINGS", 3)
    good, bad = load(), load()
    bad.generated.values[:, bad.geometry.slices[1]] /= 50
    for pair, names in ((good, ()), (bad, ("fpd", "precision", "density", "coverage"))):
        numbers = measure("features", pair).numbers
        for key, n in numbers.items():
            assert n.n == 500
            if key.removeprefix("features/") in names:
                assert n.excess > 3 * n.doubt, key
            elif not names:
                assert n.excess < 4 * n.doubt, key


# -- bins of conditions ---------------------------------------------------------------------------


def test_a_fault_at_some_energies_is_found_there_alone(load):
    pair = load()
    high = pair.energies[1] > 20
    pair.generated.values[...] *= np.where(high[:, None], np.float32(1.03), 1)
    found = things(measure("conditional", pair))
    groups = found["wasserstein"].groups
    assert len(groups) == 5  # a hundred showers of half the reference in each bin
    for g in groups:
        low, above = (float(x) for x in g.label.split("energy ")[-1].split()[0:3:2])
        off = g.excess > 10 * g.doubt and g.label.startswith("energy response")
        if low > 20 or above < 20:
            assert off == (low > 20), g.label
    assert groups[-1].value > 4
    labels = [g.label for g in groups]
    assert [g.label for g in found["separation_power"].groups] == labels
    matrix = found["bins_of_incident_energy"]
    row = matrix.rows.index(r"$E_\mathrm{tot}/E_\mathrm{inc}$")
    assert matrix.marked[row, -1]
    assert not matrix.marked[row, 0]
    assert matrix.panels[0][row, -1] == 16  # clipped, twice as far as the colours go


def test_distance_in_a_bin_is_scipys_over_the_width_there(good, results):
    edges = quantile_edges(good.energies[0], 5)
    bins = dict(conditional._bins(good, SETTINGS, "incident_energy", "GeV", edges))
    assert list(bins)[1].endswith(" GeV")
    numbers = {n.label: n for n in list(bins.values())[1]["wasserstein"]}
    rows, halves = good.halvings(1, 0)
    inside = [bin_numbers(e, edges) == 1 for e in good.energies]
    ref, gen = (found["width_x_layer_1"] for found in good.observables)
    first = halves[0][0]
    a, b = gen[rows][inside[1][rows]], ref[first][inside[0][first]]
    expected = stats.wasserstein_distance(a, b) / ref[inside[0]].std()
    assert numbers["width x layer 1"].value == pytest.approx(expected)
    assert numbers["width x layer 1"].n == len(a)


def test_every_condition_has_its_bins(load):
    pair = load()
    for sample in (pair.reference, pair.generated):
        theta = np.random.default_rng(len(sample.values)).uniform(0, 60, len(sample)).astype("f4")
        sample.conditions["theta"] = theta
    conditions = (*pair.spec.conditions, Condition("theta", "deg", 0, 60))
    other = replace(pair, spec=replace(pair.spec, conditions=conditions))
    tilted = pair.generated.conditions["theta"] > 40
    pair.generated.values[tilted] *= np.float32(1.05)
    other.__dict__.update(reference=pair.reference, generated=pair.generated)
    found = things(measure("conditional", other))
    assert {"bins_of_incident_energy", "bins_of_theta"} <= found.keys()
    worst = worst_group(found["wasserstein"])
    assert worst.label.startswith("energy response at theta 4")
    assert worst.label.endswith(" deg")


def test_too_few_showers_and_one_energy(load):
    (number, other) = measure("conditional", load(300)).measured
    assert "n = 150, but two bins of 100 are needed" in number.says
    assert judge(number).status == "unclear"
    assert np.isnan(other.value)
    pair = load()
    pair.reference.conditions["incident_energy"][:] = 50
    assert CHAPTERS["conditional"].measure(pair, SETTINGS) == []


def test_what_never_varies_is_at_the_floor_or_infinitely_far():
    ratios = [
        conditional._over_floor(Number("a", "a", value, floor=floor))
        for value, floor in ((0.0, 0.0), (0.2, 0.0), (np.nan, np.nan), (0.3, 0.1))
    ]
    np.testing.assert_allclose(ratios, [1, np.inf, np.nan, 3])


# -- correlations ---------------------------------------------------------------------------------


def test_correlations_of_pairs_have_the_errors_of_all_showers(results):
    found = things(results["correlations"])
    matrix = found["matrix"]
    assert matrix.panels[0].shape == (33, 33)
    worst = found["largest"].groups[0]
    assert worst.value == pytest.approx(np.abs(matrix.panels[2]).max(), rel=1e-3)
    assert worst.n == 1000
    assert list(dict.fromkeys(matrix.rows)) == [
        "energies", "sharing", "centres", "widths", "depth", "cells hit",
    ]  # fmt: skip
    # of numbers that hardly hang together: sqrt(1 / n + 1 / m)
    errors = [
        g.error for g in found["largest"].groups if abs(float(g.says.rpartition(" ")[2])) < 0.3
    ]
    np.testing.assert_allclose(np.mean(errors), np.sqrt(2 / 1000), rtol=0.25)


def test_layers_of_different_showers_hang_together_as_in_none(load):
    pair = load()
    order = np.argsort(pair.energies[1])
    last, values = pair.geometry.slices[2], pair.generated.values
    # the last layer of the shower with the next higher energy: alone it is what it was
    values[order, last] = values[np.roll(order, 1), last]
    largest = things(measure("correlations", pair))["largest"]
    assert largest.excess > 4 * largest.error
    assert "energy response" in largest.groups[0].label
    assert judge(largest).status == "poor"


def test_only_as_many_showers_as_are_affordable(load, monkeypatch):
    for room in (conditional, correlations):
        monkeypatch.setattr(room, "MOST", 200)
    found = things(measure("correlations", load()))
    assert found["mean"].n == 200
    assert found["largest"].groups[0].n == 400
    assert max(g.n for g in things(measure("conditional", load()))["wasserstein"].groups) <= 60
