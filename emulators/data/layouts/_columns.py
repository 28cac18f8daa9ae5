"""What layouts share: columns of an HDF5 file and the spec drawn from them."""

import itertools
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emulators import __version__
from emulators.data.spec import ENERGY, Column, Condition, SampleSpec
from emulators.errors import InputError

UNSAID = "as in the source"  # description of a column that has none
LARGEST_CHUNK = 1 << 24  # bytes; a box of 512^3 would be a chunk of 512 MiB
FORMAT, FORMAT_VERSION = "emulators", 1
COMPRESSION = 4  # gzip; level 9 takes twenty times as long for files that are 4 % smaller


def chunk_rows(spec: SampleSpec) -> int:
    """Return the samples in one HDF5 chunk: a power of two, about a megabyte."""
    return 1 << max(0, min(10, int(math.log2(max(1, 2**20 / (4 * math.prod(spec.shape)))))))


def nbytes(column: Column) -> int:
    """Return the bytes of one entry."""
    return np.dtype(column.dtype).itemsize * math.prod(column.shape)


def create_columns(file: h5py.File, columns: Mapping[str, Column], n: int, rows: int) -> None:
    """Create data sets of ``n`` entries, ``rows`` of them a chunk, that say what is in them."""
    for key, column in columns.items():
        made = create_dataset(file, key, (n, *column.shape), np.dtype(column.dtype), rows)
        axes = ", ".join(("sample", *column.axes))
        made.attrs.update(units=column.unit, description=column.description, axes=axes)


def create_dataset(
    file: h5py.File, key: str, shape: tuple[int, ...], dtype: npt.DTypeLike, rows: int
) -> h5py.Dataset:
    """Create one compressed data set, ``rows`` samples a chunk, or a piece of one large sample."""
    return file.create_dataset(
        key,
        shape,
        dtype,
        chunks=(rows, *_piece(shape[1:], np.dtype(dtype).itemsize)),
        maxshape=(None, *shape[1:]),  # so that a chunk may be longer than a short file
        compression="gzip",
        compression_opts=COMPRESSION,
        shuffle=True,
    )


def _piece(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of a piece of a sample that is a chunk: its longest sides are halved."""
    piece = list(shape)
    while math.prod(piece) * itemsize > LARGEST_CHUNK:
        longest = piece.index(max(piece))
        piece[longest] = -(-piece[longest] // 2)
    return tuple(piece)


def copy_chunks(source: h5py.Dataset, target: h5py.Dataset, start: int) -> None:
    """Copy all of ``source`` to rows from ``start``, as it is stored: it costs no compression."""
    corners = (range(0, n, size) for n, size in zip(source.shape, source.chunks, strict=True))
    for row, *rest in itertools.product(*corners):
        mask, chunk = source.id.read_direct_chunk((row, *rest))
        target.id.write_direct_chunk((start + row, *rest), chunk, mask)


def read_column(file: h5py.File, key: str, rows: slice) -> npt.NDArray[Any]:
    """Return these rows in the file's own precision."""
    values: npt.NDArray[Any] = file[key][rows]
    return values


def single(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return values in single precision; what is too large becomes inf, and `check` finds it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)


def matches(dataset: Any, column: Column) -> bool:
    """Return whether this is a data set of such floats; one of width one may lack its axis."""
    return (
        isinstance(dataset, h5py.Dataset)
        and bool(dataset.shape)
        and (dataset.shape[1:] == column.shape or (column.shape == (1,) and dataset.ndim == 1))
        and dataset.dtype.kind in _kinds(column)
    )


def _kinds(column: Column) -> str:
    kind = np.dtype(column.dtype).kind
    return "fiu" if kind == "f" else kind  # energies are often whole numbers of MeV


def beside(file: h5py.File, own: Collection[str], n: int) -> dict[str, Column]:
    """Return the data sets of ``n`` numbers, arrays or texts, less the layout's ``own``."""
    found = {}
    for key in sorted(set(file) - set(own)):
        dataset = file.get(key)  # None for a soft link to nothing
        if not isinstance(dataset, h5py.Dataset) or not dataset.shape or len(dataset) != n:
            continue
        if dataset.dtype.kind in "fiubS":
            unit = text(dataset, "units") or text(dataset, "unit")
            description = text(dataset, "description") or UNSAID
            names = tuple(text(dataset, "axes").split(", ")[1:])
            found[key] = Column(dataset.shape[1:], unit, description, names, dataset.dtype.str[1:])
    return found


def differences(file: h5py.File, columns: Mapping[str, Column]) -> dict[str, str]:
    """Return in words how each of the file's columns that differs from these does so."""
    words = {}
    for key, column in columns.items():
        dataset = file.get(key)
        if matches(dataset, column):
            if other := _other_unit(dataset, column):
                words[key] = f"is in {other}, not {column.unit}"
        elif not isinstance(dataset, h5py.Dataset):
            words[key] = "is missing"
        elif dataset.dtype.kind not in (kinds := _kinds(column)):
            words[key] = f"holds {dataset.dtype}, not {'numbers' if 'f' in kinds else 'a table'}"
        else:
            words[key] = (
                f"has shape {dataset.shape}, not ({', '.join(('N', *map(str, column.shape)))})"
            )
    return words


def require_columns(file: h5py.File, columns: Mapping[str, Column], spec: SampleSpec) -> None:
    """Raise InputError where the file's columns are not these."""
    if words := differences(file, columns):
        text = "; ".join(f"{key} {word}" for key, word in list(words.items())[:3])
        asked = f"geometry '{spec.geometry.name}'" if spec.geometry else "its attribute 'spec'"
        raise InputError(f"{file.filename}: does not fit {asked}: {text}")


def _other_unit(dataset: h5py.Dataset, column: Column) -> str:
    """Return the unit that a data set states where it is not the column's; else nothing."""
    stated = text(dataset, "units") or text(dataset, "unit")
    if stated in ("", column.unit) or not column.unit:
        return ""
    from astropy import units  # slow to import, and rarely needed

    try:
        return "" if units.Unit(stated) == units.Unit(column.unit) else stated
    except ValueError:  # a word that only people understand
        return ""


def native_attributes(spec: SampleSpec) -> dict[str, Any]:
    """Return the root attributes that every file written here carries.

    Fields, images and points also say in plain attributes what is the same for all samples: the
    size of the box, the channels, and conditions that do not vary.
    """
    plain: dict[str, Any] = {}
    if spec.kind != "shower":
        plain = {c.name: c.minimum for c in spec.conditions if c.minimum == c.maximum}
    if spec.grid:
        size = "image_size" if spec.kind == "image" else "box_size"
        plain |= {size: spec.grid.lengths, f"{size}_unit": spec.grid.unit}
        plain |= {"channels": spec.grid.channels}
    return plain | {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "written_by": f"emulators {__version__}",
        "kind": spec.kind,
        "layout": spec.layout,
        "spec": json.dumps(spec.to_mapping()),
    }


def native_spec(file: h5py.File, layout: str) -> SampleSpec | None:
    """Return the spec that our own files carry, where it is for this layout."""
    if text(file, "format") != FORMAT or "spec" not in file.attrs:
        return None
    if (version := file.attrs.get("format_version")) != FORMAT_VERSION:
        raise InputError(
            f"{file.filename}: format version {version} is not known, this program reads "
            f"{FORMAT_VERSION}: update it, or remove the attribute 'format'"
        )
    try:
        spec = SampleSpec.from_mapping(json.loads(text(file, "spec")))
    except (json.JSONDecodeError, InputError) as error:
        raise InputError(f"{file.filename}: attribute 'spec' is not readable: {error}") from None
    return spec if spec.layout == layout else None


def shower_spec(
    file: h5py.File, outline: SampleSpec, energies: npt.NDArray[np.float64]
) -> SampleSpec:
    """Return the spec of a file of showers: with its particle and its energies in GeV."""
    valid = energies[np.isfinite(energies) & (energies > 0)]
    if not len(valid):
        raise InputError(
            f"{file.filename}: none of its {len(energies)} incident energies is finite and positive"
        )
    native = native_spec(file, outline.layout)
    particle = native.particle if native else text(file, "particle") or outline.particle
    stated = {(c.name, c.unit): c for c in native.conditions} if native else {}
    energy = stated.get((ENERGY.name, ENERGY.unit))
    # The law that a file was made with says more than its extremes, as long as it is true.
    if energy is None or outside(energy, valid).any():
        low, high = _outwards(valid.min(), down=True), _outwards(valid.max(), down=False)
        energy = replace(ENERGY, minimum=low, maximum=high)
    more = (covering(file, c, file[c.name][:].astype(np.float64)) for c in outline.conditions)
    return replace(outline, conditions=(energy, *more), particle=particle)


def covering(file: h5py.File, stated: Condition, values: npt.NDArray[np.float64]) -> Condition:
    """Return a condition with the stated range where that is true, else with that of the values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise InputError(f"{file.filename}: none of its {len(values)} {stated.name} is finite")
    if not outside(stated, finite).any():
        return stated
    return replace(stated, minimum=float(finite.min()), maximum=float(finite.max()))


def outside(stated: Condition, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which values lie outside the stated range; NaN does not."""
    low, high = stated.minimum, stated.maximum
    # Single precision may round a value out of the range.
    outside: npt.NDArray[np.bool_]
    outside = (values < low - 1e-6 * abs(low)) | (values > high + 1e-6 * abs(high))
    return outside


def _outwards(value: float, down: bool) -> float:
    """Round to three significant digits: a law of 1 to 100 shows as 1.0002 to 99.99."""
    digits = 2 - math.floor(math.log10(value))
    # The tolerance keeps a value that has three digits, less its rounding error, as it is.
    scaled = value * 10.0**digits * (1 + 1e-6 if down else 1 - 1e-6)
    return round((math.floor if down else math.ceil)(scaled) * 10.0**-digits, max(digits, 0))


def text(thing: h5py.File | h5py.Dataset, name: str) -> str:
    """Return an attribute of a file or a data set as text; empty where there is none."""
    value = thing.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)
