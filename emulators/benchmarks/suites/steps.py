"""The steps of a suite: cut the reference, train, generate, measure; each is done once."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from emulators import __version__
from emulators.benchmarks.measured import plain
from emulators.benchmarks.report import Report, benchmark
from emulators.benchmarks.suites.metrics import summary_of
from emulators.benchmarks.suites.suite import Suite, System
from emulators.benchmarks.training import METRICS, training_lines
from emulators.config import load_toml, override
from emulators.data.convert import split
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import content_hash
from emulators.data.origins import (
    read_samples,
    training_attributes,
    training_hashes,
    training_of,
)
from emulators.emulator import Emulator
from emulators.errors import InputError
from emulators.generation import generate_file
from emulators.loading import load
from emulators.networks.base import build_generator
from emulators.training import checkpoint, loop
from emulators.training.recipe import Recipe, recipe_from

__all__ = ["Ledger", "Work", "training_curve"]

log = logging.getLogger(__name__)

FORMAT = "emulators suite steps"

Made = dict[str, Any]


class Ledger:
    """What is done in a folder, step by step, with the hash of what each step was made from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Any] = {}
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                self.entries = content["steps"] if content["format"] == FORMAT else {}
            except (OSError, ValueError, KeyError, TypeError):
                raise InputError(f"{path}: damaged; remove it to do every step again") from None

    def begun(self, name: str, inputs: str) -> bool:
        """Tell whether the step was begun with these inputs."""
        return bool(self.entries.get(name, {}).get("inputs") == inputs)

    def made(self, name: str, inputs: str) -> Made | None:
        """Return what a finished step made from these inputs left, if that is still there."""
        entry = self.entries.get(name, {})
        if not self.begun(name, inputs) or "made" not in entry:
            return None
        here = all((self.path.parent / file).exists() for file in entry["made"]["files"])
        return dict(entry["made"]) if here else None

    def write(self, name: str, inputs: str, made: Mapping[str, Any] | None = None) -> None:
        """Write down that a step begins, or what it made."""
        self.entries[name] = {"inputs": inputs} | ({} if made is None else {"made": dict(made)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "steps": self.entries}
        checkpoint.write_text(self.path, json.dumps(content, indent=1) + "\n")


class Work:
    """A suite at work in its folder."""

    def __init__(
        self, suite: Suite, folder: Path, cache: Path | None = None, progress: bool = False
    ) -> None:
        self.suite, self.folder, self.cache, self.progress = suite, folder, cache, progress
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: a file; a suite needs a folder")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "steps.json").exists():
            raise InputError(f"{folder}: not empty, and holds no suite; give an empty folder")
        self.ledger = Ledger(folder / "steps.json")
        self.dataset = Dataset(suite.data.path)
        self.count = 0
        # the cut; a training has three steps, an emulator two, a file of samples one
        self.total = 1 + sum(1 + (s.samples is None) + (s.recipe is not None) for s in suite.system)

    @cached_property
    def shares(self) -> dict[str, Any]:
        """How the reference is split."""
        data = self.suite.data
        return {"validation": data.validation, "test": data.test, "seed": data.split_seed}

    @cached_property
    def rows(self) -> dict[str, int]:
        """How many samples each part of the split has."""
        return {name: len(rows) for name, rows in self.dataset.split(**self.shares).items()}

    def check(self) -> None:
        """Raise InputError for whatever can be found before anything takes long."""
        spec, path = self.dataset.spec, self.suite.data.path
        if spec.kind != self.suite.kind:
            raise InputError(f"{path}: holds {spec.kind}s, and the suite is for {self.suite.kind}s")
        _ = self.rows
        for system in self.suite.system:
            if system.recipe is not None:
                recipe = self.recipe(system)
                asked = Dataset(path, conditions=recipe.data.conditions).spec
                build_generator(recipe.architecture, recipe.options, asked)
                continue
            other = (
                load(system.emulator).spec
                if system.emulator is not None
                else Dataset(system.samples or "").spec
            )
            if (other.kind, other.shape) != (spec.kind, spec.shape):
                ours, theirs = ("x".join(map(str, s.shape)) for s in (other, spec))
                raise InputError(
                    f"system '{system.name}': {other.kind}s of {ours} numbers; {path} holds "
                    f"{spec.kind}s of {theirs}"
                )

    def recipe(self, system: System) -> Recipe:
        """Return the recipe of a training: its own, then ``set``, the suite's, the suite's data."""
        assert system.recipe is not None
        mapping = override(load_toml(system.recipe), system.set)
        mapping = _laid_over(mapping, self.suite.recipe)
        own = {k: v for k, v in mapping.get("data", {}).items() if k != "layout"}
        data = self.suite.data
        mapping["data"] = own | {
            "path": data.path,
            "validation": data.validation,
            "test": data.test,
            "split_seed": data.split_seed,
        }
        try:
            return recipe_from(mapping)
        except InputError as error:
            raise InputError(f"system '{system.name}', {system.recipe}: {error}") from None

    def state_of(self, system: System) -> str:
        """Say of a training whether it is done."""
        name, inputs = f"train {system.name}", _hash(self._training(self.recipe(system)))
        if self.ledger.made(name, inputs) is not None:
            return "done before"
        return "goes on" if self.ledger.begun(name, inputs) else "to do"

    def reference(self) -> Path:
        """Cut the test split out of the reference file."""
        target = self.folder / "samples" / "reference_test.h5"

        def cut() -> Made:
            part = target.with_name("reference.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            split(self.suite.data.path, part, **self.shares)["test"].replace(target)
            shutil.rmtree(part)
            return {"files": [self._inside(target)]}

        self._step("cut the test split", {"data": self.dataset.sha256, **self.shares}, cut)
        return target

    def system(self, system: System, reference: Path) -> dict[str, Any]:
        """Do all steps of a system; return its entry of the record."""
        entry: dict[str, Any] = {"name": system.name, "judged": system.judged, "metrics": []}
        emulator: Emulator | None = None
        generated = Path(system.samples or "")
        if system.recipe is None and self._was_trained_on(system):
            # In a split of its own: the report takes what it has not seen of all the data.
            reference = self.dataset.path
        if system.recipe is not None:
            run = self.folder / "runs" / system.slug
            made = self._train(system, run)
            entry |= {"recipe": _nameless(self.recipe(system)), "curve": training_curve(run)}
            if "failed" in made:
                return entry | {"failed": made["failed"]}
            entry["minutes"] = made["minutes"]
            emulator = load(run)
        elif system.emulator is not None:
            emulator = load(system.emulator)
            entry["minutes"] = emulator.card.get("minutes")
        if emulator is not None:
            if "curve" in entry:
                floors = emulator.card.get("floor", {})
                entry["curve"]["floor"] = floors.get(entry["curve"]["metric"])
            entry["emulator"] = {
                "name": emulator.name,
                "sha256": emulator.sha256,
                "architecture": emulator.architecture,
                "weights": sum(p.numel() for p in emulator.generator.parameters()),
            }
            generated = self._generate(system, emulator, reference)
        self._report(system, emulator, generated, reference)
        report = self.folder / "reports" / system.slug
        measured: dict[str, Any] = plain(summary_of(Report.read(report), entry))
        return {**entry, "report": self._inside(report), **measured}

    def _was_trained_on(self, system: System) -> bool:
        """Tell whether what was made elsewhere was trained on some of the suite's data."""
        if system.emulator is not None:
            card = load(system.emulator).card
            training = training_of(training_attributes(card), training_hashes(card))
        else:
            made = Dataset(system.samples or "")
            training = training_of(made.attributes, made.training)
        return bool(read_samples(self.dataset, training).any.any())

    def _train(self, system: System, run: Path) -> Made:
        recipe = self.recipe(system)

        def train() -> Made:
            try:
                if (run / "recipe.toml").exists():
                    path = json.dumps(str(self.dataset.path.absolute()))
                    loop.resume(run, [f"data.path={path}"], progress=self.progress)
                else:
                    loop.train(recipe, run, progress=self.progress)
            except loop.TrainingDiverged as error:
                return {"files": [], "failed": str(error)}
            state = checkpoint.load(run / "checkpoints" / "last.pt")
            if not _spent(recipe, state):
                raise KeyboardInterrupt  # it was asked to stop, and saved where it is
            minutes = state["seconds"] / 60
            return {"files": [self._inside(run / "emulator.pt")], "minutes": minutes}

        inputs = self._training(recipe)
        return self._step(f"train {system.name}", inputs, train, lambda: _put_aside(run))

    def _training(self, recipe: Recipe) -> dict[str, Any]:
        """Return what a training depends on."""
        return {"recipe": _nameless(recipe), "data": self.dataset.sha256}

    def _generate(self, system: System, emulator: Emulator, reference: Path) -> Path:
        target = self.folder / "samples" / f"{system.slug}.h5"
        seed = self.suite.benchmark.seed

        def clear() -> None:
            shutil.rmtree(target.with_name(f"{target.name}.part"), ignore_errors=True)

        def generate() -> Made:
            options: dict[str, Any] = {"seed": seed, "progress": self.progress}
            generate_file(emulator, None, target, conditions=reference, overwrite=True, **options)
            return {"files": [self._inside(target)]}

        conditions = content_hash(reference)
        inputs = {"emulator": emulator.sha256, "conditions": conditions, "seed": seed}
        self._step(f"generate {system.name}", inputs, generate, clear)
        return target

    def _report(
        self, system: System, emulator: Emulator | None, generated: Path, reference: Path
    ) -> None:
        folder, settings = self.folder / "reports" / system.slug, vars(self.suite.benchmark)

        def measure() -> Made:
            options = {"cache": self.cache, "progress": self.progress, **settings}
            benchmark(generated, reference, folder, emulator=emulator, **options)
            return {"files": [self._inside(folder / "report.json")]}

        inputs = {
            "generated": content_hash(generated),
            "reference": content_hash(reference),
            "emulator": emulator and emulator.sha256,
            **settings,
        }
        self._step(f"measure {system.name}", inputs, measure)

    def _step(
        self,
        name: str,
        inputs: Mapping[str, Any],
        do: Callable[[], Made],
        clear: Callable[[], object] = lambda: None,
    ) -> Made:
        """Do a step, unless it is done.

        ``clear`` removes what the same step left half done from other inputs.
        """
        self.count += 1
        place, key = f"[{self.count}/{self.total}] {name}", _hash(inputs)
        made = self.ledger.made(name, key)
        if made is not None:
            log.info("%s: done before", place)
            return made
        began = time.perf_counter()
        if not self.ledger.begun(name, key):
            clear()
            self.ledger.write(name, key)
        made = do()
        self.ledger.write(name, key, made)
        failed = f" ({made['failed']})" if "failed" in made else ""
        log.info("%s: %.1f s%s", place, time.perf_counter() - began, failed)
        return made

    def _inside(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def training_curve(run: Path) -> dict[str, Any]:
    """Return the measured physics of a run: name of the metric, minutes, samples seen, values.

    The metric is the one that its best state was chosen by; empty where nothing was measured.
    """
    curve: dict[str, Any] = {"metric": None, "minutes": [], "samples": [], "values": []}
    for line in training_lines(run):
        name = next((n for n in METRICS if n in line), None)
        if name is not None:
            curve["metric"] = name
            curve["minutes"].append(round(line["seconds"] / 60, 4))
            curve["samples"].append(line["samples"])
            curve["values"].append(line[name])
    return curve


def _hash(inputs: Mapping[str, Any]) -> str:
    """Return the hash of what a step is made from, this version of the toolkit included."""
    text = json.dumps({"version": __version__, **inputs}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _laid_over(mapping: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested tables with those of ``other`` in their place."""
    result = dict(mapping)
    for key, value in other.items():
        old = result.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        result[key] = _laid_over(old, value) if both else value  # type: ignore[arg-type]
    return result


def _nameless(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain values, without the folder of its data."""
    plain = recipe.to_mapping()
    plain["data"]["path"] = Path(recipe.data.path).name
    return plain


def _put_aside(run: Path) -> None:
    """Rename the folder of a run of another recipe: hours of work are not deleted."""
    if not run.exists():
        return
    number = 1
    while (kept := run.with_name(f"{run.name}.before-{number}")).exists():
        number += 1
    log.info("%s: of another recipe or other data, kept as %s", run, run.rename(kept))


def _spent(recipe: Recipe, state: Mapping[str, Any]) -> bool:
    """Tell whether a saved training has used up its budget."""
    table = recipe.training
    seen = state["steps"] * table.batch_size * recipe.game.n_critic
    return (table.samples is not None and seen >= table.samples) or (
        table.minutes is not None and state["seconds"] >= 60 * table.minutes
    )
