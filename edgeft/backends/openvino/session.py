"""OpenVINO on the CPU: `.xml` with its `.bin` beside it, and `.onnx`.

No telemetry: `module()` imports openvino with its telemetry package shut out; exporters take openvino
from there too.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...core.errors import BundleError, need
from .. import Grid, IntegerShare, Session, Tensor, WeightTensor
from .._session import BaseSession, existing, reason, rename, settings
from ..onnxruntime import integer_weights as _onnx_weights
from ..onnxruntime import wire as _onnx_wire
from . import graph as _openvino_graph
from .graph import constant_weights, share

NAME, EXTRA, SUFFIX = "openvino", "openvino", ".xml"
_OPTIONS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    "ENABLE_CPU_PINNING": "NO",
}
#: options that are understood too, whose defaults are the plug-in's own: worth a search, not worth recording
_PLACING = {"ENABLE_HYPER_THREADING": "YES", "SCHEDULING_CORE_TYPE": "ANY_CORE"}
_TYPES = {
    "f32": "float32", "f16": "float16", "f64": "float64", "i8": "int8", "u8": "uint8", "i16": "int16", "u16": "uint16",
    "i32": "int32", "u32": "uint32", "i64": "int64", "u64": "uint64", "boolean": "bool",
}  # fmt: skip


def module() -> ModuleType:
    """openvino itself, sending nothing home; raises `Missing` with the pip command.

    openvino reports its import and each conversion through the package openvino_telemetry unless that is absent, so
    it is made absent for this process; where somebody imported it before, its sender is put to rest.
    """
    _silence()
    return need("openvino", EXTRA)


def _silence() -> None:
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    elif sys.modules["openvino_telemetry"] is not None:
        from openvino_telemetry.utils.sender import TelemetrySender

        TelemetrySender.send = lambda *_: None


def version() -> str:
    return str(module().__version__).split("-")[0]


def options() -> dict[str, Any]:
    """Compile properties. The default precision on many CPUs is bf16, which is another model; threads are not pinned,
    so that two models timed in turns share the cores that the system gives them."""
    return dict(_OPTIONS)


def exact_options() -> dict[str, Any]:
    """The low-precision transformations are left out (an internal property of the CPU plugin)."""
    return {"LP_TRANSFORMS_MODE": "NO"}


def knobs(threads: int) -> dict[str, tuple[Any, ...]]:
    """Options that may change the speed, each with the values worth trying, its default first."""
    placing = {"SCHEDULING_CORE_TYPE": ("ANY_CORE", "PCORE_ONLY"), "ENABLE_HYPER_THREADING": ("YES", "NO")}
    return {"PERFORMANCE_HINT": ("LATENCY", "THROUGHPUT"), "ENABLE_CPU_PINNING": ("NO", "YES"), **placing}


def load(path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
    """A session; raises `BundleError` when the file does not load, `Missing` when the runtime is absent."""
    more = {**exact_options(), **_PLACING}
    known = {**_OPTIONS, **{key: value for key, value in more.items() if key in (options or {})}}
    values, input_names, output_names = settings(options, known, Path(path))
    compiled = _compile(Path(path), _read(path), threads, values)
    return _OpenVinoSession(
        Path(path),
        compiled,
        rename([_tensor(port, Path(path)) for port in compiled.inputs], input_names, "input", Path(path)),
        rename([_tensor(port, Path(path)) for port in compiled.outputs], output_names, "output", Path(path)),
    )


def _read(path: Path | str) -> Any:
    openvino = module()
    path = existing(path)
    if path.suffix == ".onnx":
        _onnx_wire.read(path)  # refuses external data outside the folder
    else:
        existing(path.with_suffix(".bin"))
        _layers(path)
    try:
        return openvino.Core().read_model(str(path))
    except Exception as error:  # the runtime raises plain RuntimeError and others
        raise _unloadable(path, error) from error


def _compile(path: Path, model: Any, threads: int, values: Mapping[str, Any]) -> Any:
    openvino = module()
    try:
        return openvino.Core().compile_model(model, "CPU", {**values, "INFERENCE_NUM_THREADS": threads})
    except Exception as error:
        raise _unloadable(path, error) from error


def _unloadable(path: Path, error: Exception) -> BundleError:
    return BundleError(
        f"does not load in OpenVINO {version()}: {reason(error)}",
        where=str(path),
        remedy="export it again for this version of the runtime",
    )


def _tensor(port: Any, path: Path) -> Tensor:
    # A tensor may have several names (an Identity folded away): the graph's own is the node's, without its suffix.
    own, names = port.get_node().get_friendly_name().rsplit("/sink_port_", 1)[0], port.get_names()
    name = own if own in names or not names else sorted(names)[0]
    kind = port.get_element_type().get_type_name()
    if kind not in _TYPES or port.get_partial_shape().rank.is_dynamic:
        raise BundleError(f"the tensor {name!r} ({kind}, {port.get_partial_shape()}) cannot be fed", where=str(path))
    return Tensor(name, tuple(-1 if d.is_dynamic else d.get_length() for d in port.get_partial_shape()), _TYPES[kind])


class _OpenVinoSession(BaseSession):
    def __init__(self, path: Path, compiled: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        super().__init__(path, inputs, outputs)
        self.handle = compiled.create_infer_request()
        self._last: list[np.ndarray] | None = None

    def _call(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        openvino = module()
        # Tensors share the arrays' memory, so the arrays are kept for as long as they are bound.
        self._last = [a if a.flags.writeable else a.copy() for a in arrays]
        try:
            for i, array in enumerate(self._last):
                self.handle.set_input_tensor(i, openvino.Tensor(array, shared_memory=True))
            self.handle.infer(share_outputs=True)
        except Exception as error:
            raise self._fault(f"OpenVINO could not run the model: {reason(error)}") from error
        return [self.handle.get_output_tensor(i).data.copy() for i in range(len(self.outputs))]

    def invoke(self) -> None:
        """Again on the tensors last given, which stay set; outputs stay in the runtime's own memory."""
        if self._last is None:
            raise self._fault("invoke() repeats a run, and nothing was run yet")
        self.handle.infer(share_outputs=True)


def integer_weights(path: Path) -> list[WeightTensor]:
    """Every int8 constant of more than one element that is dequantized, in the file's layout and under its name there.

    The constants are read from the model as it is stored, before the plugin changes it.
    """
    path = Path(path)
    return _onnx_weights.integer_weights(path) if path.suffix == ".onnx" else constant_weights(_read(path))


def activation_grids(path: Path) -> list[Grid]:
    """The grid of every activation, from the model as it is stored."""
    path = Path(path)
    if path.suffix == ".onnx":
        return _onnx_weights.activation_grids(path)
    return _openvino_graph.activation_grids(_read(path))


def integer_share(path: Path, *, threads: int = 1, feeds: Mapping[str, np.ndarray] | None = None) -> IntegerShare:
    """From the execution graph of the compiled model; dynamic dimensions take the shapes of `feeds`, else 1."""
    path = Path(path)
    model = _read(path)
    shapes: dict[str, list[int]] = {}
    for port in model.inputs:
        tensor = _tensor(port, path)
        fed = np.shape(feeds[tensor.name]) if feeds is not None and tensor.name in feeds else None
        shapes[tensor.name] = list(fed) if fed is not None else [abs(d) for d in tensor.shape]
    try:
        model.reshape(shapes)
    except RuntimeError as error:
        raise BundleError(
            f"cannot be given the shapes {shapes}: {reason(error)}",
            where=str(path),
            remedy="its dynamic dimensions need a real sample: pass feeds",
        ) from error
    compiled = _compile(path, model.clone(), threads, _OPTIONS)
    return share(compiled.get_runtime_model(), model)


def emitted(path: Path) -> dict[str, Any]:
    """{"ir_version", "opsets" {opset: layers}, "ops" {type: count}} of an `.xml`, read without the runtime."""
    ir_version, layers = _layers(existing(path))
    return {
        "ir_version": ir_version,
        "opsets": dict(Counter(opset for _, opset in layers)),
        "ops": dict(Counter(kind for kind, _ in layers)),
    }


def _layers(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """The IR version and (type, opset) of each layer; a document type (entities) is refused, it has none."""
    text = path.read_bytes()
    try:
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise ValueError("it declares a document type")
        root = ElementTree.fromstring(text)
        layers = [(e.get("type", ""), e.get("version", "")) for e in root.iter("layer")]
        ir_version = int(root.get("version", ""))
    except (ElementTree.ParseError, ValueError) as error:
        raise BundleError(
            f"is no readable OpenVINO model ({error})", where=str(path), remedy="export it again"
        ) from error
    return ir_version, layers
