"""Benchmark suites: several emulators trained or loaded, measured alike, compared in one report.

A suite is a TOML file.  Its folder holds ``suite.json`` (the record), ``suite.md`` and
``index.html`` (drawn from it), ``runs/``, ``samples/``, ``reports/<system>/``, and ``steps.json``,
which says what is done: a suite that was killed goes on where it stopped.
"""

import logging
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from emulators.benchmarks.classifier import PRESETS
from emulators.benchmarks.suites.metrics import known_metrics, met
from emulators.config import as_mapping, build, load_toml, nearest, override

__all__ = ["Measuring", "Reference", "Suite", "System", "plan_suite", "read_suite", "run_suite"]

log = logging.getLogger(__name__)

FORMAT = "emulators suite"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Reference:
    """``[data]``: the file of reference samples, whose test split is what is measured.

    Parameters
    ----------
    path
        HDF5 file, relative to where the command is run.
    validation, test
        Fractions kept from every training: the first chooses its best state, the second is never
        read by it.
    split_seed
        Seed of the split.
    """

    path: str
    validation: float = 0.05
    test: float = 0.25
    split_seed: int = 0

    def __post_init__(self) -> None:
        if not (self.validation >= 0 and self.test > 0 and self.validation + self.test < 1):
            raise ValueError(
                f"validation = {self.validation:g} and test = {self.test:g}: there must be samples "
                "to test on, and some left to train on"
            )
        if self.split_seed < 0:
            raise ValueError(f"split_seed must not be negative, got {self.split_seed}")


@dataclass(frozen=True)
class System:
    """``[[system]]``: one of those compared; exactly one of recipe, emulator and samples.

    Parameters
    ----------
    name
        What the report calls it.
    recipe
        TOML file of a training; the suite's data and split take the place of the recipe's.
    set
        ``table.key=value`` laid over the recipe.
    emulator
        Name of a pretrained emulator, an emulator file, or a run folder.
    samples
        HDF5 file that another program made.
    judged
        Whether the thresholds of the suite hold for it.
    """

    name: str
    recipe: str | None = None
    set: tuple[str, ...] = ()
    emulator: str | None = None
    samples: str | None = None
    judged: bool = True

    def __post_init__(self) -> None:
        if not self.slug:
            raise ValueError(f"name = '{self.name}': give it a letter or a digit")
        given = [k for k in ("recipe", "emulator", "samples") if getattr(self, k) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(
                f"'{self.name}' needs one of recipe, emulator and samples; it has {found}"
            )
        if self.set and self.recipe is None:
            raise ValueError(f"'{self.name}': set changes a recipe, and there is none")

    @property
    def slug(self) -> str:
        """The name of its files and folders."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-.")


@dataclass(frozen=True)
class Measuring:
    """``[benchmark]``: what every report is made with, see `report.benchmark`."""

    seeds: int = 3
    preset: str = "fast"
    max_samples: int | None = None
    speed: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(
                f"no classifier preset '{self.preset}'{nearest(self.preset, list(PRESETS))}"
            )
        for name in ("seeds", "max_samples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Suite:
    """A whole suite; each field is a key or a table of the TOML file.

    Parameters
    ----------
    title, kind
        What it is called, and of which kind its samples are.
    data, system, benchmark
        See `Reference`, `System`, `Measuring`.
    recipe
        Tables of a recipe that are laid over all recipes, after their own ``set``: a common budget.
    thresholds
        How far the metrics of the comparative table may go, by name; of the better kind of
        numbers (recall, equivalent samples) how far they must.
    check
        Whether the command ends with exit code 1 where a threshold is not met.
    """

    title: str
    kind: Literal["shower", "field"]
    data: Reference
    system: tuple[System, ...]
    benchmark: Measuring = field(default_factory=Measuring)
    recipe: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    check: bool = False

    def __post_init__(self) -> None:
        if not self.system:
            raise ValueError("there is no [[system]] to measure")
        slugs = [s.slug for s in self.system]
        for i, slug in enumerate(slugs):
            if slug in slugs[:i]:
                first = self.system[slugs.index(slug)].name
                raise ValueError(
                    f"'{first}' and '{self.system[i].name}' would share the files of '{slug}'"
                )
        if self.check and not (self.thresholds and any(s.judged for s in self.system)):
            raise ValueError("a check needs thresholds, and a system that they hold for")
        known = known_metrics(self.kind)
        for name in self.thresholds:
            if name not in known:
                raise ValueError(f"thresholds: no metric '{name}'{nearest(name, known)}")


def read_suite(path: str | Path, settings: Sequence[str] = ()) -> Suite:
    """Read a suite from TOML, with ``["table.key=value", ...]`` laid over it."""
    return build(Suite, override(load_toml(path), settings))


def run_suite(
    suite: Suite,
    folder: str | Path,
    *,
    cache: str | Path | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Do what a suite says, from where an earlier call stopped, and write the report.

    Parameters
    ----------
    suite
        See `read_suite`.
    folder
        Where everything goes; it must be new, empty, or of a suite.
    cache
        Of the reports, see `report.benchmark`: all systems share the floors of the reference.
    progress
        Whether to draw progress bars on a terminal.

    Returns
    -------
    The record, as in ``suite.json``.  ``record["thresholds"]`` has an entry for each threshold and
    system it holds for, with ``met``.

    Raises
    ------
    InputError
        The suite, one of its files or the folder cannot be used; found before anything is trained,
        as far as it can be.
    KeyboardInterrupt
        A training was asked to stop; the same call goes on from there.
    """
    from emulators.benchmarks.suites.page import write_pages
    from emulators.benchmarks.suites.steps import Work

    began = time.perf_counter()
    work = Work(suite, Path(folder), None if cache is None else Path(cache), progress)
    work.check()
    reference = work.reference()
    systems = [work.system(system, reference) for system in suite.system]
    made = [s for s in systems if "machine" in s]
    record: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "title": suite.title,
        "kind": suite.kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "suite": as_mapping(suite),
        "data": {
            "path": suite.data.path,
            "sha256": work.dataset.sha256,
            "samples": len(work.dataset),
            "rows": work.rows,
            "channels": grid.channels if (grid := work.dataset.spec.grid) else (),
        },
        "machine": made[0]["machine"] if made else {},
        "versions": made[0]["versions"] if made else {},
        "systems": systems,
        "thresholds": _judged(suite, systems),
    }
    record["seconds"] = round(time.perf_counter() - began, 1)
    write_pages(record, work.folder)
    log.info("%s: %.0f s", work.folder / "index.html", record["seconds"])
    return record


def plan_suite(suite: Suite, folder: str | Path) -> str:
    """Check a suite and say what `run_suite` would do: steps, what of them is done, budgets."""
    from emulators.benchmarks.suites.steps import Work

    work = Work(suite, Path(folder))
    work.check()
    rows = ", ".join(f"{n:,} {name}" for name, n in work.rows.items())
    lines = [f"{suite.title}: {len(suite.system)} systems on {suite.data.path} ({rows})"]
    for system in suite.system:
        if system.recipe is None:
            what = f"load {system.emulator}, generate" if system.emulator else system.samples
            lines.append(f"{system.name}: {what}, measure")
            continue
        recipe = work.recipe(system)
        minutes, samples = recipe.training.minutes, recipe.training.samples
        budget = [f"{minutes:g} minutes"] if minutes else []
        budget += [f"{samples:,.0f} samples"] if samples else []
        lines.append(
            f"{system.name}: train {recipe.architecture} ({system.recipe}) for "
            f"{' or '.join(budget)} [{work.state_of(system)}], generate, measure"
        )
    judged = ", ".join(s.name for s in suite.system if s.judged) or "no system"
    lines += [
        f"threshold: {name} {limit:g}, for {judged}" for name, limit in suite.thresholds.items()
    ]
    return "\n".join([*lines, f"into {folder}"])


def _judged(suite: Suite, systems: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Hold every threshold against every system it holds for."""
    found = []
    for system, entry in zip(suite.system, systems):
        metrics = {m["name"]: m for m in entry["metrics"]}
        for name, limit in suite.thresholds.items() if system.judged else ():
            metric = metrics.get(name)
            found.append(
                {
                    "system": system.name,
                    "metric": name,
                    "limit": limit,
                    "value": metric and metric["value"],
                    "error": metric and metric["error"],
                    # what could not be measured is not met
                    "met": metric is not None and met(metric, limit),
                }
            )
    return found
