"""Benchmark a file of generated showers against a reference: measure, judge, write the report.

``report.json`` is the record of everything measured; ``report.md`` and ``report.html`` are drawn
from it.
"""

import json
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emulators import __version__
from emulators.benchmarks.classifier import PRESETS, VIEWS, TwoSampleTest, two_sample_test, view
from emulators.benchmarks.distributions import (
    HALVINGS,
    RESAMPLINGS,
    average_showers,
    distributions,
)
from emulators.benchmarks.page import html
from emulators.benchmarks.pair import Pair, load_pair
from emulators.benchmarks.showers import CELL_THRESHOLD
from emulators.benchmarks.tables import markdown, summary
from emulators.benchmarks.throughput import machine, measure_throughput, recorded_seconds
from emulators.benchmarks.verdict import Thresholds, judge
from emulators.config import nearest
from emulators.emulator import Emulator, load
from emulators.errors import InputError

__all__ = ["benchmark"]

log = logging.getLogger(__name__)

FORMAT = "emulators benchmark"
FORMAT_VERSION = 1


def benchmark(
    generated: str | Path,
    reference: str | Path,
    output: str | Path,
    *,
    emulator: str | Path | Emulator | None = None,
    seeds: int = 3,
    preset: str = "fast",
    classifiers: bool = True,
    max_samples: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure how far generated showers are from a reference, and write the report.

    Parameters
    ----------
    generated, reference
        HDF5 files of showers of one geometry, in any known layout.  Where the reference is the
        file that the emulator was trained on, only its test split is used.
    output
        Folder for ``report.json``, ``report.md`` and ``report.html``; it appears when all is
        measured.  An earlier report there is replaced, anything else refused.
    emulator
        Emulator to time (file, run, name or object); by default the one that the generated file
        names, where it is installed.
    seeds
        How many classifiers are trained of each kind.
    preset
        Which classifier, ``fast`` or ``calochallenge``.
    classifiers
        False leaves them out.
    max_samples
        Use at most so many showers of each file, drawn at random.
    seed
        Seed of all that is drawn: order, halves, bootstrap, classifiers.
    progress
        Show a progress bar on a terminal.

    Returns
    -------
    The record, as in ``report.json``.

    Raises
    ------
    InputError
        A file cannot be used, the two differ in geometry, they hold too few showers, or the folder
        holds something else.
    """
    began = time.perf_counter()
    output = Path(output)
    _refuse_foreign(output)
    if preset not in PRESETS:
        raise InputError(f"no classifier preset '{preset}'{nearest(preset, list(PRESETS))}")
    if classifiers and seeds < 1:
        raise InputError(f"seeds = {seeds}: at least one classifier must be trained")
    pair = load_pair(generated, reference, max_samples, seed)
    subject, why_not = _subject(emulator, pair)
    warnings = list(pair.warnings)
    if emulator is not None and why_not:
        warnings.append(why_not)

    steps = 3 + (len(VIEWS) if classifiers else 0)
    with tqdm(total=steps, desc="benchmark", disable=None if progress else True) as bar:
        record: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "files": pair.files,
            "energies": {"paired": pair.paired, "p_value": pair.energy_p_value},
            "geometry": pair.geometry.name,
            "settings": {
                "seed": seed,
                "classifier_seeds": seeds,
                "preset": preset,
                "max_samples": max_samples,
                "cell_threshold_MeV": CELL_THRESHOLD,
                "halvings": HALVINGS,
                "resamplings": RESAMPLINGS,
                "thresholds": asdict(Thresholds()),
            },
            "machine": machine(),
            "versions": {"emulators": __version__, "python": sys.version.split()[0]}
            | {name: version(name) for name in ("torch", "numpy", "scipy", "h5py", "matplotlib")},
        }
        record |= distributions(pair, seed, Thresholds().deviation)
        bar.update()
        record["average_shower"] = average_showers(pair)
        record["classifiers"] = {}
        for name in VIEWS if classifiers else ():
            record["classifiers"][name] = _classify(pair, name, preset, seeds, seed)
            bar.update()
        record["throughput"] = {
            "emulator": measure_throughput(subject, seed) if subject else None,
            "why_not": why_not,
            "reference_seconds_per_sample": recorded_seconds(reference),
        }
        bar.update()
        record["warnings"] = warnings
        record["verdict"] = judge(record, Thresholds())
        record["seconds"] = round(time.perf_counter() - began, 1)
        record = _plain(record)
        _write(record, output)
        bar.update()
    return record


def _refuse_foreign(output: Path) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise InputError(f"{output}: a file; the report needs a folder")
    foreign = sorted(
        {p.name for p in output.iterdir()} - {"report.json", "report.md", "report.html"}
    )
    if foreign:
        raise InputError(
            f"{output}: holds '{foreign[0]}', which is no report of ours; give an empty folder"
        )
    try:
        ours = json.loads((output / "report.json").read_text())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        ours = not any(output.iterdir())
    if not ours:
        raise InputError(f"{output}: not empty, and its report is not ours; give an empty folder")


def _subject(
    emulator: str | Path | Emulator | None, pair: Pair
) -> tuple[Emulator | None, str | None]:
    """Return the emulator to time, or why there is none; of a given one, why it is doubtful."""
    attributes = pair.files["generated"]["attributes"]
    name, sha = attributes.get("emulator", ""), attributes.get("emulator_sha256", "")
    if emulator is not None:
        found = emulator if isinstance(emulator, Emulator) else load(emulator)
        other = bool(sha) and found.sha256 != sha
        return found, (
            f"The emulator that was timed ({found.name}, {found.sha256[:12]}) is not the one that "
            f"made the generated file ({name}, {sha[:12]})."
            if other
            else None
        )
    if not name:
        return None, "The generated file names no emulator; give one with --emulator."
    try:
        found = load(name)
    except InputError:
        return None, f"The emulator '{name}' is not installed; give its file with --emulator."
    if found.sha256 != sha:
        return None, f"The installed emulator '{name}' is not the one that made the file."
    return found, None


def _classify(pair: Pair, name: str, preset: str, seeds: int, seed: int) -> dict[str, Any]:
    energies = pair.energies
    ref, gen = (
        view(name, s.values, pair.geometry, e)
        for s, e in zip((pair.reference, pair.generated), energies)
    )
    n = min(len(ref), len(gen))
    _, halves = pair.halvings(1, seed)
    a, b = halves[0]
    numbers = range(seed, seed + seeds)
    found = two_sample_test(ref[:n], gen[:n], preset, numbers)
    floor = two_sample_test(ref[a], ref[b], preset, numbers)
    return {
        "view": VIEWS[name],
        "preset": preset,
        "n_test": found.n_test,
        "auc": _scored(found, floor, "auc"),
        "jsd": _scored(found, floor, "jsd"),
        **_curves(found),
    }


def _scored(found: TwoSampleTest, floor: TwoSampleTest, kind: str) -> dict[str, Any]:
    error = getattr(found, f"{kind}_error")
    return {
        "value": getattr(found, kind),
        "error": error,
        "standard_error": None if error is None else error / len(found.aucs) ** 0.5,
        "seeds": getattr(found, f"{kind}s"),
        "n": found.n,
        "floor": getattr(floor, kind),
        "floor_error": getattr(floor, f"{kind}_error"),
        "floor_n": floor.n,
    }


def _curves(found: TwoSampleTest, points: int = 101) -> dict[str, Any]:
    """Return ROC curve and score histogram of the first seed."""
    cuts = np.quantile(found.generated_scores, np.linspace(1, 0, points))
    kept = [(found.reference_scores[:, None] >= cuts).mean(0)]
    edges = np.linspace(0, 1, 41)
    return {
        "roc": {
            "generated_kept": (found.generated_scores[:, None] >= cuts).mean(0),
            "reference_kept": kept[0],
        },
        "scores": {
            "edges": edges,
            "reference": np.histogram(found.reference_scores, edges)[0],
            "generated": np.histogram(found.generated_scores, edges)[0],
        },
    }


def _plain(value: Any) -> Any:
    """Return JSON values: seven digits, and null for what is not finite."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value


def _write(record: dict[str, Any], output: Path) -> None:
    """Write the three files beside the folder, and put them into it when all are whole."""
    part = output.absolute().with_name(output.absolute().name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "report.json").write_text(json.dumps(record, indent=1) + "\n")
        (part / "report.md").write_text(markdown(record))
        (part / "report.html").write_text(html(record))
        output.mkdir(exist_ok=True)
        for file in sorted(part.iterdir()):
            file.replace(output / file.name)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    log.info("%s: %s", output, summary(record))
