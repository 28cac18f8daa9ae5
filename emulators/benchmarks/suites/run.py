"""What a suite says, done: train, generate, measure, compare.

Its folder holds ``suite.json`` (the record), ``suite.md`` and ``index.html`` (drawn from it),
``runs/``, ``samples/``, ``reports/<system>/``, and ``steps.json``, which says what is done: a suite
that was killed goes on where it stopped.
"""

import logging
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emulators.benchmarks.suites.metrics import met
from emulators.benchmarks.suites.page import write_pages
from emulators.benchmarks.suites.steps import Work
from emulators.benchmarks.suites.suite import Suite
from emulators.config import as_mapping

__all__ = ["plan_suite", "run_suite"]

log = logging.getLogger(__name__)

FORMAT = "emulators suite"
FORMAT_VERSION = 2  # its metrics are numbers of the reports, by their names


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
    judged = []
    for system, entry in zip(suite.system, systems):
        metrics = {m["name"]: m for m in entry["metrics"]}
        for name, limit in suite.thresholds.items() if system.judged else ():
            metric = metrics.get(name)
            judged.append(
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
    return judged
