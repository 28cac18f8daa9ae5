"""The particles that `field` may start from."""

import math

import pytest
import torch

from emulators.starts import lattice
from emulators.starts.lattice import SMOOTHED, displaced_lattice


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cells", [(32,), (16, 32), (8, 12, 16)])
def test_particles_that_are_not_displaced_lie_on_a_lattice(cells):
    field = noise(2, *cells)
    assert (displaced_lattice(0 * field, 0 * field, 3) == 3).all()
    counts = displaced_lattice(4 * field, field, 3)
    assert (counts.flatten(1).sum(1) == 3 * math.prod(cells)).all()
    assert counts.var() > 0.1


def test_a_plane_wave_displaces_a_lattice_as_zeldovich_says():
    n, amplitude = 128, 0.6
    k = 2 * math.pi * 2 / n
    x = torch.arange(n, dtype=torch.float32)
    wave = amplitude * (k * x).cos().view(1, n, 1).expand(1, n, 8)
    counts = displaced_lattice(wave.contiguous())
    # contrast a cos(kx), so displacement -(a / k) sin(kx), which has the divergence -a cos(kx)
    moved = -amplitude * math.exp(-((SMOOTHED * k) ** 2) / 2) / k * (k * x).sin()
    expected = torch.bincount(((x + moved).round().long()) % n, minlength=n).float()
    torch.testing.assert_close(counts, expected.view(1, n, 1).expand(1, n, 8).contiguous())
    assert counts[0, 0, 0] > 1  # particles gather at the crest


def test_layers_move_together_on_large_scales_and_apart_on_small_ones():
    """Waves much longer than a slab is thick do not cross it."""
    x = torch.arange(256, dtype=torch.float32)
    still, together = torch.zeros(1, 256, 256), displaced_lattice(torch.zeros(1, 256, 256), None, 8)
    for cells, moves in ((128, False), (8, True)):
        wave = 2 * (2 * math.pi * x / cells).cos().view(1, 256, 1).expand(1, 256, 256)
        counts = displaced_lattice(still, wave.contiguous(), 8)
        assert (counts != together).any() == moves


def test_a_large_lattice_is_displaced_in_pieces(monkeypatch):
    field = noise(2, 16, 8, 8)
    whole = displaced_lattice(field, field, 2)
    monkeypatch.setattr(lattice, "CHUNK", 3 * 64)
    assert torch.equal(displaced_lattice(field, field, 2), whole)
