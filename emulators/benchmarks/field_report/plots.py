"""The figures of a report on fields, drawn from its record."""

import base64
import re
from collections.abc import Mapping, Sequence
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
    png,
    svg,
    symbol,
)
from emulators.observables.fields import logarithmic
from emulators.observables.spectra import wavenumber_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["conditional", "copies", "correlations", "curves", "minkowski", "pictures"]

Array = npt.NDArray[np.float64]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
MARKERS = "osD^vP"


def pictures(entry: Mapping[str, Any]) -> str:
    """Draw reference fields above generated ones; return a PNG data URI."""
    import matplotlib as mpl

    columns = len(entry["reference"])
    ratio = entry["lengths"][0] / entry["lengths"][1]
    with mpl.rc_context(STYLE):
        figure = figure_of(2.75 * columns + 0.9, 2 * (2.35 * min(max(ratio, 0.5), 2) + 0.55) + 0.55)
        figure.set_facecolor("white")
        axes = figure.subplots(2, columns, squeeze=False, sharex=True, sharey=True)
        extent = (0, entry["lengths"][1], 0, entry["lengths"][0])
        for row, name, title in zip(axes, ("reference", "generated"), ("reference", "emulator")):
            for panel, one in zip(row, entry[name]):
                pixels = np.frombuffer(base64.b64decode(one["pixels"]), np.uint8)
                shown = panel.imshow(
                    entry["low"]
                    + pixels.reshape(entry["shape"]) / 255 * (entry["high"] - entry["low"]),
                    vmin=entry["low"],
                    vmax=entry["high"],
                    cmap="magma",
                    origin="lower",
                    extent=extent,
                    interpolation="nearest",
                )
                words = ", ".join(
                    f"{symbol(k)} = {v:.3g}" for k, v in list(one["conditions"].items())[:3]
                )
                panel.set_title(
                    f"{title} {one['row']}\n{words}" if words else f"{title} {one['row']}"
                )
            row[0].set_ylabel(f"{entry['axes'][0]} [{entry['unit']}]")
        for panel in axes[-1]:
            panel.set_xlabel(f"{entry['axes'][1]} [{entry['unit']}]")
        figure.colorbar(shown, ax=list(axes.ravel()), label=entry["shows"], pad=0.01, aspect=34)
        return png(figure)


def curves(
    entries: Sequence[Mapping[str, Any]], limits: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Draw statistics of both samples, each with its ratio; return an SVG data URI.

    ``limits`` gives for each name from which ``x`` on which relative deviation is good.
    """
    import matplotlib as mpl

    columns = min(3, len(entries))
    rows = -(-len(entries) // columns)
    width = {1: 9.4, 2: 5.1, 3: 4.1}[columns]
    with mpl.rc_context(STYLE):
        figure = figure_of(width * columns, 4.2 * rows)
        _apart(figure)
        grid = figure.add_gridspec(rows, columns)
        for i, entry in enumerate(entries):
            cell = grid[i // columns, i % columns].subgridspec(2, 1, height_ratios=(2.4, 1.2))
            top = figure.add_subplot(cell[0])
            below = figure.add_subplot(cell[1], sharex=top)
            _curve(top, below, entry, limits[entry["name"]])
        figure.axes[0].legend()
        return svg(figure)


def _curve(
    top: "Axes", below: "Axes", entry: Mapping[str, Any], limits: Sequence[tuple[float, float]]
) -> None:
    x, label, logarithmic = _axis(entry, "x")
    ref, gen, ref_error, gen_error, ratio, error = (
        _numbers(entry[k])
        for k in (
            "reference",
            "generated",
            "reference_error",
            "generated_error",
            "ratio",
            "error",
        )
    )
    if "edges" in entry:
        edges = _axis(entry, "edges")[0]
        widths = np.diff(_numbers(entry["edges"]))
        x = np.sqrt(edges[1:] * edges[:-1]) if logarithmic else (edges[1:] + edges[:-1]) / 2
        ref, gen, ref_error, gen_error = (v / widths for v in (ref, gen, ref_error, gen_error))
        lowest = min((v[v > 0].min() for v in (ref, gen) if (v > 0).any()), default=1.0)
        top.stairs(ref, edges, fill=True, color=GREY, label="reference", baseline=lowest / 2)
        top.stairs(gen, edges, color=BLUE, lw=1.6, label="emulator", baseline=None)
    else:
        top.fill_between(x, ref - ref_error, ref + ref_error, color=GREY, lw=0, label="reference")
        top.plot(x, ref, color=BAND, lw=1.2)
        top.errorbar(x, gen, gen_error, fmt="o-", ms=2.5, lw=1.2, color=BLUE, label="emulator")
    positive = np.concatenate([ref[ref > 0], gen[gen > 0]])
    if len(positive) and (ref[np.array(entry["judged"], bool)] > 0).all():
        top.set_yscale("log")
        top.set_ylim(positive.min() / 2, positive.max() * 3)
    if logarithmic:
        top.set_xscale("log")
    unit = _powers(entry["unit"])
    top.set_ylabel(unit if "edges" in entry else f"{entry['label']} [{unit}]")
    top.tick_params(labelbottom=False)

    judged = np.array(entry["judged"], bool)
    reach = _reach(ratio[judged], error[judged], [limit for _, limit in limits])
    edge = np.append(_axis({**entry, "start": [start for start, _ in limits]}, "start")[0], np.inf)
    span = (edges[0], edges[-1]) if "edges" in entry else _ends(x, logarithmic)
    for start, stop, (_, limit) in zip(edge[:-1], edge[1:], limits):
        ends = [max(start, span[0]), min(stop, span[1])]
        below.fill_between(ends, 1 - limit, 1 + limit, color=GREY, alpha=0.55, lw=0)
    below.axhline(1, color=BAND, lw=0.9)
    own = np.divide(ref_error, np.abs(ref), out=np.zeros_like(ref), where=ref != 0)
    below.fill_between(x, 1 - own, 1 + own, color=BAND, alpha=0.4, lw=0)
    for kept, alpha in ((judged, 1.0), (~judged, 0.3)):
        below.errorbar(
            x[kept], ratio[kept], error[kept], fmt="o", ms=2.8, color=BLUE, elinewidth=0.9,
            alpha=alpha,
        )  # fmt: skip
    outliers(below, x[judged], ratio[judged], (1 - reach, 1 + reach))
    below.set_ylim(1 - reach, 1 + reach)
    below.set_xlim(*span)
    below.set_xlabel(label)
    below.set_ylabel("ratio")
    if nyquist := entry.get("nyquist"):
        for axes in (top, below):
            axes.axvline(nyquist / 2, color=BAND, lw=0.8, ls=":")
        top.text(nyquist / 2, 0.03, " Nyquist / 2", transform=top.get_xaxis_transform(), fontsize=8)
    if logarithmic:
        decades(below.xaxis)


def _powers(unit: str) -> str:
    """Write powers above the line, and inverse lengths as wavenumbers are."""

    def inverse(match: re.Match[str]) -> str:
        of, power = wavenumber_unit(match[1]), match[2]
        return of if power == "1" else f"({of})^{power}"

    unit = re.sub(r"\(([^()]*)\)\^-(\d+)", inverse, unit)
    return re.sub(r"\^(\d+)", r"$^{\1}$", unit)


def _apart(figure: "Figure") -> None:
    """Leave room for labels between columns: nested grids do not see each other's."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(wspace=0.05, w_pad=0.1)  # type: ignore[call-arg]


def _axis(entry: Mapping[str, Any], key: str) -> tuple[Array, str, bool]:
    """Return places along x, the words of the axis, and whether it is logarithmic."""
    name, unit = entry["axis"]
    values = _numbers(entry[key])
    if unit == "count":
        return values + 1, f"1 + {name} [{unit}]", True
    if unit == "overdensity":
        return values + 2, f"2 + {name} [{unit}]", True
    label = f"{name} [{unit}]" if unit else name
    along_k = entry.get("name", "").startswith(("power", "bispectrum"))
    return values, label, along_k or logarithmic(_numbers(entry.get("edges", entry["x"])))


def _ends(x: Array, logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        return float(x[0] / 1.15), float(x[-1] * 1.1)
    margin = 0.03 * (x[-1] - x[0]) or 1.0
    return float(x[0] - margin), float(x[-1] + margin)


def _reach(ratio: Array, error: Array, limits: Sequence[float]) -> float:
    off = np.abs(ratio - 1) + np.nan_to_num(error)
    off = off[np.isfinite(off)]
    most = float(np.quantile(off, 0.95)) if len(off) else 0.0
    return 1.15 * min(max(most, 2 * max(limits)), 0.6)


def _numbers(values: Any) -> Array:
    return np.array(values, np.float64)  # None becomes NaN


def correlations(entry: Mapping[str, Any], unit: str) -> str:
    """Draw the correlation matrices of P(k) and their difference; return an SVG data URI.

    ``unit`` is that of ``k``, here and in what follows.
    """
    import matplotlib as mpl

    k = _numbers(entry["k"])
    middles = np.sqrt(k[1:] * k[:-1]) if len(k) > 1 else k[:0]
    edges = np.concatenate([[k[0] ** 2 / middles[0]], middles, [k[-1] ** 2 / middles[-1]]])
    ref, gen = (_numbers(entry[name]) for name in ("reference", "generated"))
    with mpl.rc_context(STYLE):
        figure = figure_of(10.6, 3.7)
        axes = figure.subplots(1, 3)
        for panel, values, title, colours, reach in zip(
            axes,
            (ref, gen, gen - ref),
            ("reference", "emulator", "emulator − reference"),
            ("viridis", "viridis", "RdBu_r"),
            ((min(0.0, ref.min()), 1), (min(0.0, ref.min()), 1), (-0.3, 0.3)),
        ):
            mesh = panel.pcolormesh(
                edges, edges, values, cmap=colours, vmin=reach[0], vmax=reach[1], rasterized=True
            )
            panel.set(xscale="log", yscale="log", aspect="equal", title=title)
            panel.set_xlabel(f"k [{unit}]")
            decades(panel.xaxis)
            decades(panel.yaxis)
            label = "difference" if panel is axes[2] else "correlation"
            figure.colorbar(mesh, ax=panel, shrink=0.78, pad=0.02, label=label)
        axes[0].set_ylabel(f"k [{unit}]")
        return svg(figure)


def minkowski(entry: Mapping[str, Any]) -> str:
    """Draw the Minkowski functionals against the threshold; return an SVG data URI."""
    import matplotlib as mpl

    x, label, logarithmic = _axis({"axis": entry["axis"], "x": entry["thresholds"]}, "x")
    with mpl.rc_context(STYLE):
        figure = figure_of(3.5 * len(entry["functionals"]), 4.2)
        _apart(figure)
        grid = figure.add_gridspec(2, len(entry["functionals"]), height_ratios=(2.2, 1.2))
        for i, one in enumerate(entry["functionals"]):
            top = figure.add_subplot(grid[0, i])
            below = figure.add_subplot(grid[1, i], sharex=top)
            top.plot(x, _numbers(one["reference"]), color=GREY, lw=5, label="reference")
            top.plot(x, _numbers(one["generated"]), color=BLUE, lw=1.4, label="emulator")
            top.axhline(0, color=BAND, lw=0.6)
            top.set_title(
                one["name"] + (f" [{_powers(one['unit'])}]" if one["unit"] else ""), fontsize=9
            )
            top.tick_params(labelbottom=False)
            off, error = _numbers(one["difference"]), _numbers(one["error"])
            reach = 1.15 * max(float(np.nanmax(np.abs(off) + error)), 0.02)
            below.axhline(0, color=BAND, lw=0.9)
            below.errorbar(x, off, error, fmt="o", ms=2.8, color=BLUE, elinewidth=0.9)
            below.set_ylim(-reach, reach)
            if logarithmic:
                top.set_xscale("log")
                decades(below.xaxis)
            below.set_xlabel(f"threshold, {label}")
            if not i:
                top.legend()
                below.set_ylabel("difference /\nlargest")
        return svg(figure)


def conditional(entry: Mapping[str, Any], limits: tuple[float, float], unit: str) -> str:
    """Draw P(k) ratios in groups of conditions, and responses; return an SVG data URI."""
    import matplotlib as mpl

    k = _numbers(entry["k"])
    panels = list(dict.fromkeys(g["of"] for g in entry["groups"] if "ratio" in g))
    responses = entry["response"]
    columns = max(len(panels), len(responses), 1)
    with mpl.rc_context(STYLE):
        figure = figure_of(max(5.0 * columns, 7.0), 3.0 + (4.2 if responses else 0))
        _apart(figure)
        rows = figure.add_gridspec(
            2 if responses else 1, 1, height_ratios=(3, 4.2)[: 1 + bool(responses)]
        )
        upper = rows[0].subgridspec(1, max(len(panels), 1))
        for i, of in enumerate(panels):
            axes = figure.add_subplot(upper[i])
            groups = [g for g in entry["groups"] if g["of"] == of and "ratio" in g]
            _groups(axes, k, groups, limits[0])
            axes.set_xlabel(f"k [{unit}]")
        if responses:
            lower = rows[1].subgridspec(2, columns, height_ratios=(2, 1.2))
            for i, one in enumerate(responses):
                top = figure.add_subplot(lower[0, i])
                below = figure.add_subplot(lower[1, i], sharex=top)
                _response(top, below, k, one, limits[1])
                below.set_xlabel(f"k [{unit}]")
        return svg(figure)


def _groups(axes: "Axes", k: Array, groups: Sequence[Mapping[str, Any]], limit: float) -> None:
    axes.axhspan(1 - limit, 1 + limit, color=GREY, alpha=0.55, lw=0)
    axes.axhline(1, color=BAND, lw=0.9)
    both = [np.array([_numbers(g[key]) for g in groups]).ravel() for key in ("ratio", "error")]
    reach = _reach(both[0], both[1], [limit])
    for j, (group, colour) in enumerate(zip(groups, COLOURS)):
        shift = 1 + 0.02 * (j - (len(groups) - 1) / 2)
        ratio, error = _numbers(group["ratio"]), _numbers(group["error"])
        style = f"{MARKERS[j]}-"
        axes.errorbar(
            k * shift, ratio, error, fmt=style, ms=3.5, lw=1, color=colour, label=group["group"]
        )
    axes.set_ylim(1 - reach, 1 + reach)
    axes.set_xscale("log")
    decades(axes.xaxis)
    axes.legend(fontsize=8)
    axes.set_ylabel("P(k), emulator / reference")


def _response(top: "Axes", below: "Axes", k: Array, one: Mapping[str, Any], limit: float) -> None:
    for name, colour, marker in (("reference", BAND, "s"), ("generated", BLUE, "o")):
        top.errorbar(
            k, _numbers(one[name]), _numbers(one[f"{name}_error"]), fmt=f"{marker}-", ms=4, lw=1,
            color=colour, label="emulator" if name == "generated" else name,
        )  # fmt: skip
    unit = f" [1 / {one['unit']}]" if one["unit"] else ""
    top.set_ylabel(f"d ln P(k) / d {symbol(one['condition'])}{unit}")
    top.axhline(0, color=BAND, lw=0.6)
    top.tick_params(labelbottom=False)
    top.legend()
    judged = np.array(one["judged"], bool)
    ratio, error = _numbers(one["ratio"])[judged], _numbers(one["error"])[judged]
    reach = _reach(ratio, error, [limit])
    below.axhspan(1 - limit, 1 + limit, color=GREY, alpha=0.55, lw=0)
    below.axhline(1, color=BAND, lw=0.9)
    below.errorbar(k[judged], ratio, error, fmt="o", ms=4, color=BLUE)
    outliers(below, k[judged], ratio, (1 - reach, 1 + reach))
    below.set_ylim(1 - reach, 1 + reach)
    below.set_xscale("log")
    decades(below.xaxis)
    below.set_ylabel("ratio")


def copies(entry: Mapping[str, Any], unit: str) -> str:
    """Draw how alike the closest pairs are, and r(k) of the closest; return an SVG data URI."""
    import matplotlib as mpl

    titles = {"known": f"with {entry['against']} fields", "each_other": "with each other"}
    with mpl.rc_context(STYLE):
        figure = figure_of(10.4, 3.2)
        axes = figure.subplots(1, 3)
        for panel, (name, title) in zip(axes, titles.items()):
            own, floor = (_numbers(entry[name][key]) for key in ("correlations", "floor"))
            both = np.concatenate([own, floor])
            edges = np.linspace(min(0.0, both.min()), max(1.0, both.max()), 51)
            panel.hist(floor, edges, color=GREY, label="reference")
            panel.hist(own, edges, color=BLUE, histtype="step", lw=1.6, label="emulator")
            panel.set_title(f"generated {title}")
            panel.set_xlabel("correlation with the closest")
            panel.set_ylabel("fields / bin")
        axes[0].legend()
        for (name, title), colour, line in zip(titles.items(), (BLUE, BAND), ("-", "--")):
            axes[2].plot(
                _numbers(entry[name]["k"]), _numbers(entry[name]["r"]), line, color=colour,
                lw=1.4, label=title,
            )  # fmt: skip
        axes[2].axhline(0, color=BAND, lw=0.6)
        axes[2].set(xscale="log", ylim=(-0.5, 1.05), title="closest pair", ylabel="r(k)")
        axes[2].set_xlabel(f"k [{unit}]")
        decades(axes[2].xaxis)
        axes[2].legend()
        return svg(figure)
