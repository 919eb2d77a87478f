"""`edgeft verify BUNDLE [--data DIR]`: prove a bundle again, on the machine where it will run. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import IntegerShare, Session
from ..bundle import reader as bundles
from ..bundle.manifest import of_model, recorded
from ..bundle.reader import Bundle
from ..compilers import Compilation
from ..compilers.compiler import together
from ..config import scheme
from ..config import target as targets
from ..config.recipe import Gates
from ..config.target import Target
from ..config.target_runtimes import in_runtime
from ..core.errors import UsageError
from ..core.progress import phase
from ..core.verdict import ADVISORY, UNVERIFIED, Verdict
from ..measure.clock import Clock
from ..measure.fingerprint import fingerprint
from ..measure.latency import BUDGET_NEEDS, P99_NEEDS, measure, rate
from ..measure.quads import Comparison, compare
from ..personalize.run import check as personal_state
from . import compiler_gate, energy, engine, evaluate, not_repeated, streaming
from .accuracy import accuracy
from .agreement import agreement
from .carried import labels_as_named, own_runner, stored_count
from .closed_loop import OPEN_LOOP, beside_return, in_environment
from .compatibility import compatibility, on_target
from .document import report
from .integer import int8_share
from .latency import budget, latency
from .leak import beside_leak, sentence
from .other_figures import other_figures
from .recorded_figures import recorded_figures, same_figures
from .recorded_gates import as_recorded, recorded_gates
from .recorded_tensors import requires_as_emitted, tensors_as_stored, unmeasured
from .samples import named, on_samples
from .size import size
from .stored import in_integers, sizes, stored
from .stored import share as share_of

Say = Callable[[str], None]
#: what a report says where `Bundle.exact` holds
SATURATES = (
    "this CPU has no VNNI: sums of 8-bit weights saturate in its integer kernels, the target's do not; outputs were "
    "computed without them, speed and integer share with them"
)


def run(
    bundle: Bundle | Path | str,
    data: Path | str | None = None,
    *,
    threads: int | None = None,
    state: Path | str | None = None,
    measure_latency: bool = True,
    max_seconds: float = 6.0,
    where: str = "host",
    most: int | None = None,
    clock: Clock | None = None,
    earlier: Sequence[Mapping[str, Any]] | None = None,
    ask_compiler: bool = True,
    own_recipe: bool = False,
    exported: bool = False,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Check files, preprocessing, parity, weights, integer share, speed, size; with `data` accuracy and agreement.

    `state` names the state of a device (None: the file in the bundle's folder, if any), judged on the bundle's
    reference samples. `threads` None takes the recorded number; `where` says what this machine is: host, device or
    emulated (which is not timed). `most` limits the samples of `data` that are judged. `earlier` are the gates of an
    earlier report (None: those of report.json): of what is not measured here they stay, marked as recorded; with
    `exported` (its export has ended) accuracy is among them. With `ask_compiler` the target's compiler, if set up on
    this machine, compiles the artifacts again, and one that runs on the board builds its engine; with `own_recipe` (the
    caller's) a module in the name of its environment is imported. Returns report.json's content. Raises `BundleError`,
    `DataError`, `RecipeError` (exit 3) and `Missing` (exit 4); a gate that fails is a verdict, not an exception.
    """
    opened = bundle if isinstance(bundle, Bundle) else bundles.open(bundle)
    threads = threads or int(opened.manifest["runtime"]["threads"])
    gates = recorded_gates(opened.manifest)
    earlier = not_repeated.read(opened.path) if earlier is None else earlier
    machine = fingerprint(threads=threads, runtime={"name": opened.backend, "version": opened.runtime.version()})
    profile = _profile(opened)
    speaks = where != "emulated" and profile is not None and on_target(profile, opened.backend)

    say("samples")
    session, samples = opened.session(threads=threads), opened.samples()

    with phase("checking the artifact on its samples"):
        share, shares, gate_results = _artifact(opened, session, samples, machine, gates, threads)
        gate_results += [int8_share(share, gates, on_target=speaks, where=where)] if in_integers(opened) else []
        verdicts, table = _compatible(profile, opened, shares, gates, ask_compiler and where == "host")
    asked = profile if ask_compiler and where != "emulated" else None
    verdicts, built, comparison = engine.gates(asked, opened, samples, gates, verdicts, say, timed=measure_latency)
    gate_results += verdicts
    extra = {**_extra(opened, share, data is not None), **table, **built}
    if measure_latency and where != "emulated" and comparison is None:
        say("latency")
        speed = {"on_target": speaks, "where": where, **_about_speed(opened, extra)}
        comparison, verdicts, figures = _latency(opened, session, samples, gates, threads, max_seconds, clock, speed)
        gate_results += verdicts
        extra |= figures | streaming.cost(opened, session, samples, threads, clock)
    gate_results += [size(*sizes(opened), gates), *_in_use(opened, session, gates, threads, say, state, own_recipe)]
    if data is not None:
        verdicts, figures = _on_data(opened, Path(data), threads, most, gates, state, earlier, say)
        gate_results += verdicts
        extra |= figures
    gate_results += not_repeated.carried(earlier, gate_results, exported and bool(recorded(opened.manifest, "gates")))
    return _document(opened, gates=gate_results, comparison=comparison, where=where, fingerprint=machine, **extra)


def _in_use(
    opened: Bundle,
    session: Session,
    gates: Gates,
    threads: int,
    say: Say,
    state: Path | str | None,
    own_recipe: bool,
) -> list[Verdict]:
    """The return in the environment that the recipe names, and what the state of a device keeps, where there is any."""
    verdicts = []
    if gates.environment:
        say("closed loop")
        verdicts.append(in_environment(opened, session, gates, threads, imports=own_recipe))
    if learned := personal_state(opened, state, threads=threads):
        verdicts.append(learned)
    return verdicts


def _artifact(
    opened: Bundle, session: Any, samples: Any, machine: Mapping[str, Any], gates: Gates, threads: int
) -> tuple[IntegerShare, dict[str, IntegerShare], list[Verdict]]:
    """The share of integer work, of the whole and by graph, and the gates of what the bundle holds: its graphs, and
    beside them gates as in its recipe, all samples, its own run.py and labels."""
    graphs = [graph["name"] for graph in of_model(opened.manifest)]
    options = opened.manifest["runtime"]["options"]
    shares = {
        name: opened.runtime.integer_share(opened.graph_path(name), threads=threads, options=options) for name in graphs
    }
    sessions = {graphs[0]: session} if len(graphs) == 1 else session.sessions
    share = share_of(opened, shares, samples)

    return (
        share,
        shares,
        [
            *as_recorded(opened),
            stored_count(opened, samples),
            own_runner(opened),
            labels_as_named(opened, samples),
            *on_samples(opened, session, samples, machine),
            *streaming.judged(opened, session, samples, share, threads),
            tensors_as_stored(opened, sessions),
            requires_as_emitted(opened),
            *stored(opened, graphs, samples, gates),
        ],
    )


def _document(opened: Bundle, *, worst_class: Any = None, **contents: Any) -> dict[str, Any]:
    """report.json's content: `contents` with the names and sizes of the bundle."""
    float_bytes, quantized_bytes = sizes(opened)
    return report(
        target=opened.target,
        backend=opened.backend,
        float_bytes=float_bytes or None,
        quantized_bytes=quantized_bytes,
        worst_class=worst_class,
        name=opened.name,
        task=opened.manifest["task"],
        **contents,
    )


def _about_speed(opened: Bundle, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What the latency gate takes of the artifact beside the measurement."""
    float_layers = extra.get("keep_float", [])
    return {"int8": extra.get("int8"), "keep_float": float_layers, "float_kernels": not in_integers(opened)}


def _extra(opened: Bundle, share: IntegerShare, on_data: bool) -> dict[str, Any]:
    """What a report has beside gates: warnings, the operations in integers, layers that the recipe leaves in float."""
    leak = sentence(_leak(opened), allowed=_leak_allowed(opened))
    warnings = [*([leak] if leak else []), *([SATURATES] if opened.exact else [])]
    if opened.task.action is not None and not recorded_gates(opened.manifest).environment:
        warnings.append(OPEN_LOOP)

    extra: dict[str, Any] = {"warnings": warnings, "format": scheme.format_of(opened.scheme), "int8_share": None}
    if in_integers(opened):
        extra |= {"int8": dataclasses.asdict(share), "int8_share": share.share if share.macs else None}

    extra |= {"metric_record": opened.task.metric.as_dict(), "unmeasured": unmeasured(opened.manifest, on_data=on_data)}
    patterns = recorded(opened.manifest, "quantize").get("keep_float")
    float_layers = [str(pattern) for pattern in patterns] if isinstance(patterns, list) else []
    return extra | ({"keep_float": float_layers} if float_layers else {})


def _leak(opened: Bundle) -> Any:
    return opened.manifest["provenance"].get("leak")


def _leak_allowed(opened: Bundle) -> bool:
    return recorded(opened.manifest, "data").get("allow_leak") is True


def _on_data(
    opened: Bundle,
    data: Path,
    threads: int,
    most: int | None,
    gates: Gates,
    state: Path | str | None,
    earlier: Sequence[Mapping[str, Any]],
    say: Say,
) -> tuple[list[Verdict], dict[str, Any]]:
    """The gates that need data, and what the report has of it; of a personalized bundle the model in use is judged, and
    the exported one stands beside it."""
    say("accuracy")
    with phase("judging on the data"):
        judged = evaluate.evaluate(opened, data, threads, most, state)
    pair = (judged.float_outputs, judged.quantized_outputs)
    verdict = beside_return(accuracy(opened.task, *pair, judged.targets, judged.labels, gates), gates)
    verdicts = [
        beside_leak(verdict, _leak(opened), allowed=_leak_allowed(opened)) if judged.same_data else verdict,
        agreement(opened.task, *pair, gates, judged.targets),
    ]
    after = judged.quantized_outputs if judged.exported_outputs is None else judged.exported_outputs
    figures = recorded_figures(opened.manifest, earlier)
    pair_now = (judged.float_outputs, after)
    available = judged.available if judged.same_data else None
    verdicts += same_figures(opened.task, figures, pair_now, judged.targets, available=available)

    if judged.exported_outputs is not None:
        exported = (judged.float_outputs, judged.exported_outputs)
        verdict = accuracy(opened.task, *exported, judged.targets, judged.labels, gates)
        metric = f"{verdict.metric} as exported"
        verdicts.append(dataclasses.replace(verdict, metric=metric, verdict=ADVISORY, required=False))

    contents = dict(other_figures(opened.task, *pair, judged.targets, judged.labels, opened.preprocess))
    contents["data"] = {"path": str(data), "n": len(judged.targets), "notes": list(judged.notes)}
    return verdicts, contents


def _profile(opened: Bundle) -> Target | None:
    """The profile of the bundle's target, in the bundle's runtime where the board has that too."""
    try:
        return in_runtime(targets.load(opened.target), opened.backend)
    except UsageError:
        return None  # a profile of the exporting machine's own: speed is advisory then, and its rules unverified


def _compatible(
    profile: Target | None, opened: Bundle, shares: Mapping[str, IntegerShare], gates: Gates, ask: bool
) -> tuple[list[Verdict], dict[str, Any]]:
    """The gate of each graph, and the report's `compiler` where that ran, which it is asked to by `ask`."""
    made, faults = compiler_gate.compiled(profile if ask else None, opened, list(shares))
    verdicts = [
        _compatibility(profile, opened, name, share, made.get(name), gates, faults.get(name, ""))
        for name, share in shares.items()
    ]
    return verdicts, {"compiler": {**together(made).as_dict(), "simulated": None}} if made else {}


def _compatibility(
    profile: Target | None,
    opened: Bundle,
    name: str,
    share: IntegerShare,
    compiled: Compilation | None,
    gates: Gates,
    fault: str,
) -> Verdict:
    if profile is None:
        why = f"no profile of {opened.target!r} is installed here: its rules were not checked"
        return Verdict("compatibility", UNVERIFIED, why, required=False)

    emitted = {
        "dynamic": any(side < 0 for tensor in opened.graph(name)["inputs"] for side in tensor["shape"]),
        "float_ops": list(share.float_ops),
        **opened.manifest["requires"],
        **opened.runtime.emitted(opened.graph_path(name)),
    }
    gate_result = compiler_gate.judged(compatibility(profile, emitted), compiled, gates.min_coverage, fault)
    several = len(of_model(opened.manifest)) > 1

    return dataclasses.replace(gate_result, why=f"{name}: {gate_result.why}", graph=name) if several else gate_result


def _latency(
    opened: Bundle,
    session: Session,
    samples: Mapping[str, np.ndarray],
    gates: Gates,
    threads: int,
    max_seconds: float,
    clock: Clock | None,
    speed: dict[str, Any],
) -> tuple[Comparison, list[Verdict], dict[str, Any]]:
    """Float against int8 on the first sample, interleaved in this process; and single calls of int8 where there is a
    budget for p95, or where the task answers at a rate; the energy of both where there is a budget for it."""
    first = {name: values[:1] for name, values in named(samples, "input").items() if "/" not in name}
    baseline = opened.session(threads=threads, baseline=True, exact=False)
    session = opened.session(threads=threads, exact=False) if opened.exact else session
    for measured_session in (baseline, session):
        measured_session.run(first)

    limits = [1 / gates.min_speedup] if gates.min_speedup > 0 else []
    comparison = compare(baseline.invoke, session.invoke, clock=clock, limits=limits, max_seconds=max_seconds)
    verdicts = [latency(comparison, gates, **speed)]
    single, timely, at = None, opened.task.real_time, {key: speed[key] for key in ("on_target", "where")}
    figures: dict[str, Any] = {}

    if gates.latency_ms or timely:
        fewest = P99_NEEDS if timely else BUDGET_NEEDS
        single = measure(session.invoke, clock=clock, max_seconds=max_seconds / 2, min_samples=fewest)
    if single is not None and gates.latency_ms:
        verdicts.append(budget(single, gates, **at))
    if single is not None and timely:
        figures["rate"] = {**rate(single), "where": at["where"]}
    if gates.energy_mj:
        gate_result, figures["energy"] = energy.judged(baseline.invoke, session.invoke, gates, **at)
        verdicts.append(gate_result)

    return comparison, verdicts, figures
