"""One plot for each type of measured thing; none knows what the samples are."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.drawing import (
    BAND,
    BLUE,
    GREY,
    STYLE,
    band,
    figure_of,
    outliers,
    ratio_points,
)
from emulators.benchmarks.measured import Axis, Curve, Histogram, Matrix, Measured, Number, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "symbol"]

Array = npt.NDArray[np.float64]
PANEL = (4.1, 4.0)  # inches, a curve or histogram with its ratio
_SYMBOLS = {"omega_m": r"$\Omega_m$", "sigma_8": r"$\sigma_8$", "redshift": "z"}


def symbol(name: str) -> str:
    """Return how a condition is written on plots."""
    return _SYMBOLS.get(name.lower(), name.replace("_", " "))


def draw(things: list[Measured]) -> "Figure":
    """Draw measured things of one type on one figure, three panels a row.

    Numbers are a table, not a plot: ValueError for them.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        if isinstance(things[0], Curve | Histogram):
            return _panels(things)
        if isinstance(things[0], Matrix):
            return _matrices([t for t in things if isinstance(t, Matrix)])
        if isinstance(things[0], Picture):
            return _pictures([t for t in things if isinstance(t, Picture)])
    raise ValueError(f"{type(things[0]).__name__} '{things[0].name}' has no plot")


def _panels(things: list[Measured]) -> "Figure":
    columns = min(3, len(things))
    rows = -(-len(things) // columns)
    width = {1: 9.4, 2: 5.1, 3: PANEL[0]}[columns]
    figure = figure_of(width * columns, PANEL[1] * rows + 0.3)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(wspace=0.05, w_pad=0.1)  # type: ignore[call-arg]
    grid = figure.add_gridspec(rows, columns)
    for i, thing in enumerate(things):
        cell = grid[i // columns, i % columns].subgridspec(2, 1, height_ratios=(2.4, 1.2))
        top = figure.add_subplot(cell[0])
        below = figure.add_subplot(cell[1], sharex=top)
        if isinstance(thing, Curve):
            _curve(top, below, thing)
        elif isinstance(thing, Histogram):
            _histogram(top, below, thing)
        top.tick_params(labelbottom=False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _curve(top: "Axes", below: "Axes", c: Curve) -> None:
    x = c.x if not c.names else np.arange(len(c.x), dtype=float)
    judged = c.judged if len(c.judged) else np.isfinite(c.deviation)
    low, high = c.reference - c.reference_error, c.reference + c.reference_error
    fill = {"color": GREY, "lw": 0}
    if c.names:
        top.bar(x, high - low, 0.8, low, color=GREY, label="reference")
        top.hlines(c.reference, x - 0.4, x + 0.4, color=BAND)
    else:
        top.fill_between(x, low, high, label="reference", **fill)
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
    centre = 0.0 if c.scale is not None else 1.0
    value = c.deviation + centre
    good = c.good if len(c.good) else np.full(len(x), np.nan)
    if np.isfinite(good).any():
        kept = np.isfinite(good)
        below.fill_between(
            x[kept], centre - good[kept], centre + good[kept], color=GREY, alpha=0.55, lw=0
        )
    below.axhline(centre, color=BAND, lw=0.9)
    below.fill_between(x, centre - c.floor, centre + c.floor, color=BAND, alpha=0.35, lw=0)
    for kept, alpha in ((judged, 1.0), (~judged, 0.3)):
        below.errorbar(
            x[kept], value[kept], c.error[kept], fmt="o", ms=2.8, color=BLUE, elinewidth=0.9,
            alpha=alpha,
        )  # fmt: skip
    reach = _reach(c.deviation[judged], c.error[judged], good)
    outliers(below, x[judged], value[judged], (centre - reach, centre + reach))
    below.set_ylim(centre - reach, centre + reach)
    below.set_ylabel("ratio" if c.scale is None else "difference")
    _across(top, below, c.axis, x, c.names)


def _reach(deviation: Array, error: Array, good: Array) -> float:
    off = np.abs(deviation) + np.nan_to_num(error)
    off = off[np.isfinite(off)]
    most = float(np.quantile(off, 0.95)) if len(off) else 0.0
    least = 2 * float(np.nanmax(good)) if np.isfinite(good).any() else 0.02
    return 1.15 * min(max(most, least), max(0.6, least))


def _histogram(top: "Axes", below: "Axes", h: Histogram) -> None:
    density, error = [], []
    for counts, outside in zip((h.reference, h.generated), h.outside):
        total = max(counts.sum() + sum(outside), 1)
        density.append(counts / total)
        error.append(np.sqrt(counts) / total)
    (ref, gen), (ref_error, gen_error) = density, error
    centres = (
        np.sqrt(h.edges[1:] * h.edges[:-1]) if h.axis.log else (h.edges[1:] + h.edges[:-1]) / 2
    )
    top.stairs(ref, h.edges, fill=True, color=GREY, label="reference")
    band(top, h.edges, ref - ref_error, ref + ref_error, "its statistical error")
    top.stairs(gen, h.edges, color=BLUE, lw=1.6, label="emulator")
    top.errorbar(centres, gen, gen_error, fmt="none", ecolor=BLUE, elinewidth=0.9)
    most = max(ref.max(), gen.max(), 1e-9)
    top.set_ylim(0, 1.25 * most)
    if h.log:
        lowest = 0.5 / max(h.reference.sum(), 1)
        top.set_yscale("log")
        top.set_ylim(lowest, 12 * max(most, lowest))
    top.set_ylabel("share of samples")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, spread, own = gen / ref, gen_error / ref, ref_error / ref
    ratio[ref == 0] = np.nan
    ratio_points(below, centres, ratio, spread, (0.5, 1.5))
    band(below, h.edges, np.nan_to_num(1 - own, nan=1), np.nan_to_num(1 + own, nan=1))
    below.set_ylabel("ratio")
    below.set_yticks([0.75, 1, 1.25], labels=["0.75", "1", "1.25"])
    _across(top, below, h.axis, h.edges, ())


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
        _decades(below.xaxis)
    else:
        margin = 0.03 * (x[-1] - x[0]) or 1.0
        below.set_xlim(x[0] - margin, x[-1] + margin)
        below.xaxis.set_major_locator(MaxNLocator(5))
    if not names:
        below.set_xlabel(str(Axis(symbol(axis.label), _powers(axis.unit))))


def _matrices(matrices: list[Matrix]) -> "Figure":
    figure = figure_of(10.6, 3.7 * len(matrices))
    rows = figure.subplots(len(matrices), 3, squeeze=False)
    for axes, m in zip(rows, matrices):
        _matrix(figure, axes, m)
    return figure


def _matrix(figure: "Figure", axes: Any, m: Matrix) -> None:
    from matplotlib.colors import LogNorm

    with np.errstate(divide="ignore", invalid="ignore"):
        third = m.generated / m.reference if m.ratio else m.generated - m.reference
    both = np.concatenate([m.reference.ravel(), m.generated.ravel()])
    both = both[np.isfinite(both) & ((both > 0) | (not m.log))]
    low, high = (both.min(), both.max()) if len(both) else (0.0, 1.0)
    if m.log:
        low = max(low, 1e-4 * high)
    scale: dict[str, Any] = (
        {"norm": LogNorm(low, high)} if m.log and high > low else {"vmin": low, "vmax": high}
    )
    off = np.abs(third - (1 if m.ratio else 0))
    reach = float(np.nanquantile(off, 0.98)) if np.isfinite(off).any() else 0.0
    reach = min(max(reach, 0.02), 1.0)
    centre = 1.0 if m.ratio else 0.0
    y = np.array(m.row_edges) if m.row_edges else np.arange(m.reference.shape[0] + 1)
    x = np.array(m.column_edges) if m.column_edges else np.arange(m.reference.shape[1] + 1)
    titles = (
        "reference",
        "emulator",
        "emulator / reference" if m.ratio else "emulator − reference",
    )
    for panel, values, title in zip(axes, (m.reference, m.generated, third), titles):
        last = panel is axes[2]
        mesh = panel.pcolormesh(
            x, y, values, rasterized=True, cmap="RdBu_r" if last else "viridis",
            **({"vmin": centre - reach, "vmax": centre + reach} if last else scale),
        )  # fmt: skip
        panel.set_title(title)
        panel.set_xlabel(str(m.columns))
        if m.names:
            at = np.arange(len(m.names)) + 0.5
            panel.set_xticks(at, labels=m.names, rotation=90, fontsize=6)
            panel.set_yticks(at, labels=m.names, fontsize=6)
        if m.columns.log:
            panel.set_xscale("log")
            _decades(panel.xaxis)
        if m.rows.log:
            panel.set_yscale("log")
            _decades(panel.yaxis)
        figure.colorbar(mesh, ax=panel, shrink=0.78, pad=0.02)
    axes[0].set_ylabel(f"{m.label}\n{m.rows}" if m.rows.label else m.label)


def _pictures(pictures: list[Picture]) -> "Figure":
    from matplotlib.colors import LogNorm

    p = pictures[0]
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


def _decades(axis: Any) -> None:
    """Label decades as plain numbers; where few are shown, also 2 and 5 of each."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    wide = np.log10(high / low) if low > 0 else 9
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide < 2 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def drawable(thing: Measured) -> bool:
    """Tell whether a measured thing is drawn: all but numbers are."""
    return not isinstance(thing, Number)
