"""Linear layers and tables."""

from __future__ import annotations

import torch
from torch import nn

from ..layer import Layer
from ..placed import FIRST, Placed
from ..registry import imports


@imports("Dense")
def dense(layer: Layer) -> Placed:
    """A linear layer; over the channels of a picture a convolution of one pixel; behind `Flatten` its columns are
    brought into the order of the pixels here, so that no pixel has to be moved."""
    placed, kernel = layer.input, layer.weight("kernel")
    bias = layer.weight("bias") if layer.keras.use_bias else None
    if placed.form == FIRST and placed.rank == 4:
        conv = layer.module(placed.value, lambda: _filled(nn.Conv2d, kernel.T[:, :, None, None], bias))
        return layer.activated(Placed(conv, FIRST))

    pixels = placed.source.value.shape[1:] if placed.source is not None else ()  # (C, *space)
    known = layer.modules.get((id(layer.keras), ""))
    if known is not None and getattr(known, "pixels", ()) != pixels:  # shared by inputs of another order
        if getattr(known, "pixels", ()):
            raise layer.fail("is shared by a flattened picture and other inputs")
        pixels = ()

    value, weight = placed.value, kernel.T
    if pixels:
        columns = weight.reshape(-1, *pixels[1:], pixels[0])
        weight = columns.movedim(-1, 1).reshape(weight.shape)
    else:
        value = layer.order.plain(placed)

    return layer.activated(Placed(layer.module(value, lambda: _filled(nn.Linear, weight, bias, pixels))))


def _filled(
    kind: type[nn.Conv2d] | type[nn.Linear],
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    pixels: tuple[int, ...] = (),
) -> nn.Module:
    """A layer with a weight (out, in, ...); its columns are in the order of the picture `pixels` (C, *space)."""
    sizes = (weight.shape[1], weight.shape[0])
    layer = kind(*sizes, 1, bias=bias is not None) if kind is nn.Conv2d else kind(*sizes, bias=bias is not None)
    layer.weight.data = weight.contiguous()
    if bias is not None:
        layer.bias.data = bias
    layer.pixels = pixels
    return layer


@imports("Masking")
def masking(layer: Layer) -> Placed:
    raise layer.fail(
        "masks what is padded, and masks are not read", "leave it out, and pad with values that the model can take"
    )


@imports("Embedding")
def embedding(layer: Layer) -> Placed:
    if layer.keras.mask_zero:
        raise layer.fail(
            "masks what is padded (mask_zero), and masks are not read",
            "build it with mask_zero=False, and give the mask to the layers that need it as an input",
        )

    table = layer.weight("embeddings")

    def make() -> nn.Module:
        module = nn.Embedding(*table.shape)
        module.weight.data = table
        return module

    return Placed(layer.module(layer.order.plain(layer.input), make))
