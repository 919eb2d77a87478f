"""run.py: old syntax, the same arithmetic as the library, and the same answers without it."""

from __future__ import annotations

import ast
import py_compile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sounds
import tiny_bundle
from runners import call, load

import edgeft
from edgeft import backends
from edgeft.bundle import run_py as parts
from edgeft.config.recipe import Data
from edgeft.inputs import image, letterbox, sound, sound_file, vector
from edgeft.tasks import tell
from edgeft.tasks.control import decoding as control
from edgeft.tasks.detect import decoding as detect
from edgeft.tasks.segment import decoding as segment

#: every kind of input and every task that has a part, so that each part is read at least once
PACKAGE = Path(edgeft.__file__).parent
KINDS = sorted(path.stem.removeprefix("run_") for path in PACKAGE.glob("inputs/run_*.py"))
BACKENDS = sorted(backend.name for backend in backends.builtin())
TASKS = sorted(path.parent.name.replace("_", "-") for path in PACKAGE.glob("tasks/*/run_part.py"))
WHOLES = [
    *((backend, "image", "classify") for backend in BACKENDS),
    *((BACKENDS[0], kind, "classify") for kind in KINDS),
    # Users and items have no part of their own to read them: the task's does.
    *((BACKENDS[0], "user-items" if task == "recommend" else "image", task) for task in TASKS),
]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load(tmp_path_factory.mktemp("runner"), "image")


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load(tmp_path_factory.mktemp("runner"), "sound", "keyword")


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


@pytest.mark.parametrize("shape", [(64, 96, 3), (150, 90, 3), (70, 231), (5, 200, 4)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_windows_are_bit_equal_to_the_library_and_joined_alike(
    tmp_path: Path, shape: tuple[int, ...], overlap: float
) -> None:
    cutting = load(tmp_path, "windows", "segment")
    raw = np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)
    spec = {**tiny_bundle.SPEC, "kind": "windows", "overlap": overlap, "size": [64, 96], "channels": 3}
    spec |= {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    fed = segment.preprocess(raw, spec)["x"]
    assert cutting.feeds(raw, spec)["x"].tobytes() == fed.tobytes()

    logits = np.random.default_rng(3).normal(0, 2, (len(fed), 3, 16, 24)).astype(np.float32)
    decoded = tell(segment, {"y": logits}, raw, spec, ["a", "b", "c"])
    joined = cutting.joined(logits, raw.shape[:2], spec)
    assert (joined == decoded["mask"]).all() and joined.shape == raw.shape[:2]
    assert cutting.tell({"y": logits}, raw, spec, ["a", "b", "c"]) == decoded["label"]
    seen: list[int] = []
    run = cutting.compose({"main": lambda feeds: seen.append(len(feeds["x"])) or {"y": feeds["x"]}}, spec)
    assert run({"x": fed})["y"].tobytes() == fed.tobytes() and seen == [1] * len(fed)


@pytest.mark.parametrize("shape", [(90, 61, 3), (37, 150, 3), (16, 20)])
def test_a_segmenter_says_the_shares_of_the_picture_and_not_of_its_own_grid(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """One pixel column of a coarse grid of five is another share than what enlarging makes of it."""
    coarse = load(tmp_path, "image", "segment")
    logits = np.random.default_rng(3).normal(0, 2, (1, 3, 4, 5)).astype(np.float32)
    logits[0, 1, :, 2:] += 5
    logits[0, :, 0, 0] = np.nan
    outputs, labels = {"y": logits}, ["ground", "disc", "bar"]
    label = tell(segment, outputs, np.zeros(shape, np.uint8), tiny_bundle.SPEC, labels)["label"]
    assert coarse.tell(outputs, np.zeros(shape, np.uint8), tiny_bundle.SPEC, labels) == label
    none = {"y": np.full_like(logits, np.nan)}
    assert coarse.tell(none, np.zeros(shape, np.uint8), tiny_bundle.SPEC, labels) == "undecided"


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
