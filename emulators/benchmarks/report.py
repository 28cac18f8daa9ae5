"""Benchmark generated samples against a reference: load, ask the chapters, judge, write.

``report.json`` is the record of everything measured; ``report.md`` and ``report.html`` are drawn
from it, and so are the figures of a paper.
"""

import logging
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emulators import __version__
from emulators.benchmarks.beside import others
from emulators.benchmarks.cache import keeping
from emulators.benchmarks.calochallenge.figures import CHALLENGES, require_showers_of
from emulators.benchmarks.chapter import Chapter, Result
from emulators.benchmarks.chapters import chapters_of
from emulators.benchmarks.classifier import PRESETS
from emulators.benchmarks.judge import RESAMPLINGS, lines
from emulators.benchmarks.measured import FORMAT_VERSION, Measured, Number, plain
from emulators.benchmarks.pair import Pair, load_pair
from emulators.benchmarks.results import FORMAT, Report, refuse_foreign
from emulators.benchmarks.speed.result import speed_result
from emulators.benchmarks.speed.throughput import machine
from emulators.benchmarks.speed.timing import measure_speed, plan_simulation, untimed
from emulators.benchmarks.training import training_result
from emulators.benchmarks.write import opening
from emulators.config import load_toml, nearest
from emulators.emulator import Emulator
from emulators.errors import InputError
from emulators.loading import load
from emulators.progress import showing

__all__ = ["HALVINGS", "RESAMPLINGS", "Report", "benchmark", "read_limits"]

log = logging.getLogger(__name__)

HALVINGS = 20


def benchmark(
    generated: str | Path,
    reference: str | Path,
    output: str | Path | None = None,
    *,
    emulator: str | Path | Emulator | None = None,
    seeds: int = 3,
    preset: str = "fast",
    classifiers: bool = True,
    max_samples: int | None = None,
    speed: bool = True,
    simulate: str | Path | None = None,
    beside: bool = True,
    limits: Mapping[str, float] | None = None,
    figures: str | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = False,
) -> Report:
    """Measure how far generated samples are from a reference.

    Parameters
    ----------
    generated, reference
        HDF5 files of showers of one geometry, in any known layout, or of fields on one grid.
        Where the reference is the file that the emulator was trained on, only its test split is
        used.
    output
        Folder for ``report.json``, ``report.md`` and ``report.html``; it appears when all is
        measured.  An earlier report there is replaced, anything else refused.  None: nothing is
        written.
    emulator
        Emulator to time, and whose untrained start is measured (file, run, name or object); by
        default the one that the generated file names, where it is installed.  Of a run folder the
        training is shown.
    seeds
        How many classifiers are trained of each kind.
    preset
        Which classifier, ``fast`` or ``calochallenge``; or ``calochallenge-1-photons``,
        ``calochallenge-1-pions``, ``calochallenge-2``, ``calochallenge-3``: all that CaloChallenge
        measures on this data set, beside what it published.
    classifiers
        False leaves them out.
    max_samples
        Use at most so many samples of each file, drawn at random.
    speed
        Time the emulator and, where it can be run here, the simulation of the reference.
    simulate
        Preset or recipe of that simulation, as ``emulators simulate`` takes them; by default what
        the reference file records.
    beside
        Measure the untrained start of the emulator, and a baseline that knows nothing of what a
        network learns, beside the samples.
    limits
        Where good ends for figures by name, ``{"classifiers/high": 0.1}``, above their floor.
    figures
        ``pdf``, ``png`` or ``svg``: write each figure by itself too.
    seed
        Seed of all that is drawn: order, halves, bootstrap, classifiers.
    cache
        Folder in which distances and trained classifiers' scores are kept, and looked for, by the
        hash of all that they depend on: a second report on one reference finds its floors there.
        None: all is measured.
    progress
        Show progress bars on a terminal.

    Returns
    -------
    The `Report`: ``report["classifiers/high"].value``.

    Raises
    ------
    InputError
        A file cannot be used, the two differ in geometry or grid, they hold too few samples, the
        folder holds something else, a limit is of no known figure, or ``simulate`` names what
        cannot be run here or makes other samples.
    """
    began = time.perf_counter()
    if output is not None:
        refuse_foreign(Path(output))
    if preset not in PRESETS:
        raise InputError(f"no classifier preset '{preset}'{nearest(preset, list(PRESETS))}")
    if classifiers and seeds < 1:
        raise InputError(f"seeds = {seeds}: at least one classifier must be trained")
    if preset in CHALLENGES:
        require_showers_of(preset, generated)
    pair = load_pair(generated, reference, max_samples, seed)
    if not (chapters := chapters_of(pair.kind)):
        raise InputError(f"{generated}: {pair.kind}s, and no chapter of a report is about them")
    asked = [*(c.name for c in chapters), "speed"]
    for name in limits or ():
        if (first := name.partition("/")[0]) not in asked:
            raise InputError(f"limits: no chapter '{first}'{nearest(first, asked)}")
    if not classifiers:
        chapters = [c for c in chapters if not c.trains]
    subject, why_not = _subject(emulator, pair)
    warnings = [*pair.warnings, *([why_not] if emulator is not None and why_not else [])]
    simulation = None
    if speed and (subject or simulate):
        simulation = plan_simulation(pair, reference, simulate, seed)
    settings = {
        "seed": seed,
        "classifier_seeds": seeds,
        "classifiers": classifiers,
        "preset": preset,
        "max_samples": max_samples,
        "halvings": HALVINGS,
        "resamplings": RESAMPLINGS,
        "limits": dict(limits or {}),
    }
    record: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": pair.kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "files": pair.files,
        "compared": compared(pair),
        "settings": settings,
        "machine": machine(),
        "versions": {"emulators": __version__, "python": sys.version.split()[0]}
        | {name: version(name) for name in ("torch", "numpy", "scipy", "h5py", "matplotlib")},
    }
    folder = None if cache is None else Path(cache)
    with (
        showing(progress),
        tempfile.TemporaryDirectory(prefix="emulators-") as scratch,
        keeping(folder, record["machine"], record["versions"]) as taken,
        tqdm(total=len(chapters) + 1, desc="benchmark", disable=None if progress else True) as bar,
    ):
        results = _measure(chapters, pair, settings, bar.update)
        if beside:
            for name, other in others(pair, subject, Path(scratch), seed):
                log.info("beside: %s", name)
                shared = [c for c in chapters if c.beside]
                measured = _measure(shared, other, {**settings, "beside": name})
                results = joined(results, name, measured)
        timed = untimed(reference, why_not if speed else "left out.")
        if simulation:
            timed = measure_speed(subject, why_not, pair, reference, simulation, seed)
        results.append(speed_result(timed, pair.kind))
        if isinstance(emulator, str | Path) and subject is not None:
            trained = training_result(Path(emulator), subject.card.get("floor", {}))
            results += [trained] if trained else []
        bar.update()
        if taken:
            log.info("%s: %d results were measured before, and taken from there", cache, len(taken))
    results = limited(results, limits or {})
    record |= {
        "chapters": [r.to_json() for r in results],
        "warnings": warnings,
        "verdict": lines(n for r in results for n in r.numbers.values()),
        "seconds": round(time.perf_counter() - began, 1),
    }
    report = Report(plain(record))
    if output is not None:
        report.save(output, figures)
        log.info("%s: %s", output, opening(report.record))
    return report


def _measure(
    chapters: Sequence[Chapter],
    pair: Pair,
    settings: Mapping[str, Any],
    done: Callable[[], Any] = lambda: None,
) -> list[Result]:
    results = []
    for c in chapters:
        began = time.perf_counter()
        if measured := tuple(c.measure(pair, settings)):
            results.append(Result(c.name, c.title, c.says, measured))
        log.debug("chapter %s: %.1f s", c.name, time.perf_counter() - began)
        done()
    return results


def joined(results: Sequence[Result], name: str, others: Sequence[Result]) -> list[Result]:
    """Return results with the numbers of other samples, called ``name``, beside theirs."""
    known = {key: n for r in others for key, n in r.numbers.items()}

    def beside(chapter: str, thing: Measured) -> Measured:
        other = known.get(f"{chapter}/{thing.name}")
        if not isinstance(thing, Number) or other is None or not math.isfinite(other.value):
            return thing
        return replace(thing, beside=(*thing.beside, (name, other.value, other.error)))

    return [replace(r, measured=tuple(beside(r.name, m) for m in r.measured)) for r in results]


def limited(results: Sequence[Result], limits: Mapping[str, float]) -> list[Result]:
    """Return results whose numbers have these limits; InputError where one is of no number."""
    names = [key for r in results for key in r.numbers]
    for name, limit in limits.items():
        if name not in names:
            raise InputError(f"limits: no figure '{name}'{nearest(name, names)}")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit >= 0:
            raise InputError(f"limits: {name} = {limit!r} must be a number, 0 or more")

    def judged(chapter: str, thing: Measured) -> Measured:
        limit = limits.get(f"{chapter}/{thing.name}")
        if limit is None or not isinstance(thing, Number):
            return thing
        return replace(thing, limit=float(limit), fails=float(limit), status="")

    return [replace(r, measured=tuple(judged(r.name, m) for m in r.measured)) for r in results]


def read_limits(path: str | Path) -> dict[str, float]:
    """Read ``[limits]`` of a TOML file: by the name of a figure, where good ends."""
    table = load_toml(path)
    if set(table) != {"limits"} or not isinstance(table["limits"], Mapping):
        raise InputError(f"{path}: it must hold one table, [limits], of figures and numbers")
    return dict(table["limits"])


def compared(pair: Pair) -> list[list[str]]:
    """Return what is compared at which conditions, as pairs of words."""
    rows = []
    if pair.spec.geometry is not None:
        rows.append(["geometry", pair.geometry.name])
    if (grid := pair.spec.grid) is not None:
        lengths = " x ".join(f"{length:g}" for length in grid.lengths)
        periodic = [a for a, p in zip(grid.axes, grid.periodic) if p]
        cells = " x ".join(map(str, pair.spec.shape[1:]))
        unit = f" [{pair.spec.unit}]" if pair.spec.unit else ""
        ends = f"periodic along {', '.join(periodic) or 'no axis'}"
        channels = ", ".join(grid.channels)
        rows.append(["grid", f"{cells} cells, {lengths} {grid.unit}, {ends}; {channels}{unit}"])
        if len(grid.channels) > 1:
            alone = "each is measured by itself; not how they go together"
            rows.append(["channels", alone])
    if pair.independent is not None:
        n = len(np.unique(pair.simulations["reference"]))
        rows.append(["independent simulations", f"{n:,} of the reference"])
    if pair.paired:
        words = f"the same in both files, {pair.kind} by {pair.kind}"
    else:
        p = ", ".join(f"{n.replace('_', ' ')} {v:.2g}" for n, v in pair.p_values.items())
        words = f"drawn separately; Kolmogorov-Smirnov p: {p}" if p else "none"
    return [*rows, ["conditions", words]]


def _subject(
    emulator: str | Path | Emulator | None, pair: Pair
) -> tuple[Emulator | None, str | None]:
    """Return the emulator to time, or why there is none; of a given one, why it is doubtful."""
    attributes = pair.files["generated"]["attributes"]
    name, sha = attributes.get("emulator", ""), attributes.get("emulator_sha256", "")
    if emulator is not None:
        given = emulator if isinstance(emulator, Emulator) else load(emulator)
        other = bool(sha) and given.sha256 != sha
        return given, (
            f"The emulator that was timed ({given.name}, {given.sha256[:12]}) is not the one that "
            f"made the generated file ({name}, {sha[:12]})."
            if other
            else None
        )
    if not name:
        return None, "The generated file names no emulator; give one with --emulator."
    try:
        installed = load(name)
    except InputError:
        return None, f"The emulator '{name}' is not installed; give its file with --emulator."
    if installed.sha256 != sha:
        return None, f"The installed emulator '{name}' is not the one that made the file."
    return installed, None
