"""Benchmark a file of generated samples against a reference: measure, judge, write the report.

One frame for showers and fields: files, machine, versions, throughput, verdict, the three files of
the report.  ``report.json`` is the record of everything measured; ``report.md`` and ``report.html``
are drawn from it.
"""

import json
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emulators import __version__
from emulators.benchmarks import tables
from emulators.benchmarks.cache import keeping
from emulators.benchmarks.calochallenge.figures import (
    CHALLENGES,
    measure_challenge,
    require_showers_of,
)
from emulators.benchmarks.calochallenge.tables import calochallenge_parts
from emulators.benchmarks.chapter import Result, chapters_of, results_of
from emulators.benchmarks.classified import classify_showers
from emulators.benchmarks.classifier import DEFAULT_VIEWS, PRESETS
from emulators.benchmarks.diagnosis.diagnose import diagnose
from emulators.benchmarks.distributions import (
    HALVINGS,
    RESAMPLINGS,
    average_showers,
    distributions,
)
from emulators.benchmarks.field_report import page as field_page
from emulators.benchmarks.field_report import tables as field_tables
from emulators.benchmarks.field_report.pair import FieldPair, load_fields
from emulators.benchmarks.field_report.report import measure_fields
from emulators.benchmarks.field_report.verdict import FieldThresholds, judge_fields
from emulators.benchmarks.joint.conditional import measure_conditional
from emulators.benchmarks.joint.correlations import measure_correlations
from emulators.benchmarks.joint.critic import measure_critic
from emulators.benchmarks.measured import plain
from emulators.benchmarks.measured_features import measure_features
from emulators.benchmarks.page import html
from emulators.benchmarks.pair import Pair, load_pair
from emulators.benchmarks.records import completed
from emulators.benchmarks.speed.throughput import machine
from emulators.benchmarks.speed.timing import measure_speed, plan_simulation, untimed
from emulators.benchmarks.tables import summary
from emulators.benchmarks.verdict import Thresholds, judge
from emulators.benchmarks.write import parts
from emulators.config import nearest
from emulators.data.dataset import Dataset
from emulators.emulator import Emulator
from emulators.errors import InputError
from emulators.loading import load
from emulators.observables.showers import CELL_THRESHOLD
from emulators.progress import showing, tracked

__all__ = ["benchmark", "draw"]

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
    speed: bool = True,
    simulate: str | Path | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure how far generated showers or fields are from a reference, and write the report.

    Parameters
    ----------
    generated, reference
        HDF5 files of showers of one geometry, in any known layout, or of fields on one grid.
        Where the reference is the file that the emulator was trained on, only its test split is
        used.
    output
        Folder for ``report.json``, ``report.md`` and ``report.html``; it appears when all is
        measured.  An earlier report there is replaced, anything else refused.
    emulator
        Emulator to time (file, run, name or object); by default the one that the generated file
        names, where it is installed.
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
    The record, as in ``report.json``.

    Raises
    ------
    InputError
        A file cannot be used, the two differ in geometry or grid, they hold too few samples, the
        folder holds something else, or ``simulate`` names what cannot be run here or makes other
        samples.
    """
    began = time.perf_counter()
    output = Path(output)
    _refuse_foreign(output)
    if preset not in PRESETS:
        raise InputError(f"no classifier preset '{preset}'{nearest(preset, list(PRESETS))}")
    if classifiers and seeds < 1:
        raise InputError(f"seeds = {seeds}: at least one classifier must be trained")
    kind = _kind(generated)
    if preset in CHALLENGES:
        require_showers_of(preset, generated)
    pair = kind.load(generated, reference, max_samples, seed)
    subject, why_not = _subject(emulator, pair)
    warnings = list(pair.warnings)
    if emulator is not None and why_not:
        warnings.append(why_not)
    simulation = None
    if speed and (subject or simulate):
        simulation = plan_simulation(pair, reference, simulate, seed)

    with (
        showing(progress),
        tqdm(total=10, desc="benchmark", disable=None if progress else True) as bar,
    ):
        record: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": kind.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "files": pair.files,
            "settings": {
                "seed": seed,
                "classifier_seeds": seeds,
                "preset": preset,
                "max_samples": max_samples,
                "halvings": HALVINGS,
                "resamplings": RESAMPLINGS,
                **kind.settings,
                "thresholds": asdict(kind.thresholds),
            },
            "machine": machine(),
            "versions": {"emulators": __version__, "python": sys.version.split()[0]}
            | {name: version(name) for name in ("torch", "numpy", "scipy", "h5py", "matplotlib")},
        }
        folder = None if cache is None else Path(cache)
        with keeping(folder, record["machine"], record["versions"]) as taken:
            record |= kind.measure(pair, record["settings"], classifiers, bar.update)
        if taken:
            log.info("%s: %d results were measured before, and taken from there", cache, len(taken))
        if simulation:
            record["throughput"] = measure_speed(
                subject, why_not, pair, reference, simulation, seed
            )
        else:
            record["throughput"] = untimed(reference, why_not if speed else "left out.")
        bar.update()
        record["warnings"] = warnings
        record = plain(record)
        record["verdict"] = kind.judge(record, kind.thresholds)
        record["seconds"] = round(time.perf_counter() - began, 1)
        _write(record, output)
        bar.update(bar.total - bar.n)
    return record


@dataclass(frozen=True)
class _Kind:
    """What differs between showers and fields."""

    name: str
    load: Callable[[str | Path, str | Path, int | None, int], Any]
    measure: Callable[[Any, Mapping[str, Any], bool, Callable[[], Any]], dict[str, Any]]
    thresholds: Any
    judge: Callable[[Mapping[str, Any], Any], list[dict[str, str]]]
    markdown: Callable[[Mapping[str, Any]], str]
    html: Callable[[Mapping[str, Any]], str]
    settings: Mapping[str, Any]


def _measure_showers(
    pair: Pair, settings: Mapping[str, Any], classifiers: bool, done: Callable[[], Any]
) -> dict[str, Any]:
    seed = settings["seed"]
    record: dict[str, Any] = {
        "energies": {"paired": pair.paired, "p_value": pair.energy_p_value},
        "geometry": pair.geometry.name,
        **distributions(pair, seed, settings["thresholds"]["deviation"]),
    }
    done()
    record["conditional"] = measure_conditional(pair, seed)
    record["correlations"] = measure_correlations(pair, seed)
    record["critic"] = measure_critic(pair, seed)
    record["average_shower"] = average_showers(pair)
    record["diagnosis"] = diagnose(pair, seed)
    done()
    if settings["preset"] in CHALLENGES:
        return record | measure_challenge(pair, settings, classifiers, done)
    record["features"] = measure_features(pair, seed)
    done()
    record["chapters"] = [
        Result(c.name, c.title, c.says, tuple(c.measure(pair, settings))).to_json()
        for c in tracked(chapters_of("shower"), "chapters")
    ]
    done()
    record["classifiers"] = {}
    for name in tracked(DEFAULT_VIEWS if classifiers else (), "classifiers"):
        record["classifiers"][name] = classify_showers(
            pair, name, settings["preset"], settings["classifier_seeds"], seed
        )
        done()
    return record


KINDS = {
    "shower": _Kind(
        "shower",
        load_pair,
        _measure_showers,
        Thresholds(),
        judge,
        lambda record: tables.markdown(
            record, [*calochallenge_parts(record), *parts(results_of(record))]
        ),
        lambda record: html(record),
        {"cell_threshold_MeV": CELL_THRESHOLD},
    ),
    "field": _Kind(
        "field",
        load_fields,
        measure_fields,
        FieldThresholds(),
        judge_fields,
        field_tables.markdown,
        lambda record: field_page.html(record),
        {},
    ),
}


def _kind(generated: str | Path) -> _Kind:
    kind = Dataset(generated).spec.kind
    if kind not in KINDS:
        raise InputError(f"{generated}: {kind}s; benchmarks are for {' and '.join(KINDS)} files")
    return KINDS[kind]


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
    emulator: str | Path | Emulator | None, pair: Pair | FieldPair
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


def draw(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the report as Markdown and as one HTML page, also of a record of an earlier version.

    What that did not measure is left out.
    """
    whole = completed(record)
    kind = KINDS[whole["kind"]]
    return kind.markdown(whole), kind.html(whole)


def _write(record: dict[str, Any], output: Path) -> None:
    """Write the three files beside the folder, and put them into it when all are whole."""
    part = output.absolute().with_name(output.absolute().name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "report.json").write_text(json.dumps(record, indent=1) + "\n")
        markdown, page = draw(record)
        (part / "report.md").write_text(markdown)
        (part / "report.html").write_text(page)
        output.mkdir(exist_ok=True)
        for file in sorted(part.iterdir()):
            file.replace(output / file.name)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    log.info("%s: %s", output, summary(record))
