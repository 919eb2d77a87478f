"""How a quantized graph is written for the compiler of a board: the [lowering] table of a target profile.

Every rule keeps the values that the graph computes; it moves where they are written. A rule of one file format is
ignored by the others.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lowering:
    """The rules of a profile; the default writes what the runtime itself runs fastest.

    `node_units` (ONNX): every quantized op stands between a DequantizeLinear and a QuantizeLinear of its own, none
    works on stored integers, and a Pad becomes the padding of the convolutions behind it.

    `most_padded_stride` (LiteRT): a convolution of a larger stride does not stand directly behind a PAD; pooling over
    one place is put between them. 0 = no limit.
    """

    node_units: bool = False
    most_padded_stride: int = 0
