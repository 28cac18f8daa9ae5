"""Files to files: another layout, a cut of the rows or the boxes, a split for training and test."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from emulators.config import nearest
from emulators.data.check import lowest
from emulators.data.cut import Cut, Pieces, regions
from emulators.data.dataset import Dataset
from emulators.data.hashes import ANCESTOR, ANCESTOR_COLUMN
from emulators.data.hdf5 import HDF5Reader, HDF5Writer, content_hash
from emulators.data.layouts import LAYOUTS
from emulators.data.layouts._columns import chunk_rows, native_attributes
from emulators.data.origins import taken_from, without_source
from emulators.data.sources import Source, Told, open_source, stated
from emulators.data.spec import Samples, SampleSpec, ShowerGeometry
from emulators.errors import InputError

__all__ = ["convert", "parse_rows", "split"]

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 24  # of samples, written at once
HASHED_BYTES = 1 << 34  # larger sources are not hashed: it would take longer than to cut them


def convert(
    source: str | Path,
    target: str | Path,
    layout: str | None = None,
    *,
    rows: str | slice | None = None,
    geometry: ShowerGeometry | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    origin: str | None = None,
    told: Told | None = None,
    cut: Cut | None = None,
    progress: bool = False,
) -> Path:
    """Copy samples into a new self-describing file, of another layout if asked.

    Values are not altered: they become float32, compressed, with units and geometry beside them.
    Data sets beside the samples that say what they are (`Dataset.beside`) are copied as they are.
    The target appears when it is complete, or not at all.

    Fields of public data sets (`emulators.data.sources`) become native files, and fields are cut
    as they are read; the column ``simulation`` then says which samples belong together.

    Parameters
    ----------
    source, target
        The files; the source of fields may be a folder or a pattern.
    layout
        Layout of the target; by default the source's, and native for public fields.
    rows
        Which rows, as ``"0:4000"`` or a slice; by default all. Of fields that are cut: which
        entries of the source, or which of its regions.
    geometry
        Geometry of the source, where the file does not say it.
    attributes
        What the target's root should say beside what is copied from the source: origin, licence...
    overwrite
        Replace a target that exists.
    origin
        Public layout of the source, where it is not recognised: one of `sources.SOURCES`.
    told
        What the source of fields does not say: box, unit, channels, components, conditions.
    cut
        What is cut from each field.
    progress
        Show a progress bar on a terminal.

    Raises
    ------
    InputError
        The source is bad (also: one of its rows has NaN, negative deposits or energies), the
        layout is unknown or for other samples, the rows do not exist, or the target exists.
    """
    path, target = Path(source), Path(target)
    told, cut = told or Told(), cut or Cut()
    ours = _our_layout(path)
    if origin is None and not cut and set(told.said) <= {"components"} and ours:
        dataset = Dataset(path, geometry=geometry)
        chosen = parse_rows(rows, dataset)
        said = _source(dataset, f"{chosen.start}:{chosen.stop}")
        indices = np.arange(chosen.start, chosen.stop)
        said |= attributes or {}
        return _copy(dataset, indices, target, layout, said, overwrite, told.components)
    if ours not in (None, "native"):
        raise InputError(f"{path}: has showers of layout '{ours}': only fields are cut or told of")
    if geometry is not None or layout not in (None, "native"):
        raise InputError(f"{path}: fields have no geometry, and are written in layout 'native'")
    fields = regions(open_source(path, origin, told), cut.regions)
    return _import(fields, target, rows, cut, attributes or {}, overwrite, progress)


def _our_layout(path: Path) -> str | None:
    """Return the layout of a file that is written here too; None for all else."""
    if not path.is_file() or path.suffix == ".npy":
        return None
    reader = HDF5Reader(path)
    found = [name for name, module in LAYOUTS.items() if module.recognises(reader.file)]
    reader.close()
    return found[0] if found else None


def _import(
    source: Source,
    target: Path,
    rows: str | slice | None,
    cut: Cut,
    attributes: Mapping[str, Any],
    overwrite: bool,
    progress: bool,
) -> Path:
    """Cut fields into a native file."""
    if target.exists() and source.path.exists() and target.samefile(source.path):
        raise InputError(f"{target}: source and target are the same file")
    chosen = _parse_rows(rows, source.path, len(source))
    pieces = Pieces(source, cut)
    hashed = source.path.is_file() and source.path.stat().st_size <= HASHED_BYTES
    sha256 = content_hash(source.path) if hashed else None
    rows_taken = f"{chosen.start}:{chosen.stop}"
    said = taken_from(source.attributes, source.path.name, sha256, len(source), rows_taken)
    said["source_layout"] = source.layout
    if source.joined:
        said["joined"] = json.dumps(source.joined)
    if cut:
        before = source.attributes.get("cut")
        said["cut"] = f"{before}; then {cut}" if before else str(cut)
    if cut.slabs:
        said["slab_thickness"] = pieces.thickness
    own = native_attributes(pieces.spec)
    kept = {k: v for k, v in without_source(source.attributes).items() if k not in own}
    said = kept | said | dict(attributes)
    start, stop = chosen.start * pieces.each, chosen.stop * pieces.each
    block = max(1, BLOCK_BYTES // (4 * math.prod(pieces.spec.shape)))
    with (
        HDF5Writer(
            target,
            pieces.spec,
            stop - start,
            attributes=said,
            overwrite=overwrite,
            beside=pieces.beside,
            training=source.training,
        ) as writer,
        tqdm(total=stop - start, unit=" samples", disable=None if progress else True) as bar,
    ):
        for first in range(start, stop, block):
            last = min(first + block, stop)
            samples, beside = pieces.read(first, last)
            entries = np.arange(first, last) // pieces.each
            _refuse_bad(source.path, pieces.spec, samples, entries, "entries")
            writer.append(samples, beside)
            bar.update(last - first)
    return target


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
            said = {"split": name, **_source(dataset, f"{cut}['{name}']")}
            done.append(_copy(dataset, parts[name], target, None, said, overwrite))
    except BaseException:
        for target in done:  # all three or none
            target.unlink()
        raise
    return targets


def _source(dataset: Dataset, rows: str) -> dict[str, Any]:
    return taken_from(dataset.attributes, dataset.path.name, dataset.sha256, len(dataset), rows)


def _copy(
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    target: Path,
    layout: str | None,
    attributes: Mapping[str, Any],
    overwrite: bool,
    components: str | None = None,
) -> Path:
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"unknown layout '{layout}'{nearest(layout, list(LAYOUTS))}")
    if target.exists() and target.samefile(dataset.path):
        raise InputError(f"{target}: source and target are the same file")
    chosen = LAYOUTS[layout or dataset.layout]
    if dataset.spec.kind not in chosen.KINDS:
        raise InputError(f"{dataset.path}: layout '{layout}' is not for {dataset.spec.kind}s")
    attributes = {**without_source(dataset.attributes), **attributes}
    particle = str(attributes.get("particle", dataset.spec.particle))
    spec = stated(dataset.path, dataset.spec, components)
    spec = replace(spec, layout=chosen.NAME, particle=particle)
    block = chunk_rows(spec) * max(1, (1 << 24) // (chunk_rows(spec) * dataset.sample_bytes))
    own = chosen.columns(spec) | chosen.optional(spec)
    beside = {key: column for key, column in dataset.beside.items() if key not in own}
    together = dataset.simulations is not None and ANCESTOR not in beside
    if together:
        beside[ANCESTOR] = ANCESTOR_COLUMN
    fitting = beside | chosen.optional(spec)
    first = dataset.take_extras(rows[:1])
    kept = {k for k, v in first.items() if k in fitting and v.shape[1:] == fitting[k].shape}
    dropped = [*dataset.unread, *(key for key in first if key not in kept)]
    if dropped:
        log.info("%s: not taken over from %s: %s", target, dataset.path, ", ".join(dropped))
    with HDF5Writer(
        target,
        spec,
        len(rows),
        attributes=attributes,
        overwrite=overwrite,
        beside=beside,
        training=dataset.training,
    ) as writer:
        for start in range(0, len(rows), block):
            wanted = rows[start : start + block]
            samples = dataset.take(wanted)
            _refuse_bad(dataset.path, dataset.spec, samples, wanted)
            extras = dataset.take_extras(wanted)
            if together:
                extras[ANCESTOR] = dataset.ancestors[wanted]
            writer.append(samples, {k: v for k, v in extras.items() if k in {*kept, ANCESTOR}})
    return target


def _refuse_bad(
    path: Path,
    spec: SampleSpec,
    samples: Samples,
    rows: npt.NDArray[np.int64],
    what: str = "rows",
) -> None:
    values = samples.values.reshape(len(rows), -1)
    bad = ~np.isfinite(values).all(axis=1)
    bad |= (samples.values < lowest(spec)).reshape(values.shape).any(axis=1)
    for condition in samples.conditions.values():
        bad |= ~np.isfinite(condition)
    if spec.kind == "shower":
        bad |= samples.conditions["incident_energy"] <= 0
    if bad.any():
        found = np.unique(rows[bad])
        first = ", ".join(map(str, found[:5]))
        raise InputError(
            f"{path}: {len(found)} {what} with NaN, infinite or negative values "
            f"(first: {first}): check the file, nothing was written"
        )


def parse_rows(rows: str | slice | None, dataset: Dataset) -> slice:
    """Return rows as a slice with both ends; InputError where they are not among the file's."""
    return _parse_rows(rows, dataset.path, len(dataset))


def _parse_rows(rows: str | slice | None, path: Path, n: int) -> slice:
    if isinstance(rows, str):
        try:
            start, stop = (int(part) if part else None for part in rows.split(":"))
        except ValueError:
            raise InputError(f"rows '{rows}' are not understood: give for example 0:4000") from None
        rows = slice(start, stop)
    first, last = (rows.start or 0, n if rows.stop is None else rows.stop) if rows else (0, n)
    if not 0 <= first < last <= n:
        raise InputError(f"{path}: has {n} rows, rows {first}:{last} are not among them")
    return slice(first, last)
