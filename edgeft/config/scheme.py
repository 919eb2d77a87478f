"""A quantization scheme: the numeric grid, its placement rules, and the op classes that gain from int8.

A scheme is a record that a target profile states; its name is derived from the record, never chosen. Targets are
many and schemes are few: every target whose record is the same shares one quantized model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import TargetError, nearest
from . import tables

#: classes of ops a rule may speak of. The first four carry weights.
WEIGHTED = ("conv", "depthwise", "conv_transpose", "linear")
#: what gains from int8 on every CPU runtime measured so far: attention matmuls, softmax and norms do not.
#: A transposed convolution has no integer kernel in two of the three runtimes.
GAINS = ("conv", "depthwise", "linear", "add", "mul", "pool", "concat", "shape", "activation")
OP_CLASSES = (*GAINS, "conv_transpose", "matmul", "softmax")
#: how a table that is looked up may be stored
EMBEDDINGS = ("float", "int8")

#: keys of `Scheme.as_dict` that follow from the others
_DERIVED = ("name", "activation_dtype", "activation_range", "weight_range", "weight_axis")


@dataclass(frozen=True)
class Scheme:
    """One numeric grid.

    Activations are int8 per tensor on [-128, 127]: affine, or symmetric with zero point 0 (as TensorRT wants them).
    Weights are symmetric int8 with zero point 0 on [-(2^(bits-1)-1), 2^(bits-1)-1]; `per_tensor` names the weighted
    op classes whose weights share one scale (all others have one scale per output channel).
    `residual` = "all" quantizes both inputs of an add, "branch" only the one that does not come straight from a
    convolution or linear, so that a compiler can fuse that convolution with the add (TensorRT).
    `ops` are the op classes to quantize; a tensor between two of them is quantized, everything else stays float.
    `embeddings` = "int8": tables that are looked up are stored as weights are, with the scales of a linear layer (one a
    row, or one where `per_tensor` names "linear"), in 8 bits also where weights have 7. Rows are looked up as int8 and
    become float at once, so this is about bytes, never about speed; a recipe asks for it, a profile need not state it.
    """

    activation_symmetric: bool = False
    weight_bits: int = 8
    per_tensor: tuple[str, ...] = ()
    residual: str = "all"
    ops: tuple[str, ...] = GAINS
    embeddings: str = "float"

    def __post_init__(self) -> None:
        # One order and no repeats, so that equal grids are equal records whatever order a profile lists them in.
        for key, order in (("per_tensor", WEIGHTED), ("ops", OP_CLASSES)):
            listed = getattr(self, key)
            extra = tuple(dict.fromkeys(op for op in listed if op not in order))
            object.__setattr__(self, key, tuple(op for op in order if op in listed) + extra)

    @property
    def activation_range(self) -> tuple[int, int]:
        return -128, 127

    @property
    def weight_range(self) -> tuple[int, int]:
        top = 2 ** (self.weight_bits - 1) - 1
        return -top, top

    @property
    def name(self) -> str:
        """Derived name, e.g. `affine`, `symmetric-residual_branch`, `affine-w7`, `affine-int8_embeddings`."""
        parts = ["symmetric" if self.activation_symmetric else "affine"]
        if self.weight_bits != 8:
            parts.append(f"w{self.weight_bits}")
        if set(self.per_tensor) == set(WEIGHTED):
            parts.append("per_tensor")
        elif self.per_tensor:
            parts.append("_".join(sorted(self.per_tensor)) + "_per_tensor")
        if self.residual != "all":
            parts.append(f"residual_{self.residual}")
        parts += [f"no_{op}" for op in GAINS if op not in self.ops]
        parts += [f"with_{op}" for op in OP_CLASSES if op in self.ops and op not in GAINS]
        if self.embeddings != "float":
            parts.append(f"{self.embeddings}_embeddings")
        return "-".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The record and what follows from it, as JSON values; `from_table` reads it back."""
        return {
            "name": self.name,
            "activation_dtype": "int8",
            "activation_symmetric": self.activation_symmetric,
            "activation_range": list(self.activation_range),
            "weight_bits": self.weight_bits,
            "weight_range": list(self.weight_range),
            "weight_axis": {op: None if op in self.per_tensor else "channel" for op in WEIGHTED},
            "per_tensor": list(self.per_tensor),
            "residual": self.residual,
            "ops": list(self.ops),
            "embeddings": self.embeddings,
        }


def from_table(table: Mapping[str, Any], where: str, *, text: str = "") -> Scheme:
    """A scheme from the `[scheme]` table of a target profile, or from `Scheme.as_dict()` in a manifest.

    `text` is the TOML text that `table` was parsed from, for line numbers. Raises `TargetError` naming the key; also
    where a derived key (`name`, the ranges) contradicts the record.
    """
    source = tables.Source(where, text, TargetError)
    derived = {key: value for key, value in table.items() if key in _DERIVED}
    values = {key: value for key, value in table.items() if key not in _DERIVED}
    scheme = tables.build(Scheme, values, source, ("scheme",))
    for key, allowed in (("per_tensor", WEIGHTED), ("ops", OP_CLASSES)):
        for op in getattr(scheme, key):
            if op not in allowed:
                raise source.fail(("scheme", key), f"unknown op class {op!r} in scheme.{key}", nearest(op, allowed))
    if not any(op in scheme.ops for op in WEIGHTED):
        raise source.fail(("scheme", "ops"), "scheme.ops holds no op class with weights", f"add {', '.join(WEIGHTED)}")
    if scheme.residual not in ("all", "branch"):
        raise source.fail(("scheme", "residual"), f"scheme.residual is 'all' or 'branch', not {scheme.residual!r}")
    if scheme.embeddings not in EMBEDDINGS:
        remedy = nearest(scheme.embeddings, EMBEDDINGS)
        raise source.fail(("scheme", "embeddings"), f"scheme.embeddings cannot be {scheme.embeddings!r}", remedy)
    if scheme.weight_bits not in (7, 8):
        raise source.fail(("scheme", "weight_bits"), f"scheme.weight_bits is 7 or 8, not {scheme.weight_bits}")
    truth = scheme.as_dict()
    for key, value in derived.items():
        if value != truth[key]:
            raise source.fail(("scheme", key), f"scheme.{key} is {value!r}, but the record says {truth[key]!r}")
    return scheme
