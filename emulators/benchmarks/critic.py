"""A fixed network that learns features of showers from the reference alone.

The network, the critic, predicts the conditions and all observables of a shower from its cells; the
features are its last hidden layer.  They combine cells of all layers in ways that no list of
observables has, and the emulator has no say in them.  It is trained on showers of the reference
file that only this file chooses: whoever has the same file has the same critic, whatever emulator
is measured.

References
----------
Distances in learned features: Heusel et al., arXiv:1706.08500.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.classifier import view
from emulators.data.dataset import Dataset
from emulators.data.spec import Samples, SampleSpec, ShowerGeometry
from emulators.observables.showers import Array
from emulators.random import stream

__all__ = ["CLIP", "FEATURES", "Critic", "train_critic"]

FEATURES = 32
HIDDEN = 64
INPUTS = 1024  # about; of larger readouts, neighbouring cells are added up
ROWS = 8_000  # showers that it is trained on, at most
# One in so many of the file's showers: what it makes of those that it was trained on is a little
# different (by 0.001 in squared widths with 8,000 of them, 0.01 with 1,000), and if a quarter of
# the showers compared are among them the distance grows by less than its error.
SHARE = 4
EPOCHS, BATCH, RATE = 16, 100, 1e-3
CLIP = 3.0  # widths: no feature may be ruled by few showers
_FAR = 5.0  # widths; targets beyond count as there


@dataclass(frozen=True)
class Critic:
    """A trained critic.

    Parameters
    ----------
    layers
        From standardised inputs to the last hidden layer.
    geometry
        Readout of the showers that it takes.
    inputs
        Mean and standard deviation of the inputs, shape ``(2, inputs)``.
    mean, whitening
        What makes the last hidden layer of the showers that it was trained on uncorrelated, of
        mean 0 and width 1; shapes ``(FEATURES,)`` and ``(FEATURES, FEATURES)``.
    rows
        How many showers it was trained on.
    explained
        Share of the variance of the observables of these that it predicts.
    sha256
        Hash of its weights, rounded to four digits after the point: rounding errors differ between
        machines.
    """

    layers: nn.Sequential
    geometry: ShowerGeometry
    inputs: Tensor
    mean: Array
    whitening: Array
    rows: int
    explained: float
    sha256: str

    @property
    def words(self) -> str:
        """What it is, in a sentence."""
        return (
            f"The critic has {self.inputs.shape[1]} inputs and layers of {HIDDEN} and {FEATURES}; "
            f"it was trained on {self.rows:,} showers of the reference file for {EPOCHS} epochs to "
            f"predict conditions and observables; sha256 of its weights {self.sha256}."
        )

    def features(self, values: npt.NDArray[np.float32]) -> Array:
        """Return the features of showers ``(n, cells)``, MeV: ``(n, FEATURES)``, -1 to 1.

        They are the whitened last hidden layer, cut at `CLIP` widths, and over that.
        """
        rows = max(1, 4_000_000 // self.geometry.n_cells)
        hidden = [
            _forward(self, _inputs(values[i : i + rows], self.geometry))
            for i in range(0, len(values), rows)
        ]
        whitened = (np.concatenate(hidden) - self.mean) @ self.whitening
        return np.asarray(np.clip(whitened / CLIP, -1, 1))


@torch.no_grad()
def _forward(critic: Critic, inputs: Array) -> Array:
    found = critic.layers(_standardised(torch.from_numpy(inputs), critic.inputs))
    return np.asarray(found.numpy())


def train_critic(data: Dataset) -> Critic:
    """Train the critic of a reference file; the file's content alone decides what it becomes.

    In double precision on the CPU, and on one thread: other machines change rounding errors alone,
    and layers this small are slower on several.
    """
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        return _trained(data)


def _trained(data: Dataset) -> Critic:
    geometry = data.spec.geometry
    assert geometry is not None
    rows = np.sort(stream(0, "critic", "rows").permutation(len(data))[: _rows(len(data))])
    pieces = [(_inputs(s.values, geometry), _targets(s, data.spec)) for s in _usable(data, rows)]
    x, y = (np.concatenate(column) for column in zip(*pieces))
    found = _fitted(x, y)
    layers, _ = _network(x.shape[1], y.shape[1])
    layers.load_state_dict({name: torch.from_numpy(found[name]) for name in layers.state_dict()})
    inputs = _moments(torch.from_numpy(x))
    white = found["mean"], found["whitening"]
    return Critic(layers, geometry, inputs, *white, len(x), found["explained"], _hash(layers))


@remembered
def _fitted(inputs: Array, targets: Array) -> dict[str, Any]:
    """Train the network; return its layers up to the features, and the rest of a `Critic`.

    ``inputs`` and ``targets`` are a row a shower, as `_inputs` and `_targets` give them.
    """
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    x, y = _standardised(x, _moments(x)), _standardised(y, _moments(y)).clamp_(-_FAR, _FAR)
    layers, last = _network(x.shape[1], y.shape[1])
    batch = min(BATCH, len(x))
    steps = len(x) // batch
    optimiser = torch.optim.AdamW([*layers.parameters(), *last.parameters()], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * steps)
    for epoch in range(EPOCHS):
        order = stream(0, "critic", "order", epoch).permutation(len(x))[: steps * batch]
        for chosen in torch.split(torch.from_numpy(order), batch):
            loss = (last(layers(x[chosen])) - y[chosen]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        hidden = layers(x)
        left = (last(hidden) - y).square().mean() / y.square().mean()
    mean, whitening = _whitening(hidden.numpy())
    weights = {name: x.numpy() for name, x in layers.state_dict().items()}
    return weights | {"mean": mean, "whitening": whitening, "explained": 1 - float(left)}


def _rows(n: int) -> int:
    return min(ROWS, n // SHARE)


def _usable(data: Dataset, rows: npt.NDArray[np.int64]) -> Iterator[Samples]:
    """Read showers in pieces; those that hold NaN are for the check of the file to name."""
    size = max(1, 4_000_000 // int(np.prod(data.spec.shape)))
    for i in range(0, len(rows), size):
        samples = data.take(rows[i : i + size])
        good = np.isfinite(samples.values).all(1)
        for column in samples.conditions.values():
            good &= np.isfinite(column)
        yield samples[good & (samples.conditions["incident_energy"] > 0)]


def _inputs(values: npt.NDArray[np.float32], geometry: ShowerGeometry) -> Array:
    """Return log10 of the cells' energies, as a classifier's view ``log`` has them."""
    together = -(-geometry.n_cells // INPUTS)
    starts = np.concatenate([np.arange(c.start, c.stop, together) for c in geometry.slices])
    cells = np.add.reduceat(values, starts, 1) if together > 1 else values
    nothing = np.ones(len(values))
    return np.asarray(view("log", cells, geometry, nothing)[:, 1:], np.float64)


def _targets(samples: Samples, spec: SampleSpec) -> Array:
    """Return all observables, the incident energy among them, and all other conditions."""
    energy = samples.conditions["incident_energy"]
    assert spec.geometry is not None
    columns = [view("observables", samples.values, spec.geometry, energy)]
    for c in spec.conditions:
        if c.name != "incident_energy":
            column = samples.conditions[c.name][:, None]
            columns.append(np.log10(column) if c.scale == "log" else column)
    return np.concatenate(columns, 1, dtype=np.float64)


def _moments(x: Tensor) -> Tensor:
    mean, width = x.mean(0), x.std(0)
    width[width < 1e-6 * mean.abs() + 1e-12] = 1.0  # a constant, up to rounding
    return torch.stack([mean, width])


def _standardised(x: Tensor, moments: Tensor) -> Tensor:
    return ((x - moments[0]) / moments[1]).clamp_(-10, 10)


def _network(inputs: int, outputs: int) -> tuple[nn.Sequential, nn.Linear]:
    """Return the layers up to the features, and the last one."""
    linear = []
    for k, (a, b) in enumerate(((inputs, HIDDEN), (HIDDEN, FEATURES), (FEATURES, outputs))):
        layer = nn.Linear(a, b, dtype=torch.float64)
        weights = stream(0, "critic", "weights", k).uniform(-1, 1, (b, a)) / np.sqrt(a)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights))
            layer.bias.zero_()
        linear.append(layer)
    first, second, last = linear
    return nn.Sequential(first, nn.GELU(), second, nn.GELU()), last


def _whitening(hidden: Array) -> tuple[Array, Array]:
    """Return mean and the symmetric matrix that whitens rows; it does not hang on signs."""
    variances, axes = np.linalg.eigh(np.cov(hidden, rowvar=False))
    variances = np.maximum(variances, 1e-6 * variances.max())  # of features that are all but equal
    return hidden.mean(0), axes / np.sqrt(variances) @ axes.T


def _hash(layers: nn.Sequential) -> str:
    digest = hashlib.sha256()
    for weights in layers.state_dict().values():
        digest.update((weights.numpy().round(4) + 0.0).astype("<f4").tobytes())
    return digest.hexdigest()
