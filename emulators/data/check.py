"""What is wrong with a file of showers: read block by block, told row by row."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.hdf5 import HDF5Reader, first_line, rows_at_once
from emulators.data.layouts import find_layout
from emulators.data.layouts._columns import differences
from emulators.data.spec import MEV_PER_GEV, ShowerGeometry
from emulators.errors import InputError

__all__ = ["Finding", "check"]

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
        geometry = module.geometry_of(reader.file, geometry)
    except InputError as error:
        if "unknown layout" in str(error):
            raise
        return [_of_file(path, error)]
    assert geometry is not None
    findings = _structure(reader.file, module, geometry)
    if not any(f.severity == "error" for f in findings):
        findings += _values(reader.file, module, geometry)
    reader.close()
    return findings


def _of_file(path: Path, error: InputError) -> Finding:
    return Finding("error", str(error).removeprefix(f"{path}: "), "file")


def _structure(file: h5py.File, module: ModuleType, geometry: ShowerGeometry) -> list[Finding]:
    required, optional = module.columns(geometry), module.optional(geometry)
    present = required | {key: shape for key, shape in optional.items() if key in file}
    advice = f"geometry '{geometry.name}' has {geometry.n_cells} cells"
    findings = [
        Finding("error", words, key, advice=advice)
        for key, words in differences(file, present).items()
    ]
    findings += [
        Finding("warning", f"unknown key: layout '{module.NAME}' does not read it", key)
        for key in sorted(set(file) - set(present))
    ]
    if any(f.severity == "error" for f in findings):
        return findings
    lengths = {key: len(file[key]) for key in present}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{key} {length}" for key, length in lengths.items())
        findings.append(Finding("error", f"data sets differ in length: {text}", "file"))
    elif not lengths[module.ENERGY]:
        findings.append(Finding("error", "there are no samples in it", "file"))
    return findings


class _Tally:
    """Rows that something is wrong with, counted over blocks."""

    def __init__(self) -> None:
        self.found: dict[tuple[Any, ...], tuple[int, list[int]]] = {}

    def add(
        self,
        bad: npt.NDArray[np.bool_],
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


def _values(file: h5py.File, module: ModuleType, geometry: ShowerGeometry) -> list[Finding]:
    keys = [
        key
        for key in (*module.columns(geometry), *module.optional(geometry))
        if key in file and key != module.ENERGY
    ]
    n = len(file[module.ENERGY])
    _, block = rows_at_once([file[key] for key in (module.ENERGY, *keys)])
    tally, ratios, kept = _Tally(), [], 0
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        try:
            energy = module.read_energies(file, rows) * MEV_PER_GEV
            total = np.zeros(len(energy))
            for key in keys:
                total += _deposits(file, key, rows, tally)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            what = f"rows {rows.start} to {rows.stop} cannot be read: {first_line(error)}"
            return [*tally.findings(), Finding("error", what, "file", advice="copy it again")]
        tally.add(~np.isfinite(energy), start, "error", "NaN or infinite", module.ENERGY)
        tally.add(energy <= 0, start, "error", "zero or negative", module.ENERGY)
        with np.errstate(all="ignore"):
            ratio = total / energy
            usual = np.isfinite(ratio) & (energy > 0)
            doubtful, wrong = module.DEPOSIT_LIMITS
            above = usual & (total > doubtful * energy + TWICE_ELECTRON_MASS)
            far = usual & (total > wrong * energy + TWICE_ELECTRON_MASS)
        for bad, severity, limit in ((far, "error", wrong), (above & ~far, "warning", doubtful)):
            what = f"more than {limit:g} times the incident energy is deposited"
            tally.add(bad, start, severity, what, "deposits")
        if kept < RATIOS:
            ratios.append(ratio[usual][: RATIOS - kept])
            kept += len(ratios[-1])
    findings = tally.findings()
    if suspicion := _units(np.concatenate(ratios), module):
        findings = [f for f in findings if f.where != "deposits"] + [suspicion]
    return findings


def _deposits(file: h5py.File, key: str, rows: slice, tally: _Tally) -> npt.NDArray[np.float64]:
    values = file[key][rows].reshape(rows.stop - rows.start, -1)
    finite = np.isfinite(values)
    tally.add(~finite.all(axis=1), rows.start, "error", "NaN or infinite", key)
    tally.add((values < 0).any(axis=1), rows.start, "error", "negative deposits", key)
    with np.errstate(all="ignore"):
        huge = (np.abs(values) > np.finfo(np.float32).max) & finite
        tally.add(huge.any(axis=1), rows.start, "error", "too large for single precision", key)
        total: npt.NDArray[np.float64] = values.sum(axis=1, dtype=np.float64)
    return total


def _units(ratios: npt.NDArray[np.float64], module: ModuleType) -> Finding | None:
    if not len(ratios):
        return None
    ratio = float(np.median(ratios))
    # A factor of a thousand between MeV and GeV (or keV), give or take a sampling fraction.
    if not (0 < ratio < 0.003 or ratio > 100):
        return None
    what = f"units are suspicious: deposits are {ratio:.3g} times the incident energy (median)"
    return Finding("error", what, "deposits", advice=f"the layout has {module.UNITS}")
