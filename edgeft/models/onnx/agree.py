"""The imported module against ONNX Runtime, on random inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from ...backends.onnxruntime import BACKEND
from ...core.errors import Missing, ModelError, need
from .importer import Imported, example

#: largest difference, as a share of the largest output: what another order of the same float32 sums made of a net with
#: large values between its layers was 0.4 %. What is smaller than the floor is noise
TOLERANCE, FLOOR = 1e-2, 1e-6


def check(imported: Imported, path: Path, constants: Mapping[str, float]) -> str:
    """A note on the comparison, or "". Raises `ModelError` where both compute something else.

    A model that was quantized is not compared, since it is taken back to float.
    """
    if imported.quantized:
        return ""

    try:
        runtime = need(BACKEND.name, BACKEND.extra)
    except Missing:
        return "the imported model was not compared with ONNX Runtime, which is not installed"

    expected = _by_runtime(runtime, imported, path, constants)
    if isinstance(expected, str):
        return expected

    with torch.no_grad():
        outputs = imported.module(*(example(item, seed=2) for item in imported.inputs))

    values = outputs if isinstance(outputs, dict) else {imported.outputs[0]: outputs}
    for name, value in values.items():
        ours, theirs = value.numpy().astype(np.float64), expected[name].astype(np.float64)
        largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-6)
        reach = TOLERANCE * largest + FLOOR
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=0, atol=reach, equal_nan=True):
            raise ModelError(
                f"the imported model computes something else than ONNX Runtime for its output {name!r}",
                where=str(path),
                remedy="please report the model: an operator is imported wrongly",
            )

    return ""


def _by_runtime(
    runtime: ModuleType, imported: Imported, path: Path, constants: Mapping[str, float]
) -> dict[str, np.ndarray] | str:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    feeds = {item.name: example(item, seed=2).numpy() for item in imported.inputs}

    try:
        opened = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for item in opened.get_inputs():
            if item.name in constants:
                kind = np.int64 if "int64" in item.type else np.int32 if "int32" in item.type else np.float32
                feeds[item.name] = np.asarray(constants[item.name], kind)
            elif item.name in feeds and "float16" in item.type:
                feeds[item.name] = feeds[item.name].astype(np.float16)
            elif item.name in feeds and item.type == "tensor(double)":
                feeds[item.name] = feeds[item.name].astype(np.float64)
        results = opened.run(list(imported.outputs), feeds)
    except Exception as error:  # onnxruntime raises classes of its own for what it does not take
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"ONNX Runtime does not run the file, so the imported model was not compared: {line[:200]}"

    return dict(zip(imported.outputs, results))
