"""What one layer's quantization alone does to the outputs, and multiply-accumulates by layer."""

from __future__ import annotations

import pytest
import torch
from quantize_nets import IMAGES, Excite, Residual, calibrated, settled
from torch import nn

from edgeft.quantize.graph import QuantizedGraph, prepare
from edgeft.quantize.layer_noise import alone, quantized_layers
from edgeft.quantize.multiply_accumulates import quantized


def by_modes(graph: QuantizedGraph, names: tuple[str, ...]) -> torch.Tensor:
    """The outputs of the graph with these modules on their grids, by a whole pass."""
    graph.set_mode("off")
    for name in names:
        graph.module.get_submodule(name).mode = "quantize"
    with torch.no_grad():
        outputs: torch.Tensor = graph.module(*IMAGES)
    graph.set_mode("quantize")
    return outputs


@pytest.mark.parametrize("net", [Residual, Excite])
def test_a_layer_alone_gives_what_a_whole_pass_with_it_gives_to_the_bit(net: type[nn.Module]) -> None:
    graph = calibrated(settled(net()), IMAGES)
    layers = quantized_layers(graph)
    groups = [group for layer in layers for group in (layer.weights, layer.activations)]
    passes = list(alone(graph.module, groups, IMAGES))
    assert [index for index, _ in passes].count(-1) == 1 and len(passes) == 1 + len(groups)
    reference = by_modes(graph, ())
    for index, (outputs,) in passes:
        want = reference if index < 0 else by_modes(graph, groups[index])
        assert torch.equal(outputs, want), index
        assert index < 0 or not torch.equal(outputs, reference), index
    assert {m.mode for m in graph.module.modules() if hasattr(m, "mode")} == {"quantize"}


@pytest.mark.parametrize("net", [Residual, Excite])
def test_every_name_holds_its_layer_in_float(net: type[nn.Module]) -> None:
    module = settled(net())
    graph = calibrated(module, IMAGES)
    for layer in quantized_layers(graph):
        again = prepare(module, IMAGES, graph.scheme, [layer.name])
        left = {at.name for at in quantized_layers(again)}
        assert left == {at.name for at in quantized_layers(graph)} - {layer.name}
        on_grid, total = quantized(again.module)
        assert total == quantized(graph.module)[1] and on_grid == quantized(graph.module)[0] - layer.macs


def test_multiply_accumulates_are_those_of_the_shapes() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten(),
        nn.Linear(8 * 64, 10),
    ).eval()  # fmt: skip
    layers = quantized_layers(calibrated(net, IMAGES))
    assert [(at.name, at.macs, at.parameters) for at in layers] == [
        ("0", 8 * 64 * 27, 8 * 27),
        ("2", 8 * 64 * 9, 8 * 9),
        ("4", 8 * 64 * 10, 8 * 64 * 10),
    ]
    assert quantized(calibrated(net, IMAGES).module) == (sum(at.macs for at in layers),) * 2


def test_the_parts_of_a_model_stand_before_its_layers() -> None:
    graph = calibrated(settled(Residual()), IMAGES)
    assert {at.name for at in quantized_layers(graph, "encoder.")} == {
        f"encoder.{at.name}" for at in quantized_layers(graph)
    }
