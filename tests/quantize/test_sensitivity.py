"""Error per layer: signal to noise in dB, against figures computed here."""

from __future__ import annotations

import math

import pytest
import torch
from quantize_nets import IMAGES, Excite, Residual, calibrated, settled
from torch import nn

from edgeft.core.errors import RecipeError
from edgeft.quantize.graph import prepare
from edgeft.quantize.sensitivity import layer_errors


def test_the_ratio_of_one_grid_is_that_of_its_rounding() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    graph = calibrated(net, IMAGES)
    rows = layer_errors(graph, IMAGES)
    assert [r["fake_quantize"] for r in rows] == list(graph.activations())
    first = graph.activations()["act_fq_0"]
    with torch.no_grad():
        noise = (first(IMAGES[0]).double() - IMAGES[0].double()).square().sum()
    want = 10 * math.log10(float(IMAGES[0].double().square().sum() / noise))
    assert rows[0]["sqnr_db"] == pytest.approx(want, abs=1e-3)
    assert rows[1]["name"] == "0"


def test_a_coarse_layer_is_found_and_every_grid_is_left_in_its_mode() -> None:
    graph = calibrated(settled(Residual()), IMAGES)
    good = {r["name"]: r["sqnr_db"] for r in layer_errors(graph, IMAGES)}
    assert min(v for v in good.values() if isinstance(v, float)) > 20
    fake = graph.weights()["conv1.weight"]
    fake.set_scale(fake.scale() * 60)
    bad = {r["name"]: r["sqnr_db"] for r in layer_errors(graph, IMAGES)}
    names = list(good)
    at = next(i for i, n in enumerate(names) if bad[n] != good[n])
    assert all(good[n] == bad[n] for n in names[:at]), "layers before it are as good as ever"
    before, after = good[names[at]], bad[names[at]]
    assert isinstance(before, float) and isinstance(after, float) and after < before - 10
    assert {m.mode for m in graph.module.modules() if hasattr(m, "mode")} == {"quantize"}


def test_a_silent_layer_has_no_ratio() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    graph = calibrated(net, IMAGES)
    rows = layer_errors(graph, (torch.zeros(2, 3, 8, 8),))
    assert rows[0]["sqnr_db"] is None


def activated() -> nn.Sequential:
    """Layers by number: 0 and 2 have weights, 1 is a ReLU, 3 a hard swish, 6 the last layer."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("net", [activated, Residual, Excite])
def test_every_name_of_the_table_holds_its_layers_in_float(net: type[nn.Module]) -> None:
    module = settled(net())
    graph = calibrated(module, IMAGES)
    rows = layer_errors(graph, IMAGES)
    assert {r["value"] for r in rows} == {"input", "output"}
    owners = {name.rsplit(".", 1)[0] for name in graph.weight_of}
    for row in rows:
        layers = str(row["name"]).split(", ")
        assert set(layers) <= owners, row
        again = prepare(module, IMAGES, graph.scheme, layers)
        held = {name.rsplit(".", 1)[0] for name in graph.weight_of} - {n.rsplit(".", 1)[0] for n in again.weight_of}
        assert held == set(layers) and len(again.activations()) < len(graph.activations()), row


def test_the_output_behind_a_relu_is_its_layers() -> None:
    rows = layer_errors(calibrated(activated(), IMAGES), IMAGES)
    named = [(r["name"], r["value"]) for r in rows]
    assert named[:3] == [("0", "input"), ("0", "output"), ("2", "output")], named
    first = layer_errors(calibrated(activated(), IMAGES), IMAGES, prefix="encoder.")[0]
    assert first["name"] == "encoder.0"


@pytest.mark.parametrize(
    ("pattern", "op", "layers"), [("1*", "1 (relu)", "'0' or '2'"), ("3", "3 (hardswish)", "'2' or '6'")]
)
def test_a_pattern_that_holds_no_layer_with_weights_names_those_beside_it(pattern: str, op: str, layers: str) -> None:
    with pytest.raises(RecipeError, match="no layer with weights") as caught:
        prepare(activated(), IMAGES, calibrated(activated(), IMAGES).scheme, (pattern,))
    assert op in caught.value.message and layers in caught.value.remedy
