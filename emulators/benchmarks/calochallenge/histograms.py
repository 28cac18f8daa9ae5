"""The histograms of CaloChallenge's ``evaluate.py``: its thresholds, bins and ranges.

It drops entries outside its bins (``density=True``); here they are counted too, and each separation
power stands beside the one that takes them in.

References
----------
Krause et al., arXiv:2410.21611; separation power: Diefenbacher et al., arXiv:2009.03796, eq. 15.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.pair import Pair, Rows
from emulators.data.geometries import calochallenge
from emulators.data.hdf5 import HDF5Reader
from emulators.data.layouts import calochallenge as layout
from emulators.data.spec import MEV_PER_GEV, ReadoutLayer, Samples, ShowerGeometry
from emulators.errors import InputError
from emulators.observables import distances
from emulators.observables.showers import Array, observables
from emulators.progress import tracked
from emulators.random import stream

HALVINGS, RESAMPLINGS = 20, 100

__all__ = [
    "CHALLENGES",
    "Challenge",
    "Showers",
    "emptied",
    "features",
    "measure_histograms",
    "separations",
]

Found = dict[str, Array]

_TINY = 1e-16  # in evaluate.py's separation power, against 0 / 0


@dataclass(frozen=True)
class Challenge:
    """How one data set of CaloChallenge is evaluated.

    Parameters
    ----------
    data_set
        ``1-photons``, ``1-pions``, ``2`` or ``3``.
    threshold
        Voxels below it count as empty, MeV.
    image
        Layers, alpha bins and r bins, where all layers are alike and a residual network is trained.
    """

    data_set: str
    threshold: float
    image: tuple[int, int, int] | None = None

    @property
    def discrete(self) -> bool:
        """Whether the showers have 15 incident energies, powers of two."""
        return self.data_set.startswith("1-")

    @cached_property
    def geometry(self) -> ShowerGeometry:
        """The readout."""
        return calochallenge(self.data_set)


# By the preset of `emulators benchmark`.  A readout of 0.5 keV over a sampling fraction of 0.033.
CHALLENGES = {
    "calochallenge-1-photons": Challenge("1-photons", 1.0),
    "calochallenge-1-pions": Challenge("1-pions", 1.0),
    "calochallenge-2": Challenge("2", 0.5e-3 / 0.033, (45, 16, 9)),
    "calochallenge-3": Challenge("3", 0.5e-3 / 0.033, (45, 50, 18)),
}


def measure_histograms(
    pair: Pair, found: tuple[Found, Found], challenge: Challenge, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure the separation power of every histogram.

    Parameters
    ----------
    pair
        The showers.
    found
        What `features` gave for them.
    challenge
        How they are evaluated.
    seed
        Of halvings and bootstrap.

    Returns
    -------
    An entry for each histogram: ``reference`` and ``generated`` counts, and the separation power
    ``compatible`` with ``evaluate.py`` and ``counted`` with under- and overflow, of all showers;
    errors are bootstraps over showers, floors means over halvings of the reference.  Then, for each
    histogram that cannot be, why.
    """
    halves = pair.halvings(HALVINGS, seed)[1]
    entries, left_out = [], []
    for histogram in tracked([*_histograms(challenge, found)], "histograms"):
        if isinstance(histogram, str):
            left_out.append(histogram)
        else:
            rng = stream(seed, "calochallenge", histogram.name)
            entries.append(_entry(histogram, _measured(histogram, halves, rng)))
    showers = Showers.of_pair(pair, "reference"), Showers.of_pair(pair, "generated")
    rng = stream(seed, "calochallenge", "voxels")
    entries.append(_voxels(showers, challenge, halves, rng))
    return entries, left_out


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


def features(showers: Showers, challenge: Challenge) -> Found:
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
    found = {name: np.concatenate([p[name] for p in pieces]) for name in kept}
    found["incident_energy"] = energy
    if showers.order is None:
        return found
    return {name: column[showers.order] for name, column in found.items()}


def emptied(values: npt.NDArray[Any], challenge: Challenge) -> npt.NDArray[Any]:
    """Return voxels in their precision, those below the threshold 0."""
    return np.where(values < challenge.threshold, values.dtype.type(0), values)


@dataclass(frozen=True)
class _Histogram:
    """One number a shower, reference and generated, NaN for showers that it is not for."""

    name: str  # as ``histogram_chi2_<data set>.txt`` has it
    group: str
    unit: str
    edges: Array
    values: tuple[Array, Array]


def _histograms(challenge: Challenge, found: tuple[Found, Found]) -> Iterator[_Histogram | str]:
    """Yield histograms in their order; for one that cannot be, why."""
    response = [f["energy_total"] / f["incident_energy"] for f in found]
    wide = np.linspace(0.5, 1.5, 101)
    yield _Histogram("Etot / Einc", "energy_total", "", wide, (response[0], response[1]))
    for layer in challenge.geometry.layers:
        number, energies = _number(layer), [f[f"energy_{layer.name}"] for f in found]
        name, top = f"E layer {number}", energies[0].max()
        if top <= challenge.threshold:
            yield f"{name}: the reference has at most {top:.3g} MeV there, no range for its bins"
            continue
        edges = np.logspace(np.log10(challenge.threshold), np.log10(top), 40)
        yield _Histogram(name, "energy_layer", "MeV", edges, (energies[0], energies[1]))
    for title, kind, axis in _MOMENTS:
        for layer in challenge.geometry.layers:
            key = f"{kind}_{axis}_{layer.name}"
            if key in found[0]:
                edges = np.linspace(*_range(kind, axis, _number(layer), challenge), 101)
                name, values = f"{title} layer {_number(layer)}", (found[0][key], found[1][key])
                yield _Histogram(name, f"{kind}_{axis}", "mm", edges, values)
    for layer in challenge.geometry.layers:
        empty = [1 - f[f"fraction_active_{layer.name}"] for f in found]
        name, edges = f"Sparsity layer {_number(layer)}", np.linspace(0, 1, 21)
        yield _Histogram(name, "sparsity", "", edges, (empty[0], empty[1]))
    if challenge.discrete:
        yield from _at_each_energy(challenge, found, response)


def _at_each_energy(
    challenge: Challenge, found: tuple[Found, Found], response: list[Array]
) -> Iterator[_Histogram | str]:
    for power in range(8, 23):
        narrow = power > 11 and challenge.data_set == "1-photons"
        edges = np.linspace(0.9, 1.1, 21) if narrow else np.linspace(0.4, 1.4, 21)
        chosen = []
        for f, values in zip(found, response):
            energy = f["incident_energy"]
            inside = (energy >= 2**power) & (energy < 2 ** (power + 1))
            chosen.append(np.where(inside, values, np.nan))
        name = f"Etot / Einc at E = {2.0**power}"
        if any(np.isnan(values).all() for values in chosen):
            yield f"{name}: one of the files has no shower of that energy"
            continue
        yield _Histogram(name, "energy_total_discrete", "", edges, (chosen[0], chosen[1]))


_MOMENTS = (
    ("EC Eta", "centre", "eta"),
    ("EC Phi", "centre", "phi"),
    ("Width Eta", "width", "eta"),
    ("Width Phi", "width", "phi"),
    ("EC r", "centre", "r"),
    ("Width r", "width", "r"),
)
# Where bins begin and end, mm: in data sets 2 and 3, in the hadronic layers (12 and deeper) of data
# set 1, in its others.
_RANGES = {
    ("centre", False): ((-30.0, 30.0), (-500.0, 500.0), (-100.0, 100.0)),
    ("width", False): ((0.0, 30.0), (0.0, 400.0), (0.0, 100.0)),
    ("centre", True): ((0.0, 42.0), (0.0, 1500.0), (0.0, 500.0)),
    ("width", True): ((0.0, 20.0), (0.0, 1500.0), (0.0, 500.0)),
}


def _range(kind: str, axis: str, number: int, challenge: Challenge) -> tuple[float, float]:
    regular, hadronic, others = _RANGES[kind, axis == "r"]
    if not challenge.discrete:
        return regular
    return hadronic if number >= 12 else others


def _number(layer: ReadoutLayer) -> int:
    return int(layer.name.removeprefix("layer_"))


def separations(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the separation power of two histograms, as ``evaluate.py`` has it, and with all.

    Parameters
    ----------
    a, b
        Counts over the last axis, the first and last of them under- and overflow.

    Returns
    -------
    ``0.5 sum (p - q)^2 / (p + q + 1e-16)`` with p and q normalised to one inside the edges (NaN
    where one has nothing inside), and the same with under- and overflow counted.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p, q = (x[..., 1:-1] / x[..., 1:-1].sum(-1, keepdims=True) for x in (a, b))
        inside = 0.5 * ((p - q) ** 2 / (p + q + _TINY)).sum(-1)
        return np.asarray(inside), distances.separation_power(a, b)


@dataclass(frozen=True)
class _Measured:
    counts: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    resampled: tuple[npt.NDArray[Any], npt.NDArray[Any]]  # (resamplings, bins + 2)
    halves: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]


def _measured(
    histogram: _Histogram, halves: list[tuple[Rows, Rows]], rng: np.random.Generator
) -> _Measured:
    places = [_places(v, histogram.edges) for v in histogram.values]
    size = len(histogram.edges) + 1

    def count(where: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.bincount(where, minlength=size + 1)[:size]

    counts = count(places[0]), count(places[1])
    drawn = [
        rng.multinomial(n, c / n, RESAMPLINGS) if (n := c.sum()) else np.tile(c, (RESAMPLINGS, 1))
        for c in counts
    ]
    parts = [(count(places[0][a]), count(places[0][b])) for a, b in halves]
    return _Measured(counts, (drawn[0], drawn[1]), parts)


def _places(values: npt.NDArray[np.floating], edges: Array) -> npt.NDArray[np.int64]:
    """Return bins: 0 below the edges, then as `numpy.histogram`, then above, and last of NaN."""
    places = np.searchsorted(edges, values, side="right")
    places[values == edges[-1]] = len(edges) - 1  # the last bin holds its upper edge
    places[np.isnan(values)] = len(edges) + 1
    return places


def _entry(histogram: _Histogram, measured: _Measured) -> dict[str, Any]:
    """Return the entry of one histogram."""
    log = not np.allclose(np.diff(histogram.edges), histogram.edges[1] - histogram.edges[0])
    value = separations(*measured.counts)
    errors = [x.std() for x in separations(*measured.resampled)]
    floors = np.array([separations(*pair) for pair in measured.halves])
    return {
        "name": histogram.name,
        "group": histogram.group,
        "unit": histogram.unit,
        "bins": {
            "low": histogram.edges[0],
            "high": histogram.edges[-1],
            "count": len(histogram.edges) - 1,
            "log": log,
        },
        **{
            f"{kind}": {
                "n": int(c.sum()),
                "below": int(c[0]),
                "above": int(c[-1]),
                "counts": c[1:-1],
            }
            for kind, c in zip(("reference", "generated"), measured.counts)
        },
        **{
            kind: {
                "value": float(value[i]),
                "error": float(errors[i]),
                "floor": float(floors[:, i].mean()),
                "floor_error": float(floors[:, i].std()),
                "floor_n": float(np.mean([a.sum() for a, _ in measured.halves])),
            }
            for i, kind in enumerate(("compatible", "counted"))
        },
    }


def _voxels(
    showers: tuple[Showers, Showers],
    challenge: Challenge,
    halves: list[tuple[Rows, Rows]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return the entry of the voxel energies; resampled are showers, whose voxels correlate."""
    top = max(float(values.max()) for values in showers[0].pieces())
    if top <= challenge.threshold:
        raise InputError(
            f"no voxel of the reference has more than {challenge.threshold:.3g} MeV, the "
            f"threshold of CaloChallenge's data set {challenge.data_set}; are the energies MeV?"
        )
    edges = np.logspace(np.log10(challenge.threshold), np.log10(top), 50)
    size = len(edges) + 1
    rows = []
    for s in showers:
        counted = []
        for values in s.pieces():
            places = _places(emptied(values, challenge), edges)
            places += np.arange(len(values))[:, None] * size
            counted.append(np.bincount(places.ravel(), minlength=len(values) * size))
        rows.append(np.concatenate(counted).reshape(-1, size).astype(np.float64))
    counts = rows[0].sum(0), rows[1].sum(0)
    drawn = [
        np.stack(
            [
                np.bincount(rng.integers(0, len(r), len(r)), minlength=len(r)) @ r
                for _ in range(RESAMPLINGS)
            ]
        )
        for r in rows
    ]
    parts = [(rows[0][a].sum(0), rows[0][b].sum(0)) for a, b in halves]
    histogram = _Histogram("Voxel distribution", "voxel", "MeV", edges, (edges, edges))
    return _entry(histogram, _Measured(counts, (drawn[0], drawn[1]), parts))
