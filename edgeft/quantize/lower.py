"""Lower: the trained graph with explicit quantize/dequantize ops and integer weights, computing exactly the same.

Two forms of one graph: "int" holds integer weights followed by a dequantize (ONNX and OpenVINO); "qdq" holds the float
weight followed by quantize and dequantize (litert's converter wants to fold it itself). Tables that are looked up are
integers in both, see `tables.py`. Weights of a float format are constants with the rounded values in both forms: an
exporter stores them in the narrow type (`ExportRequest.weight_dtypes`), which loses nothing. Weights with a scale for
each group of values are constants too; their integers stand in `module.meta` (`WeightInGroups`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import fx

from ..backends.artifact import IN_GROUPS, WeightInGroups
from ..graph.dequantize import dequantize_for_each_reader
from ..graph.nodes import attribute
from ..graph.normalize import drop_unused_state
from .channels import Factor
from .fakequant import ActivationFakeQuant, GroupedWeight, WeightFakeQuant
from .graph import QuantizedGraph
from .tables import lower_lookups

qd = torch.ops.quantized_decomposed


@dataclass(frozen=True)
class IntegerWeight:
    """What an artifact must hold for one weight: values of its format in torch's layout, integers or narrow floats;
    float32 scale (channels,) or (1,), which is 1 for floats."""

    name: str
    data: np.ndarray
    scale: np.ndarray
    axis: int | None


def integer_weights(graph: QuantizedGraph) -> list[IntegerWeight]:
    """Every integer weight of the graph, by the model's own parameter names."""
    return [
        IntegerWeight(
            name,
            fake.integer(attribute(graph.module, name)).numpy(force=True),
            fake.scale().detach().numpy(force=True).astype(np.float32),
            fake.axis,
        )
        for name, fake in graph.weights().items()
    ]


def lower(graph: QuantizedGraph, form: str = "int") -> fx.GraphModule:
    """A plain ATen + Q/DQ `GraphModule` of the graph as it is now, in eval mode, with no gradients."""
    if form not in ("int", "qdq"):
        raise ValueError(f"form is 'int' or 'qdq', not {form!r}")

    module = copy.deepcopy(graph.module)
    lower_lookups(module)

    for node in list(module.graph.nodes):
        if node.op != "call_module":
            continue

        fake = getattr(module, str(node.target))
        with module.graph.inserting_before(node):
            if isinstance(fake, ActivationFakeQuant):
                new = _activation(module.graph, node, fake)
            elif isinstance(fake, WeightFakeQuant):
                new = _weight(module, node, fake, form)
            elif isinstance(fake, Factor):
                new = _factor(module, node, fake)
            else:
                continue

        new.meta["val"] = node.meta.get("val")
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)

    module.graph.eliminate_dead_code()
    if form == "qdq":
        dequantize_for_each_reader(module.graph)

    for name, child in list(module.named_children()):
        if isinstance(child, (ActivationFakeQuant, WeightFakeQuant, Factor)):
            delattr(module, name)

    drop_unused_state(module)  # the float weights that integer buffers stand for
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    module.graph.lint()
    module.recompile()
    module.delete_all_unused_submodules()
    return module


def _activation(graph: fx.Graph, node: fx.Node, fake: ActivationFakeQuant) -> fx.Node:
    scale, zero_point = fake.parameters_of_grid()
    grid = (scale, zero_point, fake.q_min, fake.q_max, fake.dtype)
    quantized = graph.call_function(qd.quantize_per_tensor.default, (node.args[0], *grid))
    return graph.call_function(qd.dequantize_per_tensor.default, (quantized, *grid))


def _factor(module: fx.GraphModule, node: fx.Node, fake: Factor) -> fx.Node:
    """A product with a constant, plus another where it is shifted; of a parameter (a bias) the result is a constant."""
    (source,) = node.all_input_nodes
    if source.op == "get_attr":
        module.register_buffer(f"{node.target}_folded", fake(attribute(module, str(source.target))).detach().clone())
        return module.graph.get_attr(f"{node.target}_folded")

    module.register_buffer(f"{node.target}_factor", fake.factor.detach().clone())
    factor = module.graph.get_attr(f"{node.target}_factor")
    factor.meta["val"] = fake.factor
    scaled = module.graph.call_function(torch.ops.aten.mul.Tensor, (source, factor))

    if fake.shift is None:
        return scaled

    scaled.meta["val"] = node.meta.get("val")
    module.register_buffer(f"{node.target}_shift", fake.shift.detach().clone())
    shift = module.graph.get_attr(f"{node.target}_shift")
    shift.meta["val"] = fake.shift

    return module.graph.call_function(torch.ops.aten.add.Tensor, (scaled, shift))


def _weight(module: fx.GraphModule, node: fx.Node, fake: WeightFakeQuant, form: str) -> fx.Node:
    graph = module.graph
    source = node.args[0]
    assert isinstance(source, fx.Node)
    weight = attribute(module, str(source.target))
    stem = str(node.target)

    if fake.numeric.kind == "float":
        rounded = f"{stem}_{fake.numeric.dtype}"
        if not hasattr(module, rounded):
            module.register_buffer(rounded, fake.integer(weight).to(weight.dtype))
        return graph.get_attr(rounded)

    scale = fake.scale().detach().clone()
    if isinstance(fake, GroupedWeight):
        # one op of a runtime stands for it: the exporter finds the constant by its values
        constant = f"{stem}_in_groups"
        if not hasattr(module, constant):
            module.register_buffer(constant, fake(weight).detach().clone())
            stored = WeightInGroups(fake.integer(weight).numpy(force=True), scale.numpy(force=True), fake.numeric)
            module.meta.setdefault(IN_GROUPS, {})[constant] = stored
        return graph.get_attr(constant)

    if form == "qdq" and (fake.row_factor is not None or fake.column_factor is not None):
        module.register_buffer(f"{stem}_scaled", fake.scaled(weight).detach().clone())
        source = graph.get_attr(f"{stem}_scaled")

    if form == "int":
        integers = f"{stem}_{fake.numeric.dtype}"
        if not hasattr(module, integers):
            module.register_buffer(integers, fake.integer(weight))
        integer = graph.get_attr(integers)

    if fake.axis is None:
        grid: tuple[object, ...] = (float(scale.item()), 0, fake.q_min, fake.q_max, fake.dtype)
        if form == "qdq":
            integer = graph.call_function(qd.quantize_per_tensor.default, (source, *grid))
        return graph.call_function(qd.dequantize_per_tensor.default, (integer, *grid))

    if not hasattr(module, f"{stem}_scale"):
        module.register_buffer(f"{stem}_scale", scale)
        module.register_buffer(f"{stem}_zero_point", torch.zeros(scale.numel(), dtype=torch.int64))

    scales, zeros = graph.get_attr(f"{stem}_scale"), graph.get_attr(f"{stem}_zero_point")
    channel_grid = (scales, zeros, fake.axis, fake.q_min, fake.q_max, fake.dtype)
    if form == "qdq":
        integer = graph.call_function(qd.quantize_per_channel.default, (source, *channel_grid))

    return graph.call_function(qd.dequantize_per_channel.default, (integer, *channel_grid))
