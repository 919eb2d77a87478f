"""The model source "keras": what the recipe says of a file, and what the task needs of its module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from ...core.errors import RecipeError, nearest
from .. import heads
from ..built import Built, image_spec
from ..onnx import ends
from ..request import ModelRequest, ModelSource
from . import agree, applications, front, importer, loading

_ARGS = ("size", "shape", "code", "channels")
#: pixels a side where neither the file nor the recipe says how large pictures are
_SIDE = 224


def build(request: ModelRequest) -> Built:
    """The model in the file `model.name`, with a new classifier where the number of classes is another.

    `model.args`: `size` (pixels, or [height, width]) where the file leaves it open, `shape` (of one sample, without the
    batch) of an input that is no picture, `code` (a Python file with the classes that the model was built with, with
    --allow-code). Raises `RecipeError` for arguments, `ModelError` for the file, `Missing` without the package keras.
    """
    model, path = request.model, Path(request.model.name)
    for name in model.args:
        if name not in _ARGS and name not in request.of_data:
            raise RecipeError(f"unknown argument {name!r}", where="model.args", remedy=nearest(name, _ARGS))

    loaded = loading.load(path, request.allow_code, str(model.args.get("code", "")))
    imported = importer.load(loaded, path, _shape(loaded, model.args))
    agree.check(loaded, imported, path)
    notes = [*imported.notes]

    module = imported.module
    if model.output and len(imported.outputs) == 1:
        ends.name_output(module, model.output)

    sample = [importer.example(item, taken=True) for item in imported.inputs]
    notes += ends.as_logits(module, sample)
    notes += _two_classes(module, sample, request.outputs)
    spec: dict[str, Any] = {}
    first = imported.inputs[0]

    if first.first or (len(first.shape) == 4 and first.shape[1] in (1, 3)):
        height, width, channels = first.shape[1:] if first.first else (*first.shape[2:], first.shape[1])
        spec = _spec(module, loaded.name, (height, width), channels, notes)

    batch = tuple(importer.example(item, 2, taken=True) for item in imported.inputs)
    head, replaced = heads.fitted(module, batch, request.outputs)
    return Built(module.eval(), head, spec, request.outputs, False, tuple(dict.fromkeys([*notes, *replaced])))


def _shape(loaded: Any, args: Mapping[str, Any]) -> list[int] | None:
    """The shape of one sample that the recipe gives, or that pictures of open size get; None for that of the file."""
    if "shape" in args and len(loaded.inputs) == 1:
        shape = args["shape"]
        if not isinstance(shape, (list, tuple)) or not all(isinstance(size, int) and size > 0 for size in shape):
            raise RecipeError(f"is {shape!r}, expected sizes such as [49, 10]", where="model.args.shape")
        return list(shape)

    sizes = [0 if size is None else int(size) for size in loaded.inputs[0].shape[1:]]
    if len(loaded.inputs) != 1 or len(sizes) != 3:
        return None

    wish = args.get("size", None if 0 not in sizes[:2] else _SIDE)
    if wish is None:
        return None

    sides = [wish, wish] if isinstance(wish, int) else list(wish) if isinstance(wish, (list, tuple)) else []
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise RecipeError(f"is {wish!r}, expected pixels or [height, width]", where="model.args.size")
    if "size" in args and any(a and a != b for a, b in zip(sizes, sides)):
        raise RecipeError(f"is {wish!r}, and the file takes {sizes[0]} x {sizes[1]}", where="model.args.size")

    return [a or b for a, b in zip(sizes, [*sides, 3])]


def _spec(module: fx.GraphModule, name: str, size: tuple[int, int], channels: int, notes: list[str]) -> dict[str, Any]:
    """The preprocessing: what the net itself does to its pictures, what keras.applications says, or pixels / 255."""
    scaling = front.take_scaling(module, channels)
    if scaling is not None:
        scale, shift = scaling
        std = 1 / (255 * scale)
        mean = -shift * std
        notes.append(
            "the net scales its pictures itself, which becomes part of the preprocessing: leave out data.mean and "
            "data.std"
        )
        return image_spec(size, channels, mean.tolist(), std.tolist())

    pictures = applications.pictures_of(name) if channels == 3 else None
    if pictures is None:
        notes.append(
            "a Keras file does not say how its pictures are scaled: pixels / 255, less data.mean, divided by data.std "
            "(0 and 1 where they are left out)"
        )
        return image_spec(size, channels, (0.0,) * channels, (1.0,) * channels)

    if pictures.bgr:
        first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight.copy_(first.weight.flip(1))

    notes.append(
        f"pictures are scaled as keras.applications does it for {name!r}; data.mean and data.std say it otherwise"
        + (" (its first convolution is turned from BGR to RGB)" if pictures.bgr else "")
    )

    return image_spec(size, channels, pictures.mean, pictures.std)


def _two_classes(module: fx.GraphModule, sample: list[torch.Tensor], outputs: int) -> list[str]:
    """A last layer of one number behind a sigmoid, made to two classes in place; notes for the user.

    softmax([0, z]) is sigmoid(z), so the second class is what the number was the probability of.
    """
    output = next(node for node in module.graph.nodes if node.op == "output")
    value = output.args[0]
    if outputs != 2 or not isinstance(value, fx.Node) or value.target is not torch.sigmoid:
        return []

    layer = value.args[0]
    linear = (
        module.get_submodule(str(layer.target)) if isinstance(layer, fx.Node) and layer.op == "call_module" else None
    )
    if not isinstance(linear, nn.Linear) or linear.out_features != 1:
        return []

    wide = nn.Linear(linear.in_features, 2)
    with torch.no_grad():
        wide.weight.zero_()
        wide.bias.zero_()
        wide.weight[1] = linear.weight[0]
        if linear.bias is not None:
            wide.bias[1] = linear.bias[0]

    parent, _, leaf = str(layer.target).rpartition(".")
    setattr(module.get_submodule(parent), leaf, wide)
    value.replace_all_uses_with(layer)
    module.graph.eliminate_dead_code()
    module.recompile()

    return ["the sigmoid of one number at the end becomes two classes: the second is what it was the probability of"]


SOURCE = ModelSource(
    "keras",
    "A .keras or .h5 file that Keras saved.",
    build,
    own_weights=True,
    knows=lambda name: name.endswith((".keras", ".h5")),
)
