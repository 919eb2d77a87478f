"""The streaming form of a graph: one step takes a chunk of frames and the states, and gives answers and new states."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from .nodes import aten
from .stream_flow import Flow, Reading, StreamFlow, name_of, shape, steps_of, stream_flow


@dataclass(frozen=True)
class State:
    """Past frames of one value: an input and an output of the step, both of `shape`, 0 at the stream's start.

    In the first `warmup` steps the value lies before the stream's first frame, so that the state stays 0.
    """

    input: str
    output: str
    shape: tuple[int, ...]
    warmup: int


@dataclass(frozen=True)
class StepForm:
    """A graph that computes one chunk. Inputs are `chunk` frames of the graph's input, then the states in order;
    outputs are those of the graph, `frames` frames each, then the new states.

    Step t answers for the frames from t * frames - delay on; frames before 0 are none. Frames lie on `input_axis` of
    the input and on `axis` of the answers.
    """

    module: fx.GraphModule
    example: tuple[torch.Tensor, ...]
    chunk: int
    frames: int
    delay: int
    input_axis: int
    axis: int
    states: tuple[State, ...]


def step_form(module: fx.GraphModule, example: torch.Tensor, axis: int, chunk: int) -> StepForm:
    """The streaming form of a captured graph, quantized or float; `example` is its input, frames on `axis`.

    `chunk` is the least number of frames of a chunk. A state has the grid of the value whose past it is, so integers
    of the step are those of the whole graph. Raises `ModelError` naming a layer that has no streaming form.
    """
    module = copy.deepcopy(module)
    flow = stream_flow(module, axis, chunk)
    states: list[State] = []
    news: list[fx.Node] = []
    inputs: list[tuple[fx.Node, torch.Tensor]] = []
    last_input = next(node for node in module.graph.nodes if node.op == "placeholder")

    for source, readers in list(steps_of(flow, module.graph)):
        past = max(reading.past for _, reading in readers)
        if not past:
            _read(module, source, None, readers, flow)
            continue

        sides = list(shape(source))
        sides[0], sides[flow.flows[source].axis] = 1, past
        name = f"state_{len(states)}"
        with module.graph.inserting_after(last_input):
            last_input = module.graph.placeholder(name)
        states.append(State(name, f"{name}_next", tuple(sides), flow.flows[source].chunks))
        inputs.append((last_input, torch.zeros(sides)))
        news.append(_read(module, source, last_input, readers, flow))

    (output,) = (node for node in module.graph.nodes if node.op == "output")
    values = output.args[0] if isinstance(output.args[0], (tuple, list)) else (output.args[0],)
    answers: Flow = flow.flows[values[0]]
    output.args = ((*values, *news),)
    _resize(module.graph, flow)

    sides = [1, *example.shape[1:]]
    sides[axis] = flow.chunk
    chunk_example = (torch.zeros(sides, dtype=example.dtype), *(tensor for _, tensor in inputs))
    module.graph.lint()
    module.recompile()
    with torch.no_grad():
        _Shapes(module).run(*chunk_example)
    return StepForm(module, chunk_example, flow.chunk, answers.frames, answers.delay, axis, answers.axis, tuple(states))


class _Shapes(fx.Interpreter):
    """Notes what each node gives."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor) and n.op != "get_attr":
            n.meta["val"] = value.to("meta")
        return value


def _read(
    module: fx.GraphModule,
    source: fx.Node,
    state: fx.Node | None,
    readers: list[tuple[fx.Node, Reading]],
    flow: StreamFlow,
) -> fx.Node:
    """Let the readers of a value read its past too; returns the new state, or `source` where there is no state."""
    graph, axis, frames = module.graph, flow.flows[source].axis, flow.flows[source].frames
    past = max(reading.past for _, reading in readers)
    total = past + frames

    with graph.inserting_after(source):
        place = graph.call_function(aten.alias.default, (source,))  # marks where the reads stand
    with graph.inserting_before(place):
        joined = source
        if state is not None:
            behind = _on_grid(module, source, state)
            joined = _on_grid(module, source, graph.call_function(aten.cat.default, ([behind, source], axis)))
        for reader, reading in readers:
            start = past - reading.past
            part = _part(module, source, joined, axis, start, start + reading.length, total)
            reader.replace_input_with(source, part)
        new = source if state is None else _part(module, source, joined, axis, total - past, total, total)

    graph.erase_node(place)
    for reader, _ in readers:
        _unpadded(reader, flow.flows[reader].axis)
    return new


def _part(
    module: fx.GraphModule, source: fx.Node, joined: fx.Node, axis: int, start: int, end: int, total: int
) -> fx.Node:
    """Some of the frames, on their grid."""
    if (start, end) == (0, total):
        return joined
    return _on_grid(module, source, module.graph.call_function(aten.slice.Tensor, (joined, axis, start, end)))


def _on_grid(module: fx.GraphModule, source: fx.Node, value: fx.Node) -> fx.Node:
    """`value` rounded as `source` is; nothing changes, since it holds values of that grid."""
    grid = source
    while grid.op == "call_function" and len(grid.all_input_nodes) == 1:
        (grid,) = grid.all_input_nodes
    if source.op != "call_module" and grid is not source and grid.op == "call_module":
        source = grid
    return value if source.op != "call_module" else module.graph.call_module(str(source.target), (value,))


def _unpadded(reader: fx.Node, axis: int) -> None:
    """A convolution without its padding in time, which the state stands for."""
    if len(reader.args) > 4 and name_of(reader).startswith("conv"):
        padding: Any = reader.args[4]
        sides = len(shape(reader)) - 2
        padding = list(padding) if isinstance(padding, (list, tuple)) else [padding]
        padding = padding * sides if len(padding) == 1 else padding
        padding[axis - 2] = 0
        reader.update_arg(4, padding)


def _resize(graph: fx.Graph, flow: StreamFlow) -> None:
    """Reshapes, pads and slices with the frames of a chunk."""
    for node, own in flow.flows.items():
        name = name_of(node)
        if name in ("view", "reshape", "_unsafe_view"):
            sizes: Any = list(node.args[1])
            sizes[own.axis] = own.frames
            node.update_arg(1, sizes)
        elif name in ("constant_pad_nd", "pad"):
            pads: Any = list(node.args[1])
            place = 2 * (len(shape(node)) - 1 - own.axis)
            pads[place : place + 2] = [0] * len(pads[place : place + 2])
            node.update_arg(1, pads)
        elif node.target is aten.slice.Tensor and int(node.args[1]) % len(shape(node)) == own.axis:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
