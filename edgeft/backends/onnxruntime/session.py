"""ONNX Runtime on the CPU: `.onnx` files.

External data is resolved only inside the model's folder, and that is checked before the runtime opens the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import BundleError, Missing, need
from .. import Session, Tensor
from ..base_session import BaseSession, existing, reason, rename, settings
from . import BACKEND
from . import wire as _onnx_wire

_TYPES = {
    "float": "float32", "float16": "float16", "double": "float64", "int8": "int8", "uint8": "uint8", "int16": "int16",
    "uint16": "uint16", "int32": "int32", "uint32": "uint32", "int64": "int64", "uint64": "uint64", "bool": "bool",
}  # fmt: skip
_OPTIONS = {
    "provider": "CPUExecutionProvider",
    "graph_optimization_level": "ORT_ENABLE_ALL",
    "inter_op_num_threads": 1,
    "session.intra_op.allow_spinning": "0",
}
#: an option of single artifacts, see `inspect.artifact_options`: pairs of Quantize- and DequantizeLinear are recognized
_PAIRS = {"session.disable_quant_qdq": "0"}
#: options that are understood too, with the runtime's own defaults: worth a search, not worth recording
_MEMORY = {"enable_cpu_mem_arena": True, "enable_mem_pattern": True}
_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


def version() -> str:
    return str(need("onnxruntime", BACKEND.extra).__version__)


def options() -> dict[str, Any]:
    """Session options; keys with a dot are session config entries. Spinning threads would disturb their neighbours."""
    return dict(_OPTIONS)


def exact_options() -> dict[str, Any]:
    """Q/DQ nodes stay as they are, in float: only the extended optimizations put integer kernels in."""
    return {"graph_optimization_level": "ORT_ENABLE_BASIC"}


def knobs(threads: int) -> dict[str, tuple[Any, ...]]:
    """Options that may change the speed, each with the values worth trying, its default first."""
    spinning = {"session.intra_op.allow_spinning": ("0", "1")} if threads > 1 else {}
    levels = ("ORT_ENABLE_ALL", "ORT_ENABLE_EXTENDED")
    return {"graph_optimization_level": levels, **spinning, **dict.fromkeys(_MEMORY, (True, False))}


def load(path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
    """A session; raises `BundleError` when the file does not load, `Missing` when the runtime is absent."""
    return open_session(path, threads, options)


def open_session(path: Path, threads: int, chosen: Mapping[str, Any] | None, profile: Path | None = None) -> OrtSession:
    """A session with the options `chosen`; it writes a profile and its optimized graph to the folder `profile`."""
    need("onnxruntime", BACKEND.extra)
    import onnxruntime as ort

    path = existing(path)
    _onnx_wire.read(path)  # refuses external data outside the folder before the runtime follows it
    single = {key: value for key, value in _PAIRS.items() if key in (chosen or {})}
    values, input_names, output_names = settings(chosen, {**_OPTIONS, **_MEMORY, **single}, path)
    if values["graph_optimization_level"] not in _LEVELS:
        raise BundleError(f"graph_optimization_level is one of {', '.join(_LEVELS)}", where=str(path))

    if values["provider"] not in ort.get_available_providers():
        raise Missing(
            f"this ONNX Runtime has no {values['provider']}, only {', '.join(ort.get_available_providers())}",
            where=str(path),
            remedy="install the build of onnxruntime that holds it",
        )

    ort.disable_telemetry_events()
    config = ort.SessionOptions()
    config.log_severity_level = 4
    config.intra_op_num_threads = threads
    config.inter_op_num_threads = values["inter_op_num_threads"]
    config.graph_optimization_level = getattr(ort.GraphOptimizationLevel, values["graph_optimization_level"])

    for key in _MEMORY:
        setattr(config, key, values[key])

    for key, value in values.items():
        if "." in key:
            config.add_session_config_entry(key, value)

    disabled = None
    if profile is not None:
        config.enable_profiling = True
        config.profile_file_prefix = str(profile / "profile")
        config.optimized_model_filepath = str(profile / "optimized.onnx")
        disabled = ["NchwcTransformer"]  # pads channels of float convolutions, which would miscount their work

    try:
        handle = ort.InferenceSession(str(path), config, providers=[values["provider"]], disabled_optimizers=disabled)
    except Exception as error:  # the runtime's own errors share no base class but Exception
        raise BundleError(
            f"does not load in ONNX Runtime {ort.__version__}: {reason(error)}",
            where=str(path),
            remedy="export it again for this version of the runtime",
        ) from error

    try:
        inputs = [_tensor(n, path) for n in handle.get_inputs()]
        outputs = [_tensor(n, path) for n in handle.get_outputs()]
    except UnicodeDecodeError as error:  # the runtime hands the bytes of names over as they are
        raise BundleError(f"a tensor's name is no text ({error})", where=str(path), remedy="export it again") from error

    return OrtSession(
        path, handle, rename(inputs, input_names, "input", path), rename(outputs, output_names, "output", path)
    )


def _tensor(node: Any, path: Path) -> Tensor:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    if kind not in _TYPES:
        raise BundleError(f"the tensor {node.name!r} is a {node.type}, which cannot be fed", where=str(path))
    return Tensor(node.name, tuple(d if isinstance(d, int) else -1 for d in node.shape), _TYPES[kind])


class OrtSession(BaseSession):
    def __init__(self, path: Path, handle: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        super().__init__(path, inputs, outputs)
        self.handle = handle
        self._own_inputs = [n.name for n in handle.get_inputs()]
        self._own_outputs = [n.name for n in handle.get_outputs()]
        self._last: list[np.ndarray] | None = None
        self._results: list[np.ndarray] = []
        self._binding: Any = None

    def _call(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        try:
            results: list[np.ndarray] = self.handle.run(self._own_outputs, dict(zip(self._own_inputs, arrays)))
        except Exception as error:
            raise self._fault(f"ONNX Runtime could not run the model: {reason(error)}") from error

        self._last, self._results, self._binding = arrays, results, None
        return results

    def invoke(self) -> None:
        """Again on the tensors last given, which stay bound, into outputs that are allocated once."""
        if self._binding is None:
            self._bind()
        self.handle.run_with_iobinding(self._binding)

    def _bind(self) -> None:
        import onnxruntime as ort

        if self._last is None:
            raise self._fault("invoke() repeats a run, and nothing was run yet")

        binding = self.handle.io_binding()
        for name, array in zip(self._own_inputs, self._last):
            binding.bind_cpu_input(name, array)

        for name, array in zip(self._own_outputs, self._results):
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype))

        self._binding = binding
