"""The streaming form that `export.stream` asks for: whether there is one, before anything is trained; and its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..backends import get as backend_of
from ..config.recipe import Recipe
from ..config.target import Target
from ..core.errors import ModelError, RecipeError
from ..graph.step_form import StepForm, step_form
from ..graph.stream_flow import stream_flow
from ..inputs import sound
from ..plugins import BACKENDS, TASKS
from ..quantize.graph import QuantizedGraph
from ..quantize.parts import MAIN, CapturedParts

KEY = "export.stream"
WITHOUT = "leave out export.stream"


def check(
    recipe: Recipe, task: Any, spec: Mapping[str, Any], captured: CapturedParts, targets: Sequence[Target]
) -> None:
    """Raise `RecipeError` or `ModelError` where task, features, runtime or a layer of the model cannot be streamed."""
    if not task.listens_in_steps:
        able = [name for name in TASKS.names() if TASKS.get(name).listens_in_steps]
        raise RecipeError(
            f"the task {task.name} has no streaming graph, {', '.join(able)} has",
            where=KEY,
            remedy=f"{WITHOUT}; `edgeft predict --stream` answers for keywords window by window",
        )
    if spec.get("kind") != sound.KIND or not captured.single:
        raise RecipeError(
            "streams are of features of sounds, and this model reads something else", where=KEY, remedy=WITHOUT
        )
    if spec.get("level_floor"):
        raise RecipeError(
            "a stream does not know the loudest frame of what is still to come, by which the level is normalized",
            where=KEY,
            remedy="set level_floor = 0 in data.sound, and train with a gain that varies (train.augment)",
        )

    for target in targets:
        if target.compiler:
            raise RecipeError(
                f"{target.name} runs what {target.compiler} compiles, and no streaming graph is compiled",
                where=KEY,
                remedy=f"{WITHOUT}, or take targets without a vendor's compiler",
            )
        record = backend_of(target.backend)
        if not record.stream or not record.form(target.form).runs_as_itself:
            able = [name for name in BACKENDS.names() if backend_of(name).stream]
            raise RecipeError(
                f"{target.name} runs {record.title}, for which no streaming graph is written",
                where=KEY,
                remedy=f"{WITHOUT}, or take targets of {', '.join(able)}",
            )

    graph, axis, chunk = captured.graphs[MAIN], frames_axis(spec), chunk_of(recipe, spec)
    frames, flow = graph.example[0].shape[axis], stream_flow(graph.module, axis, chunk)
    (output,) = (node for node in graph.module.graph.nodes if node.op == "output")
    waits = max(flow.flows[node].delay * flow.flows[node].rate for node in output.all_input_nodes)
    if frames < waits + flow.chunk:
        raise ModelError(
            f"an answer waits for {waits} frames and the model hears {frames}: nothing could be compared",
            where=KEY,
            remedy="take fewer or smaller layers, a shorter chunk, or a larger data.sound.seconds",
        )


def frames_axis(spec: Mapping[str, Any]) -> int:
    return 2 if spec.get("layout", "NCHW") == "NCHW" else 1


def chunk_of(recipe: Recipe, spec: Mapping[str, Any]) -> int:
    """Frames of a chunk, at least one."""
    return max(1, round(recipe.export.stream * int(spec["rate"]) / int(spec["hop"])))


def form_of(recipe: Recipe, spec: Mapping[str, Any], graph: QuantizedGraph) -> StepForm:
    """The streaming form of a quantized graph."""
    return step_form(graph.module, graph.captured.example[0], frames_axis(spec), chunk_of(recipe, spec))
