"""Search over a decoder that is a table: against every sequence there is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from edgeft.core.errors import BundleError
from edgeft.metrics import beam_search as search

START, END, PAD, TOKENS, LENGTH = 1, 2, 0, 5, 4


class Table:
    """Scores that depend on the sentence, the place and the token before; the cache remembers what was said."""

    def __init__(self, seed: int, sentences: int) -> None:
        self.table = np.random.default_rng(seed).normal(size=(sentences, LENGTH, TOKENS, TOKENS)) * 2

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        last, t = feeds["tokens"][:, 0], int(feeds["positions"][0, 0])
        sentence = feeds["memory"][:, 0, 0, 0].astype(int)
        filled = feeds["mask"][:, 0, :-1].sum(axis=1)
        assert (filled == t).all() and (feeds["cache"][:, 0, :t, 0] > 0).all(), "every earlier step left its row"
        rows = (last + 1.0)[:, None, None].astype(np.float32)
        logits = self.table[sentence, t, last].astype(np.float32)
        return {"logits": logits[:, None], "key_0": rows, "value_0": rows}

    def score(self, sentence: int, tokens: tuple[int, ...]) -> float:
        """The normalized log probability of a sequence, its end included where it has one."""
        total, last = 0.0, START
        for t, token in enumerate(tokens):
            row = self.table[sentence, t, last]
            total += row[token] - np.log(np.exp(row).sum())
            last = token
        return total / len(tokens) ** search.LENGTH_PENALTY

    def every(self) -> list[tuple[int, ...]]:
        others = [t for t in range(TOKENS) if t != END]
        found = [(*body, END) for n in range(LENGTH) for body in itertools.product(others, repeat=n)]
        return found + list(itertools.product(others, repeat=LENGTH))


def run(table: Table, n: int, beam: int) -> np.ndarray:
    memory = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, 2, 3, 1)).copy()
    mask = np.ones((n, 3), np.int32)
    return search.search(table, memory, mask, start=START, end=END, pad=PAD, length=LENGTH, beam=beam)


def bare(row: np.ndarray) -> list[int]:
    return row.tolist()


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_that_holds_everything_finds_the_best_sequence_there_is(seed: int) -> None:
    table = Table(seed, 3)
    found = run(table, 3, beam=TOKENS**LENGTH)
    for sentence in range(3):
        best = max(table.every(), key=lambda tokens, s=sentence: table.score(s, tokens))
        wanted = [t for t in best if t != END]
        assert bare(found[sentence]) == wanted + [PAD] * (LENGTH - len(wanted))


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_one_takes_the_likeliest_token_each_time(seed: int) -> None:
    table = Table(seed, 4)
    found = run(table, 4, beam=1)
    for sentence in range(4):
        said, last = [], START
        for t in range(LENGTH):
            last = int(table.table[sentence, t, last].argmax())
            if last == END:
                break
            said.append(last)
        assert bare(found[sentence]) == said + [PAD] * (LENGTH - len(said))


class Remembering(Table):
    """Scores that depend on all earlier tokens of a row, as its cache has them."""

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = super().__call__(feeds)
        last, t = feeds["tokens"][:, 0], int(feeds["positions"][0, 0])
        earlier = (feeds["cache"][:, 0, :t, 0] - 1).sum(axis=1).astype(int)
        sentence = feeds["memory"][:, 0, 0, 0].astype(int)
        logits = self.table[sentence, t, (last + earlier) % TOKENS].astype(np.float32)
        return {**out, "logits": logits[:, None]}

    def score(self, sentence: int, tokens: tuple[int, ...]) -> float:
        total, seen = 0.0, START
        for t, token in enumerate(tokens):
            row = self.table[sentence, t, seen % TOKENS]
            total += row[token] - np.log(np.exp(row).sum())
            seen += token
        return total / len(tokens) ** search.LENGTH_PENALTY


@pytest.mark.parametrize("seed", range(6))
def test_the_cache_of_a_beam_follows_its_row(seed: int) -> None:
    table = Remembering(seed, 2)
    found = run(table, 2, beam=TOKENS**LENGTH)
    for sentence in range(2):
        best = max(table.every(), key=lambda tokens, s=sentence: table.score(s, tokens))
        expected = [t for t in best if t != END]
        assert bare(found[sentence]) == expected + [PAD] * (LENGTH - len(expected))


def test_sentences_do_not_depend_on_their_neighbours() -> None:
    table = Table(9, 5)
    together = run(table, 5, beam=2)
    for sentence in range(5):
        memory = np.full((1, 2, 3, 1), sentence, np.float32)
        mask = np.ones((1, 3), np.int32)
        alone = search.search(table, memory, mask, start=START, end=END, pad=PAD, length=LENGTH, beam=2)
        assert np.array_equal(alone[0], together[sentence])


def test_nothing_in_nothing_out_and_no_beam_is_refused() -> None:
    table = Table(0, 1)
    assert run(table, 0, beam=2).shape == (0, LENGTH)
    with pytest.raises(ValueError, match="beam"):
        run(table, 1, beam=0)


@pytest.mark.board
@pytest.mark.parametrize("beam", [1, 3])
def test_a_prompt_is_fed_before_the_first_token_and_no_part_of_the_text(beam: int) -> None:
    """The next token is a function of all places of the cache and their order, so that a place left out shows."""
    weights = np.random.default_rng(0).normal(0, 3, (8, 8, 8))
    fed: list[tuple[int, int]] = []

    def step(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert "source_mask" not in feeds
        last, place = feeds["tokens"][:, 0], int(feeds["positions"][0, 0])
        fed.append((int(last[0]), place))
        visible = feeds["mask"][:, 0, :-1].astype(bool)
        assert (visible.sum(axis=1) == place).all()
        rows = np.where(visible, feeds["cache"][:, 0, :, 0], 0.0)
        before = rows[:, place - 1].astype(int) if place else np.zeros(len(last), int)
        key = last.astype(np.float32)[:, None, None]
        return {"logits": weights[before, last][:, None].copy(), "key_0": key, "value_0": key}

    memory = np.zeros((1, 2, 4, 1), np.float32)
    table: dict[str, int | float] = {"end": 7, "pad": 7, "length": 4, "beam": beam, "penalty": 1.0}
    tokens = search.search(step, memory, None, start=[5, 3, 2], suppress_first=[7], **table)
    assert fed[:3] == [(5, 0), (3, 1), (2, 2)] and tokens.shape == (1, 4) and tokens[0, 0] != 7
    first = weights[3, 2][:7]
    assert beam > 1 or tokens[0, 0] == first.argmax()
    with pytest.raises(ValueError, match="to start with"):
        search.search(step, memory, None, start=[], **table)


@pytest.mark.parametrize(
    ("encoder", "decoder", "graph"),
    [
        (["x", "value_0"], ["logits", "key_0", "value_0"], "encoder"),
        (["key_0", "x"], ["logits", "key_0", "value_0"], "encoder"),
        ([], ["logits", "key_0", "value_0"], "encoder"),
        (["key_0", "value_0"], ["x", "key_0", "value_0"], "decoder"),
        (["key_0", "value_0"], ["logits", "key_1", "value_1"], "decoder"),
    ],
)
def test_graphs_whose_outputs_are_not_those_of_a_search(encoder: list[str], decoder: list[str], graph: str) -> None:
    search.check_outputs(["value_0", "key_0"], ["logits", "key_0", "value_0"])
    with pytest.raises(BundleError, match="expected ") as caught:
        search.check_outputs(encoder, decoder)
    assert graph in caught.value.where
