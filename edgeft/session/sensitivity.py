"""How sensitive a task is to the quantization of each layer: measured on held-out samples, never on the test split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from .. import data
from ..core.errors import DataError
from ..core.progress import counted, phase
from ..inputs.batches import Arrays, joined, preprocessed
from ..learning import Learning
from ..quantize.layer_noise import QuantizedLayer, alone, quantized_layers
from ..quantize.parts import MAIN, QuantizedParts
from .calibration_data import as_tuple

#: validation samples, spread evenly: the noise of the outputs is known to a tenth of a decibel from as many
SAMPLES = 32
#: bytes of the inputs of a pass: a net's activations are many times as large, and what a cache holds is faster
PASS_BYTES = 2**21
#: outputs kept for a metric that is no mean over samples, of all passes together
KEPT_BYTES = 2**28
Outputs = tuple[torch.Tensor, ...]


class Judged(Protocol):
    """What is needed of a session or of an opened run: its task with the learning half, its data and preprocessing."""

    @property
    def task(self) -> Any: ...

    @property
    def learning(self) -> Learning | None: ...

    @property
    def dataset(self) -> data.Dataset: ...

    @property
    def spec(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Effect:
    """What a pass gives: the outputs' mean signal to quantization-noise ratio in dB (None: no noise), the task's metric
    and loss on the same samples (None where they cannot be computed from outputs by sample)."""

    sqnr_db: float | None
    metric: float | None
    loss: float | None


@dataclass(frozen=True)
class LayerSensitivity:
    """A layer with only its weights on a grid, and with only its input and output (None: it has none)."""

    layer: QuantizedLayer
    weights: Effect
    activations: Effect | None

    @property
    def sqnr_db(self) -> float | None:
        """Of both, whose noise adds up; None where neither makes any."""
        both = [e.sqnr_db for e in (self.weights, self.activations) if e is not None and e.sqnr_db is not None]
        return -10 * math.log10(sum(10 ** (-value / 10) for value in both)) if both else None

    def as_dict(self) -> dict[str, Any]:
        """JSON values: "name" (as `keep_float` takes it), "sqnr_db", "macs", "parameters", and "weights" and
        "activations", tables of "sqnr_db", "metric", "loss"."""
        effects = {"weights": self.weights, "activations": self.activations}
        return {
            "name": self.layer.name,
            "sqnr_db": self.sqnr_db,
            "macs": self.layer.macs,
            "parameters": self.layer.parameters,
            **{name: None if e is None else dict(vars(e)) for name, e in effects.items()},
        }


@dataclass(frozen=True)
class Sensitivity:
    """The layers, most sensitive first; `baseline` is the float network on the same `n` samples."""

    layers: tuple[LayerSensitivity, ...]
    baseline: Effect
    n: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "split": "val",
            "n": self.n,
            "float": {"metric": self.baseline.metric, "loss": self.baseline.loss},
            "layers": [layer.as_dict() for layer in self.layers],
        }


def sensitivity(judged: Judged, graph: QuantizedParts, samples: int = SAMPLES) -> Sensitivity:
    """Measure every layer of a calibrated graph on at most `samples` validation samples.

    Ordered by the noise of weights and activations together, the noisiest first; of layers whose noise is level (within
    one decibel) the one of fewer multiply-accumulates, which is cheaper to leave in float. Leaves the graph as it was.
    """
    val = judged.dataset.split("val")
    if not len(val):
        raise DataError(
            "the val split has no samples", remedy="sensitivity is measured on validation samples; give some"
        )

    spread = np.unique(np.linspace(0, len(val) - 1, min(len(val), samples)).astype(int))
    part = val.subset(spread)
    layers = layers_of(graph)
    groups = [group for layer in layers for group in (layer.weights, layer.activations)]
    graph.module.eval()
    with phase(f"{graph.scheme.name}: measuring {len(layers)} layers one by one"):
        effects = _effects(judged, graph, groups, part)

    measured = [
        LayerSensitivity(layer, effects[2 * at], effects[2 * at + 1] if layer.activations else None)
        for at, layer in enumerate(layers)
    ]

    return Sensitivity(tuple(sorted(measured, key=_order)), effects[-1], len(part))


def layers_of(graph: QuantizedParts) -> list[QuantizedLayer]:
    """The layers on a grid of all graphs, by their names in the whole model."""
    return [layer for name, part in graph.graphs.items() for layer in quantized_layers(part, graph.named(name, ""))]


def _order(at: LayerSensitivity) -> tuple[float, int]:
    return (math.inf if at.sqnr_db is None else float(round(at.sqnr_db)), at.layer.macs)


def _effects(
    judged: Judged, graph: QuantizedParts, groups: Sequence[Sequence[str]], part: data.Split
) -> dict[int, Effect]:
    """The effect of each group alone, by its number; -1 is the float network."""
    tallies = {index: _Tally(judged, graph, KEPT_BYTES // (len(groups) + 1)) for index in (-1, *range(len(groups)))}
    for inputs, truth, targets in counted(_batches(judged, graph, part)):
        reference: Outputs = ()
        for index, outputs in _passes(graph, groups, inputs):
            reference = outputs if index < 0 else reference
            tallies[index].add(reference, outputs, truth, targets)

    return {index: tally.effect() for index, tally in tallies.items()}


def _passes(graph: QuantizedParts, groups: Sequence[Sequence[str]], inputs: Outputs) -> Iterator[tuple[int, Outputs]]:
    """`layer_noise.alone`; of a model of several graphs by whole passes, since one of its graphs may run many times."""
    if graph.single:
        yield from alone(graph.graphs[MAIN].module, groups, inputs)
        return

    graph.set_mode("off")
    try:
        with torch.no_grad():
            for index, names in [(-1, ()), *enumerate(groups)]:
                for mode in ("quantize", "off"):
                    for name in names:
                        graph.module.get_submodule(name).mode = mode
                    if mode == "quantize":
                        outputs = as_tuple(graph.module(*inputs))
                yield index, outputs
    finally:
        graph.set_mode("quantize")


def _batches(judged: Judged, graph: QuantizedParts, part: data.Split) -> Iterator[tuple[Outputs, np.ndarray, Any]]:
    """(inputs, the split's own targets, targets as the loss takes them) in the split's order.

    The last are None where training reads other inputs than the artifact gets (a batch's negatives of a recommender).
    """
    spec, device = judged.spec, next(graph.module.parameters()).device
    feeds = judged.task.preprocess(part.raw(0), spec)
    size = max(1, min(32, PASS_BYTES // max(1, sum(values.nbytes for values in feeds.values()))))
    if graph.single and not graph.graphs[MAIN].captured.dynamic:
        size = 1

    learning = judged.learning
    assert learning is not None
    taught = _taught(learning, part, spec, size)

    for positions, rows in preprocessed(judged.task, spec, part, size):
        given = tuple(torch.from_numpy(values) for values in rows.values())
        inputs, targets = next(taught, ((), None))
        read = as_tuple(inputs)
        same_form = len(read) == len(given) and all(
            a.shape == b.shape or (learning.trim is not None and a.shape[0] == b.shape[0]) for a, b in zip(read, given)
        )
        use, targets = (read, targets) if same_form or not graph.single else (given, None)
        yield tuple(x.to(device) for x in use), part.targets[list(positions)], _moved(targets, device)


def _taught(learning: Learning, part: data.Split, spec: dict[str, Any], size: int) -> Iterator[tuple[Any, Any]]:
    """The batches that training would read of the split; none where it can be evaluated and not be trained on."""
    try:
        yield from learning.loader(part, spec, size)
    except DataError:
        return


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_moved(item, device) for item in value)
    return value.to(device) if isinstance(value, torch.Tensor) else value


class _Tally:
    """The effect of one group while batches come in: energies of signal and noise, the metric's rows, the loss."""

    def __init__(self, judged: Judged, graph: QuantizedParts, kept_bytes: int) -> None:
        self.task, self.kept_bytes = judged.task, kept_bytes
        assert judged.learning is not None
        self.loss_of = judged.learning.loss
        self.names = graph.graphs[MAIN].captured.output_names if graph.single else None
        self.energies: torch.Tensor | None = None
        self.scores: list[np.ndarray] = []
        self.rows: list[Any] = []
        self.kept: list[tuple[Arrays, np.ndarray]] | None = []
        self.loss, self.n, self.whole = 0.0, 0, True

    def add(self, reference: Outputs, outputs: Outputs, truth: np.ndarray, targets: Any) -> None:
        pairs = [(a.double(), b.double()) for a, b in zip(reference, outputs) if a.is_floating_point()]
        rows = [[float(_finite(a).square().sum()), float(_finite(b - a).square().sum())] for a, b in pairs]
        energies = torch.tensor(rows, dtype=torch.float64)
        self.energies = energies if self.energies is None else self.energies + energies
        self.n += len(truth)

        if targets is None:
            self.whole = False
        else:
            value = self.loss_of(outputs if len(outputs) > 1 else outputs[0], targets)
            self.loss += float(value) * len(truth)

        if self.names is not None:
            self._score({name: values.float().cpu().numpy() for name, values in zip(self.names, outputs)}, truth)

    def _score(self, outputs: Arrays, truth: np.ndarray) -> None:
        """A metric that is a mean needs a number a sample, others a row, and some the outputs themselves."""
        scores = self.task.per_sample(outputs, truth)
        if scores is not None:
            self.scores.append(np.asarray(scores, np.float64))
        elif self.task.statistics is not None:
            self.rows += list(self.task.statistics(outputs, truth))
        elif self.kept is not None:
            self.kept.append((outputs, truth))
            held = sum(values.nbytes for parts, _ in self.kept for values in parts.values())
            self.kept = self.kept if held <= self.kept_bytes else None

    def effect(self) -> Effect:
        ratios = [10 * math.log10(a / b) for a, b in (self.energies if self.energies is not None else ()) if b > 0 < a]
        metric: float | None = None
        if self.scores:
            metric = float(np.concatenate(self.scores).mean())
        elif self.rows:
            metric = float(self.task.metric_of(self.rows))
        elif self.kept:
            parts, truths = zip(*self.kept)
            metric = float(self.task.score(joined(parts), np.concatenate(truths)))

        loss = self.loss / self.n if self.whole and self.n else None

        return Effect(
            sum(ratios) / len(ratios) if ratios else None,
            metric if metric is not None and math.isfinite(metric) else None,
            loss if loss is not None and math.isfinite(loss) else None,
        )


def _finite(values: torch.Tensor) -> torch.Tensor:
    """With 0 for what is no number: a masked score of -inf carries no signal and no noise."""
    return values.nan_to_num(0.0, 0.0, 0.0)
