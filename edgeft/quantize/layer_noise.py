"""What quantizing one layer alone does to the outputs: its weights, or its activations, all others in float.

A layer's noise is computed on the one graph, by switching single fake-quantize modules on. Everything before the first
of them is the float network, which is the same for all layers: so the float network runs once, and where it comes to a
layer, the rest of the graph runs apart from there with that layer on its grid. This takes about half of what whole
passes would, and keeps no more than the values that are still read (a pass a layer is how sensitivity is measured in
HAWQ-V2, Dong et al. 2020, and in the accuracy-aware modes of NNCF and AIMET, on whole passes).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from ..graph.nodes import module_path
from . import multiply_accumulates
from .channels import Factor
from .fakequant import ActivationFakeQuant, WeightFakeQuant
from .graph import QuantizedGraph
from .rules import rule_of


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer with weights on a grid: `name` is what `quantize.keep_float` takes.

    `weights` and `activations` are the fake-quantize modules of its weights, and of its input and output. `macs` are
    its multiply-accumulates on one sample, `parameters` the values of its weights.
    """

    name: str
    weights: tuple[str, ...]
    activations: tuple[str, ...]
    macs: int
    parameters: int


def quantized_layers(graph: QuantizedGraph, prefix: str = "") -> list[QuantizedLayer]:
    """The layers of a graph whose weights are on a grid, in the order of computation.

    `prefix` (the part of a model of several graphs, with its dot) stands before names and modules.
    """
    name_of = {fake: weight for weight, fake in graph.weight_of.items()}
    layers: dict[str, QuantizedLayer] = {}
    for node in graph.module.graph.nodes:
        for weight in (n for n in node.all_input_nodes if _is(graph, n, WeightFakeQuant)):
            parameter = name_of.get(str(weight.target))
            if parameter is None:
                continue
            name = parameter.rsplit(".", 1)[0] if "." in parameter else module_path(node) or parameter
            before = layers.get(name, QuantizedLayer(name, (), (), 0, 0))
            value = weight.args[0].meta.get("val") if isinstance(weight.args[0], fx.Node) else None
            layers[name] = QuantizedLayer(
                name,
                tuple(dict.fromkeys([*before.weights, str(weight.target)])),
                tuple(dict.fromkeys([*before.activations, *_around(graph, node)])),
                before.macs + multiply_accumulates.of_node(node),
                max(before.parameters, 0 if value is None else value.numel()),
            )

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{prefix}{name}" for name in names)

    return [
        QuantizedLayer(f"{prefix}{at.name}", named(at.weights), named(at.activations), at.macs, at.parameters)
        for at in layers.values()
    ]


def alone(
    module: fx.GraphModule, groups: Sequence[Sequence[str]], inputs: Sequence[torch.Tensor]
) -> Iterator[tuple[int, tuple[torch.Tensor, ...]]]:
    """(-1, outputs of the float network), then (i, its outputs with the modules `groups[i]` on their grids alone), in
    the order in which the graph comes to them; a group of no module of the graph is left out.

    Every fake-quantize module is in the mode "quantize" afterwards.
    """
    fakes = {n: m for n, m in module.named_modules() if isinstance(m, (ActivationFakeQuant, WeightFakeQuant))}
    walk = _Walk(module)
    first = {name: at for at, name in reversed([(i, str(n.target)) for i, n in enumerate(walk.nodes)])}
    starting: dict[int, list[int]] = {}

    for index, names in enumerate(groups):
        if places := [first[name] for name in names if name in first]:
            starting.setdefault(min(places), []).append(index)

    try:
        for fake in fakes.values():
            fake.mode = "off"
        with torch.no_grad():
            yield -1, walk.rest(walk.begin(inputs), 0)
            values = walk.begin(inputs)
            for place in range(max(starting, default=-1) + 1):
                for index in starting.get(place, ()):
                    for name in groups[index]:
                        fakes[name].mode = "quantize"
                    outputs = walk.rest(dict(values), place)
                    for name in groups[index]:
                        fakes[name].mode = "off"
                    yield index, outputs
                walk.step(values, place)
    finally:
        for fake in fakes.values():
            fake.mode = "quantize"


class _Walk:
    """A graph run node by node, from any node on; a value goes when its last reader has run."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module, self.nodes = module, list(module.graph.nodes)
        last = {source: at for at, node in enumerate(self.nodes) for source in node.all_input_nodes}
        self.ends: dict[int, list[fx.Node]] = {}
        for source, at in last.items():
            self.ends.setdefault(at, []).append(source)

    def begin(self, inputs: Sequence[torch.Tensor]) -> dict[fx.Node, Any]:
        placeholders = [node for node in self.nodes if node.op == "placeholder"]
        return dict(zip(placeholders, inputs))

    def step(self, values: dict[fx.Node, Any], place: int) -> None:
        """Run one node, and let go what nothing after it reads."""
        node = self.nodes[place]
        if node.op != "placeholder":
            values[node] = self._run(node, values)
        for source in self.ends.get(place, ()):
            values.pop(source, None)

    def rest(self, values: dict[fx.Node, Any], place: int) -> tuple[torch.Tensor, ...]:
        """The outputs of the graph, whose nodes before `place` have run; `values` are used up."""
        for at in range(place, len(self.nodes)):
            self.step(values, at)
        outputs = values[self.nodes[-1]]
        return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)

    def _run(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.module)

        args, kwargs = (fx.node.map_arg(given, values.__getitem__) for given in (node.args, node.kwargs))
        if node.op == "output":
            return args[0]
        if node.op == "call_module":
            return self.module.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)

        assert callable(node.target)
        return node.target(*args, **kwargs)


def _is(graph: QuantizedGraph, node: object, kind: type | tuple[type, ...]) -> bool:
    return (
        isinstance(node, fx.Node)
        and node.op == "call_module"
        and isinstance(getattr(graph.module, str(node.target)), kind)
    )


def _around(graph: QuantizedGraph, node: fx.Node) -> Iterator[str]:
    """The fake-quantize modules of a layer's input and output; none of a table that is looked up."""
    rule = rule_of(node)
    if rule is None or rule.kind != "weighted":
        return

    source = node.args[0]
    while _is(graph, source, Factor):
        source = source.args[0]

    if _is(graph, source, ActivationFakeQuant):
        yield str(source.target)

    waiting = list(node.users)
    while waiting:
        reader = waiting.pop()
        after = rule_of(reader)
        if _is(graph, reader, ActivationFakeQuant):
            yield str(reader.target)
        elif _is(graph, reader, Factor) or (after is not None and after.kind == "fuse"):
            waiting += list(reader.users)
