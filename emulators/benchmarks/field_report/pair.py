"""The two files of a benchmark of fields: which are compared, and what to know about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import kstwobign

from emulators.benchmarks.classifier import FEWEST_SIMULATIONS
from emulators.benchmarks.pair import Rows, file_facts, open_pair
from emulators.benchmarks.seen import unseen
from emulators.data.dataset import Dataset
from emulators.data.spec import Grid, SampleSpec
from emulators.errors import InputError
from emulators.random import stream

__all__ = ["FEW_SIMULATIONS", "MINIMUM_FIELDS", "FieldPair", "load_fields"]

MINIMUM_FIELDS = 8
FEW_SIMULATIONS = 2 * FEWEST_SIMULATIONS
CELLS = 1 << 23  # read at once

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FieldPair:
    """Generated and reference fields, read a few at a time, and how they may be compared.

    Every mapping has the entries ``generated`` and ``reference``.

    Parameters
    ----------
    data
        The files.
    spec
        Of the reference.
    rows
        Which of their rows are compared, sorted.
    trained
        Rows of the reference file that the training saw, where that is known.
    names
        The conditions that both files have.
    conditions
        Of these rows, shape ``(n, names)``.
    simulations
        Number of the simulation that each of these rows is from.
    paired
        Whether field i of one and field i of the other have the same conditions.
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
    def grid(self) -> Grid:
        """The grid of both."""
        assert self.spec.grid is not None  # `load_fields` saw it
        return self.spec.grid

    def at_most(self, name: str, cells: int, seed: int) -> Rows:
        """Return positions in ``rows`` of as many fields as have so many cells, at random."""
        n = len(self.rows[name])
        most = max(MINIMUM_FIELDS, cells // prod(self.spec.shape[1:]))
        which = "both" if self.paired else name
        return np.sort(stream(seed, "subset", which).permutation(n)[:most])

    def read(self, name: str, channel: int, positions: Rows) -> npt.NDArray[np.float32]:
        """Return one channel of the fields at these positions in ``rows``, ``(n, *cells)``."""
        rows = self.rows[name][positions]
        values = self.data[name].take(rows).values[:, channel]
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            raise InputError(
                f"{self.data[name].path}: field {rows[~finite][0]} holds NaN or infinity; see: "
                "emulators data check"
            )
        return values

    def pieces(self, name: str, channel: int, positions: Rows) -> Iterator[npt.NDArray[np.float32]]:
        """Read these fields a few at a time."""
        step = max(1, CELLS // prod(self.spec.shape))
        for start in range(0, len(positions), step):
            yield self.read(name, channel, positions[start : start + step])


def load_fields(
    generated: str | Path, reference: str | Path, max_samples: int | None, seed: int
) -> FieldPair:
    """Open both files, leaving out reference fields that the training saw, if that is known."""
    warnings: list[str] = []
    data, names = open_pair(generated, reference, warnings)
    _require_same_grid(data["generated"], data["reference"])
    tables = {name: _conditions(d, names) for name, d in data.items()}
    paired = bool(names) and np.array_equal(tables["generated"], tables["reference"])
    seen = unseen(data["generated"], data["reference"], warnings)
    rows = {"generated": np.arange(len(data["generated"])), "reference": seen.rows}
    if paired:
        rows["generated"] = rows["reference"]
    for name, d in data.items():
        order = stream(seed, "order", "both" if paired else name).permutation(len(rows[name]))
        rows[name] = np.sort(rows[name][order[:max_samples]])
        if len(rows[name]) < MINIMUM_FIELDS:
            raise InputError(
                f"{d.path}: {len(rows[name])} {name} fields to compare; a benchmark needs at "
                f"least {MINIMUM_FIELDS}"
            )
    conditions = {name: tables[name][rows[name]] for name in data}
    simulations = {
        name: rows[name] if d.simulations is None else d.simulations[rows[name]]
        for name, d in data.items()
    }
    if (count := len(np.unique(simulations["reference"]))) < FEW_SIMULATIONS:
        warnings.append(
            f"The {len(rows['reference'])} reference fields are from {count} "
            f"simulation{'s' if count > 1 else ''}: errors and floors are resampled over "
            "simulations, and rough guesses with so few; no classifier is trained, since its floor "
            f"takes {FEW_SIMULATIONS}."
        )
    p_values = {
        n: 1.0 if paired else _p_value(conditions, simulations, i) for i, n in enumerate(names)
    }
    if different := [n for n, p in p_values.items() if p < 0.01]:
        warnings.append(
            f"{' and '.join(different)} of the two files are distributed differently "
            f"(Kolmogorov-Smirnov p = {min(p_values.values()):.1g}). Everything that is not "
            "measured at equal conditions measures that difference too, as far as a regression on "
            "the conditions does not take it out. Generate with the reference's: emulators "
            f"generate ... --conditions {reference}"
        )
    return FieldPair(
        data=data,
        spec=data["reference"].spec,
        rows=rows,
        trained=seen.trained,
        names=names,
        conditions=conditions,
        simulations=simulations,
        paired=paired,
        p_values=p_values,
        warnings=tuple(warnings),
        files=file_facts(data, {name: len(r) for name, r in rows.items()}, seen),
    )


def _require_same_grid(generated: Dataset, reference: Dataset) -> None:
    first, second = generated.spec, reference.spec
    for data in (generated, reference):
        if data.spec.kind != "field" or data.spec.grid is None:
            raise InputError(f"{data.path}: not a file of fields, but of {data.spec.kind}s")
        if len(data.spec.shape) not in (3, 4):
            raise InputError(
                f"{data.path}: fields on axes {', '.join(data.spec.grid.axes)}; a benchmark is "
                "for maps and boxes, two axes or three"
            )
    assert first.grid is not None
    assert second.grid is not None
    said: tuple[tuple[str, Any, Any], ...] = (
        ("channels", first.grid.channels, second.grid.channels),
        ("cells", first.shape[1:], second.shape[1:]),
        ("unit", first.unit, second.unit),
        ("unit of length", first.grid.unit, second.grid.unit),
        ("periodic", first.grid.periodic, second.grid.periodic),
    )
    different = [(what, a, b) for what, a, b in said if a != b]
    if not different and not np.allclose(first.grid.lengths, second.grid.lengths):
        different = [("lengths", first.grid.lengths, second.grid.lengths)]
    if different:
        what, a, b = different[0]
        raise InputError(
            f"{generated.path} and {reference.path} differ in {what} and cannot be compared: "
            f"{_words(a)} and {_words(b)}"
        )


def _words(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else ", ".join(map(str, value))


def _conditions(data: Dataset, names: tuple[str, ...]) -> Array:
    found = data.read_conditions(0, len(data))
    table = np.stack([found[n] for n in names], 1) if names else np.empty((len(data), 0))
    if not np.isfinite(table).all():
        first = int(np.flatnonzero(~np.isfinite(table).all(1))[0])
        raise InputError(
            f"{data.path}: row {first} has a condition that is NaN or infinite; see: "
            "emulators data check"
        )
    return table.astype(np.float64)


def _p_value(
    conditions: Mapping[str, Array], simulations: Mapping[str, npt.NDArray[Any]], index: int
) -> float:
    """Return how likely two draws of one law differ so: fields of a simulation are one draw."""
    values = [np.sort(conditions[name][:, index]) for name in ("generated", "reference")]
    pooled = np.concatenate(values)
    shares = [np.searchsorted(v, pooled, side="right") / len(v) for v in values]
    n, m = (len(np.unique(simulations[name])) for name in ("generated", "reference"))
    largest = np.abs(shares[0] - shares[1]).max()
    return float(kstwobign.sf(largest * np.sqrt(n * m / (n + m))))
