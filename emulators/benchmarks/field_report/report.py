"""What is measured of fields: every statistic as the mean over generated and reference fields.

Fields are read a few at a time; what costs most is measured on as many as hold a stated number of
cells.  Each statistic is a row a field, brought to equal conditions (`conditional`), with errors
and floors by resampling simulations.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.classified import classify
from emulators.benchmarks.field_report.channel import Array, Channel, Statistics
from emulators.benchmarks.field_report.conditional import Levelling, condition_groups, response
from emulators.benchmarks.field_report.copies import copies
from emulators.benchmarks.field_report.cosmogan_scores import cosmogan_scores
from emulators.benchmarks.field_report.curves import (
    both,
    curves_of_all,
    curves_of_some,
    mean_deviation,
)
from emulators.benchmarks.field_report.pair import FEW_SIMULATIONS, FieldPair
from emulators.benchmarks.field_report.pictures import pictures
from emulators.benchmarks.field_report.similarity import ssim_diversity
from emulators.benchmarks.pair import Rows
from emulators.observables.fields import compressed
from emulators.observables.resampling import compare, measure_difference
from emulators.observables.spectra import correlation_matrix, log_edges, off_diagonal_difference
from emulators.random import stream

__all__ = ["measure_fields"]

CLASSIFIED = 100  # fields of each sample that a classifier needs
PAIRS_CELLS = 1 << 22  # of pairs whose structural similarity is measured
PAIRS = 200  # of them, at most


def measure_fields(
    pair: FieldPair, settings: Mapping[str, Any], classifiers: bool, done: Callable[[], Any]
) -> dict[str, Any]:
    """Measure everything; return the entries of the record that only fields have.

    Parameters
    ----------
    pair
        The fields.
    settings
        Of the record: ``seed``, ``resamplings``, ``halvings``, ``preset``, ``classifier_seeds``.
    classifiers
        Whether to train two-sample classifiers.
    done
        Called after each step.
    """
    grid = pair.grid
    found = [
        _measure(Channel(pair, index, settings), classifiers, done)
        for index in range(len(grid.channels))
    ]
    return {
        "grid": asdict(grid) | {"cells": pair.spec.shape[1:], "field_unit": pair.spec.unit},
        "conditions": {
            "names": pair.names,
            "paired": pair.paired,
            "p_values": pair.p_values,
            "units": {c.name: c.unit for c in pair.spec.conditions},
        },
        "simulations": {k: len(np.unique(v)) for k, v in pair.simulations.items()},
        "channels": [entry for entry, _ in found],
        "classifiers": {k: v for _, entry in found for k, v in entry.items()},
    }


def _measure(
    channel: Channel, classifiers: bool, done: Callable[[], Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entry of this channel, and that of its classifier."""
    rows, level = channel.cheap(), channel.levelling(channel.all)
    power = level.ratios(*both(rows, "power"))
    curves = curves_of_all(channel, rows, level, power)
    done()
    costly, level_of_some = channel.costly(), channel.levelling(channel.some)
    curves += curves_of_some(channel, costly, level_of_some)
    functionals = _minkowski(channel, costly, level_of_some)
    done()
    large = {name: found["scales"] for name, found in rows.items()}
    entry = {
        "channel": channel.name,
        "mean": channel.bins.mean,
        "curves": curves,
        "correlations": _correlations(channel, power),
        "minkowski": functionals,
        "conditional": _conditional(channel, rows, power),
        "similarity": _similarity(channel),
        "scores": _scores(channel),
        "copies": copies(channel.pair, channel.index, channel.seed, large, channel.bins.one_point),
        "pictures": pictures(channel.pair, channel.index, channel.seed),
    }
    done()
    kept = {}
    # a floor is of halves of the reference, each in three parts
    enough = len(np.unique(channel.pair.simulations["reference"])) >= FEW_SIMULATIONS
    if classifiers and enough and min(len(r) for r in channel.all.values()) >= CLASSIFIED:
        kept[f"observables{'' if len(channel.grid.channels) == 1 else f' of {channel.name}'}"] = (
            _classifier(channel, rows, power, level)
        )
    done()
    return entry, kept


def _minkowski(channel: Channel, rows: Statistics, level: Levelling) -> dict[str, Any]:
    """Return the functionals; they cross 0, so differences are in units of the largest."""
    d = len(channel.cells)
    raw = both(rows, "functionals")
    shape = (-1, d + 1)
    largest = np.abs(raw[1].mean(0).reshape(shape)).max(0)
    scale = np.broadcast_to(np.where(largest > 0, largest, 1.0), raw[1][0].reshape(shape).shape)
    levelled = level.differences(*raw)
    scaled = [v / scale.ravel() for v in levelled]
    options = channel.options(channel.some, "minkowski")
    # ratios of numbers moved far from 0 have the errors and floors of differences
    found = compare(scaled[0] + 1e6, scaled[1] + 1e6, **options)
    words = (
        ("area fraction", "perimeter per area", "Euler characteristic per area")
        if d == 2
        else ("volume fraction", "surface per volume", "mean curvature per volume",
              "Euler characteristic per volume")
    )  # fmt: skip
    functionals = []
    for i, name in enumerate(words):
        columns = np.arange(len(scale)) * (d + 1) + i

        def difference(a: Array, b: Array, columns: Any = columns) -> float:
            return float(np.abs(a[:, columns].mean(0) - b[:, columns].mean(0)).max())

        functionals.append(
            {
                "name": name,
                "unit": "" if i == 0 else f"({channel.grid.unit})^-{i}",
                "generated": raw[0].mean(0)[columns],
                "reference": raw[1].mean(0)[columns],
                "difference": (scaled[0].mean(0) - scaled[1].mean(0))[columns],
                "error": (found.error * 1e6)[columns],
                "largest": asdict(
                    measure_difference(difference, *scaled, **channel.equal(options))
                ),
                "simulations": found.simulations,
            }
        )
    return {
        "thresholds": channel.thresholds,
        "axis": (channel.name.replace("_", " "), channel.unit),
        "functionals": functionals,
    }


def _correlations(channel: Channel, power: tuple[Array, Array]) -> dict[str, Any]:
    """Compare how shells of P(k) scatter together, at equal conditions."""
    generated, reference = power
    options = channel.options(channel.all, "correlations")
    return {
        "k": channel.shells.k,
        "reference": np.round(correlation_matrix(reference), 4),
        "generated": np.round(correlation_matrix(generated), 4),
        "difference": asdict(
            measure_difference(
                off_diagonal_difference, generated, reference, **channel.equal(options)
            )
        ),
    }


def _conditional(
    channel: Channel, rows: Statistics, power: tuple[Array, Array]
) -> dict[str, Any] | None:
    """Compare P(k) at about equal conditions, and how it follows them, in wide bins of k."""
    conditions = [channel.pair.conditions[k] for k in ("generated", "reference")]
    groups = condition_groups(channel.pair.names, *conditions)
    if not groups:
        return None
    k, join = _wide_bins(channel)
    wide = [v @ join for v in power]
    numbers = [channel.pair.simulations[k] for k in ("generated", "reference")]
    found = []
    for words, of, *masks in groups:
        counts = [len(np.unique(s[m])) for s, m in zip(numbers, masks)]
        entry: dict[str, Any] = {"group": words, "of": of, "simulations": counts}
        if min(counts) >= 2:
            options = channel.options(channel.all, f"group {words}")
            options["groups"] = tuple(s[m] for s, m in zip(numbers, masks))
            inside = (wide[0][masks[0]], wide[1][masks[1]])
            ratio = compare(*inside, **options)
            entry |= {
                key: getattr(ratio, key) for key in ("ratio", "error", "floor", "floor_error")
            }
            entry["signed"] = mean_deviation(inside, np.ones(len(k), bool), options)
        found.append(entry)
    varying = np.ptp(conditions[1], axis=0) > 0
    options = channel.options(channel.all, "response")
    options.pop("groups")
    generated, reference = (
        (v @ join, c[:, varying], s) for v, c, s in zip(both(rows, "power"), conditions, numbers)
    )
    slopes = response(generated, reference, **options)
    names = [n for n, v in zip(channel.pair.names, varying) if v]
    units = {c.name: c.unit for c in channel.pair.spec.conditions}
    return {
        "k": k,
        "groups": found,
        "response": []
        if slopes is None
        else [
            {
                "condition": name,
                "unit": units[name],
                "ratio": slopes.ratio[i],
                "error": slopes.error[i],
            }
            | {key: value[i] for key, value in asdict(slopes).items() if value.ndim == 2}
            | {
                "signed": {
                    "value": slopes.deviation[i],
                    "error": slopes.deviation_error[i],
                    "floor": slopes.deviation_floor[i],
                }
            }
            for i, name in enumerate(names)
        ],
    }


def _wide_bins(channel: Channel) -> tuple[Array, Array]:
    """Return about eight bins of k, and the matrix that averages shells into them."""
    shells = channel.shells
    edges = log_edges(channel.cells, channel.grid.lengths, 5)
    index = np.digitize(shells.k, edges[1:-1])
    join = (index[:, None] == np.arange(index.max() + 1)) * shells.modes[:, None].astype(float)
    join = join[:, join.sum(0) > 0]
    join /= join.sum(0)
    return shells.k @ join, join


def _similarity(channel: Channel) -> dict[str, Any] | None:
    """Return the mean structural similarity of pairs; None where the window does not fit."""
    if min(channel.cells) < 11:
        return None
    pairs = min(PAIRS, max(16, PAIRS_CELLS // prod(channel.cells)))
    chosen = {
        k: channel.pair.at_most(k, 2 * pairs * prod(channel.cells), channel.seed)
        for k in channel.all
    }
    samples = {
        k: compressed(
            channel.pair.read(k, channel.index, rows), channel.unit, channel.bins.one_point
        )
        for k, rows in chosen.items()
    }
    rng = stream(channel.seed, "similarity", channel.name)
    first = _half(channel, chosen["reference"], "similarity")
    reach = float(np.ptp(samples["reference"]))
    if not reach > 0:
        return None
    parts = [samples["generated"], samples["reference"]]
    parts += [samples["reference"][m] for m in (first, ~first) if m.sum() > 1]
    found = [ssim_diversity(p, reach, channel.grid.periodic, rng, pairs) for p in parts]
    means = [float(f.mean()) for f in found]
    error = [float(f.std() / len(f) ** 0.5) for f in found]
    return {
        "generated": means[0],
        "reference": means[1],
        "value": abs(means[0] - means[1]),
        "error": float(np.hypot(error[0], error[1])),
        "floor": abs(means[2] - means[3]) if len(means) == 4 else None,
        "pairs": pairs,
        "n": [len(p) for p in parts[:2]],
    }


def _scores(channel: Channel) -> dict[str, Any]:
    """Return 3DcosmoGAN's scores, of counts, and those of two halves of the reference."""
    if channel.unit != "count":
        return {}
    first = _half(channel, channel.some["reference"], "scores")
    n = int(min(first.sum(), (~first).sum(), len(channel.some["generated"])))
    if n < 2:
        return {}
    values = {k: channel.pair.read(k, channel.index, channel.some[k]) for k in channel.some}
    if channel.pair.paired:  # the partners of the other half
        generated = values["generated"][~first][:n]
    else:
        order = stream(channel.seed, "scores", "generated").permutation(len(values["generated"]))
        generated = values["generated"][order[:n]]
    reference = values["reference"]
    extent = channel.grid.lengths, channel.grid.periodic
    found = cosmogan_scores(generated, reference[first][:n], *extent)
    floor = cosmogan_scores(reference[~first][:n], reference[first][:n], *extent)
    return {
        name: asdict(one) | {"floor": asdict(floor[name])["score"]} for name, one in found.items()
    }


def _classifier(
    channel: Channel,
    rows: Statistics,
    power: tuple[Array, Array],
    level: Levelling,
) -> dict[str, Any]:
    tiny = np.finfo(np.float64).tiny
    others = [level.differences(*both(rows, k)) for k in ("one_point", "peaks", "voids")]
    generated, reference = (
        np.concatenate([np.log(np.maximum(power[i], tiny)), *(o[i] for o in others)], 1)
        for i in range(2)
    )
    first = _half(channel, channel.all["reference"], "halves")
    parts = [np.flatnonzero(m) for m in (first, ~first)]
    paired = channel.pair.paired
    order = [
        stream(channel.seed, "rows", int(paired) or i).permutation(len(v))
        for i, v in enumerate((generated, reference))
    ]
    n, places = min(map(len, parts)), np.argsort(order[1])
    numbers = [channel.pair.simulations[k] for k in ("generated", "reference")]
    if paired:  # fields of equal conditions go to one part
        numbers[0] = numbers[1]
    return classify(
        reference[order[1]].astype(np.float32),
        generated[order[0]].astype(np.float32),
        (places[parts[0][:n]], places[parts[1][:n]]),
        "P(k), one-point distribution, peaks and voids of each field",
        channel.settings["preset"],
        channel.settings["classifier_seeds"],
        channel.seed,
        simulations=(numbers[1][order[1]], numbers[0][order[0]]),
    )


def _half(channel: Channel, positions: Rows, what: str) -> npt.NDArray[np.bool_]:
    """Return which of these reference fields are in the first half of the simulations."""
    numbers = channel.pair.simulations["reference"][positions]
    known = stream(channel.seed, what, channel.name).permutation(np.unique(numbers))
    return np.isin(numbers, known[: len(known) // 2])
