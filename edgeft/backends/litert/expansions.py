"""Constants that a graph expands (the coordinates beside a picture's channels), as the expanded constants.

LiteRT's converter turns the picture's axes and not the sizes that a constant is expanded to, so that the file does not
load.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from ...graph.data_free import without_data
from ...graph.nodes import aten


class _Values(fx.Interpreter):
    """Runs a module and remembers the values of some nodes."""

    def __init__(self, module: fx.GraphModule, nodes: set[fx.Node]) -> None:
        super().__init__(module)
        self.nodes, self.values = nodes, dict[fx.Node, tuple[torch.Tensor, bool]]()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.nodes:
            self.values[n] = value, value.shape != self.fetch_args_kwargs_from_env(n)[0][0].shape
        return value


def as_constants(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.nn.Module:
    """The module with such expansions computed for the batch of `example`; the same object where it has none.

    Its weights are shared with the result. Quantized constants are left as they are.
    """
    if not isinstance(module, fx.GraphModule) or not _expansions(module.graph):
        return module

    changed = fx.GraphModule(module, copy.deepcopy(module.graph))
    interpreter = _Values(changed, _expansions(changed.graph))
    with torch.no_grad():
        interpreter.run(*example)

    for number, (node, (value, larger)) in enumerate(interpreter.values.items()):
        if not larger:
            continue
        changed.register_buffer(f"_expanded_{number}", value.contiguous(), persistent=False)
        with changed.graph.inserting_before(node):
            node.replace_all_uses_with(changed.graph.get_attr(f"_expanded_{number}"))
        changed.graph.erase_node(node)

    changed.graph.eliminate_dead_code()
    changed.graph.lint()
    changed.recompile()
    return changed


def _expansions(graph: fx.Graph) -> set[fx.Node]:
    constants = without_data(graph)
    quantized: set[fx.Node] = set()
    for node in graph.nodes:
        if "quantized_decomposed" in str(node.target) or quantized & set(node.all_input_nodes):
            quantized.add(node)
    return {node for node in constants - quantized if node.target is aten.expand.default}
