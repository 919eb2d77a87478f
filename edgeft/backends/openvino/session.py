"""OpenVINO on the CPU: `.xml` with its `.bin` beside it, and `.onnx`.

No telemetry: `module()` imports openvino with its telemetry package shut out; exporters take openvino
from there too.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...core.errors import BundleError, need
from .. import Session, Tensor
from ..base_session import BaseSession, existing, reason, rename, settings
from ..onnxruntime import wire as _onnx_wire
from . import BACKEND
from .ir import layers

OPTIONS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    "ENABLE_CPU_PINNING": "NO",
}
#: options that are understood too, whose defaults are the plug-in's own: worth a search, not worth recording
_PLACING = {"ENABLE_HYPER_THREADING": "YES", "SCHEDULING_CORE_TYPE": "ANY_CORE"}
#: options of single artifacts, see `inspect.artifact_options`
_SINGLE = {"SNIPPETS_MODE": "ENABLE", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "32"}
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
    return need("openvino", BACKEND.extra)


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
    return dict(OPTIONS)


def exact_options() -> dict[str, Any]:
    """The low-precision transformations are left out (an internal property of the CPU plugin)."""
    return {"LP_TRANSFORMS_MODE": "NO"}


def knobs(threads: int) -> dict[str, tuple[Any, ...]]:
    """Options that may change the speed, each with the values worth trying, its default first."""
    placing = {"SCHEDULING_CORE_TYPE": ("ANY_CORE", "PCORE_ONLY"), "ENABLE_HYPER_THREADING": ("YES", "NO")}
    return {"PERFORMANCE_HINT": ("LATENCY", "THROUGHPUT"), "ENABLE_CPU_PINNING": ("NO", "YES"), **placing}


def load(path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
    """A session; raises `BundleError` when the file does not load, `Missing` when the runtime is absent."""
    values, input_names, output_names = properties(options, Path(path))
    compiled = compile_model(Path(path), read_model(path), threads, values)

    return _OpenVinoSession(
        Path(path),
        compiled,
        rename([tensor_of(port, Path(path)) for port in compiled.inputs], input_names, "input", Path(path)),
        rename([tensor_of(port, Path(path)) for port in compiled.outputs], output_names, "output", Path(path)),
    )


def properties(
    options: Mapping[str, Any] | None, path: Path
) -> tuple[dict[str, Any], Sequence[str] | None, Sequence[str] | None]:
    """(properties of the CPU plug-in, names of inputs, names of outputs) by the options of a session."""
    more = {**exact_options(), **_PLACING, **_SINGLE}
    known = {**OPTIONS, **{key: value for key, value in more.items() if key in (options or {})}}
    return settings(options, known, path)


def read_model(path: Path | str) -> Any:
    """The model as it is stored; raises `BundleError` where a file is absent or OpenVINO cannot read it."""
    openvino = module()
    path = existing(path)
    if path.suffix == ".onnx":
        _onnx_wire.read(path)  # refuses external data outside the folder
    else:
        existing(path.with_suffix(".bin"))
        layers(path)

    try:
        return openvino.Core().read_model(str(path))
    except Exception as error:  # the runtime raises plain RuntimeError and others
        raise _unloadable(path, error) from error


def compile_model(path: Path, model: Any, threads: int, values: Mapping[str, Any]) -> Any:
    """The model compiled for the CPU with the properties `values`; `path` is for messages."""
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


def tensor_of(port: Any, path: Path) -> Tensor:
    """An input or output; raises `BundleError` for a type that numpy has not, or a free number of axes."""
    # A tensor may have several names (an Identity folded away): the graph's own is the node's, without its suffix.
    node_name, names = port.get_node().get_friendly_name().rsplit("/sink_port_", 1)[0], port.get_names()
    name = node_name if node_name in names or not names else sorted(names)[0]
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
