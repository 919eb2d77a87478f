"""A model source: small multilayer perceptrons by name, as wide as the table of the data."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from edgeft.core.errors import RecipeError, nearest
from edgeft.models import Built, ModelRequest, ModelSource

WIDTHS = {"small-mlp": (32, 32), "wide-mlp": (128, 64)}


def build(request: ModelRequest) -> Built:
    """The perceptron `model.name` for the data's columns; raises `RecipeError` for another name or any argument."""
    name, columns = request.model.name, request.facts.get("inputs")
    if name not in WIDTHS:
        raise RecipeError(f"unknown model {name!r}", where="model.name", remedy=nearest(name, WIDTHS))
    if request.model.args:
        raise RecipeError("the source 'tabular' takes no arguments", where="model.args")
    if not isinstance(columns, int):
        raise RecipeError(f"{name} takes rows of numbers, and the data holds none", where="data.format")

    widths = (columns, *WIDTHS[name])
    layers: list[nn.Module] = []
    for width, next_width in pairwise(widths):
        layers += [nn.Linear(width, next_width), nn.ReLU()]

    layers.append(nn.Linear(widths[-1], request.outputs))
    return Built(nn.Sequential(*layers).eval(), str(len(layers) - 1), {}, request.outputs)


SOURCE = ModelSource("tabular", "Multilayer perceptrons for rows of numbers.", build, tasks=("tabular-regress",))
