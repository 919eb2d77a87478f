"""How the nets of `keras.applications` expect their pictures, where the net does not scale them itself.

From `preprocess_input` of each module of keras.applications.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..built import IMAGENET_MEAN, IMAGENET_STD

_CAFFE = (123.68 / 255, 116.779 / 255, 103.939 / 255)


@dataclass(frozen=True)
class Pictures:
    """Mean and std of pixels / 255 in RGB; `bgr` where the net was trained with the colours in that order."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False


_SYMMETRIC = Pictures((0.5,) * 3, (0.5,) * 3)
_TORCH = Pictures(IMAGENET_MEAN, IMAGENET_STD)
_BGR = Pictures(_CAFFE, (1 / 255,) * 3, bgr=True)
#: beginning of a model's name -> its pictures; the first that fits
_KNOWN = (
    ("mobilenetv2", _SYMMETRIC),
    ("mobilenet_", _SYMMETRIC),
    ("xception", _SYMMETRIC),
    ("inception_", _SYMMETRIC),
    ("nasnet", _SYMMETRIC),
    ("resnet50v2", _SYMMETRIC),
    ("resnet101v2", _SYMMETRIC),
    ("resnet152v2", _SYMMETRIC),
    ("densenet", _TORCH),
    ("resnet50", _BGR),
    ("resnet101", _BGR),
    ("resnet152", _BGR),
    ("vgg", _BGR),
)


def pictures_of(name: str) -> Pictures | None:
    """How a model of keras.applications takes its pictures, by the name that Keras gives it; None for another."""
    return next((pictures for start, pictures in _KNOWN if name.lower().startswith(start)), None)
