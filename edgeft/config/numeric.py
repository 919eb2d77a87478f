"""Number formats: what a quantized value may be, as one record that graph, lowering, readers, gates and reports ask.

`Numeric` describes a format; `formats/` has the values of each. Everything that follows from a format (its
range, how an artifact stores it, the grid that runtimes prescribe for a sigmoid) is a property of the record, so a new
format is a new value and no change elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: the types of integers in which an artifact may hold quantized values
STORED = ("int8", "uint8", "int16", "uint16", "int4", "uint4")
#: those that weights are stored in; a type of fewer bits is read into the narrowest of them
STORED_WEIGHTS = ("int8", "int16")
#: the narrow types of floats that weights are stored in, without a scale
STORED_FLOATS = ("float16",)


@dataclass(frozen=True)
class Numeric:
    """A number format: real = (q - zero_point) * scale for integers, the value itself for floats.

    `kind` is "int" or "float", `bits` the width of a value. `symmetric`: the zero point is 0. `narrow`: the lowest
    integer is left out, so that the range is as wide above zero as below it, as runtimes want weights. `granularity`
    says what has one scale: the "tensor", a "channel", or a "group" of `group` values of a channel.
    """

    kind: str = "int"
    bits: int = 8
    signed: bool = True
    symmetric: bool = False
    granularity: str = "tensor"
    group: int = 0
    narrow: bool = False

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest value, integers or the finite ends of a float type."""
        if self.kind == "float":
            highest = int(np.finfo(self.dtype).max)
            return -highest, highest

        low = -(2 ** (self.bits - 1)) if self.signed else 0
        return low + self.narrow, low + 2**self.bits - 1

    @property
    def quantized(self) -> bool:
        """Whether values are rounded at all: 32-bit floats are those of the float model."""
        return self.kind == "int" or self.bits < 32

    @property
    def steps(self) -> int:
        """How many steps lie between the lowest and the highest integer; between 1 and -1 of a float type.

        Of 32-bit floats those of 16-bit ones: runtimes add products in another order, and compute convolutions by
        transforms, so that their float32 results do not agree to the last places.
        """
        if self.kind == "float":
            return int(2 ** (min(np.finfo(self.dtype).nmant, np.finfo(np.float16).nmant) + 1))
        low, high = self.range
        return high - low

    @property
    def label(self) -> str:
        """A short name by the type, e.g. "int8" of 7 and 8 bits, "fp16"."""
        return f"fp{self.bits}" if self.kind == "float" else f"{'' if self.signed else 'u'}int{width(self.dtype)}"

    @property
    def dtype(self) -> str:
        """The name of the type that holds a value in torch and numpy, e.g. "int8"."""
        if self.kind == "float":
            return f"float{self.bits}"
        width = next(width for width in (8, 16, 32) if self.bits <= width)
        return f"{'' if self.signed else 'u'}int{width}"

    def prescribed(self, low: float, high: float) -> tuple[float, int]:
        """(scale, zero point) that runtimes prescribe where an op's values lie in [low, high) by definition: the range
        divided into as many steps as there are integers, or symmetric around 0 (of more than 8 bits a power of two,
        since kernels shift)."""
        if self.symmetric:
            return max(-low, high) / (self.range[1] + (self.bits > 8)), 0

        scale = (high - low) / 2**self.bits
        return scale, round(self.range[0] - low / scale)


#: what is not quantized
FLOAT = Numeric("float", 32)


def width(dtype: str) -> int:
    """The bits of an integer type: 8 of "uint8"."""
    return int(dtype.removeprefix("u").removeprefix("int"))


def offset(dtype: str) -> int:
    """How far the integers of a type lie above those of the signed type of its width: 128 for "uint8", else 0."""
    return 2 ** (width(dtype) - 1) if dtype.startswith("u") else 0


def signed_zero_point(zero_point: int, dtype: str) -> int:
    """A zero point of integers stored as `dtype`, as it is in the signed type of its width."""
    return zero_point - offset(dtype)


def unsigned(values: np.ndarray) -> np.ndarray:
    """Signed integers as the unsigned ones of their width: with zero points moved alike every real value stays."""
    dtype = f"u{values.dtype.name}"
    return (values.astype(np.int64) + offset(dtype)).astype(dtype)
