"""Spectra and one-point distributions of `field`: what is fitted comes back."""

import math

import pytest
import torch

from emulators.data.spec import Condition, Grid, SampleSpec
from emulators.starts import spectrum as spectra
from emulators.starts.one_point import OnePoint, evaluated
from emulators.starts.spectrum import Spectrum, hermitian, shells, taper, wave_number

CELLS = (32, 32)


def spec_of(cells=CELLS, periodic=True, conditions=1, length=2.0):
    """Return the spec of fields of cells of 2 Mpc/h."""
    d = len(cells)
    grid = Grid(("a",), tuple("xyz"[:d]), tuple(length * n for n in cells), "", (periodic,) * d)
    named = tuple(Condition(f"p{i}", "", 0.0, 1.0) for i in range(conditions))
    return SampleSpec("field", "native", (1, *cells), "", named, grid=grid)


def numbers(seed):
    return torch.Generator().manual_seed(seed)


def power_law(white, c, length=2.0):
    """Colour white noise by ``k^(-1.5 + c / 2)``, to a variance of 1."""
    cells, dims = white.shape[2:], tuple(range(2, white.ndim))
    k = wave_number(cells, [length] * len(cells)).clamp_min(0.05)
    power = k ** (-1.5 + 0.5 * c[:, :, *[None] * len(cells)])
    variance = (power * hermitian(cells)).sum(tuple(range(2, power.ndim)), keepdim=True)
    amplitude = (power / variance * math.prod(cells)).sqrt()
    return torch.fft.irfftn(torch.fft.rfftn(white, dim=dims) * amplitude, s=cells, dim=dims)


def test_a_spectrum_that_follows_a_condition_is_found():
    c = torch.rand(600, 1, generator=numbers(0)) * 2 - 1
    white = torch.randn(600, 1, *CELLS, generator=numbers(1))
    fields = power_law(white, c)
    spectrum = Spectrum(spec_of())
    spectrum.fit(fields, c)
    assert spectrum(white, c).var() == pytest.approx(1, abs=0.02)
    # the same noise, coloured by law and by fit: their difference is the error of the fit
    assert (spectrum(white, c) - fields).square().mean() < 0.003
    other = Spectrum(spec_of((64, 48)))  # another box: the same power at the same k
    other.load_state_dict(spectrum.state_dict())
    white = torch.randn(100, 1, 64, 48, generator=numbers(2))
    assert (other(white, c[:100]) - power_law(white, c[:100])).square().mean() < 0.01


def test_few_fields_do_not_decide_how_much_follows_a_condition():
    c = torch.rand(600, 1, generator=numbers(0)) * 2 - 1
    fields = power_law(torch.randn(600, 1, *CELLS, generator=numbers(1)), c)
    whole, few, around = (Spectrum(spec_of()) for _ in range(3))
    whole.fit(fields, c)
    few.fit(fields[:40], c[:40])
    assert few.coefficients[0, 1].abs().max() > 0  # linear: 16 fields a term
    assert not few.coefficients[0, 2:].any()
    around.fit(2 * fields[:40], c[:40], whole)  # four times the power, at every condition
    difference = around.coefficients - whole.coefficients
    assert not difference[0, 2:].any()
    assert difference[0, 0, 1:].mean() == pytest.approx(math.log(4), abs=0.05)
    assert difference[0, 1, 1:].mean() == pytest.approx(0, abs=0.05)
    values = OnePoint(1, 1)
    values.fit(fields[:40], c[:40])
    assert not values.coefficients[0, 2:].any()


def test_the_ends_of_a_field_do_not_leak_into_its_spectrum():
    none = torch.zeros(200, 0)
    steep = power_law(torch.randn(200, 1, 64, 64, generator=numbers(3)), -5 * torch.ones(200, 1))
    found = {}
    for name, fields, periodic in (
        ("truth", steep, True),
        ("piece", steep[:, :, :32, :32], False),
        ("piece without a window", steep[:, :, :32, :32], True),
    ):
        spectrum = Spectrum(spec_of(fields.shape[2:], periodic=periodic, conditions=0))
        spectrum.fit(fields, none)
        found[name] = spectrum.coefficients[0, 0, -8:-2].mean().item()
    assert found["piece"] == pytest.approx(found["truth"], abs=0.5)
    assert found["piece without a window"] > found["truth"] + 1


def test_a_large_field_is_coloured_in_pieces(monkeypatch):
    c = torch.zeros(2, 1)
    spectrum = Spectrum(spec_of())
    spectrum.fit(
        power_law(torch.randn(50, 1, *CELLS, generator=numbers(4)), torch.zeros(50, 1)),
        torch.zeros(50, 1),
    )
    white = torch.randn(2, 1, *CELLS, generator=numbers(5))
    whole = spectrum(white, c)
    monkeypatch.setattr(spectra, "CHUNK", 40)
    torch.testing.assert_close(spectrum(white, c), whole)


def test_a_one_point_distribution_that_follows_a_condition_is_found():
    c = torch.rand(400, 1, generator=numbers(6)) * 2 - 1
    y = torch.randn(400, 1, 24, 24, generator=numbers(7))
    width, shift = 0.5 + 0.2 * c[..., None, None], 0.1 * c[..., None, None].square()
    one_point = OnePoint(1, 1)
    one_point.fit(torch.exp(width * y + shift), c)
    for place in (-1.0, 0.3, 1.0):
        at = torch.tensor([[place]])
        table = one_point(one_point.grid(at), at)
        quantiles = torch.tensor([-3.0, -1, 0, 1, 3]).view(1, 1, -1)
        found = evaluated(table, quantiles)
        expected = torch.exp((0.5 + 0.2 * place) * quantiles + 0.1 * place**2)
        torch.testing.assert_close(found, expected, rtol=0.08, atol=0)
        torch.testing.assert_close(one_point.inverse(found, at), quantiles, rtol=0, atol=0.01)


def test_values_that_repeat_still_give_an_increasing_map():
    counts = torch.poisson(torch.full((50, 1, 16, 16), 0.4), generator=numbers(8))
    one_point, none = OnePoint(1, 0), torch.zeros(50, 0)
    one_point.fit(counts, none)
    assert (one_point.table(none[:1]).diff(dim=2) > 0).all()
    assert (one_point.values.diff(dim=1) > 0).all()
    # with jitter, the share of each count comes back
    one_point.fit(counts + torch.rand(counts.shape, generator=numbers(9)), none)
    y = torch.randn(50, 1, 64, 64, generator=numbers(10))
    made = evaluated(one_point(one_point.grid(none), none), y).floor()
    for count in range(3):
        share = (counts == count).float().mean().item()
        assert (made == count).float().mean().item() == pytest.approx(share, rel=0.06)


def test_one_condition_at_one_value_is_no_obstacle():
    c = torch.full((40, 2), 0.7)
    y = torch.randn(40, 1, *CELLS, generator=numbers(11))
    one_point, spectrum = OnePoint(1, 2), Spectrum(spec_of(conditions=2))
    one_point.fit(2 * y, c)
    spectrum.fit(y, c)
    at = torch.zeros(1, 1, 1)
    assert abs(float(one_point(at, c[:1]))) < 0.05
    assert spectrum(y, c).std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("cells", [(8, 8), (7, 9), (6, 4, 5)])
def test_shells_hold_every_mode_once(cells):
    shell, weight = shells(cells, [1.0] * len(cells))
    assert weight.sum() == math.prod(cells)
    assert shell.min() == 0
    assert (shell == 0).sum() == 1
    assert len(shell.unique()) == shell.max() + 1


def test_a_taper_has_unit_mean_square_and_ends_only_where_there_are_ends():
    window = taper((16, 16), (False, True))
    assert window.square().mean() == pytest.approx(1)
    assert torch.equal(window, window[:, :1].expand(-1, 16))
    assert window[0, 0] < 0.02
