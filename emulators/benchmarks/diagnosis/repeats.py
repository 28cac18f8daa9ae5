"""Whether generated showers repeat each other, or the showers that were trained on.

Two showers are as alike as their shapes overlap: the sum over cells of ``sqrt(p q)``, with p and q
the shares of the energy (the coefficient of Bhattacharyya), 1 where both are the same.  A repeat is
a shower that is several times closer to another than showers of its energy otherwise are.

References
----------
Nearest neighbours among seen and unseen samples: Meehan, Chaudhuri, Dasgupta, arXiv:2004.05675.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.diagnosis.faults import (
    CHANCE,
    FAMILIES,
    Finding,
    beyond,
    more_often,
    share_error,
    untested,
)
from emulators.benchmarks.pair import MINIMUM, Pair, Rows
from emulators.data.spec import Samples, ShowerGeometry
from emulators.errors import InputError
from emulators.observables.closest import Closest, closest_rows
from emulators.observables.showers import Array
from emulators.random import stream

__all__ = ["duplicates", "memorised", "shapes"]

CHECKED = 4000  # showers that partners are sought for
PRODUCTS = 8e10  # of two numbers, in one search: seconds
NEAR = 0.3  # of the usual distance: a repeat; independent showers hardly come closer than half
WINDOW = 1.5  # factor of incident energy within which copies of training showers are sought
SMALLEST = 1e-6  # distance that single precision tells from none
SHARE_LIMIT = 0.001
NEARER_LIMIT = 0.05

Mirrors = Sequence[npt.NDArray[np.int64]]


def shapes(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the square roots of each cell's share of the energy, shape ``(n, cells)``, norm 1."""
    positive = np.maximum(values, 0)
    total = positive.sum(1, keepdims=True)
    return np.asarray(np.sqrt(positive / np.where(total > 0, total, 1)), np.float32)


def duplicates(pair: Pair, seed: int) -> list[Finding]:
    """Look for generated showers that repeat another one: exactly, and nearly or mirrored.

    The floor is the same among reference showers, as many of them.
    """
    samples = pair.reference, pair.generated
    exact = [_repeated(s.values) for s in samples]
    n = [len(s) for s in samples]
    findings = [_share("exact copies of each other", exact, n, 1)]
    mirrors = _mirrors(pair.geometry)
    checked, others = _sizes(min(n), min(n), pair.geometry.n_cells * (1 + len(mirrors)))
    nearest, energies = [], []
    for name, s in zip(("reference", "generated"), samples):
        rows = stream(seed, "duplicates", name).permutation(len(s))[:others]
        shape, energy = _part(s, rows)
        apart = np.arange(checked)[:, None] != np.arange(others)
        nearest.append(closest_rows(shape[:checked], shape, apart, mirrors))
        energies.append(energy[:checked])
    near = _near(nearest, energies, nearest[0])
    # of two that repeat each other both are counted
    findings.append(_share("near copies of each other", near, [checked] * 2, 2))
    return findings


def memorised(pair: Pair, seed: int) -> list[Finding]:
    """Look for generated showers that are copies of those trained on, and for a leaning to them.

    Both are measured against as many showers that the training did not see: those are as often the
    nearer ones, unless the emulator knows its training's by heart.  The floor has other unseen
    showers in the place of the generated ones.
    """
    if len(pair.trained) < MINIMUM["shower"]:
        text = "The files do not say which showers were trained on: it cannot be told."
        return [untested("memorised", "training", (0, 0), text)]
    generated, halves = pair.halvings(1, seed)
    unseen, probes = halves[0]
    mirrors = _mirrors(pair.geometry)
    most = min(len(unseen), len(pair.seen))
    checked, others = _sizes(len(probes), most, pair.geometry.n_cells * (1 + len(mirrors)))
    known = _part(pair.seen, np.arange(others)), _part(pair.reference, unseen[:others])
    asked = _part(pair.reference, probes[:checked]), _part(pair.generated, generated[:checked])
    trained, new = (
        [closest_rows(s, other, _window(e, at), mirrors) for s, e in asked] for other, at in known
    )
    near = _near(trained, [energy for _, energy in asked], new[0])
    copies = _share("copies of training showers", near, [checked] * 2, 1)
    (floor, _), (value, error) = (_leaning(*both) for both in zip(trained, new))
    reach = NEARER_LIMIT + beyond(2, 1) * error
    named = value > reach
    text = (
        f"generated showers lie nearer to those trained on than to as many others: "
        f"{100 * value:.1f} ± {100 * error:.1f} % more often (unseen reference showers: "
        f"{100 * floor:+.1f} %)"
    )
    return [
        copies,
        Finding(
            "memorised",
            "leaning to training showers",
            value,
            error,
            abs(floor),
            reach,
            (checked, checked),
            named,
            text if named else "",
        ),
    ]


def _part(samples: Samples, rows: Rows) -> tuple[npt.NDArray[np.float32], Array]:
    """Return shapes and incident energies of some showers."""
    energy = np.asarray(samples.conditions["incident_energy"], np.float64)
    return shapes(samples.values[rows]), energy[rows]


def _mirrors(geometry: ShowerGeometry) -> list[npt.NDArray[np.int64]]:
    """Return the mirror images that the readout has: emulators may be trained on them too."""
    single = []
    for axis in ("x", "y"):
        try:
            single.append(geometry.mirrored(axis))
        except InputError:
            continue
    both = [single[0][single[1]]] if len(single) == 2 else []
    return single + both


def _sizes(checked: int, others: int, products: int) -> tuple[int, int]:
    """Return how many showers are checked, against how many, so that the search stays short."""
    pairs = PRODUCTS / products
    checked = min(CHECKED, checked, int(pairs**0.5))
    return checked, min(others, int(pairs / checked))


def _window(energies: Array, others: Array) -> npt.NDArray[np.bool_]:
    """Return which pairs have similar incident energies.

    The smooth showers of high energy lie near very many of low energy: with them among the
    candidates, a few would decide everything.
    """
    return np.asarray(np.abs(np.log(energies[:, None]) - np.log(others)) < np.log(WINDOW))


def _repeated(values: npt.NDArray[np.float32]) -> int:
    """Return how many showers are bit for bit the same as an earlier one."""
    rows = np.ascontiguousarray(values + np.float32(0))  # -0 becomes 0
    return len(rows) - len(np.unique(rows.view(f"V{rows.strides[0]}")))


def _near(nearest: Sequence[Closest], energies: Sequence[Array], usual: Closest) -> list[int]:
    """Count the showers that are far closer to another than is usual at their incident energy.

    What is usual is the typical distance in the first sample, a power of the energy.
    """
    logarithms = [np.log(e) for e in energies]
    distance = np.log(np.maximum(1 - usual.correlations, SMALLEST))
    order = min(2, len(np.unique(energies[0])) - 1)
    law = np.polynomial.Polynomial.fit(logarithms[0], distance, order)
    return [
        int((1 - c.correlations < NEAR * np.exp(law(e))).sum()) for c, e in zip(nearest, logarithms)
    ]


def _leaning(trained: Closest, new: Closest) -> tuple[float, float]:
    """Return how much more often a shower trained on is the nearer one, and the error.

    Were it chance, each of these would be as likely the one as the other: what lies nearest to
    many counts as one draw.
    """
    nearer = np.sign(trained.correlations - new.correlations)
    n = max(1, int((nearer != 0).sum()))
    draws = [np.bincount(c.partners[nearer == s]) for c, s in ((trained, 1), (new, -1))]
    return float(nearer.sum() / n), float(np.sqrt(sum((d**2).sum() for d in draws)) / n)


def _share(part: str, counts: Sequence[int], n: Sequence[int], together: int) -> Finding:
    """Judge how many generated showers repeat another; ``counts`` of reference and generated."""
    fault = "memorised" if "training" in part else "duplicates"
    chance = CHANCE / len(FAMILIES) / 2
    reference, generated = (c // together for c in counts)

    def clear(count: int) -> bool:
        return more_often((count, reference), (n[1], n[0])) < chance

    least = next(k for k in range(1, n[1] + 2) if k > n[1] or clear(k))
    value, floor = counts[1] / n[1], counts[0] / n[0]
    named = clear(generated) and value - floor > SHARE_LIMIT
    text = (
        f"{counts[1]:,} of {n[1]:,} generated showers are {part} "
        f"(reference: {counts[0]:,} of {n[0]:,})"
    )
    return Finding(
        fault,
        part,
        value,
        share_error(counts[1], n[1]),
        floor,
        max(together * least / n[1], floor + SHARE_LIMIT),
        (n[1], n[0]),
        named,
        text if named else "",
    )
