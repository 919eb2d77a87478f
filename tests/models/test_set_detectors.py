"""Detectors of the package transformers that answer with a set: outputs, new classes, positions, what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import builds
import pytest

pytest.importorskip("transformers", reason="its models")
import torch
import transformers

from edgeft import models
from edgeft.config import recipe
from edgeft.core.errors import ModelError, RecipeError
from edgeft.models import set_detectors

X = torch.linspace(-1, 1, 2 * 3 * 64 * 96).reshape(2, 3, 64, 96)


def save(folder: Path, labels: tuple[str, ...] = ("car", "bus", "tram")) -> Any:
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[64, 96],
        patch_size=16, num_detection_tokens=5, id2label=dict(enumerate(labels)), initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.YolosForObjectDetection(config).eval()
    torch.nn.init.normal_(network.vit.embeddings.position_embeddings)
    torch.nn.init.normal_(network.vit.encoder.interpolation.mid_position_embeddings)
    network.save_pretrained(folder)
    processor = {"size": {"height": 64, "width": 96}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps({**processor, "do_normalize": True}))
    return network


def build(folder: Path, labels: tuple[str, ...], **args: Any) -> models.Built:
    model = recipe.Model("transformers", "yolos", str(folder), args)
    return models.build(dataclasses.replace(models.ModelRequest(model, "detect", len(labels)), labels=labels))


def test_the_outputs_are_those_of_the_package(tmp_path: Path) -> None:
    network = save(tmp_path)
    built = build(tmp_path, ("tram", "car", "bus"))
    assert (
        built.head == "model.class_labels_classifier.layers.2" and "for the classes tram, car, bus" in built.notes[-1]
    )
    with torch.no_grad():
        expected, (logits, nothing, boxes) = network(X), built.module(X)
    torch.testing.assert_close(logits, expected.logits[..., [2, 0, 1]])
    torch.testing.assert_close(nothing, expected.logits[..., 3:])
    torch.testing.assert_close(boxes, expected.pred_boxes)


def test_another_number_of_classes_has_a_new_head(tmp_path: Path) -> None:
    network = save(tmp_path)
    built = build(tmp_path, ("a", "b"))
    assert built.notes[0] == "the weights' own classifier has 3 classes: a new one is trained"
    with torch.no_grad():
        logits, nothing, boxes = built.module(X)
        torch.testing.assert_close(boxes, network(X).pred_boxes)
    assert logits.shape == (2, 5, 2) and nothing.shape == (2, 5, 1)


def test_positions_are_resized_once(tmp_path: Path) -> None:
    network = save(tmp_path)
    built = build(tmp_path, ("car", "bus", "tram"), size=[32, 128])
    assert built.spec["size"] == [32, 128]
    wide = torch.nn.functional.interpolate(X, (32, 128))
    with torch.no_grad():
        torch.testing.assert_close(built.module(wide)[2], network(wide).pred_boxes, atol=1e-5, rtol=1e-4)
    from edgeft.graph.from_torch import capture_float

    graph = capture_float(built.module, (wide,)).module.graph
    assert not [node for node in graph.nodes if "upsample" in str(node.target)], "nothing is resized in a call"


@pytest.mark.parametrize(("args", "word"), [({"size": [0, 3]}, "size"), ({"sise": 64}, "sise")])
def test_wrong_arguments_are_refused(tmp_path: Path, args: dict[str, Any], word: str) -> None:
    save(tmp_path)
    with pytest.raises(RecipeError, match=word if word == "sise" else "expected pixels"):
        build(tmp_path, ("car",), **args)


def test_a_classifier_is_no_detector(tmp_path: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=16
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    model = recipe.Model("transformers", "vit", str(tmp_path))
    with pytest.raises(ModelError, match="no model for detect") as refused:
        builds.build(model, 2, task="detect")
    assert "AutoModelForImageClassification (classify)" in refused.value.remedy


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    save(tmp_path)
    table = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**table, "intermediate_size": 64}))
    with pytest.raises(ModelError, match="does not fit YolosForObjectDetection"):
        build(tmp_path, ("a", "b"))


def test_scoring_layers_are_found_by_their_names() -> None:
    net = torch.nn.Module()
    net.class_labels_classifier = torch.nn.ModuleList(torch.nn.Linear(4, n) for n in (4, 4, 5))
    net.bbox_predictor = torch.nn.Linear(4, 4)
    net.enc_score_head = torch.nn.Linear(4, 4)
    assert set_detectors.find_head(net, 5) == "class_labels_classifier.2"
    assert "bbox_predictor" not in set_detectors.scoring_layers(net, 4)
