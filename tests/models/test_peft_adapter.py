"""LoRA adapters as PEFT saves them: merged into their base model by the published formula, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import builds
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("tokenizers", reason="texts need tokenizers")
pytest.importorskip("transformers", reason="its models")
import text_run

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import ModelError, RecipeError

QUERY = "bert.encoder.layer.0.attention.self.query"
VALUE = "bert.encoder.layer.1.attention.self.value"
WIDTH, RANK = 32, 4


def build(folder: Path, n: int = 2, **args: Any) -> models.Built:
    model = recipe.Model("transformers", "bert", str(folder), {"pooling": "head", **args})
    return builds.build(model, n, task="text-classify")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_run.encoder(tmp_path_factory.mktemp("bert") / "encoder")


def tensors() -> dict[str, torch.Tensor]:
    """Factors of two layers and a classifier that was trained whole, by PEFT's names."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    state = {}
    for layer in (QUERY, VALUE):
        state[f"base_model.model.{layer}.lora_A.weight"] = drawn(RANK, WIDTH)
        state[f"base_model.model.{layer}.lora_B.weight"] = drawn(WIDTH, RANK)
    state["base_model.model.classifier.weight"] = drawn(2, WIDTH)
    state["base_model.model.classifier.bias"] = drawn(2)
    return state


def write(folder: Path, state: dict[str, torch.Tensor] | None = None, **settings: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "base_model_name_or_path": "bert-base", **settings}
    (folder / "adapter_config.json").write_text(json.dumps(table))
    save_file(tensors() if state is None else state, folder / "adapter_model.safetensors")
    return folder


def weight(built: models.Built, layer: str) -> torch.Tensor:
    parameter = built.module.get_submodule(layer).weight
    assert isinstance(parameter, torch.Tensor)
    return parameter.detach()


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 8 / RANK),
        ({"use_rslora": True}, 8 / math.sqrt(RANK)),
        ({"alpha_pattern": {"query": 20}}, 20 / RANK),
    ],
    ids=["plain", "rank-stabilized", "alpha of a layer"],
)
def test_an_update_is_b_a_times_its_scale(base: Path, tmp_path: Path, settings: dict[str, Any], scale: float) -> None:
    state = tensors()
    before, after = build(base), build(base, adapter=str(write(tmp_path, **settings)))
    a, b = (state[f"base_model.model.{QUERY}.lora_{part}.weight"] for part in "AB")
    torch.testing.assert_close(weight(after, QUERY), weight(before, QUERY) + scale * (b @ a))
    assert torch.equal(weight(after, "classifier"), state["base_model.model.classifier.weight"])
    unchanged = "bert.encoder.layer.0.attention.self.key"
    assert torch.equal(weight(after, unchanged), weight(before, unchanged))
    assert any("merged into 2 layers" in note for note in after.notes)
    assert not any("a new one is trained" in note for note in after.notes), "the classifier is the adapter's"


def test_a_classifier_of_other_classes_is_new(base: Path, tmp_path: Path) -> None:
    built = build(base, 5, adapter=str(write(tmp_path)))
    assert weight(built, "classifier").shape == (5, WIDTH)
    assert any("classifier of the adapter has 2 outputs and is left out" in note for note in built.notes)
    assert any("a new one is trained" in note for note in built.notes)


def test_names_of_layers_that_peft_wrapped(base: Path, tmp_path: Path) -> None:
    """Biases of adapted layers, older names of whole layers, and an encoder without a classifier's prefix."""
    state = {f"base_model.model.{QUERY}.base_layer.bias": torch.full((WIDTH,), 0.5)}
    state["base_model.model.classifier.modules_to_save.default.bias"] = torch.tensor([1.0, 2.0])
    for part, shape in (("A", (RANK, WIDTH)), ("B", (WIDTH, RANK))):
        state[f"base_model.model.encoder.layer.0.attention.self.query.lora_{part}.default.weight"] = torch.ones(shape)
    before, after = build(base), build(base, adapter=str(write(tmp_path, state)))
    torch.testing.assert_close(weight(after, QUERY), weight(before, QUERY) + 8)
    assert after.module.get_submodule(QUERY).bias.eq(0.5).all()
    assert after.module.get_submodule("classifier").bias.tolist() == [1.0, 2.0]


def test_embeddings_and_convolutions() -> None:
    from edgeft.models.peft_adapter import _product

    a, b = torch.randn(3, 40), torch.randn(8, 3)
    assert torch.equal(_product(a, b, lookup=True), (b @ a).T)
    down, up = torch.randn(3, 4, 3, 3), torch.randn(8, 3, 1, 1)
    x = torch.randn(1, 4, 6, 6)
    both = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, down), up)
    torch.testing.assert_close(torch.nn.functional.conv2d(x, _product(down, up, lookup=False)), both)


@pytest.mark.parametrize(
    ("settings", "change", "words"),
    [
        ({"peft_type": "IA3"}, None, "peft_type is 'IA3'"),
        ({"use_dora": True}, None, "use_dora is set"),
        ({"lora_alpha": "much"}, None, "lora_alpha is 'much'"),
        ({}, lambda s: s.pop(f"base_model.model.{QUERY}.lora_B.weight"), "not both factors"),
        ({}, lambda s: s.update({f"base_model.model.{QUERY}.lora_B.weight": torch.ones(7, RANK)}), "its weight"),
        ({}, lambda s: s.update({f"base_model.model.{QUERY}.lora_B.weight": torch.ones(WIDTH, 9)}), "the factors"),
        ({}, lambda s: s.update({"base_model.model.gpt.x.lora_A.weight": torch.ones(2, 2)}), "no layer 'gpt.x'"),
        ({}, lambda s: s.clear() or s.update(x_lora=torch.ones(1)), ""),
    ],
)
def test_what_cannot_be_merged_is_refused(
    base: Path, tmp_path: Path, settings: dict[str, Any], change: Any, words: str
) -> None:
    state = tensors()
    if change is not None:
        change(state)
    folder = write(tmp_path, state, **settings)
    if not words:
        assert any("has no place in the model" in note for note in build(base, adapter=str(folder)).notes)
        return
    with pytest.raises(ModelError, match=words) as refused:
        build(base, adapter=str(folder))
    assert str(tmp_path) in refused.value.where


def test_a_folder_that_is_no_adapter_and_an_adapter_that_is_no_model(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no adapter_config.json"):
        build(base, adapter=str(base))
    with pytest.raises(ModelError, match="is an adapter of PEFT") as refused:
        build(write(tmp_path))
    assert "model.args.adapter" in refused.value.remedy
    with pytest.raises(RecipeError, match="expected the path of a folder"):
        build(base, adapter=3)
