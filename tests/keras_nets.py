"""Small Keras nets of all kinds, with random weights, that tests save and read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgeft.models.keras import loading

keras = loading.keras()
L = keras.layers


def sequence(*layers: Any, shape: tuple[int, ...] = (12, 12, 3)) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


def functional(body: Callable[[Any], Any], shape: tuple[int, ...] = (12, 12, 3)) -> Any:
    first = keras.Input(shape)
    return keras.Model(first, body(first))


def save(model: Any, path: Path) -> Path:
    """The model with random statistics and biases, which fresh ones would hide, in a file."""
    torch.manual_seed(0)
    for weight in model.weights:
        name = weight.path.rpartition("/")[2]
        if name in ("moving_variance", "gamma"):
            weight.assign(torch.rand(weight.shape) + 0.5)
        elif name in ("moving_mean", "beta", "bias", "alpha"):
            weight.assign(torch.rand(weight.shape) * 0.5 - 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(str(path))
    return path


def colours(shape: tuple[int, ...] = (32, 32, 3), classes: int = 3) -> Any:
    """A net as people build them: scaling of its own, strides with padding "same", residual and parallel branches."""

    def body(x: Any) -> Any:
        x = L.Rescaling(1 / 127.5, offset=-1)(x)
        x = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
        x = L.BatchNormalization()(x)
        x = L.ReLU(6.0)(x)
        y = L.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        y = L.BatchNormalization()(y)
        y = L.Activation("hard_swish")(y)
        y = L.Conv2D(8, 1)(y)
        x = L.Add()([x, y])
        x = L.Concatenate()([x, L.SeparableConv2D(8, 3, padding="same", activation="relu")(x)])
        x = L.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
        x = L.MaxPooling2D(3, 2, padding="same")(x)
        x = L.Flatten()(x)
        x = L.Dropout(0.1)(x)
        x = L.Dense(16, activation="relu")(x)
        return L.Dense(classes, activation="softmax")(x)

    return functional(body, shape)


def _squeeze(x: Any) -> Any:
    x = L.Conv2D(8, 3, strides=2, padding="same", activation="hard_swish")(x)
    gate = L.Reshape((1, 1, 8))(L.GlobalAveragePooling2D()(x))
    gate = L.Conv2D(8, 1)(L.Conv2D(4, 1, activation="relu")(gate))
    gate = L.ReLU(6.0)(gate + 3.0) * (1 / 6)
    x = L.Flatten()(L.Multiply()([x, gate]))
    return L.Dense(5, activation="softmax")(x)


def _within(x: Any) -> Any:
    inner = sequence(L.Conv2D(6, 3, activation="relu"), L.MaxPooling2D(2))
    return L.Dense(5)(L.Flatten()(inner(x)))


def _shared(x: Any) -> Any:
    conv = L.Conv2D(3, 3, padding="same")
    return L.Dense(5)(L.GlobalMaxPooling2D()(conv(conv(x))))


def _attention(x: Any) -> Any:
    x = L.Dense(8)(x)
    x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 4)(x, x))
    return L.Dense(5)(L.GlobalAveragePooling1D()(L.Dense(8, activation="gelu")(x)))


def _enlarged(x: Any) -> Any:
    x = L.Conv2D(6, 3, strides=2, padding="same")(x)
    x = L.Conv2DTranspose(4, 4, strides=2, padding="same")(x)
    x = L.UpSampling2D(2, interpolation="bilinear")(x)
    return L.Conv2D(5, 1)(L.AveragePooling2D(3, 2, padding="same")(x))


#: name -> (model, permutations that its graph may have: where rows become channels, or a layer is Keras' own)
NETS: dict[str, tuple[Callable[[], Any], int]] = {
    "colours": (colours, 0),
    "padding": (
        lambda: sequence(
            L.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
            L.BatchNormalization(),
            L.SeparableConv2D(8, 3, padding="same", strides=2),
            L.Flatten(),
            L.Dense(5),
        ),
        0,
    ),
    "flattened": (
        lambda: sequence(
            L.Conv2D(8, 3),
            L.Flatten(),
            L.Dropout(0.3),
            L.Activation("relu"),
            L.Dense(7, activation="swish"),
            L.Dense(5),
        ),
        0,
    ),
    "squeeze": (lambda: functional(_squeeze), 0),
    "within": (lambda: functional(_within), 0),
    "shared": (lambda: functional(_shared), 0),
    "attention": (lambda: functional(_attention, (10, 6)), 0),
    "enlarged": (lambda: functional(_enlarged), 0),
    "pools": (
        lambda: sequence(
            L.MaxPooling2D(3, 2, padding="same"),
            L.AveragePooling2D(3, 2, padding="same"),
            L.ZeroPadding2D(((1, 0), (2, 1))),
            L.Cropping2D(1),
            L.GroupNormalization(3),
            L.LeakyReLU(),
            L.PReLU(shared_axes=[1, 2]),
            L.Flatten(),
            L.Dense(5),
        ),
        0,
    ),
    "rows": (
        lambda: sequence(
            L.Reshape((49, 10, 1)),
            L.Conv2D(8, (10, 4), strides=2, padding="same"),
            L.DepthwiseConv2D(3, padding="same"),
            L.AveragePooling2D((25, 5)),
            L.Flatten(),
            L.Dense(5),
            shape=(49, 10),
        ),
        0,
    ),
    "series": (
        lambda: sequence(
            L.Conv1D(8, 3, padding="causal", activation="relu"),
            L.MaxPooling1D(2),
            L.SeparableConv1D(8, 3, strides=2, padding="same"),
            L.Flatten(),
            L.Dense(5),
            shape=(20, 6),
        ),
        1,
    ),
    "recurrent": (
        lambda: sequence(
            L.LSTM(6, return_sequences=True),
            L.Bidirectional(L.LSTM(4, return_sequences=True)),
            L.GRU(5, return_sequences=True),
            L.Bidirectional(L.GRU(4)),
            L.Dense(5),
            shape=(10, 6),
        ),
        0,
    ),
    "channels_first": (
        lambda: sequence(
            L.Conv2D(4, 3, data_format="channels_first"),
            L.BatchNormalization(axis=1),
            L.GlobalAveragePooling2D(data_format="channels_first"),
            L.Dense(5),
            shape=(3, 12, 12),
        ),
        0,
    ),
    "table": (
        lambda: sequence(
            L.Embedding(30, 8),
            L.Conv1D(8, 3, padding="same", strides=2),
            L.GlobalMaxPooling1D(),
            L.Dense(5),
            shape=(16,),
        ),
        1,
    ),
    "keras_own": (
        lambda: sequence(L.Conv2D(4, 3), L.UnitNormalization(), L.GlobalAveragePooling2D(), L.Dense(5)),
        2,
    ),
}
