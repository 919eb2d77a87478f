"""Classifiers of pictures of the package transformers: image processors, channels, and every architecture captured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import benchmark_nets
import builds
import pytest
import torch

pytest.importorskip("transformers", reason="its models")
import transformers

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import ModelError, RecipeError

RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}


def folder_of(folder: Path, processor: dict[str, Any] | None = None, classes: int = 3, **config: Any) -> Any:
    torch.manual_seed(0)
    module = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(**RESNET, num_labels=classes, **config)
    ).eval()
    module.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return module


def build(folder: Path, classes: int = 3, **args: Any) -> models.Built:
    return builds.build(recipe.Model("transformers", "resnet", str(folder), args), classes)


PROCESSOR = {
    "size": {"height": 48, "width": 64},
    "resample": 3,
    "do_normalize": True,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.5, 0.6, 0.7],
    "rescale_factor": 1 / 255,
}


def test_a_folder_answers_as_the_package_does_on_the_processors_pictures(tmp_path: Path) -> None:
    reference = folder_of(tmp_path, PROCESSOR)
    built = build(tmp_path)
    x = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        assert torch.allclose(built.module(x), reference(x).logits, atol=1e-6)
    spec = built.spec
    assert (spec["size"], spec["resize"], spec["scale"]) == ([48, 64], "bicubic", 255.0)
    assert (spec["mean"], spec["std"]) == ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])


def test_the_recipe_has_the_last_word_on_preprocessing(tmp_path: Path) -> None:
    from edgeft.inputs import image

    folder_of(tmp_path, PROCESSOR)
    said: list[str] = []
    defaults = {**build(tmp_path).spec, "pretrained": True}
    own = image.configure(recipe.Data(), defaults, {}, said.append)
    assert own["resize"] == "bicubic" and own["size"] == [48, 64] and not said
    stated = recipe.Data(size=32, resize="nearest", mean=(0.5,))
    other = image.configure(stated, defaults, {}, said.append)
    assert (other["resize"], other["size"], other["mean"]) == ("nearest", [32, 32], [0.5] * 3)
    assert "data.mean" in said[0], "a mean that is not the weights' is told of"


def test_a_processor_that_does_not_normalize_or_rescale(tmp_path: Path) -> None:
    folder_of(tmp_path, {"size": {"shortest_edge": 40}, "do_normalize": False, "do_rescale": False})
    spec = build(tmp_path).spec
    assert (spec["mean"], spec["std"], spec["scale"], spec["size"]) == ([0.0] * 3, [1.0] * 3, 1.0, [40, 40])


def test_a_crop_and_an_unknown_filter_are_said(tmp_path: Path) -> None:
    folder_of(tmp_path, {**PROCESSOR, "do_center_crop": True, "crop_size": 40, "resample": 1})
    built = build(tmp_path)
    assert built.spec["size"] == [40, 40] and built.spec["resize"] == "bicubic"
    assert "crops their middle" in str(built.notes) and "filter 1" in str(built.notes)


def test_weights_for_bgr_read_rgb(tmp_path: Path) -> None:
    reference = folder_of(tmp_path, {**PROCESSOR, "do_flip_channel_order": True})
    built = build(tmp_path)
    x = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        assert torch.allclose(built.module(x), reference(x.flip(1)).logits, atol=1e-5)
    assert "BGR" in str(built.notes)


def test_gray_pictures_sum_the_first_weights_over_colours(tmp_path: Path) -> None:
    reference = folder_of(tmp_path, PROCESSOR)
    built = build(tmp_path, channels=1)
    gray = torch.randn(2, 1, 48, 64)
    with torch.no_grad():
        assert torch.allclose(built.module(gray), reference(gray.expand(-1, 3, -1, -1)).logits, atol=1e-5)
    assert "summed over its three channels" in str(built.notes) and built.spec["mean"] == pytest.approx([0.2])
    with pytest.raises(RecipeError, match="expected 1 or 3"):
        build(tmp_path, channels=4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_mean": [0.1, 0.2]}, "image_mean has 2 values for 3 channels"),
        ({"image_std": "imagenet"}, "image_std is 'imagenet'"),
        ({"rescale_factor": 0}, "rescale_factor is 0"),
    ],
)
def test_a_processor_that_cannot_be_followed(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    folder_of(tmp_path, {**PROCESSOR, **changed})
    with pytest.raises(ModelError, match=message):
        build(tmp_path)


def test_a_new_head_where_the_classes_differ(tmp_path: Path) -> None:
    folder_of(tmp_path, PROCESSOR, classes=7)
    built = build(tmp_path)
    assert built.head == "classifier.1" and "has 7 classes: a new one is trained" in str(built.notes)


def test_a_classifier_becomes_a_segmenter_with_a_new_head(tmp_path: Path) -> None:
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 2, 4], depths=[1, 1, 1, 1], decoder_hidden_size=16
    )
    reference = transformers.SegformerForImageClassification(config)
    reference.save_pretrained(tmp_path)
    built = builds.build(recipe.Model("transformers", "segformer", str(tmp_path)), 4, task="segment")
    assert built.head == "decode_head.classifier" and built.module(torch.randn(1, 3, 64, 64)).shape == (1, 4, 16, 16)
    assert "a new one is trained (decode_head." in str(built.notes) and "left out: classifier.*" in str(built.notes)
    state = built.module.state_dict()
    assert all(torch.equal(state[n], t) for n, t in reference.state_dict().items() if n.startswith("segformer."))


NETS = benchmark_nets.module()
#: quick to capture, of both kinds; the others are slow
QUICK = ("convnext", "modernbert", "segformer-segment")


@pytest.mark.parametrize(
    "kind",
    [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in NETS.NETS],
)
def test_every_architecture_is_captured_with_a_free_batch(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="texts need tokenizers")
    from edgeft.config.scheme import Scheme
    from edgeft.quantize.parts import insert_parts
    from edgeft.session.session import open_session

    session = open_session(recipe.from_table(NETS.recipe(kind, tmp_path, ("host",)), "test"))
    captured = session.capture(session.built.module)
    assert all(graph.dynamic for graph in captured.graphs.values()), "one of them has a batch of its own"
    parts = insert_parts(captured, Scheme()).graphs.values()
    layers = [part.summary.ops.get(name, 0) for part in parts for name in ("linear", "conv", "depthwise")]
    assert sum(layers) >= 5
