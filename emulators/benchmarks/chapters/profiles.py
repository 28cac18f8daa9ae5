"""How the energy of showers is spread along their axis and across it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.chapter import Settings, chapter, curve, percent
from emulators.benchmarks.measured import Axis, Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.data.spec import MEV_PER_GEV
from emulators.observables.profiles import longitudinal, radial, radial_edges, ring_areas

Array = npt.NDArray[np.float64]

GOOD = 0.02  # of the mean energy in a layer or a ring
SHARE = 1e-3  # of the energy: a layer or ring with less is drawn and not judged
ENERGIES = 3  # ranges of the incident energy, with equally many showers
FEWEST = 20  # showers on each side, in a range that is compared


@chapter(
    "profiles",
    "Longitudinal and radial profiles",
    ("shower",),
    "Mean share of the incident energy in each layer, and in rings around the axis of the "
    "detector. A slope in the ratio of the longitudinal profile is a shower that begins too early "
    "or too late, one in the radial profile a shower that is too narrow or too wide.",
    beside=True,
)
def profiles(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure both profiles, of all showers and in ranges of the incident energy."""
    geometry = pair.geometry
    edges = radial_edges(geometry)
    names = tuple(layer.name.replace("_", " ") for layer in geometry.layers)
    along = [longitudinal(s.values, geometry) for s in (pair.generated, pair.reference)]
    across = [radial(s.values, geometry, edges) for s in (pair.generated, pair.reference)]
    layers = {"axis": Axis("layer"), "x": np.arange(len(names), dtype=float), "names": names}
    rings = {"axis": Axis("distance from the axis", "mm"), "x": (edges[1:] + edges[:-1]) / 2}
    areas = ring_areas(geometry, edges)
    return [
        *_profile(pair, settings, "longitudinal", along, np.ones(len(names)), layers),
        *_profile(pair, settings, "radial", across, areas, rings | {"unit": "mm^-2"}),
    ]


def _profile(
    pair: Pair,
    settings: Settings,
    name: str,
    energies: Sequence[Array],
    areas: Array,
    facts: dict[str, Any],
) -> list[Measured]:
    """Compare energies ``(n, points)``, MeV, of generated and reference as shares of incident.

    They are drawn over ``areas (points,)``; ``facts`` are those of the curve.
    """
    incident = pair.energies[::-1]
    generated, reference = (
        e / (MEV_PER_GEV * total[:, None]) for e, total in zip(energies, incident)
    )
    mean = reference.mean(0)
    judged = mean > SHARE * mean.sum()

    def deviation(a: Array, b: Array) -> float:
        """Mean size of the relative deviations, weighted by energy."""
        first, second = a[:, judged].mean(0), b[:, judged].mean(0)
        return float(np.abs(first - second).sum() / second.sum())

    def number(words: str, rows: Sequence[Array], key: str) -> Number:
        return percent(
            deviation, rows[0], rows[1], pair, settings, key,
            name=name, label=words, limit=100 * GOOD, purpose="shower profiles",
            advice="Weigh layers and rings by the ratio of the profiles, or train longer.",
        )  # fmt: skip

    groups = []
    for low, high in pairwise(np.quantile(incident[1], np.linspace(0, 1, ENERGIES + 1))):
        inside = [(e >= low) & (e <= high) for e in incident]
        if low < high and min(inside[0].sum(), inside[1].sum() // 2) >= FEWEST:
            rows = generated[inside[0]], reference[inside[1]]
            groups.append(number(f"{low:.3g} to {high:.3g} GeV", rows, f"{name} from {low:.3g}"))
    whole = number(f"{name} profile, mean deviation", (generated, reference), name)
    whole = replace(whole, groups=tuple(groups))
    if settings.get("beside"):
        return [whole]
    shape = curve(
        generated / areas,
        reference / areas,
        pair,
        settings,
        name,
        name=f"{name}_curve",
        label=f"share of energy, {name}",
        caption=f"The {name} profile; below, emulator over reference, in the band of "
        f"±{100 * GOOD:g} %. Faint points hold too little to be judged.",
        log=True,
        judged=judged,
        good=np.full(len(mean), GOOD),
        **facts,
    )
    return [shape, whole]
