"""The detectors: shapes of their outputs, weights of classifiers, and a graph that quantization understands."""

from __future__ import annotations

import builds
import pytest

pytest.importorskip("torch")

import torch

from edgeft import models
from edgeft.config import recipe
from edgeft.config.scheme import Scheme
from edgeft.core.errors import ModelError
from edgeft.graph.from_torch import capture_float
from edgeft.models.nets.detector import PRIOR, Detector
from edgeft.quantize.graph import insert

SMALL = {
    "yolo_plain": {"base": 8, "width": 16},
    "yolo_mobilenet_v2": {"scale": 0.25, "width": 16},
    "yolo_lite0": {"width": 16},
}


def built(name: str, classes: int = 3, **args: object) -> models.Built:
    return builds.build(recipe.Model(name=name, args={"size": [64, 96], **SMALL[name], **args}), classes)


@pytest.mark.parametrize("name", SMALL)
def test_every_level_hands_out_logits_and_boxes(name: str) -> None:
    made = built(name)
    assert made.head == "head" and made.spec["size"] == [64, 96] and isinstance(made.module, Detector)
    said = made.module(torch.randn(2, 3, 64, 96))
    assert [tuple(t.shape) for t in said] == [(2, c, h, w) for h, w in ((8, 12), (4, 6), (2, 3)) for c in (3, 4)]
    for logits in said[::2]:  # a new head believes in nothing yet
        assert float(logits.detach().sigmoid().max()) < 10 * PRIOR
    gray = built(name, channels=1).module(torch.randn(1, 1, 64, 96))
    assert len(gray) == 6


def test_a_classifiers_weights_fit_the_backbone() -> None:
    from edgeft.models.nets.mobilenet import MobileNetV2

    torch.manual_seed(0)
    classifier = MobileNetV2(10, width=0.25)
    module = built("yolo_mobilenet_v2").module
    state = module.adapt(classifier.state_dict())
    assert set(state) == {n for n in module.state_dict() if n.startswith("backbone.")}
    own = module.state_dict()
    assert module.adapt(own) is own


def test_weights_are_read_from_a_file_and_misfits_are_named(tmp_path) -> None:
    from edgeft.models.nets.mobilenet import MobileNetV2
    from edgeft.models.nets.resnet import ResNet8

    torch.manual_seed(0)
    classifier, other = MobileNetV2(10, width=0.25), ResNet8(10)
    torch.save(classifier.state_dict(), tmp_path / "net.pth")
    torch.save(other.state_dict(), tmp_path / "other.pth")
    args = {"size": [64, 96], **SMALL["yolo_mobilenet_v2"]}
    made = builds.build(recipe.Model(name="yolo_mobilenet_v2", weights=str(tmp_path / "net.pth"), args=args), 2)
    assert made.pretrained
    first = made.module.state_dict()["backbone.features.0.0.weight"]
    assert torch.equal(first, classifier.state_dict()["features.0.0.weight"])
    with pytest.raises(ModelError):
        builds.build(recipe.Model(name="yolo_mobilenet_v2", weights=str(tmp_path / "other.pth"), args=args), 2)
    torch.save(made.module.state_dict(), tmp_path / "whole.pth")
    again = builds.build(recipe.Model(name="yolo_mobilenet_v2", weights=str(tmp_path / "whole.pth"), args=args), 2)
    assert all(torch.equal(v, again.module.state_dict()[n]) for n, v in made.module.state_dict().items())


def test_each_branch_has_its_own_grid() -> None:
    """Six outputs, six steps: no concatenation joins what has other ranges."""
    torch.manual_seed(0)
    made = built("yolo_plain")
    captured = capture_float(made.module, (torch.randn(2, 3, 64, 96),))
    assert captured.dynamic and captured.output_names == tuple(f"output_{i}" for i in range(6))
    graph = insert(captured, Scheme())
    (output,) = (n for n in graph.module.graph.nodes if n.op == "output")
    grids = [str(value.target) for value in output.args[0]]
    assert len(set(grids)) == 6 and all(hasattr(graph.module, name) for name in grids)
    assert not graph.summary.float_ops
