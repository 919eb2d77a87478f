"""Artifacts whose answers do not come from their integer weights, in every runtime: each is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import grafted
import numpy as np
import pytest
from shapes_run import gate, seal

from edgeft.backends.flow import Flow, Step
from edgeft.bundle import reader as bundles
from edgeft.verify.paths import float_twin
from edgeft.verify.run import run

EARLIER = Path(__file__).parents[1] / "fixtures" / "0.1.0"
RUNTIMES = {"host": "onnxruntime", "host-openvino": "openvino", "host-litert": "ai_edge_litert"}
EVERY_RUNTIME = pytest.mark.parametrize("target", RUNTIMES)
HOWS = pytest.mark.parametrize("how", [grafted.BESIDE, grafted.TIMES_ZERO])


@pytest.fixture
def bundle(target: str, tmp_path: Path) -> Path:
    """A copy of a bundle with four integer layers, for one runtime."""
    pytest.importorskip(RUNTIMES[target], reason=f"{RUNTIMES[target]} is not installed")
    return Path(shutil.copytree(EARLIER / target, tmp_path / target))


def answers_stored_again(path: Path) -> None:
    """The expected outputs in samples.npz are those of the artifact as it is now."""
    opened = bundles.open(seal(path))
    samples = opened.samples()
    outputs = opened.session().run({"x": samples["input/x"]})
    for name, values in outputs.items():
        samples |= {f"output/{name}": values, f"graph/{name}": values}
    np.savez(path / "samples.npz", **samples)
    seal(path)


def verified(path: Path) -> dict[str, Any]:
    (path / "report.json").unlink(missing_ok=True)
    return run(path, measure_latency=False)


def refused(report: dict[str, Any], metric: str) -> str:
    """Why the gate failed; it must be required."""
    found = gate(report, "parity" if metric == "float baseline" else "integer", metric)
    assert found["verdict"] == "fail" and found["required"] and report["verdict"] == "fail", report["gates"]
    return str(found["why"])


@EVERY_RUNTIME
def test_a_whole_artifact_passes(bundle):
    report = verified(bundle)
    for name, metric in (("integer", "live_weights_share"), ("integer", "graph_share"), ("parity", "float baseline")):
        found = gate(report, name, metric)
        assert found["verdict"] == "pass" and found["required"] and found["n"] > 0, found
    assert gate(report, "integer", "graph_share")["quantized"] == 1.0


@HOWS
@EVERY_RUNTIME
def test_a_float_network_beside_the_integer_one(bundle, target, how):
    pytest.importorskip("onnx")
    opened = bundles.open(bundle)
    grafted.graft(opened.backend, opened.graph_path(), opened.baseline_path(), how)
    answers_stored_again(bundle)
    report = verified(bundle)
    assert gate(report, "parity", "recorded outputs")["verdict"] == "pass"
    why = refused(report, "live_weights_share")
    assert "on no path from an input to an output that holds recorded weights" in why
    if how == grafted.BESIDE:
        assert "no output depends on the weights of 'features.0.weight'" in why
    else:
        assert "not the same network" in refused(report, "float baseline")


@pytest.mark.parametrize("target", ["host"])
def test_the_same_in_a_form_that_this_machine_cannot_run_as_its_board_does(bundle):
    pytest.importorskip("onnx")
    opened = bundles.open(bundle)
    grafted.graft(opened.backend, opened.graph_path(), opened.baseline_path(), grafted.BESIDE)
    seal(bundle, target="jetson-orin-nano")
    answers_stored_again(bundle)
    report = verified(bundle)
    assert gate(report, "integer", "int8_share")["verdict"] == "advisory"
    assert "no output depends on" in refused(report, "live_weights_share")
    assert "0.0%" in refused(report, "graph_share")


@pytest.mark.parametrize("target", ["host"])
def test_outputs_taken_before_the_last_layer(bundle):
    """The last layer is kept, and a float copy of it answers."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    path = bundles.open(bundle).graph_path()
    model = onnx.load(path)
    graph = model.graph
    result = graph.output[0].name
    last = next(node for node in reversed(graph.node) if node.op_type in ("Gemm", "MatMul"))
    weights = bundles.open(bundle).runtime.integer_weights(path)[-1]
    dequantized = (weights.data.astype(np.float32).T * weights.scale).T
    for node in graph.node:
        node.output[:] = ["integer" if name == result else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(dequantized.reshape(3, -1).T.copy(), "dequantized"))
    graph.node.append(helper.make_node("MatMul", [last.input[0], "dequantized"], [result]))
    path.write_bytes(model.SerializeToString())
    answers_stored_again(bundle)
    assert "no output depends on" in refused(verified(bundle), "live_weights_share")


@EVERY_RUNTIME
def test_weights_that_the_manifest_does_not_list(bundle):
    listed = json.loads((bundle / "manifest.json").read_text())["integer_weights"]
    first = next(iter(listed))
    report = verified(seal(bundle, integer_weights={first: listed[first]}))
    assert gate(report, "integer", "recorded int8_weights_share")["verdict"] == "pass"
    assert "does not list the weights" in refused(report, "live_weights_share")


@EVERY_RUNTIME
def test_a_baseline_that_is_the_artifact(bundle):
    opened = bundles.open(bundle)
    for file in opened.runtime.files_of(opened.graph()["file"]):
        shutil.copy(bundle / file, opened.baseline_path().with_suffix(Path(file).suffix))
    assert "holds the quantized weights" in refused(verified(seal(bundle)), "float baseline")


@EVERY_RUNTIME
def test_a_baseline_that_computes_more(bundle):
    """Its own network twice makes the artifact look fast."""
    pytest.importorskip("onnx")
    opened = bundles.open(bundle)
    baseline = opened.baseline_path()
    grafted.graft(opened.backend, baseline, baseline, grafted.TIMES_ZERO)
    assert "in 8 layers, the artifact" in refused(verified(seal(bundle)), "float baseline")


def test_a_baseline_that_nothing_was_compared_with_does_not_pass():
    gather = Flow((Step("Gather", "rows", ("x", "t"), ("y",), looks_up=True),), ("x",), ("y",), frozenset("t"), ())
    verdict = float_twin({"model": gather}, {"model": gather}, frozenset({"int8"}))
    assert verdict is not None and (verdict.verdict, verdict.required, verdict.n) == ("advisory", False, 0)
