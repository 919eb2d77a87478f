"""What the exporter writes for a Jetson is held against the rules of TensorRT's own reader of ONNX."""

from __future__ import annotations

import benchmark_nets
import numpy as np
import onnx
import pytest
import tensorrt_rules
from onnx import helper
from onnx import numpy_helper as nh

from edgeft.backends.artifact import ExportRequest
from edgeft.backends.onnxruntime import exporter
from edgeft.config import target
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate

nets = benchmark_nets.module("compiler_nets")
BOARD = "jetson-orin-nano"
#: a residual, and attention: the others are long tests
QUICK = ("classify: resnet8", "vit")


def written(name, folder):
    """The quantized model of a net with settled random weights, for `BOARD`."""
    profile = target.load(BOARD)
    samples = nets.inputs(nets.NETS[name], 4, 7)
    graph = prepare(nets.settled(name), (samples[:2],), profile.scheme)
    graph.calibrate_weights("minmax")
    calibrate(graph.module, lambda: [(samples,)], estimator="minmax")
    border = (graph.captured.example, ("x",), graph.captured.output_names, profile, False)
    request = ExportRequest(lower(graph, "int"), *border, kind="quantized", weight_dtypes=graph.weight_dtypes())
    return onnx.load(folder / exporter.export(request, folder).file)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in nets.NETS]
)
def test_a_net_keeps_to_the_rules_of_tensorrts_reader(tmp_path, name):
    model = written(name, tmp_path)
    assert tensorrt_rules.broken(model) == []
    constants = {i.name for i in model.graph.initializer}
    source = {name: node for node in model.graph.node for name in node.output}

    def dequantized(value):
        """The quantized tensor that a factor comes from; a linear layer's weights are turned in between."""
        node = source.get(value)
        if node is not None and node.op_type == "Transpose":
            node = source.get(node.input[0])
        return node.input[0] if node is not None and node.op_type == "DequantizeLinear" else None

    factors = [
        [dequantized(v) for v in n.input[:2]] for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")
    ]
    layers = [pair for pair in factors if pair[1] in constants]
    assert layers and all(pair[0] is not None for pair in layers)
    attention = 4 if name == "vit" else 0  # two blocks with two products each, which stay float
    assert len(layers) == len(factors) - attention


@pytest.fixture(scope="module")
def legal(tmp_path_factory):
    return written("classify: resnet8", tmp_path_factory.mktemp("legal"))


def first(model, op):
    return next(node for node in model.graph.node if node.op_type == op)


def renamed(model, name, values):
    """A constant in the place of `name`, for one node alone."""
    model.graph.initializer.append(nh.from_array(values, name + "/altered"))
    return name + "/altered"


def unsigned(model):
    node = first(model, "QuantizeLinear")
    zero = renamed(model, node.input[2], np.array(0, np.uint8))
    for other in model.graph.node:
        if other.op_type == "DequantizeLinear" and other.input[0] == node.output[0]:
            other.input[2] = zero
    node.input[2] = zero


def shifted(model):
    node = first(model, "QuantizeLinear")
    node.input[2] = renamed(model, node.input[2], np.array(3, np.int8))


def bias_in_integers(model):
    conv = first(model, "Conv")
    (bias,) = [nh.to_array(i) for i in model.graph.initializer if i.name == conv.input[2]]
    whole, scale = np.zeros(bias.shape, np.int32), np.ones((), np.float32)
    inputs = [
        renamed(model, conv.input[2], whole),
        renamed(model, "s", scale),
        renamed(model, "z", np.array(0, np.int32)),
    ]
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, ["bias"], "bias"))
    conv.input[2] = "bias"


def negative(model):
    node = first(model, "QuantizeLinear")
    node.input[1] = renamed(model, node.input[1], np.array(-0.5, np.float32))


def computes_in_integers(model):
    node = first(model, "QuantizeLinear")
    reader = next(n for n in model.graph.node if node.output[0] in n.input)
    model.graph.node.insert(
        list(model.graph.node).index(reader), helper.make_node("Relu", [node.output[0]], ["integers"], "relu")
    )
    reader.input[0] = "integers"


@pytest.mark.parametrize(
    "alter, why",
    [
        (unsigned, "zero point is uint8"),
        (shifted, "zero point is int8 and not 0"),
        (bias_in_integers, "reads INT32"),
        (negative, "scale is not positive"),
        (computes_in_integers, "computes in INT8"),
    ],
)
def test_what_the_reader_refuses_is_noticed(legal, alter, why):
    model = onnx.ModelProto()
    model.CopyFrom(legal)
    alter(model)
    assert any(why in line for line in tensorrt_rules.broken(model))
