"""Learning to translate: teacher forcing with smoothed cross-entropy (Szegedy et al. 2016), batches of like lengths.

A batch is (source int32 (N, S), its mask, the target's tokens before each one int32 (N, T)), and the tokens to be told
int64 (N, T), `IGNORED` behind the end. Both lengths are those of the batch's longest sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import DataError
from ...core.progress import counted
from ...learning import Learning, batches
from ...learning.batches import Epoch, Order, Samples
from ...learning.parts import Part, TorchSession
from ...learning.steps import recorded
from ...metrics import beam_search as search
from ..classify.learning import replace_head
from . import composed as composing
from . import decoding as translate

IGNORED = -100
SMOOTHING = 0.1
#: batches whose sentences are sorted by length together: more of them waste fewer padded tokens, fewer mix better
SORTED = 50
#: sentences that are translated at a time
SEARCHED = 128

set_head = replace_head


def outputs(dataset: Any) -> int:
    """The size of the vocabulary, 1 where the model brings its tokenizer; raises `DataError` for data without pairs."""
    files = dataset.facts.get("files")
    if files is None:
        raise DataError("gives no sentence pairs", where=dataset.name, remedy='data.format = "pairs"')
    return translate.vocabulary(str(files["tokenizer"])) if "tokenizer" in files else 1


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """How many positions there are."""
    return {"longest": data.length or translate.LENGTH}


def parts(module: nn.Module, spec: Mapping[str, Any]) -> dict[str, Part]:
    """The two graphs: the encoder over a whole sentence, the decoder over one token with a full cache."""
    length, layers, width = spec["length"], module.layers, module.width
    ids = torch.ones(2, length, dtype=torch.int32)
    places = torch.arange(length, dtype=torch.int32).expand(2, -1).contiguous()
    first_token = ids[:, :1].contiguous()
    cache = torch.randn(2, 2 * layers, length, width, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 1, length + 1, dtype=torch.int32)
    state = search.names(layers)

    return {
        "encoder": Part((ids, places, ids.clone()), ("source", "positions", "source_mask"), state),
        "decoder": Part(
            (first_token, first_token.clone(), mask, cache, cache.clone(), ids.clone()),
            ("tokens", "positions", "mask", "cache", "memory", "source_mask"),
            ("logits", *state),
        ),
    }


def loss(logits: torch.Tensor, targets: torch.Tensor, smoothing: float = SMOOTHING) -> torch.Tensor:
    """Mean over the tokens that are to be told."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 1.0,
    weight: float = 0.7,
) -> torch.Tensor:
    """KL divergence of the student's next-token distributions from the teacher's (Kim and Rush 2016), mixed with the
    plain loss: `weight` is the teacher's share."""
    is_token = torch.ones_like(student[..., 0], dtype=torch.bool) if targets is None else targets != IGNORED
    ours = F.log_softmax(student[is_token] / temperature, dim=-1)
    theirs = F.log_softmax(teacher[is_token].detach() / temperature, dim=-1)
    soft = F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2

    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


class Pairs(torch.utils.data.Dataset[tuple[list[int], list[int]]]):
    """Token ids of (source with its end, target without special tokens) of the pairs that are short enough.

    `checked`: raises `DataError` where more than 5 % are not.
    """

    def __init__(self, split: Samples, spec: Mapping[str, Any], checked: bool = False) -> None:
        length, end = spec["length"], spec["end"]
        self.pairs = []
        longest: list[int] = []

        for i in range(len(split)):
            source = [*translate.ids(str(split.raw(i)), spec), end]
            target = translate.ids(str(split.targets[i]), spec, "target")
            longest.append(max(len(source), len(target) + 1))
            if longest[-1] <= length:
                self.pairs.append((source, target))

        if checked:
            translate.refuse_long(np.array(longest), length, split)
        if not self.pairs:
            raise DataError("no pair is short enough to train on", where="data.length", remedy="raise data.length")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> tuple[list[int], list[int]]:
        return self.pairs[i]


class Bucketed(Order):
    """An order whose consecutive `batch` positions are of like length: drawn from (seed, epoch), sorted in pools."""

    def __init__(self, lengths: np.ndarray, batch: int, shuffle: bool, seed: int, epoch: Epoch) -> None:
        super().__init__(len(lengths), shuffle, seed, epoch)
        self.lengths, self.batch = lengths, batch

    def __iter__(self) -> Any:
        if not self.shuffle:
            return iter(np.arange(self.n).tolist())

        rng = np.random.default_rng([self.seed, self.epoch.number])
        order = rng.permutation(self.n)
        last = order[self.n // self.batch * self.batch :]  # what fills no batch stays at the end, where it is dropped
        order = order[: len(order) - len(last)]
        groups = []

        for start in range(0, len(order), self.batch * SORTED):
            pool = order[start : start + self.batch * SORTED]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            groups += np.split(pool, len(pool) // self.batch)

        mixed = [groups[i] for i in rng.permutation(len(groups))]
        return iter(np.concatenate([*mixed, last]).tolist())


class Collate:
    """Pairs -> ((source, mask, target in), target out), padded to the batch's longest."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.pad, self.start, self.end = spec["pad"], spec["start"], spec["end"]

    def __call__(self, pairs: list[tuple[list[int], list[int]]]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        n, wide, long = len(pairs), max(len(s) for s, _ in pairs), max(len(t) for _, t in pairs) + 1
        source, mask = np.full((n, wide), self.pad, np.int32), np.zeros((n, wide), np.int32)
        before, after = np.full((n, long), self.pad, np.int32), np.full((n, long), IGNORED, np.int64)

        for i, (ours, theirs) in enumerate(pairs):
            source[i, : len(ours)], mask[i, : len(ours)] = ours, 1
            before[i, : len(theirs) + 1] = [self.start, *theirs]
            after[i, : len(theirs) + 1] = [*theirs, self.end]

        inputs = tuple(torch.from_numpy(values) for values in (source, mask, before))
        return inputs, torch.from_numpy(after)


def _source(split: Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches of teacher forcing; sentences are not augmented."""
    pairs = Pairs(split, spec, checked=loading.shuffle)
    size = min(loading.batch_size, len(pairs))
    lengths = np.array([len(source) + len(target) for source, target in pairs.pairs])
    order = Bucketed(lengths, size, loading.shuffle, loading.seed, loading.epoch)

    return batches.Source(pairs, Collate(spec), order, size)


loader = batches.loader_of(_source)


def predict(module: nn.Module, split: Samples, spec: Mapping[str, Any], batch_size: int = 64) -> dict[str, np.ndarray]:
    """Translations of a split in order, {tokens: int32 (N, L), text: str (N,)}, by the search of the task."""
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()

    try:
        outputs = [composed(module, spec).run(feeds) for feeds in counted(_sources(split, spec))]
    finally:
        for layer, training in modes.items():
            layer.training = training

    if not outputs:
        empty = np.zeros((0, spec["length"]), np.int32)
        return {"tokens": empty, "text": np.zeros(0, np.str_)}

    order = np.argsort(np.concatenate(list(_by_length(split))), kind="stable")
    return {key: np.concatenate([batch_outputs[key] for batch_outputs in outputs])[order] for key in outputs[0]}


def composed(module: nn.Module, spec: Mapping[str, Any]) -> composing.Composed:
    """The task's search over the torch modules `encoder` and `decoder` of `module`."""
    sessions = {name: TorchSession(module.get_submodule(name), part) for name, part in parts(module, spec).items()}
    return composing.compose(sessions, spec)  # type: ignore[arg-type]


def record(
    module: nn.Module, split: Samples, spec: Mapping[str, Any], steps: int = 4
) -> dict[str, dict[str, np.ndarray]]:
    """What each graph is given while `module` translates a split: the encoder every sentence, the decoder `steps` steps
    of each, spread over its translation."""
    sessions = composed(module, spec).sessions
    samples = [translate.preprocess(split.raw(i), spec) for i in range(len(split))]
    source, mask = (np.concatenate([feeds[key] for feeds in samples]) for key in ("source", "source_mask"))
    encoder = search.sources(source, mask)
    memory = search.stacked(sessions["encoder"].run(encoder))
    memory = memory * mask[:, None, :, None].astype(np.float32)  # nobody looks at what is padding
    tokens = composed(module, spec).run({"source": source, "source_mask": mask})["tokens"]
    first = np.full((len(tokens), 1), spec["start"], np.int32)
    before = np.concatenate([first, tokens[:, :-1]], axis=1)
    ends = np.maximum((tokens != translate.PAD).sum(axis=1), 1)
    decoder = recorded(sessions["decoder"].run, memory, mask, before, ends, steps)

    return {"encoder": encoder, "decoder": decoder}


def _by_length(split: Samples) -> list[np.ndarray]:
    """Positions in batches of like lengths: the longest sentence of a batch says how many steps it takes."""
    order = np.argsort([len(split.raw(i)) for i in range(len(split))], kind="stable")
    return [order[i : i + SEARCHED] for i in range(0, len(order), SEARCHED)]


def _sources(split: Samples, spec: Mapping[str, Any]) -> Any:
    for rows in _by_length(split):
        samples = [translate.preprocess(split.raw(int(i)), spec) for i in rows]
        longest = max(int(feeds["source_mask"].sum()) for feeds in samples)
        yield {key: np.concatenate([feeds[key][:, :longest] for feeds in samples]) for key in samples[0]}


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    parts=parts,
    record=record,
)
