"""Lowering: explicit Q/DQ that computes the trained graph to the bit, with integer weights in their range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from quantize_nets import (
    BRANCH,
    IMAGES,
    TOKENS,
    Block,
    Excite,
    Residual,
    calibrated,
    op_name,
    seeded,
    settled,
    weights_of,
)
from torch import nn

from edgeft.config.scheme import WEIGHTED, Scheme, SchemeTable
from edgeft.quantize.fakequant import ActivationFakeQuant, WeightFakeQuant
from edgeft.quantize.graph import QuantizedGraph
from edgeft.quantize.lower import integer_weights, lower


class Twice(nn.Module):
    """A reused convolution, a transposed one, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 3, 3, padding=1), nn.ConvTranspose2d(3, 2, 2, stride=2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.relu(self.conv(torch.relu(self.conv(x))))
        return self.up(y), y.mean((2, 3))


NETS = {
    "residual": (Residual(), IMAGES),
    "excite": (Excite(), IMAGES),
    "block": (Block(), TOKENS),
    "twice": (Twice(), IMAGES),
}
SCHEMES = {
    "affine": Scheme(),
    "branch": BRANCH,
    "w7": SchemeTable(weight_bits=7).scheme(),
    "per_tensor": SchemeTable(per_tensor=WEIGHTED).scheme(),
}


def learned(graph: QuantizedGraph) -> QuantizedGraph:
    """Scales and weights moved a little, as training does."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in graph.module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return graph


def run(module: nn.Module, *inputs: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        out = module(*inputs)
    return list(out) if isinstance(out, (tuple, list)) else [out]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NETS)
def test_both_forms_equal_the_trained_graph_to_the_bit(name: str, scheme: str) -> None:
    net, example = NETS[name]
    graph = learned(calibrated(settled(net), example, SCHEMES[scheme], estimator="mse"))
    feeds = [torch.cat([t, seeded(*t.shape, seed=9) * 1.5]) for t in example]
    want = run(graph.module, *feeds)
    for form in ("int", "qdq"):
        lowered = lower(graph, form)
        assert not [m for m in lowered.modules() if isinstance(m, (ActivationFakeQuant, WeightFakeQuant))]
        for a, b in zip(want, run(lowered, *feeds)):
            assert torch.equal(a, b), form
        assert not [p for p in lowered.parameters() if p.requires_grad]
    assert run(graph.module, *feeds)[0].equal(want[0]), "the trained graph is left as it was"


@pytest.mark.parametrize("bits", [7, 8])
def test_integer_weights_are_in_range_and_use_it(bits: int) -> None:
    graph = calibrated(settled(Excite()), IMAGES, SchemeTable(weight_bits=bits).scheme())
    top = 2 ** (bits - 1) - 1
    found = integer_weights(graph)
    assert {w.name for w in found} == set(graph.weight_of)
    for weight in found:
        assert weight.data.dtype == np.int8 and weight.scale.dtype == np.float32
        assert int(np.abs(weight.data.astype(int)).max()) == top, "the largest weight of a channel is the grid's end"
        assert weight.data.shape == tuple(weights_of(graph)[weight.name].shape)
        real = weights_of(graph)[weight.name].detach().numpy()
        scale = weight.scale.reshape([-1] + [1] * (real.ndim - 1))
        assert np.abs(weight.data * scale - real).max() <= 0.5001 * weight.scale.max()


def test_the_int_form_holds_int8_and_the_qdq_form_the_float_weight() -> None:
    graph = calibrated(settled(Residual()), IMAGES)
    whole, unfolded = lower(graph, "int"), lower(graph, "qdq")
    stored = [b for n, b in whole.named_buffers() if n.endswith("_int8")]
    assert len(stored) == 4 and {b.dtype for b in stored} == {torch.int8}
    assert "stem.weight" not in dict(whole.named_parameters())
    assert torch.equal(dict(unfolded.named_parameters())["stem.weight"], weights_of(graph)["stem.weight"])
    kinds = [op_name(n) for n in unfolded.graph.nodes if "quantize_per_channel" in op_name(n)]
    assert sum(k.startswith("quantize") for k in kinds) == sum(k.startswith("dequantize") for k in kinds) == 4


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="'int' or 'qdq'"):
        lower(calibrated(settled(Residual()), IMAGES), "both")
