"""Detectors of `ultralytics`: what that package decodes from its own model is the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft.config.recipe import Model
from edgeft.core.errors import ModelError, RecipeError

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that builds a model by name and saves it as that package does."""
    folder = tmp_path_factory.mktemp("ultralytics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_CONFIG_DIR", str(folder))
        patch.setenv("YOLO_OFFLINE", "1")
        import ultralytics as package

        def make(name: str) -> tuple[Path, Any]:
            torch.manual_seed(0)
            model = package.YOLO(f"{name}.yaml", verbose=False)
            for layer in model.model.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):  # statistics as after training, or all says nothing
                    layer.running_mean.uniform_(-0.3, 0.3)
                    layer.running_var.uniform_(0.5, 1.5)
            path = folder / f"{name}.pt"
            model.save(path)
            return path, model.model.float().eval()

        yield make


@pytest.mark.peer("ultralytics")
@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n"])
def test_boxes_and_scores_are_those_of_the_package(saved: Any, name: str):
    from builds import build

    from edgeft.metrics import boxes

    path, own = saved(name)
    built = build(Model(source="ultralytics", name=str(path), args={"size": [96, 160]}), 80, allow_code=True)
    assert built.spec["size"] == [96, 160] and built.spec["mean"] == [0.0] * 3 and built.pretrained
    x = torch.rand(2, 3, 96, 160)
    own.model[-1].end2end = False  # of YOLOv10 the branches with several cells an object, as edgeft trains
    with torch.no_grad():
        wanted = own(x)[0].transpose(1, 2).numpy()  # (N, A, 4 + 80): centre, sides, scores
        said = {f"output_{i}": t.numpy() for i, t in enumerate(built.module(x))}
    levels = boxes.levels(said)
    assert [level.stride for level in levels] == [8, 16, 32] and boxes.input_size(levels) == (96, 160)
    for i in range(2):
        logits, corners = boxes.cells(levels, i)
        centre, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        np.testing.assert_allclose(np.concatenate([centre, sides], 1), wanted[i, :, :4], atol=2e-3)
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), wanted[i, :, 4:], atol=1e-5)


@pytest.mark.peer("ultralytics")
@pytest.mark.parametrize("name", ["yolov10n", "yolo12n"])
def test_newer_layers_are_captured_and_quantized(saved: Any, name: str):
    from builds import build

    from edgeft.config.scheme import Scheme
    from edgeft.graph.from_torch import capture_float
    from edgeft.quantize.graph import insert

    path, _ = saved(name)
    built = build(Model(source="ultralytics", name=str(path), args={"size": 64}), 3, allow_code=True)
    captured = capture_float(built.module, (torch.rand(2, 3, 64, 64),))
    ops = insert(captured, Scheme()).summary.ops
    convolutions = sum(isinstance(layer, torch.nn.Conv2d) for layer in built.module.modules())
    assert captured.dynamic and ops["conv"] + ops["depthwise"] >= 0.9 * convolutions


@pytest.mark.peer("ultralytics")
def test_other_classes_get_new_branches(saved: Any):
    from builds import build

    path, _ = saved("yolov8n")
    built = build(Model(source="ultralytics", name=str(path)), 3, allow_code=True)
    assert built.spec["size"] == [640, 640] and "new branches for 3" in built.notes[0]
    said = built.module(torch.rand(1, 3, 64, 64))
    assert [tuple(t.shape[:2]) for t in said] == [(1, 3), (1, 64)] * 3
    assert float(said[0].sigmoid().max()) < 0.05, "a new branch begins by saying little"


@pytest.mark.peer("ultralytics")
def test_what_is_no_such_detector_is_refused(saved: Any, tmp_path: Path):
    from builds import build

    for name, words in (("yolov8n-seg", "ends in Segment,"), ("yolo26n", "ends in Detect without bins")):
        path, _ = saved(name)
        with pytest.raises(ModelError, match=words) as caught:
            build(Model(source="ultralytics", name=str(path)), 3, allow_code=True)
        assert "YOLO11 and YOLO12" in caught.value.remedy
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no pickle")
    with pytest.raises(ModelError, match="cannot be read"):
        build(Model(source="ultralytics", name=str(broken)), 3, allow_code=True)
    torch.save({"weights": torch.zeros(2)}, broken)
    with pytest.raises(ModelError, match="holds no model"):
        build(Model(source="ultralytics", name=str(broken)), 3, allow_code=True)


def test_nothing_is_unpickled_that_was_not_allowed(tmp_path: Path):
    from builds import build

    path = tmp_path / "theirs.pt"
    path.write_bytes(b"whatever")
    with pytest.raises(ModelError, match="runs code, which was not allowed") as caught:
        build(Model(source="ultralytics", name=str(path)), 3)
    assert "--allow-code" in caught.value.remedy
    with pytest.raises(ModelError, match=r"no such \.pt file"):
        build(Model(source="ultralytics", name=str(tmp_path / "none.pt")), 3, allow_code=True)
    with pytest.raises(RecipeError, match="unknown argument 'sise'"):
        build(Model(source="ultralytics", name=str(path), args={"sise": 3}), 3, allow_code=True)
    with pytest.raises(RecipeError, match="has the weights"):
        build(Model(source="ultralytics", name=str(path), weights="w.pth"), 3, allow_code=True)
