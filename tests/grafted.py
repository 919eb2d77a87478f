"""Artifacts that answer with a float network and carry the integer one for show, in the files of each runtime.

`graft(backend, artifact, baseline, how)` writes them in place: "beside" leaves the integer network without a reader,
"times zero" adds its outputs multiplied by zero.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BESIDE, TIMES_ZERO = "beside", "times zero"


def graft(backend: str, artifact: Path, baseline: Path, how: str) -> None:
    grafts: dict[str, Callable[[Path, Path, str], None]] = {
        "onnxruntime": _onnx,
        "openvino": _openvino,
        "litert": _litert,
    }
    grafts[backend](artifact, baseline, how)


def _onnx(artifact: Path, baseline: Path, how: str) -> None:
    import onnx
    from onnx import compose, helper, numpy_helper

    model = onnx.load(artifact)
    graph, added = model.graph, compose.add_prefix_graph(onnx.load(baseline).graph, "float/")
    (source,), (result,) = graph.input, graph.output
    names = {added.input[0].name: source.name, result.name: "integer"}
    for node in [*graph.node, *added.node]:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    graph.initializer.extend([*added.initializer, numpy_helper.from_array(np.float32(0), "zero")])
    graph.node.extend(added.node)
    (answer,) = (output.name for output in added.output)
    if how == BESIDE:
        graph.node.append(helper.make_node("Identity", [answer], [result.name]))
    else:
        graph.node.append(helper.make_node("Mul", ["integer", "zero"], ["nothing"]))
        graph.node.append(helper.make_node("Add", [answer, "nothing"], [result.name]))
    onnx.checker.check_model(model)
    artifact.write_bytes(model.SerializeToString())


def _openvino(artifact: Path, baseline: Path, how: str) -> None:
    from edgeft.backends.openvino.session import module

    openvino = module()
    opset = importlib.import_module("openvino.opset13")
    core = openvino.Core()
    integer, floats = core.read_model(artifact), core.read_model(baseline)
    source = integer.inputs[0].get_node()
    for port in floats.inputs[0].get_target_inputs():
        port.replace_source_output(source.output(0))
    answer = floats.outputs[0].get_node().input_value(0)
    result = integer.outputs[0].get_node()
    if how == TIMES_ZERO:
        nothing = opset.multiply(result.input_value(0), opset.constant(np.float32(0)))
        answer = opset.add(answer, nothing).output(0)
    result.input(0).replace_source_output(answer)
    answer.set_names({"output"})
    _save(openvino, openvino.Model([result], [source], "grafted"), artifact)


def _save(openvino: Any, model: Any, artifact: Path) -> None:
    folder = artifact.parent / "grafting"
    openvino.save_model(model, folder / artifact.name, compress_to_fp16=False)
    for file in folder.iterdir():
        shutil.copy(file, artifact.parent / file.name)
    shutil.rmtree(folder)


def _litert(artifact: Path, baseline: Path, how: str) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, floats = (schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0) for path in (artifact, baseline))
    graph, added = model.subgraphs[0], floats.subgraphs[0]
    tensors, buffers, codes = len(graph.tensors), len(model.buffers), len(model.operatorCodes)
    for tensor in added.tensors:
        tensor.buffer = tensor.buffer + buffers if tensor.buffer else 0
    model.buffers += floats.buffers
    graph.tensors += added.tensors
    model.operatorCodes += floats.operatorCodes
    for operator in added.operators:
        operator.opcodeIndex += codes
        operator.inputs, operator.outputs = (
            [k + tensors if k >= 0 else k for k in side] for side in (operator.inputs, operator.outputs)
        )

    (fed,), (integer,), source, answer = (
        graph.inputs,
        graph.outputs,
        added.inputs[0] + tensors,
        added.outputs[0] + tensors,
    )
    add = _Additions(schema, model, graph.tensors[answer].shape)
    if graph.tensors[fed].type == schema.TensorType.FLOAT32:
        for operator in added.operators:
            operator.inputs = [fed if k == source else k for k in operator.inputs]
    else:
        add.operator("Dequantize", "DEQUANTIZE", [fed], source)
    graph.operators += added.operators
    if how == TIMES_ZERO:
        if graph.tensors[integer].type != schema.TensorType.FLOAT32:
            integer = add.operator("Dequantize", "DEQUANTIZE", [integer], add.tensor("dequantized"))
        nothing = add.operator("Mul", "MUL", [integer, add.zero()], add.tensor("nothing"))
        answer = add.operator("Add", "ADD", [answer, nothing], add.tensor("both"))
    graph.outputs, model.signatureDefs = [answer], []
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    artifact.write_bytes(bytes(builder.Output()))


class _Additions:
    """Tensors of the shape of an output, and operators, that are added to a TFLite model."""

    def __init__(self, schema: Any, model: Any, shape: Any) -> None:
        self._schema, self._model, self._shape = schema, model, shape

    def tensor(self, name: str, buffer: int = 0) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.buffer, tensor.type = name, buffer, self._schema.TensorType.FLOAT32
        tensor.shape = [1] if buffer else self._shape
        self._model.subgraphs[0].tensors.append(tensor)
        return len(self._model.subgraphs[0].tensors) - 1

    def zero(self) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.float32(0).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return self.tensor("zero", len(self._model.buffers) - 1)

    def operator(self, title: str, code_name: str, inputs: list[int], output: int) -> int:
        number = getattr(self._schema.BuiltinOperator, code_name)
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, 2 if title == "Dequantize" else 1
        self._model.operatorCodes.append(code)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, f"{title}Options")
        operator.builtinOptions = getattr(self._schema, f"{title}OptionsT")()
        self._model.subgraphs[0].operators.append(operator)
        return output
