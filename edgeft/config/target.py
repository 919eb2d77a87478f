"""targets/*.toml -> Target: what a board allows, read once and passed on; and what a graph cannot do there."""

from __future__ import annotations

import contextlib
import platform
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.errors import SystemFailure, TargetError, UsageError, nearest
from ..plugins import BACKENDS
from . import accelerators, scheme, shipped, tables
from .graph_summary import GraphSummary
from .lowering import Lowering
from .scheme import Scheme


def _default_backend() -> str:
    return next(name for name in BACKENDS.builtin if BACKENDS.get(name).default)


@dataclass(frozen=True)
class Target:
    """A board profile. Unknown facts stay None or empty; nothing informational is ever gated on."""

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    backend: str = field(default_factory=_default_backend)  # the runtime of the bundle, which its exporter writes for
    form: str = "integer"  # one of the runtime's forms; "integer" is its own lossless one
    scheme: Scheme = field(default_factory=Scheme)
    cpu: str = ""
    isa: str = ""  # x86_64 | aarch64 | armv7
    cpu_features: tuple[str, ...] = ()  # what the host must show to count as "this kind of CPU", see `host_is`
    ram: str = ""
    accelerators: tuple[dict[str, Any], ...] = ()
    bandwidth_gbs: float | None = None
    runtime: dict[str, str] = field(default_factory=dict)  # runtime -> versions usually found there
    opset: tuple[int, int] | None = None  # lowest and highest ONNX opset
    ir_version: int | None = None  # highest ONNX IR version
    op_versions: dict[str, int] = field(default_factory=dict)  # highest TFLite op version, by op; "*" for all others
    static_shapes: bool = False
    max_rank: int | None = None
    refused_ops: tuple[str, ...] = ()
    full_integer: bool = False  # every op must be integer (Edge TPU)
    formats: tuple[str, ...] = ()  # number formats that the board computes; () = those of its form
    compiler: str = ""  # the vendor's compiler; where it has not run, the bundle says so as `unverified`
    compile: dict[str, str] = field(default_factory=dict)  # settings of that compiler
    lowering: Lowering = field(default_factory=Lowering)  # how the graph is written for it
    verified_by: str = ""  # the compiler and its version that models were compiled with for this board; "" = none yet
    compiler_host: str = ""
    engine_portable: bool | None = None
    power_modes: tuple[str, ...] = ()
    throttle_probe: str = ""
    emulate_cpu: str = ""
    notes: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    confidence: str = "unknown"  # vendor | secondary | derived | unknown


_CHOICES: dict[str, tuple[str, ...]] = {
    "isa": ("", "x86_64", "aarch64", "armv7"),
    "confidence": ("vendor", "secondary", "derived", "unknown"),
}


def names() -> tuple[str, ...]:
    """Every target: those that come with edgeft and those of `~/.config/edgeft/targets/`, sorted, without aliases."""
    return tuple(shipped.files("targets"))


def aliases() -> dict[str, str]:
    """alias -> name. A profile that does not parse is passed over here; loading it by its name tells what is wrong."""
    name_of: dict[str, str] = {}
    for name, path in shipped.files("targets").items():
        with contextlib.suppress(TargetError, SystemFailure):
            listed = tables.parse(tables.read(path, TargetError)).get("aliases", [])
            name_of.update((str(alias), name) for alias in (listed if isinstance(listed, list) else ()))

    return name_of


def load(name_or_path: str) -> Target:
    """The profile called `name_or_path` (a name, an alias, or the path of a `.toml` file).

    Raises `UsageError` with the nearest name where there is none, `TargetError` with file and line where it is wrong.
    """
    known = shipped.files("targets")
    if name_or_path in known:
        return _read(known[name_or_path])
    if name_or_path.endswith(".toml"):
        return _read(Path(name_or_path))

    also = aliases()
    if name_or_path in also:
        return _read(known[also[name_or_path]])

    raise UsageError(f"unknown target {name_or_path!r}", remedy=nearest(name_or_path, {*known, *also}))


def requested(target: Target, number_format: str, embeddings: str) -> Target:
    """The target as a recipe's [quantize] asks for it: in `number_format` ("" = the profile's), tables of embeddings
    stored as `embeddings` where the target has that.

    Raises `TargetError` where the target's runtime does not have the format.
    """
    return with_embeddings(with_format(target, number_format), embeddings)


def with_format(target: Target, name: str) -> Target:
    """The target in the number format `name`, "" for its own. Raises `TargetError` where it does not have that."""
    if name in ("", target.scheme.format):
        return target

    changed = scheme.with_format(target.scheme, name)
    form = BACKENDS.get(target.backend).form(target.form)
    has = f"it has {', '.join(target.formats or form.formats)}"

    if name not in form.formats:
        title = BACKENDS.get(target.backend).title
        raise TargetError(
            f"{target.title} has no artifacts of the format {name} in {title}", where=target.name, remedy=has
        )
    least = form.least_opset.get(name, 0)
    if target.opset and target.opset[1] < least:
        raise TargetError(
            f"{target.title} reads ONNX up to opset {target.opset[1]}, and {name} needs {least}",
            where=target.name,
            remedy=f"it has {', '.join(n for n in form.formats if form.least_opset.get(n, 0) <= target.opset[1])}",
        )
    if target.compiler and name in form.own_ops:
        raise TargetError(
            f"{name} needs ops of {BACKENDS.get(target.backend).title}'s own, which {target.compiler} does not read",
            where=target.name,
            remedy=f"it has {', '.join(n for n in form.formats if n not in form.own_ops)}",
        )
    if target.full_integer and not changed.is_integer:
        raise TargetError(
            f"{target.title} supports integer ops only, and {name} is none", where=target.name, remedy=has
        )
    if target.formats and name not in target.formats:
        raise TargetError(f"{target.title} does not compute in the format {name}", where=target.name, remedy=has)

    return replace(target, scheme=changed)


def with_embeddings(target: Target, dtype: str) -> Target:
    """The target with tables of embeddings stored as `dtype`, "float" or "int8", where it has that.

    Where a vendor's compiler has the last word they stay as the profile says: what it makes of an int8 lookup, an
    op that no vendor's list of quantized ops names, is known only on the board. So they do where the runtime's file has
    no lookup in a table of integers.
    """
    if dtype == target.scheme.embeddings or target.compiler:
        return target
    if not BACKENDS.get(target.backend).form(target.form).integer_tables:
        return target

    return replace(target, scheme=target.scheme.with_embeddings(dtype))


def _read(path: Path) -> Target:
    source = tables.read(path, TargetError)
    table = tables.parse(source)
    numeric, without = (table.pop(key, {}) for key in ("scheme", "scheme_without_vnni"))
    for key, value in (("scheme", numeric), ("scheme_without_vnni", without)):
        if not isinstance(value, dict):
            raise source.fail((key,), f"{key!r} must be a table, not {value!r}")

    target = tables.build(Target, table, source)
    # both are read, so that a profile is right or wrong on every CPU
    usual = scheme.from_table(numeric, source.name, text=source.text)
    narrow = scheme.from_table({**numeric, **without}, source.name, text=source.text, at="scheme_without_vnni")
    target = replace(target, scheme=narrow if saturates() else usual)
    _check(target, path.stem, source)
    return target


def _check(target: Target, stem: str, source: tables.Source) -> None:
    """What types alone cannot say about a profile; raises `TargetError`."""
    for key, allowed in _CHOICES.items():
        value = getattr(target, key)
        if value not in allowed:
            raise source.fail((key,), f"{key!r} cannot be {value!r}", nearest(value, filter(None, allowed)))

    if target.name != stem:
        raise source.fail(
            ("name",), f"'name' is {target.name!r}, the file is called {stem!r}", "give both the same name"
        )

    _check_form(target, source)
    if not target.title or not target.source:
        key = "source" if target.title else "title"
        raise source.fail((key,), f"{key!r} must not be empty", "say where the facts of this profile come from")
    if target.opset and not 7 <= target.opset[0] <= target.opset[1]:
        raise source.fail(("opset",), f"'opset' is [lowest, highest], from 7 on, not {list(target.opset)}")

    for key in ("ir_version", "max_rank", "bandwidth_gbs"):
        value = getattr(target, key)
        if value is not None and value <= 0:
            raise source.fail((key,), f"{key!r} must be above 0, not {value}")

    for op, version in target.op_versions.items():
        if version < 1:
            raise source.fail(("op_versions", op), f"the version of {op!r} must be at least 1, not {version}")

    accelerators.check(target.accelerators, source)
    missing = [op for op in scheme.OP_CLASSES if op not in target.scheme.ops]
    if target.full_integer and missing:
        raise source.fail(
            ("scheme", "ops"),
            f"a target that runs nothing in float must quantize every op class; missing: {', '.join(missing)}",
        )


def _check_form(target: Target, source: tables.Source) -> None:
    """The runtime is known and has the form, whose rules the scheme meets; raises `TargetError`."""
    try:
        backend = BACKENDS.get(target.backend)
    except UsageError as error:
        raise source.fail(("backend",), f"'backend' cannot be {target.backend!r}", error.remedy) from error

    try:
        form = backend.form(target.form)
    except UsageError as error:
        raise source.fail(("form",), f"'form' cannot be {target.form!r}", error.remedy) from error

    if target.scheme.format not in form.formats:
        raise source.fail(
            ("scheme", "format"),
            f"the {form.name} form has no {target.scheme.format}",
            f"it has {', '.join(form.formats)}",
        )
    if target.scheme.embeddings != "float" and not form.integer_tables:
        raise source.fail(
            ("scheme", "embeddings"), f"the {form.name} form stores no tables as integers", "set it to 'float'"
        )
    strange = next((name for name in target.formats if name not in form.formats), "")
    if strange or (target.formats and target.scheme.format not in target.formats):
        raise source.fail(
            ("formats",),
            f"{strange!r} is no format of the {form.name} form" if strange else f"lacks {target.scheme.format!r}",
            f"it has {', '.join(form.formats)}",
        )
    if form.symmetric_activations and not target.scheme.activations.symmetric:
        raise source.fail(
            ("form",),
            f"the {form.name} form takes zero point 0 only",
            "set activation_symmetric = true under [scheme]",
        )


@dataclass(frozen=True)
class Objection:
    """One thing that a target refuses ("refuse") or does badly ("warn"): `op` is the op or tensor it is about."""

    severity: str
    op: str
    why: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


#: layers of steps, whose weights no rule quantizes
_RECURRENT = ("lstm", "gru", "rnntanh", "rnnrelu")


def _plain(op: str) -> str:
    """`aten._softmax.default` and `Softmax` are both `softmax`, so that a profile may name ops as its vendor does."""
    parts = op.split(".")
    name = parts[1] if len(parts) > 1 and parts[0] == "aten" else parts[0]
    return name.replace("_", "").lower()


def objections(target: Target, summary: GraphSummary) -> list[Objection]:
    """What `target` cannot or should not run of a graph, from its profile alone and before any training.

    Opset, IR and TFLite op versions are not judged here: they are known only of an exported artifact.
    """
    problems: list[Objection] = []
    refused = {_plain(op): op for op in target.refused_ops}
    for op, count in summary.ops.items():
        if _plain(op) in refused:
            why = f"{target.title} does not support {refused[_plain(op)]} (the graph has {count})"
            problems.append(Objection("refuse", op, why, "replace this op in the model, or choose another target"))

    for op, count in summary.float_ops.items():
        if _plain(op) in _RECURRENT and not (target.full_integer or target.compiler):
            why = f"{count} x {op} stay float: a recurrent layer has no integer form, and its work is no int8 share"
            remedy = "expect no speedup of it, and set gates.min_int8_share to what the other layers reach"
            problems.append(Objection("warn", op, why, remedy))

    if target.full_integer:
        for op, count in summary.float_ops.items():
            why = f"{target.title} supports integer ops only, and {count} x {op} would stay float"
            problems.append(Objection("refuse", op, why, "replace this op by one that can be quantized"))
    elif target.compiler:
        for op, count in summary.float_ops.items():
            why = f"{count} x {op} stay float: {target.compiler} may place them on the CPU or in higher precision"
            problems.append(Objection("warn", op, why))

    if target.max_rank is not None and summary.max_rank > target.max_rank:
        why = (
            f"{target.title} supports up to {target.max_rank} dimensions, a tensor of the graph has {summary.max_rank}"
        )
        problems.append(Objection("refuse", "rank", why, "avoid reshapes to more dimensions"))

    if target.static_shapes:
        for name, shape in summary.inputs.items():
            if any(size < 0 for size in shape[1:]):
                why = f"{target.title} supports static shapes only, the input {name!r} is {list(shape)}"
                problems.append(Objection("refuse", name, why, "fix every size of this input but the batch"))

        if summary.dynamic_batch:
            problems.append(
                Objection("warn", "batch", f"{target.title} supports static shapes only: the batch is fixed at 1")
            )

    if not target.full_integer:
        in_tables = ("embedding",) if target.scheme.embeddings != "float" else ()
        quantized = {*(op for op in target.scheme.ops if op in scheme.WEIGHTED), *in_tables}
        gaining = sum(count for op, count in summary.ops.items() if op in quantized)
        if summary.ops and not gaining:
            why = f"no layer with weights would be quantized, so {target.scheme.format} has no effect"
            problems.append(Objection("warn", "weights", why))

    return problems


def host_cpu() -> tuple[str, frozenset[str]]:
    """The instruction set of this process and the features of its CPU.

    The first is "x86_64", "aarch64", "armv7", or else what the system says. Features are the words of `/proc/cpuinfo`
    under `flags` or `Features`, and ARM part numbers such as "0xd0b".
    """
    machine = platform.machine().lower()
    isa = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if isa.startswith("armv7") or (isa in ("aarch64", "armv8l") and struct.calcsize("P") == 4):
        isa = "armv7"  # 32-bit Python on a 64-bit kernel is what Raspberry Pi OS often is

    words: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() in ("flags", "features", "cpu part"):
                words.update(value.lower().split())

    return isa, frozenset(words)


#: any of these multiplies and adds int8 in 32 bits
DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def saturates() -> bool:
    """Whether sums of u8 x s8 products saturate at 16 bits here: an x86 CPU whose features are known and lack VNNI.

    ONNX Runtime and OpenVINO are wrong there, silently, for 8-bit weights; with 7 bits no sum can reach the limit. A
    profile that stands for whatever runs it says so under `[scheme_without_vnni]`.
    """
    isa, features = host_cpu()
    return isa == "x86_64" and "avx2" in features and not features & DOT_PRODUCTS


def exact_here(target: Target) -> bool:
    """Whether integer kernels of this CPU would falsify a model of `target`, whose own CPU has better ones."""
    return saturates() and target.scheme.widest.bits == 8 and not host_is(target)


def matches(required: Iterable[str], features: frozenset[str]) -> bool:
    """Whether a CPU shows all `required` features; "a|b" is either of the two, "!a" asks for its absence."""
    return all(
        any((word[1:] not in features) if word.startswith("!") else (word in features) for word in entry.split("|"))
        for entry in required
    )


def host_is(target: Target) -> bool:
    """Whether this host is the target's kind of CPU, so that speed measured here may gate.

    Never so where a vendor's compiler still has to make what really runs on the board. Under a user-mode emulator this
    can be true of the emulated CPU: whoever starts one says so (`where` = "emulated") and does not ask.
    """
    return not target.compiler and cpu_is(target)


def cpu_is(target: Target) -> bool:
    """Whether this host has the target's kind of CPU, whatever else a compiler makes for the board."""
    isa, features = host_cpu()
    return target.isa in ("", isa) and matches(target.cpu_features, features)


def describe(target: Target) -> dict[str, Any]:
    """The profile as JSON values, for `edgeft targets show --json`; `scheme` with its derived name and ranges."""
    return {**asdict(target), "scheme": target.scheme.as_dict(), "host_is": host_is(target)}
