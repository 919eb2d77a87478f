"""Calibration of a run: the samples that the recipe's preset chooses, and a captured model put on a scheme's grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from .. import data
from ..config import calibration
from ..config.scheme import Scheme
from ..core.errors import ModelError
from ..core.progress import counted, phase
from ..inputs.batches import preprocessed
from ..plugins import MODEL_SOURCES
from ..quantize import file_ranges
from ..quantize.parts import MAIN, CapturedParts, QuantizedParts, calibrate_parts, insert_parts
from .session import Say, Session, silent

#: (session, its float graphs) -> the errors of the targets whose converter refuses the model, by name
TryConversion = Callable[[Session, CapturedParts], dict[str, ModelError]]


def calibration_samples(session: Session) -> data.Split:
    """The training samples that the recipe's preset chooses, none of them in the test split; `DataError` if empty."""
    preset = calibration.load(session.recipe.quantize.calibration)
    train, test = session.dataset.split("train"), session.dataset.split("test")
    drawn = data.calibration_indices(train, preset.samples, preset.choose, preset.seed, avoid=test)
    if session.spec.get("kind") == "vector":
        drawn = np.union1d(drawn, data.extreme_rows(train))
    return train.subset(drawn)


def check_graph(session: Session, try_conversion: TryConversion | None) -> dict[str, ModelError]:
    """Capture the model and place quantization in it, before training; returns what `try_conversion` returns.

    Raises `RecipeError` for a pattern of `quantize.keep_float` that holds no layer of the model, `ModelError` for a
    model that cannot be captured or quantized, or that no target of the recipe can convert.
    """
    tested = MODEL_SOURCES.get(session.recipe.model.source).tested and not session.own_model
    patterns = session.recipe.quantize.keep_float
    if session.recipe.quantize.method == "none" or (tested and not patterns):
        return {}

    with phase("capturing the graph"):
        captured = session.capture(session.built.module)
        for scheme in session.schemes.values():
            insert_parts(captured, scheme, patterns)

    errors = {} if try_conversion is None else try_conversion(session, captured)
    if errors and len(errors) == len(session.targets):
        raise next(iter(errors.values()))

    return errors


def calibrated(
    session: Session,
    captured: CapturedParts,
    scheme: Scheme,
    say: Say = silent,
    keep_float: Sequence[str] | None = None,
) -> QuantizedParts:
    """The captured graphs on a scheme's grid, calibrated on training samples that are not in the test split, their
    channels equalized where that helps. `keep_float` None is the recipe's.

    Several processes share the batches out and exchange what they saw, so that all of them have the same ranges.
    """
    preset = calibration.load(session.recipe.quantize.calibration)
    part = calibration_samples(session)
    graph = insert_parts(captured, scheme, session.recipe.quantize.keep_float if keep_float is None else keep_float)
    world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)

    def every_batch() -> Iterator[tuple[torch.Tensor, ...]]:
        if session.learning.calibration is not None:
            yield from session.learning.calibration(part, session.spec, preset.batch_size)
            return
        for _, feeds in preprocessed(session.task, session.spec, part, preset.batch_size):
            yield tuple(torch.from_numpy(values) for values in feeds.values())

    def taught() -> Iterable[tuple[torch.Tensor, ...]]:
        """What a model of several graphs is trained on: the second one reads what the first one says."""
        loader = session.learning.loader(part, session.spec, preset.batch_size)
        yield from (as_tuple(inputs) for k, (inputs, _) in enumerate(loader) if k % world == rank)

    def batches() -> Iterable[tuple[torch.Tensor, ...]]:
        return counted(itertools.islice(every_batch(), rank, None, world) if graph.single else taught())

    ratios: dict[str, float] = {}
    notes: list[str] = []
    samples = _samples_of_file(session, graph, every_batch)

    def calibrate() -> None:
        graph.calibrate_weights(preset.weights)
        ratios.clear()
        ratios.update(calibrate_parts(graph, batches, estimator=preset.estimator, percentile=preset.percentile))
        if samples:
            notes[:] = [file_ranges.take_over(session.built.module, graph.graphs[MAIN], samples)]

    graph.spread_channels(batches)
    calibrate()
    if session.recipe.quantize.equalize and scheme.is_integer:
        gain = graph.equalize(batches, calibrate)
        if gain is not None:
            say(
                f"{scheme.name}: the channels of {gain.groups} groups of layers were equalized, which raises the "
                f"outputs' ratio of signal to quantization noise from {gain.before_db:.1f} to {gain.after_db:.1f} dB"
            )

    for note in notes:
        say(f"{scheme.name}: {note}")
    if preset.reconstruct:
        _reconstruct(graph, list(batches()), say)

    _say_estimator(scheme, ratios, say)
    return graph


def _say_estimator(scheme: Scheme, ratios: dict[str, float], say: Say) -> None:
    """Say which estimator of ranges was chosen, where several were compared."""
    if ratios:
        first = next(iter(ratios))
        measured = ", ".join(f"{name} {ratio:.1f} dB" for name, ratio in ratios.items())
        say(f"{scheme.name}: ranges by the estimator {first} (signal to quantization noise of the outputs: {measured})")


def _samples_of_file(
    session: Session, graph: QuantizedParts, batches: Callable[[], Iterable[tuple[torch.Tensor, ...]]]
) -> list[tuple[torch.Tensor, ...]]:
    """Samples, one a batch, by which the ranges in the model's file find their values; [] where it has none, or where
    training has changed the weights that they are of."""
    trained = session.recipe.train.epochs > 0 or session.own_model
    if trained or not graph.single or not graph.scheme.is_integer or not file_ranges.has_ranges(session.built.module):
        return []

    rows = (tuple(t[at : at + 1] for t in batch) for batch in batches() for at in range(len(batch[0])))
    return list(itertools.islice(rows, file_ranges.SAMPLES))


def _reconstruct(graph: QuantizedParts, batches: Sequence[tuple[torch.Tensor, ...]], say: Say) -> None:
    """Choose the rounding of the weights by the layers' outputs, and say what came of it."""
    with phase(f"{graph.scheme.name}: reconstructing layers"):
        result = graph.reconstruct(batches)

    if result is None:
        why = "at least two batches of samples are needed" if graph.single else "the model has several graphs"
        say(f"{graph.scheme.name}: no layer was reconstructed: {why}")
        return

    figures = (
        f"the outputs' ratio of signal to quantization noise is {result.after_db:.1f} dB on held-out samples, and "
        f"{result.before_db:.1f} dB where every weight goes to its nearest neighbour"
    )
    outcome = "were reconstructed" if result.kept else "were reconstructed without a gain and stay as calibrated"
    say(f"{graph.scheme.name}: {result.layers} layers {outcome}: {figures}")


def as_tuple(inputs: Any) -> tuple[torch.Tensor, ...]:
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
