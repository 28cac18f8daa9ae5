"""The default pair for density fields."""

import copy
import dataclasses
import itertools
import math

import pytest
import torch

from emulators.data.spec import Condition, Grid, SampleSpec
from emulators.data.transforms import Transform
from emulators.errors import InputError
from emulators.networks import build_networks, field, summaries
from emulators.networks.field import Field, FieldGenerator
from emulators.starts.lattice import displaced_lattice, whole_counts
from emulators.starts.one_point import OnePoint
from emulators.starts.polynomials import features, log_mean
from emulators.starts.spectrum import Spectrum

SMALL = {"widths": [4, 8], "critic_widths": [4, 8], "fine": 4}


def spec_of(*cells, periodic=True, conditions=2):
    d = len(cells)
    grid = Grid(
        ("counts",), tuple("xyz"[:d]), tuple(2.0 * n for n in cells), "Mpc/h", (periodic,) * d
    )
    named = tuple(Condition(f"p{i}", "", 0.0, 1.0) for i in range(conditions))
    return SampleSpec("field", "native", (1, *cells), "count", named, grid=grid)


def lognormal(spec, n, seed=0):
    """Return logarithms of smooth lognormal fields whose width follows the first condition."""
    numbers = torch.Generator().manual_seed(seed)
    c = torch.rand(n, len(spec.conditions), generator=numbers) * 2 - 1
    spectrum = Spectrum(spec)
    spectrum.coefficients[:, 0] = -1.5 * spectrum.log_k
    y = spectrum(torch.randn(n, *spec.shape, generator=numbers), c)
    width = 0.5 + 0.1 * c[:, 0].view(n, *[1] * (y.ndim - 1))
    return width * y, c


@torch.no_grad()
def trained(spec, options=SMALL, seed=0, samples=100, calibrated=False):
    """Return a generator with a fitted start and a network that adds something."""
    generator, _ = build_networks("field", options, spec, seed)
    x, c = lognormal(spec, samples)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator.initialise(x, c)
        for parameter in generator.parameters():
            parameter.mul_(1.35)
        if calibrated:
            generator.calibrate(x, c)
    return generator.eval(), x, c


def latents(generator, n, seed=1):
    return torch.randn(n, generator.latent, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("particles", [0, 2])
@pytest.mark.parametrize("cells", [(32, 48), (16, 16, 24)])
@torch.no_grad()
def test_tiles_have_no_seams(cells, particles, monkeypatch):
    generator, _, c = trained(spec_of(*cells), {**SMALL, "widths": [4], "particles": particles})
    z = latents(generator, 2)
    whole = generator(z, c[:2])
    assert len(generator.tiles()) == 1
    monkeypatch.setattr(field, "TILE", math.prod(cells) // 6)
    tiles = generator.tiles()
    assert len(tiles) >= 6
    covered = torch.zeros(cells)
    for tile in tiles:
        covered[tuple(slice(*ends) for ends, _ in tile)] += 1
    assert torch.equal(covered, torch.ones(cells))
    torch.testing.assert_close(generator(z, c[:2]), whole, rtol=0, atol=1e-5)


@torch.no_grad()
def test_nothing_reaches_further_than_said():
    generator, _, c = trained(spec_of(256, 8))
    noise = latents(generator, 1).view(1, 2, 256, 8)
    changed = noise.clone()
    changed[:, 1, 128] += 3  # of the white noise beside the Gaussian field, which is not coloured
    first, second = (generator(z.view(1, -1), c[:1]) for z in (noise, changed))
    touched = (first != second).any(3).flatten().nonzero()
    assert touched.min() < 128 < touched.max()  # it does act on its neighbours
    assert (touched - 128).abs().max() <= generator.reach


@pytest.mark.parametrize("particles", [0, 2])
@torch.no_grad()
def test_a_periodic_field_shifts_with_its_noise(particles):
    generator, _, c = trained(spec_of(32, 32), {**SMALL, "particles": particles})
    z = latents(generator, 1).view(1, 2, 32, 32)
    shifted = generator(z.roll((8, 4), (2, 3)).view(1, -1), c[:1])  # whole cells of every level
    torch.testing.assert_close(
        shifted, generator(z.view(1, -1), c[:1]).roll((8, 4), (2, 3)), rtol=0, atol=1e-5
    )


@torch.no_grad()
def test_the_ends_of_a_piece_do_not_touch():
    """The network is periodic; a field that is not is cut out of a larger one."""
    spec = spec_of(32, 32, periodic=False)
    generator, _, c = trained(spec)
    assert generator.domain == [48, 48]
    assert generator(latents(generator, 2), c[:2]).shape == (2, 1, 32, 32)


@torch.no_grad()
def test_the_start_has_the_distribution_and_the_spectrum_of_the_data():
    spec = spec_of(32, 32)
    generator, _ = build_networks("field", SMALL, spec, 0)
    x, c = lognormal(spec, 400)
    generator.initialise(x, c)
    for parameter in generator.parameters():
        parameter.zero_()  # nothing but the start
    made = generator(latents(generator, 400), c)
    assert made.std() == pytest.approx(x.std().item(), rel=0.03)
    for sample in (made, x):  # the width follows the condition
        widths = sample.flatten(1).std(1)
        assert torch.corrcoef(torch.stack([widths, c[:, 0]]))[0, 1] > 0.3
    found, expected = Spectrum(spec), Spectrum(spec)
    found.fit(made, c)
    expected.fit(x, c)
    difference = (found.coefficients - expected.coefficients)[0, 0]
    assert difference.abs().max() < 0.25  # of the logarithm of the power


@torch.no_grad()
def test_calibration_removes_what_is_left_over():
    spec = spec_of(32, 32)
    options = {**SMALL, "calibration": 1024}
    raw, x, c = trained(spec, options, samples=1000)
    after = trained(spec, options, samples=1000, calibrated=True)[0]
    expected, dense = Spectrum(spec), x.exp().mean()
    expected.fit(x.exp(), c)

    def square(fields):
        return (fields.exp() - dense).square().flatten(2).mean(2)

    errors, shares, squares = [], [], []
    for generator in (raw, after):
        made = generator(latents(generator, len(c), seed=5), c)
        excess = log_mean(square(made), c) - log_mean(square(x), c)
        squares.append((features(c).double() @ excess).abs().mean().item())
        found = Spectrum(spec)
        found.fit(made.exp(), c)
        errors.append((found.coefficients - expected.coefficients)[0, 0].abs().median().item())
        levels = torch.quantile(x.flatten(), torch.tensor([0.05, 0.5, 0.95, 0.999]))
        shares.append(torch.tensor([(made > level).float().mean() for level in levels]))
    assert squares[1] < 0.05 < squares[0]  # of the logarithm of the power
    assert errors[0] > 0.3  # the untrained network does change the spectrum
    assert errors[1] < 0.1
    torch.testing.assert_close(shares[1], torch.tensor([0.95, 0.5, 0.05, 0.001]), rtol=0.3, atol=0)


def test_corrections_act_in_a_training_that_goes_on_from_them():
    spec = spec_of(32, 32)
    before, _, c = trained(spec, {**SMALL, "calibration": 64}, calibrated=True)
    after, _ = build_networks("field", SMALL, spec, 1)
    assert not after.corrections.fitted
    after.load_state_dict(before.state_dict())
    assert after.corrections.fitted
    z = latents(before, 3).requires_grad_()
    expected, made = before(z, c[:3]), after.train()(z, c[:3])
    torch.testing.assert_close(made, expected)
    weight = after.last.layer.weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(made.sum(), weight)
    with torch.no_grad():
        weight += 1e-3 * direction
        moved = after(z, c[:3]).double().sum() - made.double().sum()
    assert moved.item() == pytest.approx(1e-3 * (slope * direction).sum().item(), rel=0.05)


def test_a_state_says_whether_corrections_act():
    before, _, _ = trained(spec_of(16, 16))
    state = before.state_dict()
    assert state["calibrated"].dtype == torch.bool
    assert not state["calibrated"]
    after, _ = build_networks("field", SMALL, spec_of(16, 16), 1)
    after.load_state_dict({**state, "calibrated": torch.tensor(True)})
    assert copy.deepcopy(after).state_dict()["calibrated"]
    del state["calibrated"]
    with pytest.raises(RuntimeError, match=r"Missing key.*calibrated"):
        after.load_state_dict(state)


@pytest.mark.parametrize("samples", [7, 100])
def test_corrections_are_fitted_to_as_many_fields_as_asked_for(samples, monkeypatch):
    seen = []
    fit = OnePoint.fit
    monkeypatch.setattr(
        OnePoint, "fit", lambda m, x, *rest: (seen.append(len(x)), fit(m, x, *rest))[1]
    )
    trained(spec_of(16, 16), {**SMALL, "calibration": 64}, samples=samples, calibrated=True)
    assert seen[-1] == 64


def test_the_critic_of_particles_sees_whole_counts():
    spec = spec_of(32, 32)
    options = {**SMALL, "particles": 2, "whole": True}
    _, critic = build_networks("field", options, spec, 0)
    n = torch.arange(1024.0).view(1, 1, 32, 32)
    c = torch.zeros(1, len(spec.conditions))
    transform = Transform(spec, [{"name": "dequantise"}, {"name": "log", "scale": 1.0}])
    jitter = transform.jitter * torch.linspace(-0.99, 0.99, 1024).view_as(n).flip(2, 3)
    x = transform(n + jitter, c).requires_grad_()
    seen = critic.views(x, c)[0]
    torch.testing.assert_close(seen.detach().expm1(), transform.inverse(x.detach(), c))
    torch.testing.assert_close(seen, n.log1p())
    (seen * n).sum().backward()
    torch.testing.assert_close(x.grad, n)  # as if nothing were rounded
    _, critic = build_networks("field", SMALL, spec, 0)
    assert torch.equal(critic.views(x, c)[0], x)


@pytest.mark.parametrize("cells", [(6, 8), (4, 6, 8)])
def test_the_critic_of_particles_counts_peaks(cells):
    counts = torch.randint(0, 9, (3, 2, *cells), generator=torch.Generator().manual_seed(0)).float()
    d = len(cells)
    steps = [s for s in itertools.product((-1, 0, 1), repeat=d) if any(s)]
    axes = tuple(range(2, 2 + d))
    expected = torch.stack([counts > counts.roll(s, axes) for s in steps]).all(0)
    assert expected.sum() > 3
    heights = counts.requires_grad_()
    found = summaries._peaks(6 * heights, 3.0)
    torch.testing.assert_close(found, expected.float())
    found[expected].sum().backward()
    assert (heights.grad[expected] >= 0).all()
    assert heights.grad[expected].max() > 0.1


@torch.no_grad()
def test_the_critic_of_particles_is_told_of_low_peaks():
    spec = spec_of(64, 64, conditions=1)
    counts, c = counts_of(spec, 200, 4)
    _, critic = build_networks("field", {**SMALL, "particles": 4, "whole": True}, spec, 0)
    x = counts.log1p()
    critic.initialise(x, c)
    measured = critic.summaries._measured(x)
    thresholds = len(critic.summaries.lower)
    first = 2 * critic.summaries.share.shape[1] + thresholds  # after spectra and cells
    peaks = measured[:, first : first + thresholds].exp() * 64 * 64 - 0.5
    axes = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    is_peak = torch.stack([counts > counts.roll(s, (2, 3)) for s in axes]).all(0)
    levels = critic.summaries.threshold[0, 0].expm1()
    for i in (thresholds // 2 - 1, thresholds // 2 + 2):
        beyond = counts < levels[i] if i < thresholds // 2 else counts > levels[i]
        at = (counts - levels[i]).abs() < 0.5  # half of these are told to be beyond
        expected = (is_peak & beyond & ~at).sum((1, 2, 3)) + 0.5 * (is_peak & at).sum((1, 2, 3))
        assert expected.mean() > 1
        assert (peaks[:, i] - expected).abs().mean() < 0.3 * expected.mean()
    assert critic.summaries(x, c).std(0).mean() == pytest.approx(1, abs=0.1)


@torch.no_grad()
def counts_of(spec, n, particles):
    """Return counts of particles that a smooth contrast, stronger at larger ``c``, displaces."""
    numbers = torch.Generator().manual_seed(0)
    c = torch.rand(n, 1, generator=numbers) * 2 - 1
    spectrum = Spectrum(spec)
    spectrum.coefficients[:, 0] = -1.5 * spectrum.log_k
    field = spectrum(torch.randn(n, *spec.shape, generator=numbers), c)[:, 0] * (
        0.8 + 0.4 * c
    ).view(n, 1, 1)
    return displaced_lattice(field, None, particles)[:, None], c


@torch.no_grad()
def test_displaced_particles_have_the_spectrum_and_the_distribution_of_the_counts():
    spec = spec_of(64, 64, conditions=1)
    counts, c = counts_of(spec, 200, 2)
    options = {"widths": [4], "critic_widths": [4], "fine": 0, "particles": 2}
    generator, _ = build_networks("field", options, spec, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator.initialise((counts + torch.rand_like(counts)).log1p(), c)
    for parameter in generator.parameters():
        parameter.zero_()  # nothing but the start
    made = whole_counts(generator(latents(generator, 200), c))
    assert made.mean((1, 2, 3)).std() < 0.05 * 2  # the lattice's mean does not vary
    for level in range(4):
        share = (counts <= level).float().mean().item()
        assert (made <= level).float().mean().item() == pytest.approx(share, abs=0.02)
    found, expected = Spectrum(spec), Spectrum(spec)
    found.fit(made / 2 - 1, c)
    expected.fit(counts / 2 - 1, c)
    large = expected.log_k.exp() < 0.5  # per Mpc/h; cells of 2 Mpc/h
    at = torch.tensor([[1.0, c, c**2, c**3] for c in (-0.5, 0.0, 0.5)])
    before, after = ((at @ s.coefficients[0])[:, large][:, 1:] for s in (expected, found))
    assert (after - before).abs().mean() < 0.1  # of the logarithm of the power
    assert (before[2] - before[0]).mean() > 0.5  # which does follow the condition


def test_no_weight_depends_on_the_number_of_cells():
    small, large = (
        FieldGenerator(Field(widths=(4, 8)), spec_of(*cells)) for cells in ((16, 16), (64, 32))
    )
    large.load_state_dict(small.state_dict())


def test_fields_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"multiples of 4 cells.*\[18, 16\]"):
        build_networks("field", SMALL, spec_of(18, 16))
    with pytest.raises(InputError, match="critic need multiples of 16"):
        build_networks("field", {"widths": [4], "critic_widths": [2, 2, 2, 2]}, spec_of(8, 8))
    with pytest.raises(InputError, match="1 to 3 dimensions"):
        build_networks("field", SMALL, SampleSpec("point", "native", (2,), "", ()))
    with pytest.raises(InputError, match="whole = true is for counts"):
        build_networks("field", {**SMALL, "whole": True}, spec_of(16, 16))
    with pytest.raises(InputError, match="particles = -1"):
        build_networks("field", {**SMALL, "particles": -1}, spec_of(16, 16))
    two = dataclasses.replace(spec_of(16, 16), shape=(2, 16, 16))
    with pytest.raises(InputError, match=r"one channel.*not 2 channels"):
        build_networks("field", {**SMALL, "particles": 1}, two)
    grid = dataclasses.replace(spec_of(16, 16).grid, lengths=(32.0, 64.0))
    long = dataclasses.replace(spec_of(16, 16), grid=grid)
    with pytest.raises(InputError, match="as long as wide"):
        build_networks("field", {**SMALL, "particles": 1}, long)
    with pytest.raises(InputError, match="at least one level"):
        build_networks("field", {"widths": []}, spec_of(16, 16))
