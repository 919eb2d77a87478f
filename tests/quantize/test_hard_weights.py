"""Networks that are hard to quantize come out near their float values, by calibration alone, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import written
from quantize_nets import HOST, seeded, settled
from torch import nn

from edgeft.backends import onnxruntime
from edgeft.backends.onnxruntime import exporter
from edgeft.config import target
from edgeft.quantize.lower import lower
from edgeft.quantize.parts import MAIN, QuantizedParts, calibrate_parts, capture_parts, insert_parts

pytest.importorskip("onnxruntime")
PICTURES = seeded(32, 3, 10, 10, seed=3)


def pictures() -> Iterator[tuple[torch.Tensor]]:
    return iter([(part,) for part in PICTURES[:16].split(8)])


def net() -> nn.Sequential:
    """Three convolutions of eight channels."""
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3)]
    made = settled(nn.Sequential(*layers))
    assert isinstance(made, nn.Sequential)
    return made


def quantized(module: nn.Module) -> QuantizedParts:
    """By the default preset."""
    parts = insert_parts(capture_parts(module, next(pictures())), HOST)

    def calibrate() -> None:
        parts.calibrate_weights("mse")
        calibrate_parts(parts, pictures, estimator="mse", percentile=99.99)

    calibrate()
    parts.equalize(pictures, calibrate)
    return parts


def in_runtime(parts: QuantizedParts, inputs: torch.Tensor, folder: Path) -> np.ndarray:
    """The outputs of the artifact, which hold to those of the graph by a step in all but a few places."""
    captured = parts.captured.graphs[MAIN]
    lowered = lower(parts.graphs[MAIN], onnxruntime.BACKEND.lowering)
    border = (captured.example, captured.input_names, captured.output_names)
    file = written(exporter, lowered, *border, folder, target=target.load("host"), dynamic_batch=True).file
    session = onnxruntime.BACKEND.load(folder / file)
    outputs = next(iter(session.run({session.inputs[0].name: inputs.numpy()}).values()))

    with torch.no_grad():
        graph = parts.module(inputs).numpy()
    steps = np.abs(outputs - graph) / step(parts)
    assert np.quantile(steps, 0.99) <= 1.01 and steps.max() <= 2.01, "the runtime computes what the graph says"

    return outputs


def step(parts: QuantizedParts) -> float:
    (value,) = parts.graphs[MAIN].output_steps().values()
    assert isinstance(value, float)
    return value


def decibels(outputs: np.ndarray, module: nn.Module, inputs: torch.Tensor) -> float:
    with torch.no_grad():
        reference = module(inputs).numpy()
    return float(10 * np.log10((reference**2).sum() / ((outputs - reference) ** 2).sum()))


def test_channels_of_zeros_give_their_biases_and_cost_the_others_nothing(tmp_path: Path) -> None:
    module = net()
    with torch.no_grad():
        module[0].weight[2], module[0].bias[2] = 0, 0  # silent, and read by all
        module[2].weight[5], module[2].bias[5] = 0, 0.25  # a constant
        module[4].weight[1], module[4].bias[1] = 0, 0.5
    parts = quantized(module)
    outputs = in_runtime(parts, PICTURES, tmp_path)
    assert decibels(outputs, module, PICTURES) > 30
    assert np.abs(outputs[:, 1] - 0.5).max() <= 0.51 * step(parts)


@pytest.mark.parametrize("made_up_for", [True, False])
def test_a_channel_a_thousand_times_the_others_leaves_them_their_values(made_up_for: bool, tmp_path: Path) -> None:
    """Made up for in the next layer it is the same function; else the outputs are that channel's."""
    module = net()
    with torch.no_grad():
        module[0].weight[3].mul_(1024)
        module[0].bias[3].mul_(1024)
        if made_up_for:
            module[2].weight[:, 3].div_(1024)
    outputs = in_runtime(quantized(module), PICTURES, tmp_path)
    assert decibels(outputs, module, PICTURES) > 25
    if made_up_for:
        assert decibels(outputs, net(), PICTURES) > 30


def test_values_beyond_the_calibrated_range_saturate_and_do_not_wrap(tmp_path: Path) -> None:
    module = nn.Sequential(*list(net())[:1], nn.ReLU6(), nn.Conv2d(8, 4, 1)).eval()
    with torch.no_grad():
        module[0].bias[0] = 100.0  # always at the ceiling
    parts = quantized(module)
    assert decibels(in_runtime(parts, PICTURES, tmp_path), module, PICTURES) > 30

    ends = {}
    for name, fake in parts.activations().items():
        scale, zero = fake.parameters_of_grid()
        ends[name] = (fake.q_min - zero) * scale, (fake.q_max - zero) * scale
    (before, *_, behind) = ends.values()
    loud = 50 * PICTURES
    with torch.no_grad():
        clipped = module(loud.clamp(*before)).clamp(*behind).numpy()
    outputs = in_runtime(parts, loud, tmp_path)
    assert np.abs(outputs - clipped).max() <= 6 * step(parts), "each value is cut off, at the input and behind"
    assert {float(outputs.min()), float(outputs.max())} <= set(np.float32(behind).tolist())


@pytest.mark.parametrize("size", [1e-9, 1e-6])
def test_a_bias_fits_its_accumulator_however_small_the_weights(size: float, tmp_path: Path) -> None:
    """A bias is an int32 in units of input step times weight step: steps as fine as such weights would let it wrap."""
    module = net()
    with torch.no_grad():
        module[4].weight[1] *= size
        module[4].bias[1] = 1.0
    parts = quantized(module)
    outputs = in_runtime(parts, PICTURES, tmp_path)
    assert np.abs(outputs[:, 1] - 1.0).max() <= 0.51 * step(parts)
    assert decibels(outputs, module, PICTURES) > 30
