"""Bad input through the command line: one clear error with its exit code, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import builds
import numpy as np
import pytest
import shapes_run
from shapes_run import HOST

from edgeft.cli.entry import run as in_process
from edgeft.config import recipe


@dataclass(frozen=True)
class Answer:
    code: int
    found: dict[str, Any]
    err: str

    @property
    def said(self) -> str:
        return f"{self.found.get('where')}: {self.found.get('message')} -> {self.found.get('remedy')}"


def start(*argv: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgeft", *map(str, argv), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def finish(process: subprocess.Popen[str], error: bool = True) -> Answer:
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err + out, err
    assert out.count("\n") == 1, (out, err)
    found = json.loads(out)
    if error:
        assert found["exit_code"] == process.returncode and found["message"], found
    return Answer(process.returncode, found, err)


def ask(*argv: object, error: bool = True, **options: Any) -> Answer:
    return finish(start(*argv, **options), error)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


def left() -> list[str]:
    """Everything below the working folder, the inputs of the test left out."""
    names = sorted(path.relative_to(".").as_posix() for path in Path().rglob("*"))
    return [name for name in names if not name.startswith(("in.", "in/")) and name != "in"]


def write_recipe(data: Path, /, **tables: dict[str, Any]) -> Path:
    pytest.importorskip("torch")
    Path("in.toml").write_text(recipe.dumps(recipe.from_table(shapes_run.recipe_of(data, **tables), "the test")))
    return Path("in.toml")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "data.npz"
    return shapes_run.write_data(path, counts={"train": 60, "val": 30, "test": 60})


# -- recipe --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[train]\nepoch = 3\n", 2, "epochs"),
        ('[train]\nepochs = "three"\n', 2, "epochs"),
        ("[train]\nlr = -1.0\n", 2, "lr"),
        ('[update]\npolicy = "heads"\n', 2, "head"),
        ("[trian]\nepochs = 3\n", 1, "train"),
        ("[train\n", 1, ""),
    ],
)
def test_a_wrong_recipe_names_file_and_line(text, line, words):
    Path("in.toml").write_text(text)
    answer = ask("tune", "in.toml", "--out", "run")
    assert answer.code == 3 and answer.found["error"] == "RecipeError"
    assert answer.found["where"] == f"in.toml:{line}" and words in answer.said
    assert left() == []


def test_an_unknown_target_is_answered_with_the_nearest(shapes, small):
    answer = ask("export", shapes.run, "--target", "jetsen", "--out", "bundles")
    assert answer.code == 2 and "jetson" in answer.said
    answer = ask("tune", write_recipe(small, export={"targets": ["rpi55"]}), "--out", "run")
    assert answer.code in (2, 3) and "rpi5" in answer.said
    assert left() == []


# -- data ----------------------------------------------------------------------------------------------------------
def images(root: Path, labels: tuple[str, ...] = shapes_run.LABELS, broken: int = 0) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for split, n in (("train", 20), ("val", 5), ("test", 20)):
        for label in labels:
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(n):
                pillow.fromarray(shapes_run.picture(label, rng)).save(folder / f"{i}.png")
    for i in range(broken):
        (root / "train" / labels[0] / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return root


@pytest.mark.parametrize(
    ("problem", "words"),
    [("missing", "no such"), ("empty", "no images"), ("one class", "one class"), ("unreadable", "cannot be read")],
)
def test_data_that_cannot_be_used(problem, words):
    root = Path("in/data").absolute()
    if problem == "empty":
        root.mkdir(parents=True)
    elif problem != "missing":
        images(root, shapes_run.LABELS[:1] if problem == "one class" else shapes_run.LABELS, broken=9)
    write_recipe(root, data={"format": "image-folder"})
    answer = ask("tune", "in.toml", "--out", "run")
    assert answer.code == 3 and answer.found["error"] == "DataError" and words in answer.said
    assert str(root) in answer.found["where"] and answer.found["remedy"]
    assert left() == []


def test_a_few_unreadable_images_are_left_out_with_a_warning():
    root = images(Path("in/data").absolute(), broken=2)
    answer = ask("tune", write_recipe(root, data={"format": "image-folder"}), "--dry-run", error=False)
    assert answer.code == 0 and "skipped 2 of 60" in answer.err
    assert answer.found["samples"] == {"train": 58, "val": 15, "test": 60} and left() == []


@pytest.mark.parametrize("damage", ["truncated", "pickled", "no archive"])
def test_a_broken_npz(small, damage):
    path = Path("in.npz").absolute()
    if damage == "truncated":
        path.write_bytes(small.read_bytes()[:-5000])
    elif damage == "no archive":
        path.write_bytes(b"\x93NUMPY nothing else")
    else:
        with np.load(small) as archive:
            arrays: dict[str, Any] = dict(archive)
        arrays["train_labels"] = np.array([{"a": 1}] * 60, dtype=object)
        np.savez(path, **arrays)
    answer = ask("tune", write_recipe(path), "--out", "run")
    assert answer.code == 3 and answer.found["error"] == "DataError" and str(path) in answer.found["where"]
    assert left() == []


def test_a_calibration_set_that_is_all_test_samples(small):
    path = Path("in.npz").absolute()
    with np.load(small) as archive:
        arrays = dict(archive)
    arrays["test_images"], arrays["test_labels"] = arrays["train_images"], arrays["train_labels"]
    np.savez(path, **arrays)
    answer = ask("tune", write_recipe(path), "--out", "run")
    assert answer.code == 3 and "calibration set is empty" in answer.said and "leak" in answer.err
    assert left() == []


def _csv(path: Path) -> None:
    path.write_bytes(b"text,label\n" + b"caf\xe9,1\n" * 9 + b"".join(b"tea %d,%d\n" % (i, i % 2) for i in range(20)))


def _jsonl(path: Path) -> None:
    path.write_text('{"text": "a", "label": 1\n' * 9)


def _ratings(path: Path) -> None:
    path.write_text("userId,movieId,rating,timestamp\n" + "1,2\n" * 9)


def _trajectories(path: Path) -> None:
    observed = np.zeros((60, 4), np.float32)
    observed[7, 2] = np.nan
    with path.open("wb") as file:
        np.savez(file, obs=observed, acts=np.zeros(60))


def _sounds(path: Path) -> None:
    for label in "ab":
        (path / label).mkdir(parents=True)
        for i in range(6):
            (path / label / f"{i}.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")


@pytest.mark.parametrize(
    ("task", "form", "write", "named"),
    [
        ("text-classify", "csv", _csv, "in.csv:2"),
        ("text-classify", "jsonl", _jsonl, "in.jsonl:1"),
        ("recommend", "ratings", _ratings, "in.ratings:2"),
        ("control", "trajectories", _trajectories, "[obs][7]"),
        ("keyword", "wav-folder", _sounds, ".wav: not readable"),
    ],
)
def test_wrong_data_of_every_format_is_refused_before_anything_is_made(task, form, write, named, capfd):
    path = Path(f"in.{form}").absolute()
    write(path)
    pytest.importorskip("torch")
    table = {"task": task, "data": {"format": form, "path": str(path)}, "model": {"source": "builtin", "name": "mlp"}}
    Path("in.toml").write_text(recipe.dumps(recipe.from_table(table, "the test")))
    assert in_process(["tune", "in.toml", "--out", "run", "--json"]) == 3
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["error"] == "DataError" and found["remedy"] and "Traceback" not in err
    assert named in f"{found['where']} {found['message']}"
    assert left() == []


# -- models --------------------------------------------------------------------------------------------------------
class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("owned",))


@pytest.mark.parametrize("kind", ["another net", "truncated", "pickle", "missing"])
def test_a_checkpoint_that_does_not_fit(small, kind):
    torch = pytest.importorskip("torch")

    state = builds.build(recipe.Model(name="resnet20"), 3).module.state_dict()
    path = Path("in.pt").absolute()
    if kind == "pickle":
        torch.save({"state_dict": state, "more": Evil()}, path)
    elif kind != "missing":
        torch.save(state, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:4000])
    answer = ask("tune", write_recipe(small, model={"weights": str(path)}), "--out", "run")
    assert answer.code == 3 and str(path) in answer.said
    if kind == "another net":
        assert "resnet20" in answer.found["remedy"]
    assert left() == []


# -- a baseline and gates that decide nothing ----------------------------------------------------------------------
def test_a_baseline_at_chance_is_refused():
    data = shapes_run.write_data(
        Path("in.npz").absolute(), random_labels=True, counts={"train": 60, "val": 30, "test": 120}
    )
    write_recipe(data, train={"epochs": 1}, quantize={"method": "ptq"}, export={"targets": ["host"]})
    assert ask("tune", "in.toml", "--out", "in/run", error=False).code == 0
    answer = ask("export", "in/run", "--target", "host", "--out", "bundles")
    assert answer.code == 3 and answer.found["error"] == "DataError" and "chance" in answer.said
    assert left() == []


def test_a_limit_as_wide_as_the_metric_is_refused(shapes):
    answer = ask("export", shapes.run, "--target", "host", "--out", "bundles", "--set", "gates.max_drop=0.95")
    assert answer.code == 3 and "could never fail" in answer.said and "max_drop" in answer.found["where"]
    assert left() == []


# -- the system refuses --------------------------------------------------------------------------------------------
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody may write")
def test_an_out_that_nobody_may_write(shapes, small):
    for argv in (
        ["tune", write_recipe(small), "--out", "/proc/run"],
        ["export", shapes.run, "--target", "host", "--out", "/proc/bundles"],
    ):
        answer = ask(*argv)
        assert answer.code == 6 and answer.found["error"] == "SystemFailure" and "/proc/" in answer.said
    assert left() == []


def limited(size: int) -> Callable[[], None]:
    """Before the command starts: no file may grow beyond `size` bytes, and the system says so by EFBIG."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("size", [100, 250_000])
def test_tune_where_files_cannot_be_written(small, size):
    write_recipe(small, train={"epochs": 1}, export={"targets": ["host"]})
    answer = ask("tune", "in.toml", "--out", "run", preexec_fn=limited(size))
    assert answer.code == 6 and answer.found["error"] == "SystemFailure" and answer.found["remedy"]
    assert not [name for name in left() if "tmp" in name] and "run/summary.json" not in left()
    # what was written is whole, and the run goes on from it
    if Path("run/recipe.toml").is_file():
        assert recipe.load("run/recipe.toml").train.epochs == 1


@pytest.mark.parametrize("size", [5_000, 150_000])
def test_export_where_files_cannot_be_written(shapes, size):
    answer = ask("export", shapes.run, "--target", "host", "--out", "bundles", preexec_fn=limited(size))
    assert answer.code == 6 and answer.found["error"] == "SystemFailure"
    assert left() == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "edgeft-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs rights that are not given here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up(full_disk, shapes, small):
    write_recipe(small, train={"epochs": 1}, export={"targets": ["host"]})
    answer = ask("tune", "in.toml", "--out", full_disk / "run")
    assert answer.code == 6 and "No space left" in answer.said
    assert not [p for p in full_disk.rglob("*") if "tmp" in p.name] and not (full_disk / "run/summary.json").exists()
    shutil.rmtree(full_disk / "run", ignore_errors=True)
    answer = ask("export", shapes.run, "--target", "host", "--target", "host-openvino", "--out", full_disk / "bundles")
    assert answer.code == 6 and "No space left" in answer.said
    assert not [p for p in full_disk.rglob("*") if "tmp" in p.name]
    # a bundle is there as a whole or not at all
    assert all(ask("verify", p, error=False).code == 0 for p in full_disk.glob("bundles/*"))


# -- an --out that is there ----------------------------------------------------------------------------------------
def test_an_out_that_is_not_empty_is_refused_and_untouched(shapes, exported, small):
    Path("in").mkdir()
    Path("in/mine.txt").write_text("mine")
    answer = ask("tune", write_recipe(small), "--out", "in")
    assert answer.code == 2 and "--overwrite" in answer.said
    shutil.copytree(exported.bundle("host"), "in/bundles/host")
    answer = ask("export", shapes.run, "--target", "host", "--out", "in/bundles")
    assert answer.code == 2 and "--overwrite" in answer.said
    assert Path("in/mine.txt").read_text() == "mine" and ask("verify", "in/bundles/host", error=False).code == 0


# -- bundles -------------------------------------------------------------------------------------------------------
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


# -- ctrl-C --------------------------------------------------------------------------------------------------------
def interrupt(process: subprocess.Popen[str], when: Callable[[], bool]) -> Answer:
    deadline = time.monotonic() + 240
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    return finish(process)


def test_ctrl_c_in_the_middle_of_tune_and_on_with_the_same_result(small):
    import torch
    from safetensors.torch import load_file

    write_recipe(small, train={"epochs": 12}, quantize={"epochs": 1}, export={"targets": ["host"]})
    answer = interrupt(start("tune", "in.toml", "--out", "run"), Path("run/checkpoints/float.pt").exists)
    assert answer.code == 130 and answer.found["remedy"] == "edgeft tune --resume run"
    assert not [name for name in left() if "tmp" in name] and "run/summary.json" not in left()
    answer = ask("export", "run", "--target", "host", "--out", "bundles")
    assert answer.code == 3 and answer.found["remedy"] == "edgeft tune --resume run" and not Path("bundles").exists()
    resumed = ask("tune", "--resume", "run", error=False)
    assert resumed.code == 0 and "taken up after epoch" in resumed.err
    whole = ask("tune", "in.toml", "--out", "whole", error=False)
    assert whole.code == 0
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        one, other = load_file(f"run/{name}"), load_file(f"whole/{name}")
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_ctrl_c_in_the_middle_of_export(shapes):
    process = start("export", shapes.run, "--target", "host", "--target", "host-litert", "--out", "bundles")
    answer = interrupt(process, lambda: any(Path("bundles").glob(".host*.tmp/*")))
    assert answer.code == 130
    assert not [name for name in left() if "tmp" in name]
    assert all(ask("verify", p, error=False).code == 0 for p in Path("bundles").glob("*"))


# -- --debug -------------------------------------------------------------------------------------------------------
def test_debug_shows_the_traceback_and_nothing_else_does():
    Path("in.toml").write_text("[train]\nepoch = 3\n")
    plain = [sys.executable, "-m", "edgeft", "tune", "in.toml"]
    done = subprocess.run(plain, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and "Traceback" not in done.stderr and done.stdout == ""
    for argv in ([*plain, "--debug"], [*plain[:3], "--debug", *plain[3:]]):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert done.returncode == 3 and "Traceback" in done.stderr and "RecipeError" in done.stderr
