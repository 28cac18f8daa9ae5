"""The displaced lattice that `field` may see."""

import math

import pytest
import torch

from emulators.networks import lattice
from emulators.networks.lattice import displaced_lattice


@pytest.mark.parametrize("cells", [(32,), (16, 32), (8, 12, 16)])
def test_a_lattice_that_is_not_displaced_has_one_particle_a_cell(cells):
    field = torch.randn(2, *cells, generator=torch.Generator().manual_seed(0))
    assert (displaced_lattice(field, torch.zeros(2)) == 1).all()
    counts = displaced_lattice(4 * field, torch.tensor([0.5, 2.0]))
    assert (counts.flatten(1).sum(1) == math.prod(cells)).all()
    assert counts.var() > 0.1


def test_a_plane_wave_displaces_a_lattice_as_zeldovich_says():
    n, amplitude = 128, 0.6
    k = 2 * math.pi * 2 / n
    x = torch.arange(n, dtype=torch.float32)
    wave = (k * x).cos().view(1, n, 1).expand(1, n, 8)
    counts = displaced_lattice(wave.contiguous(), torch.tensor([amplitude]))
    # contrast a cos(kx), so displacement -(a / k) sin(kx), which has the divergence -a cos(kx)
    moved = -amplitude * math.exp(-(k**2) / 2) / k * (k * x).sin()
    expected = torch.bincount(((x + moved).round().long()) % n, minlength=n).float()
    torch.testing.assert_close(counts, expected.view(1, n, 1).expand(1, n, 8).contiguous())
    assert counts[0, 0, 0] > 1  # particles gather at the crest


def test_a_large_lattice_is_displaced_in_pieces(monkeypatch):
    field = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = displaced_lattice(field, torch.ones(2))
    monkeypatch.setattr(lattice, "CHUNK", 3 * 64)
    assert torch.equal(displaced_lattice(field, torch.ones(2)), whole)
