"""What several test folders share: a small reference file and a small emulator."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec
from emulators.data.transforms import Transform
from emulators.emulator import Emulator
from emulators.networks import build_networks
from emulators.training.loop import train
from emulators.training.recipe import recipe_from

LAYERS = ((3, 96), (12, 12), (12, 6))  # CaloGAN's


@pytest.fixture(scope="session")
def write_showers():
    """Return a writer of CaloGAN files: bare ones, without attributes, as the field has them."""

    def write(path: Path, n: int = 64, seed: int = 0, **replaced: np.ndarray | None) -> Path:
        """Write ``n`` showers; ``key=array`` replaces a data set, ``key=None`` omits it."""
        rng = np.random.default_rng(seed)
        energy = np.exp(rng.uniform(0, np.log(100), (n, 1)))  # GeV
        columns: dict[str, np.ndarray | None] = {"energy": energy}
        for i, shape in enumerate(LAYERS):
            cells = rng.exponential(1, (n, *shape)) * (rng.random((n, *shape)) < 0.4)
            share = (0.2, 0.6, 0.02)[i] * rng.uniform(0.8, 1.2, n) * energy[:, 0] * 1000  # MeV
            columns[f"layer_{i}"] = cells * (share / cells.sum((1, 2)))[:, None, None]
        columns["overflow"] = np.zeros((n, 3))
        with h5py.File(path, "w") as file:
            for key, values in (columns | replaced).items():
                if values is not None:
                    file[key] = np.asarray(values)
        return path

    return write


@pytest.fixture(scope="session")
def shower_file(write_showers, tmp_path_factory):
    """A file of 64 good showers, 1 to 100 GeV; not to be changed."""
    return write_showers(tmp_path_factory.mktemp("reference") / "photons.h5")


@pytest.fixture(scope="session")
def field_file(tmp_path_factory):
    """96 periodic maps of lognormal counts, four of each simulation; not to be changed.

    Their width goes with sigma_8, 0.6 to 1; omega_m, 0.2 to 0.4, changes nothing.
    """
    rng = np.random.default_rng(5)
    grid = Grid(("counts",), ("x", "y"), (32.0, 32.0), "Mpc/h", (True, True))
    conditions = (Condition("omega_m", "", 0.2, 0.4), Condition("sigma_8", "", 0.6, 1.0))
    spec = SampleSpec("field", "native", (1, 16, 16), "count", conditions, grid=grid)
    numbers = np.repeat(np.arange(24), 4)
    asked = {
        c.name: rng.uniform(c.minimum, c.maximum, 24).astype("f4")[numbers] for c in conditions
    }
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(16), np.fft.rfftfreq(16), indexing="ij"))
    modes = np.fft.rfft2(rng.standard_normal((96, 1, 16, 16))) * (k + 0.1) ** -0.75
    normal = np.fft.irfft2(modes, s=(16, 16))
    normal *= asked["sigma_8"][:, None, None, None] / normal.std()
    column = {"simulation": Column((), "", "number of the simulation", dtype="i8")}
    path = tmp_path_factory.mktemp("fields") / "maps.h5"
    with HDF5Writer(path, spec, 96, beside=column) as writer:
        counts = rng.poisson(8 * np.exp(normal)).astype("f4")
        writer.append(Samples(counts, asked), {"simulation": numbers})
    return path


@pytest.fixture(scope="session")
def field_emulator_file(field_file, tmp_path_factory):
    """An emulator of those maps, as a training of a few steps leaves it."""
    options = {"widths": [4], "critic_widths": [4, 8], "fine": 4, "calibration": 256}
    recipe = recipe_from(
        {
            "data": {"path": str(field_file), "validation": 0.2, "test": 0.2},
            "network": {"name": "field", **options},
            "optimiser": {"warm_up": 16, "schedule": "constant"},  # the same for any budget
            "training": {
                "batch_size": 8,
                "samples": 64,
                "device": "cpu",
                "log_samples": 16,
                "precision": "float32",
            },
            "monitor": {"every": 32},
        }
    )
    return train(recipe, tmp_path_factory.mktemp("fields") / "run")


@pytest.fixture(scope="session")
def emulator_file(shower_file, tmp_path_factory):
    """A saved emulator that was not trained: a small `mlp` in CaloGAN's geometry."""
    spec = Dataset(shower_file).spec
    options = {"latent": 8, "widths": [16], "critic_widths": [8]}
    generator, _ = build_networks("mlp", options, spec, seed=1)
    with torch.no_grad():
        generator.layers[-1].weight.mul_(0.01)
        generator.layers[-1].bias.mul_(0.01)
    transform = Transform(spec, [{"name": "incident_share"}])
    card = {
        "data_sha256": "0" * 64,
        "split": {"validation": 0.05, "test": 0.25, "seed": 0},
        "source": "made up for tests",
        "trained_on": {"licence": "CC0"},
    }
    path = tmp_path_factory.mktemp("emulators") / "tiny.pt"
    Emulator(generator, transform, spec, "mlp", options, card).save(path)
    return path
