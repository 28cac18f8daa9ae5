"""Columns beside the samples: conditions where they are asked for, never lost without a word."""

import logging

import h5py
import numpy as np
import pytest

from emulators.data.conditions import ConditionLaw
from emulators.data.convert import convert, split
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Condition, Samples, SampleSpec
from emulators.errors import InputError

N = 64
ANGLES = np.linspace(40, 140, N)


@pytest.fixture
def slanted(tmp_path, write_showers):
    """Showers with columns as simulations write them, and what is none."""
    columns = {
        "theta": ANGLES[:, None],
        "particle": np.array([11, 22, -211, 22] * (N // 4)),
        "vertex": np.zeros((N, 3)),
        "few": np.zeros(3),
    }
    path = write_showers(tmp_path / "slanted.h5", N, **columns)
    with h5py.File(path, "a") as file:
        file["theta"].attrs["units"] = "deg"
    return path


def test_columns_become_conditions(slanted):
    dataset = Dataset(slanted, conditions=["theta", "particle"])
    energy, theta, particle = dataset.spec.conditions
    assert energy == Dataset(slanted).spec.conditions[0]
    assert theta == Condition("theta", "deg", 40.0, 140.0)
    assert particle == Condition("particle", "", -211.0, 22.0)
    asked = dataset.read(8, 20).conditions
    np.testing.assert_array_equal(asked["theta"], ANGLES[8:20].astype("f4"))
    assert asked["particle"][:3].tolist() == [11, 22, -211]
    assert dataset.take([3, 1]).conditions["particle"].tolist() == [22, 22]
    assert dataset.unused == ([], ["vertex", "few"])
    assert Dataset(slanted).unused == (["particle", "theta"], ["vertex", "few"])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("thteta", None, r"has no condition 'thteta' .did you mean 'theta'"),
        ("layer_1", None, "has no condition 'layer_1'"),
        ("vertex", None, r"'vertex' has float64 of shape \(64, 3\): a condition is one number"),
        (
            "theta",
            np.where(ANGLES > 130, np.nan, ANGLES),
            "7 values of theta are not finite .first",
        ),
        ("theta", np.full(N, 2**24 + 1), "64 values of theta are too long for single precision"),
        ("a=b", ANGLES, "condition 'a=b': a name has no '='"),
    ],
)
def test_columns_that_cannot_be_conditions(slanted, name, values, message):
    if values is not None:
        with h5py.File(slanted, "a") as file:
            if name in file:
                del file[name]
            file[name] = values
    with pytest.raises(InputError, match=message):
        Dataset(slanted, conditions=[name])


def test_units_that_are_no_units_are_said(slanted, caplog):
    caplog.set_level(logging.INFO, "emulators")
    with h5py.File(slanted, "a") as file:
        file["theta"].attrs["units"] = "degrees of arc"
    assert Dataset(slanted, conditions=["theta"]).spec.condition("theta").unit == ""
    assert "'degrees of arc' is no unit that astropy knows: plain numbers" in caplog.text


@pytest.mark.parametrize("layout", ["calogan", "calochallenge"])
def test_a_file_of_slanted_showers_says_so_itself(slanted, tmp_path, layout):
    source = Dataset(slanted, conditions=["theta", "particle"])
    spec = SampleSpec(
        "shower", layout, source.spec.shape, "MeV", source.spec.conditions, source.spec.geometry
    )
    samples = source.read(0, N)
    with HDF5Writer(tmp_path / "x.h5", spec, N) as writer:
        writer.append(samples)
    written = Dataset(tmp_path / "x.h5")
    assert written.spec.conditions == source.spec.conditions
    again = written.read(0, N)
    for name, values in samples.conditions.items():
        np.testing.assert_array_equal(again.conditions[name], values)
    with h5py.File(tmp_path / "x.h5") as file:
        assert (file["theta"].shape, file["theta"].attrs["units"]) == ((N, 1), "deg")
    copy = Dataset(convert(tmp_path / "x.h5", tmp_path / "y.h5", rows="4:9"))
    assert [c.name for c in copy.spec.conditions] == ["incident_energy", "theta", "particle"]
    law = ConditionLaw.from_file(slanted, written.spec.conditions)  # by columns that state nothing
    np.testing.assert_array_equal(law.draw(0, 0, N)["theta"], samples.conditions["theta"])


def test_names_that_another_layout_has_itself_are_refused(slanted, tmp_path):
    with h5py.File(slanted, "a") as file:
        file["showers"] = ANGLES
    source = Dataset(slanted, conditions=["showers"])
    with HDF5Writer(tmp_path / "x.h5", source.spec, N) as writer:
        writer.append(source.read(0, N))
    with pytest.raises(InputError, match="'calochallenge' has a data set 'showers' of its own"):
        convert(tmp_path / "x.h5", tmp_path / "y.h5", "calochallenge")
    assert not (tmp_path / "y.h5").exists()


def test_copies_keep_columns_and_say_what_they_drop(slanted, tmp_path, caplog):
    caplog.set_level(logging.INFO, "emulators")
    target = convert(slanted, tmp_path / "cc.h5", "calochallenge")
    assert f"{target}: not taken over from {slanted}: few, overflow" in caplog.text
    parts = split(slanted, tmp_path / "parts")
    for path in (target, *parts.values()):
        data = Dataset(path, conditions=["theta"])
        assert data.spec.condition("theta").unit == "deg"
        assert {"theta", "particle", "vertex"} <= {*h5py.File(path)}
        assert data.column("particle").dtype == np.int64


def test_fields_take_columns_too(field_file, tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(field_file.read_bytes())
    n = len(Dataset(path))
    ages = np.linspace(1, 2, n)
    with h5py.File(path, "a") as file:
        file["age"] = ages
        file["age"].attrs["unit"] = "Gyr"
    data = Dataset(path, conditions=["age"])
    assert data.spec.conditions[-1] == Condition("age", "Gyr", 1.0, 2.0)
    stored = Dataset(path)
    assert data.spec.conditions[:-1] == stored.spec.conditions
    np.testing.assert_array_equal(data.read(3, 9).conditions["age"], ages[3:9].astype("f4"))
    with HDF5Writer(tmp_path / "y.h5", data.spec, n) as writer:
        writer.append(data.read(0, n))
    assert "age" in h5py.File(tmp_path / "y.h5")["conditions"].dtype.names


def test_two_conditions_are_not_called_the_same():
    twice = (Condition("n", "", 0.0, 1.0), Condition("n", "", 0.0, 2.0))
    with pytest.raises(InputError, match="conditions n, n: give each a name of its own"):
        SampleSpec("point", "native", (2,), "", twice)


def test_a_constant_condition_hides_no_attribute(tmp_path):
    fixed = tuple(Condition(name, "", 2.0, 2.0) for name in ("seed", "kind", "noise"))
    spec = SampleSpec("point", "native", (2,), "", fixed)
    asked = {c.name: np.full(3, 2, "f4") for c in fixed}
    with HDF5Writer(tmp_path / "x.h5", spec, 3, attributes={"seed": 7}) as writer:
        writer.append(Samples(np.zeros((3, 2), "f4"), asked))
    data = Dataset(tmp_path / "x.h5")
    assert (data.spec.conditions, data.spec.kind) == (fixed, "point")
    assert data.attributes == {"seed": 7}
