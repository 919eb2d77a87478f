"""The output of a module that a task takes: chosen by its name, counted, and a plain tensor in training too."""

from __future__ import annotations

import collections
import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError, RecipeError, nearest


def named(outputs: Any) -> dict[str, torch.Tensor]:
    """The tensors that a forward returned, by key, field or position; one tensor is called "output"."""
    if isinstance(outputs, torch.Tensor):
        return {"output": outputs}

    if isinstance(outputs, Mapping):
        items = [(str(key), value) for key, value in outputs.items()]
    elif dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        items = [(field.name, getattr(outputs, field.name)) for field in dataclasses.fields(outputs)]
    elif isinstance(outputs, (list, tuple)):
        items = list(zip(getattr(outputs, "_fields", map(str, range(len(outputs)))), outputs))
    else:
        return {}

    tensors: dict[str, torch.Tensor] = {}
    for name, value in items:
        inner = named(value)
        tensors.update(
            {name: value} if isinstance(value, torch.Tensor) else {f"{name}.{k}": v for k, v in inner.items()}
        )

    return tensors


@dataclasses.dataclass(frozen=True)
class OneOutput:
    """A forward hook: of several outputs the one called `name`, and where there is none (in training) the first."""

    name: str

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> torch.Tensor:
        values = named(outputs)
        return values[self.name] if self.name in values else next(iter(values.values()))


def select(
    module: nn.Module, example: Sequence[torch.Tensor], name: str, size: int
) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with one tensor as its output, which is that called `name` (`model.output`), and notes for the user.

    `size` is the number of outputs that the task needs, (samples, size, ...). The module itself is left as it was: what
    is handed back shares its layers. Raises `RecipeError` for several outputs of which none is named, and for an
    unknown name, `ModelError` for an output of another size.
    """
    values = named(raw := _forward(module, example))
    alone = isinstance(raw, torch.Tensor)
    if not values:
        raise ModelError(f"the model returns a {type(raw).__name__} without a tensor", where=type(module).__name__)
    if name and name not in values:
        raise RecipeError(f"the model has no output {name!r}", where="model.output", remedy=nearest(name, values))

    if not name and len(values) > 1:
        fitting = [key for key, value in values.items() if value.dim() > 1 and value.shape[1] == size]
        listed = ", ".join(f"{key} {tuple(value.shape)}" for key, value in values.items())
        raise RecipeError(
            f"the model has {len(values)} outputs and the task takes one: {listed}",
            where="model.output",
            remedy=f'name it: model.output = "{(fitting or list(values))[0]}"',
        )

    chosen = name or next(iter(values))
    _check_size(values[chosen], len(example[0]), size, type(module).__name__)
    training = named(_in_training(module, example))
    if alone and len(training) < 2:
        return module, ()

    trained = chosen if chosen in training else next(iter(training), chosen)
    notes = (f"in training the model has the outputs {', '.join(training)}: {trained} is trained",) if alone else ()
    return _with_hook(module, OneOutput(chosen)), notes


def _check_size(value: torch.Tensor, rows: int, size: int, where: str) -> None:
    if value.dim() > 1 and tuple(value.shape[:2]) == (rows, size):
        return

    raise ModelError(
        f"the model's output has the shape {tuple(value.shape)} for {rows} samples, and the task needs "
        f"({rows}, {size}{', ...' if value.dim() > 2 else ''})",
        where=where,
        remedy=f"give the last layer {size} outputs: a function of your own gets the number as its argument n_classes",
    )


def check_finite(module: nn.Module) -> None:
    """Raise `ModelError` for a weight that is NaN or infinite, before it spoils everything that is computed."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                "this weight holds values that are not finite (NaN or infinite)",
                where=name,
                remedy="look at the checkpoint or the code that it comes from",
            )


def _forward(module: nn.Module, example: Sequence[torch.Tensor]) -> Any:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return module(*example)


def _in_training(module: nn.Module, example: Sequence[torch.Tensor]) -> Any:
    """What the module returns in training; None where it cannot take the example then. Statistics stay as they were."""
    saved = {name: buffer.clone() for name, buffer in module.named_buffers()}
    modes = {layer: layer.training for layer in module.modules()}
    try:
        return _forward(module.train(), example)
    except (RuntimeError, ValueError):  # one value a channel, say
        return None
    finally:
        for layer, training in modes.items():
            layer.training = training
        for name, buffer in module.named_buffers():
            buffer.data = saved[name]


def _with_hook(module: nn.Module, hook: OneOutput) -> nn.Module:
    twin = copy.copy(module)
    twin._forward_hooks = collections.OrderedDict(module._forward_hooks)
    twin.register_forward_hook(hook)
    return twin
