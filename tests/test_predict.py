"""predict: files in, what the bundle sees out."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle

from edgeft.bundle import reader as bundle
from edgeft.cli.entry import run as command
from edgeft.core.errors import BundleError, DataError, Missing, UsageError
from edgeft.inputs import columns
from edgeft.plugins import TASKS
from edgeft.predict import _of_standard_input, apart, predict


def arrays(folder: Path) -> list[str]:
    for level in tiny_bundle.LEVELS:
        np.save(folder / f"{level}.npy", tiny_bundle.pixels(level))
    return [str(folder / f"{level}.npy") for level in tiny_bundle.LEVELS]


@pytest.mark.parametrize("backend", tiny_bundle.BACKENDS)
def test_every_input_gets_its_label(tmp_path: Path, backend: str) -> None:
    inputs = arrays(tmp_path)
    results = predict(tiny_bundle.build(tmp_path, backend), inputs, top=2)
    assert [result["input"] for result in results] == inputs
    assert [result["label"] for result in results] == list(tiny_bundle.LEVELS.values())
    assert all(len(result["top"]) == 2 and 1 / 3 <= result["confidence"] <= 1 for result in results)
    json.dumps(results, allow_nan=False)


def test_photos_of_any_size_and_colour(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="pillow reads images")
    pillow.fromarray(tiny_bundle.pixels(240, (60, 80, 3))).save(tmp_path / "day.jpg")
    pillow.fromarray(tiny_bundle.pixels(15, (9, 7))).save(tmp_path / "night.png")
    opened = bundle.open(tiny_bundle.build(tmp_path))
    day, night = predict(opened, [str(tmp_path / "day.jpg"), str(tmp_path / "night.png")])
    assert (day["label"], night["label"]) == ("bright", "dark")


def test_a_wrong_input_is_named(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path)
    with pytest.raises(DataError, match=r"absent\.png: no such file"):
        predict(path, [str(tmp_path / "absent.png"), str(tmp_path / "other.png")])
    with pytest.raises(UsageError, match="no input"):
        predict(path, [])


def test_the_inputs_that_can_be_read_are_answered(tmp_path: Path, capfd: Any) -> None:
    path = tiny_bundle.build(tmp_path)
    good, *_, last = arrays(tmp_path)
    (tmp_path / "words.npy").write_text("no array")
    inputs = [good, str(tmp_path / "absent.png"), last, str(tmp_path / "words.npy")]
    results = predict(path, inputs)
    assert [result["input"] for result in results] == inputs
    assert [result.get("label") for result in results] == ["dark", None, "bright", None]
    assert [result["error"]["error"] for result in results if "error" in result] == ["DataError", "DataError"]

    assert command(["predict", str(path), *inputs]) == 3
    out, err = capfd.readouterr()
    assert [line.split()[:2] for line in out.splitlines()] == [[good, "dark"], [last, "bright"]]
    assert "absent.png: no such file" in err and "words.npy" in err and err.count("error: ") == 2
    assert command(["predict", str(path), *inputs, "--json", "-q"]) == 3
    out, err = capfd.readouterr()
    assert len(json.loads(out)["predictions"]) == 4 and "absent.png" in err


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"preprocess": {**tiny_bundle.SPEC, "std": [0.0]}}, "preprocess.std"),
        ({"preprocess": {**tiny_bundle.SPEC, "input": "z"}}, "z"),
        ({"preprocess": {**tiny_bundle.SPEC, "layout": "NHWC"}}, "shape"),
        ({"labels": ["dark", "bright"]}, "labels"),
    ],
)
def test_a_manifest_that_does_not_fit_its_model(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    path = tiny_bundle.build(tmp_path, **changes)
    with pytest.raises(BundleError, match=named):
        predict(path, arrays(tmp_path))


def test_an_unknown_task_and_runtime(tmp_path: Path) -> None:
    inputs = arrays(tmp_path)
    path = tiny_bundle.build(tmp_path / "a")
    table = json.loads((path / "manifest.json").read_text())
    nearest, package = "did you mean 'classify'?", "install the package other 1.0, which brings it"
    for plugins, remedy in (
        ({}, nearest),
        ({"task": "other 1.0"}, package),
        ("other", nearest),
        ({"task": 1}, nearest),
    ):
        tiny_bundle.forge(path, {**table, "task": "clasify", "provenance": {"plugins": plugins}})
        with pytest.raises(Missing, match="the task 'clasify' is not installed here") as caught:
            predict(path, inputs)
        assert caught.value.remedy == remedy and caught.value.where == f"{path / 'manifest.json'}: task"

    path = tiny_bundle.build(tmp_path / "b")
    table = json.loads((path / "manifest.json").read_text())
    runtime = {**table["runtime"], "name": "tensorrt"}
    tiny_bundle.forge(path, {**table, "backend": "tensorrt", "runtime": runtime})
    with pytest.raises(UsageError, match="unknown runtime 'tensorrt'"):
        predict(path, inputs)


def test_real_photos_on_a_published_model(tmp_path: Path) -> None:
    """MLPerf Tiny's int8 ResNet-8 on its 200 CIFAR-10 photos: 85.0 % in LiteRT, 86.5 % in tflite-runtime 2.14."""
    data = Path(os.environ.get("EDGEFT_DATA", "absent")) / "09_mlperf_tiny"
    if not data.is_dir():
        pytest.skip("EDGEFT_DATA has no 09_mlperf_tiny")
    tiny_bundle.usable("litert")
    with np.load(data / "ic01_perf_200.npz") as archive:
        photos, truth = archive["x"], archive["y"]
    staging = tmp_path / "staging"
    manifest = tiny_bundle.stage(staging, "litert")
    shutil.copy(data / "models" / "pretrainedResnet_quant.tflite", staging / "model.tflite")
    (staging / "samples.npz").unlink()
    graph = manifest["graphs"][0]
    graph["inputs"][0].update(shape=[1, 32, 32, 3], layout="NHWC")
    graph["outputs"][0].update(shape=[1, 10])
    spec = {**tiny_bundle.SPEC, "size": [32, 32], "channels": 3, "mean": [0.0] * 3, "std": [1.0] * 3, "scale": 1.0}
    labels = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    bundle.write(staging, {**manifest, "labels": labels, "preprocess": {**spec, "layout": "NHWC"}})
    inputs = [str(tmp_path / f"{i}.npy") for i in range(len(photos))]
    for name, photo in zip(inputs, photos):
        np.save(name, photo)
    results = predict(staging, inputs)
    right = np.mean([result["label"] == labels[index] for result, index in zip(results, truth)])
    assert 0.84 <= right <= 0.87


def test_a_board_loads_numpy_alone() -> None:
    modules = "edgeft.predict, edgeft.tasks.classify.decoding"
    code = f"import sys, {modules}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"torch", "onnx", "onnxruntime", "openvino", "tensorflow", "PIL", "scipy", "ai_edge_litert"}


def test_pictures_of_a_task_that_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no files of its predictions"):
        predict(tiny_bundle.build(tmp_path), arrays(tmp_path), out=tmp_path / "seen")
    assert not (tmp_path / "seen").exists()


def standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_holds_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS.get("tabular")
    learned = columns.learned(("size", "kind"), [("1", "a"), ("3", "b")])
    spec = columns.configure(None, {}, {"columns": learned}, print)
    standard_input(monkeypatch, b"kind;size\na;3\nb;x\n")
    (first, (_, feed)), (second, error) = _of_standard_input(task, spec)
    assert (first, second) == ("-:2", "-:3") and feed["x"].tolist() == [[1, 1, 0]]
    assert isinstance(error, DataError) and error.where == "-:3"
    standard_input(monkeypatch, b"kind,size\na,3\n")
    [(name, (_, feed))] = _of_standard_input(task, spec)
    assert name == "-" and feed["x"].tolist() == [[1, 1, 0]]
    standard_input(monkeypatch, b"other\n1\n")
    [(name, error)] = _of_standard_input(task, spec)
    assert name == "-" and isinstance(error, DataError) and "/" not in str(error.where)


def test_standard_input_holds_rows_of_numbers_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"kind": "vector", "size": [2], "input": "x", "mean": [0, 0], "std": [1, 1]}
    standard_input(monkeypatch, b"0.5, -2\n\nwords\n")
    (first, (_, feed)), (second, error) = _of_standard_input(TASKS.get("control"), spec)
    assert (first, second) == ("-:1", "-:3") and feed["x"].tolist() == [[0.5, -2]]
    assert isinstance(error, DataError) and error.where == "-:3"
    for content, message in ((b" \n", "is empty"), (b"\xff\xfe1", "is no UTF-8 text")):
        standard_input(monkeypatch, content)
        with pytest.raises(DataError, match=message):
            _of_standard_input(TASKS.get("control"), spec)


def test_standard_input_is_no_picture_and_goes_with_no_other_process(tmp_path: Path) -> None:
    opened = bundle.open(tiny_bundle.build(tmp_path))
    with pytest.raises(UsageError, match="the task classify reads files"):
        predict(opened, ["-"])
    with pytest.raises(UsageError, match="does not go with --untrusted"):
        apart(opened, ["-"])


@pytest.mark.parametrize("words", ["-0.5, 0.2", "-.5", "-1"])
def test_an_input_may_begin_with_a_minus_sign(words: str, tmp_path: Path, capfd: Any) -> None:
    path = tiny_bundle.build(tmp_path)
    assert command(["predict", str(path), words]) == 3, "no file, and no option"
    assert f"{words}: no such file" in capfd.readouterr().err
    assert command(["predict", str(path), "-x"]) == 2
    assert "`--`" in capfd.readouterr().err
