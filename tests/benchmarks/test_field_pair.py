"""Which fields of two files are compared, and which files are refused."""

import json

import h5py
import numpy as np
import pytest

from emulators.benchmarks.pair import load_pair
from emulators.data.convert import split
from emulators.data.dataset import Dataset, split_rows
from emulators.data.hdf5 import content_hash
from emulators.errors import InputError

SIMULATIONS, EACH = 60, 4
SHARES = {"validation": 0.1, "test": 0.4, "seed": 3}


@pytest.fixture(scope="module")
def law(lognormal):
    rng = np.random.default_rng(0)
    columns = (rng.uniform(low, high, SIMULATIONS) for low, high in ((0.2, 0.4), (0.6, 1.0)))
    conditions = dict(zip(("omega_m", "sigma_8"), (c.repeat(EACH) for c in columns)))
    return conditions, lognormal(rng, conditions["sigma_8"])


@pytest.fixture(scope="module")
def reference(law, write_fields, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "reference.h5"
    return write_fields(path, law[1], law[0], np.arange(SIMULATIONS).repeat(EACH))


def first(law, n):
    return law[1][:n], {name: values[:n] for name, values in law[0].items()}


def test_bad_pairs_are_refused(law, reference, write_fields, tmp_path):
    few, conditions = first(law, 20)

    def refused(match, fields=few, **options):
        path = write_fields(tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", fields, conditions,
                            **options)  # fmt: skip
        with pytest.raises(InputError, match=match):
            load_pair(path, reference, None, 0)

    refused(r"differ in cells.*8, 8 and 16, 16", few[:, ::2, ::2])
    refused("differ in lengths", lengths=(50.0, 50.0))
    refused("differ in periodic", periodic=False)
    refused(r"differ in channels.*gas and counts", channels=("gas",))
    with pytest.raises(InputError, match=r"7 generated fields.*at least 8"):
        load_pair(write_fields(tmp_path / "few.h5", *first(law, 7)), reference, None, 0)
    holed = few.copy()
    holed[3, 0, 0] = np.nan
    pair = load_pair(write_fields(tmp_path / "n.h5", holed, conditions), reference, None, 0)
    with pytest.raises(InputError, match="field 3 holds NaN"):
        list(pair.pieces("generated", 0, np.arange(20)))


def test_showers_against_fields_are_refused(reference, shower_file):
    with pytest.raises(InputError, match=r"holds fields and .* showers"):
        load_pair(reference, shower_file, None, 0)


def test_other_conditions_are_warned_of(law, reference, write_fields, tmp_path):
    twin = write_fields(tmp_path / "t.h5", np.roll(law[1], 1, 1), law[0])
    same = load_pair(twin, reference, None, 0)
    assert same.paired
    assert same.warnings == ()
    fields, conditions = np.roll(law[1][:100], 1, 1), first(law, 100)[1]
    conditions["sigma_8"] = np.full(100, 0.8)
    other = write_fields(tmp_path / "g.h5", fields, conditions)
    pair = load_pair(other, reference, None, 0)
    assert pair.p_values["sigma_8"] < 1e-2
    assert "--conditions" in pair.warnings[0]
    assert "omega" not in pair.warnings[0]
    del conditions["sigma_8"]
    pair = load_pair(write_fields(tmp_path / "o.h5", fields, conditions), reference, None, 0)
    assert "Only one of the files has sigma_8" in pair.warnings[0]
    assert pair.names == ("omega_m",)


def test_only_simulations_of_the_test_split_are_used(law, reference, write_fields, tmp_path):
    path = write_fields(tmp_path / "g.h5", *first(law, 50))
    with h5py.File(path, "a") as file:
        rows = {name: len(r) for name, r in Dataset(reference).split(**SHARES).items()}
        file.attrs["training_data_sha256"] = content_hash(reference)
        file.attrs["training_split"] = json.dumps(SHARES | {"rows": rows})
    pair = load_pair(path, reference, None, 0)
    expected = Dataset(reference).split(**SHARES)
    np.testing.assert_array_equal(pair.rows["reference"], expected["test"])
    np.testing.assert_array_equal(pair.trained, expected["train"])
    numbers = pair.simulations["reference"]
    np.testing.assert_array_equal(np.unique(numbers), split_rows(SIMULATIONS, **SHARES)["test"])
    assert "test split" in pair.files["reference"]["selection"]
    assert pair.warnings == ()

    parts = split(reference, tmp_path / "parts", **SHARES)
    tested = load_pair(path, parts["test"], None, 0)
    assert len(tested.rows["reference"]) == len(expected["test"])
    assert "did not see" in tested.files["reference"]["selection"]
    assert "held out" in load_pair(path, parts["train"], None, 0).warnings[0]
    other = split(reference, tmp_path / "other", **(SHARES | {"seed": 4}))["test"]
    seen = load_pair(path, other, None, 0)
    assert np.isin(np.unique(seen.simulations["reference"]), np.unique(numbers)).all()
