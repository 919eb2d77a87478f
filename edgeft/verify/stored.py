"""What the artifacts of a bundle hold, read from their files: weights, scales, the paths of values, sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..backends import IntegerShare
from ..bundle.manifest import of_model
from ..bundle.reader import Bundle
from ..config import numeric, scheme
from ..config.recipe import Gates
from ..core.verdict import FAIL, PASS, Verdict
from .integer import integer_digests
from .paths import float_twin, graph_share, paths
from .recorded_scheme import scheme_as_stored
from .scales import same_scales

#: the metric of the gate `float_files`
FLOAT_FILES = "float_files_share"


def stored(opened: Bundle, graphs: Sequence[str], samples: Mapping[str, np.ndarray], gates: Gates) -> list[Verdict]:
    """Weights and scales as the artifacts hold them, against the manifest's digests; what depends on them; and whether
    the float baselines are the same networks. Of a float model: whether the artifacts are the baselines."""
    if scheme.is_float(opened.scheme):
        return [float_files(opened)]

    locations = {name: opened.graph_path(name) for name in graphs}
    weights = [tensor for path in locations.values() for tensor in opened.runtime.integer_weights(path)]
    grids = [grid for path in locations.values() for grid in opened.runtime.activation_grids(path)]
    recorded_weights = opened.manifest.get("integer_weights", {})

    flows = {name: opened.runtime.flow(path) for name, path in locations.items()}
    baselines = {name: opened.runtime.flow(opened.baseline_path(name)) for name in graphs}
    dtypes = frozenset((*numeric.STORED_WEIGHTS, *numeric.STORED_FLOATS))
    gate_results = [
        integer_digests(recorded_weights, weights),
        same_scales(opened.manifest.get("scales_sha256"), weights, grids, expected=bool(recorded_weights)),
        scheme_as_stored(opened.scheme, recorded_weights, weights, grids, flows),
        paths(recorded_weights, flows),
        graph_share(recorded_weights, flows, calls(opened, graphs, samples), gates) if _integer(opened) else None,
        float_twin(flows, baselines, dtypes),
    ]

    return [gate_result for gate_result in gate_results if gate_result is not None]


def float_files(opened: Bundle) -> Verdict:
    """Where nothing is quantized every artifact is its float baseline, byte for byte."""
    listed, count = opened.manifest["files"], 0
    for graph in of_model(opened.manifest):
        for name, baseline in _twins(opened, graph):
            count += 1
            if baseline not in listed or listed[name]["sha256"] != listed[baseline]["sha256"]:
                why = f"{name} is not the float baseline, though the manifest says that nothing is quantized"
                return Verdict("integer", FAIL, why, metric=FLOAT_FILES, limit=1.0, n=count)

    why = "the artifact is the float baseline, byte for byte: nothing is quantized"
    return Verdict("integer", PASS, why, metric=FLOAT_FILES, quantized=1.0, limit=1.0, n=count)


def _twins(opened: Bundle, graph: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each file that the runtime reads of a graph's artifact, and where the baseline has it."""
    file, baseline = PurePosixPath(graph["file"]), PurePosixPath(graph.get("baseline") or "")
    yield from zip(opened.runtime.files_of(str(file)), opened.runtime.files_of(str(baseline)))
    for name in opened.runtime.external_files(opened.graph_path(graph["name"])):
        yield str(file.parent / name), str(baseline.parent / name)


def calls(opened: Bundle, graphs: Sequence[str], samples: Mapping[str, np.ndarray]) -> Mapping[str, float]:
    """How often each graph runs for a sample."""
    if len(graphs) == 1:
        return {graphs[0]: 1}
    assert opened.task.calls is not None
    return opened.task.calls(samples)


def in_integers(opened: Bundle) -> bool:
    """Whether the bundle's activations are integers that its runtime has kernels for, whose share of the work is
    judged."""
    return _integer(opened) and scheme.format_of(opened.scheme) not in opened.runtime.float_kernels


def _integer(opened: Bundle) -> bool:
    return scheme.activations_of(opened.scheme).kind == "int"


def share(opened: Bundle, shares: Mapping[str, IntegerShare], samples: Mapping[str, np.ndarray]) -> IntegerShare:
    """All graphs as one, each counted as often as it runs for a sample."""
    if len(shares) == 1:
        return next(iter(shares.values()))

    times = calls(opened, list(shares), samples)
    floats: dict[str, int] = {}
    ops: dict[str, int] = {}

    for share in shares.values():
        for table, counts in ((floats, share.float_ops), (ops, share.ops)):
            for op, count in counts.items():
                table[op] = table.get(op, 0) + count

    macs, integer = (
        sum(getattr(share, key) * times[name] for name, share in shares.items()) for key in ("macs", "integer_macs")
    )
    return IntegerShare(integer / macs if macs else 0.0, round(macs), round(integer), floats, ops)


def sizes(opened: Bundle) -> tuple[int, int]:
    """Bytes of the float baseline and of the artifact over all graphs, weights in a file beside the graph included."""
    total = {"baseline": 0, "file": 0}
    listed = opened.manifest["files"]
    for graph in of_model(opened.manifest):
        for key in total:
            if graph.get(key):
                names = opened.runtime.files_of(graph[key])
                total[key] += sum(listed[name]["bytes"] for name in names if name in listed)
    return total["baseline"], total["file"]
