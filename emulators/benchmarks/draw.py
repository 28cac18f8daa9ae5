"""One plot for each type of measured thing; none knows what the samples are."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.drawing import (
    BAND,
    BLUE,
    COLOURS,
    GREY,
    INK,
    MARKERS,
    STYLE,
    band,
    decades,
    figure_of,
    outliers,
    symbol,
)
from emulators.benchmarks.measured import Axis, Curve, Histogram, Matrix, Measured, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

Array = npt.NDArray[np.float64]
PANEL = (4.1, 4.0)  # inches, a curve or histogram with its ratio
EMPTY = "#e9ebee"
MARKED = 64  # points of a curve, at most, that each have a marker


def draw(things: Sequence[Measured]) -> "Figure":
    """Draw measured things of one type on one figure, three panels a row.

    Numbers are a table, not a plot: ValueError for them.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        first = things[0]
        if isinstance(first, Curve):
            return _panels(_curve_panels([t for t in things if isinstance(t, Curve)]))
        if isinstance(first, Histogram):
            chosen = [t for t in things if isinstance(t, Histogram)]
            return _panels([(True, partial(_histogram, h=h)) for h in chosen])
        if isinstance(first, Matrix):
            return _matrix(first)
        if isinstance(first, Picture):
            return _picture(first)
    raise ValueError(f"{type(first).__name__} '{first.name}' has no plot")


Panel = tuple[bool, Callable[["Axes", "Axes | None"], None]]  # whether there is one below; draws


def _panels(panels: Sequence[Panel]) -> "Figure":
    """Draw panels in rows of three, each with another of ratios below it where it has some."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    width = {1: 9.4, 2: 5.1, 3: PANEL[0]}[columns]
    figure = figure_of(width * columns, PANEL[1] * rows + 0.3)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(wspace=0.05, w_pad=0.1)  # type: ignore[call-arg]
    grid = figure.add_gridspec(rows, columns)
    for i, (double, paint) in enumerate(panels):
        place = grid[i // columns, i % columns]
        if not double:
            paint(figure.add_subplot(place), None)
            continue
        cell = place.subgridspec(2, 1, height_ratios=(2.4, 1.2))
        top = figure.add_subplot(cell[0])
        paint(top, figure.add_subplot(cell[1], sharex=top))
        top.tick_params(labelbottom=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if labels and not figure.axes[0].get_legend():
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
    return figure


def _curve_panels(curves: Sequence[Curve]) -> list[Panel]:
    panels: list[Panel] = []
    for family, members in groupby(curves, key=lambda c: c.family):
        if family:
            panels.append((False, partial(_family, curves=list(members))))
            continue
        for c in members:
            panels.append((bool(np.isfinite(c.deviation).any()), partial(_curve, c=c)))
    return panels


def _places(c: Curve) -> Array:
    if c.names:
        return np.arange(len(c.x), dtype=float)
    if len(c.edges):
        ends = c.edges[1:], c.edges[:-1]
        return np.asarray(np.sqrt(ends[0] * ends[1]) if c.axis.log else (ends[0] + ends[1]) / 2)
    return c.x


def _curve(top: "Axes", below: "Axes | None", c: Curve) -> None:
    x, judged = _places(c), c.kept if below is not None else np.ones(len(c.x), bool)
    low, high = c.reference - c.reference_error, c.reference + c.reference_error
    positive = np.concatenate([v[judged & (v > 0)] for v in (c.reference, c.generated)])
    if c.names:
        top.bar(x, high - low, 0.8, low, color=GREY, label="reference")
        top.hlines(c.reference, x - 0.4, x + 0.4, color=BAND)
    elif len(c.edges):
        base = positive.min() / 2 if c.log and len(positive) else 0
        top.stairs(c.reference, c.edges, fill=True, color=GREY, label="reference", baseline=base)
        top.stairs(c.generated, c.edges, color=BLUE, lw=1.6, label="emulator", baseline=None)
    else:
        top.fill_between(x, low, high, color=GREY, lw=0, label="reference")
        top.plot(x, c.reference, color=BAND, lw=1.2)
    if not len(c.edges):
        fmt = "o" if c.names else "o-" if len(x) <= MARKED else "-"
        style: Any = {"fmt": fmt, "ms": 2.8, "lw": 1.2, "color": BLUE}
        top.errorbar(x, c.generated, c.generated_error, label="emulator", **style)
    if c.log and len(positive):
        top.set_yscale("log")
        top.set_ylim(positive.min() / 2, positive.max() * 3)
    elif c.difference:
        top.axhline(0, color=BAND, lw=0.6)
    top.set_ylabel(str(Axis(symbol(c.label), _powers(c.unit))))
    for place, words in c.marks:
        for axes in filter(None, (top, below)):
            axes.axvline(place, color=BAND, lw=0.8, ls=":")
        top.text(place, 0.03, f" {words}", transform=top.get_xaxis_transform(), fontsize=8)
    if below is not None:
        _deviations(below, c, x, judged)
    _across(top, below or top, c.axis, c.edges if len(c.edges) else x, c.names)


def _deviations(axes: "Axes", c: Curve, x: Array, judged: npt.NDArray[np.bool_]) -> None:
    """Draw ratios around 1, or differences around 0."""
    centre = 0.0 if c.difference else 1.0
    good = c.good if len(c.good) else np.full(len(x), np.nan)
    for half in np.unique(good[np.isfinite(good)]):
        inside = x[good == half]
        ends = inside[[0, -1]] if len(inside) > 1 else inside[[0, 0]] + [-0.5, 0.5]
        axes.fill_between(ends, centre - half, centre + half, color=GREY, alpha=0.55, lw=0)
    axes.axhline(centre, color=BAND, lw=0.9)
    axes.fill_between(x, centre - c.floor, centre + c.floor, color=BAND, alpha=0.35, lw=0)
    for kept, alpha in ((judged, 1.0), (~judged, 0.3)):
        axes.errorbar(
            x[kept], centre + c.deviation[kept], c.error[kept], fmt="o", ms=2.8, color=BLUE,
            elinewidth=0.9, alpha=alpha,
        )  # fmt: skip
    reach = _reach(c.deviation[judged], c.error[judged], good)
    outliers(axes, x[judged], centre + c.deviation[judged], (centre - reach, centre + reach))
    axes.set_ylim(centre - reach, centre + reach)
    axes.set_ylabel("difference /\nlargest" if c.difference else "ratio")


def _family(axes: "Axes", _: "Axes | None", curves: Sequence[Curve]) -> None:
    """Draw the ratios of curves on one panel."""
    good = np.concatenate([c.good for c in curves])
    if len(good) and np.isfinite(good).any():
        half = float(np.nanmax(good))
        axes.axhspan(1 - half, 1 + half, color=GREY, alpha=0.55, lw=0)
    axes.axhline(1, color=BAND, lw=0.9)
    off, error = (np.concatenate([getattr(c, k) for c in curves]) for k in ("deviation", "error"))
    reach = _reach(off, error, good)
    for j, c in enumerate(curves):
        shift = 0.02 * (j - (len(curves) - 1) / 2)
        x = c.x * (1 + shift) if c.axis.log else c.x + shift * np.ptp(c.x)
        axes.errorbar(
            x, 1 + c.deviation, c.error, fmt=f"{MARKERS[j % len(MARKERS)]}-", ms=3.5, lw=1,
            color=COLOURS[j % len(COLOURS)], label=symbol(c.label),
        )  # fmt: skip
    axes.set_ylim(1 - reach, 1 + reach)
    axes.set_ylabel(f"{symbol(curves[0].family)}, emulator / reference")
    axes.legend(fontsize=8)
    _across(axes, axes, curves[0].axis, curves[0].x, ())


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
        return
    if axis.log:
        top.set_xscale("log")
        below.set_xlim(x[0] / 1.06, x[-1] * 1.06)
        decades(below.xaxis)
    else:
        margin = 0.03 * (x[-1] - x[0]) or 1.0
        below.set_xlim(x[0] - margin, x[-1] + margin)
        whole = len(x) > 1 and np.allclose(x % 1, 0.5)  # edges of bins that hold a count each
        below.xaxis.set_major_locator(MaxNLocator(5, integer=bool(whole)))
    below.set_xlabel(str(Axis(symbol(axis.label), _powers(axis.unit))))


def _histogram(top: "Axes", below: "Axes | None", h: Histogram) -> None:
    """Draw the shares of both samples in each bin, and their ratio."""
    assert below is not None
    share, error = {}, {}
    for name, counts, outside in zip(
        ("reference", "generated"), (h.reference, h.generated), h.outside
    ):
        total = max(counts.sum() + sum(outside), 1.0)
        share[name], error[name] = counts / total, np.sqrt(counts) / total
    ref, gen = share["reference"], share["generated"]
    ends = h.edges[1:], h.edges[:-1]
    centres = np.sqrt(ends[0] * ends[1]) if h.axis.log else (ends[0] + ends[1]) / 2
    top.stairs(ref, h.edges, fill=True, color=GREY, label="reference")
    top.stairs(gen, h.edges, color=BLUE, lw=1.6, label="emulator")
    top.errorbar(centres, gen, error["generated"], fmt="none", ecolor=BLUE, elinewidth=0.9)
    band(top, h.edges, ref - error["reference"], ref + error["reference"], "statistical error")
    top.set_ylim(0, 1.25 * max(ref.max(), gen.max(), 1e-9))
    top.set_ylabel("share")
    if h.log:
        top.set_yscale("log")
        lowest = 0.5 / max(h.reference.sum(), 1.0)
        top.set_ylim(lowest, 12 * max(ref.max(), gen.max(), lowest))
    top.text(0.97, 0.95, h.text, transform=top.transAxes, ha="right", va="top", fontsize=8.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, spread, own = gen / ref, error["generated"] / ref, error["reference"] / ref
    ratio[ref == 0] = np.nan
    below.axhline(1, color=BAND, lw=0.9)
    below.errorbar(centres, ratio, spread, fmt="o", ms=2.6, color=BLUE, elinewidth=0.9)
    outliers(below, centres, ratio, (0.5, 1.5))
    band(below, h.edges, np.nan_to_num(1 - own, nan=1), np.nan_to_num(1 + own, nan=1))
    below.set_ylim(0.5, 1.5)
    below.set_yticks([0.75, 1, 1.25], labels=["0.75", "1", "1.25"])
    below.set_ylabel("ratio")
    _across(top, below, h.axis, h.edges, ())
    for axes in (top, below):
        axes.yaxis.set_label_coords(-0.17, 0.5)


def _matrix(m: Matrix) -> "Figure":
    from matplotlib.colors import LogNorm

    rows, columns = m.panels[0].shape
    square = rows == columns
    height = 3.6 if square or not m.rows else 0.155 * rows + 1.3
    figure = figure_of(10.4, max(height, 2.2))
    figure.set_facecolor("white")
    axes = figure.subplots(1, len(m.panels), squeeze=False)[0]
    edges = _edges(m.at, bool(m.axis and m.axis.log)) if len(m.at) else None
    for i, (panel, values, title, (low, high)) in enumerate(
        zip(axes, m.panels, m.titles, m.limits)
    ):
        colours = "RdBu_r" if low == -high else ("YlOrRd", "YlGnBu")[i % 2] if m.log else "viridis"
        scale: Any = {"norm": LogNorm(low, high)} if m.log else {"vmin": low, "vmax": high}
        panel.set_facecolor(EMPTY)
        if edges is None:
            shown = panel.imshow(
                values, cmap=_under_white(colours, m.log), interpolation="nearest",
                aspect="equal" if square else "auto", **scale,
            )  # fmt: skip
            panel.tick_params(length=0)
            _named(panel, m, i)
            if not i and len(m.marked):
                panel.plot(*np.nonzero(m.marked)[::-1], "o", ms=2.5, color=INK)
        else:
            assert m.axis is not None
            shown = panel.pcolormesh(edges, edges, values, cmap=colours, rasterized=True, **scale)
            panel.set_aspect("equal")
            _across_both(panel, m.axis, label=not i)
        panel.set_title(title)
        bar = figure.colorbar(
            shown, ax=panel, pad=0.02, shrink=0.78 if square else 1.0,
            label=m.bars[i] if m.bars else "", extend="max" if m.log else "neither",
        )  # fmt: skip
        if m.log:
            ticks = [t for t in (1, 2, 4, 8) if low <= t <= high]
            bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
            bar.minorticks_off()
    return figure


def _under_white(colours: str, log: bool) -> Any:
    import matplotlib as mpl

    found = mpl.colormaps[colours]
    return found.with_extremes(under="white") if log else found


def _named(axes: "Axes", m: Matrix, i: int) -> None:
    """Name columns, and of the first panel rows; runs of equal names once."""
    for names, axis, limit in ((m.columns, axes.xaxis, True), (m.rows, axes.yaxis, not i)):
        runs = [(name, len(list(group))) for name, group in groupby(names)]
        ends = np.cumsum([0, *(n for _, n in runs)])
        centres = (ends[1:] + ends[:-1] - 1) / 2
        axis.set_ticks(centres, labels=[symbol(name) for name, _ in runs] if limit else None)
        if not limit:
            axis.set_tick_params(labelleft=False)
        if len(runs) < len(names):  # blocks, with lines between them
            for end in ends[1:-1]:
                line = axes.axvline if axis is axes.xaxis else axes.axhline
                line(end - 0.5, color=BAND, lw=0.5)
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")
    small = 7.0 if len(set(m.rows)) > 12 else 9.0
    axes.tick_params(axis="y", labelsize=small)


def _across_both(axes: "Axes", axis: Axis, label: bool) -> None:
    words = str(Axis(symbol(axis.label), _powers(axis.unit)))
    axes.set_xlabel(words)
    if label:
        axes.set_ylabel(words)
    if axis.log:
        axes.set(xscale="log", yscale="log")
        decades(axes.xaxis)
        decades(axes.yaxis)


def _edges(at: Array, log: bool) -> Array:
    """Return edges between places, and beyond the first and the last."""
    x = np.log(at) if log else at
    middles = (x[1:] + x[:-1]) / 2
    ends = [2 * x[0] - middles[0]], middles, [2 * x[-1] - middles[-1]]
    edges = np.concatenate(ends) if len(x) > 1 else x[0] + np.array([-0.5, 0.5])
    return np.asarray(np.exp(edges) if log else edges)


def _picture(p: Picture) -> "Figure":
    columns = max(len(row) for row in p.panels)
    height = 2.35 * min(max(_shape(p, 0), 0.5), 2)
    figure = figure_of(2.5 * columns + 0.9, len(p.panels) * (height + 0.6) + 0.4)
    figure.set_facecolor("white")
    grid = figure.subplots(len(p.panels), columns, squeeze=False)
    scale = _scale(p)
    colours = "RdBu_r" if p.diverging else "magma" if not p.polar else "viridis"
    shown: Any = None
    for i, (axes, row, title) in enumerate(zip(grid, p.panels, p.titles)):
        for j, panel in enumerate(axes):
            if j >= len(row):
                panel.axis("off")
                continue
            shown = _mesh(panel, p, i, row[j], {"cmap": colours, **scale})
            words = p.names[i][j] if len(p.names) > i and len(p.names[i]) > j else ""
            panel.set_title(f"{title}\n{words}" if words else title)
            if i == len(p.panels) - 1:
                panel.set_xlabel(p.axes[1])
            if not j:
                panel.set_ylabel(p.axes[0])
    label = str(Axis(p.label, _powers(p.unit)))
    bar = figure.colorbar(shown, ax=list(grid.ravel()), label=label, pad=0.01, aspect=34)
    if p.diverging:
        bar.set_ticks([0.5, 0.7, 1, 1.4, 2], labels=["0.5", "0.7", "1", "1.4", "2"])
        bar.minorticks_off()
    return figure


def _scale(p: Picture) -> Mapping[str, Any]:
    from matplotlib.colors import LogNorm

    if p.diverging:
        return {"norm": LogNorm(0.5, 2)}
    pixels = np.concatenate([a.ravel() for row in p.panels for a in row])
    pixels = pixels[np.isfinite(pixels) & ((pixels > 0) | (not p.log))]
    low, high = np.quantile(pixels, [0.002, 0.9995]) if len(pixels) else (0.0, 1.0)
    if p.log and high > 0:
        return {"norm": LogNorm(max(low, 1e-5 * high), high if high > low else 10 * high)}
    return {"vmin": low, "vmax": high if high > low else low + 1}


def _shape(p: Picture, row: int) -> float:
    """Return height over width of a row of panels."""
    if p.polar:
        return 1.0
    if not p.edges:
        height, width = p.panels[row][0].shape
        return float(height / width)
    first, second = p.edges[row]
    return float((first[-1] - first[0]) / (second[-1] - second[0]))


def _mesh(axes: "Axes", p: Picture, row: int, values: Array, style: Mapping[str, Any]) -> Any:
    """Draw the cells of a panel where they are; empty ones are left out of logarithmic colours."""
    shown = np.where(values > 0, values, np.nan) if p.log or p.diverging else values
    if p.edges:
        first, second = p.edges[row]
    else:
        first, second = (np.arange(n + 1.0) for n in values.shape)
    if p.polar:  # rings are drawn in short straight pieces
        pieces = max(1, 96 // len(shown))
        shown = np.repeat(shown, pieces, axis=0)
        angle = np.linspace(first[0], first[-1], len(shown) + 1)
        angles, radii = np.meshgrid(angle, second, indexing="ij")
        x, y = radii * np.cos(angles), radii * np.sin(angles)
    else:
        x, y = np.meshgrid(second, first)
    mesh = axes.pcolormesh(x, y, shown, rasterized=True, **style)
    if p.polar or 0.4 < _shape(p, row) < 2.5:
        axes.set_aspect("equal")
    axes.set_facecolor(EMPTY)
    return mesh


def _powers(unit: str) -> str:
    """Write powers above the line."""
    return re.sub(r"\^(-?\d+)", r"$^{\1}$", unit)
