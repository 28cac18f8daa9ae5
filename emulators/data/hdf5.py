"""HDF5 opened safely and lazily, and files that appear whole or not at all.

A reader opens its file in each process anew, follows no link out of it, and believes no claimed
size that is not on disk.  A writer collects finished shards beside its target and joins them at
the end, so that a killed job goes on from its last shard.
"""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from emulators.config import as_mapping
from emulators.data.hashes import TRAINING, Hashes
from emulators.data.layouts import LAYOUTS
from emulators.data.layouts._columns import (
    chunk_rows,
    copy_chunks,
    create_columns,
    native_attributes,
    nbytes,
)
from emulators.data.shard import Shard
from emulators.data.spec import Column, Samples, SampleSpec
from emulators.errors import InputError

__all__ = [
    "HDF5Reader",
    "HDF5Writer",
    "available_memory",
    "content_hash",
    "first_line",
    "native_attributes",
    "require_memory",
    "require_target",
    "rows_at_once",
]

SHARD_BYTES = 1 << 24  # deposits in one shard of a file being written: what a kill may lose
BLOCK_BYTES = 1 << 25  # of a file, read at once
CACHE_BYTES = 1 << 26  # per data set: foreign files may be chunked across samples


class HDF5Reader:
    """A file opened for reading when it is first needed, once in each process.

    Picklable, and safe after a fork: the handle is never shared between processes.

    Raises
    ------
    InputError
        The file is absent, truncated or not HDF5; leads to other files by external links, virtual
        or external data sets; or claims more than it stores.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid = -1
        self.file  # noqa: B018  # opens: a bad file is refused here and not at the first batch

    @property
    def file(self) -> h5py.File:
        """The open file."""
        if self._pid != os.getpid():
            # After a fork the child holds its parent's handle: HDF5 must let go of it, or opening
            # the same path again would share it.
            self.close()
            self._file, self._pid = _open(self.path), os.getpid()
        return self._file

    def close(self) -> None:
        """Close the file; it is opened again when it is next used."""
        if self._file is not None:
            self._file.close()
        self._file, self._pid = None, -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None, "_pid": -1}


def content_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def available_memory() -> int | None:
    """Return the bytes of memory that are free for use, where the system says."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def require_memory(size: int, what: str) -> None:
    """Raise InputError where ``size`` bytes are more than the memory that is free."""
    free = available_memory()
    if free is not None and size > free:
        raise InputError(
            f"{what} takes {size / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free: "
            "read fewer rows at a time"
        )


def require_target(path: Path, overwrite: bool) -> None:
    """Raise InputError where a long job could not put its file in the end."""
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; choose another name or allow it with --overwrite")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")


def rows_at_once(columns: Sequence[h5py.Dataset]) -> tuple[int, int]:
    """Return the rows of one chunk of these data sets, and how many rows to read at once."""
    chunk = max((c.chunks[0] for c in columns if c.chunks), default=1024)
    row = sum(c.dtype.itemsize * math.prod(c.shape[1:]) for c in columns)
    return chunk, chunk * max(1, BLOCK_BYTES // max(1, chunk * row))


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise InputError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        file = h5py.File(path, "r", locking="best-effort", rdcc_nbytes=CACHE_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {_reason(path, error)}") from None
    try:
        _refuse_links(path, file)
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset):
                _refuse_claims(path, file[name], path.stat().st_size)
    except InputError:
        file.close()
        raise
    except (OSError, RuntimeError, KeyError) as error:
        file.close()
        raise InputError(f"{path}: damaged HDF5 file: {first_line(error)}") from None
    return file


def _reason(path: Path, error: OSError) -> str:
    text = str(error)
    if path.stat().st_size == 0:
        return "the file is empty (0 bytes)"
    if "truncated" in text:
        return f"the file is truncated at {path.stat().st_size} bytes: copy it again"
    if "signature not found" in text:
        return "not an HDF5 file"
    return f"cannot be opened as HDF5: {first_line(error)}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text: HDF5 reports whole stacks."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refuse_links(path: Path, file: h5py.File) -> None:
    # Visits links as they are and follows none; without external ones no soft link can leave.
    def leaves(name: bytes, link: Any) -> bytes | None:
        return name if link.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT) else None

    name = file.id.links.visit(leaves, info=True)
    if name is not None:
        raise InputError(
            f"{path}: '{name.decode(errors='replace')}' is a link to another file, which is not "
            "followed: copy the data into one file"
        )


def _refuse_claims(path: Path, dataset: h5py.Dataset, file_size: int) -> None:
    name = dataset.name.lstrip("/")
    if dataset.is_virtual or dataset.external:
        raise InputError(
            f"{path}: '{name}' keeps its data in other files, which are not opened: copy the data "
            "into one file"
        )
    if dataset.shape is None or dataset.size == 0:
        return
    stored, claimed = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
    claim = f"{path}: '{name}' claims shape {dataset.shape} ({claimed:,} bytes)"
    if stored > file_size:
        raise InputError(f"{claim} but the file has {file_size:,} bytes: it is truncated")
    if dataset.chunks is None:
        if stored < claimed:
            raise InputError(f"{claim} but stores {stored:,} bytes: it was never written in full")
        return
    chunks = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks))
    if (written := dataset.id.get_num_chunks()) < chunks:
        raise InputError(
            f"{claim} but stores {written:,} of its {chunks:,} chunks: it was never written in full"
        )
    require_memory(
        math.prod(dataset.chunks) * dataset.dtype.itemsize, f"{path}: one chunk of '{name}'"
    )


class HDF5Writer:
    """Write samples to a file of the spec's layout that appears whole or not at all.

    Samples are appended in order.  They are collected as finished shards in the folder
    ``<path>.part`` and joined when the ``with`` block ends; the finished file does not depend on
    how the samples were cut into calls, nor on interruptions.

    Parameters
    ----------
    path
        The target.
    spec
        What the samples are; names the layout.
    n
        How many samples will be written.
    attributes
        Root attributes beside those that say format, layout and spec; part of what a resumed
        job must agree on.
    overwrite
        Replace a file that exists (at the end: until then it stays).
    resume
        Go on from the shards that an interrupted job with the same arguments left: append from
        row `written` on.  Without it, an exception leaves nothing behind.
    beside
        Data sets beside the samples, by key, one entry a sample; `append` is given all of them.
    training
        Hashes of the samples that the generator of these has read, by part of its split.
    shard_rows
        Samples in one shard, which is what a kill may lose; rounded up to whole chunks.  By
        default about 16 MB.

    Raises
    ------
    InputError
        The target exists, or cannot be written, or the interrupted job was another one.
    """

    def __init__(
        self,
        path: str | Path,
        spec: SampleSpec,
        n: int,
        *,
        attributes: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        resume: bool = False,
        beside: Mapping[str, Column] | None = None,
        training: Mapping[str, Hashes] | None = None,
        shard_rows: int | None = None,
    ) -> None:
        self.path, self.spec, self.n = Path(path), spec, n
        self.part = self.path.with_name(self.path.name + ".part")
        self._layout = LAYOUTS[spec.layout]
        self._attributes = native_attributes(spec) | dict(attributes or {})
        self.closing: dict[str, Any] = {}  # attributes known only at the end; not compared
        self._keep, self._beside, self._training = resume, dict(beside or {}), training or {}
        own = self._layout.columns(spec) | self._layout.optional(spec)
        if taken := own.keys() & self._beside.keys():
            raise ValueError(f"layout {spec.layout} has {', '.join(sorted(taken))} itself")
        self._extras = self._layout.optional(spec) | self._beside
        self._shard: Shard | None = None
        rows = chunk_rows(spec)
        row = 4 * math.prod(spec.shape) + sum(nbytes(c) for c in self._beside.values())
        # Whole chunks, so that joining copies them as they are stored.
        chunks = SHARD_BYTES // (rows * row) if shard_rows is None else -(-shard_rows // rows)
        self._shard_rows = rows * max(1, chunks)
        if n < 1:
            raise InputError(f"{self.path}: a file of {n} samples cannot be written")
        if self.path.exists() and not overwrite:
            raise InputError(f"{self.path} exists: choose another name or allow overwriting")
        self.written = self._begin(resume)

    def _begin(self, resume: bool) -> int:
        job = {"n": self.n, "shard_rows": self._shard_rows, **self._attributes}
        job |= {f"data set {key}": as_mapping(column) for key, column in self._beside.items()}
        request = json.dumps(job, indent=1, default=str)
        note = self.part / "request.json"
        try:
            if resume and note.is_file():
                _compare(self.part, json.loads(note.read_text()), json.loads(request))
            else:
                if self.part.exists():
                    shutil.rmtree(self.part)
                self.part.mkdir(parents=True)
                temporary = note.with_suffix(".tmp")
                temporary.write_text(request)
                temporary.replace(note)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from None
        finished = 0
        while (self.part / f"{finished:012d}.h5").exists():
            finished = min(finished + self._shard_rows, self.n)
        return finished

    def append(self, samples: Samples, extras: Mapping[str, npt.ArrayLike] | None = None) -> None:
        """Write the next samples, one or many, and what is stored beside them.

        ``extras`` have one entry a sample: all of ``beside``, and what the layout has of its own
        (CaloGAN's overflow) in every call or in none.  ValueError where they are others, or where
        there are more samples than announced.
        """
        if self.written + len(samples) > self.n:
            more = self.written + len(samples) - self.n
            raise ValueError(f"{more} samples more than the {self.n} announced")
        entries = self._entries(samples, extras or {})
        while len(samples):
            if self._shard is None:
                rows = min(self._shard_rows, self.n - self.written)
                self._shard = Shard(self.spec, {k: self._extras[k] for k in entries}, rows)
            taken = self._shard.fill(samples, entries)
            samples, entries = samples[taken:], {k: v[taken:] for k, v in entries.items()}
            self.written += taken
            if self._shard.filled == self._shard.rows:
                self._finish_shard(self._shard)

    def _entries(
        self, samples: Samples, extras: Mapping[str, npt.ArrayLike]
    ) -> dict[str, npt.NDArray[Any]]:
        entries = {key: np.asarray(values) for key, values in extras.items()}
        if not self._beside.keys() <= entries.keys() <= self._extras.keys():
            raise ValueError(
                f"beside the samples came {', '.join(entries) or 'nothing'}, "
                f"announced were {', '.join(self._beside) or 'none'}"
            )
        if samples.values.shape[1:] != self.spec.shape:
            raise ValueError(f"samples of shape {samples.values.shape[1:]}, not {self.spec.shape}")
        for key, values in entries.items():
            if values.shape != (shape := (len(samples), *self._extras[key].shape)):
                raise ValueError(f"{key} has shape {values.shape}, not {shape}")
        return entries

    def _create(self, file: h5py.File, n: int) -> None:
        self._layout.create(file, self.spec, n)
        create_columns(file, self._beside, n, chunk_rows(self.spec))

    def _finish_shard(self, shard: Shard) -> None:
        target = self.part / f"{self.written - shard.rows:012d}.h5"
        temporary = target.with_suffix(".tmp")
        # In memory first: HDF5 does not survive a full disk, a plain write does.
        with h5py.File(
            temporary, "w", driver="core", backing_store=False, libver=("v108", "v110")
        ) as file:
            self._create(file, shard.rows)
            shard.write(file)
            file.flush()
            temporary.write_bytes(file.id.get_file_image())
        _put(temporary, target)
        self._shard = None

    def _finish(self) -> None:
        joined = self.part / "joined.tmp"
        size = sum(shard.stat().st_size for shard in self.part.glob("*.h5"))
        if shutil.disk_usage(self.part).free < 1.05 * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # v108: attributes may exceed 64 kB, as the geometry of 45 layers does.
        with h5py.File(joined, "w", libver=("v108", "v110")) as file:
            file.attrs.update(self._attributes | self.closing)
            self._create(file, self.n)
            for part, hashes in self._training.items():
                made = file.create_dataset(f"{TRAINING}/{part}", data=hashes)
                made.attrs["description"] = "hashes of the samples that the emulator has read"
            for start in range(0, self.n, self._shard_rows):
                with h5py.File(self.part / f"{start:012d}.h5", "r") as shard:
                    for key, column in shard.items():
                        copy_chunks(column, file[key], start)
        _put(joined, self.path)
        shutil.rmtree(self.part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self.written == self.n:
            self._finish()
            return
        if not self._keep:
            shutil.rmtree(self.part, ignore_errors=True)
        if kind is None:
            raise ValueError(f"{self.path}: {self.written} of {self.n} samples were written")


def _compare(part: Path, begun: dict[str, Any], asked: dict[str, Any]) -> None:
    differing = [k for k in sorted({*begun, *asked}) if begun.get(k) != asked.get(k)]
    if differing:
        raise InputError(
            f"{part}: begun by a job that differs in {', '.join(differing)}: delete it, or repeat "
            "that job"
        )


def _put(temporary: Path, target: Path) -> None:
    # On disk before it has its name: a machine that loses power leaves no half file behind.
    with temporary.open("rb+") as descriptor:
        os.fsync(descriptor.fileno())
    temporary.replace(target)
