"""The report on fields as one self-contained HTML page, drawn from the record."""

import math
from collections.abc import Mapping
from typing import Any

from emulators.benchmarks import plots
from emulators.benchmarks.field_report import plots as field_plots
from emulators.benchmarks.field_report.tables import (
    NOTE,
    NUMBER_HEADINGS,
    RESPONSE_HEADINGS,
    SCORE_HEADINGS,
    SCORE_NOTE,
    field_facts,
    headline,
    k_unit,
    number_rows,
    response_rows,
    score_rows,
)
from emulators.benchmarks.frame import figure, folded, notes, table
from emulators.benchmarks.page import page, throughput, verdict
from emulators.benchmarks.tables import HEADINGS

__all__ = ["html"]

_WORDS = (
    "n: number of fields, emulator and reference. P(k): power spectrum; B(k): bispectrum, of "
    "triangles with equal sides (equilateral) or with one much shorter than the others (squeezed). "
    "Nyquist: the largest k of the grid, π over the side of a cell. MS-SSIM: multi-scale "
    "structural similarity, 1 for equal fields. AUC: area under the ROC curve of a classifier that "
    "is trained to tell emulator from reference; 0.5 if it cannot, 1 if it always can. JSD: "
    "Jensen-Shannon divergence by the same classifier; 0 if it cannot."
)


def html(record: Mapping[str, Any]) -> str:
    """Return the report as one HTML page that needs no other file and no network."""
    sections = [
        ("verdict", "Verdict", verdict(record)),
        (
            "headline",
            "Headline figures",
            table(HEADINGS, headline(record)) + notes(f"{NOTE}\n{_WORDS}"),
        ),
    ]
    for i, entry in enumerate(record["channels"]):
        several = len(record["channels"]) > 1
        sections += [
            (f"{key}{i or ''}", f"{title}, {entry['channel']}" if several else title, content)
            for key, title, content in _channel(entry, record["settings"]["thresholds"])
        ]
    if record["classifiers"]:
        sections.append(
            (
                "classifiers",
                "Classifier",
                figure(
                    plots.classifier_curves(record["classifiers"], "field"),
                    "Scores and ROC curve (which share of both is accepted as reference) of a "
                    "network that is shown P(k), one-point distribution, peaks and voids of each "
                    "field, on fields that it was not trained on (first seed). If it cannot tell, "
                    "both histograms agree and the curve is the diagonal.",
                ),
            )
        )
    sections.append(("throughput", "Throughput", throughput(record)))
    sections.append(
        ("compared", "What was compared", table(("what", "value"), field_facts(record)))
    )
    return page(record, sections)


def _channel(entry: Mapping[str, Any], limits: Mapping[str, float]) -> list[tuple[str, str, str]]:
    curves = {c["name"]: c for c in entry["curves"]}
    peaks, bispectrum = [(-math.inf, limits["peaks"])], [(0.0, limits["bispectrum"])]
    unit = k_unit(entry)
    good = {
        "power": [(0.0, limits["power_half"]), (curves["power"]["nyquist"] / 2, limits["power"])],
        "one_point": [(-math.inf, limits["one_point"])],
        "peaks": peaks,
        "voids": peaks,
        "bispectrum_equilateral": bispectrum,
        "bispectrum_squeezed": bispectrum,
    }

    def drawn(*names: str) -> str:
        return field_plots.curves([curves[n] for n in names if n in curves], good)

    shown = entry["pictures"]
    slab = f" Mean over the middle {shown['depth']:.3g} {shown['unit']}." if shown["depth"] else ""
    equal = " at the closest conditions" if shown["reference"][0]["conditions"] else ""
    sections = [
        (
            "pictures",
            "Fields",
            figure(
                field_plots.pictures(shown),
                "Reference fields, drawn at random, and below them generated fields"
                + equal
                + f"; numbers are rows of the files. One scale of colour.{slab} Knots, filaments "
                "and voids should be as sharp and as large in both.",
            ),
        ),
        (
            "power",
            "Power spectrum",
            figure(
                drawn("power"),
                "Mean power spectrum; below, emulator over reference at equal conditions, with "
                "bootstrap errors. Straight band: the targets, where points should lie: "
                f"{100 * limits['power_half']:g} % to half of Nyquist and "
                f"{100 * limits['power']:g} % beyond. Curved band: error of the reference.",
            )
            + figure(
                field_plots.correlations(entry["correlations"], unit),
                "Correlation coefficient of P(k) in two shells, over the scatter from field to "
                "field at equal conditions; right, the difference, which should have no structure: "
                "red where the emulator couples scales too strongly, blue where too weakly.",
            ),
        ),
    ]
    if found := entry["conditional"]:
        rows = response_rows(entry)
        sections.append(
            (
                "conditions",
                "Conditions",
                figure(
                    field_plots.conditional(
                        found, (limits["conditions"], limits["response"]), unit
                    ),
                    "Above: P(k), emulator over reference, in groups of about equal conditions; "
                    f"all should lie in the band of ±{100 * limits['conditions']:g} %, and a group "
                    "apart from the others is a dependence that was not learned."
                    + (
                        " Below: how much P(k) changes with each condition, the others fixed, from "
                        "a regression of ln P(k) on all of them, and emulator over reference with "
                        f"the band of ±{100 * limits['response']:g} %."
                        if rows
                        else ""
                    ),
                )
                + (
                    folded(("responses", RESPONSE_HEADINGS, rows, ""))
                    if rows
                    else notes("Too few fields for a regression on the conditions.")
                ),
            )
        )
    sections += [
        (
            "onepoint",
            "One-point distribution and extremes",
            figure(
                drawn("one_point", "peaks", "voids"),
                "Distribution of the values of cells; number of peaks (local maxima) and of voids "
                "(local minima of the smoothed fields) a field, by height. Below, emulator over "
                "reference, in straight bands of the targets; curved bands are errors of the "
                "reference. Too few high peaks are haloes that are washed out. Faint points are "
                "not judged: rarer than four decades below the top, or too few in the reference.",
            )
            + table(NUMBER_HEADINGS, number_rows(entry)),
        ),
        (
            "bispectrum",
            "Bispectrum",
            figure(
                drawn("bispectrum_equilateral", "bispectrum_squeezed"),
                "Bispectrum of equilateral triangles, and of squeezed ones with one side in the "
                "largest shell; below, emulator over reference, in the straight band of "
                f"±{100 * limits['bispectrum']:g} %. Points below it while P(k) is right are "
                "filaments and knots that are too faint. Faint points are not judged: the "
                "reference itself is not five errors from zero.",
            ),
        ),
        (
            "minkowski",
            "Minkowski functionals",
            figure(
                field_plots.minkowski(entry["minkowski"]),
                "Size, border and Euler characteristic (in maps: pieces less holes) of the cells "
                "above a threshold, against the threshold. The blue line should run inside the "
                "grey one. Below: difference in units of the largest value of the reference, with "
                "bootstrap errors.",
            ),
        ),
        (
            "copies",
            "Independence",
            figure(
                field_plots.copies(entry["copies"], unit),
                "Correlation of the large scales of each generated field with the field that it "
                "is closest to, over all shifts, turns and mirror images; grey: the same between "
                "independent reference fields. Both should agree; a copy lies near 1. Right: "
                "correlation coefficient r(k) of the closest pair, scale by scale: 1 if both have "
                "the same modes, 0 if they are independent.",
            ),
        ),
    ]
    if rows := score_rows(entry):
        sections.append(
            (
                "scores",
                "3DcosmoGAN's scores",
                table(SCORE_HEADINGS, rows) + notes(SCORE_NOTE),
            )
        )
    return sections
