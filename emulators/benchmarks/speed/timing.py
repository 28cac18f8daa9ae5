"""All timing of a report: batches, start-up, memory, several processes, the reference, the ratio.

Emulator and simulation are timed one after the other on the same machine: what is told is their
ratio here, not that of two machines.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.pair import Pair
from emulators.benchmarks.speed.reference_cost import (
    Simulation,
    find_simulation,
    measure_simulation,
)
from emulators.benchmarks.speed.start_up import Ended, measure_scaling, measure_start_up, saved
from emulators.benchmarks.speed.throughput import (
    measure_throughput,
    recorded_seconds,
    samples_per_simulation,
)
from emulators.data.dataset import Dataset
from emulators.emulator import Emulator
from emulators.random import stream

__all__ = ["compared_conditions", "measure_speed", "plan_simulation", "untimed"]

log = logging.getLogger(__name__)

AT_ONCE = 0.2  # seconds: the batch that several processes draw takes less


def compared_conditions(pair: Pair, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return the conditions of the compared reference samples in random order, ``(n,)`` by name.

    Of samples that share a simulation, those of one of them.
    """
    _, first = np.unique(pair.simulations["reference"], return_index=True)
    asked = pair.conditions["reference"][first].astype(np.float32)
    order = stream(seed, "timed conditions").permutation(len(asked))
    return dict(zip(pair.names, asked[order].T))


def plan_simulation(
    pair: Pair, reference: str | Path, named: str | Path | None, seed: int
) -> Simulation:
    """Find the simulation that is to be timed, before anything is measured: see `find_simulation`.

    Raises
    ------
    InputError
        A simulation is named that cannot be run here, or makes other samples.
    """
    return find_simulation(reference, named, compared_conditions(pair, seed))


def untimed(reference: str | Path, why_not: str | None) -> dict[str, Any]:
    """Return what the record says of speed where nothing is timed: what the reference recorded."""
    return {
        "emulator": None,
        "why_not": why_not,
        "start_up": [],
        "scaling": None,
        "fresh_why_not": None,
        "reference": None,
        "reference_why_not": None,
        "reference_seconds_per_sample": recorded_seconds(reference),
        "reference_samples_per_simulation": samples_per_simulation(Dataset(reference)),
    }


def measure_speed(
    emulator: Emulator | None,
    why_not: str | None,
    pair: Pair,
    reference: str | Path,
    simulation: Simulation,
    seed: int,
) -> dict[str, Any]:
    """Time an emulator and the simulation that it stands in for.

    Parameters
    ----------
    emulator, why_not
        What is timed; or why nothing is, or why it is doubtful.
    pair, reference
        What is compared: emulator and simulation are asked for samples at its conditions.
    simulation
        From `plan_simulation`.
    seed
        Of all that is drawn.

    Returns
    -------
    ``emulator`` from `measure_throughput`, each entry with its ``speed_up`` (`ratio`);
    ``start_up`` from `measure_start_up`, one a device; ``scaling`` from `measure_scaling`;
    ``reference`` from `measure_simulation`; None or empty, and why, for what could not be had.
    """
    record = untimed(reference, why_not)
    if emulator is not None:
        record["emulator"] = measure_throughput(emulator, compared_conditions(pair, seed), seed)
        record |= _fresh(emulator, record["emulator"], seed)
    record["reference_why_not"] = simulation.why_not
    if simulation.simulator is not None:
        try:
            record["reference"] = measure_simulation(simulation, seed)
        except Ended as error:
            record["reference_why_not"] = f"The simulation could not be timed: {error}"
            log.warning("%s", record["reference_why_not"])
    for entry in record["emulator"] or ():
        entry["speed_up"] = ratio(entry, record["reference"])
    return record


def _fresh(emulator: Emulator, timed: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Return what fresh processes of an emulator tell, or why they do not."""
    with saved(emulator) as path:
        try:
            starts = []
            for device in dict.fromkeys(e["device"] for e in timed):
                batch = max(e["batch"] for e in timed if e["device"] == device)
                starts.append(measure_start_up(path, device, batch, seed))
            peak = starts[0]["peak_bytes"][-1]  # the CPU comes first, with one thread
            scaling = measure_scaling(path, _often(timed), peak, seed)
        except Ended as error:
            log.warning("start-up and several processes could not be timed: %s", error)
            return {"fresh_why_not": str(error)}
    return {"start_up": starts, "scaling": scaling}


def _often(timed: list[dict[str, Any]]) -> int:
    """Return the largest batch that one thread draws several times a second; 1 at least."""
    alone = [e for e in timed if (e["device"], e["threads"], e["writing"]) == ("cpu", 1, False)]
    short = [e["batch"] for e in alone if e["batch"] * e["seconds_per_sample"] < AT_ONCE]
    return max(short, default=1)


def ratio(
    entry: Mapping[str, Any], reference: Mapping[str, Any] | None
) -> dict[str, float | bool | None] | None:
    """Return how many times faster than the simulation an entry of `measure_throughput` is.

    Where it ran on the CPU with one thread, as the simulation did, both times are CPU seconds: what
    other programs took meanwhile is in neither.  Elsewhere it is the simulation's CPU seconds over
    the emulator's seconds by the clock: one core against the device.

    Returns
    -------
    ``value``, its ``error`` (standard error of the simulation's mean and the emulator's spread over
    repeats, in quadrature; None with a single simulation) and whether conditions were ``equal``.
    """
    if reference is None:
        return None
    equal = entry["device"] == "cpu" and entry["threads"] == 1
    kind = "cpu_" if equal else ""
    ours, spread = entry[f"{kind}seconds_per_sample"], entry[f"{kind}spread"]
    simulated, error = reference["cpu_seconds_per_sample"], reference["cpu_error"]
    value = simulated / ours
    if error is not None:
        relative = error / simulated, spread / ours
        error = value * float(np.hypot(*relative))
    return {"value": value, "error": error, "equal": equal}
