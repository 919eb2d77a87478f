"""A minimal reader of `.tflite` files: operator versions and constants, straight from the flatbuffer.

The layout is that of tensorflow/lite/schema/schema.fbs, read by field number. Every offset is checked, so that a broken
file is a `BundleError` and never reaches the runtime.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ...config import numeric
from ...core.errors import BundleError
from .._flatbuffer import Table, integer_at
from .ops import BUILTIN

_MOST_DIMS = 32
#: the tensor types that hold quantized values
INTEGERS = {3: "uint8", 7: "int16", 9: "int8"}
#: and those of narrow floats, which have no scale
FLOATS = {1: "float16"}
#: bytes of a value by the type of a tensor; of types that are not listed (text, 4-bit integers) the size is not known
_WIDTHS = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2}
_SPARSITY = 6
#: bytes that one tensor, and all that are computed together, may take: an interpreter would ask the system for more
_MOST_BYTES, _MOST_IN_ALL = 1 << 30, 4 << 30
_FLOAT32, _CUSTOM = 0, BUILTIN.index("CUSTOM")


@dataclass(frozen=True)
class TfliteTensor:
    """`scale` and `zero_point` are empty where the tensor is not quantized; `data` is None where it is no constant."""

    name: str
    shape: tuple[int, ...]
    type: int
    data: memoryview | None
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int


@dataclass(frozen=True)
class TfliteOperator:
    """One op of a graph; `inputs` and `outputs` are positions in the model's `tensors`, -1 where one is left out."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteModel:
    """`versions` is op -> highest version, `ops` op -> how often, over all subgraphs; `tensors` and `operators` are
    all, the main graph's first. `inputs` and `outputs` are those of the main graph, as positions in `tensors`."""

    schema: int
    versions: dict[str, int]
    ops: dict[str, int]
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    main_operators: int = 0
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def integer_constants(self) -> list[tuple[TfliteTensor, np.ndarray]]:
        """(tensor, values) of each constant of a type that weights are stored in, of more than one element."""
        return [
            (t, np.frombuffer(t.data, INTEGERS[t.type]).reshape(t.shape))
            for t in self.tensors
            if INTEGERS.get(t.type) in numeric.STORED_WEIGHTS and t.data is not None and prod(t.shape) > 1
        ]

    def narrow_constants(self) -> list[tuple[TfliteTensor, np.ndarray]]:
        """(tensor, values) of each constant of narrow floats, of more than one element."""
        return [
            (t, np.frombuffer(t.data, FLOATS[t.type]).reshape(t.shape))
            for t in self.tensors
            if FLOATS.get(t.type) in numeric.STORED_FLOATS and t.data is not None and prod(t.shape) > 1
        ]

    def integer_tables(self) -> list[tuple[TfliteTensor, np.ndarray, np.ndarray]]:
        """(tensor, values, float32 scales) of each constant of integers -> lookup -> CAST -> MUL with a constant of
        scales, or with rows looked up in one."""
        made_by = {k: op for op in self.operators for k in op.outputs}
        constants = {id(t): values for t, values in self.integer_constants()}
        tables = []

        for product in self.operators:
            if product.name != "MUL" or len(product.inputs) != 2:
                continue

            for first, second in (product.inputs, product.inputs[::-1]):
                producer = made_by.get(self._unshaped(first, made_by))
                if producer is None or producer.name != "CAST" or not producer.inputs:
                    continue
                table = self._looked_up(producer.inputs[0], made_by)
                scale = self._looked_up(second, made_by)
                if id(table) in constants and scale.type == _FLOAT32 and scale.data and len(scale.data) % 4 == 0:
                    tables.append((table, constants[id(table)], np.frombuffer(scale.data, np.float32)))

        return tables

    def _looked_up(self, tensor: int, made_by: dict[int, TfliteOperator]) -> TfliteTensor:
        """The tensor that was looked up to make this one; itself where there was no lookup."""
        inner = self._unshaped(tensor, made_by)
        producer = made_by.get(inner)
        if producer is not None and producer.name in ("EMBEDDING_LOOKUP", "GATHER") and len(producer.inputs) > 1:
            return self.tensors[producer.inputs[1 if producer.name == "EMBEDDING_LOOKUP" else 0]]

        return self.tensors[inner]

    def _unshaped(self, tensor: int, made_by: dict[int, TfliteOperator]) -> int:
        """The tensor behind any reshapes; a broken file may have a circle of them."""
        for _ in self.operators:
            producer = made_by.get(tensor)
            if producer is None or producer.name != "RESHAPE" or not producer.inputs:
                break
            tensor = producer.inputs[0]

        return tensor


def read(path: Path | str) -> TfliteModel:
    """Read a `.tflite` file; raises `BundleError` when it is none or is cut short."""
    path = Path(path)
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", where=str(path)) from error

    try:
        if bytes(data[4:8]) != b"TFL3":
            raise ValueError("it does not begin as one")
        return _model(Table(data, integer_at(data, 0, "I")))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(
            f"is not a readable TFLite file ({error})", where=str(path), remedy="export it again"
        ) from error


def _model(model: Table) -> TfliteModel:
    codes = [_code(c) for c in model.tables(1)]
    buffers = model.tables(4)
    constants: dict[int, memoryview | None] = {}
    tensors: list[TfliteTensor] = []
    ops: dict[str, int] = {}
    operators: list[TfliteOperator] = []
    main: tuple[int, tuple[int, ...], tuple[int, ...]] | None = None

    for graph in model.tables(2):
        first = len(tensors)
        for operator in graph.tables(3):
            name = codes[operator.number(0, "I")][0]
            ops[name] = ops.get(name, 0) + 1
            ends = [[first + k if k >= 0 else -1 for k in operator.vector(f, "i4").tolist()] for f in (1, 2)]
            operators.append(TfliteOperator(name, tuple(ends[0]), tuple(ends[1])))

        for tensor in graph.tables(0):
            index = tensor.number(2, "I")
            if index not in constants:
                constants[index] = _constant(buffers[index]) if index else None
            tensors.append(_tensor(tensor, constants[index]))

        if main is None:
            inputs, outputs = (tuple(int(k) for k in graph.vector(f, "i4")) for f in (1, 2))
            main = (len(operators), inputs, outputs)

    if main is None:
        raise ValueError("it holds no graph")

    versions: dict[str, int] = {}
    for name, number in codes:
        versions[name] = max(number, versions.get(name, 0))

    needed = sum(prod(tensor.shape) * _WIDTHS.get(tensor.type, 0) for tensor in tensors if tensor.data is None)
    if needed > _MOST_IN_ALL:
        raise ValueError(f"its tensors ask for {needed} bytes")
    if any(not -1 <= k < len(tensors) for operator in operators for k in (*operator.inputs, *operator.outputs)):
        raise ValueError("an op names a tensor that does not exist")
    if any(not 0 <= k < len(tensors) for k in (*main[1], *main[2])):
        raise ValueError("the graph's inputs or outputs are tensors that do not exist")

    return TfliteModel(model.number(0, "I"), versions, ops, tuple(tensors), tuple(operators), *main)


def _code(code: Table) -> tuple[str, int]:
    """The op's name and version; codes beyond 127 are only in the newer field, so the larger one counts."""
    number = max(code.number(0, "b"), code.number(3, "i"))
    name = BUILTIN[number] if 0 <= number < len(BUILTIN) else f"BUILTIN_{number}"
    return (f"CUSTOM:{code.text(1)}" if number == _CUSTOM else name), code.number(2, "i", 1)


def _constant(buffer: Table) -> memoryview | None:
    """The bytes of a buffer: inside the flatbuffer, or behind it in a large file."""
    inner = buffer.vector(0, "u1")
    if inner.size:
        return inner.data

    offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
    if offset <= 1 or not size:
        return None
    if offset + size > len(buffer.data):
        raise ValueError("cut short inside a constant")

    return buffer.data[offset : offset + size]


def _tensor(tensor: Table, data: memoryview | None) -> TfliteTensor:
    shape = tuple(int(d) for d in tensor.vector(0, "i4"))
    kind, name = tensor.number(1, "b"), tensor.text(3)

    if len(shape) > _MOST_DIMS or any(d < 0 for d in shape):
        raise ValueError(f"the tensor {name!r} has an impossible shape")

    size = prod(shape) * _WIDTHS.get(kind, 0)
    if size > _MOST_BYTES:
        raise ValueError(f"the tensor {name!r} asks for {size} bytes")
    if data is not None and kind in _WIDTHS and tensor.table(_SPARSITY) is None and len(data) != size:
        raise ValueError(f"the constant {name!r} holds {len(data)} bytes for the shape {shape}")

    quantization = tensor.table(4)
    scale, zero, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    if quantization is not None:
        scale, zero = quantization.vector(2, "f4"), quantization.vector(3, "i8")
        axis = quantization.number(6, "i")

    return TfliteTensor(name, shape, kind, data, scale, zero, axis)


def probe_model() -> bytes:
    """A whole model of one op, y = relu(x) on float32 (1,): what an interpreter must at least be able to run."""
    return base64.b64decode(
        "GAAAAFRGTDMAAA4AFAAQAAwACAAAAAQADgAAABAAAAAcAAAA0AAAAAMAAAABAAAACAAAAAQABAAEAAAAAQAAABAAAAAMABQA"
        "EAAMAAgABAAMAAAAEAAAADwAAABAAAAARAAAAAEAAAAQAAAAAAAKAAwAAAAIAAQACgAAAAgAAAAMAAAAAQAAAAEAAAABAAAA"
        "AAAAAAEAAAABAAAAAQAAAAAAAAACAAAAMAAAAAQAAADk////CAAAAAwAAAABAAAAeQAAAAEAAAABAAAADAAMAAgAAAAAAAQA"
        "DAAAAAgAAAAMAAAAAQAAAHgAAAABAAAAAQAAAAEAAAAQAAAADAAMAAsAAAAAAAQADAAAABMAAAAAAAAT"
    )
