"""Detectors of the package transformers that answer with a set: outputs, new classes, positions, what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import builds
import pytest
import scenes

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
    from edgeft.config.scheme import Scheme
    from edgeft.graph.from_torch import capture_float
    from edgeft.quantize.graph import insert

    captured = capture_float(built.module, (wide,))
    resizing = [node for node in captured.module.graph.nodes if "upsample" in str(node.target)]
    assert not resizing, "nothing is resized in a call"
    counts = [insert(captured, Scheme(), keep).summary.ops for keep in ((), ("model.bbox_predictor.layers.2",))]
    assert counts[0]["linear"] == counts[1]["linear"] + 1, "the last layer of the boxes by its name"


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


def save_rt_detr(folder: Path) -> Any:
    widths = [8, 16, 16, 16]
    config = transformers.RTDetrConfig(
        backbone_config=transformers.AutoConfig.for_model(
            "rt_detr_resnet", embedding_size=8, hidden_sizes=widths, depths=[1] * 4, layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        encoder_in_channels=widths[1:], encoder_hidden_dim=16, encoder_ffn_dim=16, encoder_attention_heads=2,
        d_model=16, num_queries=6, decoder_in_channels=[16] * 3, decoder_ffn_dim=16, decoder_n_points=2,
        decoder_layers=2, decoder_attention_heads=2, id2label=dict(enumerate("abc")),
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.RTDetrForObjectDetection(config).eval()
    network.save_pretrained(folder)
    return network


def of_rt_detr(folder: Path, labels: tuple[str, ...]) -> models.Built:
    model = recipe.Model("transformers", "rt_detr", str(folder), {"size": [64, 96]})
    return models.build(dataclasses.replace(models.ModelRequest(model, "detect", len(labels)), labels=labels))


def test_inner_layers_of_rt_detr_teach_what_chooses_the_queries(tmp_path: Path) -> None:
    from edgeft.tasks.detect.learning import set_loss

    network = save_rt_detr(tmp_path)
    built = of_rt_detr(tmp_path, ("b", "c", "a"))
    with torch.no_grad():
        expected, answer = network(X), built.module(X)
    assert len(answer) == 2, "each class by itself: there is no logit of no object"
    torch.testing.assert_close(answer[0], expected.logits[..., [1, 2, 0]], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(answer[1], expected.pred_boxes, atol=1e-5, rtol=1e-4)
    assert built.keep_float == ("model.model.enc_score_head",)

    learner = built.module.train()
    targets = torch.tensor([[[1, 0.2, 0.2, 0.6, 0.7]]] * 2)
    set_loss.set_loss(learner(X), targets).backward()
    gradients = [learner.get_parameter(f"model.model.{name}").grad for name in ("enc_score_head.weight",)]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.slow
def test_every_layer_of_rt_detr_that_scores_classes_is_new_for_other_classes(tmp_path: Path) -> None:
    save_rt_detr(tmp_path)
    built = of_rt_detr(tmp_path, ("car", "bus"))
    assert built.notes[0] == "the weights' own classifier has 3 classes: a new one is trained"
    assert built.module(X)[0].shape == (2, 6, 2) and built.head.startswith("model.model.decoder.class_embed")
    from edgeft.graph.from_torch import capture_float

    captured = capture_float(built.module.eval(), (X,))
    assert captured.dynamic
    values = [node.meta.get("val") for node in captured.module.graph.nodes]
    wide = [value for value in values if isinstance(value, torch.Tensor) and value.dtype == torch.float64]
    assert not wide, "positions that are computed in float64 of constants are constants"


def test_what_chooses_the_queries_stays_float_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    from edgeft.session.session import open_session

    save_rt_detr(tmp_path / "net")
    data = scenes.write_yolo(tmp_path / "data", {"train": 4, "val": 2, "test": 2})
    table = {
        "task": "detect",
        "model": {"source": "transformers", "weights": str(tmp_path / "net"), "args": {"size": [64, 96]}},
        "data": {"format": "yolo", "path": str(data)},
    }
    session = open_session(recipe.from_table(table, "here"))
    assert session.recipe.quantize.keep_float == ("model.model.enc_score_head",)
    assert session.dataset.split("test").targets[0]["input"].tolist() == [64, 96]
    own = recipe.from_table({**table, "quantize": {"keep_float": ["model.model.enc_output*"]}}, "here")
    assert open_session(own).recipe.quantize.keep_float == ("model.model.enc_output*",)
