"""What samples are equally likely to be."""

import itertools
from dataclasses import replace

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


def boxes(cells, periodic=True, lengths=None, components=("scalar", "scalar"), axes="xyz"):
    """Return the spec of fields on these cells, of two scalars or of these channels."""
    d = len(cells)
    lengths = tuple(map(float, cells)) if lengths is None else lengths
    names = tuple(f"channel_{i}" for i in range(len(components)))
    grid = Grid(names, tuple(axes[:d]), lengths, "Mpc/h", (periodic,) * d, components)
    return SampleSpec("field", "native", (len(names), *cells), "", (), grid=grid)


def elements(symmetry):
    """Return every mirror image and exchange of axes, shifted by as many cells as it is."""
    d, orders = len(symmetry.cells), range(len(symmetry.orders))
    kinds = itertools.product(*[(0, 1)] * d, orders)
    shifts = [[i * p for p in symmetry.periodic] for i in range(2**d * len(orders))]
    return torch.tensor([[*s, *k] for s, k in zip(shifts, kinds)])


def every(symmetry, field):
    """Return a field ``(channels, *cells)`` mapped by each of `elements`."""
    drawn = elements(symmetry)
    return symmetry(torch.as_tensor(field).expand(len(drawn), *field.shape), drawn).numpy()


def slope(field, axis):
    """Return the central difference along an axis counted from the end, on the circle."""
    return (np.roll(field, -1, axis) - np.roll(field, 1, axis)) / 2


def curvature(field, axis):
    return np.roll(field, -1, axis) + np.roll(field, 1, axis) - 2 * field


def whole_numbers(*shape):
    """Return fields whose differences are exact."""
    return np.random.default_rng(0).integers(-99, 99, shape).astype("f4")


CASES = [("xy", "xy"), ("yx", "xy"), ("yx", "yx"), ("xyz", "xyz"), ("xyz", "zxy"), ("zyx", "xyz")]


@pytest.mark.parametrize(("axes", "order"), CASES)
def test_a_gradient_stays_the_gradient_of_what_is_mapped(axes, order):
    """For every element of the group, to the last bit; so it stays free of curl."""
    d = len(axes)
    cells = (6,) * d
    potential = whole_numbers(1, *cells)
    field = np.stack([slope(potential[0], axes.index(name) - d) for name in order])
    symmetry = GridSymmetry.of(boxes(cells, components=tuple(order), axes=axes))
    mapped = every(symmetry, field)
    assert len(mapped) == {2: 8, 3: 48}[d]
    potentials = every(GridSymmetry.of(boxes(cells, components=("scalar",))), potential)[:, 0]
    for channel, name in enumerate(order):
        np.testing.assert_array_equal(mapped[:, channel], slope(potentials, axes.index(name) - d))
    along = {name: mapped[:, channel] for channel, name in enumerate(order)}
    for a, b in itertools.combinations(axes, 2):
        curl = slope(along[b], axes.index(a) - d) - slope(along[a], axes.index(b) - d)
        assert not curl.any()
        assert slope(along[b], axes.index(a) - d).any()


@pytest.mark.parametrize("d", [2, 3])
def test_the_divergence_of_what_is_mapped_is_the_divergence_mapped(d):
    """Of a vector field that is no gradient, with a scalar and a second vector beside it."""
    axes, cells = "xyz"[:d], (4,) * d
    components = ("scalar", *axes, *reversed(axes))
    field = whole_numbers(len(components), *cells)
    mapped = every(GridSymmetry.of(boxes(cells, components=components)), field)
    first = list(range(1, d + 1)), list(range(2 * d, d, -1))
    scalars = [field[0]]
    scalars += [sum(slope(field[c], i - d) for i, c in enumerate(of)) for of in first]
    after = [mapped[:, 0]]
    after += [sum(slope(mapped[:, c], i - d) for i, c in enumerate(of)) for of in first]
    expected = every(
        GridSymmetry.of(boxes(cells, components=("scalar",) * 3)), np.stack(scalars).astype("f4")
    )
    np.testing.assert_array_equal(np.stack(after, 1), expected)


def spin_two(potential):
    """Return Q and U of an E mode: ``xx - yy`` and ``2 xy`` of a potential."""
    q = curvature(potential, -2) - curvature(potential, -1)
    return np.stack([q, 2 * slope(slope(potential, -2), -1)], -3)


def modes(q, u):
    """Return the E and the B map of Q and U."""
    second, cross = lambda f: curvature(f, -2) - curvature(f, -1), lambda f: slope(slope(f, -2), -1)
    return second(q) + 2 * cross(u), 2 * cross(q) - second(u)


@pytest.mark.parametrize("axes", ["xy", "yx"])
def test_e_stays_e_and_b_stays_b(axes):
    """E is a scalar: it is mapped as one.  B is one but for mirrors, which turn its sign."""
    cells, potential = (6, 6), whole_numbers(1, 6, 6)
    q, u = spin_two(potential[0])
    symmetry = GridSymmetry.of(boxes(cells, components=("Q", "U"), axes=axes))
    scalar = GridSymmetry.of(boxes(cells, components=("scalar",)))
    mapped = every(symmetry, np.stack([q, u]))
    np.testing.assert_array_equal(mapped, spin_two(every(scalar, potential)[:, 0]))
    e, b = modes(mapped[:, 0], mapped[:, 1])
    assert not b.any()
    np.testing.assert_array_equal(e, every(scalar, modes(q, u)[0][None])[:, 0])
    mapped = every(symmetry, np.stack([-u, q]))  # all E has become B
    e, b = modes(mapped[:, 0], mapped[:, 1])
    assert not e.any()
    drawn = elements(symmetry)
    exchanged = np.array([symmetry.orders[i] != (0, 1) for i in drawn[:, -1]])
    handed = (-1.0) ** (drawn[:, 2:4].sum(1).numpy() + exchanged)
    expected = handed[:, None, None] * every(scalar, modes(-u, q)[1][None])[:, 0]
    np.testing.assert_array_equal(b, expected)


def test_a_quarter_turn_turns_polarisation_by_two_quarters():
    symmetry = GridSymmetry.of(boxes((3, 3), periodic=False, components=("Q", "U", "x", "y")))
    field = whole_numbers(4, 3, 3)
    turns = [m for m in every(symmetry, field) if np.array_equal(m[0], -np.rot90(field[0]))]
    (turned,) = turns
    np.testing.assert_array_equal(turned[1], -np.rot90(field[1]))
    # from x to y: the new x is minus the old y
    assert np.array_equal(turned[2], -np.rot90(field[3]))
    assert np.array_equal(turned[3], np.rot90(field[2]))


@pytest.mark.parametrize(
    ("d", "components"),
    [(2, ("x", "y")), (2, ("Q", "U", "scalar")), (2, ("y", "Q", "U", "x")), (3, ("z", "x", "y"))],
)
def test_one_after_another_is_a_map_again(d, components):
    symmetry = GridSymmetry.of(boxes((3,) * d, periodic=False, components=components))
    images = every(symmetry, whole_numbers(len(components), *(3,) * d))
    known = {image.tobytes() for image in images}
    assert len(known) == len(images) == len(symmetry) == {2: 8, 3: 48}[d]
    for image in images:
        assert {again.tobytes() for again in every(symmetry, image)} == known


def test_channels_that_do_not_say_what_they_are_are_only_shifted():
    spec = boxes((4, 4))
    silent = replace(spec, grid=replace(spec.grid, components=()))
    symmetry = symmetry_of(silent, (), isotropic=True)
    assert len(symmetry) == 16
    values = torch.arange(32.0).view(1, 2, 4, 4).expand(500, -1, -1, -1)
    mapped = symmetry(values, symmetry.draw(500, torch.Generator().manual_seed(0)))
    shifts = {values[0].roll((i, j), (1, 2)).numpy().tobytes() for i, j in np.ndindex(4, 4)}
    assert {image.numpy().tobytes() for image in mapped} == shifts
    alone = replace(silent, grid=replace(silent.grid, periodic=(False, False)))
    assert symmetry_of(alone, (), isotropic=True) is None
    single = boxes((4, 4), components=("scalar",))
    one = replace(single, grid=replace(single.grid, components=()))
    assert symmetry_of(one, (), True) == symmetry_of(single, (), True) is not None


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
