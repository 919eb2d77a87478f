"""run.py in a bundle: what it answers for samples, pictures, altered files and labels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_bundle
from runners import call, load

from edgeft.bundle import reader as bundle
from edgeft.core import files


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load(tmp_path_factory.mktemp("runner"), "image")


@pytest.mark.parametrize("backend", tiny_bundle.BACKENDS)
def test_it_checks_its_own_samples_and_sees_what_is_there(tmp_path: Path, backend: str) -> None:
    path = tiny_bundle.build(tmp_path, backend)
    moved = tmp_path / "a board"
    shutil.move(path, moved)
    result = call(moved, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "6 of 6 decisions alike: ok" in result.stdout
    assert "preprocessing: largest difference 0: ok" in result.stdout
    for level in (20, 240):
        np.save(tmp_path / f"{level}.npy", tiny_bundle.pixels(level))
    result = call(moved, str(tmp_path / "20.npy"), str(tmp_path / "240.npy"), "--threads", "2")
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert ": dark " in first
    assert ": bright " in second


def test_it_gives_the_numbers_of_the_library(tmp_path: Path, runner: ModuleType, monkeypatch: Any) -> None:
    path = tiny_bundle.build(tmp_path)
    monkeypatch.setattr(runner, "HERE", str(path))
    manifest = runner.load_manifest()
    session, run = bundle.open(path).session(), runner.load(manifest, 0)
    x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    assert np.array_equal(run({"x": x})["logits"], session.run({"x": x})["logits"])


def test_it_reads_and_resizes_an_image_file(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="pillow reads images")
    path = tiny_bundle.build(tmp_path)
    pillow.fromarray(tiny_bundle.pixels(240, (50, 40, 3))).save(tmp_path / "photo.jpg")
    result = call(path, str(tmp_path / "photo.jpg"))
    assert ": bright " in result.stdout


def test_without_pillow_an_image_is_answered_with_the_command(tmp_path: Path, monkeypatch: Any, runner: Any) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(runner.Stop, match="pip install pillow") as caught:
        runner.read(str(tmp_path / "photo.jpg"))
    assert caught.value.code == 4


def _changed(path: Path, name: str, change: Any) -> None:
    """Change samples.npz and make the manifest fit again, so that only the comparison can notice."""
    with np.load(path / "samples.npz") as archive:
        samples = dict(archive)
    samples[name] = change(samples[name])
    np.savez(path / "samples.npz", **samples)
    table = json.loads((path / "manifest.json").read_text())
    size = (path / "samples.npz").stat().st_size
    table["files"]["samples.npz"] = {"sha256": files.sha256(path / "samples.npz"), "bytes": size}
    tiny_bundle.forge(path, table)


def test_other_outputs_than_expected_fail(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path)
    _changed(path, "output/logits", lambda logits: logits[:, ::-1])
    result = call(path)
    assert result.returncode == 1
    assert "logits" in result.stdout
    assert "DIFFERS" in result.stdout


def test_a_few_steps_of_rounding_pass_and_more_do_not(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path)
    scale = json.loads((path / "manifest.json").read_text())["graphs"][0]["outputs"][0]["scale"]
    _changed(path, "output/logits", lambda logits: logits + np.float32(2 * scale))
    assert call(path).returncode == 0
    _changed(path, "output/logits", lambda logits: logits + np.float32(20 * scale))
    assert call(path).returncode == 1


def test_changed_preprocessing_fails(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path)
    table = json.loads((path / "manifest.json").read_text())
    table["preprocess"]["mean"] = [0.1]
    tiny_bundle.forge(path, table)
    result = call(path)
    assert result.returncode == 1
    assert "preprocessing" in result.stdout


@pytest.mark.parametrize("name", ["manifest.json", "model.tflite", "samples.npz"])
def test_an_altered_file_is_named(tmp_path: Path, name: str) -> None:
    path = tiny_bundle.build(tmp_path)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    result = call(path)
    assert result.returncode == 3
    assert f"{name} was altered" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("start", ["in the bundle", "elsewhere"])
def test_modules_that_lie_in_the_bundle_are_not_imported(tmp_path: Path, start: str) -> None:
    path = tiny_bundle.build(tmp_path)
    marker = tmp_path / "imported"
    for name in ("argparse", "hashlib", "json", "numpy", "random", "ai_edge_litert", "tflite_runtime"):
        (path / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r} + ' ')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", str(path)])}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # coverage would import them when the interpreter starts
    for flags in ([], ["-B", "-s"]):
        result = subprocess.run(
            [sys.executable, *flags, "run.py" if start == "in the bundle" else str(path / "run.py")],
            cwd=path if start == "in the bundle" else tmp_path,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        assert not marker.exists(), marker.read_text()
        assert result.returncode == 0, result.stderr
        assert "6 of 6 decisions alike: ok" in result.stdout


@pytest.mark.parametrize("backend", tiny_bundle.BACKENDS)
def test_it_leaves_nothing_in_the_home_folder(tmp_path: Path, backend: str) -> None:
    path, home = tiny_bundle.build(tmp_path, backend), tmp_path / "home"
    home.mkdir()
    result = subprocess.run(
        [sys.executable, str(path / "run.py")], capture_output=True, text=True, env={"HOME": str(home)}, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert sorted(home.rglob("*")) == []


def test_a_label_that_the_terminal_cannot_print(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path, labels=["dark", "grey", "größer ☀"])
    np.save(tmp_path / "a.npy", tiny_bundle.pixels(255))
    command = [sys.executable, "-I", str(path / "run.py"), str(tmp_path / "a.npy")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(
        [sys.executable, *command[2:]], capture_output=True, text=True, env=environment, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "gr\\xf6\\xdfer" in result.stdout


def test_files_that_are_no_images(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path)
    np.save(tmp_path / "float.npy", np.zeros((8, 8)))
    for name in ("absent.png", "float.npy"):
        result = call(path, str(tmp_path / name))
        assert result.returncode == 3
        assert name in result.stderr


def test_inputs_that_can_be_read_are_answered_beside_one_that_cannot(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path)
    for level in (0, 255):
        np.save(tmp_path / f"{level}.npy", tiny_bundle.pixels(level))
    result = call(path, *(str(tmp_path / name) for name in ("0.npy", "absent.png", "255.npy")))
    assert result.returncode == 3 and "absent.png" in result.stderr
    assert [line.split(": ")[1].split()[0] for line in result.stdout.splitlines()] == ["dark", "bright"]
