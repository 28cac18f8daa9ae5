"""Any number of simulations to one HDF5 file: in processes, resumable, with the cost of each."""

import json
import logging
import math
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emulators import __version__
from emulators.config import as_mapping
from emulators.data.hdf5 import HDF5Writer, require_target
from emulators.data.spec import Column, Samples
from emulators.errors import InputError
from emulators.simulators.base import Simulated, Simulator
from emulators.simulators.pool import Failure, Outcome, run_simulations
from emulators.simulators.recipe import SimulationRecipe

__all__ = ["Estimate", "estimate", "simulate_file"]

log = logging.getLogger(__name__)

COLUMNS = {
    "simulation": Column((), "", "number i of the simulation: it depends on (seed, i)", dtype="i8"),
    "seconds": Column((), "s", "CPU time of the simulation, per sample that it gave"),
}
SHOWN = 5  # failures that are told one by one
TRIED = 1000  # simulations of a dry run, at most
ALLOWED = 20, 0.1  # failures: so many, or this share of the simulations, whichever is more


def simulate_file(
    recipe: SimulationRecipe,
    path: str | Path,
    n: int | None = None,
    *,
    seed: int = 0,
    processes: int = 1,
    overwrite: bool = False,
    resume: bool = True,
    progress: bool = False,
) -> Path:
    """Run a reference simulation into an HDF5 file.

    Parameters
    ----------
    recipe
        What is simulated.
    path
        The file; it appears when it is complete. Until then there is a folder ``<path>.part``.
    n
        How many samples; None: as many as the recipe says.
    seed
        Simulation ``i`` depends on ``(seed, i)`` and the recipe, not on the number of processes.
    processes
        How many simulations run at once, each in a process of one thread.
    overwrite
        Replace ``path`` where it exists.
    resume
        Go on where an interrupted call with the same arguments stopped; False: start anew.
    progress
        Show a progress bar on a terminal.

    Returns
    -------
    The path.  Simulations that failed are left out and others run in their stead; the file lists
    them in its attribute ``failed``.

    Raises
    ------
    InputError
        The recipe makes no sense, an extra is not installed, or the target cannot be written.
    RuntimeError
        Too many simulations fail.
    """
    path, n = Path(path), recipe.samples if n is None else n
    if processes < 1:
        raise InputError(f"processes = {processes}: at least one is needed")
    require_target(path, overwrite)
    simulator = recipe.build()
    writer = HDF5Writer(
        path,
        simulator.spec(),
        n,
        attributes=_attributes(recipe, simulator, seed),
        overwrite=overwrite,
        resume=resume,
        beside={**simulator.beside(), **COLUMNS},
        shard_rows=1,  # one chunk: simulations are dear
    )
    failures = _Failures(writer.part / "failed.json", n // simulator.samples())
    if writer.written:
        log.info("%s: going on after %d of %d samples", path, writer.written, n)
    try:
        with writer:
            if writer.written < n:  # else killed when all was done but not yet joined
                _fill(writer, simulator, seed, processes, failures, progress)
            writer.closing = {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "failed": json.dumps(failures.found),
            }
    except KeyboardInterrupt:
        log.info("%s: stopped; the same command goes on from here", path)
        raise
    log.info("%s: %d samples, %d simulations failed", path, n, len(failures.found))
    return path


def _fill(
    writer: HDF5Writer,
    simulator: Simulator,
    seed: int,
    processes: int,
    failures: "_Failures",
    progress: bool,
) -> None:
    first, skipped = divmod(writer.written, simulator.samples())
    bar = tqdm(
        total=writer.n,
        initial=writer.written,
        unit=" samples",
        disable=None if progress else True,
        smoothing=0.05,  # costs differ by the energy: the last few say little
    )
    wanted = -(-writer.n // simulator.samples()) - first
    outcomes = run_simulations(simulator, seed, failures.after(first), wanted, processes)
    with bar, closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome.result, Failure):
                failures.add(outcome.index, outcome.result.reason)
                bar.set_postfix(failed=len(failures.found))
                continue
            rows = slice(skipped, min(simulator.samples(), skipped + writer.n - writer.written))
            skipped = 0
            samples, beside = _rows(outcome, outcome.result, rows)
            bar.update(len(samples))
            writer.append(samples, beside)


def _rows(
    outcome: Outcome, result: Simulated, rows: slice
) -> tuple[Samples, dict[str, np.ndarray[Any, Any]]]:
    """Return these rows of what one simulation gave, with its number and its cost."""
    n = len(result.values)
    values = np.asarray(result.values, np.float32)
    conditions = {k: np.asarray(v, np.float32) for k, v in result.conditions.items()}
    beside = {k: np.asarray(v) for k, v in result.beside.items()}
    beside["simulation"] = np.full(n, outcome.index)
    beside["seconds"] = np.full(n, outcome.seconds / n)
    return Samples(values, conditions)[rows], {k: v[rows] for k, v in beside.items()}


class _Failures:
    """Simulations that failed, kept beside the shards so that a resumed job knows of them."""

    def __init__(self, path: Path, simulations: int) -> None:
        self.path = path
        self.limit = max(ALLOWED[0], int(ALLOWED[1] * simulations))
        kept = json.loads(path.read_text()) if path.is_file() else {}
        self.found: dict[int, str] = {int(i): reason for i, reason in kept.items()}

    def after(self, successes: int) -> int:
        """Return the number of the simulation that comes after so many successful ones."""
        index = successes
        for failed in sorted(self.found):
            index += failed <= index
        return index

    def add(self, index: int, reason: str) -> None:
        new = index not in self.found
        self.found[index] = reason
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.found))
        temporary.replace(self.path)
        if new and len(self.found) <= SHOWN:
            more = "; further ones are counted" if len(self.found) == SHOWN else ""
            log.warning("simulation %d failed and is left out: %s%s", index, reason, more)
        if len(self.found) > self.limit:
            raise RuntimeError(
                f"{len(self.found)} simulations failed, the last one with: {reason}; what is done "
                "is kept"
            )


@dataclass(frozen=True)
class Estimate:
    """What a dry run found: cost in seconds with its standard error, and the file's size."""

    samples: int
    processes: int
    tried: int
    seconds_per_sample: float
    error: float
    bytes: float

    def __str__(self) -> str:
        hours = self.samples * self.seconds_per_sample / 3600
        low, high = (hours * (1 + s * self.error / self.seconds_per_sample) for s in (-1, 1))
        cost = f"{self.seconds_per_sample:.3g} ± {self.error:.2g} CPU seconds each"
        return (
            f"{self.samples:,} samples: {cost} ({self.tried} tried), {_duration(hours)} in all "
            f"({_duration(low)} to {_duration(high)}), about {_duration(hours / self.processes)} "
            f"with {self.processes} free cores; {self.bytes / 1e6:,.0f} MB before compression"
        )


def estimate(
    recipe: SimulationRecipe,
    n: int | None = None,
    *,
    seed: int = 0,
    processes: int = 1,
    patience: float = 20.0,
) -> Estimate:
    """Check everything, run simulations for ``patience`` seconds (four at least), and extrapolate.

    Writes nothing.
    """
    simulator = recipe.build()
    n = recipe.samples if n is None else n
    _attributes(recipe, simulator, seed)
    costs: list[float] = []
    began = 0.0
    wanted = min(TRIED, -(-n // simulator.samples()))
    outcomes = run_simulations(simulator, seed, 0, wanted, processes)
    with closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome.result, Failure):
                raise RuntimeError(f"simulation {outcome.index} failed: {outcome.result.reason}")
            began = began or time.perf_counter()  # the first one waits for the simulator to start
            costs.append(outcome.seconds / simulator.samples())
            if time.perf_counter() - began > patience and len(costs) >= 4:
                break
    error = float(np.std(costs, ddof=1) / math.sqrt(len(costs))) if len(costs) > 1 else math.inf
    shapes = [simulator.spec().shape, *(c.shape for c in simulator.beside().values())]
    size = n * sum(4.0 * math.prod(shape) for shape in shapes)
    return Estimate(n, processes, len(costs), float(np.mean(costs)), error, size)


def _duration(hours: float) -> str:
    seconds = 3600 * max(hours, 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s"


def _attributes(recipe: SimulationRecipe, simulator: Simulator, seed: int) -> dict[str, Any]:
    """Return what the file says of its making; an interrupted job must agree in all of it."""
    made: Mapping[str, Any] = simulator.attributes()
    said = {
        "title": recipe.title,
        "simulator": recipe.simulator["name"],
        "settings": json.dumps(as_mapping(simulator)),
        "seed": seed,
        "versions": json.dumps({"emulators": __version__, "numpy": np.__version__}),
        **made,
        **recipe.attributes,
    }
    return {key: value for key, value in said.items() if value != ""}
