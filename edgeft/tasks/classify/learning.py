"""Learning to classify: the head, cross-entropy, distillation (Hinton et al. 2015). Batches come from `batches.py`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import DataError, ModelError
from ...learning import Learning, balance
from ...learning.batches import loader, predict


def outputs(dataset: Any) -> int:
    """One logit a class; raises `DataError` for fewer than two."""
    if len(dataset.labels) < 2:
        raise DataError(f"a classifier needs two or more classes, not {len(dataset.labels)}", where=dataset.name)
    return len(dataset.labels)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """`channels` where pictures are not taken as colour: builtin networks and timm build their first layer for it."""
    return {} if data.channels == 3 else {"channels": data.channels}


def replace_head(module: nn.Module, head: str, n_classes: int) -> None:
    """Give `module` a freshly initialized classifier with `n_classes` outputs in the place of the layer `head`.

    Linear layers and convolutions keep their inputs, kernel and bias. Raises `ModelError` for any other layer.
    """
    try:
        old = module.get_submodule(head)
    except AttributeError as error:
        raise ModelError(f"has no layer {head!r}", where=type(module).__name__) from error

    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, n_classes, old.bias is not None, old.weight.device, old.weight.dtype)
    elif isinstance(old, nn.Conv2d) and old.kernel_size == (1, 1):
        new = nn.Conv2d(old.in_channels, n_classes, 1, bias=old.bias is not None).to(old.weight)
    else:
        raise ModelError(
            f"the classifier {head!r} is a {type(old).__name__}, expected a linear layer or a 1x1 convolution",
            where=type(module).__name__,
        )

    parent, _, leaf = head.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new.train(old.training))


set_head = replace_head


def loss(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cross-entropy of logits (N, C) and class numbers (N,); `smoothing` (0..1) is spread over all classes.

    `weights` (C,) multiply what a sample of each class adds; the sum is divided by the number of samples, so that a
    batch without a rare class is no louder for it.
    """
    if weights is None:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)

    losses = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return (losses * weights.to(losses)[targets]).mean()


class_weights = balance.of_dataset


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 4.0,
    weight: float = 1.0,
) -> torch.Tensor:
    """`weight` * KL(teacher || student) at `temperature`, times temperature squared, plus (1 - weight) * cross-entropy.

    Logits are (N, C); the mean is over the batch. `targets` (N,) are used only where `weight` is below 1.
    """
    soft = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher.detach() / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    soft = soft * temperature**2

    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    one_output=True,
    class_weights=class_weights,
)
