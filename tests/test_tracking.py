"""A run in MLflow and in TensorBoard: parameters, epochs, rows, and after the export gates and the bundle."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapes_run

import edgeft
from edgeft.config import recipe
from edgeft.core.errors import Missing, RecipeError, RunError
from edgeft.session import trackers

pytest.importorskip("torch")


def recipe_for(data: Path, tracker: str) -> recipe.Recipe:
    table = shapes_run.recipe_of(data, train={"epochs": 2, "tracker": tracker}, export={"targets": ["host"]})
    return recipe.from_table(table, "the test")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return shapes_run.write_data(folder / "shapes.npz", counts={"train": 90, "val": 30, "test": 60})


def figures_of(summary: dict[str, Any], report: dict[str, Any]) -> dict[str, float]:
    gate = next(gate for gate in report["gates"] if gate["name"] == "accuracy")
    rows = {f"test/{key}": summary[key] for key in ("float", "ptq", "quantized")}
    return {
        **rows,
        "host/accuracy.accuracy.quantized": gate["quantized"],
        "host/size.quantized_bytes": report["size"]["quantized_bytes"],
    }


@pytest.mark.slow
def test_mlflow_has_the_run_its_gates_and_its_bundle(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    store = f"file:{tmp_path / 'store'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(store)
    summary = edgeft.tune(recipe_for(data, "mlflow"), tmp_path / "run")
    (report,) = edgeft.export(tmp_path / "run", ["host"], tmp_path / "bundles")

    client = mlflow.MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "shapes"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["train.lr"] == "0.005"
    for name, value in figures_of(summary, report).items():
        assert run.data.metrics[name] == pytest.approx(value, rel=1e-6), name
    epochs = client.get_metric_history(run.info.run_id, "float/validation")
    assert len(epochs) == 2
    assert run.data.tags["host.verdict"] == report["verdict"]
    kept = Path(client.download_artifacts(run.info.run_id, "bundles/host"))
    for file in ("report.html", "manifest.json", "model.onnx"):
        assert (kept / file).read_bytes() == (tmp_path / "bundles/host" / file).read_bytes()

    # a run that is taken up again goes on in the same run of MLflow
    edgeft.tune(recipe_for(data, "mlflow"), tmp_path / "run", resume=True)
    assert len(client.search_runs([experiment.experiment_id])) == 1


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log in blocks of 32 KiB, behind a header of 7 bytes."""
    at, parts = 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


@pytest.mark.slow
def test_wandb_has_the_run_its_gates_and_its_bundle_offline(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline a run is a file of records."""
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    lines: list[str] = []
    summary = edgeft.tune(recipe_for(data, "wandb"), tmp_path / "run")
    (report,) = edgeft.export(tmp_path / "run", ["host"], tmp_path / "bundles", say=lines.append)
    assert not [line for line in lines if "wandb" in line]
    wandb.teardown()  # what it writes in the background is written

    figures: dict[str, Any] = {}
    artifacts: dict[str, set[str]] = {}
    names: set[str] = set()
    config: set[str] = set()
    for file in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")):
        for content in wandb_records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            names |= {record.run.run_id} - {""}
            config |= {item.key for item in record.config.update}
            for item in (*record.history.item, *record.summary.update):
                figures["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            artifact = record.request.log_artifact.artifact if record.HasField("request") else record.artifact
            if artifact.name:
                artifacts[artifact.type] = {entry.path for entry in artifact.manifest.contents}

    for name, value in figures_of(summary, report).items():
        assert figures[name] == pytest.approx(value, rel=1e-6), name
    assert len(names) == 1, "the export adds to the run of tune"
    assert "float/validation" in figures and figures["host/verdict"] == report["verdict"] and "train.lr" in config
    assert artifacts["run"] == {"recipe.toml", "summary.json", "metrics.jsonl"}
    assert {"report.html", "manifest.json", "model.onnx"} <= artifacts["bundle"]


@pytest.mark.slow
def test_tensorboard_has_the_rows_and_the_gates(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    summary = edgeft.tune(recipe_for(data, "tensorboard"), tmp_path / "run")
    (report,) = edgeft.export(tmp_path / "run", ["host"], tmp_path / "bundles")
    scalars: dict[str, float] = {}
    texts: list[str] = []
    for folder in {file.parent for file in (tmp_path / "run/trackers").rglob("events.*")}:
        events = EventAccumulator(str(folder)).Reload()
        scalars |= {name: events.Scalars(name)[-1].value for name in events.Tags()["scalars"]}
        texts += events.Tags()["tensors"]
    for name, value in figures_of(summary, report).items():
        assert scalars[name] == pytest.approx(value, rel=1e-5), name
    assert "float/validation" in scalars and any("export/host" in name for name in texts)


def test_a_misspelt_tracker_is_answered() -> None:
    with pytest.raises(RecipeError, match="did you mean 'tensorboard'"):
        recipe.from_table({"train": {"tracker": "tensorbord"}}, "the test")


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    with pytest.raises(Missing, match="dvclive"):
        edgeft.tune(recipe_for(data, "dvclive"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_fails_costs_no_bundle(tmp_path: Path) -> None:
    said: list[str] = []
    report = {"target": "host", "verdict": "pass", "path": str(tmp_path), "gates": []}
    trackers.exported(tmp_path, "mlflow", [report], said.append)
    assert len(said) == 1 and "mlflow has no record of host" in said[0]
    trackers.exported(tmp_path, "", [report], said.append)
    assert len(said) == 1


def test_where_a_run_is_kept(tmp_path: Path) -> None:
    assert trackers.remembered(tmp_path, "mlflow") == {}
    trackers.remember(tmp_path, "mlflow", {"run_id": "7", "tracking_uri": "file:x"})
    assert trackers.remembered(tmp_path, "mlflow") == {"run_id": "7", "tracking_uri": "file:x"}
    (tmp_path / "trackers/mlflow.json").write_text(json.dumps(["7"]))
    assert trackers.remembered(tmp_path, "mlflow") == {}


def test_the_names_of_figures() -> None:
    gate = {"name": "accuracy", "metric": "mAP@[.5:.95]", "float": 0.5, "quantized": 0.25, "drop": None}
    report = {"target": "host", "gates": [gate], "latency": {"float_ms": 1.0, "where": "host"}, "size": None}
    assert dict(trackers.figures(report)) == {
        "host/accuracy.mAP-.5-.95-.float": 0.5,
        "host/accuracy.mAP-.5-.95-.quantized": 0.25,
        "host/latency.float_ms": 1.0,
    }


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_mlflow_takes_the_figures_of_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A report that 0.1.0 wrote, in both stores that need no server."""
    mlflow = pytest.importorskip("mlflow")
    if scheme == "sqlite":
        pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = f"file:{tmp_path / 'store'}" if scheme == "file" else f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(store)
    run = client.create_run(client.create_experiment("x", artifact_location=f"file:{tmp_path / 'artifacts'}"))
    trackers.remember(tmp_path, "mlflow", {"run_id": run.info.run_id, "tracking_uri": store})
    bundle = Path(__file__).parent / "fixtures/0.1.0/host"
    report = {**json.loads((bundle / "report.json").read_text()), "path": str(bundle)}
    said: list[str] = []
    trackers.exported(tmp_path, "mlflow", [report], said.append)
    assert said == []
    metrics = client.get_run(run.info.run_id).data.metrics
    assert metrics == pytest.approx(dict(trackers.figures(report)))
    listed = {entry.path for entry in client.list_artifacts(run.info.run_id, "bundles/host")}
    assert "bundles/host/manifest.json" in listed


def test_a_tracker_that_cannot_be_opened_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-store://nowhere")
    with pytest.raises(RunError, match="mlflow cannot open a run") as caught:
        edgeft.tune(recipe_for(data, "mlflow"), tmp_path / "run")
    assert "train.tracker" in caught.value.remedy
