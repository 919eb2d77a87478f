"""What a bundle needs to be personalized: trunk, tail and training step as graphs, and samples of what it knows.

Everything here is proved on the artifacts: trunk and tail must decide as the model does, and a few steps must end
where the same steps end in torch.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from .. import backends as runtime
from .. import data
from ..backends.artifact import Artifact
from ..bundle import reader as bundle
from ..config import target as targets
from ..config.recipe import Personalize
from ..config.target import Target
from ..core import files
from ..core.errors import ModelError, RecipeError, nearest
from ..core.verdict import Verdict
from ..inputs.batches import preprocessed
from ..learning.blocks import depths, under
from ..personalize import graphs
from ..personalize import plan as plans
from ..quantize.lower import lower
from ..quantize.parts import QuantizedParts
from ..session.session import Session
from ..training_step import proof as personal_proof
from ..training_step import user_vectors
from ..training_step.cut import Cut, cut
from ..training_step.laid_out import in_real_units, laid_out
from ..training_step.step import Learning, Step, build, state_of
from . import evidence
from . import personal_users as personal_users

FOLDER = "personalize"
FILE = f"{FOLDER}/start.npz"
#: objective -> the loss that a step minimizes
LOSSES = {
    "classify": "cross-entropy",
    "keyword": "cross-entropy",
    "text-classify": "cross-entropy",
    "control": "mse",
    "recommend": "ranking",
}
#: what the tail of a recommender is called
USER = "user"
#: bias of an output that no class has yet: e^-30 of a softmax
NEVER = -30.0
#: reference samples of the validation split, and bytes that all latents of a bundle may take
REFERENCE, MOST_BYTES = 300, 32 << 20


@dataclass(frozen=True)
class Prepared:
    """One scheme's cut and training step, before conversion; `head` are weight's and bias's places, -1 where none.

    `inputs` and `outputs` are the model's that trunk and tail take and give. `tables` are those of a recommender's
    users, float32 (users, width), by the parameter that one row of it is; `grid` is the step of its int8 scores, 0
    where they are float.
    """

    cut: Cut
    parameters: list[torch.Tensor]
    tail: fx.GraphModule
    step: Step
    learning: Learning
    head: tuple[int, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    table: Personalize
    tables: dict[str, torch.Tensor] = field(default_factory=dict)
    grid: float = 0.0

    @property
    def features(self) -> bool:
        """Whether the tail also hands out what its last layer is given."""
        return self.tail is not self.cut.tail

    @property
    def said(self) -> list[str]:
        """The outputs of the tail's graph."""
        return ["output", "features"][: 1 + self.features]


def prepare(session: Session, graph: QuantizedParts, table: Personalize, say: Callable[[str], None]) -> Prepared:
    """Cut the quantized graph and write its training step. Raises `RecipeError` and `ModelError` for what cannot be."""
    if session.recipe.task not in LOSSES or not graph.single:
        raise RecipeError(
            f"models of the task {session.recipe.task} cannot be personalized yet",
            where="personalize",
            remedy=f"leave the table out; it works for {', '.join(LOSSES)}",
        )
    loss = _loss(session.recipe.task, table.loss)
    if loss == "ranking" and table.tail != USER:
        raise RecipeError(
            f"{table.tail!r} is no tail of a recommender, whose users' vectors are what learns",
            where="personalize.tail",
            remedy=f'tail = "{USER}"',
        )
    known = min(REFERENCE, len(session.dataset.split("val")))
    if loss not in ("mse", "ranking") and known * table.max_forget < 1:
        say(
            f"warning: {known} validation samples judge what is forgotten, and one of them is {1 / max(known, 1):.3f} "
            f"of the accuracy, more than personalize.max_forget = {table.max_forget:g}: a single one undoes a learning"
        )
    module, head = session.built.module, session.built.head
    (whole,) = graph.graphs.values()
    inputs = tuple(session.input_names)
    tables: dict[str, torch.Tensor] = {}
    if loss == "ranking":
        user = str(session.spec["user_input"])
        whole, tables = user_vectors.opened(whole, user)
        inputs = tuple(name for name in inputs if name != user)
        made = cut(whole, tables, tables)
        personal_users.fits(made, session.spec)
    else:
        made = cut(whole, learns(module, head, table.tail, {n for n, _ in whole.module.named_parameters()}))
        made = laid_out(in_real_units(made), head)
    names = list(made.parameters)
    at = (
        names.index(f"{head}.weight") if f"{head}.weight" in names else -1,
        names.index(f"{head}.bias") if f"{head}.bias" in names else -1,
    )
    parameters = list(made.parameters.values())
    tail = _with_features(made.tail, len(made.latents) + at[0]) if min(at) >= 0 and loss != "mse" else made.tail
    if loss == "prototype" and (tail is made.tail or len(names) < 3):
        raise RecipeError(
            "prototypes of classes take a tail that holds a classifier and layers before it, which learn",
            where="personalize.loss",
            remedy='tail = "last" or the name of a layer; the classifier alone learns by "cross-entropy"',
        )
    if table.spare_classes:
        if loss == "mse" or min(at) < 0:
            raise RecipeError(
                "needs a classifier whose last layer has a weight and a bias in the tail",
                where="personalize.spare_classes",
                remedy="set it to 0, or choose a tail that holds the head",
            )
        parameters = [_more(p, i, at, table.spare_classes) for i, p in enumerate(parameters)]
    spread = () if loss != "mse" else tuple(np.asarray(session.dataset.split("train").targets, np.float64).std(axis=0))
    learning = Learning(loss, table.optimizer, clip=table.clip, spread=tuple(float(v) or 1.0 for v in spread))
    with torch.no_grad():
        latents = _tuple(made.trunk.module(*whole.captured.example))
        said = tail(*latents, *parameters)[0]
    if said.dim() != 2:
        raise ModelError(f"the output has shape {tuple(said.shape)}, a tail can learn (samples, values) only")
    rows = [_rows(v, table.batch_size) for v in latents]
    step = build(tail, parameters, rows, torch.zeros(table.batch_size, said.shape[1]), learning)
    return Prepared(
        made,
        parameters,
        tail,
        step,
        learning,
        at if tail is not made.tail else (-1, -1),
        inputs,
        whole.captured.output_names,
        table,
        tables,
        personal_users.output_step(whole) if tables else 0.0,
    )


def _loss(task: str, asked: str) -> str:
    own = LOSSES[task]
    if asked in ("", own) or (asked == "prototype" and own == "cross-entropy"):
        return asked or own
    raise RecipeError(
        f"{asked!r} is no loss of the task {task}", where="personalize.loss", remedy=f"leave it out ({own})"
    )


def learns(module: torch.nn.Module, head: str, tail: str, present: set[str]) -> set[str]:
    """Names of the graph's parameters that a tail called `tail` has. `RecipeError` for a layer that is not there.

    A bias that BatchNorm's shift became goes with its layer's weight.
    """
    depth_of = depths(module, head)
    if tail in ("head", "last"):
        deepest = ("head", "last").index(tail)
    else:
        deepest = max((depth for name, depth in depth_of.items() if under(name, tail)), default=-1)
    if deepest not in depth_of.values():
        layers = {name for name, _ in module.named_modules() if name}
        raise RecipeError(
            f"the model has no layer {tail!r}",
            where="personalize.tail",
            remedy=nearest(tail, {"head", "last", *layers}),
        )
    chosen = {name for name, depth in depth_of.items() if depth <= deepest}

    owners = {name.rpartition(".")[0] for name in chosen}
    known = {name for name, _ in module.named_parameters()}
    return {n for n in present if n in chosen or (n not in known and n.rpartition(".")[0] in owners)}


def _more(parameter: torch.Tensor, number: int, head: tuple[int, int], spare: int) -> torch.Tensor:
    """Rows for classes to come, behind those of the head's weight and bias."""
    if number not in head:
        return parameter
    value = 0.0 if number == head[0] else NEVER
    return torch.cat([parameter, torch.full((spare, *parameter.shape[1:]), value)])


def _with_features(tail: fx.GraphModule, position: int) -> fx.GraphModule:
    """The tail with a second output: what the layer of the parameter at `position` is given, flat."""
    graph = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    output = graph.graph_copy(tail.graph, values)
    holders = [n for n in tail.graph.nodes if n.op == "placeholder"]
    users = [u for u in holders[position].users if u.op == "call_function"]
    if len(users) != 1 or not isinstance(users[0].args[0], fx.Node):
        return tail
    given = graph.call_function(torch.ops.aten.flatten.using_ints, (values[users[0].args[0]], 1))
    told = output if isinstance(output, (tuple, list)) else (output,)
    graph.output((*told, given))
    return fx.GraphModule(tail, graph).eval()


def _tuple(value: Any) -> tuple[torch.Tensor, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _rows(value: torch.Tensor, count: int) -> torch.Tensor:
    return value.detach().repeat(-(-count // len(value)), *[1] * (value.dim() - 1))[:count].contiguous()


def convert(made: Prepared, session: Session, target: Target, staging: Path) -> list[Artifact]:
    """Write trunk, tail and step below `staging`; returns their artifacts in that order, paths from `staging`."""
    exporter = importlib.import_module(f"edgeft.backends.{target.backend}.exporter")
    trunk, captured = made.cut.trunk, made.cut.trunk.captured
    latents = [_rows(v, 1) for v in _tuple(trunk.module(*captured.example))]
    tail_inputs = [*(f"latent_{i}" for i in range(len(latents))), *made.step.inputs[: len(made.parameters)]]
    written = []
    for name in plans.GRAPHS:
        folder = staging / FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        if name == "trunk":
            lowered = lower(trunk, "qdq" if target.backend == "litert" else "int")
            artifact = exporter.export(
                lowered,
                captured.example,
                list(made.inputs),
                [latent.name for latent in made.cut.latents],
                folder,
                target=target,
                dynamic_batch=captured.dynamic,
            )
        else:
            module, example, inputs, outputs = (
                (made.step.module, made.step.example, made.step.inputs, made.step.outputs)
                if name == "step"
                else (_inference(made, latents), (*latents, *made.parameters), tail_inputs, made.said)
            )
            artifact = exporter.export_float(
                module, example, list(inputs), list(outputs), folder, target=target, dynamic_batch=False, as_it_is=True
            )
        written.append(dataclasses.replace(artifact, file=f"{FOLDER}/{name}/{artifact.file}"))
    return written


def _inference(made: Prepared, latents: Sequence[torch.Tensor]) -> fx.GraphModule:
    """The tail for one sample, in the plain ops of the step: weights that are inputs are no constants to a runtime."""
    from ..training_step.plain import Plain
    from ..training_step.step import trace

    return trace(lambda *given: tuple(Plain(made.tail).run(*given)), (*latents, *made.parameters))


def entries(
    made: Prepared, session: Session, target: Target, staging: Path, artifacts: Sequence[Artifact]
) -> list[dict[str, Any]]:
    """The manifest's tables of the three graphs."""
    machine = runtime.get(target.backend)
    names = {
        "trunk": (list(made.inputs), [latent.name for latent in made.cut.latents]),
        "tail": (
            [*(f"latent_{i}" for i in range(len(made.cut.latents))), *made.step.inputs[: len(made.parameters)]],
            made.said,
        ),
        "step": (list(made.step.inputs), list(made.step.outputs)),
    }
    found = []
    for name, artifact in zip(plans.GRAPHS, artifacts):
        loaded = machine.load(staging / artifact.file, options=machine.options())
        inputs, outputs = names[name]
        layout = session.spec.get("layout") if name == "trunk" else None
        found.append(
            {
                "name": name,
                "file": artifact.file,
                "personalize": True,
                "inputs": evidence.tensors(loaded.inputs, inputs, layout=layout),
                "outputs": evidence.tensors(loaded.outputs, outputs, layout=None),
            }
        )
    return found


def plan_of(made: Prepared) -> dict[str, Any]:
    """The manifest's table `personalize`."""
    with torch.no_grad():
        shapes = [list(v.shape[1:]) for v in _tuple(made.cut.trunk.module(*made.cut.trunk.captured.example))]
    state = state_of(made.parameters, made.learning)
    return {
        "tail": made.table.tail,
        "latents": [
            {"name": one.name, "shape": shape, "scale": one.scale, "zero_point": one.zero_point}
            for one, shape in zip(made.cut.latents, shapes)
        ],
        "parameters": [{"name": n, "shape": list(p.shape)} for n, p in zip(made.cut.parameters, made.parameters)],
        "state": [{"name": name, "shape": list(value.shape)} for name, value in state.items()],
        "ones": [name for name, value in state.items() if bool((value == 1).all())],
        "outputs": list(made.outputs),
        "loss": made.learning.loss,
        "optimizer": made.table.optimizer,
        "rate": made.table.rate,
        "batch": made.table.batch_size,
        "steps": made.table.steps,
        "max_forget": made.table.max_forget,
        "spare": made.table.spare_classes,
        "head": list(made.head),
        "file": FILE,
    }


def old_samples(session: Session, table: Personalize, bytes_each: int) -> Iterator[tuple[str, data.Split]]:
    """("replay", training samples, so many of each class) and ("reference", validation samples)."""
    most = max(16, MOST_BYTES // 2 // max(bytes_each, 1))
    classes = max(len(session.dataset.labels), 1)
    for kind, name, count in (
        ("replay", "train", min(table.replay * classes, most)),
        ("reference", "val", min(REFERENCE, most)),
    ):
        split = session.dataset.split(name)
        count = min(count, len(split))
        yield kind, split.subset(data.calibration_indices(split, count, "stratified", 0)) if count else split.subset([])


def fill(
    made: Prepared,
    session: Session,
    target: Target,
    staging: Path,
    tables: Sequence[Mapping[str, Any]],
    model: runtime.Session,
) -> list[Verdict]:
    """Write the start file with latents of the artifact's own trunk, and prove tail and step in the runtime.

    `model` is the whole artifact, which trunk and tail must agree with.
    """
    machine, plan = runtime.get(target.backend), plans.read(plan_of(made))
    options = {**machine.options(), **(bundle.exact_options(machine) if targets.exact_here(target) else {})}
    trunk, tail, step = (
        bundle.named(machine.load(staging / table["file"], options=options), table, where=str(staging))
        for table in tables
    )
    arrays = {f"parameter_{i}": p.numpy() for i, p in enumerate(made.parameters)}
    if made.tables:
        tables_of = [made.tables[name] for name in made.cut.parameters]
        arrays |= {f"users/{i}": table.numpy() for i, table in enumerate(tables_of)}
        _write(staging, arrays)
        return [
            personal_users.alike(
                session.dataset.split("val"),
                session.task,
                session.spec,
                plan,
                (trunk, tail, model),
                tables_of,
                made.grid,
            ),
            personal_proof.steps(made.step, made.learning, step, made.table),
        ]
    each = sum(int(np.prod(one.shape)) * (1 if one.scale is not None else 4) for one in plan.latents)
    kept: dict[str, list[np.ndarray]] = {}
    wanted: list[np.ndarray] = []
    for kind, split in old_samples(session, made.table, each):
        parts: list[list[np.ndarray]] = []
        for _, batch in preprocessed(session.task, session.spec, split):
            parts.append(graphs.latents_of(trunk, plan, batch))
            if kind == "reference":
                wanted.append(model.run(batch)[made.outputs[0]])
        none = [np.zeros((0, *one.shape), np.int8 if one.scale is not None else np.float32) for one in plan.latents]
        kept[kind] = [np.concatenate(values) for values in zip(*parts)] if parts else none
        arrays |= {f"{kind}/latent_{i}": value for i, value in enumerate(kept[kind])}
        arrays[f"{kind}/targets"] = np.asarray(split.targets)
    _write(staging, arrays)
    said, _ = graphs.outputs_of(tail, plan, [p.numpy() for p in made.parameters], kept["reference"])
    return [
        personal_proof.alike(session.task, np.concatenate(wanted), said),
        personal_proof.steps(made.step, made.learning, step, made.table),
    ]


def _write(staging: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with io.BytesIO() as buffer:
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        files.write_bytes(staging / FILE, buffer.getvalue())
