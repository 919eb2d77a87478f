"""What quantizing each layer costs: the noise and the metric of single layers, on validation samples alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapes_run
import torch

from edgeft.config import recipe
from edgeft.core.errors import DataError
from edgeft.quantize.parts import QuantizedParts
from edgeft.session.calibration_data import calibrated
from edgeft.session.sensitivity import Sensitivity, sensitivity
from edgeft.session.session import Session, open_session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    torch.set_num_threads(1)
    data = shapes_run.write_data(tmp_path_factory.mktemp("data") / "shapes.npz")
    table = shapes_run.recipe_of(data, export={"targets": ["host"]})
    return open_session(recipe.from_table(table, "recipe"))


@pytest.fixture
def graph(session: Session) -> QuantizedParts:
    (scheme,) = session.schemes.values()
    return calibrated(session, session.capture(session.built.module), scheme)


def measured(session: Session, graph: QuantizedParts, samples: int = 32) -> Sensitivity:
    """With the validation split alone: any other split that was read would be an error."""
    (only,) = (session.dataset.split(name) for name in ("val",))
    dataset = dataclasses.replace(session.dataset, splits={"val": only})
    judged = SimpleNamespace(task=session.task, learning=session.learning, dataset=dataset, spec=session.spec)
    return sensitivity(judged, graph, samples)


def test_noise_metric_and_loss_are_those_of_whole_passes(session: Session, graph: QuantizedParts) -> None:
    result = measured(session, graph)
    val = session.dataset.split("val")
    part = val.subset(np.unique(np.linspace(0, len(val) - 1, 32).astype(int)))
    assert result.n == len(part) == 32
    at = next(at for at in result.layers if at.layer.name == "layer2.0.conv1")
    assert at.activations is not None

    def outputs(names: tuple[str, ...]) -> torch.Tensor:
        graph.set_mode("off")
        for name in names:
            graph.module.get_submodule(name).mode = "quantize"
        values = torch.from_numpy(np.asarray(session.learning.predict(graph.module, part, session.spec, 32)))
        graph.set_mode("quantize")
        return values

    reference = outputs(())
    for effect, names in ((at.weights, at.layer.weights), (at.activations, at.layer.activations)):
        values = outputs(names)
        noise = float((values - reference).double().square().sum())
        ratio = 10 * math.log10(float(reference.double().square().sum()) / noise)
        assert effect.sqnr_db == pytest.approx(ratio, abs=0.01)
        assert effect.metric == pytest.approx(session.task.score({"output": values.numpy()}, part.targets))
        want = session.learning.loss(values, torch.from_numpy(part.targets))
        assert effect.loss == pytest.approx(float(want), abs=1e-5)


def test_a_coarse_weight_and_a_saturating_output_come_first(session: Session, graph: QuantizedParts) -> None:
    names = {at.layer.name for at in measured(session, graph).layers}
    assert names == {name.rsplit(".", 1)[0] for name in graph.weight_of}
    fake = graph.weights()["layer1.0.conv1.weight"]
    fake.set_scale(fake.scale() * 100)
    worst = measured(session, graph).layers[0]
    assert worst.layer.name == "layer1.0.conv1" and worst.activations is not None
    assert worst.weights.sqnr_db is not None and worst.activations.sqnr_db is not None
    assert worst.weights.sqnr_db < worst.activations.sqnr_db - 10, "it is the weights"

    fake.set_scale(fake.scale() / 100)
    last = next(at for at in measured(session, graph).layers if at.layer.name == "fc")
    output = graph.activations()[last.layer.activations[-1]]
    output.set_range(0.0, 1e-3)
    worst = measured(session, graph).layers[0]
    assert worst.layer.name == "fc" and worst.activations is not None
    assert worst.activations.sqnr_db is not None and worst.activations.sqnr_db < 3, "all of it is clipped"


def test_layers_of_level_noise_come_by_their_cost(session: Session, graph: QuantizedParts) -> None:
    rows = [(round(at.sqnr_db or 0.0), at.layer.macs) for at in measured(session, graph).layers]
    assert rows == sorted(rows) and len({noise for noise, _ in rows}) < len(rows), "some are level"


def test_a_layer_without_noise_is_last_and_says_so(session: Session, graph: QuantizedParts) -> None:
    with torch.no_grad():
        graph.module.get_parameter("fc.weight").zero_()
    result = measured(session, graph)
    by_name = {at.layer.name: at for at in result.layers}
    assert by_name["conv1"].sqnr_db is None and by_name["conv1"].as_dict()["weights"]["sqnr_db"] is None


def test_a_split_that_cannot_be_learned_from_has_no_loss(session: Session, graph: QuantizedParts) -> None:
    def loader(*arguments: object, **options: object) -> Iterator[Any]:
        raise DataError("holds no training interactions")

    learning = dataclasses.replace(session.learning, loader=loader)
    judged = SimpleNamespace(task=session.task, learning=learning, dataset=session.dataset, spec=session.spec)
    result = sensitivity(judged, graph, 8)
    assert {at.weights.loss for at in result.layers} == {None} and result.baseline.metric is not None
    assert all(at.weights.sqnr_db is not None for at in result.layers)


def test_data_without_validation_samples_is_refused(session: Session, graph: QuantizedParts) -> None:
    nothing = session.dataset.split("val").subset([])
    dataset = dataclasses.replace(session.dataset, splits={"val": nothing})
    judged = SimpleNamespace(task=session.task, learning=session.learning, dataset=dataset, spec=session.spec)
    with pytest.raises(DataError, match="val split has no samples"):
        sensitivity(judged, graph)
