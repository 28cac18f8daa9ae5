"""Particles of a lattice, displaced by a linear density contrast: what simulations start from."""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from emulators.data.spec import SampleSpec
from emulators.errors import InputError
from emulators.starts.one_point import OnePoint
from emulators.starts.polynomials import degree
from emulators.starts.spectrum import Spectrum, wave_number

__all__ = ["ParticleStart", "displaced_lattice", "whole_counts"]

SMOOTHED = 0.75  # cells: the displacements' Gaussian filter; beyond, matter has crossed its paths
SLOPE = 1.5  # of the power below the thickness of the slab, as a power of 1 / k
SEEN, CELLS, ROUNDS = 1024, 1 << 27, 3  # most fields, cells, and rounds of the fit
AT_ONCE = 1 << 18  # cells of them displaced at once
CHUNK = 1 << 24  # cells worked on at once


class ParticleStart(nn.Module):
    """Counts of displaced particles, and their Gaussianised logarithm.

    A linear contrast is drawn whose power is fitted so that the displaced particles have that of
    the data on large scales; on small ones they are too smooth, which is left to the network.
    """

    extra = 1  # channels that the network sees beside the field and the noise

    def __init__(self, spec: SampleSpec, particles: int) -> None:
        super().__init__()
        self.particles = particles
        self.linear, self.one_point = Spectrum(spec), OnePoint(1, len(spec.conditions))
        if spec.shape[0] > 1 or max(self.linear.sizes) > 1.001 * min(self.linear.sizes):
            raise InputError(
                "network 'field': particles need one channel and cells as long as wide, not "
                f"{spec.shape[0]} channels and cells of {self.linear.sizes}"
            )

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        c: Tensor,
        simulations: Tensor | None,
        domain: list[int],
        normal: Callable[[Tensor, Tensor], Tensor],
        finished: Callable[[Tensor, Tensor], Tensor],
    ) -> int:
        """Fit spectrum and one-point distribution to ``x``, logarithms of one plus counts.

        ``finished(y, c)`` is the sample that comes of Gaussianised counts ``y`` on the ``domain``.
        Returns the degree of the data's power spectrum, a polynomial of the conditions.
        """
        self.linear.fit(self._contrast(x), c, simulations)
        decided = degree(self.linear.coefficients[0], c.shape[1])
        target, found = copy.deepcopy(self.linear), copy.deepcopy(self.linear)
        smoothed = SMOOTHED * min(self.linear.sizes)
        large = torch.exp(-(smoothed * target.log_k.exp()).square())
        c = _ordered(c, min(SEEN, max(1, CELLS // math.prod(domain))))
        chunk = max(1, AT_ONCE // math.prod(domain))
        for last in (*[False] * ROUNDS, True):
            counts = torch.cat(
                [
                    self.counts(torch.randn(len(some), 2, *domain, device=c.device), some)[1]
                    for some in torch.split(c, chunk)
                ]
            )
            self.one_point.fit(self._logarithm(counts, torch.randn_like(counts)), c)
            if not last:
                y = self.gaussianised(counts, torch.randn_like(counts), c)
                found.fit(self._contrast(finished(y, c)), c, around=target)
                missing = (target.coefficients - found.coefficients).clamp(-1, 1)
                self.linear.coefficients += large * missing
        return decided

    def _contrast(self, x: Tensor) -> Tensor:
        return whole_counts(x) / self.particles - 1

    def _logarithm(self, counts: Tensor, noise: Tensor) -> Tensor:
        """Return the logarithm of one plus counts, each spread over ``[n, n + 1)``."""
        spread: Tensor = torch.special.ndtr(noise)
        return spread.add_(counts).log1p_()

    def forward(self, white: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return Gaussianised counts, and what the network sees: contrast, noise, log counts.

        ``white (n, 1 + noise, *cells)`` is white noise.
        """
        noise = white[:, 1:]
        linear, counts = self.counts(white[:, :2], c)
        start = self.gaussianised(counts, noise[:, :1], c)
        return start, [linear, noise, counts.log1p_()]

    def counts(self, white: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the linear contrast and the counts, each ``(n, 1, *cells)``.

        ``white (n, 2, *cells)`` is white noise: the large scales', and what differs from layer to
        layer of particles.  The mean contrast, of what is larger than the field, multiplies the
        counts.
        """
        linear = self.linear.multiplied(white[:, :1], c)[0]
        apart = self.linear.multiplied(white[:, 1:2], c)[0][:, 0] if self.particles > 1 else None
        counts = displaced_lattice(linear[:, 0], apart, self.particles)[:, None]
        mean = linear.mean(tuple(range(1, linear.ndim)), keepdim=True)
        return linear, counts.mul_((1 + mean).clamp_min(0.1))

    def gaussianised(self, counts: Tensor, noise: Tensor, c: Tensor) -> Tensor:
        """Return normal numbers in the order of the counts; ``noise`` decides among equal ones."""
        normal: Tensor = self.one_point.inverse(self._logarithm(counts, noise), c)
        return normal


def _ordered(c: Tensor, most: int) -> Tensor:
    """Return at most so many conditions ``(n, k)`` of all, in an order of their own.

    Which of them meets which random number then does not depend on the order of the samples.
    """
    rows = torch.from_numpy(np.lexsort(c.T.cpu().numpy()))
    rows = rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).round().long()]
    return c[rows.to(c.device)]


@torch.no_grad()
def whole_counts(x: Tensor) -> Tensor:
    """Return the whole numbers ``n`` of ``x = log(1 + n + u)``, whatever ``u`` from 0 to 1 is.

    In single precision ``x`` itself knows them to a few parts in ten million.
    """
    return x.expm1().add_(1e-3).floor_().clamp_min_(0)  # log(1 + n) itself is rounded


@torch.no_grad()
def displaced_lattice(field: Tensor, apart: Tensor | None = None, layers: int = 1) -> Tensor:
    """Count, cell by cell, the particles of a lattice that a density contrast has displaced.

    They start at the centres of the cells and move as Zel'dovich (1970, A&A 5, 84) says: the
    divergence of the displacement is minus the contrast, smoothed over `SMOOTHED` cells.  Ends
    meet.  Several layers are a slab seen from above: one particle lies behind the other, and waves
    across the slab displace each layer differently.

    Parameters
    ----------
    field
        Shape ``(n, *cells)``, equal cubes.
    apart
        Field of the same shape and power whose waves cross the slab; the layers see it at different
        places.
    layers
        Particles that start in each cell.

    Returns
    -------
    Counts ``(n, *cells)``, ``layers`` in the mean.
    """
    n, *cells = field.shape
    shifts = _displacements(field)
    across = _displacements(apart, layers) if apart is not None else []
    counts = field.new_zeros(n * math.prod(cells))
    axes = tuple(range(1, len(cells) + 1))
    place = [torch.arange(size, device=field.device) for size in (n, *cells)]
    rows = max(1, CHUNK // (n * math.prod(cells[1:])))
    for layer in range(layers):
        moved = shifts
        if across:
            # stretches of one field that are far from each other are as good as several fields
            by = [(2 * a + 1) * layer * size // layers for a, size in enumerate(cells)]
            moved = [s + a.roll(by, axes) for s, a in zip(shifts, across)]
        moves = [s.round().to(torch.int16) for s in moved]
        for first in range(0, cells[0], rows):
            part = slice(first, first + rows)
            target = _along(place[0], 0, len(cells))
            for axis, (size, shift) in enumerate(zip(cells, moves), 1):
                start = place[axis][part] if axis == 1 else place[axis]
                target = target * size + (_along(start, axis, len(cells)) + shift[:, part]) % size
            flat = target.flatten()
            counts.index_add_(0, flat, field.new_ones(()).expand(len(flat)))
    return counts.view_as(field)


def _along(numbers: Tensor, axis: int, cells: int) -> Tensor:
    """Return numbers that belong to one axis of ``(n, *cells)``, ready to broadcast."""
    return numbers.view([-1 if a == axis else 1 for a in range(cells + 1)])


def _displacements(field: Tensor, across: int = 0) -> list[Tensor]:
    """Return the displacement along each axis, in cells; half precision is finer than matters.

    With ``across``, that of the waves that cross a slab so many cells thick: ``field`` has their
    power at ``k``, they have it at ``(k, q)``, where ``q`` counts whole waves across.
    """
    cells = field.shape[1:]
    d = len(cells)
    modes = torch.fft.rfftn(field, dim=tuple(range(1, d + 1)))
    k = wave_number(cells, [1.0] * d, device=field.device)
    k.view(-1)[:1].fill_(math.inf)
    modes *= torch.exp(-(SMOOTHED * k).square() / 2) / k.square()
    if across:
        waves = torch.fft.fftfreq(across)[1:].square() * (2 * math.pi) ** 2
        shares = [
            math.exp(-(SMOOTHED**2) * q) * (1 + q / k.square()) ** -(2 + SLOPE / 2)
            for q in waves.tolist()
        ]
        modes *= sum(shares[1:], shares[0]).sqrt()
    moved = []
    for axis, size in enumerate(cells):
        frequency = torch.fft.rfftfreq if axis == d - 1 else torch.fft.fftfreq
        wave = 2j * math.pi * frequency(size, device=field.device)
        wave = wave.view([-1 if a == axis else 1 for a in range(d)])
        moved.append(torch.fft.irfftn(modes * wave, s=cells, dim=tuple(range(1, d + 1))).half())
    return moved
