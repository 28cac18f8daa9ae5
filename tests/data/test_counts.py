"""Counts above 2^24: every particle is kept, or the file is refused."""

import json

import h5py
import numpy as np
import pytest

from emulators.data.check import check
from emulators.data.convert import convert
from emulators.data.counts import LARGEST, counted
from emulators.data.cut import Cut
from emulators.data.dataset import Dataset
from emulators.data.sources import Told
from emulators.errors import InputError
from emulators.simulators import nbody
from emulators.simulators.nbody import NBody

COUNTS = Told(box="100", unit="count", periodic=True)
KINDS = ["i4", "u4", "i8", "u8", "f8"]


def boxes(tmp_path, values, dtype="i8"):
    np.save(tmp_path / "boxes.npy", np.asarray(values, dtype))
    return tmp_path / "boxes.npy"


@pytest.mark.parametrize("dtype", KINDS)
def test_whole_numbers_are_kept_or_refused(dtype):
    edge = np.array([0, 1, LARGEST - 1, LARGEST, LARGEST + 2, 3 * LARGEST], dtype)
    kept = counted(edge, "here", "do that")
    assert kept.dtype == np.float32
    assert kept.astype(dtype).tolist() == edge.tolist()
    edge[1:3] = LARGEST + 1, LARGEST + 3
    message = "here: 2 cells of more than 16,777,216 counts, up to 16,777,219, .*: do that"
    with pytest.raises(InputError, match=message):
        counted(edge, "here", "do that")


def test_what_is_not_finite_is_for_others_to_refuse():
    values = np.array([np.nan, np.inf, 1e300])
    np.testing.assert_array_equal(counted(values, "", ""), np.float32([np.nan, np.inf, np.inf]))


def test_counts_that_a_source_holds(tmp_path):
    values = np.full((2, 4, 4, 4), 3)
    values[1, 0, 0, 0] = LARGEST + 1
    source = boxes(tmp_path, values)
    message = "boxes.npy: entry 1: 1 cell of more than 16,777,216 counts, .*give --unit none"
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "b.h5", origin="array", told=COUNTS)
    assert not (tmp_path / "b.h5").exists()
    told = Told(box="100", unit="none")
    numbers = Dataset(convert(source, tmp_path / "b.h5", origin="array", told=told))
    assert numbers.read(0, 2).values.max() == LARGEST


@pytest.mark.parametrize("cut", [Cut(coarsen=4), Cut(slabs=1, coarsen=4)], ids=["boxes", "maps"])
def test_counts_of_joined_cells(tmp_path, cut):
    """64 cells of 2^18 are 2^24 particles; one more is refused, two more are kept."""
    for more in (0, 1, 2):
        values = np.full((1, 4, 4, 4), LARGEST // 64)
        values[0, 1, 2, 3] += more
        source, target = boxes(tmp_path, values, "i4"), tmp_path / f"{more}.h5"
        if more == 1:
            with pytest.raises(InputError, match=r"entry 0: 1 cell .*less --coarsen, more --slabs"):
                convert(source, target, origin="array", told=COUNTS, cut=cut)
            assert not target.exists()
        else:
            made = Dataset(convert(source, target, origin="array", told=COUNTS, cut=cut))
            assert np.unique(made.read(0, len(made)).values) == [LARGEST + more]


def test_a_mean_is_rounded_and_not_refused(tmp_path):
    values = np.full((1, 4, 4), LARGEST + 1)
    told = Told(box="100", unit="none")
    source = boxes(tmp_path, values)
    convert(source, tmp_path / "m.h5", origin="array", told=told, cut=Cut(coarsen=2))
    assert Dataset(tmp_path / "m.h5").read(0, 1).values.max() == LARGEST


def test_counts_in_double_precision_in_a_native_file(tmp_path, write_fields):
    path = write_fields(tmp_path / "counts.h5", 4)
    with h5py.File(path, "a") as file:
        values = file["fields"][:].astype("f8")
        values[2, 0, 0, 0, 0] = LARGEST + 1
        said = dict(file["fields"].attrs)
        del file["fields"]
        file["fields"] = values
        file["fields"].attrs.update(said)
    (finding,) = check(path)
    assert (finding.severity, finding.rows) == ("error", (2,))
    assert "counts above 16,777,216" in finding.what
    assert len(Dataset(path).read(0, 2)) == 2
    with pytest.raises(InputError, match=r"rows 0 to 4: 1 cell .*--from array --unit none"):
        Dataset(path).read(0, 4)
    with h5py.File(path, "a") as file:
        spec = json.loads(file.attrs["spec"]) | {"unit": ""}
        file.attrs["spec"] = json.dumps(spec)
    assert len(Dataset(path).read(0, 4)) == 4


def test_counts_that_a_simulation_makes(monkeypatch, tmp_path):
    """All particles in one cell, as many as single precision counts, and one more."""

    def assign(positions, cells, order):
        mass = np.zeros(cells)
        mass[0, 0, 0] = len(positions)
        return mass

    monkeypatch.setattr(nbody, "assign", assign)
    monkeypatch.setattr(nbody, "read_positions", lambda file: range(file))
    simulator = NBody(particles=16, cells=4)
    assert simulator._measure(LARGEST).sum(dtype="f8") == LARGEST
    with pytest.raises(InputError, match=r"'nbody': 1 cell .*give more cells, or overdensities"):
        simulator._measure(LARGEST + 1)
    whole = NBody(particles=16, cells=4, quantity="overdensity")
    assert whole._measure(LARGEST + 1).max() == 63
