"""Error per layer: signal to noise in dB, against figures computed here."""

from __future__ import annotations

import math

import pytest
import torch
from quantize_nets import IMAGES, Residual, calibrated, settled
from torch import nn

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
