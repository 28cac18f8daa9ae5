"""The two files of a benchmark: which rows are compared, and what to know about them.

What holds for every kind of sample, and the pair of two files of showers; fields have a pair of
their own, `emulators.benchmarks.field_report.pair`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from emulators.benchmarks.seen import Seen, copies, unseen
from emulators.data.dataset import Dataset
from emulators.data.spec import Samples, ShowerGeometry
from emulators.errors import InputError
from emulators.observables.showers import Array, observables
from emulators.random import stream

__all__ = [
    "MINIMUM_SHOWERS",
    "Pair",
    "Rows",
    "file_facts",
    "load_pair",
    "open_pair",
    "other_edges",
    "same_shapes",
]

MINIMUM_SHOWERS = 100

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Generated and reference showers in random order, and how they may be compared.

    ``paired`` says that shower i of one and shower i of the other have the same conditions, as when
    the emulator was given the reference's; then they stay together in every subset.
    ``trained`` are showers of the reference file that the training saw, none of them among the
    reference and not more than it has; empty where the file has none, or does not say.  ``rows``
    says which rows of their files ``generated`` and ``reference`` are.
    """

    generated: Samples
    reference: Samples
    trained: Samples
    geometry: ShowerGeometry
    paired: bool
    energy_p_value: float  # Kolmogorov-Smirnov, of the incident energies
    warnings: tuple[str, ...]
    files: dict[str, dict[str, Any]]
    rows: Mapping[str, Rows] = field(default_factory=dict)

    @property
    def energies(self) -> tuple[Array, Array]:
        """Incident energies of reference and generated, GeV."""
        first, second = (
            np.asarray(s.conditions["incident_energy"], np.float64)
            for s in (self.reference, self.generated)
        )
        return first, second

    @cached_property
    def observables(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Observables of reference and generated, each ``(n,)``: see `showers.observables`."""
        first, second = (
            _in_pieces(s.values, self.geometry, e)
            for s, e in zip((self.reference, self.generated), self.energies)
        )
        return first, second

    def halvings(
        self, count: int, seed: int, most: int | None = None
    ) -> tuple[Rows, list[tuple[Rows, Rows]]]:
        """Draw rows of the generated sample, and disjoint halves (A, B) of the reference.

        All are of one size, and the first ``most`` of each are returned.  Where the samples are
        paired the generated rows are the partners of the first B, so that value (generated against
        A) and floor (B against A) differ in the emulator alone, not in the incident energies.
        """
        n = len(self.reference)
        m = min(n // 2, len(self.generated))
        halves = []
        for k in range(count):
            rows = stream(seed, "halves", k).permutation(n)
            halves.append((rows[:m][:most], rows[m : 2 * m][:most]))
        return (halves[0][1] if self.paired else np.arange(m)[:most]), halves


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
    """Read both files, leaving out reference showers that the training saw, if that is known."""
    warnings: list[str] = []
    data, names = open_pair(generated, reference, warnings)
    geometry = _same_geometry(data["generated"], data["reference"])
    rows = {name: np.arange(len(d)) for name, d in data.items()}
    first, second = (d.read_conditions(0, len(d)) for d in data.values())
    paired = all(np.array_equal(first[name], second[name]) for name in names)
    seen = unseen(data["generated"], data["reference"], warnings)
    rows["reference"] = seen.rows
    if paired:
        rows["generated"] = rows["reference"]
    for name in data:
        order = stream(seed, "order", "both" if paired else name).permutation(len(rows[name]))
        rows[name] = rows[name][order[:max_samples]]
    samples = {name: _read(d, rows[name], name, names) for name, d in data.items()}
    trained = np.setdiff1d(seen.trained, seen.rows)
    trained = stream(seed, "trained").permutation(trained)[: len(rows["reference"])]

    p_values = dict.fromkeys(names, 1.0)
    if not paired:
        for name in names:
            used = (s.conditions[name] for s in samples.values())
            p_values[name] = float(ks_2samp(*used, method="asymp").pvalue)
    if different := [name.replace("_", " ") for name, p in p_values.items() if p < 0.01]:
        words = " and ".join(different).replace("incident energy", "incident energies")
        warnings.append(
            f"The {words} of the two files are distributed differently "
            f"(Kolmogorov-Smirnov p = {min(p_values.values()):.1g}). Everything that is not binned "
            "in them, the classifiers included, measures that difference too and cannot be read as "
            "a fault of the emulator. Generate with the reference's: emulators generate ... "
            f"--conditions {reference}"
        )
    return Pair(
        generated=samples["generated"],
        reference=samples["reference"],
        trained=data["reference"].take(trained),
        geometry=geometry,
        paired=paired,
        energy_p_value=p_values["incident_energy"],
        warnings=tuple(warnings),
        files=file_facts(data, {name: len(s) for name, s in samples.items()}, seen),
        rows=rows,
    )


def open_pair(
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


def _same_geometry(generated: Dataset, reference: Dataset) -> ShowerGeometry:
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
    return second


def same_shapes(first: ShowerGeometry, second: ShowerGeometry) -> bool:
    """Tell whether two readouts have the same axes and numbers of cells, layer by layer."""
    one, other = ([(a.axes, a.shape) for a in g.layers] for g in (first, second))
    return one == other


def other_edges(first: ShowerGeometry, second: ShowerGeometry) -> list[str]:
    """Return the layers whose cells have other edges, of readouts of the same shapes."""
    return [
        b.name
        for a, b in zip(first.layers, second.layers)
        if not all(np.allclose(e, f) for e, f in zip(a.edges, b.edges))
    ]


def file_facts(
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


def _read(data: Dataset, rows: Rows, name: str, conditions: tuple[str, ...]) -> Samples:
    if len(rows) < MINIMUM_SHOWERS:
        raise InputError(
            f"{data.path}: {len(rows)} {name} showers to compare; a benchmark needs at least "
            f"{MINIMUM_SHOWERS}"
        )
    samples = data.take(rows)
    energy = samples.conditions["incident_energy"]
    bad = ~np.isfinite(samples.values).all(1) | ~np.isfinite(energy) | (energy <= 0)
    if bad.any():
        raise InputError(
            f"{data.path}: {int(bad.sum())} showers (the first is row {int(rows[bad].min())}) hold "
            "NaN, infinity or no incident energy; see: emulators data check"
        )
    return Samples(samples.values, {k: samples.conditions[k] for k in conditions})
