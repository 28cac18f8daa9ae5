"""Any number of samples to one HDF5 file: streamed, in constant memory, resumable."""

import errno
import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emulators import __version__
from emulators.data.conditions import ConditionLaw
from emulators.data.hdf5 import HDF5Writer, require_target
from emulators.data.origins import training_attributes, training_hashes
from emulators.data.spec import SampleSpec
from emulators.emulator import Emulator
from emulators.errors import InputError

__all__ = ["generate_file"]

log = logging.getLogger(__name__)

_PIECE_BYTES = 4 << 20  # deposits drawn at once


def generate_file(
    emulator: Emulator,
    n: int | None,
    path: str | Path,
    *,
    conditions: Mapping[str, Any] | str | Path,
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = True,
    allow_extrapolation: bool = False,
    device: str | None = None,
    progress: bool = False,
) -> Path:
    """Generate samples into an HDF5 file of the layout that the emulator was trained on.

    Parameters
    ----------
    emulator
        What generates.
    n
        How many samples; None: as many as the file of conditions has.
    path
        The file; it appears when it is complete. Until then there is a folder ``<path>.part``.
    conditions
        By name, as in `Emulator.generate`, plain numbers in the unit of the spec (GeV); or a file
        of samples whose conditions are taken in order.
    seed
        Sample ``i`` of the file depends on ``(seed, i)`` and its conditions alone.
    overwrite
        Replace ``path`` where it exists.
    resume
        Go on where an interrupted call with the same arguments stopped; False: start anew.
    allow_extrapolation
        Accept conditions outside the trained range; the file then says so.
    device
        Where to run; None: where the emulator is.
    progress
        Show a progress bar on a terminal.

    Returns
    -------
    The path.

    Raises
    ------
    InputError
        The request cannot be met, the target exists or cannot be written, or ``<path>.part``
        belongs to another request.
    """
    path = Path(path)
    if n is None and isinstance(conditions, Mapping):
        raise InputError("say how many samples (-n), or give a file of conditions")
    if n is not None and n < 1:
        raise InputError(f"n = {n}: at least one sample must be asked for")
    require_target(path, overwrite)
    if device is not None:
        emulator.to(device)
    law = emulator.law(n, conditions, allow_extrapolation=allow_extrapolation)
    if n is None:
        n = law.length
        assert n is not None  # a file has an end
    if not resume:
        _discard(path)
    writer = HDF5Writer(
        path,
        _spec(emulator.spec, law),
        n,
        attributes=_attributes(emulator, law, seed),
        overwrite=overwrite,
        resume=True,
        training=training_hashes(emulator.card),
    )
    began, first = time.perf_counter(), writer.written
    if first:
        log.info("%s: going on after %d of %d samples", path, first, n)
    try:
        with writer:
            _fill(writer, emulator, law, seed, progress)
            seconds = (time.perf_counter() - began) / max(n - first, 1)
            writer.closing = {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds_per_sample": seconds,
            }
        log.info("%s: %d samples, %.3g a second", path, n, 1 / seconds)
    except KeyboardInterrupt:
        log.info("%s: stopped; the same command goes on from here", path)
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {_reason(error)}") from error
    return path


def _fill(
    writer: HDF5Writer, emulator: Emulator, law: ConditionLaw, seed: int, progress: bool
) -> None:
    """Draw what is not there yet; one piece is compressed and written while the next is drawn."""
    bar = tqdm(
        total=writer.n,
        initial=writer.written,
        unit=" samples",
        unit_scale=True,
        disable=None if progress else True,
    )
    rows = emulator.rows * max(
        1, _PIECE_BYTES // (emulator.rows * 4 * math.prod(writer.spec.shape))
    )
    written = writer.written
    pending: Future[None] | None = None
    with bar, ThreadPoolExecutor(1) as pool:
        # From the start of a piece: evaluated in the same pieces as if never interrupted.
        for start in range(written // rows * rows, writer.n, rows):
            samples = emulator.draw(law, seed, start, min(writer.n, start + rows))
            samples = samples[max(0, written - start) :]
            if pending is not None:
                pending.result()
            pending = pool.submit(writer.append, samples)
            bar.update(len(samples))
        if pending is not None:
            pending.result()


def _spec(spec: SampleSpec, law: ConditionLaw) -> SampleSpec:
    """Return the spec of the file: its conditions cover what was asked, not what was trained."""
    asked = [
        replace(
            one.condition,
            minimum=one.minimum,
            maximum=one.maximum,
            scale=one.scale if one.scale in ("linear", "log") else one.condition.scale,
        )
        for one in law.laws
    ]
    return replace(spec, conditions=tuple(asked))


def _attributes(emulator: Emulator, law: ConditionLaw, seed: int) -> dict[str, Any]:
    """Return what the file says of its making; an interrupted job must agree in all of it."""
    card = emulator.card
    versions = {"emulators": __version__} | {p: version(p) for p in ("torch", "numpy", "h5py")}
    return {
        "generator": f"emulator {emulator.name} {emulator.sha256}",
        "emulator": emulator.name,
        "emulator_sha256": emulator.sha256,
        "architecture": emulator.architecture,
        "seed": seed,
        "conditions": law.description,
        "conditions_sha256": " ".join(
            hashlib.sha256(one.table.tobytes()).hexdigest()
            for one in law.laws
            if one.table is not None
        ),
        "extrapolated": ", ".join(law.extrapolates),
        "device": emulator.device.type,
        "versions": json.dumps(versions),
        **training_attributes(card),
        "trained_on": json.dumps(card.get("trained_on", {})),
    }


def _discard(path: Path) -> None:
    part = path.with_name(path.name + ".part")
    with suppress(FileNotFoundError):
        (part / "request.json").unlink()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space" in str(error):
        return "the disk is full; what is done is kept, and the same command goes on from there"
    if "lock" in str(error):
        return "another process is writing it"
    return error.strerror or str(error).splitlines()[0]
