"""The first step: what the quantized torch graph of a scheme computes, which every artifact of it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..core.errors import EdgeftError, InternalError
from ..graph.same import same
from ..inputs.batches import Arrays, joined, preprocessed
from ..quantize.graph import QuantizedGraph
from ..quantize.lower import lower
from ..quantize.parts import MAIN
from ..quantize.sensitivity import layer_errors, rounding_reach
from ..tasks import in_order_of
from .quantized_run import QuantizedRun, QuantizedScheme
from .samples import SAMPLES, CarriedSamples, carried_samples, with_extremes
from .side_by_side import side_by_side

#: input of one call of the torch graph: beyond a few images its activations leave the cache, and it is 3 times slower
PART_BYTES = 2**21
#: of each output, how many steps rounding alone moves it (median, 99 % quantile)
Reach = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Reference:
    """The quantized graphs of one scheme, evaluated in torch.

    `outputs` (N, ...) are those of the test split, {} for a model of several graphs; such a model has the inputs and
    outputs of each of its graphs, row by row, in `graph_feeds` and `graph_outputs`. `reach` is by graph.
    """

    outputs: Arrays
    reach: dict[str, Reach]
    graph_feeds: dict[str, Arrays]
    graph_outputs: dict[str, Arrays]
    layer_errors: tuple[dict[str, object], ...]
    samples: CarriedSamples


def references(run: QuantizedRun) -> tuple[dict[str, Reference], dict[str, EdgeftError]]:
    """The reference of every scheme of a run by name, and the errors of those that have none.

    Such an error is an `InternalError` where a lowered graph is not the trained one.
    """
    samples = carried_samples(run.task, run.spec, run.test)
    made: dict[str, Reference] = {}
    errors: dict[str, EdgeftError] = {}

    for name, scheme in run.schemes.items():
        try:
            single = scheme.graphs.single
            made[name] = _single(run, scheme, samples) if single else _several(run, scheme, samples)
        except EdgeftError as error:
            errors[name] = error

    return made, errors


def _single(run: QuantizedRun, scheme: QuantizedScheme, samples: CarriedSamples) -> Reference:
    """Of a model of one graph. The fake-quantized graph runs several times faster than the lowered one; that both are
    the same function is checked on the first rows, bit for bit."""
    graph = scheme.graphs.graphs[MAIN]
    names, dynamic = graph.captured.output_names, graph.captured.dynamic
    module, reach = graph.module.eval(), None
    parts: list[Arrays] = []

    with side_by_side() as map_calls:
        title = f"{graph.scheme.name}: reference outputs"
        for _, batch in preprocessed(run.task, run.spec, run.test, title=title):
            values = [torch.from_numpy(v) for v in batch.values()]
            size = max(1, PART_BYTES // sum(t[:1].nbytes for t in values)) if dynamic else 1
            pieces = [[t[i : i + size] for t in values] for i in range(0, len(values[0]), size)]
            results = map_calls(lambda piece: flat(module(*piece)), pieces)
            if reach is None:
                _check_lowered(graph, pieces[0])
                reach = rounding_reach(graph, pieces[0], partial(in_order_of, run.task))
            parts.append({name: torch.cat([r[k] for r in results]).numpy() for k, name in enumerate(names)})

    errors, outputs = _layer_errors(run, scheme, {MAIN: samples.inputs}), joined(parts)
    if not run.task.discrete:
        without_grid = [values for name, values in outputs.items() if name not in graph.output_steps()]
        samples = with_extremes(samples, run.task, run.spec, run.test, without_grid)

    return Reference(outputs, {MAIN: reach or {}}, {}, {}, errors, samples)


def _several(run: QuantizedRun, scheme: QuantizedScheme, samples: CarriedSamples) -> Reference:
    """Of a model of several graphs: each on what it is given while the whole runs over the carried samples."""
    recorded_split = run.test.subset(list(samples.positions))
    if run.learning is None or run.learning.record is None:
        raise InternalError(f"the task {run.task.name} does not record the inputs of a model's graphs")

    feeds: dict[str, Arrays] = run.learning.record(scheme.graphs.module, recorded_split, run.spec)
    reach: dict[str, Reach] = {}
    outputs: dict[str, Arrays] = {}

    for name, arrays in feeds.items():
        graph, rows = scheme.graphs.graphs[name], tensors(arrays)
        _check_lowered(graph, rows)
        reach[name] = rounding_reach(graph, rows)
        with torch.no_grad():
            results = flat(graph.module(*rows))
        outputs[name] = dict(zip(graph.captured.output_names, (t.numpy() for t in results)))

    return Reference({}, reach, feeds, outputs, _layer_errors(run, scheme, feeds), samples)


def _check_lowered(graph: QuantizedGraph, rows: list[torch.Tensor]) -> None:
    """Raise `InternalError` unless the lowered graph computes the trained one bit for bit."""
    if not same(graph.module.eval(), lower(graph, "int"), rows):
        raise InternalError("the lowered graph computes something else than the trained one")


def _layer_errors(
    run: QuantizedRun, scheme: QuantizedScheme, feeds: dict[str, Arrays]
) -> tuple[dict[str, object], ...]:
    """The rows of `quantize.sensitivity.layer_errors` over all graphs, under the layers' names in the whole model."""
    trim = (run.learning and run.learning.trim) or tuple
    errors: list[dict[str, object]] = []
    for name, graph in scheme.graphs.graphs.items():
        batch = [t[:SAMPLES] for t in tensors(feeds[name])]
        if graph.captured.dynamic:
            errors += layer_errors(graph, batch, trim, scheme.graphs.named(name, ""))
    return tuple(errors)


def tensors(feeds: Arrays) -> list[torch.Tensor]:
    return [torch.from_numpy(values) for values in feeds.values()]


def flat(outputs: Any) -> tuple[torch.Tensor, ...]:
    """The outputs of a module as a tuple, also where there is one."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
