"""A malformed .tflite is refused by the reader, before an interpreter sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft.backends.litert import flatbuffer
from edgeft.core.errors import BundleError

MODEL = Path(__file__).parents[1] / "fixtures" / "tiny" / "int8.tflite"


def altered(path: Path, change: Any) -> Path:
    flatbuffers = pytest.importorskip("flatbuffers")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(MODEL.read_bytes(), 0)
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def computed(model: Any) -> Any:
    """A tensor that the graph computes."""
    graph = model.subgraphs[0]
    return graph.tensors[graph.operators[0].outputs[0]]


def constant(model: Any) -> Any:
    """The buffer of a constant tensor; the last buffers of a file may hold metadata."""
    buffers = (model.buffers[tensor.buffer] for tensor in model.subgraphs[0].tensors)
    return next(buffer for buffer in buffers if buffer.data is not None and len(buffer.data) > 8)


def test_the_model_itself_is_read(tmp_path):
    assert flatbuffer.read(altered(tmp_path / "same.tflite", lambda model: None)).main_operators > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model: setattr(computed(model), "shape", [1, 65536, 65536]), "asks for"),
        (lambda model: setattr(computed(model), "shape", [1] * 40), "impossible shape"),
        (lambda model: setattr(computed(model), "shape", [-5, 3]), "impossible shape"),
        (lambda model: setattr(constant(model), "data", np.zeros(3, np.uint8)), "holds 3 bytes"),
        (lambda model: setattr(model.subgraphs[0], "outputs", [999]), "do not exist"),
        (lambda model: setattr(model.subgraphs[0].operators[0], "inputs", [999]), "does not exist"),
        (lambda model: setattr(model, "subgraphs", []), "no graph"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_crash_or_exhaust_an_interpreter_is_refused(tmp_path, change, words):
    with pytest.raises(BundleError, match=words):
        flatbuffer.read(altered(tmp_path / "model.tflite", change))
