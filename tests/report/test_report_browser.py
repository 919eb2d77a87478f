"""Pages in a browser: nothing overflows at 1400 and 390 px, text has contrast in both schemes, pictures have words for
who does not see them, and nothing is asked of the network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
import report_values as values

from edgeft.report import data_page, html

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: widths in px, each in one of the colour schemes
VIEWS = ((1400, "light"), (390, "dark"))
#: contrast of text that WCAG 2.2 asks for at level AA (1.4.3): of usual size, and of 24 px or 18.66 px bold
USUAL, LARGE = 4.5, 3.0

MEASURE = """
const pages = JSON.parse(document.getElementById("pages").textContent), results = {};
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const colours = new Map();
function rgba(colour) {
  if (!colours.has(colour)) colours.set(colour, drawn(colour));
  return colours.get(colour);
}
function drawn(colour) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = "#000";
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3])).concat(1);
const linear = v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
const luminance = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
function contrast(a, b) {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
}
function background(element, view) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(rgba(view.getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
}
function scrolls(element, view) {
  for (let at = element.parentElement; at; at = at.parentElement)
    if (["auto", "scroll", "hidden"].includes(view.getComputedStyle(at).overflowX) && at.tagName != "BODY") return true;
  return false;
}
function examine(frame) {
  const view = frame.contentWindow, page = frame.contentDocument, root = page.documentElement;
  const outside = [], faint = [], silent = [];
  for (const element of page.body.querySelectorAll("*")) {  // a scroll bar takes its part of the width
    const box = element.getBoundingClientRect();
    if (box.width && (box.right > root.clientWidth + 1 || box.left < -1) && !scrolls(element, view))
      outside.push(element.tagName + "." + element.getAttribute("class") + " " + element.textContent.slice(0, 40));
    if (element.tagName == "IMG" && !element.alt.trim()) silent.push(element.outerHTML.slice(0, 80));
    if (element.tagName == "svg" && !(element.getAttribute("aria-label") || "").trim()) silent.push("svg");
    const words = [...element.childNodes].filter(n => n.nodeType == 3).map(n => n.textContent).join("").trim();
    if (!words || !box.width) continue;
    const style = view.getComputedStyle(element), below = background(element, view);
    const isDrawn = element instanceof view.SVGElement;
    const ratio = contrast(over(rgba(isDrawn ? style.fill : style.color), below), below);
    const size = parseFloat(style.fontSize), bold = parseInt(style.fontWeight) >= 700;
    const large = !isDrawn && (size >= 24 || (bold && size >= 18.66));
    if (ratio < (large ? LARGE : USUAL)) faint.push(ratio.toFixed(2) + " " + words.slice(0, 50));
  }
  return {
    width: view.innerWidth, dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    overflow: root.scrollWidth - root.clientWidth, outside, faint, silent,
    texts: page.body.innerText.length, requests: view.performance.getEntriesByType("resource").map(entry => entry.name),
  };
}
for (const [key, {source, width, scheme}] of Object.entries(pages)) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:900px;border:0;color-scheme:${scheme}`;
  frame.onload = () => {
    results[key] = examine(frame);
    if (Object.keys(results).length == Object.keys(pages).length)
      document.getElementById("results").textContent = "RESULTS" + JSON.stringify(results) + "END";
  };
  frame.srcdoc = source;
  document.body.append(frame);
}
""".replace("LARGE", str(LARGE)).replace("USUAL", str(USUAL))


def full_page() -> str:
    """A bundle's page with every card."""
    extras = values.extras()
    differ, alike, text = extras["samples"]
    extras["samples"] = [
        {**differ, "group": "flipped", "source": f"{'a-long-name-' * 5}.png"},
        {**alike, "group": "worst", "source": "b.png"},
        {**differ, "group": "worst", "wide": True},
        *(differ, alike, text),
    ]
    extras["worst"] = [{"group": "worst", "position": 3, "label": "RBC", "float": "RBC", "quantized": "WBC"}]
    extras["confusion"] = {"labels": ["RBC", "WBC"], "float": [[70, 0], [3, 60]], "quantized": [[69, 1], [30, 33]]}
    manifest = {**values.manifest(), "graphs": [{"name": "main", "file": "model.onnx"}]}
    return html.render(values.report(), manifest, values.summary(), extras)


def checked_data() -> str:
    """The page of `edgeft data check`."""
    picture = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    overview: dict[str, Any] = {
        "name": "cells", "path": "data/cells", "format": "image-folder", "task": "classify", "inputs": "32 x 32 pixels",
        "splits": {"train": 90, "val": 10}, "labels": ["RBC", "WBC"], "left_out": ["1 file is no picture"], "leaks": [],
        "imbalance": ["WBC has 3 % of the samples"], "values": {}, "notes": ["read as RGB"],
        "counts": {"unit": "samples", "by_label": {"RBC": {"train": 87, "val": 9}, "WBC": {"train": 3, "val": 1}}},
    }  # fmt: skip
    drawn = [
        {"image": picture, "caption": "RBC", "split": "train", "source": "data/cells/train/RBC/1.png"},
        {"rows": [("age", "3")], "caption": "", "split": "val", "source": "t.csv:3", "legend": {"RBC": (255, 0, 0)}},
    ]
    return data_page.render(overview, drawn, {"speed": np.arange(9.0)})


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    summary = values.summary()
    next(iter(summary["schemes"].values()))["auto"] = values.auto()
    run = html.render_run(summary, values.history(), 'task = "classify"\n' + "x" * 300)
    return {"bundle": full_page(), "run": run, "data": checked_data()}


#: a page with one fault of each kind, which the measurement has to find
FAULTY = """<!doctype html><body style="background:#fff"><p style="color:#aaa">faint</p>
<div style="width:2000px">wide</div>
<svg width="9" height="9"></svg><img src="http://127.0.0.1:9/x.png"><p style="color:#767676">just dark enough</p>"""


@pytest.fixture(scope="module")
def measured(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the browser measured, by "page width scheme"; all pages in one browser, each in a frame of its width."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    jobs = {
        f"{name} {width} {scheme}": {
            # without its policy, so that a request would be made
            "source": re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", source),
            "width": width,
            "scheme": scheme,
        }
        for name, source in {**pages, "faulty": FAULTY}.items()
        for width, scheme in VIEWS
    }
    folder = tmp_path_factory.mktemp("browser")
    texts = json.dumps(jobs).replace("<", "\\u003c")
    outer = f'<!doctype html><script type="application/json" id="pages">{texts}</script><p id="results"></p>'
    (folder / "outer.html").write_text(f"{outer}<script>window.onload=()=>{{{MEASURE}}}</script>", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    flags += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000", "--dump-dom"]
    dumped = subprocess.run(
        [browser, *flags, (folder / "outer.html").as_uri()], capture_output=True, text=True, timeout=300, check=False
    )
    answer = re.search(r"RESULTS(\{.*?\})END", dumped.stdout)
    assert answer, dumped.stderr[-2000:]
    results: dict[str, dict[str, Any]] = json.loads(answer[1].replace("&lt;", "<").replace("&gt;", ">"))
    assert set(results) == set(jobs)
    for key, job in jobs.items():
        assert results[key]["width"] == job["width"] and results[key]["dark"] is (job["scheme"] == "dark")
    return results


def shown(measured: dict[str, dict[str, Any]], *faults: str) -> dict[str, list[Any]]:
    """The faults of each page that has any."""
    listed = {key: [page[fault] for fault in faults] for key, page in measured.items() if not key.startswith("faulty")}
    return {key: values for key, values in listed.items() if any(values)}


@pytest.mark.slow
def test_the_measurement_finds_faults(measured: dict[str, dict[str, Any]]) -> None:
    for width, scheme in VIEWS:
        page = measured[f"faulty {width} {scheme}"]
        assert page["overflow"] > 0 and len(page["outside"]) == 1 and len(page["silent"]) == 2, page
        assert len(page["faint"]) == 1 and page["faint"][0].endswith("faint"), page
        assert page["requests"] == ["http://127.0.0.1:9/x.png"]


@pytest.mark.slow
def test_nothing_is_wider_than_the_screen(measured: dict[str, dict[str, Any]]) -> None:
    assert shown(measured, "outside", "overflow") == {}


@pytest.mark.slow
def test_text_has_the_contrast_that_wcag_asks_for(measured: dict[str, dict[str, Any]]) -> None:
    assert shown(measured, "faint") == {}


@pytest.mark.slow
def test_pictures_have_words_and_nothing_is_loaded(measured: dict[str, dict[str, Any]]) -> None:
    assert shown(measured, "silent", "requests") == {}


def test_pictures_have_words_and_links_stay_on_the_page(pages: dict[str, str]) -> None:
    """The same without a browser."""
    for source in pages.values():
        assert re.search(r"default-src 'none'", source)
        pictures = re.findall(r"<img\b[^>]*>", source)
        charts = re.findall(r"<svg\b[^>]*>", source)
        assert pictures or charts
        assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)
        assert all(re.search(r'aria-label="[^"]+"', chart) and 'role="img"' in chart for chart in charts)
        assert not re.findall(r'(?:src|href|srcset|poster|action)="(?!data:|#)[^"]*"', source)
        assert not re.findall(r"url\((?!#)[^)]*\)|@import", source)
