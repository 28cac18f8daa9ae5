"""Results of long computations, kept on disk by the hash of all that they depend on.

A second report on one reference finds its floors there, and a report that was interrupted what it
had measured.  Functions that are `remembered` keep their results while `keeping` lasts; elsewhere
they are as if they were not.  An entry is named by the SHA-256 of the arguments (of arrays, all
that is in them), of the benchmarks' own source, and of what the caller adds, so that nothing has to
be declared out of date.  It appears whole or not at all, and carries the hash of its content: a
damaged one is measured anew.
"""

import functools
import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

__all__ = ["LARGEST", "default_folder", "keeping", "remembered"]

P = ParamSpec("P")
T = TypeVar("T", bound=Mapping[str, Any] | tuple[Any, ...])

log = logging.getLogger(__name__)

LARGEST = 1 << 28  # bytes of all entries; those not used for longest are deleted
_DIGEST = hashlib.sha256().digest_size
_kept: ContextVar[tuple[Path, bytes, list[str]] | None] = ContextVar("kept", default=None)


def default_folder() -> Path:
    """Return the user's folder for what can be made again: ``$XDG_CACHE_HOME/emulators``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "emulators" / "benchmarks"


@contextmanager
def keeping(folder: Path | None, *context: object) -> Iterator[list[str]]:
    """Let `remembered` functions keep what they return in a folder, and take what is kept there.

    Yields a list that grows by the name of each function whose result is taken from there.

    Parameters
    ----------
    folder
        None: nothing is kept, and nothing taken.
    context
        What results depend on beside the arguments, such as the versions of libraries: plain
        values.
    """
    taken: list[str] = []
    token = _kept.set(None if folder is None else (folder, _hash(_source(), context), taken))
    try:
        yield taken
    finally:
        _kept.reset(token)


def remembered(function: Callable[P, T]) -> Callable[P, T]:
    """Keep what a function returns, while `keeping` lasts.

    Its arguments are arrays and plain values (numbers, strings, tuples, ranges, dataclasses of
    them); it depends on nothing else.  It returns numbers and arrays, by name or in a tuple.
    """

    @functools.wraps(function)
    def kept(*args: P.args, **kwargs: P.kwargs) -> T:
        place = _kept.get()
        if place is None:
            return function(*args, **kwargs)
        folder, context, taken = place
        name = f"{function.__module__}.{function.__qualname__}"
        path = folder / _hash(context, name, args, tuple(sorted(kwargs.items()))).hex()
        if (found := _read(path)) is not None:
            taken.append(name)
            return cast(T, found)
        result = function(*args, **kwargs)
        _write(path, result)
        return result

    return kept


@functools.cache
def _source() -> bytes:
    """Return the hash of the code that measures: benchmarks, observables and random numbers."""
    here = Path(__file__).parent
    rooms = (here, here.parent / "observables")
    files = [*(f for room in rooms for f in sorted(room.rglob("*.py"))), here.parent / "random.py"]
    return _hash(tuple(file.read_text(encoding="utf-8") for file in files))


def _hash(*values: object) -> bytes:
    digest = hashlib.sha256()
    for value in values:
        _feed(digest, value)
    return digest.digest()


def _feed(digest: Any, value: object) -> None:
    """Add a value to a hash, with its type and size, so that no two lists of values are alike."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest.update(f"array {value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif isinstance(value, tuple | list):
        digest.update(f"tuple {len(value)} ".encode())
        for entry in value:
            _feed(digest, entry)
    elif isinstance(value, Mapping):
        _feed(digest, tuple(value.items()))
    elif value is None or isinstance(value, bool | int | float | str | bytes | range):
        text = repr(value)
        digest.update(f"{type(value).__name__} {len(text)} {text} ".encode())
    elif is_dataclass(value):
        _feed(digest, (type(value).__qualname__, vars(value)))
    else:
        raise TypeError(f"results cannot be kept by a {type(value).__name__}")


def _read(path: Path) -> dict[str, Any] | tuple[Any, ...] | None:
    """Return what is kept there; None where nothing is, or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(payload).digest() != digest:
        log.warning("%s: a damaged entry of the cache; measured anew", path)
        return None
    with np.load(io.BytesIO(payload), allow_pickle=False) as file:
        named = {name: x if x.ndim else x.item() for name, x in file.items()}
    with suppress(OSError):
        os.utime(path)  # used last: deleted last
    return tuple(named.values()) if all(name.isdecimal() for name in named) else named


def _write(path: Path, result: Mapping[str, Any] | tuple[Any, ...]) -> None:
    named = result if isinstance(result, Mapping) else dict(enumerate(result))
    arrays = {str(name): np.asarray(x) for name, x in named.items()}
    if bad := [name for name, x in arrays.items() if x.dtype.hasobject]:
        raise TypeError(f"'{bad[0]}' is neither number nor array, and cannot be kept")
    payload = io.BytesIO()
    np.savez(payload, **arrays)  # type: ignore[arg-type]
    content = payload.getvalue()
    # of several processes each writes a file of its own; all that are renamed are alike
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(content).digest() + content)
        part.replace(path)
        _make_room(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        _warn(path.parent, error.strerror)


@functools.cache
def _warn(folder: Path, why: str | None) -> None:
    """Say once that a folder cannot be used: it is tried at every result."""
    log.warning("%s: results cannot be kept there: %s", folder, why)


def _make_room(folder: Path) -> None:
    """Delete the entries that were not used for longest, where all are larger than they may be."""
    entries = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has just deleted it
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= LARGEST:
            break
        path.unlink(missing_ok=True)
        total -= size
