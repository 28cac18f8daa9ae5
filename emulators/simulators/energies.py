"""Incident energies as recipes ask for them: one, a law, or a list that is taken in turn."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from emulators.data.conditions import requested
from emulators.data.spec import Condition

__all__ = ["Energy", "incident_energy"]

Energy = float | str | tuple[float, ...]
LIMITS = Condition("incident_energy", "GeV", 1e-3, 1e6, "log")


def incident_energy(
    asked: Energy,
) -> tuple[Condition, Callable[[int, int], npt.NDArray[np.float32]]]:
    """Return the condition of a shower's spec, and what draws it.

    Parameters
    ----------
    asked
        GeV: one energy, a law such as ``1:100:log``, or a list.

    Returns
    -------
    The condition, and a function of the seed and the number of the simulation that returns its
    energy, ``(1,)``; InputError where an energy is not positive and finite.
    """
    laws = requested((LIMITS,), {LIMITS.name: asked})
    (law,) = laws.laws
    scale: Literal["linear", "log"] = "linear" if law.scale == "linear" else "log"

    def draw(seed: int, i: int) -> npt.NDArray[np.float32]:
        row = i % (laws.length or i + 1)  # a list comes round again
        return laws.draw(seed, row, row + 1)[LIMITS.name]

    return Condition(LIMITS.name, LIMITS.unit, law.minimum, law.maximum, scale), draw
