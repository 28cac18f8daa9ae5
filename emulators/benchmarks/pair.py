"""The two files of a benchmark: which rows are compared, and what to know about them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from emulators.benchmarks.showers import Array
from emulators.data.dataset import Dataset, split_rows
from emulators.data.spec import Samples, ShowerGeometry
from emulators.errors import InputError
from emulators.random import stream

__all__ = ["MINIMUM_SHOWERS", "Pair", "load_pair"]

MINIMUM_SHOWERS = 100

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Generated and reference showers in random order, and how they may be compared.

    ``paired`` says that shower i of one and shower i of the other have the same incident energy, as
    when the emulator was given the reference's; then they stay together in every subset.
    """

    generated: Samples
    reference: Samples
    geometry: ShowerGeometry
    paired: bool
    energy_p_value: float  # Kolmogorov-Smirnov, of the incident energies
    warnings: tuple[str, ...]
    files: dict[str, dict[str, Any]]

    @property
    def energies(self) -> tuple[Array, Array]:
        """Incident energies of reference and generated, GeV."""
        first, second = (
            np.asarray(s.conditions["incident_energy"], np.float64)
            for s in (self.reference, self.generated)
        )
        return first, second

    def halvings(self, count: int, seed: int) -> tuple[Rows, list[tuple[Rows, Rows]]]:
        """Draw rows of the generated sample, and disjoint halves (A, B) of the reference.

        All are of one size.  Where the samples are paired the generated rows are the partners of
        the first B, so that value (generated against A) and floor (B against A) differ in the
        emulator alone, not in the incident energies.
        """
        n = len(self.reference)
        m = min(n // 2, len(self.generated))
        halves = []
        for k in range(count):
            rows = stream(seed, "halves", k).permutation(n)
            halves.append((rows[:m], rows[m : 2 * m]))
        return (halves[0][1] if self.paired else np.arange(m)), halves


def load_pair(
    generated: str | Path, reference: str | Path, max_samples: int | None, seed: int
) -> Pair:
    """Read both files, leaving out reference showers that the training saw, if that is known."""
    data = {"generated": Dataset(generated), "reference": Dataset(reference)}
    geometry = _same_geometry(data["generated"], data["reference"])
    warnings: list[str] = []
    rows = {name: np.arange(len(d)) for name, d in data.items()}
    energies = {
        name: np.asarray(d.read_conditions(0, len(d))["incident_energy"])
        for name, d in data.items()
    }
    paired = np.array_equal(energies["generated"], energies["reference"])
    rows["reference"], provenance = _unseen(data["generated"], data["reference"], warnings)
    if paired:
        rows["generated"] = rows["reference"]
    for name in data:
        order = stream(seed, "order", "both" if paired else name).permutation(len(rows[name]))
        rows[name] = rows[name][order[:max_samples]]
    samples = {name: _read(d, rows[name], name) for name, d in data.items()}

    p_value = 1.0
    if not paired:
        used = (s.conditions["incident_energy"] for s in samples.values())
        p_value = float(ks_2samp(*used, method="asymp").pvalue)
    if p_value < 0.01:
        warnings.append(
            "The incident energies of the two files are distributed differently "
            f"(Kolmogorov-Smirnov p = {p_value:.1g}). Everything that is not binned in energy, the "
            "classifiers included, measures that difference too and cannot be read as a fault of "
            "the emulator. Generate with the reference's energies: emulators generate ... "
            f"--conditions {reference}"
        )
    return Pair(
        generated=samples["generated"],
        reference=samples["reference"],
        geometry=geometry,
        paired=paired,
        energy_p_value=p_value,
        warnings=tuple(warnings),
        files={
            name: {
                "path": str(d.path),
                "sha256": d.sha256,
                "showers": len(d),
                "used": len(samples[name]),
                "layout": d.layout,
                "attributes": _texts(d.attributes),
            }
            | ({"selection": provenance} if name == "reference" else {})
            for name, d in data.items()
        },
    )


def _same_geometry(generated: Dataset, reference: Dataset) -> ShowerGeometry:
    first, second = generated.spec.geometry, reference.spec.geometry
    if first is None or second is None:
        raise InputError(f"{generated.path}: not a file of showers with a known geometry")
    if [(a.axes, a.shape) for a in first.layers] != [(b.axes, b.shape) for b in second.layers]:
        raise InputError(
            f"{generated.path} ({first.name}, {first.n_cells} cells) and {reference.path} "
            f"({second.name}, {second.n_cells} cells) differ in geometry and cannot be compared"
        )
    for a, b in zip(first.layers, second.layers):
        if not all(np.allclose(e, f) for e, f in zip(a.edges, b.edges)):
            raise InputError(
                f"{generated.path} and {reference.path}: the cells of layer {b.name} have "
                "different edges and cannot be compared"
            )
    return second


def _unseen(generated: Dataset, reference: Dataset, warnings: list[str]) -> tuple[Rows, str]:
    """Return the reference rows that the training did not see, and words on what is known."""
    every = np.arange(len(reference))
    trained_on = str(generated.attributes.get("training_data_sha256", ""))
    if not trained_on:
        return every, (
            "all showers of the file; the generated file does not say what the emulator was "
            "trained on, so it cannot be told whether the training saw them"
        )
    if trained_on not in (reference.sha256, reference.attributes.get("source_sha256")):
        return every, "all showers of the file, which is not the file that was trained on"
    try:
        split = json.loads(str(generated.attributes.get("training_split", "{}")))
        shares = {k: split[k] for k in ("validation", "test", "seed")}
        total = sum(split.get("rows", {"all": len(reference)}).values())
        test = split_rows(total, **shares)["test"]
    except (ValueError, KeyError, TypeError):
        test = every[:0]
    origin = every if trained_on == reference.sha256 else _source_rows(reference)
    if origin is None:
        warnings.append(
            "The reference was cut from the file that the emulator was trained on, and does not "
            "say which rows it holds: the training may have seen them."
        )
        return every, "all showers of the file, which the training may have seen"
    rows = every[np.isin(origin, test)]
    if not len(rows):
        warnings.append(
            "The emulator was trained on the showers of the reference, and none of them was held "
            "out for testing: a memorised shower would look perfect. Compare with showers that "
            "the training did not see."
        )
        return every, "all showers of the file, which the emulator was trained on"
    return rows, (
        f"the showers of the test split of the file that was trained on ({len(rows)} of the "
        f"{len(reference)} in this file, split seed {shares['seed']}), which the training did not "
        "see"
    )


def _source_rows(data: Dataset) -> Rows | None:
    """Return which rows of its source a file holds, as `convert` and `split` write it."""
    said = str(data.attributes.get("source_rows", ""))
    if found := re.fullmatch(r"(\d+):(\d+)", said):
        rows = np.arange(int(found[1]), int(found[2]))
    elif found := re.fullmatch(r"split_rows\((\d+), (.*)\)\['(\w+)'\]", said):
        named = dict(re.findall(r"(\w+)=([\d.e-]+)", found[2]))
        shares = float(named["validation"]), float(named["test"])
        rows = split_rows(int(found[1]), *shares, int(named["seed"]))[found[3]]
    else:
        return None
    return rows if len(rows) == len(data) else None


def _read(data: Dataset, rows: Rows, name: str) -> Samples:
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
    return samples


def _texts(attributes: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in attributes.items() if np.ndim(value) == 0}
