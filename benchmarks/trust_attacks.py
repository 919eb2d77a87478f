"""Sabotaged bundles: what an attacker or a broken tool would change, every digest made consistent again.

Each function of `KINDS` alters a copy of a bundle in place. `rng` chooses where; `other` is the same network as it was
exported for another purpose (the float baseline's file). A kind that does not apply to a runtime says so by `False`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

Attack = Callable[[Path, np.random.Generator], "bool | None"]


def manifest(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "manifest.json").read_text())


def seal(bundle: Path, table: dict[str, Any] | None = None) -> None:
    """Write the manifest with digests of the files as they are now, and its own digest."""
    table = table or manifest(bundle)
    for name in table["files"]:
        data = (bundle / name).read_bytes()
        table["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(table, indent=2) + "\n")
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    (bundle / "manifest.sha256").write_text(f"{digest}  manifest.json\n")


def model_of(bundle: Path, *, baseline: bool = False, weights: bool = False) -> Path:
    """The file of the model; with `weights` that of its weights, where they stand beside it."""
    graph = manifest(bundle)["graphs"][0]
    path = bundle / graph["baseline" if baseline else "file"]
    beside = path.with_suffix(".bin")
    return beside if weights and beside.exists() else path


def companions(path: Path) -> list[Path]:
    return [file for file in (path, path.with_suffix(".bin")) if file.exists()]


def flip(path: Path, rng: np.random.Generator, count: int) -> None:
    data = bytearray(path.read_bytes())
    for at in rng.integers(len(data) // 4, len(data), count):
        data[int(at)] ^= int(rng.integers(1, 256))
    path.write_bytes(data)


def flipped_bytes(bundle: Path, rng: np.random.Generator) -> None:
    flip(model_of(bundle, weights=True), rng, int(rng.integers(1, 20)))
    seal(bundle)


def flipped_baseline(bundle: Path, rng: np.random.Generator) -> None:
    flip(model_of(bundle, baseline=True, weights=True), rng, int(rng.integers(1, 20)))
    seal(bundle)


def float_as_integer(bundle: Path, rng: np.random.Generator) -> None:
    for source, place in zip(companions(model_of(bundle, baseline=True)), companions(model_of(bundle))):
        shutil.copy(source, place)
    seal(bundle)


def integer_as_float(bundle: Path, rng: np.random.Generator) -> None:
    for source, place in zip(companions(model_of(bundle)), companions(model_of(bundle, baseline=True))):
        shutil.copy(source, place)
    seal(bundle)


def _grafted(bundle: Path, how: str) -> bool | None:
    from grafted import graft

    backend = manifest(bundle)["backend"]
    try:
        graft(backend, model_of(bundle), model_of(bundle, baseline=True), how)
    except KeyError:
        return False

    seal(bundle)
    return None


def dead_integer_branch(bundle: Path, rng: np.random.Generator) -> bool | None:
    return _grafted(bundle, "beside")


def integer_branch_times_zero(bundle: Path, rng: np.random.Generator) -> bool | None:
    return _grafted(bundle, "times zero")


def _samples(bundle: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    with np.load(bundle / "samples.npz", allow_pickle=False) as arrays:
        stored = dict(arrays)
    np.savez(bundle / "samples.npz", **change(stored))
    seal(bundle)


def fewer_samples(bundle: Path, rng: np.random.Generator) -> None:
    def one(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raws = sorted({key.split("/")[0] for key in stored if key.startswith("raw_")}, key=lambda key: int(key[4:]))
        drop = set(raws[1:])
        cut = {key: value for key, value in stored.items() if key.split("/")[0] not in drop}
        return {k: v[:1] if "/" in k or k.startswith("target") else v for k, v in cut.items()}

    _samples(bundle, one)


def other_outputs(bundle: Path, rng: np.random.Generator) -> None:
    def shuffled(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        order = np.roll(np.arange(len(stored["targets"])), 1 + int(rng.integers(len(stored["targets"]) - 1)))
        return {k: v[order] if k.startswith(("output/", "graph/")) else v for k, v in stored.items()}

    _samples(bundle, shuffled)


def other_labels(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    at = 1 + int(rng.integers(len(table["labels"]) - 1))
    table["labels"] = [*table["labels"][at:], *table["labels"][:at]]
    seal(bundle, table)


def other_preprocessing(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["preprocess"]["mean"] = [value + float(rng.uniform(0.05, 0.5)) for value in table["preprocess"]["mean"]]
    seal(bundle, table)


def looser_gates(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["gates"] |= {"max_drop": float(rng.uniform(0.2, 0.9)), "min_int8_share": 0.0}
    seal(bundle, table)


def gates_of_wrong_types(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["gates"]["max_drop"] = [["0.01"], "0.01", True, {"is": 0.01}][int(rng.integers(4))]
    seal(bundle, table)


def no_gates(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    del table["gates"]
    seal(bundle, table)


def fewer_listed_weights(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    names = sorted(table["integer_weights"])
    table["integer_weights"] = {names[0]: table["integer_weights"][names[0]]}
    seal(bundle, table)


def other_scales(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["graphs"][0]["outputs"][0]["scale"] = float(rng.uniform(1, 100))
    table["scales_sha256"] = hashlib.sha256(rng.bytes(8)).hexdigest()
    seal(bundle, table)


def target_as_path(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["target"] = ["/etc/passwd.toml", "../x.toml", "/dev/zero"][int(rng.integers(3))]
    seal(bundle, table)


def many_threads(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["runtime"]["threads"] = int(rng.integers(1 << 20, 1 << 31))
    seal(bundle, table)


def file_outside(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["graphs"][0]["file"] = ["../model.onnx", "/etc/hostname", "baseline/../../x"][int(rng.integers(3))]
    table["files"][table["graphs"][0]["file"]] = {"sha256": "0" * 64, "bytes": 1}
    (bundle / "manifest.json").write_text(json.dumps(table))
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    (bundle / "manifest.sha256").write_text(digest)


def unlisted_module(bundle: Path, rng: np.random.Generator) -> None:
    (bundle / ("numpy.py", "random.py", "json.py")[int(rng.integers(3))]).write_text("raise SystemExit(99)\n")


def altered_runner(bundle: Path, rng: np.random.Generator) -> None:
    with (bundle / "run.py").open("a") as handle:
        handle.write(f"\nprint({int(rng.integers(1000))})\n")
    seal(bundle)


def edited_report(bundle: Path, rng: np.random.Generator) -> None:
    table = json.loads((bundle / "report.json").read_text())
    for gate in table["gates"]:
        gate |= {"verdict": "pass", "quantized": 0.999} if gate["name"] == "accuracy" else {}
    (bundle / "report.json").write_text(json.dumps(table))


def other_figures(bundle: Path, rng: np.random.Generator) -> None:
    table = manifest(bundle)
    table["figures"] = {**table.get("figures", {}), "float": 0.5, "quantized": 0.5}
    seal(bundle, table)


KINDS: dict[str, Attack] = {
    function.__name__.replace("_", " "): function
    for function in (
        *(flipped_bytes, flipped_baseline, float_as_integer, integer_as_float, dead_integer_branch),
        *(integer_branch_times_zero, fewer_samples, other_outputs, other_labels, other_preprocessing, looser_gates),
        *(gates_of_wrong_types, no_gates, fewer_listed_weights, other_scales, target_as_path, many_threads),
        *(file_outside, unlisted_module, altered_runner, edited_report, other_figures),
    )
}
#: kinds that a bundle cannot show by itself: only a signature tells
SIGNATURE_ONLY = ("altered runner", "edited report", "other figures")
