"""Multiply-accumulates of a captured graph, for one sample: those of its layers, and of products of two activations.

They stand for latency where nothing was measured: a layer with twice as many takes about twice as long on the same
kernels. Layers whose time is that of moving data (depthwise convolutions, short linears) cost more than they show.
"""

from __future__ import annotations

from math import prod

import torch
from torch import fx

from ..graph.nodes import CONV_TRANSPOSE, LINEAR, aten
from .channels import Factor
from .fakequant import ActivationFakeQuant, WeightFakeQuant
from .rules import rule_of

_PRODUCTS = (aten.matmul.default, aten.bmm.default)


def of_node(node: fx.Node) -> int:
    """The multiply-accumulates of one node on one sample (axis 0 is the batch); 0 where it has none."""
    rule = rule_of(node)
    if node.target in _PRODUCTS:
        first = _shape(node.args[0])
        return prod(_shape(node)[1:]) * first[-1] if first else 0
    if rule is None or rule.kind != "weighted":
        return 0

    weight = _shape(node.args[1])
    if node.target in LINEAR:
        return prod(_shape(node)[1:]) * weight[-1]
    if node.target in CONV_TRANSPOSE or rule.op_class == "conv_transpose":
        return prod(_shape(node.args[0])[1:]) * prod(weight[1:])

    return prod(_shape(node)[1:]) * prod(weight[1:])


def quantized(module: fx.GraphModule) -> tuple[int, int]:
    """(those whose factors are all on a grid, all of them) of a graph with fake-quantize modules."""
    on_grid, total = 0, 0
    for node in module.graph.nodes:
        count = of_node(node) if node.op == "call_function" else 0
        total += count
        on_grid += count if count and all(_on_grid(module, factor) for factor in node.args[:2]) else 0

    return on_grid, total


def _on_grid(module: fx.GraphModule, value: object) -> bool:
    """Whether a value comes from a fake-quantize, with nothing but a factor a channel and moves of values behind it."""
    while isinstance(value, fx.Node):
        source = getattr(module, str(value.target)) if value.op == "call_module" else None
        rule = rule_of(value)
        if isinstance(source, (ActivationFakeQuant, WeightFakeQuant)):
            return True
        if not isinstance(source, Factor) and (rule is None or rule.kind != "share"):
            return False
        value = value.args[0]

    return False


def _shape(value: object) -> tuple[int, ...]:
    tensor = value.meta.get("val") if isinstance(value, fx.Node) else None
    return tuple(int(size) for size in tensor.shape) if isinstance(tensor, torch.Tensor) else ()
