"""LSTM and GRU, as torch's own layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..node import Node
from ..registry import operator
from ..values import Value

#: order of torch's gates in that of ONNX: LSTM i o f c -> i f g o, GRU z r h -> r z n
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
_KINDS: dict[str, type[nn.RNNBase]] = {"LSTM": nn.LSTM, "GRU": nn.GRU}
_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


@operator("LSTM", "GRU")
def recurrent(node: Node) -> Sequence[Value]:
    value, weights, hidden_weights = node.input(0), node.input(1), node.input(2)
    directions, hidden = weights.shape[0], int(node.attribute("hidden_size"))
    _refuse(node)
    layer = _KINDS[node.op](value.shape[-1], hidden, bidirectional=directions == 2)

    for direction in range(directions):
        suffix = "_l0_reverse" if direction else "_l0"
        bias = node.input(3).tensor if node.has(3) else torch.zeros(directions, 2 * weights.shape[1])
        first, second = bias[direction].chunk(2)
        parts = {
            "weight_ih": weights.tensor[direction],
            "weight_hh": hidden_weights.tensor[direction],
            "bias_ih": first,
            "bias_hh": second,
        }
        for name, tensor in parts.items():
            getattr(layer, f"{name}{suffix}").data = _torch_order(tensor, node.op)

    states = [node.input(position) for position in (5, 6)[: 2 if node.op == "LSTM" else 1] if node.has(position)]
    result = node.trace.module(node.layer_name(weights), _Recurrent(layer), value, *states)
    sequence = node.trace.reshape(result[0], [*result[0].shape[:2], directions, hidden])
    return [node.permuted(sequence, [0, 2, 1, 3]), *result[1:]]


def _torch_order(tensor: torch.Tensor, op: str) -> torch.Tensor:
    gates = tensor.chunk(len(_GATES[op]))
    return torch.cat([gates[at] for at in _GATES[op]]).clone()


def _refuse(node: Node) -> None:
    expected = _ACTIVATIONS[node.op] * node.input(1).shape[0]
    activations = [name.decode() for name in node.attributes.get("activations", [])] or expected
    odd = node.attribute("layout", 0) or node.has(4) or node.has(7) or node.attribute("direction") == "reverse"
    if odd or activations != expected or node.attribute("clip") or node.attribute("input_forget", 0):
        raise node.fail("with lengths, peepholes, clipping, another layout, direction or activation is not supported")
    if node.op == "GRU" and not node.attribute("linear_before_reset", 0):
        raise node.fail("with linear_before_reset = 0 computes what torch's layer does not")

    if not all(node.input(position).constant for position in (1, 2)) or (node.has(3) and not node.input(3).constant):
        raise node.fail("is supported with constant weights")


class _Recurrent(nn.Module):
    """A recurrent layer whose outputs and states are a flat tuple."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        lstm = isinstance(self.layer, nn.LSTM)
        given = None if not states else tuple(states) if lstm else states[0]
        sequence, last = self.layer(x, given)
        return (sequence, *last) if lstm else (sequence, last)
