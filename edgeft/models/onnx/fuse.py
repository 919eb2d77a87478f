"""Patterns that exporters write out, put back to the one op that quantization knows: GELU, SiLU, hard swish, layer
norms, and a linear layer's bias. What has no pattern stays as it is written."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from ..built import RANGE


def fuse(module: fx.GraphModule) -> None:
    """All patterns, in place; what the graph computes stays the same within rounding."""
    for pattern in (_linear_bias, _gelu, _layer_norm, _silu, _hard_swish, _hard_sigmoid, _permutes):
        for node in list(module.graph.nodes):
            pattern(module, node)
        module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()


def _calls(node: Any, *functions: Callable[..., Any]) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target in functions


def _constant(module: fx.GraphModule, argument: Any) -> torch.Tensor | None:
    """The tensor of an argument that is a constant."""
    if isinstance(argument, (int, float)):
        return torch.tensor(float(argument))
    if isinstance(argument, fx.Node) and argument.op == "get_attr":
        value = getattr(module, str(argument.target), None)
        return value.detach() if isinstance(value, torch.Tensor) else None
    return None


def _is(module: fx.GraphModule, argument: Any, number: float) -> bool:
    value = _constant(module, argument)
    return value is not None and value.numel() == 1 and math.isclose(float(value), number, rel_tol=1e-4)


def _sides(node: fx.Node) -> list[tuple[Any, Any]]:
    first, second = node.args[:2]
    return [(first, second), (second, first)]


def _replace(module: fx.GraphModule, node: fx.Node, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with module.graph.inserting_before(node):
        fused = module.graph.call_function(function, args, kwargs)
    _instead(module, node, fused)


def _instead(module: fx.GraphModule, node: fx.Node, other: fx.Node) -> None:
    """Let `other`, which has the same value, take the place of `node`, with the range that the file has for it."""
    other.meta |= {key: value for key, value in node.meta.items() if key == RANGE}
    node.replace_all_uses_with(other)
    module.graph.erase_node(node)


def _linear_bias(module: fx.GraphModule, node: fx.Node) -> None:
    """x @ W + b, which exporters write for linear layers over more than two axes."""
    if not _calls(node, operator.add):
        return
    for product, constant in _sides(node):
        bias = _constant(module, constant)
        if bias is None or not isinstance(product, fx.Node) or product.op != "call_module" or len(product.users) > 1:
            continue
        layer = module.get_submodule(str(product.target))
        if isinstance(layer, nn.Linear) and layer.bias is None and bias.shape == (layer.out_features,):
            layer.bias = nn.Parameter(bias.clone())
            if isinstance(constant, fx.Node) and constant.args == ():
                _renamed(module, product, str(constant.target))
            product.meta.pop(RANGE, None)
            _instead(module, node, product)
            return


def _renamed(module: fx.GraphModule, product: fx.Node, bias: str) -> None:
    """Name a layer by its bias (`encoder_layer_0_mlp_fc1_bias`), since its weight was turned and lost its name."""
    name = bias.removesuffix("_bias")
    if name == bias or hasattr(module, name) or "." in str(product.target):
        return
    module.add_module(name, module.get_submodule(str(product.target)))
    product.target = name


def _gelu(module: fx.GraphModule, node: fx.Node) -> None:
    """x * 0.5 * (1 + erf(x / sqrt 2)), in any order of the factors."""
    if not _calls(node, torch.erf):
        return

    inner = node.args[0]
    if not _calls(inner, operator.truediv, operator.mul):
        return

    x, number = inner.args[:2]
    factor = math.sqrt(2) if inner.target is operator.truediv else 1 / math.sqrt(2)
    if not _is(module, number, factor):
        return

    sums = [user for user in node.users if _calls(user, operator.add) and any(_is(module, a, 1) for a in user.args)]
    if len(node.users) != 1 or not sums or len(sums[0].users) != 1:
        return

    product = next(iter(sums[0].users))
    if not _calls(product, operator.mul):
        return

    other = next((a for a, b in _sides(product) if b is sums[0]), None)
    if _calls(other, operator.mul) and any(a is x and _is(module, b, 0.5) for a, b in _sides(other)):
        _replace(module, product, F.gelu, x)
    elif other is x and len(product.users) == 1:
        half = next(iter(product.users))
        if _calls(half, operator.mul) and any(a is product and _is(module, b, 0.5) for a, b in _sides(half)):
            _replace(module, half, F.gelu, x)
    elif _is(module, other, 0.5) and len(product.users) == 1:
        last = next(iter(product.users))
        if _calls(last, operator.mul) and any(a is product and b is x for a, b in _sides(last)):
            _replace(module, last, F.gelu, x)


def _silu(module: fx.GraphModule, node: fx.Node) -> None:
    if _calls(node, operator.mul):
        for x, gate in _sides(node):
            if _calls(gate, torch.sigmoid) and gate.args[0] is x and len(gate.users) == 1:
                _replace(module, node, F.silu, x)
                return


def _hard_swish(module: fx.GraphModule, node: fx.Node) -> None:
    """x * clamp(x + 3, 0, 6) / 6, and x * hardsigmoid(x)."""
    if not _calls(node, operator.mul):
        return
    for x, gate in _sides(node):
        if _calls(gate, F.hardsigmoid) and gate.args[0] is x:
            _replace(module, node, F.hardswish, x)
            return
        if _is_shifted(module, _divided(module, gate), x):
            _replace(module, node, F.hardswish, x)
            return
        if _is_shifted(module, gate, x) and len(node.users) == 1:
            last = next(iter(node.users))
            if _divided(module, last) is node:
                _replace(module, last, F.hardswish, x)
                return


def _hard_sigmoid(module: fx.GraphModule, node: fx.Node) -> None:
    """relu6(x + 3) / 6."""
    if not _calls(node, operator.truediv, operator.mul):
        return
    inner = _divided(module, node)
    if _calls(inner, F.relu6) and _calls(inner.args[0], operator.add):
        x = next((a for a, b in _sides(inner.args[0]) if isinstance(a, fx.Node) and _is(module, b, 3)), None)
        if x is not None:
            _replace(module, node, F.hardsigmoid, x)


def _divided(module: fx.GraphModule, node: Any) -> Any:
    """What `node` divides by six."""
    if _calls(node, operator.truediv) and _is(module, node.args[1], 6):
        return node.args[0]
    if _calls(node, operator.mul):
        return next((a for a, b in _sides(node) if _is(module, b, 1 / 6)), None)
    return None


def _is_shifted(module: fx.GraphModule, node: Any, x: Any) -> bool:
    """Whether `node` is relu6(x + 3)."""
    return (
        _calls(node, F.relu6)
        and _calls(node.args[0], operator.add)
        and any(a is x and _is(module, b, 3) for a, b in _sides(node.args[0]))
    )


def _layer_norm(module: fx.GraphModule, node: fx.Node) -> None:
    """(x - mean) / sqrt(mean((x - mean)^2) + epsilon) over the last axis, with scale and shift."""
    if not _calls(node, operator.truediv):
        return

    centred, root = node.args[:2]
    if not (_calls(centred, operator.sub) and _calls(root, torch.sqrt) and _calls(root.args[0], operator.add)):
        return

    variance, epsilon = root.args[0].args[:2]
    mean = centred.args[1]
    if not (_over_last(mean) and mean.args[0] is centred.args[0] and _over_last(variance)):
        return

    square = variance.args[0]
    squared = (_calls(square, torch.pow) and square.args[0] is centred and _is(module, square.args[1], 2)) or (
        _calls(square, operator.mul) and square.args[0] is centred and square.args[1] is centred
    )
    number = _constant(module, epsilon)
    if not squared or number is None or number.numel() != 1 or len(node.users) != 1:
        return

    scaled = next(iter(node.users))
    scale = next((_constant(module, b) for a, b in _sides(scaled) if a is node), None) if (
        _calls(scaled, operator.mul)) else None  # fmt: skip
    if scale is None or scale.dim() != 1 or len(scaled.users) != 1:
        return

    shifted = next(iter(scaled.users))
    shift = next((_constant(module, b) for a, b in _sides(shifted) if a is scaled), None) if (
        _calls(shifted, operator.add)) else None  # fmt: skip
    if shift is None or shift.shape != scale.shape:
        return

    layer = nn.LayerNorm(scale.numel(), eps=float(number))
    layer.weight.data, layer.bias.data = scale.clone(), shift.clone()
    name = f"norm_{shifted.name}"
    module.add_module(name, layer.eval())
    with module.graph.inserting_before(shifted):
        normed = module.graph.call_module(name, (centred.args[0],))
    _instead(module, shifted, normed)


def _over_last(node: Any) -> bool:
    return _calls(node, torch.mean) and list(node.args[1]) == [-1] and bool(node.kwargs.get("keepdim"))


def _permutes(module: fx.GraphModule, node: fx.Node) -> None:
    """Two permutations in a row become one, or none."""
    if not (_calls(node, torch.permute) and _calls(node.args[0], torch.permute)):
        return

    inner = node.args[0]
    order = [inner.args[1][axis] for axis in node.args[1]]
    if order == list(range(len(order))):
        node.replace_all_uses_with(inner.args[0])
        module.graph.erase_node(node)
    else:
        node.args = (inner.args[0], order)
