from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
from runtime_artifacts import ATTENTION_MACS, QUANTIZED_MACS, arithmetic, attention, quantized

from edgeft import backends as runtime
from edgeft.core.errors import BundleError, Missing

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
onnx = pytest.importorskip("onnx", reason="the package onnx writes the models of these tests")

ort = runtime.get("onnxruntime")
X = np.random.default_rng(1).normal(size=(130, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    quantized(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_batches_chunks_and_loops_agree(model: Path, tmp_path: Path) -> None:
    import onnxruntime

    raw = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, {"x": X})[0]
    session = ort.load(model)
    assert session.inputs == (runtime.Tensor("x", (-1, 3, 8, 8), "float32"),)
    assert np.array_equal(session.run({"x": X})["y"], raw)
    for batch in (1, 4):  # 130 is no multiple of 4: the last piece is filled up and cut off
        quantized(tmp_path / "fixed.onnx", batch=batch)
        out = ort.load(tmp_path / "fixed.onnx").run({"anything": X})
        assert out["y"].shape == (130, 5) and np.array_equal(out["y"], raw)


def test_invoke_repeats_the_last_run(model: Path) -> None:
    session = ort.load(model)
    with pytest.raises(BundleError, match="nothing was run"):
        session.invoke()
    first = session.run({"x": X[:1]})["y"]
    session.invoke()
    session.invoke()
    assert np.array_equal(session._binding.copy_outputs_to_cpu()[0], first)
    second = session.run({"x": X[1:2]})["y"]
    session.invoke()
    assert np.array_equal(session._binding.copy_outputs_to_cpu()[0], second)


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        ({"a": np.zeros((1, 3), np.float32), "c": np.zeros((1, 3), np.float32)}, "no input is called 'c'.*'b' is not"),
        ({"a": np.zeros((1, 3), np.float32)}, "'b' is not fed"),
        ({"a": np.zeros((1, 4), np.float32), "b": np.zeros((1, 3), np.float32)}, r"'a' has shape \(1, 4\), expected"),
        ({"a": np.zeros((1, 3), np.uint8), "b": np.zeros((1, 3), np.float32)}, "'a' has dtype uint8, expected float32"),
        ({"a": np.zeros((2, 3), np.float32), "b": np.zeros((3, 3), np.float32)}, "same number of batches"),
        ({"a": np.zeros((0, 3), np.float32), "b": np.zeros((0, 3), np.float32)}, "'a' is empty"),
    ],
)
def test_wrong_feeds_name_the_tensor(tmp_path: Path, feeds: dict, says: str) -> None:
    arithmetic(tmp_path / "two.onnx")
    with pytest.raises(BundleError, match=says):
        ort.load(tmp_path / "two.onnx").run(feeds)


def test_names_by_position_and_nan(tmp_path: Path) -> None:
    arithmetic(tmp_path / "two.onnx")
    session = ort.load(
        tmp_path / "two.onnx", options={"input_names": ["left", "right"], "output_names": ["sum", "product"]}
    )
    a = np.array([[1, np.nan, 3]] * 2, np.float64)
    out = session.run({"right": np.full((2, 3), 2.0, np.float32), "left": a})
    assert out["sum"].dtype == np.float32
    np.testing.assert_array_equal(out["sum"], np.float32([[3, np.nan, 5]] * 2))
    np.testing.assert_array_equal(out["product"], np.float32([[2, np.nan, 6]] * 2))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"graph_optimisation_level": "x"}, BundleError, "graph_optimization_level"),
        ({"graph_optimization_level": "ALL"}, BundleError, "ORT_ENABLE_ALL"),
        ({"inter_op_num_threads": "1"}, BundleError, "expected a int"),
        ({"input_names": ["a", "b"]}, BundleError, "2 input names"),
        ({"provider": "NoSuchProvider"}, Missing, "NoSuchProvider"),
    ],
)
def test_options_are_checked(model: Path, options: dict, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        ort.load(model, options=options)


def test_files_that_do_not_load(tmp_path: Path, model: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        ort.load(tmp_path / "absent.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.read_bytes()[:-200])
    with pytest.raises(BundleError, match=r"broken\.onnx"):
        ort.load(broken)
    graph = onnx.load(model)
    graph.graph.node[0].op_type = "NoSuchOp"
    onnx.save(graph, broken)
    with pytest.raises(BundleError, match="does not load in ONNX Runtime"):
        ort.load(broken)


def test_integer_weights_are_those_of_the_file(tmp_path: Path) -> None:
    graph = quantized(tmp_path / "model.onnx")
    found = {w.name: w for w in ort.integer_weights(tmp_path / "model.onnx")}
    assert set(found) == set(graph.weights)
    for name, weight in found.items():
        assert weight.data.dtype == np.int8 and np.array_equal(weight.data, graph.weights[name])
        assert np.array_equal(weight.scale, graph.scales[name]) and weight.axis == 0 and weight.zero_point is None


def test_a_zero_point_of_weights_is_not_hidden(tmp_path: Path) -> None:
    quantized(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    zero = next(t for t in model.graph.initializer if t.name == "w3_z")
    zero.CopyFrom(onnx.numpy_helper.from_array(np.int8([0, 0, 7, 0, 0]), "w3_z"))
    onnx.save(model, tmp_path / "model.onnx")
    weights = {w.name: w for w in ort.integer_weights(tmp_path / "model.onnx")}
    assert weights["w1"].zero_point is None
    assert weights["w3"].zero_point.tolist() == [0, 0, 7, 0, 0]


def test_integer_share_of_what_executes(tmp_path: Path) -> None:
    quantized(tmp_path / "u8.onnx")
    share = ort.integer_share(tmp_path / "u8.onnx")
    assert (share.share, share.macs, share.integer_macs) == (1.0, QUANTIZED_MACS, QUANTIZED_MACS)
    assert share.float_ops == {} and share.ops["QLinearConv uint8"] == 2
    # Signed activations: this runtime's x86 kernels leave the convolutions in float, which must be seen.
    quantized(tmp_path / "s8.onnx", unsigned=False, batch=1)
    signed = ort.integer_share(tmp_path / "s8.onnx")
    assert signed.macs == QUANTIZED_MACS
    assert sum(v for k, v in signed.ops.items() if "Conv" in k) == 2
    if platform.machine() == "x86_64":
        assert signed.float_ops == {"Conv": 2, "Add": 1} and signed.integer_macs == 40


def test_integer_share_of_float_attention_and_lstm(tmp_path: Path) -> None:
    attention(tmp_path / "attention.onnx")
    share = ort.integer_share(tmp_path / "attention.onnx")
    assert (share.macs, share.integer_macs, share.share) == (ATTENTION_MACS, 0, 0.0)
    assert next(iter(share.float_ops)) in ("MatMul", "FusedMatMul", "LSTM")
    double = ort.integer_share(tmp_path / "attention.onnx", feeds={"x": np.zeros((2, 16, 32), np.float32)})
    assert double.macs == 2 * ATTENTION_MACS


def test_dynamic_quantization_counts_as_integer(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    attention(tmp_path / "float.onnx")
    quantization.quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", op_types_to_quantize=["MatMul"])
    share = ort.integer_share(tmp_path / "dynamic.onnx")
    assert share.macs == ATTENTION_MACS
    assert share.integer_macs >= 4 * 16 * 32 * 32 and "LSTM" in share.float_ops


def test_emitted(model: Path) -> None:
    facts = ort.emitted(model)
    assert (facts["opset"], facts["ir_version"]) == (18, 9)
    assert facts["ops"]["Conv"] == 2 and facts["ops"]["DequantizeLinear"] == 10


def test_version() -> None:
    import onnxruntime

    assert ort.version() == onnxruntime.__version__
