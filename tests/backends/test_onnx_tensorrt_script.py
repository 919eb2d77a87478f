from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edgeft.backends.onnxruntime import tensorrt
from edgeft.config import target
from edgeft.config.target import Target
from edgeft.core import files

JETSON = Target(
    name="jetson", title="Jetson Orin Nano\nexit 9", runtime={"tensorrt": "10.3, 10.16", "jetpack": "6.1, 7.2"}
)

#: stands where trtexec would be: prints the banner of a version, records its arguments, writes the engine
TRTEXEC = """#!/usr/bin/env bash
if [ "$1" = --help ]; then echo "&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec --help"; exit 1; fi
printf '%s\\n' "$@" >> "$(dirname "$0")/arguments"
for a in "$@"; do case $a in --saveEngine=*) printf engine > "${{a#--saveEngine=}}";; esac; done
exit {code}
"""


def bundle(folder: Path, shape=(1, 3, 8, 8)) -> dict:
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"onnx")
    digest = files.sha256(folder / "model.onnx")
    inputs = [{"name": "x", "shape": list(shape)}]
    return {"name": "main", "file": "model.onnx", "inputs": inputs, "sha256": digest}


def build(
    tmp_path: Path, version: str = "100300", code: int = 0, shape=(1, 3, 8, 8), spoil: bool = False, board=JETSON
):
    folder = tmp_path / "my bundle"
    text = tensorrt.build_script(board, bundle(folder, shape))
    (folder / "build_engine.sh").write_text(text)
    if spoil:
        (folder / "model.onnx").write_bytes(b"other")
    if version:
        (tmp_path / "trtexec").write_text(TRTEXEC.format(version=version, code=code))
        (tmp_path / "trtexec").chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "TRTEXEC": str(tmp_path / "trtexec"), "BATCH": "4"}
    done = subprocess.run(
        ["bash", str(folder / "build_engine.sh")], capture_output=True, text=True, env=environment, timeout=60
    )
    arguments = tmp_path / "arguments"
    return done, arguments.read_text().splitlines() if arguments.exists() else [], folder


def test_script_is_valid_bash(tmp_path):
    text = tensorrt.build_script(JETSON, bundle(tmp_path / "b"))
    (tmp_path / "s.sh").write_text(text)
    assert subprocess.run(["bash", "-n", str(tmp_path / "s.sh")], timeout=60).returncode == 0
    assert "@" not in text.replace("[@]", "") and "Orin Nano exit 9)." in text


@pytest.mark.parametrize(("version", "flags"), [("100300", True), ("101600", True), ("110000", False)])
def test_flags_follow_the_version(tmp_path, version, flags):
    done, arguments, folder = build(tmp_path, version)
    assert done.returncode == 0, done.stderr
    assert ("--int8" in arguments) is flags and ("--fp16" in arguments) is flags
    assert (folder / "model.engine").read_text() == "engine" and not (folder / "model.engine.tmp").exists()
    assert ("was written for" in done.stderr) is (version == "110000")


@pytest.mark.parametrize(
    ("version", "flags"), [("8201", ["--buildOnly", "--fp16"]), ("8601", ["--skipInference", "--fp16"])]
)
def test_an_fp16_engine_is_built_by_the_first_jetson_too(tmp_path, version, flags):
    done, arguments, folder = build(tmp_path, version, board=target.load("jetson-nano-gpu"))
    assert done.returncode == 0 and [a for a in arguments if "=" not in a] == flags, done.stderr
    assert (folder / "model.engine").read_text() == "engine"


def test_dynamic_batch_gives_shapes(tmp_path):
    _, arguments, _ = build(tmp_path, shape=(-1, 3, 8, 8))
    assert "--minShapes=x:1x3x8x8" in arguments and "--maxShapes=x:4x3x8x8" in arguments


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"version": ""}, 4, "trtexec was not found"),
        ({"version": "8502"}, 4, "TensorRT 8.5.2 cannot read"),
        ({"code": 1}, 1, "could not build model.onnx"),
        ({"spoil": True}, 3, "not the file that was verified"),
    ],
)
def test_what_goes_wrong_is_said(tmp_path, options, code, says):
    done, _, folder = build(tmp_path, **options)
    assert done.returncode == code and says in done.stderr and "  -> " in done.stderr
    assert not (folder / "model.engine").exists() and not (folder / "model.engine.tmp").exists()
