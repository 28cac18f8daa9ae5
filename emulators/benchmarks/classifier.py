"""Two-sample tests: whether a classifier tells emulator from reference on showers it never saw.

A fresh network is trained on 60 % of both samples, its best epoch chosen on 20 %, and judged on the
rest.  AUC 0.5 (Jensen-Shannon divergence 0) means that it cannot.  A better trained classifier, and
more showers to train it on, tell more: an AUC means something only beside the preset and the n.

References
----------
Krause and Shih, arXiv:2106.05285; CaloChallenge, arXiv:2410.21611.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata
from torch import Tensor, nn

from emulators.benchmarks.cache import remembered
from emulators.benchmarks.classifier_networks import ResidualNetwork, dense_network
from emulators.config import nearest
from emulators.data.spec import MEV_PER_GEV, ShowerGeometry
from emulators.errors import InputError
from emulators.observables.showers import (
    CELL_THRESHOLD,
    Array,
    high_level_features,
    observable_table,
    observables,
)
from emulators.progress import tracked
from emulators.random import stream

__all__ = [
    "DEFAULT_VIEWS",
    "FEWEST_SIMULATIONS",
    "PRESETS",
    "VIEWS",
    "Preset",
    "TwoSampleTest",
    "auc",
    "two_sample_test",
    "view",
]

VIEWS: dict[str, str] = {
    "low": "cells / E_inc and log10 E_inc",
    "low_normed": "cells / E_layer, log10 E_layer and log10 E_inc",
    "log": f"log10 of the cells above {CELL_THRESHOLD:g} MeV, and log10 E_inc",
    "high": "CaloChallenge's high-level features",
    "observables": "all observables of this report",
}
DEFAULT_VIEWS = ("low", "log", "high", "observables")
FEWEST_SIMULATIONS = 5  # of each sample: three parts, none of a single one alone
_CLIP = 10.0  # standard deviations; keeps the rare far cell from ruling the first layer


@dataclass(frozen=True)
class Preset:
    """A classifier and how it is trained.

    ``fast`` is strong for its time (seconds).  ``calochallenge`` follows CaloChallenge's
    ``evaluate.py``: raw inputs, 2048 wide, the epoch of best accuracy, and isotonic recalibration
    on the validation part before AUC and divergence; it differs in computing in float32.  Those
    with the name of a data set also divide its showers as that does.

    ``parts`` are the sizes of training, validation and test part, relative to each other.
    """

    width: int
    epochs: int
    batch_size: int
    rate: float
    weight_decay: float = 0.0
    standardise: bool = False
    cosine: bool = False
    best: Literal["loss", "accuracy"] = "loss"
    recalibrate: bool = False
    hidden: int = 3
    bfloat16: bool = False
    parts: tuple[int, int, int] = (3, 1, 1)


_CALOCHALLENGE = Preset(2048, 50, 1000, 2e-4, best="accuracy", recalibrate=True)
PRESETS = {
    "fast": Preset(
        512, 25, 500, 1e-3, weight_decay=0.01, standardise=True, cosine=True, bfloat16=True
    ),
    "calochallenge": _CALOCHALLENGE,
    "calochallenge-1-photons": replace(_CALOCHALLENGE, parts=(80_000, 20_000, 21_000)),
    "calochallenge-1-pions": replace(_CALOCHALLENGE, parts=(80_000, 20_000, 20_800)),
    "calochallenge-2": _CALOCHALLENGE,
    "calochallenge-3": _CALOCHALLENGE,
}


@dataclass(frozen=True)
class TwoSampleTest:
    """What several trainings found on their held-out showers.

    ``auc_error`` and ``jsd_error`` are standard deviations over seeds (of split, initialisation and
    order), of one training.  ``n`` and ``n_test`` count showers of one class.  Scores are those of
    the first seed.
    """

    n: int
    n_test: int
    aucs: tuple[float, ...]
    jsds: tuple[float, ...]
    reference_scores: Array = field(repr=False)
    generated_scores: Array = field(repr=False)

    @property
    def auc(self) -> float:
        """Mean area under the ROC curve."""
        return float(np.mean(self.aucs))

    @property
    def auc_error(self) -> float | None:
        """Standard deviation of the AUC over seeds; None for one seed."""
        return float(np.std(self.aucs, ddof=1)) if len(self.aucs) > 1 else None

    @property
    def jsd(self) -> float:
        """Mean Jensen-Shannon divergence, 0 to 1; a little below 0 is how 0 may look."""
        return float(np.mean(self.jsds))

    @property
    def jsd_error(self) -> float | None:
        """Standard deviation of the divergence over seeds; None for one seed."""
        return float(np.std(self.jsds, ddof=1)) if len(self.jsds) > 1 else None

    def standard_error(self, name: Literal["auc", "jsd"]) -> float | None:
        """Return the error of the mean over seeds; of one seed, an AUC's by its test part alone.

        Seeds have the showers in common, so their mean does not become as exact as independent ones
        would make it.  One seed: None for the divergence.

        References
        ----------
        Nadeau and Bengio, Machine Learning 52 (2003) 239; Mann and Whitney, Ann. Math. Stat. 18
        (1947) 50.
        """
        if (error := self.auc_error if name == "auc" else self.jsd_error) is not None:
            return error * math.sqrt(1 / len(self.aucs) + self.n_test / (self.n - self.n_test))
        m = self.n_test
        return math.sqrt((2 * m + 1) / 12) / m if name == "auc" else None


def view(
    name: str,
    values: npt.NDArray[np.float32],
    geometry: ShowerGeometry,
    incident_energy: npt.NDArray[np.floating],
    threshold: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Return what a classifier is shown of each shower, shape ``(n, features)``.

    Parameters
    ----------
    name
        A key of `VIEWS`.
    values
        Deposited energies, shape ``(n, cells)``, MeV.
    geometry
        Their readout.
    incident_energy
        Shape ``(n,)``, GeV.
    threshold
        Cells below it count as empty, MeV.  In ``low_normed`` they count as empty in the layer
        energies alone, as in CaloChallenge's ``evaluate.py``.
    """
    raw = values
    if threshold > 0:
        values = np.where(values < np.float32(threshold), np.float32(0), values)
    if name == "high":
        found = observables(values, geometry, incident_energy)
        return high_level_features(found, geometry, incident_energy)
    if name == "observables":
        return _all_observables(values, geometry, incident_energy)
    energy = np.asarray(incident_energy, np.float32)[:, None] * np.float32(MEV_PER_GEV)
    if name == "low":
        cells = values / energy
    elif name == "low_normed":
        return _low_normed(raw, values, geometry, energy)
    elif name == "log":
        cells = np.log10(np.maximum(values, CELL_THRESHOLD) / CELL_THRESHOLD)
    else:
        raise InputError(f"no view of showers '{name}'{nearest(name, list(VIEWS))}")
    return np.concatenate([np.log10(energy), cells], 1, dtype=np.float32)


def _low_normed(
    raw: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
    geometry: ShowerGeometry,
    energy: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    layers = np.stack([values[:, cells].sum(1, dtype=np.float64) for cells in geometry.slices], 1)
    columns = [np.log10(energy)]
    columns += [
        (raw[:, cells] / (layers[:, i : i + 1] + 1e-16)).astype(np.float32)
        for i, cells in enumerate(geometry.slices)
    ]
    return np.concatenate([*columns, np.log10(layers + 1e-8)], 1, dtype=np.float32)


def _all_observables(
    values: npt.NDArray[np.float32],
    geometry: ShowerGeometry,
    incident_energy: npt.NDArray[np.floating],
) -> npt.NDArray[np.float32]:
    # The other views hold E_tot and E_inc as two numbers that cover decades; a response that is
    # ten times too wide, 2 % instead of 0.2 %, stays hidden between them.
    found = observables(values, geometry, incident_energy)
    columns = [np.log10(np.asarray(incident_energy, np.float64) * MEV_PER_GEV)]
    for o in observable_table(geometry):
        columns.append(np.log10(found[o.name] + 1e-8) if o.log else found[o.name])
    return np.stack(columns, 1).astype(np.float32)


def auc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: how often a 1 scores above a 0, ties counted half."""
    labels = np.asarray(labels, bool)
    ranks = rankdata(scores)
    ones, zeros = int(labels.sum()), int((~labels).sum())
    return float((ranks[labels].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def two_sample_test(
    reference: npt.NDArray[np.float32],
    generated: npt.NDArray[np.float32],
    preset: str = "fast",
    seeds: Sequence[int] = (0, 1, 2),
    image: tuple[int, int, int] | None = None,
    simulations: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None,
) -> TwoSampleTest:
    """Train one classifier a seed, reference (label 1) against generated (label 0).

    Parameters
    ----------
    reference, generated
        Equally many rows of features; row i of one and row i of the other go to the same part, so
        that showers which share their incident energy are not split between training and test.
    preset
        A key of `PRESETS`.
    seeds
        One training each.
    image
        Train a `ResidualNetwork` on all columns but the first as an image of so many layers, alpha
        and r bins; without it, a dense network on the row.
    simulations
        Which simulation each row is from, of reference and generated: those of one simulation go to
        one part, or the test would ask for boxes that the classifier has seen.  Both classes then
        have about as many rows in each part.
    """
    if len(reference) != len(generated):
        raise ValueError(f"classes differ in size: {len(reference)} and {len(generated)}")
    for numbers in simulations or ():
        if (count := len(np.unique(numbers))) < FEWEST_SIMULATIONS:
            raise InputError(
                f"{count} simulations: a classifier needs {FEWEST_SIMULATIONS} of each sample"
            )
    if preset not in PRESETS:
        raise InputError(f"no classifier preset '{preset}'{nearest(preset, list(PRESETS))}")
    runs = [
        _train(reference, generated, PRESETS[preset], seed, image, simulations)
        for seed in tracked(seeds, "trainings")
    ]
    scores, labels = runs[0][2:]
    return TwoSampleTest(
        n=len(reference),
        n_test=int(labels.sum()),
        aucs=tuple(run[0] for run in runs),
        jsds=tuple(run[1] for run in runs),
        reference_scores=scores[labels],
        generated_scores=scores[~labels],
    )


@remembered
def _train(
    reference: npt.NDArray[np.float32],
    generated: npt.NDArray[np.float32],
    preset: Preset,
    seed: int,
    image: tuple[int, int, int] | None,
    simulations: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None,
) -> tuple[float, float, Array, npt.NDArray[np.bool_]]:
    """Return AUC, JSD, and the scores (probability of reference) and labels of the test part."""
    rng = stream(seed, "classifier")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if simulations is None:
        rows_of = [_parts(np.arange(len(reference)), preset, rng)] * 2
    else:
        rows_of = [_parts(numbers, preset, rng) for numbers in simulations]
    inputs = [
        torch.from_numpy(np.concatenate([reference[r], generated[g]])).to(device)
        for r, g in zip(*rows_of)
    ]
    labels = [
        torch.arange(len(r) + len(g), device=device).lt(len(r)).float() for r, g in zip(*rows_of)
    ]
    if preset.standardise:
        mean, std = inputs[0].mean(0), inputs[0].std(0)
        std[std < 1e-6 * mean.abs() + 1e-12] = 1.0  # a constant, up to rounding
        inputs = [((x - mean) / std).clamp_(-_CLIP, _CLIP) for x in inputs]

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(rng.integers(2**31)))
        network = (
            dense_network(inputs[0].shape[1], preset.width, preset.hidden)
            if image is None
            else ResidualNetwork(image)
        ).to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=preset.rate, weight_decay=preset.weight_decay
    )
    rows = len(inputs[0])
    batch = min(preset.batch_size, rows)
    steps = rows // batch  # an epoch leaves the last rows of its shuffle out
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda k: (1 + np.cos(np.pi * k / (preset.epochs * steps))) / 2 if preset.cosine else 1.0,
    )
    best, state = np.inf, network.state_dict()
    # of small images, gradients of convolutions in bfloat16 are not always finite on a CPU
    mixed = preset.bfloat16 and image is None and _bfloat16_pays(device)
    for _ in range(preset.epochs):
        network.train()
        order = torch.from_numpy(rng.permutation(rows)[: steps * batch]).to(device)
        for chosen in torch.split(order, batch):
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                logits = network(inputs[0][chosen])[:, 0]
            loss = F.binary_cross_entropy_with_logits(logits.float(), labels[0][chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        logits = _evaluate(network, inputs[1])
        if preset.best == "loss":
            score = F.binary_cross_entropy_with_logits(logits, labels[1]).item()
        else:
            score = -((logits > 0) == labels[1].bool()).double().mean().item()
        if score < best:
            best, state = score, {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(state)

    validation, test = (torch.sigmoid(_evaluate(network, x).double()) for x in inputs[1:])
    scores, truth = test.cpu().numpy(), labels[2].cpu().numpy().astype(bool)
    probability = scores
    if preset.recalibrate:
        probability = recalibrate(validation.cpu().numpy(), labels[1].cpu().numpy(), scores)
    return auc(probability, truth), _divergence(probability, truth), scores, truth


def _parts(
    simulations: npt.NDArray[np.int64], preset: Preset, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Return rows for training, validation and test, those of one simulation together."""
    numbers, shares = np.unique(simulations), np.cumsum(preset.parts)
    parts = np.split(rng.permutation(numbers), len(numbers) * shares[:2] // shares[2])
    if len(numbers) == len(simulations):  # each row by itself
        places = np.argsort(simulations)
        return [places[np.searchsorted(numbers, part)] for part in parts]
    return [np.flatnonzero(np.isin(simulations, part)) for part in parts]


@torch.no_grad()
def _evaluate(network: nn.Module, inputs: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(x)[:, 0] for x in torch.split(inputs, 4096)])


def _bfloat16_pays(device: torch.device) -> bool:
    """Whether this processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


def recalibrate(scores: Array, labels: npt.ArrayLike, new: Array) -> Array:
    """Return probabilities for ``new`` scores from an isotonic fit of labels on ``scores``."""
    known, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(where, np.asarray(labels, np.float64)) / counts
    fitted = isotonic_regression(means, weights=counts.astype(np.float64)).x
    return np.asarray(np.interp(new, known, fitted))


def _divergence(probability: Array, labels: npt.NDArray[np.bool_]) -> float:
    """Jensen-Shannon divergence in bits, 1 - BCE / ln 2, from the probability of label 1."""
    right = np.clip(np.where(labels, probability, 1 - probability), 1e-6, None)
    return float(1 + np.log2(right).mean())
