"""The fully connected pair: any shape, any number of conditions."""

import pytest
import torch

from emulators.data.spec import Condition, SampleSpec
from emulators.errors import InputError
from emulators.networks import build_networks

SMALL = {"latent": 3, "widths": [8, 6], "critic_widths": [5]}


def spec(kind: str, shape: tuple[int, ...], n_conditions: int) -> SampleSpec:
    conditions = tuple(Condition(f"c{i}", "GeV", 1.0, 2.0) for i in range(n_conditions))
    return SampleSpec(kind, "test", shape, "", conditions)


@pytest.mark.parametrize("shape", [(2,), (4, 5), (1, 3, 2, 2)])
@pytest.mark.parametrize("n_conditions", [0, 1, 3])
def test_shapes(shape, n_conditions):
    generator, critic = build_networks("mlp", SMALL, spec("field", shape, n_conditions))
    c = torch.rand(7, n_conditions)
    x = generator(torch.randn(7, 3), c)
    assert x.shape == (7, *shape)
    assert critic(x, c).shape == (7, 1)


@pytest.mark.parametrize(
    ("kind", "output", "minimum"),
    [("shower", None, "zero"), ("field", None, "negative"), ("shower", "softplus", "positive")],
)
def test_output_suits_the_kind(kind, output, minimum):
    options = SMALL if output is None else {**SMALL, "output": output}
    generator, _ = build_networks("mlp", options, spec(kind, (30,), 1))
    torch.manual_seed(0)
    x = generator(torch.randn(20, 3), torch.rand(20, 1))
    found = "zero" if x.min() == 0 else "positive" if x.min() > 0 else "negative"
    assert found == minimum


def test_fastcalogan_counts():
    options = {"latent": 50, "widths": [50, 100, 200], "critic_widths": [368] * 3}
    generator, critic = build_networks("mlp", options, spec("shower", (368,), 1))
    pairs = [(51, 50), (50, 100), (100, 200), (200, 368)]
    assert sum(p.numel() for p in generator.parameters()) == sum((a + 1) * b for a, b in pairs)
    pairs = [(369, 368), (368, 368), (368, 368), (368, 1)]
    assert sum(p.numel() for p in critic.parameters()) == sum((a + 1) * b for a, b in pairs)


def test_batch_norm_is_in_the_generator_alone():
    networks = build_networks("mlp", {**SMALL, "batch_norm": True}, spec("field", (4,), 0))
    counts = [sum("BatchNorm" in type(m).__name__ for m in n.modules()) for n in networks]
    assert counts == [2, 0]


@pytest.mark.parametrize("options", [{"latent": 0}, {"widths": [8, 0]}, {"output": "tanh"}])
def test_options_are_checked(options):
    with pytest.raises(InputError):
        build_networks("mlp", options, spec("field", (4,), 0))
