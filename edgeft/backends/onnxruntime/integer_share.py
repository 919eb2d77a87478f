"""From ONNX Runtime's profile of one run to an `IntegerShare`.

The profile tells each executed kernel with the types and shapes of what went in and out, except for weights that the
runtime has packed; those shapes are looked up in the optimized graph, whose nodes are the executed ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from .. import IntegerShare, _macs
from .wire import OnnxGraph, OnnxModel, OnnxNode, OnnxTensor

#: op -> position of its weights
_CONV = {
    "Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3, "NhwcConv": 1,
    "DynamicQuantizeConv": 1,
}  # fmt: skip
_TRANSPOSED = {"ConvTranspose": 1, "QLinearConvTranspose": 3, "ConvTransposeWithDynamicPads": 1}
_MATMUL = {
    "MatMul": 1, "FusedMatMul": 1, "TransposeMatMul": 1, "FusedMatMulActivation": 1, "Gemm": 1, "FusedGemm": 1,
    "MatMulInteger": 1, "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "QLinearMatMul": 3, "QGemm": 3,
    "MatMulNBits": 1,
}  # fmt: skip
_RECURRENT = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "DynamicQuantizeLSTM": (1, 2)}
#: integer kernels although their activations come in float: they quantize on the fly.
_DYNAMIC = {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "DynamicQuantizeConv"}
MOVES = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Transpose", "Reshape", "Flatten", "Squeeze",
    "Unsqueeze", "Identity", "Cast", "Concat", "QLinearConcat", "Slice", "Split", "Gather", "GatherND",
    "GatherElements", "Expand", "Tile", "Pad", "Shape", "Size", "Range", "ConstantOfShape", "Constant",
    "ReorderInput", "ReorderOutput", "DepthToSpace", "SpaceToDepth", "If", "Loop", "Scan", "ScatterND",
    "ScatterElements", "MemcpyFromHost", "MemcpyToHost",
}  # fmt: skip
#: ops whose multiply-accumulates are counted
PRODUCTS = frozenset({*_CONV, *_TRANSPOSED, *_MATMUL, *_RECURRENT, "Attention", "QAttention", "MultiHeadAttention"})


def share(events: Sequence[dict[str, Any]], optimized: OnnxModel) -> IntegerShare:
    """`events`: the profile's JSON; `optimized`: the graph that the runtime saved after optimizing."""
    tally = _macs.Tally()
    lookup = _Lookup(optimized)
    for name, op, inputs, outputs in _executed(events):
        kind = inputs[0][0] if inputs else outputs[0][0] if outputs else "none"
        if op in MOVES:
            tally.add(op, outputs[0][0] if outputs else kind, moves=True)
            continue

        macs = _work(op, lookup.node(name, op), lookup, inputs, outputs) if outputs else 0
        integer = op in _DYNAMIC or kind in _macs.INTEGER
        dtype = kind if integer and op not in _DYNAMIC else outputs[0][0] if outputs else kind
        tally.add(op, "dynamic int8" if op in _DYNAMIC else dtype, macs=macs, integer=integer)

    return tally.share()


def work_of_nodes(events: Sequence[dict[str, Any]], optimized: OnnxModel) -> dict[str, int]:
    """Multiply-accumulates of each node by its name, from the profile of one run."""
    lookup, macs = _Lookup(optimized), {}
    for name, op, inputs, outputs in _executed(events):
        if op not in MOVES and outputs:
            macs[name] = _work(op, lookup.node(name, op), lookup, inputs, outputs)

    return macs


_Typed = list[tuple[str, list[int]]]


def _executed(events: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, _Typed, _Typed]]:
    """(node name, op, inputs, outputs) of each kernel that ran; inputs and outputs are (dtype, shape) pairs."""
    for event in events:
        name, facts = event.get("name", ""), event.get("args", {})
        if event.get("cat") == "Node" and name.endswith("_kernel_time") and "op_name" in facts:
            sides = []
            for key in ("input_type_shape", "output_type_shape"):
                sides.append([(_dtype(t), list(s)) for entry in facts.get(key, []) for t, s in entry.items()])
            yield name.removesuffix("_kernel_time"), facts["op_name"], sides[0], sides[1]


def _dtype(name: str) -> str:
    return {"float": "float32", "double": "float64"}.get(name, name)


class _Lookup:
    """Executed node -> node of the optimized graph: by name, and the unnamed ones in order, which is the same."""

    def __init__(self, model: OnnxModel) -> None:
        self.constants: dict[str, OnnxTensor] = model.tensors()
        self._named: dict[tuple[str, str], list[OnnxNode]] = defaultdict(list)
        self._unnamed: dict[str, list[OnnxNode]] = defaultdict(list)
        self._given: dict[tuple[str, str], OnnxNode | None] = {}
        self._turns: dict[tuple[str, str], int] = defaultdict(int)
        graphs: list[OnnxGraph] = list(model.graphs())

        for graph in graphs:
            for node in graph.nodes:
                if node.name:
                    self._named[node.name, node.op].append(node)
                else:
                    self._unnamed[node.op].append(node)

    def node(self, name: str, op: str) -> OnnxNode | None:
        key = (name, op)
        if key in self._named:
            same = self._named[key]
            self._turns[key] += 1
            return same[(self._turns[key] - 1) % len(same)]

        if key not in self._given:
            waiting = self._unnamed[op]
            self._given[key] = waiting.pop(0) if waiting else None

        return self._given[key]

    def dims(self, node: OnnxNode | None, position: int) -> tuple[int, ...] | None:
        if node is None or position >= len(node.inputs) or node.inputs[position] not in self.constants:
            return None
        return self.constants[node.inputs[position]].dims


def _work(op: str, node: OnnxNode | None, lookup: _Lookup, inputs: _Typed, outputs: _Typed) -> int:
    """Multiply-accumulates of one kernel; 0 for an op without weights or products."""
    output = outputs[0][1]
    if op in _CONV or op in _TRANSPOSED:
        weights = lookup.dims(node, (_CONV | _TRANSPOSED)[op]) or _ranked(inputs, 1)
        taps = _product(weights[1:]) if weights else 0
        return _macs.convolution(output if op in _CONV else inputs[0][1], taps)

    if op in _RECURRENT:
        sizes = [d for p in _RECURRENT[op] if (d := lookup.dims(node, p)) is not None]
        return _macs.recurrent(inputs[0][1], sizes)

    if op in _MATMUL:
        transposed = bool(node and (node.attributes.get("transB") or node.attributes.get("transBatchB")))
        weights = lookup.dims(node, _MATMUL[op])
        if weights and op != "MatMulNBits":
            return _product(output) * weights[-1 if transposed or len(weights) == 1 else -2]

        left = lookup.dims(node, 0) or (inputs[0][1] if inputs else ())
        if node is not None and node.attributes.get("transA"):
            return _product(output) * left[-2]

        return _macs.matmul(left, output)

    if op in ("Attention", "QAttention"):
        return _attention(lookup.dims(node, 1), inputs)

    if op == "MultiHeadAttention" and len(inputs) > 2 and len(inputs[0][1]) == 3:
        batch, queries, hidden = inputs[0][1]
        return 2 * batch * queries * hidden * inputs[1][1][-2]

    return 0


def _attention(weights: Sequence[int] | None, inputs: _Typed) -> int:
    """Fused self-attention: the projections (x by W), and then queries by keys and their weights by values."""
    if weights is None or len(inputs[0][1]) != 3:
        return 0
    batch, length, _ = inputs[0][1]
    return batch * length * _product(weights) + 2 * batch * length * length * (weights[-1] // 3)


def _ranked(inputs: _Typed, position: int) -> list[int] | None:
    """The weights where the profile shows them: the first later input of rank three or more."""
    ranked_shapes = [shape for _, shape in inputs[position:] if len(shape) >= 3]
    return ranked_shapes[0] if ranked_shapes else None


def _product(values: Sequence[int]) -> int:
    return prod(values)
