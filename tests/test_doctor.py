"""doctor: what it says is what happens when a runtime is really asked to run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeft import backends as runtime
from edgeft import doctor
from edgeft.core import installation
from edgeft.trust import environment


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return doctor.examine()


def test_the_answer_is_json_and_readable(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    lines = doctor.render(found)
    for name in runtime.names():
        assert name in lines
    for extra in found["extras"]:
        command = environment.SETUP if extra["name"] == doctor.SIGNING else installation.command(extra["name"])
        assert extra["complete"] or command in lines or extra["name"] in ("dev", "peers")


def test_what_works_is_said_first(found: dict[str, Any]) -> None:
    loads = [each["name"] for each in found["runtimes"] if each["loads"]]
    assert found["ready"]["run"] == loads
    assert set(found["ready"]["export"]) <= set(loads)
    lines = doctor.render(found).splitlines()
    (run,) = [line for line in lines if "run and verify bundles" in line]
    assert all(name in run for name in loads)
    assert lines.index(run) < lines.index("runtimes")


def test_without_the_extra_nothing_is_trained_or_exported(found: dict[str, Any]) -> None:
    extras = [{**extra, "complete": False} for extra in found["extras"]]
    ready = doctor.ready(found["runtimes"], extras)
    assert (ready["train"], ready["export"]) == (False, [])
    text = doctor.render({**found, "ready": {**ready, "run": []}})
    assert "no: needs the extra tune" in text and "no: no runtime loads" in text


@pytest.mark.parametrize("name", [backend.name for backend in runtime.builtin()])
def test_an_installed_runtime_computes_and_says_its_version(found: dict[str, Any], name: str) -> None:
    if not runtime.get(name).installed():
        pytest.skip(f"{name} is not installed")
    (answer,) = (r for r in found["runtimes"] if r["name"] == name)
    assert answer["loads"], answer["why"]
    assert answer["version"] == runtime.get(name).version()


def test_a_runtime_that_is_absent_comes_with_its_command(found: dict[str, Any]) -> None:
    for answer in found["runtimes"]:
        if not answer["installed"]:
            assert answer["install"] == installation.command(runtime.get(answer["name"]).extra)
            assert not answer["loads"]
        assert answer["loads"] or answer["why"]


def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> dict[str, Any]:
    """doctor's answer where a package called onnxruntime is there and does what `body` says on import."""
    (tmp_path / "onnxruntime.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    return doctor.probe_apart("onnxruntime", 20)


def test_a_runtime_that_crashes_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = broken(tmp_path, monkeypatch, "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    assert not answer["loads"]
    assert "SIGILL" in answer["why"]
    assert "instructions" in answer["why"]


def test_a_runtime_that_exits_or_fails_to_import_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = broken(tmp_path, monkeypatch, "import os, sys\nprint('bye', file=sys.stderr, flush=True)\nos._exit(7)\n")
    assert answer["why"] == "exit 7: bye"
    answer = broken(tmp_path, monkeypatch, "raise ImportError('libfoo.so is missing')\n")
    assert "libfoo.so is missing" in answer["why"]
    assert answer["install"] == installation.command("onnx")


def test_a_runtime_that_hangs_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "did not answer" in doctor.probe_apart("onnxruntime", 2)["why"]


def test_a_module_of_the_current_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    assert doctor.probe_apart("onnxruntime")["loads"]


def test_requirements_by_extra() -> None:
    lines = [
        "numpy>=1.26",
        "torch<2.15,>=2.13; extra == 'tune'",
        'tflite-runtime==2.14.0; (python_version < "3.12") and extra == "tflite-runtime"',
        "numpy<2; extra == 'tflite-runtime'",
        "torch; extra == 'all'",
    ]
    assert doctor.requirements(lines) == {
        "tflite-runtime": ["tflite-runtime==2.14.0", "numpy<2"],
        "tune": ["torch<2.15,>=2.13"],
    }


def test_an_unmet_requirement_is_named() -> None:
    assert doctor.unmet("no-such-package-of-edgeft>=1") == "no-such-package-of-edgeft"
    assert doctor.unmet("numpy>=1.20") == ""
    if importlib.util.find_spec("packaging") is not None:
        import numpy

        assert doctor.unmet("numpy<1") == f"numpy<1 ({numpy.__version__} is here)"


@pytest.mark.parametrize(
    ("isa", "flags", "vnni", "said"),
    [
        ("x86_64", ["avx2", "avx512_vnni"], True, "full speed"),
        ("x86_64", ["avx2", "avx_vnni"], True, "full speed"),
        ("x86_64", ["avx2"], False, "7-bit weights"),
        ("x86_64", [], None, "unknown"),
        ("aarch64", ["asimd", "asimddp"], None, "asimddp"),
        ("armv7", ["neon"], None, "no int8 dot product"),
    ],
)
def test_what_the_processors_flags_mean(isa: str, flags: list[str], vnni: bool | None, said: str) -> None:
    told = doctor.cpu({"cpu": "x", "isa": isa, "cores": 4, "flags": flags})
    assert told["vnni"] is vnni
    assert said in told["note"]
    assert told["usable"] >= 1


def test_nothing_heavy_stays_in_the_process() -> None:
    code = (
        "import sys; from edgeft import doctor; doctor.examine(seconds=60);"
        "print(sorted({'torch','onnx','onnxruntime','openvino','tensorflow','ai_edge_litert','tflite_runtime','scipy',"
        "'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
