"""What an OpenVINO model holds, and what the CPU plugin executes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import BundleError
from .. import Grid, IntegerShare, WeightTensor
from ..base_session import existing, reason
from ..flow import Flow
from ..onnxruntime import integer_weights as _onnx_weights
from ..onnxruntime import wire as _wire
from . import graph, trial
from .ir import layers
from .session import OPTIONS, compile_model, properties, read_model, tensor_of

#: without it the plug-in rounds the activations of linear layers to 8 bits, 32 values at a time, as they come
FLOAT_ACTIVATIONS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def integer_weights(path: Path) -> list[WeightTensor]:
    """Every int8 constant of more than one element that is dequantized, in the file's layout and under its name there.

    The constants are read from the model as it is stored, before the plugin changes it.
    """
    path = Path(path)
    return _onnx_weights.integer_weights(path) if path.suffix == ".onnx" else graph.constant_weights(read_model(path))


def activation_grids(path: Path) -> list[Grid]:
    """The grid of every activation, from the model as it is stored."""
    path = Path(path)
    if path.suffix == ".onnx":
        return _onnx_weights.activation_grids(path)
    return graph.activation_grids(read_model(path))


def flow(path: Path) -> Flow:
    """The model as it is stored."""
    return graph.flow(read_model(Path(path)))


def artifact_options(path: Path) -> dict[str, Any]:
    """`APART` where a fused kernel takes over quantized layers and computes them in float, or ends the process that
    compiles it; `FLOAT_ACTIVATIONS` where weights alone are integers; else nothing."""
    surviving = trial.surviving_options(path)
    if integer_weights(path) and not activation_grids(path):
        return {**surviving, **FLOAT_ACTIVATIONS}
    if surviving:
        return surviving

    model = read_model(path)
    fused = _share(path, model, 1, {})
    if graph.FUSED not in fused.float_ops:
        return {}

    return dict(trial.APART) if _share(path, model, 1, trial.APART).share > fused.share else {}


def baseline_options(path: Path) -> dict[str, Any]:
    """`APART` where compiling the float baseline would end the process, else nothing."""
    return trial.surviving_options(path)


def integer_share(
    path: Path,
    *,
    threads: int = 1,
    feeds: Mapping[str, np.ndarray] | None = None,
    options: Mapping[str, Any] | None = None,
) -> IntegerShare:
    """From the execution graph of the compiled model; dynamic dimensions take the shapes of `feeds`, else 1."""
    path = Path(path)
    model = read_model(path)
    shapes: dict[str, list[int]] = {}

    for port in model.inputs:
        tensor = tensor_of(port, path)
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

    chosen = artifact_options(path) if options is None else properties(options, path)[0]
    return _share(path, model, threads, chosen)


def _share(path: Path, model: Any, threads: int, options: Mapping[str, Any]) -> IntegerShare:
    compiled = compile_model(path, model.clone(), threads, {**OPTIONS, **options})
    return graph.share(compiled.get_runtime_model(), model)


def external_files(path: Path) -> list[str]:
    """The names of the files that hold tensors of an `.onnx` model, as it names them."""
    return _wire.external_files(_wire.read(existing(path)))


def emitted(path: Path) -> dict[str, Any]:
    """{"ir_version", "opsets" {opset: layers}, "ops" {type: count}} of an `.xml`, read without the runtime."""
    ir_version, kinds = layers(existing(path))
    return {
        "ir_version": ir_version,
        "opsets": dict(Counter(opset for _, opset in kinds)),
        "ops": dict(Counter(kind for kind, _ in kinds)),
    }
