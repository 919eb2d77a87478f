"""The record of a task's learning half, in torch: the head, the loss, batches, predictions, parameter groups."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.records import require_functions, require_together
from .batches import Loader, Samples
from .groups import groups as parameter_groups
from .parts import Part

#: inputs of a model, in the order of its forward
Inputs = tuple[torch.Tensor, ...]
Spec = Mapping[str, Any]
Outputs = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What training needs of a task. Its module names the instance `LEARNING` (`edgeft.tasks.record.Task`).

    A batch is (inputs, targets): inputs are a tensor, or a tuple of tensors in the order of the model's inputs; the
    targets have the form that `loss` takes. The outputs of a model are a tensor or a tuple of tensors. `spec` is the
    manifest's `preprocess` table.

    Raises `InvalidInput` where a field is no function, or where one of two fields that belong together is absent.
    """

    #: dataset -> the number of outputs of the model's head; raises `DataError` for data that cannot be trained on
    outputs: Callable[[Any], int]
    #: (the recipe's [data], dataset) -> keyword arguments of the model's constructor that follow from the data
    model_args: Callable[[Any, Any], dict[str, Any]]
    #: (module, name of the head, number of outputs): replaces the head by a new one; raises `ModelError`
    set_head: Callable[[nn.Module, str, int], None]
    #: (outputs, targets, smoothing=0.0) -> scalar, the mean over the batch; with `class_weights` it also takes
    #: `weights`, a tensor (classes,) or None
    loss: Callable[..., torch.Tensor]
    #: (student's outputs, teacher's outputs, targets=None, temperature, weight) -> scalar; `weight` is the share of the
    #: teacher, the rest is `loss`
    distill: Callable[..., torch.Tensor]
    #: batches of a split (`edgeft.learning.batches.loader_of` makes one from a source of samples)
    loader: Loader
    #: (module, split, spec, batch size=64) -> outputs in the order of the split, (N, ...),
    #: or {name: (N, ...)} of a model with several
    predict: Callable[..., Outputs]
    #: (module, head, lr, head_lr=0, weight_decay=0, layer_decay=1) -> optimizer groups of the trainable parameters
    groups: Callable[..., list[dict[str, Any]]] = parameter_groups

    #: the model has one output, (samples, `outputs`, ...): it is chosen by `model.output` and its size is checked
    one_output: bool = False
    #: (module, dataset, say): sets what is computed from the training data before the first step, in a module that
    #: begins at random; raises `DataError`. None = nothing is
    initialize: Callable[[nn.Module, Any, Callable[[str], None]], None] | None = None
    #: dataset -> {name: the metric on the test split} of simple methods that the model is compared with
    baselines: Callable[[Any], dict[str, float]] | None = None
    #: (dataset, kind of `train.class_weights`) -> float32 (classes,), or None for "none"; None = targets are no classes
    class_weights: Callable[[Any, str], torch.Tensor | None] | None = None
    #: (split, spec, batch size) -> batches of inputs for calibration; None = those that preprocessing
    #: makes, in the split's order
    calibration: Callable[[Samples, Spec, int], Iterator[Inputs]] | None = None
    #: inputs -> the same without what is padding in every sample; None = inputs have no padding
    trim: Callable[[Inputs], Inputs] | None = None
    #: (module, spec) -> {name of a submodule: `Part`} of a model that is exported as several graphs;
    #: the module's forward joins them. None = one graph
    parts: Callable[[nn.Module, Spec], dict[str, Part]] | None = None
    #: (module, split, spec) -> {part: {input: (rows, ...)}}: inputs of each part while the module computes a split
    record: Callable[[nn.Module, Samples, Spec], dict[str, dict[str, np.ndarray]]] | None = None

    def __post_init__(self) -> None:
        require_functions(self, "Learning")
        require_together(self, ("parts", "record"), "Learning")

    def weighted_loss(self, dataset: Any, kind: str) -> Callable[[Any, Any], torch.Tensor]:
        """`loss` with the classes of `dataset` weighted by `train.class_weights = kind`, for a record with
        `class_weights`. Raises `RecipeError` where the data's targets are no classes."""
        assert self.class_weights is not None
        return functools.partial(self.loss, weights=self.class_weights(dataset, kind))
