"""Emulators in fresh processes: how long the first sample takes, memory, several at once."""

import copy
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

import emulators
from emulators.data.hdf5 import available_memory
from emulators.emulator import Emulator

__all__ = [
    "Ended",
    "Fresh",
    "cores",
    "measure_scaling",
    "measure_start_up",
    "numbers_of_processes",
    "saved",
    "spread_of",
]

START_UPS = 3  # fresh processes that are timed one after another
SECONDS = 2.0  # for which several processes draw at once
PATIENCE = 300.0  # seconds that an answer may take
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_ROOT = str(Path(emulators.__file__).parents[1])
_CODE = f"import sys; sys.path.append({_ROOT!r}); "
_CODE += "from emulators.benchmarks.speed import fresh_process; fresh_process.main()"


class Ended(RuntimeError):
    """A fresh process that ended, or did not answer in time."""


class Fresh:
    """A fresh Python process that runs `fresh_process.main`; it ends with the block.

    Parameters
    ----------
    request
        Its first line.
    environment
        Variables laid over those of this process.
    """

    def __init__(
        self, request: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the block
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.began = time.perf_counter()
        # -P: files of the working folder are not to stand in for Python's own modules.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ask(request)

    def __enter__(self) -> "Fresh":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(BrokenPipeError):  # a request that the process did not live to read
                    stream.close()

    def ask(self, request: Mapping[str, Any] | int) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # a process that has ended: noticed at its answer
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self, patience: float = PATIENCE) -> dict[str, Any]:
        """Return the next answer; `Ended` where none comes."""
        try:
            line = self._answers.get(timeout=max(patience, 0.0))
        except queue.Empty:
            raise Ended(f"no answer of a fresh process in {patience:.0f} s") from None
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            raise Ended(f"a fresh process ended with code {code}: {said[-1] if said else ''}")
        values: dict[str, Any] = json.loads(line)
        return values

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")


@contextmanager
def saved(emulator: Emulator) -> Iterator[Path]:
    """Lend a file of an emulator, which stays as it is."""
    with tempfile.TemporaryDirectory(prefix="emulator-") as folder:
        path = Path(folder) / "emulator.pt"
        copy.copy(emulator).save(path)  # saving renames what is saved
        yield path


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread_of(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and half the range from 16 % to 84 %."""
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return float(middle), float(high - low) / 2


def measure_start_up(path: Path, device: str, batch: int, seed: int) -> dict[str, Any]:
    """Time fresh processes from the command to the first sample, and ask how much memory they took.

    Parameters
    ----------
    path
        An emulator's file.
    device
        Where it runs.
    batch
        Samples of the large batch whose memory is measured.
    seed
        Of the samples.

    Returns
    -------
    ``seconds``: of ``python``, ``import``, ``load``, ``first_sample`` and their ``total``, each
    with ``median`` and ``spread``; ``n`` processes, ``device``, ``batch``; ``peak_bytes`` and
    ``accelerator_peak_bytes`` after one sample and after that batch, ``None`` where not told.
    """
    request = {"what": "emulator", "path": str(path), "device": device, "seed": seed}
    starts: list[dict[str, float]] = []
    for number in range(START_UPS):
        with Fresh(request) as process:
            first = process.answer()
            total = time.perf_counter() - process.began
            parts = {key: first[key] for key in ("import", "load", "first_sample")}
            starts.append({"python": total - sum(parts.values()), **parts, "total": total})
            if number == START_UPS - 1:
                process.ask({"batch": batch, "seconds": 0, "least": 1, "threads": None})
                large = process.answer()
    seconds = {}
    for key in starts[0]:
        median, spread = spread_of([times[key] for times in starts])
        seconds[key] = {"median": median, "spread": spread}
    return {
        "device": device,
        "n": len(starts),
        "seconds": seconds,
        "batch": batch,
        **{k: [a[k] for a in (first, large)] for k in ("peak_bytes", "accelerator_peak_bytes")},
    }


def numbers_of_processes(peak: int | None) -> list[int]:
    """Return 1, 2, 4 ... up to the cores, or as many as fit into half of the free memory.

    Parameters
    ----------
    peak
        Bytes of memory that one process takes, where that is told.
    """
    most, free = cores(), available_memory()
    if peak and free:
        most = max(1, min(most, free // 2 // peak))
    return [2**k for k in range(most.bit_length()) if 2**k < most] + [most]


def measure_scaling(path: Path, batch: int, peak: int | None, seed: int) -> dict[str, Any]:
    """Let 1, 2, 4 ... processes of one thread draw at once, up to one a core.

    Parameters
    ----------
    path
        An emulator's file.
    batch
        Samples that each process draws at a time.
    peak
        Bytes of memory that one process takes, see `numbers_of_processes`.
    seed
        Of the samples.

    Each draws for two seconds, three batches at least.

    Returns
    -------
    ``cores``, ``batch``, and ``rows``, one for each number of ``processes``:
    ``samples_per_second`` of all together, its ``spread``, and ``efficiency`` and its ``error``:
    that over as many times the speed of one process.
    """
    counts = numbers_of_processes(peak)
    most = counts[-1]
    request = {"what": "emulator", "path": str(path), "device": "cpu", "seed": seed}
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        processes = [stack.enter_context(Fresh(request, ONE_THREAD)) for _ in range(most)]
        for process in processes:
            process.answer()
            process.ask({"batch": batch, "seconds": 0, "least": 1, "threads": 1})  # a warm-up
        for process in processes:
            process.answer()
        for count in counts:
            for process in processes[:count]:
                process.ask({"batch": batch, "seconds": SECONDS, "least": 3, "threads": 1})
            times = [spread_of(process.answer()["times"]) for process in processes[:count]]
            speed = sum(batch / median for median, _ in times)
            variance = sum((batch / median * spread / median) ** 2 for median, spread in times)
            rows.append({"processes": count, "samples_per_second": speed, "spread": variance**0.5})
    single = rows[0]
    for row in rows:
        efficiency = row["samples_per_second"] / (row["processes"] * single["samples_per_second"])
        relative = [r["spread"] / r["samples_per_second"] for r in (row, single)]
        error = 0.0 if row is single else efficiency * float(np.hypot(*relative))
        row |= {"efficiency": efficiency, "error": error}
    return {"cores": cores(), "batch": batch, "rows": rows}
