"""w4: linear layers with 4-bit weights and a scale for 32 values, as MatMulNBits; other layers as in w8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from format_artifacts import NETS, changed, written

from edgeft import backends
from edgeft.backends.onnxruntime.groups import packed, unpacked
from edgeft.config import target
from edgeft.config.formats import w4
from edgeft.core.errors import BundleError, TargetError
from edgeft.quantize.fakequant import GroupedWeight, weight_fake_quant
from edgeft.quantize.lower import integer_weights
from edgeft.verify.integer import integer

NUMERIC = w4.FORMAT.linear()


@pytest.mark.parametrize("name", ["host", "host-openvino"])
def test_rows_of_whole_groups_have_four_bits_and_the_others_eight(name: str, tmp_path: Path) -> None:
    profile, graph, path = written(name, "block", "w4", tmp_path)
    _, example, layers = NETS["block"]
    runtime = backends.get(profile.backend)
    assert profile.scheme.format == profile.scheme.name == "w4"
    grouped = {key for key, fake in graph.weights().items() if isinstance(fake, GroupedWeight)}
    assert grouped == {"down.weight"}, "(16, 64); all others have rows of 16"
    expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    data, scale = expected["down.weight"]
    assert scale.shape == (32,) and data.min() == -7 and data.max() == 7
    stored = runtime.integer_weights(path)
    judged = integer(expected, stored)
    assert judged.verdict == "pass" and judged.n == layers, judged.why

    with torch.no_grad():
        exact = graph.module.eval()(*example).numpy()
    options = runtime.artifact_options(path)
    feeds = {graph.captured.input_names[0]: example[0].numpy()}
    (output,) = runtime.load(path, options=options).run(feeds).values()
    np.testing.assert_allclose(output, exact, rtol=0, atol=2e-6 * np.abs(exact).max())
    assert runtime.integer_share(path).share == 0
    products = [step for step in runtime.flow(path).live() if step.products]
    assert sum(step.macs for step in products) > data.size, "its multiply-accumulates are counted"

    bytes_of_weight = packed(data, 4, w4.GROUP).tobytes()
    assert len(bytes_of_weight) == data.size // 2
    altered = bytes([bytes_of_weight[0] ^ 16]) + bytes_of_weight[1:]
    changed(path, bytes_of_weight, altered)
    judged = integer(expected, runtime.integer_weights(path))
    assert judged.verdict == "fail" and "'down.weight'" in judged.why
    changed(path, altered, bytes_of_weight)
    wrong = scale.copy()
    wrong[5] *= np.float32(1.01)
    changed(path, scale.tobytes(), wrong.tobytes())
    assert "'down.weight' has the right bytes but another scale" in integer(expected, runtime.integer_weights(path)).why


def test_the_first_of_two_values_lies_in_the_low_bits() -> None:
    integers = np.array([[-7, 7, 0, 1] * 8], np.int8)
    stored = packed(integers, 4, 32)
    assert stored.shape == (1, 1, 16) and stored.dtype == np.uint8 and stored.reshape(-1)[:2].tolist() == [0xF1, 0x98]
    np.testing.assert_array_equal(unpacked(stored.reshape(1, -1), 4), integers)
    np.testing.assert_array_equal(unpacked(packed(integers, 8, 32).reshape(1, -1), 8), integers)


def test_each_group_has_its_own_scale_and_learns_it() -> None:
    weight = torch.cat([torch.linspace(-1, 1, 32), torch.linspace(-100, 100, 32)]).reshape(1, 64).requires_grad_()
    fake = weight_fake_quant(weight, NUMERIC, 0)
    torch.testing.assert_close(fake.scale().detach(), torch.tensor([1 / 7, 100 / 7]))
    rounded = fake(weight)
    assert (rounded[0, :32] - weight[0, :32]).abs().max() <= 0.5 / 7 + 1e-6
    integers = fake.integer(weight).float()
    torch.testing.assert_close(rounded, integers * fake.scale().repeat_interleave(32), rtol=1e-6, atol=0)
    (rounded**2).sum().backward()
    assert fake.log_scale.grad.shape == (2,) and (fake.log_scale.grad != 0).all() and (weight.grad != 0).any()


def test_integers_that_do_not_fit_the_stated_shape_are_refused(tmp_path: Path) -> None:
    profile, _, path = written("host", "block", "w4", tmp_path)
    model = onnx.load(path)
    (node,) = (node for node in model.graph.node if node.op_type == "MatMulNBits")
    next(attribute for attribute in node.attribute if attribute.name == "K").i = 4096
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="do not fit 16 x 4096 values"):
        backends.get(profile.backend).integer_weights(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rk3588", "reads ONNX up to opset 19, and w4 needs 20"),
        ("rb3-gen2", "w4 needs ops of ONNX Runtime's own, which qnn does not read"),
        ("host-litert", "no artifacts of the format w4 in LiteRT"),
    ],
)
def test_a_target_without_it_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target.with_format(target.load(name), "w4")
