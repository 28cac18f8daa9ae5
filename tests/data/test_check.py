from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from emulators.data import geometries, hdf5
from emulators.data.check import Finding, check
from emulators.data.dataset import Dataset
from emulators.errors import InputError

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture
def broken(tmp_path, write_showers):
    """Return a maker of a file of 64 showers of which some values are set."""

    def make(key: str, where, value) -> "object":
        path = write_showers(tmp_path / "x.h5", 64)
        with h5py.File(path, "a") as file:
            values = file[key][:]
            values[where] = value
            file[key][:] = values
        return path

    return make


def test_good_files_have_no_findings(shower_file, sample, tmp_path, write_challenge):
    assert check(shower_file) == []
    assert check(sample) == []
    assert check(write_challenge(tmp_path / "x.h5")) == []


@pytest.mark.parametrize("block", [1 << 25, 1])
@pytest.mark.parametrize(
    ("key", "where", "value", "what", "rows"),
    [
        ("layer_0", (7, 1, 3), np.nan, "NaN or infinite", (7,)),
        ("layer_2", ([1, 60], 0, 0), np.inf, "NaN or infinite", (1, 60)),
        ("layer_1", (slice(3, 50), 2, 2), -1e-3, "negative deposits", (3, 4, 5, 6, 7)),
        ("overflow", (9, 2), np.nan, "NaN or infinite", (9,)),
        ("energy", (5, 0), np.nan, "NaN or infinite", (5,)),
        ("energy", (5, 0), -2.0, "zero or negative", (5,)),
        ("energy", ([5, 6], 0), 0.0, "zero or negative", (5, 6)),
        ("layer_0", (2, 0, 0), 1e39, "too large for single precision", (2,)),
    ],
)
def test_bad_values_are_found_row_by_row(broken, monkeypatch, block, key, where, value, what, rows):
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", block)
    path = broken(key, where, value)
    finding = next(f for f in check(path) if f.what == what)
    assert (finding.severity, finding.where, finding.rows) == ("error", key, rows)
    assert finding.count == (47 if what == "negative deposits" else len(rows))


def test_blocks_count_rows_of_the_whole_file(tmp_path, sample, monkeypatch):
    path = tmp_path / "x.h5"
    path.write_bytes(sample.read_bytes())
    with h5py.File(path, "a") as file:
        for row in (1, 600, 1100, 1101, 2000, 3999):
            file["layer_1"][row, 0, 0] = -1
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 1)  # chunk by chunk
    (finding,) = check(path)
    assert (finding.count, finding.rows) == (6, (1, 600, 1100, 1101, 2000))
    assert str(finding) == (
        "error: layer_1: negative deposits in 6 rows (1, 600, 1100, 1101, 2000, ...)"
    )


def scaled(path, **factors):
    with h5py.File(path, "a") as file:
        for key, factor in factors.items():
            file[key][:] = file[key][:] * factor
    return path


def test_deposits_above_the_incident_energy(tmp_path, write_showers):
    def deposits(excess: float):
        path = write_showers(tmp_path / "x.h5", 8)
        with h5py.File(path, "a") as file:
            energy = file["energy"][3, 0] * 1000
            file["layer_0"][3] = file["layer_2"][3] = 0
            file["layer_1"][3] = energy * excess / 144
        return check(path)

    assert deposits(1.0) == []
    (warning,) = deposits(1.05)
    assert (warning.severity, warning.where, warning.rows) == ("warning", "deposits", (3,))
    assert warning.what == "more than 1.001 times the incident energy is deposited"
    (error,) = deposits(1.2)
    assert (error.severity, error.rows) == ("error", (3,))


def test_a_positron_may_deposit_two_electron_masses_more(tmp_path, write_showers):
    path = write_showers(tmp_path / "x.h5", 8)
    with h5py.File(path, "a") as file:
        file["energy"][3] = 0.01  # GeV
        file["layer_0"][3] = file["layer_2"][3] = 0
        for deposit, findings in ((10 + 1.02, 0), (10 + 1.05, 1)):
            file["layer_1"][3] = deposit / 144
            file.flush()
            assert len(check(path)) == findings


def test_calibrated_voxels_may_exceed_the_incident_energy(tmp_path, write_challenge):
    path = scaled(write_challenge(tmp_path / "x.h5"), showers=1.7)  # 1.36 of the incident energy
    assert check(path) == []


@pytest.mark.parametrize(
    ("factors", "severity", "ratio"),
    [
        ({"energy": 1000}, "warning", "0.0008"),  # energies in MeV, or thin active layers
        ({"layer_0": 1e-3, "layer_1": 1e-3, "layer_2": 1e-3}, "warning", "0.0008"),  # cells in GeV
        ({"energy": 1e-3}, "error", "8"),
        ({"layer_0": 1e3, "layer_1": 1e3, "layer_2": 1e3}, "error", "8"),
    ],
)
def test_wrong_units_are_suspected(tmp_path, write_showers, factors, severity, ratio):
    (finding,) = check(scaled(write_showers(tmp_path / "x.h5"), **factors))
    assert finding.severity == severity
    assert finding.what.startswith(f"units are suspicious: deposits are {ratio}")
    assert finding.advice.startswith("the layout has energy in GeV, layers in MeV")


def test_thin_layers_may_be_stated(tmp_path, write_showers):
    factors = {f"layer_{i}": 7e-4 for i in range(3)}  # 5e-4 of the incident energy: muons
    path = scaled(write_showers(tmp_path / "x.h5"), **factors)
    (guess,) = check(path)
    assert (guess.severity, guess.advice.endswith("an attribute 'units' of each")) == (
        "warning",
        True,
    )
    with h5py.File(path, "a") as file:
        for key, unit in {"energy": "GeV", **dict.fromkeys(factors, "MeV")}.items():
            file[key].attrs["units"] = unit
    assert check(path) == []
    with h5py.File(path, "a") as file:
        file["layer_1"].attrs["units"] = "GeV"
    (error,) = check(path)
    assert str(error).startswith("error: layer_1: is in GeV, not MeV")
    with pytest.raises(InputError, match="layer_1 is in GeV, not MeV"):
        Dataset(path)


def test_units_of_calochallenge(tmp_path, write_challenge):
    (finding,) = check(scaled(write_challenge(tmp_path / "x.h5"), incident_energies=1e-3))
    assert "units are suspicious: deposits are 800 times" in finding.what
    assert finding.advice == "the layout has incident_energies and showers in MeV"


@pytest.mark.parametrize(
    ("replaced", "severity", "where", "what"),
    [
        ({"layer_1": np.ones((64, 6, 6))}, "error", "layer_1", "has shape (64, 6, 6), not (N, 12"),
        ({"layer_1": None}, "error", "layer_1", "is missing"),
        ({"layer_1": np.ones((63, 12, 12))}, "error", "file", "data sets differ in length"),
        ({"overflow": np.ones((64, 2))}, "error", "overflow", "has shape (64, 2)"),
        ({"layer_2": np.ones((64, 12, 6), complex)}, "error", "layer_2", "holds complex128"),
        ({"energy": np.full((64, 1), b"50")}, "error", "energy", "holds |S2"),
        ({"energy": np.float64(50)}, "error", "energy", "has shape (), not (N, 1)"),
        ({"layer_0": None}, "error", "file", "no known layout"),
        ({"pdg": np.ones(63)}, "warning", "pdg", "unknown key: layout 'calogan' does not read"),
        ({"pdg": np.full(64, np.nan)}, "warning", "pdg", "NaN or infinite"),
    ],
)
def test_structure(tmp_path, write_showers, replaced, severity, where, what):
    (finding,) = check(write_showers(tmp_path / "x.h5", 64, **replaced))
    assert (finding.severity, finding.where) == (severity, where)
    assert finding.what.startswith(what)


def test_empty_data_sets(tmp_path, write_showers):
    (finding,) = check(write_showers(tmp_path / "x.h5", 0))
    assert str(finding) == "error: file: there are no samples in it"


def test_damage_is_a_finding(tmp_path, shower_file, damaged):
    path = tmp_path / "x.h5"
    path.write_bytes(shower_file.read_bytes()[:-100])
    (finding,) = check(path)
    assert finding.what.startswith("the file is truncated at")
    (finding,) = check(damaged)
    assert "cannot be read" in finding.what
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = np.ones((3, 1)), np.ones((3, 100))
    (finding,) = check(path)
    assert "no CaloChallenge data set has such voxels" in finding.what


def test_geometry_can_be_given(tmp_path, write_challenge):
    path = write_challenge(tmp_path / "x.h5", voxels=504)
    assert len(check(path)) == 1
    assert check(path, geometry=geometries.calogan()) == []


def test_what_cannot_be_checked(tmp_path, shower_file):
    with pytest.raises(InputError, match="no such file"):
        check(tmp_path / "none.h5")
    with pytest.raises(InputError, match="not a file"):
        check(tmp_path)
    with pytest.raises(InputError, match="unknown layout"):
        check(shower_file, layout="root")


def test_findings_read_as_one_line():
    finding = Finding("warning", "negative deposits", "layer_0", 1, (3,), "set them to 0")
    assert str(finding) == "warning: layer_0: negative deposits in 1 row (3); set them to 0"


@pytest.fixture
def broken_fields(tmp_path, field_file):
    """Return a function that overwrites one value of a copy of the slabs, and checks it."""

    def write(key, where, value):
        path = tmp_path / "broken.h5"
        path.write_bytes(field_file.read_bytes())
        with h5py.File(path, "a") as file:
            if key in ("omega_m", "redshift"):
                table = file["conditions"][:]
                table[key][where] = value
                file["conditions"][:] = table
            else:
                file[key][where] = value
        return check(path)

    return write


def test_good_fields_have_no_findings(field_file):
    assert check(field_file) == []


@pytest.mark.parametrize(
    ("key", "where", "value", "finding"),
    [
        ("fields", (7, 1, 2, 2, 2), np.nan, "error: fields: NaN or infinite in 1 row (7)"),
        ("fields", ([1, 39], 0, 0, 0, 0), -1, "error: fields: negative counts in 2 rows (1, 39)"),
        ("omega_m", 3, np.inf, "error: conditions, omega_m: NaN or infinite in 1 row (3)"),
        (
            "omega_m", 4, 0.6,
            "warning: conditions, omega_m: outside the stated range 0.1 to 0.5 in 1 row (4)",
        ),
        ("seconds", 5, np.nan, "error: seconds: NaN or infinite in 1 row (5)"),
    ],
)  # fmt: skip
def test_bad_values_of_fields_are_found(broken_fields, monkeypatch, key, where, value, finding):
    assert list(map(str, broken_fields(key, where, value))) == [finding]
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 1)
    assert list(map(str, broken_fields(key, where, value))) == [finding]


def test_only_an_overdensity_has_a_least_value(tmp_path, write_fields, field_file):
    spec = Dataset(field_file).spec
    grid = replace(spec.grid, channels=("overdensity", "velocity"))
    path = write_fields(tmp_path / "x.h5", 8, replace(spec, grid=grid, unit=""))
    with h5py.File(path, "a") as file:
        file["fields"][2, 1] = -300
        file["fields"][3, 0] = -1
        file["fields"][4, 0, 0, 0, 0] = -1.01
    assert list(map(str, check(path))) == ["error: fields: overdensity below -1 in 1 row (4)"]


def test_what_is_beside_has_an_entry_for_every_sample(tmp_path, field_file):
    path = tmp_path / "x.h5"
    path.write_bytes(field_file.read_bytes())
    with h5py.File(path, "a") as file:
        file["seed"] = np.arange(40)
        file["few"] = np.arange(39)
        file["few"].attrs.update(units="", description="too few")
    assert [(f.severity, f.where) for f in check(path)] == [("warning", "few")]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.h5")), ids=lambda path: path.stem)
def test_what_ships_is_clean(path):
    assert check(path) == []
    assert {"title", "generator", "licence", "acknowledgement"} <= Dataset(path).attributes.keys()
    assert path.stat().st_size < 6e6
