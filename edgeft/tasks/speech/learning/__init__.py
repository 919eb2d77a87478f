"""Learning speech: the CTC loss (Graves et al. 2006) over all frames, and distillation frame by frame; models that
write texts learn by `sequences.py`, and their targets are one tensor.

The frames behind the end of a recording are frames like all others: the model is trained to say nothing there, and
under quantization the teacher says so too.

Augmentation changes the samples (`waveforms.py`: speed, gain, noise) and then the features (`spectra.py`), which it
shifts by a few frames only and masks by less than a word, twice: what was said is still there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ....core.errors import DataError, ModelError, RecipeError, nearest
from ....inputs import sound
from ....learning import Learning, batches, spectra, tensors, waveforms
from ....learning.parts import Part
from ....metrics import ctc
from ...classify.learning import distill as distill_classes
from ...classify.learning import replace_head
from ...translate.learning import distill as distill_tokens
from ...translate.learning import loss as loss_of_tokens
from .. import decoding as speech
from ..sequences import written
from . import sequences

#: the largest shift and the largest mask in seconds; masks over a share of the features
SHIFT, TIME_MASK, FEATURE_MASK, MASKS = 0.04, 0.15, 0.2, 2
#: by level: what happens to the samples
LEVELS = {
    "light": waveforms.Amounts(speed=0.1, channel=6.0, gain=6.0, shift=0.0, noise=(15.0, 40.0), noisy=0.3),
    "strong": waveforms.Amounts(speed=0.15, channel=10.0, gain=12.0, shift=0.0, noise=(10.0, 40.0), noisy=0.5),
}
#: tokens and their number
Texts = tuple[torch.Tensor, torch.Tensor]


def set_head(module: nn.Module, head: str, n_classes: int) -> None:
    """Give `module` a fresh head, as `classify` does, that says the blank at first."""
    replace_head(module, head, n_classes)
    if hasattr(module, "start_blank"):  # a net that knows how its head had better begin
        module.start_blank()


def outputs(dataset: Any) -> int:
    """The blank and one output a label; raises `DataError` for data without transcripts."""
    if not dataset.facts.get("units"):
        raise DataError(
            "these recordings have classes, no transcripts",
            where=dataset.name,
            remedy='set data.units = "words" or "characters", and write transcripts beside the recordings',
        )

    return max(len(dataset.labels), 1) + 1  # a model with a tokenizer has its own tokens, and takes no label


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """How many features a frame has."""
    values = {**speech.DEFAULTS, **data.sound}
    return {"features": int(values["coefficients"] or values["mels"])}


def loss(logits: torch.Tensor, targets: Texts | torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """CTC loss of logits (N, tokens, frames), a text's divided by its length, the mean over the batch.

    `targets` are tokens (N, L) and how many of them count (N,); `smoothing` has no meaning here. Raises `ModelError`
    where a text has more tokens than the model has frames. Of a model that writes texts `targets` are the tokens to be
    written (N, T), and the loss of logits (N, T, vocabulary) is the cross-entropy of them.
    """
    if isinstance(targets, torch.Tensor):
        return loss_of_tokens(logits, targets, smoothing)
    if logits.ndim != 3:
        raise ModelError(f"the output has shape {tuple(logits.shape)}, expected (samples, tokens, frames)")

    tokens, lengths = targets
    frames = logits.shape[2]
    if int(lengths.max()) > frames:
        raise ModelError(
            f"a text has {int(lengths.max())} tokens, and the model has {frames} frames to say them in",
            remedy="use a model with a smaller stride, or a smaller data.sound.hop",
        )

    log_shares = F.log_softmax(logits, dim=1).permute(2, 0, 1)
    heard = torch.full((len(lengths),), frames, dtype=torch.int64)
    return F.ctc_loss(log_shares, tokens, heard, lengths, blank=ctc.BLANK, zero_infinity=True)


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: Texts | torch.Tensor | None = None,
    temperature: float = 1.0,
    weight: float = 1.0,
) -> torch.Tensor:
    """The divergence of the student's tokens from the teacher's, the mean over frames; mixed with `loss` below 1."""
    if isinstance(targets, torch.Tensor):
        return distill_tokens(student, teacher, targets, temperature, weight)

    student_rows, taught = (logits.transpose(1, 2).flatten(0, 1) for logits in (student, teacher))
    soft = distill_classes(student_rows, taught, temperature=temperature)

    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


def augmentation(level: str, spec: Mapping[str, Any]) -> tensors.Augment | None:
    """A function of (inputs, generator), or None for "none" and for waveforms and spectrograms, of which the samples
    alone are changed; raises `RecipeError` for an unknown level."""
    if spec.get("kind") != sound.KIND:
        if level not in spectra.LEVELS:
            raise RecipeError(
                f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, spectra.LEVELS)
            )
        return None

    table = sound.check(spec)
    shift, time = (max(1, round(seconds * table.rate / table.hop)) for seconds in (SHIFT, TIME_MASK))
    amounts = spectra.Amounts(shift, time, max(1, int(FEATURE_MASK * table.features)), MASKS)
    return spectra.augmentation(level, table.layout, amounts)


def augmentation_of_samples(level: str, spec: Mapping[str, Any]) -> tensors.AugmentRaw | None:
    """A function of (raw sound, generator), or None where samples stay as they are. No sound becomes longer than what
    the model hears."""
    if level not in LEVELS:
        return None

    longest = spec["length"] / spec["rate"]
    return lambda raw, rng: waveforms.augmented(raw, rng, LEVELS[level], longest)


def texts(targets: Sequence[Any]) -> Texts:
    """Tokens int64 (N, L), padded by blanks, and their numbers int64 (N,)."""
    rows = [np.asarray(target["tokens"], np.int64) for target in targets]
    padded = np.full((len(rows), max(map(len, rows))), ctc.BLANK, np.int64)
    for row, tokens in zip(padded, rows):
        row[: len(tokens)] = tokens

    return torch.from_numpy(padded), torch.tensor([len(row) for row in rows], dtype=torch.int64)


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches ((features,), (tokens, their numbers)) of recordings, augmented by (seed, epoch, positions)."""
    augment, augment_raw = augmentation(loading.augment, spec), augmentation_of_samples(loading.augment, spec)
    if written(spec):
        return sequences.source(split, spec, loading, augment_raw)
    return tensors.source(
        speech.preprocess, split, spec, loading, targets=texts, augment=augment, augment_raw=augment_raw
    )


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, tokens, frames) over `split` in order, or the texts of a model that writes them."""
    if written(spec):
        return sequences.predict(module, split, spec, batch_size)
    return tensors.predict(speech.preprocess, module, split, spec, batch_size)


def parts(module: nn.Module, spec: Mapping[str, Any]) -> dict[str, Part]:
    """The two graphs of a model that writes texts; {} of one that has a single graph."""
    return sequences.parts(module, spec) if written(spec) else {}


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    parts=parts,
    record=sequences.record,
)
