"""One rule that says of any number whether it is good, poor, or cannot be told."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from scipy.stats import t as student

from emulators.benchmarks.measured import Number

__all__ = ["STATUS", "Line", "clear", "judge", "lines", "written"]

Status = Literal["good", "fair", "poor", "unclear"]
STATUS: dict[str, str] = {
    "poor": "Fails",
    "fair": "Differs",
    "unclear": "Cannot be told",
    "good": "Good",
}

CHANCE = 1e-4  # that a number is called poor where nothing differs


@dataclass(frozen=True)
class Line:
    """What is said of a number: its status, what it is of, and a text for the reader."""

    status: Status
    what: str
    text: str


def clear(simulations: int | None, tests: int = 1) -> float:
    """Return how many standard deviations are no chance, where so many numbers are tested.

    Standard deviations that are known from few simulations are uncertain themselves: Student's law.
    """
    freedom = math.inf if simulations is None else max(2 * simulations - 1, 1)
    return float(student.isf(CHANCE / tests, min(freedom, 1e6)))


def judge(number: Number) -> Line:
    """Judge a number that has a limit, and the worst of its groups.

    Good is no further above its floor than ``limit``, where n can tell that much; poor is beyond
    ``fails`` by more than chance.
    """
    assert number.limit is not None
    status = _status(number, 1)
    text = f"{_upper(number.label)}: {_measured(number)}"
    worst = max(number.groups, key=lambda g: _beyond(g, number), default=None)
    if worst is not None:
        tested = _like(worst, number)
        theirs = _status(tested, len(number.groups))
        order = list(STATUS)
        if order.index(theirs) < order.index(status):
            status = theirs
        text += f" The worst of {len(number.groups)}, {worst.label}: {_measured(tested)}"
    if status == "unclear":
        text += f" This n cannot tell {written(number.limit, number.unit)}."
    if status == "poor" and number.advice:
        text += f" {number.advice}"
    return Line(status, number.label, text)


def lines(numbers: Iterable[Number]) -> list[dict[str, str]]:
    """Return a line of a verdict for each number that has a limit."""
    judged = [judge(n) for n in numbers if n.limit is not None]
    return [{"status": v.status, "what": v.what, "text": v.text} for v in judged]


def _like(group: Number, whole: Number) -> Number:
    """Return a group's number with the limits of the whole, where it has none of its own."""
    return replace(
        group,
        limit=whole.limit if group.limit is None else group.limit,
        fails=whole.fails if group.fails is None else group.fails,
    )


def _beyond(group: Number, whole: Number) -> float:
    limit = group.limit if group.limit is not None else whole.limit or 0.0
    return (group.excess - limit) / max(group.doubt, 1e-12)


def _status(number: Number, tests: int) -> Status:
    limit = number.limit or 0.0
    fails = limit if number.fails is None else max(number.fails, limit)
    if not math.isfinite(number.value):
        return "unclear"
    noise = clear(number.simulations, tests) * number.doubt
    # in squares noise hides more: what the value may be without it is what counts
    if number.value - (number.floor or 0.0) > noise and number.excess > fails + (
        0.0 if number.noise == "in squares" else noise
    ):
        return "poor"
    if number.excess <= limit and number.doubt <= max(limit, 1e-12):
        return "good"
    if number.value - (number.floor or 0.0) > noise and number.excess > limit:
        return "fair" if fails > limit else "unclear"
    return "unclear"


def _measured(number: Number) -> str:
    value = written(number.value, number.unit, number.error)
    parts = []
    if number.floor is not None:
        parts.append(f"two parts of the reference: {written(number.floor, number.unit)}")
    if number.limit is not None:
        above = " above it" if number.floor is not None else ""
        parts.append(f"good up to {written(number.limit, number.unit)}{above}")
    if number.n:
        parts.append(f"n = {number.n:,}")
    return f"{value} ({'; '.join(parts)})." if parts else f"{value}."


def written(value: float, unit: str = "", error: float | None = None) -> str:
    """Write a value with its unit, to the second digit of its error."""
    space = f" {unit}" if unit else ""
    if not math.isfinite(value):
        return "not a number"
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:.3g}{space}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > 8 or abs(value) >= 1e7:
        return f"{value:.3g} ± {error:.2g}{space}"
    return f"{value:.{digits}f} ± {error:.{digits}f}{space}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
