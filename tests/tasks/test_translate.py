"""Translation's metric against sacrebleu, its answers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from edgeft.errors import BundleError, DataError, RecipeError
from edgeft.recipe import Data
from edgeft.tasks import translate

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
    assert sum(row["n"] for row in found.values()) == 5


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
        translate.compose({"main": None}, {})  # type: ignore[dict-item]


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
