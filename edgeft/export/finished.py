"""`edgeft export MODEL.onnx --data DIR`: the recipe of a finished model that is quantized as it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import tasks
from ..config import recipe
from ..config.recipe import Recipe
from ..core.errors import DataError, ModelError, UsageError
from ..data.glimpse import glimpse
from ..inputs import tensors
from ..models.onnx import Described, describe
from ..plugins import DATA_FORMATS

#: the task of models of any inputs and outputs
_ANY = next(tasks.get(name) for name in tasks.BUILTIN if tasks.get(name).any_outputs)
#: what --output is where all outputs are taken
ALL = "*"
#: share of decisions that has to stay, where no labels tell what the others cost
AGREEMENT = 0.9
#: of pictures that are not divided: half to calibrate on, half to compare on
SPLIT = (0.495, 0.01, 0.495)
#: the same where layers are chosen by what they cost, for which samples of neither half are held out
SPLIT_TO_JUDGE = (0.4, 0.2, 0.4)


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become the model's input, where its file does not say it.

    Pixels (0 to 255) are multiplied by `scale` (None: 1/255; arrays are taken as they are), less `mean`, divided by
    `std` (a number, or one a channel). `size` is pixels or (height, width), `layout` "NCHW" or "NHWC"; () and "" leave
    both to the file. `output` names the output that has the classes ("*": all outputs are numbers of any meaning),
    `names` is a file with the names of the classes.
    """

    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    scale: float | None = None
    size: Sequence[int] = ()
    layout: str = ""
    output: str = ""
    names: str | Path = ""


def recipe_of(
    model: Path, folder: Path, targets: Sequence[str], table: Preprocessing, overrides: Sequence[str]
) -> tuple[Recipe, list[str]]:
    """The recipe that quantizes `model` with the pictures or arrays in `folder`, and what it assumes.

    A model of pictures whose output is one number a class is a classifier; any other is judged by its numbers. Raises
    `RecipeError` for an option or an override, `ModelError` for the file.
    """
    if not (table.scale is None or table.scale > 0) or not all(value > 0 for value in table.std):
        raise UsageError("--scale and --std must be above 0")
    if not folder.exists():
        raise DataError("no such folder", where=str(folder), remedy="name a folder of pictures or of arrays")
    if folder.is_dir() and not any(folder.iterdir()):
        raise DataError("is an empty folder", where=str(folder), remedy="name a folder of pictures or of arrays")

    if folder.is_file() or DATA_FORMATS.get(_ANY.formats[0]).recognize(glimpse(folder)) is not None:
        parts = _of_arrays(model, folder, table)
        assumed = ["arrays are taken as they are" if "mean" not in parts["data"] else "arrays: less --mean, by --std"]
    else:
        parts, pixels = _of_pictures(model, folder, table)
        assumed = [pixels]

    general = {
        "name": _name(model),
        "train": {"epochs": 0},
        "quantize": {"method": "ptq"},
        "export": {"targets": list(targets)},
        "gates": {"min_agreement": AGREEMENT},
    }
    asked = recipe.from_table({**general, **parts}, "the options of the command")
    asked = recipe.override(asked, list(overrides)) if overrides else asked
    if asked.quantize.method == "auto" and asked.data.split == SPLIT:
        asked = dataclasses.replace(asked, data=dataclasses.replace(asked.data, split=SPLIT_TO_JUDGE))

    what = "decisions" if asked.task != _ANY.name else "samples"
    gate = f"at least {asked.gates.min_agreement:.0%} of the {what} have to stay (--set gates.min_agreement=...)"
    return asked, [f"{line}; {gate}" for line in assumed]


def _of_arrays(model: Path, folder: Path, table: Preprocessing) -> dict[str, Any]:
    """The tables of a recipe for arrays as the model takes them."""
    if table.size or table.layout or table.names:
        raise UsageError("--size, --layout and --names are about pictures", where=str(folder), remedy="leave them out")
    if table.output not in ("", ALL):
        raise UsageError("all outputs of the model are judged", where="--output", remedy="leave it out")

    content: dict[str, Any] = {"format": _ANY.formats[0], "path": str(folder), "split": list(SPLIT)}
    if any(table.mean) or set(table.std) != {1.0} or table.scale not in (None, 1.0):
        factor = 1 / (table.scale or 1.0)
        content |= {"mean": [m * factor for m in table.mean], "std": [s * factor for s in table.std]}

    return {"task": _ANY.name, "model": {"source": "onnx", "name": str(model)}, "data": content}


def _of_pictures(model: Path, folder: Path, table: Preprocessing) -> tuple[dict[str, Any], str]:
    """The tables of a recipe for pictures, and how they become the model's input."""
    args: dict[str, Any] = {"size": list(table.size)} if table.size else {}
    args |= {"layout": table.layout} if table.layout else {}
    output = "" if table.output == ALL else table.output
    described = describe(recipe.Model("onnx", str(model), args=args, output=output))
    _check_pictures(model, described)
    classes = 0 if table.output == ALL else _classes(described)

    if output and not classes:
        raise UsageError(
            f"the output {output} is not one number a class",
            where="--output",
            remedy="leave it out: a model that is no classifier is judged by all of its outputs",
        )

    if described.pixels and (any(table.mean) or set(table.std) != {1.0} or table.scale not in (None, 1.0)):
        raise UsageError(
            "the file takes pictures of uint8 and scales them itself",
            where=str(model),
            remedy="leave --scale, --mean and --std out",
        )

    shares = 255 * (1 / 255 if table.scale is None else table.scale)  # recipes know mean and std of pixels / 255
    content: dict[str, Any] = {
        "format": "pictures",
        "path": str(folder),
        "channels": described.channels,
        "mean": _each(table.mean, described.channels, 1 / shares),
        "std": _each(table.std, described.channels, 1 / shares),
        "split": list(SPLIT),
        "classes": classes or 1,
        "names": str(table.names),
    }
    of_model = {"source": "onnx", "name": str(model), "args": args, "output": output}
    parts: dict[str, Any] = {"model": of_model, "data": content}
    if not classes:
        parts["task"] = _ANY.name
    if described.pixels:
        del content["mean"], content["std"]
        return parts, (
            "pictures: pixels of 0 to 255 as they are, which the file scales itself, resized by bilinear interpolation "
            "(--set data.resize=...)"
        )

    mean, std = (", ".join(f"{value:g}" for value in values) for values in (table.mean, table.std))
    pixels = "1/255" if abs(shares - 1) < 1e-9 else f"{table.scale:g}"
    return parts, (
        f"pictures: pixels times {pixels}, less {mean}, divided by {std} (--scale, --mean, --std), resized by bilinear "
        "interpolation (--set data.resize=...)"
    )


def _check_pictures(model: Path, described: Described) -> None:
    """Raise `ModelError` unless the model has one input, of pictures."""
    listed = ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in described.inputs.items())
    if len(described.inputs) > 1:
        raise ModelError(
            f"has {len(described.inputs)} inputs ({listed}), and a folder of pictures fills one",
            where=str(model),
            remedy="--data DIR of .npz files, one a sample, without a batch axis, whose arrays are called "
            f"{' and '.join(described.inputs)} (docs/regress.md)",
        )

    if not described.channels:
        ((_, dtype),) = described.inputs.values()
        remedy = "give it what it takes: --data DIR of .npy files, one a sample, without a batch axis (docs/regress.md)"
        if dtype not in tensors.DTYPES:
            remedy = "export the model with a float32 input, without the conversion that its graph begins with"
        raise ModelError(
            f"its input {listed} takes no pictures as edgeft gives them: float32 or uint8 of 1 or 3 channels",
            where=str(model),
            remedy=remedy,
        )


def _name(model: Path) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "-_. " else "-" for letter in model.stem).strip("-_. ")
    return stem[:100] or "model"


def _each(values: Sequence[float], channels: int, factor: float) -> list[float]:
    """The values times `factor`; a single one for each channel."""
    return [value * factor for value in (list(values) * channels if len(values) == 1 else values)]


def _classes(described: Described) -> int:
    """How many classes the model tells apart, 0 where its outputs are something else.

    Raises `UsageError` where one of several outputs may be that of the classes.
    """
    widths = {name: _width(shape) for name, shape in described.outputs.items()}
    if len(widths) > 1 and any(widths.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in described.outputs.items())
        raise UsageError(
            f"the model has several outputs: {listed}",
            remedy=f"name that of the classes, --output NAME, or take all of them as numbers, --output '{ALL}'",
        )
    return next(iter(widths.values())) if len(widths) == 1 else 0


def _width(shape: Sequence[int]) -> int:
    """The classes of an output (N, classes), also with axes of one pixel behind them; 0 of any other."""
    fits = len(shape) >= 2 and shape[1] >= 2 and shape[1] == math.prod(shape[1:])
    return shape[1] if fits else 0
