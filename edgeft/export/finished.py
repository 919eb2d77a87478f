"""`edgeft export MODEL.onnx --data DIR`: the recipe of a finished model that is quantized as it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import recipe
from ..config.recipe import Recipe
from ..core.errors import ModelError, UsageError
from ..models.onnx import Described, describe

#: share of decisions that has to stay, where no labels tell what the others cost
AGREEMENT = 0.9
#: of pictures that are not divided: half to calibrate on, half to compare on
SPLIT = (0.495, 0.01, 0.495)
#: the same where layers are chosen by what they cost, for which samples of neither half are held out
SPLIT_TO_JUDGE = (0.4, 0.2, 0.4)


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the model's input, where its file does not say it.

    Pixels (0 to 255) are multiplied by `scale`, less `mean`, divided by `std` (a number, or one a channel). `size` is
    pixels or (height, width), `layout` "NCHW" or "NHWC"; () and "" leave both to the file. `output` names the output
    that has the classes, `names` is a file with their names.
    """

    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    scale: float = 1 / 255
    size: Sequence[int] = ()
    layout: str = ""
    output: str = ""
    names: str | Path = ""


def recipe_of(
    model: Path, folder: Path, targets: Sequence[str], table: Preprocessing, overrides: Sequence[str]
) -> tuple[Recipe, list[str]]:
    """The recipe that quantizes `model` with the pictures in `folder`, and what it assumes.

    Raises `RecipeError` for an option or an override, `ModelError` for the file or where it is no classifier.
    """
    args: dict[str, Any] = {"size": list(table.size)} if table.size else {}
    args |= {"layout": table.layout} if table.layout else {}
    if not table.scale > 0 or not all(value > 0 for value in table.std):
        raise UsageError("--scale and --std must be above 0")
    model_table = {"source": "onnx", "name": str(model), "args": args, "output": table.output}
    described = describe(recipe.Model("onnx", str(model), args=args, output=table.output))
    if not described.channels:
        raise ModelError(
            "takes no pictures of 1 or 3 channels: without a recipe only classifiers of pictures are quantized",
            where=str(model),
            remedy='write a recipe of its task with model.source = "onnx"',
        )
    shares = 255 * table.scale  # recipes know mean and std of pixels / 255
    asked = recipe.from_table(
        {
            "name": _name(model),
            "model": model_table,
            "data": {
                "format": "pictures",
                "path": str(folder),
                "channels": described.channels,
                "mean": _each(table.mean, described.channels, 1 / shares),
                "std": _each(table.std, described.channels, 1 / shares),
                "split": list(SPLIT),
                "classes": _classes(described, model),
                "names": str(table.names),
            },
            "train": {"epochs": 0},
            "quantize": {"method": "ptq"},
            "export": {"targets": list(targets)},
            "gates": {"min_agreement": AGREEMENT},
        },
        "the options of the command",
    )
    asked = recipe.override(asked, list(overrides)) if overrides else asked
    if asked.quantize.method == "auto" and asked.data.split == SPLIT:
        asked = dataclasses.replace(asked, data=dataclasses.replace(asked.data, split=SPLIT_TO_JUDGE))
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (table.mean, table.std))
    pixels = "1/255" if abs(shares - 1) < 1e-9 else f"{table.scale:g}"
    return asked, [
        f"pictures: pixels times {pixels}, less {mean}, divided by {std} (--scale, --mean, --std), "
        f"resized by {asked.data.resize or 'bilinear'} interpolation; "
        f"at least {asked.gates.min_agreement:.0%} of the decisions have to stay "
        "(--set gates.min_agreement=...)"
    ]


def _name(model: Path) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "-_. " else "-" for letter in model.stem).strip("-_. ")
    return stem[:100] or "model"


def _each(values: Sequence[float], channels: int, factor: float) -> list[float]:
    """The values times `factor`; a single one for each channel."""
    return [value * factor for value in (list(values) * channels if len(values) == 1 else values)]


def _classes(described: Described, model: Path) -> int:
    """The number of classes of the model."""
    listed = ", ".join(f"{name} {shape}" for name, shape in described.outputs.items())
    if len(described.outputs) > 1:
        raise UsageError(f"the model has several outputs: {listed}", remedy="name that of the classes: --output NAME")
    (shape,) = described.outputs.values()
    if len(shape) < 2 or shape[1] < 2 or shape[1] != math.prod(shape[1:]):
        raise ModelError(
            f"its output {listed} is not one number a class: without a recipe only classifiers are quantized",
            where=str(model),
            remedy='write a recipe of its task with model.source = "onnx"',
        )
    return shape[1]
