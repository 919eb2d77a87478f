"""A quantized or float graph -> one .pte file: what XNNPACK takes goes to its delegate, the rest to other kernels.

The lowered graph is in the form that XNNPACK's own quantizer writes, but for three things that are changed here without
changing a value: a dequantize that several ops read is repeated for each of them; a clamp to [0, c] is called hardtanh,
the name by which it melts into the layer before it; and a mean over height and width keeps the two axes.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import fx

from ...core import files
from ...core.errors import BundleError, ModelError, need
from ...core.quiet import quiet
from ...graph.dequantize import dequantize_for_each_reader
from ..artifact import Artifact, ExportRequest, batch_of, conversion_failed
from . import BACKEND
from .inspect import emitted
from .session import load_method

FILE = "model.pte"
#: how the runtime calls an operator that none of its kernels computes
_MISSING = re.compile(r"Missing operator: \[\d+\] (?P<op>[\w:]+)")
aten, qd = torch.ops.aten, torch.ops.quantized_decomposed


def export(request: ExportRequest, folder: Path) -> Artifact:
    """Write `folder/model.pte`; inputs and outputs are float, int8 in between.

    The batch is always 1: the memory of a program is planned for it. Names of inputs and outputs are not kept by the
    format, positions are. Raises `ModelError` when an op cannot be converted or has no kernel in the runtime, or a
    layer with quantized weights is none that the delegate computes in integers.
    """
    with quiet():
        need("executorch.exir", BACKEND.extra)

    example = request.example if request.kind == "fixed" else batch_of(request.example, 1)
    module = request.module
    if request.kind == "quantized":
        module = copy.deepcopy(module)
        assert isinstance(module, fx.GraphModule)
        dequantize_for_each_reader(module.graph, weights=True)
        _clamps_by_their_name(module.graph)
        _means_that_keep_their_axes(module.graph)
        _scalars_with_an_axis(module)
        module.recompile()

    content, graph = _convert(module, example)
    files.write_bytes(Path(folder) / FILE, content)
    _has_kernels(Path(folder) / FILE, graph)
    written = emitted(Path(folder) / FILE)
    return Artifact(FILE, (FILE,), written)


def _convert(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> tuple[bytes, fx.Graph]:
    """The program, and the graph of what stayed outside of the delegates."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass

    error: Exception
    with quiet() as printed:
        try:
            program = torch.export.export(module, example, strict=False)
            if _hands_inputs_on(program):
                program = torch.export.export(_Copying(module), example, strict=False)
            edge = to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner(configs=_taken(program.graph))],
                compile_config=EdgeCompileConfig(_check_ir_validity=False),
            )
            graph = edge.exported_program().graph_module.graph
            _hold_in_integers(graph)
            planned = MemoryPlanningPass(alloc_graph_input=False)  # inputs stay as they are when a run is repeated
            return bytes(edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planned)).buffer), graph
        except ModelError:
            raise
        except Exception as caught:  # passes of the converter raise Exception itself
            error = caught

    raise conversion_failed("ExecuTorch", error, printed) from error


class _Copying(torch.nn.Module):
    """A module whose outputs are no inputs: the memory of a program is planned for outputs, so that one tensor which is
    both is not the one that a caller sets."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.module(*inputs)
        several = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        return tuple(value.clone() if any(value is given for given in inputs) else value for value in several)


def _hands_inputs_on(program: torch.export.ExportedProgram) -> bool:
    """Whether an output is an input, unchanged."""
    return bool({*program.graph_signature.user_inputs} & {*program.graph_signature.user_outputs})


def _taken(graph: fx.Graph) -> list[Any]:
    """What the partitioner may give to the delegate: all that it knows, but for maxima over another axis than height or
    width, which it takes and the delegate then refuses."""
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS, MaxDimConfig

    refused = any(node.target is aten.max.dim and node.args[1] not in (2, 3) for node in graph.nodes)
    return [config for config in ALL_PARTITIONER_CONFIGS if not (refused and config is MaxDimConfig)]


def _clamps_by_their_name(graph: fx.Graph) -> None:
    for node in graph.nodes:
        if node.op != "call_function" or node.target is not aten.clamp.default:
            continue
        low, high = (*node.args[1:], None, None)[:2]
        low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
        if low == 0 and isinstance(high, (int, float)):
            node.target, node.args, node.kwargs = aten.hardtanh.default, (node.args[0], 0.0, float(high)), {}


def _scalars_with_an_axis(module: fx.GraphModule) -> None:
    """A quantized constant without axes (a scale that a network learns) gets one: the delegate asks for its first."""
    for node in module.graph.nodes:
        if node.op != "get_attr" or not any(user.target is qd.quantize_per_tensor.default for user in node.users):
            continue
        parent, _, name = str(node.target).rpartition(".")
        owner = module.get_submodule(parent)
        value = getattr(owner, name)
        if value.dim():
            continue
        delattr(owner, name)
        owner.register_buffer(name, value.detach().reshape(1))


def _means_that_keep_their_axes(graph: fx.Graph) -> None:
    """dequantize -> mean over height and width -> quantize: the mean keeps the two axes, and a reshape on the same grid
    drops them, which is the one form that the delegate knows."""
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not aten.mean.dim:
            continue

        readers, value = list(node.users), node.args[0].meta.get("val")
        rank = value.dim() if isinstance(value, torch.Tensor) else 0
        drops = len(node.args) < 3 or not node.args[2]
        quantized = len(readers) == 1 and readers[0].target is qd.quantize_per_tensor.default
        if rank != 4 or not drops or not quantized or sorted(axis % 4 for axis in node.args[1]) != [2, 3]:
            continue

        (reader,) = readers
        with graph.inserting_before(reader):
            mean = graph.call_function(aten.mean.dim, (node.args[0], [2, 3], True), dict(node.kwargs))
            stored = graph.call_function(qd.quantize_per_tensor.default, (mean, *reader.args[1:]))
            real = graph.call_function(qd.dequantize_per_tensor.default, (stored, *reader.args[1:]))
            flat = graph.call_function(aten.flatten.using_ints, (real, 1))
        reader.replace_input_with(node, flat)
        graph.erase_node(node)


def _hold_in_integers(graph: fx.Graph) -> None:
    """Raise `ModelError` for the first layer whose integer weights the partitioner left outside of the delegates."""
    for node in graph.nodes:
        if node.op == "call_function" and "dequantize_per_channel" in str(node.target):
            reader = next(iter(node.users), node)
            layer = _layer(reader) or _layer(node)
            raise ModelError(
                "XNNPACK's delegate does not take this layer in integers",
                where=f"layer {layer}" if layer else f"tensor {reader.name}",
                remedy="keep that layer in float (quantize.keep_float), or choose a target with another runtime",
            )


def _has_kernels(path: Path, graph: fx.Graph) -> None:
    """Raise `ModelError` for the first operator that the converter writes and no kernel of the runtime computes."""
    try:
        load_method(path)
    except BundleError as error:
        missing = _MISSING.search(error.message)
        if missing is None:
            raise

        op = missing["op"].rpartition("::")[2]
        node = next((node for node in graph.nodes if op in str(node.target).split(".")), None)
        layer = _layer(node) if node else ""
        place = f"layer {layer}" if layer else f"tensor {node.name}" if node else ""
        raise ModelError(
            f"ExecuTorch has no kernel for the op {missing['op']}",
            where=place,
            remedy="rewrite it with other ops, or choose a target with another runtime",
        ) from error


def _layer(node: fx.Node) -> str:
    """The name of the module that a node comes from, where it still knows it."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    return next((str(path) for path, _ in reversed(stack.values()) if path), "") if stack else ""
