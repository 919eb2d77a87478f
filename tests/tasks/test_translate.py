"""Translation's metric against sacrebleu, its answers, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numbers_run
import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import BundleError, DataError, Missing, RecipeError
from edgeft.tasks.translate import composed
from edgeft.tasks.translate import decoding as translate

SAID = ["a man rides a bike", "two dogs play in the white snow", "a woman", "the cat sat on the mat today", "rain"]
TRUE = ["a man rides a bicycle", "two dogs play in the snow", "a young woman smiles", "the cat sat on a mat", "rain"]
TARGETS = np.array(TRUE, object)


def outputs(said: list[str]) -> dict[str, np.ndarray]:
    return {"tokens": np.full((len(said), 8), 5, np.int32), "text": np.array(said, np.str_)}


@pytest.fixture()
def sacrebleu():
    return pytest.importorskip("sacrebleu", reason="BLEU is sacrebleu's")


def test_bleu_and_chrf_are_those_of_sacrebleu_and_follow_from_the_sentences_statistics(sacrebleu) -> None:
    wanted = sacrebleu.corpus_bleu(SAID, [TRUE]).score
    assert translate.metric(outputs(SAID), TARGETS) == pytest.approx(wanted)
    rows = translate.statistics(outputs(SAID), TARGETS)
    assert rows.shape == (5, 10) and translate.metric_of(rows) == pytest.approx(wanted)
    some = [3, 0, 0, 1]
    again = sacrebleu.corpus_bleu([SAID[i] for i in some], [[TRUE[i] for i in some]]).score
    assert translate.metric_of([rows[i] for i in some]) == pytest.approx(again)
    chrf = sacrebleu.corpus_chrf(SAID, [TRUE]).score
    assert translate.extra_metrics(outputs(SAID), TARGETS)["chrF"] == pytest.approx(chrf)
    assert translate.metric(outputs(TRUE), TARGETS) == pytest.approx(100.0)


def test_chance_is_below_a_translation_and_classes_are_lengths(sacrebleu) -> None:
    assert 0 <= translate.chance(TARGETS) < translate.metric(outputs(SAID), TARGETS)
    found = translate.per_class(outputs(SAID), TARGETS, ())
    assert list(found) == ["up to 8 words"] and found["up to 8 words"]["n"] == 5
    long = np.array([*TRUE[:3], " ".join(["word"] * 10), " ".join(["word"] * 20)], object)
    found = translate.per_class(outputs(SAID), long, ())
    assert [row["n"] for row in found.values()] == [3, 1, 1]
    assert found["up to 8 words"]["metric"] == pytest.approx(sacrebleu.corpus_bleu(SAID[:3], [TRUE[:3]]).score)


def test_agreement_is_the_same_sentence() -> None:
    other = [*SAID[:4], "rain again"]
    assert translate.alike(outputs(SAID), outputs(other)).tolist() == [True] * 4 + [False]
    (first, *_) = translate.decode(outputs(SAID), ())
    assert first == {"label": SAID[0], "tokens": 8}


def test_what_does_not_fit_is_refused(sacrebleu) -> None:
    with pytest.raises(DataError, match="4 translations for 5 references"):
        translate.metric(outputs(SAID[:4]), TARGETS)
    with pytest.raises(DataError, match="no samples"):
        translate.metric(outputs([]), np.array([], object))
    with pytest.raises(BundleError, match="expected tokens and text"):
        translate.decode({"tokens": np.zeros((1, 2), np.int32)}, ())
    with pytest.raises(BundleError, match="expected encoder, decoder"):
        composed.compose({"main": None}, {})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"sorce": "en"}, "did you mean 'source'"),
        ({"vocabulary": "many"}, "expected a value like"),
        ({"vocabulary": 10}, "expected 259"),
        ({"beam": 0}, "expected 1 to 64"),
        ({"source": "de"}, "must be two names"),
    ],
)
def test_settings_that_cannot_be(pairs: dict, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        translate.settings(Data(pairs=pairs))
    assert said in f"{caught.value.message} {caught.value.remedy}" and "data.pairs" in caught.value.where


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A `preprocess` table with the tokenizer of the toy language."""
    pytest.importorskip("tokenizers", reason="sentences are tokens")
    folder = tmp_path_factory.mktemp("numbers")
    asked = Data(
        format="pairs", path=str(numbers_run.write_folder(folder / "pairs")), length=6, pairs={"vocabulary": 310}
    )
    learned = translate.learn(asked, data.open(asked))
    assert learned == translate.learn(asked, data.open(asked)), "the same pairs give the same tokenizer"
    path = folder / "tokenizer.json"
    path.write_bytes(learned["tokenizer"])
    return translate.configure(asked, {"longest": 6}, {"files": {"tokenizer": path}}, print)


def test_a_sentence_is_tokens_an_end_and_padding(spec: dict[str, Any]) -> None:
    found = translate.preprocess("two three", spec)
    body = translate.ids("two three", spec)
    assert list(found) == spec["inputs"] and {v.dtype for v in found.values()} == {np.dtype(np.int32)}
    assert found["source"].tolist() == [[*body, translate.END] + [translate.PAD] * (5 - len(body))]
    assert found["source_mask"].tolist() == [[1] * (len(body) + 1) + [0] * (5 - len(body))]
    assert translate.texts(np.array([[*body, translate.PAD]]), spec).tolist() == ["two three"]


def test_a_longer_sentence_is_cut_and_still_ends(spec: dict[str, Any]) -> None:
    words = "one two three four five six one two"
    found = translate.preprocess(words, spec)
    assert found["source"].tolist() == [[*translate.ids(words, spec)[:5], translate.END]]
    assert found["source_mask"].all()


def test_no_character_is_unknown_and_none_is_a_special_token(spec: dict[str, Any]) -> None:
    for words in ("naïve Zoë", "日本", "🙂", "a  b", "</s> <pad>"):
        body = translate.ids(words, spec)
        decoded = translate.texts(np.array([body]), {**spec, "pad": -1})[0]
        assert decoded == words and min(body) >= len(translate.SPECIAL), words
    assert translate.vocabulary(spec["files"]["tokenizer"]) <= 310


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"kind": "text"}, "kind"),
        ({"length": 2}, "length"),
        ({"length": 6.0}, "length"),
        ({"pad": -1}, "pad"),
        ({"end": None}, "end"),
        ({"files": {}}, "files"),
    ],
)
def test_a_spec_that_cannot_be_followed_names_its_key(spec: dict[str, Any], changed: dict[str, Any], key: str) -> None:
    with pytest.raises(BundleError) as caught:
        translate.preprocess("two", {**spec, **changed})
    assert caught.value.where == f"preprocess.{key}"


def test_what_is_no_sentence_is_refused(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for raw in (7, "", "  "):
        with pytest.raises(DataError):
            translate.preprocess(raw, spec)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="tokenizer"):
        translate.preprocess("two", {**spec, "files": {"tokenizer": str(tmp_path / "tokenizer.json")}})
    (tmp_path / "other.json").write_bytes(Path(spec["files"]["tokenizer"]).read_bytes())
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(Missing):
        translate.preprocess("two", {**spec, "files": {"tokenizer": str(tmp_path / "other.json")}})


def test_too_many_long_pairs_stop_the_run_and_a_few_are_told(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="sentences are tokens")
    folder = numbers_run.write_folder(tmp_path / "pairs")
    asked = Data(format="pairs", path=str(folder), length=3, pairs={"vocabulary": 310})
    with pytest.raises(DataError, match="of 500 pairs are longer than 3 tokens") as caught:
        translate.learn(asked, data.open(asked))
    assert "train.en:" in caught.value.where and "data.length = 5" in str(caught.value.remedy)
    lines = (folder / "train.en").read_text().splitlines()
    lines[6] = "one " * 30
    (folder / "train.en").write_text("".join(f"{line}\n" for line in lines))
    asked, told = Data(format="pairs", path=str(folder), length=6, pairs={"vocabulary": 310}), []
    translate.learn(asked, data.open(asked), told.append)
    assert len(told) == 1 and told[0].startswith("1 of 500 pairs") and told[0].endswith("train.en:7")


def test_the_length_is_the_recipes_within_the_models_positions(spec: dict[str, Any]) -> None:
    facts = {"files": spec["files"]}
    assert translate.configure(Data(), {"longest": 64}, facts, print)["length"] == translate.LENGTH
    for length, longest in ((2, 64), (65, 64)):
        with pytest.raises(RecipeError, match="the model takes 3 to 64") as caught:
            translate.configure(Data(length=length), {"longest": longest}, facts, print)
        assert caught.value.where == "data.length"
    with pytest.raises(RecipeError, match="no tokenizer"):
        translate.configure(Data(), {}, {}, print)
