"""The figure of speed: against batch size on every device, and against processes at once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from emulators.benchmarks.drawing import BAND, BLUE, GREY, INK, STYLE, figure_of, plain_decades, svg
from emulators.benchmarks.speed.tables import device_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["speed"]


def speed(found: Mapping[str, Any], one: str) -> str:
    """Draw samples a second against batch size, and against processes; return an SVG data URI.

    Parameters
    ----------
    found
        The record's ``throughput``, with an emulator that was timed.
    one
        What a sample is called.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = figure_of(9.4, 3.9)
        axes = figure.subplots(1, 2, width_ratios=(3, 2)) if found["scaling"] else None
        left = figure.add_subplot() if axes is None else axes[0]
        _batches(left, found, one)
        if axes is not None:
            _processes(axes[1], found["scaling"], one)
        return svg(figure)


def _batches(axes: "Axes", found: Mapping[str, Any], one: str) -> None:
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for entry in found["emulator"]:
        if not entry["writing"]:
            lines.setdefault(device_name(entry), []).append(entry)
    for name, entries in lines.items():
        batches, seconds, spread = (
            np.array([e[k] for e in entries], float)
            for k in ("batch", "seconds_per_sample", "spread")
        )
        colour = BLUE if entries[0]["device"] == "cpu" else INK
        several = entries[0]["device"] == "cpu" and entries[0]["threads"] > 1
        style: Any = {"color": colour, "marker": "s" if several else "o", "ms": 5, "lw": 1.4}
        # as a factor: on a logarithmic axis a time that is known to its own size has no end
        factor, rates = 1 + spread / seconds, 1 / seconds
        bars = rates - rates / factor, rates * factor - rates
        axes.errorbar(batches, rates, bars, label=name, ls="--" if several else "-", **style)
        for e in found["emulator"]:
            if e["writing"] and device_name(e) == name:
                hollow: Any = style | {"mfc": "none", "ls": "none", "ms": 8}
                axes.plot(e["batch"], 1 / e["seconds_per_sample"], **hollow)
    reference, recorded = found["reference"], found["reference_seconds_per_sample"]
    if reference:
        seconds, error = reference["seconds_per_sample"], reference["error"] or 0.0
        axes.axhline(1 / seconds, color=BAND, lw=1.4, label="simulation, 1 thread")
        axes.axhspan(1 / (seconds + error), 1 / max(seconds - error, 1e-300), color=GREY, alpha=0.5)
    elif recorded:
        label = "simulation, as recorded"
        axes.axhline(1 / recorded, color=BAND, lw=1.4, ls=":", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_decades(axes)
    axes.margins(y=0.15)
    axes.set_xlabel(f"batch size [{one}s]")
    axes.set_ylabel(f"{one}s / s")
    axes.legend()


def _processes(axes: "Axes", scaling: Mapping[str, Any], one: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    count, speeds, spread = (
        np.array([row[k] for row in scaling["rows"]], float)
        for k in ("processes", "samples_per_second", "spread")
    )
    axes.plot(count, speeds[0] * count, color=BAND, lw=0.9, ls="--", label="as many times one")
    axes.errorbar(count, speeds, spread, color=BLUE, marker="o", ms=5, lw=1.4, label="measured")
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    # of many processes every other number is written, so that they do not meet
    ticks = count if len(count) < 7 else count[::2]
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.set_xlabel("processes at once, one thread each")
    axes.set_ylabel(f"{one}s / s, together")
    axes.legend(loc="upper left")
