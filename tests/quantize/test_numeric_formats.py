"""A number format that no profile has: a value of `Numeric` is all that graph, lowering, readers and gates need."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import written
from quantize_nets import HOST, IMAGES, Residual, calibrated, settled

from edgeft import backends
from edgeft.backends import WeightTensor
from edgeft.backends.onnxruntime import exporter
from edgeft.config import target
from edgeft.config.number_format import NumberFormat
from edgeft.config.numeric import Numeric
from edgeft.config.scheme import WEIGHTED, Scheme, from_table, with_format
from edgeft.graph.same import same
from edgeft.plugins import NUMBER_FORMATS
from edgeft.quantize.fakequant import weight_fake_quant
from edgeft.quantize.graph import QuantizedGraph
from edgeft.quantize.lower import integer_weights, lower
from edgeft.verify.integer import digests, integer, integer_digests
from edgeft.verify.scales import activation_scales

FORMATS = {
    "w4": Numeric(bits=4, symmetric=True, granularity="channel", narrow=True),
    "w6 with one scale": Numeric(bits=6, symmetric=True, narrow=True),
    "w16": Numeric(bits=16, symmetric=True, granularity="channel", narrow=True),
}


def graph_of(weights: Numeric) -> QuantizedGraph:
    return calibrated(settled(Residual()), IMAGES, dataclasses.replace(HOST, weights=dict.fromkeys(WEIGHTED, weights)))


@pytest.mark.parametrize("name", FORMATS)
def test_weights_of_a_new_format_are_lowered_and_judged(name: str) -> None:
    numeric = FORMATS[name]
    graph = graph_of(numeric)
    lowered = lower(graph)
    assert same(graph.module.eval(), lowered, IMAGES), "lowered is the graph that was trained, to the bit"
    expected = integer_weights(graph)
    assert len(expected) == 4
    for weight in expected:
        assert weight.data.dtype.name == numeric.dtype
        assert np.abs(weight.data.astype(int)).max() == numeric.range[1], (
            "the whole range is used and nothing beyond it"
        )
        assert (weight.axis is None) == (numeric.granularity == "tensor")
    held = {key: value for key, value in lowered.named_buffers() if key.endswith(f"_{numeric.dtype}")}
    scales = [weight.scale for weight in expected]
    stored = [WeightTensor(key, value.numpy(), scale) for (key, value), scale in zip(held.items(), scales)]
    pairs = {weight.name: (weight.data, weight.scale) for weight in expected}
    passed = integer(pairs, stored)
    assert (passed.verdict, passed.metric, passed.n) == ("pass", f"{numeric.dtype}_weights_share", 4), passed.why
    recorded = digests(pairs)
    assert integer_digests(recorded, stored).verdict == "pass"

    flipped = stored[0].data.copy()
    flipped.reshape(-1)[0] ^= 1
    altered = [dataclasses.replace(stored[0], data=flipped), *stored[1:]]
    for verdict in (integer(pairs, altered), integer_digests(recorded, altered)):
        assert verdict.verdict == "fail" and f"the {numeric.dtype} weights of" in verdict.why


def test_equal_bytes_of_another_type_are_other_weights() -> None:
    weights = {w.name: (w.data, w.scale) for w in integer_weights(graph_of(FORMATS["w16"]))}
    as_bytes = [WeightTensor(name, data.view(np.int8), scale) for name, (data, scale) in weights.items()]
    assert integer(weights, as_bytes).verdict == "fail"
    assert integer_digests(digests(weights), as_bytes).verdict == "fail"
    assert {entry["dtype"] for entry in digests(weights).values()} == {"int16"}


def test_four_bits_stand_in_a_real_artifact_as_the_graph_has_them(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    graph = graph_of(FORMATS["w4"])
    names = (list(graph.captured.input_names), list(graph.captured.output_names))
    host = target.load("host")
    written(exporter, lower(graph), graph.captured.example, *names, tmp_path, target=host, dynamic_batch=True)
    runtime = backends.get("onnxruntime")
    path = tmp_path / "model.onnx"
    expected = {w.name: (w.data, w.scale) for w in integer_weights(graph)}
    assert integer(expected, runtime.integer_weights(path)).verdict == "pass"
    grids = [fake.parameters_of_grid() for fake in graph.activations().values()]
    assert activation_scales(grids, runtime.activation_grids(path)).verdict == "pass"
    with torch.no_grad():
        wanted = graph.module.eval()(*IMAGES).numpy()
    (output,) = runtime.load(path).run({names[0][0]: IMAGES[0].numpy()}).values()
    step = graph.output_steps()["output"]
    assert float(np.median(np.abs(output - wanted))) <= step
    assert float(np.abs(output - wanted).max()) <= 8 * float(step)  # type: ignore[arg-type]


def test_prescribed_grids_follow_the_activations_format() -> None:
    class Gate(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.sigmoid(self.conv(x)))

    for bits in (8, 16):
        graph = calibrated(Gate().eval(), IMAGES, Scheme(activations=Numeric(bits=bits)))
        (fixed,) = (fake for fake in graph.activations().values() if fake.fixed)
        assert fixed.parameters_of_grid() == (2.0**-bits, -(2 ** (bits - 1)))
        assert same(graph.module.eval(), lower(graph), IMAGES)


HALF = Numeric("float", 16)
HALVES = dataclasses.replace(HOST, activations=HALF, weights=dict.fromkeys(WEIGHTED, HALF))


def test_a_float_format_rounds_weights_and_leaves_activations() -> None:
    graph = calibrated(settled(Residual()), IMAGES, HALVES)
    assert not graph.activations() and graph.weight_dtypes() == ("float16",) and graph.output_steps() == {}
    lowered = lower(graph)
    assert same(graph.module.eval(), lowered, IMAGES)
    expected = integer_weights(graph)
    assert len(expected) == 4
    for weight in expected:
        parameter = dict(graph.captured.module.named_parameters())[weight.name].detach().numpy()
        np.testing.assert_array_equal(weight.data, parameter.astype(np.float16))
        np.testing.assert_array_equal(weight.scale, [1])
    with torch.no_grad():
        exact, rounded = graph.captured.module(*IMAGES), graph.module(*IMAGES)
    difference = float((exact - rounded).abs().max())
    assert 0 < difference < 2e-3 * float(exact.abs().max()), "as much as eleven bits of a weight lose, and not nothing"

    pairs = {weight.name: (weight.data, weight.scale) for weight in expected}
    stored = [WeightTensor(weight.name, weight.data.copy(), weight.scale) for weight in expected]
    assert integer(pairs, stored).verdict == integer_digests(digests(pairs), stored).verdict == "pass"
    stored[1].data.reshape(-1).view(np.int16)[0] ^= 1
    for verdict in (integer(pairs, stored), integer_digests(digests(pairs), stored)):
        assert verdict.verdict == "fail" and "the float16 weights of" in verdict.why


def test_a_float_format_passes_gradients_to_the_weight() -> None:
    fake = weight_fake_quant(torch.zeros(2, 3), HALF, 0)
    weight = torch.tensor([[1.0001, 70000.0, 1e-9], [-3.0, 0.1, -1e6]], requires_grad=True)
    rounded = fake(weight)
    half = torch.tensor([[1.0, 65504.0, 0.0], [-3.0, 0.0999755859375, -65504.0]])
    torch.testing.assert_close(rounded, half, rtol=0, atol=0)
    rounded.sum().backward()
    torch.testing.assert_close(weight.grad, torch.ones(2, 3))
    assert [name for name, _ in fake.named_parameters()] == []


@pytest.mark.parametrize(
    ("activations", "weights", "name"),
    [
        (Numeric(bits=8), Numeric(bits=7, symmetric=True), "int8"),
        (HALF, HALF, "fp16"),
        (Numeric("float", 32), Numeric("float", 32), "fp32"),
        (Numeric(bits=16), Numeric(bits=8, symmetric=True), "int16x8"),
        (Numeric("float", 32), Numeric(bits=4, symmetric=True), "w4"),
    ],
)
def test_a_scheme_names_its_format(activations: Numeric, weights: Numeric, name: str) -> None:
    scheme = Scheme(activations=activations, weights=dict.fromkeys(WEIGHTED, weights))
    assert scheme.format == name and scheme.trainable == (name not in ("fp16", "fp32"))
    assert scheme.quantized == (name != "fp32")


@pytest.mark.parametrize("name", NUMBER_FORMATS.builtin)
def test_the_record_of_a_format_is_what_its_scheme_calls_itself(name: str) -> None:
    record = NUMBER_FORMATS.get(name)
    assert isinstance(record, NumberFormat) and record.description.endswith(".")
    wide = target.load("rpi5").scheme  # weights of 8 bits, on whatever machine
    changed = with_format(wide, name)
    assert changed.format == record.name == name
    assert from_table(json.loads(json.dumps(changed.as_dict())), "manifest.json") == changed
    # a format whose activations lie around 0 does not tell whether those of int8 would
    back = with_format(changed, "int8")
    assert dataclasses.replace(back, activations=wide.activations) == wide
