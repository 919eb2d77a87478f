"""What an ONNX file holds, and what ONNX Runtime executes of it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...config import numeric
from .. import IntegerShare, Operation
from ..base_session import existing
from ..flow import Flow
from . import wire
from .flow import flow_of
from .integer_share import share, work_of_nodes
from .integer_weights import activation_grids, integer_weights
from .session import open_session

__all__ = [
    "activation_grids",
    "artifact_options",
    "emitted",
    "external_files",
    "flow",
    "integer_share",
    "integer_weights",
    "operations",
]
#: nodes that convert between real values and integers
_CONVERT = ("QuantizeLinear", "DequantizeLinear")


def artifact_options(path: Path) -> dict[str, Any]:
    """Where no activation has 8 bits, the option by which ONNX Runtime multiplies the integer weights out once, when it
    loads the file. Else it runs each DequantizeLinear in every call, for a pattern that never comes, or makes
    MatMulNBits of it, which rounds activations to 8 bits by itself."""
    model = wire.read(existing(path))
    nodes, constants = list(model.nodes()), model.tensors()
    kinds = {node.op for node in nodes}
    if "DequantizeLinear" not in kinds or "DynamicQuantizeLinear" in kinds:
        return {}

    for node in nodes:
        zero = constants.get(node.inputs[2]) if node.op == "QuantizeLinear" and len(node.inputs) > 2 else None
        if node.op == "QuantizeLinear" and (zero is None or numeric.width(zero.dtype) <= 8):
            return {}

    return {"session.disable_quant_qdq": "1"}


def integer_share(
    path: Path,
    *,
    threads: int = 1,
    feeds: Mapping[str, np.ndarray] | None = None,
    options: Mapping[str, Any] | None = None,
) -> IntegerShare:
    """One profiled run: which kernels ran, on which types and shapes; weight shapes come from the optimized graph."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = artifact_options(path) if options is None else options
        session = open_session(path, threads, chosen, profile=Path(folder))
        if feeds is None:
            feeds = {t.name: np.zeros([abs(d) for d in t.shape], t.dtype) for t in session.inputs}
        session.run(feeds)
        events = json.loads(Path(session.handle.end_profiling()).read_text())
        return share(events, wire.read(Path(folder) / "optimized.onnx"))


def external_files(path: Path) -> list[str]:
    """The names of the files that hold tensors of the model, as it names them."""
    return wire.external_files(wire.read(existing(path)))


def emitted(path: Path) -> dict[str, Any]:
    """{"opset", "opsets" by domain, "ir_version", "ops" {type: count}}; ops of other domains as `domain.Type`."""
    model = wire.read(existing(path))
    ops = Counter(f"{n.domain}.{n.op}" if n.domain not in ("", "ai.onnx") else n.op for n in model.nodes())
    opsets = {domain or "ai.onnx": number for domain, number in model.opsets.items()}
    return {"opset": opsets.get("ai.onnx", 0), "opsets": opsets, "ir_version": model.ir_version, "ops": dict(ops)}


def operations(path: Path) -> list[Operation]:
    """Every node of the file that computes or moves values; shapes come from one run of it as it stands."""
    macs = _work_as_it_stands(path)
    nodes = [node for node in wire.read(existing(path)).nodes() if node.op not in _CONVERT]
    return [Operation(node.op, node.name, tuple(node.outputs), macs.get(node.name, 0)) for node in nodes]


def flow(path: Path) -> Flow:
    """The main graph; shapes come from one run of it as it stands."""
    stored = integer_weights(path), activation_grids(path)
    return flow_of(wire.read(existing(path)), *stored, _work_as_it_stands(path))


def _work_as_it_stands(path: Path) -> dict[str, int]:
    """Multiply-accumulates of each node by its name, from one run without any optimization."""
    with tempfile.TemporaryDirectory() as folder:
        as_it_is = {"graph_optimization_level": "ORT_DISABLE_ALL"}
        session = open_session(path, 1, as_it_is, profile=Path(folder))
        session.run({t.name: np.zeros([abs(d) for d in t.shape], t.dtype) for t in session.inputs})
        events = json.loads(Path(session.handle.end_profiling()).read_text())
        return work_of_nodes(events, wire.read(Path(folder) / "optimized.onnx"))
