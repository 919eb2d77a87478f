"""Evidence: what the artifacts said on the test split, the samples a bundle carries, and the pictures of its report."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends as runtime
from .. import data, tasks
from ..bundle import reader as bundle
from ..inputs.batches import preprocessed

#: samples that a bundle carries: enough to see a wrong scale or label map, small enough to ship
SAMPLES = 16
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Seen:
    """Outputs (N, ...) of the float artifact, the quantized artifact and the quantized torch graph on one split.

    `chosen` are the positions of the samples that the bundle keeps, `inputs` their tensors after preprocessing.
    """

    float: Outputs
    quantized: Outputs
    graph: Outputs
    chosen: tuple[int, ...]
    inputs: Outputs


#: rows of a graph's inputs that a bundle of several graphs carries for each of them, beside the first one's samples
ROWS = 8


@dataclass(frozen=True)
class GraphSamples:
    """What one graph of several was given (rows), and what the torch graph and the artifact said of each row."""

    name: str
    inputs: Outputs
    graph: Outputs
    quantized: Outputs

    def members(self, rows: int) -> dict[str, np.ndarray]:
        """Of samples.npz: `input/<graph>/<tensor>`, `output/...` and `graph/...` of the first `rows`."""
        kinds = (("input", self.inputs), ("output", self.quantized), ("graph", self.graph))
        return {f"{kind}/{self.name}/{key}": v[:rows] for kind, values in kinds for key, v in values.items()}


def kept_samples(split: data.Split) -> list[int]:
    """Positions of the samples that a bundle carries."""
    return [int(i) for i in data.calibration_indices(split, SAMPLES, "stratified", 0)]


def collect(
    task: Any,
    spec: dict[str, Any],
    split: data.Split,
    pairs: Sequence[tuple[runtime.Session, runtime.Session]],
    graphs: Sequence[Sequence[Outputs]],
) -> list[Seen]:
    """Run each pair (float, quantized) of sessions over a split; `graphs` holds the torch graphs' outputs of it.

    One `Seen` a pair. A batch is read once for all of them, and they run side by side: runtimes compute outside the
    interpreter's lock, and nothing is timed here.
    """
    chosen = kept_samples(split)
    sessions = [session for pair in pairs for session in pair]
    parts: list[list[Outputs]] = [[] for _ in sessions]
    kept: dict[str, list[np.ndarray]] = {}
    with ThreadPoolExecutor(min(len(sessions), os.cpu_count() or 1)) as pool:
        for rows, batch in preprocessed(task, spec, split):
            for part, outputs in zip(parts, pool.map(lambda session, feeds=batch: session.run(feeds), sessions)):
                part.append(outputs)
            for i in chosen:
                if i in rows:
                    for key, value in batch.items():
                        kept.setdefault(key, []).append(value[i - rows[0]])
    inputs = {key: np.stack(v) for key, v in kept.items()}
    joined = [
        {key: np.concatenate([p[key] for p in part]) for key in (part[0] if part else ())} for part in (*parts, *graphs)
    ]
    last = joined[len(sessions) :]
    return [Seen(joined[2 * k], joined[2 * k + 1], last[k], tuple(chosen), inputs) for k in range(len(pairs))]


def samples(seen: Seen, dataset: data.Dataset, of_graphs: Mapping[str, np.ndarray] | None = None) -> bytes:
    """samples.npz: raw inputs as a user has them, tensors after preprocessing, outputs of artifact and graph.

    `of_graphs` are the members of a model of several graphs, see `GraphSamples.members`.
    """
    split, chosen = dataset.split("test"), list(seen.chosen)
    arrays: dict[str, np.ndarray] = {}
    for k, i in enumerate(chosen):
        arrays |= bundle.stored_raw(k, split.raw(i))
    if split.targets.dtype != object:
        arrays["targets"] = np.asarray(split.targets[chosen])
    if split.classes is not None:
        arrays["target_names"] = np.array([dataset.labels[int(t)] for t in split.targets[chosen]])
    arrays |= {f"input/{k}": v for k, v in seen.inputs.items()}
    arrays |= {f"output/{k}": v[chosen] for k, v in seen.quantized.items()}
    arrays |= {f"graph/{k}": v[chosen] for k, v in seen.graph.items()}
    arrays |= dict(of_graphs or {})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def tensors(
    border: Sequence[runtime.Tensor],
    names: list[str],
    layout: str | None,
    steps: Mapping[str, float | list[float]] | None = None,
    reach: Mapping[str, tuple[float, float]] | None = None,
) -> list[dict[str, Any]]:
    """The manifest's entries of a graph's border: our names, the artifact's own shapes and grids, by position.

    `steps` adds the quantization step of a value that the artifact hands out as float, `reach` how many steps rounding
    alone moves it (median, 99 %).
    """
    own = {t.name: t for t in border}
    ordered = [own[n] for n in names] if set(own) == set(names) else list(border)
    return [
        {
            "name": name,
            "shape": list(t.shape),
            "dtype": t.dtype,
            "layout": layout,
            "scale": t.scale,
            "zero_point": t.zero_point,
            **({"step": steps[name]} if steps and name in steps else {}),
            **({"rounding": list(reach[name])} if reach and name in reach else {}),
        }
        for name, t in zip(names, ordered)
    ]


def pictures(task: Any, spec: dict[str, Any], seen: Seen, dataset: data.Dataset) -> list[dict[str, Any]]:
    """A few samples for the report, those first on which float and int8 differ."""
    split = dataset.split("test")
    same = task.alike(seen.float, seen.quantized)
    changed = np.flatnonzero(~same.reshape(len(same), -1).all(axis=1))
    differ = (
        [int(changed[k]) for k in np.unique(np.linspace(0, len(changed) - 1, 8).astype(int))] if len(changed) else []
    )
    shown = [*differ, *(i for i in seen.chosen if i not in differ)][:16]
    rows = []
    for i in shown:
        raw = split.raw(i)
        said = [
            tasks.tell(task, {k: v[i : i + 1] for k, v in o.items()}, raw, spec, dataset.labels)
            for o in (seen.float, seen.quantized)
        ]
        rows.append(
            {
                **tasks.draw(task, raw, said[1], split.targets[i]),
                "label": task.describe(split.targets[i], dataset.labels),
                "alike": bool(same[i].all()),
                "judged": bool(getattr(task, "DISCRETE", True)),  # a value is never exactly the recorded one
                "float": said[0].get("label"),
                "quantized": said[1].get("label"),
            }
        )
    return rows
