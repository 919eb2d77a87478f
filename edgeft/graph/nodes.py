"""Nodes of a graph and the tensors that they name."""

from __future__ import annotations

import torch
from torch import fx, nn

aten = torch.ops.aten

CONV = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.convolution.default)
CONV_PADDING = (aten.conv1d.padding, aten.conv2d.padding)
CONV_TRANSPOSE = (aten.conv_transpose1d.default, aten.conv_transpose2d.input)
LINEAR = (aten.linear.default,)
BATCH_NORM = (aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)
#: key of the graph's `meta`: names of the parameters that hold what a BatchNorm had (its shift; alone, its scale too)
NORM_IN = "norm_in"
#: key of the graph's `meta`: {name of a parameter: names of the module's parameters that it was computed from}
COMPUTED_FROM = "computed_from"


def module_path(node: fx.Node) -> str:
    """The dotted path of the module whose forward made this node, e.g. "layer1.0.conv1"."""
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.removeprefix("L['self'].").removeprefix("L['self']").replace("._modules['", ".").replace("']", "")


def attribute(module: nn.Module, dotted: str) -> torch.Tensor:
    """The tensor behind a `get_attr` target."""
    value: object = module
    for part in dotted.split("."):
        value = getattr(value, part)

    assert isinstance(value, torch.Tensor)
    return value


def set_attribute(module: nn.Module, dotted: str, value: torch.Tensor) -> None:
    """Register `value` (a Parameter, else a buffer) at a dotted name, making plain submodules on the way."""
    *path, leaf = dotted.split(".")
    owner = module
    for part in path:
        if not hasattr(owner, part):
            owner.add_module(part, nn.Module())
        owner = getattr(owner, part)

    if leaf in owner._parameters:
        del owner._parameters[leaf]
    if leaf in owner._buffers:
        del owner._buffers[leaf]

    if isinstance(value, nn.Parameter):
        owner.register_parameter(leaf, value)
    else:
        owner.register_buffer(leaf, value)
