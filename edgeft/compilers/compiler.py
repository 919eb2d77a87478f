"""The record of a vendor's compiler, and what it made of an artifact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import InvalidInput

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_PINNED = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.+]+")


@dataclass(frozen=True)
class Setting:
    """One key of a profile's [compile] table: its default where it has one, and what it may be ((): any text)."""

    name: str
    default: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compiler:
    """One compiler. Raises `InvalidInput` when a field is wrong, at the moment it is made.

    `module` is a dotted name of a module with the functions below. They are run by the interpreter of the compiler's
    own environment, which has `requirements` (each pinned) and numpy, and no package of edgeft's other halves; each
    takes one table of plain JSON values and returns one.

    version     ({}) -> {"version": str, "packages": {distribution: version}}; raises what a broken install raises
    compile     ({"model", "folder", "settings"}) -> {"files": names within `folder`, the first is what the board loads,
                "on_cpu": [{"op", "node", "why"}], "estimate": {...}}, or {"refusal": {"why", "node", "op"}}: a model
                that the compiler refuses is an answer, not an exception
    simulate    where `simulates`: ({"model", "artifact", "folder", "settings", "feeds", "outputs", "seconds"}) -> {}:
                runs the first of `files` (`model`; `artifact` is what it was made of) in the vendor's simulator on the
                arrays of the file `feeds` (.npz, input name -> (N, ...)), for about `seconds`, and writes `outputs`
                (.npz, one row for each sample that it came to)

    `accelerator` is what the chip calls the part that the compiler writes for. `pythons` are the oldest and newest
    Python that its wheels are made for, `machines` the instruction sets. `versions` are those that edgeft knows how to
    read the reports of. `shipped` says whether its license lets a bundle carry what it made; `repeats` that one version
    makes the same bytes of a model each time: `verify` holds the bundle's files against those that it makes then.
    `gigabytes` is the size of its environment on disk, about (0: not known).
    """

    name: str
    title: str
    module: str
    requirements: tuple[str, ...]
    versions: tuple[str, ...]
    accelerator: str = "NPU"
    settings: tuple[Setting, ...] = ()
    simulates: bool = False
    shipped: bool = True
    repeats: bool = False
    pythons: tuple[tuple[int, int], tuple[int, int]] = ((3, 10), (3, 14))
    machines: tuple[str, ...] = ("x86_64",)
    compile_seconds: float = 900.0
    gigabytes: float = 0.0

    def __post_init__(self) -> None:
        self._require(_NAME.fullmatch(self.name), f"the name {self.name!r} is not of small letters, digits, - and _")
        self._require(self.title, "the title is empty")
        self._require(_MODULE.fullmatch(self.module), f"{self.module!r} is not a dotted name of a module")
        self._require(self.requirements and self.versions, "`requirements` or `versions` is empty")

        for requirement in self.requirements:
            self._require(_PINNED.fullmatch(requirement), f"the requirement {requirement!r} is not pinned (name==1.0)")
        self._require(self.pythons[0] <= self.pythons[1], "`pythons` is (oldest, newest)")

    def _require(self, holds: object, message: str) -> None:
        if not holds:
            raise InvalidInput(f"the record of the compiler {self.name!r} is wrong: {message}")

    @property
    def distributions(self) -> tuple[str, ...]:
        """The names of the packages in `requirements`."""
        return tuple(requirement.partition("==")[0] for requirement in self.requirements)

    @property
    def setup(self) -> str:
        """The command that installs the compiler."""
        return f"edgeft device setup compile:{self.name}"

    def settings_of(self, table: Mapping[str, str], where: str) -> dict[str, str]:
        """Every setting with the value that a profile's [compile] gives it, or its default.

        Raises `InvalidInput` for a key that the compiler does not have, a value that it does not take, and a setting
        that has no default and no value.
        """
        known = {setting.name: setting for setting in self.settings}
        for key in table:
            if key not in known:
                message = f"{self.title} has no setting {key!r}"
                raise InvalidInput(message, where=where, remedy=f"known: {', '.join(known) or 'none'}")

        values = {name: table.get(name, setting.default) for name, setting in known.items()}
        for name, value in values.items():
            choices = known[name].choices
            if not value or (choices and value not in choices):
                message = f"{self.title} does not take {name} = {value!r}"
                raise InvalidInput(message, where=where, remedy=f"one of {', '.join(choices)}" if choices else "")

        return values


@dataclass(frozen=True)
class Operation:
    """An operation of an artifact that does not run on the accelerator: its op, its node's name, and the reason."""

    op: str
    node: str
    why: str = ""
    macs: int = 0


@dataclass(frozen=True)
class Refusal:
    """Why a compiler made nothing of a model: the node and the op where it stopped, "" where it does not say."""

    why: str
    node: str = ""
    op: str = ""

    def __str__(self) -> str:
        place = " ".join(filter(None, [self.op, f"at {self.node!r}" if self.node else ""]))
        return f"{place}: {self.why}" if place else self.why


@dataclass(frozen=True)
class Compilation:
    """What a compiler made of one graph.

    `files` are paths within the folder that it wrote to, the first is what the board loads. `coverage_ops` and
    `coverage_macs` are the shares (0..1) of the artifact's operations, and of their multiply-accumulates, on the
    accelerator; quantizing and dequantizing are not counted. `fallback` are the operations that stay on the CPU.
    `estimate` has the vendor's own estimates under `cycles`, `sram_bytes`, `dram_bytes`, `milliseconds` where it
    makes them.
    """

    compiler: str
    version: str
    refusal: Refusal | None = None
    files: tuple[str, ...] = ()
    coverage_ops: float | None = None
    coverage_macs: float | None = None
    operations: int = 0
    macs: int = 0
    fallback: tuple[Operation, ...] = ()
    estimate: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def accepted(self) -> bool:
        return self.refusal is None

    def as_dict(self) -> dict[str, Any]:
        """The table `compiler` of a report and of a manifest."""
        return {
            "name": self.compiler,
            "version": self.version,
            "accepted": self.accepted,
            "refusal": str(self.refusal) if self.refusal else None,
            "coverage_ops": self.coverage_ops,
            "coverage_macs": self.coverage_macs,
            "fallback": [f"{op} ({count})" if count > 1 else op for op, count in self.fallback_ops().items()],
            "estimate": dict(self.estimate),
        }

    def fallback_ops(self) -> dict[str, int]:
        """How many operations of each op stay on the CPU, the most frequent first."""
        return dict(Counter(operation.op for operation in self.fallback).most_common())


def together(compilations: Mapping[str, Compilation]) -> Compilation:
    """The compilations of several graphs as one: coverage weighted by operations, estimates added up."""
    parts = list(compilations.values())
    if len(parts) == 1:
        return parts[0]

    first = next((part for part in parts if not part.accepted), parts[0])
    operations, macs = sum(part.operations for part in parts), sum(part.macs for part in parts)
    estimate: dict[str, float] = {}

    for part in parts:
        for key, value in part.estimate.items():
            largest = key.endswith("_bytes")  # memory is used again, time adds up
            estimate[key] = max(estimate.get(key, 0.0), value) if largest else estimate.get(key, 0.0) + value

    return Compilation(
        first.compiler,
        first.version,
        refusal=first.refusal,
        coverage_ops=_weighted(parts, "coverage_ops", "operations"),
        coverage_macs=_weighted(parts, "coverage_macs", "macs"),
        operations=operations,
        macs=macs,
        fallback=tuple(operation for part in parts for operation in part.fallback),
        estimate=estimate,
        seconds=sum(part.seconds for part in parts),
    )


def _weighted(parts: list[Compilation], share: str, weight: str) -> float | None:
    counted = [part for part in parts if getattr(part, weight)]
    if not counted or any(getattr(part, share) is None for part in counted):
        return None

    total = sum(getattr(part, weight) for part in counted)
    return float(sum(getattr(part, share) * getattr(part, weight) for part in counted) / total)
