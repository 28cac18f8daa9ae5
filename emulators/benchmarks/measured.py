"""What chapters measure: numbers, curves, histograms, matrices and pictures.

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
    "FORMAT_VERSION",
    "Axis",
    "Curve",
    "Drawn",
    "Histogram",
    "Matrix",
    "Measured",
    "Number",
    "Picture",
    "from_json",
    "plain",
    "to_json",
]

FORMAT_VERSION = 2  # of a record: all that is measured stands in its chapters

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
        In ``unit``; the error is a standard deviation, None where it is not known.  NaN: this n is
        too small to mean anything, and ``says`` tells why.
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
    more
        Whether more is better, as of a speed; of all others less is.
    at_least
        Whether no more is known than that it is as large as the value.
    simulations
        Independent simulations on each side, where samples share some; None: every sample is one.
    groups
        The same figure by energy, cosmology, observable or category; its worst group is judged
        beside it.
    listed
        Whether a table lists the groups; False: they are the points of a curve, which has its own.
    beside
        The same figure of other samples, against the same reference: name, value, error.
    status
        ``good``, ``poor`` or ``unclear`` where a test of its own says so; empty: `judge` does.
    purpose
        What the samples are good enough for where it is good.
    leading
        Whether it is one of the few figures that a page opens with.
    says, advice
        What the figure means, in a sentence; what to do about it where it is poor.

    Examples
    --------
    >>> auc = Number("high", "AUC", 0.62, 0.01, floor=0.51, floor_error=0.01, n=8000, limit=0.05)
    >>> round(auc.excess, 2), round(auc.doubt, 3)
    (0.11, 0.014)
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
    more: bool = False
    at_least: bool = False
    simulations: int | None = None
    groups: tuple["Number", ...] = ()
    listed: bool = True
    beside: tuple[tuple[str, float, float | None], ...] = ()
    status: str = ""
    purpose: str = ""
    leading: bool = False
    says: str = ""
    advice: str = ""

    @property
    def excess(self) -> float:
        """How far the value is on the bad side of its floor, the noise taken off; never below 0."""
        floor = self.floor or 0.0
        if self.noise == "in squares":
            return math.sqrt(max(self.value**2 - floor**2, 0.0))
        return max(floor - self.value if self.more else self.value - floor, 0.0)

    @property
    def doubt(self) -> float:
        """Standard deviation of `excess` by chance."""
        return math.hypot(self.error or 0.0, self.floor_error or 0.0)


@dataclass(frozen=True)
class Curve:
    """A statistic of both samples against something, and their ratio or difference.

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
        Generated over reference less 1, and its standard deviation; NaN: they are not compared.
    floor
        Mean size of the deviation between two parts of the reference, of as many samples as the
        error is of.
    n
        Samples, generated and reference.
    difference
        Whether the deviation is a difference instead, in units of the reference's largest value:
        for what goes through zero.
    family
        Curves of one family share a panel, in which their ratios alone are drawn.
    edges
        Of bins ``(points + 1,)``, where the statistic is a histogram; empty: points are joined.
    judged
        Which points are compared; the others are drawn faintly.
    good
        Half widths of the band of what is good, by point; empty: none is drawn.
    names
        Of the points, where they stand for things and not for places on an axis.
    marks
        Places on the axis that are marked, with a word each.
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
    difference: bool = False
    family: str = ""
    edges: Array = field(default_factory=lambda: np.zeros(0))
    judged: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    good: Array = field(default_factory=lambda: np.zeros(0))
    names: tuple[str, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Which points are judged: those that are said to be, and have a deviation and an error."""
        known = np.isfinite(self.deviation) & np.isfinite(self.error)
        return np.asarray(known & self.judged if len(self.judged) else known)


@dataclass(frozen=True)
class Histogram:
    """How a number is distributed in both samples.

    Parameters
    ----------
    name, label, caption
        As of a `Curve`.
    edges, axis
        Of the bins, ``(bins + 1,)``; the axis across, and whether bins are equal in its logarithm.
    reference, generated
        Counts, ``(bins,)``.
    outside
        Counts below and above the bins, of reference and generated.
    log
        Whether shares are drawn logarithmically.
    text
        A few words in the plot.
    """

    name: str
    label: str
    caption: str
    edges: Array
    axis: Axis
    reference: Array
    generated: Array
    outside: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    log: bool = False
    text: str = ""

    def to_hist(self) -> tuple[Any, Any]:
        """Return both as `hist.Hist` objects, reference first, with counts as variances.

        Needs the package ``hist``; InputError where it is not installed.
        """
        try:
            import hist  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise InputError("to_hist needs the package 'hist': pip install hist") from None
        made = []
        for counts, (below, above) in zip((self.reference, self.generated), self.outside):
            one = hist.Hist(
                hist.axis.Variable(self.edges, name=self.name, label=str(self.axis)),
                storage=hist.storage.Double(),
            )
            one.view(flow=True)[...] = [below, *counts, above]
            made.append(one)
        return made[0], made[1]


@dataclass(frozen=True)
class Matrix:
    """Numbers of rows and columns as colours, in panels that share both.

    Parameters
    ----------
    name, label, caption
        As of a `Curve`.
    panels, titles
        Each ``(rows, columns)``; NaN is grey.
    limits
        Of the colours of each panel, low and high; where low is -high, they part at zero; ``log``:
        they are logarithmic.
    rows, columns
        Names.
    axis, at
        The axis of both instead of names, and where rows and columns lie on it.
    bars
        What the colours of each panel are.
    marked
        Which entries have a dot in the first panel, ``(rows, columns)``; empty: none.
    """

    name: str
    label: str
    caption: str
    panels: tuple[Array, ...]
    titles: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    axis: Axis | None = None
    at: Array = field(default_factory=lambda: np.zeros(0))
    bars: tuple[str, ...] = ()
    log: bool = False
    marked: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))


@dataclass(frozen=True)
class Picture:
    """Samples side by side: each panel ``(height, width)`` numbers, in rows with a title each.

    Parameters
    ----------
    name, label, caption
        As of a `Curve`; the label is what the colours are.
    panels, titles, names
        Rows of panels; a title for each row, and words for each panel.
    unit, log, diverging
        Of the colours: their unit, whether they are logarithmic, or part at 1.
    edges, axes
        Of the cells of each row of panels: ``(height + 1,)`` and ``(width + 1,)``; the words of the
        axes upwards and across.
    polar
        Whether the first axis is an angle, in radians, and the second the distance from the centre.
    """

    name: str
    label: str
    caption: str
    panels: tuple[tuple[Array, ...], ...]
    titles: tuple[str, ...]
    names: tuple[tuple[str, ...], ...] = ()
    unit: str = ""
    log: bool = False
    diverging: bool = False
    edges: tuple[tuple[Array, ...], ...] = ()
    axes: tuple[str, str] = ("", "")
    polar: bool = False


Drawn = Curve | Histogram | Matrix | Picture
Measured = Number | Drawn
KINDS: dict[str, type] = {c.__name__: c for c in (Number, Curve, Histogram, Matrix, Picture)}


def to_json(thing: Measured) -> dict[str, Any]:
    """Return plain values: seven digits, null for what is not finite; of colours lines of four."""
    values = {
        f.name: getattr(thing, f.name)
        for f in dataclasses.fields(thing)
        if not _is_default(f, getattr(thing, f.name))
    }
    if isinstance(thing, Picture | Matrix):  # as exact as colours are
        values["panels"] = _lines(thing.panels)
    return {"kind": type(thing).__name__, **{k: plain(v) for k, v in values.items()}}


def from_json(mapping: Mapping[str, Any]) -> Measured:
    """Rebuild what `to_json` gave; InputError where it is of no known kind."""
    values = dict(mapping)
    kind = values.pop("kind", None)
    cls = KINDS.get(str(kind))
    if cls is None:
        raise InputError(f"a measured thing of kind {kind!r}: of {', '.join(KINDS)} none")
    known = {f.name: _hint(f.type) for f in dataclasses.fields(cls)}
    if missing := sorted(values.keys() - known):
        raise InputError(f"{kind} '{values.get('name')}': unknown entries {', '.join(missing)}")
    return cls(**{k: _typed(known[k], v) for k, v in values.items()})  # type: ignore[no-any-return]


def _hint(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def plain(value: Any) -> Any:
    """Return JSON values of whatever a record holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Measured):
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


def _lines(panels: Any) -> Any:
    """Write each row of a panel as one text of numbers: a record holds a million of them."""
    if isinstance(panels, tuple):
        return tuple(map(_lines, panels))
    return [" ".join(f"{v:.4g}" for v in row) for row in panels]


def _is_default(f: "dataclasses.Field[Any]", value: Any) -> bool:
    if f.default_factory is not dataclasses.MISSING:
        return len(value) == 0
    if f.default is dataclasses.MISSING:
        return False
    return value is None if f.default is None else bool(value == f.default)


def _typed(hint: str, value: Any) -> Any:
    """Return a plain value as the type that a field has; null becomes NaN in arrays."""
    if "Array" in hint or "ndarray" in hint:
        depth = hint.split("ndarray")[0].count("tuple")
        return _arrays(value, depth, bool if "bool" in hint else np.float64)
    if "Axis" in hint:
        return value and Axis(**value)
    if "Number" in hint:
        return tuple(from_json(v) for v in value)
    if hint == "float" and value is None:
        return math.nan
    return _tuples(value) if isinstance(value, list) else value


def _arrays(value: Any, depth: int, kind: type) -> Any:
    if depth:
        return tuple(_arrays(v, depth - 1, kind) for v in value)
    if value and isinstance(value[0], str):
        value = [row.split() for row in value]
    return np.array(value, kind)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
