"""Search over a decoder that knows one step: greedy, or beam search with a normalized length. Numpy alone.

A step takes the last token of every row and the cache of what came before, and gives scores of the next token and the
cache's new rows. The cache is kept here: its places that are not yet filled are masked out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..core.errors import BundleError

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
#: the exponent of a hypothesis' length that its score is divided by (Wu et al. 2016 without their constant)
LENGTH_PENALTY = 0.7


def names(layers: int) -> tuple[str, ...]:
    """What the graphs call the keys and values of a decoder of so many layers."""
    return tuple(f"{kind}_{i}" for i in range(layers) for kind in ("key", "value"))


def stacked(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The keys and values among a graph's outputs, (N, 2 D, T, d)."""
    layers = sum(name.startswith("key_") for name in outputs)
    return np.stack([outputs[name] for name in names(layers)], axis=1)


def check_outputs(encoder: Iterable[str], decoder: Iterable[str]) -> None:
    """Raise `BundleError` unless these names of the graphs' outputs are those of keys and values, layer by layer, and
    of the decoder `logits` too."""
    graphs: tuple[tuple[str, Iterable[str], set[str]], ...]
    graphs = (("encoder", encoder, set()), ("decoder", decoder, {"logits"}))
    for graph, outputs, further in graphs:
        given = set(outputs)
        layers = sum(name.startswith("key_") for name in given)
        expected = {*names(max(layers, 1)), *further}
        if given != expected:
            raise BundleError(
                f"its outputs are {', '.join(sorted(given))}, expected {', '.join(sorted(expected))}",
                where=f"the graph {graph!r} of the manifest",
                remedy="export the bundle again",
            )


def search(
    step: Run,
    memory: np.ndarray,
    source_mask: np.ndarray | None,
    *,
    start: int | Sequence[int],
    end: int,
    pad: int,
    length: int,
    beam: int = 1,
    penalty: float | None = None,
    suppress: Sequence[int] = (),
    suppress_first: Sequence[int] = (),
    force_end: bool = False,
) -> np.ndarray:
    """The best token sequence of each row of `memory` (N, 2 D, S, d): int32 (N, length), `pad` behind the end.

    `start` is the token that every sequence begins with, or several (a prompt); they and the end token are left out.
    `step` takes the feeds of the decoder's graph (see `feeds`). Rows that have ended leave the batch when half of them
    have. Tokens of `suppress` are never chosen, those of `suppress_first` not as the first one; with `force_end` the
    last of `length` tokens is the end. With a `penalty`, hypotheses that have ended are kept apart from those that go
    on, as the package transformers does it (see `_Apart`).
    """
    prompt = [start] if isinstance(start, int) else list(start)
    if beam < 1 or length < 1 or not prompt:
        raise ValueError("beam, length and the number of tokens to start with are 1 or more")

    n = len(memory)
    sequences = np.full((n, length), pad, np.int32)

    if n == 0:
        return sequences

    state = _State(memory, source_mask, beam, prompt, pad, length)
    if penalty is not None and beam > 1:
        state = _Apart(memory, source_mask, beam, prompt, pad, length, penalty)
    state.suppress, state.force_end = list(suppress), force_end
    for place, token in enumerate(prompt[:-1]):
        state.last[:] = token
        state.cache[:, :, place] = stacked(step(state.feeds(place)))[:, :, 0]
    state.last[:] = prompt[-1]

    for t in range(length):
        place = len(prompt) - 1 + t
        out = step(state.feeds(place))
        state.cache[:, :, place] = stacked(out)[:, :, 0]
        logits = np.array(out["logits"][:, 0], np.float32)
        state.forbidden = [*state.suppress, *(suppress_first if t == 0 else ())]
        state.advance(logits, t, end, pad)
        if state.done.all():
            break

        over = np.asarray(state.done.reshape(-1, beam).all(axis=1))
        if over.mean() >= 0.5:
            state.collect(sequences, over)
            state.keep(~over)

    state.collect(sequences, np.ones(len(state.who), bool))
    sequences[sequences == end] = pad
    return sequences


class _State:
    """`beam` rows a sentence, side by side; `who` says which sentence each group of rows is."""

    def __init__(
        self,
        memory: np.ndarray,
        source_mask: np.ndarray | None,
        beam: int,
        prompt: Sequence[int],
        pad: int,
        length: int,
    ) -> None:
        n, layers, _, width = memory.shape
        self.beam, self.pad, self.length = beam, pad, length
        self.who = np.arange(n)
        self.memory = np.repeat(memory, beam, axis=0)
        self.source_mask = None if source_mask is None else np.repeat(source_mask, beam, axis=0)
        self.cache = np.zeros((n * beam, layers, places(prompt, length), width), np.float32)
        self.last = np.full(n * beam, prompt[0], np.int32)
        self.tokens = np.full((n * beam, length), pad, np.int32)
        self.done = np.zeros(n * beam, bool)
        self.counts = np.zeros(n * beam)

        scores = np.full((n, beam), -np.inf)  # at first all rows of a sentence are the same one
        scores[:, 0] = 0.0
        self.scores: np.ndarray = scores.reshape(-1)
        self.suppress: list[int] = []
        self.forbidden: list[int] = []
        self.force_end = False

    def feeds(self, place: int) -> dict[str, np.ndarray]:
        return feeds(self.last, place, self.cache, self.memory, self.source_mask)

    def advance(self, logits: np.ndarray, t: int, end: int, pad: int) -> None:
        logits[:, self.forbidden] = -np.inf
        if self.force_end and t == self.length - 1:
            nxt = np.where(self.done, pad, end).astype(np.int32)
        elif self.beam == 1:
            nxt = np.where(self.done, pad, logits.argmax(axis=1)).astype(np.int32)
        else:
            nxt = self._best(logits, pad)

        self.tokens[:, t], self.last = nxt, nxt
        self.counts = self.counts + ~self.done
        self.done = self.done | (nxt == end)

    def _best(self, logits: np.ndarray, pad: int) -> np.ndarray:
        """Choose the `beam` best continuations of each sentence; the rows become theirs. Returns the tokens."""
        logp = _log_shares(logits)
        most = min(self.beam, logits.shape[1])
        tokens = np.argpartition(-logp, most - 1, axis=1)[:, :most]
        tokens = np.sort(tokens, axis=1)  # an order that does not depend on the partition
        gained = np.take_along_axis(logp, tokens, axis=1).astype(np.float64)
        tokens[self.done], gained[self.done] = pad, -np.inf
        gained[self.done, 0] = 0.0  # an ended row goes on as itself
        total = self.scores[:, None] + gained
        lengths = (self.counts + ~self.done)[:, None]
        ranked = (total / lengths**LENGTH_PENALTY).reshape(len(self.who), -1)
        chosen = np.argsort(-ranked, axis=1, kind="stable")[:, : self.beam]
        rows = (np.arange(len(self.who))[:, None] * self.beam + chosen // most).reshape(-1)
        at = (chosen % most).reshape(-1)
        self.scores = total[rows, at]
        self.cache, self.tokens = self.cache[rows], self.tokens[rows]
        self.done, self.counts = self.done[rows], self.counts[rows]
        next_tokens: np.ndarray = tokens[rows, at].astype(np.int32)

        return next_tokens

    def collect(self, sequences: np.ndarray, which: np.ndarray) -> None:
        """Write the best row of the sentences `which` (bool) into `sequences`."""
        normal = (self.scores / np.maximum(self.counts, 1) ** LENGTH_PENALTY).reshape(-1, self.beam)
        best = np.arange(len(self.who)) * self.beam + normal.argmax(axis=1)
        sequences[self.who[which]] = self.tokens[best[which]]

    def keep(self, which: np.ndarray) -> None:
        rows = np.repeat(which, self.beam)
        self.who = self.who[which]
        for name in ("memory", "source_mask", "cache", "last", "tokens", "done", "counts", "scores"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[rows])


class _Apart(_State):
    """Hypotheses that have ended leave the `beam` rows of their sentence, which go on with the best of the others.

    So does `generate` of the package transformers (`early_stopping=False`): of the 2 `beam` best continuations those
    of the first `beam` that end are kept with their score over length ** `penalty`; a sentence is done when
    its best row, by its length so far, does not reach the worst of `beam` ended ones.
    """

    def __init__(
        self,
        memory: np.ndarray,
        source_mask: np.ndarray | None,
        beam: int,
        prompt: Sequence[int],
        pad: int,
        length: int,
        penalty: float,
    ) -> None:
        super().__init__(memory, source_mask, beam, prompt, pad, length)
        self.penalty = penalty
        self.ended = np.full((len(self.who), beam), -np.inf)
        self.texts = np.full((len(self.who), beam, length), pad, np.int32)

    def advance(self, logits: np.ndarray, t: int, end: int, pad: int) -> None:
        n, beam = len(self.who), self.beam
        shares = _log_shares(logits)
        shares[:, self.forbidden] = -np.inf
        if self.force_end and t == self.length - 1:
            shares[:], shares[:, end] = -np.inf, 0.0

        total = (self.scores[:, None] + shares).reshape(n, -1)
        chosen = np.argsort(-total, axis=1, kind="stable")[:, : 2 * beam]
        scores = np.take_along_axis(total, chosen, axis=1)
        rows, tokens = chosen // logits.shape[1], (chosen % logits.shape[1]).astype(np.int32)
        rows = rows + np.arange(n)[:, None] * beam
        texts = self.tokens[rows]
        texts[:, :, t] = tokens
        ends = (tokens == end) | (t == self.length - 1)

        open_sentences: np.ndarray = np.logical_not(self.done.reshape(n, beam).any(axis=1))
        over = ends & (np.arange(chosen.shape[1]) < beam) & open_sentences[:, None]
        merged = np.concatenate([self.ended, np.where(over, scores / (t + 1) ** self.penalty, -np.inf)], axis=1)
        best = np.argsort(-merged, axis=1, kind="stable")[:, :beam]
        self.ended = np.take_along_axis(merged, best, axis=1)
        self.texts = np.take_along_axis(np.concatenate([self.texts, texts], axis=1), best[:, :, None], axis=1)

        going = np.argsort(ends, axis=1, kind="stable")[:, :beam]
        at = np.take_along_axis(rows, going, axis=1).reshape(-1)
        self.scores = np.take_along_axis(np.where(ends, -np.inf, scores), going, axis=1).reshape(-1)
        self.last = np.take_along_axis(tokens, going, axis=1).reshape(-1)
        self.cache = self.cache[at]
        self.tokens = np.take_along_axis(texts, going[:, :, None], axis=1).reshape(n * beam, -1)
        possible = self.scores.reshape(n, beam)[:, 0] / (t + 1) ** self.penalty
        self.done = np.repeat(~open_sentences | ~(possible > self.ended.min(axis=1)), beam)

    def collect(self, sequences: np.ndarray, which: np.ndarray) -> None:
        sequences[self.who[which]] = self.texts[which, 0]

    def keep(self, which: np.ndarray) -> None:
        super().keep(which)
        self.ended, self.texts = self.ended[which], self.texts[which]


def _log_shares(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax of each row (N, V)."""
    top = logits.max(axis=1, keepdims=True)
    shares: np.ndarray = (logits - top) - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return shares


def places(prompt: Sequence[int], length: int) -> int:
    """Places of a cache for so many tokens behind those that a sequence begins with."""
    return len(prompt) - 1 + length


def feeds(
    last: np.ndarray, t: int, cache: np.ndarray, memory: np.ndarray, source_mask: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The decoder's inputs of step `t` (from 0): the token before it (N,), the cache's first `t` places are filled.

    `source_mask` None is for a decoder that looks at all of the source and takes none.
    """
    n, room = len(last), cache.shape[2]
    mask = np.zeros((n, 1, room + 1), np.int32)
    mask[:, :, :t] = 1
    mask[:, :, room] = 1

    return {
        "tokens": last[:, None].astype(np.int32),
        "positions": np.full((n, 1), t, np.int32),
        "mask": mask,
        "cache": cache,
        "memory": memory,
        **({} if source_mask is None else {"source_mask": source_mask}),
    }


def sources(source: np.ndarray, source_mask: np.ndarray) -> dict[str, np.ndarray]:
    """The encoder's inputs: tokens and mask (N, S), and their positions."""
    places = np.arange(source.shape[1], dtype=np.int32)
    positions = np.ascontiguousarray(np.broadcast_to(places, source.shape))
    return {"source": source, "positions": positions, "source_mask": source_mask}
