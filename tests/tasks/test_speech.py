"""Speech: texts as tokens, logits as words, the word error rate by hand, and joining by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import BundleError, DataError, RecipeError
from edgeft.inputs import sound
from edgeft.tasks.speech import decoding as speech
from edgeft.tasks.speech import transcript

pytestmark = pytest.mark.board

LABELS = ("no", "stop", "yes")
LETTERS = (" ", "a", "b", "c")


def said(*paths: list[int], width: int = 4) -> dict[str, np.ndarray]:
    """Outputs whose best paths are these, padded by blanks."""
    frames = max(map(len, paths))
    logits = np.zeros((len(paths), width, frames), np.float32)
    for row, path in zip(logits, paths):
        row[[*path, *[0] * (frames - len(path))], np.arange(frames)] = 4.0
    return {"logits": logits}


def wanted(*words: str, units: str = "words", labels: tuple[str, ...] = LABELS) -> np.ndarray:
    made = np.empty(len(words), object)
    made[:] = [transcript.target(text.split(), units, labels) for text in words]
    return made


def test_the_task_is_found_by_name() -> None:
    record = tasks.get("speech")
    assert record.name == "speech" and record.preprocess is speech.preprocess and record.measure is speech.measure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Seven  three\n", ["seven", "three"]),
        ("“Yes,” she said.", ["yes", "she", "said"]),
        ("don't - stop!", ["don't", "stop"]),
        ("caf\u0065\u0301", ["caf\u00e9"]),
        (" ... ", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert transcript.words_of(text) == words


def test_tokens_are_outputs_behind_the_blank() -> None:
    assert wanted("yes no maybe")[0]["tokens"].tolist() == [3, 1, -1]
    letters = wanted("ab c", units="characters", labels=LETTERS)[0]
    assert letters["tokens"].tolist() == [2, 3, 1, 4] and letters["separator"] == 1
    assert speech.describe(letters, LETTERS) == "ab c"
    assert transcript.grouped([1, 2, 3, 1, 1, 4, 1], 1) == [(2, 3), (4,)] and transcript.grouped([2, 3], 0) == [
        (2,),
        (3,),
    ]


def test_the_word_error_rate_is_errors_over_words() -> None:
    outputs = said([3, 3, 0, 1], [1, 0, 1], [2, 0, 0, 3])  # yes no | no no | stop yes
    targets = wanted("yes no", "no", "stop stop yes")
    assert speech.statistics(outputs, targets).tolist() == [[0, 2], [1, 1], [1, 3]]
    assert speech.metric(outputs, targets) == pytest.approx(2 / 6)
    assert speech.metric_of([[1, 1], [1, 3]]) == pytest.approx(2 / 4)
    assert speech.extra_metrics(outputs, targets)["sentence_error_rate"] == pytest.approx(2 / 3)
    assert speech.per_sample(outputs, targets) is None
    assert speech.per_class(outputs, targets, LABELS) == {
        "no": {"metric": 0.0, "n": 2},
        "stop": {"metric": 0.5, "n": 2},
        "yes": {"metric": 0.0, "n": 2},
    }


def test_words_of_characters_are_judged_as_words() -> None:
    outputs = said([2, 3, 0, 1, 4, 4], [2, 0, 2, 1, 1, 3], width=5)  # "ab c" | "aa b"
    targets = wanted("ab c", "aa bc", units="characters", labels=LETTERS)
    assert speech.statistics(outputs, targets).tolist() == [[0, 2], [1, 2]]
    assert [row["label"] for row in speech.decode(outputs, LETTERS)] == ["ab c", "aa b"]
    assert [word["word"] for word in speech.decode(outputs, LETTERS)[0]["words"]] == ["ab", "c"]
    assert speech.per_class(outputs, targets, LETTERS)["bc"] == {"metric": 1.0, "n": 1}


def test_a_word_that_the_model_does_not_have_is_an_error() -> None:
    assert speech.metric(said([3]), wanted("maybe")) == 1.0
    assert speech.metric(said([3, 2]), wanted("yes maybe")) == 0.5


def test_decoding_tells_words_with_time_and_confidence() -> None:
    outputs = said([0, 3, 3, 0, 1])
    (found,) = speech.decode(outputs, LABELS)
    assert found["label"] == "yes no" and [w["frame"] for w in found["words"]] == [1, 4]
    assert found["words"][0]["confidence"] == pytest.approx(np.exp(4) / (np.exp(4) + 3))
    told = speech.tell(outputs, None, {"length": 8000, "rate": 8000}, LABELS)
    assert [w["seconds"] for w in told["words"]] == [0.2, 0.8]
    assert speech.decode(said([0, 0]), LABELS)[0] == {"label": "", "words": []}
    outputs["logits"][0, 0, 0] = np.nan
    assert speech.decode(outputs, LABELS)[0] == {"label": None, "words": []}


def test_agreement_is_of_transcripts_not_of_frames() -> None:
    assert speech.alike(said([3, 3, 0, 1], [1]), said([3, 0, 0, 1], [1, 0, 1])).tolist() == [True, False]
    assert speech.decisions(said([3, 0, 1])).tolist() == [[3, 0, 1]]
    assert speech.margins(said([3, 0, 1])) == pytest.approx([4])


def test_chance_is_the_best_of_constant_answers() -> None:
    assert speech.chance(wanted("yes no", "stop", "no")) == pytest.approx(
        2 / 4
    )  # "no" has one error in "yes no" and one in "stop"
    assert speech.chance(wanted("yes yes", "yes yes", "no")) == pytest.approx(2 / 5)
    assert speech.chance(wanted("yes no stop", "no", "stop")) < 1


def test_targets_are_joined_by_name() -> None:
    theirs = ("yes", "stop", "no")
    joined = speech.join(wanted("yes no"), LABELS, theirs, "d")
    assert joined[0]["tokens"].tolist() == [1, 3] and joined[0]["text"] == "yes no"
    with pytest.raises(DataError, match="1 of 1 texts hold what the bundle does not know, for example 'stop'"):
        speech.join(wanted("stop"), LABELS, ("no", "yes"), "d")
    many = speech.join(wanted(*["no"] * 30, "stop"), LABELS, ("no", "yes"), "d")
    assert many[-1]["tokens"].tolist() == [-1]
    letters = speech.join(wanted("c a", units="characters", labels=LETTERS), LETTERS, ("a", "c", " "), "d")
    assert letters[0]["tokens"].tolist() == [2, 3, 1] and letters[0]["separator"] == 3
    with pytest.raises(DataError, match="units"):
        speech.join(wanted("no"), LABELS, LETTERS, "d")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BundleError, match="2 labels for 4 outputs"):
        speech.decode(said([1]), LABELS[:2])
    with pytest.raises(BundleError, match="shape"):
        speech.metric({"logits": np.zeros((2, 3))}, wanted("no", "no"))
    with pytest.raises(DataError, match="1 outputs for 2 targets"):
        speech.metric(said([1]), wanted("no", "no"))
    for call in (lambda: speech.chance([]), lambda: speech.metric({"x": np.zeros((0, 4, 3))}, [])):
        with pytest.raises(DataError, match="no samples"):
            call()


def table(facts: dict[str, Any], **values: Any) -> dict[str, Any]:
    return speech.configure(recipe.Data(sound=values), {}, {"kind": "sound", **facts}, print)


def test_the_length_is_stated_or_the_longest_recording() -> None:
    assert table({"rate": 8000, "longest": 2.31})["length"] == 19_200
    assert table({"rate": 8000, "longest": 2.31}, seconds=0)["length"] == 19_200
    assert table({"rate": 8000, "longest": 2.31}, seconds=3.0)["length"] == 24_000
    made = table({"rate": 16_000}, seconds=1.0)
    assert (made["place"], made["window"], made["hop"], made["fmax"]) == ("start", 400, 160, 8000.0)
    with pytest.raises(RecipeError, match="not stated"):
        table({"rate": 8000})
    with pytest.raises(RecipeError, match="did you mean 'mels'"):
        speech.configure(recipe.Data(sound={"melz": 3, "seconds": 1}), {}, {}, print)


def test_a_recording_starts_at_the_start_and_zeros_follow(tmp_path: Path) -> None:
    spec = table({"rate": 8000}, seconds=1.0)
    samples, _ = sounds.sentence(np.random.default_rng(0), most=1)
    raw = speech.read(str(sounds.write(tmp_path / "a.wav", samples)), spec)
    spec = speech.measure(spec, [raw])
    x = speech.preprocess(raw, spec)["x"][0, 0]
    silent = speech.preprocess({"samples": np.zeros(1, np.int16), "rate": 8000}, spec)["x"][0, 0]
    heard = sound.heard(raw, sound.check(spec))
    assert np.array_equal(x[heard:], silent[heard:]) and not np.array_equal(x[:heard], silent[:heard])
    # mean and std are those of what was heard
    assert np.abs(x[:heard].mean(axis=0)).max() < 1e-4 and np.abs(x[:heard].std(axis=0) - 1).max() < 1e-3
    longer = {"samples": np.concatenate([raw["samples"], np.zeros(800, np.int16)]), "rate": 8000}
    assert np.array_equal(speech.preprocess(longer, spec)["x"][0, 0], x)
    assert speech.draw(raw, {})["image"].shape == (48, 320)


def test_a_recording_that_is_too_long_is_refused_not_cut(tmp_path: Path) -> None:
    spec = table({"rate": 8000}, seconds=1.0)
    path = sounds.write(tmp_path / "long.wav", np.zeros(16_001, np.int16), 16_000)
    with pytest.raises(DataError, match=r"1\.00 s long, and the model hears at most 1\.00 s") as caught:
        speech.read(str(path), spec)
    assert str(path) in str(caught.value.where)
    with pytest.raises(DataError, match="at most"):
        speech.preprocess({"samples": np.zeros(8001, np.int16), "rate": 8000}, spec)
    assert speech.read(str(sounds.write(path, np.zeros(16_000, np.int16), 16_000)), spec)["rate"] == 16_000


def test_a_table_that_cannot_be_followed() -> None:
    spec = table({"rate": 8000}, seconds=1.0) | {"place": "end"}
    with pytest.raises(BundleError, match="'middle' or 'start'"):
        speech.preprocess({"samples": np.zeros(9, np.int16), "rate": 8000}, spec)
