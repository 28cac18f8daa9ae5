"""The histograms of CaloChallenge's ``evaluate.py``: its thresholds, bins and ranges.

It drops entries outside its bins (``density=True``); here they are counted too, and each separation
power stands beside the one that takes them in.

References
----------
Krause et al., arXiv:2410.21611; separation power: Diefenbacher et al., arXiv:2009.03796, eq. 15.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.calochallenge.figures import Challenge
from emulators.benchmarks.judge import written
from emulators.benchmarks.measured import Axis, Histogram, Number
from emulators.benchmarks.pair import Pair, Rows
from emulators.data.hdf5 import HDF5Reader
from emulators.data.layouts import calochallenge as layout
from emulators.data.spec import MEV_PER_GEV, Samples
from emulators.errors import InputError
from emulators.observables import distances
from emulators.observables.showers import Array, observables
from emulators.progress import tracked
from emulators.random import stream

__all__ = [
    "Showers",
    "emptied",
    "features",
    "measure_histograms",
    "separations",
]

Counts = Sequence[Any]  # of reference and generated; the first and last are under- and overflow

Places = npt.NDArray[np.int64]

HALVINGS, RESAMPLINGS = 20, 100
TINY = 1e-16  # in evaluate.py's separation power, against 0 / 0

# Where bins begin and end, mm: in data sets 2 and 3, in the hadronic layers (12 and deeper) of data
# set 1, in its others.
MOMENTS = (
    ("EC Eta", "centre_eta", ((-30.0, 30.0), (-500.0, 500.0), (-100.0, 100.0))),
    ("EC Phi", "centre_phi", ((-30.0, 30.0), (-500.0, 500.0), (-100.0, 100.0))),
    ("Width Eta", "width_eta", ((0.0, 30.0), (0.0, 400.0), (0.0, 100.0))),
    ("Width Phi", "width_phi", ((0.0, 30.0), (0.0, 400.0), (0.0, 100.0))),
    ("EC r", "centre_r", ((0.0, 42.0), (0.0, 1500.0), (0.0, 500.0))),
    ("Width r", "width_r", ((0.0, 20.0), (0.0, 1500.0), (0.0, 500.0))),
)


@dataclass(frozen=True)
class Showers:
    """Showers in double precision, as ``evaluate.py`` reads them.

    Parameters
    ----------
    incident_energy
        Shape ``(n,)``, MeV.
    pieces
        Gives their voxels, MeV, in pieces ``(rows, voxels)``: all may not fit into memory.
    order
        Which of them each of the pair is, where a file has another order.
    """

    incident_energy: Array
    pieces: Callable[[], Iterator[Array]]
    order: Rows | None = None

    @classmethod
    def of_sample(cls, samples: Samples) -> "Showers":
        """Return showers that were read in single precision."""
        # Through decimals: 0.256 GeV in single precision is 256.00001 MeV.
        decimals = np.char.add(samples.conditions["incident_energy"].astype(str), "e3")
        return cls(decimals.astype(np.float64), lambda: _pieces(samples.values))

    @classmethod
    def of_pair(cls, pair: Pair, name: str) -> "Showers":
        """Return those of the file, in its precision, where all of them are compared."""
        facts = pair.files[name]
        if facts["used"] < facts["showers"] or facts["layout"] != layout.NAME:
            return cls.of_sample(getattr(pair, name))
        file = HDF5Reader(facts["path"]).file
        energy = file[layout.ENERGY][:].reshape(-1).astype(np.float64)
        return cls(energy, lambda: _pieces(file["showers"]), pair.rows[name])


def _pieces(values: Any) -> Iterator[Array]:
    count = max(1, 4_000_000 // values.shape[1])
    for first in range(0, len(values), count):
        yield values[first : first + count].astype(np.float64)


def emptied(values: npt.NDArray[Any], challenge: Challenge) -> npt.NDArray[Any]:
    """Return voxels in their precision, those below the threshold 0."""
    return np.where(values < challenge.threshold, values.dtype.type(0), values)


def features(showers: Showers, challenge: Challenge) -> dict[str, Array]:
    """Return the observables of showers whose voxels below the threshold are empty.

    Beside those of `observables` that ``evaluate.py`` knows stands ``incident_energy``, MeV; all in
    the order of the pair.
    """
    pieces, energy, first = [], showers.incident_energy, 0
    for values in showers.pieces():
        values = emptied(values, challenge)
        rows = slice(first, first := first + len(values))
        piece = observables(values, challenge.geometry, energy[rows] / MEV_PER_GEV)
        # Summed as evaluate.py does, to the last bit: its topmost bin ends at the largest sum.
        piece["energy_total"] = values.sum(1)
        for layer, cells in zip(challenge.geometry.layers, challenge.geometry.slices):
            piece[f"energy_{layer.name}"] = values[:, cells].sum(1)
        pieces.append(piece)
    kinds = ("energy_", "centre_", "width_", "fraction_active_")
    kept = [name for name in pieces[0] if name.startswith(kinds)]
    columns = {name: np.concatenate([p[name] for p in pieces]) for name in kept}
    columns["incident_energy"] = energy
    order = slice(None) if showers.order is None else showers.order
    return {name: column[order] for name, column in columns.items()}


def measure_histograms(
    pair: Pair, columns: Sequence[dict[str, Array]], challenge: Challenge, seed: int
) -> Iterator[tuple[str, Histogram | None, Number]]:
    """Measure the separation power of every histogram, in the order of ``evaluate.py``.

    Parameters
    ----------
    pair
        The showers.
    columns
        What `features` gave for them, reference first.
    challenge
        How they are evaluated.
    seed
        Of halvings and bootstrap.

    Yields
    ------
    The group that it is averaged with, the histogram, and its separation power times 1e3, named as
    in ``histogram_chi2_<data set>.txt``: value and error (a bootstrap over showers) of all, floor
    between halves of the reference.  Where there is none NaN and why.
    """
    halves = pair.halvings(HALVINGS, seed)[1]
    for group, name, unit, edges, values in tracked([*_numbers(challenge, columns)], "histograms"):
        why = ""
        if not len(edges):
            top = values[0].max()
            why = f"the reference has at most {top:.3g} MeV there, no range for its bins"
        elif any(np.isnan(v).all() for v in values):
            why = "one of the files has no shower of that energy"
        if why:
            yield group, None, Number(name, name, math.nan, unit="1e-3", says=why)
            continue
        rng = stream(seed, "calochallenge", name)
        places = [_places(v, edges) for v in values]
        counts = [_count(p, edges) for p in places]
        resampled = [rng.multinomial(c.sum(), c / c.sum(), RESAMPLINGS) for c in counts]
        parts = [[_count(places[0][half], edges) for half in side] for side in zip(*halves)]
        yield group, *_separated(name, unit, edges, int(counts[1].sum()), counts, resampled, parts)
    rng = stream(seed, "calochallenge", "voxels")
    yield "voxel", *_voxels(pair, challenge, halves, rng)


def _numbers(
    challenge: Challenge, columns: Sequence[dict[str, Array]]
) -> Iterator[tuple[str, str, str, Array, list[Array]]]:
    """Yield group, name, unit, edges (none without a range) and one number a shower of both.

    NaN: showers that it is not for.
    """
    layers = [
        (int(layer.name.removeprefix("layer_")), layer.name) for layer in challenge.geometry.layers
    ]
    response = [c["energy_total"] / c["incident_energy"] for c in columns]
    yield "energy_total", "Etot / Einc", "", np.linspace(0.5, 1.5, 101), response
    for number, layer in layers:
        energies = [c[f"energy_{layer}"] for c in columns]
        edges = _log_edges(challenge.threshold, energies[0].max(), 40)
        yield "energy_layer", f"E layer {number}", "MeV", edges, energies
    for title, kind, (regular, hadronic, others) in MOMENTS:
        for number, layer in layers:
            if (key := f"{kind}_{layer}") in columns[0]:
                ends = regular if not challenge.discrete else hadronic if number >= 12 else others
                moments = [c[key] for c in columns]
                yield kind, f"{title} layer {number}", "mm", np.linspace(*ends, 101), moments
    for number, layer in layers:
        empty = [1 - c[f"fraction_active_{layer}"] for c in columns]
        yield "sparsity", f"Sparsity layer {number}", "", np.linspace(0, 1, 21), empty
    for power in range(8, 23) if challenge.discrete else ():
        narrow = power > 11 and challenge.data_set == "1-photons"
        edges = np.linspace(0.9, 1.1, 21) if narrow else np.linspace(0.4, 1.4, 21)
        at = [
            np.where(np.frexp(c["incident_energy"])[1] == power + 1, r, np.nan)
            for c, r in zip(columns, response)
        ]
        yield "energy_discrete", f"Etot / Einc at E = {2.0**power}", "", edges, at


def _log_edges(low: float, high: float, count: int) -> Array:
    if high <= low:
        return np.zeros(0)
    return np.logspace(np.log10(low), np.log10(high), count)


def _places(values: npt.NDArray[np.floating], edges: Array) -> Places:
    """Return bins: 0 below the edges, then as `numpy.histogram`, then above, and last of NaN."""
    places = np.searchsorted(edges, values, side="right")
    places[values == edges[-1]] = len(edges) - 1  # the last bin holds its upper edge
    places[np.isnan(values)] = len(edges) + 1
    return places


def _count(places: Places, edges: Array) -> Places:
    return np.bincount(places, minlength=len(edges) + 2)[:-1]


def separations(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Return the separation power of two histograms, as ``evaluate.py`` has it, and with all.

    Parameters
    ----------
    a, b
        Counts over the last axis, the first and last of them under- and overflow.

    Returns
    -------
    Shape ``(2, ...)``: ``0.5 sum (p - q)^2 / (p + q + 1e-16)`` with p and q normalised to one
    inside the edges (NaN where one has nothing there), and the same with under- and overflow.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p, q = (x[..., 1:-1] / x[..., 1:-1].sum(-1, keepdims=True) for x in (a, b))
        inside = 0.5 * ((p - q) ** 2 / (p + q + TINY)).sum(-1)
        return np.stack([inside, distances.separation_power(a, b)])


def _separated(
    name: str, unit: str, edges: Array, n: int, counts: Counts, resampled: Counts, halves: Counts
) -> tuple[Histogram, Number]:
    """Return a histogram and its separation power, from those of samples, bootstraps and halves."""
    value, error = 1e3 * separations(*counts), 1e3 * separations(*resampled).std(1)
    floors = 1e3 * separations(*halves)
    floor, floor_error = floors.mean(1), floors.std(1)
    outside = [(int(c[0]), int(c[-1])) for c in counts]
    says = ""
    if any(map(sum, outside)):
        says = (
            f"{sum(outside[0]):,} of the reference and {sum(outside[1]):,} generated lie outside; "
            f"with them {written(value[1], '', error[1])}, floor {written(floor[1])}"
        )
    number = Number(
        name, name, float(value[0]), float(error[0]), float(floor[0]), float(floor_error[0]),
        n, "1e-3", says=says,
    )  # fmt: skip
    log = not np.allclose(np.diff(edges), edges[1] - edges[0])
    histogram = Histogram(
        name=name.lower().replace(" / ", "_over_").replace(" ", "_"),
        label=name,
        caption="",
        edges=edges,
        axis=Axis(name, unit, log),
        reference=counts[0][1:-1],
        generated=counts[1][1:-1],
        outside=(outside[0], outside[1]),
        log=log,
        text=f"separation {written(value[0], '1e-3', error[0])}",
    )
    return histogram, number


def _voxels(
    pair: Pair, challenge: Challenge, halves: Sequence[tuple[Rows, Rows]], rng: np.random.Generator
) -> tuple[Histogram, Number]:
    """Return that of voxel energies; resampled are showers, whose voxels correlate."""
    showers = Showers.of_pair(pair, "reference"), Showers.of_pair(pair, "generated")
    top = max(float(values.max()) for values in showers[0].pieces())
    edges = _log_edges(challenge.threshold, top, 50)
    if not len(edges):
        raise InputError(
            f"no voxel of the reference has more than {challenge.threshold:.3g} MeV, the "
            f"threshold of CaloChallenge's data set {challenge.data_set}; are the energies MeV?"
        )
    size = len(edges) + 1
    rows = []  # a histogram a shower
    for s in showers:
        pieces = []
        for values in s.pieces():
            places = _places(emptied(values, challenge), edges)
            places += np.arange(len(values))[:, None] * size
            pieces.append(np.bincount(places.ravel(), minlength=len(values) * size))
        rows.append(np.concatenate(pieces).reshape(-1, size).astype(np.float64))
    resampled = [
        rng.multinomial(len(r), np.full(len(r), 1 / len(r)), RESAMPLINGS) @ r for r in rows
    ]
    parts = [[rows[0][half].sum(0) for half in side] for side in zip(*halves)]
    counts = [r.sum(0) for r in rows]
    return _separated("Voxel distribution", "MeV", edges, len(rows[1]), counts, resampled, parts)
