"""Compatibility: does what the exporter really emitted fit what the target's profile allows?

And the other half: is a measurement taken here one of the target's kind?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import backends
from ..backends.backend import VERSION_RULES
from ..config import target as targets
from ..config.target import Objection, Target
from ..core.verdict import FAIL, PASS, UNVERIFIED, Verdict
from . import compiler_gate


def compatibility(target: Target, emitted: Mapping[str, Any], objections: Sequence[Objection] = ()) -> Verdict:
    """`emitted` is read from the artifact, never from what was asked of the converter.

    Its keys: `opset` (int) and `ir_version` (int) of ONNX, `op_versions` {op: int} of TFLite, and of each `ops`
    (names), `max_rank` (int), `dynamic` (bool), `float_ops` (names of ops that compute in float). `objections` are
    those of `target.objections`: a refusal fails, a warning is shown. Where a figure that a rule of the profile needs
    is absent, or a vendor's compiler has yet to run on a legal model, the verdict is `unverified`; what the compiler
    made of the model is judged by `compiler_gate.judged`.
    """
    broken = [f"{objection.op}: {objection.why}" for objection in objections if objection.severity == "refuse"]
    warned = [f"{objection.op}: {objection.why}" for objection in objections if objection.severity != "refuse"]
    unread: list[str] = []
    checked = len(objections)
    checks = backends.get(target.backend).checks

    def rule(key: str, stated: bool) -> bool:
        nonlocal checked
        if not stated or (key in VERSION_RULES and key not in checks):
            return False
        checked += 1
        if emitted.get(key) is None:
            unread.append(key)
        return key not in unread

    if rule("opset", target.opset is not None):
        low, high = target.opset or (0, 0)
        if not low <= emitted["opset"] <= high:
            broken.append(f"opset {emitted['opset']}, the target supports {low} to {high}")

    if rule("ir_version", target.ir_version is not None) and emitted["ir_version"] > (target.ir_version or 0):
        broken.append(f"ONNX IR version {emitted['ir_version']}, the target supports up to {target.ir_version}")
    if rule("op_versions", bool(target.op_versions)):
        for op, version in emitted["op_versions"].items():
            highest = target.op_versions.get(op, target.op_versions.get("*"))
            if highest is not None and version > highest:
                broken.append(f"{op} version {version}, the target supports up to {highest}")
    if rule("max_rank", target.max_rank is not None) and emitted["max_rank"] > (target.max_rank or 0):
        broken.append(f"a tensor of rank {emitted['max_rank']}, the target supports up to {target.max_rank}")
    if rule("dynamic", target.static_shapes) and emitted["dynamic"]:
        broken.append("a shape is dynamic, the target supports static ones only")
    if rule("ops", bool(target.refused_ops)):
        refused = {_plain(op) for op in target.refused_ops}
        broken += [f"the op {op} is refused by the target" for op in sorted(emitted["ops"]) if _plain(op) in refused]
    if rule("float_ops", target.full_integer) and emitted["float_ops"]:
        broken.append(f"{', '.join(sorted(emitted['float_ops']))} compute in float, the target supports integers only")

    verdict, why = _decision(target, broken, unread, checked)
    needs = target.compiler if verdict == UNVERIFIED and not unread else ""
    also = f" ({'; '.join(warned)})" if warned else ""
    return Verdict(
        "compatibility",
        verdict,
        f"{target.name}: {why}{also}",
        metric="rules broken",
        quantized=float(len(broken)),
        limit=0.0,
        n=checked,
        needs=needs,
        remedy=compiler_gate.remedy(target) if needs else "",
    )


def _decision(target: Target, broken: Sequence[str], unread: Sequence[str], checked: int) -> tuple[str, str]:
    """The verdict and its reason from the rules that are broken, could not be read, and were checked."""
    if broken:
        return FAIL, "; ".join(broken)
    if unread:
        return UNVERIFIED, f"{', '.join(unread)} could not be read from the artifact"
    if target.compiler:
        return UNVERIFIED, f"the rules are met, but {compiler_gate.has_not_run(target)}"
    if checked:
        return PASS, f"all {checked} rules of the profile are met"

    return PASS, "the profile has no rule that limits the artifact"


def on_target(target: Target, runtime: str) -> bool:
    """Whether speed and integer share measured on this host speak for the target: its runtime and its kind of CPU.

    A form that a compiler turns into something else (TensorRT, an NPU) never runs as itself on a CPU.
    """
    as_itself = backends.get(target.backend).form(target.form).runs_as_itself
    return runtime == target.backend and as_itself and targets.host_is(target)


def _plain(op: str) -> str:
    return op.replace("_", "").lower()
