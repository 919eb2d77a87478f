"""Bundles that are altered, point outside or hold links: every command refuses them with one clear error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import shapes_run
from commands import ask, here, left  # noqa: F401 (`here` is a fixture)


@pytest.fixture
def bundle(exported: Any) -> Path:
    return Path(shutil.copytree(exported.bundle("host"), "in"))


def test_a_truncated_or_altered_bundle(bundle):
    model = (bundle / "model.onnx").read_bytes()
    samples = (bundle / "samples.npz").read_bytes()
    for name, data, word in (
        ("model.onnx", model[:-1], "truncated"),
        ("model.onnx", model[:-1] + b"\0", "altered"),
        ("samples.npz", samples[:100], "truncated"),
        ("manifest.json", b"{", "altered"),
    ):
        kept = (bundle / name).read_bytes()
        (bundle / name).write_bytes(data)
        answer = ask("verify", bundle)
        assert answer.code == 3 and answer.found["error"] == "BundleError" and word in answer.said
        (bundle / name).write_bytes(kept)
    (bundle / "model.onnx").unlink()
    answer = ask("bench", bundle)
    assert answer.code == 3 and "model.onnx" in answer.said and left() == []


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/hostname", "baseline/../../outside.onnx"])
def test_a_manifest_that_points_outside(bundle, name):
    shutil.copy(bundle / "model.onnx", "in.onnx")
    table = json.loads((bundle / "manifest.json").read_text())
    table["graphs"][0]["file"] = name
    table["files"][name] = table["files"]["model.onnx"]
    shapes_run.files.write_json(bundle / "manifest.json", table)
    shapes_run.files.write_text(bundle / "manifest.sha256", shapes_run.files.sha256(bundle / "manifest.json") + "\n")
    for command in (["verify", bundle], ["bench", bundle], ["predict", bundle, "x.png"]):
        answer = ask(*command)
        assert answer.code == 3 and "outside" in answer.said
    assert left() == []


def test_a_bundle_whose_file_is_a_link_to_the_outside(bundle):
    shutil.move(bundle / "model.onnx", "in.onnx")
    (bundle / "model.onnx").symlink_to(Path("in.onnx").absolute())
    answer = ask("verify", bundle)
    assert answer.code == 3 and "link" in answer.said


@pytest.mark.parametrize("location", ["../in.weights", "/etc/hostname", "baseline/../../in.weights"])
def test_onnx_external_data_outside_the_folder(bundle, location):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(bundle / "model.onnx")
    tensor = next(t for t in model.graph.initializer if len(t.raw_data) > 100)
    Path("in.weights").write_bytes(tensor.raw_data)
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(tensor.raw_data)))):
        tensor.external_data.add(key=key, value=value)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    shapes_run.seal(bundle)
    for command in ("verify", "bench"):
        answer = ask(command, bundle)
        assert answer.code == 3 and answer.found["error"] == "BundleError" and "outside" in answer.said
    done = subprocess.run([sys.executable, "-I", bundle / "run.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and "Traceback" not in done.stderr
