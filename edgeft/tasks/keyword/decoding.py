"""Keyword spotting: one word (or sound) of a fixed list in a short clip; the metric is accuracy.

Outputs are logits (N, C), judged as `classify` judges them. Inputs are sounds (`sound.py`), or pictures where somebody
else made the features and they come as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...core.errors import BundleError, RecipeError
from ...inputs import image, sound, sound_file, waveform
from ..classify.decoding import (
    EXTRA_METRICS,
    METRIC,
    alike,
    chance,
    confusion,
    decisions,
    decode,
    describe,
    extra_metrics,
    join,
    margins,
    metric,
    per_class,
    per_sample,
)
from ..show import show

__all__ = [
    "EXTRA_METRICS",
    "METRIC",
    "NAME",
    "alike",
    "chance",
    "configure",
    "confusion",
    "decisions",
    "decode",
    "describe",
    "draw",
    "extra_metrics",
    "join",
    "margins",
    "measure",
    "metric",
    "per_class",
    "per_sample",
    "preprocess",
    "read",
]

NAME = "keyword"
_KINDS: dict[str, Any] = {"sound": sound, "image": image, waveform.KIND: waveform}


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table of sounds, as their waveform where the model reads that, or of pictures where the data's
    facts (`kind`) or its format say so."""
    pictures = getattr(data, "format", "") in ("npz", "image-folder")
    kind = facts.get("kind", "image" if pictures else "sound")
    if defaults.get("kind") == waveform.KIND:
        if kind != "sound":
            raise RecipeError("the model reads waveforms, and the data are pictures", where="model.source")
        kind = waveform.KIND
    table: dict[str, Any] = _KINDS[str(kind)].configure(data, defaults, facts, say)
    return table


def measure(spec: Mapping[str, Any], raws: Iterable[Any]) -> dict[str, Any]:
    """`spec` with what preprocessing takes from the training samples: mean and std of each feature of sounds."""
    return sound.measure(spec, raws) if spec.get("kind") == "sound" else dict(spec)


def read(path: str, spec: Mapping[str, Any]) -> Any:
    return image.read(path) if _kind(spec) == "image" else sound_file.read(path)


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    feeds: dict[str, np.ndarray] = _KINDS[_kind(spec)].preprocess(raw, spec)
    return feeds


def _kind(spec: Mapping[str, Any]) -> str:
    if spec.get("kind") not in _KINDS:
        raise BundleError(f"is {spec.get('kind')!r}, expected {' or '.join(_KINDS)}", where="preprocess.kind")
    return str(spec["kind"])


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The waveform, or the picture."""
    return {"image": sound.picture(raw)} if isinstance(raw, Mapping) else show(raw)
