"""U-Net: the grid of its logits, its skip connections, and ImageNet weights of the encoder."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="models are torch")

from edgeft.core.errors import RecipeError  # noqa: E402
from edgeft.models.nets.efficientnet_lite import EfficientNetLite0  # noqa: E402
from edgeft.models.nets.unet import UNet  # noqa: E402

SMALL = {"head_width": 0.25, "width": 0.35, "depth": 0.3}


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_logits_on_a_grid_of_the_stride(stride: int) -> None:
    net = UNet(5, stride=stride, **SMALL).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 64 // stride, 96 // stride)


def test_a_fine_detail_reaches_its_own_logits_alone() -> None:
    """With the deepest features cut off, a changed pixel moves the logits around it only: the skips carry it there."""
    torch.manual_seed(0)
    net = UNet(2, stride=2, stages=2, **SMALL).eval()
    x = torch.rand(1, 3, 64, 64)
    changed = x.clone()
    changed[..., 8:10, 8:10] += 1
    with torch.no_grad():
        moved = (net(changed) - net(x)).abs().amax(dim=(0, 1))
    assert moved[4:6, 4:6].max() > 0 and not moved[16:, 16:].any()


def test_imagenet_weights_fit_the_encoder() -> None:
    state = UNet.adapt(EfficientNetLite0(1000).state_dict())
    report = UNet(3).load_state_dict(state, strict=False)
    assert not report.unexpected_keys and all(name.startswith("head.") for name in report.missing_keys)


def test_sides_and_strides_that_do_not_fit() -> None:
    with pytest.raises(RecipeError, match="multiples of 32"):
        UNet(5, **SMALL)(torch.zeros(1, 3, 60, 64))
    for wrong in ({"stride": 5}, {"head_width": 0}, {"stages": 9}, {"stride": 8, "stages": 1}):
        with pytest.raises(ValueError, match="expected"):
            UNet(5, **wrong)
