"""The whole path as a user walks it: the command line on a real run and its bundles, and the same as a library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import shapes_run
from end_to_end import alterations_are_caught, exported_in, quick
from shapes_run import gate

import edgeft
from edgeft.cli.entry import run as command
from edgeft.config import recipe
from edgeft.report import text

ALL = pytest.mark.parametrize("name", shapes_run.TARGETS)
#: what a board does not have
HOST = ("torch", "torchvision", "torchao", "litert_torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript")


def ask(capfd: pytest.CaptureFixture[str], *argv: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one JSON object on stdout, and stderr."""
    code = command([*map(str, argv), "--json"])
    out, err = capfd.readouterr()
    assert out.count("\n") == 1 and "Traceback" not in err, (out, err)
    return code, json.loads(out), err


# -- another number format -----------------------------------------------------------------------------------------
@pytest.mark.slow
def test_fp16_of_a_run_for_a_cpu_and_for_the_first_jetsons_gpu(shapes, tmp_path):
    found = exported_in("fp16", shapes.run, ("host", "jetson-nano-gpu"), tmp_path / "fp16")
    for report in found:
        stored, size = gate(report, "integer", "float16_weights_share"), report["size"]
        assert stored["verdict"] == "pass" and stored["n"] >= 9
        assert size["quantized_bytes"] < 0.6 * size["float_bytes"]
        accuracy = gate(report, "accuracy")
        assert abs(accuracy["quantized"] - accuracy["float"]) <= 1 / accuracy["n"]
    assert "fp16" in text.render(found[0]) and "int8" not in text.render(found[0])
    script = (tmp_path / "fp16" / "jetson-nano-gpu" / "build_engine.sh").read_text()
    assert "precision=(--fp16)" in script and found[1]["unverified"]


@pytest.mark.parametrize("name", quick("host"))
def test_the_float_model_ships_like_any_other_and_says_so(shapes, exported, tmp_path, name):
    """A run holds the float model: no calibration is asked for."""
    settings = ["quantize.format=fp32", "quantize.embeddings=int8"]
    (report,) = edgeft.export(shapes.run, [name], tmp_path, overrides=settings)
    assert report["verdict"] == "pass" and report["format"] == "fp32" and report["int8_share"] is None
    assert gate(report, "accuracy")["drop"] == 0 and gate(report, "agreement")["quantized"] == 1
    assert gate(report, "integer", "float_files_share")["quantized"] == 1
    assert "This is the float model: nothing is quantized." in text.render(report)
    assert "This is the float model: nothing is quantized." in (tmp_path / name / "report.html").read_text()

    bundle = edgeft.load(tmp_path / name)
    (graph,) = bundle.manifest["graphs"]
    names = [bundle.runtime.files_of(graph[key]) for key in ("file", "baseline")]
    digests = [[bundle.manifest["files"][file]["sha256"] for file in files] for files in names]
    assert digests[0] == digests[1] and bundle.manifest["scheme"]["name"] == "fp32"

    # an int8 model under the name of the float one
    for file in names[0]:
        shutil.copyfile(exported.bundle(name) / file, tmp_path / name / file)
    shapes_run.seal(tmp_path / name)
    again = edgeft.verify(tmp_path / name)
    assert again["verdict"] == "fail"
    assert "is not the float baseline" in gate(again, "integer", "float_files_share")["why"]


@pytest.mark.slow
def test_w8_of_a_run_is_a_fraction_of_the_size_and_keeps_the_accuracy(shapes, tmp_path):
    found = exported_in("w8", shapes.run, ("host", "host-openvino", "host-litert"), tmp_path / "w8")
    for report in found:
        stored, accuracy = gate(report, "integer", "int8_weights_share"), gate(report, "accuracy")
        assert stored["verdict"] == "pass" and stored["n"] >= 9 and report["int8_share"] is None
        assert report["size"]["quantized_bytes"] < 0.5 * report["size"]["float_bytes"]
        assert abs(accuracy["quantized"] - accuracy["float"]) <= 2 / accuracy["n"]
        alterations_are_caught(report, tmp_path / report["target"])
    assert " w8 " in text.render(found[0])


@pytest.mark.slow
def test_w4_of_a_net_of_convolutions_has_four_bits_in_its_head_alone(shapes, tmp_path):
    (report,) = exported_in("w4", shapes.run, ("host",), tmp_path / "w4")
    accuracy = gate(report, "accuracy")
    assert abs(accuracy["quantized"] - accuracy["float"]) <= 2 / accuracy["n"] and report["int8_share"] is None
    ops = edgeft.load(report["path"]).runtime.emitted(tmp_path / "w4" / "host" / "model.onnx")["ops"]
    assert ops["com.microsoft.MatMulNBits"] == 1 and ops["DequantizeLinear"] >= 8


@pytest.mark.slow
def test_int16x8_of_a_run_loses_nothing_to_the_grid_of_its_activations(shapes, tmp_path):
    """In LiteRT's integer kernels; ONNX Runtime computes in float and is asked for no share of integers."""
    for report in exported_in("int16x8", shapes.run, ("host-litert", "host"), tmp_path / "int16x8"):
        accuracy, litert = gate(report, "accuracy"), report["backend"] == "litert"
        assert abs(accuracy["quantized"] - accuracy["float"]) <= 2 / accuracy["n"]
        assert (report["int8_share"] == 1) if litert else (report["int8_share"] is None)
        assert gate(report, "integer", "activation_scales")["n"] > 9
        if litert:
            alterations_are_caught(report, tmp_path)


# -- the command line on bundles -----------------------------------------------------------------------------------
@ALL
def test_verify_with_data_judges_accuracy_again(exported, shapes, capfd, name):
    code, found, _ = ask(capfd, "verify", exported.bundle(name), "--data", shapes.data)
    assert code == 0 and found["verdict"] == "pass", shapes_run.failed(found)
    before, now = (gate(report, "accuracy") for report in (exported.reports[name], found))
    assert now["verdict"] == "pass" and now["n"] == 120
    assert (now["float"], now["quantized"]) == (before["float"], before["quantized"])


def test_verify_without_data_shows_what_was_measured_before(exported, capfd):
    code, found, _ = ask(capfd, "verify", *(exported.bundle(name) for name in shapes_run.TARGETS[:2]))
    assert code == 0 and len(found["bundles"]) == 2
    for report in found["bundles"]:
        accuracy = gate(report, "accuracy")
        assert accuracy["verdict"] == "advisory" and not accuracy["required"] and "before: pass" in accuracy["why"]


def test_strict_fails_what_could_not_be_verified(exported, shapes, capfd):
    jetson = exported.bundle("jetson-orin-nano")
    code, found, _ = ask(capfd, "verify", jetson)
    assert code == 0 and found["verdict"] == "pass" and "trtexec" in found["unverified"][0]
    assert ask(capfd, "verify", jetson, "--strict")[0] == 1
    host = exported.bundle("host")
    assert ask(capfd, "verify", host, "--strict", "--data", shapes.data)[0] == 0
    code, found, _ = ask(capfd, "verify", host, "--strict")  # accuracy is required and was not measured again
    assert code == 1 and found["verdict"] == "pass" and found["not_repeated"] == ["accuracy", "agreement"]


def test_a_bundle_that_failed_at_export_never_verifies(exported, shapes, tmp_path, capfd):
    bundle = shutil.copytree(exported.bundle("host"), tmp_path / "host")
    report = json.loads((bundle / "report.json").read_text())
    accuracy = gate(report, "accuracy")
    accuracy |= {"verdict": "fail", "why": "drop 0.02 exceeds 0.01"}
    (bundle / "report.json").write_text(json.dumps({**report, "verdict": "fail"}))
    for options in ((), ("--strict",)):
        code, found, err = ask(capfd, "verify", bundle, *options)
        assert code == 1 and found["verdict"] == "fail" and gate(found, "accuracy")["recorded"] == "fail"
        assert "accuracy (recorded)" in err and "drop 0.02 exceeds 0.01" in err
    assert ask(capfd, "verify", bundle, "--data", shapes.data)[0] == 0


@ALL
def test_predict_sees_what_is_there(exported, shapes, tmp_path, capfd, name):
    pillow = pytest.importorskip("PIL.Image")
    with np.load(shapes.data) as archive:
        images, targets = archive["test_images"][:12], archive["test_labels"][:12]
    for i, image in enumerate(images):
        pillow.fromarray(image).save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in range(12)]
    code, found, err = ask(capfd, "predict", exported.bundle(name), *files)
    assert code == 0 and [each["input"] for each in found["predictions"]] == [str(file) for file in files]
    right = sum(each["label"] == shapes_run.LABELS[t] for each, t in zip(found["predictions"], targets))
    assert right >= 9 and all(0 < each["confidence"] <= 1 for each in found["predictions"])
    assert any(label in err for label in shapes_run.LABELS)


@ALL
def test_bench_measures_in_the_runtime(exported, capfd, name):
    code, found, _ = ask(capfd, "bench", exported.bundle(name), "--seconds", "0.2")
    assert code == 0 and found["samples"] > 0 and 0 < found["min_ms"] <= found["p50_ms"]
    assert found["fingerprint"]["runtime"]["name"] == found["backend"] == exported.reports[name]["backend"]


def test_one_page_of_a_run_and_its_bundles(exported, shapes, tmp_path, capfd):
    page = tmp_path / "report.html"
    paths = [shapes.run, *(exported.bundle(name) for name in shapes_run.TARGETS)]
    code, found, _ = ask(capfd, "report", *paths, "--out", page)
    assert code == 0 and found["report"] == str(page)
    text = page.read_text()
    assert all(name in text for name in shapes_run.TARGETS)
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", text)


def test_targets_check_of_a_run(shapes, capfd):
    code, found, _ = ask(capfd, "targets", "check", "jetson", shapes.run)
    assert code == 0 and not found["refused"] and found["target"] == "jetson-orin-nano"


# -- a board -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["host", "host-litert", "host-openvino"])
def test_a_board_opens_checks_and_runs_a_bundle_without_the_host_half(exported, tmp_path, name):
    np.save(tmp_path / "raw.npy", edgeft.load(exported.bundle(name)).samples()["raw_0"])
    path = str(exported.bundle(name))
    calls = [["verify", path], ["bench", path, "--seconds", "0.1"], ["predict", path, str(tmp_path / "raw.npy")]]
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(max(run(argv) for argv in {calls!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr


# -- from nothing, by the two commands -----------------------------------------------------------------------------
def test_tune_then_export_by_the_command_line(exported, tmp_path):
    data = shapes_run.write_data(tmp_path / "data.npz", counts={"train": 150, "val": 30, "test": 60})
    table = shapes_run.recipe_of(
        data,
        train={"epochs": 6, "lr": 1e-2, "batch_size": 15},
        quantize={"method": "ptq"},
        export={"targets": ["host"]},
    )
    (tmp_path / "recipe.toml").write_text(recipe.dumps(recipe.from_table(table, "the test")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def edgeft_(*argv: str) -> tuple[int, dict[str, Any], str]:
        line = [sys.executable, "-m", "edgeft", *argv, "--json"]
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
        assert done.stdout.count("\n") == 1 and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr

    code, plan, _ = edgeft_("tune", "recipe.toml", "--dry-run")
    assert code == 0 and plan["samples"] == {"train": 150, "val": 30, "test": 60}
    assert plan["schemes"] == [shapes_run.HOST] and not (tmp_path / "runs").exists()
    code, run, said = edgeft_("tune", "recipe.toml")
    assert code == 0 and "float 6/6" in said
    assert re.fullmatch(r"runs/shapes-\d{8}-\d{6}", run["run"]) and run["float"] > 0.5
    code, report, said = edgeft_("export")  # the latest run, the recipe's own targets
    assert code == (0 if report["verdict"] == "pass" else 1), said
    assert report["target"] == "host" and report["path"] == "bundles/host" and len(report["bundles"]) == 1
    assert not [g["why"] for g in report["gates"] if g["verdict"] == "fail" and g["name"] not in ("accuracy",)]
    code, again, _ = edgeft_("export")
    assert code == 2 and "--overwrite" in again["remedy"]


# -- as a library --------------------------------------------------------------------------------------------------
def test_the_callers_own_module_and_data(shapes, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from edgeft import data
    from edgeft.config.recipe import Data

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(
                torch.nn.Conv2d(3, 16, 5, 4, 2), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
                torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(),
            )  # fmt: skip
            self.head = torch.nn.Linear(32 * 4 * 4, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.body(x).flatten(1))

    dataset = data.open(Data(format="npz", path=str(shapes.data)))
    table = shapes_run.recipe_of(
        shapes.data,
        model={"source": "module", "name": "net"},
        data={"format": "dataset", "size": 32},
        train={"epochs": 8, "lr": 3e-3},
        export={"targets": ["host"]},
    )
    torch.manual_seed(0)
    summary = edgeft.tune(table, tmp_path / "run", model=Net(), dataset=dataset)
    assert summary["n"] == 120
    (report,) = edgeft.export(tmp_path / "run", ["host"], tmp_path / "bundles", model=Net(), dataset=dataset)
    assert gate(report, "integer", "int8_weights_share")["n"] == 3
    assert not [g["why"] for g in report["gates"] if g["verdict"] == "fail" and g["name"] != "accuracy"]
    bundle = edgeft.load(report["path"])
    assert edgeft.verify(bundle)["verdict"] == "pass"
    assert edgeft.bench(bundle, seconds=0.1)["samples"] > 0
