"""A recommender whose user is a trainable vector: the embeddings of the user's number become parameters.

The graph then takes items alone. What is computed of the vector and the items is the tail, what of the items alone the
trunk, and a person whom the model never saw needs a vector and nothing else.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import fx

from ..core.errors import ModelError
from ..graph.nodes import attribute
from ..quantize.fakequant import ActivationFakeQuant
from ..quantize.graph import QuantizedGraph
from .cut import Cut

aten = torch.ops.aten
_CASTS = {aten._to_copy.default, aten.to.dtype, aten.clone.default, aten.alias.default}
_REMEDY = "a tail of the user takes a model that reads the user's number by embeddings only"


def opened(graph: QuantizedGraph, user: str) -> tuple[QuantizedGraph, dict[str, torch.Tensor]]:
    """`graph` without its input `user`, and the tables {parameter: float32 (users, width)} that its vectors came from.

    Each vector starts as the mean of its table, float32 (1, width). Raises `ModelError` where the number of the user is
    read in another way than by an embedding.
    """
    captured = graph.captured
    module = copy.deepcopy(graph.module)
    holders = [node for node in module.graph.nodes if node.op == "placeholder"]
    at = captured.input_names.index(user)
    numbers = _numbers(holders[at])
    tables: dict[str, torch.Tensor] = {}
    copies: dict[fx.Node, fx.Node] = {}

    for node in [n for number in numbers for n in number.users]:
        if node in numbers:
            continue
        if node.target is not aten.embedding.default or node.args[1] not in numbers:
            raise ModelError(f"the user's number goes into {node.target}", where=f"tensor {node.name}", remedy=_REMEDY)

        weight = node.args[0]
        assert isinstance(weight, fx.Node)
        if weight not in copies:
            name = f"user_vector_{len(copies)}"
            tables[name] = _table(module, weight)
            module.register_buffer(name, tables[name].mean(0, keepdim=True))
            with module.graph.inserting_before(node):
                copies[weight] = module.graph.get_attr(name)
            copies[weight].meta["val"] = tables[name][:1]
        node.replace_all_uses_with(copies[weight])

    if not tables:
        raise ModelError("no embedding of the user's number is left in the graph", where=user, remedy=_REMEDY)

    module.graph.eliminate_dead_code()
    module.graph.erase_node(holders[at])
    module.graph.lint()
    module.recompile()
    rest = [i for i in range(len(holders)) if i != at]
    items = dataclasses.replace(
        captured,
        module=module,
        example=tuple(captured.example[i] for i in rest),
        input_names=tuple(captured.input_names[i] for i in rest),
    )

    return dataclasses.replace(graph, module=module, captured=items), tables


def _numbers(holder: fx.Node) -> list[fx.Node]:
    """The placeholder of the user's number, and casts of it."""
    chain = [holder]
    for node in chain:
        chain += [user for user in node.users if user.target in _CASTS and user not in chain]
    return chain


def _table(module: fx.GraphModule, weight: fx.Node) -> torch.Tensor:
    """The rows that an embedding reads, float32 (users, width), on their grid where they are quantized."""
    if weight.op == "get_attr":
        return attribute(module, str(weight.target)).detach().float().clone()

    if weight.op == "call_module" and len(weight.all_input_nodes) == 1:
        with torch.no_grad():
            return module.get_submodule(str(weight.target))(_table(module, weight.all_input_nodes[0])).clone()

    raise ModelError("the user's table is computed, not kept", where=f"tensor {weight.name}", remedy=_REMEDY)


def check_candidates(graph_cut: Cut, width: int) -> None:
    """Raise `ModelError` where a value that crosses the cut has no axis of `width` candidates."""
    with torch.no_grad():
        outputs = graph_cut.trunk.module(*graph_cut.trunk.captured.example)
    for latent, value in zip(graph_cut.latents, outputs if isinstance(outputs, (tuple, list)) else (outputs,)):
        if value.dim() < 2 or value.shape[1] != width:
            raise ModelError(
                f"has shape {tuple(value.shape)}, expected (rows, {width} candidates, ...)",
                where=f"tensor {latent.name}",
                remedy="a user's vectors can be trained where every item is scored by itself",
            )


def output_step(graph: QuantizedGraph) -> float:
    """The step of the grid that scores are rounded to; 0 where they are float."""
    (output,) = (node for node in graph.module.graph.nodes if node.op == "output")
    (last,) = output.all_input_nodes
    fake = graph.module.get_submodule(str(last.target)) if last.op == "call_module" else None
    return float(fake.parameters_of_grid()[0]) if isinstance(fake, ActivationFakeQuant) else 0.0
