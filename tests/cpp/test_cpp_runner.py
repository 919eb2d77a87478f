"""edgeft cpp: the project, built by CMake, computes the recorded integers; and notices where it does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

from edgeft.bundle import reader
from edgeft.cli.entry import run as command
from edgeft.core import files
from edgeft.cpp import project

FIXTURES = Path(__file__).parents[1] / "fixtures" / "0.1.0"
#: runtime -> the bundle of tests/fixtures
BUNDLES = {"onnxruntime": "host", "openvino": "host-openvino", "ai_edge_litert": "host-litert"}
LITERT_HEADERS = (os.environ.get("EDGEFT_LITERT_INCLUDE", ""), "/usr/include", "/usr/local/include")
HEADERS = (os.environ.get("EDGEFT_ORT_INCLUDE", ""), "/usr/include/onnxruntime", "/usr/local/include/onnxruntime")


@dataclass(frozen=True)
class Built:
    """A built project. Read only: copy its folder before a file is changed, the program may stay."""

    folder: Path
    log: str

    def prove(self, *arguments: object, folder: Path | None = None) -> tuple[int, str]:
        argv = [str(self.folder / "build" / "parity"), str(folder or self.folder), *map(str, arguments)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr


def where(runtime: str) -> list[str]:
    """The options of CMake that name the runtime of pip, or a skip where its headers are not here."""
    package = pytest.importorskip(runtime)
    folder = Path(package.__path__[0])
    if runtime == "openvino":
        if not (folder / "cmake" / "OpenVINOConfig.cmake").is_file():
            pytest.skip("this package of OpenVINO has no CMake files")
        return [f"-DOpenVINO_DIR={folder / 'cmake'}"]
    if runtime == "ai_edge_litert":
        header = "litert/c/litert_compiled_model.h"
        include = next((path for path in LITERT_HEADERS if path and (Path(path) / header).is_file()), None)
        if include is None:
            pytest.skip("no headers of LiteRT (pip brings none): name their folder with EDGEFT_LITERT_INCLUDE")
        return [f"-DLITERT_INCLUDE={include}", f"-DLITERT_LIBRARY={folder / 'libLiteRt.so'}"]
    include = next((path for path in HEADERS if path and (Path(path) / "onnxruntime_c_api.h").is_file()), None)
    if include is None:
        pytest.skip("no headers of ONNX Runtime (pip brings none): name their folder with EDGEFT_ORT_INCLUDE")
    (library,) = (folder / "capi").glob("libonnxruntime.so*")
    return [f"-DONNXRUNTIME_INCLUDE={include}", f"-DONNXRUNTIME_LIBRARY={library}"]


@pytest.fixture(scope="module", params=list(BUNDLES))
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("no CMake or no C++ compiler")
    options = where(request.param)
    folder = tmp_path_factory.mktemp("cpp") / "project"
    folder.mkdir()
    project.write(reader.open(FIXTURES / BUNDLES[request.param]), folder)
    build = folder / "build"
    log = ""
    for argv in (["cmake", "-S", str(folder), "-B", str(build), *options], ["cmake", "--build", str(build)]):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        log += done.stdout
        assert done.returncode == 0, log
    return Built(folder, log)


def test_it_computes_the_recorded_integers(built: Built) -> None:
    assert "warning" not in built.log
    done = subprocess.run(
        ["ctest", "--test-dir", str(built.folder / "build"), "-V"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "48 of 48 values bit-equal, at most 0 steps apart" in done.stdout, done.stdout
    code, text = built.prove("--calls", 300)
    assert code == 0 and "pass\n300 calls: p50" in text and "p99" in text
    assert "p99" not in built.prove("--calls", 100)[1]  # too few


def changed(built: Built, folder: Path) -> Path:
    return Path(shutil.copytree(built.folder, folder / "changed", ignore=shutil.ignore_patterns("build")))


def test_another_value_is_noticed(built: Built, tmp_path: Path) -> None:
    """One of the recorded outputs is moved by one and by three steps of its grid, and to no number."""
    path = changed(built, tmp_path)
    name = next(path.glob("parity/output_*.bin"))
    header = (path / "src" / "bundle.hpp").read_text()
    step = float(header.split("outputs = {")[1].split("}")[1].rpartition(", ")[2])
    recorded = np.fromfile(name, np.float32)
    for steps, allowed, code in ((1, 0, 1), (1, 1, 0), (3, 2, 1), (3, 3, 0)):
        values = recorded.copy()
        values[7] += np.float32(steps * step)
        values.tofile(name)
        got, text = built.prove("--steps", allowed, folder=path)
        assert got == code and f"47 of 48 values bit-equal, at most {steps} steps" in text, text
    values = recorded.copy()
    values[7] = np.nan
    values.tofile(name)
    assert built.prove("--steps", 1000, folder=path)[0] == 1


def test_what_cannot_be_used_is_a_sentence(built: Built, tmp_path: Path) -> None:
    path = changed(built, tmp_path)
    name = next(path.glob("parity/input_*.bin"))
    name.write_bytes(name.read_bytes()[:-1])
    code, text = built.prove(folder=path)
    assert code == 3 and "\nerror: " in f"\n{text}" and "another size" in text  # LiteRT logs before
    name.unlink()
    assert built.prove(folder=path)[0] == 3
    for model in (path / "model").iterdir():
        model.write_bytes(b"no model")
    code, text = built.prove(folder=path)
    assert code == 3 and "\nerror: " in f"\n{text}"  # OpenVINO logs words of its own before
    assert built.prove("--step", 1)[0] == 2 and built.prove("--steps", "many")[0] == 2


# -- the project, without a compiler ---------------------------------------------------------------------------------
def test_the_command_writes_a_project(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert command(["cpp", str(FIXTURES / "host"), "--out", str(out), "--json"]) == 0
    table = json.loads(capfd.readouterr().out)
    assert table["samples"] == 16
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == set(table["files"])
    with np.load(FIXTURES / "host" / "samples.npz") as archive:
        assert (out / "parity" / "input_0.bin").read_bytes() == archive["input/x"].tobytes()
    assert command(["cpp", str(FIXTURES / "host"), "--out", str(out), "--json"]) == 2  # not empty


def test_bundles_that_have_no_project(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = Path(shutil.copytree(FIXTURES / "host", tmp_path / "other"))
    table = json.loads((other / "manifest.json").read_text())
    runtime = {**table["runtime"], "name": "executorch"}
    tiny_bundle.forge(other, {**table, "backend": "executorch", "runtime": runtime})
    for bundle, code, sentence in (
        (other, 2, "no C++ program for ExecuTorch"),
        (tmp_path / "absent", 3, "no such folder"),
    ):
        assert command(["cpp", str(bundle), "--out", str(tmp_path / "out"), "--json"]) == code
        assert sentence in json.loads(capfd.readouterr().out)["message"]
    tiny_bundle.usable("onnxruntime")
    bundle = tiny_bundle.build(tmp_path, "onnxruntime")
    np.savez(bundle / "samples.npz", raw_0=tiny_bundle.pixels(0))
    table = json.loads((bundle / "manifest.json").read_text())
    entry = {"sha256": files.sha256(bundle / "samples.npz"), "bytes": (bundle / "samples.npz").stat().st_size}
    tiny_bundle.forge(bundle, {**table, "files": {**table["files"], "samples.npz": entry}})
    capfd.readouterr()
    assert command(["cpp", str(bundle), "--out", str(tmp_path / "out"), "--json"]) == 3
    assert "lacks 'input/x'" in json.loads(capfd.readouterr().out)["message"]
    assert not (tmp_path / "out").exists()


def test_names_of_a_manifest_are_no_code() -> None:
    """Quotes and backslashes in the name of a tensor stay within its string literal."""
    tensor = {"name": 'a"; #error \\', "file": "x", "values": np.zeros((2, 3), np.float32), "scale": None}
    entry = project._entry(tensor)
    assert entry.strip() == r'{"a\"; #error \\", "x", edgeft::Type::float32, {1, 3}, 0.0, 0.0, 0.0},'
