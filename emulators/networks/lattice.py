"""A lattice of particles, displaced by a density contrast: what N-body simulations start from."""

import itertools
import math

import torch
from torch import Tensor

from emulators.networks.gaussian import wave_number

__all__ = ["displaced_lattice"]

CHUNK = 1 << 24  # cells worked on at once


@torch.no_grad()
def displaced_lattice(field: Tensor, strength: Tensor) -> Tensor:
    """Count, cell by cell, the particles of a lattice that a density contrast has displaced.

    They start at the centres of the cells and move as Zel'dovich (1970, A&A 5, 84) says: the
    divergence of the displacement is minus the contrast, here ``strength`` times the field,
    smoothed over one cell.  Ends meet.

    Parameters
    ----------
    field
        Shape ``(n, *cells)``, equal cubes.
    strength
        Shape ``(n,)``.

    Returns
    -------
    Counts ``(n, *cells)``, 1 in the mean.
    """
    n, *cells = field.shape
    d, device = len(cells), field.device
    modes = torch.fft.rfftn(field, dim=tuple(range(1, d + 1)))
    k = wave_number(cells, [1.0] * d).to(device)
    k[(0,) * d] = math.inf
    modes *= torch.exp(-k.square() / 2) / k.square() * strength.view(-1, *[1] * d)
    shifts = []
    for axis, size in enumerate(cells):
        frequency = torch.fft.rfftfreq if axis == d - 1 else torch.fft.fftfreq
        wave = 2j * math.pi * frequency(size, device=device)
        wave = wave.view([-1 if a == axis else 1 for a in range(d)])
        moved = torch.fft.irfftn(modes * wave, s=cells, dim=tuple(range(1, d + 1)))
        shifts.append(moved.round_().to(torch.int16))
    counts = field.new_zeros(n, math.prod(cells))
    rows = max(1, CHUNK // math.prod(cells[1:]))
    for sample, first in itertools.product(range(n), range(0, cells[0], rows)):
        part = slice(first, first + rows)
        target = torch.zeros((), dtype=torch.int64, device=device)
        for axis, (size, shift) in enumerate(zip(cells, shifts)):
            start = torch.arange(size, device=device)
            start = (start[part] if axis == 0 else start).view(
                [-1 if a == axis else 1 for a in range(d)]
            )
            target = target * size + (start + shift[sample, part]) % size
        flat = target.flatten()
        counts[sample].index_add_(0, flat, field.new_ones(()).expand(len(flat)))
    return counts.view_as(field)
