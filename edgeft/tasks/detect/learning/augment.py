"""Augmentation of pictures with boxes, drawn from a seed: moved, scaled, mirrored, joined four to one, other colours.

none | light (scaled, moved, other colours) | strong (also mirrored, and half of the pictures are mosaics of four,
Bochkovskiy et al. 2020). Pictures and boxes go through one and the same affine map; colours are kornia's.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ....core.errors import RecipeError, nearest, need

LEVELS = ("none", "light", "strong")
#: a box that is cut stays if this share of it is still seen, and this many pixels a side
SEEN, SIDE = 0.3, 3.0
ZOOM, MOSAIC_ZOOM, MOSAICS = (0.75, 1.35), (0.5, 1.0), 0.5
Boxes = list[np.ndarray]


class Augment:
    """Of a batch of pictures (N, C, H, W) in 0..1 and their boxes (M, 5) class, x1, y1, x2, y2: both, changed."""

    def __init__(self, level: str, channels: int, fill: float) -> None:
        if level not in LEVELS:
            raise RecipeError(f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, LEVELS))

        self.level, self.fill = level, fill
        self.colour = None

        if level != "none":
            kornia = need("kornia.augmentation", "tune")
            bright = (0.7, 1.3)
            self.colour = (
                kornia.ColorJitter(0.3, 0.3, 0.4, 0.02, p=0.8)
                if channels == 3
                else kornia.AugmentationSequential(
                    kornia.RandomBrightness(bright, p=0.8), kornia.RandomContrast(bright, p=0.8), data_keys=["input"]
                )
            )

    def __call__(self, x: torch.Tensor, boxes: Boxes, seed: int) -> tuple[torch.Tensor, Boxes]:
        """Torch's global generator is left as it was."""
        if self.level == "none":
            return x, boxes

        rng = np.random.default_rng(seed)
        pictures, moved = self._moved(x, boxes, rng)
        if self.level == "strong" and len(x) > 1:
            joined, theirs = self._mosaic(x, boxes, rng)
            picked = rng.random(len(x)) < MOSAICS
            pictures = torch.where(torch.from_numpy(picked)[:, None, None, None], joined, pictures)
            moved = [b if p else a for a, b, p in zip(moved, theirs, picked)]

        assert self.colour is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.colour(pictures).clamp(0, 1), moved

    def _moved(self, x: torch.Tensor, boxes: Boxes, rng: np.random.Generator) -> tuple[torch.Tensor, Boxes]:
        """Each picture scaled and moved; parts of it may leave, and plain border comes in."""
        n, (h, w) = len(x), x.shape[2:]
        zoom = np.exp(rng.uniform(float(np.log(ZOOM[0])), float(np.log(ZOOM[1])), n))
        flip = rng.random(n) < (0.5 if self.level == "strong" else 0.0)
        low = np.minimum(0, np.array([w, h]) * (1 - zoom[:, None]))
        high = np.maximum(0, np.array([w, h]) * (1 - zoom[:, None]))
        shift = low + rng.random((n, 2)) * (high - low)
        scale = np.stack([np.where(flip, -zoom, zoom), zoom], axis=1)
        shift[:, 0] += np.where(flip, w * zoom, 0)
        window = np.broadcast_to(np.array([0, 0, w, h], np.float64), (n, 4))

        return _warp(x, scale, shift, self.fill), [_map(*v) for v in zip(boxes, scale, shift, window)]

    def _mosaic(self, x: torch.Tensor, boxes: Boxes, rng: np.random.Generator) -> tuple[torch.Tensor, Boxes]:
        """Four pictures of the batch around a point; each is seen through its own window, which it fills."""
        n, (h, w) = len(x), x.shape[2:]
        point = np.stack([rng.uniform(0.3, 0.7, n) * w, rng.uniform(0.3, 0.7, n) * h], axis=1).round()
        canvas = torch.full_like(x, self.fill)
        boxes_of: list[list[np.ndarray]] = [[] for _ in range(n)]
        rows, columns = torch.arange(h)[:, None], torch.arange(w)[None]

        for right, under in ((0, 0), (1, 0), (0, 1), (1, 1)):
            source = np.arange(n) if not (right or under) else rng.permutation(n)
            first = np.stack([point[:, 0] * right, point[:, 1] * under], axis=1)
            last = np.stack([np.where(right, w, point[:, 0]), np.where(under, h, point[:, 1])], axis=1)
            least = ((last - first) / np.array([w, h])).max(axis=1)
            zoom = np.maximum(rng.uniform(*MOSAIC_ZOOM, n), least)
            room = np.array([w, h]) * zoom[:, None] - (last - first)
            shift = first - rng.random((n, 2)) * np.maximum(room, 0)
            flip = rng.random(n) < 0.5
            scale = np.stack([np.where(flip, -zoom, zoom), zoom], axis=1)
            shift[:, 0] += np.where(flip, w * zoom, 0)
            warped = _warp(x[torch.from_numpy(source)], scale, shift, self.fill)
            low, high = torch.from_numpy(first), torch.from_numpy(last)
            inside = (columns >= low[:, 0, None, None]) & (columns < high[:, 0, None, None])
            inside = inside & (rows >= low[:, 1, None, None]) & (rows < high[:, 1, None, None])
            canvas = torch.where(inside[:, None], warped, canvas)
            for i in range(n):
                window = np.concatenate([first[i], last[i]])
                boxes_of[i].append(_map(boxes[source[i]], scale[i], shift[i], window))

        return canvas, [np.concatenate(parts) for parts in boxes_of]


def _warp(x: torch.Tensor, scale: np.ndarray, shift: np.ndarray, fill: float) -> torch.Tensor:
    """Pictures whose pixel (x, y) goes to scale * (x, y) + shift; what comes in from outside is `fill`."""
    h, w = x.shape[2:]
    size = np.array([w, h], np.float64)
    # grid_sample asks where a pixel comes from, in -1..1 from edge to edge
    back = 1 / scale
    offset = 2 * (-shift * back) / size + back - 1
    theta = np.zeros((len(x), 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = back[:, 0], back[:, 1], offset
    grid = F.affine_grid(torch.from_numpy(theta), list(x.shape), align_corners=False)

    return F.grid_sample(x - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill


def _map(boxes: np.ndarray, scale: np.ndarray, shift: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Boxes after the same map, cut off at the window; those of which too little is seen are gone."""
    if not len(boxes):
        return boxes

    points = boxes[:, 1:].reshape(-1, 2, 2) * scale + shift
    low, high = points.min(axis=1), points.max(axis=1)
    area = (high - low).prod(axis=1)
    low, high = np.clip(low, window[:2], window[2:]), np.clip(high, window[:2], window[2:])
    sides = high - low
    keep = (sides.prod(axis=1) >= SEEN * area) & (sides >= SIDE).all(axis=1)
    mapped = np.concatenate([boxes[:, :1], low, high], axis=1).astype(np.float32)

    return np.asarray(mapped[keep])
