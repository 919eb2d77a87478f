"""Readers of files that no bundle holds: recipes, settings, data sets, weights, journals.

`FILES` has a function a row that writes a small whole file into a folder and returns it; `READERS` reads the mutated one.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "data")]

Write = Callable[[Path], Path]
Read = Callable[[Path], Any]


def _recipe(folder: Path) -> Path:
    from tiny_recipes import RECIPES

    (folder / "recipe.toml").write_text(RECIPES["personalize"].toml())
    return folder / "recipe.toml"


def _copied(name: str) -> Write:
    return lambda folder: Path(shutil.copy(ROOT / name, folder))


def _picture(suffix: str) -> Write:
    def write(folder: Path) -> Path:
        pixels = np.random.default_rng(0).integers(0, 255, (12, 10, 3)).astype(np.uint8)
        path = folder / f"picture{suffix}"
        if suffix == ".npy":
            np.save(path, pixels)
        else:
            from PIL import Image

            Image.fromarray(pixels).save(path)

        return path

    return write


def _text(name: str, line: Callable[[int], str], head: str = "", count: int = 40) -> Write:
    def write(folder: Path) -> Path:
        (folder / name).write_text(head + "".join(line(number) + "\n" for number in range(count)))
        return folder / name

    return write


def _annotations(form: str) -> Write:
    def write(folder: Path) -> Path:
        import test_annotation_tools as tools

        (folder / "data").mkdir()
        tools.WRITERS[form][1](folder / "data")
        return next(p for p in sorted((folder / "data").rglob("*")) if p.suffix in (".json", ".xml", ".txt"))

    return write


def _npz(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    parts = {f"{part}_images": rng.integers(0, 255, (6, 8, 8, 1)).astype(np.uint8) for part in ("train", "val", "test")}
    parts |= {f"{part}_labels": np.arange(6) % 2 for part in ("train", "val", "test")}
    np.savez(folder / "data.npz", **parts)
    return folder / "data.npz"


def _weights(suffix: str) -> Write:
    def write(folder: Path) -> Path:
        import torch
        from safetensors.torch import save_file

        state = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3)}
        path = folder / f"weights{suffix}"
        save_file(state, str(path)) if suffix == ".safetensors" else torch.save(state, path)
        return path

    return write


def _onnx(folder: Path) -> Path:
    import tiny_bundle

    tiny_bundle._onnx(folder / "model.onnx")
    return folder / "model.onnx"


def _history(folder: Path) -> Path:
    line = {"at": "2026-01-01T00:00:00Z", "name": "a", "verdict": "pass", "estimate_pct": 1.5, "ci99_pct": [0.5, 2.5]}
    (folder / "accepted").mkdir()
    (folder / "history.jsonl").write_text((json.dumps(line) + "\n") * 4)
    return folder / "history.jsonl"


FILES: dict[str, Write] = {
    "recipe.toml": _recipe,
    "calibration.toml": _copied("calibration/mse.toml"),
    "picture.png": _picture(".png"),
    "picture.jpg": _picture(".jpg"),
    "picture.npy": _picture(".npy"),
    "data.npz": _npz,
    "texts.jsonl": _text("texts.jsonl", lambda i: json.dumps({"text": f"word {i}", "label": "ab"[i % 2]})),
    "table.csv": _text("table.csv", lambda i: f"{i},{i * 0.5},{'ab'[i % 2]}", "x,y,label\n"),
    "ratings.csv": _text(
        "ratings.csv", lambda i: f"{i % 8},{i % 59},{i % 5 + 1},{i}", "user,item,rating,timestamp\n", 160
    ),
    "annotations: voc": _annotations("voc"),
    "annotations: cvat": _annotations("cvat"),
    "annotations: label-studio": _annotations("label-studio"),
    "annotations: via": _annotations("via json"),
    "annotations: kitti": _annotations("kitti"),
    "weights.safetensors": _weights(".safetensors"),
    "weights.pt": _weights(".pt"),
    "model.onnx of another tool": _onnx,
    "history.jsonl": _history,
}


def readers() -> dict[str, Read]:
    from edgeft import data
    from edgeft.config import calibration, recipe
    from edgeft.config.recipe import Data

    def opened(form: str, task: str, *, folder: bool = False) -> Read:
        def read(path: Path) -> None:
            root = next(p for p in path.parents if p.name == "data") if folder else path
            dataset = data.open(Data(format=form, path=str(root)), task)
            for name in dataset.splits:
                split = dataset.split(name)
                for position in range(min(len(split), 3)):
                    split.raw(position)

        return read

    def picture(path: Path) -> None:
        from edgeft.inputs import picture_file

        picture_file.read(path)

    def weights(path: Path) -> None:
        from edgeft.models import weights as files

        files.read(path)

    def imported(path: Path) -> None:
        from edgeft.models.onnx import importer

        importer.load(path)

    def history(path: Path) -> None:
        from edgeft.measure import store

        store.history(path.parent)

    return {
        "recipe.toml": recipe.load,
        "calibration.toml": lambda path: calibration.load(str(path)),
        **dict.fromkeys(("picture.png", "picture.jpg", "picture.npy"), picture),
        "data.npz": opened("npz", "classify"),
        "texts.jsonl": opened("jsonl", "text-classify"),
        "table.csv": opened("table", "tabular"),
        "ratings.csv": opened("ratings", "recommend"),
        **{
            f"annotations: {form}": opened(form, "detect", folder=True)
            for form in ("voc", "cvat", "label-studio", "via")
        },
        "annotations: kitti": opened("kitti", "detect", folder=True),
        "weights.safetensors": weights,
        "weights.pt": weights,
        "model.onnx of another tool": imported,
        "history.jsonl": history,
    }
