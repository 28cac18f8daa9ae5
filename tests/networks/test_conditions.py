"""Every network for showers takes conditions beside the incident energy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emulators.data.dataset import Dataset
from emulators.data.spec import Condition
from emulators.data.transforms import Transform, condition_tensor
from emulators.networks import ARCHITECTURES, build_networks

OPTIONS = {
    "calogan": {"latent": 16},
    "mlp": {"latent": 8, "widths": [16], "critic_widths": [16]},
    "shower": {"latent": 4, "width": 16, "depth": 2, "layer_latent": 2, "critic_width": 16},
}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_showers_follow_every_condition(shower_file, name):
    dataset, entry = Dataset(shower_file), ARCHITECTURES[name]
    theta = Condition("theta", "deg", -40.0, 0.0)  # a range that ends at 0 has a scale too
    spec = replace(dataset.spec, conditions=(*dataset.spec.conditions, theta))
    samples = dataset.read(0, 64)
    asked = samples.conditions | {"theta": np.linspace(-40, 0, 64, dtype="f4")}
    transform = Transform(spec, entry.transform, entry.condition)
    physical = condition_tensor(spec, asked, 64)
    c = transform.scale(physical)
    assert c.shape == (64, 2)
    assert c.abs().max() <= 1.0001
    generator, critic = build_networks(name, OPTIONS[name], spec, seed=1)
    x = transform(torch.from_numpy(samples.values), physical)
    for network in (generator, critic):
        network.initialise(x, c)
        network.eval()
    z = torch.randn(64, generator.latent, generator=torch.Generator().manual_seed(0))
    other = c.clone()
    other[:, 1] = c[:, 1].flip(0)
    with torch.no_grad():
        assert not torch.equal(generator(z, c), generator(z, other))
        assert not torch.equal(critic(x, c), critic(x, other))
