"""A finished .onnx file through `edgeft export`, without a recipe: pictures with and without labels, three runtimes."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import edgeft  # noqa: E402
from edgeft.core.errors import ModelError, RecipeError, UsageError  # noqa: E402

COLOURS = ("red", "green", "blue")


def _net() -> torch.nn.Module:
    """Tells which colour a picture has most of, with some noise in its weights."""
    nn = torch.nn
    torch.manual_seed(0)
    first, second, head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Linear(8, 3)
    with torch.no_grad():
        for layer in (first, second, head):
            layer.weight.mul_(0.1)
        for channel in range(3):
            first.weight[channel, channel, 1, 1] = second.weight[channel, channel, 0, 0] = 1.0
            head.weight[channel, channel] = 8.0
    body = first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.ReLU6()
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head, nn.Softmax(1)).eval()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx, flat/ (72 pictures without labels), classes/ (the same ones in folders of their colours)."""
    folder = tmp_path_factory.mktemp("finished")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _net(), (torch.rand(1, 3, 32, 32),), str(folder / "model.onnx"), dynamo=False, opset_version=13,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}},
        )  # fmt: skip
    rng = np.random.default_rng(0)
    (folder / "flat").mkdir()
    for number in range(72):
        pixels = rng.integers(0, 190, (32, 32, 3))
        pixels[..., number % 3] += 60
        picture = image.fromarray(pixels.astype(np.uint8))
        of_class = folder / "classes" / COLOURS[number % 3]
        of_class.mkdir(parents=True, exist_ok=True)
        for path in (folder / "flat" / f"{number}.png", of_class / f"{number}.png"):
            picture.save(path)
    (folder / "names.txt").write_text("\n".join(COLOURS))
    return folder


def _gate(report: dict, name: str) -> dict:
    return next(gate for gate in report["gates"] if gate["name"] == name)


def test_auto_holds_pictures_out_to_judge_layers_by(place, tmp_path):
    (report,) = edgeft.export(
        place / "model.onnx",
        ["host"],
        tmp_path / "bundles",
        data=place / "flat",
        overrides=["quantize.method=auto", "gates.min_speedup=0"],
    )
    auto = report["details"]["auto"]
    assert auto["verdict"] == "pass" and 13 <= auto["n"] <= 15, "a fifth of 72"
    assert auto["limit"] is None and auto["min_agreement"] == 0.9 and auto["path"][0]["agreement"] >= 0.9
    assert 27 <= _gate(report, "agreement")["n"] <= 30


def test_pictures_without_labels_give_verified_bundles_of_every_runtime(place, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    pytest.importorskip("litert_torch", reason="litert_torch is not installed")
    said: list[str] = []
    reports = edgeft.export(
        place / "model.onnx",
        ["host", "host-litert", "intel-nuc"],
        tmp_path / "bundles",
        data=place / "flat",
        preprocessing={"mean": (0.5,), "std": (0.5,)},
        overrides=["gates.min_speedup=0"],
        say=said.append,
    )
    assert [report["backend"] for report in reports] == ["onnxruntime", "litert", "openvino"]
    assert any("no labels" in line for line in said) and any("times 1/255, less 0.5" in line for line in said)
    for report in reports:
        assert report["verdict"] == "pass" and report["unverified"] == ["accuracy (no labels)"]
        accuracy, agreement = _gate(report, "accuracy"), _gate(report, "agreement")
        assert accuracy["verdict"] == "unverified" and accuracy["float"] is None and "no labels" in accuracy["why"]
        assert agreement["verdict"] == "pass" and agreement["n"] == 35 and agreement["limit"] == 0.9
        assert report["int8_share"] == 1.0 and not report.get("per_class")
        manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
        assert manifest["figures"]["float"] is None and manifest["labels"] == ["0", "1", "2"]
        assert manifest["preprocess"]["mean"] == [0.5] * 3

    bundle = Path(reports[0]["path"])
    answers = edgeft.predict(bundle, [place / "classes" / "green" / "1.png", place / "classes" / "blue" / "2.png"])
    assert [answer["label"] for answer in answers] == ["1", "2"]
    assert _gate(edgeft.verify(bundle), "accuracy")["verdict"] == "advisory"


@pytest.mark.slow
def test_pictures_in_folders_of_classes_give_the_metric_by_the_command(place, tmp_path):
    command = [sys.executable, "-m", "edgeft", "export", "model.onnx", "--data", "classes", "--names", "names.txt"]
    options = ["--target", "host", "--out", str(tmp_path / "bundles"), "--set", "gates.min_speedup=0", "--json"]
    done = subprocess.run([*command, *options], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    accuracy = _gate(report, "accuracy")
    assert accuracy["verdict"] == "pass" and accuracy["float"] > 0.9 and accuracy["n"] == 36
    assert report["unverified"] == [] and set(report["per_class"]) == set(COLOURS)

    verified = edgeft.verify(tmp_path / "bundles" / "host", place / "classes")
    assert _gate(verified, "accuracy")["n"] == 72


def test_a_class_without_pictures_and_folders_that_are_no_classes(place, tmp_path):
    """Of a model's classes some may have no picture; folders that are none of its classes are no labels."""
    from edgeft import data
    from edgeft.config.recipe import Data

    names = tmp_path / "names.txt"
    names.write_text("\n".join([*COLOURS, "violet", "white"]))
    options = {"classes": 5, "names": str(names)}
    labelled = data.open(Data("pictures", str(place / "classes"), options=options), "classify")
    assert len(labelled.labels) == 5 and set(labelled.split("train").classes) == {0, 1, 2} and not labelled.unlabelled
    other = data.open(Data("pictures", str(place / "classes"), options={"classes": 5}), "classify")
    assert other.unlabelled and other.split("test").classes is None and "no labels" in other.notes[0]


def test_a_recipe_quantizes_a_model_with_pictures_that_have_no_labels(place, tmp_path):
    table = {
        "model": {"source": "onnx", "name": str(place / "model.onnx")},
        "data": {"format": "pictures", "path": str(place / "flat"), "classes": 3},
        "train": {"epochs": 0},
        "quantize": {"method": "ptq"},
        "export": {"targets": ["host"]},
    }
    summary = edgeft.tune(table, tmp_path / "run")
    assert summary["unlabelled"] is True and summary["steps"] == 0 and summary["float"] == 1.0
    (report,) = edgeft.export(tmp_path / "run", out=tmp_path / "bundles")
    assert _gate(report, "accuracy")["verdict"] == "unverified" and _gate(report, "agreement")["n"] == summary["n"]
    with pytest.raises(RecipeError, match="no labels to train on"):
        edgeft.tune({**table, "train": {"epochs": 1}}, tmp_path / "other")


def test_what_is_missing_is_asked_for_before_anything_is_written(place, tmp_path):
    out, model = tmp_path / "bundles", place / "model.onnx"
    with pytest.raises(UsageError, match="needs pictures"):
        edgeft.export(model, ["host"], out)
    with pytest.raises(UsageError, match="name a board"):
        edgeft.export(model, (), out, data=place / "flat")
    with pytest.raises(UsageError, match="belong to a finished"):
        edgeft.export(tmp_path, ["host"], out, data=place / "flat")
    with pytest.raises(RecipeError, match="takes 32 x 32"):
        edgeft.export(model, ["host"], out, data=place / "flat", preprocessing={"size": (64, 64)})
    with pytest.raises(RecipeError, match="one number a channel"):
        edgeft.export(model, ["host"], out, data=place / "flat", preprocessing={"mean": (0.0, 0.0)})
    with pytest.raises(UsageError, match="above 0"):
        edgeft.export(model, ["host"], out, data=place / "flat", preprocessing={"std": (0.0,)})
    with pytest.raises(ModelError, match="no such file"):
        edgeft.export(tmp_path / "none.onnx", ["host"], out, data=place / "flat")
    assert not out.exists()


class _OfBytes(torch.nn.Module):
    """Takes pictures of uint8 with the channels last, and scales them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = _net()[:-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net((x.float() / 255 - 0.5).permute(0, 3, 1, 2) / 0.25 + 2)


def test_pictures_of_uint8_that_the_file_scales_itself(place, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
        torch.onnx.export(_OfBytes().eval(), (example,), str(tmp_path / "bytes.onnx"), dynamo=False, opset_version=13)

    with pytest.raises(UsageError, match="scales them itself"):
        edgeft.export(tmp_path / "bytes.onnx", ["host"], data=place / "flat", preprocessing={"mean": (0.5,)})

    options = {"data": place / "classes", "preprocessing": {"names": place / "names.txt"}}
    limits = ["gates.min_speedup=0"]
    (report,) = edgeft.export(tmp_path / "bytes.onnx", ["host"], tmp_path / "bundles", overrides=limits, **options)
    accuracy = _gate(report, "accuracy")
    assert report["verdict"] == "pass" and accuracy["float"] > 0.9 and report["int8_share"] == 1.0
    spec = json.loads((Path(report["path"]) / "manifest.json").read_text())["preprocess"]
    assert spec["mean"] == [0.0] * 3 and np.allclose(spec["std"], 1 / 255), "pixels come as 0 to 255"
