from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch.nn.functional as F
from export_nets import (
    HOST,
    IMAGES,
    TOKENS,
    Mobile,
    One,
    Residual,
    Transformer,
    expected,
    floating,
    lowered,
    seeded,
    step_of,
)
from exporting import written

from edgeft.backends.openvino import BACKEND, exporter
from edgeft.backends.openvino.session import read_model
from edgeft.config import target
from edgeft.core.errors import ModelError
from edgeft.models.nets.mlp import MLP
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate


def compiled(path: Path, batch: int = 1) -> ov.CompiledModel:
    model = ov.Core().read_model(path)
    assert all(port.shape[0] == 1 for port in model.inputs)
    model.reshape({port: [batch, *port.shape[1:]] for port in model.inputs})
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})


def kinds(model: ov.CompiledModel) -> list[tuple[str, str]]:
    info = [op.get_rt_info() for op in model.get_runtime_model().get_ordered_ops()]
    return [(str(i["layerType"].astype(str)), str(i["primitiveType"].astype(str))) for i in info if "layerType" in i]


@pytest.mark.parametrize(
    ("net", "feeds", "outputs", "weighted"),
    [
        (Residual(), IMAGES, ["y"], 3),
        (Mobile(), IMAGES, ["label", "map"], 5),
        (Transformer(), TOKENS, ["y"], 7),
    ],
    ids=["residual", "mobile", "transformer"],
)
def test_weighted_ops_are_integer_and_outputs_within_steps(tmp_path, net, feeds, outputs, weighted):
    graph = lowered(net, feeds)
    names = [f"x{k}" for k in range(len(feeds))]
    artifact = written(exporter, graph, feeds, names, outputs, tmp_path, target=HOST, dynamic_batch=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(artifact.files)
    model = compiled(tmp_path / artifact.file, batch=len(feeds[0]))
    got = model({name: feed.numpy() for name, feed in zip(names, feeds)})
    for name, want in zip(outputs, expected(graph, feeds)):
        assert np.abs(got[name] - want).max() <= 2 * step_of(graph)
    found = [p for k, p in kinds(model) if k in ("Convolution", "FullyConnected", "MatMul") and "I8" in p]
    assert len(found) == weighted
    assert artifact.emitted["ir_version"] == 11 and artifact.emitted["ops"]["MatMul"] >= 1


def test_int8_weights_stay_int8_byte_for_byte(tmp_path):
    graph = lowered(Residual(), IMAGES)
    written(exporter, graph, IMAGES, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False)
    model = ov.Core().read_model(tmp_path / "model.xml")
    stored = [
        op.data for op in model.get_ops() if op.get_type_name() == "Constant" and op.get_element_type() == ov.Type.i8
    ]
    for name, buffer in graph.named_buffers():
        if name.endswith("integers"):
            assert any(np.array_equal(s, buffer.numpy()) for s in stored), name


POOLS = {
    "channel pad": lambda q, x: q(F.pad(q(x), (0, 0, 0, 0, 1, 3))),
    "counted padding": lambda q, x: q(F.avg_pool2d(q(x), 3, 1, 1)),
    "padding not counted": lambda q, x: q(F.avg_pool2d(q(x), 3, 1, 1, count_include_pad=False)),
    "padded maximum": lambda q, x: q(F.max_pool2d(q(x), 3, 2, 1)),
}


@pytest.mark.parametrize("name", POOLS)
def test_padding_is_real_zero_with_any_zero_point(tmp_path, name):
    feeds = (seeded(1, 4, 10, 12, shift=0.5),)
    graph = lowered(One(POOLS[name]), feeds, dynamic=False)
    written(exporter, graph, feeds, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False)
    got = compiled(tmp_path / "model.xml")({"x": feeds[0].numpy()})["y"]
    assert np.abs(got - expected(graph, feeds)[0]).max() <= step_of(graph) * 1.01


def test_float_baseline_keeps_float32(tmp_path):
    graph = floating(Residual(), IMAGES)
    written(exporter, graph, IMAGES, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False, kind="float")
    got = compiled(tmp_path / "model.xml")({"x": IMAGES[0][:1].numpy()})["y"]
    assert np.abs(got - expected(graph, IMAGES)[0][:1]).max() < 1e-5
    ops = ov.Core().read_model(tmp_path / "model.xml").get_ops()
    types = {port.get_element_type() for op in ops for port in op.outputs()}
    assert ov.Type.f16 not in types


def test_same_bytes_every_time_and_no_paths(tmp_path):
    graph = lowered(Mobile(), IMAGES)

    def bytes_of() -> list[bytes]:
        out = written(exporter, graph, IMAGES, ["x"], ["a", "b"], tmp_path, target=HOST, dynamic_batch=False)
        return [(tmp_path / f).read_bytes() for f in out.files]

    first = bytes_of()
    assert first == bytes_of()
    assert b"conversion_parameters" not in first[0] and str(tmp_path.parent).encode() not in first[0]


def test_wrong_number_of_outputs_is_refused(tmp_path):
    graph = lowered(Residual(), IMAGES)
    with pytest.raises(ModelError):
        written(exporter, graph, IMAGES, ["x"], ["a", "b"], tmp_path, target=HOST, dynamic_batch=False)


def test_a_small_perceptron_runs_in_integers_and_not_in_one_fused_kernel_of_floats(tmp_path):
    state = seeded(256, 4)
    graph = prepare(MLP(1, size=[4], hidden=[32, 32]), (state,), target.load("host").scheme)
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([(state,)]))
    artifact = written(
        exporter, lower(graph, "int"), (state[:1],), ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False
    )
    path = tmp_path / artifact.file
    fused = ov.Core().compile_model(read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert "Subgraph" in {kind for kind, _ in kinds(fused)}, "the options are needed"
    options = BACKEND.artifact_options(path)
    # Without VNNI the fused kernel is not one of the layers.
    needed = BACKEND.integer_share(path, options={}).share < 1
    assert needed is not target.saturates()
    assert options == ({"SNIPPETS_MODE": "DISABLE"} if needed else {}) and BACKEND.integer_share(path).share == 1
    got = BACKEND.load(path, options=options).run({"x": state[:1].numpy()})["y"]
    assert np.abs(got - graph.module(state[:1]).detach().numpy()).max() <= 2 * graph.output_steps()["output"]


def test_other_nets_need_no_options_of_their_own(tmp_path):
    artifact = written(
        exporter, lowered(Residual(), IMAGES), IMAGES, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False
    )
    assert BACKEND.artifact_options(tmp_path / artifact.file) == {}
