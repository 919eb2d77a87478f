"""What each ATen op means to quantization, as data. An op that is not here stays float and is named in the report.

`kind` decides placement:

    weighted   integer weights; input and output quantized; the following clamp is fused
    combine    several activations in, its own output parameters (add, mul, matmul)
    own        one activation in, its own output parameters (mean, hardswish, ...)
    share      output has the parameters of its input(s): the op only moves or selects values
    fuse       a clamp that melts into the op before it (relu, relu6); by itself it is `own`
    fixed      output has parameters that runtimes prescribe (softmax, sigmoid, tanh)

A table that is looked up (an embedding) is no rule, see `tables.is_table`.

`op_class` is the scheme's word for it (see `scheme.OP_CLASSES`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from ..graph.nodes import CONV, CONV_TRANSPOSE, LINEAR, aten


@dataclass(frozen=True)
class Rule:
    kind: str
    op_class: str
    #: [lowest, highest) of the op's values where the kind is "fixed": `Numeric.prescribed` makes a grid of it
    values: tuple[float, float] = (0.0, 0.0)
    #: upper end of the values, where a clamp sets it (relu6)
    ceiling: float | None = None
    #: the widest activations that runtimes have a kernel for; of wider ones the op stays float
    most_bits: int = 16


_SHARE_SHAPE = Rule("share", "shape")
_SHARE_POOL = Rule("share", "pool")
_ACT = Rule("own", "activation")
#: computed by a table of 256 entries
_TABLE = Rule("own", "activation", most_bits=8)
#: what runtimes know the ends of
_SHARES, _SIGNED = (0.0, 1.0), (-1.0, 1.0)

RULES: dict[object, Rule] = {
    aten.add.Tensor: Rule("combine", "add"),
    aten.sub.Tensor: Rule("combine", "add"),
    aten.mul.Tensor: Rule("combine", "mul"),
    aten.matmul.default: Rule("combine", "matmul"),
    aten.bmm.default: Rule("combine", "matmul"),
    aten.cat.default: Rule("share", "concat"),
    aten.mean.dim: Rule("own", "pool"),
    aten.max_pool2d.default: _SHARE_POOL,
    aten.max_pool1d.default: _SHARE_POOL,
    aten.avg_pool2d.default: _SHARE_POOL,
    aten.amax.default: _SHARE_POOL,
    aten.relu.default: Rule("fuse", "activation"),
    aten.relu6.default: Rule("fuse", "activation", ceiling=6.0),
    aten.hardtanh.default: Rule("fuse", "activation"),
    aten.clamp.default: Rule("fuse", "activation"),
    aten.leaky_relu.default: _ACT,
    aten.elu.default: _TABLE,
    aten.hardswish.default: _TABLE,
    aten.hardsigmoid.default: Rule("fixed", "activation", _SHARES, most_bits=8),
    aten.silu.default: _TABLE,
    aten.gelu.default: _TABLE,
    aten.prelu.default: _TABLE,
    aten.sigmoid.default: Rule("fixed", "activation", _SHARES),
    aten.tanh.default: Rule("fixed", "activation", _SIGNED),
    aten.softmax.int: Rule("fixed", "softmax", _SHARES),
    aten._softmax.default: Rule("fixed", "softmax", _SHARES),
}
for _op in (
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.expand.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.narrow.default,
    aten.index_select.default,
    aten.chunk.default,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
    aten.constant_pad_nd.default,
    aten.pad.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest2d.default,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bilinear2d.default,
    aten.roll.default,
    aten.flip.default,
):
    RULES[_op] = _SHARE_SHAPE

_WEIGHTED = (*CONV, *CONV_TRANSPOSE, *LINEAR, aten.conv2d.padding, aten.conv1d.padding)


def rule_of(node: fx.Node) -> Rule | None:
    """The rule of a node, or None when it stays float. `getitem` of a split shares like the split itself."""
    if node.op != "call_function":
        return None
    if node.target in _WEIGHTED:
        return Rule("weighted", weighted_class(node))

    if getattr(node.target, "__name__", "") == "getitem":
        source = node.args[0]
        return _SHARE_SHAPE if isinstance(source, fx.Node) and rule_of(source) == _SHARE_SHAPE else None

    rule = RULES.get(node.target)
    if rule is None:
        return None
    if node.target in (aten.hardtanh.default, aten.clamp.default):
        return _clamp_rule(node)
    if node.target in (aten.pad.default, aten.constant_pad_nd.default) and not _pads_zero(node):
        return None
    if node.target in (aten.add.Tensor, aten.sub.Tensor) and node.kwargs.get("alpha", 1) != 1:
        return None
    if rule.kind == "combine" and not all(isinstance(a, fx.Node) for a in node.args[:2]):
        return None  # a Python scalar has no tensor to quantize: the op stays a float island

    return rule


def weighted_class(node: fx.Node) -> str:
    """conv, depthwise, conv_transpose or linear."""
    if node.target in LINEAR:
        return "linear"
    if node.target in CONV_TRANSPOSE:
        return "conv_transpose"

    if node.target is aten.convolution.default:
        if node.args[6]:
            return "conv_transpose"
        groups = int(node.args[8])
    else:
        groups = int(node.args[6]) if len(node.args) > 6 else 1

    weight = node.args[1].meta.get("val")
    return "depthwise" if groups > 1 and weight is not None and weight.shape[1] == 1 else "conv"


def _clamp_rule(node: fx.Node) -> Rule | None:
    """Clamps to [0, c] are fused like relu6; any other range is an op of its own."""
    defaults = (-1.0, 1.0) if node.target is aten.hardtanh.default else (None, None)
    low = node.args[1] if len(node.args) > 1 else node.kwargs.get("min", defaults[0])
    high = node.args[2] if len(node.args) > 2 else node.kwargs.get("max", defaults[1])
    if low == 0 and isinstance(high, (int, float)):
        return Rule("fuse", "activation", ceiling=float(high))
    if low == 0 and high is None:
        return Rule("fuse", "activation")

    return _ACT


def _pads_zero(node: fx.Node) -> bool:
    """Zero is on every grid; another fill value is not, and reflect or replicate only move values."""
    if node.target is aten.constant_pad_nd.default:
        return (node.args[2] if len(node.args) > 2 else 0) == 0

    mode = node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
    value = node.args[3] if len(node.args) > 3 else node.kwargs.get("value")
    return mode != "constant" or value in (None, 0, 0.0)


def weight_axis(node: fx.Node) -> int:
    """The output-channel axis of a weighted node's weight."""
    return 1 if weighted_class(node) == "conv_transpose" else 0


def is_float(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()
