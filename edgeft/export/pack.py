"""The last step: a staging folder becomes a bundle: samples, manifest, verification by itself, report and rename."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import backends as runtime
from .._version import __version__
from ..bundle import card, materials
from ..bundle import reader as bundle
from ..config import recipe
from ..core import files, leftovers
from ..core.progress import phase
from ..core.verdict import Verdict
from ..measure.fingerprint import fingerprint
from ..session import environment
from ..training_step.trainable_tail import FILE as START
from ..verify import isolated
from ..verify.document import clean, merge
from ..verify.integer import digests
from ..verify.other_figures import other_figures
from ..verify.scales import scales_digest
from . import prove
from .compiling import CompiledTarget
from .page import in_words, page, sample_rows
from .prove import ConvertedTarget, Evidence
from .quantized_run import QuantizedRun
from .samples import compressed, samples_file
from .streamed import StreamTables


@contextlib.contextmanager
def staging(final: Path) -> Iterator[Path]:
    """A folder beside `final` that is gone afterwards, unless it has been renamed. Those that killed processes left are
    removed."""
    folder = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    leftovers.sweep(final.parent, re.escape(final.name))
    with files.no_empty_folder(final.parent), files.system_errors(final):
        try:
            folder.mkdir(parents=True)
            with leftovers.alone_in(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class PackedTarget:
    """A finished bundle in its staging folder, verified; what is missing is its page, which `publish` writes.

    `report` is report.json's content, `samples` the rows of the page's samples.
    """

    converted: ConvertedTarget
    report: dict[str, Any]
    samples: list[dict[str, Any]]


def pack(
    run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence, compiled: CompiledTarget | None
) -> PackedTarget:
    """Finish the staging folder of one target and verify it.

    `compiled` is what the target's compiler made in that folder, None where it has not run.

    Raises `BundleError` where the bundle cannot be opened or its runtime takes the fresh process down, and
    `SystemFailure` where the system refuses to write.
    """
    folder = converted.staging
    _write_files(run, converted, evidence)
    manifest = {**_manifest(run, converted, evidence, compiled), **_measured(run, converted, evidence)}
    _write_papers(converted, manifest)
    bundle.write(folder, manifest)

    name = converted.target.name
    with phase(f"{name}: verifying in a fresh process (files, parity, integer weights, latency)"):
        alone = isolated.run(folder, ask_compiler=False, own_recipe=True)

    with phase(f"{name}: judging on the test split"):
        report = merge(alone, _gates(run, converted, evidence, compiled, alone))
        report |= {"compiler": clean(compiled.report())} if compiled else {}
        if not run.dataset.unlabelled:
            pair, spec = (evidence.float, evidence.quantized), {**run.spec, **evidence.settled}
            report |= other_figures(run.task, *pair, run.test.targets, run.dataset.labels, spec)
        if run.summary.get("baselines"):
            chance = {run.summary["chance_is"]: run.summary["chance"]}
            report["baselines"] = chance | run.summary["baselines"]
        errors, history = list(converted.reference.layer_errors), list(run.history)
        samples = sample_rows(run.task, run.spec, evidence, converted.reference.samples.positions, run.dataset)
        report["details"] = {"layer_error": errors, "history": history, "worst": in_words(samples)}
        report["details"] |= {"auto": converted.scheme.auto} if converted.scheme.auto else {}

    return PackedTarget(converted, report, samples)


def publish(run: QuantizedRun, packed: PackedTarget, final: Path) -> dict[str, Any]:
    """Write the report and its page, and rename the staging folder to `final`; returns report.json's content.

    Raises `SystemFailure` where the system refuses to write.
    """
    folder, report = packed.converted.staging, packed.report
    with phase(f"{packed.converted.target.name}: writing the report"):
        text = page(run, packed.converted, report, packed.samples)
    files.write_json(folder / "report.json", clean(report))
    files.write_text(folder / "report.html", text)
    with files.system_errors(final):
        files.publish(folder, final)
    return {**report, "path": str(final)}


def _gates(
    run: QuantizedRun,
    converted: ConvertedTarget,
    evidence: Evidence,
    compiled: CompiledTarget | None,
    alone: dict[str, Any],
) -> list[Verdict]:
    compilations = compiled.graphs if compiled else {}
    simulated = [compiled.simulated] if compiled and compiled.simulated else []
    return [*prove.gates(run, converted, evidence, alone, compilations), *simulated]


def _write_files(run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence) -> None:
    """The files beside the artifacts that the manifest lists."""
    folder, reference = converted.staging, converted.reference
    answers = {"output": evidence.quantized, "graph": reference.outputs, "baseline": evidence.float}
    content = samples_file(reference.samples, answers, run.dataset, converted.graph_samples)
    files.write_bytes(folder / bundle.SAMPLES, content)
    if converted.tail is not None:
        files.write_bytes(folder / START, compressed(converted.tail.start))

    tables = [{**g.table, "sha256": files.sha256(folder / g.artifact.file)} for g in converted.graphs.values()]
    for name, text in runtime.get(converted.target.backend).compiler_scripts(converted.target, tables).items():
        files.write_text(folder / name, text)


def _write_papers(converted: ConvertedTarget, manifest: dict[str, Any]) -> None:
    """The model card and the bill of materials, which people and scanners read."""
    folder, profile = converted.staging, converted.target
    files.write_text(folder / card.FILE, card.text(manifest, profile.title, profile.isa or ""))
    models = [name for graph in manifest["graphs"] for name in (graph["file"], graph.get("baseline")) if name]
    written = [name for file in models for name in runtime.get(profile.backend).files_of(file)]
    files.write_json(folder / materials.FILE, materials.bill(manifest, {n: files.sha256(folder / n) for n in written}))


def _manifest(
    run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence, compiled: CompiledTarget | None
) -> dict[str, Any]:
    """manifest.json without `files`, which `bundle.write` adds."""
    asked, profile, machine = run.recipe, converted.target, runtime.get(converted.target.backend)
    version = machine.version()
    needed, special = _special_options(machine, converted)
    weights = [tensor for path in converted.artifact_paths for tensor in machine.integer_weights(path)]
    grids = [grid for path in converted.artifact_paths for grid in machine.activation_grids(path)]
    graphs = converted.scheme.graphs.graphs.values()
    emitted = [graph.artifact.emitted for graph in converted.graphs.values()]
    tail, stream = converted.tail, converted.stream or StreamTables()
    table: dict[str, Any] = {
        "name": asked.name,
        "task": asked.task,
        "target": profile.name,
        "backend": profile.backend,
        "graphs": [
            *(graph.table for graph in converted.graphs.values()),
            *stream.graphs,
            *(tail.tables if tail else ()),
        ],
        **({"stream": stream.table} if stream.table else {}),
        **({"personalize": tail.plan} if tail else {}),
        **({"compiler": compiled.manifest()} if compiled else {}),
        "preprocess": bundle.carry({**run.spec, **evidence.settled}, converted.staging),
        "labels": list(run.dataset.labels),
        "scheme": profile.scheme.as_dict(),
        "runtime": {
            "name": profile.backend,
            "version": version,
            "options": {**machine.options(), **needed, **special},
            **({"artifact_options": sorted(special)} if special else {}),
            "threads": 1,
        },
        "requires": {**_required(emitted), "max_rank": max(graph.summary.max_rank for graph in graphs)},
        "metric_record": run.task.metric.as_dict(),
        "gates": dataclasses.asdict(asked.gates),
        "integer_weights": digests({w.name: (w.data, w.scale) for w in converted.scheme.weights}),
        "scales_sha256": scales_digest(weights, grids),
        "provenance": _provenance(run, converted, version),
    }
    manifest: dict[str, Any] = clean(table)

    return manifest


def _measured(run: QuantizedRun, converted: ConvertedTarget, evidence: Evidence) -> dict[str, Any]:
    """What a later verification compares with: the metrics on the test split, and how many samples are carried."""
    before, after = None, None
    if not run.dataset.unlabelled:
        before, after = (run.task.score(outputs, run.test.targets) for outputs in (evidence.float, evidence.quantized))
    figures = {"metric": run.task.metric.name, "float": before, "quantized": after, "n": len(run.test)}
    measured: dict[str, Any] = clean({"figures": figures, "samples": {"n": len(converted.reference.samples.positions)}})
    return measured


def _provenance(run: QuantizedRun, converted: ConvertedTarget, version: str) -> dict[str, Any]:
    plugins = environment.plugin_packages(run.recipe)

    return {
        "edgeft": __version__,
        "method": converted.scheme.method,
        **({"keep_float": list(converted.scheme.keep_float)} if converted.scheme.auto else {}),
        "recipe": dataclasses.asdict(run.recipe),
        **({"weights": _weights(run.recipe.model)} if run.recipe.model.sha256 else {}),
        "data": run.summary.get("data"),
        "run": {k: run.summary.get(k) for k in ("float", "ptq", "quantized", "n", "seed", "metric")},
        "versions": environment.versions(run.recipe, [runtime.get(converted.target.backend)]),
        **({"plugins": plugins} if plugins else {}),
        **({"leak": run.summary["leak"]} if run.summary.get("leak") else {}),
        "fingerprint": fingerprint(threads=1, runtime={"name": converted.target.backend, "version": version}),
    }


def _weights(model: recipe.Model) -> dict[str, Any]:
    """What the model began with: the name at one revision, and the digest of each file."""
    return {"name": model.weights, "files": {file: {"sha256": digest} for file, digest in model.sha256.items()}}


def _special_options(machine: runtime.Backend, converted: ConvertedTarget) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runtime options beside the usual ones: those that a float baseline needs too, and those of the artifact alone."""
    baselines = [converted.staging / graph.table["baseline"] for graph in converted.graphs.values()]
    needed = {key: value for path in baselines for key, value in machine.baseline_options(path).items()}
    special = {key: value for path in converted.artifact_paths for key, value in machine.artifact_options(path).items()}
    return needed, {key: value for key, value in special.items() if key not in needed}


def _required(emitted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the graphs together need: of numbers the highest, of op versions each op's highest."""
    table: dict[str, Any] = {}
    for needs in emitted:
        for key, value in needs.items():
            if key == "op_versions":
                known = table.setdefault(key, {})
                known |= {op: max(version, known.get(op, 0)) for op, version in value.items()}
            elif key != "ops":
                table[key] = max(table.get(key, value), value) if isinstance(value, (int, float)) else value

    return table
