"""What every reference simulation is: a frozen dataclass that a recipe's table fills.

To add one: write the dataclass with the methods of `Simulator` and put ``@simulator(name)`` on it.
Everything else (processes, progress, resuming, files) is done by `campaign`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from emulators.config import build, nearest
from emulators.data.spec import Column, SampleSpec
from emulators.errors import InputError

__all__ = ["SIMULATORS", "Simulated", "Simulator", "build_simulator", "require", "simulator"]


@dataclass(frozen=True)
class Simulated:
    """What one simulation gave: one sample or several (snapshots, slices of one box).

    ``values (m, *spec.shape)``, ``conditions`` and ``beside`` by name with ``m`` entries each.
    """

    values: npt.NDArray[Any]
    conditions: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    beside: Mapping[str, npt.ArrayLike] = field(default_factory=dict)


class Simulator(Protocol):
    """A reference simulation with all its settings; plain values, picklable."""

    def spec(self) -> SampleSpec:
        """Return what the samples will be; InputError where the settings make no sense."""

    def samples(self) -> int:
        """Return how many samples one simulation gives."""

    def beside(self) -> Mapping[str, Column]:
        """Return what is stored beside each sample."""

    def attributes(self) -> Mapping[str, Any]:
        """Return what the file says of its making; InputError where the code is not installed.

        ``generator`` (code and version), ``licence``, ``acknowledgement`` and the settings that
        are not in the recipe.
        """

    def start(self, seed: int) -> Callable[[int], Simulated]:
        """Make ready in a process of its own; return what runs simulation ``i``.

        Simulation ``i`` depends on ``(seed, i)`` and the settings alone: not on what this process
        ran before, nor on how many processes there are.
        """


S = TypeVar("S")
SIMULATORS: dict[str, type] = {}


def simulator(name: str) -> Callable[[type[S]], type[S]]:
    """Register the decorated dataclass under the name that recipes use."""

    def register(cls: type[S]) -> type[S]:
        SIMULATORS[name] = cls
        return cls

    return register


def build_simulator(name: str, options: Mapping[str, Any]) -> Simulator:
    """Build a registered simulator from plain options; InputError names what is unknown."""
    if name not in SIMULATORS:
        raise InputError(f"unknown simulator '{name}'{nearest(name, list(SIMULATORS))}")
    made: Simulator = build(SIMULATORS[name], options, "simulator")
    return made


def require(module: str, extra: str, why: str) -> ModuleType:
    """Import a package that an extra installs; InputError says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{why} needs {module}, which does not import ({error}): "
            f"install it with pip install 'physics-gan-emulators[{extra}]'"
        ) from None
