"""Regions that `torch.export` keeps as graphs of their own become part of the graph that holds them.

A `with torch.no_grad():` in a forward (rotary embeddings of `transformers`) is such a region; a graph of inference
computes the same without it.
"""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

#: the higher-order ops of a region; the first argument that is a graph is its body, the others behind it its inputs
_REGIONS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


def inline(module: fx.GraphModule) -> None:
    """Put the body of every region, nested ones too, in the place of its call."""
    graph = module.graph
    while calls := [node for node in graph.nodes if getattr(node.target, "__name__", str(node.target)) in _REGIONS]:
        for call in calls:
            _inline(module, call)

    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()


def _inline(module: fx.GraphModule, call: fx.Node) -> None:
    at = next(i for i, arg in enumerate(call.args) if isinstance(arg, fx.Node) and arg.op == "get_attr")
    name = str(call.args[at].target)
    body: Any = module.get_submodule(name)
    inputs = [node for node in body.graph.nodes if node.op == "placeholder"]
    values: dict[fx.Node, Any] = dict(zip(inputs, call.args[at + 1 :]))
    with module.graph.inserting_before(call):
        results: Any = module.graph.graph_copy(body.graph, values)

    for inner, copy in values.items():
        if inner.op == "get_attr":
            copy.target = f"{name}.{inner.target}"

    if isinstance(results, fx.Node):
        call.replace_all_uses_with(results)
    else:
        for user in list(call.users):
            if user.target is not operator.getitem:
                raise AssertionError(f"{user} reads all results of {call} at once")
            user.replace_all_uses_with(results[user.args[1]])
            module.graph.erase_node(user)

    module.graph.erase_node(call)
