"""The imported module against Keras, on random inputs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...core.errors import ModelError
from .importer import Imported, example
from .layer import pair
from .layers.convolution import same_pads
from .placed import FIRST

#: largest difference, as a share of the largest output; what is smaller than the floor is noise
TOLERANCE, FLOOR = 1e-3, 1e-6


def check(model: Any, imported: Imported, path: Path) -> None:
    """Raise `ModelError` where the module computes something else than Keras does with its torch backend.

    Average pools with the padding "same" are computed as TensorFlow and JAX do, whose mean leaves out the padding;
    Keras' torch backend repeats the border instead, so that its pools are replaced here.
    """
    from keras import tree

    for layer in model._flatten_layers():
        if type(layer).__name__.startswith("AveragePooling") and layer.padding == "same":
            layer.call = functools.partial(_mean_of_pixels, layer)

    inputs = [example(item, 2, seed=2) for item in imported.inputs]
    with torch.no_grad():
        expected = tree.flatten(model(inputs[0] if len(inputs) == 1 else inputs, training=False))
        outputs = imported.module(*(example(item, 2, seed=2, taken=True) for item in imported.inputs))

    values = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    for name, form, value, tensor in zip(imported.outputs, imported.forms, values, expected):
        ours = (value.movedim(1, -1) if form == FIRST else value).numpy().astype(np.float64)
        theirs = tensor.detach().cpu().numpy().astype(np.float64)
        reach = TOLERANCE * np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-6) + FLOOR
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=0, atol=reach, equal_nan=True):
            raise ModelError(
                f"the imported model computes something else than Keras for its output {name!r}",
                where=str(path),
                remedy="please report the model: a layer is read wrongly",
            )


def _mean_of_pixels(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """The means of an average pool over the pixels that are there, in Keras' order of axes."""
    last = layer.data_format == "channels_last"
    x = x.movedim(-1, 1) if last else x
    rank = x.dim() - 2
    kernel, strides = pair(layer.pool_size, rank), pair(layer.strides or layer.pool_size, rank)
    pads = same_pads(x.shape[2:], kernel, strides, (1,) * rank)
    flat = [number for before_after in reversed(pads) for number in before_after]
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    sums, shares = (pool(F.pad(part, flat), kernel, strides) for part in (x, torch.ones_like(x)))
    means: torch.Tensor = sums / shares

    return means.movedim(1, -1) if last else means
