"""The tables of a report on fields, and the report as Markdown, drawn from the record."""

from collections.abc import Mapping
from typing import Any

from emulators.benchmarks.speed.tables import throughput_parts
from emulators.benchmarks.tables import (
    HEADINGS,
    classifier_rows,
    document,
    facts,
    short,
    with_error,
)

__all__ = [
    "NOTE",
    "NUMBER_HEADINGS",
    "RESPONSE_HEADINGS",
    "SCORE_HEADINGS",
    "SCORE_NOTE",
    "field_facts",
    "headline",
    "k_unit",
    "markdown",
    "number_rows",
    "response_rows",
    "score_rows",
]


def headline(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the headline table: metric, value, error, floor, floor's error, n."""
    rows = []
    for entry in record["channels"]:
        prefix = "" if len(record["channels"]) == 1 else f"{entry['channel']}: "
        rows += [[prefix + row[0], *row[1:]] for row in _channel(entry)]
    return rows + classifier_rows(record)


def _channel(entry: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    words = {"half": ", k to half of Nyquist", "nyquist": ", k from there to Nyquist", "all": ""}
    for curve in entry["curves"]:
        if curve["name"] in ("moments", "sparsity"):
            continue
        n = f"{_n(curve)}"
        for part, found in curve["summary"].items():
            if found is None:
                continue
            for kind in ("largest", "mean"):
                m = found[kind]
                what = f"{curve['label']}{words[part]}: {kind} deviation, %"
                rows.append([what, *_percents(m), f"{n}, {found['bins']} bins"])
    difference = entry["correlations"]["difference"]
    keys = ("value", "error", "floor", "floor_error")
    rows.append(
        [
            "correlation matrix of P(k), mean difference",
            *(f"{difference[k]:.4f}" for k in keys),
            f"{difference['n']:,}",
        ]
    )
    for one in entry["minkowski"]["functionals"]:
        m = one["largest"]
        what = f"{one['name']}: largest difference / largest value, %"
        rows.append([what, *_percents(m), f"{m['n']:,}"])
    if found := entry["similarity"]:
        rows.append(
            [
                f"MS-SSIM of pairs, difference of {found['generated']:.3f} and "
                f"{found['reference']:.3f}",
                f"{found['value']:.4f}",
                f"{found['error']:.4f}",
                "" if found["floor"] is None else f"{found['floor']:.4f}",
                "",
                f"{found['pairs']} pairs of {found['n'][0]:,}, {found['n'][1]:,}",
            ]
        )
    copies = entry["copies"]
    for kind, of in (("known", f"{copies['against']} fields"), ("each_other", "each other")):
        pair = copies[kind]
        if pair["floor"]:
            floor = f"{max(pair['floor']):.3f}"
            n = f"{copies['checked']:,} with {copies['others'][kind]:,}"
            what = f"largest correlation of large scales with {of}"
            rows.append([what, f"{pair['largest']:.3f}", "", floor, "", n])
    return rows


def _percents(m: Mapping[str, float]) -> list[str]:
    return [f"{100 * m[k]:.3g}" for k in ("value", "error", "floor", "floor_error")]


def _n(curve: Mapping[str, Any]) -> str:
    n, simulations = curve["n"], curve["simulations"]
    shared = f" of {simulations[1]:,} simulations" if simulations[1] != n[1] else ""
    return f"{n[0]:,}, {n[1]:,}{shared}"


NOTE = (
    "The floor is the same metric between two disjoint sets of the reference, of different "
    "simulations, at most half of it and at most as many as were generated: the best value that "
    "can be measured. Errors are standard deviations over bootstrap resamplings of simulations (of "
    "classifiers: over seeds). Deviations are |ratio − 1| of means over fields, at equal "
    "conditions, in the bins that are judged."
)


def number_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of moments and of band sparsity of a channel."""
    rows = []
    for curve in entry["curves"]:
        for i, name in enumerate(curve.get("names", ())):
            row = [name]
            for sample in ("reference", "generated"):
                row.append(with_error(curve[sample][i], curve[f"{sample}_error"][i] or 0))
            ratio, error = curve["ratio"][i], curve["error"][i]
            row.append("" if ratio is None else with_error(ratio, error or 0))
            floor = curve["floor"][i]
            row.append("" if floor is None else f"{100 * floor:.2g}")
            rows.append(row)
    return rows


NUMBER_HEADINGS = ("number", "reference", "emulator", "ratio", "floor, %")


def k_unit(entry: Mapping[str, Any]) -> str:
    """Return the unit of the wavenumbers of a channel."""
    return str(next(c["axis"][1] for c in entry["curves"] if c["name"] == "power"))


def response_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of responses to conditions of a channel."""
    rows = []
    found = entry["conditional"] or {"response": []}
    for one in found["response"]:
        for i, k in enumerate(found["k"]):
            row = [f"{one['condition']}, k = {k:.3g} {k_unit(entry)}"]
            for sample in ("reference", "generated"):
                row.append(with_error(one[sample][i], one[f"{sample}_error"][i]))
            row.append(with_error(one["ratio"][i], one["error"][i]) if one["judged"][i] else "")
            row.append(f"{100 * one['floor'][i]:.2g}")
            rows.append(row)
    return rows


RESPONSE_HEADINGS = ("d ln P(k) / d condition", "reference", "emulator", "ratio", "floor, %")


def score_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of 3DcosmoGAN's scores of a channel."""
    rows = []
    for name, one in entry["scores"].items():
        value, floor = ("infinite" if one[k] is None else short(one[k]) for k in ("score", "floor"))
        singular = "; covariance singular" if one["singular"] else ""
        rows.append([name, value, floor, f"{one['n']:,}, {one['dimensions']} numbers{singular}"])
    return rows


SCORE_HEADINGS = ("3DcosmoGAN score, 1 / FD", "emulator", "two halves of the reference", "n")
SCORE_NOTE = (
    "In the manner of 3DcosmoGAN (larger is better), for comparison with its papers only: they "
    "depend on n, on the grid and on a few rare bins, and nothing is judged by them."
)


def field_facts(record: Mapping[str, Any]) -> list[list[str]]:
    """Return what was compared and how, as pairs of words."""
    grid, conditions, numbers = record["grid"], record["conditions"], record["simulations"]
    lengths = " x ".join(f"{length:g}" for length in grid["lengths"])
    periodic = [a for a, p in zip(grid["axes"], grid["periodic"]) if p]
    if conditions["paired"]:
        words = "the same in both files, field by field"
    else:
        p = ", ".join(f"{n} {v:.2g}" for n, v in conditions["p_values"].items() if v is not None)
        words = f"drawn separately; Kolmogorov-Smirnov p: {p}" if p else "none"
    own = [
        ["independent simulations", f"{numbers['reference']:,} of the reference"],
        [
            "grid",
            f"{' x '.join(map(str, grid['cells']))} cells, {lengths} {grid['unit']}, periodic "
            f"along {', '.join(periodic) or 'no axis'}; {', '.join(grid['channels'])}"
            + (f" [{grid['field_unit']}]" if grid["field_unit"] else ""),
        ],
        ["conditions", words],
    ]
    if len(record["channels"]) > 1:
        alone = "each is measured, and copies are looked for, by itself; not how they go together"
        own.append(["channels", alone])
    return facts(record, own)


def markdown(record: Mapping[str, Any]) -> str:
    """Return the report of fields as Markdown."""
    parts: list[Any] = [
        ("Headline figures", HEADINGS, headline(record), NOTE),
        *throughput_parts(record),
    ]
    for entry in record["channels"]:
        of = "" if len(record["channels"]) == 1 else f", {entry['channel']}"
        parts.append((f"Moments and band sparsity{of}", NUMBER_HEADINGS, number_rows(entry), ""))
        if rows := response_rows(entry):
            parts.append((f"Response to conditions{of}", RESPONSE_HEADINGS, rows, ""))
        if rows := score_rows(entry):
            parts.append((f"3DcosmoGAN's scores{of}", SCORE_HEADINGS, rows, SCORE_NOTE))
    parts.append(("What was compared", ("what", "value"), field_facts(record), ""))
    return document(record, parts)
