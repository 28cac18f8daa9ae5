"""CaloChallenge: what its ``evaluate.py`` measures, beside what its entries reached.

Its thresholds and histograms, its order of features, its arguments of FPD and KPD; each figure with
error, floor and n, which it leaves out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.calochallenge.figures import CHALLENGES, Challenge
from emulators.benchmarks.calochallenge.histograms import (
    Showers,
    emptied,
    features,
    measure_histograms,
)
from emulators.benchmarks.calochallenge.published import SOURCE, published_column
from emulators.benchmarks.chapter import Settings, chapter, number
from emulators.benchmarks.feature_distances import fpd_of, kpd_of, prdc_of
from emulators.benchmarks.measured import Measured, Number
from emulators.benchmarks.pair import Pair, Rows
from emulators.observables.distances import Measurement
from emulators.observables.features import half_sample_errors
from emulators.observables.showers import Array, high_level_features
from emulators.progress import tracked

RESAMPLED = 10_000, 50_000  # evaluate.py's smallest and largest resampling of FPD
BATCH = 10_000  # and its batch of KPD
MOST = 5_000  # showers a side for precision to coverage, whose cost grows with the square
HALF_SAMPLES = 4  # for their errors

GROUPS = {  # of histograms, in words; all but the last are published as means
    "energy_total": "E_tot / E_inc",
    "energy_layer": "E_layer",
    "voxel": "voxels",
    "centre_eta": "centre η",
    "centre_phi": "centre φ",
    "centre_r": "centre r",
    "width_eta": "width η",
    "width_phi": "width φ",
    "width_r": "width r",
    "sparsity": "sparsity",
    "energy_discrete": "E_tot / E_inc, by E_inc",
}
ENERGIES = (
    "Energies in evaluate.py's bins: of all layers over the incident one, of layers, of voxels."
)
SHAPES = (
    "Centres of energy (EC) and widths of layers, and shares of their voxels that are empty "
    "(sparsity), in evaluate.py's bins."
)
PUBLISHED = {"fpd": "fpd_1e3", "kpd": "kpd_1e3"}


@chapter(
    "challenge",
    "CaloChallenge",
    ("shower",),
    "By the definitions of CaloChallenge's evaluate.py (little energies count as empty, entries "
    "outside its bins are dropped), beside what was published for the challenge's entries: "
    f"{SOURCE}. Floors are between halves of the reference: of separation powers, FPD and KPD at "
    "half of the n, where they are larger; a separation power of samples of one law is about bins "
    "over 2n. Published FPD and KPD are of 100,000 showers and more; precision to coverage depend "
    "strongly on n, so compare them with the floor alone. GEANT4 is the challenge's second file "
    "against its first; in data set 1-pions the two can be told apart.",
)
def challenge(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure it where the preset is a data set of the challenge."""
    if settings["preset"] not in CHALLENGES:
        return []
    asked, seed = CHALLENGES[settings["preset"]], settings["seed"]
    columns = [features(Showers.of_pair(pair, k), asked) for k in ("reference", "generated")]
    halves = pair.halvings(1, seed)[1][0]
    numbers = [
        *_physics(pair, asked, columns, halves),
        *_neighbourhoods(pair, asked, seed),
    ]
    measured = [*measure_histograms(pair, columns, asked, seed)]
    measured.sort(key=lambda m: [*GROUPS].index(m[0]))
    histograms = [
        replace(h, caption=ENERGIES if group.startswith(("energy", "voxel")) else SHAPES)
        for group, h, _ in measured
        if h is not None
    ]
    histograms.sort(key=lambda h: h.caption == SHAPES)
    for group, members in groupby(measured, key=lambda m: m[0]):
        numbers.append(_separation(group, [figure for *_, figure in members]))
    return [*histograms, *(_beside(n, asked.data_set) for n in numbers)]


def _physics(
    pair: Pair,
    asked: Challenge,
    columns: Sequence[dict[str, Array]],
    halves: tuple[Rows, Rows],
) -> Iterator[Number]:
    """Return FPD and KPD with CaloChallenge's arguments; errors are those of the recipes.

    These draw rows by number: they give ``evaluate.py``'s figures in the order of the files alone.
    """
    reference, generated = (
        high_level_features(c, asked.geometry, e) for c, e in zip(columns, pair.energies)
    )
    in_order = (
        reference[np.argsort(pair.rows["reference"])],
        generated[np.argsort(pair.rows["generated"])],
    )
    pairs = in_order, (reference[halves[0]], reference[halves[1]])
    measured = [
        (fpd_of(a, b, *RESAMPLED), kpd_of(a, b, BATCH)) for a, b in tracked(pairs, "FPD and KPD")
    ]
    for name, (value, floor) in zip(("fpd", "kpd"), zip(*measured)):
        measurement = Measurement(
            value[name], value["recipe_error"], floor[name], floor["recipe_error"], len(generated)
        )
        yield number(measurement, 1e3, name=name, label=name.upper(), unit="1e-3")


def _neighbourhoods(pair: Pair, asked: Challenge, seed: int) -> Iterator[Number]:
    """Return precision, recall, density, coverage of log10 voxels; empty ones count 0.1 MeV."""

    def logs(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        values = emptied(values, asked)
        return np.log10(np.where(values == 0, np.float32(0.1), values))

    rows, [(first, second)] = pair.halvings(1, seed, MOST)
    reference, other = (logs(pair.reference.values[half]) for half in (first, second))
    measured = []
    for sample in tracked([logs(pair.generated.values[rows]), other], "neighbours"):
        address = HALF_SAMPLES, seed, "calochallenge", "half samples"
        errors = half_sample_errors(prdc_of, reference, sample, *address)
        measured.append((prdc_of(reference, sample), errors))
    (values, errors), (floors, floor_errors) = measured
    for name in values:
        measurement = Measurement(
            values[name], errors[name], floors[name], floor_errors[name], len(first)
        )
        yield number(measurement, name=name, label=name, more=True)


def _separation(group: str, members: Sequence[Number]) -> Number:
    """Return the mean of separation powers; its error as if they were correlated entirely."""

    def mean(key: str) -> float:
        values = [v for m in members if (v := getattr(m, key)) is not None and math.isfinite(v)]
        return float(np.mean(values)) if values else math.nan

    value, error, floor, floor_error = map(mean, ("value", "error", "floor", "floor_error"))
    measurement = Measurement(value, error, floor, floor_error, max(m.n for m in members))
    name, label = f"separation_{group}", f"separation power, {GROUPS[group]}"
    return number(measurement, name=name, label=label, unit="1e-3", groups=tuple(members))


def _beside(figure: Number, data_set: str) -> Number:
    """Return a number with what was published beside it."""
    column = figure.name.removeprefix("separation_")
    if column == "energy_discrete":
        return figure
    scale = 1.0 if figure.name == column else 1e3
    entries = published_column(data_set, PUBLISHED.get(column, column))
    return replace(figure, beside=tuple((name, scale * v, error) for name, v, error in entries))
