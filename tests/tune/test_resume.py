"""A run that was killed goes on as if nothing had happened, and a run begun anew takes nothing from an old one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import tune_data
from safetensors.torch import load_file
from shapes_run import HOST

from edgeft.core.errors import RunError, UsageError
from edgeft.tune.run import tune

HERE = Path(__file__).parent
#: stops for good in the middle of the second epoch: of the stage whose checkpoint is argv[4], in the loss argv[5]
SCRIPT = """
    import dataclasses, sys, time
    sys.path.insert(0, {here!r})
    from pathlib import Path
    import tune_data
    from edgeft.tasks.classify import learning as classify
    from edgeft.tune.run import tune
    data, out, how, stage, which = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    real, seen = getattr(classify, which), []
    def counted(*args):
        if (out / "checkpoints" / f"{{stage}}.pt").exists():  # the first epoch is over
            seen.append(1)
        if len(seen) == 2:
            (out / "middle").touch()
            time.sleep(600)
        return real(*args)
    classify.LEARNING = dataclasses.replace(classify.LEARNING, **{{which: counted}})
    tune(tune_data.recipe_for(data, "train.augment='light'"), out, resume=how == "resume")
"""


def interrupted(data: Path, out: Path, how: int, *, resume: bool, stage: str, loss: str) -> int:
    """Run in another process, send it `how` in the middle of an epoch, return its exit code."""
    out.mkdir(exist_ok=True)
    script = out.parent / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(here=str(HERE)))
    arguments = [str(data), str(out), "resume" if resume else "new", stage, loss]
    process = subprocess.Popen([sys.executable, str(script), *arguments], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 240
        while not (out / "middle").exists():
            assert process.poll() is None, process.communicate()[1][-2000:]
            assert time.monotonic() < deadline, "never reached the epoch"
            time.sleep(0.05)
        os.kill(process.pid, how)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    (out / "middle").unlink()
    return process.returncode


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """kill -9 in the second float epoch, ctrl-C in the second quantized one, then to the end. Augmented."""
    data = tune_data.write(tmp_path / "shapes.npz")
    recipe = tune_data.recipe_for(data, "train.augment='light'")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    want = tune(recipe, whole)
    assert interrupted(data, parts, signal.SIGKILL, resume=False, stage="float", loss="loss") == -signal.SIGKILL
    assert {p.name for p in (parts / "checkpoints").iterdir()} == {"float.pt"}
    assert not (parts / "summary.json").exists()
    assert interrupted(data, parts, signal.SIGINT, resume=True, stage=HOST, loss="distill") != 0
    assert {p.name for p in (parts / "checkpoints").iterdir()} == {"float.pt", f"{HOST}.pt"}
    said: list[str] = []
    got = tune(recipe, parts, resume=True, say=said.append)
    assert "float: taken up after epoch 2" in said and f"{HOST}: taken up after epoch 1" in said
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        first, second = load_file(whole / name), load_file(parts / name)
        assert set(first) == set(second)
        assert [k for k in first if not torch.equal(first[k], second[k])] == []
    assert lines(whole / "metrics.jsonl") == lines(parts / "metrics.jsonl")
    for key in ("float", "ptq", "quantized", "steps", "schemes", "peak_training_bytes"):
        assert want[key] == got[key], key
    assert not list(parts.glob(".*tmp")), "no temporary file is left behind"


def test_a_run_begun_anew_takes_nothing_from_an_older_one(tmp_path: Path) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    short = ("train.epochs=1", "quantize.epochs=1")
    tune(tune_data.recipe_for(data, *short, "train.seed=1", "export.targets=['host', 'jetson']"), tmp_path / "run")
    old = {p.name for p in (tmp_path / "run").glob("quantized.*")}
    assert len(old) == 2
    tune(tune_data.recipe_for(data, *short, "train.seed=2"), tmp_path / "run")
    tune(tune_data.recipe_for(data, *short, "train.seed=2"), tmp_path / "fresh")
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        first, second = load_file(tmp_path / "run" / name), load_file(tmp_path / "fresh" / name)
        assert all(torch.equal(first[k], second[k]) for k in first), name
    assert {p.name for p in (tmp_path / "run").glob("quantized.*")} == {f"quantized.{HOST}.safetensors"}


def test_a_finished_run_takes_another_target_without_training_again(tmp_path: Path) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    short = ("train.epochs=1", "quantize.epochs=1")
    tune(tune_data.recipe_for(data, *short), tmp_path / "run")
    before = load_file(tmp_path / "run" / f"quantized.{HOST}.safetensors")
    said: list[str] = []
    more = tune(
        tune_data.recipe_for(data, *short, "export.targets=['host', 'jetson']"),
        tmp_path / "run",
        resume=True,
        say=said.append,
    )
    assert len(more["schemes"]) == 2
    assert {"float: taken up after epoch 1", f"{HOST}: taken up after epoch 1"} <= set(said)
    after = load_file(tmp_path / "run" / f"quantized.{HOST}.safetensors")
    assert all(torch.equal(before[k], after[k]) for k in before)
    # changed settings of the quantized stage are trained anew, not mixed with the old
    said.clear()
    tune(
        tune_data.recipe_for(data, *short, "quantize.keep_float=['fc']"), tmp_path / "run", resume=True, say=said.append
    )
    assert f"{HOST}: its settings have changed, trained anew" in said


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    short = ("train.epochs=1", "quantize.epochs=0")
    with pytest.raises(UsageError, match="is not a run directory"):
        tune(tune_data.recipe_for(data, *short), tmp_path / "none", resume=True)
    tune(tune_data.recipe_for(data, *short), tmp_path / "run")
    with pytest.raises(UsageError, match=r"\[train\] differs"):
        tune(tune_data.recipe_for(data, *short, "train.lr=0.5"), tmp_path / "run", resume=True)
    (tmp_path / "run" / "checkpoints" / "float.pt").write_bytes(b"broken")
    with pytest.raises(RunError, match="cannot be read") as caught:
        tune(tune_data.recipe_for(data, *short), tmp_path / "run", resume=True)
    assert "delete this file" in caught.value.remedy
