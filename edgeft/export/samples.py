"""The samples that a bundle carries: their choice, their tensors, and samples.npz."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import data
from ..bundle import reader as bundle
from ..inputs.batches import Arrays, joined, preprocessed

#: samples that a bundle carries: enough to see a wrong scale or label map, small enough to ship
SAMPLES = 16
#: rows of a graph's inputs that a bundle of several graphs carries for each of them, beside the first one's samples
ROWS = 8


@dataclass(frozen=True)
class CarriedSamples:
    """Positions in the test split of the samples that a bundle carries, and their tensors (n, ...) by input name."""

    positions: tuple[int, ...]
    inputs: Arrays


@dataclass(frozen=True)
class GraphSamples:
    """Rows of inputs of one graph of several, with the outputs of the torch graph and of the artifact for each row."""

    name: str
    inputs: Arrays
    graph: Arrays
    quantized: Arrays

    def members(self, rows: int) -> Arrays:
        """Of samples.npz: `input/<graph>/<tensor>`, `output/...` and `graph/...` of the first `rows`."""
        kinds = (("input", self.inputs), ("output", self.quantized), ("graph", self.graph))
        return {f"{kind}/{self.name}/{key}": v[:rows] for kind, values in kinds for key, v in values.items()}


def carried_samples(task: Any, spec: dict[str, Any], split: data.Split) -> CarriedSamples:
    """Choose samples of every class from a split, always the same ones, and preprocess them."""
    positions = [int(i) for i in data.calibration_indices(split, SAMPLES, "stratified", 0)]
    return _carried(task, spec, split, positions)


def with_extremes(
    samples: CarriedSamples, task: Any, spec: dict[str, Any], split: data.Split, outputs: Iterable[np.ndarray]
) -> CarriedSamples:
    """`samples` with those of the smallest and the largest value of each output (N, ...) in the place of the last ones.

    An output without a grid is compared in steps of the range that it spans: over samples that span less of it, one
    step of rounding would count as many.
    """
    rows = [values.reshape(len(values), -1) for values in outputs]
    extremes = [int(at) for row in rows for at in (row.min(axis=1).argmin(), row.max(axis=1).argmax())]
    wanted = [at for at in dict.fromkeys(extremes) if at not in samples.positions][: len(samples.positions) // 2]
    if not wanted:
        return samples

    return _carried(task, spec, split, [*samples.positions[: -len(wanted)], *wanted])


def _carried(task: Any, spec: dict[str, Any], split: data.Split, positions: list[int]) -> CarriedSamples:
    feeds = preprocessed(task, spec, split.subset(positions))
    return CarriedSamples(tuple(positions), joined([batch for _, batch in feeds]))


def samples_file(
    carried: CarriedSamples,
    answers: Mapping[str, Arrays],
    dataset: data.Dataset,
    of_graphs: Iterable[GraphSamples] = (),
) -> bytes:
    """samples.npz: raw inputs as a user has them, tensors after preprocessing, and `answers`.

    Those are the outputs of the whole test split (N, ...) by what computed them: the artifact ("output"), the quantized
    graph in torch ("graph"), the float baseline ("baseline"). `of_graphs` are rows of a model of several graphs.
    """
    split, positions = dataset.split("test"), list(carried.positions)
    arrays: dict[str, np.ndarray] = {}
    for number, position in enumerate(positions):
        arrays |= bundle.stored_raw(number, split.raw(position))

    if split.targets.dtype != object and not dataset.unlabelled:
        arrays["targets"] = np.asarray(split.targets[positions])
    if split.classes is not None and not dataset.unlabelled:
        arrays["target_names"] = np.array([dataset.labels[int(t)] for t in split.targets[positions]])

    arrays |= {f"input/{name}": values for name, values in carried.inputs.items()}
    for kind, outputs in answers.items():
        arrays |= {f"{kind}/{name}": values[positions] for name, values in outputs.items()}

    for number, rows in enumerate(of_graphs):  # the first graph takes what preprocessing makes of the samples
        arrays |= rows.members(ROWS if number else len(positions))

    return compressed(arrays)


def compressed(arrays: Arrays) -> bytes:
    """The arrays as an .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
