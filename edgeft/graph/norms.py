"""BatchNorm in eval mode: into the weights before it or behind it, else a depthwise convolution of its own."""

from __future__ import annotations

from collections import Counter

import torch
from torch import fx, nn

from .nodes import BATCH_NORM, CONV, CONV_TRANSPOSE, LINEAR, NORM_IN, aten, attribute, set_attribute

_RESHAPES = (aten.reshape.default, aten.view.default, aten._unsafe_view.default, aten.flatten.using_ints)


def _norm_constants(module: fx.GraphModule, node: fx.Node) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift per channel, float64, of an eval-mode BatchNorm node."""
    gamma, beta, mean, var = (
        attribute(module, a.target).detach().double() if isinstance(a, fx.Node) else None for a in node.args[1:5]
    )
    assert mean is not None and var is not None
    eps = float(node.args[7] if node.target is aten.batch_norm.default else node.args[6])
    scale = (var + eps).rsqrt() * (1.0 if gamma is None else gamma)

    return scale, (0.0 if beta is None else beta) - mean * scale


def _output_of(node: fx.Node) -> fx.Node:
    """The value of a BatchNorm node: itself, or getitem 0 of the tuple form."""
    if node.target is aten.batch_norm.default:
        return node
    return next(u for u in node.users if u.args[1] == 0)


def _erase(graph: fx.Graph, norm: fx.Node) -> None:
    """Take a BatchNorm out whose value nobody reads any more, so that what it read has one reader less."""
    for node in (*norm.users, norm):
        graph.erase_node(node)


def fold_batch_norm(module: fx.GraphModule) -> None:
    """BatchNorm after a convolution or linear goes into its weight and bias (in float64, stored as float32).

    A weight that several ops share is copied first, so that each keeps its own norm.
    """
    graph = module.graph
    uses: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            uses[node.target] = uses.get(node.target, 0) + len(node.users)

    for norm in list(graph.nodes):
        if norm.op != "call_function" or norm.target not in BATCH_NORM:
            continue

        conv = _layer_before(norm)
        if conv is None:
            continue

        transpose = conv.target in CONV_TRANSPOSE or (conv.target is aten.convolution.default and bool(conv.args[6]))
        weight_node = conv.args[1]
        weight = attribute(module, weight_node.target).detach()
        bias_node = conv.args[2] if len(conv.args) > 2 else conv.kwargs.get("bias")
        bias = attribute(module, bias_node.target).detach().double() if isinstance(bias_node, fx.Node) else 0.0
        scale, shift = _norm_constants(module, norm)
        stem = weight_node.target.rsplit(".", 1)[0] if "." in weight_node.target else weight_node.target
        name, bias_name = weight_node.target, f"{stem}.bias" if "." in weight_node.target else f"{stem}_bias"
        if uses.get(name, 1) > 1:
            name, bias_name = f"{stem}.weight_{norm.name}", f"{stem}.bias_{norm.name}"

        set_attribute(module, name, nn.Parameter(_scaled(weight, scale, transpose, _groups(conv))))
        set_attribute(module, bias_name, nn.Parameter((bias * scale + shift).float()))
        module.meta.setdefault(NORM_IN, []).append(bias_name)
        with graph.inserting_before(conv):
            new_weight, new_bias = graph.get_attr(name), graph.get_attr(bias_name)
        new_weight.meta.update(weight_node.meta)
        conv.args = (conv.args[0], new_weight, new_bias, *conv.args[3:])
        conv.kwargs = {k: v for k, v in conv.kwargs.items() if k != "bias"}
        _output_of(norm).replace_all_uses_with(norm.args[0])
        _erase(graph, norm)

    graph.eliminate_dead_code()


def _layer_before(norm: fx.Node) -> fx.Node | None:
    """The convolution or linear whose output channels a norm scales, directly or behind ops that only move values.

    LeViT's norms stand behind `linear(x).flatten(0, 1)`.
    """
    node, value = norm.args[0], norm.args[0].meta.get("val")
    axis = 1
    while node.op == "call_function" and len(node.users) == 1:
        if node.target in (*CONV, *CONV_TRANSPOSE, *LINEAR):
            channels = value.dim() - 1 if node.target in LINEAR and value is not None else 1
            return node if node.args[1].op == "get_attr" and axis == channels else None

        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        before = None if source is None else source.meta.get("val")
        if before is None or value is None:
            return None
        if node.target is aten.transpose.int:
            first, second = (int(a) % value.dim() for a in node.args[1:3])
            axis = {first: second, second: first}.get(axis, axis)
        elif node.target in _RESHAPES and axis == value.dim() - 1 and before.shape[-1] == value.shape[-1]:
            axis = before.dim() - 1
        else:
            return None
        node, value = source, before

    return None


def _scaled(weight: torch.Tensor, scale: torch.Tensor, transpose: bool, groups: int) -> torch.Tensor:
    """A weight with its output channels scaled; those of a transposed convolution are (in, out / groups, ...)."""
    if not transpose:
        return (weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))).float()

    apart = weight.double().unflatten(0, (groups, -1))
    factors = scale.view(groups, 1, -1, *[1] * (weight.dim() - 2))
    return (apart * factors).flatten(0, 1).float()


def fold_into_next(module: fx.GraphModule) -> None:
    """A BatchNorm of vectors that only linear layers read goes into their weights and biases.

    One that reads the model's inputs stays: without it one grid would have to hold columns of very different sizes.
    """
    graph = module.graph
    uses = Counter(str(n.target) for n in graph.nodes if n.op == "get_attr" for _ in n.users)
    for norm in list(graph.nodes):
        if norm.op != "call_function" or norm.target not in BATCH_NORM or norm.args[0].meta["val"].dim() != 2:
            continue

        readers = list(_output_of(norm).users)
        if (
            not readers
            or norm.args[0].op == "placeholder"
            or not all(
                reader.target in LINEAR
                and reader.args[0] is _output_of(norm)
                and reader.args[1].op == "get_attr"
                and uses[str(reader.args[1].target)] == 1
                for reader in readers
            )
        ):
            continue

        scale, shift = _norm_constants(module, norm)
        for reader in readers:
            name = str(reader.args[1].target)
            weight = attribute(module, name).detach().double()
            bias_node = reader.args[2] if len(reader.args) > 2 else None
            bias = attribute(module, str(bias_node.target)).detach().double() if bias_node is not None else 0.0
            bias_name = f"{name.rpartition('.')[0]}.bias" if "." in name else f"{name}_bias"
            set_attribute(module, name, nn.Parameter((weight * scale).float()))
            set_attribute(module, bias_name, nn.Parameter((weight @ shift + bias).float()))
            module.meta.setdefault(NORM_IN, []).append(bias_name)
            with graph.inserting_before(reader):
                new_bias = graph.get_attr(bias_name)
            reader.args = (norm.args[0], reader.args[1], new_bias)

    graph.eliminate_dead_code()


def _groups(conv: fx.Node) -> int:
    if conv.target in LINEAR:
        return 1
    index = 8 if conv.target is aten.convolution.default else 6
    return int(conv.args[index]) if len(conv.args) > index else 1


def single_batch_norm(module: fx.GraphModule) -> None:
    """A BatchNorm that follows no convolution (pre-activation nets) becomes a depthwise 1x1 convolution.

    One weight per channel with one scale per channel is exact in int8, and every runtime has integer kernels for it;
    a multiplication and an addition by constants would be rounded twice.
    """
    graph = module.graph
    for norm in list(graph.nodes):
        if norm.op != "call_function" or norm.target not in BATCH_NORM:
            continue

        value = norm.args[0].meta.get("val")
        if value is None or value.dim() != 4:
            continue

        scale, shift = _norm_constants(module, norm)
        channels = int(scale.numel())
        gamma = norm.args[1]
        stem = gamma.target.rsplit(".", 1)[0] if isinstance(gamma, fx.Node) else f"norm_{norm.name}"
        set_attribute(module, f"{stem}.folded_weight", nn.Parameter(scale.float().view(-1, 1, 1, 1)))
        set_attribute(module, f"{stem}.folded_bias", nn.Parameter(shift.float()))
        module.meta.setdefault(NORM_IN, []).extend([f"{stem}.folded_weight", f"{stem}.folded_bias"])
        output = _output_of(norm)
        with graph.inserting_before(norm):
            weight, bias = graph.get_attr(f"{stem}.folded_weight"), graph.get_attr(f"{stem}.folded_bias")
            if channels == 1:  # a weight of one element is no layer to runtimes
                scaled = graph.call_function(aten.mul.Tensor, (norm.args[0], weight))
                conv = graph.call_function(aten.add.Tensor, (scaled, bias))
                scaled.meta.update(output.meta)
            else:
                conv = graph.call_function(
                    aten.conv2d.default, (norm.args[0], weight, bias, [1, 1], [0, 0], [1, 1], channels)
                )

        conv.meta.update(output.meta)
        weight.meta["val"] = attribute(module, f"{stem}.folded_weight").detach()
        bias.meta["val"] = attribute(module, f"{stem}.folded_bias").detach()
        output.replace_all_uses_with(conv)

    graph.eliminate_dead_code()
