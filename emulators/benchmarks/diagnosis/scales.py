"""Whether energies, widths or cells are off as a whole: scale, spread, noise, smearing.

All but the calibration are means over showers at equal incident energy, generated over reference,
with errors in closed form, so that a shift of one per cent stands out from a spread of fifty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emulators.benchmarks.diagnosis.faults import (
    Finding,
    at_full,
    beyond,
    depth_strata,
    energy_strata,
    untested,
)
from emulators.benchmarks.pair import Rows
from emulators.data.spec import ShowerGeometry
from emulators.observables.response import responses
from emulators.observables.showers import Array, observable_table

__all__ = [
    "Showers",
    "energy_scale",
    "largest_small",
    "lateral_width",
    "noise",
    "ratio",
    "small_deposits",
    "smearing",
    "summarise",
]

Halves = Sequence[tuple[Rows, Rows]]

ENERGY_LIMIT = 0.002
WIDTH_LIMIT = 0.005
NOISE_LIMIT = 0.005  # of the cells that should be empty
SMALL_LIMIT = 0.05  # of the small deposits
SMEARING_LIMIT = 0.05  # of the width of the response
CALIBRATED = 0.03  # error above which a layer's calibration says little
SMALL = 0.1  # share of the reference's deposits that are called small


@dataclass(frozen=True)
class Showers:
    """What these checks need to know of each shower.

    Parameters
    ----------
    energy
        Incident, GeV, shape ``(n,)``.
    depth
        Mean depth of the energy, in layers, shape ``(n,)``; 0 where there is one layer.
    responses
        E_layer / E_inc of the layers, then E_tot / E_inc, shape ``(n, layers + 1)``.
    widths
        Lateral widths, mm, one column each, shape ``(n, widths)``.
    cells
        How many are empty, and how many have a small deposit, shape ``(n, 2)``.
    concentration
        Sum of E_cell^2 over E_tot^2, shape ``(n,)``.
    """

    energy: Array
    depth: Array
    responses: Array
    widths: Array
    cells: Array
    concentration: Array

    def take(self, rows: Rows) -> "Showers":
        """Return some of them."""
        return Showers(*(column[rows] for column in vars(self).values()))


def largest_small(values: npt.NDArray[np.floating]) -> float:
    """Return the deposit, MeV, below which a tenth of the deposits of these showers lie."""
    deposits = values[values > 0]
    return float(np.quantile(deposits, SMALL)) if len(deposits) else 0.0


def summarise(
    values: npt.NDArray[np.floating],
    energy: Array,
    features: Mapping[str, Array],
    geometry: ShowerGeometry,
    small: float,
) -> Showers:
    """Return what the checks need of showers.

    Parameters
    ----------
    values
        Deposits, MeV, shape ``(n, cells)``.
    energy
        Incident, GeV, shape ``(n,)``.
    features
        Their observables.
    geometry
        Their readout.
    small
        Largest deposit that counts as small, MeV.
    """
    hit = values > 0
    total = features["energy_total"]
    squares = np.einsum("ij,ij->i", values, values)
    widths = [features[name] for name in _widths(geometry)]
    return Showers(
        energy=energy,
        depth=features.get("shower_depth", np.zeros(len(energy))),
        responses=responses(features, geometry, energy),
        widths=np.stack(widths, 1) if widths else np.empty((len(energy), 0)),
        cells=np.stack([(~hit).sum(1), (hit & (values <= small)).sum(1)], 1).astype(np.float64),
        concentration=squares / np.where(total > 0, total, 1.0) ** 2,
    )


def _widths(geometry: ShowerGeometry) -> list[str]:
    return [o.name for o in observable_table(geometry) if o.group == "width"]


def _place(width: str) -> str:
    _, axis, layer = width.split("_", 2)
    return f"{layer.replace('_', ' ')} along {axis}"


def ratio(columns: tuple[Array, Array], strata: tuple[Rows, Rows]) -> tuple[Array, Array]:
    """Return ratios of means in bins of incident energy, and their standard errors.

    Parameters
    ----------
    columns
        Of reference and generated showers, shapes ``(n, columns)`` and ``(m, columns)``.
    strata
        What `energy_strata` or `depth_strata` gave for them.

    Returns
    -------
    Generated over reference of each column: the means of all bins, weighted alike on both
    sides, divided.  NaN where the reference has nothing.  Errors are those of ratios near 1, so
    that ratio and error treat both samples alike: then few showers that have most of a column make
    no false finding (Efron, J. Am. Stat. Assoc. 64 (1969) 1278).
    """
    shape = columns[0].shape[1]
    means, variances = np.zeros((2, shape)), np.zeros((2, shape))
    for b in np.unique(strata[0][strata[0] >= 0]):
        inside = [c[s == b] for c, s in zip(columns, strata)]
        n = [len(rows) for rows in inside]
        weight = n[0] * n[1] / (n[0] + n[1])
        for k, rows in enumerate(inside):
            means[k] += weight * rows.mean(0)
            variances[k] += weight**2 * rows.var(0, ddof=1) / n[k]
    with np.errstate(invalid="ignore", divide="ignore"):
        return means[1] / means[0], np.sqrt(variances.sum(0)) / np.abs(means[0])


Measure = Callable[[Showers, Showers], tuple[Array, Array]]  # values and errors


def _findings(
    fault: str,
    parts: Sequence[str],
    limits: Sequence[float],
    measure: Measure,
    showers: tuple[Showers, Showers],
    halves: Halves,
    words: Callable[[str, float, float], str],
    *,
    one_sided: bool = False,
) -> list[Finding]:
    """Measure, and the same between halves of the reference; judge every part."""
    reference, generated = showers
    values, errors = measure(reference, generated)
    between = [measure(reference.take(a), reference.take(b))[0] for a, b in halves]
    n, half = (len(generated.energy), len(reference.energy)), len(halves[0][0])
    # NaN where one of the halves is too small to tell
    floors = at_full(n, half) * np.abs(between).mean(0)
    clear = beyond(max(1, int(np.isfinite(errors).sum())), 1 if one_sided else 2)
    findings = []
    for part, value, error, floor, limit in zip(parts, values, errors, floors, limits):
        if not np.isfinite(value) or not np.isfinite(error):
            text = "Too few showers, or too little energy, to tell."
            findings.append(untested(fault, part, n, text))
            continue
        reach = limit + clear * error
        named = bool((value if one_sided else abs(value)) > reach)
        text = words(part, float(value), float(error)) if named else ""
        numbers = float(value), float(error), float(floor) if np.isfinite(floor) else None
        findings.append(Finding(fault, part, *numbers, float(reach), n, named, text))
    return findings


def _alike(reference: Showers, generated: Showers) -> tuple[Rows, Rows]:
    """Bins of energy and depth: late showers are wider, and that they are missing is no width."""
    return depth_strata((reference.energy, generated.energy), (reference.depth, generated.depth))


def percent(value: float, error: float) -> str:
    """Write a change and its error in per cent, to the first digit of the error."""
    digits = max(0, -int(np.floor(np.log10(max(100 * error, 1e-3)))))
    return f"{100 * value:+.{digits}f} ± {100 * error:.{digits}f} %"


def energy_scale(
    showers: tuple[Showers, Showers], halves: Halves, geometry: ShowerGeometry
) -> list[Finding]:
    """Compare the response of the whole shower, and the calibration of each layer.

    A layer's share of the energy fluctuates far too much for its mean to show one per cent.  Its
    calibration does not: the constants a of ``E_inc = sum a_i E_i``, fitted to each sample by least
    squares, change by exactly the factor that a layer's energies are off by.  Layers with so little
    energy that this says nothing are compared by their mean at equal depth.

    Parameters
    ----------
    showers
        Reference and generated.
    halves
        Rows of disjoint halves of the reference.
    geometry
        Their readout.
    """

    def measure(reference: Showers, generated: Showers) -> tuple[Array, Array]:
        both = reference.responses, generated.responses
        r, error = ratio(both, _alike(reference, generated))
        strata = energy_strata(reference.energy, generated.energy)
        (r[-1],), (error[-1],) = ratio((both[0][:, -1:], both[1][:, -1:]), strata)
        scale, doubt = _calibration(reference.responses[:, :-1], generated.responses[:, :-1])
        clear = np.append(doubt < CALIBRATED, False)
        return (
            np.where(clear, np.append(scale, 0), r - 1),
            np.where(clear, np.append(doubt, 0), error),
        )

    parts = [*(layer.name.replace("_", " ") for layer in geometry.layers), "whole shower"]
    return _findings(
        "energy scale",
        parts,
        [ENERGY_LIMIT] * len(parts),
        measure,
        showers,
        halves,
        lambda part, value, error: f"{part} off by {percent(value, error)}",
    )


def _calibration(reference: Array, generated: Array) -> tuple[Array, Array]:
    """Return by how much each layer's energies are off, and the error, infinite where not known.

    Resolutions that differ pull the constants as well, so the largest such pull counts as error.
    """
    constants, errors, left, spread = zip(*(_constants(x) for x in (reference, generated)))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = constants[0] / constants[1] - 1
        pull = abs(left[0] - left[1]) / (constants[0] ** 2 * np.minimum(*spread))
        parts = [e / np.abs(c) for e, c in zip(errors, constants)]
        error = np.sqrt(parts[0] ** 2 + parts[1] ** 2 + pull**2)
        known = (constants[0] > 0) & (constants[1] > 0) & np.isfinite(error)
    return value, np.where(known, error, np.inf)


def _constants(shares: Array) -> tuple[Array, Array, float, Array]:
    """Fit ``1 = sum a_i E_i / E_inc``.

    Returns a, its errors (White's, as noise differs from shower to shower; each shower is left out
    of what it is compared with), the variance of what is left, and that of each layer's share apart
    from what the other layers' shares tell.
    """
    squares = shares.T @ shares
    inverse = np.linalg.pinv(squares, hermitian=True)
    determined = np.diag(inverse @ squares) > 0.999  # not empty, nor like other layers' shares
    a = inverse @ shares.sum(0)
    left = 1 - shares @ a
    variance = float(np.mean(left**2))
    left /= 1 - np.minimum(np.einsum("ij,jk,ik->i", shares, inverse, shares), 0.99)
    errors = np.sqrt(((shares @ inverse * left[:, None]) ** 2).sum(0))
    with np.errstate(divide="ignore"):
        spread = 1 / np.diag(inverse) / len(shares)
    return a, np.where(determined, errors, np.inf), variance, spread


def _width_weights(reference: Showers) -> Array:
    """Return the weights of an average of all widths of a shower that fluctuates little."""
    mean, spread = reference.widths.mean(0), reference.widths.std(0)
    usable = (mean > 0) & (spread > 0)
    weights = np.where(usable, mean, 0) / np.where(usable, spread, 1) ** 2
    return np.asarray(weights / (weights.sum() or 1))


def lateral_width(
    showers: tuple[Showers, Showers], halves: Halves, geometry: ShowerGeometry
) -> list[Finding]:
    """Compare the mean lateral widths at equal depth: of each layer, and of all together.

    Together they are averaged with weights that suit the reference.
    Parameters as in `energy_scale`.
    """
    names = _widths(geometry)
    weights = _width_weights(showers[0])
    if not weights.any():
        return []

    def measure(reference: Showers, generated: Showers) -> tuple[Array, Array]:
        strata = _alike(reference, generated)
        first, second = (
            np.column_stack([s.widths @ weights, s.widths]) for s in (reference, generated)
        )
        r, error = ratio((first, second), strata)
        return r - 1, error

    def words(part: str, value: float, error: float) -> str:
        much = "wide" if value > 0 else "narrow"
        return f"{percent(abs(value), error)[1:]} too {much} in {part}"

    parts = ["all layers", *(_place(name) for name in names)]
    limits = [WIDTH_LIMIT] * len(parts)
    return _findings("lateral width", parts, limits, measure, showers, halves, words)


def noise(showers: tuple[Showers, Showers], halves: Halves) -> list[Finding]:
    """Compare how many cells have energy at equal depth, as a share of those that are empty.

    Parameters as in `energy_scale`.
    """

    def measure(reference: Showers, generated: Showers) -> tuple[Array, Array]:
        r, error = _cells(0, reference, generated)
        return 1 - r, error

    def words(part: str, value: float, error: float) -> str:
        return f"{percent(value, error)[1:]} of the cells that should be empty have energy"

    return _findings(
        "noise",
        ["all layers"],
        [NOISE_LIMIT],
        measure,
        showers,
        halves,
        words,
        one_sided=True,
    )


def small_deposits(
    showers: tuple[Showers, Showers], halves: Halves, largest: float
) -> list[Finding]:
    """Compare how many cells have a small deposit, at equal depth.

    Parameters as in `energy_scale`, with the ``largest`` deposit, MeV, that counts.
    """

    def measure(reference: Showers, generated: Showers) -> tuple[Array, Array]:
        r, error = _cells(1, reference, generated)
        return r - 1, error

    def words(part: str, value: float, error: float) -> str:
        much = "many" if value > 0 else "few"
        return f"deposits {part} are {percent(abs(value), error)[1:]} too {much}"

    part, limits = f"up to {largest:.2g} MeV", [SMALL_LIMIT]
    return _findings("small deposits", [part], limits, measure, showers, halves, words)


def _cells(column: int, reference: Showers, generated: Showers) -> tuple[Array, Array]:
    first, second = (s.cells[:, column : column + 1] for s in (reference, generated))
    return ratio((first, second), _alike(reference, generated))


def smearing(showers: tuple[Showers, Showers], halves: Halves) -> list[Finding]:
    """Compare how much the response fluctuates: its mean absolute deviation from the median.

    Also says by how much each cell would have to be smeared for that.  Parameters as in
    `energy_scale`.
    """

    def measure(reference: Showers, generated: Showers) -> tuple[Array, Array]:
        first, second, strata = _fluctuations(reference, generated)
        for b in np.unique(strata[0][strata[0] >= 0]):  # every energy counts alike
            unit = first[strata[0] == b].mean() or np.nan
            first[strata[0] == b] /= unit
            second[strata[1] == b] /= unit
        r, error = ratio((first[:, None], second[:, None]), strata)
        return r - 1, error

    def words(part: str, value: float, error: float) -> str:
        first, second, strata = _fluctuations(*showers)
        excess = [
            second[strata[1] == b].mean() ** 2 - first[strata[0] == b].mean() ** 2
            for b in np.unique(strata[0][strata[0] >= 0])
        ]
        variance = max(0.0, float(np.mean(excess))) * np.pi / 2  # as of a Gaussian
        cells = np.sqrt(variance / showers[1].concentration[strata[1] >= 0].mean())
        return (
            f"the response fluctuates {percent(value, error)[1:]} too much, as if every cell "
            f"were smeared by {100 * cells:.1f} %"
        )

    limits = [SMEARING_LIMIT]
    return _findings(
        "smearing", ["response"], limits, measure, showers, halves, words, one_sided=True
    )


def _fluctuations(reference: Showers, generated: Showers) -> tuple[Array, Array, tuple[Rows, Rows]]:
    """Return deviations of E_tot / E_inc from the median at equal energies, and the strata."""
    strata = energy_strata(reference.energy, generated.energy)
    sizes = []
    for s, inside in zip((reference, generated), strata):
        deviations = np.zeros(len(s.energy))
        for b in np.unique(inside[inside >= 0]):
            response = s.responses[inside == b, -1]
            deviations[inside == b] = np.abs(response - np.median(response))
        sizes.append(deviations)
    return sizes[0], sizes[1], strata
