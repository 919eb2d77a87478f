"""Learning to segment: cross-entropy and Dice of the pixels that are not void, distillation of every cell of the grid.

A batch's targets are masks uint8 (N, H, W); logits are enlarged to them. Nets are fully convolutional: training sees
crops of at most `CROP` pixels a side, as many in an epoch as cover the pictures, and everything else whole pictures.
Pictures and masks are augmented together, drawn from (seed, epoch, sample) as in `batches.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ....core.errors import DataError, RecipeError, nearest, need
from ....data.windowed import pictures_of
from ....inputs import mask, windows
from ....learning import Learning, balance, batches, tensors
from ...classify.learning import replace_head
from .. import decoding as segment
from . import crops

set_head = replace_head
#: the longest side of the crops that training sees
CROP = 256
#: pixels of all pictures of a batch that is evaluated
PREDICTED_PIXELS = 2**20
#: by level: least and largest zoom, chance of a mirrored picture, of other colours, how far these go
LEVELS: dict[str, tuple[float, float, float, float, float]] = {
    "none": (1.0, 1.0, 0.0, 0.0, 0.0),
    "light": (0.9, 1.25, 0.5, 0.5, 0.1),
    "strong": (0.75, 2.0, 0.5, 0.8, 0.3),
}


def outputs(dataset: Any) -> int:
    """One logit a class and cell; raises `DataError` for fewer than two classes."""
    if len(dataset.labels) < 2:
        raise DataError(f"there must be two or more classes, not {len(dataset.labels)}", where=dataset.name)
    return len(dataset.labels)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """`channels` where pictures are not taken as colour."""
    return {} if data.channels == 3 else {"channels": data.channels}


def loss(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """`cross_entropy` plus `dice` of logits (N, C, h, w), enlarged to masks (N, H, W)."""
    size = tuple(targets.shape[-2:])
    if tuple(logits.shape[-2:]) != size:
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    return cross_entropy(logits, targets, smoothing, weights) + dice(logits, targets)


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean over the pixels that are not void of logits (N, C, H, W) and masks (N, H, W).

    `weights` (C,) multiply what a pixel of each class adds.
    """
    numbers = targets.long()
    by_class = None if weights is None else weights.to(logits)
    total = F.cross_entropy(
        logits, numbers, by_class, ignore_index=mask.VOID, reduction="sum", label_smoothing=smoothing
    )
    return total / (numbers != mask.VOID).sum().clamp(min=1)


def dice(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 - Dice of the shares (softmax) of logits (N, C, H, W), the mean over the classes of the batch's masks.

    Every class counts alike, however few pixels it has (Milletari et al., "V-Net", 2016; the form with a mean over
    classes is that of Sudre et al. 2017 without their weights). Void pixels count for nothing.
    """
    numbers = targets.long()
    valid = numbers != mask.VOID
    shares = torch.softmax(logits, dim=1) * valid[:, None]
    truth = F.one_hot(numbers * valid, logits.shape[1]).movedim(-1, 1) * valid[:, None]
    axes = (0, 2, 3)
    common, pixels = (shares * truth).sum(axes), truth.sum(axes)
    by_class = 1 - 2 * common / (shares.sum(axes) + pixels).clamp(min=1)
    present = pixels > 0

    return (by_class * present).sum() / present.sum().clamp(min=1)


def class_weights(dataset: Any, kind: str) -> torch.Tensor | None:
    """Weights (C,) by how many pixels of the training masks each class has, void left out; None for "none"."""
    if kind == "none":
        return None

    counts = np.zeros(256, np.int64)
    for target in dataset.split("train").targets:
        counts += np.bincount(np.asarray(target).ravel(), minlength=256)

    return balance.balanced(counts[: len(dataset.labels)], kind)


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 2.0,
    weight: float = 0.7,
) -> torch.Tensor:
    """`weight` * KL(teacher || student) of each cell at `temperature`, times temperature squared, plus
    (1 - weight) * cross-entropy (Hinton et al. 2015, per pixel as Liu et al. 2019). The mean is over cells.

    Void counts here: the teacher has an opinion of it, and the student shall have the same.
    """
    soft = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher.detach() / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )
    soft = soft * temperature**2 / (student.numel() / student.shape[1])

    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


class Pairs(torch.utils.data.Dataset[tuple[int, np.ndarray, np.ndarray]]):
    """(position, pixels uint8 (C, H, W), mask uint8 (H, W)) at the network's size, kept where the split is small.

    There are `views` positions of each sample: position i is sample i % N.
    """

    def __init__(self, split: batches.Samples, spec: Mapping[str, Any], cache_bytes: int, views: int = 1) -> None:
        self.pixels = batches.Pixels(split, spec, cache_bytes=0)
        self.split, self.size, self.room = split, (int(spec["size"][0]), int(spec["size"][1])), cache_bytes
        self.views = views
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.views * len(self.split)

    def __getitem__(self, position: int) -> tuple[int, np.ndarray, np.ndarray]:
        i = position % len(self.split)
        if i in self.kept:
            return position, *self.kept[i]

        pixels = self.pixels._pixels(i)
        classes = mask.nearest(np.asarray(self.split.targets[i]), self.size)
        if pixels.nbytes + classes.nbytes <= self.room:
            self.room -= pixels.nbytes + classes.nbytes
            self.kept[i] = pixels, classes

        return position, pixels, classes


class Collate:
    """Samples -> (inputs float32, masks uint8 (N, H, W)), both seen through the same random view."""

    def __init__(self, spec: Mapping[str, Any], level: str, seed: int, epoch: batches.Epoch) -> None:
        self.spec, self.seed, self.epoch = dict(spec), seed, epoch
        self.view = view(level, int(spec["channels"]), cropped(spec["size"]))

    def __call__(self, batch: list[tuple[int, np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
        positions, pixels, masks = zip(*batch)
        x, targets = torch.from_numpy(np.stack(pixels)).float(), torch.from_numpy(np.stack(masks))
        if self.view is not None:
            text = f"{self.seed} {self.epoch.number} {positions}"
            drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(drawn)
                x, targets = self.view(x, targets)

        mean = torch.tensor(self.spec["mean"], dtype=torch.float32).view(-1, 1, 1)
        std = torch.tensor(self.spec["std"], dtype=torch.float32).view(-1, 1, 1)
        x = (x / torch.tensor(self.spec["scale"], dtype=torch.float32) - mean) / std
        return (x.permute(0, 2, 3, 1).contiguous() if self.spec["layout"] == "NHWC" else x), targets


View = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def cropped(size: Sequence[int]) -> tuple[int, int]:
    """Height and width of the crops that training sees of pictures of `size`."""
    height, width = (min(int(side), CROP) for side in size)
    return height, width


def view(level: str, channels: int, crop: tuple[int, int]) -> View | None:
    """A function of pixels float32 (N, C, H, W) 0..255 and masks uint8 (N, H, W): a zoomed crop, mirrored, recoloured.

    The crop lies in the picture where it can; what comes in from outside is void. Draws from torch's global generator;
    None for "none". Raises `RecipeError` for an unknown level and `Missing` without kornia.
    """
    if level not in LEVELS:
        raise RecipeError(f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, LEVELS))
    if level == "none":
        return None

    kornia = need("kornia.augmentation", "tune")
    least, most, mirrored, recoloured, far = LEVELS[level]
    colour = (
        kornia.ColorJiggle(far, far, far, far / 10, p=recoloured)
        if channels == 3
        else kornia.RandomBrightness((1 - far, 1 + far), p=recoloured)
    )

    def apply(x: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        grid = _window(tuple(x.shape), crop, (least, most), mirrored)
        pictures = F.grid_sample(x / 255, grid, mode="bilinear", align_corners=False)
        # 0 is what fills the outside: numbers go up by one, so that it means void
        up = (masks.to(torch.int16) + 1) % (mask.VOID + 1)
        moved = F.grid_sample(up[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0]
        down = (moved.round().to(torch.int16) + mask.VOID) % (mask.VOID + 1)

        return colour(pictures).clamp(0, 1) * 255, down.to(torch.uint8)

    return apply


def _window(shape: tuple[int, ...], crop: tuple[int, int], zoom: tuple[float, float], mirrored: float) -> torch.Tensor:
    """Sampling grid (N, height, width, 2) of a random window a picture, which is `crop` divided by a random zoom."""
    count, (height, width) = shape[0], shape[2:]
    factor = torch.exp(torch.empty(count).uniform_(math.log(zoom[0]), math.log(zoom[1])))
    flip = 1 - 2 * (torch.rand(count) < mirrored).float()
    theta = torch.zeros(count, 2, 3)

    for axis, (inner, outer) in enumerate(((crop[1], width), (crop[0], height))):
        share = inner / outer / factor
        theta[:, axis, axis] = share * (flip if axis == 0 else 1)
        theta[:, axis, 2] = (2 * torch.rand(count) - 1) * (1 - share).abs()

    return F.affine_grid(theta, [count, shape[1], *crop], align_corners=False)


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches (inputs, masks uint8 (N, H, W)): crops under augmentation, else whole pictures, or windows of them."""
    if spec["kind"] == windows.KIND:
        spec = windows.whole(spec)
        pictures = pictures_of(split)
        if pictures is not None and loading.augment != "none":
            collate = Collate(spec, loading.augment, loading.seed, loading.epoch)
            regions = crops.of(*pictures, spec, cropped(spec["size"]), LEVELS[loading.augment][0], loading)
            return batches.Source(regions, collate, loading.order(len(regions)))

    height, width = spec["size"]
    high, wide = cropped(spec["size"])
    views = max(1, height * width // (high * wide)) if loading.augment != "none" else 1
    collate = Collate(spec, loading.augment, loading.seed, loading.epoch)

    return batches.Source(Pairs(split, spec, loading.cache_bytes, views), collate, loading.order(views * len(split)))


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, C, h, w) over `split` in order, on the graph's own grid."""
    height, width = spec["size"]
    fitting = max(1, min(batch_size, PREDICTED_PIXELS // (int(height) * int(width))))
    return tensors.predict(segment.preprocess, module, split, spec, fitting)


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
