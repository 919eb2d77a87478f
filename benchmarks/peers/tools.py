"""The tools that are compared, each with its environment, its script, its runtime, what it starts from and its settings.

An environment is made once, below the folder of the bench, with the versions of `requirements/<tool>.txt`; another text of
that file makes another environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}
#: no step of a tool may take longer, in seconds
LONGEST = 3600


@dataclass(frozen=True)
class Tool:
    """`source` is the float model that it starts from; `settings` are those it is tried in."""

    title: str
    runtime: str
    source: str
    settings: tuple[str, ...]


TOOLS = {
    "onnxruntime": Tool("quantize_static", "onnxruntime", "float.onnx", ("MinMax", "Entropy", "Percentile")),
    "nncf": Tool("NNCF", "openvino", "float.xml", ("performance", "mixed")),
    "litert_quantizer": Tool("litert-quantizer", "litert", "float.tflite", ("static_wi8_ai8",)),
    "torchao": Tool("torchao PT2E", "litert", "float.pt2", ("static",)),
}


def environment(tool: str, root: Path) -> Path:
    """The Python of a tool's environment, which is made where it does not stand yet. Needs a package index then."""
    pins = HERE / "requirements" / f"{tool}.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    folder = root / "environments" / f"{tool}-{digest}"
    python, complete = folder / "bin" / "python", folder / "complete"

    if not complete.is_file():
        print(f"{tool}: making its environment", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-qq", "-r", str(pins)], check=True)
        complete.touch()

    return python


def timed(command: list[str], log: Path, *, accept: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run a command with one thread; wall and CPU seconds, and its peak memory in bytes. Its words go to `log`.

    Raises `SystemExit` where it fails.
    """
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    surroundings.pop("PYTHONPATH", None)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()

    with log.open("w") as file:
        code = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, env=surroundings, timeout=LONGEST, check=False
        ).returncode

    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code not in accept:
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n{log.read_text(errors='replace')[-3000:]}")

    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "exit_code": code}


def quantize(name: str, setting: str, net: Path, root: Path) -> dict[str, Any]:
    """One setting of a tool on one network; its figures are kept and taken up again, a failure too."""
    tool = TOOLS[name]
    out = net / name / setting / FILES[tool.runtime]
    record = out.with_name("made.json")
    if record.is_file():
        return json.loads(record.read_text())

    out.parent.mkdir(parents=True, exist_ok=True)
    script, source = HERE / f"by_{name}.py", net / tool.source
    command = [str(environment(name, root)), str(script), str(source), str(net / "calibration.npz"), str(out), setting]

    try:
        made = timed(command, out.with_name("log.txt"))
    except SystemExit as error:
        made = {"error": str(error).strip().splitlines()[-1]}

    record.write_text(json.dumps(made))
    return made
