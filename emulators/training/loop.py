"""Train, go on, try out: what the command line and Python call.

A run folder holds ``recipe.toml`` (resolved), ``environment.json``, ``metrics.jsonl``, ``log.txt``,
``previews/``, ``checkpoints/last.pt`` and ``best.pt``, and ``emulator.pt``.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from emulators.config import dump_toml, load_toml, override
from emulators.errors import InputError
from emulators.training import checkpoint
from emulators.training.distributed import World, choose_device, join, leave
from emulators.training.monitor import Measure
from emulators.training.recipe import Recipe, recipe_from
from emulators.training.record import device_name, duration, steps_in_words
from emulators.training.run import Run
from emulators.training.trainer import Trainer, TrainingDiverged

__all__ = ["TrainingDiverged", "dry_run", "resume", "train"]


def train(
    recipe: Recipe, run: str | Path, *, measure: Measure | None = None, progress: bool = False
) -> Path:
    """Train an emulator.

    Parameters
    ----------
    recipe
        All of the training.
    run
        Folder to write; it must not hold a run yet.
    measure
        What decides which state is the best (see `monitor.Measure`); None: the one for this kind
        of samples.
    progress
        Whether to draw a progress bar where the output is a terminal.

    Returns
    -------
    The path of the emulator file: the averaged generator at its best.  Where the training was
    stopped by SIGTERM or Ctrl-C, the best so far; but where the program has a handler of its own
    for that signal, it is called when the state is saved, and may raise (the command line's does).

    Raises
    ------
    InputError
        The recipe, its data or the folder cannot be used.
    TrainingDiverged
        A loss or weight is not finite, or a score is beyond 1e4.
    """
    run = Path(run)
    if (run / "recipe.toml").exists():
        raise InputError(
            f"{run}: there is a run in this folder; go on with it (--resume {run}) or take another"
        )
    with _world(recipe) as world, contextlib.closing(Trainer(recipe, world)) as trainer:
        return Run(trainer, run, measure).go(progress)


def resume(
    run: str | Path,
    settings: Sequence[str] = (),
    *,
    measure: Measure | None = None,
    progress: bool = False,
) -> Path:
    """Go on with an interrupted training from its last checkpoint.

    On one CPU machine the run ends bit for bit where it would have ended without interruption, if
    its budget is in samples.

    Parameters
    ----------
    run
        The run folder.
    settings
        ``table.key=value`` laid over its recipe, e.g. ``training.samples=2e7`` for a larger budget;
        budget, optimiser and monitor can change, and the place of the data.
    measure, progress
        See `train`.
    """
    run = Path(run)
    if not (run / "recipe.toml").exists():
        raise InputError(f"{run}: there is no run in this folder to go on with")
    begun = load_toml(run / "recipe.toml")
    recipe = recipe_from(override(begun, settings))
    _require_same(recipe_from(begun), recipe)
    with _world(recipe) as world, contextlib.closing(Trainer(recipe, world)) as trainer:
        last = checkpoint.load(run / "checkpoints" / "last.pt", world.device)
        if last["data_sha256"] != trainer.dataset.sha256:
            raise InputError(
                f"{recipe.data.path}: not the file that this run began with: its SHA-256 is "
                f"{trainer.dataset.sha256}, it was {last['data_sha256']}"
            )
        trainer.load(last)
        return Run(trainer, run, measure).go(progress)


def _require_same(begun: Recipe, recipe: Recipe) -> None:
    """Raise InputError where a setting changed that what was trained so far depends on."""
    free = (
        "path",
        "samples",
        "minutes",
        "precision",
        "device",
        "checkpoint_minutes",
        "log_samples",
        "graphs",
    )
    for table in ("data", "network", "transform", "game", "training"):
        old, new = (r.to_mapping()[table] for r in (begun, recipe))
        for key in sorted((old.keys() | new.keys()) - set(free)):
            if old.get(key) != new.get(key):
                raise InputError(
                    f"{table}.{key} cannot change within a run: it began with {old.get(key)!r}"
                )


@contextlib.contextmanager
def _world(recipe: Recipe) -> Iterator[World]:
    world = join(recipe.training.device)
    try:
        yield world
    finally:
        leave(world)


def dry_run(recipe: Recipe, steps: int = 20) -> str:
    """Return what a training would do: recipe, sizes, a few timed steps, the time it would take."""
    trainer = Trainer(recipe, World(0, 1, choose_device(recipe.training.device)))
    recipe, splits = trainer.recipe, trainer.rows
    for _ in range(3):
        trainer.step()
    trainer.healthy()  # waits for the device
    start = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    healthy = trainer.healthy()
    trainer.close()
    rate = steps * trainer.step_samples / (time.perf_counter() - start)
    table = recipe.training
    budgets = [60 * table.minutes] if table.minutes else []
    budgets += [table.samples / rate] if table.samples else []
    weights = [sum(p.numel() for p in m.parameters()) for m in (trainer.generator, trainer.critic)]
    lines = [
        dump_toml(recipe.to_mapping()),
        f"rows       {', '.join(f'{len(rows):,} {name}' for name, rows in splits.items())}",
        f"networks   generator {weights[0]:,} weights, critic {weights[1]:,}, "
        f"{trainer.generator.latent} latents",
        f"transform  {steps_in_words(recipe.transform.steps or ())}",
        f"speed      {rate:,.0f} samples/s on {device_name(trainer.world.device)}, "
        f"{table.precision}" + ("" if healthy else "; DIVERGES in its first steps"),
        f"duration   {duration(min(budgets))}, and the time that the monitor takes",
    ]
    return "\n".join(lines)
