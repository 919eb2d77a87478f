"""Learning keywords: cross-entropy and distillation as in `classify`, and augmentation.

Of sounds the samples are augmented (`waveforms.py`: speed, gain, shift, noise) and then their features masked
(`spectra.py`). Pictures of features are augmented as features: shifts of up to a tenth of the clip, noise, and masks.
Masks cover up to a fifth of the frames and a quarter of the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from ...core.errors import DataError, RecipeError, nearest
from ...inputs import sound, waveform
from ...learning import Learning, batches, spectra, tensors, waveforms
from ..classify.learning import class_weights, distill, loss, replace_head
from ..classify.learning import outputs as classes
from . import decoding as keyword

set_head = replace_head
#: the largest shift, and the largest masks, as shares of the axis
SHIFT, TIME_MASK, FEATURE_MASK = 0.1, 0.2, 0.25
#: by level: what happens to the samples of a sound, and the share of the largest masks that is used
LEVELS: dict[str, tuple[waveforms.Amounts, float]] = {
    "light": (waveforms.Amounts(speed=0.15, channel=6.0, gain=6.0, shift=0.05, noise=(10.0, 40.0), noisy=0.5), 0.5),
    "strong": (waveforms.Amounts(speed=0.25, channel=10.0, gain=12.0, shift=0.1, noise=(5.0, 40.0), noisy=0.8), 1.0),
}


def outputs(dataset: Any) -> int:
    """One logit a class; raises `DataError` for fewer than two, and for recordings with transcripts."""
    if dataset.facts.get("units"):
        raise DataError(
            "these recordings have transcripts, no classes",
            where=dataset.name,
            remedy='leave data.units out, or set task = "speech"',
        )

    return classes(dataset)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """Features have one channel."""
    return {"channels": 1}


def augmentation(level: str, spec: Mapping[str, Any]) -> tensors.Augment | None:
    """A function of (features, generator), or None for "none"; raises `RecipeError` for an unknown level."""
    amounts = _of_samples(level) if spec["kind"] != "image" else None
    if spec["kind"] == waveform.KIND or (spec["kind"] == "sound" and amounts is None):
        return None

    frames, features = _size(spec)
    layout = str(spec.get("layout", "NCHW"))
    shift = max(1, round(SHIFT * frames))

    if spec["kind"] == "image":
        return spectra.augmentation(level, layout, _amounts(frames, features, 1.0, shift))

    return spectra.masking(layout, _amounts(frames, features, LEVELS[level][1]))


def _amounts(frames: int, features: int, share: float, shift: int = 0) -> spectra.Amounts:
    time, feature = (max(1, int(share * most * n)) for most, n in ((TIME_MASK, frames), (FEATURE_MASK, features)))
    return spectra.Amounts(shift, time, feature)


def augmentation_of_samples(level: str, spec: Mapping[str, Any]) -> tensors.AugmentRaw | None:
    """A function of (raw sound, generator), or None where samples stay as they are; raises `RecipeError` as above."""
    amounts = _of_samples(level) if spec["kind"] != "image" else None
    return None if amounts is None else lambda raw, rng: waveforms.augmented(raw, rng, amounts)


def _of_samples(level: str) -> waveforms.Amounts | None:
    if level not in (*LEVELS, "none"):
        raise RecipeError(
            f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, ("none", *LEVELS))
        )
    return LEVELS[level][0] if level in LEVELS else None


def _size(spec: Mapping[str, Any]) -> tuple[int, int]:
    """Frames and features of a sound, or of a picture of them."""
    if spec["kind"] == "image":
        return int(spec["size"][0]), int(spec["size"][1])
    table = sound.check(spec)
    return table.frames, table.features


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches ((features,), class numbers int64 (N,)) of sounds, augmented by (seed, epoch, positions)."""
    return tensors.source(
        keyword.preprocess,
        split,
        spec,
        loading,
        augment=augmentation(loading.augment, spec),
        augment_raw=augmentation_of_samples(loading.augment, spec),
    )


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, C) over `split` in order."""
    return tensors.predict(keyword.preprocess, module, split, spec, batch_size)


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
