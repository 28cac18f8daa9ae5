"""The tables of a report, and the report as Markdown, drawn from the record.

What every report has, and the tables of showers; `emulators.benchmarks.field_report` has those
of fields.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emulators.benchmarks.diagnosis.tables import diagnosis_part
from emulators.benchmarks.joint.tables import joint_parts, joint_rows
from emulators.benchmarks.judge import STATUS
from emulators.benchmarks.speed.tables import throughput_parts

__all__ = [
    "HEADINGS",
    "LAYER_HEADINGS",
    "LAYER_NOTE",
    "NOTE",
    "OBSERVABLE_HEADINGS",
    "OBSERVABLE_NOTE",
    "STATUS",
    "Part",
    "classifier_rows",
    "document",
    "facts",
    "feature_rows",
    "headline",
    "layer_rows",
    "markdown",
    "observable_rows",
    "sentence",
    "short",
    "shower_facts",
    "summary",
    "with_error",
]


def headline(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the headline table: metric, value, error, floor, floor's error, n."""
    rows = classifier_rows(record)
    tolerance = 100 * record["settings"]["thresholds"]["deviation"]
    words = {
        "layer_mean": "layer means",
        "layer_width": "layer widths",
        "total_mean": "response",
        "total_width": "resolution",
    }
    for key, what in words.items():
        for suffix, text, digits in (
            ("_within", f"{what} within {tolerance:g} %, % of bins", 0),
            ("", f"{what}, largest deviation, %", 3 if key == "total_mean" else 1),
        ):
            m = record["layer_energies"]["deviations"][key + suffix]
            numbers = [100 * m[k] for k in ("value", "error", "floor", "floor_error")]
            rows.append([text, *(f"{x:.{digits}f}" for x in numbers), f"{m['n']:,}"])
    for key, what in (
        ("separation_power", "separation power, mean of observables"),
        ("wasserstein", "Wasserstein / reference's width, mean"),
        ("kolmogorov_smirnov", "Kolmogorov-Smirnov, mean of observables"),
        ("chi_squared", "χ² / degrees of freedom, mean of observables"),
    ):
        # a mean of correlated numbers: its error is at most the mean of theirs
        # in units of the reference's width, which an observable that never varies has not
        found = [
            (o["distances"][key], o["reference"]["std"] if key == "wasserstein" else 1.0)
            for o in record["observables"]
            if key in o["distances"] and (key != "wasserstein" or o["reference"]["std"])
        ]
        if found:
            means = [
                sum(m[k] / scale for m, scale in found) / len(found)
                for k in ("value", "error", "floor", "floor_error")
            ]
            rows.append([what, *(f"{x:.4f}" for x in means), f"{found[0][0]['n']:,}"])
    return rows + joint_rows(record) + feature_rows(record)


def feature_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the distances in the high-level features, as the headline table has them.

    Where n is too small for a figure to mean anything, the row says that and how many are needed.
    """
    rows = []
    for name in ("fpd", "kpd", "precision", "recall", "density", "coverage"):
        m = record["features"].get(name)
        if m is None:
            continue
        physics = name in ("fpd", "kpd")
        numbers = [
            (1e3 if physics else 1) * m[k] for k in ("value", "error", "floor", "floor_error")
        ]
        rows.append(
            [
                f"{name.upper()} × 1e3" if physics else name,
                *(["n too small", "", "", ""] if m["too_small"] else [f"{x:.3f}" for x in numbers]),
                m["too_small"] or f"{m['n']:,}",
            ]
        )
    return rows


def classifier_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the classifiers, as the headline table has them."""
    rows = []
    for name, found in record["classifiers"].items():
        for kind in ("auc", "jsd"):
            c = found[kind]
            rows.append(
                [
                    f"{kind.upper()}, {name} view",
                    f"{c['value']:.4f}",
                    "" if c["error"] is None else f"{c['error']:.4f}",
                    f"{c['floor']:.4f}",
                    "" if c["floor_error"] is None else f"{c['floor_error']:.4f}",
                    f"{c['n']:,} (test {found['n_test']:,}; floor {c['floor_n']:,})",
                ]
            )
    return rows


HEADINGS = ("metric", "value", "error", "floor", "floor's error", "n per sample")


def observable_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of observables."""
    rows = []
    for o in record["observables"]:
        row = [o["name"], o["unit"] or "1"]
        row += [with_error(o[k]["mean"], o[k]["std"]) for k in ("reference", "generated")]
        for key in ("separation_power", "wasserstein", "kolmogorov_smirnov", "chi_squared"):
            m = o["distances"].get(key)
            row += [with_error(m["value"], m["error"]), short(m["floor"])] if m else ["", ""]
        test = o.get("chi_squared_test")
        rows.append([*row, f"{test['p_value']:.2g}" if test else ""])
    return rows


def layer_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of layer energies in bins of incident energy."""
    rows = []
    for c in record["layer_energies"]["rows"]:
        row = [c["layer"], f"{c['low']:.3g} to {c['high']:.3g}"]
        row.append(f"{c['n_reference']:,}, {c['n_generated']:,}")
        for kind in ("mean", "width"):
            if c[f"{kind}_deviation"] is None:
                row += ["too few", "", "", ""]
                continue
            row += [short(c[f"{kind}_{k}"], 4) for k in ("reference", "generated")]
            row.append(f"{100 * c[f'{kind}_deviation']:+.2f} ± {100 * c[f'{kind}_error']:.2f}")
            floor = c[f"{kind}_floor"]
            row.append("" if floor is None else f"{100 * floor:.2f}")
        rows.append(row)
    return rows


LAYER_HEADINGS = (
    "layer",
    "E_inc [GeV]",
    "n ref., emul.",
    "mean, reference",
    "emulator",
    "difference, %",
    "floor, %",
    "width, reference",
    "emulator",
    "difference, %",
    "floor, %",
)

LAYER_NOTE = (
    "Mean and standard deviation of E_layer / E_inc. The floor is the mean size of the difference "
    "between two halves of the reference, so at half the number of showers."
)


def short(value: float, digits: int = 3) -> str:
    """Write a number with so many digits, without an exponent while it is of usual size."""
    if value == 0 or not 1e-5 < abs(value) < 1e7:
        return f"{value:.{digits}g}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def with_error(value: float, error: float) -> str:
    """Write a number to the second digit of its error."""
    if not error or not 1e-7 < error < 1e7:
        return f"{short(value)} ± {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


OBSERVABLE_HEADINGS = (
    "observable",
    "unit",
    "reference, mean ± width",
    "emulator, mean ± width",
    "separation",
    "floor",
    "Wasserstein",
    "floor",
    "KS",
    "floor",
    "χ² / dof",
    "floor",
    "p",
)

OBSERVABLE_NOTE = (
    "Separation power in up to 50 bins that hold equally much of the reference, under- and "
    "overflow counted. Wasserstein distance in the unit of the observable (1: it has none). KS: "
    "Kolmogorov-Smirnov. χ² / dof: two-sample chi-squared of the same histograms, neighbouring "
    "bins merged until 5 of either sample are expected, over the bins less one; p is the chance "
    "of one as large where nothing differs. Each floor belongs to the column before it."
)


def shower_facts(record: Mapping[str, Any]) -> list[list[str]]:
    """Return what was compared and how, as pairs of words."""
    paired = record["energies"]["paired"]
    energies = (
        "the same in both files, shower by shower"
        if paired
        else f"drawn separately; Kolmogorov-Smirnov p = {record['energies']['p_value']:.2g}"
    )
    own = [["incident energies", energies], ["geometry", record["geometry"]]]
    if critic := record["critic"]:
        words = f"{critic['network']}; sha256 of its weights {critic['sha256']}"
        if small := critic["frechet_distance"]["too_small"]:
            words = f"not trained: n = {small}"
        own.append(["critic", words])
    return facts(record, own)


def facts(record: Mapping[str, Any], own: Sequence[list[str]]) -> list[list[str]]:
    """Return what every report says of files and making; ``own`` rows are of its kind alone."""
    generated, reference = record["files"]["generated"], record["files"]["reference"]
    attributes = generated["attributes"]
    machine, settings = record["machine"], record["settings"]
    samples = f"{record['kind']}s"
    rows = [
        ["generated file", f"{generated['path']} ({generated['layout']} layout)"],
        ["its sha256", generated["sha256"]],
        [f"its {samples}", f"{generated['used']:,} used of {generated[samples]:,}"],
        ["made by", attributes.get("generator", "not said in the file")],
        ["its seed", attributes.get("seed", "not said in the file")],
        ["its law of conditions", attributes.get("conditions", "not said in the file")],
        ["reference file", f"{reference['path']} ({reference['layout']} layout)"],
        ["its sha256", reference["sha256"]],
        [f"its {samples}", f"{reference['used']:,} used of {reference[samples]:,}"],
        ["which of them", reference["selection"]],
        ["made by", reference["attributes"].get("generator", "not said in the file")],
        *own,
        ["seed of this report", str(settings["seed"])],
        [
            "classifiers",
            f"preset {settings['preset']}, {settings['classifier_seeds']} seeds each"
            if record["classifiers"]
            else "left out",
        ],
        [
            "errors and floors",
            f"{settings['resamplings']} bootstrap resamplings, {settings['halvings']} halvings",
        ],
        [
            "machine",
            f"{machine['processor']}, {machine['cores']} cores, {machine['torch_threads']} torch "
            f"threads, accelerator {machine['accelerator'] or 'none'}, {machine['system']}",
        ],
        ["versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())],
        [
            "record",
            f"written by emulators {record['versions']['emulators']}, format version "
            f"{record['format_version']}",
        ],
        ["command", record["command"]],
        ["made", f"{record['created']}, in {record['seconds']:.0f} s"],
    ]
    if attributes.get("extrapolated"):
        rows.insert(6, ["beyond its training", attributes["extrapolated"]])
    return rows


def summary(record: Mapping[str, Any]) -> str:
    """Return the verdict in one sentence."""
    counts = {s: sum(v["status"] == s for v in record["verdict"]) for s in STATUS}
    text = f"{counts['good']} of {len(record['verdict'])} checks are good"
    if counts["fair"]:
        text += f", {counts['fair']} differ{'s' if counts['fair'] == 1 else ''} measurably"
    if counts["poor"]:
        text += f", {counts['poor']} fail{'s' if counts['poor'] == 1 else ''}"
    if counts["unclear"]:
        text += f", {counts['unclear']} cannot be told at this n"
    return text + "."


def sentence(line: Mapping[str, str]) -> str:
    """Return the text of a line of a verdict without the name that stands before it in a report."""
    name = line["what"].rpartition(": ")[2]  # "fault: energy scale", or a channel before it
    text = line["text"]
    if text.lower().startswith(f"{name.lower()}: "):
        text = text[len(name) + 2 :]
    return text[:1].upper() + text[1:]


Part = tuple[str, Sequence[str], Iterable[Sequence[str]], str]  # title, headings, rows, note


def markdown(record: Mapping[str, Any], own: Sequence[Part] = ()) -> str:
    """Return the report of showers as Markdown; ``own`` are parts of its preset."""
    return document(
        record,
        [
            ("Headline figures", HEADINGS, headline(record), NOTE),
            *([diagnosis_part(record)] if record["diagnosis"] else []),
            *own,
            *throughput_parts(record),
            ("Observables", OBSERVABLE_HEADINGS, observable_rows(record), OBSERVABLE_NOTE),
            *joint_parts(record),
            ("Layer energies", LAYER_HEADINGS, layer_rows(record), LAYER_NOTE),
            ("What was compared", ("what", "value"), shower_facts(record), ""),
        ],
    )


def document(record: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """Return a report as Markdown: verdict, then parts with a title, a table and a note each."""
    lines = [f"# Benchmark of generated {record['kind']}s", "", summary(record), ""]
    lines += [line for w in record["warnings"] for line in (f"**Warning.** {w}", "")]
    lines += [
        f"- **{STATUS[v['status']]}** ({v['what']}): {sentence(v)}" for v in record["verdict"]
    ]
    for title, headings, rows, note in parts:
        lines += ["", f"## {title}", ""]
        for row in (headings, ["---"] * len(headings), *rows):
            lines.append("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |")
        lines += ["", note] if note else []
    return "\n".join(lines) + "\n"


NOTE = (
    "The floor is the same metric between two disjoint halves of the reference: the best value "
    "that can be measured. Distances shrink and AUCs grow with n, so compare at equal n. Errors "
    "are standard deviations: of distances and deviations over bootstrap resamplings, of "
    "classifiers over seeds (of one training); of means over observables or bins, the mean of "
    "their errors, as if all were correlated; of FPD to coverage, and of the critic's features, "
    "over random halves of both samples. χ² / degrees of freedom is 1 for a perfect emulator; "
    "rank correlations are Spearman's; the critic is a network that was trained on showers of the "
    "reference alone. FPD and KPD follow JetNet's recipe with sizes that fit n; below 50,000 "
    "showers a side compare them with their floor, not with published figures."
)
