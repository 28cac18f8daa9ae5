"""The recipe of a simulation: which simulator with which settings, how many samples, which seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emulators.config import build, load_toml, nearest, override
from emulators.errors import InputError
from emulators.simulators import galaxies, geant4, nbody, toy_shower, toys  # noqa: F401  # registers
from emulators.simulators.base import Simulator, build_simulator

__all__ = ["SimulationRecipe", "presets", "read_simulation"]

_PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class SimulationRecipe:
    """A recipe as its TOML file has it.

    Parameters
    ----------
    simulator
        ``name`` of the simulator and its settings.
    samples
        How many samples, where the command does not say.
    title
        What the file calls itself.
    attributes
        What else the file says of itself: licence, creator, citation.
    """

    simulator: dict[str, Any]
    samples: int = 1000
    title: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "name" not in self.simulator:
            raise ValueError('the table [simulator] needs a name, e.g. name = "geant4"')
        if self.samples < 1:
            raise ValueError(f"samples = {self.samples}: at least one is needed")

    def build(self) -> Simulator:
        """Return the simulator; InputError where a setting is unknown or makes no sense."""
        settings = {key: value for key, value in self.simulator.items() if key != "name"}
        return build_simulator(self.simulator["name"], settings)


def presets() -> dict[str, str]:
    """Return the names of the presets that ship, each with its title."""
    return {path.stem: load_toml(path)["title"] for path in sorted(_PRESETS.glob("*.toml"))}


def read_simulation(
    source: str | Path | Mapping[str, Any], settings: Sequence[str] = (), preset: bool = False
) -> SimulationRecipe:
    """Read a recipe.

    Parameters
    ----------
    source
        A TOML file, the name of a preset, or the plain values of a recipe.
    settings
        ``key=value`` laid over it, as ``simulator.energy=50``.
    preset
        Whether ``source`` is the name of a preset.

    Raises
    ------
    InputError
        There is no such file or preset, or it holds what a recipe does not.
    """
    if isinstance(source, Mapping):
        table = dict(source)
    elif preset:
        if source not in (known := presets()):
            raise InputError(f"unknown preset '{source}'{nearest(str(source), list(known))}")
        table = load_toml(_PRESETS / f"{source}.toml")
    else:
        table = load_toml(source)
    recipe = build(SimulationRecipe, override(table, settings))
    changed = [s for s in settings if s.startswith("simulator.")]
    # A title says what was simulated: it must not outlive a change of that.
    return (
        replace(recipe, title=f"{recipe.title} (with {', '.join(changed)})") if changed else recipe
    )
