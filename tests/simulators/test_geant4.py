"""Geant4's showers: known physics, and that shower i depends on (seed, i) alone."""

import importlib.util

import numpy as np
import pytest

from emulators.config import build
from emulators.errors import InputError
from emulators.simulators.geant4 import Geant4, Plate, Readout, Stack
from emulators.simulators.geant4_tables import DATA_SETS, FOLDER, data_environment
from emulators.simulators.pool import Failure, run_simulations

needs_geant4 = pytest.mark.skipif(
    importlib.util.find_spec("geant4_pybind") is None, reason="needs geant4-pybind"
)
LEAD_ARGON_X0 = 2 / 5.6122 + 4 / 139.99  # radiation lengths in one pair of plates


@pytest.fixture(scope="module", autouse=True)
def derived_tables(monkeypatch_module):
    """The shipped tables also where Geant4's own data are installed."""
    for variable in ("G4LEDATA", "G4ENSDFSTATEDATA", "GEANT4_DATA_DIR"):
        monkeypatch_module.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def shoot(n: int, seed: int = 1, first: int = 0, processes: int = 1, **settings):
    """Return ``n`` showers of these settings: cells, energies (GeV), columns beside, seconds."""
    found = list(run_simulations(Geant4(**settings), seed, first, n, processes))
    assert not [o for o in found if isinstance(o.result, Failure)]
    cells = np.concatenate([o.result.values for o in found])
    energy = np.concatenate([o.result.conditions["incident_energy"] for o in found])
    keys = found[0].result.beside
    beside = {key: np.concatenate([o.result.beside[key] for o in found]) for key in keys}
    return cells, energy, beside, np.array([o.seconds for o in found])


@pytest.fixture(scope="module")
def photons():
    """120 photons of 0.5 and 2 GeV in CaloGAN's block."""
    return shoot(120, energy=(0.5, 2.0))


@needs_geant4
def test_the_block_contains_the_shower_and_argon_its_share(photons):
    cells, energy, beside, _ = photons
    fraction = cells.sum(1) / energy / 1000
    active = sum(beside[f"active_layer_{i}"].sum((1, 2)) for i in range(3))
    share = active / cells.sum(1)
    # 0.996 and 0.189 to 0.190 between 1 and 100 GeV with the same tables; 0.5 % is asked for.
    for value in (0.5, 2.0):
        chosen = energy == np.float32(value)
        error = share[chosen].std(ddof=1) / np.sqrt(chosen.sum())
        assert fraction[chosen].mean() == pytest.approx(0.995, abs=0.004)
        assert share[chosen].mean() == pytest.approx(0.1895, abs=max(0.005 * 0.1895, 3 * error))
        assert error < 0.02 * 0.1895 / np.sqrt(value)
    assert (fraction < 1 + 1e-6).all()


@needs_geant4
def test_resolution_falls_with_the_root_of_the_energy(photons):
    _, energy, beside, _ = photons
    active = sum(beside[f"active_layer_{i}"].sum((1, 2)) for i in range(3)) / energy
    at = {e: active[energy == e] for e in (0.5, 2)}
    relative = [values.std() / values.mean() * np.sqrt(e) for e, values in at.items()]
    # 7 % / sqrt(E); 60 showers know a width to 9 %
    assert relative == pytest.approx([0.07, 0.07], rel=0.3)


@needs_geant4
def test_cost_grows_with_the_energy(photons):
    _, energy, _, seconds = photons
    assert seconds[energy == 2].mean() == pytest.approx(4 * seconds[energy == 0.5].mean(), rel=0.5)


@needs_geant4
@pytest.mark.long
def test_shower_maximum_moves_with_the_logarithm_of_the_energy():
    readout = tuple(Readout((6.0 * i, 6.0 * (i + 1)), (1, 1), 240.0) for i in range(80))
    cells, energy, *_ = shoot(60, energy=(1.0, 8.0), readout=readout)
    depth = (np.arange(80) + 0.5) * LEAD_ARGON_X0
    top = []
    for value in (1, 8):
        profile = cells[energy == value].mean(0)
        near = profile > 0.7 * profile.max()
        c = np.polyfit(np.log(depth[near]), np.log(profile[near]), 2)
        top.append(np.exp(-c[1] / (2 * c[0])))
    # Rossi: t_max = ln(E / E_c) + 0.5 for photons; Geant4 is known to lie a little below it.
    assert top[0] == pytest.approx(np.log(1000 / 8.8) + 0.5, abs=1.1)
    assert top[1] - top[0] == pytest.approx(np.log(8), abs=0.6)


@needs_geant4
def test_a_shower_depends_on_seed_and_number_alone():
    cells, energy, *_ = shoot(6, energy="0.2:1:log", processes=2)
    again, *_ = shoot(3, energy="0.2:1:log", first=3)
    np.testing.assert_array_equal(cells[3:], again)
    assert len(np.unique(energy)) == 6
    other, *_ = shoot(3, seed=2, energy="0.2:1:log", first=3)
    assert not np.array_equal(again, other)


@needs_geant4
@pytest.mark.parametrize("particle", ["electron", pytest.param("positron", marks=pytest.mark.long)])
def test_a_cylinder_is_read_from_minus_pi(particle):
    stack = (Stack((Plate("G4_W", 1.4), Plate("G4_Si", 0.3, active=True)), 90),)
    cells, energy, beside, _ = shoot(
        50, particle=particle, energy=0.5, stack=stack, readout="calochallenge-2", half_width=150.0,
        layout="calochallenge", deposits="active", sampling_fraction=0.033,
        impact=(0.0, (15.0, 25.0)),
    )  # fmt: skip
    showers = cells.reshape(50, 45, 16, 9)
    alpha = showers.sum((0, 1, 3))
    assert set(np.argsort(alpha)[-2:]) == {11, 12}  # about pi/2, where y is
    radius = (showers.sum((1, 2)) * (np.arange(9) + 0.5) * 4.65).sum(1) / cells.sum(1)
    assert np.abs(radius - beside["impact"][:, 1]).mean() < 3
    total = cells.sum(1) + beside["overflow"].sum(1)
    assert (total / energy / 1000).mean() == pytest.approx(0.83, abs=0.08)
    assert (beside["overflow"] >= 0).all()
    assert beside["overflow"].any()


@needs_geant4
def test_what_leaves_the_cells_is_overflow():
    wide = (Readout((0.0, 480.0), (1, 1), 240.0),)
    narrow = (Readout((0.0, 480.0), (2, 2), 20.0),)
    all_of_it, *_ = shoot(4, energy=1.0, readout=wide)
    cells, _, beside, _ = shoot(4, energy=1.0, readout=narrow, half_width=240.0)
    assert (beside["overflow"] > 0).all()
    assert beside["overflow"].mean() < cells.sum(1).mean()
    total = cells.sum(1) + beside["overflow"][:, 0]
    assert total.mean() == pytest.approx(all_of_it.sum(1).mean(), rel=0.005)


@needs_geant4
def test_a_tilted_particle_leans_its_shower():
    readout = tuple(Readout((6.0 * i, 6.0 * (i + 1)), (1, 96), 240.0) for i in range(15))
    cells, _, beside, _ = shoot(30, energy=2.0, theta=(20.0, 30.0), phi=90.0, readout=readout)
    y, z = np.arange(1, 97) * 5 - 240, (np.arange(15) + 0.5) * 6
    layers = cells.reshape(30, 15, 96).sum(0)[6:]
    # The median: what is scattered back from deeper layers pulls the mean of the first ones.
    middle = [np.interp(0.5, np.cumsum(layer) / layer.sum(), y) for layer in layers]
    slope = np.tan(np.radians(beside["direction"][:, 0])).mean()
    assert middle == pytest.approx(slope * z[6:], abs=3)
    assert (np.abs(beside["direction"][:, 0] - 25) <= 5).all()


@needs_geant4
@pytest.mark.parametrize(
    ("material", "message"),
    [("G4_Unobtainium", "not in Geant4's NIST table"), ("G4_Pu", "Pu.*no derived tables")],
)
def test_materials_that_cannot_be_had(material, message):
    stack = (Stack((Plate(material, 480.0),)),)
    with pytest.raises(InputError, match=message):
        shoot(1, energy=1.0, stack=stack)


@needs_geant4
def test_hadrons_are_refused_without_the_full_data():
    assert not data_environment()[1]
    with pytest.raises(InputError, match=r"pions need Geant4's full data.*G4LEVELGAMMADATA"):
        Geant4(particle="pion").attributes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"particle": "photom"}, "did you mean 'photon'"),
        ({"energy": "0:5"}, "0 GeV is not positive"),
        ({"energy": [1.0, -2.0]}, "-2 GeV is not positive"),
        ({"readout": "calochallenge-1-photons"}, "layer_0 along r differ in width"),
        ({"readout": "calogam"}, "did you mean 'calogan'"),
        ({"half_width": 100.0}, "cells reach 240 mm"),
        ({"theta": 90.0}, "theta"),
        ({"impact": [0.0, [-300.0, 0.0]]}, "beside the block"),
        ({"stack": [{"plates": [{"material": "G4_Pb", "thickness": 100.0}]}]}, "480 mm deep"),
        ({"stack": [{"plates": [{"material": "G4_Pb", "thickness": -1.0}]}]}, "thickness"),
        ({"stack": [{"plates": [{"material": "G4_Pb", "thickness": 480.0}]}],
          "deposits": "active"}, "no plate is active"),
        ({"readout": [{"depth": [0, 90], "cells": [3, 4], "extent": 240.0},
                      {"depth": [80, 480], "cells": [3, 4], "extent": 240.0}]}, "overlap"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        build(Geant4, settings, "simulator")


def test_the_users_own_data_are_taken(tmp_path, monkeypatch):
    for name in ("G4EMLOW8.8", "PhotonEvaporation6.1.2"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    for variable in DATA_SETS:  # as an earlier import leaves them
        monkeypatch.setenv(variable, str(FOLDER / "empty"))
    environment, stock = data_environment()
    assert stock == {"G4LEDATA", "G4LEVELGAMMADATA"}
    assert environment["G4LEDATA"] == str(tmp_path / "G4EMLOW8.8")
    assert environment["GEANT4_DATA_DIR"] == str(tmp_path)
