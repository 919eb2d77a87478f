"""Quantized weights with float activations: integers with scales in the file, behind a DEQUANTIZE that is run once.

The converter drops the quantization of a weight whose layer has none on its output, and its dynamic-range form rounds
activations to 8 bits as they come. So it is given the weights as the floats that their integers stand for, and those
constants become integers in the finished file. XNNPACK unpacks such constants when it prepares the graph, other
kernels take what DEQUANTIZE made of them in the first call: the sums are those of float32.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ModelError
from . import editing

if TYPE_CHECKING:
    import torch
    from torch import fx

#: versions of DEQUANTIZE: integers of 8 bits with one scale, and with one a channel
_ONE_SCALE, _CHANNELS = 2, 5


@dataclass(frozen=True)
class ScaledWeight:
    """A weight of the graph in torch's layout: `integers` int8, `scale` float32 of one element or of one a channel on
    `axis` (None for one scale), and the float32 `values` that they stand for. `name` is that in the graph."""

    name: str
    integers: np.ndarray
    scale: np.ndarray
    axis: int | None
    values: np.ndarray


def in_float(module: fx.GraphModule) -> tuple[fx.GraphModule, dict[str, ScaledWeight]]:
    """A copy of the lowered module whose quantized weights are float constants, and the weights by those constants."""
    import torch

    changed = torch.fx.GraphModule(module, copy.deepcopy(module.graph))
    weights: dict[str, ScaledWeight] = {}
    for node in list(changed.graph.nodes):
        quantize: Any = node.args[0] if _is(node, "dequantize_per_") else None
        source: Any = quantize.args[0] if _is(quantize, "quantize_per_") else None
        if getattr(source, "op", "") != "get_attr":
            continue

        name = str(source.target)
        constant = f"{name.replace('.', '_')}_in_float"
        weights[constant] = _weight(module, name, quantize)
        changed.register_buffer(constant, torch.from_numpy(weights[constant].values), persistent=False)
        with changed.graph.inserting_before(node):
            replacement = changed.graph.get_attr(constant)
        replacement.meta = dict(node.meta)
        node.replace_all_uses_with(replacement)
        changed.graph.erase_node(node)

    changed.graph.eliminate_dead_code()
    changed.graph.lint()
    changed.recompile()
    return changed, weights


def _is(node: Any, op: str) -> bool:
    return getattr(node, "op", "") == "call_function" and f"quantized_decomposed.{op}" in str(node.target)


def _weight(module: torch.nn.Module, name: str, quantize: fx.Node) -> ScaledWeight:
    from ...graph.nodes import attribute

    def value(argument: Any) -> Any:
        stored = getattr(argument, "op", "") == "get_attr"
        return attribute(module, str(argument.target)).detach() if stored else argument

    arguments = [value(argument) for argument in quantize.args]
    integers = quantize.target(*arguments).numpy()
    scale = np.atleast_1d(np.asarray(arguments[1], np.float32))
    axis = int(arguments[3]) if "per_channel" in str(quantize.target) else None
    broadcast = [1] * integers.ndim
    if axis is not None:
        broadcast[axis] = -1

    return ScaledWeight(name, integers, scale, axis, integers.astype(np.float32) * scale.reshape(broadcast))


def store_as_integers(content: bytes, weights: Mapping[str, ScaledWeight]) -> bytes:
    """The file with each constant that is one of `weights`, in any layout, as integers behind a DEQUANTIZE.

    Raises `ModelError` for a weight that is not in the file.
    """
    schema, model = editing.opened(content)
    rewriting = _Rewriting(schema, model, weights)
    for graph in model.subgraphs:
        rewriting.rewrite(graph)

    for key in (key for key in weights if key not in rewriting.stored):
        raise ModelError(
            "the converter laid this weight out in a way that is not known",
            where=f"weight {weights[key].name}",
            remedy='keep the layer that holds it in float (quantize.keep_float = ["<layer pattern>"])',
        )

    return editing.packed(model)


class _Rewriting:
    """The constants of a model while they become integers; `stored` are the weights that were met, by name."""

    def __init__(self, schema: Any, model: Any, weights: Mapping[str, ScaledWeight]) -> None:
        self.schema, self.model = schema, model
        self.stored: set[str] = set()
        self._buffers: dict[tuple[str, tuple[int, ...]], int] = {}
        self._by_size: dict[int, list[tuple[str, ScaledWeight]]] = {}
        for name, weight in weights.items():
            self._by_size.setdefault(weight.integers.size, []).append((name, weight))

    def rewrite(self, graph: Any) -> None:
        """Put the integers and their DEQUANTIZE ops into a graph."""
        operators = []
        for place, tensor in enumerate(list(graph.tensors)):
            match = self._match(tensor)
            if match is None:
                continue

            name, weight, order = match
            self.stored.add(name)
            graph.tensors.append(self._constant(tensor, name, weight, order))
            operator = self.schema.OperatorT()
            operator.opcodeIndex = editing.dequantize(
                self.schema, self.model, _ONE_SCALE if weight.axis is None else _CHANNELS
            )
            operator.inputs, operator.outputs = [len(graph.tensors) - 1], [place]
            operators.append(operator)
            tensor.buffer = 0

        graph.operators = [*operators, *graph.operators]

    def _match(self, tensor: Any) -> tuple[str, ScaledWeight, tuple[int, ...]] | None:
        """(name, weight, order of torch's axes) of the weight that a constant holds."""
        values = editing.values(self.model, tensor, "float32")
        if tensor.type != self.schema.TensorType.FLOAT32 or values is None:
            return None

        for name, weight in self._by_size.get(values.size, ()):
            for order in _orders(weight.values.ndim):
                if np.array_equal(weight.values.transpose(order).reshape(-1), values):
                    return name, weight, order

        return None

    def _constant(self, tensor: Any, name: str, weight: ScaledWeight, order: tuple[int, ...]) -> Any:
        """The tensor of integers that stands for a float one."""
        laid = np.ascontiguousarray(weight.integers.transpose(order))
        if (name, order) not in self._buffers:
            self._buffers[name, order] = editing.constant(self.model, laid)

        grid = self.schema.QuantizationParametersT()
        grid.scale, grid.zeroPoint = weight.scale.copy(), np.zeros(weight.scale.size, np.int64)
        if weight.axis is not None:
            grid.quantizedDimension = _axis(list(tensor.shape), laid.shape, order.index(weight.axis))

        constant = self.schema.TensorT()
        constant.shape, constant.type = tensor.shape, self.schema.TensorType.INT8
        constant.buffer = self._buffers[name, order]
        constant.name, constant.quantization = tensor.name + b"_int8", grid

        return constant


def _orders(rank: int) -> Iterator[tuple[int, ...]]:
    """Every order of `rank` axes: a converter lays weights out as its kernels read them."""
    return permutations(range(rank))


def _axis(shape: Sequence[int], laid: Sequence[int], position: int) -> int:
    """The axis of `shape` that axis `position` of `laid` became, where axes of length 1 were added or dropped."""
    before, size = math.prod(laid[:position]), laid[position]
    for axis, length in enumerate(shape):
        if math.prod(shape[:axis]) == before and length == size:
            return axis

    raise ModelError(f"the channels of a weight of shape {tuple(laid)} are no axis of {tuple(shape)} in the file")
