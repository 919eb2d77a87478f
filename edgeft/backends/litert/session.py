"""LiteRT: `.tflite` files in whichever interpreter is there, ai_edge_litert, tflite_runtime or tensorflow.

Which one is found out by building an interpreter of a real model: tflite_runtime imports beside numpy 2 and fails then.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np

from ...config import numeric
from ...core.errors import BundleError, Missing
from .. import Grid, IntegerShare, Session, Tensor, WeightTensor, _macs
from .._session import BaseSession, existing, reason, rename, settings
from . import flatbuffer as _tflite

NAME, EXTRA, SUFFIX = "litert", "litert", ".tflite"
#: (name, module that holds Interpreter and OpResolverType, distribution), in the order they are tried
_INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime", "tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow", "tensorflow.lite.python.interpreter", "tensorflow"),
)
_OPTIONS = {"op_resolver": "AUTO"}
_RESOLVERS = ("AUTO", "BUILTIN", "BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
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


@dataclass(frozen=True)
class _Engine:
    name: str
    version: str
    module: Any

    def interpreter(self, path: Path, threads: int, resolver: str) -> Any:
        return self.module.Interpreter(
            model_path=str(path),
            num_threads=threads,
            experimental_op_resolver_type=getattr(self.module.OpResolverType, resolver),
        )


@functools.cache
def _engine() -> _Engine:
    """The first interpreter that really loads and runs a model; raises `Missing` when there is none."""
    reasons = []
    for name, place, distribution in _INTERPRETERS:
        try:
            module = importlib.import_module(place)
            probe = module.Interpreter(model_content=_tflite.probe_model(), num_threads=1)
            probe.allocate_tensors()
            probe.set_tensor(probe.get_input_details()[0]["index"], np.ones(1, np.float32))
            probe.invoke()
            if probe.get_tensor(probe.get_output_details()[0]["index"]) != 1:
                raise RuntimeError("it computes wrongly")
        except Exception as error:  # a broken install fails in many ways, and the next one may work
            if not isinstance(error, ModuleNotFoundError):
                reasons.append(f"{name}: {reason(error)}")
            continue
        try:
            number = installed(distribution)
        except PackageNotFoundError:
            number = str(getattr(importlib.import_module(name), "__version__", "unknown"))
        return _Engine(name, number, module)
    detail = f" ({'; '.join(reasons)})" if reasons else ""
    raise Missing(
        f"no TFLite interpreter works here: ai_edge_litert, tflite_runtime or tensorflow{detail}",
        remedy=f"pip install 'edgeft[{EXTRA}]'  (on a board: pip install ai-edge-litert, or tflite-runtime 'numpy<2')",
    )


def version() -> str:
    """The interpreter used and its version, e.g. "ai_edge_litert 2.3.0"."""
    engine = _engine()
    return f"{engine.name} {engine.version}"


def options() -> dict[str, Any]:
    """`op_resolver` is the name of an OpResolverType; AUTO has the XNNPACK delegate where the build has it."""
    return dict(_OPTIONS)


def exact_options() -> dict[str, Any]:
    """None: int8 sums are kept in 32 bits on every CPU."""
    return {}


def knobs(threads: int) -> dict[str, tuple[Any, ...]]:
    """Options that may change the speed, each with the values worth trying, its default first: XNNPACK or not."""
    return {"op_resolver": ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")}


def load(path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
    """A session; raises `BundleError` when the file does not load, `Missing` when no interpreter is there.

    `options` may hold `input_names` and `output_names`: the graph's own names by position, where the converter has
    changed them in the artifact.
    """
    path = Path(path)
    values, input_names, output_names = settings(options, _OPTIONS, path)
    interpreter = _interpreter(path, threads, values["op_resolver"])
    details = interpreter.get_input_details(), interpreter.get_output_details()
    return _LiteRtSession(
        path,
        interpreter,
        rename([_tensor(d) for d in details[0]], input_names, "input", path),
        rename([_tensor(d) for d in details[1]], output_names, "output", path),
    )


def _interpreter(path: Path, threads: int, resolver: str) -> Any:
    engine = _engine()
    if resolver not in _RESOLVERS:
        raise BundleError(f"op_resolver is one of {', '.join(_RESOLVERS)}", where=str(path))
    _tflite.read(existing(path))  # a broken file is refused here, where it cannot crash the interpreter
    try:
        interpreter = engine.interpreter(path, threads, resolver)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise BundleError(
            f"does not load in {engine.name} {engine.version}: {reason(error)}",
            where=str(path),
            remedy="export it again for this version of the runtime",
        ) from error
    return interpreter


def _tensor(detail: Mapping[str, Any]) -> Tensor:
    signature = detail.get("shape_signature")
    shape = signature if signature is not None and len(signature) == len(detail["shape"]) else detail["shape"]
    dtype = np.dtype(detail["dtype"])
    scale, zero = detail["quantization"]
    quantized = dtype.name in _macs.INTEGER and scale > 0
    return Tensor(
        name=detail["name"],
        shape=tuple(int(d) for d in shape),
        dtype=dtype.name,
        scale=float(scale) if quantized else None,
        zero_point=int(zero) if quantized else None,
    )


class _LiteRtSession(BaseSession):
    def __init__(self, path: Path, interpreter: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        details = interpreter.get_input_details()
        # A batch is looped over at its allocated size: many files hold a RESHAPE to a batch of one.
        blocks = [tuple(int(d) for d in detail["shape"]) for detail in details]
        super().__init__(path, inputs, outputs, blocks)
        self.handle = interpreter
        self._ran = False
        self._outputs = [d["index"] for d in interpreter.get_output_details()]
        self._indices = [d["index"] for d in details]

    def _call(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        try:
            self._fit(arrays)
            for index, array in zip(self._indices, arrays):
                self.handle.set_tensor(index, array)
            self.handle.invoke()
        except (RuntimeError, ValueError) as error:
            raise self._fault(f"{version()} could not run the model: {reason(error)}") from error
        self._ran = True
        return [self.handle.get_tensor(i) for i in self._outputs]

    def _fit(self, arrays: list[np.ndarray]) -> None:
        """Give the interpreter new shapes where a dimension other than the batch is dynamic."""
        changed = [i for i, (a, b) in enumerate(zip(arrays, self._blocks)) if a.shape != b]
        for i in changed:
            self.handle.resize_tensor_input(self._indices[i], arrays[i].shape, strict=True)
            self._blocks[i] = arrays[i].shape
        if changed:
            self.handle.allocate_tensors()

    def invoke(self) -> None:
        """Again on the tensors last given: the interpreter keeps its inputs."""
        if not self._ran:
            raise self._fault("invoke() repeats a run, and nothing was run yet")
        self.handle.invoke()


def integer_weights(path: Path) -> list[WeightTensor]:
    """Every quantized constant of more than one element, in TFLite's layout: OHWI, 1HWO (depthwise), (out, in);
    and every table of integers whose rows are looked up and scaled."""
    found, model = [], _tflite.read(existing(path))
    for tensor, data in model.integer_constants():
        if tensor.scale.size:
            zero = tensor.zero_point.astype(np.int32)
            scale = tensor.scale.astype(np.float32)
            found.append(WeightTensor(tensor.name, data.copy(), scale, tensor.axis, zero if zero.any() else None))
    found += [WeightTensor(tensor.name, data.copy(), scale.copy()) for tensor, data, scale in model.integer_tables()]
    return found


def activation_grids(path: Path) -> list[Grid]:
    """Of every quantized tensor of integers without data."""
    found = []
    for tensor in _tflite.read(existing(path)).tensors:
        dtype = _tflite.INTEGERS.get(tensor.type)
        if dtype and tensor.data is None and tensor.scale.size == 1:
            zero = int(tensor.zero_point[0]) if tensor.zero_point.size else 0
            found.append(Grid(tensor.name, float(tensor.scale[0]), numeric.signed_zero_point(zero, dtype)))
    return found


def integer_share(path: Path, *, threads: int = 1, feeds: Mapping[str, np.ndarray] | None = None) -> IntegerShare:
    """From the types of the ops' tensors, without a delegate (which would hide them behind one op).

    Float activations on int8 weights are counted as integer, `dynamic int8`: the kernels quantize on the fly.
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


def _work(name: str, inputs: list[Mapping[str, Any]], outputs: list[Mapping[str, Any]]) -> int:
    """Multiply-accumulates of one op; the weight layouts are those of the TFLite kernels."""
    shapes = [[int(d) for d in t["shape"]] for t in inputs]
    output = [int(d) for d in outputs[0]["shape"]]
    if name == "CONV_2D":  # (out, h, w, in)
        return _macs.convolution(output, _macs.prod(shapes[1][1:]))
    if name == "DEPTHWISE_CONV_2D":  # (1, h, w, out)
        return _macs.convolution(output, _macs.prod(shapes[1][1:3]))
    if name == "CONV_3D":  # (d, h, w, in, out)
        return _macs.convolution(output, _macs.prod(shapes[1][:-1]))
    if name == "TRANSPOSE_CONV":  # output shape, (out, h, w, in), input
        return _macs.convolution(shapes[2], _macs.prod(shapes[1][:3]))
    if name == "FULLY_CONNECTED":  # (out, in)
        return _macs.prod(output) * shapes[1][-1]
    if name == "BATCH_MATMUL":
        return _macs.matmul(shapes[0], output)
    return _macs.recurrent(shapes[0], [s for s in shapes[1:] if len(s) == 2 and s[0] > 1])


def emitted(path: Path) -> dict[str, Any]:
    """{"op_versions" {op: highest version}, "ops" {op: count}, "schema"}, read from the file."""
    model = _tflite.read(existing(path))
    return {"op_versions": model.versions, "ops": model.ops, "schema": model.schema}
