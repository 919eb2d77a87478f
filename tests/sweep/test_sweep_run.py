"""Sweeps of a small net on pictures: killed, shared, judged on validation alone, within budgets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

import shapes_run

import edgeft
from edgeft.config import recipe
from edgeft.core.errors import DataError, RunError, UsageError

COUNTS = {"train": 48, "val": 18, "test": 24}
SPACE = ("train.lr=loguniform(1e-4, 1e-2)", "train.batch_size=choice(8, 16)")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_run.write_data(tmp_path_factory.mktemp("data") / "shapes.npz", counts=COUNTS)


def recipe_for(data: Path, *overrides: str) -> recipe.Recipe:
    """One epoch each of float and quantized training, for this machine."""
    table = shapes_run.recipe_of(data, train={"epochs": 1}, export={"targets": ["host"]})
    return recipe.override(recipe.from_table(table, "the test"), overrides)


def written(data: Path, folder: Path, *overrides: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(recipe.dumps(recipe_for(data, *overrides)))
    return path


def command(*words: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "edgeft", "sweep", *map(str, words)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_a_killed_sweep_is_finished_by_two_processes(data: Path, tmp_path: Path) -> None:
    asked, out = written(data, tmp_path, "train.epochs=2"), tmp_path / "sweep"
    options = [word for setting in SPACE for word in ("--set", setting)]
    first = command(asked, *options, "--minimize", "size", "--out", out, "--trials", 3)
    deadline = time.monotonic() + 200
    while not (out / "trials/0000/checkpoints/float.pt").exists():
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()

    pair = [command("--resume", out, "--trials", 3, "--json") for _ in range(2)]
    answers = [process.communicate(timeout=300) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], answers
    assert any("trial 0, taken up again" in err for _, err in answers), answers
    result = json.loads((out / "sweep.json").read_text())
    assert result["counts"] == {"done": 3, "stopped": 0, "failed": 0, "running": 0}
    assert all(row["bytes"] > 10_000 and 0 <= row["validation"] <= 1 for row in result["trials"])
    assert not list(out.glob("trials/*/checkpoints"))

    best = recipe.load(out / "best.toml")
    chosen = result["best"]["number"]
    assert best == recipe.load(out / f"trials/{chosen:04d}/recipe.toml")
    assert best.train.lr == result["trials"][chosen]["values"]["train.lr"]
    assert (
        result["best"]["test"]["quantized"]
        == json.loads((out / f"trials/{chosen:04d}/summary.json").read_text())["quantized"]
    )
    page = (out / "sweep.html").read_text()
    assert "Pareto front" in page and "<svg" in page

    again = edgeft.sweep(out=out, resume=True, trials=0)
    assert again == result


@pytest.mark.slow
def test_no_figure_of_the_test_split_has_a_part(data: Path, tmp_path: Path) -> None:
    """The same sweep with other test pictures under wrong labels: the same trials, figures and choice."""
    with np.load(data) as file:
        arrays = dict(file)
    noise = np.random.default_rng(1).integers(0, 256, arrays["test_images"].shape).astype(np.uint8)
    elsewhere = tmp_path / "elsewhere.npz"
    np.savez(elsewhere, **{**arrays, "test_images": noise, "test_labels": arrays["test_labels"][::-1]})

    seen: list[Any] = []
    for k, path in enumerate((data, elsewhere)):
        asked = recipe_for(path)
        result = edgeft.sweep(asked, tmp_path / str(k), overrides=SPACE, trials=2)
        keys = ("number", "values", "validation", "float_validation", "state")
        seen.append([result["best"]["number"], [[row[key] for key in keys] for row in result["trials"]]])
    assert seen[0] == seen[1]


def test_a_model_over_its_budget_is_not_trained(data: Path, tmp_path: Path) -> None:
    asked = recipe_for(data, "gates.size_mb=0.01")
    result = edgeft.sweep(asked, tmp_path / "sweep", overrides=SPACE, trials=1)
    assert [row["state"] for row in result["trials"]] == ["stopped"]
    assert all("budget 0.01 MB: not trained" in row["why"] for row in result["trials"])
    assert result["best"] is None and not list((tmp_path / "sweep").glob("trials/*/float.safetensors"))


def test_what_every_trial_would_meet_ends_the_sweep(data: Path, tmp_path: Path) -> None:
    asked = recipe_for(data, "train.optimizer=sgd", "data.path=nowhere.npz")
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        edgeft.sweep(asked, tmp_path / "sweep", overrides=SPACE, trials=50)
    assert len(list((tmp_path / "sweep/trials").iterdir())) == 3


def test_what_cannot_be_searched_writes_nothing(data: Path, tmp_path: Path) -> None:
    asked = recipe_for(data)
    for options, words in (
        ({"overrides": ["train.lrr=uniform(0, 1)"]}, "lr"),
        ({"overrides": ["train.epochs=3"]}, "nothing is searched"),
        ({"overrides": SPACE, "target": "rpi5", "minimize": ["latency"]}, "latency"),
        ({"overrides": SPACE, "target": "rpi55"}, "rpi5"),
        ({"overrides": SPACE, "device": "ssh://pi@board"}, "no latency is measured"),
        ({"overrides": SPACE, "device": "ssh://pi@board", "minimize": ["latency"]}, "not set up"),
        ({"overrides": SPACE, "device": "emulate:rpi5", "minimize": ["latency"]}, "emulate"),
    ):
        with pytest.raises((UsageError, Exception), match=words):
            edgeft.sweep(asked, tmp_path / "sweep", **options)
        assert not (tmp_path / "sweep").exists()
    with pytest.raises(RunError, match="no sweep"):
        edgeft.sweep(out=tmp_path, resume=True)
