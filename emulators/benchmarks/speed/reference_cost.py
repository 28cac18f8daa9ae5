"""The cost of the reference simulation, run here: at the conditions that are compared, one thread.

Which simulation it was stands in files of ``emulators simulate``; for others the user names it.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.speed.energy_use import counters, joules
from emulators.benchmarks.speed.start_up import ONE_THREAD, PATIENCE, Ended, Fresh
from emulators.benchmarks.speed.throughput import samples_per_simulation
from emulators.config import as_mapping
from emulators.data.dataset import Dataset
from emulators.data.spec import SampleSpec
from emulators.errors import InputError
from emulators.simulators.base import SIMULATORS, Simulator
from emulators.simulators.cosmology import PARAMETERS
from emulators.simulators.geant4 import Geant4
from emulators.simulators.nbody import NBody
from emulators.simulators.recipe import SimulationRecipe, presets, read_simulation
from emulators.simulators.toy_shower import ToyShower

__all__ = ["Simulation", "find_simulation", "measure_simulation"]

Conditions = Mapping[str, npt.NDArray[Any]]

LEAST, SECONDS = 5, 20.0  # simulations, and how long: both are met
LONG = 60.0  # seconds after which two simulations will do
MOST = 1000  # simulations
REGRESSED = 10  # simulations, for a line through their costs


@dataclass(frozen=True)
class Simulation:
    """A simulation that can be run here, or why there is none.

    ``source`` says where the settings come from, ``conditions`` which conditions it is run at;
    one simulation gives ``samples`` samples of the reference.
    """

    simulator: Simulator | None = None
    why_not: str = ""
    name: str = ""
    source: str = ""
    conditions: str = ""
    samples: float = 1.0
    attributes: Mapping[str, Any] | None = None
    energies: npt.NDArray[np.float64] | None = None  # GeV, of all compared samples


def find_simulation(
    reference: str | Path, named: str | Path | None, conditions: Conditions
) -> Simulation:
    """Find the simulation that made a reference file, and put it at the conditions compared.

    Parameters
    ----------
    reference
        The file.
    named
        A preset or a recipe of the simulation; None: as the file says.
    conditions
        Of the compared samples, by name, each ``(n,)``, in the units of the file (energies: GeV).

    Returns
    -------
    The simulation; where the file does not say, or the code is not installed, why there is none.

    Raises
    ------
    InputError
        A simulation was named that cannot be run here, or makes other samples than the file holds.
    """
    data = Dataset(reference)
    try:
        if named is not None:
            listed = str(named) in presets()
            preset = listed or not (Path(named).suffix or Path(named).exists())
            recipe = read_simulation(str(named) if preset else named, preset=preset)
            source = f"preset {named}" if preset else f"recipe {named}"
        else:
            recorded = _recorded(data)
            if isinstance(recorded, str):
                return Simulation(why_not=recorded)
            recipe, source = recorded, "as the reference file records it"
        simulator = recipe.build()
        _require_alike(simulator.spec(), data, source)
        attributes = simulator.attributes()
    except InputError as error:
        if named is not None:
            raise
        return Simulation(why_not=f"The simulation of the reference cannot be run: {error}")
    simulator, names = _at(simulator, {k: v[:MOST] for k, v in conditions.items()})
    energies = None
    if "incident_energy" in names:
        energies = np.asarray(conditions["incident_energy"], np.float64)
    return Simulation(
        simulator,
        name=recipe.simulator["name"],
        source=source,
        conditions=f"{', '.join(names)} of the compared samples" if names else "its own law",
        samples=max(float(simulator.samples()), samples_per_simulation(data) or 1.0),
        attributes=attributes,
        energies=energies,
    )


def _recorded(data: Dataset) -> SimulationRecipe | str:
    """Return the recipe that a file records, or why there is none."""
    name, settings = (str(data.attributes.get(k, "")) for k in ("simulator", "settings"))
    if not name or not settings:
        return (
            "The reference file does not say which simulation made it: name its preset or recipe "
            "with --simulate."
        )
    if name not in SIMULATORS:
        return f"The reference is by a simulator '{name}', which is not known here."
    try:
        return SimulationRecipe({**json.loads(settings), "name": name})
    except (ValueError, TypeError):
        return f"The settings of simulator '{name}' in the reference file cannot be read."


def _require_alike(made: SampleSpec, data: Dataset, source: str) -> None:
    """Refuse a simulation of other things; samples may have been cut from its boxes."""
    held = data.spec
    pairs: list[tuple[str, Any, Any]] = [("kind of sample", made.kind, held.kind)]
    if made.geometry and held.geometry:
        a, b = ([(c.axes, c.shape) for c in g.layers] for g in (made.geometry, held.geometry))
        pairs.append(("readout layers", a, b))
    if made.particle and held.particle:
        pairs.append(("particle", made.particle, held.particle))
    if made.grid and held.grid:
        pairs.append(("channels", made.grid.channels, held.grid.channels))
        if "cut" not in data.attributes:
            pairs.append(("length of a side", made.grid.lengths[0], held.grid.lengths[0]))
    for fact, a, b in pairs:
        if a != b and not (isinstance(a, float) and np.isclose(a, b)):
            raise InputError(
                f"the simulation ({source}) and the reference differ in {fact}: {a} and {b}"
            )


def _at(simulator: Simulator, conditions: Conditions) -> tuple[Simulator, list[str]]:
    """Return a simulator that takes these conditions in turn, and the names of those it can."""
    rows = {k: [float(f"{x:.7g}") for x in v] for k, v in conditions.items()}
    if isinstance(simulator, Geant4 | ToyShower) and "incident_energy" in rows:
        return replace(simulator, energy=tuple(rows["incident_energy"])), ["incident_energy"]
    if isinstance(simulator, NBody):
        names = [k for k in PARAMETERS if k in rows]
        law = simulator.cosmology
        fixed = all(a == b for k, (a, b) in law.ranges.items() if k not in names)
        if names and fixed:
            listed = tuple(dict(zip(names, v)) for v in zip(*(rows[k] for k in names)))
            law = replace(law, design="list", size=None, listed=listed, **listed[0])
            return replace(simulator, cosmology=law), names
    return simulator, []


def measure_simulation(simulation: Simulation, seed: int) -> dict[str, Any]:
    """Run a simulation a few times in a fresh process of one thread.

    At least five simulations and 20 seconds; two where they take a minute; a thousand at most.  The
    one that is running when the time is over is waited for: leaving it out would favour cheap ones.

    Returns
    -------
    ``seconds_per_sample`` by the clock, ``cpu_seconds_per_sample``, and their standard errors
    ``error`` and ``cpu_error`` over ``simulations`` (`mean_cost`); ``start`` of the simulation,
    seconds; ``failed`` simulations; ``joules_per_sample``, None where not told; and what was run.

    Raises
    ------
    Ended
        It gave nothing in five minutes, or died.
    """
    assert simulation.simulator is not None
    request = {
        "what": "simulation",
        "name": simulation.name,
        "settings": as_mapping(simulation.simulator),
        "seed": seed,
    }
    cpu: list[float] = []
    wall: list[float] = []
    run: list[int] = []
    failed, last = 0, ""
    counted = counters("cpu")
    with Fresh(request, ONE_THREAD) as process:
        start = process.answer()["start"]
        began, before = time.perf_counter(), [c.read() for c in counted]
        for number in range(MOST):
            passed = time.perf_counter() - began
            if passed >= (SECONDS if len(cpu) >= LEAST else LONG) and len(cpu) >= 2:
                break
            if passed >= PATIENCE:
                break
            process.ask(number)
            try:
                answer = process.answer(PATIENCE - passed)
            except Ended:
                if not cpu:
                    raise
                break
            if answer["failed"]:
                failed, last = failed + 1, answer["failed"]
                continue
            run.append(number)
            cpu.append(answer["cpu_seconds"])
            wall.append(answer["seconds"])
        used = joules(counted, before, [c.read() for c in counted])
    if not cpu:
        raise Ended(f"all of {failed} simulations failed, the last one with: {last}")
    shared, energies = simulation.samples, simulation.energies
    at = None if energies is None else energies[np.array(run) % min(len(energies), MOST)]
    (seconds, error), (work, work_error) = (
        mean_cost(np.array(costs) / shared, at, energies) for costs in (wall, cpu)
    )
    return {
        "simulator": simulation.name,
        "generator": str((simulation.attributes or {}).get("generator", "")),
        "source": simulation.source,
        "conditions": simulation.conditions,
        "samples_per_simulation": shared,
        "simulations": len(cpu),
        "failed": failed,
        "seconds_per_sample": seconds,
        "error": error,
        "cpu_seconds_per_sample": work,
        "cpu_error": work_error,
        "regressed": at is not None and len(cpu) >= REGRESSED,
        "start": start,
        "joules_per_sample": used / len(cpu) / shared if counted else None,
        "energy_of": [c.name for c in counted],
    }


def mean_cost(
    costs: npt.NDArray[np.float64],
    at: npt.NDArray[np.float64] | None,
    wanted: npt.NDArray[np.float64] | None,
) -> tuple[float, float | None]:
    """Return the mean cost of a simulation and its standard error; None with one simulation.

    A shower's cost goes with its incident energy, and energies cover decades: a few simulations
    have a mean energy of their own.  Where energies are known, a straight line through the costs
    gives the mean at the mean energy that is wanted, with the error of what the line does not
    explain (the regression estimator: Cochran 1977, Sampling Techniques, chapter 7).

    Parameters
    ----------
    costs
        Of each simulation, ``(n,)``, seconds.
    at
        Its incident energy, ``(n,)``, GeV; None: the plain mean.
    wanted
        The energies at which the mean is wanted, GeV.
    """
    n = len(costs)
    if n < 2:
        return float(costs.mean()), None
    if at is None or wanted is None or n < REGRESSED or np.ptp(at) == 0:
        return float(costs.mean()), float(costs.std(ddof=1)) / n**0.5
    slope, offset = np.polyfit(at, costs, 1)
    left = costs - (slope * at + offset)
    # the line itself is known less well away from the energies that were run
    away = (wanted.mean() - at.mean()) / at.std()
    error = (np.sum(left**2) / (n - 2) / n * (1 + away**2)) ** 0.5
    return float(slope * wanted.mean() + offset), float(error)
