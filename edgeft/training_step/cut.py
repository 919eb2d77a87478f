"""The cut of a quantized graph for personalization: a frozen trunk, and a tail whose parameters are trainable.

The trunk is the quantized graph up to the cut, lowered like any other. The tail is the rest of the graph in float: its
parameters are inputs, initialized with the dequantized weights, so trunk and tail together compute the outputs of the
quantized model, except for the rounding of activations behind the cut.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx

from ..config.formats import int8
from ..core.errors import ModelError
from ..graph.captured import Captured
from ..graph.nodes import attribute
from ..quantize.channels import Factor
from ..quantize.fakequant import ActivationFakeQuant, WeightFakeQuant
from ..quantize.graph import QuantizedGraph

#: mark, in a tail's nodes, of what a `Factor` became: the model has products of its own
FACTOR = "factor"
_SIZE = torch.ops.aten.sym_size.int


@dataclass(frozen=True)
class Latent:
    """A value that crosses the cut; `scale` and `zero_point` are None where it is not quantized."""

    name: str
    scale: float | None
    zero_point: int | None
    dtype: str = int8.AFFINE.dtype


@dataclass(frozen=True)
class Cut:
    """`tail(*latents, *parameters)` -> the model's outputs, batch on axis 0 of latents and outputs.

    `parameters` are float32 in the order in which the tail takes them, under the model's own names.
    """

    trunk: QuantizedGraph
    latents: tuple[Latent, ...]
    tail: fx.GraphModule
    parameters: dict[str, torch.Tensor]


def cut(graph: QuantizedGraph, names: Iterable[str], values: Iterable[str] = ()) -> Cut:
    """Cut `graph` before the first layer that has one of the parameters `names`, those to be trained.

    `values` are those of them that stand where an activation stood: what is computed of them alone belongs to the tail,
    while a weight's way to its layer (its fake-quantize module) is gone through once. Raises `ModelError` where none of
    them is in the graph, or where no layer is left before it.
    """
    module, trainable = graph.module, set(names)
    constant = _constants(module, set(values))
    sources = _sources(module, constant, trainable)
    if not any(sources.values()):
        raise ModelError("no layer of the tail has parameters", remedy="choose another tail")

    region = _region(module, constant, sources)
    crossing, same = _crossing(module, region, constant)
    latents = tuple(_latent(module, node) for node in crossing)
    tail, parameters = _tail(module, region, crossing, same, constant, sources)
    trunk = _trunk(graph, [node.name for node in crossing], tuple(latent.name for latent in latents))
    layers = trunk.weight_of if graph.scheme.quantized else _parameters(trunk.module)

    if not layers:
        raise ModelError(
            "the tail is the whole model: no layer is left before it",
            where=", ".join(sorted(trainable))[:200],
            remedy="choose a tail nearer to the output, such as head",
        )

    return Cut(trunk, latents, tail, parameters)


def _constants(module: fx.GraphModule, values: set[str]) -> set[fx.Node]:
    """Nodes that depend on no input and on no attribute of `values`; those attributes themselves."""
    constants: set[fx.Node] = set()
    for node in module.graph.nodes:
        before = node.all_input_nodes
        fixed = node.op == "get_attr" and node.target not in values
        if fixed or (before and all(n in constants for n in before)):
            constants.add(node)
    return constants | {n for n in module.graph.nodes if n.op == "get_attr" and n.target in values}


def _sources(module: fx.GraphModule, constant: set[fx.Node], trainable: set[str]) -> dict[fx.Node, str]:
    """Constant nodes that live ops read -> the wanted parameter that they are made of ("" = none of them)."""
    sources = {}
    for node in constant:
        if any(user not in constant for user in node.users):
            names = {n.target for n in _ancestors(node) if n.op == "get_attr"} & trainable
            if len(names) > 1:
                raise ModelError(f"the parameters {sorted(map(str, names))} are joined before they are used")
            sources[node] = str(next(iter(names), ""))
    return sources


def _ancestors(node: fx.Node) -> set[fx.Node]:
    ancestors, waiting = {node}, [node]
    while waiting:
        for before in waiting.pop().all_input_nodes:
            if before not in ancestors:
                ancestors.add(before)
                waiting.append(before)
    return ancestors


def _region(module: fx.GraphModule, constant: set[fx.Node], sources: dict[fx.Node, str]) -> set[fx.Node]:
    """Every op that a parameter of the tail reaches, and what must go with it to leave the cut on the grid."""
    reached: set[fx.Node] = set()
    for node in module.graph.nodes:
        live = node.op not in ("placeholder", "output") and node not in constant
        if live and any(n in reached or sources.get(n) for n in node.all_input_nodes):
            reached.add(node)

    for node in reversed(list(module.graph.nodes)):  # a factor on a quantized value belongs behind the cut
        factor = node.op == "call_module" and isinstance(_child(module, node), Factor) and node not in constant
        if factor and any(user in reached for user in node.users):
            reached.add(node)

    return reached


def _crossing(
    module: fx.GraphModule, region: set[fx.Node], constant: set[fx.Node]
) -> tuple[list[fx.Node], dict[fx.Node, fx.Node]]:
    """The values that the region takes from outside, in the graph's order, and which of them stand for others.

    Sizes are not counted. Where a value crosses both as it is and on its grid (around and into a layer), the one on the
    grid stands for both: a latent is kept in a quarter of the bytes, and behind the cut nothing is rounded anyway.
    """
    crossing = {n for node in region for n in node.all_input_nodes if n not in region and n not in constant}
    crossing = {n for n in crossing if isinstance(n.meta.get("val"), torch.Tensor)}
    same = {}

    for node in crossing:
        if node.op == "call_module" and isinstance(_child(module, node), ActivationFakeQuant):
            (source,) = node.all_input_nodes
            if source.op == "call_module" and isinstance(_child(module, source), Factor):
                (source,) = source.all_input_nodes  # what it multiplies is divided out again behind the cut
            if source in crossing and source.op != "call_module":
                same[source] = node

    return [n for n in module.graph.nodes if n in crossing and n not in same], same


def _child(module: fx.GraphModule, node: fx.Node) -> torch.nn.Module:
    return module.get_submodule(str(node.target))


def _latent(module: fx.GraphModule, node: fx.Node) -> Latent:
    name = f"{node.name}_latent"  # an exporter may call a value of its own by the node's name
    if node.op == "call_module" and isinstance(fake := _child(module, node), ActivationFakeQuant):
        return Latent(name, *fake.parameters_of_grid(), fake.numeric.dtype)
    return Latent(name, None, None)


def _tail(
    module: fx.GraphModule,
    region: set[fx.Node],
    crossing: list[fx.Node],
    same: dict[fx.Node, fx.Node],
    constant: set[fx.Node],
    sources: dict[fx.Node, str],
) -> tuple[fx.GraphModule, dict[str, torch.Tensor]]:
    graph, tail_root = fx.Graph(), torch.nn.Module()
    values: dict[fx.Node, fx.Node] = {}
    for node in crossing:
        values[node] = graph.placeholder(node.name)
        values[node].meta["val"] = node.meta["val"]

    for node, replacement in same.items():
        values[node] = values[replacement]
        (scaled,) = replacement.all_input_nodes
        if scaled is not node:
            name = f"{scaled.target}_undone"
            tail_root.register_buffer(name, 1 / _child(module, scaled).factor.detach().clone())
            values[node] = graph.call_function(torch.ops.aten.mul.Tensor, (values[replacement], graph.get_attr(name)))

    parameters: dict[str, torch.Tensor] = {}
    used = [n for n in module.graph.nodes if n in constant and any(user in region for user in n.users)]
    evaluated = _evaluate(module, used)

    for node in used:
        if name := sources.get(node, ""):
            if name in parameters:
                raise ModelError("is used in two different forms, which a tail cannot train", where=name)
            parameters[name] = evaluated[node]
            values[node] = graph.placeholder(f"parameter_{len(parameters) - 1}")

    for number, node in enumerate(n for n in used if not sources.get(n, "")):
        tail_root.register_buffer(f"constant_{number}", evaluated[node])
        values[node] = graph.get_attr(f"constant_{number}")

    for node in module.graph.nodes:
        if node not in region:
            continue
        for before in node.all_input_nodes:
            if before not in values:  # all that is left are sizes
                values[before] = _size(graph, before, [values[n] for n in crossing])
        if node.op == "call_module":
            values[node] = _module(graph, tail_root, module, node, values)
        else:
            values[node] = graph.node_copy(node, lambda n: values[n])

    (output,) = (n for n in module.graph.nodes if n.op == "output")
    results = output.args[0] if isinstance(output.args[0], (tuple, list)) else (output.args[0],)
    outside = [n.name for n in results if n not in values]
    if outside:
        raise ModelError(f"the outputs {', '.join(outside)} do not depend on the tail", remedy="choose a lower cut")

    graph.output(tuple(values[n] for n in results))
    graph.lint()
    return fx.GraphModule(tail_root, graph).eval(), parameters


def _evaluate(module: fx.GraphModule, nodes: list[fx.Node]) -> dict[fx.Node, torch.Tensor]:
    values: dict[fx.Node, torch.Tensor] = {}

    def value(node: fx.Node) -> torch.Tensor:
        if node in values:
            return values[node]

        if node.op == "get_attr":
            result = attribute(module, str(node.target))
        else:
            args = fx.map_arg(node.args, value)
            result = (_child(module, node) if node.op == "call_module" else node.target)(*args, **node.kwargs)

        values[node] = result.detach().clone()
        return values[node]

    with torch.no_grad():
        return {node: value(node) for node in nodes}


def _size(graph: fx.Graph, node: fx.Node, latents: list[fx.Node]) -> fx.Node:
    """A size of the model's input, read off a latent that has the same symbol among its own sizes."""
    value = node.meta.get("val")
    for latent in latents:
        for axis, size in enumerate(latent.meta["val"].shape):
            if isinstance(value, torch.SymInt) and isinstance(size, torch.SymInt) and value.node.expr == size.node.expr:
                return graph.call_function(_SIZE, (latent, axis))
    raise ModelError("the tail needs a size that nothing behind the cut has", where=f"tensor {node.name}")


def _module(
    graph: fx.Graph, root: torch.nn.Module, module: fx.GraphModule, node: fx.Node, values: dict[fx.Node, fx.Node]
) -> fx.Node:
    """A fake-quantize module hands its value on; a factor is a product."""
    child, (source,) = _child(module, node), node.all_input_nodes
    if isinstance(child, Factor):
        root.register_buffer(str(node.target), child.factor.detach().clone())
        scaled = graph.call_function(torch.ops.aten.mul.Tensor, (values[source], graph.get_attr(str(node.target))))
        scaled.meta[FACTOR] = True
        if child.shift is None:
            return scaled
        root.register_buffer(f"{node.target}_shift", child.shift.detach().clone())
        moved = graph.call_function(torch.ops.aten.add.Tensor, (scaled, graph.get_attr(f"{node.target}_shift")))
        moved.meta[FACTOR] = True
        return moved

    if isinstance(child, (ActivationFakeQuant, WeightFakeQuant)):
        return values[source]
    raise ModelError(f"the layer {node.target} cannot stand behind a cut")


def _parameters(module: fx.GraphModule) -> list[str]:
    """The parameters that the graph reads."""
    known = {name for name, _ in module.named_parameters()}
    return [str(node.target) for node in module.graph.nodes if node.op == "get_attr" and node.target in known]


def _trunk(graph: QuantizedGraph, ends: list[str], names: tuple[str, ...]) -> QuantizedGraph:
    """`graph` up to the nodes called `ends`, which become its outputs by these names."""
    module = copy.deepcopy(graph.module)
    nodes = {n.name: n for n in module.graph.nodes}
    (output,) = (n for n in module.graph.nodes if n.op == "output")
    output.args = (nodes[ends[0]] if len(ends) == 1 else tuple(nodes[name] for name in ends),)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    present = {name for name, _ in module.named_modules()}
    captured = Captured(module, graph.captured.example, graph.captured.dynamic, graph.captured.input_names, names)

    return dataclasses.replace(
        graph,
        module=module,
        captured=captured,
        weight_of={w: fq for w, fq in graph.weight_of.items() if fq in present},
        value_of={fq: value for fq, value in graph.value_of.items() if fq in present},
        spreads=[s for s in graph.spreads if s.outside in present],
    )
