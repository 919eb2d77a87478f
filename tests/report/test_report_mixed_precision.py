"""The card of layers in float: its ranking, its path, and what malformed values make of it."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from typing import Any

import pytest
import report_values as values

from edgeft.core.metric import Metric
from edgeft.report import html, mixed_precision, schemes

ACCURACY = Metric("accuracy", "fraction")


def text_of(element: ET.Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def test_the_card_names_the_layers_and_the_point_that_was_taken() -> None:
    auto = values.auto()
    shown = text_of(mixed_precision.card(auto, ACCURACY, "int8", "affine"))
    assert "Layers in float, affine" in shown and "reached on validation, with 1 layer in float" in shown
    assert '["backbone.stages.0.blocks.0.conv_0"]' in shown
    assert shown.count("(taken)") == 1 and "1 layer in float (taken)93.00 %96.67 %+0.47 pointsyes" in shown
    assert "The most sensitive 24 of 30" in shown and "conv_29" in shown, "the table has all of them"
    pictures = list(mixed_precision.card(auto, ACCURACY, "int8").iter("svg"))  # type: ignore[union-attr]
    assert len(pictures) == 2
    named = "".join(pictures[1].itertext())
    assert "ages.0.blocks.0.conv_0 (float)" in named and "conv_1 (float)" not in named and "conv_24" not in named


def test_a_run_and_a_bundle_have_the_card() -> None:
    summary = values.summary()
    row = next(iter(summary["schemes"].values()))
    row["auto"], row["method"] = values.auto(), "ptq"
    page = html.render_run(summary)
    assert "Layers in float" in page and "1 layer in float" in page and "Sensitivity by layer" in page
    report, manifest = values.report(), values.manifest()
    assert "Layers in float" not in html.render(report, manifest)
    report["details"] = {"auto": values.auto()}
    manifest["provenance"] = {**manifest.get("provenance", {}), "method": "ptq", "keep_float": ["conv"]}
    page = html.render(report, manifest)
    assert "Layers in float" in page and "int8, 1 layer in float" in page


LESS_COMMON = [pytest.param(value, marks=pytest.mark.slow) for value in ("x", 3, [], {}, [None], {"a": float("nan")})]


@pytest.mark.parametrize("value", [None, values.HOSTILE, *LESS_COMMON])
def test_malformed_values_are_left_out(value: Any) -> None:
    for key in values.auto():
        auto = copy.deepcopy(values.auto())
        auto[key] = value
        card = mixed_precision.card(auto, ACCURACY, "int8")
        assert card is None or "<script" not in ET.tostring(card, encoding="unicode")
        assert isinstance(schemes.sentence({"auto": auto}), str)
    for key in ("metric", "drop", "int8_macs", "keep_float", "holds", "method"):
        auto = copy.deepcopy(values.auto())
        auto["path"][0][key] = value
        mixed_precision.card(auto, ACCURACY, "int8")
    for key in ("name", "sqnr_db", "weights", "activations", "macs"):
        auto = copy.deepcopy(values.auto())
        auto["sensitivity"]["layers"][0][key] = value
        mixed_precision.card(auto, ACCURACY, "int8")


def test_without_a_search_there_is_no_card() -> None:
    assert mixed_precision.card(None, ACCURACY, "int8") is None
    assert mixed_precision.card({**values.auto(), "path": []}, ACCURACY, "int8") is None


def test_a_page_of_sensitivities_has_the_ranking() -> None:
    result = {"run": "runs/x", "scheme": "affine", "n": 32, "layers": values.auto()["sensitivity"]["layers"]}
    page = mixed_precision.sensitivity_page(result)
    assert "Sensitive layers of runs/x, affine" in page and page.count("<svg") == 1 and "conv_29" in page
