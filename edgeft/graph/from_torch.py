"""From PyTorch: a float module becomes one graph of ATen ops in normal form, through `torch.export`.

The batch is dynamic where the module's code allows it. `capture_float` gives the whole, checked against the module.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence

import torch
from torch import fx, nn

from ..core.errors import ModelError
from .captured import Captured
from .normalize import normalize


def _quiet_export(module: nn.Module, example: tuple[torch.Tensor, ...], dynamic: bool) -> torch.export.ExportedProgram:
    shapes = None
    if dynamic:
        axes = {0: torch.export.Dim("batch", min=1, max=65536)}
        for axis, (least, most) in getattr(module, "open_axes", {}).items():
            axes[axis] = torch.export.Dim(f"axis_{axis}", min=least, max=most)
        shapes = tuple(axes for _ in example)

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    finally:
        logging.disable(level)


def capture(module: nn.Module, example: Sequence[torch.Tensor]) -> tuple[fx.GraphModule, bool]:
    """The inference graph of `module` and whether its batch axis is dynamic.

    `example` holds one tensor per input, batch first. A batch of two or more is used for tracing, since size 1
    specializes. `module.open_axes` ({axis: (smallest, largest size)} of every input) leaves more axes open, so that a
    graph of texts trains on batches as long as their longest text; an artifact has the example's sizes. Falls back to a
    static batch of 1 where the module's code fixes the batch. The caller's module is left as it was. Raises
    `ModelError` when the module cannot be captured at all.
    """
    module = copy.deepcopy(module).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(True)

    two = tuple(t if t.shape[0] > 1 else torch.cat([t, t]) for t in example)
    try:
        program, dynamic = _quiet_export(module, two, True), True
    except Exception as first:  # torch.export raises many unrelated types; the static attempt below decides
        try:
            program, dynamic = _quiet_export(module, tuple(t[:1] for t in example), False), False
        except Exception as error:
            raise ModelError(
                f"torch.export could not capture the model: {_first_line(error)}",
                where=type(module).__name__,
                remedy="control flow that depends on tensor values, or Python side effects in forward, must be removed "
                f"(with a dynamic batch it said: {_first_line(first)})",
            ) from error

    graph_module = program.module()
    drop_guards(graph_module)
    flatten_borders(graph_module)
    graph_module.graph._tracer_cls = None  # its own tracer takes arguments that unpickling does not give

    # a plain GraphModule: the exported one refuses eval() and train()
    return fx.GraphModule(graph_module, graph_module.graph).eval(), dynamic


def flatten_borders(module: fx.GraphModule) -> None:
    """Plain tensors at the borders: positional inputs, and one tensor or a flat tuple of tensors as output."""
    module.graph.set_codegen(fx.graph.CodeGen())
    (output,) = (n for n in module.graph.nodes if n.op == "output")
    values = [v for v in torch.utils._pytree.tree_leaves(output.args[0]) if isinstance(v, fx.Node)]
    output.args = (values[0] if len(values) == 1 else tuple(values),)
    module.graph.lint()
    module.recompile()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def drop_guards(module: fx.GraphModule) -> None:
    """Remove the shape guards and metadata asserts that `ExportedProgram.module()` leaves in the graph."""
    for node in reversed(list(module.graph.nodes)):
        guard = node.op == "call_module" and "_guards" in str(node.target)
        check = node.op == "call_function" and (
            "_assert" in getattr(node.target, "__name__", "") or "sym_constrain" in getattr(node.target, "__name__", "")
        )
        if guard or check:
            module.graph.erase_node(node)

    module.graph.eliminate_dead_code()
    module.recompile()


def capture_float(module: nn.Module, example: Sequence[torch.Tensor]) -> Captured:
    """Capture and normalize. `example`: one tensor per input, batch first. Raises `ModelError`."""
    graph_module, dynamic = capture(module, example)
    normalize(graph_module)
    inputs = tuple(n.name for n in graph_module.graph.nodes if n.op == "placeholder")
    (output,) = (n for n in graph_module.graph.nodes if n.op == "output")
    n_out = len(output.args[0]) if isinstance(output.args[0], (tuple, list)) else 1
    outputs = ("output",) if n_out == 1 else tuple(f"output_{i}" for i in range(n_out))
    captured = Captured(graph_module, tuple(t[:1].clone() for t in example), dynamic, inputs, outputs)
    _same_function(module, captured, example)

    return captured


def _same_function(module: nn.Module, captured: Captured, example: Sequence[torch.Tensor]) -> None:
    """The normal form must compute what the module computes; a difference here would poison everything after."""
    rows = tuple(t if captured.dynamic else t[:1] for t in example)
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()

    try:
        with torch.no_grad():
            want = [t for t in torch.utils._pytree.tree_leaves(module(*rows)) if isinstance(t, torch.Tensor)]
            got = captured.module(*rows)
    finally:
        for layer, training in modes.items():
            layer.training = training

    for a, b in zip(want, got if isinstance(got, (tuple, list)) else [got]):
        if not a.is_floating_point():
            continue

        tolerance = 1e-3 * max(1.0, float(a.abs().max()))
        if not bool(torch.isfinite(b).all()) or float((a - b).abs().max()) > tolerance:
            raise ModelError(
                f"the captured graph computes something else (largest difference {float((a - b).abs().max()):.3g})",
                where=type(module).__name__,
                remedy="please report the model: a graph pass is wrong for it",
            )
