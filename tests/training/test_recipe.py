import dataclasses
import re
from pathlib import Path

import pytest

from emulators.config import as_mapping, dump_toml
from emulators.errors import InputError
from emulators.training.recipe import read_recipe, recipe_from

MINIMAL = {"data": {"path": "photons.h5"}, "network": {"name": "shower"}}


def test_minimal_recipe_has_everything():
    recipe = recipe_from(MINIMAL)
    assert recipe.architecture == "shower"
    assert recipe.options == {}
    assert (recipe.game.objective, recipe.game.r1, recipe.game.r2) == ("relativistic", 0.1, 0.1)
    assert recipe.training.samples
    assert recipe.training.minutes is None


def test_penalties_follow_the_objective_unless_set():
    assert recipe_from(MINIMAL | {"game": {"objective": "hinge"}}).game.r1 == 0
    assert recipe_from(MINIMAL | {"game": {"r1": 0.0}}).game.r1 == 0
    assert recipe_from(MINIMAL | {"game": {"objective": "hinge", "r2": 2}}).game.r2 == 2


def test_a_budget_in_minutes_alone_has_no_limit_of_samples():
    assert recipe_from(MINIMAL | {"training": {"minutes": 3}}).training.samples is None


def test_toml_round_trip(tmp_path):
    recipe = recipe_from(
        {
            "data": {"path": 'odd "name".h5', "mirror": ["y"]},
            "network": {"name": "mlp", "widths": [8, 4], "output": "relu"},
            "transform": {"steps": [{"name": "log", "scale": 1e-3}], "condition": "unit"},
            "training": {"samples": 1e6, "minutes": 2.5},
        }
    )
    path = tmp_path / "recipe.toml"
    path.write_text(dump_toml(recipe.to_mapping()))
    assert read_recipe(path) == recipe


def test_settings_are_laid_over_the_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(dump_toml(MINIMAL))
    recipe = read_recipe(path, ["training.samples=2e6", "game.objective=hinge", "network.width=3"])
    assert recipe.training.samples == 2e6
    assert recipe.game.objective == "hinge"
    assert recipe.options == {"width": 3}


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        ("optimiser", {"learning_rate_critic": 0.0}, "learning_rate_critic must be positive"),
        ("optimiser", {"learning_rate_generator": float("nan")}, "must be positive, got nan"),
        ("optimiser", {"betas": [0.5, 1.0]}, "betas must be"),
        ("optimiser", {"betas": [0.5]}, "takes 2 values"),
        ("optimiser", {"final": 3.0}, "final is a fraction"),
        ("optimiser", {"schedule": "cosin"}, "did you mean 'cosine'"),
        ("training", {"batch_size": 0}, "batch_size must be positive"),
        ("training", {"batch_size": 2.5}, "not of type int"),
        ("training", {"samples": -1}, "samples must be positive"),
        ("training", {"seed": -1}, "seed must not be negative"),
        ("training", {"precission": "auto"}, "did you mean 'precision'"),
        ("game", {"objective": "relativstic"}, "did you mean 'relativistic'"),
        ("game", {"r1": -1.0}, "r1 must not be negative"),
        ("game", {"n_critic": 0}, "n_critic must be positive"),
        ("game", {"gradient_penalty": 10, "conditions": "range"}, "equal conditions"),
        ("data", {"path": "a.h5", "test": 0.99}, "leaves nothing to train on"),
        ("data", {"path": "a.h5", "mirror": ["x", "x"]}, "twice"),
        ("data", {"path": "a.h5", "mirror": ["z"]}, "mirror"),
        ("data", {}, "missing key 'data.path'"),
        ("network", {"widths": [3]}, "needs a name"),
        ("monitor", {"every": 0}, "every must be positive"),
        ("montor", {}, "did you mean 'monitor'"),
    ],
)
def test_impossible_values_are_named(table, values, message):
    with pytest.raises(InputError, match=message) as raised:
        recipe_from(MINIMAL | {table: values})
    assert "\n" not in str(raised.value)


def test_the_page_states_every_key_and_its_default():
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    tables = dict(re.findall(r"^### `\[(\w+)\]`.*?\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    for field in dataclasses.fields(recipe_from(MINIMAL)):
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", tables[field.name], re.M))
        if field.name in ("network", "transform"):
            continue  # their keys are the networks' and the steps' own
        values = as_mapping(getattr(recipe_from(MINIMAL), field.name))
        keys = {f.name for f in dataclasses.fields(getattr(recipe_from(MINIMAL), field.name))}
        assert set(rows) == keys, field.name
        for key in values.keys() - {"path"}:
            (line,) = dump_toml({key: values[key]}).splitlines()
            assert rows[key].strip("`") == line.split(" = ", 1)[1], f"{field.name}.{key}"
