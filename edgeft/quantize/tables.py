"""Tables that are looked up (embeddings): integer weights without an input or an output on a grid.

Lowered, the rows are taken as integers, and what was taken becomes float and is multiplied by its rows' scales. Were
the table dequantized before the lookup, as a weight is, every converter would fold it to float, or a runtime would
dequantize all of it at every run.
"""

from __future__ import annotations

import torch
from torch import fx

from ..graph.nodes import aten, attribute
from .fakequant import WeightFakeQuant

#: the op class of a lookup
TABLE = "embedding"


def is_table(node: fx.Node) -> bool:
    """Whether a node looks rows of a float table up by numbers that come from an input of the graph.

    Constant numbers (positions, of as many tokens as an input has) are folded by every converter: what is stored then
    is the rows, in float.
    """
    if node.op != "call_function" or node.target is not aten.embedding.default:
        return False

    table, numbers = node.args[:2]
    value = node.meta.get("val")
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return floating and isinstance(table, fx.Node) and table.op == "get_attr" and _from_input(numbers)


def _from_input(value: object) -> bool:
    waiting, visited = [value], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, fx.Node) and node not in visited and node.target is not aten.sym_size.int:
            if node.op == "placeholder":
                return True
            visited.add(node)
            waiting += node.all_input_nodes

    return False


def lower_lookups(module: fx.GraphModule) -> None:
    """Every lookup in a table of integers becomes integer rows, their scales (one each, or one for all), a product.

    The fake-quantize itself is left for other readers (a table may be a linear layer's weight too).
    """
    graph = module.graph
    for lookup in [node for node in graph.nodes if node.target is aten.embedding.default]:
        node, numbers = lookup.args[:2]
        fake = getattr(module, str(node.target)) if node.op == "call_module" else None
        if not isinstance(fake, WeightFakeQuant) or fake.numeric.kind == "float":
            continue

        stem = str(node.target)
        integers = f"{stem}_{fake.numeric.dtype}"
        if not hasattr(module, integers):
            module.register_buffer(integers, fake.integer(attribute(module, str(node.args[0].target))))
            shape = (-1, 1) if fake.axis is not None else ()
            module.register_buffer(f"{stem}_rows", fake.scale().detach().clone().reshape(shape))

        with graph.inserting_before(lookup):
            rows = graph.call_function(aten.embedding.default, (graph.get_attr(integers), numbers))
            scales = graph.get_attr(f"{stem}_rows")
            if fake.axis is not None:
                scales = graph.call_function(aten.embedding.default, (scales, numbers))
            real = graph.call_function(aten.to.dtype, (rows, torch.float32))
            product = graph.call_function(aten.mul.Tensor, (real, scales))

        product.meta["val"] = lookup.meta.get("val")
        lookup.replace_all_uses_with(product)
        graph.erase_node(lookup)
