"""Batches of samples that a task turns into tensors as they are: rows of numbers, spectra, token ids, id pairs.

As in `batches.py`, order and augmentation depend on (seed, epoch, sample) only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ..core.progress import counted
from .batches import Epoch, Loading, Order, Samples, Source, load

Preprocess = Callable[[Any, Mapping[str, Any]], dict[str, np.ndarray]]
Inputs = tuple[torch.Tensor, ...]
#: targets of a batch, as the split has them -> a tensor, or several
Targets = Callable[[Sequence[Any]], Any]
Augment = Callable[[Inputs, np.random.Generator], Inputs]
#: a raw sample -> another one of the same form, before its features are made
AugmentRaw = Callable[[Any, np.random.Generator], Any]
#: a batch -> the same without what no sample of it uses (padding)
Cut = Callable[[Inputs], Inputs]


class Feeds(torch.utils.data.Dataset[tuple[int, tuple[np.ndarray, ...], Any]]):
    """(position, feeds in the model's order without their batch axis, target), kept where the whole split is small."""

    def __init__(
        self,
        preprocess: Preprocess,
        split: Samples,
        spec: Mapping[str, Any],
        cache_bytes: int,
        augment: Callable[[int, Any], Any] | None = None,
    ) -> None:
        self.preprocess, self.split, self.spec = preprocess, split, dict(spec)
        self.augment = augment  # (position, raw) -> raw: features are then made anew in each epoch, and raws are kept
        self.room = cache_bytes
        self.kept: dict[int, tuple[np.ndarray, ...]] = {}
        self.raws: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> tuple[int, tuple[np.ndarray, ...], Any]:
        if self.augment is not None:
            return i, self._feeds(self.augment(i, self._raw(i))), self.split.targets[i]

        feeds = self.kept.get(i)
        if feeds is None:
            feeds = self._feeds(self.split.raw(i))
            size = sum(v.nbytes for v in feeds)
            if size <= self.room:
                self.room -= size
                self.kept[i] = feeds

        return i, feeds, self.split.targets[i]

    def _feeds(self, raw: Any) -> tuple[np.ndarray, ...]:
        return tuple(v[0] for v in self.preprocess(raw, self.spec).values())

    def _raw(self, i: int) -> Any:
        """The raw sample, a table of arrays, kept where there is room."""
        if i in self.raws:
            return self.raws[i]

        raw: Any = self.split.raw(i)
        size = sum(np.asarray(value).nbytes for value in raw.values())
        if size <= self.room:
            self.room -= size
            self.raws[i] = raw

        return raw


class Collate:
    """Samples -> (inputs tuple of (N, ...), targets); augmentation is drawn from (seed, epoch, positions)."""

    def __init__(
        self, targets: Targets, augment: Augment | None, seed: int, epoch: Epoch, cut: Cut | None = None
    ) -> None:
        self.targets, self.augment, self.seed, self.epoch, self.cut = targets, augment, seed, epoch, cut

    def __call__(self, batch: list[tuple[int, tuple[np.ndarray, ...], Any]]) -> tuple[Inputs, Any]:
        positions, feeds, targets = zip(*batch)
        inputs = self.changed(positions, tuple(torch.from_numpy(np.stack(column)) for column in zip(*feeds)))
        return inputs, self.targets(targets)

    def changed(self, positions: Sequence[int], inputs: Inputs) -> Inputs:
        """The inputs of the samples at `positions` (N,), augmented and cut."""
        if self.augment is not None:
            text = f"{self.seed} {self.epoch.number} {tuple(positions)}"
            drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
            inputs = self.augment(inputs, np.random.default_rng(drawn))

        return inputs if self.cut is None else self.cut(inputs)


class Buckets(Order):
    """`Order` in batches of similar length, so that little of a batch is padding.

    Samples of `POOL` batches that follow each other in the order are sorted by length and cut into batches; the batches
    are shuffled again, an incomplete one stays last. So a batch still is a random choice among texts of its length.
    """

    POOL = 16

    def __init__(self, order: Order, batch_size: int, lengths: Callable[[], np.ndarray]) -> None:
        super().__init__(order.n, order.shuffle, order.seed, order.epoch)
        self.batch_size, self.measure = batch_size, lengths
        self.lengths: np.ndarray | None = None

    def __iter__(self) -> Iterator[int]:
        if self.lengths is None:
            self.lengths = self.measure()

        at = np.fromiter(super().__iter__(), np.int64, self.n)
        pool = self.POOL * self.batch_size
        pools = [at[start : start + pool] for start in range(0, self.n, pool)]
        at = np.concatenate([p[np.argsort(self.lengths[p], kind="stable")] for p in pools]) if pools else at
        full_batches = self.n // self.batch_size

        if self.shuffle and full_batches:
            batches = at[: full_batches * self.batch_size].reshape(full_batches, self.batch_size)
            drawn = np.random.default_rng([self.seed, self.epoch.number, 1]).permutation(full_batches)
            at = np.concatenate([batches[drawn].ravel(), at[full_batches * self.batch_size :]])

        return iter(at.tolist())


def class_numbers(targets: Sequence[Any]) -> torch.Tensor:
    """int64 (N,)."""
    return torch.tensor([int(t) for t in targets], dtype=torch.int64)


def source(
    preprocess: Preprocess,
    split: Samples,
    spec: Mapping[str, Any],
    loading: Loading,
    *,
    targets: Targets = class_numbers,
    augment: Augment | None = None,
    augment_raw: AugmentRaw | None = None,
    keep: bool = True,
    lengths: Callable[[], np.ndarray] | None = None,
    cut: Cut | None = None,
) -> Source:
    """Batches (inputs, targets) of `split` by the task's own `preprocess`.

    `augment` changes a batch of tensors, `augment_raw` a raw sample (a table of arrays), which is drawn from
    (seed, epoch, position). `lengths` (asked once, when an epoch is first read) puts samples of similar length into one
    batch.
    """
    order = loading.order(len(split))

    def changed(i: int, raw: Any) -> Any:
        assert augment_raw is not None
        return augment_raw(raw, np.random.default_rng([loading.seed, loading.epoch.number, i]))

    return Source(
        Feeds(preprocess, split, spec, loading.cache_bytes if keep else 0, changed if augment_raw else None),
        Collate(targets, augment, loading.seed, loading.epoch, cut),
        order if lengths is None else Buckets(order, loading.batch_size, lengths),
    )


def predict(
    preprocess: Preprocess,
    module: nn.Module,
    split: Samples,
    spec: Mapping[str, Any],
    batch_size: int = 64,
    cut: Cut | None = None,
    make: Callable[..., Source] | None = None,
) -> np.ndarray | dict[str, np.ndarray]:
    """What `module` says of `split` in order, in eval mode without gradients: (N, ...), or {output_i: (N, ...)}.

    Runs where the module's parameters are; its mode is restored. `make` stands for `source`. An empty split
    gives an array of shape (0, 0).
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    parts: list[tuple[np.ndarray, ...]] = []
    loading = Loading(batch_size)
    cuts: dict[str, Any] = {} if cut is None else {"cut": cut}
    samples = (make or source)(preprocess, split, spec, loading, targets=lambda _: None, keep=False, **cuts)

    try:
        with torch.no_grad():
            for inputs, _ in counted(load(samples, loading)):
                leaves = tree_leaves(module(*(x.to(device) for x in inputs)))
                parts.append(tuple(t.float().cpu().numpy() for t in leaves))
    finally:
        for layer, training in modes.items():
            layer.training = training

    if not parts:
        return np.zeros((0, 0), np.float32)

    joined = [np.concatenate(column) for column in zip(*parts)]
    return joined[0] if len(joined) == 1 else {f"output_{i}": values for i, values in enumerate(joined)}
