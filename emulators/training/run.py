"""A trainer at work in its folder: the loop around the steps, and every way in which it can end."""

import contextlib
import datetime
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from emulators.config import dump_toml
from emulators.data.spec import ENERGY
from emulators.emulator import Emulator
from emulators.random import stream
from emulators.training import checkpoint
from emulators.training.distributed import check_same
from emulators.training.monitor import Measure, Monitor, default_measure, field_distance
from emulators.training.previews import preview
from emulators.training.record import (
    card,
    count,
    device_name,
    duration,
    environment,
    pairs,
    step_of,
    steps_in_words,
)
from emulators.training.trainer import Trainer, TrainingDiverged

__all__ = ["Run"]

logger = logging.getLogger(__name__)

GLANCE = 16  # steps between two looks at numbers on the device: a look waits for it


class Run:
    """A trainer at work in its folder."""

    def __init__(self, trainer: Trainer, folder: Path, measure: Measure | None) -> None:
        self.trainer, self.folder, self.recipe = trainer, folder, trainer.recipe
        self.world, self.chief = trainer.world, trainer.world.rank == 0
        self.card = card(trainer)
        self.monitor = self._monitor(measure or default_measure(trainer.spec))
        self.losses: dict[str, float] = {}
        self.rate = 0.0  # samples a second, since the last line of metrics
        self.measured_at = -1
        self.log: TextIO | None = None

    def _monitor(self, measure: Measure | None) -> Monitor | None:
        rows, data = self.trainer.rows["validation"], self.recipe.data
        if measure is None or len(rows) < 4:
            return None
        n = min(len(rows), self.recipe.monitor.samples)
        chosen = np.sort(stream(data.split_seed, "monitor").choice(rows, n, replace=False))
        return Monitor(self.trainer.dataset.take(chosen), self.trainer.spec, measure)

    def say(self, text: str) -> None:
        """Log a line, to whoever listens and to the run's own log."""
        if self.chief:
            logger.info(text)
        if self.log:
            now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
            self.log.write(f"{now}  {text}\n")
            self.log.flush()

    def go(self, progress: bool) -> Path:
        """Take steps until the budget is spent, or somebody or something stops the run."""
        emulator = self.folder / "emulator.pt"
        with contextlib.ExitStack() as stack:
            if self.chief:
                self._open(stack)
            self.world.wait()
            self._announce()
            if self.trainer.fraction >= 1 and emulator.exists():
                self.say(f"nothing left to do: the budget is spent; {emulator}")
                return emulator
            stopped = self._steps(stack.enter_context(_stop_requests()), progress, stack)
            if not stopped:
                self._measure()
            self._checkpoint()
            if self.chief and not self.trainer.best:
                self._emulator().save(emulator)
            self.world.wait()
            if stopped:
                self.say(
                    f"stopped by {signal.Signals(stopped).name} at {self._where()}; to go on: "
                    f"emulators train --resume {self.folder}"
                )
            else:
                best, text = self.trainer.best, f"finished at {self._where()}"
                if best:
                    text += f", best at {count(best['samples'])} samples: {pairs(best['found'])}"
                elif self.monitor is not None:
                    text += ", never with a finite physics metric: the last state"
                self.say(f"{text}; {emulator}")
        if stopped:
            _hand_on(stopped)
        return emulator

    def _steps(self, stop: list[int], progress: bool, stack: contextlib.ExitStack) -> int:
        """Return the signal that stopped the steps, or 0 where the budget is spent."""
        trainer, tables = self.trainer, self.recipe
        bar: tqdm[Any] | None = None
        if progress and self.chief and sys.stderr.isatty():
            total, seen = tables.training.samples, trainer.samples
            bar = tqdm(total=total, initial=seen, unit=" samples", unit_scale=True)
            stack.enter_context(bar)
        start, base = time.monotonic(), trainer.seconds
        saved = logged = base
        logged_at, signalled = trainer.samples, 0.0
        first = True
        while trainer.fraction < 1:
            # with several processes all must leave the loop at the same step
            if first or self.world.size == 1 or trainer.steps % GLANCE == 0:
                now = base + time.monotonic() - start
                trainer.seconds, signalled = self.world.agree(now, float(stop[0] if stop else 0))
                first = False
                if signalled or trainer.fraction >= 1:
                    break
            trainer.step()
            if bar:
                bar.update(trainer.step_samples)
            if trainer.steps % GLANCE == 0:
                self._check()
            if self._due(tables.training.log_samples):
                self._check()
                now = base + time.monotonic() - start
                self.rate = (trainer.samples - logged_at) / max(now - logged, 1e-9)
                logged, logged_at = now, trainer.samples
                self._log_losses()
            if self._due(tables.monitor.every):
                if bar:
                    bar.clear()
                self._measure()
                self._status()
            if trainer.seconds - saved > 60 * tables.training.checkpoint_minutes:
                self._checkpoint()
                saved = trainer.seconds
        return int(signalled)

    def _due(self, every: float) -> bool:
        seen, step = self.trainer.samples, self.trainer.step_samples
        return int(seen // every) > int((seen - step) // every)

    def _open(self, stack: contextlib.ExitStack) -> None:
        """Make the folder, or go on writing in it."""
        for folder in (self.folder, self.folder / "checkpoints", self.folder / "previews"):
            folder.mkdir(parents=True, exist_ok=True)
        self.log = stack.enter_context((self.folder / "log.txt").open("a", encoding="utf-8"))
        if not self.trainer.steps:
            # before the recipe, which makes the folder a run: a run can always be gone on with
            self._save("last.pt")
        checkpoint.write_text(self.folder / "recipe.toml", dump_toml(self.recipe.to_mapping()))
        path = self.folder / "environment.json"
        starts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        starts.append(environment(self.world) | {"steps": self.trainer.steps})
        checkpoint.write_text(path, json.dumps(starts, indent=1) + "\n")
        # lines of steps that will be taken again
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if step_of(line) <= self.trainer.steps]
        checkpoint.write_text(path, "".join(f"{line}\n" for line in kept))

    def _announce(self) -> None:
        trainer, rows = self.trainer, self.trainer.rows
        self.say(
            f"{self.recipe.architecture} on {Path(self.recipe.data.path).name}: "
            + ", ".join(f"{len(r):,} {name}" for name, r in rows.items())
            + f" samples; {device_name(self.world.device)}, {self.recipe.training.precision}"
            + (f", {self.world.size} processes" if self.world.size > 1 else "")
        )
        if trainer.decided and not trainer.steps:
            self.say(trainer.decided)
        grid, isotropic = trainer.spec.grid, self.recipe.data.isotropic
        channels = grid.channels if grid else ()
        if grid and not grid.components and isotropic and trainer.spec.kind == "field":
            self.say(
                "fields are not mirrored and not turned: the file does not say what its channels "
                f"{', '.join(channels)} are, scalars or components; to state it: emulators data "
                f"convert {self.recipe.data.path} NEW.h5 --components NAMES, for each channel "
                f"scalar or one of {', '.join(grid.axes)}"
            )
        self.say(f"samples are seen through {steps_in_words(self.recipe.transform.steps or ())}")
        said = (
            f"{c.name} {c.minimum:g} to {c.maximum:g} {c.unit or '(no unit)'}, {c.scale}"
            for c in trainer.spec.conditions
        )
        self.say(f"conditions: {'; '.join(said) or 'none'}")
        axes = sorted({*self.recipe.data.mirror, *self.recipe.options.get("mirror", ())})
        if axes and (fixed := [c.name for c in trainer.spec.conditions if c.name != ENERGY.name]):
            self.say(
                f"showers are mirrored along {' and '.join(axes)}, {', '.join(fixed)} not: leave "
                "mirror out where a mirrored shower has another one"
            )
        numbers, rest = trainer.dataset.unused
        if numbers:
            taken = "in the file, not used as conditions; data.conditions takes them"
            self.say(f"{', '.join(numbers)}: {taken}")
        if rest:
            self.say(f"{', '.join(rest)}: in the file, not used")
        if self.recipe.training.minutes:
            self.say("a budget in minutes: the result depends on the speed of the machine")
        reason = "no validation samples, or none for their kind"
        if self.monitor is not None:
            if names := self.monitor.left_out if self.chief else []:
                self.say(f"left out of the physics metric, as constant: {', '.join(names)}")
            # with several processes all must measure, or none
            (blind,) = self.world.agree(float(self.chief and not self._judges(self.monitor.floor)))
            if blind:
                reason = "it cannot judge these validation samples, which are too much alike"
                self.monitor = None
        if self.monitor is None:
            self.say(f"no physics metric ({reason}): emulator.pt will be the last state")
        elif self.chief:
            self.card["floor"] = self.monitor.floor
            self.say(
                f"floor between halves of {len(self.monitor.reference):,} validation samples: "
                + pairs(self.monitor.floor)
            )
            if self.monitor.measure is field_distance and len(channels) > 1:
                self.say(f"of {len(channels)} channels the first is compared alone: {channels[0]}")
        if trainer.steps:
            self.say(f"going on from {self._where()}")

    def _check(self) -> None:
        """Raise TrainingDiverged on every process where one of them sees a reason."""
        (bad,) = self.world.agree(float(not self.trainer.healthy()))
        if bad:
            last = self.folder / "checkpoints" / "last.pt"
            kept = f"the last good state is {last}" if last.exists() else "there is no good state"
            text = (
                f"diverged before {self._where()}: {pairs(self.trainer.take_averages())}; {kept}; "
                "lower the learning rates or strengthen the critic's penalty"
            )
            self.say(text)
            raise TrainingDiverged(text)

    def _log_losses(self) -> None:
        self.losses = self.trainer.take_averages()
        rates = {
            f"learning_rate_{name}": float(o.param_groups[0]["lr"])
            for name, o in self.trainer.optimisers.items()
        }
        self._write({"samples_per_second": self.rate, **rates, **self.losses})

    def _write(self, numbers: dict[str, float]) -> None:
        """Append a line to ``metrics.jsonl``."""
        if not self.chief:
            return
        trainer = self.trainer
        at = {"step": trainer.steps, "samples": trainer.samples, "seconds": trainer.seconds}
        line = json.dumps({**at, **{k: float(f"{v:.6g}") for k, v in numbers.items()}})
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _emulator(self) -> Emulator:
        trainer, recipe = self.trainer, self.recipe
        origin = self.card | {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "samples_seen": trainer.samples,
            "minutes": round(trainer.seconds / 60, 2),
        }
        return Emulator(
            trainer.finished(),
            trainer.transform,
            trainer.spec,
            recipe.architecture,
            recipe.options,
            origin,
            self.folder.absolute().name,
        )

    def _measure(self) -> None:
        """Measure the averaged generator; where it is the best so far, keep it."""
        trainer = self.trainer
        if self.monitor is None or self.measured_at == trainer.steps:
            return
        self.measured_at = trainer.steps
        self._check()
        check_same(self.world, (trainer.generator, trainer.critic, trainer.average))
        if not self.chief:
            return
        emulator = self._emulator()
        found, generated = self.monitor(emulator)
        self._write(found)
        self.losses |= found
        if self.recipe.monitor.previews:
            path = self.folder / "previews" / f"{trainer.samples:012d}.png"
            preview(generated, self.monitor.reference, trainer.spec, path)
        first = next(iter(found))
        best = trainer.best["found"][first] if trainer.best else math.inf
        if self._judges(found) and not found[first] >= best:
            trainer.best = {"samples": trainer.samples, "found": found}
            emulator.card["validation"] = {"samples": len(generated), **found}
            emulator.save(self.folder / "emulator.pt")
            self._save("best.pt")

    def _judges(self, found: dict[str, float]) -> bool:
        """Whether the number that decides is one: infinity and NaN choose no state."""
        return math.isfinite(next(iter(found.values()), 0.0))

    def _checkpoint(self) -> None:
        trainer = self.trainer
        self._check()
        if not trainer.finite_weights():
            raise TrainingDiverged(f"a weight is not finite at {self._where()}")
        check_same(self.world, (trainer.generator, trainer.critic, trainer.average))
        if self.chief:
            self._save("last.pt")

    def _save(self, name: str) -> None:
        state = self.trainer.state() | {"data_sha256": self.card["data_sha256"]}
        checkpoint.save(self.folder / "checkpoints" / name, state)

    def _where(self) -> str:
        trainer = self.trainer
        return (
            f"{count(trainer.samples)} samples, {trainer.steps:,} steps, "
            f"{duration(trainer.seconds)}"
        )

    def _status(self) -> None:
        """Say on one line how far, how fast, how long still, how good."""
        trainer = self.trainer
        left = trainer.seconds * max(0.0, 1 / max(trainer.fraction, 1e-9) - 1)
        words = {"loss_critic": "critic", "loss_generator": "generator"}
        shown = {words.get(k, k): v for k, v in self.losses.items() if "score" not in k}
        best = trainer.best
        self.say(
            f"{count(trainer.samples)} samples ({trainer.fraction:.0%})  {self.rate:,.0f}/s  "
            f"{duration(left)} left  {pairs(shown)}"
            + (f"  best at {count(best['samples'])}" if best else "")
        )


def _hand_on(number: int) -> None:
    """Call what the program itself does about a signal, now that the state is saved."""
    handler = signal.getsignal(number)
    if callable(handler) and handler is not signal.default_int_handler:
        handler(number, None)


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C: the first asks to stop after the step, a second one stops."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may set handlers
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        for known, handler in before.items():
            signal.signal(known, handler)

    for known in before:
        signal.signal(known, ask)
    try:
        yield asked
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)
