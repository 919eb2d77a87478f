"""The table `stream` of a manifest: how a stream runs through the streaming graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .manifest_values import as_object, check_shape, fail, get, short


def check(stream: Mapping[str, Any], graphs: list[dict[str, Any]]) -> None:
    """The streaming graph is one of the graphs, and its states are inputs and outputs of it, of equal shapes."""
    names = [graph["name"] for graph in graphs if graph.get("stream")]
    if names != [get(stream, "graph", (str,), "stream")]:
        raise fail("stream.graph", f"is {short(stream['graph'])}, and the streaming graphs are {short(names)}")

    (graph,) = (graph for graph in graphs if graph.get("stream"))
    inputs, outputs = ({t["name"]: t["shape"] for t in graph[key]} for key in ("inputs", "outputs"))
    for key, least in (("axis", 1), ("output_axis", 1), ("chunk", 1), ("frames", 1), ("delay", 0)):
        if get(stream, key, (int,), "stream") < least:
            raise fail(f"stream.{key}", f"is {stream[key]}, expected a whole number from {least}")

    states = [as_object(state, "stream.states") for state in get(stream, "states", (list,), "stream")]
    borders = [
        (stream, "input", inputs, "stream"),
        (stream, "output", outputs, "stream"),
        *(
            (state, key, border, "stream.states")
            for state in states
            for key, border in (("input", inputs), ("output", outputs))
        ),
    ]
    for entry, key, border, where in borders:
        if get(entry, key, (str,), where) not in border:
            raise fail(f"{where}.{key}", f"the streaming graph has no {key} {short(entry[key])}")

    for state in states:
        check_shape(get(state, "shape", (list,), "stream.states"), "stream.states.shape")
        if not inputs[state["input"]] == outputs[state["output"]] == state["shape"] or -1 in state["shape"]:
            raise fail("stream.states", f"{short(state['input'])} has another shape in the graph")
        if get(state, "warmup", (int,), "stream.states") < 0:
            raise fail("stream.states.warmup", "is negative")
    if len(states) + 1 != len(inputs) or len(states) + 1 != len(outputs):
        raise fail("stream.states", f"are {len(states)}, and the streaming graph takes {len(inputs) - 1}")
