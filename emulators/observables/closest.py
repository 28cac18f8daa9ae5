"""The closest pairs of samples, for copies: of those that were trained on, and of each other.

Fields are compared by the correlation of their large-scale modes, each shell with the same power,
so that neither amplitude nor cosmology counts: the largest over all periodic shifts, and over all
mirror images and turns by right angles that the grid has.  Showers are compared cell by cell.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

__all__ = ["Closest", "aligned", "closest", "closest_rows", "large_scales"]

Array = npt.NDArray[np.float64]
REACH = {2: 8, 3: 4}  # modes along each axis, from -reach to reach
SIDE = {2: 32, 3: 16}  # cells of the coarse grid that shows them at half of its Nyquist
POINTS = 1 << 18  # of correlation functions at once


def large_scales(fields: npt.NDArray[Any], taper: Sequence[bool]) -> npt.NDArray[np.float32]:
    """Return the large scales of each field on a coarse grid, whitened, of norm 1.

    Parameters
    ----------
    fields
        Shape ``(n, *cells)``.
    taper
        Along which axes the ends do not meet.

    Returns
    -------
    Shape ``(n, 32, 32)`` or ``(n, 16, 16, 16)``; on smaller grids all scales but Nyquist's.
    """
    cells = fields.shape[1:]
    d = len(cells)
    side, axes = SIDE[d], tuple(range(1, d + 1))
    reach = [min(REACH[d], (n - 1) // 2) for n in cells]
    numbers = [np.arange(-r, r + 1) for r in reach[:-1]] + [np.arange(reach[-1] + 1)]
    places, targets = (
        np.ix_(*(m % n for m, n in zip(numbers, sizes))) for sizes in (cells, [side] * d)
    )
    shell = np.rint(np.sqrt(sum(m.astype(float) ** 2 for m in np.ix_(*numbers)))).astype(int)
    kept = (shell > 0) & (shell <= max(reach))
    weight = np.where(numbers[-1] > 0, 2.0, 1.0) * kept
    count = np.bincount(shell.ravel(), weight.ravel())
    lines = [
        np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 if t else np.ones(n)
        for n, t in zip(cells, taper)
    ]
    window = functools.reduce(np.multiply.outer, lines).astype(np.float32)
    rows = np.empty((len(fields), *[side] * d), np.float32)
    for i, field in enumerate(fields):
        values = field.astype(np.float64)  # squares of any unit fit
        low = fft.rfftn((values - values.mean()) * window)[places]
        power = np.bincount(shell.ravel(), (weight * np.abs(low) ** 2).ravel())
        level = np.sqrt(power / np.maximum(count, 1))[shell]
        grid = np.zeros((*[side] * (d - 1), side // 2 + 1), np.complex64)
        grid[targets] = np.where(kept & (level > 0), low / np.where(level > 0, level, 1), 0)
        rows[i] = fft.irfftn(grid, [side] * d)
    norms = np.sqrt((rows**2).sum(axes, keepdims=True))
    return np.asarray(rows / np.where(norms > 0, norms, 1))


@dataclass(frozen=True)
class Closest:
    """The closest pairs.

    Parameters
    ----------
    correlations
        Of each field with the one it is closest to, shape ``(n,)``.
    partners
        Which one that is.
    """

    correlations: Array
    partners: npt.NDArray[np.int64]


def closest(
    fields: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    apart: npt.NDArray[np.bool_] | None = None,
    symmetric: bool = True,
) -> Closest:
    """Find for each field the most alike of the others.

    Parameters
    ----------
    fields, others
        As `large_scales` gives them.
    apart
        Pairs that count, ``(fields, others)``; by default all.
    symmetric
        Whether the axes may be exchanged, as where all sides are alike.
    """
    axes = tuple(range(1, fields.ndim))
    modes = fft.rfftn(others, axes=axes).conj()
    best = np.full((len(fields), len(others)), -np.inf)
    step = max(1, POINTS // fields[0].size)
    for image in _images(fields, symmetric):
        for i, own in enumerate(fft.rfftn(image, axes=axes)):
            for start in range(0, len(others), step):
                part = slice(start, start + step)
                found = fft.irfftn(own * modes[part], fields.shape[1:], axes=axes)
                best[i, part] = np.maximum(best[i, part], found.max(axes))
    if apart is not None:
        best[~apart] = -np.inf
    return Closest(best.max(1), best.argmax(1))


def closest_rows(
    rows: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    apart: npt.NDArray[np.bool_],
    images: Sequence[npt.NDArray[np.int64]] = (),
) -> Closest:
    """Find for each row of norm 1 the most alike of the others, as they are or mirrored.

    Parameters
    ----------
    rows, others
        Shapes ``(n, cells)`` and ``(m, cells)``.
    apart
        Pairs that count, ``(n, m)``.
    images
        Orders of the cells that mirror a row.
    """
    best = rows @ others.T
    for image in images:
        np.maximum(best, rows[:, image] @ others.T, out=best)
    best[~apart] = -np.inf
    return Closest(best.max(1).astype(np.float64), best.argmax(1))


def aligned(field: npt.NDArray[Any], other: npt.NDArray[Any], symmetric: bool) -> npt.NDArray[Any]:
    """Turn, mirror and shift a field ``(*cells)`` to where it correlates most with another."""
    field, other = field.astype(np.float64), other.astype(np.float64)  # squares of any unit fit
    modes = fft.rfftn(other - other.mean()).conj()
    best, found = -np.inf, field
    for image in _images(field[None], symmetric):
        correlation = fft.irfftn(fft.rfftn(image[0] - image.mean()) * modes, other.shape)
        if (highest := float(correlation.max())) > best:
            shift = np.unravel_index(int(correlation.argmax()), other.shape)
            best, found = highest, np.roll(image[0], [-int(s) for s in shift], range(other.ndim))
    return found


def _images(fields: npt.NDArray[np.float32], symmetric: bool) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the fields turned and mirrored in every way that maps the grid onto itself."""
    d = fields.ndim - 1
    orders = itertools.permutations(range(1, d + 1)) if symmetric else [tuple(range(1, d + 1))]
    for order in orders:
        turned = fields.transpose(0, *order)
        for n in range(d + 1):
            for mirrored in itertools.combinations(range(1, d + 1), n):
                yield np.flip(turned, mirrored)
