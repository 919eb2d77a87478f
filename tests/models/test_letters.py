"""Letters of CTC models of transformers: what vocab.json names is kept, in the order of the labels; the rest is new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="its models")
import transformers

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import ModelError, RecipeError
from edgeft.models import ModelRequest

SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8, 8],
    "conv_stride": [5, 4], "conv_kernel": [10, 8], "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2, "initializer_range": 0.3,
}  # fmt: skip
TOKENS = ("<s>", "</s>", "<pad>", "<unk>", "|", "B", "A", "'", "É")


def folder(path: Path, kind: str = "Wav2Vec2", head: str = "ForCTC", tokens: tuple[str, ...] = TOKENS) -> Path:
    """A small recognizer; the padding is not the first output."""
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**SIZES, vocab_size=len(tokens), pad_token_id=2)
    getattr(transformers, f"{kind}{head}")(config).save_pretrained(path)
    (path / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(tokens)}))
    return path


def build(path: Path, labels: str = " ab", units: str = "characters", **args: Any) -> models.Built:
    model = recipe.Model("transformers", "", str(path), {"features": 40, **args})
    asked = ModelRequest(
        model, "speech", len(labels) + 1, {"units": units}, labels=tuple(labels), of_data=frozenset({"features"})
    )
    return models.build(asked)


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert"])
def test_the_logits_are_those_of_the_package_in_the_order_of_the_labels(tmp_path: Path, kind: str) -> None:
    built = build(folder(tmp_path, kind))
    assert built.labels == (" ", "'", "a", "b", "é") and built.classes == 6 and built.head == "lm_head"
    reference = getattr(transformers, f"{kind}ForCTC").from_pretrained(tmp_path).eval()
    samples = torch.randn(2, 400, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = built.module(samples)
        expected = reference(samples).logits[:, :, [2, 4, 7, 6, 5, 8]].transpose(1, 2)
    assert logits.shape == expected.shape and torch.allclose(logits, expected, atol=1e-5)
    assert built.spec == {"kind": "waveform", "input": "input_values", "rate": 16_000, "normalize": True}
    assert "own letters are kept" in built.notes[-1]


def test_letters_that_the_vocabulary_lacks_are_named_and_begin_at_random(tmp_path: Path) -> None:
    built = build(folder(tmp_path), " abz")
    assert built.labels == (" ", "'", "a", "b", "z", "é")
    assert "vocab.json lacks 'z' of the transcripts" in built.notes[-1]
    stored = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path).lm_head.weight
    weight = built.module.lm_head.weight  # type: ignore[union-attr]
    assert torch.equal(weight[3], stored[6]) and not torch.isin(weight[5], stored).any()


def test_the_delimiter_of_words_is_that_of_the_tokenizer(tmp_path: Path) -> None:
    path = folder(tmp_path, tokens=("<s>", "</s>", "<pad>", "<unk>", "#", "b", "a"))
    (path / "tokenizer_config.json").write_text('{"word_delimiter_token": "#"}')
    built = build(path)
    assert built.labels == (" ", "a", "b") and "lacks" not in built.notes[-1]


@pytest.mark.parametrize(
    ("labels", "units", "change", "note"),
    [
        (" ab", "characters", "no vocab", "has no vocab.json that names the outputs"),
        (" abжд", "characters", "", "lacks 'ж', 'д'"),
        (" жди", "characters", "", "most letters of the transcripts: a new one is trained"),
        ("ab", "words", "", "data.units are words: a new one is trained"),
        (" ab", "characters", "no head", "the weights have no head of letters"),
    ],
)
def test_a_head_that_does_not_fit_is_replaced_and_the_reason_said(
    tmp_path: Path, labels: str, units: str, change: str, note: str
) -> None:
    path = folder(tmp_path, head="Model" if change == "no head" else "ForCTC")
    if change == "no vocab":
        (path / "vocab.json").unlink()
    built = build(path, labels, units)
    assert note in built.notes[-1]
    if "new one" in note:
        assert built.labels == tuple(labels) and built.module.lm_head.out_features == len(labels) + 1  # type: ignore[union-attr]
        assert bool(built.module.lm_head.bias[0] > 0), "a new head says the blank at first"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"eng": {"a": 1}, "deu": {"a": 1}}', "a vocabulary for each of eng, deu"),
        ('{"a": "1"}', "gives the token 'a' the output '1'"),
        ('{"a": 5000, "b": 6, " ": 3}', "has outputs up to 5000"),
        ("[1]", "cannot be read as a vocabulary"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = folder(tmp_path)
    (path / "vocab.json").write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        build(path)
    assert caught.value.where.endswith("vocab.json")


def test_models_of_another_kind_say_what_they_are_for(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=10, **sizes)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(ModelError, match=r"no model for speech[\s\S]*AutoModelForSequenceClassification"):
        build(tmp_path / "bert")
    with pytest.raises(RecipeError, match="cannot change 'width'"):
        build(folder(tmp_path / "speech"), width=3)
