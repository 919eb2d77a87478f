"""Texts as inputs: tokens and mask, what is read from where, and what cannot be a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_run

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core import installation
from edgeft.core.errors import BundleError, DataError, Missing, RecipeError
from edgeft.inputs import image, text
from edgeft.tasks.classify import decoding as classify
from edgeft.tasks.text_classify import decoding as text_classify

pytest.importorskip("tokenizers", reason="texts need tokenizers")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = text_run.tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")
    files = {"tokenizer": str(path)}
    return {"kind": "text", "length": 8, "inputs": ["input_ids", "attention_mask"], "pad": 0, "files": files}


def test_the_task_is_found_by_name_and_decides_as_a_classifier_does() -> None:
    record = tasks.get("text-classify")
    assert record.name == text_classify.NAME and record.preprocess is text_classify.preprocess
    assert text_classify.METRIC.name == "accuracy" and text_classify.metric is classify.metric
    logits = {"output": np.array([[0.0, 2.0], [1.0, 0.0]])}
    assert text_classify.extra_metrics(logits, np.array([1, 0]))["macro_f1"] == 1.0
    assert text_classify.decode(logits, ("no", "yes"))[0]["label"] == "yes"


def test_a_text_is_filled_up_and_cut_between_the_special_tokens(spec: dict[str, Any]) -> None:
    feeds = text_classify.preprocess("Great dress", spec)
    great, dress = 4, 4 + 6 + 6 + 1
    assert list(feeds) == ["input_ids", "attention_mask"]
    assert feeds["input_ids"].tolist() == [[2, great, dress, 3, 0, 0, 0, 0]]
    assert feeds["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]
    assert {v.dtype for v in feeds.values()} == {np.dtype(np.int32)}
    long = text_classify.preprocess("great " * 50, spec)
    assert long["input_ids"].tolist() == [[2, *[great] * 6, 3]] and long["attention_mask"].all()
    padded = text_classify.preprocess("zebra", {**spec, "pad": 5, "length": 4})
    assert padded["input_ids"].tolist() == [[2, 1, 3, 5]], "an unknown word, and another token to fill up with"


def test_a_tokenizer_that_was_replaced_is_read_again(spec: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(Path(spec["files"]["tokenizer"]).read_text())
    other = {**spec, "files": {"tokenizer": str(path)}}
    before = text_classify.preprocess("great", other)["input_ids"]
    path.write_text(path.read_text().replace('"great"', '"gr3at!"'))
    assert text_classify.preprocess("great", other)["input_ids"].tolist() != before.tolist()


@pytest.mark.parametrize("raw", ["", "  \n", "a\0b", "\ud800", 3, None, np.zeros((4, 4), np.uint8)])
def test_what_is_no_text_is_refused(spec: dict[str, Any], raw: Any) -> None:
    with pytest.raises(DataError, match="text"):
        text_classify.preprocess(raw, spec)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"kind": "image"}, "kind"),
        ({"length": 2}, "length"),
        ({"length": 8.0}, "length"),
        ({"pad": -1}, "pad"),
        ({"inputs": ["input_ids"]}, "inputs"),
        ({"files": {}}, "files"),
    ],
)
def test_a_spec_that_cannot_be_followed_names_its_key(spec: dict[str, Any], changed: dict[str, Any], key: str) -> None:
    with pytest.raises(BundleError) as error:
        text_classify.preprocess("great", {**spec, **changed})
    assert error.value.where == f"preprocess.{key}"


def test_a_file_that_is_no_tokenizer(spec: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    for name in ("t.json", "absent.json"):
        with pytest.raises(BundleError, match="tokenizer") as error:
            text_classify.preprocess("great", {**spec, "files": {"tokenizer": str(tmp_path / name)}})
        assert error.value.where.endswith(name)


def test_without_the_package_the_command_that_installs_it(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = text_run.tokenizer(tmp_path / "tokenizer.json")
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(Missing) as error:
        text_classify.preprocess("great", {**spec, "files": {"tokenizer": str(path)}})
    assert error.value.remedy == installation.command("text")


def test_texts_are_read_from_files_and_from_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfGr\xc3\xb6\xc3\x9fe\r\n")
    assert text_classify.read(str(tmp_path / "a.txt"), {}) == "Größe"
    assert text_classify.read("great dress. no, really", {}) == "great dress. no, really"
    assert text_classify.read("word " * 2000, {}).startswith("word"), "longer than any name of a file"
    (tmp_path / "latin.txt").write_bytes(b"good\ncaf\xe9")
    with pytest.raises(DataError, match="not UTF-8") as error:
        text_classify.read(str(tmp_path / "latin.txt"), {})
    assert error.value.where.endswith("latin.txt:2")
    (tmp_path / "large.txt").write_bytes(b"x" * (text.MAX_BYTES + 1))
    (tmp_path / "empty.txt").write_bytes(b"\n")
    for name, message in (("large.txt", "larger"), ("empty.txt", "empty"), ("absent.txt", "no such file")):
        with pytest.raises(DataError, match=message):
            text_classify.read(str(tmp_path / name), {})
    with pytest.raises(DataError, match="empty"):
        text_classify.read("", {})


def test_the_length_comes_from_the_model_unless_the_recipe_states_it(spec: dict[str, Any]) -> None:
    defaults = {**spec, "longest": 24, "pretrained": True}
    assert text_classify.configure(recipe.Data(), defaults, {}, print) == spec
    assert text_classify.configure(recipe.Data(length=24), defaults, {}, print)["length"] == 24
    for length in (2, 25):
        with pytest.raises(RecipeError, match="3 to 24 tokens") as error:
            text_classify.configure(recipe.Data(length=length), defaults, {}, print)
        assert error.value.where == "data.length"


def test_models_and_tasks_that_do_not_go_together(spec: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="reads no text"):
        text_classify.configure(recipe.Data(), {"kind": "image"}, {}, print)
    with pytest.raises(RecipeError, match="no pictures"):
        image.configure(recipe.Data(), spec, {}, print)


def test_a_long_text_is_drawn_short() -> None:
    assert text_classify.draw("great", {}) == {"text": "great"}
    assert len(text_classify.draw("great " * 500, {})["text"]) < 400
