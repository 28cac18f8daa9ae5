"""Whether generated fields are copies: of fields that were trained on, or of each other."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.channel import Array, Channel, channels
from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.measured import Axis, Curve, Histogram, Measured, Number
from emulators.benchmarks.pair import Pair, Rows
from emulators.observables.closest import Closest, aligned, closest, large_scales
from emulators.observables.fields import compressed
from emulators.observables.spectra import correlation_coefficients
from emulators.random import stream

CHECKED = 32  # fields that partners are sought for
IMAGES = {2: 400_000, 3: 150_000}  # pairs, counted with all their images
READ = 256  # fields that were trained on, at once
ADVICE = "Nothing else of this report says how good the emulator is: train on more, or for less."


@chapter(
    "copies",
    "Independence",
    ("field",),
    "Correlation of the large scales of each generated field with the field that it is closest to, "
    "over all shifts, turns and mirror images, beside that of independent reference fields: fields "
    "that were trained on, or else the reference, and generated fields each with the others. Both "
    "should agree; a copy lies near 1.",
)
def copies(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Look for the closest fields channel by channel; equal ones are chapter `faults`'s."""
    measured: list[Measured] = []
    for channel in channels(pair, settings):
        measured += _closest(channel)
    order = (Histogram, Curve, Number)  # those of one type share a figure
    return sorted(measured, key=lambda thing: order.index(type(thing)))


def _closest(channel: Channel) -> list[Measured]:
    """Find the closest pairs of generated fields with known ones, and with each other.

    The floor is what independent fields have: those of the reference, each with as many of other
    simulations.
    """
    pair, seed, d = channel.pair, channel.seed, len(channel.cells)
    symmetric = _symmetric(channel)
    images = 2**d * (math.factorial(d) if symmetric else 1)
    order = {k: stream(seed, "copies", k).permutation(len(rows)) for k, rows in pair.rows.items()}
    checked = min(CHECKED, *map(len, order.values()))
    most = max(8, IMAGES[d] // images // checked)
    order = {k: rows[:most] for k, rows in order.items()}
    simulation = {k: pair.simulations[k][rows] for k, rows in order.items()}
    large = {k: channel.cheap[k]["scales"][rows] for k, rows in order.items()}
    row = {k: pair.rows[k][rows] for k, rows in order.items()}
    if len(pair.trained):
        shuffled = stream(seed, "copies", "trained").permutation(len(pair.trained))
        others = np.sort(pair.trained[shuffled[:most]])
        known = _large_scales(channel, others)
        apart = np.ones((checked, len(others)), bool)  # the split keeps simulations together
    else:
        others, known = row["reference"], large["reference"]
        apart = simulation["reference"][:checked, None] != simulation["reference"]
    mates = min(len(row["generated"]), len(row["reference"]))

    def each_other(name: str) -> Closest:
        numbers = simulation[name]
        differ = numbers[:checked, None] != numbers[:mates]
        return closest(large[name][:checked], large[name][:mates], differ, symmetric)

    name, of = ("trained", "training") if len(pair.trained) else ("reference", "reference")
    nearest = {
        "generated": closest(large["generated"][:checked], known, None, symmetric),
        "reference": closest(large["reference"][:checked], known, apart, symmetric),
    }
    partners = dict.fromkeys(row, ("reference", others))
    mutual = {sample: each_other(sample) for sample in row}
    mates_of = {sample: (sample, rows) for sample, rows in row.items()}
    return [
        *_compared(channel, name, f"{of} fields", nearest, partners, row),
        *_compared(channel, "each_other", "each other", mutual, mates_of, row),
    ]


def _compared(
    channel: Channel,
    name: str,
    of: str,
    nearest: dict[str, Closest],
    partners: dict[str, tuple[str, Rows]],
    row: dict[str, Rows],
) -> list[Measured]:
    """Return how alike the closest are, as a number, a histogram and r(k) of the closest pair.

    ``partners`` are a file and its rows, ``row`` the rows whose partners were sought.
    """
    generated, floor = (
        nearest[sample].correlations[np.isfinite(nearest[sample].correlations)]
        for sample in ("generated", "reference")
    )
    k, r = np.zeros(0), {}
    for sample, found in nearest.items():
        i = int(found.correlations.argmax())
        source, rows = partners[sample]
        closest_pair = (sample, int(row[sample][i])), (source, int(rows[found.partners[i]]))
        k, r[sample] = _correlation(channel, *closest_pair)
    if not len(floor):
        r["reference"] = np.full(len(k), np.nan)
    ends = [*generated, *floor, 0.0, 1.0]
    edges = np.linspace(min(ends), max(ends), 51)
    nothing = np.full(len(k), np.nan)
    return [
        _number(channel, name, of, generated, floor),
        Histogram(
            name=channel.key(f"correlations_{name}"),
            label=f"correlation with {of}",
            caption="Correlation of each field with the one that it is closest to. Blue beyond "
            "grey is a copy.",
            edges=edges,
            axis=Axis(f"correlation with the closest, {of}"),
            reference=np.histogram(floor, edges)[0].astype(np.float64),
            generated=np.histogram(generated, edges)[0].astype(np.float64),
        ),
        Curve(
            name=channel.key(f"closest_{name}"),
            label=f"r(k), {of}",
            caption="Correlation coefficient of the closest pair, scale by scale: 1 if both have "
            "the same modes, 0 if they are independent. Grey: the closest pair of independent "
            "reference fields.",
            x=k,
            axis=Axis("k", channel.k_unit, log=True),
            reference=r["reference"],
            reference_error=0 * k,
            generated=r["generated"],
            generated_error=0 * k,
            deviation=nothing,
            error=nothing,
            floor=nothing,
            n=(len(generated), len(floor)),
        ),
    ]


def _number(channel: Channel, name: str, of: str, correlations: Array, floor: Array) -> Number:
    """Judge the largest correlation, and the mean: a few copies, or all fields a little alike."""
    number = Number(
        name=channel.key(name),
        label=channel.key(f"largest correlation with {of}"),
        value=float(correlations.max()),
        n=len(correlations),
        status="unclear",
        purpose="independent samples",
        says="The reference has too few simulations to compare.",
        advice=ADVICE,
    )
    if not len(floor):
        return number
    largest, spread = float(floor.max()), float(floor.std())
    count = int((correlations > largest + max(0.1, 4 * spread)).sum())
    if count:
        status, says = "poor", f"{count} of {len(correlations)} are copies of what is closest."
    elif correlations.mean() - floor.mean() > max(0.05, 2 * spread):
        status = "poor"
        says = (
            f"The mean, {correlations.mean():.2f}, is above the {floor.mean():.2f} of independent "
            "reference fields."
        )
    else:
        status, says = "good", "They are independent."
    return replace(number, floor=largest, floor_error=spread, status=status, says=says)


def _symmetric(channel: Channel) -> bool:
    """Tell whether all sides of the grid are alike, so that its axes may be exchanged."""
    return len({*channel.grid.lengths}) == len({*channel.cells}) == 1


def _large_scales(channel: Channel, rows: Rows) -> npt.NDArray[np.float32]:
    """Return the large scales of rows of the reference file."""
    parts = []
    for start in range(0, len(rows), READ):
        samples = channel.pair.data["reference"].take(rows[start : start + READ])
        values = compressed(samples.values[:, channel.index], channel.unit, channel.bins.one_point)
        parts.append(large_scales(values, channel.taper))
    return np.concatenate(parts)


def _correlation(
    channel: Channel, first: tuple[str, int], second: tuple[str, int]
) -> tuple[Array, Array]:
    """Return r(k) of two fields, each a file and its row, turned and shifted to be most alike."""
    a, b = (
        channel.pair.data[name].take([row]).values[0, channel.index]
        for name, row in (first, second)
    )
    image = aligned(a, b, _symmetric(channel))
    lengths = channel.grid.lengths
    k, r = correlation_coefficients(image[None], b[None], lengths, taper=channel.taper)
    return k, r[0]
