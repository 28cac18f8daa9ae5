import dataclasses

import numpy as np
import pytest
import torch

from emulators.data.dataset import Dataset
from emulators.data.spec import Samples
from emulators.loading import load
from emulators.training.monitor import (
    Monitor,
    default_measure,
    field_distance,
    left_out,
    scaled_w1,
)
from emulators.training.previews import preview


@pytest.fixture(scope="module")
def showers(reference):
    return Dataset(reference).read(0, 200)


@pytest.fixture(scope="module")
def spec(reference):
    return Dataset(reference).spec


def test_equal_showers_are_at_distance_zero(showers, spec):
    zero = {"scaled_w1": 0, "scaled_w1_largest": 0}
    assert scaled_w1(showers, showers, spec) == pytest.approx(zero, abs=1e-12)


def test_only_what_a_factor_changes_is_far(showers, spec):
    """Twice the energy shifts E_tot / E_inc by its mean and leaves shares and widths alone."""
    twice = Samples(2 * showers.values, showers.conditions)
    found = scaled_w1(twice, showers, spec)
    energy = 1000 * showers.conditions["incident_energy"].astype(float)
    response = showers.values.sum(1, dtype=float) / energy
    assert found["scaled_w1_largest"] == pytest.approx(response.mean() / response.std(), rel=1e-6)


def test_generated_showers_have_the_conditions_of_the_reference(showers, spec, emulator_file):
    seen = []

    def measure(generated, reference, given):
        seen.append((generated, reference, given))
        return {"far": 3.0}

    monitor = Monitor(showers, spec, measure)
    emulator = load(emulator_file, "cpu")
    numbers, generated = monitor(emulator)
    again = monitor(emulator)[1]
    assert numbers == {"far": 3.0}
    assert seen[0] == (generated, showers, spec)
    assert np.array_equal(
        generated.conditions["incident_energy"], showers.conditions["incident_energy"]
    )
    assert np.array_equal(generated.values, again.values)  # fixed latents


def test_floor_is_small_and_takes_each_shower_once(showers, spec):
    floor = Monitor(showers, spec, scaled_w1).floor
    assert 0 < floor["scaled_w1"] < 0.5
    halves = []
    Monitor(showers, spec, lambda a, b, s: halves.append((a, b)) or {"x": 0.0}).floor  # noqa: B018
    both = np.concatenate([s.conditions["incident_energy"] for s in halves[0]])
    assert np.array_equal(np.sort(both), np.sort(showers.conditions["incident_energy"]))
    gaps = [np.sort(s.conditions["incident_energy"]) for s in halves[0]]
    assert np.log(gaps[0] / gaps[1]).mean() == pytest.approx(0, abs=0.1)


def test_there_is_a_measure_for_showers_only(spec):
    assert default_measure(spec) is scaled_w1
    assert default_measure(type(spec)("field", "none", (8, 8), "", ())) is None


def test_preview_is_a_picture(showers, spec, tmp_path):
    generated = Samples(np.zeros_like(showers.values), showers.conditions)  # an empty emulator
    path = tmp_path / "preview.png"
    preview(generated, showers, spec, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert torch.is_inference_mode_enabled() is False


def test_what_never_varies_is_left_out_of_the_distance(showers, spec):
    """A last layer that is empty but for rounding decides nothing; all else counts as before."""
    last = spec.geometry.slices[2]
    empty, noise = showers.values.copy(), showers.values.copy()
    empty[:, last] = 0
    noise[:, last] = 1e-3
    empty, noise = (Samples(v, showers.conditions) for v in (empty, noise))
    names = left_out(empty, spec)
    assert {n for n in names if n.endswith("layer_2")} == set(names) - {"depth"}
    assert scaled_w1(noise, empty, spec)["scaled_w1_largest"] < 1
    assert Monitor(empty, spec, scaled_w1).left_out == names
    assert Monitor(empty, spec, lambda g, r, s: {"mine": 1.0}).left_out == []
    equal = Samples(np.repeat(showers.values[:1], 20, 0), {"incident_energy": np.full(20, 9.0)})
    assert np.isnan(scaled_w1(equal, equal, spec)["scaled_w1"])


def test_maps_of_any_magnitude_have_a_finite_distance(field_file):
    data = Dataset(field_file)
    maps = data.read(0, 60)
    mass = dataclasses.replace(data.spec, unit="Msun/h")
    heavy = Samples(((1 + maps.values.astype(float)) ** 2 * 1e11).astype("f4"), maps.conditions)
    floor = Monitor(heavy, mass, field_distance).floor
    assert 0 < floor["field_distance"] < 1
