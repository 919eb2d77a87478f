"""A graph of Keras layers becomes a torch module: layer by layer, through the functions that `registry.py` knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from ...core.errors import ModelError, RecipeError
from ..onnx import fuse
from ..onnx.values import BatchIsFixed, Trace, Value
from . import registry
from .kept import Kept
from .layer import Layer
from .placed import FIRST, PLAIN, Order, Placed


@dataclass(frozen=True)
class Input:
    """An input of the model: the shape of one sample with the batch, in Keras' order, and whether the module takes it
    with its channels first."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    first: bool


@dataclass(frozen=True)
class Imported:
    """What a Keras model became.

    `module` is in eval mode and returns a tensor for one output, else a dict by `outputs`; `forms` are the orders of
    axes of its outputs; `notes` are for the user.
    """

    module: fx.GraphModule
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    forms: tuple[str, ...]
    notes: tuple[str, ...]


class Graph(fx.GraphModule):
    """The torch graph of a Keras model; messages call it by this name."""


def load(model: Any, path: Path, shape: Sequence[int] | None = None) -> Imported:
    """The module of a built Keras model; `shape` (H, W, C, in Keras' order) is that of its only input where the file
    leaves sizes open.

    Raises `ModelError` naming the layer that cannot be read, `RecipeError` for sizes that are open.
    """
    inputs = tuple(_input(item, shape, path) for item in model.inputs)
    if any(type(layer).__name__ == "Embedding" for layer in model.layers):  # which takes whole numbers, as Keras casts
        inputs = tuple(replace(item, dtype=torch.int32) if len(item.shape) == 2 else item for item in inputs)

    walk = _Walk(path)
    trace = walk.trace
    placed = []

    for item in inputs:
        value = trace.placeholder(item.name, example(item, taken=True))
        placed.append(Placed(value, FIRST if item.first else PLAIN))

    try:
        results = walk.model(model, placed, "")
    except BatchIsFixed as error:
        raise ModelError(f"mixes the samples of a batch ({error})", where=str(path)) from error

    names = tuple(str(name) for name in getattr(graph_of(model), "output_names", ()))
    if len(results) != len(names):
        names = tuple(f"output_{number}" for number in range(len(results)))

    nodes = []
    for name, result in zip(names, results):
        value = walk.order.plain(result) if result.form == "flat" else result.value
        if value.node is None:
            raise ModelError(f"the output {name!r} does not depend on the model's inputs", where=str(path))
        nodes.append(value.node)

    trace.graph.output(nodes[0] if len(nodes) == 1 else dict(zip(names, nodes)))
    module = Graph(trace.root, trace.graph, "KerasGraph")
    module.graph.eliminate_dead_code()
    fuse.fuse(module)
    module.delete_all_unused_submodules()

    if walk.kept:
        walk.notes.add(
            f"computed by Keras itself, in float and with weights that stay as they are: {', '.join(walk.kept[:5])}"
            + (f" and {len(walk.kept) - 5} more" if len(walk.kept) > 5 else "")
        )

    forms = tuple(FIRST if result.form == FIRST else PLAIN for result in results)
    return Imported(module.eval(), inputs, names, forms, tuple(sorted(walk.notes)))


def graph_of(model: Any) -> Any:
    """The graph of layers that a model consists of."""
    return getattr(model, "_functional", None) or model


def _input(item: Any, shape: Sequence[int] | None, path: Path) -> Input:
    declared = [0 if size is None else int(size) for size in item.shape]
    where = f"{path}, input {item.name!r}"
    if shape is not None and len(shape) == len(declared) - 1:
        if any(a and a != b for a, b in zip(declared[1:], shape)):
            raise RecipeError(f"has the shape {declared[1:]} (0 = open), which {list(shape)} does not fit", where=where)
        declared[1:] = [int(size) for size in shape]

    if 0 in declared[1:]:
        raise RecipeError(
            f"leaves sizes open: {declared[1:]} (0 = open)",
            where=where,
            remedy="set model.args.size for pictures, or model.args.shape to the shape of one sample",
        )

    dtype = torch.float32 if "float" in str(item.dtype) else torch.int32
    return Input(item.name, (1, *declared[1:]), dtype, len(declared) == 4 and declared[3] in (1, 3))


def example(item: Input, batch: int = 1, seed: int = 0, taken: bool = False) -> torch.Tensor:
    """Random values of an input (batch, ...), as Keras has them, or as the module takes them."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, *item.shape[1:])
    if item.dtype is torch.float32:
        values = torch.rand(shape, generator=generator)
    else:
        values = torch.randint(0, 2, shape, generator=generator).to(item.dtype)
    return values.movedim(-1, 1).contiguous() if taken and item.first else values


class _Walk:
    """Runs through the layers of a model and of the models within it."""

    def __init__(self, path: Path) -> None:
        self.path, self.trace = path, Trace(True)
        self.order = Order(self.trace)
        self.notes: set[str] = set()
        self.kept: list[str] = []
        self.modules: dict[tuple[int, str], nn.Module] = {}
        self.importers = registry.importers()

    def model(self, model: Any, values: Sequence[Placed], prefix: str) -> list[Placed]:
        """The values of a model's outputs, in the order of `output_names`."""
        graph = graph_of(model)
        from keras import tree

        results = graph._run_through_graph(list(values), operation_fn=lambda operation: self._caller(operation, prefix))
        return list(tree.flatten(results))

    def _caller(self, operation: Any, prefix: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._run(operation, prefix, args, kwargs)

    def _run(self, operation: Any, prefix: str, args: Any, kwargs: Any) -> Any:
        name = f"{prefix}{operation.name}"
        module = type(operation).__module__
        kind = type(operation).__name__
        if module.startswith("keras.src.ops"):
            kind = f"ops.{kind}"

        kwargs = {key: value for key, value in kwargs.items() if key != "training"}
        layer = Layer(operation, name, kind, tuple(args), kwargs, self.trace, self.order, self.modules, self.notes)
        if getattr(operation, "quantization_mode", None):
            raise layer.fail(f"is quantized already ({operation.quantization_mode})", "save the float model")

        own = module.startswith("keras.")
        if own and kind in ("Functional", "Sequential", "Model"):
            from keras import tree

            inner = self.model(operation, list(tree.flatten(args[0] if args else list(kwargs.values()))), f"{name}.")
            return inner[0] if len(inner) == 1 else inner

        importer = self.importers.get(kind) if own else None
        try:
            return importer(layer) if importer is not None else self._kept(layer)
        except (RuntimeError, IndexError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            shapes = ", ".join(str(v.shape) for v in [*args, *kwargs.values()] if isinstance(v, Placed))
            raise layer.fail(f"cannot be read with inputs of the shapes {shapes}: {line}") from error

    def _kept(self, layer: Layer) -> Any:
        """A layer without a function here: Keras computes it, in its own order of axes, in float."""
        parts = [a for a in [*layer.inputs, *layer.kwargs.values()] if isinstance(a, Placed)]
        values: list[Value] = [self.order.plain(part) for part in parts]
        listed = bool(layer.args) and isinstance(layer.args[0], (list, tuple))
        plain = {key: value for key, value in layer.kwargs.items() if not isinstance(value, Placed)}
        named = [key for key, value in layer.kwargs.items() if isinstance(value, Placed)]
        rest = [] if listed else [None if isinstance(a, Placed) else a for a in layer.args]
        self.kept.append(f"{layer.name} ({layer.kind})")
        result = layer.module(values[0], lambda: Kept(layer.keras, listed, rest, named, plain), "", *values[1:])

        return Placed(result) if isinstance(result, Value) else [Placed(value) for value in result]
