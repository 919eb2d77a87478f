"""Our detector and segmenter on the features of other packages' backbones, and torchvision's own segmenters."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builds
import pytest

torch = pytest.importorskip("torch", reason="models are torch")

from torch import nn  # noqa: E402

from edgeft.config import recipe  # noqa: E402
from edgeft.core.errors import ModelError, RecipeError  # noqa: E402
from edgeft.graph.from_torch import capture_float  # noqa: E402
from edgeft.models import ModelRequest, features  # noqa: E402
from edgeft.models.features import Backbone  # noqa: E402

SIZE = [64, 96]
#: logits, or logits and boxes of three levels, of two pictures of 64x96 pixels and four classes
GRIDS = {
    "segment": [(2, 4, 16, 24)],
    "detect": [(2, 4, h, w) for h, w in ((8, 12), (4, 6), (2, 3)) for _ in range(2)],
}


def stage(inputs: int, outputs: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Classifier(nn.Module):
    """Stages at strides 2, 4, ..., 32, a pool and a linear layer."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        widths = (channels, 8, 12, 16, 20, 24)
        self.stages = nn.Sequential(*(stage(a, b) for a, b in itertools.pairwise(widths)))
        self.head = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stages(x).mean((2, 3)))


class Cut(nn.Module):
    """As timm cuts a network: the stages under names without dots, their maps as a list."""

    def __init__(self, channels: int = 3, keep: Callable[[int], bool] = lambda i: True, last: bool = False) -> None:
        super().__init__()
        for i, layer in enumerate(Classifier(channels).stages):
            setattr(self, f"stages_{i}", layer)
        self.keep, self.last = keep, last

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for i in range(5):
            x = getattr(self, f"stages_{i}")(x)
            if self.keep(i):
                maps.append(x.permute(0, 2, 3, 1) if self.last else x)
        return maps


def backbone(made: Callable[..., nn.Module] = Cut, channels: int = 3, **cut: Any) -> Backbone:
    look = {"mean": (0.4,) * 3, "std": (0.2,) * 3, "resize": "bicubic"}
    return Backbone(
        "small", lambda args, size: made(channels, **cut, **args), lambda: (Classifier(channels), "head"), look
    )


def request(task: str, weights: str = "", classes: int = 4, **args: Any) -> ModelRequest:
    return ModelRequest(recipe.Model("timm", "small", weights, {"size": SIZE, **args}), task, classes)


def built(task: str, of: Backbone | None = None, **options: Any) -> Any:
    head = features.head_of(task)
    assert head is not None
    return features.build(request(task, **options), head, of or backbone())


@pytest.mark.parametrize("task", GRIDS)
@pytest.mark.parametrize("last", [False, True])
def test_a_backbone_carries_the_head_of_the_task(task: str, last: bool) -> None:
    net = built(task, backbone(last=last))
    assert net.head == "head" and net.spec["size"] == SIZE and net.spec["resize"] == "bicubic"
    assert net.spec["mean"] == [0.4] * 3 and not net.module.training
    x = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        outputs = net.module(x)
    shapes = [tuple(t.shape) for t in (outputs if isinstance(outputs, tuple) else (outputs,))]
    assert shapes == GRIDS[task]
    assert capture_float(net.module, (x,)).dynamic


def test_no_head_for_tasks_whose_networks_are_classifiers() -> None:
    assert features.head_of("classify") is None and features.head_of("control") is None


def test_weights_of_the_classifier_go_into_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = Classifier()
    torch.save(whole.state_dict(), tmp_path / "classifier.pth")
    net = built("segment", weights=str(tmp_path / "classifier.pth"))
    assert net.pretrained and net.notes == ()
    x = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(net.module.backbone(x)[-1], whole.eval().stages(x))

    torch.save(net.module.state_dict(), tmp_path / "whole.pth")
    again = built("segment", weights=str(tmp_path / "whole.pth"))
    assert all(torch.equal(t, again.module.state_dict()[n]) for n, t in net.module.state_dict().items())
    fewer = built("segment", weights=str(tmp_path / "whole.pth"), classes=3)
    assert "a new one is trained" in fewer.notes[0]

    torch.save(nn.Linear(3, 3).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError, match="does not fit Classifier"):
        built("segment", weights=str(tmp_path / "other.pth"))


def test_a_gray_backbone_sums_the_weights_for_colour(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = Classifier()
    torch.save(whole.state_dict(), tmp_path / "classifier.pth")
    net = built("segment", backbone(channels=1), weights=str(tmp_path / "classifier.pth"), channels=1)
    first = net.module.backbone.net.stages_0[0].weight
    torch.testing.assert_close(first, whole.stages[0][0].weight.sum(1, keepdim=True))
    assert net.spec["channels"] == 1 and len(net.spec["mean"]) == 1


REFUSED = [
    ("segment", {"of": backbone(keep=lambda i: i > 2)}, "no pyramid of features.*strides 4, 8, 16, 32"),
    ("detect", {"of": backbone(keep=lambda i: i == 4)}, "no pyramid of features.*there are .24, 2, 3."),
    ("segment", {"of": Backbone("vit", lambda args, size: nn.Linear(3, 3), Classifier, {})}, "vit gives no features"),
    ("segment", {"size": [60, 96]}, "multiples of 32"),
    ("segment", {"stride": 3}, "stride is 3"),
    ("detect", {"channels": 0}, "how many frames a stack has"),
    ("detect", {"no_such": 2}, "small gives no features.*no_such"),
    ("detect", {"depth": "deep"}, "cannot be built with"),
]


@pytest.mark.parametrize(("task", "options", "message"), REFUSED)
def test_what_cannot_carry_a_head_is_refused_with_the_reason(task: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        built(task, **options)


TIMM = ["mobilenetv3_small_050", "resnet10t", "mambaout_femto", "swin_tiny_patch4_window7_224"]


@pytest.mark.peer("timm")
@pytest.mark.parametrize("name", TIMM)
def test_backbones_of_timm(name: str, tmp_path: Path) -> None:
    """NHWC maps (mambaout, swin), sizes that the network is made for (swin), renamed layers."""
    import timm

    sized = {"img_size": tuple(SIZE)} if name.startswith("swin") else {}
    whole = timm.create_model(name, pretrained=False, **sized).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    table = recipe.Model("timm", name, str(tmp_path / "w.pth"), {"size": SIZE})
    net = builds.build(table, 4, task="detect")
    assert net.pretrained and [tuple(t.shape) for t in net.module(torch.randn(2, 3, *SIZE))] == GRIDS["detect"]
    plain = {n.replace(".", "_"): t for n, t in whole.state_dict().items()}
    for n, tensor in net.module.backbone.net.state_dict().items():
        assert torch.equal(tensor, plain[n.replace(".", "_")]), n


@pytest.mark.peer("torchvision")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "swin_t", "shufflenet_v2_x0_5"])
def test_backbones_of_torchvision(name: str) -> None:
    net = builds.build(recipe.Model("torchvision", name, "", {"size": SIZE}), 4, task="segment")
    x = torch.randn(2, 3, *SIZE)
    assert tuple(net.module(x).shape) == GRIDS["segment"][0]
    assert capture_float(net.module, (x,)).dynamic


@pytest.mark.peer("torchvision", "timm")
@pytest.mark.parametrize(
    ("source", "name"),
    [("timm", "vit_tiny_patch16_224"), ("torchvision", "vit_b_32"), ("torchvision", "squeezenet1_1")],
)
def test_networks_without_a_pyramid_are_refused(source: str, name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} (has no pyramid|gives no features)"):
        builds.build(recipe.Model(source, name, "", {"size": SIZE}), 4, task="segment")


@pytest.mark.peer("torchvision")
@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_segmenters_of_torchvision(name: str, tmp_path: Path) -> None:
    """The logits before torchvision's own enlargement; weights of the segmenter, and of its backbone's classifier."""
    import torchvision

    models = torchvision.models
    aux = {"aux_loss": True} if name.startswith("deeplab") else {}
    theirs = models.get_model(name, weights=None, weights_backbone=None, num_classes=4, **aux).eval()
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    table = recipe.Model("torchvision", name, str(tmp_path / "whole.pth"), {"size": SIZE})
    net = builds.build(table, 4, task="segment")
    x = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        enlarged = nn.functional.interpolate(net.module(x), size=SIZE, mode="bilinear", align_corners=False)
        torch.testing.assert_close(enlarged, theirs(x)["out"])
    assert "has 4 classes" in builds.build(table, 3, task="segment").notes[0]

    torch.save(models.mobilenet_v3_large().state_dict(), tmp_path / "backbone.pth")
    table = recipe.Model("torchvision", name, str(tmp_path / "backbone.pth"), {"size": SIZE})
    assert builds.build(table, 4, task="segment").pretrained
    with pytest.raises(RecipeError, match="is a segmenter"):
        builds.build(recipe.Model("torchvision", name), 4)


@pytest.mark.peer("torchvision")
def test_detectors_of_torchvision_are_refused_with_the_way_round() -> None:
    with pytest.raises(RecipeError, match="not decoded here") as caught:
        builds.build(recipe.Model("torchvision", "ssdlite320_mobilenet_v3_large"), 4, task="detect")
    assert "resnet50" in caught.value.remedy
