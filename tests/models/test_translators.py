"""Marian and T5 of transformers: logits, generated ids and tokens are the package's; what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="its models")
pytest.importorskip("sentencepiece", reason="its models")
pytest.importorskip("tokenizers", reason="texts need tokenizers")
import sentencepiece
import transformers

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import ModelError
from edgeft.models import ModelRequest, spm
from edgeft.tasks.translate import composed, decoding, learning

SIZE, LENGTH = 96, 12
ENGLISH = "the quick brown fox jumps over a lazy dog and house one two three"
GERMAN = "der schnelle braune Fuchs springt über einen faulen Hund und Haus eins zwei"
WORDS = {"source": ENGLISH.split(), "target": GERMAN.split()}
MARIAN = {
    "vocab_size": SIZE, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 20,
    "pad_token_id": SIZE - 1, "eos_token_id": 0, "decoder_start_token_id": SIZE - 1, "init_std": 0.4,
    "scale_embedding": True, "activation_function": "swish",
}  # fmt: skip
T5 = {
    "vocab_size": SIZE, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 2, "pad_token_id": 0,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 10, "decoder_start_token_id": 0,
}  # fmt: skip
KINDS = ("marian", "t5", "t5-gated")


def sentences(side: str) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS[side], 5)) for _ in range(300)]


def pieces(path: Path, *sides: str, **settings: Any) -> list[str]:
    """Train a SentencePiece model; its pieces."""
    lines = [line for side in sides for line in sentences(side)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(path.with_suffix("")), vocab_size=45 * len(sides),
        hard_vocab_limit=False, minloglevel=2, **settings,
    )  # fmt: skip
    path.with_suffix(".model").rename(path)
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [model.id_to_piece(i) for i in range(model.get_piece_size())]


def write(kind: str, folder: Path) -> Any:
    """A folder of random weights with its tokenizer; the package's own model, which now and then ends a text."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    if kind == "marian":
        config = transformers.MarianConfig(**MARIAN)
        module = transformers.MarianMTModel(config)
        module.final_logits_bias.normal_()
        module.final_logits_bias[0, 0] += 3.0
        union = dict.fromkeys(["</s>", "<unk>"])
        union |= dict.fromkeys([*pieces(folder / "source.spm", "source"), *pieces(folder / "target.spm", "target")])
        del union["<s>"]
        table = {piece: number for number, piece in enumerate([*union, "<pad>"])}
        (folder / "vocab.json").write_text(json.dumps(table))
        module.generation_config.bad_words_ids = [[SIZE - 1]]
    else:
        gated = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if kind == "t5-gated" else {}
        module = transformers.T5ForConditionalGeneration(transformers.T5Config(**T5, **gated))
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.endswith("relative_attention_bias.weight"):
                    parameter.normal_()
                elif parameter.ndim == 2 and "shared" not in name:
                    parameter.normal_(std=0.5) if "lm_head" in name else parameter.mul_(4.0)
        pieces(folder / "spiece.model", "source", "target", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    module.save_pretrained(folder)
    return module.eval()


def build(folder: Path, task: str = "translate") -> models.Built:
    return models.build(ModelRequest(recipe.Model("transformers", "", str(folder)), task, 1))


def spec_of(built: models.Built, folder: Path, **more: Any) -> dict[str, Any]:
    """The preprocessing that a session makes of it."""
    files = {}
    for name, content in built.files.items():
        files[name] = folder / f"{name}.read.json"
        files[name].write_bytes(content)
    data = recipe.Data(format="pairs", length=LENGTH, pairs=more)
    return decoding.configure(data, built.spec, {"files": files}, lambda text: None)


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, models.Built, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    return write(request.param, folder), build(folder), folder


def batch(rows: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources of several lengths, the padding behind them, and masks."""
    source = torch.randint(3, 40, (rows, LENGTH), generator=torch.Generator().manual_seed(5))
    mask = (torch.arange(LENGTH) < torch.arange(3, rows + 3)[:, None].clamp(max=LENGTH)).long()
    return source, mask


def test_the_logits_are_those_of_the_package(case: tuple[Any, models.Built, Path]) -> None:
    reference, built, _ = case
    source, mask = batch()
    target = source.flip(1).contiguous()
    with torch.no_grad():
        expected = reference(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        logits = built.module(source.int(), mask.int(), target.int())
    most, apart = float(expected.abs().max()), (logits - expected).abs()
    assert most > 1 and float(apart.max()) < 1e-4 * most and float(apart.median()) < 1e-5, "float32, in another order"


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("penalty", [1.0, 0.4])
def test_the_texts_are_those_that_the_package_generates(
    case: tuple[Any, models.Built, Path], beam: int, penalty: float
) -> None:
    reference, built, folder = case
    spec = {**spec_of(built, folder, beam=beam), "length_penalty": penalty}
    source, mask = batch()
    settings = {"length_penalty": penalty} if beam > 1 else {}
    if built.spec["suppress"]:
        settings["bad_words_ids"] = [[token] for token in built.spec["suppress"]]
    ids = reference.generate(
        input_ids=source, attention_mask=mask, num_beams=beam, max_new_tokens=LENGTH, do_sample=False, **settings
    )
    special = (reference.config.pad_token_id, reference.config.eos_token_id)
    expected = [[token for token in row if token not in special] for row in ids[:, 1:].tolist()]
    session = learning.composed(built.module, spec)
    tokens = session.run({"source": source.int().numpy(), "source_mask": mask.int().numpy()})["tokens"]
    assert [[token for token in row if token] for row in tokens.tolist()] == expected
    assert len({tuple(row) for row in expected}) > 2


def test_the_tokens_are_those_of_the_package(case: tuple[Any, models.Built, Path]) -> None:
    reference, built, folder = case
    spec = spec_of(built, folder)
    if reference.config.model_type == "marian":
        names = [str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")]
        with pytest.warns(UserWarning, match="sacremoses"):
            tokenizer = transformers.MarianTokenizer(*names)
        texts = [*sentences("source")[:50], "  two  dogs", "thé house", "fox\u00a0jumps", "\uff54\uff57\uff4f"]
        for words in texts:
            assert [*decoding.ids(words, spec), 0] == tokenizer(words).input_ids, words
        for words in sentences("target")[:50]:
            ids = decoding.ids(words, spec, "target")
            assert [*ids, 0] == tokenizer(text_target=words).input_ids
            assert decoding.texts(np.array([ids], np.int32), spec).tolist() == [words]
        return
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    for words in [*sentences("source")[:50], *sentences("target")[:50], "  two  dogs", "fox 123 \u65e5\u672c dog"]:
        assert decoding.ids(words, spec) == processor.encode(words), words
        if 2 not in processor.encode(words):
            ids = np.array([decoding.ids(words, spec)], np.int32)
            assert decoding.texts(ids, spec).tolist() == [processor.decode(processor.encode(words))]


def test_a_prefix_stands_before_every_source(case: tuple[Any, models.Built, Path]) -> None:
    _, built, folder = case
    plain, prefixed = spec_of(built, folder), spec_of(built, folder, prefix="two three: ")
    assert decoding.ids("fox", prefixed) == decoding.ids("two three: fox", plain)
    assert decoding.ids("Haus", prefixed, "target") == decoding.ids("Haus", plain, "target")
    feeds = decoding.preprocess("fox", prefixed)
    assert feeds["source"][0, : feeds["source_mask"].sum()].tolist() == [
        *decoding.ids("two three: fox", plain), plain["end"]
    ]  # fmt: skip


def test_searching_settings_of_a_bundle_are_checked() -> None:
    from edgeft.core.errors import BundleError

    for key, value in (("length_penalty", "1"), ("suppress", [-1]), ("suppress", "all")):
        with pytest.raises(BundleError, match="expected") as caught:
            composed.searching({key: value})
        assert caught.value.where == f"preprocess.{key}"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("source.spm", None, "has no source.spm"),
        ("target.spm", b"no model", "is no model of sentencepiece"),
        ("vocab.json", b'{"</s>": 0, "<unk>": 2}', "without a gap"),
        ("vocab.json", b"[]", "cannot be read as a vocabulary"),
        ("target_vocab.json", b"{}", "a vocabulary for each language"),
    ],
)
def test_folders_of_marian_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, change: bytes | None, message: str
) -> None:
    write("marian", tmp_path)
    if change is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(change)
    with pytest.raises(ModelError, match=message):
        build(tmp_path)


def test_a_model_that_is_cut_off_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    pieces(tmp_path / "whole.spm", "source")
    content = (tmp_path / "whole.spm").read_bytes()
    for end in (0, 1, 7, len(content) // 2, len(content) - 3):
        (tmp_path / "cut.spm").write_bytes(content[:end])
        with pytest.raises(ModelError, match="is no model of sentencepiece"):
            spm.read(tmp_path / "cut.spm")
    pieces(tmp_path / "bpe.spm", "source", model_type="bpe")
    with pytest.raises(ModelError, match="is a BPE model"):
        spm.read(tmp_path / "bpe.spm")


def test_folders_for_other_tasks_say_what_they_are_for(tmp_path: Path) -> None:
    write("t5", tmp_path / "t5")
    with pytest.raises(ModelError, match=r"encoder-decoder[\s\S]*AutoModelForSeq2SeqLM \(translate\)"):
        build(tmp_path / "t5", "text-classify")
    (tmp_path / "t5" / "spiece.model").unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer.json and no spiece.model"):
        build(tmp_path / "t5")

    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 20}
    transformers.BartForConditionalGeneration(transformers.BartConfig(**small, **heads)).save_pretrained(tmp_path / "b")
    with pytest.raises(ModelError, match=r"'bart' is no encoder-decoder that is taken[\s\S]*marian, t5, mt5"):
        build(tmp_path / "b")

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    transformers.BertModel(transformers.BertConfig(vocab_size=10, **sizes)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ModelError, match="no model for translate"):
        build(tmp_path / "bert")
