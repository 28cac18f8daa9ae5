import numpy as np
import pytest

from emulators.data.geometries import calochallenge, calogan
from emulators.observables.showers import (
    calogan_observables,
    constant,
    high_level_features,
    observable_table,
    observables,
)


def one_shower(geometry, cells, energy=1.0):
    """Observables of one shower with these cells {(layer, row, column): MeV} hit."""
    values = np.zeros((1, geometry.n_cells), np.float32)
    for (layer, row, column), deposit in cells.items():
        geometry.layer(values, layer)[0, row, column] = deposit
    return {k: v[0] for k, v in observables(values, geometry, np.array([energy])).items()}


def test_calogan_has_its_twenty_variables():
    names = calogan_observables(calogan())
    assert len(names) == 20
    assert {"energy_ratio_layer_2", "width_x_layer_0", "shower_depth_width", "depth"} <= {*names}


@pytest.mark.parametrize("name", ["1-photons", "2"])
def test_table_and_values_agree_in_names_and_order(name):
    geometry = calochallenge(name)
    rng = np.random.default_rng(0)
    found = observables(rng.random((3, geometry.n_cells)), geometry, np.ones(3))
    assert list(found) == [o.name for o in observable_table(geometry)]
    assert all(v.shape == (3,) and v.dtype == np.float64 for v in found.values())


def test_two_equal_cells():
    # cells of layer 1 are 40 mm wide: rows 5 and 6 lie at -20 and 20 mm, columns 6 and 8 at 20, 100
    found = one_shower(calogan(), {(1, 5, 6): 250.0, (1, 6, 8): 250.0})
    assert found["energy_layer_1"] == found["energy_total"] == 500
    assert found["energy_response"] == pytest.approx(0.5)  # 500 MeV of 1 GeV
    assert found["centre_x_layer_1"] == pytest.approx(0, abs=1e-9)
    assert found["width_x_layer_1"] == pytest.approx(20)
    assert found["centre_y_layer_1"] == pytest.approx(60)
    assert found["width_y_layer_1"] == pytest.approx(40)
    assert found["energy_ratio_layer_1"] == 0
    assert found["fraction_nonzero_layer_1"] == pytest.approx(2 / 144)


def test_depth_of_energy_in_two_layers():
    found = one_shower(calogan(), {(0, 1, 48): 300.0, (2, 6, 3): 100.0})
    assert found["depth"] == 2
    assert found["lateral_depth"] == pytest.approx(200)  # 0 * 300 + 2 * 100
    assert found["shower_depth"] == pytest.approx(0.5)
    assert found["shower_depth_width"] == pytest.approx(np.sqrt(4 * 0.25 - 0.25))
    assert found["energy_fraction_layer_0"] == pytest.approx(0.75)
    assert found["energy_ratio_layer_0"] == 1  # one cell alone


def test_energy_ratio_of_the_two_hottest_cells():
    found = one_shower(calogan(), {(1, 0, 0): 3.0, (1, 0, 1): 1.0, (1, 5, 5): 0.5})
    assert found["energy_ratio_layer_1"] == pytest.approx(0.5)


def test_threshold_separates_active_from_nonzero():
    found = one_shower(calogan(), {(2, 0, 0): 0.02, (2, 0, 1): 0.005})
    assert found["fraction_nonzero_layer_2"] == pytest.approx(2 / 72)
    assert found["fraction_active_layer_2"] == pytest.approx(1 / 72)


@pytest.mark.filterwarnings("error")
def test_an_empty_shower_gives_zeros():
    found = one_shower(calogan(), {})
    assert all(value == 0 for value in found.values())


def test_polar_centres():
    geometry = calochallenge("2")
    alpha = (np.asarray(geometry.layers[0].edges[0])[1:] + geometry.layers[0].edges[0][:-1]) / 2
    found = one_shower(geometry, {(0, 3, 4): 7.0})
    radius = found["centre_r_" + geometry.layers[0].name]
    assert found["centre_eta_" + geometry.layers[0].name] == pytest.approx(
        radius * np.cos(alpha[3])
    )
    assert found["centre_phi_" + geometry.layers[0].name] == pytest.approx(
        radius * np.sin(alpha[3])
    )
    assert found["width_r_" + geometry.layers[0].name] == pytest.approx(0, abs=1e-5)


def test_against_a_plain_loop():
    geometry = calogan()
    rng = np.random.default_rng(1)
    values = rng.exponential(1, (4, 504)) * (rng.random((4, 504)) < 0.3)
    found = observables(values, geometry, np.ones(4))
    for i in range(4):
        x = geometry.layers[0].centres[1].ravel()
        e = values[i, geometry.slices[0]]
        mean = np.average(x, weights=e)
        assert found["centre_y_layer_0"][i] == pytest.approx(mean)
        width = np.sqrt(np.average((x - mean) ** 2, weights=e))
        assert found["width_y_layer_0"][i] == pytest.approx(width)


@pytest.mark.parametrize(("name", "features"), [("1-photons", 30), ("1-pions", 46), ("2", 362)])
def test_feature_vector_has_calochallenge_dimensions(name, features):
    geometry = calochallenge(name)
    values = np.random.default_rng(2).random((2, geometry.n_cells))
    energy = np.array([1.0, 10.0])
    found = observables(values, geometry, energy)
    vector = high_level_features(found, geometry, energy)
    assert vector.shape == (2, features)
    np.testing.assert_allclose(vector[:, 0], [3, 4], rtol=1e-6)  # log10 of MeV
    first = found[f"energy_{geometry.layers[0].name}"]
    np.testing.assert_allclose(vector[:, 1], np.log10(first), rtol=1e-5)


def test_widths_of_rounding_are_known_from_widths():
    """Equal showers at one energy, a rounding apart, vary in nothing; others do in all."""
    geometry = calogan()
    rng = np.random.default_rng(2)
    shower = rng.exponential(1, (1, geometry.n_cells))
    equal = shower * (1 + 1e-9 * rng.normal(size=(50, geometry.n_cells)))
    names = {o.name for o in observable_table(geometry)}
    found = observables(equal, geometry, np.full(50, 10.0))
    assert constant(found, geometry) == names
    others = rng.exponential(1, (50, geometry.n_cells)) * (rng.random((50, 504)) < 0.5)
    others[:25, geometry.slices[2]] = 0
    assert not constant(observables(others, geometry, np.full(50, 10.0)), geometry)
    others[:, geometry.slices[2]] = 0
    still = constant(observables(others, geometry, np.full(50, 10.0)), geometry)
    assert {n for n in names if n.endswith("layer_2")} | {"depth"} == still
