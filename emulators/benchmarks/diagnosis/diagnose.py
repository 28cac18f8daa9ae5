"""Name what is wrong with generated showers, where it is one of the faults that generators have.

Energy scale, widths, missing showers, duplicates, copies of what was trained on, noise, too many or
too few small deposits, smearing: each has one statistic, with error, floor and n, and is named only
where it exceeds its limit by more than chance.  An independent sample is accused of anything with a
probability below one per cent.
"""

from dataclasses import asdict
from typing import Any

from emulators.benchmarks.diagnosis.missing import missing_showers
from emulators.benchmarks.diagnosis.repeats import duplicates, memorised
from emulators.benchmarks.diagnosis.scales import (
    Showers,
    energy_scale,
    largest_small,
    lateral_width,
    noise,
    small_deposits,
    smearing,
    summarise,
)
from emulators.benchmarks.pair import Pair
from emulators.data.spec import ShowerGeometry
from emulators.observables.showers import observable_table

__all__ = ["diagnose"]

HALVINGS = 20


def diagnose(pair: Pair, seed: int) -> list[dict[str, Any]]:
    """Check generated showers for every known fault.

    Parameters
    ----------
    pair
        The showers.
    seed
        Of halves, clusters, and the showers that partners are sought for.

    Returns
    -------
    One entry a check, as `faults.Finding` says.
    """
    samples, energies = (pair.reference, pair.generated), pair.energies
    small = largest_small(pair.reference.values)
    found = pair.observables
    first, second = (
        summarise(s.values, e, f, pair.geometry, small) for s, e, f in zip(samples, energies, found)
    )
    showers: tuple[Showers, Showers] = first, second
    _, halves = pair.halvings(HALVINGS, seed)
    units = _telling(pair.geometry, first)
    reference, generated = (
        {"incident_energy": e} | {name: f[name] for name in units} for e, f in zip(energies, found)
    )
    units |= {"incident_energy": "GeV"}
    findings = [  # what can bring about others comes first
        *missing_showers(reference, generated, units, halves, seed),
        *duplicates(pair, seed),
        *memorised(pair, seed),
        *noise(showers, halves),
        *energy_scale(showers, halves, pair.geometry),
        *lateral_width(showers, halves, pair.geometry),
        *small_deposits(showers, halves, small),
        *smearing(showers, halves),
    ]
    return [asdict(f) for f in findings]


def _telling(geometry: ShowerGeometry, reference: Showers) -> dict[str, str]:
    """Return observables in which showers may be missing, and their units.

    Not those that little noise, or a width or scale off by little, moves far beyond their spread:
    the response, widths, numbers of cells, and what belongs to layers with little energy.
    """
    energies = (reference.responses * reference.energy[:, None]).sum(0)
    strong = [
        layer.name
        for layer, energy in zip(geometry.layers, energies)
        if energy >= energies[-1] / (2 * len(geometry.layers))
    ]
    return {
        o.name: o.unit
        for o in observable_table(geometry)
        if o.name in ("shower_depth", "shower_depth_width")
        or (o.group in ("sharing", "position") and o.name.endswith(tuple(strong)))
    }
