"""An int8 table of embeddings in all three artifacts: the same bytes, a smaller file, the same numbers, and no way to
change it unnoticed."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export_nets import HOST
from exporting import written
from onnx import numpy_helper as nh
from torch import nn

from edgeft import backends as runtime
from edgeft.config.scheme import WEIGHTED, SchemeTable
from edgeft.quantize.graph import QuantizedGraph, prepare
from edgeft.quantize.lower import integer_weights, lower
from edgeft.quantize.ranges import calibrate
from edgeft.verify.integer import digests, integer, integer_digests
from edgeft.verify.scales import same_scales, scales_digest

BACKENDS = ("onnxruntime", "openvino", "litert")
EACH = pytest.mark.parametrize("backend", BACKENDS)
ROWS, WIDTH = 400, 32
NUMBERS = (torch.tensor([[3], [399]], dtype=torch.int32), torch.arange(14, dtype=torch.int32).reshape(2, 7) * 28)


class Pair(nn.Module):
    """Two tables, one of which is looked up twice, and a layer of 6-bit weights, whose sums saturate nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.many = nn.Embedding(ROWS, WIDTH), nn.Embedding(ROWS, WIDTH)
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, one: torch.Tensor, many: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.tanh(self.one(one) * self.many(many) + self.many(one)))


def graph_of(embeddings: str, per_tensor: tuple[str, ...] = ()) -> QuantizedGraph:
    torch.manual_seed(0)
    scheme = SchemeTable(weight_bits=7, embeddings=embeddings, per_tensor=per_tensor).scheme()
    graph = prepare(Pair().eval(), NUMBERS, scheme)
    calibrate(graph.module, lambda: [NUMBERS], estimator="minmax")
    return graph


@pytest.fixture(scope="module", params=[(), WEIGHTED], ids=["rows", "one_scale"])
def exported(request, tmp_path_factory) -> tuple[QuantizedGraph, dict[tuple[str, str], Path]]:
    """(the graph of int8 tables, artifact by backend and kind of table)."""
    paths = {}
    for embeddings in ("int8", "float"):
        graph = graph_of(embeddings, request.param)
        for backend in BACKENDS:
            folder = tmp_path_factory.mktemp(f"{backend}-{embeddings}")
            lowered = lower(graph, "qdq" if backend == "litert" else "int")
            exporter = importlib.import_module(f"edgeft.backends.{backend}.exporter")
            artifact = written(
                exporter, lowered, NUMBERS, ["one", "many"], ["y"], folder, target=HOST, dynamic_batch=True
            )
            paths[backend, embeddings] = folder / artifact.file
    return graph_of("int8", request.param), paths


def weight_bytes(path: Path) -> int:
    return sum(p.stat().st_size for p in (path, path.with_suffix(".bin")) if p.is_file() and p.suffix != ".xml")


@EACH
def test_the_artifact_holds_the_tables_of_the_graph(exported, backend) -> None:
    graph, paths = exported
    expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    assert set(expected) == {"one.weight", "many.weight", "layer.weight"}
    found = runtime.get(backend).integer_weights(paths[backend, "int8"])
    verdict = integer(expected, found)
    assert verdict.verdict == "pass" and verdict.n == 3, verdict.why
    assert integer_digests(digests(expected), found).verdict == "pass"
    assert len([t for t in found if t.data.shape == (ROWS, WIDTH)]) >= 2
    lacking = integer(expected, runtime.get(backend).integer_weights(paths[backend, "float"]))
    assert lacking.verdict == "fail" and "weight" in lacking.why


@EACH
def test_the_file_shrinks_by_what_the_tables_do(exported, backend) -> None:
    _, paths = exported
    saved = weight_bytes(paths[backend, "float"]) - weight_bytes(paths[backend, "int8"])
    tables = 2 * ROWS * WIDTH
    assert 3 * tables - 2 * ROWS * 4 - 3000 < saved <= 3 * tables  # what is left: scales, and ops that look them up


@EACH
def test_it_computes_what_the_graph_does(exported, backend) -> None:
    graph, paths = exported
    session = runtime.get(backend).load(paths[backend, "int8"])
    feeds = dict(zip([t.name for t in session.inputs], [n.numpy() for n in NUMBERS]))
    (got,) = session.run(feeds).values()
    with torch.no_grad():
        want = graph.module(*NUMBERS).numpy()
    (step,) = graph.output_steps().values()
    assert got.shape == want.shape and np.abs(got - want).max() <= 1.01 * step


def test_no_runtime_dequantizes_a_whole_table(exported) -> None:
    _, paths = exported
    kinds = [n.op_type for n in onnx.load(paths["onnxruntime", "int8"]).graph.node]
    assert kinds.index("Gather") < kinds.index("Cast"), "rows first, then floats"
    model = onnx.load(paths["onnxruntime", "int8"])
    floats = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT]
    assert all(nh.to_array(i).size <= max(ROWS, WIDTH * WIDTH) for i in floats)
    session = runtime.get("litert").load(paths["litert", "int8"])
    details = session.handle.get_tensor_details()
    large = [d for d in details if np.prod(d["shape"]) == ROWS * WIDTH]
    assert large and all(d["dtype"] == np.int8 for d in large)


def rewritten(path: Path, old: bytes, new: bytes, folder: Path) -> Path:
    """A copy of the artifact in `folder` with `old` replaced, wherever it stands."""
    seen = 0
    for source in (path, path.with_suffix(".bin")):
        if source.is_file():
            data = source.read_bytes()
            seen += data.count(old)
            (folder / source.name).write_bytes(data.replace(old, new))
    assert seen, "the bytes to be changed are not in the artifact"
    return folder / path.name


@EACH
def test_a_changed_table_is_named(exported, backend, tmp_path) -> None:
    graph, paths = exported
    expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    table = expected["many.weight"][0].tobytes()
    wrong = rewritten(paths[backend, "int8"], table, table[:5] + bytes([table[5] ^ 1]) + table[6:], tmp_path)
    found = runtime.get(backend).integer_weights(wrong)
    for verdict in (integer(expected, found), integer_digests(digests(expected), found)):
        assert verdict.verdict == "fail" and "'many.weight'" in verdict.why


@EACH
def test_a_changed_scale_is_named(exported, backend, tmp_path) -> None:
    graph, paths = exported
    kind, right = runtime.get(backend), paths[backend, "int8"]
    weights = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    scale = weights["one.weight"][1]
    other = scale.copy()
    other[-1] *= np.float32(1.01)
    wrong = rewritten(right, scale.tobytes(), other.tobytes(), tmp_path)
    found = kind.integer_weights(wrong)
    verdict = integer(weights, found)
    assert verdict.verdict == "fail" and "'one.weight'" in verdict.why
    recorded = scales_digest(kind.integer_weights(right), kind.activation_grids(right))
    assert same_scales(recorded, kind.integer_weights(right), kind.activation_grids(right)).verdict == "pass"
    assert same_scales(recorded, found, kind.activation_grids(wrong)).verdict == "fail"
