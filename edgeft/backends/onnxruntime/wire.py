"""A minimal reader of ONNX files: nodes, initializers and versions, straight from the protobuf wire format.

A board has no `onnx` package, and a file is checked before a runtime sees it, so the few messages that matter are read
here: field numbers are those of onnx.proto3, the encoding is https://protobuf.dev/programming-guides/encoding/.
Every length is checked; anything inconsistent is a `BundleError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import BundleError
from ...core.files import inside

#: TensorProto.DataType -> numpy name
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_DEEPEST, _MOST_DIMS = 16, 32
_MAX_VARINT = 70  # bits: ten bytes of seven


@dataclass(frozen=True)
class OnnxTensor:
    name: str
    dims: tuple[int, ...]
    data_type: int
    raw: memoryview | None = None
    typed: tuple[tuple[int, memoryview | int | bytes], ...] = ()
    external: dict[str, str] | None = None

    @property
    def dtype(self) -> str:
        return DTYPES.get(self.data_type, f"type{self.data_type}")


@dataclass(frozen=True)
class OnnxNode:
    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxGraph:
    nodes: tuple[OnnxNode, ...]
    initializers: dict[str, OnnxTensor]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnnxModel:
    path: Path
    ir_version: int
    opsets: dict[str, int]
    graph: OnnxGraph
    others: tuple[OnnxGraph, ...] = ()  # bodies of functions and of training information

    def graphs(self) -> Iterator[OnnxGraph]:
        """The main graph, function bodies, then every graph inside a node (If, Loop, Scan)."""
        todo = [self.graph, *self.others]
        while todo:
            graph = todo.pop(0)
            yield graph
            for node in graph.nodes:
                for value in node.attributes.values():
                    values = value if isinstance(value, list) else [value]
                    todo += [v for v in values if isinstance(v, OnnxGraph)]

    def tensors(self) -> dict[str, OnnxTensor]:
        """Every constant by name: initializers and the values of Constant nodes."""
        tensors: dict[str, OnnxTensor] = {}
        for graph in self.graphs():
            tensors.update(graph.initializers)
            for node in graph.nodes:
                value = node.attributes.get("value")
                if node.op == "Constant" and isinstance(value, OnnxTensor) and node.outputs:
                    tensors[node.outputs[0]] = value

        return tensors

    def nodes(self) -> Iterator[OnnxNode]:
        for graph in self.graphs():
            yield from graph.nodes

    def array(self, tensor: OnnxTensor) -> np.ndarray:
        """The values of a constant, shape `dims`; external data is taken only from inside the model's own folder."""
        if tensor.data_type not in DTYPES:
            raise BundleError(f"the tensor {tensor.name!r} has an unsupported type", where=str(self.path))

        dtype = np.dtype(DTYPES[tensor.data_type]).newbyteorder("<")
        count = prod(tensor.dims)
        if tensor.external is not None:
            data: Any = _external(self.path, tensor, count * dtype.itemsize)
        elif tensor.raw is not None:
            data = tensor.raw
        else:
            values = _typed_values(tensor, dtype, str(self.path))
            if values.size != count:
                raise _broken(self.path, f"the tensor {tensor.name!r} holds {values.size} values, expected {count}")
            return values.reshape(tensor.dims)

        if len(data) != count * dtype.itemsize:
            raise _broken(self.path, f"the tensor {tensor.name!r} holds {len(data)} bytes, not {count} values")

        return np.frombuffer(data, dtype).reshape(tensor.dims).astype(dtype.newbyteorder("="))


def read(path: Path | str) -> OnnxModel:
    """Read an ONNX file; raises `BundleError` when it is none, is cut short, or names external data outside its folder.

    Values stay views of the file's bytes until `OnnxModel.array` asks for them.
    """
    path = Path(path)
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", where=str(path)) from error

    ir_version, graph = 0, None
    opsets: dict[str, int] = {}
    others: list[OnnxGraph] = []

    try:
        for number, value in _fields(data):
            if number == 1:
                ir_version = _int(value)
            elif number == 7:
                graph = _graph(_bytes(value), 0)
            elif number == 8:
                entry = dict(_fields(_bytes(value)))
                opsets[_text(entry.get(1, b""))] = _int(entry.get(2, 0))
            elif number == 20:
                others += [_graph(_bytes(v), 0) for n, v in _fields(_bytes(value)) if n in (1, 2)]
            elif number == 25:
                nodes = tuple(_node(_bytes(v), 0) for n, v in _fields(_bytes(value)) if n == 7)
                others.append(OnnxGraph(nodes, {}))
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise _broken(path, f"is not a readable ONNX file ({error})") from error

    if graph is None or not opsets:
        raise _broken(path, "is not an ONNX file: it holds no graph or no opset")

    model = OnnxModel(path, ir_version, opsets, graph, tuple(others))
    for tensor in _external_tensors(model):
        _location(path, tensor)
    return model


def _broken(path: Path, message: str) -> BundleError:
    return BundleError(message, where=str(path), remedy="export it again")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < _MAX_VARINT:
        if at >= len(data):
            raise ValueError("cut short inside a number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at

    raise ValueError("a number of more than ten bytes")


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, value): an int for varints, a view of the bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue

        if wire == _LEN:
            size, at = _varint(data, at)
        elif wire in (_I64, _I32):
            size = 8 if wire == _I64 else 4
        else:
            raise ValueError(f"wire type {wire}")

        if at + size > len(data):
            raise ValueError("cut short inside a field")

        yield number, data[at : at + size]
        at += size


def _bytes(value: Any) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a number where a message belongs")
    return value


def _int(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number belongs")
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(value: Any) -> str:
    return bytes(value).decode() if not isinstance(value, int) else ""


def _ints(value: Any) -> list[int]:
    """A repeated integer field, packed or one by one."""
    if isinstance(value, int):
        return [_int(value)]

    values, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        values.append(_int(number))

    return values


def _graph(data: memoryview, depth: int) -> OnnxGraph:
    if depth > _DEEPEST:
        raise ValueError("graphs nested too deep")

    nodes: list[OnnxNode] = []
    tensors: dict[str, OnnxTensor] = {}
    borders: dict[int, list[str]] = {11: [], 12: []}
    for number, value in _fields(data):
        if number == 1:
            nodes.append(_node(_bytes(value), depth))
        elif number == 5:
            tensor = _tensor(_bytes(value))
            tensors[tensor.name] = tensor
        elif number == 15:
            tensors.update((t.name, t) for t in _sparse(_bytes(value)))
        elif number in borders:
            borders[number] += [_text(v) for n, v in _fields(_bytes(value)) if n == 1]

    return OnnxGraph(tuple(nodes), tensors, tuple(borders[11]), tuple(borders[12]))


def _node(data: memoryview, depth: int) -> OnnxNode:
    inputs: list[str] = []
    outputs: list[str] = []
    words = {3: "", 4: "", 7: ""}
    attributes: dict[str, Any] = {}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number in words:
            words[number] = _text(value)
        elif number == 5:
            name, content = _attribute(_bytes(value), depth)
            attributes[name] = content

    return OnnxNode(words[4], words[7], words[3], tuple(inputs), tuple(outputs), attributes)


def _attribute(data: memoryview, depth: int) -> tuple[str, Any]:
    name = ""
    content: Any = None
    many: list[Any] = []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            content = struct.unpack("<f", _bytes(value))[0]
        elif number == 3:
            content = _int(value)
        elif number == 4:
            content = bytes(_bytes(value))
        elif number == 5:
            content = _tensor(_bytes(value))
        elif number == 6:
            content = _graph(_bytes(value), depth + 1)
        elif number == 7:
            view = _bytes(value)
            many += struct.unpack(f"<{len(view) // 4}f", view)
        elif number == 8:
            many += _ints(value)
        elif number == 9:
            many.append(bytes(_bytes(value)))
        elif number == 10:
            many.append(_tensor(_bytes(value)))
        elif number == 11:
            many.append(_graph(_bytes(value), depth + 1))
        elif number in (22, 23):
            many += _sparse(_bytes(value))

    return name, many or content


def _tensor(data: memoryview) -> OnnxTensor:
    dims: list[int] = []
    data_type, name, raw, external, location = 0, "", None, {}, 0
    typed: list[tuple[int, Any]] = []
    for number, value in _fields(data):
        if number == 1:
            dims += _ints(value)
        elif number == 2:
            data_type = _int(value)
        elif number in (4, 5, 7, 10, 11):
            typed.append((number, value))
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _bytes(value)
        elif number == 13:
            entry = dict(_fields(_bytes(value)))
            external[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
        elif number == 14:
            location = _int(value)

    if any(d < 0 for d in dims) or len(dims) > _MOST_DIMS:
        raise ValueError(f"the tensor {name!r} has an impossible shape")

    outside = external if location == 1 or external else None
    return OnnxTensor(name, tuple(dims), data_type, raw, tuple(typed), outside)


def _sparse(data: memoryview) -> list[OnnxTensor]:
    """The values and the indices of a sparse tensor, distinguished by name."""
    parts = [(n, _tensor(_bytes(v))) for n, v in _fields(data) if n in (1, 2)]
    return [t if n == 1 else replace(t, name=f"{t.name}#indices") for n, t in parts]


def _typed_values(tensor: OnnxTensor, dtype: np.dtype, where: str) -> np.ndarray:
    """Values kept in the typed fields: packed floats, or varints (where 16-bit floats are kept as their bits)."""
    fixed = {4: "<f4", 10: "<f8"}
    parts: list[np.ndarray] = []
    try:
        for number, value in tensor.typed:
            if number in fixed:
                parts.append(np.frombuffer(_bytes(value), fixed[number]))
            else:
                numbers = np.array(_ints(value), np.int64)
                parts.append(numbers.astype(np.uint16).view(np.float16) if dtype.kind == "f" else numbers)
    except ValueError as error:
        raise BundleError(f"the tensor {tensor.name!r} is broken ({error})", where=where) from error

    native = dtype.newbyteorder("=")
    return np.concatenate(parts).astype(native) if parts else np.zeros(0, native)


def _location(path: Path, tensor: OnnxTensor) -> Path:
    where = tensor.external.get("location", "") if tensor.external else ""
    file = inside(path.parent, where)
    if not file.is_file():
        raise BundleError(f"the external data {where!r} of {tensor.name!r} does not exist", where=str(path))
    return file


def _external(path: Path, tensor: OnnxTensor, size: int) -> bytes:
    entry = tensor.external or {}
    try:
        offset, length = int(entry.get("offset") or 0), int(entry.get("length") or size)
    except ValueError as error:
        raise _broken(path, f"the external data of {tensor.name!r} has no valid place") from error

    file = _location(path, tensor)
    if offset < 0 or length != size or offset + length > file.stat().st_size:
        raise _broken(path, f"the external data of {tensor.name!r} does not fit into {file.name!r}")

    with open(file, "rb") as handle:
        handle.seek(offset)
        return handle.read(length)


def external_files(model: OnnxModel) -> list[str]:
    """The names of the files that hold tensors of the model, as it names them."""
    return sorted({(tensor.external or {}).get("location", "") for tensor in _external_tensors(model)})


def _external_tensors(model: OnnxModel) -> Iterator[OnnxTensor]:
    for graph in model.graphs():
        tensors = list(graph.initializers.values())
        for node in graph.nodes:
            for value in node.attributes.values():
                tensors += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, OnnxTensor)]
        yield from (tensor for tensor in tensors if tensor.external is not None)
