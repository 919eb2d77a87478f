"""Learning to write transcripts: teacher forcing with cross-entropy, over the tokens of the model's own tokenizer.

A batch is (spectrograms float32 (N, mels, frames), the tokens before each one int32 (N, T), which begin with the
prompt), and the tokens to be written int64 (N, T): `IGNORED` in the prompt and behind the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ....core.errors import DataError
from ....core.progress import counted
from ....inputs import log_mel
from ....learning import batches, tensors
from ....learning.parts import Part, TorchSession
from ....learning.steps import recorded
from ....metrics import beam_search
from ...translate.learning import IGNORED
from .. import pieces, sequences

#: more transcripts than this share longer than the model writes stop the run
MAX_LONG = 0.05


def parts(module: Any, spec: Mapping[str, Any]) -> dict[str, Part]:
    """The two graphs: the encoder over a window, the decoder over one token with a full cache."""
    generator = torch.Generator().manual_seed(0)
    window = torch.randn(2, spec["mels"], spec["length"] // spec["hop"], generator=generator)
    rows, room = 2 * module.layers, sequences.places(spec)
    with torch.no_grad():
        hidden = module.encoder(window[:1])[0].shape[1]

    token = torch.ones(2, 1, dtype=torch.int32)
    cache = torch.randn(2, rows, room, module.width, generator=generator)
    memory = torch.randn(2, rows, hidden, module.width, generator=generator)
    mask = torch.ones(2, 1, room + 1, dtype=torch.int32)
    state = beam_search.names(module.layers)

    return {
        "encoder": Part((window,), (spec["input"],), state),
        "decoder": Part(
            (token, token.clone(), mask, cache, memory),
            ("tokens", "positions", "mask", "cache", "memory"),
            ("logits", *state),
        ),
    }


class Texts(tensors.Collate):
    """Samples -> ((spectrograms, tokens before), tokens to be written), padded to the batch's longest text."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__(lambda targets: targets, None, 0, batches.Epoch())
        self.spec, self.prompt, self.end = spec, spec["search"]["start"], spec["search"]["end"]

    def __call__(self, batch: list[tuple[int, tuple[np.ndarray, ...], Any]]) -> tuple[tensors.Inputs, torch.Tensor]:
        inputs, targets = super().__call__(batch)
        rows = [token_ids(target, self.spec) for target in targets]
        ahead, longest = len(self.prompt), max(map(len, rows))
        before = np.full((len(rows), ahead + longest), self.end, np.int32)
        after = np.full((len(rows), ahead + longest), IGNORED, np.int64)

        for i, ids in enumerate(rows):
            before[i, : ahead + len(ids)] = [*self.prompt, *ids]
            after[i, ahead - 1 : ahead + len(ids)] = [*ids, self.end]

        return (*inputs, torch.from_numpy(before)), torch.from_numpy(after)


def token_ids(target: Mapping[str, Any], spec: Mapping[str, Any]) -> list[int]:
    """The tokens of a target's transcript as it is written, without prompt and end."""
    return pieces.ids_of(str(target["written"]), sequences.tokenizer_of(spec))


class Fitting:
    """The samples of a split whose texts the model can write; raises `DataError` where more than 5 % are longer."""

    def __init__(self, split: batches.Samples, spec: Mapping[str, Any], strict: bool) -> None:
        room = spec["search"]["length"]
        lengths = np.array([len(token_ids(target, spec)) + 1 for target in split.targets])
        self.split, self.at = split, np.flatnonzero(lengths <= room)
        self.targets = split.targets[self.at]
        long = np.flatnonzero(lengths > room)

        if not len(self.at) or (strict and len(long) > MAX_LONG * len(lengths)):
            raise DataError(
                f"{len(long)} of {len(lengths)} texts are longer than {room} tokens",
                where=f"{split.targets[int(long[0])]['written']!r}" if len(long) else "data",
                remedy=f"model.args.length = {int(np.quantile(lengths, 0.99))} takes 99 % of them",
            )

    def __len__(self) -> int:
        return len(self.at)

    def raw(self, i: int) -> Any:
        return self.split.raw(int(self.at[i]))


def source(
    split: batches.Samples,
    spec: Mapping[str, Any],
    loading: batches.Loading,
    augment_raw: tensors.AugmentRaw | None,
) -> batches.Source:
    """Batches of teacher forcing; recordings are augmented by (seed, epoch, position)."""
    fitting = Fitting(split, spec, strict=loading.shuffle)
    plain = tensors.source(log_mel.preprocess, fitting, spec, loading, augment_raw=augment_raw)
    return batches.Source(plain.samples, Texts(spec), plain.order)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> dict[str, np.ndarray]:
    """Transcripts of a split in order, as `sequences.Transcriber` gives them, by the search of the task."""
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        session = composed(module, spec)
        starts = range(0, len(split), batch_size)
        outputs = [session.run(_feeds(split, spec, range(i, min(i + batch_size, len(split))))) for i in counted(starts)]
    finally:
        for layer, training in modes.items():
            layer.training = training

    if not outputs:
        length = spec["search"]["length"]
        empty = np.zeros((0, length), np.int32)
        return {"tokens": empty, "text": np.zeros(0, np.str_), "steps": np.zeros(0, np.int32)}

    return {key: np.concatenate([batch_outputs[key] for batch_outputs in outputs]) for key in outputs[0]}


def composed(module: nn.Module, spec: Mapping[str, Any]) -> sequences.Transcriber:
    """The task's search over the torch modules `encoder` and `decoder` of `module`."""
    sessions = {name: TorchSession(module.get_submodule(name), part) for name, part in parts(module, spec).items()}
    return sequences.compose(sessions, spec)  # type: ignore[arg-type]


def record(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], steps: int = 4
) -> dict[str, dict[str, np.ndarray]]:
    """What each graph is given while `module` transcribes a split: the encoder every recording, the decoder `steps`
    steps of each, spread over its text."""
    session = composed(module, spec)
    encoder = _feeds(split, spec, range(len(split)))
    memory = beam_search.stacked(session.sessions["encoder"].run(encoder))
    outputs = session.run(encoder)
    prompt = np.tile(np.array(spec["search"]["start"], np.int32), (len(memory), 1))
    before = np.concatenate([prompt, np.maximum(outputs["tokens"], 0)[:, :-1]], axis=1)
    decoder = recorded(session.sessions["decoder"].run, memory, None, before, outputs["steps"], steps)
    return {"encoder": encoder, "decoder": decoder}


def _feeds(split: batches.Samples, spec: Mapping[str, Any], positions: Sequence[int]) -> dict[str, np.ndarray]:
    rows = [log_mel.preprocess(split.raw(i), spec)[spec["input"]] for i in positions]
    return {spec["input"]: np.concatenate(rows)}
