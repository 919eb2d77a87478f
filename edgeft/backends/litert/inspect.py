"""What a TFLite file holds, and what its interpreter executes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...config import numeric
from .. import Grid, IntegerShare, Operation, WeightTensor, _macs
from ..base_session import existing
from ..flow import Flow, Step
from . import flatbuffer as _tflite
from .session import load

_WEIGHTED = {
    "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "RNN", "SVDF",
}  # fmt: skip
_MOVES = {
    "QUANTIZE", "DEQUANTIZE", "RESHAPE", "TRANSPOSE", "CONCATENATION", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V",
    "PAD", "PADV2", "MIRROR_PAD", "GATHER", "GATHER_ND", "SQUEEZE", "EXPAND_DIMS", "PACK", "UNPACK", "CAST", "SHAPE",
    "TILE", "FILL", "BROADCAST_TO", "EMBEDDING_LOOKUP", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND",
    "BATCH_TO_SPACE_ND", "REVERSE_V2", "DELEGATE", "DYNAMIC_UPDATE_SLICE", "READ_VARIABLE", "ASSIGN_VARIABLE",
    "VAR_HANDLE", "IF", "WHILE", "CALL_ONCE",
}  # fmt: skip
#: ops that compute what is not looked into, and ops that take rows of a table
_OPAQUE = {"IF", "WHILE", "CALL", "CALL_ONCE", "DELEGATE", "CONCAT_EMBEDDINGS", "LSH_PROJECTION", "RFFT2D"}
_LOOK_UPS = {"GATHER", "GATHER_ND", "EMBEDDING_LOOKUP"}


def integer_weights(path: Path) -> list[WeightTensor]:
    """Every quantized constant of more than one element, in TFLite's layout: OHWI, 1HWO (depthwise), (out, in);
    every table of integers whose rows are looked up and scaled; and every constant of narrow floats."""
    return [weight for _, weight in _weights(_tflite.read(existing(path)))]


def _weights(model: _tflite.TfliteModel) -> list[tuple[str, WeightTensor]]:
    """The weights, each with the position of its tensor."""
    position = {id(tensor): str(k) for k, tensor in enumerate(model.tensors)}
    weights = []
    for tensor, data in model.integer_constants():
        if tensor.scale.size:
            zero, scale = tensor.zero_point.astype(np.int32), tensor.scale.astype(np.float32)
            weight = WeightTensor(tensor.name, data.copy(), scale, tensor.axis, zero if zero.any() else None)
            weights.append((position[id(tensor)], weight))

    for tensor, data, scale in model.integer_tables():
        weights.append((position[id(tensor)], WeightTensor(tensor.name, data.copy(), scale.copy())))

    for tensor, data in model.narrow_constants():
        weights.append((position[id(tensor)], WeightTensor(tensor.name, data.copy(), np.ones(1, np.float32))))

    return weights


def activation_grids(path: Path) -> list[Grid]:
    """Of every quantized tensor of integers without data."""
    return [grid for _, grid in _grids(_tflite.read(existing(path)))]


def _grids(model: _tflite.TfliteModel) -> list[tuple[str, Grid]]:
    """The grids, each with the position of its tensor."""
    grids = []
    for position, tensor in enumerate(model.tensors):
        dtype = _tflite.INTEGERS.get(tensor.type)
        if dtype and tensor.data is None and tensor.scale.size == 1:
            zero = int(tensor.zero_point[0]) if tensor.zero_point.size else 0
            zero = numeric.signed_zero_point(zero, dtype)
            grids.append((str(position), Grid(tensor.name, float(tensor.scale[0]), zero, numeric.width(dtype))))

    return grids


def integer_share(
    path: Path,
    *,
    threads: int = 1,
    feeds: Mapping[str, np.ndarray] | None = None,
    options: Mapping[str, Any] | None = None,
) -> IntegerShare:
    """From the types of the ops' tensors, without a delegate (which would hide them behind one op).

    No option of the runtime changes those types. Float activations on int8 weights are counted as integer, `dynamic
    int8`: the kernels quantize on the fly.
    """
    session = load(Path(path), threads=threads, options={"op_resolver": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"})
    interpreter = session.handle  # type: ignore[attr-defined]

    if feeds is None:
        feeds = {}
        for tensor in session.inputs:
            dtype = "float32" if tensor.scale is not None else tensor.dtype
            feeds[tensor.name] = np.zeros([abs(d) for d in tensor.shape], dtype)

    session.run(feeds)
    tensors = {int(d["index"]): d for d in interpreter.get_tensor_details()}
    tally = _macs.Tally()

    for op in interpreter._get_ops_details():
        inputs = [tensors[int(i)] for i in op["inputs"] if int(i) in tensors]
        outputs = [tensors[int(i)] for i in op["outputs"] if int(i) in tensors]
        name = op["op_name"]
        types = [np.dtype(d["dtype"]).name for d in inputs]
        result = np.dtype(outputs[0]["dtype"]).name if outputs else types[0] if types else "none"
        if name not in _WEIGHTED:
            integer = result in _macs.INTEGER and (not types or types[0] in _macs.INTEGER)
            tally.add(name, result, integer=integer, moves=name in _MOVES)
            continue

        activation, weights = (2, 1) if name == "TRANSPOSE_CONV" else (0, 1)
        dynamic = types[activation].startswith("float") and types[weights] in numeric.STORED_WEIGHTS
        integer = dynamic or types[activation] in _macs.INTEGER
        tally.add(name, "dynamic int8" if dynamic else result, macs=_work(name, inputs, outputs), integer=integer)

    return tally.share()


def _work(name: str, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> int:
    """Multiply-accumulates of one op; the weight layouts are those of the TFLite kernels."""
    shapes = [[int(d) for d in t["shape"]] for t in inputs]
    output = [int(d) for d in outputs[0]["shape"]]

    if name == "CONV_2D":  # (out, h, w, in)
        return _macs.convolution(output, prod(shapes[1][1:]))
    if name == "DEPTHWISE_CONV_2D":  # (1, h, w, out)
        return _macs.convolution(output, prod(shapes[1][1:3]))
    if name == "CONV_3D":  # (d, h, w, in, out)
        return _macs.convolution(output, prod(shapes[1][:-1]))
    if name == "TRANSPOSE_CONV":  # output shape, (out, h, w, in), input
        return _macs.convolution(shapes[2], prod(shapes[1][:3]))
    if name == "FULLY_CONNECTED":  # (out, in)
        return prod(output) * shapes[1][-1]
    if name == "BATCH_MATMUL":
        return _macs.matmul(shapes[0], output)

    return _macs.recurrent(shapes[0], [s for s in shapes[1:] if len(s) == 2 and s[0] > 1])


def emitted(path: Path) -> dict[str, Any]:
    """{"op_versions" {op: highest version}, "ops" {op: count}, "schema"}, read from the file."""
    model = _tflite.read(existing(path))
    return {"op_versions": model.versions, "ops": model.ops, "schema": model.schema}


def operations(path: Path) -> list[Operation]:
    """Every operation of the file; a node is called by the first tensor that it writes."""
    model, listed = _tflite.read(existing(path)), []
    for operator in model.operators:
        inputs, outputs = ([model.tensors[k] for k in side if k >= 0] for side in (operator.inputs, operator.outputs))
        inner, outer = [vars(tensor) for tensor in inputs], [vars(tensor) for tensor in outputs]
        macs = _work(operator.name, inner, outer) if operator.name in _WEIGHTED and outputs else 0
        names = tuple(tensor.name for tensor in outputs)
        listed.append(Operation(operator.name, names[0] if names else "", names, macs))

    return listed


def flow(path: Path) -> Flow:
    """The main graph; tensors are called by their positions in the file."""
    model = _tflite.read(existing(path))
    steps = []
    for operator in model.operators[: model.main_operators]:
        inner, outer = (
            [vars(model.tensors[k]) for k in side if k >= 0] for side in (operator.inputs, operator.outputs)
        )
        weighted = operator.name in _WEIGHTED
        steps.append(
            Step(
                operator.name,
                str(outer[0]["name"]) if outer else "",
                tuple(str(k) for k in operator.inputs if k >= 0),
                tuple(str(k) for k in operator.outputs if k >= 0),
                products=weighted
                or operator.name in _OPAQUE
                or operator.name.startswith(("CUSTOM", "BUILTIN_", "STABLEHLO")),
                looks_up=operator.name in _LOOK_UPS,
                macs=_work(operator.name, inner, outer) if weighted and outer else 0,
            )
        )

    constants = frozenset(str(k) for k, tensor in enumerate(model.tensors) if tensor.data is not None)
    inputs, outputs = (tuple(map(str, side)) for side in (model.inputs, model.outputs))
    return Flow(tuple(steps), inputs, outputs, constants, tuple(_weights(model)), tuple(_grids(model)))
