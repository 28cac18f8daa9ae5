import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from emulators.benchmarks.joint import conditional, correlations
from emulators.benchmarks.joint.conditional import measure_conditional
from emulators.benchmarks.joint.correlations import measure_correlations, rank_correlations
from emulators.benchmarks.joint.plots import conditional as conditional_figure
from emulators.benchmarks.joint.tables import cells, joint_parts, over_floor
from emulators.benchmarks.pair import Pair
from emulators.data.dataset import Dataset
from emulators.data.spec import Condition, Samples

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"
N = 1000


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few halvings and resamplings: they take most of the time."""
    for room in (conditional, correlations):
        monkeypatch.setattr(room, "HALVINGS", 4)
        monkeypatch.setattr(room, "RESAMPLINGS", 40)


@pytest.fixture(scope="module")
def parts():
    """Two independent samples of a thousand showers and their geometry."""
    data = Dataset(SAMPLE)
    order = np.random.default_rng(0).permutation(len(data))
    return data.take(order[:N]), data.take(order[N : 2 * N]), data.spec.geometry


def compared(generated, reference, geometry):
    files = {"reference": {"path": str(SAMPLE)}}
    return Pair(generated, reference, reference[:0], geometry, False, 1.0, (), files)


def test_rank_correlations_are_scipys_with_ties_and_do_not_see_a_logarithm():
    rng = np.random.default_rng(1)
    common = rng.standard_normal(300)
    rows = np.stack(
        [
            np.exp(common),
            common + rng.standard_normal(300),
            rng.poisson(np.exp(common)),
            rng.poisson(1, 300),
        ],
        1,
    )
    found = rank_correlations(rows)
    np.testing.assert_allclose(found, stats.spearmanr(rows).statistic)
    rows[:, 0] = np.log(rows[:, 0])
    np.testing.assert_allclose(rank_correlations(rows), found, rtol=1e-12)
    constant = rank_correlations(np.column_stack([rows[:, 0], np.ones(300)]))
    assert constant[0, 1] == 0


def test_rank_correlation_of_normal_numbers():
    rng = np.random.default_rng(2)
    rows = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 20_000)
    assert rank_correlations(rows)[0, 1] == pytest.approx(6 / np.pi * np.arcsin(0.35), abs=0.015)


def test_correlations_of_an_independent_sample_are_at_the_floor(parts):
    found = measure_correlations(compared(*parts), 0)
    for key in ("mean", "largest"):
        m = found[key]
        assert m["n"] == N // 2
        assert abs(m["value"] - m["floor"]) < 4 * np.hypot(m["error"], m["floor_error"])
    matrices = [np.array(found[k]) for k in ("reference", "generated")]
    assert matrices[0].shape == (33, 33)
    worst = found["pairs"][0]
    i, j = (found["drawn"].index(name) for name in worst["observables"])
    assert matrices[1][i, j] - matrices[0][i, j] == pytest.approx(worst["difference"])
    off = np.abs(matrices[1] - matrices[0])
    assert abs(worst["difference"]) == pytest.approx(off.max())
    # of numbers that hardly hang together: sqrt(1 / n + 1 / m)
    errors = [p["error"] for p in found["pairs"] if abs(p["reference"]) < 0.3]
    np.testing.assert_allclose(np.mean(errors), np.sqrt(2 / N), rtol=0.25)


def test_layers_of_different_showers_hang_together_as_in_none(parts):
    generated, reference, geometry = parts
    order = np.argsort(generated.conditions["incident_energy"])
    cells_ = geometry.slices[2]
    values = generated.values.copy()
    # the last layer of the shower with the next higher energy: alone it is what it was
    values[order, cells_] = values[np.roll(order, 1), cells_]
    found = measure_correlations(
        compared(dataclasses.replace(generated, values=values), reference, geometry), 0
    )
    m, worst = found["largest"], found["pairs"][0]
    assert m["value"] > m["floor"] + 4 * m["error"]
    assert abs(worst["difference"]) > 10 * worst["error"]
    assert "energy_response" in worst["observables"]


def test_a_fault_at_some_energies_is_found_there_alone(parts):
    generated, reference, geometry = parts
    high = generated.conditions["incident_energy"] > 20
    values = np.where(high[:, None], np.float32(1.03), 1) * generated.values
    pair = compared(dataclasses.replace(generated, values=values), reference, geometry)
    (entry,) = measure_conditional(pair, 0)
    assert (entry["condition"], entry["unit"], entry["too_small"]) == (
        "incident_energy",
        "GeV",
        None,
    )
    edges = entry["edges"]
    assert len(edges) == 6  # a hundred showers of half the reference in each bin
    counts = np.histogram(reference.conditions["incident_energy"], edges)[0]
    assert np.ptp(counts) <= 2
    row = entry["observables"].index("energy_response")
    above = (entry["wasserstein"]["value"] - entry["wasserstein"]["floor"])[row]
    doubt = np.hypot(*(entry["wasserstein"][k][row] for k in ("error", "floor_error")))
    assert np.all(above[edges[:-1] > 20] > 10 * doubt[edges[:-1] > 20])
    assert np.all(np.abs(above[edges[1:] < 20]) < 4 * doubt[edges[1:] < 20])
    worst = cells({"conditional": [entry]})[0]
    assert worst.observable == "energy_response"
    assert worst.value > 4


def test_distance_in_a_bin_is_scipys_over_the_width_there(parts):
    pair = compared(*parts)
    (entry,) = measure_conditional(pair, 3)
    rows, halves = pair.halvings(1, 3)
    low, high = entry["edges"][1:3]
    energies = [s.conditions["incident_energy"] for s in (pair.reference, pair.generated)]
    inside = [(e >= low) & (e < high) for e in energies]
    ref, gen = (found["width_x_layer_1"] for found in pair.observables)
    first = halves[0][0]
    a, b = gen[rows][inside[1][rows]], ref[first][inside[0][first]]
    expected = stats.wasserstein_distance(a, b) / ref[inside[0]].std()
    row = entry["observables"].index("width_x_layer_1")
    assert entry["wasserstein"]["value"][row, 1] == pytest.approx(expected)
    assert (entry["n_generated"][1], entry["n_reference"][1]) == (len(a), len(b))


def test_every_condition_of_the_file_has_its_bins(parts, monkeypatch):
    generated, reference, geometry = parts
    theta = np.random.default_rng(4).uniform(0, 60, (2, N)).astype("f4")
    data = Dataset(SAMPLE)
    conditions = (*data.spec.conditions, Condition("theta", "deg", 0, 60))
    spec = dataclasses.replace(data.spec, conditions=conditions)
    monkeypatch.setattr(conditional, "Dataset", lambda path, **asked: SimpleNamespace(spec=spec))
    both = [
        Samples(s.values * np.where(k * t > 40, 1.05, 1)[:, None], {**s.conditions, "theta": t})
        for k, s, t in zip((1, 0), (generated, reference), theta)
    ]
    found = measure_conditional(compared(*both, geometry), 0)
    assert [(e["condition"], e["unit"]) for e in found] == [
        ("incident_energy", "GeV"),
        ("theta", "deg"),
    ]
    record = {"conditional": found}
    worst = cells(record)[0]
    assert worst.observable == "energy_response"
    assert worst.where.startswith("theta 4")
    assert worst.where.endswith(" deg")


def test_too_few_showers_and_one_energy(parts):
    generated, reference, geometry = parts
    (entry,) = measure_conditional(compared(generated[:300], reference[:300], geometry), 0)
    assert entry["too_small"] == "150 do not fill two bins of 100"
    assert cells({"conditional": [entry]}) == []
    alike = {"incident_energy": np.full(N, 50, "f4")}
    pair = compared(generated, Samples(reference.values, alike), geometry)
    assert measure_conditional(pair, 0) == []


def test_what_never_varies_is_at_the_floor_or_infinitely_far():
    tables = {"value": [[0.0, 0.2, None, 0.3]], "floor": [[0.0, 0.0, None, 0.1]]}
    found = over_floor({"wasserstein": tables}, "wasserstein")
    np.testing.assert_allclose(found, [[1, np.inf, np.nan, 3]])


def test_tables_and_figure_show_bins_without_showers_and_without_floor(parts):
    pair = compared(*parts)
    (entry,) = measure_conditional(pair, 0)
    tables = entry["wasserstein"]
    tables["value"][0, 0] = np.nan
    tables["floor"][1, 0] = 0.0
    record = {
        "conditional": [entry],
        "correlations": measure_correlations(pair, 0),
        "observables": [{"name": name, "label": name} for name in entry["observables"]],
        "settings": {"thresholds": {"conditional": 0.1}},
    }
    *_, (_, headings, rows, _) = joint_parts(record)
    assert len(headings) == 6
    assert {len(row) for row in rows} == {6}
    assert rows[1][1] == "too few"
    assert rows[2][1] == "inf (floor 0)"
    assert conditional_figure(record).startswith("data:image/png")


def test_only_as_many_showers_as_are_affordable(parts, monkeypatch):
    for room in (conditional, correlations):
        monkeypatch.setattr(room, "MOST", 200)
    pair = compared(*parts)
    (entry,) = measure_conditional(pair, 0)
    assert entry["n_generated"].sum() <= 200
    found = measure_correlations(pair, 0)
    assert found["mean"]["n"] == 200
    assert found["pairs"][0]["n"] == [400, 400]
