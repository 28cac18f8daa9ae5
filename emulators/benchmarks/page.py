"""The report as one self-contained HTML page, drawn from the record.

The frame of every report, and the page of showers; `emulators.benchmarks.field_report` fills it
for fields.
"""

import html as escape
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emulators.benchmarks import plots
from emulators.benchmarks.calochallenge.tables import calochallenge_parts
from emulators.benchmarks.diagnosis.tables import diagnosis_part
from emulators.benchmarks.drawing import shown
from emulators.benchmarks.speed import plots as throughput_plots
from emulators.benchmarks.speed.tables import throughput_parts
from emulators.benchmarks.tables import (
    HEADINGS,
    LAYER_HEADINGS,
    LAYER_NOTE,
    NOTE,
    OBSERVABLE_HEADINGS,
    STATUS,
    Part,
    headline,
    layer_rows,
    observable_rows,
    shower_facts,
    summary,
)

__all__ = ["figure", "frame", "html", "judged", "page", "table", "throughput", "verdict"]

_MARK = {"good": "✓", "poor": "✗", "unclear": "?"}

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
        "between them. Look at the steep ends, where rare showers are.",
    ),
    "position": (
        "Centres",
        "Centre of energy across the shower axis. A beam on the axis gives a peak at zero, "
        "symmetric to both sides.",
    ),
    "width": (
        "Widths",
        "Lateral width of each layer. A peak at zero holds showers with a single cell hit in that "
        "layer.",
    ),
    "depth": (
        "Depth",
        "How deep the energy lies, in units of layers: moments of the longitudinal profile.",
    ),
    "cells": (
        "Cells hit",
        "Fraction of the cells of a layer with any energy, and above a threshold: the many cells "
        "with very little energy are what emulators find hardest.",
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
            table(HEADINGS, headline(record)) + f"<p class=note>{NOTE}</p>",
        ),
        ("diagnosis", "Diagnosis", _diagnosis(record)),
        (
            "response",
            "Energy response",
            figure(
                plots.response(layers),
                "Response and resolution of the whole shower in logarithmic bins of incident "
                "energy; below, emulator over reference with the band of ±2 %. Points should lie "
                "on each other.",
            ),
        ),
        (
            "layers",
            "Layer energies",
            figure(
                plots.layer_energies(layers),
                "Mean and width of each layer's share of the incident energy, emulator over "
                "reference. Points should lie in the band of ±2 %, or within their bootstrap "
                "errors of it." + drawn,
            )
            + "<details><summary>Table of layer energies</summary>"
            + table(LAYER_HEADINGS, layer_rows(record))
            + f"<p class=note>{LAYER_NOTE}</p></details>",
        ),
        (
            "average",
            "Average showers",
            figure(
                plots.average_showers(record["average_shower"]),
                "Mean energy of every cell. The ratio should be white; colour in the outskirts is "
                "a halo that is too wide or too narrow." + drawn,
            ),
        ),
    ]
    if record["classifiers"]:
        sections.append(
            (
                "classifiers",
                "Classifiers",
                figure(
                    plots.classifier_curves(record["classifiers"]),
                    "Scores and ROC curves on showers the classifier was not trained on (first "
                    "seed). If it cannot tell, both score histograms agree and the curve is the "
                    "diagonal.",
                ),
            )
        )
    if parts := calochallenge_parts(record):
        sections.append(("calochallenge", "CaloChallenge", _parts(parts)))
    sections.append(("observables", "Observables", _observables(record)))
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


def frame(title: str, heading: str, subject: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Return a page that needs no other file: title of the window, heading, subject, sections."""
    title, heading, subject = (escape.escape(text) for text in (title, heading, subject))
    navigation = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    body = "".join(
        f'<section id="{key}"><h2>{title}</h2>{content}</section>'
        for key, title, content in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{_CSS}</style></head><body><header><h1>{heading}</h1>"
        f"<p>{subject}</p></header><nav>{navigation}</nav>"
        f"<main>{body}</main></body></html>\n"
    )


def _subject(record: Mapping[str, Any], samples: str) -> str:
    generated, reference = record["files"]["generated"], record["files"]["reference"]
    name = generated["attributes"].get("emulator")
    made = f"by emulator {name} " if name else ""
    return (
        f"{generated['used']:,} {samples} generated {made}against {reference['used']:,} of the "
        f"reference, {record['created'][:10]}"
    )


def verdict(record: Mapping[str, Any]) -> str:
    """Return warnings, the sentence and the lines of the verdict."""
    return judged(record["warnings"], summary(record), record["verdict"])


def judged(warnings: Sequence[str], lead: str, lines: Sequence[Mapping[str, str]]) -> str:
    """Return warnings, a sentence, and lines with a status, what it is of, and a text."""
    above = "".join(
        f"<p class=warning><strong>Warning.</strong> {escape.escape(w)}</p>" for w in warnings
    )
    items = "".join(
        f'<li class="{v["status"]}"><span class=mark aria-hidden=true>{_MARK[v["status"]]}</span>'
        f"<div><strong>{STATUS[v['status']]}: {escape.escape(v['what'])}.</strong> "
        f"{escape.escape(v['text'])}</div></li>"
        for v in lines
    )
    return f"{above}<p class=lead>{escape.escape(lead)}</p><ul class=verdict>{items}</ul>"


def _diagnosis(record: Mapping[str, Any]) -> str:
    _, headings, rows, note = diagnosis_part(record)
    return _folded("faults", headings, rows, note)


def _parts(parts: Sequence[Part]) -> str:
    """Return parts of a document as HTML."""
    return "".join(
        f"<h3>{escape.escape(title)}</h3>{_folded(title, headings, list(rows), note)}"
        for title, headings, rows, note in parts
    )


def _folded(what: str, headings: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    """Return a table with its note; a long one is folded."""
    content = f"{table(headings, rows)}<p class=note>{escape.escape(note)}</p>"
    if len(rows) <= 30:
        return content
    return f"<details><summary>Table of {escape.escape(what)}</summary>{content}</details>"


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
    return "".join(parts) + (
        "<h3>Distances</h3>" + rows + "<p class=note>Separation power in up to 50 bins that hold "
        "equally much of the reference, under- and overflow counted. Wasserstein distance in the "
        "unit of the observable.</p>"
    )


def throughput(record: Mapping[str, Any]) -> str:
    """Return the figure and the tables of speed, each with what to know about it."""
    found = record["throughput"]
    drawn = ""
    if found["emulator"]:
        drawn = figure(
            throughput_plots.speed(found, record["kind"]),
            "Speed against batch size, with errors; hollow: the largest batch into a file. Band: "
            "the simulation and its standard error, where it was run here. Right: several "
            "processes at once, against as many times the speed of one.",
        )
    text: list[str] = []
    for title, headings, rows, note in throughput_parts(record):
        above = f"<h3>{title}</h3>" if text else ""
        notes = "".join(f"<p class=note>{escape.escape(x)}</p>" for x in note.splitlines())
        text.append(above + table(headings, rows) + notes)
    return "".join([text[0], drawn, *text[1:]])


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its first column names the rows."""
    head = "".join(f"<th scope=col>{escape.escape(h)}</th>" for h in headings)
    body = "".join(
        "<tr>"
        + f"<th scope=row>{escape.escape(row[0])}</th>"
        + "".join(f"<td>{escape.escape(str(c))}</td>" for c in row[1:])
        + "</tr>"
        for row in rows
    )
    kind = "words" if len(headings) == 2 else "numbers"
    return (
        f'<div class=scroll tabindex=0><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def figure(source: str, caption: str) -> str:
    """Return a figure with its caption."""
    kind = "photo" if source.startswith("data:image/png") else "drawing"
    text = escape.escape(caption)
    return (
        f'<figure class="{kind}"><div class=scroll tabindex=0><img src="{source}" alt="{text}">'
        f"</div><figcaption>{text}</figcaption></figure>"
    )


_CSS = """
:root{--ink:#1b1f24;--soft:#57606a;--paper:#fff;--card:#f6f7f9;--line:#d5d9de;--link:#00629a;
--good:#1a7f4b;--poor:#b3261e;--unclear:#8a6100}
@media screen and (prefers-color-scheme:dark){:root{--ink:#dfe3e8;--soft:#9aa4af;--paper:#14171a;
--card:#1d2126;--line:#363c43;--link:#6cbcf0;--good:#57c78a;--poor:#ff8a80;--unclear:#e3b341}}
*{box-sizing:border-box}
html{scroll-padding-top:3.2rem}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main{max-width:72rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:1.8rem;line-height:1.2;margin:0}
header p{color:var(--soft);margin:.4rem 0 1rem}
h2{font-size:1.35rem;margin:2.6rem 0 .8rem;padding-top:.4rem;border-top:1px solid var(--line)}
h3{font-size:1.08rem;margin:1.8rem 0 .4rem}
nav{position:sticky;top:0;z-index:1;background:var(--paper);border-bottom:1px solid var(--line);
display:flex;gap:.2rem .95rem;overflow-x:auto;white-space:nowrap;scrollbar-width:none;
font-size:.95rem;
padding:.55rem max(1.25rem,calc((100vw - 72rem)/2 + 1.25rem))}
a{color:var(--link)}nav a{text-decoration:none}nav a:hover{text-decoration:underline}
.lead{font-size:1.15rem;font-weight:600;margin:.4rem 0 .8rem}
.verdict{list-style:none;margin:0;padding:0;display:grid;gap:.55rem}
.verdict li{display:flex;gap:.8rem;background:var(--card);border-left:4px solid var(--line);
border-radius:4px;padding:.6rem .9rem}
.mark{font-weight:700;font-size:1.1rem}
.good{border-color:var(--good)!important}.good .mark{color:var(--good)}
.poor{border-color:var(--poor)!important}.poor .mark{color:var(--poor)}
.unclear{border-color:var(--unclear)!important}.unclear .mark{color:var(--unclear)}
.warning{background:var(--card);border:1px solid var(--poor);border-radius:4px;padding:.7rem .9rem}
.scroll{overflow-x:auto}
summary{cursor:pointer;color:var(--link)}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.38rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{color:var(--soft);font-weight:600;white-space:nowrap}
tbody th{font-weight:500}
.numbers td{white-space:nowrap}
.numbers tbody th{min-width:7.5rem}
.words tbody th{white-space:nowrap;color:var(--soft)}.words td{overflow-wrap:anywhere}
figure{margin:1rem 0}
figure img{display:block;width:100%;min-width:44rem;height:auto}
.photo img{background:#fff;border-radius:6px}
figcaption,.note{color:var(--soft);font-size:.9rem;margin-top:.5rem;max-width:60rem}
@media (max-width:40rem){h1{font-size:1.45rem}.words tbody th{white-space:normal}
th,td{padding:.32rem .5rem}}
@media print{nav{display:none}body{font-size:10.5pt}main,header{max-width:none;padding:0}
figure,tr,li{break-inside:avoid}h2,h3{break-after:avoid}figure img{min-width:0}
.scroll{overflow:visible}.numbers td,.numbers th{white-space:normal;padding:.12rem .3rem}
.numbers tbody th{min-width:0}
table{font-size:7.5pt}}
"""
