"""What is wrong with a file of samples: read block by block, told row by row."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.counts import COUNTS, LARGEST, rounded_counts
from emulators.data.hashes import TRAINING
from emulators.data.hdf5 import HDF5Reader, first_line, rows_at_once
from emulators.data.layouts import find_layout
from emulators.data.layouts._columns import UNSAID, beside, differences, outside, text
from emulators.data.spec import MEV_PER_GEV, SampleSpec, ShowerGeometry
from emulators.errors import InputError

__all__ = ["Finding", "check", "lowest"]

TWICE_ELECTRON_MASS = 1.022  # MeV: an annihilating positron deposits this beside its energy
RATIOS = 1 << 16  # showers whose deposit over incident energy is kept to suspect the units


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or doubtful in a file.

    Parameters
    ----------
    severity
        ``error``: cannot be trained on as it is; ``warning``: worth a look.
    what, where, advice
        What is wrong, in which data set, and what to do.
    count, rows
        How many rows are concerned (0: not a matter of rows), and the first five.
    """

    severity: Literal["error", "warning"]
    what: str
    where: str
    count: int = 0
    rows: tuple[int, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.rows)) + (", ..." if self.count > len(self.rows) else "")
        plural = "rows" if self.count != 1 else "row"
        which = f" in {self.count} {plural} ({rows})" if self.count else ""
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.severity}: {self.where}: {self.what}{which}{advice}"


def check(
    path: str | Path, layout: str | None = None, geometry: ShowerGeometry | None = None
) -> list[Finding]:
    """Return what is wrong with a file; nothing for a good one.

    Reads the file block by block in constant memory.

    Parameters
    ----------
    path
        The file.
    layout, geometry
        As for `Dataset`.

    Raises
    ------
    InputError
        There is no such file, or the layout is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        reader = HDF5Reader(path)
    except InputError as error:
        return [_of_file(path, error)]
    try:
        module = find_layout(reader.file, layout)
        spec = module.outline(reader.file, geometry)
    except InputError as error:
        if "unknown layout" in str(error):
            raise
        return [_of_file(path, error)]
    findings = _structure(reader.file, module, spec)
    if not any(f.severity == "error" for f in findings):
        findings += _values(reader.file, module, spec)
    reader.close()
    return findings


def _of_file(path: Path, error: InputError) -> Finding:
    return Finding("error", str(error).removeprefix(f"{path}: "), "file")


def _structure(file: h5py.File, module: ModuleType, spec: SampleSpec) -> list[Finding]:
    required, optional = module.columns(spec), module.optional(spec)
    present = required | {key: column for key, column in optional.items() if key in file}
    geometry = spec.geometry
    advice = f"geometry '{geometry.name}' has {geometry.n_cells} cells" if geometry else ""
    findings = [
        Finding("error", words, key, advice=advice)
        for key, words in differences(file, present).items()
    ]
    lengths = {} if findings else {key: len(file[key]) for key in present}
    n = max(lengths.values(), default=0)
    known = {*present, *beside(file, present, n), TRAINING}
    findings += [
        Finding("warning", f"unknown key: layout '{module.NAME}' does not read it", key)
        for key in sorted(set(file) - known)
    ]
    if len(set(lengths.values())) > 1:
        words = ", ".join(f"{key} {length}" for key, length in lengths.items())
        findings.append(Finding("error", f"data sets differ in length: {words}", "file"))
    elif lengths and not n:
        findings.append(Finding("error", "there are no samples in it", "file"))
    return findings


class _Tally:
    """Rows that something is wrong with, counted over blocks."""

    def __init__(self) -> None:
        self.found: dict[tuple[Any, ...], tuple[int, list[int]]] = {}

    def add(
        self,
        bad: Any,
        start: int,
        severity: str,
        what: str,
        where: str,
        advice: str = "",
    ) -> None:
        if bad.any():
            key = severity, what, where, advice
            count, rows = self.found.get(key, (0, []))
            rows += (np.flatnonzero(bad)[: 5 - len(rows)] + start).tolist()
            self.found[key] = count + int(bad.sum()), rows

    def findings(self) -> list[Finding]:
        return [
            Finding(severity, what, where, count, tuple(rows), advice)
            for (severity, what, where, advice), (count, rows) in self.found.items()
        ]


def _values(file: h5py.File, module: ModuleType, spec: SampleSpec) -> list[Finding]:
    own = [key for key in (*module.columns(spec), *module.optional(spec)) if key in file]
    n = len(file[own[0]])
    columns = beside(file, own, n)
    # Lists of unequal length are filled up with NaN; then the description says so.
    floats = [k for k, c in columns.items() if "f" in c.dtype and "NaN" not in c.description]
    _, block = rows_at_once([file[key] for key in (*own, *floats)])
    look = _showers if spec.kind == "shower" else _native
    tally, ratios, kept = _Tally(), [np.empty(0)], 0
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        try:
            ratio = look(file, module, spec, rows, tally)
            for key in floats:
                unsaid = columns[key].description == UNSAID
                _numbers(file, key, rows, tally, "warning" if unsaid else "error")
        except InputError as error:
            return [*tally.findings(), _of_file(Path(file.filename), error)]
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            what = f"rows {rows.start} to {rows.stop} cannot be read: {first_line(error)}"
            return [*tally.findings(), Finding("error", what, "file", advice="copy it again")]
        if kept < RATIOS:
            ratios.append(ratio[: RATIOS - kept])
            kept += len(ratios[-1])
    findings = tally.findings()
    said = all(text(file[key], "units") or text(file[key], "unit") for key in module.columns(spec))
    if suspicion := _units(np.concatenate(ratios), module, said):
        findings = [f for f in findings if f.where != "deposits"] + [suspicion]
    return findings


def _showers(
    file: h5py.File, module: ModuleType, spec: SampleSpec, rows: slice, tally: _Tally
) -> npt.NDArray[np.float64]:
    """Return deposit over incident energy, where both are sound."""
    energy = module.read_energies(file, rows) * MEV_PER_GEV
    total = np.zeros(len(energy))
    for key in (*module.columns(spec), *module.optional(spec)):
        if key in file and key != module.ENERGY:
            deposits = _numbers(file, key, rows, tally)
            tally.add((deposits < 0).any(axis=1), rows.start, "error", "negative deposits", key)
            with np.errstate(all="ignore"):
                total += deposits.sum(axis=1, dtype=np.float64)
    tally.add(~np.isfinite(energy), rows.start, "error", "NaN or infinite", module.ENERGY)
    tally.add(energy <= 0, rows.start, "error", "zero or negative", module.ENERGY)
    with np.errstate(all="ignore"):
        ratio = total / energy
        usual = np.isfinite(ratio) & (energy > 0)
        doubtful, wrong = module.DEPOSIT_LIMITS
        above = usual & (total > doubtful * energy + TWICE_ELECTRON_MASS)
        far = usual & (total > wrong * energy + TWICE_ELECTRON_MASS)
    for bad, severity, limit in ((far, "error", wrong), (above & ~far, "warning", doubtful)):
        what = f"more than {limit:g} times the incident energy is deposited"
        tally.add(bad, rows.start, severity, what, "deposits")
    sound: npt.NDArray[np.float64] = ratio[usual]
    return sound


def _native(
    file: h5py.File, module: ModuleType, spec: SampleSpec, rows: slice, tally: _Tally
) -> npt.NDArray[np.float64]:
    key = module.KINDS[spec.kind]
    values = _numbers(file, key, rows, tally)
    low = (values.reshape(-1, *spec.shape) < lowest(spec)).reshape(values.shape).any(axis=1)
    what = "negative counts" if spec.unit in COUNTS else "overdensity below -1"
    tally.add(low, rows.start, "error", what, key)
    if spec.unit in COUNTS:
        what = f"counts above {LARGEST:,} that single precision would change"
        tally.add(rounded_counts(values).any(axis=1), rows.start, "error", what, key)
    for condition in spec.conditions:
        asked = module.read_conditions(file, spec, rows)[condition.name]
        where = f"{module.CONDITIONS}, {condition.name}"
        tally.add(~np.isfinite(asked), rows.start, "error", "NaN or infinite", where)
        what = f"outside the stated range {condition.minimum:g} to {condition.maximum:g}"
        far = np.isfinite(asked) & outside(condition, asked)
        tally.add(far, rows.start, "warning", what, where)
    return np.empty(0)


def _numbers(
    file: h5py.File,
    key: str,
    rows: slice,
    tally: _Tally,
    severity: Literal["error", "warning"] = "error",
) -> npt.NDArray[Any]:
    """Return the entries of these rows, each in one axis, and tally those that are no numbers."""
    values: npt.NDArray[Any] = file[key][rows].reshape(rows.stop - rows.start, -1)
    finite = np.isfinite(values)
    tally.add(~finite.all(axis=1), rows.start, severity, "NaN or infinite", key)
    with np.errstate(all="ignore"):
        huge = (np.abs(values) > np.finfo(np.float32).max) & finite
    tally.add(huge.any(axis=1), rows.start, severity, "too large for single precision", key)
    return values


def lowest(spec: SampleSpec) -> npt.NDArray[np.float32]:
    """Return the least value that makes sense, by channel: it broadcasts to the samples."""
    least = 0.0 if spec.kind == "shower" or spec.unit in COUNTS else -np.inf
    channels = spec.grid.channels if spec.grid else ("",)
    # Less a rounding error: where there is no matter, matter over its mean, less one, is -1.
    limits = [max(least, -1 - 1e-6) if name == "overdensity" else least for name in channels]
    return np.array(limits, np.float32).reshape(-1, *(1 for _ in spec.shape[1:]))


def _units(ratios: npt.NDArray[np.float64], module: ModuleType, said: bool) -> Finding | None:
    """Suspect units by deposit over incident energy; ``said``: all data sets state theirs."""
    if not len(ratios):
        return None
    ratio = float(np.median(ratios))
    what = f"units are suspicious: deposits are {ratio:.3g} times the incident energy (median)"
    advice = f"the layout has {module.UNITS}"
    if ratio > 100:  # a factor of a thousand, between MeV and GeV
        return Finding("error", what, "deposits", advice=advice)
    if 0 < ratio < 0.003 and not said:
        advice += ": where that is so (thin active layers), state it: an attribute 'units' of each"
        return Finding("warning", what, "deposits", advice=advice)
    return None
