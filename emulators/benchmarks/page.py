"""The report on showers as one self-contained HTML page, drawn from the record.

What reports on showers and on fields share of it too: subject, verdict, speed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from emulators.benchmarks import plots, write
from emulators.benchmarks.calochallenge.tables import calochallenge_parts
from emulators.benchmarks.chapter import results_of
from emulators.benchmarks.classifier import VIEWS
from emulators.benchmarks.diagnosis.tables import diagnosis_part
from emulators.benchmarks.drawing import shown
from emulators.benchmarks.frame import figure, folded, frame, judged, notes, table
from emulators.benchmarks.joint.page import joint_sections
from emulators.benchmarks.judge import STATUS
from emulators.benchmarks.speed import plots as throughput_plots
from emulators.benchmarks.speed.tables import throughput_parts
from emulators.benchmarks.tables import (
    HEADINGS,
    LAYER_HEADINGS,
    LAYER_NOTE,
    NOTE,
    OBSERVABLE_HEADINGS,
    OBSERVABLE_NOTE,
    Part,
    headline,
    layer_rows,
    observable_rows,
    shower_facts,
    summary,
)

__all__ = ["html", "page", "throughput", "verdict"]

_WORDS = (
    "n: number of showers. AUC: area under the ROC curve of a classifier that is trained to tell "
    "emulator from reference; 0.5 if it cannot, 1 if it always can. JSD: Jensen-Shannon divergence "
    "by the same classifier; 0 if it cannot. Separation power: 0 (equal) to 1 (disjoint). "
    "Kolmogorov-Smirnov (KS): largest difference of the cumulative distributions. FPD, KPD: "
    "Fréchet and kernel physics distance in the space of high-level features. Precision, density: "
    "do emulated showers lie where reference showers are; recall, coverage: do they lie wherever "
    "reference showers are."
)
_GROUPS = {
    "energy": (
        "Energies",
        "Deposited energy, whole shower and layer by layer. The emulator's line should follow the "
        "top of the grey fill and its ratio stay inside the grey band; a slope in the ratio is an "
        "energy scale that is off, a bump at both ends a width.",
    ),
    "sharing": (
        "Sharing of energy",
        "How a shower divides its energy between layers, and the two hottest cells of each layer "
        "between them (E₁ the hottest, E₂ the second). The lines should follow the grey fill also "
        "at the steep ends, where rare showers are.",
    ),
    "position": (
        "Centres",
        "Centre of energy of each layer across the shower axis. A beam on the axis gives a peak at "
        "zero, symmetric to both sides; a peak beside zero is a shift, tails that are too high are "
        "showers with stray energy.",
    ),
    "width": (
        "Widths",
        "Lateral width of each layer: the standard deviation of position, weighted by energy. A "
        "peak that is shifted is a shower too narrow or too wide. At zero are showers that hit a "
        "single row of cells of that layer, or none.",
    ),
    "depth": (
        "Depth",
        "How deep the energy lies: the deepest layer hit; l_d, the sum of layer energies times the "
        "number of the layer; s_d, that sum over the whole energy (the mean depth); and the "
        "standard deviation of depth. A shift to the left is a shower that ends too early.",
    ),
    "cells": (
        "Cells hit",
        "Fraction of the cells of a layer with any energy, and above a threshold. The many cells "
        "with very little energy are what emulators find hardest: if the fraction above zero is "
        "off and that above the threshold is not, the fault is in these.",
    ),
}


def html(record: Mapping[str, Any]) -> str:
    """Return the report as one HTML page that needs no other file and no network."""
    layers, count = record["layer_energies"], len(record["average_shower"])
    drawn = f" 6 of {count} layers are drawn." if count > 6 else ""
    sections = [
        ("verdict", "Verdict", verdict(record)),
        (
            "headline",
            "Headline figures",
            table(HEADINGS, headline(record)) + notes(f"{NOTE}\n{_WORDS}"),
        ),
        *(
            [("diagnosis", "Diagnosis", folded(diagnosis_part(record)))]
            if record["diagnosis"]
            else []
        ),
        (
            "response",
            "Energy response",
            figure(
                plots.response(layers),
                "Response (mean) and resolution (standard deviation) of the energy of the whole "
                "shower over the incident energy, in bins that hold equally many; below, emulator "
                "over reference, with the band of ±2 %. Points should lie on each other, or apart "
                "by no more than their bootstrap errors.",
            ),
        ),
        (
            "layers",
            "Layer energies",
            figure(
                plots.layer_energies(layers),
                "Mean and standard deviation of each layer's energy over the incident energy, "
                "emulator over reference. Points should lie in the band of ±2 %, or within their "
                "bootstrap errors of it. Triangles stand for points beyond the axis." + drawn,
            )
            + folded(("layer energies", LAYER_HEADINGS, layer_rows(record), LAYER_NOTE)),
        ),
        (
            "average",
            "Average showers",
            figure(
                plots.average_showers(record["average_shower"]),
                "Mean energy of every cell, MeV, and emulator over reference: red where the "
                "emulator has too much, blue where it has too little. The ratio should be white; "
                "one colour all round the outskirts is a halo that is too wide or too narrow, a "
                "mixture of colours is noise." + drawn,
            ),
        ),
    ]
    if record["classifiers"]:
        views = "; ".join(f"{k}: {VIEWS[k]}" for k in record["classifiers"] if k in VIEWS)
        sections.append(
            (
                "classifiers",
                "Classifiers",
                figure(
                    plots.classifier_curves(record["classifiers"]),
                    "Scores, and ROC curves (which share of both is accepted as reference), on "
                    "showers that the classifier was not trained on (first seed). If it cannot "
                    "tell, both score histograms agree and the curve is the diagonal. What each "
                    f"sees: {views}.",
                ),
            )
        )
    if parts := calochallenge_parts(record):
        sections.append(("calochallenge", "CaloChallenge", _challenge(parts)))
    sections.append(("observables", "Observables", _observables(record)))
    sections += write.sections(results_of(record)) + joint_sections(record)
    sections.append(("throughput", "Throughput", throughput(record)))
    sections.append(
        ("compared", "What was compared", table(("what", "value"), shower_facts(record)))
    )
    return page(record, sections)


def page(record: Mapping[str, Any], sections: Sequence[tuple[str, str, str]]) -> str:
    """Return a page of these sections: key, title, content."""
    samples = f"{record['kind']}s"
    heading = f"Benchmark of generated {samples}"
    name = record["files"]["generated"]["attributes"].get("emulator", "")
    return frame(f"{heading} {name}", heading, _subject(record, samples), sections)


def _subject(record: Mapping[str, Any], samples: str) -> str:
    generated, reference = record["files"]["generated"], record["files"]["reference"]
    name = generated["attributes"].get("emulator")
    made = f"by emulator {name} " if name else ""
    return (
        f"{generated['used']:,} {samples} generated {made}against {reference['used']:,} of the "
        f"reference, {record['created'][:10]}"
    )


def verdict(record: Mapping[str, Any]) -> str:
    """Return warnings, the sentence and the lines of the verdict: what fails comes first."""
    order = list(STATUS)
    lines = sorted(record["verdict"], key=lambda line: order.index(line["status"]))
    return judged(record["warnings"], summary(record), lines)


def _challenge(parts: Sequence[Part]) -> str:
    """Return CaloChallenge's tables: this file and its floor above, the published entries below."""
    text = ""
    for title, headings, rows, note in parts:
        own = [row for row in rows if row[0].startswith(("this file", "floor"))]
        others = [row for row in rows if row not in own]
        text += f"<h3>{title}</h3>"
        text += folded((title, headings, [*own, *others], note), own, others)
    return text


def _observables(record: Mapping[str, Any]) -> str:
    parts = [
        "<p>Grey fill: reference. Blue line: emulator. Bars and bands: statistical errors. "
        "Triangles at a ratio panel's border stand for points outside it. S is the separation "
        "power, 0 (equal) to 1 (disjoint).</p>"
    ]
    for group, (title, caption) in _GROUPS.items():
        members = [o for o in record["observables"] if o["group"] == group]
        if members:
            chosen = shown(members)
            if len(chosen) < len(members):
                caption += f" {len(chosen)} of {len(members)} are drawn; the table has all."
            parts.append(f"<h3>{title}</h3>{figure(plots.observable_page(chosen), caption)}")
    rows = table(OBSERVABLE_HEADINGS, observable_rows(record))
    return "".join(parts) + f"<h3>Distances</h3>{rows}{notes(OBSERVABLE_NOTE)}"


def throughput(record: Mapping[str, Any]) -> str:
    """Return the figure and the tables of speed, each with what to know about it."""
    found = record["throughput"]
    drawn = ""
    if found["emulator"]:
        drawn = figure(
            throughput_plots.speed(found, record["kind"]),
            f"Speed against batch size: how many {record['kind']}s a second; higher is faster. "
            "Full points: into memory, with errors; hollow: the largest batch into a file. Grey: "
            "the simulation, with the band of its standard error where it was run here; the "
            "distance to it is the speed-up."
            + (
                " Right: several processes at once; the dashed line is as many times the speed of "
                "one, and points below it share something that is full."
                if found["scaling"]
                else ""
            ),
        )
    text: list[str] = []
    for title, headings, rows, note in throughput_parts(record):
        above = f"<h3>{title}</h3>" if text else ""
        text.append(above + table(headings, rows) + notes(note))
    return "".join([text[0], drawn, *text[1:]])
