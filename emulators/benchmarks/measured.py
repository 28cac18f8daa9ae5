"""What chapters measure: numbers, curves and pictures.

They are all that judging, drawing and writing know: nothing in them says whether the samples were
showers or fields.  Each goes into JSON and comes back (`to_json`, `from_json`).
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emulators.errors import InputError

__all__ = [
    "Axis",
    "Curve",
    "Measured",
    "Number",
    "Picture",
    "from_json",
    "to_json",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """What an axis shows: a label, its unit, and whether it is logarithmic."""

    label: str
    unit: str = ""
    log: bool = False

    def __str__(self) -> str:
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True)
class Number:
    """One figure of merit: how far the generated samples are from the reference.

    Parameters
    ----------
    name, label
        What it is called in the record, and in words.
    value, error
        In ``unit``; the error is a standard deviation, None where it is not known.
    floor, floor_error
        The same between two independent parts of the reference, each of ``n`` samples; None where
        there is none (a time).
    n
        Samples on each side, of value and floor alike.
    unit
        As astropy writes it, or ``%``.
    limit
        How far above its floor good ends; None: it is shown and not judged.
    fails
        How far above its floor poor begins; None: at ``limit``.
    noise
        How noise adds to a difference: ``adds`` (value less floor), or ``in squares``, as for the
        size of deviations.
    simulations
        Independent simulations on each side, where samples share some; None: every sample is one.
    groups
        The same figure by energy, cosmology or category; its worst group is judged beside it.
    advice
        What to do about it where it is poor.
    """

    name: str
    label: str
    value: float
    error: float | None = None
    floor: float | None = None
    floor_error: float | None = None
    n: int = 0
    unit: str = ""
    limit: float | None = None
    fails: float | None = None
    noise: Literal["adds", "in squares"] = "adds"
    simulations: int | None = None
    groups: tuple["Number", ...] = ()
    advice: str = ""

    @property
    def excess(self) -> float:
        """How far the value is above its floor, the noise taken off; never below zero."""
        floor = self.floor or 0.0
        if self.noise == "in squares":
            return math.sqrt(max(self.value**2 - floor**2, 0.0))
        return max(self.value - floor, 0.0)

    @property
    def doubt(self) -> float:
        """Standard deviation of `excess` by chance."""
        return math.hypot(self.error or 0.0, self.floor_error or 0.0)


@dataclass(frozen=True)
class Curve:
    """A statistic of both samples against something, and their ratio.

    Arrays have shape ``(points,)``.

    Parameters
    ----------
    name, label, caption
        What it is called in the record and in words, and what to see in its plot.
    x, axis
        Where the points are; the axis across.
    unit, log
        Unit of the statistic; whether it is drawn logarithmically.
    reference, reference_error, generated, generated_error
        Means and their standard errors.
    deviation, error
        Generated over reference less 1, and its standard deviation.
    floor
        Mean size of the deviation between two parts of the reference, of as many samples as the
        error is of.
    n
        Samples, generated and reference.
    judged
        Which points are compared; the others are drawn faintly.
    good
        Half widths of the band of what is good, by point; empty: none is drawn.
    names
        Of the points, where they stand for things and not for places on an axis.
    """

    name: str
    label: str
    caption: str
    x: Array
    axis: Axis
    reference: Array
    reference_error: Array
    generated: Array
    generated_error: Array
    deviation: Array
    error: Array
    floor: Array
    n: tuple[int, int]
    unit: str = ""
    log: bool = False
    judged: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    good: Array = field(default_factory=lambda: np.zeros(0))
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """Samples side by side: each panel ``(height, width)`` numbers, in rows with a title each."""

    name: str
    label: str
    caption: str
    panels: tuple[tuple[Array, ...], ...]
    titles: tuple[str, ...]
    names: tuple[tuple[str, ...], ...] = ()
    unit: str = ""
    log: bool = False
    extent: tuple[float, float] = (1.0, 1.0)


Measured = Number | Curve | Picture
KINDS: dict[str, type] = {c.__name__: c for c in (Number, Curve, Picture)}


def to_json(thing: Measured) -> dict[str, Any]:
    """Return plain values: seven digits, and null for what is not finite."""
    values = {
        f.name: plain(getattr(thing, f.name))
        for f in dataclasses.fields(thing)
        if not _is_default(f, getattr(thing, f.name))
    }
    return {"kind": type(thing).__name__, **values}


def from_json(mapping: Mapping[str, Any]) -> Measured:
    """Rebuild what `to_json` gave; InputError where it is of no known kind."""
    values = dict(mapping)
    kind = values.pop("kind", None)
    cls = KINDS.get(str(kind))
    if cls is None:
        raise InputError(f"a measured thing of kind {kind!r}: of {', '.join(KINDS)} none")
    known = {f.name: f.type for f in dataclasses.fields(cls)}
    if missing := sorted(values.keys() - known):
        raise InputError(f"{kind} '{values.get('name')}': unknown entries {', '.join(missing)}")
    return cls(**{k: _typed(str(known[k]), v) for k, v in values.items()})  # type: ignore[no-any-return]


def plain(value: Any) -> Any:
    """Return JSON values of whatever a record holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Number):
            return to_json(value)
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def _is_default(f: "dataclasses.Field[Any]", value: Any) -> bool:
    if f.default_factory is not dataclasses.MISSING:
        return len(value) == 0
    return f.default is not dataclasses.MISSING and bool(np.all(value == f.default))


def _typed(hint: str, value: Any) -> Any:
    """Return a plain value as the type that a field has; null becomes NaN in arrays."""
    if "ndarray" in hint and hint.startswith("tuple"):
        return tuple(tuple(np.array(p, np.float64) for p in row) for row in value)
    if "ndarray" in hint:
        return np.array(value, bool if "bool" in hint else np.float64)
    if "Axis" in hint:
        return Axis(**value)
    if "Number" in hint:
        return tuple(from_json(v) for v in value)
    if "float" in hint and value is None and "None" not in hint:
        return math.nan
    return _tuples(value) if isinstance(value, list) else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
