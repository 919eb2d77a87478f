"""Normal form of a captured graph: functional, no dropout, BatchNorm folded, global pools as `mean`.

Every pass takes a `GraphModule`, changes it in place and keeps what it computes (eval mode).
"""

from __future__ import annotations

import torch
from torch import fx, nn

from . import composites, data_free, masks, norms, pools, resize, scalars, transposed, weights
from .nodes import CONV_PADDING, LINEAR, aten, attribute, module_path, set_attribute

#: hand on the very tensor that they get (in eval mode): who writes into their result writes into their input
SAME_TENSOR = (
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
    aten.alias.default,
    aten.detach.default,
    aten.detach_.default,
)
_NO_OPS = (
    *SAME_TENSOR,
    aten.clone.default,
    aten.contiguous.default,
    aten.lift_fresh_copy.default,
)


def normalize(module: fx.GraphModule) -> None:
    """All passes, in the order that they need."""
    drop_no_ops(module, SAME_TENSOR)  # before `functional`, which does not follow aliases
    functional(module)
    drop_no_ops(module)
    views_to_reshapes(module)
    masked_writes(module)
    composites.spell_out(module)
    masks.finite(module)
    data_free.expand_as(module)
    drop_neutral(module)
    explicit_padding(module)

    weights.fold_weights(module)
    norms.fold_batch_norm(module)
    norms.fold_into_next(module)
    norms.single_batch_norm(module)
    weights.merge_parallel(module)

    transposed.to_convolutions(module)
    pools.one_dimensional(module)
    pools.global_pools(module)
    pools.maximum_pools(module)
    resize.same_size(module)
    resize.nearest(module)
    scalars.sums_with_factors(module)
    scalars.before_concats(module)
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


def drop_neutral(module: fx.GraphModule) -> None:
    """`x + 0` and `x * 1` (sums of a list begin with 0) are x."""
    neutral = {aten.add.Tensor: 0, aten.sub.Tensor: 0, aten.mul.Tensor: 1, aten.div.Tensor: 1}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in neutral or not isinstance(node.args[0], fx.Node):
            continue

        number, source = node.args[1], node.args[0]
        alike = source.meta.get("val") is not None and source.meta["val"].dtype == node.meta["val"].dtype
        if isinstance(number, (int, float)) and number == neutral[node.target] and alike:
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)


def views_to_reshapes(module: fx.GraphModule) -> None:
    """`view` needs the strides that a dropped `contiguous` gave; `reshape` computes the same without them."""
    for node in module.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
        elif node.target in (aten.reshape_as.default, aten.view_as.default):
            sizes = [size if isinstance(size, int) else -1 for size in node.meta["val"].shape]
            if sizes.count(-1) < 2:  # else the other tensor must say them
                node.target, node.args = aten.reshape.default, (node.args[0], sizes)


def masked_writes(module: fx.GraphModule) -> None:
    """`x[mask] = number` becomes a choice between the number and x, which needs no list of positions."""
    for node in list(module.graph.nodes):
        if node.target is not aten.index_put.default or len(node.args[1]) != 1 or any(node.args[3:]):
            continue

        source, (mask,), number = node.args[:3]
        values = [n.meta["val"] for n in (source, mask, number) if isinstance(n, fx.Node) and "val" in n.meta]
        if len(values) < 3 or values[1].dtype != torch.bool or values[2].dtype != values[0].dtype:
            continue
        if values[1].dim() != values[0].dim() or values[2].dim() != 0:
            continue

        node.target, node.args = aten.where.self, (mask, number, source)


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
