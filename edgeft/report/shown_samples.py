"""Samples on a page: flipped decisions, the worst ones, and those that a bundle carries, as pictures or words."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import page, png, words
from .page import el

#: samples in one card
_MOST = 24
#: `group` of a sample -> title of its card, and the sentence under it; "" are the samples that a bundle carries
_GROUPS = {
    "flipped": ("Flipped decisions", "Samples of the test split that float and {format} answer differently. "),
    "worst": ("Worst samples", "Samples of the test split that {format} does worst on, the worst first. "),
    "": ("Samples", ""),
}


def boxes(samples: Any, number_format: str) -> list[ET.Element]:
    """A card for each group of samples; [] without any.

    A sample is {"image" or "text", "label", "float", "quantized"}, optionally `group`, `alike`, `judged`, `wide` and
    `source` (where it came from).
    """
    rows = [row for row in samples if isinstance(row, Mapping)] if isinstance(samples, Sequence) else []
    cards = []
    for group, (title, introduction) in _GROUPS.items():
        chosen = [row for row in rows if (row.get("group") or "") == group][:_MOST]
        if chosen:
            cards.append(_card(title, introduction.format(format=number_format), chosen, number_format))
    return cards


def listed(rows: Any, number_format: str) -> ET.Element | None:
    """The worst samples and flipped decisions as a table, for a page that has no pictures of them."""
    cells = [
        [
            _GROUPS.get(str(row.get("group")), ("",))[0],
            words.line(row.get("source") or f"test sample {words.plain(row.get('position'))}"),
            *(words.line(row.get(key)) or words.DASH for key in ("label", "float", "quantized")),
        ]
        for row in (rows if isinstance(rows, Sequence) else ())
        if isinstance(row, Mapping)
    ]
    if not cells:
        return None

    heads = ["", "sample", "label", "float", number_format]
    return page.card("Worst samples and flipped decisions", page.table(heads, cells), note="Of the test split.")


def _card(title: str, introduction: str, samples: Sequence[Mapping[str, Any]], number_format: str) -> ET.Element:
    note = "The label in bold, then both decisions; a wrong one is red, and a red frame marks where they differ."
    if not any(sample.get("judged", True) for sample in samples):
        note = (
            "The recorded value in bold, then both answers; a red frame marks where they differ beyond the tolerance."
        )

    wide = any(sample.get("wide") for sample in samples)
    if wide:
        note += " What was found is framed in colour, what is truly there in dashed white."

    figures = (_figure(sample, number_format) for sample in samples)
    needs_room = wide or all(sample.get("image") is None for sample in samples)
    grid = el("div", *figures, cls="samples wider" if needs_room else "samples")
    return page.card(title, grid, note=introduction + note)


def _figure(sample: Mapping[str, Any], number_format: str) -> ET.Element:
    label, before, after = (words.line(sample.get(key)) for key in ("label", "float", "quantized"))
    judged = sample.get("judged", True)
    differ = not sample["alike"] if "alike" in sample else bool(before and after and before != after)

    def answer(who: str, decision: str) -> ET.Element:
        wrong = judged and bool(label) and decision != label
        return el("div", f"{who} ", el("span", decision or words.DASH, cls="wrong" if wrong else ""))

    caption = el("figcaption", el("b", label or "no label"), answer("float", before), answer(number_format, after))
    if source := words.line(sample.get("source")):
        caption.append(el("div", source, cls="muted"))

    return el("figure", _picture(sample, label), caption, cls="sample differ" if differ else "sample")


def _picture(sample: Mapping[str, Any], label: str) -> ET.Element:
    image = sample.get("image")
    if image is not None:
        try:
            longest = 448 if sample.get("wide") else 224
            alt = page.alternative(f"sample: {label}" if label else "sample without a label")
            return el("img", src=png.data_uri(np.asarray(image), longest), alt=alt)
        except ValueError:
            return el("div", f"a sample of shape {np.shape(image)}", cls="text muted")

    return el("div", str(sample.get("text") or "(nothing to draw)"), cls="text", tabindex="0")
