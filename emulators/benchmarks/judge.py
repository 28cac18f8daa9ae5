"""One rule that says of any number whether it is good, poor, or cannot be told."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from scipy.stats import t as student

from emulators.benchmarks.measured import Number

__all__ = [
    "RESAMPLINGS",
    "STATUS",
    "Line",
    "clear",
    "figures",
    "is_judged",
    "judge",
    "lines",
    "purposes",
    "worst_group",
    "written",
]

Status = Literal["good", "fair", "poor", "unclear"]
STATUS: dict[str, str] = {
    "poor": "Fails",
    "fair": "Differs",
    "unclear": "Cannot be told",
    "good": "Good",
}
ORDER = list(STATUS)  # the worst first

LISTED = 4  # purposes that a sentence names
RESAMPLINGS = 100  # that standard deviations are of
CHANCE = 1e-4  # that a number is called poor where nothing differs


@dataclass(frozen=True)
class Line:
    """What is said of a number: its status, what it is of, and a text for the reader."""

    status: Status
    what: str
    text: str


def clear(simulations: int | None, tests: int = 1) -> float:
    """Return how many standard deviations are no chance, where so many numbers are tested.

    Standard deviations that are known from few simulations, and from few resamplings, are uncertain
    themselves: Student's law.
    """
    unknown = 1 / (RESAMPLINGS - 1)
    unknown += 0.0 if simulations is None else 1 / max(2 * simulations - 1, 1)
    return float(student.isf(CHANCE / tests, 1 / unknown))


def judge(number: Number) -> Line:
    """Judge a number that has a limit or a status of its own, and the worst of its groups.

    Good is no further above its floor than ``limit``, where n can tell that much; poor is beyond
    ``fails`` by more than chance.  A group counts where it is clearly off: what the whole n tells
    is good although a part of it, by itself, can tell nothing.
    """
    status = _told(number, 1)
    text = f"{_upper(number.label)}: {figures(number)}"
    worst = None if number.status else worst_group(number)  # a test of its own looks at all groups
    if worst is not None:
        theirs = _told(worst, len(number.groups))
        if theirs in ("poor", "fair") and ORDER.index(theirs) < ORDER.index(status):
            status = theirs
        text += f" The worst of {len(number.groups)}, {worst.label}: {figures(worst)}"
    text += f" {_upper(number.says)}" if number.says else ""
    if status == "unclear" and number.limit is not None and math.isfinite(number.value):
        text += f" This n cannot tell {written(number.limit, number.unit)}."
    if status == "poor" and number.advice:
        text += f" {number.advice}"
    return Line(status, number.label, text)


def worst_group(number: Number) -> Number | None:
    """Return the group that is furthest beyond the limit, in standard errors; None without any."""
    groups = [_like(g, number) for g in number.groups if math.isfinite(g.value)]
    return max(groups, key=_beyond, default=None)


def is_judged(number: Number) -> bool:
    """Tell whether anything is said of a number."""
    return number.limit is not None or bool(number.status)


def lines(numbers: Iterable[Number]) -> list[dict[str, str]]:
    """Return a line of a verdict for each number that is judged, what fails first."""
    judged = [judge(n) for n in numbers if is_judged(n)]
    judged.sort(key=lambda v: ORDER.index(v.status))
    return [{"status": v.status, "what": v.what, "text": v.text} for v in judged]


def purposes(numbers: Iterable[Number]) -> str:
    """Return in one sentence what the samples are good enough for, and what they are not."""
    worst: dict[str, Status] = {}  # of each purpose
    for n in numbers:
        if n.purpose and is_judged(n):
            statuses = (judge(n).status, worst.get(n.purpose, "good"))
            worst[n.purpose] = min(statuses, key=ORDER.index)
    words = (
        ("good", "Good enough for {}"), ("fair", "differs measurably for {}"),
        ("poor", "not for {}"), ("unclear", "this n cannot tell for {}"),
    )  # fmt: skip
    named = {s: [p for p, status in worst.items() if status == s] for s, _ in words}
    parts = [text.format(_listed(named[s])) for s, text in words if named[s]]
    return f"{_upper('; '.join(parts))}." if parts else ""


def _listed(words: Sequence[str]) -> str:
    if len(words) > LISTED:
        words = [*words[: LISTED - 1], f"{len(words) - LISTED + 1} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _like(group: Number, whole: Number) -> Number:
    """Return a group's number with the limits of the whole, where it has none of its own."""
    return replace(
        group,
        limit=whole.limit if group.limit is None else group.limit,
        fails=whole.fails if group.fails is None else group.fails,
    )


def _beyond(group: Number) -> float:
    return (group.excess - (group.limit or 0.0)) / max(group.doubt, 1e-12)


def _told(number: Number, tests: int) -> Status:
    """Return the status that a test of its own gave a number, or else the rule."""
    return cast(Status, number.status) if number.status else _status(number, tests)


def _status(number: Number, tests: int) -> Status:
    limit = number.limit or 0.0
    fails = limit if number.fails is None else max(number.fails, limit)
    if not math.isfinite(number.value):
        return "unclear"
    noise = clear(number.simulations, tests) * number.doubt
    beyond = (number.value - (number.floor or 0.0)) * (-1 if number.more else 1)
    # in squares noise hides more: what the value may be without it is what counts
    reach = fails + (0.0 if number.noise == "in squares" else noise)
    if beyond > noise and number.excess > reach:
        return "poor"
    if number.excess <= limit and number.doubt <= max(limit, 1e-12):
        return "good"
    if beyond > noise and number.excess > limit:
        return "fair" if fails > limit else "unclear"
    return "unclear"


def figures(number: Number) -> str:
    """Write value, floor, limit and n of a number, in a sentence."""
    if not math.isfinite(number.value):
        return "not measured."
    value = written(number.value, number.unit, number.error)
    value = f"more than {value}" if number.at_least else value
    parts = []
    if number.floor is not None:
        parts.append(f"two parts of the reference: {written(number.floor, number.unit)}")
    if number.limit is not None:
        side = "down" if number.more else "up"
        above = f" {'below' if number.more else 'above'} it" if number.floor is not None else ""
        parts.append(f"good {side} to {written(number.limit, number.unit)}{above}")
    if number.n:
        parts.append(f"n = {number.n:,}")
    return f"{value} ({'; '.join(parts)})." if parts else f"{value}."


def written(value: float, unit: str = "", error: float | None = None) -> str:
    """Write a value with its unit, to the second digit of its error.

    Examples
    --------
    >>> written(1.23456, "%", 0.0123)
    '1.235 ± 0.012 %'
    """
    space = f" {unit}" if unit else ""
    if not math.isfinite(value):
        return "not a number"
    if error is None or not math.isfinite(error) or error <= 0:
        if 1e3 <= abs(value) < 1e9:
            rounded = value if float(value).is_integer() else float(f"{value:.3g}")
            return f"{rounded:,.0f}{space}"
        return f"{value:.3g}{space}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > 8 or abs(value) >= 1e7:
        return f"{value:.3g} ± {error:.2g}{space}"
    return f"{value:.{digits}f} ± {error:.{digits}f}{space}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
