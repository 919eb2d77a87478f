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

from ...core.errors import BundleError, Missing
from ...core.quiet import quiet
from .. import Session, Tensor, _macs
from ..base_session import BaseSession, existing, reason, rename, settings
from . import BACKEND
from . import flatbuffer as _tflite

#: (name, module that holds Interpreter and OpResolverType, distribution), in the order they are tried
_INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime", "tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow", "tensorflow.lite.python.interpreter", "tensorflow"),
)
_OPTIONS = {"op_resolver": "AUTO"}
_RESOLVERS = ("AUTO", "BUILTIN", "BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")


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
            with quiet():  # C++ code logs which delegate it made
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
        remedy=f"{BACKEND.install}  (on a board: pip install ai-edge-litert, or tflite-runtime 'numpy<2')",
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
