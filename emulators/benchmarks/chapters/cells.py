"""The spectrum of cell energies: what thresholds and clusters of a reconstruction see."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.chapter import Settings, chapter, curve, percent
from emulators.benchmarks.measured import Axis, Measured
from emulators.benchmarks.pair import Pair
from emulators.observables.profiles import cell_spectrum

Array = npt.NDArray[np.float64]

LOWEST = 1e-3  # MeV: what is below is no signal of any calorimeter
BINS = 24
FEWEST = 20  # cells of the reference, in a bin that is judged
GOOD = 0.05


@chapter(
    "cells",
    "Spectrum of cell energies",
    ("shower",),
    f"How many cells of a shower have an energy, from {LOWEST:g} MeV to the largest. Too many at "
    "the low end are noise where the reference has none, too few at the high end a core that is "
    "washed out: thresholds and clusters of a reconstruction see both.",
    beside=True,
)
def cells(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Measure the spectrum of both samples in bins of equal width in the logarithm."""
    largest = float(pair.reference.values.max())
    if not largest > LOWEST:
        return []
    edges = np.geomspace(LOWEST, np.nextafter(np.float64(largest), np.inf), BINS + 1)
    reference, generated = (
        cell_spectrum(s.values, edges) for s in (pair.reference, pair.generated)
    )
    judged = reference.sum(0) >= FEWEST

    def deviation(a: Array, b: Array) -> float:
        """Mean size of the relative deviations, weighted by numbers of cells."""
        first, second = a[:, judged].mean(0), b[:, judged].mean(0)
        return float(np.abs(first - second).sum() / second.sum())

    samples = generated, reference, pair, settings, "cells"
    whole = percent(
        deviation,
        *samples,
        name="deviation",
        label="spectrum of cell energies, mean deviation",
        limit=100 * GOOD,
        purpose="spectra of cells",
        advice="Cut cells below where the curves part in both samples alike, or train longer.",
    )
    if settings.get("beside"):
        return [whole]
    spectrum = curve(
        *samples,
        name="spectrum",
        label="cells a shower",
        caption="Cells a shower and bin of energy; below, emulator over reference, in the "
        f"band of ±{100 * GOOD:g} %. Faint points: fewer than {FEWEST} cells of the reference.",
        x=np.sqrt(edges[1:] * edges[:-1]),
        axis=Axis("cell energy", "MeV", log=True),
        log=True,
        judged=judged,
        good=np.full(BINS, GOOD),
    )
    return [spectrum, whole]
