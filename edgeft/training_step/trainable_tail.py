"""The tail of a quantized model that a device may train: its cut, its parameters and the step, as torch graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from ..config.formats import int8
from ..config.recipe import Personalize
from ..core.errors import ModelError, RecipeError, nearest
from ..learning.blocks import depths, under
from ..plugins import TASKS
from ..quantize.graph import QuantizedGraph
from ..quantize.parts import QuantizedParts
from ..session.session import Session
from . import user_vectors
from .cut import Cut, cut
from .laid_out import in_real_units, laid_out
from .plain import Plain
from .step import Learning, Step, build, state_of, trace

FOLDER = "personalize"
FILE = f"{FOLDER}/start.npz"
#: what the tail of a recommender is called
USER = "user"
#: bias of an output that no class has yet: e^-30 of a softmax
NEVER = -30.0
#: reference samples of the validation split, by which forgetting is judged
REFERENCE = 300


@dataclass(frozen=True)
class TrainableTail:
    """One scheme's cut and training step, before conversion; `head` are weight's and bias's places, -1 where none.

    `inputs` and `outputs` are the model's that trunk and tail take and give, `example` is one row of the latents.
    `inference` is the tail for one sample in the plain ops of the step. `tables` are those of a recommender's users,
    float32 (users, width), by the parameter that one row of it is; `grid` is the step of its int8 scores, 0 where they
    are float.
    """

    cut: Cut
    parameters: list[torch.Tensor]
    tail: fx.GraphModule
    inference: fx.GraphModule
    example: tuple[torch.Tensor, ...]
    step: Step
    learning: Learning
    head: tuple[int, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    table: Personalize
    tables: dict[str, torch.Tensor] = field(default_factory=dict)
    grid: float = 0.0

    @property
    def tail_inputs(self) -> list[str]:
        """Names of the inputs of the tail's graph."""
        return [*(f"latent_{i}" for i in range(len(self.cut.latents))), *self.step.inputs[: len(self.parameters)]]

    @property
    def tail_outputs(self) -> list[str]:
        """Names of the outputs of the tail's graph: "features" is the input of its last layer."""
        return ["output", "features"] if self.tail is not self.cut.tail else ["output"]

    @property
    def latent_names(self) -> list[str]:
        """Names of the outputs of the trunk's graph."""
        return [latent.name for latent in self.cut.latents]


@dataclass(frozen=True)
class _Opened:
    """A model cut in two, before the step is written."""

    graph: QuantizedGraph
    cut: Cut
    inputs: tuple[str, ...]
    tables: dict[str, torch.Tensor]


def trainable_tail(
    session: Session, graphs: QuantizedParts, table: Personalize, say: Callable[[str], None]
) -> TrainableTail:
    """Cut the quantized graph and write its training step. Raises `RecipeError` and `ModelError` for what cannot be."""
    loss = _loss(session, graphs, table)
    _warn_of_few_samples(session, table, loss, say)
    opened = _opened(session, graphs, table, loss)
    opened_cut = opened.cut

    names, head = list(opened_cut.parameters), session.built.head
    places = tuple(names.index(n) if n in names else -1 for n in (f"{head}.weight", f"{head}.bias"))
    head_at = (places[0], places[1])
    has_head = min(head_at) >= 0
    tail = opened_cut.tail
    if has_head and loss != "mse":
        tail = _with_features(tail, len(opened_cut.latents) + head_at[0])

    if loss == "prototype" and (tail is opened_cut.tail or len(names) < 3):
        raise RecipeError(
            "prototypes of classes take a tail that holds a classifier and trainable layers before it",
            where="personalize.loss",
            remedy='tail = "last" or the name of a layer; the classifier alone is trained with "cross-entropy"',
        )

    if table.spare_classes and (loss == "mse" or not has_head):
        raise RecipeError(
            "needs a classifier whose last layer has a weight and a bias in the tail",
            where="personalize.spare_classes",
            remedy="set it to 0, or choose a tail that holds the head",
        )

    parameters = list(opened_cut.parameters.values())
    if table.spare_classes:
        parameters = [_with_rows(p, i, head_at, table.spare_classes) for i, p in enumerate(parameters)]

    latents, output = _example(opened, tail, parameters)
    learning = _learning(session, table, loss)
    rows = [_rows(value, table.batch_size) for value in latents]
    step = build(tail, parameters, rows, torch.zeros(table.batch_size, output.shape[1]), learning)
    example = tuple(_rows(value, 1) for value in latents)

    return TrainableTail(
        opened_cut,
        parameters,
        tail,
        trace(lambda *values: tuple(Plain(tail).run(*values)), (*example, *parameters)),
        example,
        step,
        learning,
        head_at if tail is not opened_cut.tail else (-1, -1),
        opened.inputs,
        opened.graph.captured.output_names,
        table,
        opened.tables,
        user_vectors.output_step(opened.graph) if opened.tables else 0.0,
    )


def _loss(session: Session, graphs: QuantizedParts, table: Personalize) -> str:
    """The loss of the task's step; `RecipeError` for a task, a tail or a loss that cannot be trained on a device."""
    task, default = session.task.name, session.task.step_loss
    if not default or not graphs.single:
        able = ", ".join(name for name in TASKS.builtin if TASKS.get(name).step_loss)
        raise RecipeError(
            f"models of the task {task} cannot be personalized yet",
            where="personalize",
            remedy=f"leave the table out; it works for {able}",
        )

    if table.loss not in ("", default) and not (table.loss == "prototype" and default == "cross-entropy"):
        raise RecipeError(
            f"{table.loss!r} is not a loss of the task {task}",
            where="personalize.loss",
            remedy=f"leave it out ({default})",
        )

    loss = table.loss or default
    if loss == "ranking" and table.tail != USER:
        raise RecipeError(
            f"{table.tail!r} is not a tail of a recommender: only a user's vectors are trainable",
            where="personalize.tail",
            remedy=f'tail = "{USER}"',
        )

    return loss


def _warn_of_few_samples(session: Session, table: Personalize, loss: str, say: Callable[[str], None]) -> None:
    known = min(REFERENCE, len(session.dataset.split("val")))
    if loss not in ("mse", "ranking") and known * table.max_forget < 1:
        say(
            f"warning: forgetting is measured on {known} validation samples, and one of them is "
            f"{1 / max(known, 1):.3f} of the accuracy, more than personalize.max_forget = {table.max_forget:g}: "
            "a single new error leads to rejection"
        )


def _opened(session: Session, graphs: QuantizedParts, table: Personalize, loss: str) -> _Opened:
    (graph,) = graphs.graphs.values()
    inputs = tuple(session.input_names)
    if loss == "ranking":
        user = str(session.spec["user_input"])
        graph, tables = user_vectors.opened(graph, user)
        table_cut = cut(graph, tables, tables)
        user_vectors.check_candidates(table_cut, int(session.spec["candidates"]))
        return _Opened(graph, table_cut, tuple(name for name in inputs if name != user), tables)

    module, head = session.built.module, session.built.head
    names = {name for name, _ in graph.module.named_parameters()}
    table_cut = cut(graph, tail_parameters(module, head, table.tail, names))
    return _Opened(graph, laid_out(in_real_units(table_cut), head), inputs, {})


def tail_parameters(module: torch.nn.Module, head: str, tail: str, present: set[str]) -> set[str]:
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


def _with_rows(parameter: torch.Tensor, number: int, head: tuple[int, int], spare: int) -> torch.Tensor:
    """Rows for classes to come, behind those of the head's weight and bias."""
    if number not in head:
        return parameter
    value = 0.0 if number == head[0] else NEVER
    return torch.cat([parameter, torch.full((spare, *parameter.shape[1:]), value)])


def _with_features(tail: fx.GraphModule, position: int) -> fx.GraphModule:
    """The tail with a second output: the input of the layer of the parameter at `position`, flat."""
    graph = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    output = graph.graph_copy(tail.graph, values)
    holders = [n for n in tail.graph.nodes if n.op == "placeholder"]
    users = [u for u in holders[position].users if u.op == "call_function"]
    if len(users) != 1 or not isinstance(users[0].args[0], fx.Node):
        return tail

    features = graph.call_function(torch.ops.aten.flatten.using_ints, (values[users[0].args[0]], 1))
    outputs = output if isinstance(output, (tuple, list)) else (output,)
    graph.output((*outputs, features))
    return fx.GraphModule(tail, graph).eval()


def _example(
    opened: _Opened, tail: fx.GraphModule, parameters: Sequence[torch.Tensor]
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """The latents of the graph's own example, and the tail's output for them; `ModelError` for one of another form."""
    with torch.no_grad():
        latents = _tuple(opened.cut.trunk.module(*opened.graph.captured.example))
        output = tail(*latents, *parameters)[0]
    if output.dim() != 2:
        raise ModelError(f"the output has shape {tuple(output.shape)}, a tail is trained on (samples, values) only")
    return latents, output


def _learning(session: Session, table: Personalize, loss: str) -> Learning:
    spread: tuple[float, ...] = ()
    if loss == "mse":
        spread = tuple(np.asarray(session.dataset.split("train").targets, np.float64).std(axis=0))
    return Learning(loss, table.optimizer, clip=table.clip, spread=tuple(float(v) or 1.0 for v in spread))


def _tuple(value: Any) -> tuple[torch.Tensor, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _rows(value: torch.Tensor, count: int) -> torch.Tensor:
    return value.detach().repeat(-(-count // len(value)), *[1] * (value.dim() - 1))[:count].contiguous()


def plan_table(tail: TrainableTail) -> dict[str, Any]:
    """The manifest's table `personalize`."""
    state = state_of(tail.parameters, tail.learning)
    return {
        "tail": tail.table.tail,
        "latents": [
            {
                "name": latent.name,
                "shape": list(row.shape[1:]),
                "scale": latent.scale,
                "zero_point": latent.zero_point,
                **({} if latent.dtype == int8.AFFINE.dtype else {"dtype": latent.dtype}),
            }
            for latent, row in zip(tail.cut.latents, tail.example)
        ],
        "parameters": [{"name": n, "shape": list(p.shape)} for n, p in zip(tail.cut.parameters, tail.parameters)],
        "state": [{"name": name, "shape": list(value.shape)} for name, value in state.items()],
        "ones": [name for name, value in state.items() if bool((value == 1).all())],
        "outputs": list(tail.outputs),
        "loss": tail.learning.loss,
        "optimizer": tail.table.optimizer,
        "rate": tail.table.rate,
        "batch": tail.table.batch_size,
        "steps": tail.table.steps,
        "max_forget": tail.table.max_forget,
        "spare": tail.table.spare_classes,
        "head": list(tail.head),
        "file": FILE,
    }
