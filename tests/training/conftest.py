import pytest

from emulators.training.recipe import recipe_from


@pytest.fixture(scope="session")
def reference(write_showers, tmp_path_factory):
    """A file of 400 showers."""
    return write_showers(tmp_path_factory.mktemp("training") / "photons.h5", n=400, seed=3)


@pytest.fixture(scope="session")
def recipe(reference):
    """A training of 40 steps with every random part of a step in it; a second or two."""
    return recipe_from(
        {
            "data": {"path": str(reference), "validation": 0.1, "mirror": ["x", "y"]},
            "network": {"name": "mlp", "latent": 8, "widths": [16], "critic_widths": [16]},
            "game": {"gradient_penalty": 0.1, "n_generator": 2, "energy_weight": 0.05},
            "optimiser": {"warm_up": 320},
            "training": {
                "samples": 1280,
                "batch_size": 32,
                "precision": "float32",
                "device": "cpu",
                "log_samples": 320,
                "ema_half_life": 500,
            },
            "monitor": {"every": 640, "previews": False},
        }
    )
