"""The figures of correlations and of distances in bins of conditions, drawn from the record."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.drawing import INK, STYLE, figure_of, png, shown
from emulators.benchmarks.joint.correlations import DRAWN
from emulators.benchmarks.joint.tables import bin_names, numbers, over_floor
from emulators.benchmarks.verdict import beyond

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CONDITIONAL_CAPTION", "CORRELATION_CAPTION", "conditional", "correlations"]

_EMPTY = "#e9ebee"
_FAR = 8.0  # times the floor; the colours end there
_PANELS = (
    ("wasserstein", "Wasserstein distance / floor", "YlOrRd"),
    ("separation_power", "separation power / floor", "YlGnBu"),
)
_GROUPS = {
    "energy": "energies",
    "sharing": "sharing",
    "position": "centres",
    "width": "widths",
    "depth": "depth",
    "cells": "cells hit",
}

CORRELATION_CAPTION = (
    "Spearman's rank correlations of all pairs of observables, in the order of the report: red go "
    "up together, blue against each other. Left and middle should be the same picture. Right: "
    "emulator minus reference; marks on the scale: the largest difference that two halves of the "
    "reference have. A row or block of one colour is an observable, or a layer, that does not hang "
    "together with the others as in simulated showers."
)
CONDITIONAL_CAPTION = (
    "How far each observable is off in bins of a condition that hold equally many showers: "
    "distance of emulator and reference over that of two halves of the reference. White is at the "
    f"floor; full colour is {_FAR:g} times the floor or more. Dots: beyond the limit by more than "
    "four standard errors. A dark column is a range of the condition that the emulator has not "
    "learned, a dark row an observable that is off everywhere; grey: too few showers."
)


def correlations(record: Mapping[str, Any]) -> str:
    """Draw the matrices of reference and emulator and their difference; return a PNG data URI."""
    import matplotlib as mpl

    found = record["correlations"]
    groups = {o["name"]: o["group"] for o in record["observables"]}
    ref, gen = (np.array(found[k], float) for k in ("reference", "generated"))
    chance = found["largest"]["floor"]
    reach = max(float(np.abs(gen - ref).max()), 1.5 * chance, 1e-3)
    with mpl.rc_context(STYLE):
        figure = figure_of(10.2, 3.3)
        figure.set_facecolor("white")
        axes = figure.subplots(1, 3)
        panels = (("reference", ref, 1.0), ("emulator", gen, 1.0), ("difference", gen - ref, reach))
        for panel, (title, matrix, limit) in zip(axes, panels):
            image = panel.imshow(
                matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
            )
            panel.set_title(title)
            _name_groups(panel, [groups[name] for name in found["drawn"]])
            if panel is axes[1]:
                figure.colorbar(image, ax=list(axes[:2]), label="rank correlation", pad=0.02)
            if panel is not axes[0]:
                panel.set_yticklabels([])
        bar = figure.colorbar(image, ax=axes[2], label="emulator − reference", pad=0.04)
        for level in (-chance, chance):
            bar.ax.axhline(level, color=INK, lw=1.2)
        return png(figure)


def _name_groups(axes: "Axes", groups: Sequence[str]) -> None:
    """Name runs of observables of one group on both axes, and draw lines between them."""
    start, centres, names = 0, [], []
    for group, members in groupby(groups):
        n = len(list(members))
        centres.append(start + (n - 1) / 2)
        names.append(_GROUPS[group])
        start += n
        if start < len(groups):
            axes.axhline(start - 0.5, color=INK, lw=0.4)
            axes.axvline(start - 0.5, color=INK, lw=0.4)
    axes.set_xticks(centres, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(centres, names)
    axes.tick_params(length=0)


def conditional(record: Mapping[str, Any]) -> str:
    """Draw distances over their floors, observables against bins; return a PNG data URI."""
    import matplotlib as mpl
    from matplotlib.colors import LogNorm

    entries = [entry for entry in record["conditional"] if not entry["too_small"]]
    labels = {o["name"]: o["label"] for o in record["observables"]}
    rows = shown(range(len(entries[0]["observables"])), DRAWN)
    limit = record["settings"]["thresholds"]["conditional"]
    with mpl.rc_context(STYLE | {"ytick.labelsize": 7.0, "xtick.labelsize": 8.0}):
        figure = figure_of(10.2, len(entries) * (0.155 * len(rows) + 1.1) + 0.2)
        figure.set_facecolor("white")
        axes = figure.subplots(len(entries), 2, squeeze=False, sharey=True)
        for pair, entry in zip(axes, entries):
            for panel, (kind, title, colours) in zip(pair, _PANELS):
                panel.set_facecolor(_EMPTY)
                mesh = panel.imshow(
                    np.clip(over_floor(entry, kind)[rows], 0, 2 * _FAR),
                    norm=LogNorm(1, _FAR),
                    cmap=mpl.colormaps[colours].with_extremes(under="white"),
                    aspect="auto",
                    interpolation="nearest",
                )
                panel.set_title(title)
                bar = figure.colorbar(mesh, ax=panel, pad=0.02, extend="max", aspect=40)
                ticks = [1, 2, 4, _FAR]
                bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
                bar.minorticks_off()
                panel.set_xticks(
                    range(len(entry["edges"]) - 1), bin_names(entry), rotation=45, ha="right"
                )
                unit = f" [{entry['unit']}]" if entry["unit"] else ""
                panel.set_xlabel(entry["condition"].replace("_", " ") + unit)
                panel.tick_params(length=0)
            y, x = np.nonzero(_beyond(entry, limit)[rows])
            pair[0].plot(x, y, "o", ms=2.5, color=INK)
            pair[0].set_yticks(range(len(rows)), [labels[entry["observables"][i]] for i in rows])
        return png(figure)


def _beyond(entry: Mapping[str, Any], limit: float) -> npt.NDArray[np.bool_]:
    value, error, floor, spread = (
        numbers(entry, "wasserstein", k) for k in ("value", "error", "floor", "floor_error")
    )
    return beyond(value - floor, np.hypot(error, spread), limit)
