"""The frame of every report: one self-contained HTML page with navigation, tables and figures.

The page needs no other file, no network and no script; where scripts run, a click or Enter on the
head of a column sorts its table.
"""

import html as escape
from collections.abc import Iterable, Mapping, Sequence

from emulators.benchmarks.judge import STATUS

__all__ = ["Part", "figure", "folded", "frame", "judged", "notes", "table"]

Part = tuple[str, Sequence[str], Sequence[Sequence[str]], str]  # title, headings, rows, note

_MARK = {"good": "✓", "fair": "≈", "poor": "✗", "unclear": "?"}
_LONG = 40  # characters; a longer cell of a table of numbers is prose, and broken into lines
_WIDE = 10  # columns; a wider table is printed smaller


def frame(title: str, heading: str, subject: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Return a page: title of the window, heading, subject, sections (key, title, content)."""
    title, heading, subject = (escape.escape(text) for text in (title, heading, subject))
    named = [(key, escape.escape(name), content) for key, name, content in sections]
    navigation = "".join(f'<a href="#{key}">{name}</a>' for key, name, _ in named)
    body = "".join(
        f'<section id="{key}"><h2>{name}</h2>{content}</section>' for key, name, content in named
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><header><h1>{heading}</h1>"
        f'<p>{subject}</p></header><nav aria-label="sections">{navigation}</nav>'
        f"<main>{body}</main><script>{_SCRIPT}</script></body></html>\n"
    )


def judged(warnings: Sequence[str], lead: str, lines: Sequence[Mapping[str, str]]) -> str:
    """Return warnings, a sentence, and lines with a status, what it is of, and a text."""
    above = "".join(
        f"<p class=warning><strong>Warning.</strong> {escape.escape(w)}</p>" for w in warnings
    )
    items = "".join(
        f'<li class="{v["status"]}"><span class=mark aria-hidden=true>{_MARK[v["status"]]}</span>'
        f"<div><strong>{STATUS[v['status']]}.</strong> {escape.escape(v['text'])}</div></li>"
        for v in lines
    )
    above += f"<p class=lead>{escape.escape(lead)}</p>" if lead else ""
    return f"{above}<ul class=verdict>{items}</ul>" if items else above


def table(headings: Sequence[str], *groups: Iterable[Sequence[str]]) -> str:
    """Return a table; its first column names the rows.

    Groups of rows stay together when the table is sorted.  Tables of two columns are lists of
    facts whose rows follow on each other, and are not sorted.
    """
    head = "".join(f"<th scope=col>{escape.escape(h)}</th>" for h in headings)
    kind = "words" if len(headings) == 2 else "numbers" if len(headings) < _WIDE else "numbers wide"
    bodies = "".join(f"<tbody>{''.join(map(_row, rows))}</tbody>" for g in groups if (rows := [*g]))
    return (
        f'<div class=scroll tabindex=0><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"{bodies}</table></div>"
    )


def _row(row: Sequence[str]) -> str:
    cells = "".join(
        f"<td{' class=prose' if len(c) > _LONG else ''}>{escape.escape(c)}</td>" for c in row[1:]
    )
    return f"<tr><th scope=row>{escape.escape(row[0])}</th>{cells}</tr>"


def notes(text: str) -> str:
    """Return what is to be known about a table, a paragraph a line."""
    return "".join(f"<p class=note>{escape.escape(line)}</p>" for line in text.splitlines())


def folded(part: Part) -> str:
    """Return a part's table with its note, folded under its title."""
    title, headings, rows, note = part
    content = table(headings, rows) + notes(note)
    return f"<details><summary>Table: {escape.escape(title)}</summary>{content}</details>"


def figure(source: str, caption: str) -> str:
    """Return a figure with its caption."""
    kind = "photo" if source.startswith("data:image/png") else "drawing"
    text = escape.escape(caption)
    return (
        f'<figure class="{kind}"><div class=scroll tabindex=0><img src="{source}" alt="{text}">'
        f"</div><figcaption>{text}</figcaption></figure>"
    )


# Numbers sort as numbers, whatever stands behind them (an error, a unit), before words; cells that
# hold no value come last either way.  A dash alone is none, a typographic minus is a minus.
_SCRIPT = r"""
function key(cell) {
  const text = cell.textContent.trim().replace(/[−–]/g, "-").replace(/,(?=\d{3})/g, "");
  const number = parseFloat(text.replace(/^more than /, "").replace("infinite", "Infinity"));
  if (!Number.isNaN(number)) return [0, number];
  return /[^-\s]/.test(text) ? [1, text] : [2, ""];
}
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
for (const head of document.querySelectorAll("table.numbers thead th")) {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    for (const group of head.closest("table").tBodies) {
      const rows = [...group.rows].map((row) => [row, ...key(row.cells[head.cellIndex])]);
      rows.sort(([, kindA, a], [, kindB, b]) => {
        const order = kindA && kindB ? a.localeCompare(b, "en", {numeric: true}) : compare(a, b);
        return kindA - kindB || (falling ? -order : order);
      });
      group.append(...rows.map(([row]) => row));
    }
  });
}
"""

_STYLE = """
:root{--ink:#1b1f24;--soft:#57606a;--paper:#fff;--card:#f6f7f9;--line:#d5d9de;--link:#00629a;
--good:#1a7f4b;--poor:#b3261e;--unclear:#8a6100;--shade:rgb(0 0 0/.18)}
@media screen and (prefers-color-scheme:dark){:root{--ink:#dfe3e8;--soft:#9aa4af;--paper:#14171a;
--card:#1d2126;--line:#363c43;--link:#6cbcf0;--good:#57c78a;--poor:#ff8a80;--unclear:#e3b341;
--shade:rgb(255 255 255/.22)}}
*{box-sizing:border-box}
html{scroll-padding-top:3.2rem}
body{margin:0;background:var(--paper);color:var(--ink);overflow-wrap:break-word;
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main{max-width:74rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:1.8rem;line-height:1.2;margin:0}
header p{color:var(--soft);margin:.4rem 0 1rem}
h2{font-size:1.35rem;margin:2.6rem 0 .8rem;padding-top:.4rem;border-top:1px solid var(--line)}
h3{font-size:1.08rem;margin:1.8rem 0 .4rem}
nav{position:sticky;top:0;z-index:2;background:var(--paper);border-bottom:1px solid var(--line);
display:flex;gap:.15rem .8rem;overflow-x:auto;white-space:nowrap;scrollbar-width:none;
font-size:.9rem;padding:.55rem max(1.25rem,calc((100vw - 74rem)/2 + 1.25rem))}
a{color:var(--link)}nav a{text-decoration:none}nav a:hover{text-decoration:underline}
p,ul,figcaption{max-width:52rem}
.lead{font-size:1.15rem;font-weight:600;margin:.4rem 0 .8rem}
.verdict{list-style:none;margin:0;padding:0;display:grid;gap:.55rem;max-width:60rem}
.verdict li{display:flex;gap:.8rem;background:var(--card);border-left:4px solid var(--line);
border-radius:4px;padding:.6rem .9rem}
.verdict li div{min-width:0}
.mark{font-weight:700;font-size:1.1rem;flex:0 0 1.1rem;text-align:center}
.verdict .good{border-color:var(--good)}.good .mark{color:var(--good)}
.verdict .poor{border-color:var(--poor)}.poor .mark{color:var(--poor)}
.verdict :is(.fair,.unclear){border-color:var(--unclear)}
:is(.fair,.unclear) .mark{color:var(--unclear)}
.warning{background:var(--card);border:1px solid var(--poor);border-radius:4px;padding:.7rem .9rem}
/* a shade at the right says that there is more to scroll to */
.scroll{overflow-x:auto;
background:linear-gradient(to left,var(--paper) 50%,transparent) right/2.5rem 100% no-repeat local,
linear-gradient(to left,var(--shade),transparent) right/.7rem 100% no-repeat}
summary{cursor:pointer;color:var(--link)}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:.36rem .4rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
tbody+tbody{border-top:2px solid var(--soft)}
tbody th{font-weight:500}
.numbers td{white-space:nowrap}
.numbers tbody th{min-width:7.5rem;position:sticky;left:0;background:var(--paper)}
.numbers .prose{white-space:normal;min-width:14rem}
.words tbody th{white-space:nowrap;color:var(--soft)}.words td{overflow-wrap:anywhere}
thead button{all:unset;cursor:pointer}
thead button:hover{text-decoration:underline}
thead button:focus-visible{outline:2px solid var(--link);outline-offset:2px}
[aria-sort=ascending] button::after{content:" ▲"}[aria-sort=descending] button::after{content:" ▼"}
figure{margin:1rem 0}
figure img{display:block;max-width:100%;height:auto}
.photo img{background:#fff;border-radius:6px}
figcaption,.note{color:var(--soft);font-size:.9rem;margin-top:.5rem}
@media (min-width:48.01rem){nav{flex-wrap:wrap}html{scroll-padding-top:5rem}}
@media (max-width:48rem){h1{font-size:1.45rem}.words tbody th{white-space:normal}
figure .scroll:focus img{max-width:none}header p::after{content:". Tap a figure to enlarge it."}}
@media print{nav{display:none}body{font-size:10.5pt}main,header{max-width:none;padding:0}
p,ul,figcaption,.verdict{max-width:none}
figure,tr,li,thead{break-inside:avoid}h2,h3,summary,section>p:not(.note){break-after:avoid}
figure img{max-height:22cm}header p::after{content:none!important}
.scroll{overflow:visible;background:none}table{font-size:7.5pt}.wide{font-size:5.8pt}
.numbers td,.numbers th{white-space:normal;padding:.12rem .3rem}
.wide td,.wide th{padding:.12rem .15rem!important}
.numbers tbody th{min-width:0;position:static}.numbers .prose{min-width:6rem}
/* a head with a box in it would not be repeated on every sheet */
thead button{display:contents}[aria-sort] button::after{content:none!important}}
"""
