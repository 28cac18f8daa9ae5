"""The page of a report: what it is made of, and how Chromium lays it out, where there is one."""

import base64
import html
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from emulators.benchmarks import report as reports
from emulators.benchmarks import write
from emulators.benchmarks.chapters import chapters_of
from emulators.benchmarks.drawing import _NIGHT, INK, figure_of, svg
from emulators.benchmarks.frame import frame, table
from emulators.benchmarks.report import benchmark
from emulators.benchmarks.suites import page as suite_page
from emulators.data.convert import convert

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "photon_showers.h5"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
WIDTHS = (375, 800, 1400)  # of a phone, a tablet, a desk

chromium_only = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser is installed (one of {', '.join(BROWSERS)})"
)


ASKED = ("samples", "response", "profiles", "correlations", "features", "power", "pictures")


def report(source, folder, *parts):
    """Benchmark one part of a file against another, and draw few panels of a kind."""
    files = [convert(source, folder / f"{i}.h5", rows=rows) for i, rows in enumerate(parts)]
    asked = {k: [c for c in chapters_of(k) if c.name in ASKED] for k in ("shower", "field")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports, "HALVINGS", 2)
        patch.setattr(reports, "RESAMPLINGS", 10)
        patch.setattr(write, "DRAWN", 2)
        patch.setattr(reports, "chapters_of", lambda kind: asked[kind])
        benchmark(*files, folder / "report", classifiers=False, speed=False, beside=False)
    return folder / "report" / "report.html"


@pytest.fixture(scope="module")
def shower_page(tmp_path_factory):
    return report(SAMPLE, tmp_path_factory.mktemp("showers"), "0:200", "200:400")


def metric(name, group, value, **more):
    numbers = {"error": 0.1 * value, "floor": 0.02, "floor_error": 0.001, "n": 1000, "unit": ""}
    label = {"classifiers/high": "AUC high", "speed/time": "ms, largest batch"}.get(name, name)
    return {"name": name, "label": label, "group": group, "value": value} | numbers | more


def suite_record():
    """Return the record of a suite of three systems, as far as its page needs it."""
    systems = [
        {
            "name": name,
            "metrics": [
                metric("classifiers/high", "Fidelity", auc),
                metric("observables/separation_power", "Fidelity", power),
                metric("ms, batch 1", "Cost", ms, floor=None, n=1),
                metric("speed/time", "Cost", ms / 10, floor=None, n=1000),
            ],
            "verdict": [{"status": "good"}],
            "simulation": 200.0,
        }
        for name, auc, power, ms in (("b <i>", 0.9, 0.3, 1.0), ("a", 0.6, 0.04, 9.0))
    ]
    return {
        "format_version": 2,
        "title": "Two & more",
        "kind": "shower",
        "systems": systems,
        "thresholds": [],
        "data": {"path": "x.h5", "samples": 9, "rows": {"test": 9}, "sha256": "0" * 64},
        "suite": {"benchmark": {"seeds": 1}},
        "machine": None,
        "command": "emulators benchmark run",
        "created": "2026-01-01T00:00:00",
    }


def test_a_suite_says_that_it_measures_one_channel_of_several():
    record = suite_record()
    page = suite_page.html({**record, "data": {**record["data"], "channels": ("vx", "vy")}})
    assert "the first channel alone, vx" in page
    page = suite_page.html({**record, "data": {**record["data"], "channels": ("counts",)}})
    assert "the first channel alone" not in page


class Anatomy(HTMLParser):
    """Count what a page holds, and where it points to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.images, self.tables = [], [], [], [], []
        self.sources, self.scripts, self.captions = [], 0, 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "img":
            self.images.append((given.get("alt"), [t for t, _ in self.open]))
        elif tag == "table":
            self.tables.append([(t, a.get("class")) for t, a in self.open])
        self.captions += tag == "figcaption"
        self.scripts += tag == "script"
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.sources += [v for k, v in attributes if k in ("src", "srcset", "poster", "data")]
        if tag not in ("img", "meta", "br"):
            self.open.append((tag, given))

    def handle_endtag(self, tag):
        last, _ = self.open.pop()
        assert last == tag


@pytest.fixture(scope="module")
def pages(shower_page, field_file, tmp_path_factory):
    return {
        "shower": shower_page.read_text(),
        "field": report(field_file, tmp_path_factory.mktemp("f"), "0:48", "48:96").read_text(),
        "suite": suite_page.html(suite_record()),
    }


@pytest.mark.parametrize("kind", ["shower", "field", "suite"])
def test_a_page_is_whole_and_needs_nothing_else(pages, kind):
    text = pages[kind]
    found = Anatomy(text)
    assert found.open in ([], [("!doctype", {})])
    assert found.scripts == 1
    assert found.images
    assert all(source.startswith("data:image/") for source in found.sources)
    bare = re.sub(r"data:image/[^\"]+", "", text)
    assert not re.search(r"https?:|url\(|@import|fetch\(|src=\"(?!\")", bare)
    for alt, around in found.images:
        assert len(alt) > 40  # says what to see
        assert "figure" in around
    assert found.captions == len(found.images)
    assert found.tables
    assert all(("div", "scroll") in around for around in found.tables)
    assert max(Counter(found.ids).values()) == 1
    assert [link[1:] for link in found.links if link.startswith("#")] == found.ids
    assert found.ids[0] == "verdict"


def test_what_is_no_system_stays_below_the_systems(pages):
    groups = re.findall(r"<tbody>(.*?)</tbody>", pages["suite"])
    names = [[html.unescape(n) for n in re.findall(r"row>(.*?)</th>", g)] for g in groups]
    below = ["floor: reference against itself", "n a sample"]
    assert names[:4] == [["b <i>", "a"], below, ["b <i>", "a"], ["simulation"]]


def test_every_ink_has_one_of_the_night():
    figure = figure_of(1, 1)
    figure.add_subplot().plot([0, 1], color=INK)
    text = base64.b64decode(svg(figure).split(",")[1]).decode()
    for day, night in _NIGHT.items():
        assert f'[style*="stroke: {day}"]{{stroke:{night} !important}}' in text
    assert len({*_NIGHT.values()}) == len(_NIGHT)


def chromium(page, *options):
    """Open a file in Chromium without a window, and return what it prints."""
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=10000",
        *options, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


def beside(page, folder, script="", anchor=""):
    """Write a page that shows another in frames of several widths, and a script run in each.

    Chromium's own window has a least width; what the inner script posts is written down in order.
    """
    (folder / "inner.html").write_text(f"{page.read_text()}<script>{script}</script>")
    frames = "".join(
        f'<iframe name="{w}" style="border:0;flex:none;width:{w}px;height:900px" '
        f'src="inner.html{anchor}"></iframe>'
        for w in WIDTHS
    )
    outer = folder / "outer.html"
    outer.write_text(
        '<!doctype html><meta name="color-scheme" content="light dark"><body style="margin:0;'
        f'display:flex;width:{sum(WIDTHS)}px"><script>addEventListener("message",e=>document.body.'
        'insertAdjacentHTML("beforeend",`<pre>${JSON.stringify(e.data)}</pre>`))</script>'
        f"{frames}"
    )
    return outer


def posted(dom):
    return [json.loads(html.unescape(text)) for text in re.findall(r"<pre>(\{.*?)</pre>", dom)]


@chromium_only
def test_nothing_overflows_a_phone_a_tablet_or_a_desk(shower_page, tmp_path):
    script = """
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    addEventListener("load", () => parent.postMessage({
      width: Number(name),
      given: document.documentElement.clientWidth,
      needed: document.documentElement.scrollWidth,
      wide: [...document.querySelectorAll(".scroll")].filter((b) => b.scrollWidth > b.clientWidth)
        .map((b) => b.firstChild.tagName),
      figures: Math.max(...[...document.images].map((i) => i.getBoundingClientRect().right)),
      drawn: [...document.images].every((i) => i.complete && i.naturalWidth > 0),
    }, "*"));
    """
    found = posted(chromium(beside(shower_page, tmp_path, script), "--dump-dom"))
    sizes = {one["width"]: one for one in found}
    assert sorted(sizes) == sorted(WIDTHS)
    for width, one in sizes.items():
        assert one["given"] == one["needed"] == width
        assert one["drawn"]
        assert one["figures"] <= width  # they shrink
        assert "IMG" not in one["wide"]
    assert "TABLE" in sizes[375]["wide"]  # and scrolls in a box of its own


@chromium_only
def test_figures_and_text_are_seen_by_day_and_by_night(shower_page, tmp_path):
    outer = beside(shower_page, tmp_path, anchor="#response")
    brightness = {}
    for night in (False, True):
        target = tmp_path / f"{night}.png"
        chromium(
            outer,
            f"--blink-settings=preferredColorScheme={0 if night else 1}",
            f"--window-size={sum(WIDTHS)},900",
            f"--screenshot={target}",
        )
        brightness[night] = imread(target)[..., :3].mean(2)
    edges = np.cumsum((0, *WIDTHS))
    for left, right in pairwise(edges):
        day, night = (brightness[k][:, left:right] for k in (False, True))
        paper = [np.median(day), np.median(night)]
        assert paper[0] > 0.95
        assert paper[1] < 0.15
        for seen, of in ((day, paper[0]), (night, paper[1])):
            inked = np.abs(seen - of) > 0.4
            assert 0.005 < inked.mean() < 0.5
            assert inked[450:].any()


CELLS = {  # what a cell may hold, in the order that the numbers have
    "minus": "−3.5 ± 0.2",
    "negative": "-1e-2",
    "none": "0",
    "small": "1.2e-4",
    "with error": "0.539 ± 0.006",
    "percent": "12 %",
    "limit": "more than 20",
    "many": "1,234 (test 60)",
    "millions": "1,234,567",
    "endless": "infinite",
}
WORDS = {"diverged": "diverged", "few": "n too small"}
NOTHING = {"dash": "-", "long dash": "–", "empty": ""}


@chromium_only
def test_a_click_on_a_head_sorts_and_another_reverses(tmp_path):
    cells = CELLS | WORDS | NOTHING
    names = sorted(cells, key=lambda name: (len(name), name))
    own = [["this", "7", ""], ["floor", "3", ""]]
    rows = [[name, cells[name], f"layer_{i}"] for i, name in enumerate(names)]
    page = tmp_path / "page.html"
    content = table(("name", "value", "layer"), own, rows) + table(("what", "value"), [["b", "2"]])
    page.write_text(
        frame("t", "h", "s", [("a", "A", content)])
        + """<script>
        const heads = [...document.querySelectorAll(".numbers th[scope=col]")];
        const found = [];
        for (const i of [1, 1, 2, 2, 0]) {
          heads[i].querySelector("button").click();
          found.push({
            sorted: heads.map((h) => h.getAttribute("aria-sort")),
            groups: [...document.querySelectorAll(".numbers tbody")].map((b) =>
              [...b.rows].map((r) => r.cells[0].textContent)),
          });
        }
        document.body.insertAdjacentHTML("beforeend", `<pre>${JSON.stringify({
          found, buttons: [...document.querySelectorAll("button")].map((b) => b.tabIndex),
        })}</pre>`);
        </script>"""
    )
    (given,) = posted(chromium(page, "--dump-dom"))
    assert given["buttons"] == [0] * 3  # reached by Tab, pressed by Enter; lists are not sorted
    up, down, layers, reversed_layers, by_name = given["found"]
    assert up["sorted"] == [None, "ascending", None]
    assert up["groups"][0] == ["floor", "this"]  # rows of a group stay in it
    empty = [name for name in names if name in NOTHING]  # as they stood
    assert up["groups"][1] == [*CELLS, *WORDS, *empty]
    assert down["sorted"] == [None, "descending", None]
    assert down["groups"][0] == ["this", "floor"]
    assert down["groups"][1] == [*reversed(CELLS), *reversed(WORDS), *empty]
    assert layers["sorted"] == [None, None, "ascending"]
    assert layers["groups"][1] == names  # layer_2 before layer_10
    assert reversed_layers["groups"][1] == names[::-1]
    assert by_name["groups"][1] == sorted(names)


@chromium_only
def test_sorting_loses_no_row_of_a_report(shower_page, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        shower_page.read_text()
        + '<script>for (const b of document.querySelectorAll("thead button")) b.click()</script>'
    )
    dom = chromium(page, "--dump-dom")
    before, after = (
        [Counter(re.findall(r"<tr>.*?</tr>", g)) for g in re.findall(r"<tbody>(.*?)</tbody>", text)]
        for text in (
            re.sub(r"<(\w+) (\w+)=(\w+)>", r'<\1 \2="\3">', shower_page.read_text()),
            dom,
        )
    )
    assert len(before) == len(after) > 3
    assert dom.count('aria-sort="ascending"') >= 4
    for one, other in zip(before, after):
        unescaped = [Counter({html.unescape(k): v for k, v in c.items()}) for c in (one, other)]
        assert unescaped[0] == unescaped[1]
