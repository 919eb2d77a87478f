"""Paths: do the answers come from the integer weights?

An artifact may store every recorded weight and answer with a float network all the same: the integer layers then hang
beside it, are multiplied by zero, or follow the last one that an output reads. These gates follow the values from the
inputs to the outputs, in the file as it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..backends.flow import Flow, apart, holding
from ..config.formats import int8
from ..config.recipe import Gates
from ..core.verdict import ADVISORY, FAIL, PASS, Verdict
from .integer import Digests, matching

METRIC = "live_weights_share"
SHARE = "graph_share"
TWIN = "float baseline"


def paths(expected: Digests, flows: Mapping[str, Flow | None]) -> Verdict:
    """Every recorded weight lies on a path from an input to an output, every layer with integer weights is recorded,
    and every layer that sums products lies on a path that holds some of them.

    `expected` is the manifest's `integer_weights`, `flows` are the graphs of the model by name. Advisory where the
    runtime's package does not read the flow of values.
    """
    n = len(expected)
    if any(flow is None for flow in flows.values()):
        why = "the runtime's package does not tell how values flow through the artifact"
        return Verdict("integer", ADVISORY, why, metric=METRIC, n=n, required=False)

    live: set[str] = set()
    complaints: list[str] = []
    for graph, flow in flows.items():
        assert flow is not None
        owners = matching(expected, [weight for _, weight in flow.weights])
        recorded = {flow.weights[k][0] for positions in owners.values() for k in positions}
        stored = {key: weight.name for key, weight in flow.weights}
        held, steps = holding(flow, stored), flow.live()
        used = frozenset().union(*held.values()) if held else frozenset()
        live |= {name for name, positions in owners.items() if any(flow.weights[k][0] in used for k in positions)}

        where = f"{graph}: " if len(flows) > 1 else ""
        products = [key for k, keys in held.items() if steps[k].products for key in sorted(keys)]
        unlisted = list(dict.fromkeys(stored[key] for key in products if key not in recorded))
        if unlisted:
            complaints.append(f"{where}the manifest does not list the weights {unlisted[0]!r}{_more(unlisted)}")
        beside = apart(flow, [k for k, keys in held.items() if keys & recorded])
        if beside:
            name = f"{beside[0].op} {beside[0].name!r}" if beside[0].name else beside[0].op
            complaints.append(f"{where}{name} is on no path from an input to an output that holds recorded weights")

    dead = [name for name in expected if name not in live]
    if dead:
        complaints.insert(0, f"no output depends on the weights of {dead[0]!r}{_more(dead)}")

    table = {"metric": METRIC, "quantized": (n - len(dead)) / n if n else None, "limit": 1.0, "n": n}
    if complaints or not n:
        why = "; ".join(complaints) or "the manifest names no quantized weights; nothing was measured"
        return Verdict("integer", FAIL, why, **table)  # type: ignore[arg-type]

    why = f"the weights of all {n} layers lie on the paths from inputs to outputs, and no layer computes beside them"
    return Verdict("integer", PASS, why, **table)  # type: ignore[arg-type]


def graph_share(
    expected: Digests, flows: Mapping[str, Flow | None], calls: Mapping[str, float], gates: Gates
) -> Verdict | None:
    """The share of the multiply-accumulates by constants that recorded weights have in the graph, on any machine.

    What the file says, not what a runtime makes of it: the least that holds for every board. `calls` says how often
    each graph runs for a sample. None where the runtime's package does not tell, or no layer has constant weights.
    """
    quantized = total = 0.0
    for graph, flow in flows.items():
        if flow is None:
            return None
        owners = matching(expected, [weight for _, weight in flow.weights])
        recorded = {flow.weights[k][0] for positions in owners.values() for k in positions}
        held, sources = holding(flow, recorded), flow.sources()
        for position, step in enumerate(flow.live()):
            if step.products and any(sources.get(key) for key in step.reads):
                total += step.macs * calls[graph]
                quantized += step.macs * calls[graph] if position in held else 0

    if not total:
        return None

    share, limit = quantized / total, gates.min_int8_share
    why = f"layers with recorded {int8.FORMAT.name} weights have {share:.1%} of the graph's multiply-accumulates by "
    why += f"weights, required: {limit:.0%}"
    verdict = PASS if share >= limit else FAIL

    return Verdict("integer", verdict, why, metric=SHARE, quantized=share, limit=limit, n=round(total))


def float_twin(
    flows: Mapping[str, Flow | None], baselines: Mapping[str, Flow | None], dtypes: frozenset[str]
) -> Verdict | None:
    """The float baselines sum as many products as the artifacts, layer by layer, and hold no weights of `dtypes`.

    A baseline that computes more makes the artifact look fast; one that is the artifact itself, or has its weights,
    loses nothing to it. None where the runtime's package does not tell.
    """
    layers = 0
    for graph, flow in flows.items():
        baseline = baselines[graph]
        if flow is None or baseline is None:
            return None
        where = f"{graph}: " if len(flows) > 1 else ""
        quantized = [weight.name for _, weight in baseline.weights if weight.data.dtype.name in dtypes]
        if quantized:
            why = f"{where}the float baseline holds the quantized weights {quantized[0]!r}{_more(quantized)}"
            return Verdict("parity", FAIL, why, metric=TWIN, n=len(quantized))
        counts, expected = (sorted(step.macs for step in f.live() if step.products) for f in (baseline, flow))
        layers += len(expected)
        if counts != expected:
            why = f"{where}the float baseline sums {sum(counts)} products in {len(counts)} layers, the artifact "
            why += f"{sum(expected)} in {len(expected)}: they are not the same network"
            return Verdict("parity", FAIL, why, metric=TWIN, n=len(expected))

    if not layers:
        why = "no layer of the artifact sums products by weights, so nothing was compared with the float baseline"
        return Verdict("parity", ADVISORY, why, metric=TWIN, required=False)

    why = f"the float baseline has the {layers} layers of the artifact, in float"
    return Verdict("parity", PASS, why, metric=TWIN, n=layers)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
