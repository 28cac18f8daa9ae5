import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy.table import Table

from emulators.data import geometries
from emulators.data.check import check
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.data.layouts import LAYOUTS
from emulators.data.spec import Condition, Grid, Samples, SampleSpec
from emulators.errors import InputError


def spec_of(layout: str, geometry) -> SampleSpec:
    energy = Condition("incident_energy", "GeV", 0.1, 10_000.0, "log")
    return SampleSpec("shower", layout, (geometry.n_cells,), "MeV", (energy,), geometry)


def test_calogan_has_energies_in_gev_and_cells_layer_after_layer(shower_file):
    dataset = Dataset(shower_file)
    samples = dataset.read(3, 7)
    with h5py.File(shower_file) as file:
        energy, layers = file["energy"][3:7, 0], [file[f"layer_{i}"][3:7] for i in range(3)]
    assert dataset.layout == "calogan"
    assert samples.values.dtype == samples.conditions["incident_energy"].dtype == np.float32
    np.testing.assert_array_equal(samples.conditions["incident_energy"], energy.astype("f4"))
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(
            dataset.spec.geometry.layer(samples.values, i), layer.astype("f4")
        )
    # Deposits in MeV, energies in GeV: the shares of these showers add up to 0.82.
    ratio = samples.values.sum(1) / (samples.conditions["incident_energy"] * 1000)
    assert 0.6 < ratio.min() < ratio.max() < 1


def test_calochallenge_energies_become_gev(tmp_path, write_challenge):
    dataset = Dataset(write_challenge(tmp_path / "dataset_1_photons_1.hdf5"))
    samples = dataset.read(0, 30)
    with h5py.File(dataset.path) as file:
        energy, showers = file["incident_energies"][:, 0], file["showers"][:]
    assert (dataset.layout, dataset.spec.particle) == ("calochallenge", "photon")
    np.testing.assert_array_equal(
        samples.conditions["incident_energy"], (energy / 1e3).astype("f4")
    )
    np.testing.assert_array_equal(samples.values, showers.astype("f4"))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u8"])
def test_any_number_and_any_number_of_axes_for_energies(tmp_path, write_showers, dtype):
    energy = np.array([2.0, 50.0, 99.5], dtype)
    cells = np.ones((3, 3, 96), dtype)
    path = write_showers(tmp_path / "x.h5", 3, energy=energy, layer_0=cells)
    np.testing.assert_array_equal(Dataset(path).read(0, 3).conditions["incident_energy"], energy)


@pytest.mark.parametrize("layout", [m.NAME for m in LAYOUTS.values() if "shower" in m.KINDS])
@pytest.mark.parametrize("geometry", [geometries.calogan(), geometries.calochallenge("1-photons")])
def test_what_is_written_is_read_exactly(tmp_path, layout, geometry):
    rng = np.random.default_rng(0)
    values = 10 ** rng.uniform(-10, 5, (40, geometry.n_cells)) * rng.integers(0, 2, (40, 1))
    samples = Samples(
        values.astype("f4"),
        {"incident_energy": np.exp(rng.uniform(-1, 8, 40)).astype("f4")},
    )
    path = tmp_path / "out.h5"
    with HDF5Writer(path, spec_of(layout, geometry), 40) as writer:
        writer.append(samples)
    dataset = Dataset(path)
    read = dataset.read(0, 40)
    assert dataset.spec == spec_of(layout, geometry)
    np.testing.assert_array_equal(read.values, samples.values)
    np.testing.assert_array_equal(
        read.conditions["incident_energy"], samples.conditions["incident_energy"]
    )


def test_discrete_energies_of_calochallenge_stay_whole_mev(tmp_path):
    mev = 2.0 ** np.arange(8, 23)
    spec = spec_of("calochallenge", geometries.calochallenge("1-photons"))
    values = np.ones((len(mev), 368), "f4")
    with HDF5Writer(tmp_path / "x.h5", spec, len(mev)) as writer:
        writer.append(Samples(values, {"incident_energy": (mev / 1000).astype("f4")}))
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["incident_energies"][:, 0], mev)


def test_written_files_say_their_units(tmp_path, shower_file):
    dataset = Dataset(shower_file)
    for layout, units in (
        ("calogan", {"energy": "GeV", "layer_0": "MeV", "overflow": "MeV"}),
        ("calochallenge", {"incident_energies": "MeV", "showers": "MeV"}),
    ):
        path = tmp_path / f"{layout}.h5"
        with HDF5Writer(path, spec_of(layout, dataset.spec.geometry), 4) as writer:
            writer.append(dataset.read(0, 4))
        with h5py.File(path) as file:
            assert file.attrs["format"] == "emulators"
            assert {key: file[key].attrs["units"] for key in units} == units
            assert all({"description", "axes"} <= set(file[key].attrs) for key in file)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.00017, 99.9922, (1.0, 100.0)),
        (0.256, 4194.304, (0.256, 4200.0)),
        (50.0, 50.0, (50.0, 50.0)),
        (1.2345e-3, 7.0, (0.00123, 7.0)),
    ],
)
def test_ranges_are_rounded_outwards(tmp_path, write_showers, low, high, expected):
    path = write_showers(tmp_path / "x.h5", 2, energy=np.array([[low], [high]], "f4"))
    condition = Dataset(path).spec.condition("incident_energy")
    assert (condition.minimum, condition.maximum) == expected
    assert (condition.unit, condition.scale) == ("GeV", "log")


def test_stated_range_is_believed_only_where_it_is_true(tmp_path, shower_file):
    dataset = Dataset(shower_file)
    samples = dataset.read(0, 8)
    for energy, expected in ((5.0, (0.1, 10_000.0)), (20_000.0, (20_000.0, 20_000.0))):
        path = tmp_path / f"{energy}.h5"
        constant = {"incident_energy": np.full(8, energy, "f4")}
        with HDF5Writer(path, spec_of("calogan", dataset.spec.geometry), 8) as writer:
            writer.append(Samples(samples.values, constant))
        condition = Dataset(path).spec.condition("incident_energy")
        assert (condition.minimum, condition.maximum) == expected


def test_geometry_of_45_layers_fits_into_the_attributes(tmp_path):
    spec = spec_of("calochallenge", geometries.calochallenge("3"))
    with HDF5Writer(tmp_path / "x.h5", spec, 1) as writer:
        writer.append(Samples(np.ones((1, 40500), "f4"), {"incident_energy": np.ones(1, "f4")}))
    assert Dataset(tmp_path / "x.h5").spec == spec


def change(path, **attributes):
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"format_version": 99}, "format version 99 is not known"),
        ({"spec": "{"}, "attribute 'spec' is not readable"),
        ({"spec": '{"kind": "shower", "colour": 1}'}, "unknown key 'spec.colour'"),
    ],
)
def test_native_attributes_that_cannot_be_used(tmp_path, shower_file, attributes, message):
    dataset = Dataset(shower_file)
    with HDF5Writer(tmp_path / "x.h5", dataset.spec, 4) as writer:
        writer.append(dataset.read(0, 4))
    change(tmp_path / "x.h5", **attributes)
    with pytest.raises(InputError, match=message):
        Dataset(tmp_path / "x.h5")


def test_files_of_no_layout_or_another_one(tmp_path, shower_file):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["events"] = np.ones(3)
    with pytest.raises(InputError, match=r"no known layout .*it has keys events"):
        Dataset(tmp_path / "x.h5")
    with pytest.raises(InputError, match="not of layout 'calochallenge': it has keys energy"):
        Dataset(shower_file, layout="calochallenge")
    with pytest.raises(InputError, match=r"unknown layout 'calogn' .did you mean 'calogan'"):
        Dataset(shower_file, layout="calogn")


def test_shapes_that_do_not_fit(tmp_path, write_showers, write_challenge):
    path = write_showers(tmp_path / "a.h5", 4, layer_1=np.ones((4, 6, 6)))
    with pytest.raises(InputError, match=r"layer_1 has shape \(4, 6, 6\), not \(N, 12, 12\)"):
        Dataset(path)
    path = write_showers(tmp_path / "b.h5", 4, layer_2=None)
    with pytest.raises(InputError, match="layer_2 is missing"):
        Dataset(path)
    path = write_showers(tmp_path / "c.h5", 4, energy=np.ones((4, 1), complex))
    with pytest.raises(InputError, match="energy holds complex128, not numbers"):
        Dataset(path)
    path = write_challenge(tmp_path / "d.h5", voxels=100)
    with pytest.raises(InputError, match="no CaloChallenge data set has such voxels"):
        Dataset(path)
    with pytest.raises(InputError, match=r"showers has shape \(30, 100\), not \(N, 504\)"):
        Dataset(path, geometry=geometries.calogan())


BANDS = Grid(("g", "r", "i"), ("y", "x"), (6.0, 12.0), "arcsec", (False, False))
DEPTH = Condition("depth", "mag", 24.0, 29.0)


@pytest.mark.parametrize(
    ("spec", "key", "axes"),
    [
        (
            SampleSpec("image", "native", (3, 6, 12), "nJy", (DEPTH,), grid=BANDS),
            "images",
            "sample, channel, y, x",
        ),
        (SampleSpec("point", "native", (2,), "m", ()), "points", "sample, component"),
    ],
)
def test_native_samples_are_read_exactly(tmp_path, spec, key, axes):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, *spec.shape)).astype("f4")
    asked = {c.name: rng.uniform(c.minimum, c.maximum, 9).astype("f4") for c in spec.conditions}
    with HDF5Writer(tmp_path / "x.h5", spec, 9) as writer:
        for i in range(9):
            writer.append(Samples(values, asked)[i : i + 1])
    dataset = Dataset(tmp_path / "x.h5")
    assert (dataset.layout, dataset.spec, len(dataset)) == ("native", spec, 9)
    assert dataset.sample_bytes == 4 * (values[0].size + len(asked))
    rows = [7, 2, 2]
    taken = dataset.take(rows)
    np.testing.assert_array_equal(taken.values, values[rows])
    assert set(taken.conditions) == set(dataset.read_conditions(0, 9)) == set(asked)
    for name, column in asked.items():
        np.testing.assert_array_equal(taken.conditions[name], column[rows])
    with h5py.File(tmp_path / "x.h5") as file:
        assert set(file) == {key, "conditions"} if asked else {key}
        assert file[key].dtype == np.float32
        assert (file[key].attrs["units"], file[key].attrs["axes"]) == (spec.unit, axes)


def test_a_field_file_is_understood_without_this_package(field_file):
    spec = Dataset(field_file).spec
    with h5py.File(field_file) as file:
        root, fields = dict(file.attrs), dict(file["fields"].attrs)
        omega = file["conditions"]["omega_m"]
        assert list(file["conditions"].attrs["units"]) == ["", ""]
    assert root["box_size"].tolist() == fields["lengths"].tolist() == [200.0, 200.0, 12.5]
    assert root["box_size_unit"] == fields["length_unit"] == "Mpc/h"
    assert list(root["channels"]) == list(fields["channels"]) == ["counts", "mass"]
    assert root["redshift"] == 0.5  # the same for all
    assert "omega_m" not in root
    assert fields["units"] == "count"
    assert fields["axes"] == "sample, channel, x, y, z"
    assert fields["cell_sizes"].tolist() == [25.0, 25.0, 3.125]
    assert fields["periodic"].tolist() == [True, True, False]
    assert fields["description"] == "counts, mass in the cells of a field"
    table = Table.read(field_file, "conditions")
    assert table.colnames == [c.name for c in spec.conditions] == ["omega_m", "redshift"]
    np.testing.assert_array_equal(table["omega_m"], omega)


def test_ranges_of_native_conditions_are_believed_where_they_are_true(tmp_path, write_fields):
    stated = Dataset(write_fields(tmp_path / "a.h5", 8)).spec.conditions
    assert [(c.minimum, c.maximum) for c in stated] == [(0.1, 0.5), (0.5, 0.5)]
    omega = np.array([0.25, 0.75, np.nan, 0.5] * 2, "f4")
    found = Dataset(write_fields(tmp_path / "b.h5", 8, omega_m=omega)).spec.conditions
    assert [(c.minimum, c.maximum) for c in found] == [(0.25, 0.75), (0.5, 0.5)]
    with pytest.raises(InputError, match="none of its 8 omega_m is finite"):
        Dataset(write_fields(tmp_path / "c.h5", 8, omega_m=np.full(8, np.nan, "f4")))


def without_table(file):
    del file["conditions"]


def other_table(file):
    del file["conditions"]
    file["conditions"] = np.zeros(40, [("omega_m", "f4"), ("z", "f4")])


def no_spec(file):
    del file.attrs["spec"]


def restated(**changes):
    def change(file):
        spec = SampleSpec.from_mapping(json.loads(file.attrs["spec"]))
        file.attrs["spec"] = json.dumps(replace(spec, **changes).to_mapping())

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_table, "does not fit its attribute 'spec': conditions is missing"),
        (other_table, "its table of conditions lacks redshift"),
        (no_spec, "has no attribute 'spec'"),
        (
            restated(shape=(2, 8, 8, 5)),
            r"fields has shape \(40, 2, 8, 8, 4\), not \(N, 2, 8, 8, 5\)",
        ),
        (restated(shape=(1, 8, 8, 4)), r"shape \(1, 8, 8, 4\) do not fit 2 channels"),
        (restated(shape=(2, 8, 8)), r"shape \(2, 8, 8\) do not fit 2 channels"),
        (restated(kind="image"), "images is missing"),
        (restated(grid=None), "without a grid are not of this layout"),
        (restated(kind="shower"), "with a grid are not of this layout"),
    ],
)
def test_native_files_that_contradict_themselves(tmp_path, field_file, change, message):
    path = tmp_path / "x.h5"
    path.write_bytes(field_file.read_bytes())
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(InputError, match=message):
        Dataset(path)
    (finding,) = [f for f in check(path) if f.severity == "error"]
    assert "cannot be read" not in finding.what


def test_only_showers_have_a_geometry(field_file):
    with pytest.raises(InputError, match="only showers have a geometry, this file has fields"):
        Dataset(field_file, geometry=geometries.calogan())
