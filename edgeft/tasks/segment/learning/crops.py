"""Crops of pictures that the model sees in windows: training draws them at the pictures' own scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ....inputs import image, mask


class Crops(torch.utils.data.Dataset[tuple[int, np.ndarray, np.ndarray]]):
    """(position, pixels uint8 (C, H, W), mask uint8 (H, W)) of a random region of `size` of a picture.

    `pictures` is a split of whole pictures, `loading` the `Loading` of `edgeft.learning.batches`.

    Position i is a region of picture i % N, drawn from (seed, epoch, i); there are `views` a picture. Outside of a
    smaller picture pixels repeat its border and the mask is void. Pictures are kept decoded where there is room.
    """

    def __init__(
        self,
        pictures: Any,
        sides: np.ndarray,
        spec: Mapping[str, Any],
        size: tuple[int, int],
        views: int,
        loading: Any,
    ) -> None:
        self.pictures, self.sides, self.size, self.views = pictures, sides, size, views
        self.channels, self.seed, self.epoch = int(spec["channels"]), loading.seed, loading.epoch
        self.room = loading.cache_bytes
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.views * len(self.pictures)

    def __getitem__(self, position: int) -> tuple[int, np.ndarray, np.ndarray]:
        raw, truth = self._picture(position % len(self.pictures))
        drawn = np.random.default_rng([self.seed, self.epoch.number, position])
        top, left = (
            int(drawn.integers(0, max(1, length - side + 1))) for length, side in zip(raw.shape[:2], self.size)
        )
        rows, columns = np.arange(top, top + self.size[0]), np.arange(left, left + self.size[1])
        at = np.minimum(rows, raw.shape[0] - 1)[:, None], np.minimum(columns, raw.shape[1] - 1)
        outside = (rows >= raw.shape[0])[:, None] | (columns >= raw.shape[1])
        pixels = image._channels(raw[at], self.channels).reshape(*self.size, self.channels).transpose(2, 0, 1)

        return position, np.ascontiguousarray(pixels), np.where(outside, np.uint8(mask.VOID), truth[at])

    def _picture(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        if i in self.kept:
            return self.kept[i]

        raw, truth = np.asarray(self.pictures.raw(i)), np.asarray(self.pictures.targets[i])
        if truth.shape != raw.shape[:2]:
            truth = mask.nearest(truth, (raw.shape[0], raw.shape[1]))
        if raw.nbytes + truth.nbytes <= self.room:
            self.room -= raw.nbytes + truth.nbytes
            self.kept[i] = raw, truth

        return raw, truth


def of(
    pictures: Any,
    sides: np.ndarray,
    spec: Mapping[str, Any],
    crop: tuple[int, int],
    zoom: float,
    loading: Any,
) -> Crops:
    """Regions that hold a `crop` at its least `zoom`, as many in an epoch as crops cover the pictures."""
    region = (math.ceil(crop[0] / min(1.0, zoom)), math.ceil(crop[1] / min(1.0, zoom)))
    views = max(1, round(float(sides.prod(axis=1).mean()) / (crop[0] * crop[1])))
    return Crops(pictures, sides, spec, region, views, loading)
