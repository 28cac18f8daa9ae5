"""The two files of a benchmark: which samples are compared, and what to know about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import kstwobign

from emulators.benchmarks.seen import Seen, copies, unseen
from emulators.data.dataset import Dataset
from emulators.data.spec import Grid, Samples, SampleSpec, ShowerGeometry
from emulators.errors import InputError
from emulators.observables.showers import Array, observables
from emulators.random import stream

__all__ = ["FEW_SIMULATIONS", "MINIMUM", "Pair", "Rows", "load_pair", "other_edges", "same_shapes"]

MINIMUM = {"shower": 100}  # samples of each file; of other kinds `FEWEST`
FEWEST = 8
FEW_SIMULATIONS = 10  # with fewer no classifier: five in each half of the reference
CELLS = 1 << 23  # read at once

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Generated and reference samples, and how they may be compared.

    Every mapping has the entries ``generated`` and ``reference``.

    Parameters
    ----------
    data
        The files.
    spec
        Of the reference.
    rows
        Which of their rows are compared: of showers in random order, of others in that of the file,
        so that they can be read a few at a time.
    trained
        Rows of the reference file that the training saw, none of them among the ``reference``;
        empty where the file has none, or does not say.
    names
        The conditions that both files have.
    conditions
        Of the rows compared, ``(n, names)``, in the units of the spec.
    simulations
        Number of the simulation that each of these rows is from; where a file does not say, every
        sample is one.
    paired
        Whether sample i of one and sample i of the other have the same conditions, as when the
        emulator was given the reference's; then they stay together in every subset.
    p_values
        Kolmogorov-Smirnov, of each condition.
    warnings, files
        For the reader; for the record.
    """

    data: Mapping[str, Dataset]
    spec: SampleSpec
    rows: Mapping[str, Rows]
    trained: Rows
    names: tuple[str, ...]
    conditions: Mapping[str, Array]
    simulations: Mapping[str, npt.NDArray[Any]]
    paired: bool
    p_values: Mapping[str, float]
    warnings: tuple[str, ...]
    files: dict[str, dict[str, Any]]

    @property
    def kind(self) -> str:
        """What the samples are."""
        return self.spec.kind

    @property
    def geometry(self) -> ShowerGeometry:
        """The readout of both, of showers."""
        assert self.spec.geometry is not None
        return self.spec.geometry

    @property
    def grid(self) -> Grid:
        """The grid of both, of fields."""
        assert self.spec.grid is not None
        return self.spec.grid

    @cached_property
    def reference(self) -> Samples:
        """The reference samples that are compared, in memory."""
        return self._samples("reference")

    @cached_property
    def generated(self) -> Samples:
        """The generated samples that are compared, in memory."""
        return self._samples("generated")

    @cached_property
    def seen(self) -> Samples:
        """Samples of the reference file that the training saw, not more than are compared."""
        return self.data["reference"].take(self.trained)

    @cached_property
    def shared(self) -> dict[Any, Any]:
        """What several chapters measure alike, by a name: kept as long as the pair."""
        return {}

    @property
    def energies(self) -> tuple[Array, Array]:
        """Incident energies of reference and generated showers, GeV."""
        column = self.names.index("incident_energy")
        return self.conditions["reference"][:, column], self.conditions["generated"][:, column]

    @cached_property
    def observables(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Observables of reference and generated showers, each ``(n,)``: `showers.observables`."""
        first, second = (
            _in_pieces(s.values, self.geometry, e)
            for s, e in zip((self.reference, self.generated), self.energies)
        )
        return first, second

    @cached_property
    def groups(self) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
        """Simulation of each generated and each reference sample; None where every one is its own.

        As `emulators.observables.resampling` takes them.
        """
        first, second = (
            None if len(np.unique(s)) == len(s) else s
            for s in (self.simulations["generated"], self.simulations["reference"])
        )
        return first, second

    @property
    def independent(self) -> int | None:
        """Simulations of the side that has fewer, where samples share some."""
        if all(group is None for group in self.groups):
            return None
        return min(len(np.unique(s)) for s in self.simulations.values())

    def halvings(
        self, count: int, seed: int, most: int | None = None
    ) -> tuple[Rows, list[tuple[Rows, Rows]]]:
        """Draw positions of generated samples, and disjoint halves (A, B) of the reference.

        All are of one size, and the first ``most`` of each are returned.  Where the samples are
        paired the generated rows are the partners of the first B, so that value (generated against
        A) and floor (B against A) differ in the emulator alone, not in what was asked for.
        """
        n = len(self.rows["reference"])
        m = min(n // 2, len(self.rows["generated"]))
        halves = []
        for k in range(count):
            rows = stream(seed, "halves", k).permutation(n)
            halves.append((rows[:m][:most], rows[m : 2 * m][:most]))
        return (halves[0][1] if self.paired else np.arange(m)[:most]), halves

    def at_most(self, name: str, cells: int, seed: int) -> Rows:
        """Return positions in ``rows`` of as many samples as have so many cells, at random."""
        n = len(self.rows[name])
        most = max(FEWEST, cells // prod(self.spec.shape[1:]))
        which = "both" if self.paired else name
        return np.sort(stream(seed, "subset", which).permutation(n)[:most])

    def read(self, name: str, channel: int, positions: Rows) -> npt.NDArray[np.float32]:
        """Return one channel of the samples at these positions in ``rows``, ``(n, *cells)``."""
        rows = self.rows[name][positions]
        values = self.data[name].take(rows).values[:, channel]
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            raise InputError(
                f"{self.data[name].path}: {self.kind} {rows[~finite][0]} holds NaN or infinity; "
                "see: emulators data check"
            )
        return values

    def pieces(self, name: str, channel: int, positions: Rows) -> Iterator[npt.NDArray[np.float32]]:
        """Read these samples a few at a time."""
        step = max(1, CELLS // prod(self.spec.shape))
        for start in range(0, len(positions), step):
            yield self.read(name, channel, positions[start : start + step])

    def _samples(self, name: str) -> Samples:
        samples = self.data[name].take(self.rows[name])
        bad = ~np.isfinite(samples.values).reshape(len(samples), -1).all(1)
        if bad.any():
            raise InputError(
                f"{self.data[name].path}: {int(bad.sum())} {self.kind}s (the first is row "
                f"{int(self.rows[name][bad].min())}) hold NaN or infinity; see: emulators data "
                "check"
            )
        return Samples(samples.values, {k: samples.conditions[k] for k in self.names})


def _in_pieces(values: Any, geometry: ShowerGeometry, energy: Array) -> dict[str, Array]:
    """Compute the observables in pieces: float64 copies of all cells may not fit into memory."""
    rows = max(1, 4_000_000 // geometry.n_cells)
    pieces = [
        observables(values[i : i + rows], geometry, energy[i : i + rows])
        for i in range(0, len(values), rows)
    ]
    return {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}


def load_pair(
    generated: str | Path, reference: str | Path, max_samples: int | None, seed: int
) -> Pair:
    """Open both files, leaving out reference samples that the training saw, if that is known.

    Raises
    ------
    InputError
        They cannot be compared, one is a copy of the other, or they hold too few samples.
    """
    warnings: list[str] = []
    data, names = _open(generated, reference, warnings)
    _require_alike(data["generated"], data["reference"])
    kind = data["reference"].spec.kind
    tables = {name: _conditions(d, names) for name, d in data.items()}
    paired = bool(names) and np.array_equal(tables["generated"], tables["reference"])
    seen = unseen(data["generated"], data["reference"], warnings)
    rows = {"generated": np.arange(len(data["generated"])), "reference": seen.rows}
    if paired:
        rows["generated"] = rows["reference"]
    for name, d in data.items():
        order = stream(seed, "order", "both" if paired else name).permutation(len(rows[name]))
        chosen = rows[name][order[:max_samples]]
        rows[name] = chosen if kind == "shower" else np.sort(chosen)
        if len(chosen) < (fewest := MINIMUM.get(kind, FEWEST)):
            raise InputError(
                f"{d.path}: {len(chosen)} {name} {kind}s to compare; a benchmark needs at least "
                f"{fewest}"
            )
    conditions = {name: tables[name][rows[name]] for name in data}
    simulations = {
        name: rows[name] if d.simulations is None else d.simulations[rows[name]]
        for name, d in data.items()
    }
    count = len(np.unique(simulations["reference"]))
    if count < FEW_SIMULATIONS:
        warnings.append(
            f"The {len(rows['reference'])} reference {kind}s are from {count} "
            f"simulation{'s' if count > 1 else ''}: errors and floors are resampled over "
            "simulations, and rough guesses with so few; no classifier is trained, since its floor "
            f"takes {FEW_SIMULATIONS}."
        )
    p_values = {
        n: 1.0 if paired else _p_value(conditions, simulations, i) for i, n in enumerate(names)
    }
    if different := [n.replace("_", " ") for n, p in p_values.items() if p < 0.01]:
        words = " and ".join(different)
        warnings.append(
            f"The {words} of the two files are distributed differently (Kolmogorov-Smirnov p = "
            f"{min(p_values.values()):.1g}). Everything that is not measured at equal conditions, "
            "the classifiers included, measures that difference too and cannot be read as a fault "
            "of the emulator. Generate with the reference's: emulators generate ... --conditions "
            f"{reference}"
        )
    trained = np.setdiff1d(seen.trained, seen.rows)
    if kind == "shower":  # as many as are compared are enough, and all are held in memory
        trained = stream(seed, "trained").permutation(trained)[: len(rows["reference"])]
    return Pair(
        data=data,
        spec=data["reference"].spec,
        rows=rows,
        trained=trained,
        names=names,
        conditions=conditions,
        simulations=simulations,
        paired=paired,
        p_values=p_values,
        warnings=tuple(warnings),
        files=_facts(data, {name: len(r) for name, r in rows.items()}, seen),
    )


def _open(
    generated: str | Path, reference: str | Path, warnings: list[str]
) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """Open both files, and tell which conditions they have in common.

    A column beside the samples of one file is a condition where it is one of the other's.
    """
    paths = {"generated": generated, "reference": reference}
    stated = {name: Dataset(path) for name, path in paths.items()}
    asked = {c.name for d in stated.values() for c in d.spec.conditions}
    data = {
        name: Dataset(path, conditions=sorted(asked & stated[name].beside.keys()))
        for name, path in paths.items()
    }
    first, second = ({c.name: c.unit for c in d.spec.conditions} for d in data.values())
    names = tuple(name for name in second if name in first)
    if alone := sorted(first.keys() ^ second.keys()):
        warnings.append(
            f"Only one of the files has {', '.join(alone)}: what depends on it is not told apart."
        )
    if other := [name for name in names if first[name] != second[name]]:
        units = " and ".join(f"'{table[other[0]]}'" for table in (first, second))
        raise InputError(
            f"{generated} and {reference}: {other[0]} is in {units}: state the same unit in both"
        )
    return data, names


def _require_alike(generated: Dataset, reference: Dataset) -> None:
    """Raise InputError unless samples of the two files can be compared."""
    first, second = generated.spec, reference.spec
    if first.kind != second.kind:
        raise InputError(
            f"{generated.path} holds {first.kind}s and {reference.path} {second.kind}s: they "
            "cannot be compared"
        )
    if first.kind == "shower":
        _require_same_geometry(generated, reference)
    said: list[tuple[str, Any, Any]] = [
        ("cells", first.shape[1:], second.shape[1:]),
        ("unit", first.unit, second.unit),
    ]
    if first.grid is not None and second.grid is not None:
        if len(first.shape) not in (3, 4):
            raise InputError(
                f"{generated.path}: fields on axes {', '.join(first.grid.axes)}; a benchmark is "
                "for maps and boxes, two axes or three"
            )
        said += [
            (words, getattr(first.grid, key), getattr(second.grid, key))
            for words, key in (
                ("channels", "channels"), ("unit of length", "unit"), ("periodic", "periodic"),
            )
        ]  # fmt: skip
        if not np.allclose(first.grid.lengths, second.grid.lengths):
            said.append(("lengths", first.grid.lengths, second.grid.lengths))
    for words, a, b in said:
        if a != b:
            raise InputError(
                f"{generated.path} and {reference.path} differ in {words} and cannot be compared: "
                f"{_words(a)} and {_words(b)}"
            )


def _require_same_geometry(generated: Dataset, reference: Dataset) -> None:
    first, second = generated.spec.geometry, reference.spec.geometry
    if first is None or second is None:
        raise InputError(f"{generated.path}: not a file of showers with a known geometry")
    if not same_shapes(first, second):
        raise InputError(
            f"{generated.path} ({first.name}, {first.n_cells} cells) and {reference.path} "
            f"({second.name}, {second.n_cells} cells) differ in geometry and cannot be compared"
        )
    if other := other_edges(first, second):
        raise InputError(
            f"{generated.path} and {reference.path}: the cells of layer {other[0]} have "
            "different edges and cannot be compared"
        )


def same_shapes(first: ShowerGeometry, second: ShowerGeometry) -> bool:
    """Tell whether two readouts have the same axes and numbers of cells, layer by layer."""
    a, b = ([(layer.axes, layer.shape) for layer in g.layers] for g in (first, second))
    return a == b


def other_edges(first: ShowerGeometry, second: ShowerGeometry) -> list[str]:
    """Return the layers whose cells have other edges, of readouts of the same shapes."""
    return [
        b.name
        for a, b in zip(first.layers, second.layers)
        if not all(np.allclose(e, f) for e, f in zip(a.edges, b.edges))
    ]


def _words(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else ", ".join(map(str, value))


def _conditions(data: Dataset, names: tuple[str, ...]) -> Array:
    columns = data.read_conditions(0, len(data))
    table = np.stack([columns[n] for n in names], 1) if names else np.empty((len(data), 0))
    bad = ~np.isfinite(table).all(1)
    if data.spec.kind == "shower":
        bad |= ~(np.asarray(columns["incident_energy"]) > 0)
    if bad.any():
        raise InputError(
            f"{data.path}: row {int(np.flatnonzero(bad)[0])} has a condition that is NaN or "
            "infinite, or no incident energy; see: emulators data check"
        )
    return table.astype(np.float64)


def _p_value(
    conditions: Mapping[str, Array], simulations: Mapping[str, npt.NDArray[Any]], index: int
) -> float:
    """Return how likely two draws of one law differ so: samples of a simulation are one draw."""
    values = [np.sort(conditions[name][:, index]) for name in ("generated", "reference")]
    pooled = np.concatenate(values)
    shares = [np.searchsorted(v, pooled, side="right") / len(v) for v in values]
    n, m = (len(np.unique(simulations[name])) for name in ("generated", "reference"))
    largest = np.abs(shares[0] - shares[1]).max()
    return float(kstwobign.sf(largest * np.sqrt(n * m / (n + m))))


def _facts(
    data: Mapping[str, Dataset], used: Mapping[str, int], seen: Seen
) -> dict[str, dict[str, Any]]:
    """Return what the record says of both files; InputError where they are the same."""
    facts = {
        name: {
            "path": str(d.path),
            "sha256": d.sha256,
            f"{d.spec.kind}s": len(d),
            "used": used[name],
            "layout": d.layout,
            "attributes": {k: str(v) for k, v in d.attributes.items() if np.ndim(v) == 0},
        }
        for name, d in data.items()
    }
    facts["generated"]["copies"] = copies(data["generated"], data["reference"], seen)
    facts["reference"]["selection"] = seen.words
    return facts
