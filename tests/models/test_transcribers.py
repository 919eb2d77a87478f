"""Whisper of transformers: logits, generated ids and tokens are the package's; what cannot be is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="its models")
pytest.importorskip("tokenizers", reason="texts need tokenizers")
import transformers

from edgeft import models
from edgeft.config import recipe, target
from edgeft.core.errors import DataError, ModelError, RecipeError
from edgeft.graph.same import same
from edgeft.models import ModelRequest
from edgeft.quantize.lower import lower
from edgeft.quantize.parts import calibrate_parts, capture_parts, insert_parts
from edgeft.tasks.speech import decoding, pieces, run_sequence, sequences, transcript
from edgeft.tasks.speech.learning import LEARNING
from edgeft.tasks.speech.learning import sequences as learning

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("no checkout with benchmarks", allow_module_level=True)
SIZES: dict[str, Any] = {
    "vocab_size": 300, "num_mel_bins": 20, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "max_source_positions": 50, "max_target_positions": 20, "init_std": 0.6,
}  # fmt: skip


#: what is added to the logit of the end
ENDS = 7.0


def tools() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import source_whisper
    finally:
        sys.path.remove(str(BENCHMARKS))
    return source_whisper


def write(folder: Path, **sizes: Any) -> Path:
    """A model whose texts end now and then."""
    tools().write(folder, {**SIZES, **sizes})
    network = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    with torch.no_grad():
        decoder = network.model.decoder
        end = decoder.embed_tokens.weight[network.config.eos_token_id]
        end.normal_(std=0.6, generator=torch.Generator().manual_seed(0))  # the padding has zeros
        decoder.layer_norm.bias.copy_(ENDS * end / end.square().sum())
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("whisper"))


def build(folder: Path, facts: dict[str, Any] | None = None, **args: Any) -> models.Built:
    model = recipe.Model("transformers", "whisper", str(folder), args)
    return models.build(ModelRequest(model, "speech", 2, facts or {"units": "text"}))


def spec_of(built: models.Built, folder: Path) -> dict[str, Any]:
    """The preprocessing that a session makes of it."""
    path = folder / "tokenizer.read.json"
    path.write_bytes(built.files["tokenizer"])
    return decoding.configure(recipe.Data(), built.spec, {"files": {"tokenizer": path}}, lambda text: None)


def features(spec: dict[str, Any], rows: int = 6) -> torch.Tensor:
    rng, count = np.random.default_rng(1), spec["length"]
    waves = [
        0.3 * rng.standard_normal(count // (1 + k % 3)) * np.sin(np.arange(count // (1 + k % 3)) * k / 300)
        for k in range(1, rows + 1)
    ]
    raws = [{"samples": wave.astype(np.float32), "rate": spec["rate"]} for wave in waves]
    return torch.from_numpy(np.concatenate([decoding.preprocess(raw, spec)[spec["input"]] for raw in raws]))


def generated(folder: Path, inputs: torch.Tensor, length: int, **settings: Any) -> list[list[int]]:
    """Token ids of the package, without the end."""
    network = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    ids = network.generate(inputs, max_new_tokens=length, do_sample=False, **settings)
    return [[token for token in row if token != network.config.eos_token_id] for row in ids.tolist()]


def test_the_logits_are_those_of_the_package(folder: Path) -> None:
    built = build(folder)
    spec = spec_of(built, folder)
    inputs = features(spec)
    tokens = torch.randint(0, 290, (6, 9), generator=torch.Generator().manual_seed(0))
    network = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = network(input_features=inputs, decoder_input_ids=tokens).logits
        logits = built.module(inputs, tokens.int())
    most = float(expected.abs().max())
    assert most > 1 and float((logits - expected).abs().max()) < 1e-4 * most


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("args", "settings"),
    [
        ({}, {}),
        ({"language": "german"}, {"language": "de"}),
        ({"language": "de", "task": "translate", "length": 9}, {"language": "de", "task": "translate"}),
        ({"beam": 4}, {"num_beams": 4}),
        ({"beam": 3, "language": "de"}, {"num_beams": 3, "language": "de"}),
    ],
)
def test_the_texts_are_those_that_the_package_generates(
    folder: Path, args: dict[str, Any], settings: dict[str, Any]
) -> None:
    built = build(folder, **args)
    spec = spec_of(built, folder)
    inputs = features(spec)
    expected = generated(folder, inputs, spec["search"]["length"], **settings)
    session = learning.composed(built.module, spec)
    outputs = session.run({spec["input"]: inputs.numpy()})
    ours = [[token for token in row if token >= 0] for row in outputs["tokens"].tolist()]
    assert ours == expected and len({tuple(row) for row in expected}) > 2
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    assert outputs["text"].tolist() == [tokenizer.decode(row, skip_special_tokens=True).strip() for row in expected]
    if "length" not in args:
        assert min(map(len, expected)) < spec["search"]["length"], "a text has ended"

    calls = {name: part.run for name, part in session.sessions.items()}
    run = run_sequence.compose(calls, spec)
    for row in range(len(inputs)):
        assert run({spec["input"]: inputs[row : row + 1].numpy()})["tokens"] == expected[row]


def test_the_prompt_is_forced_and_some_tokens_never_come(folder: Path) -> None:
    search = build(folder, language="German", task="translate").spec["search"]
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    names = ["<|startoftranscript|>", "<|de|>", "<|translate|>", "<|notimestamps|>"]
    assert search["start"] == tokenizer.convert_tokens_to_ids(names)
    assert search["suppress_first"] == [tokenizer.eos_token_id] and len(search["suppress"]) > 20
    assert (search["beam"], search["length"], search["length_penalty"]) == (1, 16, 1.0)


@pytest.mark.parametrize("form", ["tokenizer.json", "vocab.json"])
def test_the_tokens_are_those_of_the_package(folder: Path, tmp_path: Path, form: str) -> None:
    source = folder
    if form == "vocab.json":
        source = write(tmp_path / "old")
        table = json.loads((source / "tokenizer.json").read_text())
        (source / "vocab.json").write_text(json.dumps(table["model"]["vocab"]))
        merges = [" ".join(pair) for pair in table["model"]["merges"]]
        (source / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
        (source / "tokenizer.json").unlink()
    tokenizer = transformers.WhisperTokenizer.from_pretrained(source)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(build(source).files["tokenizer"])
    texts = [
        "rise and fall",
        " The quick, brown fox!",
        "\u00dcber Stra\u00dfe \u20ac \u65e5\u672c \U0001f600",
        "a  b\n\tc",
    ]
    for words in texts:
        ids = pieces.ids_of(words, str(path))
        assert ids == tokenizer(words, add_special_tokens=False).input_ids, words
        assert pieces.text_of([259, 260, *ids, 258], str(path)) == words.strip()
        for cut in range(1, len(ids)):
            expected = tokenizer.decode(ids[:cut], skip_special_tokens=True).strip()
            assert pieces.text_of(ids[:cut], str(path)) == expected, "bytes of a cut character"
    assert pieces.text_of(range(len(tokenizer)), str(path)).count("<|") == 0, "no timestamp, no special token"
    assert run_sequence.pieces(str(path)) == pieces.table(json.loads(path.read_text()))


def test_a_shorter_window_has_the_first_positions(folder: Path) -> None:
    built = build(folder, {"units": "text", "most_seconds": 0.45})
    assert built.spec["length"] == 3680 and built.module.encoder.positions.shape[0] == 23  # type: ignore[union-attr,index]
    spec = spec_of(built, folder)
    assert features(spec).shape[2] == 46 and spec["search"]["length"] == 16
    with torch.no_grad():
        assert built.module.encoder(features(spec))[0].shape == (6, 23, 16)  # type: ignore[operator]
    with pytest.raises(RecipeError, match="the model hears at most 1 s") as caught:
        build(folder, {"units": "text", "most_seconds": 1.2})
    assert caught.value.where == "data.sound.seconds"


def test_both_graphs_are_captured_quantized_and_lowered(folder: Path) -> None:
    built = build(folder)
    spec = spec_of(built, folder)
    captured = capture_parts(built.module, (), learning.parts(built.module, spec))
    graph = insert_parts(captured, target.load("host").scheme)
    inputs = features(spec)
    before = torch.randint(0, 250, (6, 7), generator=torch.Generator().manual_seed(0)).int()
    graph.calibrate_weights()
    calibrate_parts(graph, lambda: iter([(inputs, before)]), estimator="minmax", percentile=100.0)
    with torch.no_grad():
        expected, got = built.module(inputs, before), graph.module(inputs, before)
    apart = float((got - expected).square().mean() / expected.square().mean())
    assert 0 < apart < 0.05, "integers are near, and not the float model"
    parts = learning.parts(built.module, spec)
    for name, part in graph.graphs.items():
        assert same(part.module.eval(), lower(part, "int"), list(parts[name].example))
    assert graph.captured.graphs["decoder"].output_names[0] == "logits"


class Recordings:
    """Two recordings with their transcripts, as a split of the data has them."""

    def __init__(self, rate: int, *texts: str) -> None:
        self.raws = [{"samples": np.full(800, k, np.int16), "rate": rate} for k in range(len(texts))]
        self.targets = np.empty(len(texts), object)
        self.targets[:] = [transcript.target(transcript.words_of(text), "text", (), text) for text in texts]

    def __len__(self) -> int:
        return len(self.targets)

    def raw(self, i: int) -> dict[str, Any]:
        return self.raws[i]


def test_batches_begin_with_the_prompt_and_learn_the_text_and_its_end(folder: Path) -> None:
    spec = spec_of(build(folder), folder)
    prompt, end = spec["search"]["start"], spec["search"]["end"]
    split = Recordings(8000, "rise and fall", "Fox!")
    rows = [pieces.ids_of(text, spec["files"]["tokenizer"]) for text in ("rise and fall", "Fox!")]
    ((inputs, targets),) = list(LEARNING.loader(split, spec, 2))
    features_of, before = inputs
    assert features_of.shape == (2, 20, 100) and before.dtype == torch.int32
    for row, ids in enumerate(rows):
        count = len(prompt) + len(ids)
        assert before[row, :count].tolist() == [*prompt, *ids]
        assert targets[row, :count].tolist() == [-100] * (len(prompt) - 1) + [*ids, end]
        assert (targets[row, count:] == -100).all()
    with torch.no_grad():
        logits = build(folder).module(*inputs)
        loss = float(LEARNING.loss(logits, targets))
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        assert loss == pytest.approx(float(expected)) and float(LEARNING.distill(logits, logits, targets)) < 1e-6
    short = {**spec, "search": {**spec["search"], "length": len(rows[1]) + 1}}
    ((_, targets),) = list(LEARNING.loader(split, short, 2))
    assert len(targets) == 1, "what cannot be written is left out"
    with pytest.raises(DataError, match=rf"1 of 2 texts are longer than {len(rows[1]) + 1} tokens") as caught:
        LEARNING.loader(split, short, 2, shuffle=True)
    assert caught.value.where == "'rise and fall'"


def change_generation(folder: Path, **values: Any) -> None:
    path = folder / "generation_config.json"
    table = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in table.items() if value is not None}))


@pytest.mark.filterwarnings("ignore")
def test_a_model_of_one_language_has_no_prompt_of_languages(tmp_path: Path) -> None:
    write(tmp_path)
    absent = dict.fromkeys(("lang_to_id", "task_to_id", "language", "task"))
    change_generation(tmp_path, **absent, is_multilingual=False)
    built = build(tmp_path)
    spec = spec_of(built, tmp_path)
    assert len(spec["search"]["start"]) == 2
    inputs = features(spec)
    outputs = learning.composed(built.module, spec).run({spec["input"]: inputs.numpy()})
    ours = [[token for token in row if token >= 0] for row in outputs["tokens"].tolist()]
    assert ours == generated(tmp_path, inputs, spec["search"]["length"])
    with pytest.raises(RecipeError, match="the model knows one language"):
        build(tmp_path, language="de")


@pytest.mark.filterwarnings("ignore")
def test_forced_ids_are_a_prompt_too(tmp_path: Path) -> None:
    write(tmp_path)
    change_generation(tmp_path, language=None, task=None, forced_decoder_ids=[[1, 261], [2, 263]])
    built = build(tmp_path)
    spec = spec_of(built, tmp_path)
    assert spec["search"]["start"] == [259, 261, 263, 267]
    inputs = features(spec)
    outputs = learning.composed(built.module, spec).run({spec["input"]: inputs.numpy()})
    ours = [[token for token in row if token >= 0] for row in outputs["tokens"].tolist()]
    assert ours == generated(tmp_path, inputs, spec["search"]["length"])
    change_generation(tmp_path, forced_decoder_ids=[[2, 263]])
    with pytest.raises(ModelError, match="expected the places from 1"):
        build(tmp_path)


def test_arguments_that_the_model_does_not_know_are_named(folder: Path, tmp_path: Path) -> None:
    for args, message, where in (
        ({"language": "germn"}, r"unknown language 'germn'[\s\S]*german", "model.args.language"),
        ({"language": "fr"}, "unknown language 'fr'", "model.args.language"),
        ({"language": "de", "task": "transcrib"}, r"unknown task 'transcrib'[\s\S]*transcribe", "model.args.task"),
        ({"beam": 0}, "expected 1 to 64", "model.args.beam"),
        ({"length": 18}, "expected 2 to 17", "model.args.length"),
        ({"tongue": "de"}, "cannot change 'tongue'", "model.args"),
    ):
        with pytest.raises(RecipeError, match=message) as caught:
            build(folder, **args)
        assert caught.value.where == where
    write(tmp_path)
    change_generation(tmp_path, language=None, task=None)
    with pytest.raises(RecipeError, match=r"a board detects none[\s\S]*such as de, en"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("tokenizer.json", None, "has no tokenizer.json, and no vocab.json with merges.txt"),
        (
            "tokenizer.json",
            {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}},
            "is no byte-level BPE",
        ),
        ("tokenizer.json", {"model": None}, "is no byte-level BPE"),
        ("preprocessor_config.json", {"feature_size": 80}, "has 80 features a frame, and the model takes 20"),
        ("preprocessor_config.json", {"hop_length": 0}, "hop_length is 0"),
        ("preprocessor_config.json", {"padding_value": 1.0}, "only zeros are taken"),
        ("preprocessor_config.json", {"feature_extractor_type": "ASTFeatureExtractor"}, "makes other features"),
        ("generation_config.json", {"return_timestamps": True, "no_timestamps_token_id": None}, "writes timestamps"),
        ("generation_config.json", {"suppress_tokens": [400]}, "suppress_tokens is"),
    ],
)
def test_odd_folders_are_named(tmp_path: Path, file: str, change: dict[str, Any] | None, message: str) -> None:
    write(tmp_path)
    if change is None:
        (tmp_path / file).unlink()
    else:
        table = {**json.loads((tmp_path / file).read_text()), **change}
        if file == "generation_config.json":
            table = {key: value for key, value in table.items() if value is not None}
        (tmp_path / file).write_text(json.dumps(table))
    with pytest.raises(ModelError, match=message):
        build(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    tools().write_tokenizer(tmp_path, 258, timestamps=60)
    with pytest.raises(ModelError, match="gives ids up to 327, the model knows 300 tokens"):
        build(tmp_path)


def test_whisper_is_for_this_task_and_others_of_its_kind_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model for translate[\s\S]*AutoModelForSpeechSeq2Seq \(speech\)"):
        models.build(ModelRequest(recipe.Model("transformers", "", str(folder)), "translate", 1))
    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 20, "conv_channels": 8}
    config = transformers.Speech2TextConfig(**small, **heads)
    transformers.Speech2TextForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"'speech_to_text' is no encoder-decoder that is taken[\s\S]*whisper"):
        build_other = models.ModelRequest(recipe.Model("transformers", "", str(tmp_path)), "speech", 2)
        models.build(build_other)
    assert sequences.written(spec_of(build(folder), folder))
