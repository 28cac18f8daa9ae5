"""The emulator whose generator is trained further."""

from emulators.data.spec import SampleSpec
from emulators.data.transforms import Transform
from emulators.emulator import Emulator
from emulators.errors import InputError
from emulators.loading import load
from emulators.networks.base import Generator
from emulators.training.recipe import Recipe

__all__ = ["start_of"]


def start_of(recipe: Recipe, transform: Transform, generator: Generator) -> Emulator | None:
    """Return the emulator that a recipe starts from, None where it names none.

    Parameters
    ----------
    recipe
        Its ``training.start`` is the name or file.
    transform, generator
        What the recipe asks for, for its data.

    Raises
    ------
    InputError
        There is no such emulator, or its samples, transform or generator are others.
    """
    name = recipe.training.start
    if not name:
        return None
    start, where = load(name, "cpu"), f"training.start = '{name}': "
    theirs, ours = _samples(start.spec), _samples(transform.spec)
    if theirs != ours:
        raise InputError(f"{where}it is for {theirs}; {recipe.data.path} holds {ours}")
    if start.transform.config != transform.config:
        raise InputError(f"{where}its [transform] is {start.transform.config}")
    shapes = [{k: v.shape for k, v in g.state_dict().items()} for g in (start.generator, generator)]
    if start.architecture != recipe.architecture or shapes[0] != shapes[1]:
        table = {"name": start.architecture, **start.options}
        raise InputError(f"{where}its generator is another, of [network] {table}")
    return start


def _samples(spec: SampleSpec) -> str:
    size = "x".join(map(str, spec.shape))
    ranges = (f"{c.name} {c.minimum:g} to {c.maximum:g}" for c in spec.conditions)
    return f"{size} numbers at {', '.join(ranges)}"
