"""Arrays of foreign files, read in parts: nothing is believed that is not on disk."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.hdf5 import HDF5Reader, first_line
from emulators.errors import InputError

__all__ = ["HDF5Array", "LazyArray", "NpyArray", "files_of", "same_shape", "table", "words"]

ENDINGS = (".h5", ".hdf5", ".npy")
AHEAD_BYTES = 1 << 26  # of entries that are read together
TABLE_BYTES = 1 << 28  # of a table of parameters, at most


class LazyArray(Protocol):
    """An array on disk; an index reads no more than it names."""

    path: Path
    shape: tuple[int, ...]

    def __getitem__(self, index: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Return a part."""
        ...

    def close(self) -> None:
        """Let go of the file; it is opened again when it is next read."""
        ...


class NpyArray:
    """An array of numbers in a ``.npy`` file, mapped into memory.

    Raises
    ------
    InputError
        There is no such file, it is no ``.npy`` file of numbers, or it claims more than it stores.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: npt.NDArray[Any] | None = None
        self.shape: tuple[int, ...] = self._open().shape
        self.close()

    def _open(self) -> npt.NDArray[Any]:
        if self._map is None:
            if not self.path.is_file():
                raise InputError(f"{self.path}: no such file")
            try:
                # Maps objects never: a pickle is refused here.
                mapped = np.lib.format.open_memmap(self.path, mode="r")
            except Exception as error:  # of any kind: the header is read by Python's own parser
                raise InputError(
                    f"{self.path}: not a readable .npy file of numbers: {first_line(error)}"
                ) from None
            _require_numbers(f"{self.path}", mapped.dtype, mapped.shape)
            self._map = mapped
            return mapped
        return self._map

    def __getitem__(self, index: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Return a part."""
        part: npt.NDArray[Any] = self._open()[index]
        return part

    def close(self) -> None:
        """Unmap the file; it is mapped again when it is next read."""
        self._map = None


class HDF5Array:
    """A data set of numbers in an HDF5 file, with the safeguards of `HDF5Reader`.

    Where chunks hold many entries, the entries of a chunk are read together.

    Raises
    ------
    InputError
        There is no such data set, or it holds no numbers.
    """

    def __init__(self, reader: HDF5Reader, key: str) -> None:
        self.path, self.key, self._reader = reader.path, key, reader
        self._ahead: tuple[int, npt.NDArray[Any]] | None = None
        found = reader.file.get(key)
        if not isinstance(found, h5py.Dataset):
            raise InputError(
                f"{self.path}: has no data set '{key}': it has {', '.join(sorted(reader.file)[:8])}"
            )
        self.shape: tuple[int, ...] = found.shape or ()
        _require_numbers(f"{self.path}: '{key}'", found.dtype, self.shape)

    def __getitem__(self, index: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Return a part."""
        part: npt.NDArray[Any]
        data = self._reader.file[self.key]
        row = data.dtype.itemsize * math.prod(self.shape[1:])
        rows = min(data.chunks[0], AHEAD_BYTES // row) if data.chunks else 1
        if rows > 1 and isinstance(index[0], int):
            start = index[0] - index[0] % rows
            if self._ahead is None or self._ahead[0] != start:
                self._ahead = start, data[start : start + rows]
            part = self._ahead[1][(index[0] - start, *index[1:])]
        else:
            part = data[index]
        return part

    def close(self) -> None:
        """Close the file; it is opened again when it is next read."""
        self._ahead = None
        self._reader.close()


def _require_numbers(where: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if dtype.kind not in "fiu" or not shape or 0 in shape:
        raise InputError(f"{where}: holds {dtype} of shape {shape}, not an array of numbers")


def files_of(path: Path) -> list[Path]:
    """Return the files that a file, a folder or a pattern (``boxes/*_350Mpc_*.h5``) stands for.

    In natural order: ``box_2`` before ``box_10``.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix in ENDINGS and p.is_file()]
        what = f"this folder has no {', '.join(ENDINGS)} files"
    else:
        found = [p for p in path.parent.glob(path.name) if p.is_file()] if path.name else []
        what = "no such file or folder, and no files match it"
    if not found:
        raise InputError(f"{path}: {what}")
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def same_shape(arrays: Sequence[LazyArray], dimensions: int, start: int = 0) -> tuple[int, ...]:
    """Return the shape that all arrays have from axis ``start``; InputError where one differs."""
    first = arrays[0]
    for array in arrays:
        if len(array.shape) != dimensions:
            raise InputError(
                f"{array.path}: has shape {array.shape}, expected are {dimensions} axes"
            )
        if array.shape[start:] != first.shape[start:]:
            raise InputError(
                f"{array.path}: has shape {array.shape}, but {first.path.name} has {first.shape}: "
                "convert boxes of different shape apart"
            )
    return first.shape[start:]


def table(path: Path) -> npt.NDArray[np.float64]:
    """Return a table of parameters, ``(rows, columns)``, from a text or a ``.npy`` file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of parameters")
    if path.stat().st_size > TABLE_BYTES:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes are too many for parameters")
    if path.suffix == ".npy":
        values = np.atleast_1d(np.asarray(NpyArray(path)[...,], np.float64))
        values = values.reshape(len(values), -1)
    else:
        try:
            values = np.loadtxt(path, np.float64, ndmin=2)
        except (ValueError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a table of numbers: {first_line(error)}") from None
    if not values.size:
        raise InputError(f"{path}: there are no parameters in it")
    return values


def words(values: Any) -> list[str]:
    """Return texts of a file, bytes or not, as a list."""
    found = np.ravel(values).tolist()
    return [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in found]
