from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from export_nets import (
    HOST,
    IMAGES,
    TOKENS,
    VECTORS,
    Mlp,
    Mobile,
    One,
    Residual,
    Transformer,
    expected,
    floating,
    lowered,
    seeded,
    step_of,
)
from exporting import written
from onnx import numpy_helper as nh

from edgeft.backends.onnxruntime import exporter, inspect
from edgeft.backends.onnxruntime.zero_points import explicit_zero_points
from edgeft.config.scheme import Scheme
from edgeft.config.target import Target
from edgeft.core.errors import ModelError
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate


def run(path: Path, feeds, optimized: Path | None = None, level=None) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    if level is not None:
        options.graph_optimization_level = level
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: f.numpy() for i, f in zip(session.get_inputs(), feeds)})


def ops(path: Path) -> Counter:
    return Counter(n.op_type for n in onnx.load(path).graph.node)


def save(net, feeds, folder, outputs=("y",), dynamic=True, target=HOST):
    graph = lowered(net, feeds)
    names = [f"x{k}" for k in range(len(feeds))]
    return graph, written(exporter, graph, feeds, names, outputs, folder, target=target, dynamic_batch=dynamic)


def test_residual_net_runs_in_integer_kernels_within_a_step(tmp_path):
    graph, artifact = save(Residual(), IMAGES, tmp_path)
    (got,) = run(tmp_path / artifact.file, IMAGES, tmp_path / "optimized.onnx")
    assert np.abs(got - expected(graph, IMAGES)[0]).max() <= 2 * step_of(graph)
    kinds = ops(tmp_path / "optimized.onnx")
    assert kinds["QLinearConv"] == 2 and kinds["QLinearAdd"] == 1 and kinds["QGemm"] == 1
    assert kinds["QLinearGlobalAveragePool"] == 1 and kinds["MaxPool"] + kinds["NhwcMaxPool"] == 1
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == 1  # the borders only
    assert artifact.files == ("model.onnx",) and artifact.emitted["opset"] == 20


def test_weights_keep_their_bytes_and_activations_become_unsigned(tmp_path):
    graph, _ = save(Residual(), IMAGES, tmp_path)
    stored = [nh.to_array(i) for i in onnx.load(tmp_path / "model.onnx").graph.initializer]
    for name, buffer in graph.named_buffers():
        if name.endswith("integers"):
            assert any(s.dtype == np.int8 and np.array_equal(s, buffer.numpy()) for s in stored), name
    zero_points = [s for s in stored if s.ndim == 0 and s.dtype in (np.int8, np.uint8)]
    assert zero_points and all(s.dtype == np.uint8 for s in zero_points)


@pytest.mark.parametrize("form", ["integer", "tensorrt"])
def test_every_zero_point_is_written_out_in_the_type_and_shape_it_belongs_to(tmp_path, form):
    target = Target(name="board", title="", form=form, opset=(13, 17))
    save(Residual(symmetric=form == "tensorrt"), IMAGES, tmp_path, target=target)
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx")).graph
    constants = {i.name: nh.to_array(i) for i in graph.initializer}
    types = {i.name: i.data_type for i in graph.initializer}
    types |= {i.name: i.type.tensor_type.elem_type for i in [*graph.input, *graph.value_info]}
    grids = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in grids:
        assert len(node.input) == 3, node.name
        assert constants[node.input[2]].shape == constants[node.input[1]].shape, node.name
        stored = node.input[0] if node.op_type == "DequantizeLinear" else node.output[0]
        assert types[node.input[2]] == types[stored], node.name
    biases = [n for n in grids if types[n.input[0]] == onnx.TensorProto.INT32]
    assert len(biases) == (3 if form == "integer" else 0)
    assert not any(constants[n.input[2]].any() for n in biases)


def test_zero_points_that_were_left_out_are_zeros_of_the_implied_type(tmp_path):
    """Computed activations (uint8 by default), weights and a bias with a scale per channel."""
    node = onnx.helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "step"], ["x_q"]),
        node("DequantizeLinear", ["x_q", "step", ""], ["x_dq"]),
        node("DequantizeLinear", ["w", "w_steps"], ["w_dq"], axis=0),
        node("DequantizeLinear", ["b", "b_steps"], ["b_dq"], axis=0),
        node("Gemm", ["x_dq", "w_dq", "b_dq"], ["y"], transB=1),
    ]
    arrays = {
        "step": np.float32(0.02),
        "w": np.arange(-18, 18, dtype=np.int8).reshape(3, 12),
        "w_steps": np.float32([0.1, 0.2, 0.3]),
        "b": np.array([-70000, 3, 70000], np.int32),
        "b_steps": np.float32([0.002, 0.004, 0.006]),
    }
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "left_out",
        [value("x", onnx.TensorProto.FLOAT, [5, 12])],
        [value("y", onnx.TensorProto.FLOAT, [5, 3])],
        [nh.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "short.onnx")
    assert explicit_zero_points(model) == 4 and explicit_zero_points(model) == 0
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "long.onnx")

    constants = {i.name: nh.to_array(i) for i in model.graph.initializer}
    zeros = [constants[n.input[2]] for n in model.graph.node[:4]]
    assert [z.dtype.name for z in zeros] == ["uint8", "uint8", "int8", "int32"]
    assert [z.shape for z in zeros] == [(), (), (3,), (3,)] and not any(z.any() for z in zeros)
    exact = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    short, long = (run(tmp_path / name, VECTORS, level=exact)[0] for name in ("short.onnx", "long.onnx"))
    assert np.ptp(short) > 1 and np.array_equal(short, long)
    for read in (inspect.integer_weights, inspect.activation_grids):
        assert repr(read(tmp_path / "short.onnx")) == repr(read(tmp_path / "long.onnx"))


def test_two_outputs_padding_concat_and_gate_are_exact_without_optimization(tmp_path):
    graph, _ = save(Mobile(), IMAGES, tmp_path, outputs=("label", "map"))
    got = run(tmp_path / "model.onnx", IMAGES, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    for a, b in zip(got, expected(graph, IMAGES)):
        assert a.shape == b.shape and np.abs(a - b).max() <= step_of(graph) * 1.01
    run(tmp_path / "model.onnx", IMAGES, tmp_path / "optimized.onnx")
    kinds = ops(tmp_path / "optimized.onnx")
    assert kinds["QLinearConv"] == 4 and kinds["QLinearMul"] == 1 and kinds["QLinearConcat"] == 1
    assert not kinds["Conv"] and not kinds["Gemm"] and not kinds["Clip"]


def test_batch_is_dynamic_or_one(tmp_path):
    graph, _ = save(Mlp(), VECTORS, tmp_path)
    assert run(tmp_path / "model.onnx", (VECTORS[0][:3],))[0].shape == (3, 6)
    dims = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_param == "batch"
    static = Target(name="static", title="", static_shapes=True)
    written(exporter, graph, VECTORS, ["x"], ["y"], tmp_path, target=static, dynamic_batch=True)
    dims = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 12]


@pytest.mark.parametrize("opset", [13, *(pytest.param(opset, marks=pytest.mark.slow) for opset in (17, 19)), 20])
def test_transformer_lowers_to_every_opset_with_the_same_numbers(tmp_path, opset):
    target = Target(name="old", title="", opset=(13, opset), ir_version=9)
    graph, artifact = save(Transformer(), TOKENS, tmp_path, target=target)
    model = onnx.load(tmp_path / "model.onnx")
    assert model.opset_import[0].version == opset == artifact.emitted["opset"]
    assert model.ir_version <= 9 and [i.name for i in model.graph.input] == ["x0", "x1"]
    got = run(tmp_path / "model.onnx", TOKENS, tmp_path / "optimized.onnx")[0]
    assert np.abs(got - expected(graph, TOKENS)[0]).max() <= 2 * step_of(graph)
    kinds = ops(tmp_path / "optimized.onnx")
    assert kinds["MatMulIntegerToFloat"] + kinds["QGemm"] == 7


def test_ops_that_changed_their_form_lower_to_opset_13(tmp_path):
    def form(q, x):
        a, b = q(x).chunk(2, 1)
        x = torch.cat([q(b), q(F.pad(a, (1, 0)))[..., 1:]], 1)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
        return F.hardswish(x).mean(1) + x.amax(1)

    feeds = (seeded(2, 4, 6, 6),)
    target = Target(name="old", title="", opset=(9, 13))
    graph = lowered(One(form), feeds, dynamic=False)
    written(exporter, graph, feeds, ["x"], ["y"], tmp_path, target=target, dynamic_batch=False)
    assert not ops(tmp_path / "model.onnx")["HardSwish"]
    one = (feeds[0][:1],)
    assert np.abs(run(tmp_path / "model.onnx", one)[0] - expected(graph, feeds)[0][:1]).max() < 1e-5


@pytest.mark.parametrize(
    ("limits", "says"),
    [({"opset": (9, 12)}, "opset 12"), ({"opset": (18, 20), "ir_version": 7}, "IR 9"), ({"opset": (99, 99)}, "99")],
)
def test_a_profile_that_cannot_be_met_is_refused(tmp_path, limits, says):
    with pytest.raises(ModelError, match=says):
        save(Mlp(), VECTORS, tmp_path, target=Target(name="tight", title="", **limits))
    assert not list(tmp_path.iterdir())


def test_the_file_is_the_same_every_time_and_holds_no_paths(tmp_path):
    first = save(Residual(), IMAGES, tmp_path)[1]
    content = (tmp_path / first.file).read_bytes()
    save(Residual(), IMAGES, tmp_path)
    assert (tmp_path / first.file).read_bytes() == content
    assert (
        str(Path(__file__).parent).encode() not in content and b".py" not in content and b"site-packages" not in content
    )


POOLS = {
    "pad": lambda q, x: q(F.pad(q(x), (1, 2, 1, 2))),
    "channel pad": lambda q, x: q(F.pad(q(x), (0, 0, 0, 0, 1, 3))),
    "filled pad": lambda q, x: q(F.pad(q(x), (1, 1), value=0.5)),
    "reflect": lambda q, x: q(F.pad(q(x), (1, 1, 1, 1), mode="reflect")),
    "ceil": lambda q, x: q(F.avg_pool2d(q(x), 3, 2, ceil_mode=True)),
    "ceil with padding": lambda q, x: q(F.avg_pool2d(q(x), 3, 2, 1, ceil_mode=True, count_include_pad=False)),
    "counted padding": lambda q, x: q(F.avg_pool2d(q(x), 3, 1, 1)),
    "mean": lambda q, x: q(q(x).mean((2, 3))),
    "mean without grid": lambda q, x: q(x).mean((-2, -1)) * 2,
    "kept mean": lambda q, x: q(q(x).mean((2, 3), keepdim=True)),
}


@pytest.mark.parametrize("name", POOLS)
def test_each_pass_keeps_the_numbers(tmp_path, name):
    feeds = (seeded(1, 4, 10, 11, shift=0.5),)  # the zero point is neither 0 nor at an end
    graph = lowered(One(POOLS[name]), feeds, dynamic=False)
    written(exporter, graph, feeds, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False)
    for level in (None, ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
        got = run(tmp_path / "model.onnx", feeds, level=level)[0]
        assert np.abs(got - expected(graph, feeds)[0]).max() <= step_of(graph) * 1.01


@pytest.mark.parametrize(("act", "high"), [(F.relu, 5.0), (F.relu6, 9.0)], ids=["relu", "relu6"])
def test_a_convolution_with_a_wider_grid_than_its_activation_stays_integer(tmp_path, act, high):
    net = Residual()
    net.first.act, net.first.out.low, net.first.out.high = act, -3.0, high  # as if shared with a signed tensor
    with torch.no_grad():
        net.first.bias += 4
    graph, _ = save(net, IMAGES, tmp_path)
    got = run(tmp_path / "model.onnx", IMAGES, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)[0]
    assert np.abs(got - expected(graph, IMAGES)[0]).max() <= step_of(graph) * 1.01
    run(tmp_path / "model.onnx", IMAGES, tmp_path / "optimized.onnx")
    kinds = ops(tmp_path / "optimized.onnx")
    assert kinds["QLinearConv"] == 2 and kinds["Clip"] == 1 and not kinds["FusedConv"]
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == 1


def test_float_baseline(tmp_path):
    graph = floating(Residual(), IMAGES)
    target = Target(name="old", title="", opset=(13, 17))
    artifact = written(
        exporter, graph, IMAGES, ["x"], ["y"], tmp_path, target=target, dynamic_batch=False, kind="float"
    )
    got = np.concatenate([run(tmp_path / artifact.file, (x[None],))[0] for x in IMAGES[0]])
    assert np.abs(got - expected(graph, IMAGES)[0]).max() < 1e-5
    assert artifact.emitted["opset"] == 17 and "QuantizeLinear" not in artifact.emitted["ops"]


def test_tensorrt_form_is_signed_with_zero_points_of_zero(tmp_path):
    target = Target(name="jetson", title="", form="tensorrt", opset=(13, 17))
    graph = lowered(Residual(symmetric=True), IMAGES)
    written(exporter, graph, IMAGES, ["x"], ["y"], tmp_path, target=target, dynamic_batch=False)
    model = onnx.load(tmp_path / "model.onnx")
    constants = {i.name: nh.to_array(i) for i in model.graph.initializer}
    grids = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(grids) > 10
    for node in grids:
        assert constants[node.input[1]].dtype == np.float32
        assert constants[node.input[2]].dtype == np.int8 and not constants[node.input[2]].any()
    assert not any(v.dtype == np.uint8 for v in constants.values())
    got = run(tmp_path / "model.onnx", (IMAGES[0][:1],), level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)[0]
    assert np.abs(got - expected(graph, IMAGES)[0][:1]).max() <= 2 * step_of(graph)
    with pytest.raises(ModelError, match="zero points of 0"):
        save(Residual(), IMAGES, tmp_path, target=target)


def test_an_op_without_translation_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"(aten|prims)[.]\w+") as caught:
        save(One(lambda q, x: torch.special.bessel_j0(q(x))), VECTORS, tmp_path)
    assert "bessel" in str(caught.value) and "keep_float" in caught.value.remedy and "\n" not in caught.value.message


def test_a_bias_beyond_int32_is_refused(tmp_path):
    net = Mlp()
    with torch.no_grad():
        net.one.weight.scale[3] = 1e-12
    with pytest.raises(ModelError, match="channel 3") as caught:
        save(net, VECTORS, tmp_path)
    assert "weight" in caught.value.where


class Shared(torch.nn.Module):
    """A layer that runs three times, as ALBERT's do, and a convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.look = torch.nn.Linear(12, 12), torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = torch.relu(self.mix(x))
        x = x.unsqueeze(1)
        for _ in range(2):
            x = torch.relu(self.look(x))
        return x.squeeze(1)


def test_layers_that_share_their_weights_run_in_integers_each(tmp_path):
    torch.manual_seed(0)
    feeds = (torch.randn(2, 5, 12),)
    graph = prepare(Shared().eval(), feeds, Scheme())
    graph.calibrate_weights("minmax")
    calibrate(graph.module, lambda: (feeds for _ in range(2)), estimator="minmax")
    artifact = written(exporter, lower(graph, "int"), feeds, ("x0",), ("y",), tmp_path, target=HOST, dynamic_batch=True)

    path = tmp_path / artifact.file
    with torch.no_grad():
        expected_rows = graph.module(*feeds).numpy()
    (got,) = run(path, feeds)
    assert np.abs(got - expected_rows).max() <= 2 * step_of(lower(graph, "int"))
    share = inspect.integer_share(path, feeds={"x0": feeds[0][:1].numpy()})
    assert share.share == 1.0 and share.macs > 3 * 5 * 12 * 12, share.float_ops
    stored = [i for i in onnx.load(path).graph.initializer if list(i.dims) == [12, 12]]
    assert len(stored) == 1, "the integers are kept once"
