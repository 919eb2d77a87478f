from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from export_nets import (
    HOST,
    IMAGES,
    TOKENS,
    Act,
    Linear,
    Mlp,
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
from torch import nn

from edgeft.backends.litert import exporter
from edgeft.config.target import Target
from edgeft.core.errors import ModelError


def run(path: Path, feeds) -> list[np.ndarray]:
    """Sample by sample, floats in and out."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    rows: list[list[np.ndarray]] = []
    for k in range(len(feeds[0])):
        for detail, feed in zip(interpreter.get_input_details(), feeds):
            value = feed[k : k + 1].numpy()
            if detail["dtype"] == np.int8:
                scale, zero = detail["quantization"]
                value = np.clip(np.rint(value / np.float32(scale)) + zero, -128, 127)
            interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
        interpreter.invoke()
        row = []
        for detail in interpreter.get_output_details():
            value = interpreter.get_tensor(detail["index"])
            if detail["dtype"] == np.int8:
                scale, zero = detail["quantization"]
                value = (value.astype(np.float32) - zero) * np.float32(scale)
            row.append(value.copy())
        rows.append(row)
    return [np.concatenate(column) for column in zip(*rows)]


def dtypes(path: Path) -> set[str]:
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    return {np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details() if t["shape"].size}


def save(net, feeds, folder, outputs=("y",), target=HOST):
    graph = lowered(net, feeds, "qdq", dynamic=False)
    names = [f"x{k}" for k in range(len(feeds))]
    return graph, written(exporter, graph, feeds, names, outputs, folder, target=target, dynamic_batch=True)


@pytest.mark.parametrize(
    ("net", "outputs"), [(Residual(), ["y"]), (Mobile(), ["label", "map"])], ids=["residual", "mobile"]
)
def test_full_int8_within_steps(tmp_path, net, outputs):
    graph = lowered(net, IMAGES, "qdq")
    artifact = written(exporter, graph, IMAGES, ["x"], outputs, tmp_path, target=HOST, dynamic_batch=True)
    got = run(tmp_path / artifact.file, IMAGES)
    for a, b in zip(got, expected(graph, IMAGES)):
        assert a.shape == b.shape and np.abs(a - b).max() <= 2.01 * step_of(graph)
    assert dtypes(tmp_path / artifact.file) <= {"int8", "int32"}
    assert artifact.emitted["op_versions"]["CONV_2D"] == 3 and artifact.emitted["ops"]["CONV_2D"] >= 1


def test_transformer_has_int8_linears_and_float_islands(tmp_path):
    graph = lowered(Transformer(), TOKENS, "qdq")
    artifact = written(exporter, graph, TOKENS, ["ids", "shift"], ["y"], tmp_path, target=HOST, dynamic_batch=False)
    got = run(tmp_path / artifact.file, TOKENS)[0]
    assert np.abs(got - expected(graph, TOKENS)[0]).max() <= 3 * step_of(graph)
    assert artifact.emitted["ops"]["FULLY_CONNECTED"] == 7
    assert "float32" in dtypes(tmp_path / artifact.file)


def test_weights_near_a_rounding_tie_keep_their_integers(tmp_path):
    net = Mlp()
    scale = net.one.weight.scale
    with torch.no_grad():  # torch multiplies by 1/scale, the converter divides: half-way values differ between them
        halves = (torch.arange(12).float() + 0.5) * torch.where(torch.arange(12) % 2 == 0, 1.0, -1.0) * 9
        net.one.weight.value.copy_(halves[None] * scale[:, None])
    feeds = (seeded(3, 12),)
    graph = lowered(net, feeds, "qdq")
    before = {name: p.detach().clone() for name, p in graph.named_parameters()}
    written(exporter, graph, feeds, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False)
    stored = [v for _, v in exporter._constants((tmp_path / "model.tflite").read_bytes(), "INT8")]
    for weight in exporter.integer_weights(graph, feeds).values():
        flat = weight.integers.numpy().reshape(-1)
        assert any(np.array_equal(s, flat) for s in stored)
    for name, p in graph.named_parameters():
        assert torch.equal(p, before[name])  # the caller's module is as it was


class NoOutputGrid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.linear = Act(), Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(F.linear(self.into(x), self.linear.weight(), self.linear.bias))


def test_a_weight_that_lost_its_quantization_is_refused(tmp_path):
    with pytest.raises(ModelError, match="stored this quantized weight as float") as caught:
        save(NoOutputGrid(), (seeded(1, 10, 16),), tmp_path)
    assert "linear.weight" in caught.value.where and "output" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_bias_that_was_cut_off_is_refused(tmp_path):
    net = Mlp()
    with torch.no_grad():
        net.one.weight.scale[3] = 1e-12
        net.one.weight.value[3] = 0
    with pytest.raises(ModelError, match="int32"):
        save(net, (seeded(2, 12),), tmp_path)


def test_op_versions_are_held_against_the_profile(tmp_path):
    feeds = (seeded(2, 12),)
    old = Target(name="old", title="", op_versions={"*": 3})
    with pytest.raises(ModelError, match="FULLY_CONNECTED was emitted in version 5"):
        save(Mlp(), feeds, tmp_path, target=old)
    wide = Target(name="wide", title="", op_versions={"*": 3, "FULLY_CONNECTED": 5})
    save(Mlp(), feeds, tmp_path, target=wide)


def test_an_op_without_translation_is_named(tmp_path):
    with pytest.raises(ModelError) as caught:
        save(One(lambda q, x: torch.special.bessel_j0(q(x))), (seeded(1, 4),), tmp_path)
    assert "bessel" in str(caught.value) and "keep_float" in caught.value.remedy


def test_positions_of_many_inputs_are_kept(tmp_path):
    class Many(nn.Module):
        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(x * (k + 2) for k, x in enumerate(inputs))

    feeds = tuple(seeded(1, k + 1, seed=k) for k in range(12))
    names = [f"n{k}" for k in range(12)]
    written(exporter, Many(), feeds, names, names, tmp_path, target=HOST, dynamic_batch=False, kind="float")
    for k, got in enumerate(run(tmp_path / "model.tflite", feeds)):
        assert np.allclose(got, feeds[k].numpy() * (k + 2))


def test_float_baseline_and_silence(tmp_path, capfd):
    graph = floating(Residual(), IMAGES)
    artifact = written(exporter, graph, IMAGES, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=True, kind="float")
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""
    got = run(tmp_path / artifact.file, IMAGES)[0]
    assert np.abs(got - expected(graph, IMAGES)[0]).max() < 1e-4
    assert dtypes(tmp_path / artifact.file) <= {"float32", "int32"}


def test_the_same_bytes_every_time(tmp_path):
    feeds = (seeded(2, 12),)
    save(Mlp(), feeds, tmp_path)
    first = (tmp_path / "model.tflite").read_bytes()
    save(Mlp(), feeds, tmp_path)
    assert (tmp_path / "model.tflite").read_bytes() == first


def test_names_of_tensors_do_not_tell_where_this_code_lies(tmp_path):
    """The converter writes the class of its module into them, so that a move of this code would change every file."""
    save(Mlp(), (seeded(2, 12),), tmp_path)
    content = (tmp_path / "model.tflite").read_bytes()
    assert b"edgeft.export.litert._convert.<locals>.Positional" in content and b"edgeft.backends" not in content
