"""How many samples a second: an emulator on every device of this machine, at many batch sizes."""

import logging
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch

from emulators.benchmarks.speed.energy_use import Counter, counters, joules
from emulators.benchmarks.speed.start_up import cores, spread_of
from emulators.data.dataset import Dataset
from emulators.emulator import Emulator
from emulators.generation import generate_file

__all__ = ["machine", "measure_throughput", "recorded_seconds", "samples_per_simulation"]

BATCHES = (1, 10, 100, 1000, 10_000)  # one shower of a full simulation, to production in bulk
_SECONDS = 0.5  # each batch size is repeated for at least so long, and at least three times
_PATIENCE = 5.0  # seconds: no larger batches where one would take longer
_BYTES = 1 << 28  # of samples in a batch


def machine() -> dict[str, Any]:
    """Return what a time depends on: processor, cores, threads, accelerator."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": cores(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def measure_throughput(
    emulator: Emulator,
    conditions: Mapping[str, npt.NDArray[Any]] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Time an emulator at each batch size, from the request to the samples in memory.

    On the CPU with one thread and with all of torch's, and on an accelerator where there is one.
    Each batch size is warmed up once and repeated for half a second, three times at least.  Batches
    that would take over 5 seconds or 256 MB are left out.  The last entry of each device generates
    its largest batch into a file, compression and hash included.

    Parameters
    ----------
    emulator
        It is back on its device in the end.
    conditions
        Samples are asked for at these, ``(n,)`` by name, in turn; what is not among them is drawn
        over the trained range.  In the unit of the emulator's spec (incident energies: GeV).
    seed
        Of the samples.

    Returns
    -------
    One entry per device and batch size: ``device``, ``threads``, ``batch``, ``writing``,
    ``seconds_per_sample`` (median) and its ``spread`` (half the range from 16 % to 84 %),
    ``cpu_seconds_per_sample`` and ``cpu_spread``: the same of the CPU time of all threads;
    ``repeats``, ``joules_per_sample`` (None where not told) by the counters ``energy_of``.
    """
    home, threads = emulator.device, torch.get_num_threads()
    settings = [("cpu", n) for n in sorted({1, threads})]
    settings += [("cuda", threads)] if torch.cuda.is_available() else []
    names = {c.name for c in emulator.spec.conditions}
    asked = {k: v for k, v in (conditions or {}).items() if k in names}
    entries: list[dict[str, Any]] = []
    try:
        for device, count in settings:
            emulator.to(device)
            with _threads(count):
                entries += _on_device(emulator, asked, seed, counters(device))
    finally:
        emulator.to(home)
    return entries


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _unsaid() -> Iterator[None]:
    """Keep what generation logs of a file that is soon gone from the user."""
    log = logging.getLogger("emulators.generation")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _on_device(
    emulator: Emulator,
    conditions: Mapping[str, npt.NDArray[Any]],
    seed: int,
    counted: Sequence[Counter],
) -> list[dict[str, Any]]:
    size = 4 * math.prod(emulator.spec.shape)
    entries: list[dict[str, Any]] = []
    for batch in BATCHES:
        slowest = entries[-1]["seconds_per_sample"] if entries else 0.0
        if entries and (batch * size > _BYTES or batch * slowest > _PATIENCE):
            break
        request = {k: np.resize(v, batch) for k, v in conditions.items()}

        def draw(n: int = batch, request: Mapping[str, Any] = request) -> None:
            emulator.generate(n, seed=seed, allow_extrapolation=True, conditions=request)

        draw()  # a warm-up
        entries.append(_entry(batch, False, draw, emulator, counted))
    batch = entries[-1]["batch"]
    law: dict[str, Any] = {
        c.name: f"{c.minimum}:{c.maximum}:{c.scale}" for c in emulator.spec.conditions
    }
    law |= {k: np.resize(v, batch) for k, v in conditions.items()}
    with tempfile.TemporaryDirectory() as folder, _unsaid():
        target = Path(folder) / "samples.h5"

        def write() -> None:
            options: dict[str, Any] = {"overwrite": True, "resume": False}
            options |= {"seed": seed, "allow_extrapolation": True}
            generate_file(emulator, batch, target, conditions=law, **options)

        return [*entries, _entry(batch, True, write, emulator, counted)]


def _entry(
    batch: int,
    writing: bool,
    call: Callable[[], None],
    emulator: Emulator,
    counted: Sequence[Counter],
) -> dict[str, Any]:
    wall: list[float] = []
    cpu: list[float] = []
    before = [c.read() for c in counted]
    while len(wall) < 3 or sum(wall) < _SECONDS:
        start, work = time.perf_counter(), time.process_time()
        call()  # returns numpy arrays: what ran on an accelerator has been waited for
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - work)
    used = joules(counted, before, [c.read() for c in counted])
    (seconds, spread), (work, work_spread) = spread_of(wall), spread_of(cpu)
    return {
        "device": emulator.device.type,
        "threads": torch.get_num_threads(),
        "batch": batch,
        "writing": writing,
        "seconds_per_sample": seconds / batch,
        "spread": spread / batch,
        "cpu_seconds_per_sample": work / batch,
        "cpu_spread": work_spread / batch,
        "repeats": len(wall),
        "joules_per_sample": used / (batch * len(wall)) if counted else None,
        "energy_of": [c.name for c in counted],
    }


def recorded_seconds(path: str | Path) -> float | None:
    """Return the seconds per sample that a file of simulated samples records, if it does.

    Read from a data set ``seconds`` (one number a sample) or an attribute ``seconds_per_sample``.
    """
    with h5py.File(path, "r") as file:
        if isinstance(file.get("seconds"), h5py.Dataset):
            return float(np.mean(file["seconds"][:]))
        value = file.attrs.get("seconds_per_sample")
    return None if value is None else float(value)


def samples_per_simulation(data: Dataset) -> float | None:
    """Return how many samples one simulation gave; None where each has its own."""
    numbers = data.simulations
    return None if numbers is None else len(numbers) / len(np.unique(numbers))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
