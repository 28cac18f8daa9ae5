from pathlib import Path

import h5py
import numpy as np
import pytest

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
