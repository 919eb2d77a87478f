"""Learning to detect: batches of letterboxed pictures with their boxes, the loss, imitation of a teacher.

A batch's targets are float32 (N, M, 7): class, x1, y1, x2, y2, and the width and height of the network's input, all in
pixels; class -1 fills up. Boxes of crowds are left out of the loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ....core.errors import DataError
from ....inputs import letterbox
from ....learning import Learning, balance, batches, tensors
from ...classify.learning import replace_head
from .. import decoding as detect
from . import set_loss as sets
from .augment import Augment
from .box_loss import Said, detection_loss, imitation_loss

set_head = replace_head
Sample = tuple[int, np.ndarray, np.ndarray]


def outputs(dataset: Any) -> int:
    """One class logit a class and cell; raises `DataError` where the training samples have no box at all."""
    if not sum(len(t["classes"]) for t in dataset.split("train").targets):
        raise DataError("no training picture has a box", where=dataset.name)
    return len(dataset.labels)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """`channels` where pictures are not taken as colour."""
    return {} if data.channels == 3 else {"channels": data.channels}


def loss(
    outputs: Said, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """See `detection_loss` and, for the outputs of a set, `set_loss`; `smoothing` has no meaning here."""
    if sets.is_set(outputs):
        return sets.set_loss(outputs, in_shares(targets), weights)
    return detection_loss(outputs, targets[..., :5], weights)


def in_shares(targets: torch.Tensor) -> torch.Tensor:
    """A batch's targets as a set's loss takes them, (N, M, 5): class, x1, y1, x2, y2 as shares of the input's sides."""
    return torch.cat([targets[..., :1], targets[..., 1:5] / targets[..., 5:7].clamp(min=1).repeat(1, 1, 2)], dim=-1)


def class_weights(dataset: Any, kind: str) -> torch.Tensor | None:
    """Weights (C,) by how many boxes of the training pictures each class has, crowds left out; None for "none"."""
    if kind == "none":
        return None

    counts = np.zeros(len(dataset.labels), np.int64)
    for target in dataset.split("train").targets:
        single = ~np.asarray(target["crowd"], bool)
        counts += np.bincount(np.asarray(target["classes"], np.int64)[single], minlength=len(counts))

    # a class without a training box is trained too: it is absent everywhere
    return torch.where(torch.from_numpy(counts) > 0, balance.balanced(counts, kind), 1.0)


def distill(
    student: Said,
    teacher: Said,
    targets: torch.Tensor | None = None,
    temperature: float = 4.0,
    weight: float = 1.0,
) -> torch.Tensor:
    """The distance to the teacher's raw outputs, mixed with the loss of the boxes where `weight` is below 1."""
    soft = sets.set_imitation(student, teacher) if sets.is_set(student) else imitation_loss(student, teacher)
    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


class Pictures(torch.utils.data.Dataset[Sample]):
    """(position, letterboxed pixels uint8 (H, W, C), boxes (M, 5)), pixels kept where the whole split is small."""

    def __init__(self, split: batches.Samples, spec: Mapping[str, Any], room: int) -> None:
        self.split, self.spec, self.room = split, dict(spec), room
        self.size = letterbox.check(spec)[0].size
        self.kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> Sample:
        pixels = self.kept.get(i)
        if pixels is None:
            pixels = letterbox.fitted(self.split.raw(i), self.spec)
            if pixels.nbytes <= self.room:
                self.room -= pixels.nbytes
                self.kept[i] = pixels

        return i, pixels, in_input(self.split.targets[i], self.size)


def in_input(target: Mapping[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """A sample's boxes as the loss takes them, (M, 5) float32, without crowds."""
    boxes = letterbox.to_input(target["boxes"], target["size"], size)
    rows = np.concatenate([np.asarray(target["classes"], np.float32)[:, None], boxes], axis=1)
    return np.asarray(rows[~np.asarray(target["crowd"], bool)])


class Collate:
    """Samples -> (inputs (N, C, H, W), targets (N, M, 7)); augmentation is drawn from (seed, epoch, positions)."""

    def __init__(self, spec: Mapping[str, Any], augment: str, seed: int, epoch: batches.Epoch) -> None:
        self.wanted, fill = letterbox.check(spec)
        self.seed, self.epoch = seed, epoch
        self.augment = Augment(augment, self.wanted.channels, fill / 255.0)

    def __call__(self, batch: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
        positions, pixels, rows = zip(*batch)
        stacked, boxes = np.stack(pixels), list(rows)
        if self.augment.level == "none":
            x = torch.from_numpy(letterbox.normalized(stacked, self.wanted))
        else:
            text = f"{self.seed} {self.epoch.number} {positions}"
            drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
            shown = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255.0
            shown, boxes = self.augment(shown, boxes, drawn)
            mean, std = (torch.from_numpy(v).view(-1, 1, 1) for v in (self.wanted.mean, self.wanted.std))
            x = (shown * (255.0 / self.wanted.scale) - mean) / std
            x = x if self.wanted.layout == "NCHW" else x.permute(0, 2, 3, 1).contiguous()

        return x, padded(boxes, self.wanted.size)


def padded(boxes: list[np.ndarray], size: tuple[int, int]) -> torch.Tensor:
    """Boxes (M_i, 5) of each sample as float32 (N, max M_i, 7), filled up with class -1; `size` is the input's."""
    batch = np.full((len(boxes), max(1, *(len(b) for b in boxes)), 7), -1, np.float32)
    for row, boxes_of_sample in zip(batch, boxes):
        row[: len(boxes_of_sample), :5] = boxes_of_sample
    batch[..., 5:] = size[1], size[0]
    return torch.from_numpy(batch)


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches (pictures, boxes) of `split`."""
    collate = Collate(spec, loading.augment, loading.seed, loading.epoch)
    return batches.Source(Pictures(split, spec, loading.cache_bytes), collate)


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Raw outputs by level over `split` in order, {output_i: (N, ...)}."""
    return tensors.predict(detect.preprocess, module, split, spec, batch_size)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    class_weights=class_weights,
)
