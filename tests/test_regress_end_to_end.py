"""Models of any inputs and outputs: a finished .onnx file on arrays and pictures, and one that learns from targets."""

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
for package in ("onnx", "onnxruntime", "ai_edge_litert", "litert_torch"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import edgeft  # noqa: E402
from edgeft.core.errors import DataError, ModelError, RecipeError, UsageError  # noqa: E402

nn, onnx, helper = torch.nn, pytest.importorskip("onnx"), pytest.importorskip("onnx.helper")


class Depth(nn.Module):
    """A map and a vector from four channels and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 8, 2, 2), nn.ReLU(), nn.Conv2d(8, 1, 3, 1, 1))
        self.pose = nn.Linear(16, 5)

    def forward(self, picture: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(picture)
        return self.up(features) * scale[:, :, None, None], self.pose(features.mean((2, 3)))


def write(
    module: nn.Module, path: Path, example: tuple[torch.Tensor, ...], inputs: list[str], outputs: list[str]
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {name: {0: "batch"} for name in (*inputs, *outputs)}
        torch.onnx.export(
            module.eval(), example, str(path), dynamo=False, input_names=inputs, output_names=outputs, dynamic_axes=axes
        )
    return path


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx with two inputs and two outputs, data/ with 40 samples of it."""
    folder = tmp_path_factory.mktemp("arrays")
    torch.manual_seed(0)
    example = torch.rand(1, 4, 16, 24), torch.rand(1, 1)
    write(Depth(), folder / "model.onnx", example, ["picture", "scale"], ["depth", "pose"])
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    for i in range(40):
        picture = (rng.normal(size=(4, 1, 1)) * rng.random((4, 16, 24)).cumsum(2) / 8).astype(np.float32)
        np.savez(folder / "data" / f"{i:02d}.npz", scale=rng.random(1) + 1, picture=picture)
    return folder


@pytest.mark.slow
def test_a_file_of_several_inputs_and_outputs(arrays: Path, tmp_path: Path) -> None:
    reports = edgeft.export(
        arrays / "model.onnx",
        ["rpi5", "host"],
        tmp_path / "bundles",
        data=arrays / "data",
        overrides=["gates.min_speedup=0"],
    )
    sample = arrays / "data" / "03.npz"
    with np.load(sample) as stored, torch.no_grad():
        session = pytest.importorskip("onnxruntime").InferenceSession(str(arrays / "model.onnx"))
        feeds = {key: stored[key].astype(np.float32)[None] for key in ("picture", "scale")}
        expected = dict(zip(("depth", "pose"), session.run(None, feeds)))
    for report in reports:
        gates = {gate["name"]: gate for gate in report["gates"]}
        failed = [gate["why"] for gate in report["gates"] if gate["verdict"] == "fail"]
        assert report["verdict"] == "pass" and gates["agreement"]["n"] == 20, (report["target"], failed)
        assert gates["accuracy"]["verdict"] == "unverified"
        out = tmp_path / f"out-{report['target']}"
        (result,) = edgeft.predict(report["path"], [sample], out=out)
        assert [row["name"] for row in result["outputs"]] == ["depth", "pose"]
        for name, values in expected.items():
            written = np.load(out / f"03.{name}.npy")
            assert written.shape == values.shape[1:]
            assert np.sqrt(np.square(written - values[0]).mean()) < 0.1 * max(values.std(), 0.05)
        with image.open(out / "03.depth.png") as drawn:
            assert drawn.size == (12, 8)

        run = subprocess.run(
            [sys.executable, str(Path(report["path"]) / "run.py"), str(sample)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert result["label"] in run.stdout
    with pytest.raises(DataError, match="have no targets"):
        edgeft.verify(reports[-1]["path"], data=arrays / "data")


def test_inputs_that_pictures_do_not_fill_are_named_with_what_to_do(arrays: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "pictures" / "0.png")
    with pytest.raises(ModelError, match="has 2 inputs") as failure:
        edgeft.export(arrays / "model.onnx", ["host"], tmp_path / "b", data=tmp_path / "pictures")
    assert "arrays are called picture and scale" in str(failure.value.remedy)

    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("Cast", ["x"], ["y"], to=1)],
            "bytes",
            [helper.make_tensor_value_info("x", 2, [1, 8, 8, 3])],
            [helper.make_tensor_value_info("y", 1, [1, 8, 8, 3])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(proto, tmp_path / "bytes.onnx")
    np.savez(tmp_path / "bytes.npz", inputs=np.zeros((40, 8, 8, 3), np.uint8))
    with pytest.raises(RecipeError, match="uint8") as failure:
        edgeft.export(tmp_path / "bytes.onnx", ["host"], tmp_path / "b", data=tmp_path / "bytes.npz")
    assert "with a float32 input" in str(failure.value.remedy)


def test_a_map_of_pictures(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1), nn.Sigmoid())
    file = write(net, tmp_path / "map.onnx", (torch.rand(1, 3, 32, 32),), ["x"], ["heat"])
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(40):
        small = rng.integers(0, 255, (4, 4, 3), np.uint8)
        image.fromarray(small).resize((32, 32)).save(tmp_path / "pictures" / f"{i}.png")
    (report,) = edgeft.export(
        file, ["host"], tmp_path / "b", data=tmp_path / "pictures", overrides=["gates.min_speedup=0"]
    )
    assert report["verdict"] == "pass" and report["task"] == "regress"
    (result,) = edgeft.predict(report["path"], [tmp_path / "pictures" / "3.png"], out=tmp_path / "o")
    assert result["outputs"][0]["shape"] == [1, 32, 32] and result["outputs"][0]["min"] >= 0, "the sigmoid stays"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is an empty folder"):
        edgeft.export(file, ["host"], tmp_path / "c", data=tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        edgeft.export(file, ["host"], tmp_path / "c", data=tmp_path / "absent")
    with pytest.raises(UsageError, match="are about pictures"):
        np.savez(tmp_path / "d.npz", inputs=np.zeros((40, 3, 32, 32), np.float32))
        edgeft.export(file, ["host"], tmp_path / "c", data=tmp_path / "d.npz", preprocessing={"size": (32,)})


NET = """
from torch import nn
def make():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
"""


def test_it_learns_from_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise is taken off small pictures, some of whose pixels are not known."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    clean = rng.random((160, 1, 3, 3), np.float32).repeat(4, 2).repeat(4, 3)
    targets = clean.copy()
    targets[:, :, 0, 0] = np.nan
    np.savez("d.npz", inputs=clean + rng.normal(0, 0.2, clean.shape), targets=targets)
    Path("net.py").write_text(NET)
    Path("recipe.toml").write_text(
        'task = "regress"\n[model]\nsource = "python"\nname = "net.py:make"\n'
        '[data]\nformat = "tensors"\npath = "d.npz"\n'
        "[train]\nepochs = 12\nlr = 1e-2\nbatch_size = 16\n[quantize]\nepochs = 1\n"
        '[export]\ntargets = ["host"]\n[gates]\nmin_speedup = 0\n'
    )
    summary = edgeft.tune("recipe.toml", "run", allow_code=True)
    assert summary["float"] < 0.7 * summary["chance"]
    (report,) = edgeft.export("run", allow_code=True)
    assert report["verdict"] == "pass", json.dumps(report["gates"], indent=1)[:3000]
    accuracy = next(gate for gate in report["gates"] if gate["name"] == "accuracy")
    assert accuracy["metric"] == "mean absolute error" and accuracy["n"] == 24
