"""Layers that the converter must leave as they are: a sum with an input of zero stands around them while it works.

litert-torch multiplies the scale of a layer norm into the linear layer that reads it, and a factor behind a layer into
its weights: the file then holds other weights than the graph. It cannot look through a sum with an input of unknown
value, which is taken out of the finished file again.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ModelError
from ...graph.nodes import CONV, CONV_TRANSPOSE, LINEAR, aten, attribute
from . import editing

if TYPE_CHECKING:
    from torch import fx

NAME = "barrier"
_WEIGHTED = (*CONV, *CONV_TRANSPOSE, *LINEAR)
#: ops whose kernels for integers take 8 bits alone
_EIGHT_BITS = (
    aten.elu.default,
    aten.gelu.default,
    aten.hardsigmoid.default,
    aten.hardswish.default,
    aten.prelu.default,
    aten.silu.default,
)
_SOFTMAX = (aten.softmax.int, aten._softmax.default)
#: ops whose values keep their grid, so that the converter gives that of the result to what goes in
MOVES = (
    "cat", "clone", "expand", "flatten", "pad", "permute", "reshape", "select", "slice", "split", "squeeze", "stack",
    "transpose", "unflatten", "unsqueeze", "view",
)  # fmt: skip
_FACTORS = (aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar)


def constants_of_layers(module: fx.GraphModule) -> dict[str, np.ndarray]:
    """The constants that layers multiply by, by their names in the module."""
    names = {str(node.args[1].target) for node in module.graph.nodes if node.target in _WEIGHTED and _constant(node)}
    return {name: attribute(module, name).detach().numpy() for name in sorted(names)}


def _constant(node: fx.Node) -> bool:
    return getattr(node.args[1], "op", "") == "get_attr"


def absent(content: bytes, constants: Mapping[str, np.ndarray]) -> list[str]:
    """The names of those constants whose float32 values are not in the file, in whatever order."""
    schema, model = editing.opened(content)
    sizes = {weights.size for weights in constants.values()}
    stored = set()

    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        values = editing.values(model, tensor, "float32") if tensor.type == schema.TensorType.FLOAT32 else None
        if values is not None and values.size in sizes:
            stored.add(_sorted(values))

    return [name for name, weights in constants.items() if _sorted(weights) not in stored]


def _sorted(values: np.ndarray) -> bytes:
    return (np.sort(values, axis=None) + np.float32(0)).tobytes()  # -0 becomes 0


def around(module: fx.GraphModule, constants: Collection[str]) -> fx.GraphModule:
    """A copy of the module with a last input, float32 (1,), that is added to what layers with one of the weights
    `constants` read, and to what they write where a factor follows."""
    import torch

    changed = torch.fx.GraphModule(module, copy.deepcopy(module.graph))
    graph, barrier = changed.graph, _input(changed.graph)
    for node in [n for n in graph.nodes if n.target in _WEIGHTED and _constant(n)]:
        if str(node.args[1].target) not in constants:
            continue
        _add_before(graph, node, barrier)
        if any(user.target in _FACTORS for user in node.users):
            with graph.inserting_after(node):
                after = graph.call_function(aten.add.Tensor, (node, barrier))
            node.replace_all_uses_with(after, delete_user_cb=lambda user, after=after: user is not after)

    graph.lint()
    changed.recompile()
    return changed


def before_float_ops(module: fx.GraphModule) -> fx.GraphModule | None:
    """A copy of the module with such an input in front of each op of `_EIGHT_BITS` behind a dequantization, which the
    converter would make one of integers; None where there is no such op."""
    import torch

    def held(node: fx.Node) -> bool:
        return node.target in _EIGHT_BITS and _quantized(node.args[0], "dequantize_per_")

    if not any(held(node) for node in module.graph.nodes):
        return None

    changed = torch.fx.GraphModule(module, copy.deepcopy(module.graph))
    barrier = _input(changed.graph)
    for node in [node for node in changed.graph.nodes if held(node)]:
        _add_before(changed.graph, node, barrier)

    changed.graph.lint()
    changed.recompile()
    return changed


def behind_softmaxes(module: fx.GraphModule) -> fx.GraphModule | None:
    """A copy of the module with such an input behind each float softmax whose values are laid on another grid than the
    one that the runtime's softmax of integers has, which the converter would give it; None where there is none."""
    import torch

    if not any(node.target in _SOFTMAX and _on_another_grid(node) for node in module.graph.nodes):
        return None

    changed = torch.fx.GraphModule(module, copy.deepcopy(module.graph))
    barrier = _input(changed.graph)
    for node in [n for n in changed.graph.nodes if n.target in _SOFTMAX and _on_another_grid(n)]:
        with changed.graph.inserting_after(node):
            after = changed.graph.call_function(aten.add.Tensor, (node, barrier))
        node.replace_all_uses_with(after, delete_user_cb=lambda user, after=after: user is not after)

    changed.graph.lint()
    changed.recompile()
    return changed


def _on_another_grid(node: fx.Node) -> bool:
    """Whether values of a softmax are quantized, moved or joined before or not, on another grid than 0 to 255/256."""
    for user in node.users:
        if _quantized(user, "quantize_per_tensor"):
            scale, zero_point, lowest, highest = user.args[1:5]
            if not (zero_point == lowest and scale == 1 / (highest - lowest + 1)):
                return True
        elif str(user.target).removeprefix("aten.").partition(".")[0] in MOVES and _on_another_grid(user):
            return True
    return False


def _quantized(node: Any, op: str) -> bool:
    return f"quantized_decomposed.{op}" in str(getattr(node, "target", ""))


def _input(graph: fx.Graph) -> fx.Node:
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    with graph.inserting_after(last):
        return graph.placeholder(NAME)


def _add_before(graph: fx.Graph, node: fx.Node, barrier: fx.Node) -> None:
    with graph.inserting_before(node):
        before = graph.call_function(aten.add.Tensor, (node.args[0], barrier))
    node.args = (before, *node.args[1:])


def taken_out(content: bytes) -> bytes:
    """The file without its last input and without the sums with it. Raises `ModelError` where another op reads it."""
    schema, model = editing.opened(content)
    graph = model.subgraphs[0]
    (*inputs, barrier), kept = graph.inputs, []
    zeros = {int(barrier)}

    for operator in graph.operators:
        if zeros.isdisjoint(operator.inputs):
            kept.append(operator)
            continue

        kind = model.operatorCodes[operator.opcodeIndex].builtinCode
        if kind == schema.BuiltinOperator.RESHAPE:
            zeros.update(map(int, operator.outputs))
            continue

        fused = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
        if kind != schema.BuiltinOperator.ADD or fused:
            raise ModelError(
                "the converter did not keep a layer apart from its neighbours",
                where=f"tensor {graph.tensors[operator.outputs[0]].name.decode(errors='replace')}",
                remedy="use the format int8 for this model, or another runtime",
            )
        (value,) = (k for k in operator.inputs if k not in zeros)
        _replace(graph, int(operator.outputs[0]), int(value))

    graph.operators, graph.inputs = kept, inputs
    for signature in model.signatureDefs or ():
        signature.inputs = [entry for entry in signature.inputs if entry.tensorIndex != barrier]

    return editing.packed(model)


def _replace(graph: Any, old: int, new: int) -> None:
    """Every reader of the tensor `old` reads `new`."""
    for operator in graph.operators:
        operator.inputs = [new if k == old else k for k in operator.inputs]
    graph.outputs = [new if k == old else k for k in graph.outputs]
