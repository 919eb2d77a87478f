"""run.py: old syntax, the same arithmetic as the library, and the same answers without it."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sounds
import tiny_bundle

import edgeft
from edgeft import backends
from edgeft.bundle import reader as bundle
from edgeft.bundle import run_py as parts
from edgeft.config.recipe import Data
from edgeft.core import files
from edgeft.inputs import image, letterbox, sound, sound_file, vector
from edgeft.tasks import tell
from edgeft.tasks.control import decoding as control
from edgeft.tasks.detect import decoding as detect

#: every kind of input and every task that has a part, so that each part is read at least once
PACKAGE = Path(edgeft.__file__).parent
KINDS = sorted(path.stem.removeprefix("run_") for path in PACKAGE.glob("inputs/run_*.py"))
BACKENDS = sorted(backend.name for backend in backends.builtin())
TASKS = sorted(path.parent.name.replace("_", "-") for path in PACKAGE.glob("tasks/*/run_part.py"))
WHOLES = [
    *((backend, "image", "classify") for backend in BACKENDS),
    *((BACKENDS[0], kind, "classify") for kind in KINDS),
    *((BACKENDS[0], "image", task) for task in TASKS),
]


def load(folder: Path, kind: str, task: str = "classify", backend: str = "litert") -> ModuleType:
    """run.py for a kind of input, a task and a runtime as a module."""
    path = folder / f"run_{kind}_{task}_{backend}.py"
    path.write_text(parts.text(backend, kind, task))
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load(tmp_path_factory.mktemp("runner"), "image")


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load(tmp_path_factory.mktemp("runner"), "sound", "keyword")


def call(path: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # -I: neither edgeft's checkout nor the user's packages, only what is installed
    command = [sys.executable, "-I", str(path / "run.py"), *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, encoding="utf-8", timeout=120, env={**os.environ, "PYTHONUTF8": "1"}
    )


@pytest.mark.parametrize(("backend", "kind", "task"), WHOLES)
def test_python_3_6_reads_it(tmp_path: Path, backend: str, kind: str, task: str) -> None:
    source = tmp_path / "run.py"
    source.write_text(parts.text(backend, kind, task))
    ast.parse(source.read_text(), feature_version=(3, 6))
    py_compile.compile(str(source), cfile=str(tmp_path / "run.pyc"), doraise=True)
    assert "core.runner" not in source.read_text()
    load(tmp_path, kind, task, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_holds_the_part_of_its_own_runtime_alone(backend: str) -> None:
    text = parts.text(backend, "image", "classify")
    assert f'RUNTIME = "{backend}"' in text and text.count("def open_model(") == 1
    modules = {name for record in backends.builtin() if record.name != backend for name in record.modules}
    imported = {line.split()[1] for line in text.splitlines() if line.strip().startswith("import ")}
    assert not imported & modules and not any(f"{module}." in text for module in modules)


def test_a_bundle_of_another_runtime_is_refused(tmp_path: Path) -> None:
    path = tiny_bundle.build(tmp_path, "litert")
    (path / "run.py").write_text(parts.text("openvino", "image", "classify"))
    result = call(path)
    assert result.returncode == 4 and "does not know the runtime 'litert'" in result.stderr


@pytest.mark.parametrize(("backend", "kind", "task"), WHOLES)
def test_it_imports_numpy_and_the_standard_library_alone(backend: str, kind: str, task: str) -> None:
    tree = ast.parse(parts.text(backend, kind, task))
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert top == {"argparse", "hashlib", "json", "os", "sys", "numpy"}
    assert not any(isinstance(node, ast.ImportFrom) for node in tree.body)


@pytest.mark.parametrize(("backend", "kind", "task"), WHOLES)
def test_no_part_takes_a_name_of_another(backend: str, kind: str, task: str) -> None:
    tree = ast.parse(parts.text(backend, kind, task))
    named = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    named += [
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    ]
    assert len(named) == len(set(named)), sorted(name for name in named if named.count(name) > 1)


SHAPES = [(8, 8), (8, 8, 1), (8, 8, 2), (8, 8, 3), (8, 8, 4), (13, 5), (13, 5, 3), (5, 31, 4), (40, 30, 3), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_preprocessing_is_bit_equal_to_the_library(
    runner: ModuleType, shape: tuple[int, ...], channels: int, method: str
) -> None:
    if shape[:2] != (8, 8):
        pytest.importorskip("PIL", reason="pillow resizes")
    raw = np.random.default_rng(len(shape) * channels).integers(0, 256, shape, np.uint8)
    for layout in ("NCHW", "NHWC"):
        spec: dict[str, Any] = {
            **tiny_bundle.SPEC,
            "channels": channels,
            "resize": method,
            "layout": layout,
            "scale": 255.0 if channels == 1 else 1.0,
            "mean": [0.485, 0.456, 0.406][:channels],
            "std": [0.229, 0.224, 0.225][:channels],
        }
        expected, got = image.preprocess(raw, spec)["x"], runner.preprocess(raw, spec)
        assert got.dtype == expected.dtype == np.float32
        assert got.shape == expected.shape
        assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("coefficients", [0, 10])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_sounds_are_bit_equal_to_the_library(
    hearing: ModuleType, tmp_path: Path, rate: int, coefficients: int, layout: str
) -> None:
    rng = np.random.default_rng(rate + coefficients)
    count = coefficients or 40
    spec = sound.configure(Data(sound={"coefficients": coefficients}), {}, {"rate": 16_000}, lambda text: None)
    spec |= {"layout": layout, "mean": rng.normal(size=count).tolist(), "std": rng.uniform(1, 2, count).tolist()}
    for seconds, shape in ((0.3, ()), (1.7, ()), (0.9, (2,))):
        samples = rng.integers(-9000, 9000, (int(rate * seconds), *shape)).astype(np.int16)
        path = sounds.write(tmp_path / "a.wav", samples, rate)
        raw, ours = sound_file.read(path), hearing.read(str(path))
        assert ours["rate"] == rate and ours["samples"].dtype == raw["samples"].dtype
        assert ours["samples"].tobytes() == raw["samples"].tobytes()
        expected, got = sound.preprocess(raw, spec)["x"], hearing.preprocess(ours, spec)
        assert got.shape == expected.shape and got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("width", [1, 3, 4])
def test_wide_and_narrow_sounds_are_read_as_the_library_reads_them(
    hearing: ModuleType, tmp_path: Path, width: int
) -> None:
    stored = np.random.default_rng(width).integers(0, 256, 60 * width, np.uint8)
    path = sounds.write(tmp_path / "a.wav", stored, width=width)
    assert hearing.read(str(path))["samples"].tobytes() == sound_file.read(path)["samples"].tobytes()
    for content in (path.read_bytes()[:-1], b"no sound"):
        path.write_bytes(content)
        with pytest.raises(hearing.Stop, match=r"a\.wav") as caught:
            hearing.read(str(path))
        assert caught.value.code == 3


def test_rows_are_bit_equal_to_the_library_and_controls_read_alike(tmp_path: Path) -> None:
    driving = load(tmp_path, "vector", "control")
    spec = {"kind": "vector", "size": [3], "input": "x", "mean": [0.1, -0.2, 3.0], "std": [1.0, 0.3, 7.0]}
    np.save(tmp_path / "a.npy", np.array([0.5, 1e-3, 9]))
    (tmp_path / "a.txt").write_text("0.25; 7 1e-2\n")
    for source in ("0.1, -0.2 9.5", str(tmp_path / "a.npy"), str(tmp_path / "a.txt")):
        ours, theirs = driving.read(source), vector.read(source)
        assert ours.tobytes() == theirs.tobytes() and ours.dtype == np.float32
        assert driving.feeds(ours, spec)["x"].tobytes() == vector.preprocess(theirs, spec)["x"].tobytes()
    for wrong in ("a, b", "1, nan, 2", str(tmp_path / "absent.npy"), "1\n2"):
        with pytest.raises(driving.Stop) as caught:
            driving.read(wrong)
        assert caught.value.code == 3
    with pytest.raises(driving.Stop, match="2 values, the model takes 3"):
        driving.feeds(driving.read("1, 2"), spec)
    said = {"output": np.array([[0.12345, np.nan]], np.float32)}
    (decoded,) = control.decode(said, ["steering", "throttle"])
    assert driving.tell(said, None, spec, ["steering", "throttle"]) == decoded["label"]


@pytest.mark.parametrize("shape", [(64, 96, 3), (40, 90, 3), (90, 31), (5, 200, 4)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_letterboxes_are_bit_equal_to_the_library_and_boxes_read_alike(
    tmp_path: Path, shape: tuple[int, ...], layout: str
) -> None:
    pytest.importorskip("PIL", reason="pillow resizes")
    seeing = load(tmp_path, "letterbox", "detect")
    rng = np.random.default_rng(len(shape))
    raw = rng.integers(0, 256, shape, np.uint8)
    spec: dict[str, Any] = {
        **tiny_bundle.SPEC,
        "kind": "letterbox",
        "fill": 114,
        "size": [64, 96],
        "channels": 3,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.3, 0.4],
        "layout": layout,
    }
    assert seeing.feeds(raw, spec)["x"].tobytes() == letterbox.preprocess(raw, spec)["x"].tobytes()
    outputs = {}
    for k in range(3):
        h, w = 8 >> k, 12 >> k
        outputs[f"output_{2 * k}"] = rng.normal(-2, 2, (1, 2, h, w)).astype(np.float32)
        outputs[f"output_{2 * k + 1}"] = rng.normal(0, 0.7, (1, 4, h, w)).astype(np.float32)
    outputs["output_0"][0, 0, 0, 0] = np.nan
    labels = ["disc", "bar"]
    said = tell(detect, outputs, raw, spec, labels)["found"]
    assert said.count(";") > 3 and seeing.tell(outputs, raw, spec, labels) == said
    none = {name: np.full_like(v, -9) for name, v in outputs.items()}
    assert seeing.tell(none, raw, spec, labels) == "nothing"


def test_reading_is_equal_to_the_library(runner: ModuleType, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="pillow reads images")
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    pictures = {
        "rgb.png": pillow.fromarray(noise[:, :, :3]),
        "rgba.png": pillow.fromarray(noise),
        "gray.png": pillow.fromarray(noise[:, :, 0]),
        "gray_alpha.png": pillow.fromarray(noise[:, :, :2]),
        "palette.gif": pillow.fromarray(noise[:, :, :3]).quantize(16),
        "wide.png": pillow.fromarray(noise[:, :, 0].astype(np.uint16) * 257),
        "bits.png": pillow.fromarray(noise[:, :, 0]).convert("1"),
        "photo.jpg": pillow.fromarray(noise[:, :, :3]),
        "print.jpg": pillow.fromarray(noise[:, :, :3]).convert("CMYK"),
    }
    turned = pillow.Exif()
    turned[0x0112] = 6
    for name, picture in pictures.items():
        picture.save(tmp_path / name, **({"exif": turned} if name == "photo.jpg" else {}))
        expected, got = image.read(tmp_path / name), runner.read(str(tmp_path / name))
        assert expected.dtype == got.dtype == np.uint8
        assert np.array_equal(expected, got), name
    assert image.read(tmp_path / "photo.jpg").shape == (7, 9, 3)


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
