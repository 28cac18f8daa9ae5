"""What the shower layouts share: columns of an HDF5 file and the spec drawn from them."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emulators.data.spec import Condition, SampleSpec, ShowerGeometry
from emulators.errors import InputError

FORMAT, FORMAT_VERSION = "emulators", 1
COMPRESSION = 4  # gzip; level 9 takes twenty times as long for files that are 4 % smaller


def chunk_rows(spec: SampleSpec) -> int:
    """Return the samples in one HDF5 chunk: a power of two, about a megabyte."""
    return 1 << max(0, min(10, int(math.log2(max(1, 2**20 / (4 * math.prod(spec.shape)))))))


def create_column(
    file: h5py.File,
    key: str,
    shape: tuple[int, ...],
    rows: int,
    *,
    units: str,
    description: str,
    axes: str,
    dtype: str = "f4",
) -> None:
    """Create a data set of ``shape``, ``rows`` samples a chunk, that says what is in it."""
    column = file.create_dataset(
        key,
        shape,
        dtype,
        chunks=(rows, *shape[1:]),
        maxshape=(None, *shape[1:]),  # so that a chunk may be longer than a short file
        compression="gzip",
        compression_opts=COMPRESSION,
        shuffle=True,
    )
    column.attrs.update(units=units, description=description, axes=axes)


def read_column(file: h5py.File, key: str, rows: slice) -> npt.NDArray[Any]:
    """Return these rows in the file's own precision."""
    values: npt.NDArray[Any] = file[key][rows]
    return values


def single(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return values in single precision; what is too large becomes inf, and `check` finds it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)


def matches(file: h5py.File, columns: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether the file has these columns of floats; one of width one may lack its axis."""
    return all(
        isinstance(file.get(key), h5py.Dataset)
        and bool(file[key].shape)
        and (file[key].shape[1:] == shape or (shape == (1,) and file[key].ndim == 1))
        and file[key].dtype.kind == "f"
        for key, shape in columns.items()
    )


def differences(file: h5py.File, columns: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Return in words how each of the file's columns that differs from these does so."""
    words = {}
    for key, shape in columns.items():
        column = file.get(key)
        if matches(file, {key: shape}):
            continue
        if not isinstance(column, h5py.Dataset):
            words[key] = "is missing"
        elif column.dtype.kind != "f":
            words[key] = f"holds {column.dtype}, not floating-point numbers"
        else:
            words[key] = f"has shape {column.shape}, not (N, {', '.join(map(str, shape))})"
    return words


def require_columns(
    file: h5py.File, columns: Mapping[str, tuple[int, ...]], geometry: ShowerGeometry
) -> None:
    """Raise InputError where the file's columns are not these."""
    if words := differences(file, columns):
        text = "; ".join(f"{key} {word}" for key, word in list(words.items())[:3])
        raise InputError(f"{file.filename}: does not fit geometry '{geometry.name}': {text}")


def native_spec(file: h5py.File, layout: str) -> SampleSpec | None:
    """Return the spec that our own files carry, where it is for this layout."""
    if _text(file, "format") != FORMAT or "spec" not in file.attrs:
        return None
    if (version := file.attrs.get("format_version")) != FORMAT_VERSION:
        raise InputError(
            f"{file.filename}: format version {version} is not known, this program reads "
            f"{FORMAT_VERSION}: update it, or remove the attribute 'format'"
        )
    try:
        spec = SampleSpec.from_mapping(json.loads(_text(file, "spec")))
    except (json.JSONDecodeError, InputError) as error:
        raise InputError(f"{file.filename}: attribute 'spec' is not readable: {error}") from None
    return spec if spec.layout == layout else None


def shower_spec(
    file: h5py.File,
    layout: str,
    geometry: ShowerGeometry,
    energies: npt.NDArray[np.float64],
    particle: str,
) -> SampleSpec:
    """Return the spec of a file of showers, from its own spec and its energies in GeV."""
    valid = energies[np.isfinite(energies) & (energies > 0)]
    if not len(valid):
        raise InputError(
            f"{file.filename}: none of its {len(energies)} incident energies is finite and positive"
        )
    low, high = _outwards(valid.min(), down=True), _outwards(valid.max(), down=False)
    energy = Condition("incident_energy", "GeV", low, high, "log")
    spec = SampleSpec("shower", layout, (geometry.n_cells,), "MeV", (energy,), geometry, particle)
    native = native_spec(file, layout)
    if native is None:
        return replace(spec, particle=_text(file, "particle") or particle)
    spec = replace(spec, particle=native.particle)
    stated = [c for c in native.conditions if (c.name, c.unit) == (energy.name, energy.unit)]
    # The law that a file was made with says more than its extremes, as long as it is true.
    covers = (
        stated
        and stated[0].minimum <= valid.min() * (1 + 1e-6)
        and stated[0].maximum >= valid.max() * (1 - 1e-6)
    )
    return replace(spec, conditions=(stated[0],)) if covers else spec


def _outwards(value: float, down: bool) -> float:
    """Round to three significant digits: a law of 1 to 100 shows as 1.0002 to 99.99."""
    digits = 2 - math.floor(math.log10(value))
    # The tolerance keeps a value that has three digits, less its rounding error, as it is.
    scaled = value * 10.0**digits * (1 + 1e-6 if down else 1 - 1e-6)
    return round((math.floor if down else math.ceil)(scaled) * 10.0**-digits, max(digits, 0))


def _text(file: h5py.File, name: str) -> str:
    value = file.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)
