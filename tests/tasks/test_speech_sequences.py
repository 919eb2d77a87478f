"""Transcripts that a model writes: texts of tokens, word errors, targets of a tokenizer, and tables that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import BundleError, DataError, RecipeError
from edgeft.tasks.speech import decoding, pieces, sequences, transcript
from edgeft.verify.parity import parity

SPEC: dict[str, Any] = {
    "kind": "log_mel", "input": "input_features", "rate": 8000, "length": 8000, "window": 200, "hop": 80, "mels": 4,
}  # fmt: skip
SEARCH: dict[str, Any] = {
    "start": [7, 8], "end": 6, "length": 5, "beam": 1, "length_penalty": 1.0, "suppress": [], "suppress_first": [6],
}  # fmt: skip
TASK = tasks.get("speech")


def outputs(*texts: str) -> dict[str, np.ndarray]:
    tokens = np.array([[len(text), -1] for text in texts], np.int32)
    return {"tokens": tokens, "text": np.array(texts), "steps": np.full(len(texts), 3, np.int32)}


def targets(*texts: str) -> np.ndarray:
    made = np.empty(len(texts), object)
    made[:] = [transcript.target(transcript.words_of(text), "text", (), text) for text in texts]
    return made


def tokenizer(path: Path) -> str:
    """Four pieces, an end, and a word that is no special token."""
    added = [{"id": 4, "content": "<|end|>", "special": True}, {"id": 5, "content": "caf\u00e9", "special": False}]
    vocab = {"fall": 0, "\u0120rise": 1, "\u00c3": 2, "\u00bc": 3}
    path.write_text(json.dumps({"model": {"type": "BPE", "vocab": vocab}, "added_tokens": added}))
    return str(path)


@pytest.mark.board
def test_texts_are_those_of_the_bytes(tmp_path: Path) -> None:
    path = tokenizer(tmp_path / "tokenizer.json")
    assert pieces.text_of([0, 1, 4], path) == "fall rise"
    assert pieces.text_of([1, 2, 3, 5, 4, 99], path) == "rise\u00fccaf\u00e9", "spaces at the ends are no words"
    assert pieces.text_of([2, 1], path) == "\ufffd rise", "half a character"
    for content in ("", "[]", '{"model": {"vocab": []}, "added_tokens": []}', '{"model": {"vocab": {"a": "b"}}}'):
        Path(path).write_text(content)
        with pytest.raises(BundleError, match="is no tokenizer"):
            pieces.text_of([0], path)


@pytest.mark.board
def test_word_errors_look_at_no_case_and_no_punctuation() -> None:
    said = targets("Fall, rise!", "tone", "fall fall rise")
    heard = outputs("fall rise.", "Tone tone", "fall rise")
    assert TASK.score(heard, said) == pytest.approx(2 / 6)
    assert TASK.statistics is not None and TASK.statistics(heard, said).tolist() == [[0, 2], [1, 1], [1, 3]]
    assert TASK.alike(heard, outputs("Fall rise", "tone tone", "rise")).tolist() == [True, True, False]
    assert TASK.decode(heard, ())[0] == {"label": "fall rise.", "tokens": 1}
    assert TASK.tell is not None and TASK.tell(outputs("a"), None, SPEC, ())["label"] == "a"
    assert TASK.margins(heard).tolist() == [0, 0, 0] and TASK.decisions(heard).dtype == np.int64
    assert TASK.per_class(heard, said, ())["fall"] == {"metric": pytest.approx(1 / 3), "n": 3}
    with pytest.raises(DataError, match="3 outputs for 2 targets"):
        TASK.score(heard, said[:2])


@pytest.mark.board
def test_targets_hold_the_text_as_it_is_written() -> None:
    (target,) = targets("The  Fox!")
    assert target["written"] == "The  Fox!" and target["text"] == "the fox" and not len(target["tokens"])
    assert "written" not in transcript.target(["a"], "words", ("a",), "A")
    joined = TASK.join(targets("a b"), (), (), "here")
    assert joined[0]["text"] == "a b"
    letters = np.empty(1, object)
    letters[0] = transcript.target(["a"], "characters", (" ", "a"))
    assert TASK.join(letters, (" ", "a"), (), "here") is letters, "a bundle without labels writes any text"


@pytest.mark.board
@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"start": []}, "start"),
        ({"start": [7, -1]}, "start"),
        ({"end": None}, "end"),
        ({"length": 0}, "length"),
        ({"length": 10**9}, "length"),
        ({"beam": 1.0}, "beam"),
        ({"length_penalty": 1}, "length_penalty"),
        ({"length_penalty": float("nan")}, "length_penalty"),
        ({"suppress": "all"}, "suppress"),
        ({"suppress_first": [1 << 21]}, "suppress_first"),
    ],
)
def test_a_search_that_cannot_be_is_named(change: dict[str, Any], key: str) -> None:
    with pytest.raises(BundleError, match="expected") as caught:
        sequences.searching({**SPEC, "search": {**SEARCH, **change}})
    assert caught.value.where == f"preprocess.search.{key}"


@pytest.mark.board
def test_a_bundle_of_other_graphs_is_refused() -> None:
    with pytest.raises(BundleError, match="expected encoder, decoder"):
        sequences.compose({"main": None}, {**SPEC, "search": SEARCH})  # type: ignore[dict-item]
    with pytest.raises(BundleError, match="expected encoder, decoder"):
        sequences.compose({"encoder": None, "decoder": None}, SPEC)  # type: ignore[dict-item]


@pytest.mark.board
def test_the_window_and_the_units_have_to_fit() -> None:
    defaults = {**SPEC, "search": SEARCH}
    files = {"files": {"tokenizer": "t.json"}}

    def configured(data: recipe.Data, **facts: Any) -> dict[str, Any]:
        return decoding.configure(data, defaults, {**files, "units": "text", **facts}, said.append)

    said: list[str] = []
    spec = configured(recipe.Data(), rate=4000, longest=0.9)
    assert spec["files"] == {"tokenizer": "t.json"} and spec["search"] == SEARCH and "4000 Hz" in said[0]
    assert configured(recipe.Data(sound={"seconds": 1.0}), longest=1.5, most_seconds=1.0) == spec
    with pytest.raises(RecipeError, match=r"one recording is 1\.50 s long, and the model hears at most 1 s"):
        configured(recipe.Data(), longest=1.5)
    with pytest.raises(RecipeError, match="has 'mels', which belongs to features"):
        configured(recipe.Data(sound={"mels": 40}))
    with pytest.raises(RecipeError, match=r"'words', and this model writes texts[\s\S]*data.units = \"text\""):
        configured(recipe.Data(), units="words")
    with pytest.raises(RecipeError, match=r"'text', and this model has an output for each label"):
        decoding.configure(recipe.Data(), {}, {"units": "text", "longest": 1.0}, said.append)


@pytest.mark.board
@pytest.mark.parametrize("name", ["speech", "translate"])
def test_parity_judges_each_graph_by_its_part(name: str) -> None:
    task = tasks.get(name)
    assert task.part is not None
    rng = np.random.default_rng(0)
    memory = {key: rng.normal(size=(3, 4, 2)) for key in ("key_0", "value_0")}
    step = {"logits": rng.normal(size=(3, 1, 6)), **memory}
    other = {**step, "logits": -step["logits"]}
    for graph, expected in (("encoder", memory), ("decoder", step)):
        part, steps = task.part(graph), dict.fromkeys(expected, 0.1)
        assert parity(part, expected, expected, steps, metric="graph").verdict == "pass"
    assert parity(task.part("decoder"), step, other, dict.fromkeys(step, 0.1), metric="graph").verdict == "fail"
