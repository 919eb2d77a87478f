"""What the manifest says of the artifacts' borders and needs, against the artifacts: tensors, steps, versions.

Outputs are compared in steps: a wider one would let more pass. The other keys are what boards, generators of code and
pages read instead of the model file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..backends import Grid, Tensor
from ..backends.flow import last_grids
from ..bundle.manifest import of_model
from ..bundle.reader import Bundle
from ..core.verdict import ADVISORY, FAIL, PASS, Verdict
from .recorded_scheme import NOT_MEASURED as SCHEME_KEYS
from .scales import RELATIVE

TENSORS, REQUIRES = "tensors of the artifact", "requirements of the artifact"
#: the rank is that of the graph before it was converted: files of models tell that of their inputs and outputs
RANK = "max_rank"


def tensors_as_stored(opened: Bundle, sessions: Mapping[str, Any]) -> Verdict:
    """The inputs and outputs of each graph: shape, type, quantization and layout of the manifest are the artifact's.

    `sessions` are the graphs of the model by name. An output that is handed out in float has the step of the grid that
    the artifact laid it on last.
    """
    complaints, n = [], 0
    for graph in of_model(opened.manifest):
        session = sessions[graph["name"]]
        for key, border in (("inputs", session.inputs), ("outputs", session.outputs)):
            by_name = {tensor.name: tensor for tensor in border}
            n += len(graph[key])
            for entry in graph[key]:
                complaints += [f"{entry['name']!r} {what}" for what in _of_tensor(entry, by_name[entry["name"]])]
        complaints += _layouts(graph, opened.preprocess)
        complaints += _steps(graph, _grids_of_outputs(opened, graph, session.outputs))

    if complaints:
        more = f" ({len(complaints) - 1} more)" if len(complaints) > 1 else ""
        return Verdict("parity", FAIL, f"the manifest says otherwise: {complaints[0]}{more}", metric=TENSORS, n=n)

    why = f"{n} inputs and outputs have the shape, type and quantization that the manifest says; recorded, not "
    why += "measured: rounding"
    return Verdict("parity", PASS, why, metric=TENSORS, n=n)


def _of_tensor(entry: Mapping[str, Any], tensor: Tensor) -> Iterator[str]:
    sizes = list(zip(entry["shape"], tensor.shape))
    # a bundle of one sample at a time may be of a model that takes several
    if len(entry["shape"]) != len(tensor.shape) or any(a != b for a, b in sizes[1:]) or not _batches(*sizes[:1]):
        yield f"is {list(tensor.shape)} in the artifact, not {entry['shape']}"
    if entry["dtype"] != tensor.dtype:
        yield f"is {tensor.dtype} in the artifact, not {entry['dtype']}"

    for key, value in (("scale", tensor.scale), ("zero_point", tensor.zero_point)):
        if not _equal(entry.get(key), value):
            yield f"has {key} {value} in the artifact, not {entry.get(key)}"


def _batches(*first: tuple[int, int]) -> bool:
    return all(a == b or (a, b) == (1, -1) for a, b in first)


def _equal(value: Any, stored: Any) -> bool:
    if value is None or stored is None:
        return value is stored
    return math.isclose(value, stored, rel_tol=RELATIVE)


def _layouts(graph: Mapping[str, Any], preprocess: Mapping[str, Any]) -> Iterator[str]:
    """Inputs are laid out as preprocessing does it."""
    for entry in graph["inputs"]:
        if "layout" in entry and "layout" in preprocess and entry["layout"] != preprocess["layout"]:
            yield f"{entry['name']!r} is {preprocess['layout']} by preprocessing, not {entry['layout']}"


def _grids_of_outputs(
    opened: Bundle, graph: Mapping[str, Any], outputs: Sequence[Tensor]
) -> Mapping[str, Sequence[Grid]]:
    """The grids that each output may have its step from: the last ones on the paths to it, all grids of the artifact
    where its reader tells no paths. `outputs` are those of the session, in the order of the artifact's."""
    path = opened.graph_path(graph["name"])
    flow = opened.runtime.flow(path)
    if flow is None or len(flow.outputs) != len(outputs):
        return dict.fromkeys((tensor.name for tensor in outputs), opened.runtime.activation_grids(path))
    return {tensor.name: last_grids(flow, key) for tensor, key in zip(outputs, flow.outputs)}


def _steps(graph: Mapping[str, Any], grids: Mapping[str, Sequence[Grid]]) -> Iterator[str]:
    """The step of an output is the scale of one of its `grids`; of several, by powers of 2."""
    for entry in graph["outputs"]:
        step = entry.get("step")
        each = step if isinstance(step, list) else [] if step is None else [step]
        for value in each:
            factors = [value / grid.scale for grid in grids[entry["name"]]]
            if isinstance(step, list):
                factors = [2.0 ** (math.log2(factor) - round(math.log2(factor))) for factor in factors if factor > 0]
            if not any(math.isclose(factor, 1.0, rel_tol=RELATIVE) for factor in factors):
                yield f"{entry['name']!r} has no grid of step {value:.6g} in the artifact"
                break


def unmeasured(manifest: Mapping[str, Any], *, on_data: bool = False) -> list[str]:
    """The keys of a manifest whose value no artifact tells: the export wrote them, or somebody after it. `on_data`:
    the metrics are measured again."""
    outputs = [tensor for graph in of_model(manifest) for tensor in graph["outputs"]]
    return [
        *(f"scheme.{key}" for key in SCHEME_KEYS if key in manifest["scheme"]),
        *(f"{key} of outputs" for key in ("rounding", "layout") if any(tensor.get(key) for tensor in outputs)),
        *(["order of sizes in integer_weights"] if manifest.get("integer_weights") else []),
        *([f"requires.{RANK}"] if RANK in manifest["requires"] else []),
        *(["figures"] if "figures" in manifest and not on_data else []),
        *(["metric_record.max_drop"] if "metric_record" in manifest else []),
        *(["runtime.version"] if manifest["provenance"].get("fingerprint") else []),
        *(["provenance"] if manifest["provenance"] else []),
    ]


def requires_as_emitted(opened: Bundle) -> Verdict:
    """`requires` names the versions that the artifacts need: of numbers the highest of all graphs. What no file of a
    model tells is named in the reason."""
    stated, needed, borders = opened.manifest["requires"], _needed(opened), _rank(opened)
    different = [(key, value) for key, value in needed.items() if key in stated and stated[key] != value]
    rank = stated.get(RANK)
    if rank is not None and (type(rank) is not int or rank < borders):
        different.append((RANK, borders))

    compared = [key for key in needed if key in stated]
    base: dict[str, Any] = {"metric": REQUIRES, "n": len(compared)}
    if different:
        key, value = different[0]
        why = f"the artifact needs {key} {value}, and `requires` of the manifest says {stated[key]!r}"
        return Verdict("parity", FAIL, why, **base)

    unmeasured = ", ".join(sorted(map(str, stated.keys() - {*compared})))
    why = f"{', '.join(compared)} of the manifest's `requires` are those of the artifact" if compared else ""
    why = "; ".join(filter(None, [why, f"recorded, not measured: {unmeasured}" if unmeasured else ""]))
    verdict = PASS if compared else ADVISORY

    return Verdict("parity", verdict, why or "`requires` is empty", required=bool(compared), **base)


def _needed(opened: Bundle) -> dict[str, Any]:
    """What `export` records of the artifacts' own account, but for the counts of operations."""
    needed: dict[str, Any] = {}
    for graph in of_model(opened.manifest):
        needs = opened.runtime.emitted(opened.graph_path(graph["name"]))
        for key, value in needs.items():
            if key == "op_versions":
                versions = needed.setdefault(key, {})
                versions |= {op: max(version, versions.get(op, 0)) for op, version in value.items()}
            elif key == "opsets" and "opset" not in needs:
                needed["opset"] = max([needed.get("opset", 0), *map(_number, value)])
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                needed[key] = max(needed.get(key, value), value)

    return needed


def _number(opset: str) -> int:
    """4 of "opset4"; 0 of a set of operations that has no number."""
    return int(digits) if (digits := opset.removeprefix("opset")).isdecimal() else 0


def _rank(opened: Bundle) -> int:
    graphs = of_model(opened.manifest)
    return max(len(tensor["shape"]) for graph in graphs for key in ("inputs", "outputs") for tensor in graph[key])
