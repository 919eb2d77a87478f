"""The two ends of an imported graph, as tasks take them: pictures with the channels first in, logits out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import fx

from . import fuse


def take_channels_first(module: fx.GraphModule) -> None:
    """A permutation behind the first input, so that a graph made for (N, H, W, C) takes (N, C, H, W)."""
    first = next(node for node in module.graph.nodes if node.op == "placeholder")
    with module.graph.inserting_after(first):
        moved = module.graph.call_function(torch.permute, (first, [0, 2, 3, 1]))
    first.replace_all_uses_with(moved, delete_user_cb=lambda user: user is not moved)
    fuse.fuse(module)


def name_output(module: fx.GraphModule, name: str) -> None:
    """The only output as a dict with its name, by which a recipe asks for it."""
    output = _output(module)
    output.args = ({name: output.args[0]},)
    module.recompile()


def as_logits(module: fx.GraphModule, sample: Sequence[torch.Tensor]) -> list[str]:
    """Take off a softmax at the end, and axes of one pixel behind the classes; notes for the user.

    Graphs of several outputs stay as they are.
    """
    output = _output(module)
    named = isinstance(output.args[0], dict)
    value = next(iter(output.args[0].values())) if named and len(output.args[0]) == 1 else output.args[0]
    if not isinstance(value, fx.Node):
        return []

    notes = []
    if value.op == "call_function" and value.target in (F.softmax, F.log_softmax):
        value.replace_all_uses_with(value.args[0])
        notes.append("the softmax at the end of the file is left out: tasks take what goes into it")
        value = value.args[0]

    module.graph.eliminate_dead_code()
    module.recompile()

    with torch.no_grad():
        (result,) = torch.utils._pytree.tree_leaves(module(*sample))

    if result.dim() > 2 and set(result.shape[2:]) == {1}:
        with module.graph.inserting_before(output):
            flat = module.graph.call_function(torch.flatten, (value, 1))
        output.replace_input_with(value, flat)
        module.recompile()

    return notes


def _output(module: fx.GraphModule) -> fx.Node:
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    return output
