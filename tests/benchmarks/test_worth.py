"""How many simulated samples are as far from the simulation as the generated ones."""

import json

import h5py
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from emulators.benchmarks.chapters.worth import showers_worth, simulations_worth, worth
from emulators.benchmarks.judge import figures, is_judged, written
from emulators.benchmarks.measured import from_json, to_json
from emulators.benchmarks.pair import load_pair
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.observables.distances import histogram, quantile_edges, separation_power

SETTINGS = {"seed": 0, "resamplings": 50, "halvings": 2}


def test_showers_are_as_far_from_the_simulation_as_the_emulator():
    rng = np.random.default_rng(3)
    shift, n = 0.4, 20_000
    reference = {name: rng.standard_normal(n) for name in "abc"}
    generated = {name: shift + rng.standard_normal(n) for name in "abc"}
    number = showers_worth(generated, reference, rng)

    def integrand(x):
        p, q = norm.pdf(x), norm.pdf(x - shift)
        return 0.5 * (p - q) ** 2 / (p + q)

    truth = quad(integrand, -8, 8)[0]
    # so many normal numbers, in equally filled bins of the law itself, are as far from it
    edges = np.append(norm.ppf(np.arange(50) / 50), np.inf)
    m = round(number.value)
    drawn = np.array([np.histogram(rng.standard_normal(m), edges)[0] for _ in range(2000)])
    by_chance = separation_power(drawn, np.full((2000, 50), 1 / 50)).mean()
    assert by_chance == pytest.approx(truth, rel=0.05)
    assert number.error < 0.1 * number.value
    assert (number.more, number.at_least, number.n, number.unit) == (True, False, n, "showers")
    assert not is_judged(number)


@pytest.mark.parametrize("law", ["normal", "count", "constant"])
@pytest.mark.parametrize("sizes", [(3000, 3000), (1000, 4000)])
def test_the_law_by_which_samples_come_nearer(law, sizes):
    """What the worth subtracts is what two samples of one law have between them on average."""
    rng = np.random.default_rng(5)
    draw = {
        "normal": rng.standard_normal,
        "count": lambda n: rng.binomial(8, 0.3, n).astype(float),
        "constant": np.zeros,
    }[law]
    between, bins = [], 0
    for _ in range(200):
        generated, reference = map(draw, sizes)
        edges = quantile_edges(reference)
        edges = edges if len(edges) == 2 else edges[1:-1]
        counts = [histogram(x, edges) for x in (generated, reference)]
        bins = (counts[1] > 0).sum()
        between.append(separation_power(*counts))
    expected = (bins - 1) / 4 * (1 / sizes[0] + 1 / sizes[1])
    # a bin that holds next to nothing of a count has less than the law says
    assert np.mean(between) == pytest.approx(expected, rel=0.1 if law == "count" else 0.05)


def test_a_perfect_emulator_has_a_limit_alone():
    rng = np.random.default_rng(4)
    numbers = [
        showers_worth({"a": rng.standard_normal(2000)}, {"a": rng.standard_normal(2000)}, rng)
        for _ in range(20)
    ]
    limits = [n for n in numbers if n.at_least]
    assert len(limits) >= 18  # the excess is two of its errors by chance at times
    assert all(n.value > 500 and n.error is None for n in limits)
    assert figures(limits[0]).startswith("more than ")
    assert limits[0].says.startswith("No difference from the simulation is seen")


def test_what_never_varies_tells_nothing():
    same = {"a": np.full(100, 3.0)}
    number = showers_worth(same, same, np.random.default_rng(0))
    assert np.isnan(number.value)
    assert number.says == "Nothing varies: it cannot be told."
    other = {"a": np.full(100, 4.0)}
    assert showers_worth(other, same, np.random.default_rng(0)).value == 0


@pytest.mark.parametrize("bias", [0.1, 0.0])
def test_simulations_scatter_as_far_as_the_bias(bias):
    """Scatter 0.3 in every shell: (0.3 / 0.1)^2 = 9 simulations scatter as far as the bias."""
    rng = np.random.default_rng(5)
    reference = 7 * (1 + 0.3 * rng.standard_normal((400, 60)))
    generated = 7 * (1 + bias + 0.3 * rng.standard_normal((400, 60)))
    number = simulations_worth(generated, reference, rng)
    assert number.unit == "simulations"
    if bias:
        assert number.value == pytest.approx(9, rel=0.15)
        assert abs(number.value - 9) < 3 * number.error
    else:
        assert number.at_least
        assert number.value > 50


def test_fields_of_one_simulation_count_as_one():
    """Maps that are all that a box has in common: n boxes, however many maps each."""
    rng = np.random.default_rng(6)
    boxes = [1 + 0.3 * rng.standard_normal((400, 20)) for _ in range(2)]
    numbers = np.repeat(np.arange(400), 5)
    rows = [np.repeat(b, 5, 0) for b in (boxes[0] + 0.15, boxes[1])]
    number = simulations_worth(*rows, rng, (numbers, numbers))
    assert number.value == pytest.approx(4, rel=0.25)


@pytest.fixture(scope="module")
def shower_files(write_showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("worth")
    paths = [write_showers(folder / f"{i}.h5", 900, seed=i) for i in range(2)]
    with h5py.File(paths[0]) as file:
        kept = {key: file[key][:] for key in ("energy", "layer_1", "layer_2")}
        more = 1.6 * file["layer_0"][:]
    return (*paths, write_showers(folder / "more.h5", 900, layer_0=more, **kept))


def test_the_chapter_of_showers_has_ranges_of_energy(shower_files):
    reference = shower_files[1]
    (perfect,) = worth(load_pair(shower_files[0], reference, None, 0), SETTINGS)
    pair = load_pair(shower_files[2], reference, None, 0)
    (poor,) = worth(pair, SETTINGS)
    assert perfect.at_least
    assert not poor.at_least
    assert poor.value < 0.5 * perfect.value
    assert (poor.name, poor.leading) == ("samples", True)
    assert len(poor.groups) == 3
    assert all("GeV" in g.label and g.n >= 250 for g in poor.groups)
    assert poor.groups[0].label.startswith("1")
    values = json.loads(json.dumps(to_json(poor), allow_nan=False))
    assert to_json(from_json(values)) == values
    (beside,) = worth(pair, SETTINGS | {"beside": "start"})
    assert (beside.value, beside.groups) == (pytest.approx(poor.value, rel=0.01), ())


def test_showers_of_the_same_energies_are_compared_with_others(shower_files, tmp_path):
    """Partners have the energies in common: they would seem nearer than any two samples are."""
    source = Dataset(shower_files[1])
    samples = source.read(0, 900)
    samples.values[:] *= np.float32(1.0001)
    with HDF5Writer(tmp_path / "g.h5", source.spec, 900) as writer:
        writer.append(samples)
    pair = load_pair(tmp_path / "g.h5", shower_files[1], None, 0)
    assert pair.paired
    (number,) = worth(pair, SETTINGS)
    assert number.at_least
    assert number.n == 450
    assert 50 < number.value < 3000  # all but copies, and no more is known of it than of others


def test_the_chapter_of_fields_has_groups_of_conditions(field_file, tmp_path):
    source = Dataset(field_file)
    samples = source.read(0, len(source))
    samples.values[:] = np.random.default_rng(0).poisson(1.3 * samples.values)
    with HDF5Writer(tmp_path / "g.h5", source.spec, len(source)) as writer:
        writer.append(samples)
    pair = load_pair(tmp_path / "g.h5", field_file, None, 0)
    (number,) = worth(pair, SETTINGS)
    assert (number.name, number.unit, number.leading) == ("samples", "simulations", True)
    assert number.value > 0
    assert number.groups
    assert all(g.label.startswith(("omega_m", "sigma_8")) for g in number.groups)
    (beside,) = worth(pair, SETTINGS | {"beside": "baseline"})
    assert beside.groups == ()


def test_large_numbers_are_written_in_full():
    assert written(12_345.6) == "12,300"
    assert written(999.0, "showers") == "999 showers"
    assert written(2.5e9) == "2.5e+09"
