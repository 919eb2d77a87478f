"""LSTM, GRU and SimpleRNN, as torch's own layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...onnx.values import Value
from ..layer import Layer, tensor_of
from ..placed import Placed
from ..registry import imports

_KINDS: dict[str, type[nn.RNNBase]] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}
#: order of torch's gates in that of Keras: LSTM i f c o, GRU z r h -> r z n
_GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}


class Sequence(nn.Module):
    """The outputs of a recurrent layer at every step, (N, T, K) -> (N, T, H)."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps: torch.Tensor = self.layer(x)[0]
        return steps


@imports("LSTM", "GRU", "SimpleRNN")
def recurrent(layer: Layer) -> Placed:
    steps = _steps(layer, (layer.keras,), layer.kind)
    if not layer.keras.return_sequences:
        steps = layer.call(torch.select, steps, 1, -1)
    return Placed(steps)


@imports("Bidirectional")
def bidirectional(layer: Layer) -> Placed:
    forward, backward = layer.keras.forward_layer, layer.keras.backward_layer
    kind = type(forward).__name__
    if kind not in _KINDS or type(backward) is not type(forward) or layer.keras.merge_mode != "concat":
        raise layer.fail(f"of {kind} with merge_mode = {layer.keras.merge_mode!r} is not read")

    steps = _steps(layer, (forward, backward), kind)
    if forward.return_sequences:
        return Placed(steps)

    units = forward.units
    last = layer.call(torch.narrow, layer.call(torch.select, steps, 1, -1), 1, 0, units)
    first = layer.call(torch.narrow, layer.call(torch.select, steps, 1, 0), 1, units, units)
    return Placed(layer.call(torch.cat, [last, first], dim=1))


def _steps(layer: Layer, directions: tuple[Any, ...], kind: str) -> Value:
    for direction in directions:
        _refuse(layer, direction, kind)

    if len([a for a in layer.args if isinstance(a, Placed)]) > 1 or any(v is not None for v in layer.kwargs.values()):
        raise layer.fail("with a state or a mask as input is not read")

    value = layer.order.plain(layer.input)

    def make() -> nn.Module:
        module = _KINDS[kind](value.shape[-1], directions[0].units, batch_first=True, bidirectional=len(directions) > 1)
        for direction, suffix in zip(directions, ("_l0", "_l0_reverse")):
            for name, tensor in _weights(direction, kind).items():
                getattr(module, f"{name}{suffix}").data = tensor
        return Sequence(module)

    layer.notes.add(f"{layer.name} ({layer.kind}) stays in float: recurrent layers are not quantized")
    result: Value = layer.module(value, make)
    return result


def _refuse(layer: Layer, direction: Any, kind: str) -> None:
    names = [direction.activation.__name__, getattr(getattr(direction, "recurrent_activation", None), "__name__", "")]
    expected = ["tanh", "" if kind == "SimpleRNN" else "sigmoid"]
    backwards = direction.go_backwards and len(layer.name) and type(layer.keras).__name__ != "Bidirectional"
    if names != expected or direction.return_state or direction.stateful or backwards:
        raise layer.fail(
            "with other activations than Keras' default ones, return_state, stateful or go_backwards is not read"
        )

    if kind == "GRU" and not direction.reset_after:
        raise layer.fail("with reset_after = False computes what torch's layer does not")


def _weights(direction: Any, kind: str) -> dict[str, torch.Tensor]:
    cell = direction.cell
    inner, outer = tensor_of(cell.kernel).T, tensor_of(cell.recurrent_kernel).T
    rows = inner.shape[0]
    bias = torch.zeros(2, rows)

    if cell.use_bias:
        own = tensor_of(cell.bias)
        bias = own if own.dim() == 2 else torch.stack([own, torch.zeros(rows)])

    parts = {"weight_ih": inner, "weight_hh": outer, "bias_ih": bias[0], "bias_hh": bias[1]}
    return {name: _torch_order(tensor, kind) for name, tensor in parts.items()}


def _torch_order(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    gates = tensor.chunk(len(_GATES[kind]))
    return torch.cat([gates[at] for at in _GATES[kind]]).clone()
