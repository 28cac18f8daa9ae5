"""The report on fields as one self-contained HTML page, drawn from the record."""

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
    number_rows,
    response_rows,
    score_rows,
)
from emulators.benchmarks.page import figure, page, table, throughput, verdict
from emulators.benchmarks.tables import HEADINGS

__all__ = ["html"]


def html(record: Mapping[str, Any]) -> str:
    """Return the report as one HTML page that needs no other file and no network."""
    sections = [
        ("verdict", "Verdict", verdict(record)),
        (
            "headline",
            "Headline figures",
            table(HEADINGS, headline(record)) + f"<p class=note>{NOTE}</p>",
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
                    "Scores and ROC curve of a network that is shown P(k), one-point distribution, "
                    "peaks and voids of each field, on fields that it was not trained on (first "
                    "seed). If it cannot tell, both histograms agree and the curve is the "
                    "diagonal.",
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
    peaks, bispectrum = [(0.0, limits["peaks"])], [(0.0, limits["bispectrum"])]
    good = {
        "power": [(0.0, limits["power_half"]), (curves["power"]["nyquist"] / 2, limits["power"])],
        "one_point": [(-1.0, limits["one_point"])],
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
                "Reference fields, drawn at random, and generated fields"
                + equal
                + f"; numbers are rows of the files. One scale of colour.{slab}",
            ),
        ),
        (
            "power",
            "Power spectrum",
            figure(
                drawn("power"),
                "Mean power spectrum; below, emulator over reference at equal conditions, with "
                "bootstrap errors. Light band: the targets, 2 % to half of Nyquist and 5 % "
                "beyond. Darker band: error of the reference.",
            )
            + figure(
                field_plots.correlations(entry["correlations"]),
                "Correlation of the scatter of P(k) between shells, from field to field, at equal "
                "conditions. The difference should have no structure.",
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
                    field_plots.conditional(found, (limits["conditions"], limits["response"])),
                    "Above: ratio of P(k) in groups of about equal conditions, target 5 %. Below: "
                    "how much P(k) changes with each condition, the others fixed, from a "
                    "regression of ln P(k) on all of them; target 10 %.",
                )
                + (
                    "<details><summary>Table of responses</summary>"
                    + table(RESPONSE_HEADINGS, rows)
                    + "</details>"
                    if rows
                    else "<p class=note>Too few fields for a regression on the conditions.</p>"
                ),
            )
        )
    sections += [
        (
            "onepoint",
            "One-point distribution and extremes",
            figure(
                drawn("one_point", "peaks", "voids"),
                "Distribution of the cells, and number of local maxima and of minima of the "
                "smoothed fields by height, a field. Faint points are not judged: rarer than four "
                "decades below the top, or too few in the reference.",
            )
            + table(NUMBER_HEADINGS, number_rows(entry)),
        ),
        (
            "bispectrum",
            "Bispectrum",
            figure(
                drawn("bispectrum_equilateral", "bispectrum_squeezed"),
                "Equilateral triangles, and squeezed ones with one side in the largest shell. "
                "Faint points are not judged: the reference itself is not five errors from zero.",
            ),
        ),
        (
            "minkowski",
            "Minkowski functionals",
            figure(
                field_plots.minkowski(entry["minkowski"]),
                "Of the cells above a threshold. Below: difference in units of the largest value "
                "of the reference, with bootstrap errors.",
            ),
        ),
        (
            "copies",
            "Independence",
            figure(
                field_plots.copies(entry["copies"]),
                "Correlation of the large scales of each generated field with the field that it "
                "is closest to, over all shifts, turns and mirror images; grey: the same between "
                "independent reference fields. A copy lies near 1. Right: correlation coefficient "
                "of the closest pair by scale.",
            ),
        ),
    ]
    if rows := score_rows(entry):
        sections.append(
            (
                "scores",
                "3DcosmoGAN's scores",
                table(SCORE_HEADINGS, rows) + f"<p class=note>{SCORE_NOTE}</p>",
            )
        )
    return sections
