"""Small real artifacts for the runtime tests, and the figures that are known of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeft.config import target

#: the largest weight that this machine's integer kernels add up without saturating
TOP = target.load("host").scheme.widest.range[1]
DATA = os.environ.get("EDGEFT_DATA", "")
#: of the quantized net below: conv 3x3 3->8 over 8x8, depthwise 3x3 over 8x8, linear 8->5
QUANTIZED_MACS = 8 * 8 * 8 * 27 + 8 * 8 * 8 * 9 + 40
#: of the attention net below: four projections, two products, an LSTM of 8 units over 16 steps
ATTENTION_MACS = 4 * 16 * 32 * 32 + 2 * 16 * 16 * 32 + 16 * (32 * 32 + 32 * 8)


def shared(*parts: str) -> Path:
    """A file of the test data, or a skip that says what is missing."""
    path = Path(DATA, *parts)
    if not DATA or not path.is_file():
        pytest.skip(f"EDGEFT_DATA holds no {'/'.join(parts)}")
    return path


def mlperf_tiny(*parts: str) -> Path:
    return shared("09_mlperf_tiny", *parts)


class Graph:
    """Collects nodes and initializers of an ONNX graph, with the Q/DQ pairs that quantization writes."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list = []
        self.initializers: list = []
        self.weights: dict[str, np.ndarray] = {}
        self.scales: dict[str, np.ndarray] = {}

    def constant(self, name: str, value: object) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def activation(self, source: str, name: str, scale: float, zero: int, dtype: type) -> str:
        params = [self.constant(f"{name}_s", np.float32(scale)), self.constant(f"{name}_z", dtype(zero))]
        self.node("QuantizeLinear", [source, *params], f"{name}_q")
        return self.node("DequantizeLinear", [f"{name}_q", *params], f"{name}_dq")

    def weight(self, name: str, shape: tuple[int, ...], axis: int = 0) -> str:
        self.weights[name] = self.rng.integers(-TOP, TOP + 1, shape).astype(np.int8)
        self.scales[name] = (self.rng.random(shape[axis]) * 0.01 + 0.001).astype(np.float32)
        self.constant(name, self.weights[name])
        self.constant(f"{name}_s", self.scales[name])
        self.constant(f"{name}_z", np.zeros(shape[axis], np.int8))
        return self.node("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_dq", axis=axis)

    def model(self, inputs: dict[str, list], outputs: dict[str, list], opset: int = 18):
        import onnx
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        onnx.checker.check_model(model)
        return model


def quantized(path: Path, *, batch: object = "N", unsigned: bool = True) -> Graph:
    """conv + relu, depthwise, residual add, pool, linear, all of it in Q/DQ; input x (batch, 3, 8, 8), output y."""
    import onnx

    dtype, zero = (np.uint8, 128) if unsigned else (np.int8, 0)
    g = Graph()
    x = g.activation("x", "x0", 0.02, zero, dtype)
    bias = g.constant("b1", g.rng.normal(size=8).astype(np.float32))
    g.node("Conv", [x, g.weight("w1", (8, 3, 3, 3)), bias], "c1", kernel_shape=[3, 3], pads=[1] * 4)
    r = g.activation(g.node("Relu", ["c1"], "r1"), "r1", 0.02, zero - 128, dtype)
    g.node("Conv", [r, g.weight("w2", (8, 1, 3, 3))], "c2", kernel_shape=[3, 3], pads=[1] * 4, group=8)
    c = g.activation("c2", "c2", 0.03, zero, dtype)
    a = g.activation(g.node("Add", [r, c], "a"), "a", 0.03, zero, dtype)
    p = g.activation(g.node("GlobalAveragePool", [a], "p"), "p", 0.03, zero, dtype)
    f = g.activation(g.node("Flatten", [p], "f"), "f", 0.03, zero, dtype)
    o = g.node("Gemm", [f, g.weight("w3", (5, 8))], "o", transB=1)
    g.node("Identity", [g.activation(o, "o", 0.03, zero, dtype)], "y")
    onnx.save(g.model({"x": [batch, 3, 8, 8]}, {"y": [batch, 5]}), path)
    return g


def attention(path: Path) -> None:
    """One float attention layer of four heads and an LSTM behind it; input x (N, 16, 32)."""
    import onnx

    g = Graph()

    def linear(source: str, name: str) -> str:
        weight = g.constant(f"{name}_w", g.rng.normal(size=(32, 32)).astype(np.float32) / 6)
        return g.node("MatMul", [source, weight], name)

    def heads(name: str, order: list[int]) -> str:
        g.node("Reshape", [linear("x", name), g.constant(f"{name}_to", np.array([0, 0, 4, 8]))], f"{name}_r")
        return g.node("Transpose", [f"{name}_r"], f"{name}_h", perm=order)

    g.node("MatMul", [heads("q", [0, 2, 1, 3]), heads("k", [0, 2, 3, 1])], "s")
    g.node("Mul", ["s", g.constant("factor", np.float32(0.3))], "scaled")
    g.node("MatMul", [g.node("Softmax", ["scaled"], "p", axis=-1), heads("v", [0, 2, 1, 3])], "o")
    g.node(
        "Reshape", [g.node("Transpose", ["o"], "ot", perm=[0, 2, 1, 3]), g.constant("to", np.array([0, 0, 32]))], "j"
    )
    g.node("Transpose", [linear("j", "out")], "steps", perm=[1, 0, 2])
    for name, shape in (("W", (1, 32, 32)), ("R", (1, 32, 8)), ("B", (1, 64))):
        g.constant(name, (g.rng.normal(size=shape) * 0.1).astype(np.float32))
    g.node("LSTM", ["steps", "W", "R", "B"], "y", hidden_size=8)
    onnx.save(g.model({"x": ["N", 16, 32]}, {"y": [16, 1, "N", 8]}), path)


def arithmetic(path: Path, *, batch: object = 1) -> None:
    """Two inputs a (batch, 3), b (batch, 3); outputs total = a + b and product = a * b."""
    import onnx

    g = Graph()
    g.node("Add", ["a", "b"], "total")
    g.node("Mul", ["a", "b"], "product")
    shape = [batch, 3]
    onnx.save(g.model({"a": shape, "b": shape}, {"total": shape, "product": shape}), path)


def tflite_addition(path: Path, *, shape: tuple[int, ...] = (1, 3), signature: tuple[int, ...] | None = None) -> None:
    """A `.tflite` of two float inputs with mangled names, t0:0 and t1:0, and their sum, written with its schema."""
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model, graph, code, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version, operator.opcodeIndex = 1, 0
    operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
    operator.builtinOptions = schema.AddOptionsT()
    operator.inputs, operator.outputs = np.int32([0, 1]), np.int32([2])
    graph.tensors = []
    for i in range(3):
        tensor = schema.TensorT()
        tensor.shape, tensor.name, tensor.buffer = np.int32(shape), f"t{i}:0".encode(), 0
        if signature is not None:
            tensor.shapeSignature = np.int32(signature)
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs, graph.operators = np.int32([0, 1]), np.int32([2]), [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
