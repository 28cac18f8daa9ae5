"""What the shower network holds by construction, and where it starts."""

import numpy as np
import pytest
import torch

from emulators.data.geometries import calochallenge, calogan
from emulators.data.spec import Condition, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.networks import build_networks
from emulators.starts.copula import KNOTS, Copula, _quantiles, knot_weights

ENERGY = Condition("incident_energy", "GeV", 1.0, 100.0, "log")
SMALL = {"width": 32, "depth": 2, "layer_width": 16, "critic_width": 32, "latent": 8}


def spec_of(geometry: ShowerGeometry) -> SampleSpec:
    return SampleSpec("shower", "calogan", (geometry.n_cells,), "MeV", (ENERGY,), geometry)


def reference(geometry, n=2000, leak=0.01, seed=0):
    """Showers as shares of the incident energy: a core that fluctuates, rare cells around it."""
    random = np.random.default_rng(seed)
    cells = geometry.n_cells
    core = np.exp(-np.arange(cells) % 7) * np.exp(0.3 * random.normal(size=(n, 1)))
    x = core * random.gamma(2.0, size=(n, cells)) * (random.random((n, cells)) < 0.4)
    x *= (1 - leak * random.random((n, 1))) / x.sum(1, keepdims=True)
    return torch.from_numpy(x).float(), torch.from_numpy(random.uniform(-1, 1, (n, 1))).float()


@pytest.fixture(scope="module", params=["calogan", "rings"])
def pair(request):
    geometry = calogan() if request.param == "calogan" else calochallenge("1-photons")
    generator, critic = build_networks("shower", SMALL, spec_of(geometry), seed=1)
    x, c = reference(geometry)
    torch.manual_seed(0)
    generator.initialise(x, c)
    critic.initialise(x, c)
    z = torch.randn(len(c), generator.latent)
    with torch.no_grad():
        return generator, critic, x, c, generator(z, c)


def test_energy_is_conserved_and_cells_are_empty(pair):
    _, _, x, _, made = pair
    assert made.shape == x.shape
    assert float(made.min()) == 0
    assert float(made.sum(1).max()) <= 1 + 1e-5
    assert 0.3 < float((made > 0).float().mean()) < 0.5  # 0.4 in the reference
    assert torch.isfinite(made).all()


def test_it_starts_at_the_distribution_of_the_training_samples(pair):
    generator, _, x, _, made = pair
    slices = generator.frame.geometry.slices
    for cells in slices:
        ours, theirs = made[:, cells].sum(1), x[:, cells].sum(1)
        assert float(ours.mean()) == pytest.approx(float(theirs.mean()), rel=0.1, abs=1e-3)
        assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.25, abs=2e-3)


def test_the_critic_sees_pulls(pair):
    _, critic, x, c, _ = pair
    views = critic.views(x, c)
    assert [v.shape[1] for v in views] == sorted(v.shape[1] for v in views)
    assert critic.score(views, c).shape == (len(x), 3)
    for view in views:
        assert abs(float(view.mean())) < 0.2
        assert 0.2 < float(view.std()) < 1.0
    # half a shower is missing: far out in every view
    assert float(critic.views(x / 2, c)[0].abs().max(1).values.median()) > 1.5


def test_more_energy_than_incident_is_possible_where_the_simulation_has_it():
    geometry = calogan()
    generator, _ = build_networks("shower", SMALL, spec_of(geometry), seed=1)
    x, c = reference(geometry)
    torch.manual_seed(0)
    generator.initialise(1.3 * x, c)
    with torch.no_grad():
        total = generator(torch.randn(len(c), generator.latent), c).sum(1)
    assert float(total.mean()) == pytest.approx(1.3 * float(x.sum(1).mean()), rel=0.02)


def test_mirror_images_are_equally_likely():
    geometry = calogan()
    generator, _ = build_networks("shower", {**SMALL, "mirror": ["y"]}, spec_of(geometry), seed=1)
    x, c = reference(geometry, n=500)
    torch.manual_seed(0)
    generator.initialise(x, c)
    z = torch.randn(500, generator.latent)
    turned = z.clone()
    turned[:, -1] *= -1  # the last latent says whether a shower is mirrored
    flip = torch.from_numpy(geometry.mirrored("y"))
    with torch.no_grad():
        assert torch.equal(generator(z, c)[:, flip], generator(turned, c))


def test_copula_has_the_quantiles_and_the_correlation_that_it_was_fitted_to():
    random = np.random.default_rng(0)
    n, position = 40_000, torch.from_numpy(random.uniform(-1, 1, (40_000, 1))).float()
    normal = random.multivariate_normal([0, 0, 0], [[1, 0.8, 0], [0.8, 1, 0], [0, 0, 1]], n)
    shares = np.exp(0.5 * normal)
    shares[:, 2] *= random.random(n) < 0.3  # a cell that is empty in 70 % of the showers
    torch.manual_seed(0)
    start = Copula(3, latent=4)
    start.fit(torch.from_numpy(shares).float(), torch.ones(KNOTS, 3), position)
    with torch.no_grad():
        zero = torch.zeros(n, 3)
        values = start(torch.randn(n, 4), torch.randn(n, 3), zero, zero, position).clamp_min(0)
    expected, found = np.log1p(shares), values.numpy()
    assert np.mean(found[:, 2] == 0) == pytest.approx(0.7, abs=0.01)
    for q in (0.1, 0.5, 0.9, 0.99):
        there, here = np.quantile(expected, q, axis=0), np.quantile(found, q, axis=0)
        np.testing.assert_allclose(here, there, rtol=0.03, atol=0.01)
    assert np.corrcoef(found.T)[0, 1] == pytest.approx(np.corrcoef(expected.T)[0, 1], abs=0.05)
    assert abs(np.corrcoef(found.T)[0, 2]) < 0.03


def test_quantiles_carry_on_below_the_pile_of_zeros():
    values = torch.cat([torch.zeros(900, 1), torch.linspace(0.01, 1, 100)[:, None]])
    table = _quantiles(values)[:, 0]
    assert (table.diff() > 0).all()
    assert (table[:4] < 0).all()  # up to 0.7 standard deviations: below the 90 % of zeros
    assert (table[5:] > 0).all()
    assert (_quantiles(torch.zeros(100, 2)) < 0.5).all()  # never filled: (almost) always empty


def test_weights_are_hats_between_the_knots():
    c = torch.linspace(-1.5, 1.5, 31)[:, None]
    w = knot_weights(c)
    assert w.shape == (31, KNOTS)
    torch.testing.assert_close(w.sum(1), torch.ones(31))
    torch.testing.assert_close(w @ torch.linspace(-1, 1, KNOTS), c[:, 0].clamp(-1, 1))


def test_what_it_needs():
    toy = SampleSpec("image", "native", (2,), "", ())
    with pytest.raises(InputError, match="geometry and an incident energy"):
        build_networks("shower", {}, toy)
    with pytest.raises(InputError, match="must be positive"):
        build_networks("shower", {"width": 0}, spec_of(calogan()))
