"""Normal form of a captured graph: functional, no dropout, BatchNorm folded, global pools as `mean`.

Every pass takes a `GraphModule`, changes it in place and keeps what it computes (eval mode).
"""

from __future__ import annotations

import torch
from torch import fx, nn

from .nodes import aten, attribute, module_path, set_attribute

CONV = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.convolution.default)
CONV_PADDING = (aten.conv1d.padding, aten.conv2d.padding)
CONV_TRANSPOSE = (aten.conv_transpose1d.default, aten.conv_transpose2d.input)
LINEAR = (aten.linear.default,)
BATCH_NORM = (aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)
#: key of the graph's `meta`: names of the parameters that hold what a BatchNorm had (its shift; alone, its scale too)
NORM_IN = "norm_in"
#: hand on the very tensor that they get (in eval mode): who writes into their result writes into their input
_SAME_TENSOR = (
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    aten.alias.default,
    aten.detach.default,
    aten.detach_.default,
)
_NO_OPS = (
    *_SAME_TENSOR,
    aten.clone.default,
    aten.contiguous.default,
    aten.lift_fresh_copy.default,
)


def normalize(module: fx.GraphModule) -> None:
    """All passes, in the order that they need."""
    drop_no_ops(module, _SAME_TENSOR)  # before `functional`, which does not follow aliases
    functional(module)
    drop_no_ops(module)
    views_to_reshapes(module)
    explicit_padding(module)
    fold_batch_norm(module)
    single_batch_norm(module)
    global_pools(module)
    untie(module)
    module.graph.eliminate_dead_code()
    drop_unused_state(module)
    module.graph.lint()
    module.recompile()


def untie(module: fx.GraphModule) -> None:
    """An embedding whose weight a linear layer has too (tied embeddings) gets a copy of its own.

    The linear's becomes integers and the embedding's stays float: two constants of the artifact either way.
    """
    linears = {str(n.args[1].target) for n in module.graph.nodes if n.target in LINEAR and n.args[1].op == "get_attr"}
    for node in list(module.graph.nodes):
        if node.target is not aten.embedding.default or str(node.args[0].target) not in linears:
            continue

        tied = node.args[0]
        name = f"{module_path(node) or node.name}.weight"
        if name == tied.target:  # the linear goes by the embedding's name
            name = f"{module_path(node)}.embedded"

        set_attribute(module, name, nn.Parameter(attribute(module, str(tied.target)).detach().clone()))
        with module.graph.inserting_before(node):
            copy = module.graph.get_attr(name)
        copy.meta.update(tied.meta)
        node.replace_input_with(tied, copy)


def drop_unused_state(module: fx.GraphModule) -> None:
    """Forget parameters and buffers that no node reads any more (folded norms): they would be saved and trained."""
    used = {str(n.target) for n in module.graph.nodes if n.op == "get_attr"}
    for name, owner in list(module.named_modules()):
        for leaf in [*owner._parameters, *owner._buffers]:
            if (f"{name}.{leaf}" if name else leaf) not in used:
                delattr(owner, leaf)


def functional(module: fx.GraphModule) -> None:
    """In-place ops become their functional form; later readers of the mutated value read the result."""
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue

        name = node.target._schema.name.split("::")[1]
        if not name.endswith("_") or name.startswith("_") or name.endswith("__"):
            continue

        packet = getattr(aten, name[:-1], None)
        if packet is None or not hasattr(packet, node.target._overloadname):
            continue

        mutated = node.args[0]
        node.target = getattr(packet, node.target._overloadname)
        if isinstance(mutated, fx.Node):
            mutated.replace_all_uses_with(
                node, delete_user_cb=lambda user, node=node: user is not node and order[user] > order[node]
            )


def drop_no_ops(module: fx.GraphModule, which: tuple[object, ...] = _NO_OPS) -> None:
    for node in list(module.graph.nodes):
        if node.op == "call_function" and (node.target in which or (which is _NO_OPS and _same_dtype(node))):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def views_to_reshapes(module: fx.GraphModule) -> None:
    """`view` needs the strides that a dropped `contiguous` gave; `reshape` computes the same without them."""
    for node in module.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default


def _same_dtype(node: fx.Node) -> bool:
    """A cast to the dtype that the tensor already has."""
    if node.target not in (aten.to.dtype, aten._to_copy.default, aten.to.dtype_layout):
        return False
    before, after = node.args[0].meta.get("val"), node.meta.get("val")
    return before is not None and after is not None and before.dtype == after.dtype


def explicit_padding(module: fx.GraphModule) -> None:
    """`padding="same"` or "valid" of a convolution becomes numbers (odd kernels; an even kernel keeps its op)."""
    for node in list(module.graph.nodes):
        if node.target not in CONV_PADDING:
            continue

        args = [*node.args, *[None] * (7 - len(node.args))]
        kernel = node.args[1].meta["val"].shape[2:]
        dilation = args[5] or [1] * len(kernel)
        if args[4] == "valid":
            pad = [0] * len(kernel)
        elif all(d * (k - 1) % 2 == 0 for d, k in zip(dilation, kernel)):
            pad = [d * (k - 1) // 2 for d, k in zip(dilation, kernel)]
        else:
            continue

        node.target = aten.conv1d.default if len(kernel) == 1 else aten.conv2d.default
        node.args = (args[0], args[1], args[2], args[3] or [1] * len(kernel), pad, dilation, args[6] or 1)


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

        conv = norm.args[0]
        foldable = (
            conv.op == "call_function"
            and conv.target in (*CONV, *CONV_TRANSPOSE, *LINEAR)
            and len(conv.users) == 1
            and conv.args[1].op == "get_attr"
        )
        if not foldable:
            continue

        transpose = conv.target in CONV_TRANSPOSE or (conv.target is aten.convolution.default and bool(conv.args[6]))
        groups = _groups(conv)
        if transpose and groups != 1:
            continue

        weight_node = conv.args[1]
        weight = attribute(module, weight_node.target).detach()
        bias_node = conv.args[2] if len(conv.args) > 2 else conv.kwargs.get("bias")
        bias = attribute(module, bias_node.target).detach().double() if isinstance(bias_node, fx.Node) else 0.0
        scale, shift = _norm_constants(module, norm)
        axis = 1 if transpose else 0
        shape = [1] * weight.dim()
        shape[axis] = -1
        stem = weight_node.target.rsplit(".", 1)[0] if "." in weight_node.target else weight_node.target
        name, bias_name = weight_node.target, f"{stem}.bias" if "." in weight_node.target else f"{stem}_bias"
        if uses.get(name, 1) > 1:
            name, bias_name = f"{stem}.weight_{norm.name}", f"{stem}.bias_{norm.name}"

        set_attribute(module, name, nn.Parameter((weight.double() * scale.view(shape)).float()))
        set_attribute(module, bias_name, nn.Parameter((bias * scale + shift).float()))
        module.meta.setdefault(NORM_IN, []).append(bias_name)
        with graph.inserting_before(conv):
            new_weight, new_bias = graph.get_attr(name), graph.get_attr(bias_name)
        new_weight.meta.update(weight_node.meta)
        conv.args = (conv.args[0], new_weight, new_bias, *conv.args[3:])
        conv.kwargs = {k: v for k, v in conv.kwargs.items() if k != "bias"}
        _output_of(norm).replace_all_uses_with(conv)
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
            conv = graph.call_function(
                aten.conv2d.default, (norm.args[0], weight, bias, [1, 1], [0, 0], [1, 1], channels)
            )

        conv.meta.update(output.meta)
        weight.meta["val"] = attribute(module, f"{stem}.folded_weight").detach()
        output.replace_all_uses_with(conv)
        graph.eliminate_dead_code()


def global_pools(module: fx.GraphModule) -> None:
    """Adaptive average pools by what they mean at this size, in ops that every runtime has.

    To 1x1 -> `mean`; same size -> nothing; divisible -> `avg_pool2d`; a whole multiple -> nearest upsampling; windows
    of unequal sizes -> one linear layer an axis, whose rows of equal weights are exact in int8.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.target not in (aten.adaptive_avg_pool2d.default, aten._adaptive_avg_pool2d.default):
            continue

        source, known = node.args[0], node.args[0].meta["val"].shape[2:]
        asked = node.args[1] if isinstance(node.args[1], (list, tuple)) else [node.args[1]] * 2
        out = [known[i] if v is None else v for i, v in enumerate(asked)]
        if not all(isinstance(v, int) for v in (*known, *out)) and out != [1, 1]:
            continue

        with graph.inserting_before(node):
            if out == [1, 1]:
                new = graph.call_function(aten.mean.dim, (source, [2, 3], True))
            elif list(known) == out:
                new = source
            elif all(s % o == 0 for s, o in zip(known, out)):
                step = [s // o for s, o in zip(known, out)]
                new = graph.call_function(aten.avg_pool2d.default, (source, step, step))
            elif all(o % s == 0 for s, o in zip(known, out)):
                new = graph.call_function(aten.upsample_nearest2d.vec, (source, out, None))
            else:
                new = _uneven_pool(module, node, [int(s) for s in known], out)

        if new is not source:
            new.meta.update(node.meta)
        node.replace_all_uses_with(new)
        graph.erase_node(node)


def _uneven_pool(module: fx.GraphModule, node: fx.Node, size: list[int], out: list[int]) -> fx.Node:
    """Averages along W, then along H, of a value (N, C, H, W).

    torch's window i of o over s elements: from floor(i s / o) to ceil((i + 1) s / o).
    """
    graph, value = module.graph, node.args[0]
    assert isinstance(value, fx.Node)

    for axis in (1, 0):
        length, windows = size[axis], out[axis]
        rows = torch.zeros(windows, length)
        for i in range(windows):
            start, end = i * length // windows, -(-(i + 1) * length // windows)
            rows[i, start:end] = 1.0 / (end - start)

        # one name for equal windows: converters store equal constants once
        name = f"{node.name}.windows_{length}_{windows}"
        set_attribute(module, name, rows)
        weight = graph.get_attr(name)
        weight.meta["val"] = rows
        before = value.meta["val"]
        pooled = graph.call_function(aten.linear.default, (value, weight))
        value = graph.call_function(aten.transpose.int, (pooled, 2, 3))
        for new in (pooled, value):
            new.meta.update(node.meta)

        pooled.meta["val"] = before.new_empty((*before.shape[:3], windows))
        value.meta["val"] = pooled.meta["val"].transpose(2, 3)

    return value
