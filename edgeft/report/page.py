"""A page as a tree of elements: strings are always text, so no value of a user can become markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import words

#: colours of the light form, which is the printed one too
_LIGHT = (
    "--bg:#f6f7f9;--card:#fff;--ink:#17202c;--muted:#56647a;--line:#d9dee6;--float:#8796aa;--ptq:#d99a2b;"
    "--quantized:#2563c9;--bad:#c8322b;--good:#1b7f4b;--warn:#8f5600;--soft:#eef1f5"
)
STYLE = (
    """
:root{color-scheme:light dark;"""
    + _LIGHT
    + """}
@media (prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1a2029;--ink:#e6ebf2;--muted:#98a5b6;--line:#333d4b;
--float:#7b8ba1;--ptq:#d9a548;--quantized:#5c96f5;--bad:#f0685f;--good:#4cc38a;--warn:#e0a345;--soft:#222a35}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:17px;margin:0 0 10px}
h3{font-size:13px;margin:0 0 6px;color:var(--muted);font-weight:600}
p{margin:0 0 10px}
a{color:var(--quantized)}
article{margin-top:36px;padding-top:28px;border-top:3px solid var(--line)}
.muted{color:var(--muted)} .small{font-size:13px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;
margin-top:16px;min-width:0}
.head{display:flex;gap:20px;align-items:flex-start;justify-content:space-between;margin-bottom:4px}
.badge{display:inline-block;border-radius:6px;padding:1px 9px;font-weight:600;font-size:13px;white-space:nowrap;
color:var(--muted);background:var(--soft)}
.badge.pass{color:#fff;background:#1b7f4b}.badge.fail{color:#fff;background:#c8322b}
.badge.inconclusive{color:#fff;background:#a86400}
.badge.unverified{color:var(--warn);box-shadow:inset 0 0 0 1.5px var(--warn)}
.badge.big{font-size:20px;padding:6px 18px;border-radius:8px}
.callout{border-left:5px solid var(--warn)}
.callout h2:not(:first-child){margin-top:14px}
.callout ul,.plain{margin:6px 0 0;padding-left:20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin-top:16px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile b{display:block;font-size:25px;line-height:1.25;font-variant-numeric:tabular-nums}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:14px 28px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--muted);font-size:13px;white-space:nowrap}
th,td{padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.num,th.num{text-align:right;white-space:nowrap}
td.why{min-width:230px;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
.kv td:first-child{color:var(--muted);white-space:nowrap;width:1%;padding-right:22px}
.kv td{overflow-wrap:anywhere}
.chart{display:block;width:100%;height:auto;font-family:inherit}
.half{max-width:520px}
.wide{min-width:640px}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:14px}
.samples.wider{grid-template-columns:repeat(auto-fill,minmax(230px,1fr))}
.samples.wider img{aspect-ratio:auto;image-rendering:auto}
.sample{margin:0;border:1px solid var(--line);border-radius:8px;overflow:hidden;font-size:13px}
.sample img{display:block;width:100%;aspect-ratio:1;object-fit:contain;image-rendering:pixelated;background:var(--soft)}
.sample .text{padding:10px;max-height:150px;overflow:auto;background:var(--soft);overflow-wrap:anywhere}
.sample figcaption{padding:7px 10px 9px;overflow-wrap:anywhere}
.sample.differ{border-color:var(--bad);box-shadow:0 0 0 1px var(--bad)}
.wrong{color:var(--bad);font-weight:600}
.meter{display:flex;height:20px;border-radius:5px;overflow:hidden;background:var(--soft);margin:4px 0 10px}
.meter i{display:block;background:var(--quantized)}
.meter.thin{height:8px;margin:6px 0 0;min-width:60px}
.samples.data .text{max-height:340px}
.samples.wider.data{grid-template-columns:repeat(auto-fill,minmax(min(310px,100%),1fr))}
.sample audio{display:block;width:100%;height:34px}
.legend{display:flex;flex-wrap:wrap;gap:2px 10px;margin:3px 0}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:4px;box-shadow:0 0 0 1px var(--line)}
details{margin-top:10px}summary{cursor:pointer;color:var(--muted);font-size:13px}
pre{background:var(--soft);border-radius:8px;padding:12px 14px;overflow-x:auto;font-size:13px;margin:0}
code{font-size:.92em}
footer{margin-top:24px;color:var(--muted);font-size:13px}
table.counts td.num{background:color-mix(in srgb,var(--shade,transparent) calc(var(--share,0)*45%),transparent);
padding-left:8px}
table.counts th{white-space:normal;overflow-wrap:anywhere}
@media (max-width:560px){main{padding:18px 12px 32px}.card{padding:14px 13px}h1{font-size:22px}
.head{flex-wrap:wrap;gap:10px}
.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}.tile{padding:10px 11px}
.tile b{font-size:20px;overflow-wrap:anywhere}
.samples{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}.samples.wider{grid-template-columns:minmax(0,1fr)}
th,td{padding-right:10px}}
@media print{:root{color-scheme:light;"""
    + _LIGHT
    + """}
body{background:#fff;font-size:11pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main{max-width:none;padding:0}.card,.tile{border-color:#bbb;overflow:visible}.scroll{overflow:visible}.wide{min-width:0}
.tiles,.sample,.tile,tr,svg,img,h2,h3{break-inside:avoid}h2,h3{break-after:avoid}article{break-before:page}
details::details-content{content-visibility:visible;display:block}summary{list-style:none}pre{white-space:pre-wrap}
td.num,th.num,th{white-space:normal}audio{display:none}}
"""
)


def el(tag: str, *children: Any, cls: str = "", **attributes: Any) -> ET.Element:
    """An element. Children are elements, strings (kept as text, control characters replaced) or None (left out)."""
    element = ET.Element(tag)
    if cls:
        element.set("class", cls)

    for key, value in attributes.items():
        element.set(key.rstrip("_").replace("_", "-"), words.clean(value))

    for child in children:
        if child is None:
            continue
        if isinstance(child, ET.Element):
            element.append(child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + words.clean(child)
        else:
            element.text = (element.text or "") + words.clean(child)

    return element


def alternative(value: Any) -> str:
    """`value` as the words for a picture: HTML's writer leaves "<" in attributes as it is, so it becomes "‹"."""
    return words.line(value).replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}")


def card(title: str, *children: Any, note: str = "") -> ET.Element:
    """A titled box; `note` is the sentence under the title that says how to read it.

    A wide chart scrolls by itself on a small screen.
    """
    body = (el("div", child, cls="scroll", tabindex="0") if "wide" in _classes(child) else child for child in children)
    return el("section", el("h2", title), el("p", note, cls="muted small") if note else None, *body, cls="card")


def _classes(child: Any) -> list[str]:
    return str(child.get("class", "")).split() if isinstance(child, ET.Element) else []


def badge(verdict: Any, *, big: bool = False) -> ET.Element:
    known = verdict if verdict in words.READING_ORDER else "none"
    return el("span", words.line(verdict or "no verdict"), cls=f"badge {known}{' big' if big else ''}")


def tile(title: str, value: str, *notes: str) -> ET.Element:
    return el(
        "div", el("h3", title), el("b", value), *(el("div", n, cls="muted small") for n in notes if n), cls="tile"
    )


def table(
    heads: Sequence[Any], rows: Iterable[Sequence[Any]], *, numeric: Sequence[int] = (), why: int = -1, cls: str = ""
) -> ET.Element:
    """A table in a box that scrolls sideways on a small screen; `numeric` columns are right aligned.

    A cell that is a `td` itself is taken as it is.
    """

    def cell(tag: str, value: Any, column: int) -> ET.Element:
        if isinstance(value, ET.Element) and value.tag == tag:
            return value
        return el(tag, value, cls="num" if column in numeric else "why" if column == why else "")

    head = el("thead", el("tr", *(cell("th", text, i) for i, text in enumerate(heads))))
    body = el("tbody", *(el("tr", *(cell("td", value, i) for i, value in enumerate(row))) for row in rows))
    return el("div", el("table", head, body, cls=cls), cls="scroll", tabindex="0")


def facts(values: Mapping[str, Any]) -> ET.Element:
    """Keys and values, nested tables flattened with dots; empty values are left out."""
    rows = [el("tr", el("td", key), el("td", text)) for key, text in flat(values)]
    return el("table", el("tbody", *rows), cls="kv")


def details(title: str, *children: Any) -> ET.Element:
    return el("details", el("summary", title), *children)


def document(title: str, children: Iterable[Any], generator: str = "edgeft") -> str:
    """The whole page: one file, no script, nothing loaded from anywhere (the policy in its head says so too)."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="generator", content=generator),
        el("title", words.line(title)),
        el("style", STYLE),
    )
    html = el("html", head, el("body", el("main", *children)), lang="en")

    return "<!doctype html>\n" + ET.tostring(html, encoding="unicode", method="html") + "\n"


def rename_ids(root: ET.Element, prefix: str) -> None:
    """Put `prefix` before every id below `root` and every reference to one, so that parts can share a page."""
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{prefix}-{value}")
            elif key == "href" and value.startswith("#"):
                element.set(key, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}-"))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            if value:
                yield name, ", ".join(map(words.cell, value))
        elif value is not None and value != "":
            yield name, words.cell(value)
