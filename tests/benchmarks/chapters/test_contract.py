"""What holds of every chapter: samples of one law are at their floor and never poor, faults are."""

import dataclasses

import numpy as np
import pytest

from emulators.benchmarks import classifier
from emulators.benchmarks.chapters import chapters_of
from emulators.benchmarks.judge import is_judged, judge
from emulators.benchmarks.measured import Number, from_json, to_json
from emulators.benchmarks.pair import load_pair
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec

SETTINGS = {
    "seed": 0,
    "classifier_seeds": 2,
    "classifiers": True,
    "preset": "fast",
    "halvings": 8,
    "resamplings": 100,
}
# n is too small for them, or they have no floor to be at
NOT_AT_FLOOR = ("worth/", "copies/", "exact_copies/", "scores/", "faults/")


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        tiny = dataclasses.replace(classifier.PRESETS["fast"], width=32, epochs=4)
        patch.setitem(classifier.PRESETS, "fast", tiny)
        yield


def showers(write_showers, path, seed, fault=False):
    """Write 500 showers; faulty ones have a first layer too strong by a quarter."""
    import h5py

    file = write_showers(path, 500, seed=seed)
    if fault:
        with h5py.File(file, "a") as opened:
            opened["layer_0"][:] *= 1.25
    return file


def fields(path, seed, fault=False):
    """Write 96 maps of 24 boxes of lognormal counts; faulty ones are twice as wide in the log."""
    rng = np.random.default_rng(seed)
    grid = Grid(("counts",), ("x", "y"), (32.0, 32.0), "Mpc/h", (True, True))
    conditions = (Condition("sigma_8", "", 0.6, 1.0),)
    spec = SampleSpec("field", "native", (1, 16, 16), "count", conditions, grid=grid)
    numbers = np.repeat(np.arange(24), 4)
    sigma = rng.uniform(0.6, 1.0, 24).astype("f4")[numbers]
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(16), np.fft.rfftfreq(16), indexing="ij"))
    modes = np.fft.rfft2(rng.standard_normal((96, 1, 16, 16))) * (k + 0.1) ** -0.75
    normal = np.fft.irfft2(modes, s=(16, 16))
    normal *= (2 if fault else 1) * sigma[:, None, None, None] / normal.std() / 2
    counts = rng.poisson(8 * np.exp(normal)).astype("f4")
    with HDF5Writer(
        path, spec, 96, beside={"simulation": Column((), "", "simulation", dtype="i8")}
    ) as writer:
        writer.append(Samples(counts, {"sigma_8": sigma}), {"simulation": numbers})
    return path


def measured(pair):
    """Return the numbers of all chapters; what was measured goes into JSON and comes back."""
    numbers = {}
    for chapter in chapters_of(pair.kind):
        things = chapter.measure(pair, SETTINGS)
        assert len({t.name for t in things}) == len(things), chapter.name
        for thing in things:
            assert type(from_json(to_json(thing))) is type(thing)
            if isinstance(thing, Number):
                numbers[f"{chapter.name}/{thing.name}"] = thing
    return numbers


def pair_of(kind, write_showers, folder, seed, fault=False):
    folder.mkdir(exist_ok=True)
    make = fields if kind == "field" else lambda *a: showers(write_showers, *a)
    files = make(folder / "g.h5", 2 * seed, fault), make(folder / "r.h5", 2 * seed + 1)
    return load_pair(*files, None, 0)


@pytest.mark.parametrize("kind", ["shower", "field"])
@pytest.mark.parametrize("draws", [2, pytest.param(24, marks=pytest.mark.long)])
def test_samples_of_one_law_are_at_their_floor_and_never_poor(kind, draws, write_showers, tmp_path):
    values, floors = {}, {}
    for seed in range(draws):
        pair = pair_of(kind, write_showers, tmp_path / f"{seed}", seed)
        for name, number in measured(pair).items():
            if is_judged(number):
                assert judge(number).status != "poor", (name, judge(number).text)
            if not name.startswith(NOT_AT_FLOOR) and number.floor is not None:
                values.setdefault(name, []).append(number.value)
                floors.setdefault(name, []).append(number.floor)
    off = {}
    for name in values:
        value, floor = np.array(values[name]), np.array(floors[name])
        chance = np.std(value - floor) / draws**0.5 / max(abs(floor.mean()), 1e-300)
        known = abs(floor.mean()) > 3 * floor.std() / draws**0.5
        if np.isfinite(chance) and known and draws > 10:
            ratio = value.mean() / floor.mean()
            if abs(ratio - 1) > 0.1 + 3 * chance:
                off[name] = ratio
    assert not off


@pytest.mark.parametrize("kind", ["shower", "field"])
def test_a_known_fault_is_poor(kind, write_showers, tmp_path):
    numbers = measured(pair_of(kind, write_showers, tmp_path / "f", 50, fault=True))
    poor = {n.partition("/")[0] for n, v in numbers.items() if is_judged(v)
            and judge(v).status in ("poor", "fair")}  # fmt: skip
    expected = {
        "shower": {"layers", "observables", "profiles", "faults"},
        "field": {"power", "one_point"},
    }
    assert expected[kind] <= poor
