"""The page of `edgeft data check`: what was understood of data, and samples drawn with their labels."""

from __future__ import annotations

import base64
import io
import wave
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import page, plots, png, words
from .page import el

#: what the page says in its head that it was written by
GENERATOR = "edgeft data check"
#: labels in the table; the others are counted
MOST_LABELS = 60
#: characters of a text that are shown
MOST_CHARACTERS = 1200


def render(
    overview: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], traces: Mapping[str, Any] | None = None
) -> str:
    """The page as HTML text.

    `overview` is what `data.overview.overview` returns, `samples` what `data.overview.drawn` does, and `traces`
    {name: values (T,)} are columns in the order of the recording.
    """
    name = words.line(overview.get("name") or overview["path"])
    boxes = [
        el("header", el("h1", name), el("p", _sentence(overview), cls="muted")),
        _warnings(overview),
        _tiles(overview),
        _samples(samples, str(overview["path"])),
        _labels(overview),
        _traces(traces),
        _values(overview),
        _lines("Notes of the reader", overview["notes"]),
    ]
    footer = el("footer", "Written by edgeft data check.")

    return page.document(f"{name}: data", [*(box for box in boxes if box is not None), footer], GENERATOR)


def _sentence(overview: Mapping[str, Any]) -> str:
    total, labels = sum(overview["splits"].values()), len(overview["labels"])
    text = f"{overview['format']} for {overview['task']}: {words.plain(total)} samples"
    text += f" in {len(overview['splits'])} splits" + (f", {words.plain(labels)} labels" if labels else "")
    return f"{text}; {overview['inputs']}." if overview.get("inputs") else f"{text}."


def _tiles(overview: Mapping[str, Any]) -> ET.Element:
    total = sum(overview["splits"].values()) or 1
    tiles = [
        page.tile(name, words.plain(count), f"{100 * count / total:.1f} % of the samples")
        for name, count in overview["splits"].items()
    ]
    return el("div", *tiles, cls="tiles")


def _warnings(overview: Mapping[str, Any]) -> ET.Element | None:
    groups = [("Left out", "left_out"), ("Leaks between splits", "leaks"), ("Imbalance", "imbalance")]
    parts: list[ET.Element] = []
    for title, key in groups:
        if overview[key]:
            parts += [el("h2", title), el("ul", *(el("li", words.line(text)) for text in overview[key]))]
    return el("section", *parts, cls="card callout") if parts else None


def _lines(title: str, lines: Sequence[str]) -> ET.Element | None:
    return page.card(title, el("ul", *(el("li", words.line(text)) for text in lines), cls="plain")) if lines else None


def _labels(overview: Mapping[str, Any]) -> ET.Element | None:
    counts = overview["counts"]
    by_label = counts["by_label"]
    if not by_label:
        return None

    splits = list(overview["splits"])
    order = sorted(by_label, key=lambda label: -sum(by_label[label].values()))
    totals = {name: sum(row.get(name, 0) for row in by_label.values()) for name in splits}
    first = next((name for name in splits if totals[name]), splits[0])
    rows = []

    for label in order[:MOST_LABELS]:
        row = by_label[label]
        share = row.get(first, 0) / totals[first] if totals[first] else 0.0
        meter = el("div", el("i", style=f"width:{100 * share:.1f}%"), cls="meter thin")
        rows.append([words.line(label), *(words.plain(row.get(name, 0)) for name in splits), f"{share:.1%}", meter])

    heads = ["label", *splits, f"share of {first}", ""]
    more = f" The {len(by_label) - MOST_LABELS} rarest are not listed." if len(by_label) > MOST_LABELS else ""
    note = f"How many {counts['unit']} of each label there are in each split.{more}"
    return page.card("Labels", page.table(heads, rows, numeric=range(1, len(splits) + 2)), note=note)


def _values(overview: Mapping[str, Any]) -> ET.Element | None:
    rows = [[words.line(label), *(f"{v:.4g}" for v in row.values())] for label, row in overview["values"].items()]
    if not rows:
        return None
    heads = ["recorded value", *next(iter(overview["values"].values()))]
    return page.card("Recorded values", page.table(heads, rows, numeric=range(1, len(heads))), note="Of train.")


def _traces(traces: Mapping[str, Any] | None) -> ET.Element | None:
    chart = plots.traces(traces) if traces and plots.available() else None
    if chart is None:
        return None
    return page.card("Traces", chart, note="The first steps in the order of the recording.")


def _samples(samples: Sequence[Mapping[str, Any]], root: str) -> ET.Element | None:
    if not samples:
        return None
    note = "Drawn by seed from every split, from as many classes as there is room for. Check that labels fit."
    wide = any(sample.get("wide") or sample.get("rows") for sample in samples)
    figures = [_figure(sample, root) for sample in samples]
    return page.card("Samples", el("div", *figures, cls="samples wider data" if wide else "samples data"), note=note)


def _figure(sample: Mapping[str, Any], root: str) -> ET.Element:
    source = words.line(sample["source"]).removeprefix(root).lstrip("/")
    caption = words.line(sample.get("caption"))
    parts: list[ET.Element | None] = [_body(sample, caption), _player(sample.get("sound"))]
    legend = sample.get("legend") or {}
    keys = [
        el("span", el("i", style=f"background:rgb({r},{g},{b})"), words.line(label), cls="key")
        for label, (r, g, b) in legend.items()
    ]
    words_below = el(
        "figcaption",
        el("b", caption) if caption else None,
        el("div", *keys, cls="legend") if keys else None,
        el("div", f"{sample['split']}: {source}", cls="muted"),
    )

    return el("figure", *parts, words_below, cls="sample")


def _body(sample: Mapping[str, Any], caption: str) -> ET.Element:
    if sample.get("image") is not None:
        pixels = np.asarray(sample["image"])
        pixels = pixels[:, :, :3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels
        try:
            uri = png.data_uri(pixels, 640 if sample.get("wide") else 224)
        except ValueError:
            return el("div", f"a sample of shape {np.shape(pixels)}", cls="text muted")
        return el("img", src=uri, alt=page.alternative(f"sample: {caption}" if caption else "sample"))

    if sample.get("rows"):
        rows = [el("tr", el("td", words.line(key)), el("td", _cut(value))) for key, value in sample["rows"]]
        return el("div", el("table", el("tbody", *rows), cls="kv"), cls="text")

    return el("div", _cut(sample.get("text")) or "(nothing to draw)", cls="text")


def _cut(value: Any) -> str:
    text = words.clean(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ..."


def _player(sound: Mapping[str, Any] | None) -> ET.Element | None:
    """The sound itself, as a 16-bit WAV in the page."""
    if not sound:
        return None

    samples = np.asarray(sound["samples"])
    if samples.dtype.kind == "f":
        samples = np.round(np.clip(samples, -1, 1) * 32767)

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(sound["rate"]))
        file.writeframes(samples.astype("<i2").tobytes())

    uri = "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return el("audio", src=uri, controls="controls", preload="none")
