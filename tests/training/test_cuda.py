"""A training on a CUDA device, from the file to the emulator: skipped where there is none."""

import pytest
import torch

from emulators.loading import load
from emulators.training.distributed import World
from emulators.training.loop import train
from emulators.training.recipe import recipe_from
from emulators.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SMALL = {
    "shower": {"name": "shower", "width": 16, "depth": 2, "critic_width": 16, "critic_depth": 2},
    "field": {"name": "field", "widths": [4], "critic_widths": [4], "fine": 4, "particles": 4},
}


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("kind", sorted(SMALL))
def test_a_training_on_cuda_makes_an_emulator_for_every_device(kind, graphs, request, tmp_path):
    data = request.getfixturevalue(f"{kind}_file")
    recipe = recipe_from(
        {
            "data": {"path": str(data), "validation": 0.25, "test": 0.25},
            "network": SMALL[kind],
            "training": {"batch_size": 8, "samples": 96, "log_samples": 16, "graphs": graphs},
            "monitor": {"every": 32},
        }
    )
    emulator = load(train(recipe, tmp_path / "run"))
    at = {c.name: c.maximum for c in emulator.spec.conditions}
    expected = emulator.to("cpu").generate(4, seed=1, **at).values
    found = emulator.to("cuda").generate(4, seed=1, **at).values
    assert found.shape == expected.shape
    assert found.sum() == pytest.approx(expected.sum(), rel=0.05)


def test_a_transform_with_fitted_numbers_ends_on_cuda(field_file, tmp_path):
    """Last corrections see the samples through a transform that is on the device."""
    recipe = recipe_from(
        {
            "data": {"path": str(field_file), "validation": 0.25, "test": 0.25},
            "network": {"name": "field", "widths": [4], "critic_widths": [4], "calibration": 16},
            "transform": {"steps": [{"name": "standardise"}]},
            "training": {"batch_size": 8, "samples": 32, "log_samples": 16},
        }
    )
    emulator = load(train(recipe, tmp_path / "run"), "cpu")
    assert emulator.generator.corrections.fitted


def test_recorded_updates_do_what_the_others_do(field_file):
    weights = []
    for graphs in (False, True):
        recipe = recipe_from(
            {
                "data": {"path": str(field_file)},
                "network": SMALL["field"],
                "game": {"penalty_interval": 2},
                "optimiser": {"warm_up": 32},
                "training": {
                    "batch_size": 8,
                    "samples": 160,
                    "graphs": graphs,
                    "precision": "float32",
                },
            }
        )
        trainer = Trainer(recipe, World(0, 1, torch.device("cuda")))
        start = [p.detach().clone() for p in trainer.generator.parameters()]
        for _ in range(20):
            trainer.step()
        assert trainer.tally.healthy()
        moved = [p.detach() - s for p, s in zip(trainer.generator.parameters(), start)]
        weights.append(torch.cat([m.flatten() for m in moved]))
        trainer.close()
    assert len(trainer._recorded) == 3
    eager, recorded = weights
    assert (eager - recorded).norm() < 0.05 * eager.norm()
