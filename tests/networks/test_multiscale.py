"""Coarse to fine, patch by patch."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from emulators.data.hdf5 import HDF5Writer
from emulators.data.spec import Condition, Grid, Samples, SampleSpec
from emulators.data.transforms import Transform
from emulators.emulator import Emulator
from emulators.errors import InputError
from emulators.loading import load
from emulators.networks import build_networks, multiscale
from emulators.networks.multiscale import fronts
from emulators.training.loop import train
from emulators.training.recipe import recipe_from

NAME = "cosmogan-multiscale"
SMALL = {
    "patch": 4,
    "factors": [2],
    "widths": [4, 8],
    "critic_widths": [4, 8],
    "summary_width": 8,
}
THREE = {**SMALL, "factors": [2, 2]}
SIGMA_8 = Condition("sigma_8", "", 0.6, 1.0)


def spec(*cells, channels=1, conditions=(SIGMA_8,), unit="overdensity"):
    d = len(cells)
    grid = Grid(("c",) * channels, tuple("xyz"[:d]), (100.0,) * d, "Mpc/h", (True,) * d)
    return SampleSpec("field", "native", (channels, *cells), unit, conditions, grid=grid)


def pair(shape, options=SMALL, seed=0):
    """Return networks whose starting values are those of a field with structure at all scales."""
    generator, critic = build_networks(NAME, options, shape, seed)
    x, c = data(shape)
    generator.initialise(x, c)
    critic.initialise(x, c)
    return generator.eval(), critic


def data(shape, n=64, seed=5):
    """Return fields with large blocks, cells in them, a mean of 3, and conditions."""
    numbers = torch.Generator().manual_seed(seed)
    cells = shape.shape[1:]
    blocks = torch.randn(n, shape.shape[0], *(m // 4 for m in cells), generator=numbers)
    for axis in range(2, blocks.ndim):
        blocks = blocks.repeat_interleave(4, axis)
    x = 3 + blocks + 0.2 * torch.randn(n, *shape.shape, generator=numbers)
    return x, torch.rand(n, len(shape.conditions), generator=numbers)


def latent(generator, n=2, seed=3):
    return torch.randn(n, generator.latent, generator=torch.Generator().manual_seed(seed))


def patches_of(generator, z):
    """Split a latent into ``(n, *grid, numbers)``, one a scale."""
    counts = [generator.numbers * math.prod(grid) for grid in generator.grids]
    parts = z.split(counts, 1)
    return [p.view(len(z), *g, generator.numbers) for p, g in zip(parts, generator.grids)]


def means(x, factor):
    pool = {4: torch.nn.functional.avg_pool2d, 5: torch.nn.functional.avg_pool3d}[x.ndim]
    return pool(x, factor)


@pytest.mark.parametrize("grid", [(5,), (3, 4), (2, 3, 4), (1, 1)])
def test_turns_are_a_raster_scan(grid):
    turns = list(fronts(grid))
    order = {place: turn for turn, places in enumerate(turns) for place in places}
    assert sorted(order) == list(itertools.product(*map(range, grid)))
    assert sum(map(len, turns)) == math.prod(grid)
    offsets = list(itertools.product((0, 1), repeat=len(grid)))[1:]
    for place, offset in itertools.product(order, offsets):
        before = tuple(n - o for n, o in zip(place, offset))
        assert order.get(before, -1) < order[place]


CAUSAL = [((24, 32), SMALL), ((32, 48), THREE), ((16, 8, 24), SMALL)]


@pytest.mark.parametrize(("cells", "options"), CAUSAL)
@torch.no_grad()
def test_a_patch_changes_with_earlier_neighbours_and_never_with_later_ones(cells, options):
    generator, _ = pair(spec(*cells), options)
    z, c = latent(generator, 1), torch.full((1, 1), 0.3)
    before = generator(z, c)
    for scale, grid in enumerate(generator.grids):
        for place in {(0,) * len(grid), tuple(n // 2 for n in grid), tuple(n - 1 for n in grid)}:
            changed = z.clone()
            patches_of(generator, changed)[scale][(0, *place)] += 1
            moved = (generator(changed, c) != before)[0, 0]
            # cells of the finest field that lie in this patch or after it along every axis
            sides = [n // g for n, g in zip(cells, grid)]
            later = torch.zeros(cells, dtype=torch.bool)
            later[tuple(slice(p * side, None) for p, side in zip(place, sides))] = True
            assert not moved[~later].any()
            for offset in itertools.product((0, 1), repeat=len(grid)):
                at = [p + o for p, o in zip(place, offset)]
                if all(p < g for p, g in zip(at, grid)):
                    cut = tuple(slice(p * side, (p + 1) * side) for p, side in zip(at, sides))
                    assert moved[cut].float().mean() > 0.5  # some are equal in the last bit


@pytest.mark.parametrize(("cells", "options"), CAUSAL)
@torch.no_grad()
def test_finer_scales_leave_block_means_alone(cells, options):
    generator, _ = pair(spec(*cells), options)
    z, c = latent(generator), torch.rand(2, 1)
    first = generator(z, c)
    for scale in range(1, len(generator.grids)):
        patches_of(generator, z)[scale].normal_()
        again = generator(z, c)
        assert not torch.allclose(again, first)
        block = 2 ** (len(generator.grids) - scale)
        assert torch.allclose(means(again, block), means(first, block), atol=1e-5)
        first = again


@torch.no_grad()
def test_a_larger_box_begins_with_the_smaller_one_if_its_noise_does():
    for small, large in (((16, 16), (32, 24)), ((16, 16, 16), (16, 24, 32))):
        generators = [pair(spec(*cells))[0] for cells in (small, large)]
        generators[1].load_state_dict(generators[0].state_dict())
        zs = [latent(g, seed=i) for i, g in enumerate(generators)]
        for mine, theirs in zip(*(patches_of(g, z) for g, z in zip(generators, zs))):
            theirs[(slice(None), *(slice(n) for n in mine.shape[1:-1]))] = mine
        fields = [g(z, torch.full((2, 1), 0.5)) for g, z in zip(generators, zs)]
        corner = fields[1][(..., *(slice(n) for n in small))]
        assert torch.allclose(corner, fields[0], atol=1e-5)


def test_an_emulator_makes_boxes_of_any_size():
    shape = spec(16, 16)
    generator, _ = pair(shape)
    emulator = Emulator(generator, Transform(shape, []), shape, NAME, SMALL)
    larger = emulator.on_grid((40, 64))
    assert larger.generator.latent == generator.numbers * (5 * 8 + 10 * 16)
    boxes = [e.generate(2, seed=4, sigma_8=0.8).values for e in (emulator, larger)]
    assert boxes[1].shape == (2, 1, 40, 64)
    again = larger.generate(1, seed=4, start=1, sigma_8=0.8).values
    assert np.allclose(again, boxes[1][1:], atol=1e-5)  # half a block: not the last bit
    assert not np.allclose(larger.generate(1, seed=5, sigma_8=0.8).values, boxes[1][:1], atol=0.1)
    # The first numbers of a latent are the first coarsest patch's, whatever the grid; all others
    # belong to other patches, so that a larger box is another realisation.
    means = [b.reshape(2, b.shape[2] // 2, 2, -1, 2).mean((2, 4))[:, :4, :4] for b in boxes]
    assert np.allclose(means[0][0], means[1][0], atol=1e-5)
    assert not np.allclose(means[0][1], means[1][1], atol=1e-2)
    assert not np.allclose(boxes[0][0, 0, :8, :8], boxes[1][0, 0, :8, :8], atol=1e-2)


def test_boxes_with_neighbours_that_were_never_seen_are_refused():
    shape = spec(8, 16)  # one patch along x at the coarsest scale
    generator, _ = pair(shape)
    emulator = Emulator(generator, Transform(shape, []), shape, NAME, SMALL)
    assert emulator.on_grid((8, 64)).generate(1).values.shape == (1, 1, 8, 64)
    with pytest.raises(InputError, match=r"fields of 8 cells along axis 0.*half the patch"):
        emulator.on_grid((16, 16))
    with pytest.raises(InputError, match="12 x 16 cells are not multiples of 8"):
        emulator.on_grid((12, 16))


def test_neighbours_are_mirrored_in_the_face_they_share():
    generator, _ = build_networks(NAME, SMALL, spec(16, 16))
    made = dict(zip([(0, 0), (0, 1), (1, 0)], torch.randn(3, 1, 1, 4, 4)))
    (left,), (above,), (corner,) = generator._neighbours(made, (1, 1), torch.zeros(1, 1))[0]
    assert torch.equal(left, made[1, 0][0, 0].flip(1))
    assert torch.equal(above, made[0, 1][0, 0].flip(0))
    assert torch.equal(corner[0, 0], made[0, 0][0, 0, -1, -1])
    edge = generator._neighbours(made, (0, 1), torch.zeros(1, 1))
    assert torch.equal(edge.count_nonzero((3, 4)), torch.tensor([[[16], [0], [0]]]))


@torch.no_grad()
def test_many_patches_are_worked_on_in_pieces(monkeypatch):
    generator, _ = pair(spec(32, 32))
    z, c = latent(generator, 3), torch.rand(3, 1)
    whole = generator(z, c)
    monkeypatch.setattr(multiscale, "CELLS", 32)
    assert torch.allclose(generator(z, c), whole, atol=1e-5)


@pytest.mark.parametrize(("cells", "options"), [((64, 64), THREE), ((16, 16, 16), SMALL)])
@torch.no_grad()
def test_untrained_fields_have_the_mean_and_widths_of_the_data(cells, options):
    shape = spec(*cells)
    (generator, critic), (x, c) = pair(shape, options), data(shape)
    fake = generator(latent(generator, len(x)), c)
    for real_view, view in zip(critic.views(x, c), critic.views(fake, c)):
        assert real_view.mean().abs() < 0.1
        assert real_view.square().mean().sqrt() == pytest.approx(1, abs=0.1)
        assert view.mean().abs() < 1
        assert 0.3 < view.square().mean().sqrt() < 3


def test_views_are_all_groups_of_two_patches_a_side():
    shape = spec(16, 24, channels=2)
    _, critic = pair(shape)
    x, c = data(shape, 3)
    coarse, fine = critic.views(x, c)
    assert coarse.shape == (3, 1 * 2, 2, 8, 8)
    assert fine.shape == (3, 3 * 5, 2, 8, 8)
    scaled = (x - critic.scales.mean) / critic.scales.width[1]
    for a, b in itertools.product(range(3), range(5)):
        expected = scaled[:, :, 4 * a : 4 * a + 8, 4 * b : 4 * b + 8]
        assert torch.equal(fine[:, 5 * a + b], expected)
    scaled = (means(x, 2) - critic.scales.mean) / critic.scales.width[0]
    assert torch.allclose(coarse[:, 1], scaled[..., 4:])
    # along an axis of one patch a group is that patch
    views = pair(spec(8, 16))[1].views(*data(spec(8, 16), 3))
    assert [v.shape for v in views] == [(3, 1, 1, 4, 8), (3, 3, 1, 8, 8)]


@torch.no_grad()
def test_spectra_of_groups_are_those_of_white_noise_and_waves():
    _, critic = build_networks(NAME, {**SMALL, "patch": 16}, spec(32, 32))
    judge = critic.critics[1]
    white = torch.randn(4000, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    power = judge.log_power(white).exp().mean(0)
    # a power of 1, less what the mean, which is taken away, has through the window
    modes = torch.fft.rfftn(judge.window).abs().square().flatten()
    expected = 1 - modes / 32**2 @ judge.share
    assert expected[0] < 0.95
    assert torch.allclose(power, expected, atol=0.02)
    louder = judge.log_power(3 * white[:50]) - judge.log_power(white[:50])
    assert torch.allclose(louder, torch.tensor(math.log(9)), atol=0.02)
    wave = torch.cos(2 * math.pi * 5 * torch.arange(32) / 32).expand(1, 1, 32, 32)
    assert judge.log_power(wave).argmax() == 4  # shells are one fundamental mode wide, from 1 on


def test_each_head_sees_its_scale_alone():
    shape = spec(32, 32)
    _, critic = pair(shape, THREE)
    x, c = data(shape, 4)
    views = critic.views(x, c)
    scores = critic.score(views, c)
    assert scores.shape == (4, 3)
    for scale in range(3):
        moved = [v + 0.3 * torch.randn_like(v) * (i == scale) for i, v in enumerate(views)]
        assert (critic.score(tuple(moved), c) != scores).any(0).tolist() == [
            i == scale for i in range(3)
        ]


def test_gradients_of_gradients_are_finite_even_of_constant_fields():
    _, critic = pair(spec(16, 16))
    view = [torch.zeros_like(v).requires_grad_() for v in critic.views(*data(spec(16, 16), 2))]
    scores = critic.score(tuple(view), torch.zeros(2, 1))
    gradients = torch.autograd.grad(scores.sum(), view, create_graph=True)
    sum(g.square().sum() for g in gradients).backward()
    assert all(p.grad.isfinite().all() for p in critic.parameters() if p.grad is not None)


@torch.no_grad()
def test_both_work_in_bfloat16():
    shape = spec(16, 16)
    (generator, critic), (x, c) = pair(shape), data(shape, 4)
    z = latent(generator, 4)
    full = generator(z, c), critic(x, c)
    with torch.autocast("cpu", torch.bfloat16):
        low = generator(z, c), critic(x, c)
    for a, b in zip(low, full):
        assert a.dtype == torch.float32
        assert not torch.equal(a, b)
        assert torch.allclose(a, b, atol=0.1 * b.std().item() + 0.05)


@pytest.mark.parametrize("conditions", [(), (SIGMA_8,)])
@pytest.mark.parametrize("cells", [(16,), (8, 16), (8, 8, 16)])
def test_numbers_of_weights_and_latents(cells, conditions):
    generator, critic = build_networks(NAME, SMALL, spec(*cells, conditions=conditions))
    d, k = len(cells), len(conditions)
    taps, constants = 3**d, k + d

    def network(seen, bias):
        first = taps * (seen + 1) * 4 + 4 + taps * (4 + 1) * 8 + 8  # in, with a channel of noise
        blocks = [2 * (taps * w * w + w) + constants * 2 * w for w in (4, 8, 4)]
        return first + sum(blocks) + taps * 8 * 4 + 4 + taps * 4 + bias

    neighbours = 2**d - 1
    expected = network(neighbours, bias=1) + network(neighbours + 1, bias=0)
    assert sum(p.numel() for p in generator.parameters()) == expected
    assert generator.numbers == 4**d + 2**d
    patches = math.prod(n // 8 for n in cells)
    assert generator.latent == generator.numbers * patches * (1 + 2**d)
    # a larger field has more noise and no more weights
    larger = build_networks(NAME, SMALL, spec(*(2 * n for n in cells), conditions=conditions))[0]
    assert {k: v.shape for k, v in larger.state_dict().items()} == {
        k: v.shape for k, v in generator.state_dict().items()
    }
    x = generator(latent(generator), torch.zeros(2, k))
    assert x.shape == (2, 1, *cells)
    assert critic(x, torch.zeros(2, k)).shape == (2, 2)


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        (
            (64, 64),
            {},
            r"64 x 64 cells are not multiples of 256, which is patch = 32 times fac.*2, 4",
        ),
        ((24, 20), SMALL, "24 x 20 cells are not multiples of 8"),
        ((8, 8, 8, 8), SMALL, "1 to 3 dimensions"),
        ((16, 16), {**SMALL, "patch": 6}, "patch = 6 is not a multiple of 4: 2 halvings"),
        ((16, 16), {**SMALL, "factors": [2, 3]}, r"each of factors = \[2, 3\]"),
        ((16, 16), {**SMALL, "factors": [1]}, "factors at least 2"),
        ((16, 16), {**SMALL, "noise": 0}, "must be positive"),
        ((16, 16), {**SMALL, "widths": []}, "at least one level"),
        ((16, 16), {**SMALL, "paches": 8}, "did you mean 'patch'"),
    ],
)
def test_what_does_not_fit_is_refused(cells, options, message):
    shape = SampleSpec("field", "native", (1, *cells), "count", ())
    with pytest.raises(InputError, match=message):
        build_networks(NAME, options, shape)


def test_one_scale_is_a_plain_raster_scan():
    options = {**SMALL, "factors": []}
    generator, critic = build_networks(NAME, options, spec(8, 12))
    x = generator(latent(generator), torch.zeros(2, 1))
    assert x.shape == (2, 1, 8, 12)
    assert critic(x, torch.zeros(2, 1)).shape == (2, 1)


def test_it_trains_as_the_original_with_a_gradient_penalty(tmp_path):
    shape, n = spec(16, 16, unit="count"), 40
    fields, conditions = data(shape, n)
    counts = fields.exp().round().numpy()
    with HDF5Writer(tmp_path / "toy.h5", shape, n) as writer:
        writer.append(Samples(counts, {"sigma_8": 0.6 + 0.4 * conditions[:, 0].numpy()}))
    recipe = recipe_from(
        {
            "data": {"path": str(tmp_path / "toy.h5"), "validation": 0.2, "test": 0.1},
            "network": {"name": NAME, **SMALL},
            "game": {"objective": "wasserstein", "gradient_penalty": 10.0},
            "optimiser": {"warm_up": 0},
            "training": {
                "samples": 80,
                "batch_size": 8,
                "precision": "float32",
                "device": "cpu",
                "log_samples": 8,
            },
            "monitor": {"every": 80, "previews": False},
        }
    )

    def measure(generated, reference, spec):
        return {"far": float(abs(generated.values.mean() - reference.values.mean()))}

    path = train(recipe, tmp_path / "run", measure=measure)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    penalties = [row["gradient_penalty"] for row in rows if "gradient_penalty" in row]
    assert len(penalties) == 10
    assert 0 < min(penalties) < max(penalties)
    emulator = load(path)
    values = emulator.generate(3, seed=1).values
    assert np.array_equal(values, np.floor(values))
    assert values.min() >= 0
    assert emulator.on_grid((32, 24)).generate(1).values.shape == (1, 1, 32, 24)
