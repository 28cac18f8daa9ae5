"""What samples are asked to be: fixed values, lists, laws and other files, as one plain law."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emulators import random
from emulators.config import nearest
from emulators.data.dataset import Dataset
from emulators.data.spec import Condition
from emulators.errors import InputError

__all__ = ["ConditionLaw", "requested"]

TOLERANCE = 1e-6  # relative; ranges are inclusive, also after a trip through single precision
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class _Law:
    """How one condition is drawn, in its unit: between two values, or from a table."""

    condition: Condition
    minimum: float
    maximum: float
    scale: Literal["fixed", "linear", "log", "table"]
    table: npt.NDArray[np.float64] | None = field(default=None, compare=False)
    origin: str = ""

    def draw(self, seed: int, start: int, stop: int) -> npt.NDArray[np.float32]:
        if self.table is not None:
            return self.table[start:stop].astype(np.float32)
        if self.scale == "fixed":
            return np.full(stop - start, self.minimum, np.float32)
        name = f"condition {self.condition.name}"
        u = random.uniforms(seed, name, start, stop, 1)[:, 0].astype(np.float64)
        if self.scale == "log":
            values = self.minimum * (self.maximum / self.minimum) ** u
        else:
            values = self.minimum + (self.maximum - self.minimum) * u
        return values.astype(np.float32)

    @property
    def description(self) -> str:
        name, unit = self.condition.name, self.condition.unit
        values = f"{self.minimum:.7g}-{self.maximum:.7g} {unit}".rstrip()
        if self.scale == "fixed":
            return f"{name} {self.minimum:.7g} {unit}".rstrip()
        if self.table is not None:
            return f"{name} {self.origin} ({len(self.table)} values, {values})"
        return f"{name} {'log-uniform' if self.scale == 'log' else 'uniform'} {values}"

    @property
    def extrapolates(self) -> bool:
        low, high = self.condition.minimum, self.condition.maximum
        slack = TOLERANCE * max(abs(low), abs(high))
        if self.condition.scale == "log":
            return self.minimum < low * (1 - TOLERANCE) or self.maximum > high * (1 + TOLERANCE)
        return self.minimum < low - slack or self.maximum > high + slack


@dataclass(frozen=True)
class ConditionLaw:
    """How the conditions of samples are drawn; plain and picklable.

    Made by `requested` or `ConditionLaw.from_file`.
    """

    laws: tuple[_Law, ...]

    @classmethod
    def from_file(
        cls, path: str | Path, conditions: Sequence[Condition], n: int | None = None
    ) -> "ConditionLaw":
        """Take the conditions of another file's samples, in order.

        Parameters
        ----------
        path
            A file of a known layout.
        conditions
            The conditions of the emulator's spec.
        n
            How many samples are wanted: the file needs as many; None takes them all.
        """
        dataset = Dataset(path, conditions=[c.name for c in conditions])
        n = len(dataset) if n is None else n
        if n > len(dataset):
            raise InputError(f"{path}: has {len(dataset)} samples, conditions of {n} are wanted")
        read = dataset.read_conditions(0, n)
        columns = {c.name: _in_unit(c, read[c.name] * _unit(dataset.spec.condition(c.name).unit))
                   for c in conditions}  # fmt: skip
        return cls(tuple(_table(c, columns[c.name], n, f"of {dataset.path}") for c in conditions))

    @property
    def length(self) -> int | None:
        """How many samples there are conditions for; None where a law has no end."""
        lengths = [len(law.table) for law in self.laws if law.table is not None]
        return lengths[0] if lengths else None

    @property
    def description(self) -> str:
        """The law in words, e.g. ``incident_energy log-uniform 1-100 GeV``."""
        return "; ".join(law.description for law in self.laws)

    @property
    def extrapolates(self) -> tuple[str, ...]:
        """Names of the conditions that are asked outside the range they were trained in."""
        return tuple(law.condition.name for law in self.laws if law.extrapolates)

    def draw(self, seed: int, start: int, stop: int) -> dict[str, npt.NDArray[np.float32]]:
        """Return the conditions of samples ``start`` to ``stop``; sample i depends on (seed, i).

        Returns
        -------
        One array ``(stop - start,)`` a condition, in the unit of the spec.
        """
        if self.length is not None and stop > self.length:
            raise InputError(
                f"conditions of samples {start} to {stop} are wanted, there are {self.length}"
            )
        return {law.condition.name: law.draw(seed, start, stop) for law in self.laws}


def requested(
    conditions: Sequence[Condition], requests: Mapping[str, Any], n: int | None = None
) -> ConditionLaw:
    """Turn what a user asks for into a law.

    Parameters
    ----------
    conditions
        The conditions of the spec.
    requests
        For each name: a number in the condition's unit, an astropy quantity, an array of ``n``
        of either, or text: ``"50"``, ``"50 GeV"``, ``"1:100"``, ``"1:100:log"`` or
        ``"1:100:linear"``.  A unit after a range is that of both ends (``"5:50 MeV"``, also
        ``"5:50 MeV:log"``), or each end has its own (``"5 MeV:50 GeV"``).  Where nothing (or None)
        is asked: the trained range, filled in the condition's own scale.
    n
        How many samples are wanted; arrays must have as many values.

    Raises
    ------
    InputError
        An unknown name, a value that is not a finite number (or not positive where it must be),
        another physical quantity, or an array of another length.
    """
    known = [c.name for c in conditions]
    for name in requests:
        if name not in known:
            raise InputError(f"unknown condition '{name}'{nearest(name, known)}")
    laws = tuple(_law(c, requests.get(c.name), n) for c in conditions)
    lengths = {c.condition.name: len(c.table) for c in laws if c.table is not None}
    if len(set(lengths.values())) > 1:
        raise InputError(f"conditions differ in length: {lengths}")
    return ConditionLaw(laws)


def _law(condition: Condition, request: Any, n: int | None) -> _Law:
    if request is None:
        return _between(condition, condition.minimum, condition.maximum, condition.scale)
    if isinstance(request, str):
        return _parse(condition, request)
    values = _in_unit(condition, request)
    if values.ndim == 0:
        return _between(condition, float(values), float(values), condition.scale)
    return _table(condition, values, n, "given")


def _parse(condition: Condition, text: str) -> _Law:
    low, *rest = (part.strip() for part in text.split(":"))
    high = rest[0] if rest else low
    scale, _, last = (rest[1] if len(rest) > 1 else condition.scale).partition(" ")
    if len(rest) > 2 or not low or not high:
        raise InputError(
            f"{condition.name}: '{text}' is not understood: give 50, 1:100 or 1:100:log"
        )
    if scale not in ("linear", "log"):
        raise InputError(f"{condition.name}: law '{scale}'{nearest(scale, ['linear', 'log'])}")
    (first, unit), (second, after) = (_number(condition, end) for end in (low, high))
    if rest and ((unit and not after) or (last and (unit or after))):
        raise InputError(
            f"{condition.name}: '{text}' leaves a unit open: give it after the range, as 5:50 MeV, "
            "or to each end, as 5 MeV:50 GeV"
        )
    after = after or last.strip()
    ends = [
        float(_in_unit(condition, _quantity(condition, value, name))) if name else value
        for value, name in ((first, unit or after), (second, after))
    ]
    return _between(condition, ends[0], ends[1], scale)  # type: ignore[arg-type]


def _number(condition: Condition, text: str) -> tuple[float, str]:
    """Return the number and the unit that a text begins and ends with; no unit is empty."""
    try:
        return float(text), ""  # also nan and inf, which are refused by their value
    except ValueError:
        number = NUMBER.match(text)
        if number is None:
            raise InputError(f"{condition.name}: '{text}' is not a number") from None
        return float(number[0]), text[number.end() :].strip()


def _between(
    condition: Condition, low: float, high: float, scale: Literal["linear", "log"]
) -> _Law:
    _refuse(condition, np.array([low, high]))
    if low > high:
        raise InputError(
            f"{condition.name}: {low:g}:{high:g} goes down, give the smaller one first"
        )
    if low == high:
        return _Law(condition, low, high, "fixed")
    if scale == "log" and low <= 0:
        raise InputError(f"{condition.name}: a log law must begin above 0, not at {low:g}")
    return _Law(condition, low, high, scale)


def _table(
    condition: Condition, values: npt.NDArray[np.float64], n: int | None, origin: str
) -> _Law:
    if values.ndim != 1 or not values.size:
        raise InputError(f"{condition.name}: expected a list of values, got shape {values.shape}")
    if n is not None and len(values) != n:
        raise InputError(f"{condition.name}: {len(values)} values for {n} samples: give one each")
    _refuse(condition, values)
    return _Law(condition, float(values.min()), float(values.max()), "table", values, origin)


def _in_unit(condition: Condition, request: Any) -> npt.NDArray[np.float64]:
    if hasattr(request, "to_value"):  # an astropy quantity, without importing astropy for numbers
        try:
            request = request.to_value(_unit(condition.unit))
        except (TypeError, ValueError):
            raise InputError(
                f"{condition.name}: '{request.unit}' is not a unit of it, give {condition.unit}"
            ) from None
    try:
        values = np.asarray(request)
    except (TypeError, ValueError, RuntimeError):
        values = np.asarray(None)
    if values.dtype.kind not in "iuf":
        raise InputError(f"{condition.name}: {request!r} is not a number or a list of numbers")
    return values.astype(np.float64)


def _refuse(condition: Condition, values: npt.NDArray[np.float64]) -> None:
    positive = condition.scale == "log" or _unit(condition.unit).physical_type == "energy"
    bad = ~np.isfinite(values) | ((values <= 0) if positive else False)
    if bad.any():
        value = f"{values[bad][0]:g} {condition.unit}".rstrip()
        kind = "positive and finite" if positive else "finite"
        many = f" ({bad.sum()} such values)" if values.size > 2 else ""
        raise InputError(f"{condition.name}: {value} is not {kind}{many}")


def _unit(name: str) -> Any:
    from astropy import units  # slow to import, and not needed for plain energies

    return units.Unit(name) if name else units.dimensionless_unscaled


def _quantity(condition: Condition, value: float, unit: str) -> Any:
    from astropy import units

    try:
        return units.Quantity(value, unit)
    except (TypeError, ValueError):
        raise InputError(f"{condition.name}: '{unit}' is not a unit that astropy knows") from None
