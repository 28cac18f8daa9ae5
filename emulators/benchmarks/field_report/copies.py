"""Whether generated fields are copies: of fields that were trained on, or of each other."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.field_report.pair import FieldPair
from emulators.benchmarks.pair import Rows
from emulators.observables.closest import aligned, closest, large_scales
from emulators.observables.fields import compressed
from emulators.observables.spectra import correlation_coefficients
from emulators.random import stream

__all__ = ["copies"]

CHECKED = 32  # fields that partners are sought for
IMAGES = {2: 400_000, 3: 150_000}  # pairs, counted with all their images


def copies(
    pair: FieldPair,
    channel: int,
    seed: int,
    scales: Mapping[str, npt.NDArray[np.float32]],
    edges: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """Find the closest pairs of generated fields with known ones, and with each other.

    Known are the fields trained on, where the reference file has them, else the reference.  The
    floor is what independent fields have: those of the reference, each with as many of other
    simulations.

    Parameters
    ----------
    pair, channel, seed
        The fields, which channel, and the seed of what is drawn.
    scales
        Of all fields compared, as `large_scales` gives them.
    edges
        Of the one-point distribution: on their scale fields are compared.

    Returns
    -------
    ``checked`` and ``others`` (how many), ``against`` (``training`` or ``reference``), and under
    ``known`` and ``each_other`` the ``correlations`` of each with its closest, their ``largest``
    and ``mean``, the ``floor`` of them, and ``r`` of the closest pair at ``k``.
    """
    d = len(pair.spec.shape) - 1
    symmetric = len({*pair.grid.lengths}) == len({*pair.spec.shape[1:]}) == 1
    images = 2**d * (math.factorial(d) if symmetric else 1)
    order = {k: stream(seed, "copies", k).permutation(len(rows)) for k, rows in pair.rows.items()}
    checked = min(CHECKED, *map(len, order.values()))
    most = max(8, IMAGES[d] // images // checked)
    order = {k: rows[:most] for k, rows in order.items()}
    simulation = {k: pair.simulations[k][rows] for k, rows in order.items()}
    large = {k: scales[k][rows] for k, rows in order.items()}
    row = {k: pair.rows[k][rows] for k, rows in order.items()}
    trained = len(pair.trained) > 0
    if trained:
        drawn = stream(seed, "copies", "trained").permutation(len(pair.trained))
        others = np.sort(pair.trained[drawn[:most]])
        known = _large_scales(pair, channel, others, edges)
        apart = np.ones((checked, len(others)), bool)  # the split keeps simulations together
    else:
        others, known = row["reference"], large["reference"]
        apart = simulation["reference"][:checked, None] != simulation["reference"]
    mates = min(len(row["generated"]), len(row["reference"]))
    generated, reference = large["generated"], large["reference"]
    found = {
        "known": (
            closest(generated[:checked], known, None, symmetric),
            closest(reference[:checked], known, apart, symmetric),
        ),
        "each_other": tuple(
            closest(
                large[k][:checked],
                large[k][:mates],
                simulation[k][:checked, None] != simulation[k][:mates],
                symmetric,
            )
            for k in ("generated", "reference")
        ),
    }
    partners = {"known": ("reference", others), "each_other": ("generated", row["generated"])}
    entry: dict[str, Any] = {
        "checked": checked,
        "others": {"known": len(others), "each_other": mates},
        "against": "training" if trained else "reference",
    }
    for name, (own, floor) in found.items():
        source, rows = partners[name]
        i = int(own.correlations.argmax())
        first, second = int(row["generated"][i]), int(rows[own.partners[i]])
        k, r = _correlation(pair, channel, ("generated", first), (source, second), symmetric)
        entry[name] = {
            "largest": own.correlations.max(),
            "mean": own.correlations.mean(),
            "correlations": own.correlations,
            "floor": floor.correlations[np.isfinite(floor.correlations)],
            "rows": (first, second),
            "k": k,
            "r": r,
        }
    return entry


def _large_scales(
    pair: FieldPair, channel: int, rows: Rows, edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    parts = [rows[i : i + 256] for i in range(0, len(rows), 256)]
    taken = (pair.data["reference"].take(part).values[:, channel] for part in parts)
    taper = [not p for p in pair.grid.periodic]
    unit = pair.spec.unit
    return np.concatenate([large_scales(compressed(v, unit, edges), taper) for v in taken])


def _correlation(
    pair: FieldPair,
    channel: int,
    first: tuple[str, int],
    second: tuple[str, int],
    symmetric: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return r(k) of two fields, turned and shifted to where they are most alike."""
    a, b = (pair.data[name].take([row]).values[0, channel] for name, row in (first, second))
    image = aligned(a, b, symmetric)
    taper = [not p for p in pair.grid.periodic]
    k, r = correlation_coefficients(image[None], b[None], pair.grid.lengths, taper=taper)
    return k, r[0]
