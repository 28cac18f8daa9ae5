"""What samples are equally likely to be."""

import numpy as np
import pytest
import torch

from emulators.data.geometries import calochallenge, calogan
from emulators.data.spec import Grid, ReadoutLayer, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.training.symmetry import GridSymmetry, Mirrors, symmetry_of


def test_mirrors_of_a_grid_reverse_its_axes():
    geometry = calogan()
    mirrors = Mirrors(geometry, ("x", "y"))
    values = torch.arange(1.0, 505.0).expand(4, -1)
    flipped = mirrors(values, torch.arange(4)[:, None])
    for index, axes in enumerate([(), (0,), (1,), (0, 1)]):
        for k in range(3):
            expected = np.flip(geometry.layer(values.numpy(), k)[0], axes)
            assert np.array_equal(geometry.layer(flipped.numpy(), k)[index], expected)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_mirrors_of_rings_move_the_centres(axis):
    geometry = calochallenge("1-pions")
    table = Mirrors(geometry, (axis,)).permutations
    x, y = (np.concatenate([layer.centres[k].ravel() for layer in geometry.layers]) for k in (0, 1))
    sign = np.array([-1, 1] if axis == "x" else [1, -1])
    rings = np.concatenate([np.full(la.n_cells, la.shape[0] > 1) for la in geometry.layers])
    assert rings.any()
    assert np.allclose(x[table[1]][rings], sign[0] * x[rings], atol=1e-4)
    assert np.allclose(y[table[1]][rings], sign[1] * y[rings], atol=1e-4)
    assert torch.equal(table[1][table[1]], table[0])


def test_mirror_of_an_asymmetric_layer_is_refused():
    layer = ReadoutLayer("layer_0", ("x", "y"), ((0, 1, 3), (0, 1, 2)))
    geometry = ShowerGeometry("lopsided", (layer,))
    assert len(Mirrors(geometry, ("y",)).permutations) == 2
    with pytest.raises(InputError, match="layer_0 is not symmetric along x"):
        Mirrors(geometry, ("x",))
    with pytest.raises(InputError, match="geometry"):
        Mirrors(None, ("x",))


def boxes(cells, periodic=True, lengths=None):
    """Return the spec of fields of two channels on these cells."""
    d = len(cells)
    lengths = tuple(map(float, cells)) if lengths is None else lengths
    grid = Grid(("a", "b"), tuple("xyz"[:d]), lengths, "Mpc/h", (periodic,) * d)
    return SampleSpec("field", "native", (2, *cells), "", (), grid=grid)


def test_a_cube_has_48_maps_and_all_of_them_are_drawn():
    symmetry = GridSymmetry.of(boxes((2, 2, 2), periodic=False))
    assert len(symmetry) == 48
    values = torch.arange(16.0).view(1, 2, 2, 2, 2).expand(2000, -1, -1, -1, -1)
    mapped = symmetry(values, symmetry.draw(2000, torch.Generator().manual_seed(0)))
    assert len(mapped.unique(dim=0)) == 48
    assert torch.equal(mapped[:, 1] - mapped[:, 0], torch.full_like(mapped[:, 0], 8.0))
    assert torch.equal(mapped.flatten(1).sort(1).values, values.flatten(1))


def test_a_map_keeps_all_distances():
    # two cells, marked: their periodic distance is what every map must keep
    symmetry = GridSymmetry.of(boxes((6, 6)))
    values = torch.zeros(500, 2, 6, 6)
    values[:, :, 1, 2], values[:, :, 5, 3] = 1.0, 2.0
    mapped = symmetry(values, symmetry.draw(500, torch.Generator().manual_seed(1)))[:, 0]
    first, second = ((mapped == mark).nonzero()[:, 1:] for mark in (1, 2))
    apart = (first - second).abs()
    apart = torch.minimum(apart, 6 - apart).sort(1).values
    assert torch.equal(apart, torch.tensor([[1, 2]]).expand(500, -1))
    assert len(first.unique(dim=0)) == 36


def test_axes_that_differ_are_not_exchanged():
    assert len(GridSymmetry.of(boxes((4, 6), periodic=False))) == 4
    assert len(GridSymmetry.of(boxes((4, 4), periodic=False, lengths=(1.0, 2.0)))) == 4
    assert len(GridSymmetry.of(boxes((4, 4)))) == 16 * 8


def test_who_has_which_symmetry():
    assert symmetry_of(boxes((4, 4)), (), isotropic=False) is None
    assert isinstance(symmetry_of(boxes((4, 4)), (), isotropic=True), GridSymmetry)
    with pytest.raises(InputError, match="geometry"):
        symmetry_of(boxes((4, 4)), ("x",), isotropic=True)
