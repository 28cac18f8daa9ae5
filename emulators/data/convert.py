"""Files to files: another layout, a cut of the rows, a split into training, validation and test."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.config import nearest
from emulators.data.check import lowest
from emulators.data.dataset import Dataset
from emulators.data.hdf5 import HDF5Writer
from emulators.data.layouts import LAYOUTS
from emulators.data.layouts._columns import chunk_rows
from emulators.data.spec import Samples, ShowerGeometry
from emulators.errors import InputError

__all__ = ["convert", "parse_rows", "split"]


def convert(
    source: str | Path,
    target: str | Path,
    layout: str | None = None,
    *,
    rows: str | slice | None = None,
    geometry: ShowerGeometry | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Copy samples into a new self-describing file, of another layout if asked.

    Values are not altered: they become float32, compressed, with units and geometry beside them.
    Data sets beside the samples that say what they are (`Dataset.beside`) are copied as they are.
    The target appears when it is complete, or not at all.

    Parameters
    ----------
    source, target
        The files.
    layout
        Layout of the target; by default the source's.
    rows
        Which rows, as ``"0:4000"`` or a slice; by default all.
    geometry
        Geometry of the source, where the file does not say it.
    attributes
        What the target's root should say beside what is copied from the source: origin, licence...
    overwrite
        Replace a target that exists.

    Raises
    ------
    InputError
        The source is bad (also: one of its rows has NaN, negative deposits or energies), the
        layout is unknown or for other samples, the rows do not exist, or the target exists.
    """
    dataset = Dataset(source, geometry=geometry)
    chosen = parse_rows(rows, dataset)
    said = {
        "source": dataset.path.name,
        "source_sha256": dataset.sha256,
        "source_rows": f"{chosen.start}:{chosen.stop}",
    }
    indices = np.arange(chosen.start, chosen.stop)
    return _copy(dataset, indices, Path(target), layout, {**said, **(attributes or {})}, overwrite)


def split(
    source: str | Path,
    folder: str | Path,
    validation: float = 0.05,
    test: float = 0.25,
    seed: int = 0,
    *,
    geometry: ShowerGeometry | None = None,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Cut a file into ``<name>_train.h5``, ``<name>_validation.h5`` and ``<name>_test.h5``.

    Parameters
    ----------
    source
        The file.
    folder
        Where the three files go.
    validation, test
        Shares of the rows, 0 to 1; there is no file for a share of 0.
    seed
        Seed of the cut: the rows are those of `Dataset.split`, which keeps the rows of one
        simulation together.
    geometry, overwrite
        As in `convert`.

    Returns
    -------
    The files under ``train``, ``validation`` and ``test``.
    """
    dataset = Dataset(source, geometry=geometry)
    parts = dataset.split(validation, test, seed)
    numbers = dataset.simulations
    n, what = (
        (len(dataset), "") if numbers is None else (len(np.unique(numbers)), "simulations of ")
    )
    cut = f"{what}split_rows({n}, validation={validation}, test={test}, seed={seed})"
    targets = {
        name: Path(folder) / f"{dataset.path.stem}_{name}.h5"
        for name in ("train", "validation", "test")
        if len(parts[name])
    }
    for target in targets.values():
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists: choose another folder or allow overwriting")
    done: list[Path] = []
    try:
        for name, target in targets.items():
            said = {
                "split": name,
                "source": dataset.path.name,
                "source_sha256": dataset.sha256,
                "source_rows": f"{cut}['{name}']",
            }
            done.append(_copy(dataset, parts[name], target, None, said, overwrite))
    except BaseException:
        for target in done:  # all three or none
            target.unlink()
        raise
    return targets


def _copy(
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    target: Path,
    layout: str | None,
    attributes: Mapping[str, Any],
    overwrite: bool,
) -> Path:
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"unknown layout '{layout}'{nearest(layout, list(LAYOUTS))}")
    if target.exists() and target.samefile(dataset.path):
        raise InputError(f"{target}: source and target are the same file")
    chosen = LAYOUTS[layout or dataset.layout]
    if dataset.spec.kind not in chosen.KINDS:
        raise InputError(f"{dataset.path}: layout '{layout}' is not for {dataset.spec.kind}s")
    attributes = {**dataset.attributes, **attributes}
    particle = str(attributes.get("particle", dataset.spec.particle))
    spec = replace(dataset.spec, layout=chosen.NAME, particle=particle)
    block = chunk_rows(spec) * max(1, (1 << 24) // (chunk_rows(spec) * dataset.sample_bytes))
    own = chosen.columns(spec) | chosen.optional(spec)
    beside = {key: column for key, column in dataset.beside.items() if key not in own}
    fitting = beside | chosen.optional(spec)
    with HDF5Writer(
        target, spec, len(rows), attributes=attributes, overwrite=overwrite, beside=beside
    ) as writer:
        for start in range(0, len(rows), block):
            wanted = rows[start : start + block]
            samples = dataset.take(wanted)
            _refuse_bad(dataset, samples, wanted)
            extras = dataset.take_extras(wanted).items()
            writer.append(
                samples,
                {k: v for k, v in extras if k in fitting and v.shape[1:] == fitting[k].shape},
            )
    return target


def _refuse_bad(dataset: Dataset, samples: Samples, rows: npt.NDArray[np.int64]) -> None:
    values = samples.values.reshape(len(rows), -1)
    bad = ~np.isfinite(values).all(axis=1)
    bad |= (samples.values < lowest(dataset.spec)).reshape(values.shape).any(axis=1)
    for condition in samples.conditions.values():
        bad |= ~np.isfinite(condition)
    if dataset.spec.kind == "shower":
        bad |= samples.conditions["incident_energy"] <= 0
    if bad.any():
        first = ", ".join(map(str, rows[bad][:5]))
        raise InputError(
            f"{dataset.path}: {bad.sum()} rows with NaN, infinite or negative values "
            f"(first: {first}): check the file, nothing was written"
        )


def parse_rows(rows: str | slice | None, dataset: Dataset) -> slice:
    """Return rows as a slice with both ends; InputError where they are not among the file's."""
    n = len(dataset)
    if isinstance(rows, str):
        try:
            start, stop = (int(part) if part else None for part in rows.split(":"))
        except ValueError:
            raise InputError(f"rows '{rows}' are not understood: give for example 0:4000") from None
        rows = slice(start, stop)
    first, last = (rows.start or 0, n if rows.stop is None else rows.stop) if rows else (0, n)
    if not 0 <= first < last <= n:
        raise InputError(f"{dataset.path}: has {n} rows, rows {first}:{last} are not among them")
    return slice(first, last)
