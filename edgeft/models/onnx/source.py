"""The model source "onnx": what the recipe says of a file, and what the task needs of its module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from ...config import recipe
from ...core.errors import ModelError, RecipeError, nearest
from .. import heads
from ..built import Built, image_spec
from ..request import ModelRequest, ModelSource
from . import agree, ends, importer, reading

_ARGS = ("size", "layout", "shape", "constants", "channels", "ranges")
#: whose ranges a model that is quantized already begins with
_RANGES = ("file", "calibrate")
#: pixels a side where neither the file nor the recipe says how large pictures are
_SIDE = 224
_SCALED = (
    "an .onnx file does not say how its pictures are scaled: they are pixels / 255, less data.mean, divided by "
    "data.std, which are yours to give (--mean, --std) and else 0 and 1"
)
_AS_PIXELS = (
    "the file takes pictures of uint8 and scales them itself: pixels are given as they are, as float32, and data.mean "
    "and data.std have to be left out"
)


@dataclass(frozen=True)
class Described:
    """What a file takes and gives: `channels` of its pictures (0: it takes none), the shape and type of each input and
    the shape of each output for one sample. `pixels` says that its pictures are whole numbers of 0 to 255."""

    channels: int
    inputs: dict[str, tuple[tuple[int, ...], str]]
    outputs: dict[str, tuple[int, ...]]
    pixels: bool = False


def describe(model: recipe.Model) -> Described:
    """What the file of a recipe's [model] takes and gives; raises what `build` raises for it and its arguments."""
    imported, layout, _ = _imported(model)
    with torch.no_grad():
        results = imported.module(*(importer.example(item) for item in imported.inputs))
    values = results if isinstance(results, dict) else {imported.outputs[0]: results}
    channels = imported.inputs[0].shape[3 if layout == "NHWC" else 1] if layout else 0
    inputs = {item.name: (tuple(item.shape), str(item.dtype).removeprefix("torch.")) for item in imported.inputs}
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    return Described(channels, inputs, shapes, bool(layout) and _pixels(imported))


def build(request: ModelRequest) -> Built:
    """The model in the .onnx file `model.name`, with a new classifier where the number of classes is another.

    `model.args`: `size` (pixels, or [height, width]) where the file leaves it open, `layout` ("NCHW", "NHWC": the order
    of the file's input, found by its channels), `shape` (of one sample, without the batch) of an input that is no
    picture, `constants` ({input: number}), `ranges` ("file", "calibrate": which ones a model that is quantized already
    begins with). Raises `RecipeError` for arguments, `ModelError` for the file, `Missing`
    without the package onnx.
    """
    model, n_classes = request.model, request.outputs
    given = {str(item["name"]): tuple(item["shape"]) for item in request.facts.get("tensors", ())}
    imported, layout, notes = _imported(model, given)
    path = Path(model.name)
    compared = agree.check(imported, path, model.args.get("constants", {}))
    notes += [*imported.notes, *([compared] if compared else [])]

    module = imported.module
    graph = module.of_one if isinstance(module, importer.OneByOne) else module
    assert isinstance(graph, fx.GraphModule)
    if model.output:
        ends.name_output(graph, model.output)
    if not request.any_outputs:
        notes += ends.as_logits(graph, [importer.example(item) for item in imported.inputs])

    spec: dict[str, Any] = {}
    if layout:
        sizes = imported.inputs[0].shape
        height, width, channels = (sizes[1], sizes[2], sizes[3]) if layout == "NHWC" else (sizes[2], sizes[3], sizes[1])
        if layout == "NHWC":
            ends.take_channels_first(graph)
        unit = 1 / 255 if _pixels(imported) else 1.0
        spec = image_spec((height, width), channels, (0.0,) * channels, (unit,) * channels)
        notes.append(_AS_PIXELS if _pixels(imported) else _SCALED)

    if request.any_outputs:
        spec = (spec or {"tensors": [_declared(item) for item in imported.inputs]}) | {"outputs": imported.outputs}
        return Built(module.eval(), "", spec, n_classes, False, tuple(dict.fromkeys(notes)))

    head, replaced = heads.fitted(module, _sample(imported, spec), n_classes)
    return Built(module.eval(), head, spec, n_classes, False, tuple(dict.fromkeys([*notes, *replaced])))


def _pixels(imported: importer.Imported) -> bool:
    """Whether pictures are taken as uint8; what turns them into real numbers is in the graph and stays there."""
    return imported.inputs[0].dtype is torch.uint8


def _declared(item: importer.Input) -> dict[str, Any]:
    """An input as `edgeft.inputs.tensors` takes it: name, shape of one sample, type."""
    return {"name": item.name, "shape": list(item.shape[1:]), "dtype": str(item.dtype).removeprefix("torch.")}


def _imported(
    model: recipe.Model, given: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[importer.Imported, str, list[str]]:
    """The imported file, the layout of its pictures ("" where it takes none), and notes.

    `given` are the arrays of a sample {name: shape}, where the data are arrays: no input is a picture then.
    """
    for key in model.args:
        if key not in _ARGS:
            raise RecipeError(f"unknown argument {key!r}", where="model.args", remedy=nearest(key, _ARGS))

    if model.args.get("ranges", "file") not in _RANGES:
        value = model.args["ranges"]
        raise RecipeError(f"is {value!r}, expected {' or '.join(_RANGES)}", where="model.args.ranges")

    if model.weights:
        raise RecipeError("the file named by model.name has the weights", where="model.weights", remedy="leave it out")

    path = Path(model.name)
    constants = dict(model.args.get("constants", {}))
    proto = reading.read(path)
    inputs = [item for item in importer.inputs_of(proto, path) if item.name not in constants]
    if not inputs:
        raise ModelError("has no input that changes from sample to sample", where=str(path))

    if given and not model.args.keys() & {"size", "layout", "shape"}:
        _refuse_without_batch(inputs, given, path)
        layout, shapes, notes = "", _shapes_of(inputs, given), list[str]()
    else:
        layout, shape, notes = _input_of(inputs[0], model.args, path)
        shapes = {} if shape is None else {inputs[0].name: shape}

    names = (model.output,) if model.output else ()
    imported = importer.load(path, shapes=shapes, constants=constants, outputs=names)
    if model.args.get("ranges") == "calibrate":
        importer.drop_ranges(imported.module)
    return imported, layout, notes


def _refuse_without_batch(inputs: Sequence[importer.Input], given: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raise `ModelError` where an array of a sample has all axes of its input, of which one would be the batch."""
    for item in inputs:
        shape = given.get(item.name, ())
        fits = all(declared in (0, size) for declared, size in zip(item.shape, shape))
        if len(shape) == len(item.shape) and fits and item.shape[0] > 1:
            raise ModelError(
                f"takes {item.shape} (0 = open), whose first axis is no batch (that of a recurrent state, for example)",
                where=f"{path}, input {item.name!r}",
                remedy="export the model with the batch as the first axis of every input and output: a wrapper whose "
                "forward takes (batch, ...) and transposes it before it calls the model",
            )


def _shapes_of(inputs: Sequence[importer.Input], given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """{input: shape with the batch} of those whose sizes the file leaves open, as the arrays of a sample have them."""
    alone = next(iter(given.values())) if len(inputs) == len(given) == 1 else None
    shapes = {item.name: given.get(item.name, alone) for item in inputs if 0 in item.shape[1:]}
    return {
        name: (1, *shape)
        for item in inputs
        for name, shape in [(item.name, shapes.get(item.name))]
        if shape is not None and len(shape) == len(item.shape) - 1
    }


def _input_of(
    item: importer.Input, args: Mapping[str, Any], path: Path
) -> tuple[str, tuple[int, ...] | None, list[str]]:
    """(layout, "" for an input that is no picture; the shape to take, None for that of the file; notes)."""
    if "shape" in args:
        shape = args["shape"]
        if not isinstance(shape, (list, tuple)) or not all(isinstance(size, int) and size > 0 for size in shape):
            raise RecipeError(f"is {shape!r}, expected sizes such as [1, 49, 10]", where="model.args.shape")
        return "", (1, *shape), []

    if len(item.shape) != 4 or not (item.dtype.is_floating_point or item.dtype is torch.uint8):
        return "", None, []

    layout = args.get("layout") or ("NHWC" if item.shape[3] in (1, 3) and item.shape[1] not in (1, 3) else "NCHW")
    if layout not in ("NCHW", "NHWC"):
        raise RecipeError(f"is {layout!r}, expected NCHW or NHWC", where="model.args.layout")

    channel, first, second = (3, 1, 2) if layout == "NHWC" else (1, 2, 3)
    if item.shape[channel] not in (1, 3):
        if "layout" in args or "size" in args:
            raise ModelError(f"its input {item.name!r} {item.shape} takes no pictures as {layout}", where=str(path))
        return "", None, []

    notes: list[str] = []
    size = _size(args, item, (first, second), notes)
    shape_list = [1, 0, 0, 0]
    shape_list[channel], shape_list[first], shape_list[second] = item.shape[channel], *size
    if item.shape[0] > 1:
        shape_list[0] = item.shape[0]  # which the importer refuses

    return layout, tuple(shape_list), notes


def _size(args: Mapping[str, Any], item: importer.Input, at: tuple[int, int], notes: list[str]) -> tuple[int, int]:
    """Height and width: those of the file, of the recipe, or 224."""
    declared = item.shape[at[0]], item.shape[at[1]]
    wish = args.get("size")
    if wish is not None:
        sides = (wish, wish) if isinstance(wish, int) else tuple(wish) if isinstance(wish, (list, tuple)) else ()
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise RecipeError(f"is {wish!r}, expected pixels or [height, width]", where="model.args.size")
        if any(a and a != b for a, b in zip(declared, sides)):
            raise RecipeError(f"is {wish!r}, and the file takes {declared[0]} x {declared[1]}", where="model.args.size")
        return sides[0], sides[1]

    if 0 in declared:
        sides = declared[0] or declared[1] or _SIDE, declared[1] or declared[0] or _SIDE
        notes.append(
            f"the file leaves the size of its pictures open: {sides[0]} x {sides[1]} pixels are taken "
            "(--size, or model.args.size in a recipe, sets another)"
        )
        return sides

    return declared


def _sample(imported: importer.Imported, spec: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
    if spec:
        return (torch.zeros(2, spec["channels"], *spec["size"]),)
    return tuple(importer.example(item, 2) for item in imported.inputs)


SOURCE = ModelSource(
    "onnx",
    "A finished .onnx file, of any tool that exports one.",
    build,
    own_weights=True,
    knows=lambda name: name.endswith(".onnx"),
)
