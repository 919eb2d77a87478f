"""Nets of unusual kinds in every runtime: outputs within rounding, weights to the byte, integer kernels."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import written
from odd_nets import NETS, odd_net
from quantize_nets import calibrated, seeded

from edgeft import backends
from edgeft.config import target
from edgeft.quantize.lower import integer_weights, lower
from edgeft.quantize.sensitivity import rounding_reach
from edgeft.verify.integer import integer

PICTURES = seeded(16, 3, 12, 12, seed=3)
PROFILES = {
    "onnxruntime": "host",
    "openvino": "host-openvino",
    "litert": "host-litert",
    "executorch": "host-executorch",
}
#: the share of the multiply-accumulates in integers where it is not nearly all: products of two activations are float
LEAST = {"causal attention": 0.6, "shared heads": 0.6, "filters of its own": 0.2}


#: what failed once, and fails quickly; all others are slow tests
QUICK = {
    "onnxruntime": ("layers in a loop", "our own names"),
    "openvino": ("shared layer, one norm", "unicode names"),
    "executorch": ("silent",),
    "litert": ("hard shrink", "shared heads"),
}
#: of the nets that were tried in LiteRT and ExecuTorch, those whose layers these converters take
TRIED = (
    "shared layer, one norm",
    "our own names",
    "unicode names",
    "silent",
    "one output",
    "shared heads",
    "filters of its own",
    "coordinates",
    "larger over one axis",
    "dropout and identity",
)
#: what LiteRT takes and ExecuTorch refuses or was not tried with
LITERT_ALONE = ("hard shrink", "log sigmoid", "bicubic", "means and minima")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=() if name in QUICK.get(kind, ()) else pytest.mark.slow)
        for kind in PROFILES
        for name in (NETS if kind in ("onnxruntime", "openvino") else TRIED + LITERT_ALONE * (kind == "litert"))
    ],
)
def test_an_odd_net_computes_in_its_runtime_what_the_graph_computes(kind: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip({"litert": "litert_torch"}.get(kind, kind))
    torch.manual_seed(0)
    machine, profile = backends.get(kind), target.load(PROFILES[kind])
    graph = calibrated(odd_net(name), (PICTURES,), profile.scheme)
    with torch.no_grad():
        expected = graph.module(PICTURES).numpy()

    file = written(
        importlib.import_module(f"edgeft.backends.{kind}.exporter"),
        lower(graph, machine.lowering),
        graph.captured.example,
        graph.captured.input_names,
        graph.captured.output_names,
        tmp_path,
        target=profile,
        dynamic_batch=graph.captured.dynamic,
    ).file
    session = machine.load(tmp_path / file, options={**machine.options(), **machine.artifact_options(tmp_path / file)})
    feeds = [{session.inputs[0].name: PICTURES[i : i + 1].numpy()} for i in range(len(PICTURES))]
    outputs = np.concatenate([next(iter(session.run(feed).values())) for feed in feeds])

    step = graph.output_steps().get("output") or float(np.ptp(expected)) / 255
    median, tail = rounding_reach(graph, (PICTURES,))["output"]
    steps = np.abs(outputs - expected) / step
    assert np.median(steps) <= max(1.01, 1.5 * median) and np.quantile(steps, 0.99) <= max(8.0, 1.5 * tail)

    weights = {weight.name: (weight.data, weight.scale) for weight in integer_weights(graph)}
    verdict = integer(weights, machine.integer_weights(tmp_path / file))
    assert verdict.verdict == "pass", verdict.why
    share = machine.integer_share(tmp_path / file, feeds=feeds[0]).share
    assert share >= LEAST.get(name, 0.9), share
