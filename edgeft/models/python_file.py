"""A model from the user's own Python file, `file.py:function`: it runs that file, so it must be allowed."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError, RecipeError, nearest
from . import heads, weights
from .built import Built, image_spec
from .request import ModelRequest, ModelSource


def build(request: ModelRequest) -> Built:
    """The module that `function(**model.args)` of the file returns.

    What the data say of the model's form (`n_classes`, `channels`, `size`) is passed where the function takes it.

    The function may also return `(module, table)`, where the table changes keys of the default preprocessing (224 px,
    ImageNet mean and std). Raises `ModelError` without `allow_code`, and for whatever the file does wrong.
    """
    model, n_classes = request.model, request.outputs
    if not request.allow_code:
        raise ModelError(
            f"model.source = 'python' would run {model.name!r}, which was not allowed",
            where="model.name",
            remedy="read that file, and if you trust it, pass --allow-code",
        )

    function = _function(model.name)
    accepted = inspect.signature(function).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    args = {k: v for k, v in model.args.items() if takes_any or k in accepted or k not in request.of_data}
    if "n_classes" in accepted:
        args.setdefault("n_classes", n_classes)

    try:
        result = function(**args)
    except Exception as error:  # the user's code may raise anything; the cause stays attached
        raise ModelError(f"it raised {type(error).__name__}: {error}", where=model.name) from error

    module, table = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
    if not isinstance(module, nn.Module) or not isinstance(table, Mapping):
        raise ModelError(f"it returned a {type(result).__name__}", where=model.name, remedy="return a torch.nn.Module")

    built = from_module(module, n_classes, spec=table, where=model.name, whole=request.any_outputs)
    if not model.weights:
        return built

    path = weights.find(model.weights)
    notes = weights.load(module, weights.read(path), built.head, str(path))
    return Built(built.module, built.head, built.spec, n_classes, True, (*built.notes, *notes))


def from_module(
    module: nn.Module,
    n_classes: int,
    *,
    head: str = "",
    spec: Mapping[str, Any] | None = None,
    where: str = "model",
    whole: bool = False,
) -> Built:
    """The caller's own module as a `Built`; its classifier is found, and replaced where it has another size, unless the
    task takes the model `whole`.

    `spec` changes keys of the default preprocess table. Raises `ModelError` where there is no classifier, `RecipeError`
    for an unknown key of `spec`.
    """
    table = dict(spec or {})
    channels = table.get("channels", heads.channels(module))
    default = image_spec((224, 224), channels)

    for key in table:
        if key not in default:
            raise RecipeError(f"unknown key {key!r} of the preprocessing", where=where, remedy=nearest(key, default))

    if isinstance(table.get("size"), int):
        table["size"] = [table["size"]] * 2
    if head and head not in dict(module.named_modules()):
        raise ModelError(f"has no layer {head!r}", where=where, remedy=nearest(head, dict(module.named_modules())))

    notes: tuple[str, ...] = ()
    narrow = sorted({str(p.dtype) for p in module.parameters() if p.is_floating_point() and p.dtype != torch.float32})
    if narrow:
        module.float()
        notes += (f"the weights were {' and '.join(narrow)}: they are trained in float32",)

    spec_ = {**default, **table}
    if whole:
        return Built(module.eval(), head, spec_, n_classes, False, notes)

    sample = torch.zeros(2, spec_["channels"], *spec_["size"])
    head = head or heads.of_output(module.eval(), sample) or heads.find(module, n_classes)
    old = heads.width(module, head)
    heads.replace(module, head, n_classes)
    if old != n_classes:
        notes += (f"the classifier {head} had {old} outputs: a new one has {n_classes}",)

    return Built(module.eval(), head, spec_, n_classes, False, notes)


def _function(name: str) -> Callable[..., Any]:
    file, colon, attribute = name.rpartition(":")
    path = Path(file)
    if not colon or path.suffix != ".py" or not attribute.isidentifier():
        raise RecipeError(f"is {name!r}, expected 'file.py:function'", where="model.name")

    code = run_file(path, "model.name")
    function: Callable[..., Any] | None = getattr(code, attribute, None)
    if not callable(function):
        names = [n for n, value in vars(code).items() if callable(value) and not n.startswith("_")]
        raise ModelError(f"has no function {attribute!r}", where=str(path), remedy=nearest(attribute, names))

    return function


def run_file(path: Path, key: str) -> ModuleType:
    """The module of a Python file, which runs; `key` of the recipe names it. Raises `ModelError` for its faults."""
    if not path.is_file():
        raise ModelError("no such file", where=str(path), remedy=f"check {key}")

    module_name = f"edgeft_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = code  # dataclasses and pickling of workers look it up

    try:
        spec.loader.exec_module(code)
    except Exception as error:  # the user's code may raise anything; the cause stays attached
        del sys.modules[module_name]
        raise ModelError(f"it raised {type(error).__name__}: {error}", where=str(path)) from error

    return code


SOURCE = ModelSource(
    "python", "The module that a function of your own file returns.", build, own_weights=True, takes_state=True
)
