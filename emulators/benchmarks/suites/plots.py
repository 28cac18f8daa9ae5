"""The figures of a comparative report, drawn from its record."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emulators.benchmarks.drawing import BAND, COLOURS, GREY, INK, STYLE, figure_of, svg
from emulators.benchmarks.suites.metrics import headline
from emulators.benchmarks.suites.tables import find, metrics_of, simulation_time
from emulators.benchmarks.training import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["fidelity_against_time", "training_curves"]

Record = Mapping[str, Any]

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))


def _style(index: int) -> tuple[str, Any]:
    count = len(COLOURS)
    return COLOURS[index % count], _DASHES[index // count % len(_DASHES)]


def fidelity_against_time(record: Record) -> str | None:
    """Draw the headline metric against the time of a sample; None where nothing was timed.

    One line a system from its largest batch (full) to batch 1 (hollow), on one thread of the CPU.
    """
    import matplotlib as mpl

    points: list[tuple[str, str, Mapping[str, Any], float, float]] = []
    for i, system in enumerate(record["systems"]):
        metric = headline(record["kind"], metrics_of(system))
        many, one = (find(system, f"ms, {batch}") for batch in ("largest batch", "batch 1"))
        if metric and metric["value"] is not None and many and one:
            points.append((system["name"], _style(i)[0], metric, many["value"], one["value"]))
    if not points:
        return None
    first, simulation = points[0][2], simulation_time(record)
    times = [t for point in points for t in point[3:]]
    values = [point[2]["value"] for point in points] + [first["floor"]]
    with mpl.rc_context(STYLE):
        figure = figure_of(9.4, 5.2)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        _floor(axes, first["floor"], first["floor_error"])
        names = []
        for name, colour, metric, fast, slow in points:
            y = metric["value"]
            axes.plot([fast, slow], [y, y], color=colour, lw=1.2, alpha=0.6)
            axes.errorbar(fast, y, _bars(y, metric["error"]), fmt="o", ms=7, color=colour)
            axes.plot(slow, y, "o", ms=7, mfc="none", color=colour)
            names.append((float(np.sqrt(fast * slow)), y, name, colour))
        if simulation is not None:
            times.append(simulation)
            axes.plot(times[-1], first["floor"], "*", ms=13, color=INK)
            names.append((times[-1], first["floor"], "simulation", INK))
        axes.set_xlim(min(times) / 3, max(times) * 3)
        axes.set_ylim(min(values) / 2.2, max(values) * 2.2)
        axes.set_xlabel(f"time of a {record['kind']}, one thread [ms]")
        axes.set_ylabel(f"{first['label']} [{first['unit']}]" if first["unit"] else first["label"])
        _names(axes, names)
        return svg(figure)


def _bars(value: float, error: float | None) -> Any:
    """Return an error bar that a logarithmic axis can show."""
    if error is None:
        return None
    return np.array([[min(error, 0.9 * value)], [error]])


def _floor(axes: "Axes", value: float, error: float | None) -> None:
    if error:
        axes.axhspan(max(value - error, value / 10), value + error, color=GREY, alpha=0.55, lw=0)
    axes.axhline(value, color=BAND, lw=1.2, ls="--")
    axes.annotate(
        "floor: reference against itself",
        (0.01, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, -11),
        textcoords="offset points",
        color=BAND,
        fontsize=9,
    )


def _names(axes: "Axes", places: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names above their points, or below where another point is close above."""
    height = 15.0  # points, of a line with its distance
    scale = 72 / axes.figure.dpi
    spots = []
    for x, y, name, colour in sorted(places, key=lambda p: p[1]):
        across, up = axes.transData.transform((x, y)) * scale
        spots.append((across, up, 3.0 * len(name), (x, y), name, colour))
    taken: list[tuple[float, float, float]] = []  # middle, half width, height, in points
    for i, (across, up, half, place, name, colour) in enumerate(spots):
        crowded = any(
            abs(middle - across) < half + width and other - up < 1.5 * height
            for middle, other, width, *_ in spots[i + 1 :]
        )
        level = up + 8
        if crowded and not any(abs(m - across) < half + width for m, width, _ in taken):
            level = up - height - 2
        for middle, width, other in taken:
            if abs(middle - across) < width + half and abs(level - other) < height:
                level = other + height
        taken.append((across, half, level))
        axes.annotate(
            name,
            place,
            xytext=(0, level - up),
            textcoords="offset points",
            ha="center",
            color=colour,
        )


def training_curves(record: Record) -> str | None:
    """Draw the metric that trainings are judged by against minutes, with floors; None without."""
    import matplotlib as mpl

    drawn = [
        (s["name"], *_style(i), s["curve"])
        for i, s in enumerate(record["systems"])
        if s.get("curve", {}).get("values")
    ]
    if not drawn:
        return None
    with mpl.rc_context(STYLE):
        figure = figure_of(9.4, 4.8)
        axes = figure.add_subplot()
        floors: dict[float, str] = {}
        for name, colour, dashes, curve in drawn:
            marker = "o" if len(curve["values"]) < 25 else None
            axes.plot(
                curve["minutes"], curve["values"], color=colour, ls=dashes, lw=1.6, label=name,
                marker=marker, ms=4,
            )  # fmt: skip
            if curve.get("floor") is not None:
                # trainings of one split have one floor, which is then no one's colour
                floors[curve["floor"]] = BAND if curve["floor"] in floors else colour
        for floor, colour in floors.items():
            axes.axhline(floor, color=colour if len(floors) > 1 else BAND, lw=1.0, ls=":")
        values = [v for *_, curve in drawn for v in curve["values"]] + list(floors)
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.4, max(values) * 1.4)
        axes.set_xlim(left=0)
        axes.set_ylabel(f"{METRICS[drawn[0][3]['metric']]} on validation samples")
        axes.set_xlabel("training [minutes]")
        axes.legend(loc="best", ncols=2)
        return svg(figure)
