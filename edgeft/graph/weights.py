"""Weights that a module computes: parametrizations become one tensor, parallel convolutions one convolution."""

from __future__ import annotations

from collections import Counter

import torch
import torch.nn.functional as F
from torch import fx, nn

from .nodes import COMPUTED_FROM, CONV, CONV_TRANSPOSE, LINEAR, aten, attribute, module_path, set_attribute


def fold_weights(module: fx.GraphModule) -> None:
    """The weight and bias of a layer that follow from parameters alone are computed now.

    weight_norm, spectral_norm and weight standardization (in forward or by `torch.nn.utils.parametrize`) end as the
    layer's `weight`.
    """
    for node in list(module.graph.nodes):
        if node.target not in (*CONV, *CONV_TRANSPOSE, *LINEAR):
            continue

        for position, leaf in ((1, "weight"), (2, "bias")):
            argument = node.args[position] if len(node.args) > position else None
            if not isinstance(argument, fx.Node) or argument.op == "get_attr":
                continue

            sources: set[str] = set()
            value = _value(module, argument, sources)
            if value is not None:
                node.replace_input_with(argument, _parameter(module, node, leaf, value, sources))

    module.graph.eliminate_dead_code()


def _value(module: fx.GraphModule, node: fx.Node, sources: set[str]) -> torch.Tensor | None:
    """What a node computes where no input of the model has a part in it; `sources` are the names that it reads."""
    known: dict[fx.Node, object] = {}
    waiting = [node]
    while waiting:
        at = waiting[-1]
        missing = [source for source in at.all_input_nodes if source not in known]
        if missing:
            waiting += missing
            continue
        if at.op == "get_attr":
            sources.add(str(at.target))
            known[at] = attribute(module, str(at.target)).detach()
        elif at.op == "call_function":
            with torch.no_grad():
                known[at] = at.target(*fx.map_arg(at.args, known.get), **fx.map_arg(at.kwargs, known.get))
        else:
            return None
        waiting.pop()

    value = known[node]
    return value if isinstance(value, torch.Tensor) and value.is_floating_point() else None


def _parameter(module: fx.GraphModule, node: fx.Node, leaf: str, value: torch.Tensor, sources: set[str]) -> fx.Node:
    """A `get_attr` of a computed parameter, by the name that it would have in a plain layer."""
    name = f"{module_path(node) or node.name}.{leaf}"
    readers = [n for n in module.graph.nodes if n.op == "get_attr" and n.target == name]
    if readers and name not in sources and not torch.equal(attribute(module, name), value):
        name = f"{module_path(node) or node.name}.{leaf}_{node.name}"

    computed = module.meta.setdefault(COMPUTED_FROM, {})
    if name not in computed or not torch.equal(attribute(module, name), value):
        set_attribute(module, name, nn.Parameter(value.clone()))
        computed[name] = sorted(sources)

    with module.graph.inserting_before(node):
        new = module.graph.get_attr(name)

    new.meta["val"] = value

    return new


def merge_parallel(module: fx.GraphModule) -> None:
    """Convolutions of one input whose sum is taken (RepVGG, MobileOne) become one convolution.

    The smaller kernel is padded to the larger, and a depthwise branch (a BatchNorm alone) spread over its group.
    """
    graph = module.graph
    uses = Counter(str(n.target) for n in graph.nodes if n.op == "get_attr" for _ in n.users)
    for node in list(graph.nodes):
        if node.target is not aten.add.Tensor or node.kwargs or not all(isinstance(a, fx.Node) for a in node.args[:2]):
            continue

        pair = sorted(node.args[:2], key=lambda conv: -_kernel(conv)[0] if _kernel(conv) else 0)
        if not all(_kernel(conv) and len(conv.users) == 1 and uses[str(conv.args[1].target)] == 1 for conv in pair):
            continue
        if pair[0] is not pair[1] and _fit(*pair):
            _merge(module, node, *pair)

    graph.eliminate_dead_code()


def _kernel(node: fx.Node) -> tuple[int, ...]:
    """The kernel of a two-dimensional convolution with a constant weight and without dilation, else nothing."""
    if node.target is not aten.conv2d.default or node.args[1].op != "get_attr":
        return ()
    dilation = node.args[5] if len(node.args) > 5 else [1, 1]
    return tuple(node.args[1].meta["val"].shape[2:]) if set(dilation) <= {1} else ()


def _rest(node: fx.Node) -> tuple[list[int], list[int], int]:
    """Stride, padding, groups."""
    args = (*node.args, *(None, None, None, [1, 1], [0, 0], [1, 1], 1)[len(node.args) :])
    stride, padding = (list(v) * (2 // len(v)) for v in args[3:5])
    return stride, padding, int(args[6])


def _fit(large: fx.Node, small: fx.Node) -> bool:
    """Whether the windows of both lie alike, and the groups of the smaller kernel within those of the larger."""
    (stride, pad, groups), (other_stride, other_pad, other_groups) = _rest(large), _rest(small)
    centred = all(
        (k - other) % 2 == 0 and 0 <= (k - other) // 2 == p - other_p
        for k, other, p, other_p in zip(_kernel(large), _kernel(small), pad, other_pad)
    )
    return large.args[0] is small.args[0] and stride == other_stride and centred and other_groups % groups == 0


def _merge(module: fx.GraphModule, total: fx.Node, large: fx.Node, small: fx.Node) -> None:
    graph, names = module.graph, [str(conv.args[1].target) for conv in (large, small)]
    weights = [attribute(module, name).detach().double() for name in names]
    weight = weights[0] + _spread(weights[1], weights[0], _rest(small)[2], _rest(large)[2])
    biases = [conv.args[2] for conv in (large, small) if len(conv.args) > 2 and conv.args[2] is not None]
    bias_name = f"{names[0].rpartition('.')[0]}.bias" if "." in names[0] else f"{names[0]}_bias"
    computed = module.meta.setdefault(COMPUTED_FROM, {})

    set_attribute(module, names[0], nn.Parameter(weight.float()))
    computed[names[0]] = sorted({source for name in names for source in computed.get(name, [name])})
    bias = None

    if biases:
        sources = [str(node.target) for node in biases]
        value = sum(attribute(module, name).detach().double() for name in sources)
        set_attribute(module, bias_name, nn.Parameter(value.float()))
        computed[bias_name] = sorted({source for name in sources for source in computed.get(name, [name])})

    with graph.inserting_before(total):
        weight_node = graph.get_attr(names[0])
        bias = graph.get_attr(bias_name) if biases else None
        conv = graph.call_function(
            aten.conv2d.default, (large.args[0], weight_node, bias, *_rest(large)[:2], [1, 1], _rest(large)[2])
        )

    weight_node.meta["val"] = weight.float()
    conv.meta.update(large.meta)
    total.replace_all_uses_with(conv)
    graph.erase_node(total)
    graph.erase_node(large)
    graph.erase_node(small)


def _spread(small: torch.Tensor, large: torch.Tensor, groups: int, into: int) -> torch.Tensor:
    """The smaller weight in the shape of the larger: its kernel in the middle, its inputs among those of the group."""
    per_group = small.shape[0] // groups
    spread = torch.zeros(small.shape[0], large.shape[1], *small.shape[2:], dtype=small.dtype)
    for out in range(small.shape[0]):
        first = (out // per_group) * small.shape[1] % large.shape[1]
        spread[out, first : first + small.shape[1]] = small[out]

    sides = [(k - s) // 2 for k, s in zip(large.shape[2:], small.shape[2:])]
    return F.pad(spread, (sides[1], sides[1], sides[0], sides[0]))
