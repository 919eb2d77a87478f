"""Bad input through the command line: one clear error with its exit code, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import builds
import numpy as np
import pytest
import shapes_run
from commands import ask, finish, here, left, start, write_recipe  # noqa: F401 (`here` is a fixture)

from edgeft.cli.entry import run as in_process
from edgeft.config import recipe


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
    path.write_text("text,label\n" + "coffee\n" * 9 + "".join(f"tea {i},{i % 2}\n" for i in range(20)))


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
@pytest.mark.slow
def test_a_baseline_at_chance_is_refused():
    data = shapes_run.write_data(
        Path("in.npz").absolute(), random_labels=True, counts={"train": 60, "val": 30, "test": 120}
    )
    write_recipe(data, train={"epochs": 1}, quantize={"method": "ptq"}, export={"targets": ["host"]})
    assert ask("tune", "in.toml", "--out", "in/run", error=False).code == 0
    answer = ask("export", "in/run", "--target", "host", "--out", "bundles")
    assert answer.code == 3 and answer.found["error"] == "DataError" and "chance" in answer.said
    assert left() == []


@pytest.mark.slow
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


@pytest.mark.parametrize("size", [5_000, pytest.param(150_000, marks=pytest.mark.slow)])
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


# -- --debug -------------------------------------------------------------------------------------------------------
def test_debug_shows_the_traceback_and_nothing_else_does():
    Path("in.toml").write_text("[train]\nepoch = 3\n")
    plain = [sys.executable, "-m", "edgeft", "tune", "in.toml"]
    done = subprocess.run(plain, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and "Traceback" not in done.stderr and done.stdout == ""
    for argv in ([*plain, "--debug"], [*plain[:3], "--debug", *plain[3:]]):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert done.returncode == 3 and "Traceback" in done.stderr and "RecipeError" in done.stderr
