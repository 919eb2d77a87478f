"""A quantization scheme: number formats, their placement, and the op classes to quantize.

A scheme is a record that a target profile states; its name is derived from the record, never chosen. Targets are
many and schemes are few: every target whose record is the same shares one quantized model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.errors import TargetError, nearest
from ..plugins import NUMBER_FORMATS
from . import tables
from .formats import fp32, int8
from .numeric import Numeric, width

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


def _channelwise() -> dict[str, Numeric]:
    return dict.fromkeys(WEIGHTED, int8.weights())


@dataclass(frozen=True)
class Scheme:
    """The number formats of a model and where they are placed; the default is int8.

    `activations` is the format of every quantized activation, `weights` that of each op class with weights, `tables`
    that of tables which are looked up (None: they stay float). `residual` = "all" quantizes both inputs of an add,
    "branch" only the one that does not come straight from a convolution or linear, so that a compiler can fuse that
    convolution with the add (TensorRT). `ops` are the op classes to quantize; a tensor between two of them is
    quantized, everything else stays float.
    """

    activations: Numeric = int8.AFFINE
    weights: Mapping[str, Numeric] = field(default_factory=_channelwise, hash=False)
    residual: str = "all"
    ops: tuple[str, ...] = GAINS
    tables: Numeric | None = None

    def __post_init__(self) -> None:
        # One order and no repeats, so that equal grids are equal records whatever order a profile lists them in.
        extra = tuple(dict.fromkeys(op for op in self.ops if op not in OP_CLASSES))
        object.__setattr__(self, "ops", tuple(op for op in OP_CLASSES if op in self.ops) + extra)

    @property
    def per_tensor(self) -> tuple[str, ...]:
        """The op classes whose weights share one scale."""
        return tuple(op for op in WEIGHTED if self.weights[op].granularity == "tensor")

    @property
    def widest(self) -> Numeric:
        """The format of the widest weights: what an accumulator has to take."""
        return max(self.weights.values(), key=lambda numeric: numeric.bits)

    @property
    def format(self) -> str:
        """The name of the number format, as `quantize.format` has it: "int8", "fp16"; "int16x8" where activations have
        another type than weights, "w8" where weights alone are integers."""
        weights = self.widest
        if self.activations.kind == "float" and weights.kind == "int":
            return f"w{min(numeric.bits for numeric in self.weights.values())}"
        if self.activations.label == weights.label:
            return weights.label

        return f"{self.activations.label}x{width(weights.dtype)}"

    @property
    def quantized(self) -> bool:
        """Whether anything is rounded; the artifact of a scheme where nothing is, is the float model."""
        numerics = (self.activations, *self.weights.values(), *([self.tables] if self.tables else ()))
        return any(numeric.quantized for numeric in numerics)

    @property
    def is_integer(self) -> bool:
        """Whether activations are integers with scales: the runtime then computes in integer kernels."""
        return self.activations.kind == "int"

    @property
    def trainable(self) -> bool:
        """Whether quantization-aware training has anything to adapt to: rounding to a float type has not."""
        return self.is_integer or self.widest.kind == "int"

    @property
    def embeddings(self) -> str:
        """How tables are stored that are looked up: "float" or the type of their integers."""
        return self.tables.dtype if self.tables and self.tables.kind == "int" else "float"

    def with_embeddings(self, dtype: str) -> Scheme:
        """The scheme with tables stored as "float" or "int8": in the scales of a linear layer (one a row, or one where
        linear layers have one), in 8 bits also where weights have 7, since a table enters no sum of products.

        Rows are looked up as integers and become float at once, so this is about bytes, never about speed; a recipe
        asks for it, a profile need not state it. The float model keeps its float tables.
        """
        linear = self.weights["linear"]
        if not self.quantized:
            return self
        if dtype == "float":
            return replace(self, tables=linear if linear.kind == "float" else None)

        shared = "tensor" if linear.granularity == "tensor" else "channel"
        return replace(self, tables=int8.weights(granularity=shared))

    @property
    def name(self) -> str:
        """Derived name, e.g. `affine`, `symmetric-residual_branch`, `affine-w7`, `affine-int8_embeddings`."""
        if not self.quantized:
            return self.format
        if not self.trainable:
            return "-".join([self.format, *self._placement_names()])

        parts = self._number_names() if self.is_integer else [self.format]

        if set(self.per_tensor) == set(WEIGHTED):
            parts.append("per_tensor")
        elif self.per_tensor:
            parts.append("_".join(sorted(self.per_tensor)) + "_per_tensor")

        if self.residual != "all":
            parts.append(f"residual_{self.residual}")

        parts += self._placement_names()
        if self.tables:
            parts.append(f"{self.embeddings}_embeddings")

        return "-".join(parts)

    def _number_names(self) -> list[str]:
        """What the name says of integers, where they differ from 8 bits."""
        parts = ["symmetric" if self.activations.symmetric else "affine"]
        parts += [_short("a", self.activations)] if _short("a", self.activations) else []
        widths = {op: _short("w", numeric) for op, numeric in self.weights.items()}
        if len(set(widths.values())) == 1:
            return parts + [width for width in set(widths.values()) if width]

        return parts + [f"{op}_{widths[op]}" for op in WEIGHTED if widths[op]]

    def _placement_names(self) -> list[str]:
        """What the name says of the op classes, where they differ from `GAINS`."""
        return [
            *(f"no_{op}" for op in GAINS if op not in self.ops),
            *(f"with_{op}" for op in OP_CLASSES if op in self.ops and op not in GAINS),
        ]

    def as_dict(self) -> dict[str, Any]:
        """The keys of a profile's [scheme] and what follows from them, as JSON values; `from_table` reads them back."""
        return {
            "name": self.name,
            "format": self.format,
            "activation_dtype": self.activations.dtype,
            "activation_symmetric": self.activations.symmetric,
            "activation_range": _range(self.activations),
            "weight_bits": self.widest.bits,
            "weight_range": _range(self.widest),
            "weight_axis": {op: None if op in self.per_tensor else "channel" for op in WEIGHTED},
            "per_tensor": list(self.per_tensor),
            "residual": self.residual,
            "ops": list(self.ops),
            "embeddings": self.embeddings,
        }


def _range(numeric: Numeric) -> list[int] | None:
    """The ends of a format as JSON; None of 32-bit floats, which are not clipped."""
    return list(numeric.range) if numeric.quantized else None


def with_format(scheme: Scheme, name: str) -> Scheme:
    """`scheme` in another number format: the same op classes, granularity and symmetry."""
    table = {key: value for key, value in scheme.as_dict().items() if key not in _DERIVED}
    integer_bits = {} if scheme.widest.kind == "int" else {"weight_bits": 8}
    return from_table({**table, **integer_bits, "format": name}, "quantize.format")


def format_of(table: Mapping[str, Any]) -> str:
    """The number format that a manifest's scheme table records; the default one where it records none."""
    return str(table.get("format") or int8.FORMAT.name)


def is_float(table: Mapping[str, Any]) -> bool:
    """Whether a manifest's scheme table (or a report) is of the float model, in which nothing is quantized."""
    return format_of(table) == fp32.FORMAT.name


def activations_of(table: Mapping[str, Any]) -> Numeric:
    """The format of activations that a manifest's scheme table records; int8 where it records none."""
    dtype, symmetric = table.get("activation_dtype"), table.get("activation_symmetric")
    if not isinstance(dtype, str) or not dtype.lstrip("u").startswith(("int", "float")):
        return int8.AFFINE

    kind, _, bits = dtype.removeprefix("u").partition("t")
    return Numeric(f"{kind}t", int(bits) if bits.isdigit() else 8, not dtype.startswith("u"), bool(symmetric))


def _short(letter: str, numeric: Numeric) -> str:
    """What a scheme's name says of a format: nothing of 8-bit integers, "w4" of weights of 4, "wf16", "w4g32"."""
    kind = "" if numeric.kind == "int" else "f"
    group = f"g{numeric.group}" if numeric.granularity == "group" else ""
    return "" if not kind and not group and numeric.bits == 8 else f"{letter}{kind}{numeric.bits}{group}"


@dataclass(frozen=True)
class SchemeTable:
    """The [scheme] table of a target profile, key by key.

    `format` is the name of a number format.

    `activation_symmetric`: activations have zero point 0 (as TensorRT wants them). `weight_bits` is 8, or 7 where sums
    of 8-bit products saturate; `per_tensor` names the op classes with weights whose weights share one scale (all others
    have one a channel). `residual`, `ops` and `embeddings` are those of `Scheme`.
    """

    activation_symmetric: bool = False
    weight_bits: int = 8
    per_tensor: tuple[str, ...] = ()
    residual: str = "all"
    ops: tuple[str, ...] = GAINS
    embeddings: str = "float"
    format: str = int8.FORMAT.name

    def scheme(self) -> Scheme:
        """The scheme that the table stands for."""
        shared = {op: "tensor" if op in self.per_tensor else "channel" for op in WEIGHTED}
        number_format = NUMBER_FORMATS.get(self.format)
        weights = {op: number_format.weights(self.weight_bits, granularity) for op, granularity in shared.items()}
        if number_format.linear is not None:
            weights["linear"] = number_format.linear()

        return Scheme(
            activations=number_format.activations(self.activation_symmetric),
            weights=weights,
            residual=self.residual,
            ops=self.ops,
        ).with_embeddings(self.embeddings)


def from_table(table: Mapping[str, Any], where: str, *, text: str = "", at: str = "scheme") -> Scheme:
    """A scheme from the `[scheme]` table of a target profile, or from `Scheme.as_dict()` in a manifest.

    `text` is the TOML text that `table` was parsed from and `at` its name there, for line numbers. Raises `TargetError`
    naming the key; also where a derived key (`name`, the ranges) contradicts the record.
    """
    source = tables.Source(where, text, TargetError)
    derived = {key: value for key, value in table.items() if key in _DERIVED}
    values = {key: value for key, value in table.items() if key not in _DERIVED}
    keys = tables.build(SchemeTable, values, source, (at,))

    for key, allowed in (("per_tensor", WEIGHTED), ("ops", OP_CLASSES)):
        for op in getattr(keys, key):
            if op not in allowed:
                raise source.fail((at, key), f"unknown op class {op!r} in {at}.{key}", nearest(op, allowed))

    if keys.format not in NUMBER_FORMATS:
        remedy = nearest(keys.format, NUMBER_FORMATS.names())
        raise source.fail((at, "format"), f"{at}.format cannot be {keys.format!r}", remedy)
    if not any(op in keys.ops for op in WEIGHTED):
        raise source.fail((at, "ops"), f"{at}.ops holds no op class with weights", f"add {', '.join(WEIGHTED)}")
    if keys.residual not in ("all", "branch"):
        raise source.fail((at, "residual"), f"{at}.residual is 'all' or 'branch', not {keys.residual!r}")

    if keys.embeddings not in EMBEDDINGS:
        remedy = nearest(keys.embeddings, EMBEDDINGS)
        raise source.fail((at, "embeddings"), f"{at}.embeddings cannot be {keys.embeddings!r}", remedy)

    scheme = keys.scheme()
    if scheme.widest.kind == "int" and keys.weight_bits not in (7, 8):
        raise source.fail((at, "weight_bits"), f"{at}.weight_bits is 7 or 8, not {keys.weight_bits}")

    truth = scheme.as_dict()
    for key, value in derived.items():
        if value != truth[key]:
            raise source.fail((at, key), f"{at}.{key} is {value!r}, but the record says {truth[key]!r}")

    return scheme
