"""int16x8: in LiteRT's integer kernels, and as pairs of ops that ONNX Runtime computes in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from format_artifacts import NETS, changed, written

from edgeft import backends
from edgeft.backends.litert import flatbuffer
from edgeft.config import target
from edgeft.core.errors import TargetError
from edgeft.quantize.lower import integer_weights
from edgeft.verify.integer import integer
from edgeft.verify.scales import activation_scales


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", ["host-litert", "host"])
def test_the_artifact_computes_the_graph_to_a_step_of_sixteen_bits(name: str, net: str, tmp_path: Path) -> None:
    profile, graph, path = written(name, net, "int16x8", tmp_path)
    _, example, layers = NETS[net]
    runtime = backends.get(profile.backend)
    assert profile.scheme.format == "int16x8"
    expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    judged = integer(expected, runtime.integer_weights(path))
    assert judged.verdict == "pass" and judged.n == layers, judged.why
    grids = [fake.parameters_of_grid() for fake in graph.activations().values()]
    assert {zero for _, zero in grids} == {0}
    assert activation_scales(grids, runtime.activation_grids(path)).verdict == "pass"

    with torch.no_grad():
        exact = graph.module.eval()(*example).numpy()
    feeds = {graph.captured.input_names[0]: example[0].numpy()}
    (output,) = runtime.load(path, options=runtime.artifact_options(path)).run(feeds).values()
    step = graph.output_steps()["output"]
    assert isinstance(step, float) and step < 1e-4 * np.ptp(exact)
    assert np.abs(output - exact).max() <= 2 * step
    share = runtime.integer_share(path)
    assert share.share > 0.9 if name == "host-litert" else share.share == 0
    assert not any("MatMulNBits" in op for op in share.ops), "which rounds activations to 8 bits by itself"

    scale = np.float32(runtime.activation_grids(path)[0].scale)
    content = path.read_bytes()
    path.write_bytes(content.replace(scale.tobytes(), np.float32(scale * 1.5).tobytes()))
    assert activation_scales(grids, runtime.activation_grids(path)).verdict == "fail"
    path.write_bytes(content)
    largest = max(runtime.integer_weights(path), key=lambda weight: weight.data.size).data
    altered = largest.copy()
    altered.reshape(-1)[0] ^= 1
    changed(path, largest.tobytes(), altered.tobytes())
    assert integer(expected, runtime.integer_weights(path)).verdict == "fail"


def test_litert_gets_biases_of_64_bits_and_a_sigmoid_on_a_power_of_two(tmp_path: Path) -> None:
    _, _, path = written("host-litert", "excite", "int16x8", tmp_path)
    model = flatbuffer.read(path)
    biases = {model.tensors[op.inputs[2]].type for op in model.operators if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D")}
    assert biases == {4}, "TensorType.INT64"
    (sigmoid,) = (model.tensors[op.outputs[0]] for op in model.operators if op.name == "LOGISTIC")
    assert sigmoid.scale.tolist() == [2.0**-15] and sigmoid.type == 7
    assert sum(len(tensor.data) for tensor in model.tensors if tensor.type == 2 and tensor.data is not None) < 100, (
        "no bias is stored twice"
    )


def test_a_gelu_between_integers_stays_float(tmp_path: Path) -> None:
    """Runtimes compute it by a table of 256 entries, which integers of 16 bits do not fit."""
    profile, graph, path = written("host-litert", "block", "int16x8", tmp_path)
    assert graph.summary.float_ops["gelu"] == 1
    ops = backends.get(profile.backend).integer_share(path).ops
    assert "GELU float32" in ops and ops["FULLY_CONNECTED int16"] == 5


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("host-openvino", "no artifacts of the format int16x8 in OpenVINO", "it has int8, fp16, w8, w4, fp32"),
        ("rk3588", "reads ONNX up to opset 19, and int16x8 needs 21", "it has int8, fp16, w8, fp32"),
        ("host-executorch", "no artifacts of the format int16x8 in ExecuTorch", "it has int8, fp32"),
    ],
)
def test_a_target_without_it_is_refused_by_name(name: str, message: str, remedy: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        target.with_format(target.load(name), "int16x8")
    assert caught.value.remedy == remedy
