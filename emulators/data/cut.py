"""Whole entries of a source cut into samples as they are read: slabs, crops, coarser cells."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from emulators.data.counts import COUNTS, counted
from emulators.data.hashes import ANCESTOR, ANCESTOR_COLUMN, leading, sample_hashes
from emulators.data.hdf5 import require_memory
from emulators.data.sources.base import Place, Region, Source
from emulators.data.spec import Column, Grid, Samples
from emulators.errors import InputError

__all__ = ["Cut", "Pieces", "regions"]

HELD_BYTES = 1 << 29  # of an entry, kept in memory while pieces are cut from it
JOINED_BYTES = 1 << 26  # of cells that are joined at once
SAMPLE_BYTES = (1 << 32) - 1  # of one sample: HDF5's limit for a chunk
AXES = "xyz"
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cut:
    """What is cut from each entry: in this order, as far as asked.

    Parameters
    ----------
    regions
        Cut it into so many regions along each axis; crops and splits keep within one.
    coarsen
        Join so many cells along each axis into one: counts are summed, all else is averaged.
    slabs
        Cut boxes into so many slabs across each of ``axes``, and project each slab on its face:
        counts are summed, all else is averaged.
    axes
        Across which boxes are cut into slabs.
    smooth
        Standard deviation, in cells of what is there by now, of a Gaussian: whole periodic boxes,
        or maps.
    crop
        Cut into pieces of so many cells a side that do not overlap; what is left over at the end
        of an axis is left out.
    """

    regions: int = 1
    coarsen: int = 1
    slabs: int = 0
    axes: str = AXES
    smooth: float = 0.0
    crop: int = 0

    def __post_init__(self) -> None:
        for name, least in {"regions": 1, "coarsen": 1, "slabs": 0, "crop": 0}.items():
            if (value := getattr(self, name)) < least:
                raise InputError(f"{name} = {value}: give {max(least, 1)} or more")
        if not self.axes or set(self.axes) - set(AXES) or len(set(self.axes)) < len(self.axes):
            raise InputError(f"axes = '{self.axes}': give one or more of x, y and z, each once")
        if self.axes != AXES and not self.slabs:
            raise InputError(f"axes = '{self.axes}': only for slabs, give how many")
        if not 0 <= self.smooth < math.inf:
            raise InputError(f"smooth = {self.smooth}: give a number of cells")

    def __bool__(self) -> bool:
        return self != Cut()

    def __str__(self) -> str:
        said = {
            f"{self.regions} regions along each axis": self.regions > 1,
            f"{self.coarsen} cells along each axis joined": self.coarsen > 1,
            f"{self.slabs} slabs across each of {', '.join(self.axes)}": self.slabs,
            f"smoothed with a Gaussian of {self.smooth:g} cells": self.smooth,
            f"crops of {self.crop} cells a side": self.crop,
        }
        return "; ".join(words for words, asked in said.items() if asked)


def regions(source: Source, number: int) -> Source:
    """Return one huge cube as ``number`` regions along each axis.

    ``simulations`` are then the numbers of the regions: what is cut from one stays together.  A
    region has the same number at every redshift.

    Raises
    ------
    InputError
        The source has several simulations, or the regions do not divide it.
    """
    if number == 1:
        return source
    if len(set(source.simulations.tolist())) > 1:
        raise InputError(
            f"{source.path}: has several simulations, which stay apart without regions: use crops"
        )
    grid, cells = _grid(source), source.spec.shape[1:]
    _require_divides(source, number, "regions", range(len(cells)))
    size = [n // number for n in cells]
    origins = list(itertools.product(*(range(0, n, step) for n, step in zip(cells, size))))
    lengths = tuple(length / number for length in grid.lengths)
    grid = replace(grid, lengths=lengths, periodic=(False,) * len(cells))

    def place(i: int) -> Place:
        entry, region = divmod(i, len(origins))
        whole = source.place(entry)
        first = whole.origin or (0,) * len(cells)
        origin = tuple(a + b for a, b in zip(first, origins[region], strict=True))
        return replace(whole, origin=origin)

    def repeated(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.repeat(values, len(origins))

    return replace(
        source,
        spec=replace(source.spec, shape=(source.spec.shape[0], *size), grid=grid),
        place=place,
        simulations=np.tile(np.arange(len(origins)), len(source)),
        ancestors=None,
        conditions={name: repeated(values) for name, values in source.conditions.items()},
        beside={
            name: (column, repeated(values / len(origins) if name == "seconds" else values))
            for name, (column, values) in source.beside.items()
        },
    )


@dataclass(frozen=True)
class _Whole:
    """An entry or one slab of it: its cells in the entry, and how many become one."""

    region: Region
    factors: tuple[int, ...]
    axis: int = -1
    slab: int = -1

    def squeezed(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return one value an axis without that of the axis that was projected along."""
        return tuple(v for k, v in enumerate(values) if k != self.axis)


class Pieces:
    """The samples that a cut makes of the entries of a source; each is read when it is asked for.

    Parameters
    ----------
    source, cut
        What is cut, and how; ``cut.regions`` is for `regions`, before.

    Attributes
    ----------
    spec
        What the samples are.
    beside
        The columns beside them: ``simulation``, the hash of what they are from, the source's,
        where each was cut.
    each
        How many samples an entry gives.

    Raises
    ------
    InputError
        The cut does not fit the entries.
    """

    def __init__(self, source: Source, cut: Cut) -> None:
        self.source, self._cut = source, cut
        self._wholes = _wholes(source, cut)
        grid, cells = _projected(source, self._wholes)
        if cut.smooth and not all(grid.periodic):
            raise InputError(f"{source.path}: not periodic along all axes: it cannot be smoothed")
        size = (cut.crop,) * len(cells) if cut.crop else cells
        if any(c > n for c, n in zip(size, cells)):
            raise InputError(f"{source.path}: crops of {cut.crop} cells are larger than {cells}")
        steps = (range(0, n - c + 1, c) for n, c in zip(cells, size))
        self._size, self._corners = size, list(itertools.product(*steps))
        grid = replace(
            grid,
            lengths=tuple(length * c / n for length, c, n in zip(grid.lengths, size, cells)),
            periodic=tuple(p and c == n for p, c, n in zip(grid.periodic, size, cells)),
        )
        self.spec = replace(source.spec, shape=(source.spec.shape[0], *size), grid=grid)
        self.each = len(self._wholes) * len(self._corners)
        self.beside = self._columns()
        self._ancestors: dict[int, np.uint64] = {}  # by number of the simulation
        self._held: tuple[int, Region, Array] | None = None
        self._smoothed: tuple[tuple[int, _Whole], Array] | None = None
        largest = self.spec.shape[0] * math.prod(cells if cut.smooth else size) * 4
        if largest > SAMPLE_BYTES:
            raise InputError(
                f"{source.path}: one sample would have {largest / 2**30:.0f} GiB: cut it, with "
                "--regions, --crop or --slabs"
            )
        require_memory(3 * largest, f"{source.path}: one sample")

    def __len__(self) -> int:
        return len(self.source) * self.each

    @property
    def thickness(self) -> str:
        """How thick slabs are, in words; maps across several axes are from cubes."""
        grid, axis = _grid(self.source), self._wholes[0].axis
        return f"{grid.lengths[axis] / self._cut.slabs:g} {grid.unit}"

    def _columns(self) -> dict[str, Column]:
        cut, d = self._cut, len(self._size)
        of = "region of the cube" if cut.regions > 1 else "simulation"
        columns = {name: column for name, (column, _) in self.source.beside.items()}
        columns["simulation"] = Column((), "", f"number of the {of} that it is from", dtype="i8")
        columns[ANCESTOR] = ANCESTOR_COLUMN
        if cut.slabs:
            columns["axis"] = Column((), "", "axis of the box across which it is cut", (), "i4")
            columns["slab"] = Column((), "", f"number of the slab, of {cut.slabs}", (), "i4")
        if cut.crop:
            what = "first cell of the crop in the field that it is cut from"
            columns["corner"] = Column((d,), "", what, ("axis",), "i4")
        return columns

    def read(self, start: int, stop: int) -> tuple[Samples, dict[str, npt.NDArray[Any]]]:
        """Return samples ``start`` to ``stop``, entry by entry, and what is beside them."""
        entries, pieces = np.divmod(np.arange(start, stop), self.each)
        wholes, corners = np.divmod(pieces, len(self._corners))
        values = np.empty((stop - start, *self.spec.shape), np.float32)
        ancestors = np.empty(stop - start, np.uint64)
        for row, (i, w, c) in enumerate(zip(entries, wholes, corners)):
            ancestors[row] = self._ancestor(int(i))  # first: it may read all that follows
            values[row] = self._piece(int(i), self._wholes[w], self._corners[c])
        beside = {name: column[entries] for name, (_, column) in self.source.beside.items()}
        if "seconds" in beside:
            beside["seconds"] = beside["seconds"] / self.each  # what it cost is shared
        beside["simulation"] = self.source.simulations[entries]
        beside[ANCESTOR] = ancestors
        if self._cut.slabs:
            beside["axis"] = np.array([w.axis for w in self._wholes])[wholes]
            beside["slab"] = np.array([w.slab for w in self._wholes])[wholes]
        if self._cut.crop:
            beside["corner"] = np.array(self._corners)[corners]
        conditions = {name: column[entries] for name, column in self.source.conditions.items()}
        return Samples(values, conditions), beside

    def _ancestor(self, i: int) -> np.uint64:
        """Return the hash of what entry ``i`` was cut from; else of the first of its simulation."""
        source = self.source
        if source.ancestors is not None:
            return np.uint64(source.ancestors[i])
        number = int(source.simulations[i])
        if number not in self._ancestors:
            first = int(np.argmax(source.simulations == number))
            cells = leading(source.spec.shape), *source.spec.shape[2:]
            values = self._cells(first, tuple(slice(0, n) for n in cells))
            self._ancestors[number] = sample_hashes(values[None])[0]
        return self._ancestors[number]

    def _piece(self, i: int, whole: _Whole, corner: tuple[int, ...]) -> Array:
        if self._cut.smooth:
            if self._smoothed is None or self._smoothed[0] != (i, whole):
                field = self._joined(i, whole, whole.region)
                axes = tuple(range(1, field.ndim))
                field = ndimage.gaussian_filter(field, self._cut.smooth, mode="wrap", axes=axes)
                self._smoothed = (i, whole), field
            crop = (slice(a, a + n) for a, n in zip(corner, self._size))
            return self._smoothed[1][:, *crop]
        kept = iter(zip(corner, self._size))
        region = []
        for axis, (cells, factor) in enumerate(zip(whole.region, whole.factors)):
            first, n = (0, 1) if axis == whole.axis else next(kept)
            begin = cells.start + first * factor
            region.append(slice(begin, begin + n * factor))
        return self._joined(i, whole, tuple(region))

    def _joined(self, i: int, whole: _Whole, region: Region) -> Array:
        """Return the cells of a region, joined as they should be, ``(channels, *cells)``."""
        factors, channels = whole.factors, self.spec.shape[0]
        cells = [(s.stop - s.start) // f for s, f in zip(region, factors)]
        if all(factor == 1 for factor in factors):
            return self._cells(i, region).reshape(channels, *whole.squeezed(cells))
        sums = np.zeros((channels, *cells))
        pairs = [n for pair in zip(cells[1:], factors[1:]) for n in pair]
        inner = tuple(range(3, 2 + len(pairs), 2))
        rows = np.arange(region[0].start, region[0].stop)
        row = 4 * channels * math.prod(s.stop - s.start for s in region[1:])
        for block in np.split(rows, range(step := max(1, JOINED_BYTES // row), len(rows), step)):
            part = self._cells(i, (slice(int(block[0]), int(block[-1]) + 1), *region[1:]))
            part = part.reshape(channels, len(block), *pairs).sum(axis=inner, dtype=np.float64)
            into, first = np.unique((block - rows[0]) // factors[0], return_index=True)
            sums[:, into] += np.add.reduceat(part, first, axis=1)
        sums = sums.reshape(channels, *whole.squeezed(cells))
        if self.source.spec.unit in COUNTS:
            where = f"{self.source.path}: entry {i}"
            return counted(sums, where, "join fewer cells: less --coarsen, more --slabs")
        sums /= math.prod(factors)
        return sums.astype(np.float32)

    def _cells(self, i: int, region: Region) -> Array:
        """Return cells of entry ``i``; what is read around them serves the next pieces."""
        cells = self.source.spec.shape[1:]
        if self._held is None or self._held[0] != i or not _within(region, self._held[1]):
            self._held = None  # first, so that two are never in memory
            rest = tuple(slice(0, n) for n in cells[1:])
            layer = region if self._cut.slabs else (region[0], *rest)
            for around in ((slice(0, cells[0]), *rest), layer, region):
                size = 4 * self.spec.shape[0] * math.prod(s.stop - s.start for s in around)
                if size <= HELD_BYTES:
                    break
            self._held = i, around, self.source.read(i, around)
        _, around, values = self._held
        return values[:, *(slice(s.start - a.start, s.stop - a.start)
                           for s, a in zip(region, around))]  # fmt: skip


def _within(region: Region, around: Region) -> bool:
    return all(a.start <= s.start and s.stop <= a.stop for s, a in zip(region, around))


def _grid(source: Source) -> Grid:
    assert source.spec.grid is not None
    return source.spec.grid


def _wholes(source: Source, cut: Cut) -> list[_Whole]:
    cells = source.spec.shape[1:]
    everything = tuple(slice(0, n) for n in cells)
    factors = (cut.coarsen,) * len(cells)
    _require_divides(source, cut.coarsen, "cells to join", range(len(cells)))
    if not cut.slabs:
        return [_Whole(everything, factors)]
    if len(cells) != 3:
        raise InputError(f"{source.path}: only boxes are cut into slabs, these are {cells} maps")
    axes = [AXES.index(name) for name in cut.axes]
    _require_divides(source, cut.slabs, "slabs", axes)
    wholes = []
    for axis in axes:
        thick = cells[axis] // cut.slabs
        for slab in range(cut.slabs):
            here = slice(slab * thick, (slab + 1) * thick)
            region = (*everything[:axis], here, *everything[axis + 1 :])
            joined = (*factors[:axis], thick, *factors[axis + 1 :])
            wholes.append(_Whole(region, joined, axis, slab))
    return wholes


def _projected(source: Source, wholes: list[_Whole]) -> tuple[Grid, tuple[int, ...]]:
    """Return the grid and the cells of whole fields: of entries, or of maps where there are slabs.

    Maps across several axes have the names of the first two.
    """
    grid, found = _grid(source), []
    for w in wholes:
        cells = w.squeezed([(s.stop - s.start) // f for s, f in zip(w.region, w.factors)])
        found.append((cells, w.squeezed(grid.lengths), w.squeezed(grid.periodic)))
    if len(set(found)) > 1:
        raise InputError(f"{source.path}: maps across its axes differ: choose one of --axes")
    cells, lengths, periodic = found[0]
    one = len({w.axis for w in wholes}) == 1
    axes = wholes[0].squeezed(grid.axes) if one else grid.axes[: len(cells)]
    seen = _seen(source, {w.axis for w in wholes})
    return replace(grid, axes=axes, lengths=lengths, periodic=periodic, components=seen), cells


def _seen(source: Source, across: set[int]) -> tuple[str, ...]:
    """Return what the channels are in maps across these axes: -1 where nothing is projected.

    In a map the component along the line of sight is a scalar.
    """
    grid = _grid(source)
    if len(across) > 1 and {*grid.components} != {"scalar"}:
        raise InputError(
            f"{source.path}: in maps across several axes a component of a vector lies now along, "
            "now across the line of sight: choose one of --axes, or say that there are none, as "
            f"--components {','.join(['scalar'] * len(grid.channels))}"
        )
    lines = [grid.axes[axis] for axis in across if axis >= 0]
    return tuple("scalar" if name in lines else name for name in grid.components)


def _require_divides(source: Source, number: int, what: str, axes: Iterable[int]) -> None:
    cells = source.spec.shape[1:]
    if wrong := [cells[axis] for axis in axes if cells[axis] % number]:
        raise InputError(
            f"{source.path}: {number} {what} do not divide an axis of {wrong[0]} cells"
        )
