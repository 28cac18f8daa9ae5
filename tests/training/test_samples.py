"""The samples of a training as its networks see them."""

import contextlib

import numpy as np
import pytest
import torch

from emulators.data.dataset import Dataset
from emulators.data.spec import Samples
from emulators.errors import InputError
from emulators.training.choices import resolve
from emulators.training.distributed import World
from emulators.training.loop import train
from emulators.training.recipe import recipe_from
from emulators.training.samples import Limit, Reference, require_finite

CPU = torch.device("cpu")


@contextlib.contextmanager
def reference_of(path, rank=0, size=1):
    """Yield counts in fields that are turned and jittered, in batches of 8."""
    recipe = recipe_from(
        {
            "data": {"path": str(path), "validation": 0.25, "test": 0.25},
            "network": {"name": "field"},
            "training": {"batch_size": 8},
        }
    )
    with contextlib.closing(Dataset(path)) as dataset:
        rows = dataset.split(0.25, 0.25, 0)
        recipe = resolve(recipe, dataset, rows["train"], CPU)
        yield Reference.of(recipe, dataset, rows, World(rank, size, CPU))


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


def test_processes_see_the_parts_of_one_batch(field_file):
    with reference_of(field_file) as alone:
        assert alone.symmetry is not None
        assert alone.transform.jitter
        random = numbers()
        whole = (*alone.batch(3, random), alone.uniform_conditions(random))
    parts = []
    for rank in range(2):
        with reference_of(field_file, rank, 2) as reference:
            random = numbers()
            parts.append((*reference.batch(3, random), reference.uniform_conditions(random)))
    for tensor, *halves in zip(whole, *parts):
        assert [len(half) for half in halves] == [4, 4]
        torch.testing.assert_close(torch.cat(halves), tensor)


def test_uniform_conditions_cover_their_ranges(field_file):
    with reference_of(field_file) as reference:
        random = numbers()
        asked = torch.cat([reference.uniform_conditions(random) for _ in range(200)])
        for column, condition in zip(asked.T, reference.spec.conditions, strict=True):
            width = condition.maximum - condition.minimum
            assert width > 0
            assert column.min() >= condition.minimum
            assert column.max() <= condition.maximum
            centre = (condition.minimum + condition.maximum) / 2
            assert column.mean().item() == pytest.approx(centre, abs=0.04 * width)


def test_examples_are_samples_of_the_training_split(field_file):
    with reference_of(field_file) as reference:
        samples, _ = reference.examples(Limit(5, 1 << 20), seed=0)
        train = reference.dataset.take(np.sort(reference.rows["train"]))
        assert len(samples) == 5
        # a map that is mirrored, turned and shifted has the same cells
        cells = {tuple(np.sort(field.ravel())) for field in train.values}
        assert all(tuple(np.sort(field.ravel())) in cells for field in samples.values)


def test_a_limit_is_of_samples_and_of_memory(field_file):
    with reference_of(field_file) as reference:
        nbytes = 4 * reference.dataset.read(0, 1).values.size
        assert Limit(7, 1 << 30).count(reference.spec) == 7
        assert Limit(7, 3 * nbytes).count(reference.spec) == 3
        assert Limit(7, 1).count(reference.spec) == 1


def test_samples_that_are_not_finite_are_counted(tmp_path):
    values = np.ones((5, 1, 4, 4), np.float32)
    require_finite(Samples(values, {}), tmp_path / "maps.h5")
    values[1, 0, 2, 3], values[4, 0, 0, 0] = np.nan, np.inf
    with pytest.raises(InputError, match=r"maps\.h5: 2 of 5 samples hold NaN or infinity"):
        require_finite(Samples(values, {}), tmp_path / "maps.h5")


def test_fits_know_the_simulations_of_their_samples(field_file, tmp_path):
    """The degree of what is fitted follows 24 simulations less those set aside, not 96 maps."""
    recipe = recipe_from(
        {
            "data": {"path": str(field_file), "validation": 0.25, "test": 0.25},
            "network": {
                "name": "field",
                "widths": [4],
                "critic_widths": [4, 8],
                "fine": 0,
                "calibration": 64,
            },
            "training": {"batch_size": 8, "samples": 8, "device": "cpu"},
            "monitor": {"previews": False},
        }
    )
    train(recipe, tmp_path / "run")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("12 simulations decide polynomials of the conditions of degree ") == 1
    dataset = Dataset(field_file)
    rows = np.array([17, 3, 90])
    samples = dataset.take(rows)
    assert samples.simulations.tolist() == (rows // 4).tolist()
    assert samples[1:].simulations.tolist() == [0, 22]
