"""What the samples of a file are: kind, shape, geometry, units, conditions and their ranges."""

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emulators.config import as_mapping, build
from emulators.errors import InputError

__all__ = [
    "MEV_PER_GEV",
    "Column",
    "Condition",
    "Grid",
    "ReadoutLayer",
    "SampleSpec",
    "Samples",
    "ShowerGeometry",
]


MEV_PER_GEV = 1000.0  # deposits are MeV, incident energies GeV: the only factor between them


@dataclass(frozen=True)
class ReadoutLayer:
    """One readout layer: a grid of cells on two axes, the second one fastest in memory.

    Parameters
    ----------
    name
        The layer's name, e.g. ``layer_0``.
    axes
        ``("x", "y")`` in mm, or ``("alpha", "r")`` in radian and mm.
    edges
        The bin edges along the two axes.
    depth
        Where the layer begins and ends along the shower axis, mm, where known.
    """

    name: str
    axes: tuple[Literal["x", "alpha"], Literal["y", "r"]]
    edges: tuple[tuple[float, ...], tuple[float, ...]]
    depth: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.axes not in (("x", "y"), ("alpha", "r")):
            raise ValueError(f"axes {self.axes} of layer {self.name} are neither x y nor alpha r")
        for axis, edges in zip(self.axes, self.edges, strict=True):
            if len(edges) < 2 or any(not a < b for a, b in itertools.pairwise(edges)):
                raise ValueError(f"edges along {axis} of layer {self.name} do not increase")

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of cells along the two axes."""
        return len(self.edges[0]) - 1, len(self.edges[1]) - 1

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Cartesian centres of the cells across the shower axis, two arrays of `shape`, mm.

        For ``(alpha, r)`` these are ``r cos(alpha)`` and ``r sin(alpha)``, CaloChallenge's eta
        and phi.
        """
        first, second = ((e[1:] + e[:-1]) / 2 for e in map(np.asarray, self.edges))
        a, b = np.meshgrid(first, second, indexing="ij")
        return (a, b) if self.axes == ("x", "y") else (b * np.cos(a), b * np.sin(a))

    def mirrored(self, axis: Literal["x", "y"]) -> npt.NDArray[np.int64]:
        """Return where each cell goes when the layer is mirrored along one axis, flat."""
        cells = np.arange(self.n_cells).reshape(self.shape)
        polar = self.axes == ("alpha", "r")
        index = 0 if polar or axis == "x" else 1
        edges = np.asarray(self.edges[index])
        if not polar:
            symmetric = np.allclose(edges + edges[::-1], edges[0] + edges[-1])
            order = np.arange(len(edges) - 1)[::-1]
        elif len(edges) == 2:
            return cells.ravel()  # a ring is its own mirror image
        else:
            # x = r cos(alpha): mirroring x takes alpha to pi - alpha, mirroring y to -alpha
            centres = (edges[1:] + edges[:-1]) / 2
            images = (np.pi if axis == "x" else 0.0) - centres
            gaps = np.abs(np.exp(1j * images)[:, None] - np.exp(1j * centres)[None])
            order = gaps.argmin(1)
            widths = np.diff(edges)
            symmetric = gaps.min(1).max() < 1e-4 and np.allclose(widths, widths[order])
        if not symmetric:
            raise InputError(f"data or network mirror: {self.name} is not symmetric along {axis}")
        return np.take(cells, order, index).ravel()


@dataclass(frozen=True)
class ShowerGeometry:
    """A calorimeter's readout: layers in depth order; cells are flat, layer after layer."""

    name: str
    layers: tuple[ReadoutLayer, ...]

    @cached_property
    def n_cells(self) -> int:
        """Number of cells of all layers."""
        return sum(layer.n_cells for layer in self.layers)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each layer lies in the flat cell axis."""
        stops = np.cumsum([layer.n_cells for layer in self.layers]).tolist()
        return tuple(
            slice(stop - layer.n_cells, stop)
            for stop, layer in zip(stops, self.layers, strict=True)
        )

    def mirrored(self, axis: Literal["x", "y"]) -> npt.NDArray[np.int64]:
        """Return the cell indices that mirror a shower along one axis: ``values[:, indices]``.

        InputError where a layer is not its own mirror image.
        """
        parts = [
            cells.start + layer.mirrored(axis)
            for layer, cells in zip(self.layers, self.slices, strict=True)
        ]
        return np.concatenate(parts)

    def layer(self, values: Any, index: int) -> Any:
        """Return layer ``index`` of ``values (batch, cells)`` as ``(batch, *layer.shape)``."""
        return values[:, self.slices[index]].reshape(-1, *self.layers[index].shape)


@dataclass(frozen=True)
class Grid:
    """The regular grid that a field or an image is given on: ``(channels, *cells)``.

    Parameters
    ----------
    channels
        What is given in every cell, one name a channel: ``("counts",)``, or photometric bands.
    axes
        Names of the axes, slowest first: ``("x", "y", "z")``, or ``("y", "x")`` of an image.
    lengths
        Extent along each axis.
    unit
        Unit of the lengths, ``Mpc/h`` or ``arcsec``.
    periodic
        Along which axes the field comes round again.
    components
        What each channel is, as far as turning and mirroring go: ``"scalar"``; the name of an axis,
        for the component of a vector along it; ``"Q"`` or ``"U"``, of polarisation or shear along
        the axes of a map.  The first channel of an axis belongs with the first of every other, the
        second with the second, and so do Q and U.  Empty: the file does not say; a single channel
        is then a scalar.
    """

    channels: tuple[str, ...]
    axes: tuple[str, ...]
    lengths: tuple[float, ...]
    unit: str
    periodic: tuple[bool, ...]
    components: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.axes) == len(self.lengths) == len(self.periodic):
            raise ValueError(
                f"{len(self.axes)} axes, {len(self.lengths)} lengths and {len(self.periodic)} "
                "values of periodic: give one each"
            )
        if not all(0 < length < math.inf for length in self.lengths):
            raise ValueError(f"lengths must be positive, got {list(self.lengths)}")
        if not self.components and len(self.channels) == 1:
            object.__setattr__(self, "components", ("scalar",))
        if self.components:
            self._check_components()

    def _check_components(self) -> None:
        given = self.components
        if len(given) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels, but {len(given)} components")
        spin = ("Q", "U") if len(self.axes) == 2 else ()
        if unknown := set(given) - {"scalar", *self.axes, *spin}:
            maps = "" if spin else "; Q and U are of maps"
            raise ValueError(
                f"component '{min(unknown)}' of a channel is not known: give scalar, or one of "
                f"{', '.join((*self.axes, *spin))}{maps}"
            )
        for group in filter(None, (self.axes, spin)):
            numbers = {name: given.count(name) for name in group}
            if len(set(numbers.values())) > 1:
                counted = ", ".join(f"{n} of {name}" for name, n in numbers.items())
                raise ValueError(
                    f"components {', '.join(given)}: {' and '.join(group)} go together, here are "
                    f"{counted}; a component that stands alone cannot be turned"
                )


@dataclass(frozen=True)
class Column:
    """A data set that a file has beside its samples, one entry each: cost, seed, truth.

    Parameters
    ----------
    shape
        Shape of one entry.
    unit
        Its unit, as astropy writes it; empty for a number.
    description
        What it is, in words.
    axes
        Names of the axes of one entry.
    dtype
        Its type in the file.
    """

    shape: tuple[int, ...]
    unit: str
    description: str
    axes: tuple[str, ...] = ()
    dtype: str = "f4"


@dataclass(frozen=True)
class Condition:
    """One quantity that a sample is conditional on, and the range that the file covers.

    ``unit`` is parsed by astropy; ``scale`` says in which sense the range is filled (and is how
    networks see the condition).
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    scale: Literal["linear", "log"] = "linear"


ENERGY = Condition("incident_energy", "GeV", 1.0, 1.0, "log")  # of every shower


@dataclass(frozen=True)
class SampleSpec:
    """What the samples of a file are; all that networks need to be sized.

    Showers have a ``geometry``; fields and images have a ``grid``; points are plain vectors.
    """

    kind: Literal["shower", "field", "image", "point"]
    layout: str
    shape: tuple[int, ...]
    unit: str
    conditions: tuple[Condition, ...]
    geometry: ShowerGeometry | None = None
    particle: str = ""
    grid: Grid | None = None

    def __post_init__(self) -> None:
        names = [c.name for c in self.conditions]
        for name in names:
            if not name.isprintable() or name != name.strip() or not name or "=" in name:
                raise InputError(f"condition {name!r}: a name has no '=' and no blank at its ends")
        if len(set(names)) < len(names):
            raise InputError(f"conditions {', '.join(names)}: give each a name of its own")

    def condition(self, name: str) -> Condition:
        """Return the condition of this name; KeyError where there is none."""
        return {c.name: c for c in self.conditions}[name]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, for an emulator file or an HDF5 attribute."""
        return as_mapping(self)

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> "SampleSpec":
        """Rebuild what `to_mapping` gave; InputError where something is unknown."""
        return build(cls, mapping, "spec")


@dataclass(frozen=True)
class Samples:
    """Samples in physical units, and what each was asked to be.

    For showers: ``values (n, cells)`` float32, MeV; ``conditions["incident_energy"] (n,)`` GeV.
    For fields and images: ``values (n, channels, *cells)`` in the unit of the spec.
    ``simulations (n,)`` is the number of the simulation that each is from, where several are from
    one (slabs of a box): what simulations scatter by, only as many of them can tell.
    """

    values: npt.NDArray[np.float32]
    conditions: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    simulations: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> "Samples":
        """Return these rows (a slice or an index array)."""
        return Samples(
            self.values[rows],
            {name: column[rows] for name, column in self.conditions.items()},
            None if self.simulations is None else self.simulations[rows],
        )
