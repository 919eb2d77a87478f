"""Check that two checkouts of edgeft make the same artifacts from fixed recipes and seeds.

    python benchmarks/same_artifacts.py make OUT [--only RECIPE]... [--overwrite]
    python benchmarks/same_artifacts.py compare A B [--only RECIPE]... [--ignore PATTERN]...

`make` writes a tiny data set for each recipe of tiny_recipes.py, trains and exports it to every runtime with the
`edgeft` command of the checkout that this file stands in, and writes OUT/digests.json: {"recipe/target/file": sha256}.
`compare` prints what differs between two such folders and exits 1 when anything does. Compare only folders that were
made on the same machine with the same packages: other kernels round differently. To compare with an older checkout,
copy this file, tiny_data.py and tiny_recipes.py into its `benchmarks/`; they use nothing of edgeft but the command.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tiny_recipes import RECIPES

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "numpy",
    "torch",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "ai-edge-litert",
    "litert-torch",
    "torchao",
)
#: files of a run or a bundle that are not compared, and why
EXCLUDED = {
    "report.json": "measured times, the machine",
    "report.html": "measured times, the machine",
    "manifest.sha256": "the digest of manifest.json",
    "recipe.toml": "the path of the data",
    "metrics.jsonl": "measured times",
    "checkpoints/*": "the state of a training run; what it leads to is compared",
}
#: files of which only these keys are compared: the others hold dates, measured times and memory, versions and paths
COMPARED_KEYS = {
    "manifest.json": ("graphs", "preprocess", "labels", "scheme", "integer_weights", "requires"),
    "summary.json": ("metric", "float", "ptq", "quantized", "n", "chance", "updated_parameters", "total_parameters"),
}


def stop(message: str) -> NoReturn:
    """End with exit code 2: nothing was compared."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tensors(path: Path) -> Iterator[tuple[str, str]]:
    """(name, digest) of each array of an .npz: the archive itself may order or pack them as it likes."""
    with np.load(path, allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            array = np.ascontiguousarray(arrays[name])
            yield name, sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())


def digests(folder: Path, name: str) -> dict[str, str]:
    """{"name/file": sha256} of a run or a bundle; of an .npz {"name/file:array": sha256}."""
    result = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        file = path.relative_to(folder).as_posix()
        if any(fnmatch.fnmatch(file, pattern) for pattern in EXCLUDED):
            continue
        if path.suffix == ".npz":
            result.update({f"{name}/{file}:{array}": digest for array, digest in tensors(path)})
        elif path.name in COMPARED_KEYS:
            result.update({f"{name}/{file}:{key}": digest for key, digest in tables(path)})
        else:
            result[f"{name}/{file}"] = sha256(path.read_bytes())

    return result


def tables(path: Path) -> Iterator[tuple[str, str]]:
    """(key, digest) of the compared keys of manifest.json or summary.json."""
    table = json.loads(path.read_text(encoding="utf-8"))
    for key in COMPARED_KEYS[path.name]:
        if key in table:
            yield key, sha256(json.dumps(table[key], sort_keys=True).encode())


def edgeft(*arguments: str, folder: Path) -> None:
    """Run the command of this checkout in `folder`; a gate that fails (exit 1) is no error here."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "edgeft", *arguments, "--quiet"]
    finished = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True)
    if finished.returncode not in (0, 1):
        stop(f"edgeft {' '.join(arguments)} ended with {finished.returncode} in {folder}:\n{finished.stderr}")


def make_recipe(name: str, folder: Path) -> dict[str, str]:
    """Train and export one recipe in `folder`; the digests of its run and its bundles."""
    recipe = RECIPES[name]
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(recipe.toml(), encoding="utf-8")
    settings = [f"data.path={json.dumps(str(recipe.data(folder / 'data')))}"]
    if recipe.weights is not None:
        settings.append(f"model.weights={json.dumps(str(recipe.weights(folder / 'weights')))}")

    settings.append(f"export.targets={json.dumps(recipe.targets)}")
    edgeft("tune", "recipe.toml", "--out", "run", *(f"--set={setting}" for setting in settings), folder=folder)
    edgeft("export", "run", "--out", "bundles", folder=folder)

    result = digests(folder / "run", f"{name}/run")
    for target in recipe.targets:
        result |= digests(folder / "bundles" / target, f"{name}/{target}")

    return result


def write_json(path: Path, table: dict[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def environment() -> dict[str, str]:
    """What artifacts depend on beside the checkout: the CPU, Python and the packages."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    versions = {dist.name: dist.version for dist in distributions() if dist.name in PACKAGES}
    return {"cpu": model, "python": platform.python_version(), **versions}


def make(out: Path, names: list[str], overwrite: bool) -> None:
    """Make the recipes `names` below `out`, and add their digests to those that stand there."""
    spec = importlib.util.find_spec("edgeft")
    if spec is None or spec.origin is None or Path(spec.origin).resolve().parent.parent != ROOT:
        stop(f"`import edgeft` finds {spec and spec.origin}, not the checkout {ROOT}: run its own environment's python")

    for name in names:
        if (out / name).exists() and not overwrite:
            stop(f"{out / name} exists: choose another folder or pass --overwrite")

    out.mkdir(parents=True, exist_ok=True)
    file = out / "digests.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    for name in names:
        start = time.perf_counter()
        shutil.rmtree(out / name, ignore_errors=True)
        new = make_recipe(name, out / name)
        known = {key: digest for key, digest in known.items() if not key.startswith(f"{name}/")} | new
        write_json(file, known)
        print(f"{name}: {len(new)} digests in {time.perf_counter() - start:.0f} s", flush=True)

    write_json(out / "environment.json", environment())


def read_json(folder: Path, name: str) -> dict[str, str]:
    try:
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        stop(f"{folder} has no {name}: it is no finished folder of `make`")


def compare(first: Path, second: Path, names: list[str], ignored: list[str]) -> int:
    """Print what differs in the recipes `names`, without keys that fit a pattern of `ignored`; how many differ."""
    environments = [read_json(folder, "environment.json") for folder in (first, second)]
    if environments[0] != environments[1]:
        print(f"warning: the environments differ: {environments[0]} and {environments[1]}", file=sys.stderr)

    before, after = (read_json(folder, "digests.json") for folder in (first, second))
    keys = sorted(key for key in before.keys() | after.keys() if key.partition("/")[0] in names)
    compared = [key for key in keys if not any(fnmatch.fnmatch(key, pattern) for pattern in ignored)]
    if not compared:
        stop("nothing is left to compare: check --only and --ignore")

    different = [key for key in compared if before.get(key) != after.get(key)]
    for key in different:
        what = f"only in {first}" if key not in after else f"only in {second}" if key not in before else "differs"
        print(f"{what}: {key}")

    print(f"{len(different)} of {len(compared)} digests differ; {len(keys) - len(compared)} were ignored")
    return len(different)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="train and export every recipe, and write OUT/digests.json")
    making.add_argument("out", type=Path)
    making.add_argument("--overwrite", action="store_true", help="replace what an earlier `make` left in OUT")
    comparing = commands.add_parser("compare", help="print what differs; exit 1 when anything does")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument("--ignore", action="append", default=[], metavar="PATTERN", help="e.g. '*/run.py'")

    for command in (making, comparing):
        command.add_argument(
            "--only", action="append", choices=list(RECIPES), metavar="RECIPE", help=", ".join(RECIPES)
        )

    options = parser.parse_args()
    names = options.only or list(RECIPES)
    if options.command == "make":
        make(options.out.resolve(), names, options.overwrite)
    elif compare(options.first, options.second, names, options.ignore):
        sys.exit(1)


if __name__ == "__main__":
    main()
