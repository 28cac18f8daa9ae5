"""What runs in a fresh process when speed is measured: requests and answers are lines of JSON.

Nothing that takes time is imported at the top: how long imports take is measured here.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["main"]

Answer = Callable[..., None]


def main() -> None:
    """Serve what the first line of standard input asks for, until there is no more."""
    # Simulations in C++ write to descriptor 1 as they like: answers have one of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    request = json.loads(sys.stdin.readline())
    if request.pop("what") == "emulator":
        _emulator(answer, **request)
    else:
        _simulation(answer, **request)


def _emulator(answer: Answer, path: str, device: str, seed: int) -> None:
    """Load an emulator, draw one sample and say how long each took; then repeat batches."""
    marks = [time.perf_counter()]
    from emulators import load

    marks.append(time.perf_counter())
    emulator = load(path, device)
    marks.append(time.perf_counter())
    emulator.generate(1, seed=seed)
    marks.append(time.perf_counter())
    names = ("import", "load", "first_sample")
    answer(**{n: b - a for n, a, b in zip(names, marks, marks[1:])}, **_peaks())

    import torch

    for line in sys.stdin:
        request = json.loads(line)
        if request["threads"]:
            torch.set_num_threads(request["threads"])
        times: list[float] = []
        while sum(times) < request["seconds"] or len(times) < request["least"]:
            began = time.perf_counter()
            emulator.generate(request["batch"], seed=seed)
            times.append(time.perf_counter() - began)
        answer(times=times, **_peaks())


def _peaks() -> dict[str, int | None]:
    """Return the most memory that this process, and its part of an accelerator, took in bytes."""
    import torch

    accelerator = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None
    return {"peak_bytes": _peak(), "accelerator_peak_bytes": accelerator}


def _peak() -> int | None:
    import platform
    from pathlib import Path

    try:
        # Not getrusage: on Linux that begins with what the parent process took.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    if platform.system() != "Darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes there


def _simulation(answer: Answer, name: str, settings: dict[str, Any], seed: int) -> None:
    """Start a simulator, and run one simulation for each further line; say what each cost."""
    from emulators.simulators.recipe import SimulationRecipe

    began = time.perf_counter()
    simulate = SimulationRecipe({"name": name, **settings}).build().start(seed)
    answer(start=time.perf_counter() - began)
    for line in sys.stdin:
        wall, cpu, failed = time.perf_counter(), time.process_time(), ""
        try:
            simulate(int(line))
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
        answer(
            seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            failed=failed,
        )
