"""Data is streamed from disk: memory does not grow with the data set, and `workers` are processes that read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeft.config import recipe
from edgeft.data.samples import Dataset, Split
from edgeft.learning import batches, tensors
from edgeft.models.built import image_spec
from edgeft.tasks.classify import learning as classify

#: of the bytes of a large data set, that reading it may cost more than reading a small one
SHARE = 0.3
#: what is freed goes back to the system at once: memory that an earlier reading left would hide what a later one keeps
AT_ONCE = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("what a process holds is read from Linux' /proc")
    script = Path(__file__).with_name("stream_memory.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", **AT_ONCE},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    kept = found.pop("kept")
    for form, row in found.items():
        assert row["large"] - row["small"] < SHARE * row["bytes"], (form, found)
    pictures = found["image-folder"]  # a measure that would not see kept pictures could not fail
    train = 0.7 * pictures["bytes"]
    assert kept - pictures["large"] > 0.8 * train, (kept, found)


class Noted:
    """Pictures or rows of numbers; who reads a sample leaves its process' number in a folder."""

    def __init__(self, folder: Path, shape: tuple[int, ...], n: int = 24) -> None:
        self.folder, self.n = folder, n
        self.values = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)

    def __len__(self) -> int:
        return self.n

    def raw(self, i: int) -> np.ndarray:
        (self.folder / str(os.getpid())).touch()
        return self.values[i]

    def source(self, i: int) -> str:
        return str(i)

    def readers(self) -> set[int]:
        found = {int(path.name) for path in self.folder.iterdir()}
        for path in self.folder.iterdir():
            path.unlink()
        return found


def numbers(raw: Any, spec: Any) -> dict[str, np.ndarray]:
    return {"x": raw.astype(np.float32)[None]}


@pytest.mark.parametrize("kind", ["pictures", "tensors"])
def test_workers_are_processes_and_give_the_same_batches(kind: str, tmp_path: Path) -> None:
    pool = Noted(tmp_path, (16, 16, 3) if kind == "pictures" else (7,))
    split = Split("train", pool, np.arange(len(pool)), np.arange(len(pool)) % 3)

    def read(workers: int, epoch: int) -> list[torch.Tensor]:
        if kind == "pictures":
            loader = classify.loader(split, image_spec((12, 12)), 5, seed=4, workers=workers, shuffle=True)
        else:
            loading = batches.Loading(5, seed=4, workers=workers, shuffle=True)
            loader = batches.load(tensors.source(numbers, split, {}, loading), loading)
        loader.set_epoch(epoch)
        parts: list[torch.Tensor] = []
        for inputs, targets in loader:
            parts += [*(inputs if isinstance(inputs, tuple) else (inputs,)), targets]
        return parts

    for epoch in (0, 1):
        alone = read(0, epoch)
        assert pool.readers() == {os.getpid()}
        for workers in (1, 2):
            shared = read(workers, epoch)
            readers = pool.readers()
            assert len(readers) == workers and os.getpid() not in readers
            assert len(shared) == len(alone) and all(torch.equal(a, b) for a, b in zip(shared, alone))


def test_the_recipes_workers_reach_the_training_loop(tmp_path: Path) -> None:
    import edgeft

    (tmp_path / "pids").mkdir()
    pool = Noted(tmp_path / "pids", (8, 8, 3), n=30)
    targets = np.arange(30) % 2
    at = np.split(np.arange(30), [16, 22])
    splits = {name: Split(name, pool, rows, targets[rows]) for name, rows in zip(("train", "val", "test"), at)}
    dataset = Dataset("noted", ("a", "b"), splits)
    states = []
    for workers in (0, 2):
        made = recipe.from_table(
            {
                "name": "workers",
                "model": {"name": "resnet8"},
                "data": {"size": 8},
                "train": {"epochs": 1, "batch_size": 8, "augment": "none", "workers": workers},
                "quantize": {"method": "none"},
                "export": {"targets": ["host"]},
            },
            "the test",
        )
        out = tmp_path / f"run{workers}"
        edgeft.tune(made, out, dataset=dataset)
        readers = pool.readers() - {os.getpid()}
        # an epoch this short is read once more, for the statistics of BatchNorm
        assert len(readers) == 2 * workers, readers
        states.append((out / "float.safetensors").read_bytes())
    assert states[0] == states[1]
