"""The stored samples again: preprocessing, and the artifact on the stored tensors, whole or graph by graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Session
from ..bundle import reader as bundles
from ..bundle.manifest import of_model
from ..bundle.reader import Bundle
from ..config import numeric, scheme
from ..core.verdict import ADVISORY, Verdict
from ..inputs.batches import row_by_row
from ..measure.fingerprint import differences
from .carried import baseline_outputs
from .parity import output_steps, parity, preprocessing, samples_parity

#: the stored outputs are the artifact's own bits only where all of these are what they were at export.
SAME_MACHINE = ("cpu", "isa", "flags")


def on_samples(
    opened: Bundle, session: Session, samples: Mapping[str, np.ndarray], machine: Mapping[str, Any]
) -> list[Verdict]:
    """Preprocessing again, and the artifact on the stored tensors against its own outputs and the quantized graph's."""
    stored = {kind: named(samples, kind) for kind in ("input", "output", "graph")}
    raws = bundles.raws(samples)
    if len(of_model(opened.manifest)) > 1:
        return _samples_of_graphs(opened, session, stored, raws, machine)

    outputs, activations = session.run(stored["input"]), scheme.activations_of(opened.scheme)
    # Where the artifact has scales of its own they count, not the manifest's: a wider step there would let more pass.
    declared = {tensor["name"]: tensor for tensor in opened.graph()["outputs"]}
    tensors = [{"name": t.name, "scale": t.scale} if t.scale else declared[t.name] for t in session.outputs]
    reach = {name: entry["rounding"] for name, entry in declared.items() if "rounding" in entry}
    verdicts = [
        preprocessing(opened.task, raws, stored["input"], opened.preprocess),
        samples_parity(
            opened.task,
            stored["output"],
            outputs,
            output_steps(tensors, stored["output"], activations),
            same=_same_machine(opened, machine),
            reach=reach,
        ),
    ]

    if stored["graph"]:
        verdicts.append(
            parity(opened.task, stored["graph"], outputs, output_steps(tensors, stored["graph"], activations), reach)
        )

    before = named(samples, "baseline")
    spread = bool(before) and all(np.ptp(values) > 0 for values in before.values())
    if spread and _same_machine(opened, machine):  # float sums repeat there: a quantization step would hide much
        tensors, activations = [{"name": name} for name in before], numeric.FLOAT

    steps = output_steps(tensors, before, activations) if before else {}
    return verdicts + baseline_outputs(opened, before, stored["input"], steps)


def _samples_of_graphs(
    opened: Bundle,
    session: Any,
    stored: Mapping[str, dict[str, np.ndarray]],
    raws: list[Any],
    machine: Mapping[str, Any],
) -> list[Verdict]:
    """The same of several graphs: each on what it was given at export, row by row, and the whole on the samples."""
    plain = {kind: {k: v for k, v in values.items() if "/" not in k} for kind, values in stored.items()}
    verdicts = [preprocessing(opened.task, raws, plain["input"], opened.preprocess)]
    judge_of = opened.task.part
    assert judge_of is not None  # only such a task's bundles of several graphs can be opened
    same, activations = _same_machine(opened, machine), scheme.activations_of(opened.scheme)

    for graph in of_model(opened.manifest):
        name, judge = graph["name"], judge_of(graph["name"])
        feeds, expected, torch = (named(stored[kind], name) for kind in ("input", "output", "graph"))
        outputs = row_by_row(session.sessions[name], feeds)
        reach = {tensor["name"]: tensor["rounding"] for tensor in graph["outputs"] if "rounding" in tensor}
        steps = output_steps(graph["outputs"], expected, activations)
        gate_results = [samples_parity(judge, expected, outputs, steps, same=same, reach=reach)]
        if torch:
            gate_results.append(
                parity(judge, torch, outputs, output_steps(graph["outputs"], torch, activations), reach)
            )
        verdicts += [dataclasses.replace(verdict, why=f"{name}: {verdict.why}", graph=name) for verdict in gate_results]

    composed_outputs = session.run(plain["input"])
    alike = opened.task.alike(plain["output"], composed_outputs)
    why = f"{int(alike.sum())} of {len(alike)} samples have the same result as at export, through all graphs"
    verdicts.append(Verdict("parity", ADVISORY, why, metric="samples alike", n=len(alike), required=False))

    return verdicts


def named(samples: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    return {key[len(kind) + 1 :]: value for key, value in samples.items() if key.startswith(f"{kind}/")}


def _same_machine(opened: Bundle, machine: Mapping[str, Any]) -> bool:
    """Whether this is the runtime, version, threads and kind of CPU that the stored outputs came from."""
    exported = opened.manifest["provenance"].get("fingerprint")
    recorded = opened.manifest["runtime"]
    return (
        isinstance(exported, Mapping)
        and not differences(exported, machine, SAME_MACHINE)
        and machine["runtime"] == {"name": recorded["name"], "version": recorded["version"]}
        and machine["threads"] == recorded["threads"]
    )
