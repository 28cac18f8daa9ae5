"""The figures of a shower report, drawn from its record; matplotlib's object interface only."""

from collections.abc import Mapping, Sequence
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
    plain_decades,
    png,
    ratio_points,
    shown,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "average_showers",
    "classifier_curves",
    "layer_energies",
    "observable_page",
    "response",
    "shown",
]


def observable_page(entries: Sequence[Mapping[str, Any]]) -> str:
    """Draw the histograms of some observables, each with its ratio; return an SVG data URI."""
    import matplotlib as mpl

    columns, rows = min(3, len(entries)), -(-len(entries) // 3)
    width, height = 3.7 * columns, 3.35 * rows + 0.45
    with mpl.rc_context(STYLE):
        # placed by hand: one size for every panel, and no search for a layout
        figure = figure_of(width, height, layout=None)
        grid = figure.add_gridspec(
            rows,
            columns,
            left=0.7 / width,
            right=1 - 0.12 / width,
            bottom=0.55 / height,
            top=1 - 0.42 / height,
            wspace=0.26,
            hspace=0.3,
        )
        for k, entry in enumerate(entries):
            pair = grid[k // columns, k % columns].subgridspec(
                2, 1, height_ratios=(3, 1.1), hspace=0.07
            )
            top = figure.add_subplot(pair[0])
            below = figure.add_subplot(pair[1], sharex=top)
            _overlay(top, below, entry)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        place = (0.5, 1 - 0.05 / height)
        figure.legend(handles, labels, loc="upper center", bbox_to_anchor=place, ncols=3)
        return svg(figure)


def _overlay(top: "Axes", below: "Axes", entry: Mapping[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator, NullFormatter

    histogram = entry["histogram"]
    edges = np.asarray(histogram["edges"])
    density, error = {}, {}
    for name in ("reference", "generated"):
        counts = np.asarray(histogram[name], float)
        total = counts.sum() + sum(histogram["outside"][name])
        density[name], error[name] = counts / total, np.sqrt(counts) / total
    ref, gen = density["reference"], density["generated"]
    top.stairs(ref, edges, fill=True, color=GREY, label="reference")
    top.stairs(gen, edges, color=BLUE, lw=1.6, label="emulator")
    logarithmic = entry["log"] and edges[0] > 0  # an empty layer has only zeros
    centres = np.sqrt(edges[1:] * edges[:-1]) if logarithmic else (edges[1:] + edges[:-1]) / 2
    top.errorbar(centres, gen, error["generated"], fmt="none", ecolor=BLUE, elinewidth=0.9)
    band(top, edges, ref - error["reference"], ref + error["reference"], "statistical error")
    top.set_ylim(0, 1.25 * max(ref.max(), gen.max(), 1e-9))
    top.set_ylabel("share of showers")
    if entry["group"] in ("position", "width") or entry["name"] == "energy_response":
        top.set_yscale("log")  # a core and tails that matter
        lowest = 0.5 / max(sum(histogram["reference"]), 1)
        top.set_ylim(lowest, 12 * max(ref.max(), gen.max(), lowest))
    if logarithmic:
        top.set_xscale("log")
        top.xaxis.set_minor_formatter(NullFormatter())  # shared with the ratio below
    top.tick_params(labelbottom=False)
    separation = entry["distances"]["separation_power"]
    text = f"S = {separation['value']:.3f} (floor {separation['floor']:.3f})"
    top.text(0.97, 0.95, text, transform=top.transAxes, ha="right", va="top", fontsize=8.5)

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, spread, own = gen / ref, error["generated"] / ref, error["reference"] / ref
    ratio[ref == 0] = np.nan
    ratio_points(below, centres, ratio, spread, (0.5, 1.5))
    band(below, edges, np.nan_to_num(1 - own, nan=1), np.nan_to_num(1 + own, nan=1))
    below.set_xlim(edges[0], edges[-1])
    below.set_xlabel(entry_axis(entry))
    below.set_ylabel("ratio")
    below.set_yticks([0.75, 1, 1.25], labels=["0.75", "1", "1.25"])
    if entry["name"] == "depth":
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (top, below):
        axes.yaxis.set_label_coords(-0.17, 0.5)


def entry_axis(entry: Mapping[str, Any]) -> str:
    """Return what an axis says of an observable of the record."""
    return f"{entry['label']} [{entry['unit']}]" if entry["unit"] else str(entry["label"])


def response(table: Mapping[str, Any]) -> str:
    """Draw mean response and resolution against incident energy; return an SVG data URI."""
    import matplotlib as mpl

    cells = [c for c in table["rows"] if c["layer"] == "total"]
    with mpl.rc_context(STYLE):
        figure = figure_of(9.4, 4.3)
        grid = figure.add_gridspec(1, 2)
        for column, (kind, label) in enumerate(
            (
                ("mean", r"mean of $E_\mathrm{tot}/E_\mathrm{inc}$"),
                ("width", r"width of $E_\mathrm{tot}/E_\mathrm{inc}$"),
            )
        ):
            pair = grid[0, column].subgridspec(2, 1, height_ratios=(3, 1.3))
            top = figure.add_subplot(pair[0])
            below = figure.add_subplot(pair[1], sharex=top)
            energies, bars = _energies(cells)
            for name, colour, marker in (("reference", BAND, "s"), ("generated", BLUE, "o")):
                top.errorbar(
                    energies,
                    _column(cells, f"{kind}_{name}"),
                    _column(cells, f"{kind}_{name}_error"),
                    bars,
                    fmt=marker,
                    ms=4.5,
                    color=colour,
                    label="emulator" if name == "generated" else name,
                )
            top.set_ylabel(label)
            top.tick_params(labelbottom=False)
            _deviation_panel(below, cells, kind)
            below.set_xlabel("incident energy [GeV]")
            below.set_ylabel("ratio")
        # of few showers, points and errors leave no corner of the axes free
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        return svg(figure)


def layer_energies(table: Mapping[str, Any]) -> str:
    """Draw emulator / reference of layer means and widths against energy; an SVG data URI."""
    import matplotlib as mpl

    names = list(dict.fromkeys(c["layer"] for c in table["rows"] if c["layer"] != "total"))
    chosen = shown(names, 6)
    with mpl.rc_context(STYLE):
        figure = figure_of(9.4, 1.75 * len(chosen) + 0.7)
        axes = figure.subplots(len(chosen), 2, sharex=True, squeeze=False)
        for row, name in enumerate(chosen):
            cells = [c for c in table["rows"] if c["layer"] == name]
            for column, kind in enumerate(("mean", "width")):
                axes[row, column].set_ylabel(name.replace("_", " "))
                _deviation_panel(axes[row, column], cells, kind)
        for column, title in enumerate(("mean", "standard deviation")):
            axes[0, column].set_title(
                rf"{title} of $E_\mathrm{{layer}}/E_\mathrm{{inc}}$, emulator / reference"
            )
            axes[-1, column].set_xlabel("incident energy [GeV]")
        return svg(figure)


def _deviation_panel(axes: "Axes", cells: Sequence[Mapping[str, Any]], kind: str) -> None:
    energies, bars = _energies(cells)
    deviation, error = (_column(cells, f"{kind}_{k}") for k in ("deviation", "error"))
    reach = np.nanmax(np.append(np.abs(deviation) + error, 0.04))
    reach = 1.15 * min(reach, 0.5)
    axes.axhspan(0.98, 1.02, color=GREY, alpha=0.55, lw=0)
    axes.axhline(1, color=BAND, lw=0.9)
    axes.errorbar(energies, 1 + deviation, error, bars, fmt="o", ms=4, color=BLUE)
    outliers(axes, energies, 1 + deviation, (1 - reach, 1 + reach))
    axes.set_ylim(1 - reach, 1 + reach)
    axes.set_xscale("log")
    low, high = cells[0]["low"], cells[-1]["high"]
    axes.set_xlim(low / 1.06, high * 1.06)  # also where every bin is empty
    plain_decades(axes)


def average_showers(layers: Sequence[Mapping[str, Any]]) -> str:
    """Draw the mean energy of every cell: reference, emulator, ratio; return a PNG data URI."""
    import matplotlib as mpl
    from matplotlib.colors import LogNorm

    chosen = shown(layers, 6)
    with mpl.rc_context(STYLE):
        figure = figure_of(10.2, 3.05 * len(chosen) + 0.2)
        figure.set_facecolor("white")
        axes = figure.subplots(len(chosen), 3, squeeze=False)
        for row, layer in zip(axes, chosen):
            ref, gen = (np.asarray(layer[k]) for k in ("reference", "generated"))
            positive = np.concatenate([ref[ref > 0], gen[gen > 0]])
            top = positive.max() if len(positive) else 1.0
            low = max(positive.min(), 1e-5 * top) if len(positive) else 0.1
            norm = LogNorm(low, top if top > low else 10 * low)
            for panel, cells, title in zip(row[:2], (ref, gen), ("reference", "emulator")):
                mesh = _mesh(panel, layer, np.where(cells > 0, cells, np.nan), norm, "viridis")
                panel.set_title(f"{title}, {layer['layer'].replace('_', ' ')}")
            figure.colorbar(mesh, ax=list(row[:2]), label="mean energy [MeV]", pad=0.02)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(ref > 0, gen / ref, np.nan)
            mesh = _mesh(row[2], layer, ratio, LogNorm(0.5, 2), "RdBu_r")
            row[2].set_title("emulator / reference")
            bar = figure.colorbar(mesh, ax=row[2], label="ratio", pad=0.04, extend="both")
            bar.set_ticks([0.5, 0.7, 1, 1.4, 2], labels=["0.5", "0.7", "1", "1.4", "2"])
            bar.minorticks_off()
        return png(figure)


def _mesh(
    axes: "Axes", layer: Mapping[str, Any], cells: npt.NDArray[Any], norm: Any, colours: str
) -> Any:
    first, second = (np.asarray(e, float) for e in layer["edges"])
    if tuple(layer["axes"]) == ("x", "y"):
        x, y, labels = *np.meshgrid(first, second, indexing="ij"), ("x [mm]", "y [mm]")
    else:  # rings are drawn in short straight pieces
        pieces = max(1, 96 // len(cells))
        cells = np.repeat(cells, pieces, axis=0)
        first = np.linspace(first[0], first[-1], len(cells) + 1)
        alpha, r = np.meshgrid(first, second, indexing="ij")
        x, y, labels = r * np.cos(alpha), r * np.sin(alpha), (r"$\eta$ [mm]", r"$\phi$ [mm]")
    mesh = axes.pcolormesh(x, y, cells, norm=norm, cmap=colours, rasterized=True)
    axes.set_aspect("equal")
    axes.set_facecolor("#e9ebee")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    return mesh


def classifier_curves(classifiers: Mapping[str, Mapping[str, Any]], one: str = "shower") -> str:
    """Draw score histograms and ROC curves of the first seeds; return an SVG data URI."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = figure_of(2.75 * len(classifiers), 5.4)
        axes = figure.subplots(2, len(classifiers), squeeze=False)
        for (top, below), (name, found) in zip(axes.T, classifiers.items()):
            scores = found["scores"]
            counts = {k: np.asarray(scores[k], float) for k in ("reference", "generated")}
            top.stairs(
                counts["reference"] / counts["reference"].sum(),
                scores["edges"],
                fill=True,
                color=GREY,
                label="reference",
            )
            top.stairs(
                counts["generated"] / counts["generated"].sum(),
                scores["edges"],
                color=BLUE,
                lw=1.6,
                label="emulator",
            )
            top.set_ylim(bottom=0)
            top.set_xlim(0, 1)
            top.set_title(f"{name} view")
            top.set_xlabel("score: probability of reference")
            roc = found["roc"]
            below.plot([0, 1], [0, 1], color=BAND, lw=0.9, ls="--", label="cannot tell")
            below.plot(roc["generated_kept"], roc["reference_kept"], color=BLUE, lw=1.8)
            below.text(0.95, 0.08, f"AUC {found['auc']['value']:.3f}", ha="right")
            below.set_xlabel(f"emulated {one}s accepted")
            below.set_xlim(0, 1)
            below.set_ylim(0, 1)
            below.set_aspect("equal")
        axes[0, 0].set_ylabel(f"share of {one}s")
        axes[0, 0].legend()
        axes[1, 0].set_ylabel(f"reference {one}s accepted")
        axes[1, 0].legend(loc="upper left")
        return svg(figure)


def _energies(cells: Sequence[Mapping[str, Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    low, high = _column(cells, "low"), _column(cells, "high")
    middle = np.sqrt(low * high)
    return middle, np.stack([middle - low, high - middle])


def _column(cells: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.float64]:
    return np.array([c[name] for c in cells], float)
