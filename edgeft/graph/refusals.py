"""What no graph of a fixed function can hold: randomness, batch statistics, state. With the line of the user's code."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..core.errors import ModelError
from .nodes import aten, module_path

_LIBRARIES = (str(Path(torch.__file__).parent), sysconfig.get_paths()["stdlib"], str(Path(__file__).parents[1]))
#: characters of a line that a message shows
_SHOWN = 80
#: arguments that switch an op's randomness off, and their value then
_SWITCHES = {"train": False, "training": False, "p": 0, "dropout_p": 0, "dropout": 0}


class _Random(Exception):
    """Raised where a module draws random numbers, to find the line."""


class _StopAtRandom(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise _Random
        return func(*args, **(kwargs or {}))


def source_of_error(error: BaseException | None) -> str:
    """ "net.py:12: return y if y.sum() > 0 else -y": the last line of the caller's own code that an error came from."""
    place = ""
    while error is not None and not place:
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith((*_LIBRARIES, "<")):
                place = f"{frame.filename}:{frame.lineno}" + (f": {frame.line[:_SHOWN]}" if frame.line else "")
        error = error.__cause__ or error.__context__

    return place


def refuse(graph: fx.Graph, module: nn.Module, example: Sequence[torch.Tensor]) -> None:
    """Raise `ModelError` for the first op that draws random numbers or normalizes by the statistics of its batch.

    Also for a buffer that a forward changes and a later answer depends on. `graph` is that of `module`, which is run on
    `example` to find the line, and changes its own state then.
    """
    of_inputs: set[fx.Node] = set()  # what is computed from the model's inputs; the rest is weights
    for node in graph.nodes:
        if node.op == "placeholder" or not of_inputs.isdisjoint(node.all_input_nodes):
            of_inputs.add(node)
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if _is_random(node):
            _refuse_random(node, module, example)
        if node.target is aten.batch_norm.default and node.args[5] and node in of_inputs:
            raise ModelError(
                "a BatchNorm without running statistics normalizes by the batch that it is given, and an artifact gets "
                "samples one by one",
                where=module_path(node) or node.name,
                remedy="make the layer with track_running_stats=True, or use GroupNorm or InstanceNorm",
            )

    _refuse_state(module, example)


def _refuse_state(module: nn.Module, example: Sequence[torch.Tensor]) -> None:
    """A buffer that a forward changes, where that changes the answer to the same inputs."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad():
        first = _tensors(module(*example))
        changed = [name for name, buffer in module.named_buffers() if not _equal(buffer, before.get(name))]
        if not changed or all(map(_equal, first, _tensors(module(*example)))):
            return

    raise ModelError(
        f"each forward in evaluation changes the buffer {changed[0]!r}, and the next answer depends on it; an artifact "
        "is a fixed function of its inputs",
        where=type(module).__name__,
        remedy="change the buffer only `if self.training`, or take the state as an input and return it as an output",
    )


def _tensors(outputs: Any) -> list[torch.Tensor]:
    return [leaf.clone() for leaf in torch.utils._pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def _equal(tensor: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and tensor.shape == other.shape and bool(torch.eq(tensor, other).all())


def _is_random(node: fx.Node) -> bool:
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False

    arguments = dict(zip((argument.name for argument in node.target._schema.arguments), node.args))
    defaults = {argument.name: argument.default_value for argument in node.target._schema.arguments}
    values = {**defaults, **arguments, **node.kwargs}
    return not any(name in values and values[name] == off for name, off in _SWITCHES.items())


def _refuse_random(node: fx.Node, module: nn.Module, example: Sequence[torch.Tensor]) -> None:
    where = module_path(node) or node.name
    try:
        with torch.no_grad(), _StopAtRandom():
            module(*example)
    except _Random as drawn:
        where = source_of_error(drawn) or where

    op = node.target._schema.name.split("::")[1].rstrip("_")
    if "dropout" in op:
        raise ModelError(
            "this dropout also drops in evaluation, so that the model gives another answer each time",
            where=where,
            remedy="pass training=self.training to torch.nn.functional.dropout, or use the module torch.nn.Dropout",
        )

    raise ModelError(
        f"the model draws random numbers in evaluation ({op}), so that it gives another answer each time",
        where=where,
        remedy="draw only `if self.training`, or keep the numbers in a buffer of the module",
    )
