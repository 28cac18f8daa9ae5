from pathlib import Path

import h5py
import numpy as np
import pytest

from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"


@pytest.fixture(scope="session")
def sample():
    """The sample that ships: 4,000 photon showers in chunks of 512."""
    return SAMPLE


@pytest.fixture
def damaged(tmp_path):
    """A copy of the sample with bytes overwritten in the second chunk of layer 1."""
    path = tmp_path / "damaged.h5"
    path.write_bytes(SAMPLE.read_bytes())
    with h5py.File(path) as file:
        info = file["layer_1"].id.get_chunk_info(1)
    with path.open("rb+") as file:
        file.seek(info.byte_offset)
        file.write(b"\xff" * 100)
    return path


@pytest.fixture(scope="session")
def write_challenge():
    """Return a writer of CaloChallenge files as they are published: doubles, no attributes."""

    def write(path: Path, n: int = 30, voxels: int = 368, dtype: str = "f8") -> Path:
        rng = np.random.default_rng(1)
        energy = 2.0 ** rng.integers(8, 23, (n, 1))  # MeV, as data set 1 has them
        share = rng.dirichlet(np.ones(voxels), n)
        with h5py.File(path, "w") as file:
            file["incident_energies"] = energy.astype(dtype)
            file["showers"] = (0.8 * energy * share).astype(dtype)
        return path

    return write


GRID = Grid(("counts", "mass"), ("x", "y", "z"), (200.0, 200.0, 12.5), "Mpc/h", (True, True, False))
FIELDS = SampleSpec(
    "field",
    "native",
    (2, 8, 8, 4),
    "count",
    (Condition("omega_m", "", 0.1, 0.5), Condition("redshift", "", 0.5, 0.5)),
    grid=GRID,
)
BESIDE = {
    "simulation": Column((), "", "number of the box", dtype="i8"),
    "seconds": Column((), "s", "CPU time"),
    "catalogue": Column((3, 2), "Mpc/h", "halos, then NaN", ("halo", "axis")),
}


@pytest.fixture(scope="session")
def write_fields():
    """Return a writer of native files: slabs of boxes, four of each, or what `spec` says."""

    def write(path: Path, n: int = 40, spec: SampleSpec = FIELDS, **conditions) -> Path:
        rng = np.random.default_rng(n)
        asked = {c.name: rng.uniform(c.minimum, c.maximum, n).astype("f4") for c in spec.conditions}
        values = rng.poisson(3, (n, *spec.shape)).astype("f4")
        catalogue = rng.uniform(0, 200, (n, 3, 2))
        catalogue[:, 2] = np.nan
        extras = {
            "simulation": np.arange(n) // 4,
            "seconds": 1 + np.arange(n),
            "catalogue": catalogue,
        }
        with HDF5Writer(path, spec, n, attributes={"seed": 5}, beside=BESIDE) as writer:
            writer.append(Samples(values, asked | conditions), extras)
        return path

    return write


@pytest.fixture(scope="session")
def field_file(write_fields, tmp_path_factory):
    """A file of 40 slabs, 8 x 8 x 4 cells of two channels; not to be changed."""
    return write_fields(tmp_path_factory.mktemp("fields") / "slabs.h5")
