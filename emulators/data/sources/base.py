"""What all sources share: entries that are read in parts, and what the user says of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.data.counts import COUNTS, counted
from emulators.data.hashes import Hashes
from emulators.data.hdf5 import first_line
from emulators.data.layouts._columns import single
from emulators.data.sources.arrays import LazyArray
from emulators.data.spec import Column, Condition, Grid, SampleSpec
from emulators.errors import InputError

__all__ = ["HUBBLE", "Place", "Source", "Told", "as_conditions", "field_spec", "stated"]

LENGTH_UNITS = ("Mpc/h", "kpc/h", "Mpc", "kpc", "deg", "arcmin", "arcsec", "rad")
HUBBLE = {"h_0": "km / (Mpc s)"}  # unit of a condition of layouts that have it
CHANNELS = {"count": "counts", "overdensity": "overdensity"}  # of fields in these units
Region = tuple[slice, ...]


@dataclass(frozen=True)
class Told:
    """What the user says of a source; None is not said.

    Parameters
    ----------
    key
        The data set to read, where the layout leaves it open.
    box
        Extent of an entry, ``"200"``, ``"5 deg"``, or one number an axis, ``"200,200,12.5 Mpc/h"``.
    unit
        Unit of the values: ``count``, ``overdensity``, or what astropy reads; ``none`` for a
        number.
    channels
        Names of the channels, with commas between.
    components
        What each channel is, with commas between, as `Grid.components` says: ``"x,y,z,scalar"``.
    periodic
        Whether entries come round again, along all axes.
    conditions
        Where the conditions are: a data set or a file (text, ``.npy``), and the names of its
        columns, as ``cosmology:omega_m,sigma_8``.
    """

    key: str | None = None
    box: str | None = None
    unit: str | None = None
    channels: str | None = None
    components: str | None = None
    periodic: bool | None = None
    conditions: str | None = None

    @property
    def said(self) -> list[str]:
        """Names of what was said."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def __or__(self, facts: "Told") -> "Told":
        """Return this, and the facts of a layout where nothing is said."""
        return Told(**{name: getattr(self if name in self.said else facts, name) for name in
                       (f.name for f in fields(self))})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where one entry lies: ``array[(*before, [channels,] *region, *after)]``.

    ``channels``: whether there is an axis of channels before the cells.  ``origin`` is the first
    cell of the entry, where it is a region of something larger.
    """

    array: LazyArray
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    channels: bool = False
    origin: tuple[int, ...] = ()


@dataclass
class Source:
    """Whole entries of foreign files, any region of which can be read by itself.

    Parameters
    ----------
    layout, path
        Name of the public layout, and the file or folder.
    spec
        What an entry is: a field on a grid, of which nothing is cut yet.
    place
        Where entry ``i`` lies.
    simulations
        Which simulation each entry is from, ``(n,)``.
    conditions
        Of each entry, ``(n,)`` float32 by name, in the units of the spec.
    beside
        What else is known of each entry: columns of one number, and their ``(n,)`` values.
    attributes
        What the source says of its origin.
    ancestors
        Hash of what each entry was cut from, where its file says it.
    joined
        Where several files are joined: of each its name, its hash and its own origins.
    training
        Of generated fields: `Dataset.training`.
    taken
        The data sets that were read, of those that the files have.
    """

    layout: str
    path: Path
    spec: SampleSpec
    place: Callable[[int], Place]
    simulations: npt.NDArray[np.int64]
    conditions: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    beside: dict[str, tuple[Column, npt.NDArray[Any]]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    ancestors: Hashes | None = None
    joined: Sequence[Mapping[str, Any]] = ()
    training: Mapping[str, Hashes] = field(default_factory=dict)
    taken: Collection[str] = ()
    _open: LazyArray | None = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.simulations)

    def read(self, i: int, region: Region) -> npt.NDArray[np.float32]:
        """Return these cells of entry ``i``, ``(channels, *cells)``, in the unit of the spec."""
        place = self.place(i)
        if self._open is not None and self._open is not place.array:
            self._open.close()  # one file at a time: a folder may have thousands
        self._open = place.array
        origin = place.origin or (0,) * len(region)
        cells = tuple(slice(s.start + o, s.stop + o) for s, o in zip(region, origin, strict=True))
        channels = (slice(None),) if place.channels else ()
        try:
            values = place.array[(*place.before, *channels, *cells, *place.after)]
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{place.array.path}: entry {i} cannot be read: {first_line(error)}"
            ) from None
        values = np.asarray(values)
        if self.spec.unit in COUNTS:
            ours = "--from array " if self.layout == "native" else ""
            advice = f"give {ours}--unit none, to keep them as numbers that are not counts"
            values = counted(values, f"{place.array.path}: entry {i}", advice)
        return single(values).reshape(-1, *(s.stop - s.start for s in region))


def field_spec(
    path: Path,
    cells: tuple[int, ...],
    told: Told,
    conditions: Mapping[str, npt.NDArray[np.float32]],
    *,
    channels: int = 1,
    box_unit: str = "Mpc/h",
    units: Mapping[str, str] | None = None,
) -> SampleSpec:
    """Return the spec of fields with these cells; InputError where something is still to be said.

    ``box_unit`` is that of a box given without one; ``units`` are those of conditions.
    """
    for name, example in {"box": "--box 200", "unit": "--unit count"}.items():
        if getattr(told, name) is None:
            raise InputError(f"{path}: does not say its {name}: give it, as {example}")
    unit = "" if told.unit == "none" else str(told.unit)
    default = CHANNELS.get(unit, "field") if channels == 1 else ""
    names = tuple(name.strip() for name in (told.channels or default).split(","))
    if len(names) != channels or "" in names:
        given = ", ".join(filter(None, names)) or "none"
        raise InputError(f"{path}: has {channels} channels, named are {given}: give --channels")
    if unit == "overdensity" and "overdensity" not in names:
        raise InputError(f"{path}: unit overdensity is for a channel of that name")
    d = len(cells)
    if d not in (2, 3):
        raise InputError(f"{path}: fields have 2 or 3 axes, these have {d}: {cells}")
    lengths, length_unit = _box(path, str(told.box), d, box_unit)
    grid = Grid(names, ("x", "y", "z")[:d], lengths, length_unit, (bool(told.periodic),) * d)
    known = units or {}
    ranges = tuple(_condition(path, k, known.get(k, ""), v) for k, v in conditions.items())
    spec = SampleSpec("field", "native", (channels, *cells), unit, ranges, grid=grid)
    return stated(path, spec, told.components)


def stated(path: Path, spec: SampleSpec, components: str | None) -> SampleSpec:
    """Return the spec with what its channels are, where that is said.

    Raises
    ------
    InputError
        The samples have no grid, or the components do not fit their channels.
    """
    if components is None:
        return spec
    if spec.grid is None:
        raise InputError(f"{path}: {spec.kind}s have no grid: --components are of fields")
    names = tuple(name.strip() for name in components.split(","))
    try:
        return replace(spec, grid=replace(spec.grid, components=names))
    except ValueError as error:
        raise InputError(f"{path}: --components {components}: {error}") from None


def _box(path: Path, text: str, axes: int, default: str) -> tuple[tuple[float, ...], str]:
    numbers, _, unit = text.strip().partition(" ")
    unit = unit.strip() or default
    try:
        lengths = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        lengths = ()
    lengths = lengths * axes if len(lengths) == 1 else lengths
    if len(lengths) != axes or not all(0 < n < np.inf for n in lengths):
        raise InputError(
            f"{path}: box '{text}' is not understood: give one length or {axes}, as '200 Mpc/h'"
        )
    if unit not in LENGTH_UNITS:
        raise InputError(f"{path}: box in '{unit}': known are {', '.join(LENGTH_UNITS)}")
    return lengths, unit


def _condition(path: Path, name: str, unit: str, values: npt.NDArray[np.float32]) -> Condition:
    if bad := int((~np.isfinite(values)).sum()):
        first = ", ".join(map(str, np.flatnonzero(~np.isfinite(values))[:5]))
        raise InputError(f"{path}: {bad} values of {name} are not finite (first: {first})")
    # Through decimals: 0.3 in single precision is 0.3 again.
    low, high = (float(str(value)) for value in (values.min(), values.max()))
    return Condition(name, unit, low, high)


def as_conditions(
    path: Path, values: npt.NDArray[Any], names: list[str], n: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the columns of ``values (n,)`` or ``(n, names)`` as conditions, by the names given."""
    columns = values.reshape(len(values), -1)
    if len(columns) != n:
        raise InputError(f"{path}: has {n} entries, but conditions of {len(columns)}")
    if columns.shape[1] != len(names) or len(set(names)) < len(names):
        raise InputError(
            f"{path}: {columns.shape[1]} conditions an entry, {len(names)} names "
            f"({', '.join(names) or 'none'}): give each a name, as --conditions "
            "cosmology:omega_m,sigma_8"
        )
    return {name: single(columns[:, i]) for i, name in enumerate(names)}
