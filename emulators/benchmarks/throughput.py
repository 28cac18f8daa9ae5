"""How many samples a second: the emulator measured here, the simulation as its file records."""

import math
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from emulators.data.dataset import Dataset
from emulators.emulator import Emulator
from emulators.generation import generate_file

__all__ = ["machine", "measure_throughput", "recorded_seconds", "samples_per_simulation"]

BATCHES = (1, 100, 10_000)
_SECONDS = 1.0  # each batch size is repeated for at least so long, and at least three times
_PATIENCE = 20.0  # seconds after which a slow emulator is not repeated
_BYTES = 1 << 28  # of samples in a batch


def machine() -> dict[str, Any]:
    """Return what a time depends on: processor, cores, threads, accelerator."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def measure_throughput(emulator: Emulator, seed: int = 0) -> list[dict[str, Any]]:
    """Time an emulator at each batch size, from the request to the samples in memory.

    Each batch size is warmed up once and repeated for a second; conditions are drawn over the
    trained ranges.  Batches that would take over 20 seconds or 256 MB are smaller by powers of ten.
    The last entry generates into a file, compression and hash included.

    Returns
    -------
    One entry per batch size: ``batch``, ``writing``, ``seconds_per_sample`` (median) and its
    ``spread`` (half the range from 16 % to 84 %), ``repeats``, ``device``.
    """
    found: list[dict[str, Any]] = []
    most = _BYTES / (4 * math.prod(emulator.spec.shape))
    for wanted in BATCHES:
        batch = wanted
        while batch > max(1, most):
            batch //= 10
        if found and batch <= found[-1]["batch"]:
            continue
        emulator.generate(min(batch, 1000), seed=seed)
        times = _repeat(lambda n=batch: emulator.generate(n, seed=seed))
        found.append(_entry(batch, False, times, emulator))
        most = min(most, _PATIENCE / found[-1]["seconds_per_sample"])
    conditions = {c.name: f"{c.minimum}:{c.maximum}:{c.scale}" for c in emulator.spec.conditions}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "samples.h5"
        n = found[-1]["batch"]
        times = _repeat(
            lambda: generate_file(
                emulator, n, target, conditions=conditions, seed=seed, overwrite=True, resume=False
            )
        )
    return [*found, _entry(n, True, times, emulator)]


def _entry(batch: int, writing: bool, times: list[float], emulator: Emulator) -> dict[str, Any]:
    low, middle, high = np.quantile(times, [0.16, 0.5, 0.84]) / batch
    return {
        "batch": batch,
        "writing": writing,
        "seconds_per_sample": float(middle),
        "spread": float(high - low) / 2,
        "repeats": len(times),
        "device": str(next(emulator.generator.parameters()).device),
    }


def _repeat(call: Any) -> list[float]:
    times: list[float] = []
    while (len(times) < 3 and sum(times) < _PATIENCE) or sum(times) < _SECONDS:
        start = time.perf_counter()
        call()  # returns numpy arrays: what ran on an accelerator has been waited for
        times.append(time.perf_counter() - start)
    return times


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
