"""A session on top of `onnx.reference.ReferenceEvaluator`. It has one thread and no options."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np

from edgeft.backends import Session, Tensor
from edgeft.backends.base_session import BaseSession, existing, reason, rename, settings
from edgeft.backends.onnxruntime import wire
from edgeft.core.errors import BundleError, Missing

from . import BACKEND


def version() -> str:
    _onnx()
    return installed_version("onnx")


def options() -> dict[str, Any]:
    return {}


def load(path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
    """A session; raises `BundleError` when the file does not load, `Missing` without the package onnx."""
    onnx = _onnx()
    from onnx.reference import ReferenceEvaluator

    path = existing(path)
    wire.read(path)  # refuses a broken file, and external data outside of its folder
    _, input_names, output_names = settings(options, {}, path)

    try:
        model = onnx.load(path)
        evaluator = ReferenceEvaluator(model)
    except Exception as error:  # the package's errors share no base class but Exception
        raise BundleError(f"does not load in onnx {version()}: {reason(error)}", where=str(path)) from error

    inputs = rename([_tensor(value) for value in model.graph.input], input_names, "input", path)
    outputs = rename([_tensor(value) for value in model.graph.output], output_names, "output", path)
    return ReferenceSession(path, evaluator, inputs, outputs)


class ReferenceSession(BaseSession):
    def __init__(self, path: Path, evaluator: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        super().__init__(path, inputs, outputs)
        self._evaluator = evaluator
        self._feeds: dict[str, np.ndarray] = {}

    def _call(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self._feeds = dict(zip(self._evaluator.input_names, arrays))
        try:
            return [np.asarray(value) for value in self._evaluator.run(None, self._feeds)]
        except Exception as error:
            raise self._fault(f"onnx {version()} could not run the model: {reason(error)}") from error

    def invoke(self) -> None:
        if not self._feeds:
            raise self._fault("invoke() repeats a run, and nothing was run yet")
        self._evaluator.run(None, self._feeds)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise Missing(f"the package onnx does not import ({error})", remedy=BACKEND.install) from error
    return onnx


def _tensor(value: Any) -> Tensor:
    import onnx

    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
    return Tensor(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name)
