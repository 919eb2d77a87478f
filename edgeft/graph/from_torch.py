"""From PyTorch: a float module becomes one graph of ATen ops in normal form, through `torch.export`.

The batch is dynamic where the module's code allows it. `capture_float` gives the whole, checked against the module.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import fx, nn

from ..core.errors import ModelError
from . import batch_axis, data_free, refusals, regions
from .captured import Captured
from .normalize import drop_unused_state, normalize
from .view_writes import fold_static, scatters_to_concats, writes_to_views


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
        with warnings.catch_warnings(), without_autocast(), _swallowed_output():
            warnings.simplefilter("ignore")
            return torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _swallowed_output() -> Iterator[None]:
    """torch prints whole graphs for code that it cannot trace."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def without_autocast() -> Iterator[None]:
    """`torch.autocast` in a forward does nothing: a graph computes in the float32 of its weights."""
    kind = torch.amp.autocast_mode.autocast
    enter, leave = kind.__enter__, kind.__exit__
    try:
        kind.__enter__ = lambda self: self
        kind.__exit__ = lambda self, *error: None
        yield
    finally:
        kind.__enter__, kind.__exit__ = enter, leave


def capture(module: nn.Module, example: Sequence[torch.Tensor]) -> tuple[fx.GraphModule, bool]:
    """The inference graph of `module` and whether its batch axis is dynamic.

    `example` holds one tensor per input, batch first. A batch of two or more is used for tracing, since size 1
    specializes. `module.open_axes` ({axis: (smallest, largest size)} of every input) leaves more axes open, so that a
    graph of texts trains on batches as long as their longest text; an artifact has the example's sizes. Where the
    module's code fixes the batch (`batch_axis`), the graph is freed from it, or is that of one sample and takes more of
    them one after another. The caller's module is left as it was. Raises `ModelError` when the module cannot be
    captured, with the line of the caller's code that stands in the way.
    """
    # train() drops what a forward in eval mode has cached of its weights (LeViT's biases), which would be constants
    module = _copied(module).train().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(True)

    two = tuple(t if t.shape[0] > 1 else torch.cat([t, t]) for t in example)
    kind: type[fx.GraphModule] = fx.GraphModule
    try:
        graph_module = _plain(_quiet_export(module, two, True))
        if batch_axis.grouped_by_sample(graph_module.graph):
            kind, graph_module = (
                batch_axis.SampleBySample,
                _plain(_quiet_export(module, tuple(t[:1] for t in two), False)),
            )
    except Exception as first:  # torch.export raises many unrelated types; the attempts below decide
        graph_module = _freed(module, two)
        if graph_module is None:
            kind, graph_module = batch_axis.SampleBySample, _of_one_sample(module, example, first)

    refusals.refuse(graph_module.graph, module, two)
    graph_module.graph._tracer_cls = None  # its own tracer takes arguments that unpickling does not give

    # a plain GraphModule: the exported one refuses eval() and train()
    return kind(graph_module, graph_module.graph).eval(), kind is fx.GraphModule


def _copied(module: nn.Module) -> nn.Module:
    """A deep copy. Tensors that a forward left as attributes (weight_norm's old form) are detached first."""
    for layer in module.modules():
        for name, value in vars(layer).items():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                vars(layer)[name] = value.detach()

    try:
        return copy.deepcopy(module)
    except Exception as error:  # attributes of the caller's own may raise anything
        raise ModelError(
            f"the model cannot be copied: {_first_line(error)}",
            where=type(module).__name__,
            remedy="keep what cannot be copied (locks, open files, generators) out of the attributes of its modules",
        ) from error


def _plain(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """The graph of a program without guards, with plain tensors at its borders and without writes on views."""
    written = writes_to_views(program.graph)
    if written:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = program.run_decompositions({})

    graph_module = program.module()
    drop_guards(graph_module)
    flatten_borders(graph_module)
    regions.inline(graph_module)

    if written:
        fold_static(graph_module)
        scatters_to_concats(graph_module)

    return graph_module


def _freed(module: nn.Module, example: tuple[torch.Tensor, ...]) -> fx.GraphModule | None:
    """The graph of a module whose code makes a number of the batch size, for any batch; None where there is none."""

    def trace(batch: int) -> fx.GraphModule:
        rows = tuple(tensor[:1].expand(batch, *tensor.shape[1:]).contiguous() for tensor in example)
        return _plain(_quiet_export(module, rows, False))

    try:
        static = batch_axis.with_free_batch(trace)
        if static is None:
            return None
        freed = _plain(_quiet_export(static, example, True))
        batch_axis.copy_places(static, freed.graph)
        rows = tuple(torch.cat([tensor[:1]] * 3) for tensor in example)
        with torch.no_grad(), without_autocast():
            pairs = zip(*(torch.utils._pytree.tree_leaves(net(*rows)) for net in (module, freed)))
            return freed if all(a.shape == b.shape for a, b in pairs) else None
    except Exception:  # torch.export raises many unrelated types; the module is then captured for one sample
        return None


def _of_one_sample(module: nn.Module, example: Sequence[torch.Tensor], first: Exception) -> fx.GraphModule:
    try:
        return _plain(_quiet_export(module, tuple(t[:1] for t in example), False))
    except Exception as error:  # as above
        line = refusals.source_of_error(error) or refusals.source_of_error(first)
        raise ModelError(
            "torch.export could not capture the model" + (f" because of {line}" if line else f": {_first_line(error)}"),
            where=type(module).__name__,
            remedy="control flow that depends on tensor values, or Python side effects in forward, must be removed: "
            f"torch.where chooses between two results ({_first_line(first)})",
        ) from error


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
    if data_free.one_row(graph_module):
        fold_static(graph_module)
        drop_unused_state(graph_module)
        graph_module.recompile()

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
        with torch.no_grad(), without_autocast():
            want = [t for t in torch.utils._pytree.tree_leaves(module(*rows)) if isinstance(t, torch.Tensor)]
            got = captured.module(*rows)
    finally:
        for layer, training in modes.items():
            layer.training = training

    for a, b in zip(want, got if isinstance(got, (tuple, list)) else [got]):
        if not a.is_floating_point():
            continue

        if not bool(torch.isfinite(a).all()):
            raise ModelError(
                "its outputs for an example input are not finite",
                where=type(module).__name__,
                remedy="look for weights that are NaN, infinite or huge, and for a division by zero",
            )
        tolerance = 1e-3 * max(1.0, float(a.abs().max()))
        if not bool(torch.isfinite(b).all()) or float((a - b).abs().max()) > tolerance:
            raise ModelError(
                f"the captured graph computes something else (largest difference {float((a - b).abs().max()):.3g})",
                where=type(module).__name__,
                remedy="please report the model: a graph pass is wrong for it",
            )
