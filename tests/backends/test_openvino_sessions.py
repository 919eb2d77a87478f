from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runtime_artifacts import ATTENTION_MACS, QUANTIZED_MACS, arithmetic, attention, quantized

from edgeft import backends as runtime
from edgeft.core.errors import BundleError

pytest.importorskip("onnx", reason="the package onnx writes the models of these tests")
if not importlib.util.find_spec("openvino"):  # found, not imported: that is for the runtime to do, silently
    pytest.skip("openvino is not installed", allow_module_level=True)

vino = runtime.get("openvino")
X = np.random.default_rng(1).normal(size=(70, 3, 8, 8)).astype(np.float32)


def convert(source: Path, compress: bool = False) -> Path:
    openvino = vino.part("session").module()
    target = source.with_suffix(".xml")
    openvino.save_model(openvino.convert_model(source), target, compress_to_fp16=compress)
    return target


@pytest.fixture
def model(tmp_path: Path) -> Path:
    quantized(tmp_path / "model.onnx")
    return convert(tmp_path / "model.onnx")


def test_xml_and_onnx_agree_with_onnxruntime(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    expected = runtime.get("onnxruntime").load(model.with_suffix(".onnx")).run({"x": X})["y"]
    for path in (model, model.with_suffix(".onnx")):
        session = vino.load(path)
        assert (session.inputs[0].name, session.outputs[0].name) == ("x", "y")
        out = session.run({"x": X})["y"]
        # steps of the output are 0.03: at most one apart, and seldom
        assert np.abs(out - expected).max() < 0.031 and (out != expected).mean() < 0.1
    quantized(tmp_path / "fixed.onnx", batch=1)
    fixed = vino.load(convert(tmp_path / "fixed.onnx")).run({"x": X})["y"]
    assert np.array_equal(fixed, out)


def test_invoke_repeats_the_last_run(model: Path) -> None:
    session = vino.load(model, threads=2)
    with pytest.raises(BundleError, match="nothing was run"):
        session.invoke()
    first = session.run({"x": X[:1]})["y"]
    session.invoke()
    assert np.array_equal(session.handle.get_output_tensor(0).data, first)


def test_two_inputs_names_and_nan(tmp_path: Path) -> None:
    arithmetic(tmp_path / "two.onnx")
    path = convert(tmp_path / "two.onnx")
    a, b = np.float32([[1, np.nan, 3]] * 2), np.full((2, 3), 2, np.float32)
    out = vino.load(path).run({"b": b, "a": a})
    np.testing.assert_array_equal(out["total"], a + b)
    renamed = vino.load(path, options={"input_names": ["p", "q"]}).run({"q": b, "p": a})
    np.testing.assert_array_equal(renamed["product"], a * b)
    with pytest.raises(BundleError, match="'b' is not fed"):
        vino.load(path).run({"a": a})


def test_what_is_computed_is_float32(model: Path) -> None:
    session = vino.load(model)
    compiled = session.handle.get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


@pytest.mark.parametrize("compress", [False, True])
def test_integer_weights_are_those_of_the_graph(tmp_path: Path, compress: bool) -> None:
    graph = quantized(tmp_path / "model.onnx")
    for path in (convert(tmp_path / "model.onnx", compress), tmp_path / "model.onnx"):
        found = {w.name: w for w in vino.integer_weights(path)}
        assert set(found) == set(graph.weights)
        for name, weight in found.items():
            assert np.array_equal(weight.data, graph.weights[name]) and weight.zero_point is None
            assert np.array_equal(weight.scale, graph.scales[name]) and weight.axis == 0


def test_integer_share(model: Path, tmp_path: Path) -> None:
    share = vino.integer_share(model)
    assert (share.macs, share.integer_macs) == (QUANTIZED_MACS, QUANTIZED_MACS)
    assert not share.float_ops
    attention(tmp_path / "attention.onnx")
    path = convert(tmp_path / "attention.onnx")
    share = vino.integer_share(path)
    assert (share.macs, share.integer_macs) == (ATTENTION_MACS, 0)
    assert {"FullyConnected", "RNNSeq"} <= set(share.float_ops)
    double = vino.integer_share(path, feeds={"x": np.zeros((2, 16, 32), np.float32)})
    assert double.macs == 2 * ATTENTION_MACS


def test_emitted(model: Path) -> None:
    facts = vino.emitted(model)
    assert facts["ir_version"] >= 11 and facts["ops"]["GroupConvolution"] == 1 and facts["ops"]["FakeQuantize"] >= 6


def test_files_that_do_not_load(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        vino.load(tmp_path / "absent.xml")
    text = model.read_text()
    cases = {
        "cut": text[: len(text) // 2],
        "entity": text.replace("<net", '<!DOCTYPE net [<!ENTITY a "b">]><net', 1),
        "op": text.replace('type="GroupConvolution"', 'type="NoSuchOp"'),
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.xml"
        path.write_text(content)
        path.with_suffix(".bin").write_bytes(model.with_suffix(".bin").read_bytes())
        with pytest.raises(BundleError, match=name):
            vino.load(path)
    model.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.xml"):
        vino.load(model)
    model.with_suffix(".bin").unlink()
    with pytest.raises(BundleError, match=r"model\.bin"):
        vino.load(model)


def test_no_telemetry_is_sent(tmp_path: Path) -> None:
    """In a process of its own with a home of its own: nothing of the telemetry package is loaded, nothing written."""
    code = (
        "import sys; from edgeft.backends.openvino import session as v; m = v.module(); "
        f"m.convert_model({str(tmp_path / 'm.onnx')!r}); "
        "assert not [n for n in sys.modules if n.startswith('openvino_telemetry.')]"
    )
    arithmetic(tmp_path / "m.onnx")
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-c", code], check=True, env={"HOME": str(home), "PATH": ""})
    assert list(home.iterdir()) == []


def test_telemetry_that_is_already_loaded_is_put_to_rest() -> None:
    if not list(importlib.metadata.distributions(name="openvino-telemetry")):
        pytest.skip("openvino's telemetry package is not installed")
    code = (
        "from openvino_telemetry.utils.sender import TelemetrySender as s; "
        "from edgeft.backends.openvino import session as v; "
        "sent = []; backend = type('B', (), {'send': sent.append}); "
        "v._silence(); sender = s(); sender.send(backend, 'message'); sender.force_shutdown(1); assert not sent"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
