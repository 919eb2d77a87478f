"""A reader of `.pte` files: values, calls, delegates and constants, straight from the flatbuffer.

The layout is that of executorch/schema/program.fbs, read by field number. Constants and what delegates were compiled to
lie in segments behind the flatbuffer. Every offset is checked, so that a broken file is a `BundleError` and never
reaches the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ...core.errors import BundleError
from .._flatbuffer import Table, integer_at

#: how a program of this schema begins, and the extended header that says where its segments lie
_IDENTIFIER, _HEADER = b"ET12", b"eh00"
#: enum ScalarType
DTYPES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool",
    27: "uint16", 28: "uint32", 29: "uint64",
}  # fmt: skip
#: positions in the unions KernelTypes and InstructionArguments
_TENSOR, _LISTS, _KERNEL, _DELEGATE = 5, (10, 11), 1, 2
_MOST_DIMS = 32


@dataclass(frozen=True)
class PteTensor:
    """A tensor of a program. `data` is None where it is no constant; `dtype` is empty where numpy has none."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview | None

    def values(self) -> np.ndarray:
        """The constant as an array that views the file."""
        return np.frombuffer(self.data or b"", self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Call:
    """One instruction: a kernel of ExecuTorch by its name ("aten::add.out"), or the delegate at that position.

    `args` are positions in the program's values, those that are written last; lists of tensors are spread out.
    """

    kernel: str
    delegate: int | None
    args: tuple[int, ...]


@dataclass(frozen=True)
class PteDelegate:
    """A part of the graph that a backend ("XnnpackBackend") runs, and what that backend made of it."""

    backend: str
    compiled: memoryview


@dataclass(frozen=True)
class Program:
    """The method `forward` of a file. `tensors` are by their position in its values, `named` the data that delegates
    ask for by key."""

    schema: int
    tensors: dict[int, PteTensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    delegates: tuple[PteDelegate, ...]
    named: dict[str, memoryview]


def read(path: Path | str) -> Program:
    """Read a `.pte` file; raises `BundleError` when it is none, is cut short, or has a delegate other than XNNPACK."""
    path = Path(path)
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", where=str(path)) from error

    try:
        if bytes(data[4:8]) != _IDENTIFIER:
            raise ValueError("it does not begin as one")
        program = _program(data)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(
            f"is not a readable ExecuTorch program ({error})", where=str(path), remedy="export it again"
        ) from error

    return program


def _program(data: memoryview) -> Program:
    root = Table(data, integer_at(data, 0, "I"))
    segments = _segments(data, root)
    plans = [plan for plan in root.tables(1) if plan.text(0) == "forward"]
    if not plans:
        raise ValueError("it has no method called forward")

    plan, constants = plans[0], _constants(root, segments)
    tensors = {
        i: _tensor(_required(value.table(1)), constants)
        for i, value in enumerate(plan.tables(2))
        if value.number(0, "B") == _TENSOR
    }
    kernels = [".".join(filter(None, (operator.text(0), operator.text(1)))) for operator in plan.tables(6)]
    delegates = tuple(_delegate(delegate, root, segments) for delegate in plan.tables(7))
    lists = {
        i: [int(k) for k in _required(value.table(1)).vector(0, "i4") if k >= 0]
        for i, value in enumerate(plan.tables(2))
        if value.number(0, "B") in _LISTS
    }
    instructions = [instruction for chain in plan.tables(5) for instruction in chain.tables(2)]
    calls = tuple(call for instruction in instructions for call in _calls(instruction, kernels, lists))
    count = len(plan.tables(2))
    if any(not 0 <= k < count for call in calls for k in call.args):
        raise ValueError("a call names a value that does not exist")
    if any(call.delegate is not None and not 0 <= call.delegate < len(delegates) for call in calls):
        raise ValueError("a call names a delegate that does not exist")

    inputs, outputs = (tuple(int(k) for k in plan.vector(field, "i4")) for field in (3, 4))
    if any(k not in tensors for k in (*inputs, *outputs)):
        raise ValueError("an input or output is no tensor")

    named = {entry.text(0): segments[entry.number(1, "I")] for entry in root.tables(7)}
    return Program(root.number(0, "I"), tensors, inputs, outputs, calls, delegates, named)


def _segments(data: memoryview, root: Table) -> list[memoryview]:
    """The segments behind the flatbuffer, by the extended header at byte 8."""
    entries = [(entry.number(0, "Q"), entry.number(1, "Q")) for entry in root.tables(4)]
    if not entries:
        return []
    if bytes(data[8:12]) != _HEADER:
        raise ValueError("it has segments and no header that says where they lie")

    base = integer_at(data, 24, "Q")
    if any(base + offset + size > len(data) for offset, size in entries):
        raise ValueError("cut short inside a segment")

    return [data[base + offset : base + offset + size] for offset, size in entries]


def _constants(root: Table, segments: list[memoryview]) -> list[memoryview]:
    """What each constant may read: from its offset to the end of the segment. Position 0 means "no constant"."""
    place = root.table(5)
    offsets = place.vector(1, "u8") if place is not None else np.zeros(0, "u8")
    if place is None or len(offsets) < 2:
        return []

    segment = segments[place.number(0, "I")]
    if any(int(offset) > len(segment) for offset in offsets):
        raise ValueError("cut short inside a constant")

    return [segment[int(offset) :] for offset in offsets]


def _tensor(tensor: Table, constants: list[memoryview]) -> PteTensor:
    dtype = DTYPES.get(tensor.number(0, "b"), "")
    shape = tuple(int(side) for side in tensor.vector(2, "i4"))
    if len(shape) > _MOST_DIMS or any(side < 0 for side in shape):
        raise ValueError("a tensor has an impossible shape")

    index = tensor.number(5, "I")
    if not index or tensor.table(6) is not None or not dtype:
        return PteTensor(dtype, shape, None)

    size = prod(shape) * np.dtype(dtype).itemsize
    if size > len(constants[index]):
        raise ValueError("cut short inside a constant")

    return PteTensor(dtype, shape, constants[index][:size])


def _delegate(delegate: Table, root: Table, segments: list[memoryview]) -> PteDelegate:
    backend = delegate.text(0)
    if backend != "XnnpackBackend":
        raise ValueError(f"a part of it is compiled for {backend or 'no backend'}, and edgeft runs XNNPACK's only")

    place = _required(delegate.table(1))
    index = place.number(1, "I")
    if place.number(0, "b"):
        return PteDelegate(backend, segments[index])

    return PteDelegate(backend, memoryview(root.tables(3)[index].vector(0, "u1").tobytes()))


def _calls(instruction: Table, kernels: list[str], lists: dict[int, list[int]]) -> list[Call]:
    """The call that an instruction is, or nothing: moves and jumps compute nothing."""
    kind, call = instruction.number(0, "B"), instruction.table(1)
    if kind not in (_KERNEL, _DELEGATE) or call is None:
        return []

    args, position = [int(k) for k in call.vector(1, "i4")], call.number(0, "i")
    if kind == _DELEGATE:
        return [Call("", position, tuple(args))]

    return [Call(kernels[position], None, tuple(k for arg in args for k in lists.get(arg, [arg])))]


def _required(table: Table | None) -> Table:
    if table is None:
        raise ValueError("a part of it is missing")
    return table
