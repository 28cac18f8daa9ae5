"""What is wrong with generated samples, by name: the faults that generators have."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from emulators.benchmarks.chapter import Settings, chapter
from emulators.benchmarks.diagnosis.faults import Finding
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
from emulators.benchmarks.measured import Measured, Number
from emulators.benchmarks.pair import Pair
from emulators.benchmarks.seen import copies_in_words
from emulators.data.spec import ShowerGeometry
from emulators.observables.showers import observable_table

# Of each: what its size is, what showers without it are good for where no other chapter says that,
# and what to do about it.
FAULTS = {
    "missing showers": (
        "share of the reference in the region least reached, less the emulator's",
        "rare kinds of showers",
        "Do not use it where these showers matter; train with a larger batch or a stronger penalty "
        "on the critic, which keep a generator from dropping what is rare.",
    ),
    "duplicates": (
        "share of the showers that repeat another",
        "statistics of many showers",
        "Many showers are no more than few: look whether noise or seeds are used twice, and train "
        "again with more latent numbers.",
    ),
    "memorised": (
        "share that are copies of training showers, or lean to them",
        "",
        "They tell no more than what was trained on: train on more showers, or stop earlier.",
    ),
    "noise": (
        "share of the empty cells that have energy",
        "",
        "Cut the generated cells at the readout's threshold, or train with a threshold on cells.",
    ),
    "energy scale": (
        "emulator over reference, less 1",
        "calibrated energies",
        "Scale the energies of these layers by a constant: a recalibration mends it.",
    ),
    "lateral width": (
        "emulator over reference, less 1",
        "",
        "Look at the radial profile; train longer, or with a network that sees neighbouring cells.",
    ),
    "small deposits": (
        "their number, emulator over reference, less 1",
        "",
        "Look at the spectrum of cell energies; cut both samples above where it parts.",
    ),
    "smearing": (
        "mean deviation of the response, emulator over reference, less 1",
        "",
        "Look at the resolution: train longer, or give the network the total energy by itself.",
    ),
}
SIGNED = ("energy scale", "lateral width", "small deposits")  # too little is a fault as well

# What a fault may be the mere consequence of.
CAUSES = {
    "energy scale": ("missing showers", "noise"),
    "lateral width": ("missing showers", "noise"),
    "missing showers": ("noise",),
    "noise": ("missing showers", "lateral width"),
    "small deposits": ("missing showers", "lateral width", "noise"),
    "smearing": ("noise", "energy scale"),
}
TOLD = 3  # parts of a fault that its line names


@chapter(
    "faults",
    "Faults by name",
    ("shower", "field"),
    "Faults that generators are known for. Each has one number, and is named where that exceeds "
    "its limit by more than chance: all of them together accuse an independent sample with a "
    "probability below 1 %. Generated samples that are known ones, value for value, are counted.",
)
def faults(pair: Pair, settings: Settings) -> Sequence[Measured]:
    """Count exact copies, and look for each fault of showers."""
    findings = checks(pair, settings) if pair.kind == "shower" else []
    families = [(fault, list(parts)) for fault, parts in groupby(findings, lambda f: f.fault)]
    named = [fault for fault, parts in families if any(p.named for p in parts)]
    return [_exact_copies(pair), *(_number(*family, named) for family in families)]


def _exact_copies(pair: Pair) -> Number:
    """Count generated samples that are known ones, value for value: one is no chance."""
    file, samples = pair.files["generated"], f"{pair.kind}s"
    n, counts = file[samples], file["copies"]
    return Number(
        name="exact_copies",
        label=f"generated {samples} that are known ones, value for value",
        value=100 * sum(counts.values()) / n,
        n=n,
        unit="%",
        status="poor" if any(counts.values()) else "good",
        says=" ".join(f"{words}." for words in copies_in_words(counts, n, samples)),
        advice=f"They are no new {samples}: look where they come from before using any.",
    )


def checks(pair: Pair, settings: Settings) -> list[Finding]:
    """Check showers for every known fault: what can bring about others comes first."""
    energies, features, geometry = pair.energies, pair.observables, pair.geometry
    small = largest_small(pair.reference.values)
    first, second = (
        summarise(s.values, e, f, geometry, small)
        for s, e, f in zip((pair.reference, pair.generated), energies, features)
    )
    showers: tuple[Showers, Showers] = first, second
    seed = settings["seed"]
    _, halves = pair.halvings(settings["halvings"], seed)
    units = _telling(geometry, first)
    reference, generated = (
        {"incident_energy": e} | {name: f[name] for name in units}
        for e, f in zip(energies, features)
    )
    units |= {"incident_energy": "GeV"}
    return [
        *missing_showers(reference, generated, units, halves, seed),
        *duplicates(pair, seed),
        *memorised(pair, seed),
        *noise(showers, halves),
        *energy_scale(showers, halves, geometry),
        *lateral_width(showers, halves, geometry),
        *small_deposits(showers, halves, small),
        *smearing(showers, halves),
    ]


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


def _number(fault: str, parts: Sequence[Finding], named: Sequence[str]) -> Number:
    """Return a fault as its clearest part, with all of them as groups."""
    size, purpose, advice = FAULTS[fault]
    order = sorted(parts, key=_clearest)
    told = [p.text for p in order if p.named]
    reach = [p.reach for p in parts if math.isfinite(p.reach)]
    if told:
        more = f"; and {len(told) - TOLD} more in the table" if len(told) > TOLD else ""
        causes = [c for c in CAUSES.get(fault, ()) if c in named]
        listed = " and ".join(filter(None, (", ".join(causes[:-1]), *causes[-1:])))
        follows = f" It may follow from {listed}." if causes else ""
        says = f"{told[0][:1].upper()}{'; '.join(told[:TOLD])[1:]}{more}.{follows}"
    else:
        subject = "A region wholly missing" if fault == "missing showers" else "It"
        says = (
            f"{subject} would be named from {100 * min(reach):.2g} %." if reach else order[0].text
        )
    return replace(
        _part(order[0]),
        name=fault,
        label=f"{fault} ({size})",
        groups=tuple(map(_part, parts)) if len(parts) > 1 else (),
        status="poor" if told else "good" if reach else "unclear",
        purpose=purpose,
        says=says,
        advice=advice,
    )


def _part(finding: Finding) -> Number:
    """Return one check as a number in per cent: its size, with the sign in words."""
    signed = finding.fault in SIGNED
    tested = math.isfinite(finding.value)
    sign = f"{100 * finding.value:+.2g} %; " if signed else ""
    return Number(
        name=finding.part,
        label=finding.part,
        value=100 * (abs(finding.value) if signed else finding.value),
        error=100 * finding.error if tested else None,
        floor=None if finding.floor is None else 100 * finding.floor,
        n=min(finding.n),
        unit="%",
        status="poor" if finding.named else "good" if tested else "unclear",
        says=finding.text or f"{sign}it would be named from {100 * finding.reach:.2g} %",
    )


def _clearest(finding: Finding) -> tuple[bool, bool, bool, float]:
    """Sort what is named first, then what is of all layers, then by standard errors."""
    size = abs(finding.value) / max(finding.error, 1e-9)
    whole = finding.part in ("whole shower", "all layers")
    return not finding.named, not math.isfinite(size), not whole, -size
