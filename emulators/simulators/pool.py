"""Processes that run one simulation after another; one that dies takes one simulation with it."""

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from emulators.errors import InputError
from emulators.simulators.base import Simulated, Simulator

__all__ = ["Failure", "Outcome", "run_simulations"]

AHEAD = 256  # simulations that may be finished and wait for an earlier one


@dataclass(frozen=True)
class Failure:
    """Why one simulation gave nothing."""

    reason: str


@dataclass(frozen=True)
class Outcome:
    """What simulation ``index`` gave, and its cost in CPU seconds."""

    index: int
    result: Simulated | Failure
    seconds: float


class _Worker:
    """One process, its end of a pipe, and the simulation that it is at."""

    def __init__(self, simulator: Simulator, seed: int, folder: str) -> None:
        # Spawned: Geant4, numba and HDF5 are not to inherit a half-used parent.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, simulator, seed, folder), daemon=True
        )
        self.process.start()
        theirs.close()
        self.index: int | None = None

    def send(self, index: int) -> None:
        self.index = index
        with suppress(OSError):  # a process that has died is noticed where its outcome is awaited
            self.pipe.send(index)

    def last_words(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended with code {code}"

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def run_simulations(
    simulator: Simulator, seed: int, first: int, wanted: int, processes: int
) -> Generator[Outcome]:
    """Run simulations ``first``, ``first + 1``, ... until so many are successful; in order.

    A simulation that raises, or whose process dies, becomes a `Failure`; a simulator that cannot
    start is an InputError.
    """
    processes = min(processes, wanted)
    following, due, failed = first, first, 0
    ready: dict[int, Outcome] = {}
    # Temporary files of simulations that are cut short go with this folder.
    with tempfile.TemporaryDirectory(prefix="simulate-") as folder:
        workers = [_Worker(simulator, seed, folder) for _ in range(processes)]
        try:
            while due - first - failed < wanted:
                for worker in workers:
                    enough = following - first - failed >= wanted or following >= due + AHEAD
                    if worker.index is None and not enough:
                        worker.send(following)
                        following += 1
                pipes = {worker.pipe: worker for worker in workers}
                for pipe in wait(list(pipes)):
                    assert isinstance(pipe, Connection)
                    worker = pipes[pipe]
                    try:
                        outcome = pipe.recv()
                    except (EOFError, OSError):
                        reason = worker.last_words()
                        worker.stop()
                        workers[workers.index(worker)] = _Worker(simulator, seed, folder)
                        if worker.index is None:  # it died with nothing to do
                            continue
                        outcome = Outcome(worker.index, Failure(reason), 0.0)
                    if isinstance(outcome, BaseException):
                        raise outcome
                    worker.index = None
                    failed += isinstance(outcome.result, Failure)
                    ready[outcome.index] = outcome
                while due in ready:
                    due += 1
                    yield ready.pop(due - 1)
        finally:
            for worker in workers:
                worker.stop()


def _serve(pipe: Connection, simulator: Simulator, seed: int, folder: str) -> None:
    tempfile.tempdir = folder
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes: the parent's to handle
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    try:
        simulate = simulator.start(seed)
    except InputError as error:
        pipe.send(error)
        return
    except Exception as error:
        pipe.send(RuntimeError(f"the simulator cannot start: {type(error).__name__}: {error}"))
        return
    while True:
        try:
            index = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)  # no teardown: Geant4 and Python own the same objects
        began = time.process_time()
        result: Simulated | Failure
        try:
            result = simulate(index)
        except Exception as error:
            result = Failure(f"{type(error).__name__}: {error}")
        pipe.send(Outcome(index, result, time.process_time() - began))


def _end_with_parent(folder: str) -> None:
    """Leave when the parent is gone, however it went: nobody waits for what is simulated here."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
