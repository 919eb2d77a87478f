"""Tokenizers of every kind that tokenizer.json knows: the same ids as the package transformers gives."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tokenizers", reason="texts need tokenizers")
pytest.importorskip("transformers", reason="compares with the package transformers")
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from edgeft.inputs import run_text, text

CORPUS = [
    "A great dress, but it runs small.",
    "the zipper broke after two days :(",
    "Größe gut, Farbe naja – 5€ zu teuer",
    "soft   fabric\tand a lovely color",
]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def byte_level_bpe() -> Tokenizer:
    """As RoBERTa and ModernBERT have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return tokenizer


def unigram() -> Tokenizer:
    """As DeBERTa-v3 has it: SentencePiece's pieces with a mark before each word."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=SPECIAL, unk_token="<unk>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    """As BERT and MPNet have it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=SPECIAL))
    return tokenizer


@pytest.mark.parametrize("kind", [byte_level_bpe, unigram, word_piece])
def test_ids_are_those_of_the_package(kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = kind()
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=ends)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    oracle = PreTrainedTokenizerFast(tokenizer_file=str(path), pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    spec = {"kind": "text", "length": 24, "pad": 1, "inputs": ["input_ids", "attention_mask"]}
    monkeypatch.setattr(run_text, "HERE", str(tmp_path))
    for words in [*CORPUS, "unseen wörds, and an emoji 👗", "word " * 40]:
        feeds = text.preprocess(words, {**spec, "files": {"tokenizer": str(path)}})
        wanted = oracle(words, max_length=24, truncation=True, padding="max_length")
        assert feeds["input_ids"][0].tolist() == wanted["input_ids"], words
        assert feeds["attention_mask"][0].tolist() == wanted["attention_mask"], words
        alone = run_text.feeds(words, {**spec, "files": {"tokenizer": "tokenizer.json"}})
        assert all((feeds[name] == alone[name]).all() for name in spec["inputs"])
