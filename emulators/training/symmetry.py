"""What reference samples are equally likely to be: mirrored, turned, shifted."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from emulators.data.spec import SampleSpec, ShowerGeometry
from emulators.errors import InputError

__all__ = ["GridSymmetry", "Mirrors", "Symmetry", "symmetry_of"]


class Symmetry(Protocol):
    """A group of maps of samples that do not change how likely they are."""

    def draw(self, n: int, random: torch.Generator) -> Tensor:
        """Draw one map a sample: ``(n, m)`` integers, on the device of ``random``."""

    def __call__(self, values: Tensor, drawn: Tensor) -> Tensor:
        """Return ``values (n, *shape)``, each sample mapped as was drawn for it."""


class Mirrors:
    """A shower mirrored along some axes of the detector.

    Parameters
    ----------
    geometry
        The readout; each layer must be symmetric along the axes.
    axes
        Out of ``"x"`` and ``"y"``.

    Attributes
    ----------
    permutations
        Shape ``(2 ** len(axes), cells)``, int64, the identity first.

    Raises
    ------
    InputError
        There is no geometry, or a layer is not symmetric.
    """

    def __init__(self, geometry: ShowerGeometry | None, axes: Sequence[Literal["x", "y"]]) -> None:
        if geometry is None:
            raise InputError("data.mirror needs showers with a geometry")
        table = np.arange(geometry.n_cells)[None]
        for axis in axes:
            table = np.concatenate([table, table[:, geometry.mirrored(axis)]])
        self.permutations = torch.from_numpy(table)

    def draw(self, n: int, random: torch.Generator) -> Tensor:
        """Draw the number of a permutation a shower, ``(n, 1)``."""
        return torch.randint(len(self.permutations), (n, 1), generator=random, device=random.device)

    def __call__(self, values: Tensor, drawn: Tensor) -> Tensor:
        """Return ``values (n, cells)``, each row permuted as was drawn for it."""
        self.permutations = self.permutations.to(values.device)
        return values.gather(1, self.permutations[drawn[:, 0]])


@dataclass(frozen=True)
class GridSymmetry:
    """A field without a preferred direction: mirrored, its axes exchanged, shifted.

    Axes are exchanged where they are alike (cells, length, periodic or not), and shifted by any
    number of cells where they are periodic: with three axes alike the full group of the cube, of
    48 maps.  Channels follow: a mirror changes the sign of a vector's component along its axis, and
    an exchange of axes exchanges the components along them; a mirror changes the sign of U, and the
    exchange of the axes of a map that of Q.

    Parameters
    ----------
    cells
        Along each axis.
    periodic
        Which axes come round again.
    orders
        The orders of the axes that are allowed, the given one first.
    components
        Of the channels: the number of its axis, ``"scalar"``, ``"Q"`` or ``"U"``.  Empty: not
        known, and then fields are shifted alone.
    """

    cells: tuple[int, ...]
    periodic: tuple[bool, ...]
    orders: tuple[tuple[int, ...], ...]
    components: tuple[int | str, ...]

    @classmethod
    def of(cls, spec: SampleSpec) -> "GridSymmetry":
        """Return the symmetry of the grid of these fields."""
        assert spec.grid is not None
        cells, grid = spec.shape[1:], spec.grid
        if not grid.components:
            return cls(cells, grid.periodic, (tuple(range(len(cells))),), ())
        kinds = list(zip(cells, grid.lengths, grid.periodic, strict=True))
        orders = itertools.permutations(range(len(cells)))
        alike = tuple(o for o in orders if [kinds[axis] for axis in o] == kinds)
        components = tuple(
            grid.axes.index(name) if name in grid.axes else name for name in grid.components
        )
        return cls(cells, grid.periodic, alike, components)

    def draw(self, n: int, random: torch.Generator) -> Tensor:
        """Draw ``(n, 2 d + 1)``: shifts, whether to mirror each axis, the order of the axes."""
        shifts = [size if p else 1 for size, p in zip(self.cells, self.periodic)]
        mirrors = [2 if self.components else 1] * len(self.cells)
        choices = [*shifts, *mirrors, len(self.orders)]
        drawn = torch.rand(n, len(choices), generator=random, device=random.device)
        return (drawn.double() * torch.tensor(choices, device=random.device)).long()

    def __call__(self, values: Tensor, drawn: Tensor) -> Tensor:
        """Return fields ``(n, channels, *cells)``, each mapped as was drawn for it."""
        d, device = len(self.cells), values.device
        sizes = torch.tensor(self.cells, device=device).view(d, *[1] * d)
        inverses = torch.tensor(self.orders, device=device).argsort(1)[drawn[:, -1]]
        steps = [torch.arange(size, device=device) for size in self.cells]
        # where each cell of the mapped field comes from: axis by axis, in the cells of the field
        place = torch.stack(torch.meshgrid(*steps, indexing="ij"))[inverses]
        shift, mirrored = (n.view(len(n), d, *[1] * d) for n in torch.split(drawn[:, :-1], d, 1))
        place = torch.where(mirrored > 0, sizes - 1 - place, place)
        place = (place - shift) % sizes
        flat = place[:, 0]
        for axis in range(1, d):
            flat = flat * self.cells[axis] + place[:, axis]
        index = flat.view(len(values), 1, -1).expand(-1, values.shape[1], -1)
        mapped = values.flatten(2).gather(2, index)
        if {*self.components} - {"scalar"}:
            channel, sign = self._sources(drawn)
            mapped = mapped.gather(1, channel[:, :, None].expand_as(mapped)) * sign[:, :, None]
        return mapped.view_as(values)

    def _sources(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Return which channel each comes from, and its sign, both ``(n, channels)``."""
        d, device = len(self.cells), drawn.device
        signs = 1 - 2 * drawn[:, d : 2 * d]
        orders = torch.tensor(self.orders, device=device)[drawn[:, -1]]
        along = torch.tensor([self._channels(axis) for axis in range(d)], device=device).long()
        channel = torch.arange(len(self.components), device=device).repeat(len(drawn), 1)
        sign = torch.ones_like(channel)
        for axis in range(d):  # of the mapped field; orders[:, axis] is that of the field
            channel[:, along[axis]] = along[orders[:, axis]]
            sign[:, along[axis]] = signs.gather(1, orders[:, axis : axis + 1])
        sign[:, self._channels("U")] = signs.prod(1, keepdim=True)
        exchanged = (orders != torch.arange(d, device=device)).any(1, keepdim=True)
        sign[:, self._channels("Q")] = 1 - 2 * exchanged.long()
        return channel, sign

    def _channels(self, component: int | str) -> list[int]:
        return [i for i, name in enumerate(self.components) if name == component]

    def __len__(self) -> int:
        """Return the order of the group."""
        shifts = math.prod(size for size, p in zip(self.cells, self.periodic) if p)
        mirrors = 2 ** len(self.cells) if self.components else 1
        order: int = shifts * mirrors * len(self.orders)
        return order


def symmetry_of(
    spec: SampleSpec, mirror: Sequence[Literal["x", "y"]], isotropic: bool
) -> Symmetry | None:
    """Return the symmetry that a recipe gives to samples, None where there is none.

    Parameters
    ----------
    spec
        What the samples are.
    mirror
        Axes along which showers are mirrored.
    isotropic
        Whether fields have no preferred direction and place.

    Raises
    ------
    InputError
        The samples do not have that symmetry.
    """
    if mirror:
        return Mirrors(spec.geometry, mirror)
    if not isotropic or spec.kind != "field" or not spec.grid:
        return None
    symmetry = GridSymmetry.of(spec)
    return symmetry if len(symmetry) > 1 else None
