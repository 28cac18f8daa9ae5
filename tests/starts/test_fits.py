"""What is fitted before training: equal data give equal starts, whatever computes them.

A processor may round otherwise, give singular vectors other signs, or rotate them where singular
values are equal; sums may be taken in another order.  All that is done here on purpose.
"""

import functools
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from emulators.data.spec import Condition, Grid, SampleSpec
from emulators.networks import Generator, build_networks
from emulators.starts.copula import KNOTS, Copula
from emulators.starts.one_point import OnePoint
from emulators.starts.polynomials import averaged, decided, degree, features, log_mean
from emulators.starts.spectrum import Spectrum
from tests.networks.test_contract import CASES, batch, entry

SAME = 1e-4


@pytest.fixture
def other_vectors(monkeypatch):
    """Decompositions with other signs, and rotated where values are equal to 1e-9."""

    def turned(values: Tensor, *vectors: Tensor) -> None:
        numbers = np.random.default_rng(len(values))
        scale = float(values.abs().max())
        first = 0
        for last in range(1, len(values) + 1):
            if last < len(values) and abs(float(values[last] - values[last - 1])) < 1e-9 * scale:
                continue
            block = numbers.standard_normal((last - first, last - first))
            rotation = torch.from_numpy(np.linalg.qr(block)[0]).to(vectors[0])
            for v in vectors:
                v[:, first:last] = v[:, first:last] @ rotation
            first = last

    eigh, svd = torch.linalg.eigh, torch.linalg.svd

    def other_eigh(a):
        values, vectors = eigh(a)
        turned(values, vectors)
        return values, vectors

    def other_svd(a, full_matrices=True):
        left, values, right = svd(a, full_matrices=full_matrices)
        right = right.mT.contiguous()
        turned(values, left, right)
        return left, values, right.mT

    monkeypatch.setattr(torch.linalg, "eigh", other_eigh)
    monkeypatch.setattr(torch.linalg, "svd", other_svd)


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name, values in first.items():
        scale = max(1.0, float(values.abs().max()))
        assert (values - second[name]).abs().max() < SAME * scale, name


NAMES = [
    "shower",
    "field",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("field/particles", "field/3-D")),
]


def start(name: str, x: Tensor, c: Tensor) -> dict[str, Tensor]:
    """Return all that a generator fits to samples."""
    options, spec = CASES[name]
    generator, _ = build_networks(entry(name).name, options, spec, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        generator.initialise(x, c)
    # the copies of factors are rounded to bfloat16, which no tolerance is for
    return {k: v.double() for k, v in generator.state_dict().items() if not k.endswith(".fitted")}


@pytest.fixture(scope="module")
def starts() -> Callable[[str], dict[str, Tensor]]:
    return functools.cache(lambda name: start(name, *batch(name, 512)))


@pytest.mark.parametrize("name", NAMES)
def test_rows_in_another_order(name, starts):
    x, c = batch(name, 512)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    assert_same(starts(name), start(name, x[order], c[order]))


@pytest.mark.parametrize("name", NAMES)
def test_data_that_are_rounded_otherwise(name, starts):
    x, c = batch(name, 512)
    numbers = torch.Generator().manual_seed(2)
    noise = 1 + 1e-7 * torch.randn(x.shape, generator=numbers, dtype=torch.float64)
    shifted = c + 1e-7 * torch.randn(c.shape, generator=numbers)
    assert_same(starts(name), start(name, (x * noise).float(), shifted))


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_threads(name, starts):
    before = torch.get_num_threads()
    torch.set_num_threads(3 if before != 3 else 2)
    try:
        assert_same(starts(name), start(name, *batch(name, 512)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("other_vectors")
def test_singular_vectors_with_other_signs(name, starts):
    assert_same(starts(name), start(name, *batch(name, 512)))


def rings(n: int, cells: int = 6) -> Tensor:
    """Return shares of cells in a ring, each ring with all its turns: variances come in pairs."""
    numbers = torch.Generator().manual_seed(3)
    normal = torch.randn(n, cells, generator=numbers, dtype=torch.float64)
    smooth = normal + 0.8 * normal.roll(1, 1) + 0.3 * normal.roll(2, 1)
    return torch.cat([smooth.exp().roll(k, 1) for k in range(cells)])


@pytest.mark.parametrize("latent", [2, 3, 4, 5, 8])
def test_equal_variances_are_not_told_apart_by_rounding(latent, request):
    """Wherever the cut falls: of a pair of equal variances both directions are kept, or none."""
    values = rings(100)
    unit, position = torch.ones(KNOTS, values.shape[1]), torch.linspace(-1, 1, len(values))[:, None]

    def fitted(rows: Tensor) -> dict[str, Tensor]:
        copula = Copula(values.shape[1], latent)
        # every knot sees all turns of its rings
        copula.fit(values[rows], unit, position.view(6, -1)[0].repeat(6)[rows, None])
        return {k: v.double() for k, v in copula.state_dict().items()}

    every = torch.arange(len(values))
    first = fitted(every)
    request.getfixturevalue("other_vectors")
    assert_same(first, fitted(every.flip(0)))
    assert first["factors.weight"].abs().max() > 0.3


def test_factors_have_the_correlations_of_the_data():
    """One common factor of known loadings, and nothing else: it is found, and its sign is fixed."""
    numbers = torch.Generator().manual_seed(4)
    n, loadings = 20_000, torch.tensor([0.9, 0.7, -0.6, 0.0])
    common = torch.randn(n, 1, generator=numbers)
    rest = torch.randn(n, 4, generator=numbers) * (1 - loadings.square()).sqrt()
    values = (common * loadings + rest).exp().double()
    copula = Copula(4, 1)
    position = torch.rand(n, 1, generator=numbers) * 2 - 1
    copula.fit(values, torch.ones(KNOTS, 4), position)
    weights = copula.factors.weight.view(4, KNOTS)
    weights = weights * weights[0].sign()
    # log(1 + v) is not a normal number, but a monotonous function of one
    assert (weights.mean(1) - loadings).abs().max() < 0.05
    assert (weights - weights.mean(1, keepdim=True)).abs().max() < 0.1


def simulated(simulations: int, slabs: int, seed: int, scatter: float) -> tuple[Tensor, ...]:
    """Return numbers whose logarithm is linear in two conditions, and scatters by simulation."""
    numbers = torch.Generator().manual_seed(seed)
    c = 2 * torch.rand(simulations, 2, generator=numbers, dtype=torch.float64) - 1
    mean = 1 + 0.5 * c[:, :1] - 0.8 * c[:, 1:]
    box = mean + scatter * torch.randn(simulations, 30, generator=numbers, dtype=torch.float64)
    slab = box.repeat_interleave(slabs, 0)
    slab = slab + 0.05 * torch.randn(slab.shape, generator=numbers, dtype=torch.float64)
    which = torch.arange(simulations).repeat_interleave(slabs)
    return slab.exp(), c.repeat_interleave(slabs, 0), which, c, mean


def test_the_degree_is_decided_by_simulations_not_by_their_slabs():
    """960 slabs of 20 boxes: a cubic would fit the scatter of the boxes."""
    errors = {}
    for seed in range(5):
        values, c, which, _, _ = simulated(20, 48, seed, 0.3)
        grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 9, dtype=torch.float64)] * 2)
        mean = 1 + 0.5 * grid[:, :1] - 0.8 * grid[:, 1:]
        for name, numbers in {"simulations": which, "slabs": None}.items():
            beta = log_mean(values, c, numbers)
            wrong = (features(grid) @ beta - mean).square().mean().sqrt()
            errors[name, seed] = degree(beta, 2), float(wrong)
    by_box, by_slab = ([errors[name, s] for s in range(5)] for name in ("simulations", "slabs"))
    assert all(d <= 1 for d, _ in by_box)
    assert all(d == 3 for d, _ in by_slab)
    assert np.mean([e for _, e in by_box]) < 0.6 * np.mean([e for _, e in by_slab])


def test_simulations_left_out_are_left_out_whole():
    """The error that is compared is what leaving out each simulation by itself gives."""
    values, c, _, _, _ = simulated(12, 1, 7, 0.2)
    target, rows = values.log().repeat_interleave(2, 0), c.repeat_interleave(2, 0)
    rows[1::2] += 0.1  # two snapshots of each
    which = torch.arange(12).repeat_interleave(2)
    errors = []
    for terms in (1, 3, 6):
        a = features(rows)[:, :terms]
        rest = [
            target[which == k]
            - a[which == k] @ torch.linalg.lstsq(a[which != k], target[which != k]).solution
            for k in range(12)
        ]
        errors.append(float(torch.cat(rest).square().mean(0).log().mean()))
    # the law is linear: the quadratic is not better by so much that it is taken
    assert errors[1] < errors[0] - 0.1
    assert errors[2] > errors[1] - 0.1
    assert decided(target, rows, which) == 3


def test_a_mean_of_heavy_tails_is_the_mean():
    """Of the power of one mode, and beside a value a thousand times the mean."""
    numbers = torch.Generator().manual_seed(8)
    values = torch.randn(4000, 1, generator=numbers, dtype=torch.float64).square()
    values[0] = 1000
    c = torch.linspace(-1, 1, 4000, dtype=torch.float64)[:, None]
    constant = log_mean(values, torch.zeros_like(c))
    assert constant[0].exp().item() == pytest.approx(values.mean().item(), rel=1e-6)
    growing = log_mean(values * (2 * c).exp(), c)
    mean = (features(c) @ growing).exp() / (2 * c).exp()
    # what makes the gradient of the likelihood vanish
    assert (values / mean).mean().item() == pytest.approx(1, rel=1e-6)


def test_equal_conditions_decide_a_constant_and_two_of_them_a_line():
    numbers = torch.Generator().manual_seed(5)
    c = torch.zeros(40, 1, dtype=torch.float64)
    target = torch.randn(40, 20, generator=numbers, dtype=torch.float64)
    assert decided(target, c + 1e-9 * target[:, :1], torch.arange(40)) == 1
    c[20:] = 1
    assert decided(target + 5 * c, c, torch.arange(40)) == 2


def test_samples_of_a_simulation_are_averaged_at_each_condition():
    rows = torch.tensor([[1.0], [3.0], [10.0], [5.0]])
    c = torch.tensor([[0.0], [0.0], [1.0], [0.0]])
    means, at, which = averaged(rows, c, torch.tensor([4, 4, 4, 9]))
    order = torch.argsort(means[:, 0])
    assert means[order, 0].tolist() == [2, 5, 10]
    assert at[order, 0].tolist() == [0, 0, 1]
    assert which[order].tolist() == [4, 9, 4]


@pytest.mark.parametrize("kind", [OnePoint, Spectrum])
def test_field_fits_take_simulations(kind):
    """Maps of five boxes whose brightness scatters: no slope can be told, though of 200 maps."""
    grid = Grid(("counts",), ("x", "y"), (16.0, 16.0), "Mpc/h", (True, True))
    conditions = (Condition("omega_m", "", 0.1, 0.5),)
    spec = SampleSpec("field", "native", (1, 16, 16), "count", conditions, grid=grid)
    numbers = torch.Generator().manual_seed(6)
    boxes = 5
    which = torch.arange(boxes).repeat_interleave(40)
    c = torch.linspace(-1, 1, boxes).repeat_interleave(40)[:, None]
    amplitude = torch.tensor([1.5, 0.7, 1.4, 0.8, 1.3]).repeat_interleave(40).view(-1, 1, 1, 1)
    x = amplitude * torch.randn(len(c), 1, 16, 16, generator=numbers)
    fits = []
    for simulations in (which, None):
        fit = kind(1, 1) if kind is OnePoint else kind(spec)
        fit.fit(x, c, simulations)
        fits.append(degree(fit.coefficients[0], 1))
    assert fits[0] == 0
    assert fits[1] > 1


def test_the_generator_says_what_was_decided():
    x, c = batch("field", 512)
    options, spec = CASES["field"]
    generator, _ = build_networks("field", options, spec, 1)
    words = generator.initialise(x, c, torch.arange(512) // 4)
    assert words.startswith("128 simulations decide polynomials of the conditions of degree ")
    assert Generator.initialise(generator, x, c) == ""


def test_degrees():
    for conditions, d in itertools.product((1, 2), (0, 1, 2, 3)):
        terms = features(torch.zeros(1, conditions)).shape[1]
        beta = torch.zeros(terms, 3)
        beta[: {0: 1, 1: 1 + conditions, 2: [3, 6][conditions - 1], 3: terms}[d]] = 1
        assert degree(beta, conditions) == d
