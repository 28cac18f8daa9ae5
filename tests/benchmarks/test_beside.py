"""The untrained start and the baselines: they have what they should, and nothing else."""

import numpy as np
import pytest
import torch

from emulators import load
from emulators.benchmarks.beside import independent_cells, lognormal_fields, others
from emulators.benchmarks.pair import load_pair
from emulators.data.convert import convert
from emulators.data.dataset import Dataset
from emulators.data.transforms import Transform, condition_tensor
from emulators.emulator import Emulator
from emulators.networks import build_networks
from emulators.observables.spectra import power_spectra


@pytest.fixture(scope="module")
def showers(write_showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    files = (write_showers(folder / f"{i}.h5", 600, seed=i) for i in (1, 2))
    return load_pair(*files, None, 0)


@pytest.fixture(scope="module")
def fields(field_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    files = (convert(field_file, folder / f"{r[0]}.h5", rows=r) for r in ("0:48", "48:96"))
    return load_pair(*files, None, 0)


def test_independent_cells_have_each_distribution_and_no_correlation(showers):
    values, rows = independent_cells(showers, 0)
    reference = showers.reference.values
    np.testing.assert_allclose(values.mean(0), reference.mean(0), rtol=0.3, atol=20)
    np.testing.assert_array_equal(rows, np.arange(600))
    # cells of a layer share its energy: one that has more leaves less to the others
    shares = [v[:, 288:432] / showers.energies[0][:, None] for v in (values, reference)]
    first, second = (np.corrcoef(s.T)[np.triu_indices(144, 1)].mean() for s in shares)
    assert abs(first) < 0.001 < -second


def test_lognormal_fields_have_mean_and_power_of_the_reference(fields):
    values, _ = lognormal_fields(fields, 0)
    reference = fields.reference.values
    assert values.shape == reference.shape
    assert values.mean() == pytest.approx(reference.mean(), rel=0.05)
    assert (values == values.round()).all()  # counts
    power = [power_spectra(v[:, 0], (32.0, 32.0)).power.mean(0) for v in (values, reference)]
    np.testing.assert_allclose(power[0], power[1], rtol=0.25)
    assert not np.array_equal(values, reference)


def test_what_is_no_density_gets_gaussian_fields(fields):
    from emulators.benchmarks.beside import _lognormal

    rng = np.random.default_rng(0)
    like = rng.standard_normal((40, 16, 16)) - 5
    made = _lognormal(like, (32.0, 32.0), rng, "K")
    assert made.mean() == pytest.approx(-5, abs=0.02)
    assert made.std() == pytest.approx(1, abs=0.05)


def test_a_start_is_what_was_fitted_and_adds_nothing(field_emulator_file):
    trained = load(field_emulator_file)
    start = trained.untrained()
    assert all(not p.any() for p in start.generator.parameters())
    values = start.generate(8, seed=1).values
    np.testing.assert_array_equal(values, trained.untrained().generate(8, seed=1).values)
    assert np.abs(values - trained.generate(8, seed=1).values).max() > 0
    assert values.min() >= 0


def test_the_start_of_showers_is_the_fitted_copula(shower_file, tmp_path):
    """Factors are trained too: those that were fitted are held by the emulator's file."""
    data = Dataset(shower_file)
    samples = data.take(np.arange(len(data)))
    options = {"width": 8, "depth": 1, "layer_width": 8, "latent": 2, "layer_latent": 2,
               "critic_width": 8}  # fmt: skip
    generator, _ = build_networks("shower", options, data.spec, seed=1)
    transform = Transform(data.spec, [{"name": "incident_share"}])
    physical = condition_tensor(data.spec, samples.conditions, len(samples))
    x = transform.forward(torch.from_numpy(samples.values), physical)
    emulator = Emulator(generator, transform, data.spec, "shower", options)
    assert emulator.untrained() is None  # nothing was fitted
    generator.initialise(x, transform.scale(physical))
    fitted = emulator.untrained()
    with torch.no_grad():  # a training
        for weights in generator.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    emulator.save(tmp_path / "e.pt")
    start = load(tmp_path / "e.pt").untrained()
    assert start.name.endswith("untrained")
    values = start.generate(16, seed=1, incident_energy=10.0).values
    np.testing.assert_array_equal(values, fitted.generate(16, seed=1, incident_energy=10.0).values)
    factors = fitted.generator.cell_start.factors.weight
    assert factors.detach().abs().max() > 0


def test_start_and_baseline_stand_beside_the_emulator(fields, field_emulator_file, tmp_path):
    pairs = dict(others(fields, load(field_emulator_file), tmp_path, 0))
    assert list(pairs) == ["untrained start", "lognormal fields"]
    start, baseline = pairs.values()
    np.testing.assert_array_equal(start.conditions["generated"], fields.conditions["generated"])
    np.testing.assert_array_equal(baseline.conditions["generated"], fields.conditions["reference"])
    assert baseline.independent == 12
    for pair in pairs.values():
        assert pair.generated.values.shape == fields.reference.values.shape


def test_a_network_without_a_start_has_only_a_baseline(showers, emulator_file, tmp_path):
    assert load(emulator_file).untrained() is None
    assert [n for n, _ in others(showers, load(emulator_file), tmp_path, 0)] == [
        "independent cells"
    ]
