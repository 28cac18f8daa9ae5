"""One plot for each type of measured thing; none knows what the samples are."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.drawing import (
    BAND,
    BLUE,
    GREY,
    STYLE,
    decades,
    figure_of,
    outliers,
    symbol,
)
from emulators.benchmarks.measured import Axis, Curve, Measured, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

Array = npt.NDArray[np.float64]
PANEL = (4.1, 4.0)  # inches, a curve with its ratio


def draw(things: Sequence[Measured]) -> "Figure":
    """Draw measured things of one type on one figure, three panels a row.

    Numbers are a table, not a plot: ValueError for them.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        if isinstance(things[0], Curve):
            return _curves([t for t in things if isinstance(t, Curve)])
        if isinstance(things[0], Picture):
            return _picture(things[0])
    raise ValueError(f"{type(things[0]).__name__} '{things[0].name}' has no plot")


def _curves(curves: list[Curve]) -> "Figure":
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    width = {1: 9.4, 2: 5.1, 3: PANEL[0]}[columns]
    figure = figure_of(width * columns, PANEL[1] * rows + 0.3)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(wspace=0.05, w_pad=0.1)  # type: ignore[call-arg]
    grid = figure.add_gridspec(rows, columns)
    for i, curve in enumerate(curves):
        cell = grid[i // columns, i % columns].subgridspec(2, 1, height_ratios=(2.4, 1.2))
        top = figure.add_subplot(cell[0])
        below = figure.add_subplot(cell[1], sharex=top)
        _curve(top, below, curve)
        top.tick_params(labelbottom=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _curve(top: "Axes", below: "Axes", c: Curve) -> None:
    x = c.x if not c.names else np.arange(len(c.x), dtype=float)
    judged = c.judged if len(c.judged) else np.isfinite(c.deviation)
    low, high = c.reference - c.reference_error, c.reference + c.reference_error
    if c.names:
        top.bar(x, high - low, 0.8, low, color=GREY, label="reference")
        top.hlines(c.reference, x - 0.4, x + 0.4, color=BAND)
    else:
        top.fill_between(x, low, high, color=GREY, lw=0, label="reference")
        top.plot(x, c.reference, color=BAND, lw=1.2)
    style = "o" if c.names else "o-"
    top.errorbar(
        x, c.generated, c.generated_error, fmt=style, ms=2.8, lw=1.2, color=BLUE, label="emulator"
    )
    positive = np.concatenate([v[judged & (v > 0)] for v in (c.reference, c.generated)])
    if c.log and len(positive):
        top.set_yscale("log")
        top.set_ylim(positive.min() / 2, positive.max() * 3)
    top.set_ylabel(str(Axis(c.label, _powers(c.unit))))
    ratio = c.deviation + 1
    good = c.good if len(c.good) else np.full(len(x), np.nan)
    if np.isfinite(good).any():
        kept = np.isfinite(good)
        below.fill_between(x[kept], 1 - good[kept], 1 + good[kept], color=GREY, alpha=0.55, lw=0)
    below.axhline(1, color=BAND, lw=0.9)
    below.fill_between(x, 1 - c.floor, 1 + c.floor, color=BAND, alpha=0.35, lw=0)
    for kept, alpha in ((judged, 1.0), (~judged, 0.3)):
        below.errorbar(
            x[kept], ratio[kept], c.error[kept], fmt="o", ms=2.8, color=BLUE, elinewidth=0.9,
            alpha=alpha,
        )  # fmt: skip
    reach = _reach(c.deviation[judged], c.error[judged], good)
    outliers(below, x[judged], ratio[judged], (1 - reach, 1 + reach))
    below.set_ylim(1 - reach, 1 + reach)
    below.set_ylabel("ratio")
    _across(top, below, c.axis, x, c.names)


def _reach(deviation: Array, error: Array, good: Array) -> float:
    off = np.abs(deviation) + np.nan_to_num(error)
    off = off[np.isfinite(off)]
    most = float(np.quantile(off, 0.95)) if len(off) else 0.0
    least = 2 * float(np.nanmax(good)) if np.isfinite(good).any() else 0.02
    return 1.15 * min(max(most, least), max(0.6, least))


def _across(top: "Axes", below: "Axes", axis: Axis, x: Array, names: tuple[str, ...]) -> None:
    """Say what lies across, and how far."""
    from matplotlib.ticker import MaxNLocator

    if names:
        below.set_xlim(-0.6, len(names) - 0.4)
        below.set_xticks(range(len(names)), labels=[symbol(n) for n in names], rotation=30,
                         ha="right")  # fmt: skip
    elif axis.log:
        top.set_xscale("log")
        below.set_xlim(x[0] / 1.1, x[-1] * 1.1)
        decades(below.xaxis)
    else:
        margin = 0.03 * (x[-1] - x[0]) or 1.0
        below.set_xlim(x[0] - margin, x[-1] + margin)
        below.xaxis.set_major_locator(MaxNLocator(5))
    if not names:
        below.set_xlabel(str(Axis(symbol(axis.label), _powers(axis.unit))))


def _picture(p: Picture) -> "Figure":
    from matplotlib.colors import LogNorm

    columns = max(len(row) for row in p.panels)
    ratio = p.extent[0] / p.extent[1]
    figure = figure_of(
        2.5 * columns + 0.9, len(p.panels) * (2.35 * min(max(ratio, 0.5), 2) + 0.5) + 0.5
    )
    figure.set_facecolor("white")
    grid = figure.subplots(len(p.panels), columns, squeeze=False, sharex=True, sharey=True)
    pixels = np.concatenate([a.ravel() for row in p.panels for a in row])
    pixels = pixels[np.isfinite(pixels) & ((pixels > 0) | (not p.log))]
    low, high = (np.quantile(pixels, [0.001, 0.999])) if len(pixels) else (0.0, 1.0)
    scale: dict[str, Any] = (
        {"norm": LogNorm(max(low, 1e-4 * high), high)} if p.log and high > 0 else
        {"vmin": low, "vmax": high}
    )  # fmt: skip
    for i, (axes, row, title) in enumerate(zip(grid, p.panels, p.titles)):
        for j, panel in enumerate(axes):
            if j >= len(row):
                panel.axis("off")
                continue
            shown = panel.imshow(
                row[j], cmap="magma", origin="lower", interpolation="nearest", aspect="auto",
                extent=(0, p.extent[1], 0, p.extent[0]), **scale,
            )  # fmt: skip
            words = p.names[i][j] if len(p.names) > i and len(p.names[i]) > j else ""
            panel.set_title(f"{title}\n{words}" if words else title)
    figure.colorbar(
        shown, ax=list(grid.ravel()), label=str(Axis(p.label, _powers(p.unit))), pad=0.01, aspect=34
    )
    return figure


def _powers(unit: str) -> str:
    """Write powers above the line."""
    return re.sub(r"\^(-?\d+)", r"$^{\1}$", unit)
