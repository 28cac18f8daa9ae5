"""Response and resolution: the energy of showers and of their layers against incident energy."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.chapter import (
    Settings,
    chapter,
    curve,
    differences,
    judged_curve,
    number,
)
from emulators.benchmarks.measured import Axis, Curve, Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.observables.distances import Measurement, quantile_edges
from emulators.observables.response import (
    BINS,
    MINIMUM,
    bin_numbers,
    binned_moments,
    deviation_sizes,
    responses,
)

Array = npt.NDArray[np.float64]
Rows = tuple[Array, Array]  # of generated and reference: responses, and the number of the bin

GOOD = 2.0  # per cent of a mean or a width
MOMENTS = ("mean", "width")
ADVICE = (
    "Correct the energy scale as a function of the incident energy, or train longer.",
    "Do not take resolutions from these showers: their energies scatter otherwise.",
)


@chapter(
    "response",
    "Energy response",
    ("shower",),
    "Response (mean) and resolution (standard deviation) of the energy of the whole shower over "
    "the incident energy, in bins that hold equally many showers.",
)
def response(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure both as curves against the incident energy."""
    rows, edges = _rows(pair, slice(-1, None))
    bins = len(edges) - 1
    measured: list[Measured] = []
    for i, words in enumerate(("mean response", "energy resolution")):
        measured += judged_curve(
            rows,
            pair,
            settings,
            f"response {MOMENTS[i]}",
            [(MOMENTS[i], words, np.ones(bins, bool), GOOD)],
            number_facts={"purpose": words, "leading": not i, "advice": ADVICE[i]},
            statistic=partial(_moment, i, bins),
            name=f"{MOMENTS[i]}_curve",
            label=("response (mean)", "resolution (width)")[i],
            caption="Response (mean) and resolution (standard deviation) of the energy of the "
            "whole shower over the incident energy; below, emulator over reference, in the band of "
            f"±{GOOD:g} %. Points should lie on the line, or off it by no more than their errors.",
            difference=not i and bool(_through_zero(rows, bins)[0]),
            **_across(edges),
        )
    for moment, (*_, largest, within) in zip(MOMENTS, _deviations(rows, bins, pair, settings)):
        measured += _of_bins(moment, f"{moment} in single bins", largest, within)
    return measured


@chapter(
    "layers",
    "Layer energies",
    ("shower",),
    "Mean and standard deviation of each layer's energy over the incident energy, in bins that "
    "hold equally many showers.",
)
def layers(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure both of every layer."""
    names = [layer.name.replace("_", " ") for layer in pair.geometry.layers]
    rows, edges = _rows(pair, slice(0, -1))
    bins = len(edges) - 1
    measured: list[Measured] = _curves(rows, edges, names, pair, settings)
    for i, (moment, (whole, *each, largest, within)) in enumerate(
        zip(MOMENTS, _deviations(rows, bins, pair, settings))
    ):
        common: dict[str, Any] = {"name": moment, "unit": "%", "noise": "in squares"}
        measured.append(
            number(
                whole,
                100,
                label=f"{moment}s of layers, mean deviation",
                limit=GOOD,
                purpose=f"{('mean energies', 'energy widths')[i]} of layers",
                advice=ADVICE[i],
                groups=tuple(_layer(m, name, common) for m, name in zip(each, names)),
                **common,
            )
        )
        measured += _of_bins(moment, f"{moment}s of layers in single bins", largest, within)
    return measured


def _rows(pair: Pair, columns: slice) -> tuple[Rows, Array]:
    """Return the responses of some columns of `responses` with the bin, and the edges in GeV."""
    half = min(len(pair.reference) // 2, len(pair.generated))
    # half a bin is what halves scatter by at most, by chance
    edges = quantile_edges(pair.energies[0], min(BINS, max(1, half // (2 * MINIMUM))))
    reference, generated = (
        np.column_stack([responses(o, pair.geometry, e)[:, columns], bin_numbers(e, edges)])
        for o, e in zip(pair.observables, pair.energies)
    )
    return (generated, reference), edges


def _across(edges: Array) -> dict[str, Any]:
    return {"x": np.sqrt(edges[1:] * edges[:-1]), "axis": Axis("incident energy", "GeV", log=True)}


def _through_zero(rows: Rows, bins: int) -> npt.NDArray[np.bool_]:
    """Tell of which columns the mean in some bins is positive, and in others negative."""
    means = binned_moments(rows[1], bins)[0]
    return np.asarray((means > 0).any(1) & (means < 0).any(1))


def _curves(
    rows: Rows, edges: Array, names: Sequence[str], pair: Pair, settings: Settings
) -> list[Measured]:
    """Return a curve of each moment of each layer, resampled together."""
    bins = len(edges) - 1
    facts: dict[str, Any] = {
        "caption": "Mean and width (standard deviation) of each layer's energy over the incident "
        f"energy; below, emulator over reference. Points should lie in the band of ±{GOOD:g} %, or "
        "within their errors of it. Triangles stand for points beyond the axis.",
        **_across(edges),
        "good": np.full(bins, GOOD / 100),
    }
    whole = curve(
        *rows, pair, settings, "layers", name="", label="",
        statistic=lambda r: binned_moments(r, bins).ravel(), **facts,
    )  # fmt: skip
    through_zero = _through_zero(rows, bins)
    curves: list[Measured] = []
    for k in range(2 * len(names)):
        i, layer = divmod(k, len(names))
        label = f"{MOMENTS[i]}, {names[layer]}"
        if through_zero[layer] and not i:
            alone = rows[0][:, [layer, -1]], rows[1][:, [layer, -1]]
            part = curve(
                *alone, pair, settings, label, statistic=partial(_moment, 0, bins),
                name=label, label=label, difference=True, **facts,
            )  # fmt: skip
        else:
            part = _part(whole, slice(k * bins, (k + 1) * bins), name=label, label=label)
        curves.append(part)
    return curves


def _moment(i: int, bins: int, rows: npt.NDArray[Any]) -> Array:
    """Return a moment of a single column in bins."""
    return np.asarray(binned_moments(rows, bins)[i, 0])


def _part(whole: Curve, points: slice, **facts: Any) -> Curve:
    """Return some of the points of a curve as a curve."""
    names = [f"{s}{e}" for s in ("reference", "generated") for e in ("", "_error")]
    names += ["deviation", "error", "floor"]
    return replace(whole, **{n: getattr(whole, n)[points] for n in names}, **facts)


def _deviations(
    rows: Rows, bins: int, pair: Pair, settings: Settings
) -> tuple[list[Measurement], list[Measurement]]:
    """Measure what `deviation_sizes` gives: of means, and of widths."""
    through_zero = _through_zero(rows, bins)
    largest = np.nanmax(np.abs(binned_moments(rows[1], bins)[0]), 1, initial=0.0)
    scale = np.where(through_zero, largest, np.nan)

    def sizes(a: Array, b: Array) -> Array:
        moments = binned_moments(a, bins), binned_moments(b, bins)
        return deviation_sizes(*moments, scale, GOOD / 100).ravel()

    measured = differences(sizes, *rows, pair, settings, "deviations in bins")
    half = len(measured) // 2
    return measured[:half], measured[half:]


def _layer(measurement: Measurement, name: str, facts: dict[str, Any]) -> Number:
    if not math.isfinite(measurement.value + measurement.error + measurement.floor):
        says = "too few showers have energy there"
        return Number(value=math.nan, label=name, says=says, **facts)
    return number(measurement, 100, label=name, **facts)


def _of_bins(moment: str, words: str, largest: Measurement, within: Measurement) -> list[Number]:
    """Return what is shown of single bins, of which the largest deviation grows as n falls."""
    return [
        number(
            largest, 100, name=f"{moment}_largest", label=f"{words}, largest deviation", unit="%"
        ),
        number(
            within, 100, name=f"{moment}_within", label=f"{words}, within {GOOD:g} %", unit="%",
            more=True,
        ),
    ]  # fmt: skip
