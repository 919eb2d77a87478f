"""Charts: inline SVG that follows the page, the same bytes for the same values, ids of its own."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import report_values as values

pytest.importorskip("matplotlib", reason="charts are drawn by matplotlib")

from edgeft.core.metric import Metric
from edgeft.report import plots

ACCURACY = Metric("accuracy", "fraction")


def text(svg: ET.Element | None) -> str:
    assert svg is not None
    return " | ".join("".join(element.itertext()) for element in svg.iter("text"))


def test_bars_carry_their_figures_and_the_mark() -> None:
    svg = plots.figures(
        "a", [("float", 0.9, "90 %", "float"), ("int8", 0.8, "80 %", "quantized")], ("chance 50 %", 0.5)
    )
    assert {"float", "90 %", "int8", "80 %", "chance 50 %"} <= set(text(svg).split(" | "))


def test_a_longer_bar_is_a_larger_value() -> None:
    svg = plots.figures("a", [("one", 1.0, "1", "float"), ("four", 4.0, "4", "quantized")])
    assert svg is not None
    widths = []
    for colour in ("var(--float)", "var(--quantized)"):
        (bar,) = (e for e in svg.iter("path") if f"fill: {colour}" in e.get("style", ""))
        across = [float(word) for word in (bar.get("d") or "").split() if word not in "MLzC"][::2]
        widths.append(max(across) - min(across))
    assert widths[1] == pytest.approx(4 * widths[0], rel=1e-3)


def test_colours_are_the_pages_variables() -> None:
    svg = plots.layers([{"name": "conv", "sqnr_db": 30.0}])
    assert svg is not None
    source = ET.tostring(svg, encoding="unicode")
    assert "var(--quantized)" in source
    assert "#0101" not in source
    assert "DejaVu" not in source


def test_ids_are_the_charts_own_and_references_resolve() -> None:
    one = plots.latency({"float": [1.0, 2.0, 3.0], "quantized": [0.5, 0.6, 0.7]}, "int8")
    other = plots.drop(0.01, (0.0, 0.02), 0.05, "fraction")
    assert one is not None
    assert other is not None
    ids = [{e.get("id") for e in svg.iter() if e.get("id")} for svg in (one, other)]
    assert not ids[0] & ids[1]
    for svg, known in zip((one, other), ids):
        for element in svg.iter():
            for key, value in element.attrib.items():
                assert key != "href" or value.lstrip("#") in known
                assert "url(#" not in value or value.split("url(#")[1].split(")")[0] in known


def test_the_same_values_give_the_same_bytes() -> None:
    drawn = [plots.curves(values.history(), "accuracy") for _ in range(2)]
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert ET.tostring(drawn[0]) == ET.tostring(drawn[1])


def test_curves_show_each_stage_with_loss_and_validation() -> None:
    shown = text(plots.curves(values.history(), "accuracy"))
    for word in ("float", "quantized", "loss", "validation", "epoch"):
        assert word in shown


def test_a_label_is_never_mathematics() -> None:
    shown = text(plots.per_class({r"$\frac{": {"float": 1.0, "quantized": 0.5, "n": 2}}, ACCURACY, "int8"))
    assert r"$\frac{" in shown
    assert "+50.00 points" in shown


def test_classes_are_sorted_by_drop_and_the_worst_are_kept() -> None:
    table = {f"class{i}": {"float": 1.0, "quantized": 1.0 - i / 100} for i in range(40)}
    shown = text(plots.per_class(table, ACCURACY, "int8", most=5))
    assert shown.index("class39") < shown.index("class35")
    assert "class34" not in shown


def test_nothing_to_draw_is_none() -> None:
    nan = float("nan")
    assert plots.figures("a", [("x", None, "", "float"), ("y", nan, "", "quantized")]) is None
    assert plots.drop(nan, None, None, "") is None
    assert plots.latency({"float": [], "quantized": [nan, None]}, "int8") is None
    assert plots.per_class({"a": {"float": None, "quantized": 1.0}}, ACCURACY, "int8") is None
    assert plots.layers([{"name": "a", "sqnr_db": None}]) is None
    assert plots.curves([]) is None
    assert plots.curves([{"stage": "float", "epoch": 1, "note": "nothing numeric"}]) is None


@pytest.mark.parametrize("runs", [[5.0], [5.0] * 100, [0.0] * 3, [1e-6, 1e6]])
def test_odd_distributions_are_drawn(runs: list[float]) -> None:
    assert f"{len(runs)} measurements" in text(plots.latency({"float": runs, "quantized": runs}, "int8"))


@pytest.mark.parametrize("value", [0.0, -0.01, 0.5])
def test_a_drop_is_drawn_with_and_without_interval_and_limit(value: float) -> None:
    assert "limit" in text(plots.drop(value, (value - 0.1, value + 0.1), 0.01, "fraction"))
    assert "limit" not in text(plots.drop(value, None, None, "fraction"))
