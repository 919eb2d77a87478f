"""Batches of a split: the task's own preprocessing in a `torch.utils.data.DataLoader`, reproducible by seed and epoch.

Order and augmentation depend on (seed, epoch, sample) only: not on the number of workers, on how often the loader was
used before, or on torch's global generator. So a resumed run sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler

from ..core.errors import InternalError
from ..core.progress import counted
from ..inputs.image import preprocess
from . import augment as augmentation

#: decoded and resized pixels of a split are kept in memory up to this many bytes; larger splits are read every epoch,
#: and so is every split that workers read (a worker's memory is gone when its epoch ends).
CACHE_BYTES = 256 * 2**20
#: positions of an epoch that are Python's numbers at a time
PART = 4096


class Samples(Protocol):
    """What is needed of a split: lazy raw samples and their targets int64 (N,)."""

    @property
    def targets(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def raw(self, i: int) -> np.ndarray: ...


class Epoch:
    """The number of the epoch, shared by the sampler and the collator (workers get a copy when an epoch starts)."""

    def __init__(self) -> None:
        self.number = 0


class Order(Sampler[int]):
    """Positions 0..n-1 in order, or in a permutation drawn from (seed, epoch)."""

    def __init__(self, n: int, shuffle: bool, seed: int, epoch: Epoch) -> None:
        self.n, self.shuffle, self.seed, self.epoch = n, shuffle, seed, epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(self.n))
        return self._drawn()

    def _drawn(self) -> Iterator[int]:
        """A permutation whose numbers become Python's a part at a time: each takes 40 bytes."""
        order = np.random.default_rng([self.seed, self.epoch.number]).permutation(self.n)
        for start in range(0, self.n, PART):
            yield from order[start : start + PART].tolist()

    def set_epoch(self, epoch: int) -> None:
        self.epoch.number = epoch


class Pixels(torch.utils.data.Dataset[tuple[int, np.ndarray, int]]):
    """(position, resized pixels uint8 (C, H, W), target) of a split, kept in memory where the whole split is small."""

    def __init__(self, split: Samples, spec: Mapping[str, Any], cache_bytes: int = CACHE_BYTES) -> None:
        self.split, self.input = split, spec["input"]
        # the task's own preprocessing up to, and without, the arithmetic on float numbers
        ones = [1.0] * spec["channels"]
        self.spec = dict(spec, mean=[0.0] * spec["channels"], std=ones, scale=1.0, layout="NCHW")
        height, width = spec["size"]
        shape = (len(split), spec["channels"], height, width)
        small = 0 < int(np.prod(shape)) <= cache_bytes
        self._kept = np.zeros(shape, np.uint8) if small else None
        self._have = np.zeros(len(split), bool)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> tuple[int, np.ndarray, int]:
        return i, self._pixels(i), int(self.split.targets[i])

    def _pixels(self, i: int) -> np.ndarray:
        if self._kept is None:
            return self._read(i)

        if not self._have[i]:
            self._kept[i] = self._read(i)
            self._have[i] = True

        sample: np.ndarray = self._kept[i]
        return sample

    def _read(self, i: int) -> np.ndarray:
        values = preprocess(self.split.raw(i), self.spec)[self.input][0]
        pixels: np.ndarray = values.astype(np.uint8)
        if not np.array_equal(pixels, values):
            raise InternalError("resized pixels are not whole numbers 0..255", where="tasks.image.preprocess")
        return pixels


class Collate:
    """Samples -> (inputs float32 (N, C, H, W) or (N, H, W, C), targets int64 (N,)).

    Augmentation is drawn from (seed, epoch, positions of the batch).
    """

    def __init__(self, spec: Mapping[str, Any], augment: str, seed: int, epoch: Epoch) -> None:
        self.spec, self.seed, self.epoch = dict(spec), seed, epoch
        self.level = augment
        self.augment = augmentation.make(augment, spec["channels"])

    def __call__(self, batch: list[tuple[int, np.ndarray, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        positions, pixels, targets = zip(*batch)
        x = torch.from_numpy(np.stack(pixels)).float()
        if self.augment is not None:
            x = augmentation.apply(self.augment, x / 255.0, self._draw(positions)) * 255.0

        # float32 in the order of tasks.image.preprocess: the result is bit-identical
        mean = torch.tensor(self.spec["mean"], dtype=torch.float32).view(-1, 1, 1)
        std = torch.tensor(self.spec["std"], dtype=torch.float32).view(-1, 1, 1)
        x = (x / torch.tensor(self.spec["scale"], dtype=torch.float32) - mean) / std
        if self.spec["layout"] == "NHWC":
            x = x.permute(0, 2, 3, 1).contiguous()

        return x, torch.tensor(targets, dtype=torch.int64)

    def _draw(self, positions: tuple[int, ...]) -> int:
        text = f"{self.seed} {self.epoch.number} {positions}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")


class Batches(DataLoader[Any]):
    """A `DataLoader` with `set_epoch(n)`, to be called before an epoch is read (as accelerate's loaders have it)."""

    def set_epoch(self, epoch: int) -> None:
        assert isinstance(self.sampler, Order)
        self.sampler.set_epoch(epoch)


@dataclass(frozen=True)
class Loading:
    """How a split is read. `augment` is none, light or strong; it and the order follow from `seed` and `epoch`."""

    batch_size: int
    augment: str = "none"
    seed: int = 0
    workers: int = 0
    shuffle: bool = False
    drop_last: bool = False
    epoch: Epoch = field(default_factory=Epoch)

    @property
    def cache_bytes(self) -> int:
        """Bytes that may stay in memory between epochs: what a worker holds is gone when its epoch ends."""
        return 0 if self.workers else CACHE_BYTES

    def order(self, count: int) -> Order:
        return Order(count, self.shuffle, self.seed, self.epoch)


@dataclass(frozen=True)
class Source:
    """In what the tasks' loaders differ: samples, how a batch is made of them, and their order (None: the usual one).

    `batch_size` None is the one asked for.
    """

    samples: torch.utils.data.Dataset[Any]
    collate: Callable[[list[Any]], Any]
    order: Order | None = None
    batch_size: int | None = None


def load(source: Source, loading: Loading) -> Batches:
    """The batches of a source."""
    return Batches(
        source.samples,
        batch_size=source.batch_size or loading.batch_size,
        sampler=source.order or loading.order(len(source.samples)),
        num_workers=loading.workers,
        collate_fn=source.collate,
        drop_last=loading.drop_last,
        generator=_own_generator(loading.seed),
    )


class Loader(Protocol):
    """`Learning.loader`: batches (inputs, targets) of a split, preprocessed by the manifest's `preprocess` table.

    Raises `RecipeError` for an unknown `augment`; reading raises what the split raises.
    """

    def __call__(
        self,
        split: Samples,
        spec: Mapping[str, Any],
        batch_size: int,
        augment: str = "none",
        seed: int = 0,
        workers: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
    ) -> Batches: ...


def loader_of(source: Callable[[Any, Mapping[str, Any], Loading], Source]) -> Loader:
    """The loader of a task whose batches `source(split, spec, loading)` describes."""

    def loader(
        split: Samples,
        spec: Mapping[str, Any],
        batch_size: int,
        augment: str = "none",
        seed: int = 0,
        workers: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
    ) -> Batches:
        loading = Loading(batch_size, augment, seed, workers, shuffle, drop_last)
        return load(source(split, spec, loading), loading)

    return loader


def source(split: Samples, spec: Mapping[str, Any], loading: Loading) -> Source:
    """Pictures: inputs float32 (N, C, H, W) or (N, H, W, C), targets int64 (N,)."""
    collate = Collate(spec, loading.augment, loading.seed, loading.epoch)
    return Source(Pixels(split, spec, loading.cache_bytes), collate)


loader = loader_of(source)


def predict(module: nn.Module, split: Samples, spec: Mapping[str, Any], batch_size: int = 64) -> np.ndarray:
    """The module's logits float32 (N, C) over `split` in order, in eval mode without gradients; its mode is restored.

    Runs where the module's parameters are. An empty split gives an array of shape (0, 0).
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()

    try:
        with torch.no_grad():
            samples = counted(_once(split, spec, batch_size))
            parts = [module(x.to(device)).float().cpu().numpy() for x, _ in samples]
    finally:
        for layer, training in modes.items():
            layer.training = training

    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _once(split: Samples, spec: Mapping[str, Any], batch_size: int) -> Batches:
    """A loader that is read once, so that nothing is kept."""
    loading = Loading(batch_size)
    collate = Collate(spec, loading.augment, loading.seed, loading.epoch)
    return load(Source(Pixels(split, spec, cache_bytes=0), collate), loading)


def _own_generator(seed: int) -> torch.Generator:
    """Every pass over a loader draws a number for its workers; it must not come from the caller's random numbers."""
    return torch.Generator().manual_seed(seed)
