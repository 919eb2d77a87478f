"""Charts as inline SVG elements, drawn by matplotlib (host only, imported on first use).

Every function returns an `xml.etree.ElementTree.Element` ready to be placed in an HTML page, or None when there is
nothing to draw. The same values give the same bytes: ids are salted with the chart's name (so several charts share
a page), no date is written, text stays text. Colours are the page's CSS variables, so charts follow dark mode.
"""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..core.metric import Metric
from . import page, words

# matplotlib wants real colours; these stand for CSS variables and are replaced in the finished SVG.
_VARIABLES = {
    name: f"#0101{i:02x}"
    for i, name in enumerate(("ink", "muted", "line", "float", "ptq", "quantized", "bad", "card"), 16)
}
INK, MUTED, LINE, FLOAT, PTQ, QUANTIZED, BAD, CARD = _VARIABLES.values()
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class called "$x$" is a name, not mathematics
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "xtick.labelsize": 9,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
WIDE, NARROW = 10.4, 5.0  # inches: at 96 px each, about the page's column and half of it


def available() -> bool:
    """Whether matplotlib is installed (it comes with the extra `tune`)."""
    return importlib.util.find_spec("matplotlib") is not None


@contextmanager
def canvas(name: str, width: float, height: float, description: str) -> Iterator[tuple[Any, list[ET.Element]]]:
    """A figure without pyplot's global state; after the body its SVG element is in the list.

    `description` is what is read to who does not see the chart.
    """
    import matplotlib
    from matplotlib.figure import Figure

    out: list[ET.Element] = []
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A glyph that matplotlib's font lacks is still written as text, and the browser has it.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, out
        buffer = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)

    out.append(_inline(buffer.getvalue(), name))
    out[0].set("class", "chart wide" if width == WIDE else "chart")
    out[0].set("aria-label", page.alternative(description))


def _inline(svg: bytes, name: str) -> ET.Element:
    """The SVG as an element of an HTML page: no namespaces, fixed size or foreign fonts; ids carry `name`."""
    root = ET.fromstring(svg)
    variables = {colour: f"var(--{variable})" for variable, colour in _VARIABLES.items()}
    for parent in root.iter():
        for child in [c for c in parent if c.tag.endswith("}metadata")]:
            parent.remove(child)

    for element in root.iter():
        element.tag = element.tag.split("}")[-1]
        attributes = {key.split("}")[-1]: value for key, value in element.attrib.items()}
        if "style" in attributes:
            style = re.sub(r"#0101[0-9a-f]{2}", lambda m: variables.get(m.group(), m.group()), attributes["style"])
            attributes["style"] = re.sub(r"(font(-family)?: [^;]*?)'[^;]*(;|$)", r"\1inherit\3", style)
        element.attrib.clear()
        element.attrib.update(attributes)

    page.rename_ids(root, name)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)

    root.set("role", "img")
    return root


def _label(value: Any, longest: int = 34) -> str:
    text = words.line(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _bars(
    axes: Any, labels: Sequence[str], values: Sequence[float], colours: Sequence[str], shown: Sequence[str]
) -> None:
    """Horizontal bars from zero, first on top, each with its figure written behind it."""
    places = np.arange(len(values))
    axes.barh(places, values, height=0.62, color=list(colours))
    axes.set_yticks(places, [_label(text) for text in labels])
    axes.set_ylim(len(values) - 0.45, -0.55)
    top = max([*values, 0.0]) or 1.0
    axes.set_xlim(min([*values, 0.0]), top * 1.22)
    for place, value, text in zip(places, values, shown):
        axes.text(max(value, 0) + top * 0.015, place, text, va="center", ha="left", fontweight="bold")

    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])


def figures(
    name: str, rows: Sequence[tuple[str, float | None, str, str]], mark: tuple[str, float] | None = None
) -> ET.Element | None:
    """Bars of a few figures, each (label, value, text, kind: "float", "ptq" or "quantized").

    `mark` is the (label, value) of a line.
    """
    shown = [
        (label, number, text, kind) for label, value, text, kind in rows if (number := words.finite(value)) is not None
    ]
    if not shown:
        return None

    description = f"{name}: " + ", ".join(f"{label} {text}" for label, _, text, _ in shown)
    with canvas(name, NARROW, 0.5 + 0.45 * len(shown) + (0.25 if mark else 0), description) as (figure, out):
        axes = figure.subplots()
        labels, values, texts, kinds = zip(*shown)
        _bars(axes, labels, values, [_VARIABLES[kind] for kind in kinds], texts)
        if mark is not None:
            axes.axvline(mark[1], color=MUTED, linewidth=1.2, linestyle=(0, (3, 3)))
            axes.set_xticks([mark[1]], [mark[0]])
            axes.tick_params(axis="x", length=0)

    return out[0]


def drop(value: float | None, ci95: tuple[float, float] | None, limit: float | None, unit: str) -> ET.Element | None:
    """The drop with its interval against the limit: right is worse."""
    if words.finite(value) is None:
        return None

    scale = 100.0 if unit == "fraction" else 1.0
    centre = float(value) * scale  # type: ignore[arg-type]
    description = f"drop {words.change(value, unit)}" + (f", limit {words.change(limit, unit)}" if limit else "")

    with canvas("drop", NARROW, 1.25, description) as (figure, out):
        axes = figure.subplots()
        axes.axvline(0, color=LINE, linewidth=1)
        ends = [0.0, centre]
        if ci95 is not None:
            low, high = (v * scale for v in ci95)
            axes.plot([low, high], [0, 0], color=QUANTIZED, linewidth=5, alpha=0.35, solid_capstyle="round")
            ends += [low, high]
        axes.plot([centre], [0], "o", color=QUANTIZED, markersize=8)
        if limit is not None:
            edge = limit * scale
            ends.append(edge)
        span = (max(ends) - min(ends)) or 1.0
        left, right = min(ends) - 0.15 * span, max(ends) + 0.25 * span
        if limit is not None:
            axes.axvspan(edge, right, color=BAD, alpha=0.12, linewidth=0)
            axes.axvline(edge, color=BAD, linewidth=1.4)
            axes.text(edge + 0.01 * (right - left), 0.72, "limit", color=BAD, fontsize=9, va="center")
        axes.text(centre, 0.45, words.change(value, unit), ha="center", va="center", fontweight="bold")
        axes.set_xlim(left, right)
        axes.set_ylim(-0.5, 0.95)
        axes.set_yticks([])
        axes.set_xlabel("drop, points (right is worse)" if unit == "fraction" else "drop (right is worse)")

    return out[0]


def latency(samples: Mapping[str, Any], number_format: str) -> ET.Element | None:
    """Distribution of run times in ms, float above `number_format` on one axis; medians and p95 written beside."""
    rows = []
    for key, label, colour in (("float", "float", FLOAT), ("quantized", number_format, QUANTIZED)):
        values = np.asarray([v for v in map(words.finite, samples.get(key) or ()) if v is not None], dtype=float)
        if values.size:
            rows.append((label, values, colour))

    if not rows:
        return None

    right = max(float(np.percentile(values, 99.5)) for _, values, _ in rows) * 1.04 or 1.0
    left = min(float(values.min()) for _, values, _ in rows)
    # Zero is on the axis where it costs nothing; two close distributions far from it are shown up close.
    left = 0.0 if left < 0.5 * right else max(0.0, left - 0.35 * (right - left))
    medians = ", ".join(f"{label} median {np.median(values):.3g} ms" for label, values, _ in rows)

    with canvas("latency", WIDE, 0.75 + 0.95 * len(rows), f"histogram of run times: {medians}") as (figure, out):
        axes = figure.subplots()
        for place, (_, values, colour) in enumerate(rows):
            base = len(rows) - 1 - place
            middle, tail = np.percentile(values, [50, 95])
            # One bin width for both rows would hide the faster row's shape: each gets its own.
            low, high = np.percentile(values, [0, 99])
            bins = np.linspace(low, high if high > low else low * 1.01 + 1e-9, 25 if values.size >= 60 else 9)
            heights, edges = np.histogram(np.minimum(values, bins[-1]), bins=bins)
            axes.stairs(0.62 * heights / heights.max() + base, edges, baseline=base, fill=True, color=colour, alpha=0.8)
            axes.plot([middle, middle], [base, base + 0.66], color=INK, linewidth=1.4)
            axes.axhline(base, color=LINE, linewidth=0.8)
            text = f"median {middle:.3g} ms · p95 {tail:.3g} ms · {values.size} measurements"
            near_right = middle > left + 0.6 * (right - left)
            axes.text(middle, base + 0.73, text, ha="right" if near_right else "left", va="center", fontsize=9.5)
        axes.set_yticks([len(rows) - 0.75 - i for i in range(len(rows))], [label for label, _, _ in rows])
        axes.set_xlim(left, right)
        axes.set_ylim(0, len(rows) - 0.08)
        axes.set_xlabel("milliseconds a run (left is faster)")

    return out[0]


def per_class(
    table: Mapping[str, Mapping[str, Any]], metric: Metric, number_format: str, most: int = 24
) -> ET.Element | None:
    """Float and quantized of each class joined by a line, the largest drop on top; `most` worst classes."""
    rows = []
    for label, class_row in table.items():
        before, after, lost = (
            words.finite(class_row.get("float")),
            words.finite(class_row.get("quantized")),
            words.drop_of(class_row, metric),
        )
        if before is not None and after is not None and lost is not None:
            rows.append((lost, before, after, label, class_row.get("n")))

    rows = sorted(rows, key=lambda row: (-row[0], str(row[3])))[:most]
    if not rows:
        return None

    scale = 100.0 if metric.unit == "fraction" else 1.0
    description = f"{metric.name} per class, float beside {number_format}; {rows[0][3]} lost most"
    with canvas("classes", WIDE, 0.85 + 0.34 * len(rows), description) as (figure, out):
        axes = figure.subplots()
        axes.grid(True, axis="x")
        for place, (lost, before, after, _name, _n) in enumerate(rows):
            axes.plot(
                [before * scale, after * scale], [place, place], color=BAD if lost > 0 else LINE, linewidth=3, alpha=0.6
            )
        axes.scatter([r[1] * scale for r in rows], range(len(rows)), s=52, color=FLOAT, label="float", zorder=3)
        axes.scatter(
            [r[2] * scale for r in rows], range(len(rows)), s=52, color=QUANTIZED, label=number_format, zorder=4
        )
        names = [f"{_label(r[3], 28)}  (n {r[4]})" if r[4] is not None else _label(r[3], 28) for r in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.12)
        if metric.unit == "fraction":
            low, high = axes.get_xlim()
            axes.set_xlim(max(low, -1.0), min(high, 101.0))
        axes.set_xlabel("per class, %" if metric.unit == "fraction" else "per class")
        right = axes.get_xlim()[1]
        for place, row in enumerate(rows):
            axes.text(right, place, metric.format_drop(row[0]), ha="left", va="center", fontsize=9)
        figure.legend(loc="outside upper right", ncols=2)

    return out[0]


def traces(columns: Mapping[str, Any]) -> ET.Element | None:
    """Values over steps, one panel a column (at most eight), in the order of the columns."""
    shown = [(name, np.asarray(values, float)) for name, values in list(columns.items())[:8] if len(values)]
    if not shown:
        return None

    description = f"values over steps: {', '.join(str(name) for name, _ in shown)}"
    with canvas("traces", WIDE, 0.5 + 0.95 * len(shown), description) as (figure, out):
        grid = figure.subplots(len(shown), 1, squeeze=False, sharex=True)
        for axes, (name, values) in zip(grid[:, 0], shown):
            axes.plot(values, color=QUANTIZED, linewidth=1.2)
            axes.grid(True, axis="y")
            axes.tick_params(axis="y", labelcolor=MUTED, labelsize=8)
            axes.set_title(_label(name), fontsize=9.5, loc="left")
        grid[-1, 0].set_xlabel("step")

    return out[0]


def layers(rows: Sequence[Mapping[str, Any]], most: int = 24) -> ET.Element | None:
    """Signal to quantization noise of each layer in dB, the worst on top."""
    entries = [(value, _layer(row)) for row in rows if (value := words.finite(row.get("sqnr_db"))) is not None]
    entries = sorted(entries, key=lambda row: (row[0], str(row[1])))[:most]
    if not entries:
        return None

    values = [value for value, _ in entries]
    description = f"signal to quantization noise by layer; the lowest is {entries[0][1]} with {values[0]:.1f} dB"
    with canvas("layers", WIDE, 0.7 + 0.27 * len(entries), description) as (figure, out):
        axes = figure.subplots()
        colours = [BAD if value < 10 else PTQ if value < 20 else QUANTIZED for value in values]
        _bars(axes, [str(name) for _, name in entries], values, colours, [f"{value:.1f} dB" for value in values])
        axes.set_xlabel("signal to quantization noise (longer is better)")

    return out[0]


def _layer(row: Mapping[str, Any]) -> str:
    """A row's layer, and that it is the layer's input where it is."""
    name = str(row.get("name", "?"))
    return f"{name} (input)" if row.get("value") == "input" else name


def curves(history: Sequence[Mapping[str, Any]], metric: str = "") -> ET.Element | None:
    """Training curves: one column a stage, losses above and metrics below; x is the epoch, else the row's number."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in history:
        if isinstance(row, Mapping):
            stages.setdefault(_label(row.get("stage", "training"), 20), []).append(row)

    losses = _series_names(stages, lambda key: "loss" in key)
    scores = _series_names(stages, _is_score(metric.lower()))
    kinds = [(title, names) for title, names in (("loss", losses), (metric or "metric", scores)) if names]
    if not kinds:
        return None

    description = f"learning curves of {', '.join(stages)}: {' and '.join(title for title, _ in kinds)} by epoch"
    with canvas("curves", WIDE, 0.4 + 2.1 * len(kinds), description) as (figure, out):
        grid = figure.subplots(len(kinds), len(stages), squeeze=False, sharex="col")
        for column, (stage, rows) in enumerate(stages.items()):
            for r, (title, names) in enumerate(kinds):
                axes = grid[r][column]
                axes.grid(True, axis="y")
                order = (
                    (FLOAT, QUANTIZED, PTQ, BAD, MUTED, INK)
                    if title == "loss"
                    else (QUANTIZED, PTQ, FLOAT, BAD, MUTED, INK)
                )
                for name, colour in zip(names, order):
                    points = [
                        (x if (x := words.finite(row.get("epoch", row.get("step")))) is not None else i, y)
                        for i, row in enumerate(rows)
                        if (y := words.finite(row.get(name))) is not None
                    ]
                    if points:
                        axes.plot(
                            *zip(*points),
                            "o-" if len(points) < 40 else "-",
                            color=colour,
                            markersize=3.5,
                            linewidth=1.8,
                            label=_label(name),
                        )
                axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9)
                if axes.get_legend_handles_labels()[0]:
                    axes.legend(loc="best")
                if r == 0:
                    axes.set_title(stage, fontsize=10.5, fontweight="bold", loc="left")
                axes.xaxis.get_major_locator().set_params(integer=True)
                if r == len(kinds) - 1:
                    axes.set_xlabel("epoch" if any("epoch" in row for row in rows) else "step")
                if column == 0:
                    axes.set_ylabel(_label(title))

    return out[0]


def _is_score(metric: str) -> Callable[[str], bool]:
    names = {metric, "metric", "validation"}
    return lambda key: key in names or key.endswith("_metric") or (bool(metric) and metric in key)


def _series_names(stages: Mapping[str, Sequence[Mapping[str, Any]]], preferred: Any) -> list[str]:
    """Numeric columns that `preferred` accepts, in order of appearance, at most six."""
    names: dict[str, None] = {}
    for rows in stages.values():
        for row in rows:
            for key, value in row.items():
                if preferred(str(key).lower()) and words.finite(value) is not None:
                    names[str(key)] = None
    return list(names)[:6]
