"""`export`: a run becomes one verified bundle per target, each proved on the artifact in its own runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import json
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from .. import backends as runtime
from .. import data
from .._version import __version__
from ..backends.artifact import Artifact
from ..bundle import reader as bundle
from ..config import recipe, target
from ..config.target import Target
from ..core import files
from ..core.errors import InternalError, ModelError, RunError, UsageError
from ..core.verdict import Verdict
from ..graph.same import same
from ..inputs.batches import preprocessed, row_by_row
from ..measure.fingerprint import fingerprint
from ..quantize.graph import QuantizedGraph
from ..quantize.lower import IntegerWeight, lower
from ..quantize.parts import MAIN, CapturedParts, QuantizedParts, insert_parts
from ..quantize.sensitivity import layer_errors, rounding_reach
from ..report import html
from ..session import environment
from ..session.calibration_data import calibrated
from ..session.session import LEARNED, Session, open_session
from ..verify import isolated
from ..verify.accuracy import accuracy
from ..verify.agreement import agreement
from ..verify.compatibility import compatibility
from ..verify.document import clean, merge
from ..verify.integer import digests, integer
from ..verify.other_figures import other_figures
from ..verify.parity import parity
from ..verify.scales import activation_scales, scales_digest
from . import aside, evidence, personal
from .side_by_side import side_by_side

Say = Callable[[str], None]
#: input of one call of the torch graph: beyond a few images its activations leave the cache, and it is 3 times slower
PART_BYTES = 2**21
#: tables of a run's recipe that may still be changed at export: none of them changes what was trained
OVERRIDABLE = ("gates", "export", "quantize", "personalize")


@dataclass(frozen=True)
class Quantized:
    """One scheme's graphs, ready to be lowered, and how they came to be."""

    graph: QuantizedParts
    method: str
    weights: list[IntegerWeight]
    personal: personal.Prepared | None = None


def export(
    run: Path,
    targets: Sequence[str],
    out: Path,
    *,
    ptq: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    allow_code: bool = False,
    model: nn.Module | None = None,
    dataset: data.Dataset | None = None,
    say: Say = lambda text: None,
) -> list[dict[str, Any]]:
    """Lower the run in folder `run` to each target and verify the artifact there; returns the reports with `path`.

    A bundle is built in a staging folder beside `out/<target>` and renamed when it is whole. Raises `RunError` for a
    run that is incomplete or of another model, `UsageError` for a scheme that the run lacks (unless `ptq`), `Missing`
    before any work when a runtime is not installed.
    """
    opened = [target.load(name) for name in targets]
    for each in opened:
        runtime.get(each.backend).version()
        final = Path(out) / each.name
        if final.exists() and not final.is_dir():
            raise UsageError(f"{final} is a file, not a folder", remedy="choose another --out")
        if final.exists() and any(final.iterdir()) and not overwrite:
            raise UsageError(f"{final} exists and is not empty", remedy="choose another --out, or pass --overwrite")
    exporter = _Exporter(Path(run), opened, list(targets), list(overrides), allow_code, model, dataset, say)
    opened = exporter.targets
    schemes: dict[str, Quantized] = {}
    for each in opened:
        if each.scheme.name not in schemes:
            schemes[each.scheme.name] = exporter.quantized(each, ptq)
    reports = []
    with contextlib.ExitStack() as stack:
        stagings = [stack.enter_context(_staging(Path(out) / each.name)) for each in opened]
        jobs = [
            functools.partial(exporter.convert, each, schemes[each.scheme.name], staging)
            for each, staging in zip(opened, stagings)
        ]
        say(", ".join(f"{each.name}: exporting to {each.backend}" for each in opened))
        converted = stack.enter_context(aside.all_of(jobs))
        exporter.prepare(schemes.values())
        made = [
            exporter.made(each, schemes[each.scheme.name], staging, take())
            for each, staging, take in zip(opened, stagings, converted)
        ]
        evidence_of = exporter.observe(made)  # all that computes on every core comes before the first timing
        for each, one, seen in zip(opened, made, evidence_of):
            final, staging = Path(out) / each.name, one.folder
            found = exporter.bundle(one, seen)
            with files.system_errors(final):
                files.publish(staging, final)
            reports.append({**found, "path": str(final)})
    return reports


@contextlib.contextmanager
def _staging(final: Path) -> Iterator[Path]:
    """A folder beside `final` that is gone afterwards, unless it has been renamed."""
    staging = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    with files.no_empty_folder(final.parent), files.system_errors(final):
        try:
            staging.mkdir(parents=True)
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@dataclass
class MadePart:
    """One graph of a model as it was converted: its artifact, and the manifest's table of it."""

    artifact: Artifact
    graph: dict[str, Any]


@dataclass
class Made:
    """What was converted for one target, in its staging folder, graph by graph.

    `sessions` (float, quantized) are for `observe`; `of_graphs` is what the graphs said where there are several.
    """

    target: Target
    quantized: Quantized
    folder: Path
    parts: dict[str, MadePart]
    sessions: tuple[Any, ...]
    of_graphs: list[evidence.GraphSamples] = field(default_factory=list)
    personal: list[dict[str, Any]] = field(default_factory=list)  # the manifest's graphs of its personalization
    proof: list[Verdict] = field(default_factory=list)  # of the same

    def files(self) -> list[Path]:
        """The artifacts."""
        return [self.folder / part.artifact.file for part in self.parts.values()]


class _Exporter:
    """The run opened once: data, float graph and quantized graphs, for all targets."""

    def __init__(
        self,
        run: Path,
        targets: list[Target],
        given: list[str],
        overrides: list[str],
        allow_code: bool,
        model: nn.Module | None,
        dataset: data.Dataset | None,
        say: Say,
    ) -> None:
        self.run, self.say = run, say
        self.outputs: dict[str, list[dict[str, np.ndarray]]] = {}  # of the quantized graph, by scheme
        self.reach: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}  # of rounding, by scheme and part
        self.given: dict[str, dict[str, dict[str, np.ndarray]]] = {}  # what each graph of several was given, by scheme
        self.errors: dict[str, list[dict[str, object]]] = {}  # of its layers, by scheme
        if not (run / "summary.json").is_file():
            raise RunError("is no finished run", where=str(run), remedy=f"edgeft tune --resume {shlex.quote(str(run))}")
        self.summary = json.loads((run / "summary.json").read_text())
        made = recipe.load(run / "recipe.toml")
        for item in overrides:
            if item.split(".")[0] not in OVERRIDABLE:
                raise UsageError(
                    f"--set {item}: at export only {', '.join(OVERRIDABLE)} can be set", remedy="edgeft tune"
                )
        made = recipe.override(made, overrides) if overrides else made
        self.targets = [target.with_embeddings(t, made.quantize.embeddings) for t in targets]
        made = dataclasses.replace(made, export=recipe.Export(tuple(given)))
        self.session: Session = open_session(
            made, allow_code=allow_code, model=model, dataset=dataset, learned=run / LEARNED, say=say
        )
        # a profile may be given as a file; a manifest tells its name
        self.session.recipe = dataclasses.replace(made, export=recipe.Export(tuple(t.name for t in targets)))
        self._refuse_other_data()
        # what the run was trained with, also where statistics of the data as it is now would give another table
        self.session.spec = dict(self.summary.get("preprocess") or self.session.spec)
        self.session.point_to_learned()
        _load_state(self.session.built.module, run / "float.safetensors")
        self.captured: CapturedParts = self.session.capture(self.session.built.module)

    def _refuse_other_data(self) -> None:
        labels = list(self.session.dataset.labels)
        if self.summary.get("labels") != labels:
            raise RunError(
                f"the data's labels {labels} are not those of the run {self.summary.get('labels')}", where=str(self.run)
            )
        if self.summary.get("data") != data.fingerprint(self.session.dataset):
            self.say("warning: the data is not what the run was trained on; figures are those of the data as it is now")

    def quantized(self, each: Target, ptq: bool) -> Quantized:
        """The run's graph for the target's scheme; calibrated anew with `ptq`."""
        scheme = each.scheme
        path = self.run / _quantized(scheme.name)
        if ptq:
            self.say(f"{scheme.name}: calibrating")
            graph, method = calibrated(self.session, self.captured, scheme), "ptq"
        elif path.is_file():
            graph = insert_parts(self.captured, scheme, self.session.recipe.quantize.keep_float)
            graph.set_mode("quantize")
            _load_state(graph.module, path)
            method = self.session.recipe.quantize.method
        else:
            lacking = [t.name for t in self.targets if not (self.run / _quantized(t.scheme.name)).is_file()]
            before, wanted = recipe.load(self.run / "recipe.toml"), self.session.recipe.quantize.embeddings
            names = list(dict.fromkeys([*before.export.targets, *lacking]))
            setting = shlex.quote(f"export.targets={json.dumps(names)}")
            if wanted != before.quantize.embeddings:
                setting += f" --set quantize.embeddings={wanted}"
            raise UsageError(
                f"the run has no model for the scheme {scheme.name} of {each.name}",
                where=str(self.run),
                remedy=f"edgeft tune --resume {shlex.quote(str(self.run))} --set {setting}, or pass --ptq",
            )
        table = self.session.recipe.personalize
        tail = None if table is None else personal.prepare(self.session, graph, table, self.say)
        return Quantized(graph, method, graph.integer_weights(), tail)

    def prepare(self, every: Iterable[Quantized]) -> None:
        """What the quantized graphs say, while the conversions run aside."""
        for quantized in every:
            scheme = quantized.graph.scheme.name
            if quantized.graph.single:
                self.outputs[scheme] = self._graph_outputs(quantized)
                continue
            self.outputs[scheme] = []
            test = self.session.dataset.split("test")
            kept = test.subset(evidence.kept_samples(test))
            self.given[scheme] = self.session.objective.record(quantized.graph.module, kept, self.session.spec)
            for part, feeds in self.given[scheme].items():
                rows = [torch.from_numpy(v) for v in feeds.values()]
                self._same_lowered(quantized.graph.graphs[part], rows)
                self.reach[scheme, part] = rounding_reach(quantized.graph.graphs[part], rows)

    def made(self, each: Target, quantized: Quantized, staging: Path, converted: list[dict[str, Any]]) -> Made:
        """The artifacts that `convert` wrote, loaded, with the manifest's table of each graph."""
        read = [Artifact(c["file"], tuple(c["files"]), c["emitted"]) for c in converted]
        count = 2 * len(self.captured.graphs)
        read, extra = read[:count], read[count:]
        parts, before, after = {}, {}, {}
        for name, artifact, baseline in zip(self.captured.graphs, read[::2], read[1::2]):
            parts[name], before[name], after[name] = self._made_part(each, quantized, staging, name, artifact, baseline)
        if self.captured.single:
            made = Made(each, quantized, staging, parts, (before[MAIN], after[MAIN]))
            if quantized.personal is not None:
                made.personal = personal.entries(quantized.personal, self.session, each, staging, extra)
                self.say(f"{each.name}: proving the training step")
                made.proof = personal.fill(quantized.personal, self.session, each, staging, made.personal, after[MAIN])
            return made
        task, spec, scheme = self.session.task, self.session.spec, quantized.graph.scheme.name
        of_graphs = []
        for name, feeds in self.given[scheme].items():
            torch_graph = quantized.graph.graphs[name]
            with torch.no_grad():
                said = _flat(torch_graph.module(*(torch.from_numpy(v) for v in feeds.values())))
            wanted = dict(zip(torch_graph.captured.output_names, (t.numpy() for t in said)))
            found = row_by_row(after[name], feeds)
            of_graphs.append(evidence.GraphSamples(name, feeds, wanted, found))
        pair = tuple(bundle.composed(task, sessions, spec) for sessions in (before, after))
        return Made(each, quantized, staging, parts, pair, of_graphs)

    def _made_part(
        self, each: Target, quantized: Quantized, staging: Path, name: str, artifact: Artifact, baseline: Artifact
    ) -> tuple[MadePart, Any, Any]:
        """One graph: its table, and the sessions of its float baseline and of its artifact."""
        machine, captured = runtime.get(each.backend), self.captured.graphs[name]
        options = {**machine.options(), **(bundle.exact_options(machine) if target.exact_here(each) else {})}
        loaded = [machine.load(staging / f, options=options) for f in (baseline.file, artifact.file)]
        inputs = list(self.session.input_names if self.captured.single else captured.input_names)
        graph = {
            "name": name,
            "file": artifact.file,
            "baseline": baseline.file,
            "inputs": evidence.tensors(loaded[1].inputs, inputs, layout=self.session.spec.get("layout")),
            "outputs": evidence.tensors(
                loaded[1].outputs,
                list(captured.output_names),
                layout=None,
                steps=quantized.graph.graphs[name].output_steps(),
                reach=self.reach[quantized.graph.scheme.name, name],
            ),
        }
        before, after = (bundle.named(session, graph, where=str(staging)) for session in loaded)
        return MadePart(artifact, graph), before, after

    def observe(self, made: Sequence[Made]) -> list[evidence.Seen]:
        """What every artifact says on the test split; their sessions are closed then."""
        graphs = [self.outputs[one.quantized.graph.scheme.name] for one in made]
        session = self.session
        pairs = [one.sessions for one in made]
        seen = evidence.collect(session.task, session.spec, session.dataset.split("test"), pairs, graphs)
        for one in made:
            one.sessions = ()
        return seen

    def bundle(self, made: Made, seen: evidence.Seen) -> dict[str, Any]:
        """Fill the staging folder of one target, where its artifacts are; returns report.json's content."""
        session, each, quantized, staging = self.session, made.target, made.quantized, made.folder
        self.say(f"{each.name}: verifying in {each.backend}")
        of_graphs: dict[str, np.ndarray] = {}
        for k, one in enumerate(made.of_graphs):  # the first graph takes what preprocessing makes of the samples
            of_graphs |= one.members(evidence.ROWS if k else len(seen.chosen))
        files.write_bytes(staging / bundle.SAMPLES, evidence.samples(seen, session.dataset, of_graphs))
        if each.compiler == "trtexec":
            from ..backends.onnxruntime.tensorrt import build_script

            tables = [
                {**part.graph, "sha256": files.sha256(staging / part.artifact.file)} for part in made.parts.values()
            ]
            files.write_text(staging / "build_engine.sh", build_script(each, *tables))
        bundle.write(staging, self._manifest(made))
        alone = isolated.run(staging)
        found = merge(alone, self._gates(made, seen, alone))
        truth = session.dataset.split("test").targets
        found |= other_figures(session.task, seen.float, seen.quantized, truth, session.dataset.labels)
        page = self._page(staging, found, quantized, seen)
        files.write_json(staging / "report.json", clean(found))
        files.write_text(staging / "report.html", page)
        return found

    def convert(self, each: Target, quantized: Quantized, staging: Path) -> list[dict[str, Any]]:
        """Write each artifact and its float baseline; returns them as plain values (see `Artifact`), in pairs.

        Of several graphs each has a folder of its own.
        """
        module = importlib.import_module(f"edgeft.backends.{each.backend}.exporter")
        form, written = ("qdq" if each.backend == "litert" else "int"), []
        for name, captured in self.captured.graphs.items():
            names = list(self.session.input_names if self.captured.single else captured.input_names)
            example, outputs = captured.example, captured.output_names
            common = {"target": each, "dynamic_batch": captured.dynamic}
            own = "" if self.captured.single else f"{name}/"
            for folder in (staging / own, staging / "baseline" / own):
                folder.mkdir(parents=True, exist_ok=True)
            try:
                lowered = lower(quantized.graph.graphs[name], form)
                artifact = module.export(lowered, example, names, outputs, staging / own, **common)
                baseline = module.export_float(
                    captured.module, example, names, outputs, staging / "baseline" / own, **common
                )
            except ModelError as error:
                error.message = f"{each.name}: {error.message}"
                raise
            written.append(dataclasses.replace(artifact, file=f"{own}{artifact.file}"))
            written.append(dataclasses.replace(baseline, file=f"baseline/{own}{baseline.file}"))
        if quantized.personal is not None:
            written += personal.convert(quantized.personal, self.session, each, staging)
        return [dataclasses.asdict(each) for each in written]

    def _graph_outputs(self, quantized: Quantized) -> list[dict[str, np.ndarray]]:
        """What the quantized graph says on the test split, batch by batch; the same for every target of a scheme.

        The fake-quantized graph runs several times faster than the lowered one. That both are the same function is
        checked on the first batch, to the bit.
        """
        session, graph = self.session, quantized.graph.graphs[MAIN]
        names, dynamic = graph.captured.output_names, graph.captured.dynamic
        module = graph.module.eval()
        found: list[dict[str, np.ndarray]] = []
        with side_by_side() as each_of:
            for _, batch in preprocessed(session.task, session.spec, session.dataset.split("test")):
                values = [torch.from_numpy(v) for v in batch.values()]
                rows = max(1, PART_BYTES // sum(t[:1].nbytes for t in values)) if dynamic else 1
                parts = [[t[i : i + rows] for t in values] for i in range(0, len(values[0]), rows)]
                results = each_of(lambda part: _flat(module(*part)), parts)
                if not found:
                    self._same_lowered(graph, parts[0])
                    self.reach[quantized.graph.scheme.name, MAIN] = rounding_reach(graph, parts[0])
                found.append({n: torch.cat([r[k] for r in results]).numpy() for k, n in enumerate(names)})
        return found

    def _same_lowered(self, graph: QuantizedGraph, rows: list[torch.Tensor]) -> None:
        """The lowered graph is the trained one, to the bit."""
        if not same(graph.module.eval(), lower(graph, "int"), rows):
            raise InternalError("the lowered graph computes something else than the trained one")

    def _gates(self, made: Made, seen: evidence.Seen, alone: dict[str, Any]) -> list[Verdict]:
        """The gates that need the data, the torch graph or the profile's view of the model."""
        task, gates, dataset = self.session.task, self.session.recipe.gates, self.session.dataset
        kind, weights = runtime.get(made.target.backend), made.quantized.weights
        stored = [tensor for file in made.files() for tensor in kind.integer_weights(file)]
        return [
            accuracy(task, seen.float, seen.quantized, dataset.split("test").targets, dataset.labels, gates),
            agreement(task, seen.float, seen.quantized, gates),
            *self._parity(made, seen),
            *made.proof,
            integer({w.name: (w.data, w.scale) for w in weights}, stored),
            *[self._scales(made, name) for name in made.parts],
            *[self._compatibility(made, name, alone) for name in made.parts],
        ]

    def _parity(self, made: Made, seen: evidence.Seen) -> list[Verdict]:
        """Each graph on the same inputs in torch and in its runtime."""
        scheme, graphs = made.quantized.graph.scheme.name, made.quantized.graph.graphs
        if self.captured.single:
            said = [(MAIN, self.session.task, seen.graph, seen.quantized)]
        else:
            part = self.session.task.part
            said = [(one.name, part(one.name), one.graph, one.quantized) for one in made.of_graphs]
        verdicts, metric = [], "quantized graph, test split"
        for name, judge, wanted, found in said:
            reach = self.reach[scheme, name]
            steps = graphs[name].output_steps()
            for output, values in wanted.items():
                steps.setdefault(output, float(np.ptp(values)) / 255 or float(np.finfo(np.float32).tiny))
            verdicts.append(_of(name, parity(judge, wanted, found, steps, reach, metric=metric)))
        return verdicts

    def _scales(self, made: Made, name: str) -> Verdict:
        kind, graph = runtime.get(made.target.backend), made.quantized.graph.graphs[name]
        grids = [fake.parameters_of_grid() for fake in graph.activations().values()]
        found = kind.activation_grids(made.folder / made.parts[name].artifact.file)
        return _of(name, activation_scales(grids, found))

    def _compatibility(self, made: Made, name: str, alone: dict[str, Any]) -> Verdict:
        summary = made.quantized.graph.graphs[name].summary
        emitted = {
            **made.parts[name].artifact.emitted,
            "dynamic": self.captured.graphs[name].dynamic and not made.target.static_shapes,
            "max_rank": summary.max_rank,
            "float_ops": list((alone.get("int8") or {}).get("float_ops") or []),
        }
        return _of(name, compatibility(made.target, emitted, target.objections(made.target, summary)))

    def _manifest(self, one: Made) -> dict[str, Any]:
        made, kind, each = self.session.recipe, runtime.get(one.target.backend), one.target
        quantized, version = one.quantized, kind.version()
        weights = [tensor for file in one.files() for tensor in kind.integer_weights(file)]
        grids = [grid for file in one.files() for grid in kind.activation_grids(file)]
        return clean(
            {
                "name": made.name,
                "task": made.task,
                "target": each.name,
                "backend": each.backend,
                "graphs": [*(part.graph for part in one.parts.values()), *one.personal],
                **({"personalize": personal.plan_of(quantized.personal)} if quantized.personal else {}),
                "preprocess": bundle.carry(self.session.spec, one.folder),
                "labels": list(self.session.dataset.labels),
                "scheme": each.scheme.as_dict(),
                "runtime": {"name": each.backend, "version": version, "options": kind.options(), "threads": 1},
                "requires": {
                    **_required([part.artifact.emitted for part in one.parts.values()]),
                    "max_rank": max(graph.summary.max_rank for graph in quantized.graph.graphs.values()),
                },
                "gates": dataclasses.asdict(made.gates),
                "integer_weights": digests({w.name: (w.data, w.scale) for w in quantized.weights}),
                "scales_sha256": scales_digest(weights, grids),
                "provenance": {
                    "edgeft": __version__,
                    "method": quantized.method,
                    "recipe": dataclasses.asdict(made),
                    "data": self.summary.get("data"),
                    "run": {k: self.summary.get(k) for k in ("float", "ptq", "quantized", "n", "seed", "metric")},
                    "versions": environment.versions(),
                    "fingerprint": fingerprint(threads=1, runtime={"name": each.backend, "version": version}),
                },
            }
        )

    def _page(self, staging: Path, found: dict[str, Any], quantized: Quantized, seen: evidence.Seen) -> str:
        history = self.run / "metrics.jsonl"
        rows = [json.loads(line) for line in history.read_text().splitlines()] if history.is_file() else []
        name = quantized.graph.scheme.name
        if name not in self.errors:
            self.errors[name] = self._layer_errors(quantized.graph, seen)
        errors, scheme = self.errors[name], self.summary["schemes"].get(name, {})
        extras = {
            "latency_samples": (found.get("latency") or {}).get("samples_ms"),
            "per_class": found.get("per_class"),
            "samples": evidence.pictures(self.session.task, self.session.spec, seen, self.session.dataset),
            "layer_error": errors,
            "history": rows,
            "rows": {"float": self.summary["float"], "ptq": scheme.get("ptq"), "quantized": scheme.get("quantized")},
            "int8": found.get("int8"),
        }
        found["details"] = {"layer_error": errors, "history": rows}
        manifest = bundle.open(staging, check_files=False).manifest
        return html.render(found, manifest, self.summary, extras)

    def _layer_errors(self, quantized: QuantizedParts, seen: evidence.Seen) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        cut = getattr(self.session.objective, "cut", tuple)
        for part, graph in quantized.graphs.items():
            feeds = seen.inputs if quantized.single else self.given[quantized.scheme.name][part]
            batch = tuple(torch.from_numpy(v[: evidence.SAMPLES]) for v in feeds.values())
            rows += layer_errors(graph, batch, cut, quantized.named(part, "")) if graph.captured.dynamic else []
        return rows


def _of(part: str, verdict: Verdict) -> Verdict:
    """A verdict on one graph of several says which."""
    return verdict if part == MAIN else dataclasses.replace(verdict, why=f"{part}: {verdict.why}", graph=part)


def _required(emitted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What every graph needs, in one table: of numbers the highest, of op versions each op's highest."""
    table: dict[str, Any] = {}
    for each in emitted:
        for key, value in each.items():
            if key == "op_versions":
                known = table.setdefault(key, {})
                known |= {op: max(version, known.get(op, 0)) for op, version in value.items()}
            elif key != "ops":
                table[key] = max(table.get(key, value), value) if isinstance(value, (int, float)) else value
    return table


def _quantized(scheme: str) -> str:
    """The file of a run that holds the model of a scheme."""
    return f"quantized.{scheme}.safetensors"


def _flat(value: Any) -> tuple[torch.Tensor, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _load_state(module: nn.Module, path: Path) -> None:
    """Load a run's safetensors strictly; raises `RunError` for a damaged file or one of another model."""
    try:
        module.load_state_dict(load_file(path), strict=True)
    except (SafetensorError, OSError) as error:
        raise RunError(f"cannot be read ({error})", where=str(path), remedy="tune again") from error
    except RuntimeError as error:
        raise RunError(
            f"holds another model than the recipe's: {str(error).splitlines()[-1].strip()[:200]}",
            where=str(path),
            remedy="export with the recipe and the versions that the run was made with",
        ) from error
