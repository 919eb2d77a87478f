"""Row `board` of `personalization.py`: the memory of a whole process, and what its packages take on disk."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import common
from policies import SPEAKERS


def packages(*names: str) -> int:
    """Bytes on disk of distributions and what they require without extras."""
    seen: dict[str, int] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        seen[name] = sum(
            Path(str(f.locate())).stat().st_size for f in found.files or () if Path(str(f.locate())).exists()
        )
        for needed in found.requires or ():
            if "extra ==" not in needed:
                waiting.append(
                    "".join(c for c in needed.split(";")[0].split("[")[0] if c.isalnum() or c in "-_.").rstrip(
                        "0123456789."
                    )
                )

    return sum(seen.values())


#: one personalization in a process of its own; VmHWM is its own peak, ru_maxrss would be its parent's too
PROCESS = """
import json, sys
from edgeft.cli.entry import run
code = run(['personalize', {bundle!r}, '--data', {data!r}, '--state', {state!r}, '-q'])
peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) * 1024
print(json.dumps({{'code': code, 'peak': peak, 'torch': 'torch' in sys.modules}}))
"""


def process(python: str, bundle: Path, out: Path) -> dict[str, Any]:
    state = out / "board.npz"
    state.unlink(missing_ok=True)
    data = out / f"voice-{SPEAKERS[0]}" / "few" / "train"
    script = PROCESS.format(bundle=str(bundle), data=str(data), state=str(state))
    done = subprocess.run([python, "-P", "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def board(root: Path, out: Path, python: str = "") -> dict[str, Any]:
    """Peak resident memory of `edgeft personalize`, in a process of its own, and the size of its packages.

    `python` is the interpreter of an environment as a board has it, with tflite-runtime: one more row.
    """
    bundles = out / f"voice-{SPEAKERS[0]}"
    found: dict[str, Any] = {
        backend: {tail: process(sys.executable, bundles / f"bundles-{tail}" / target, out) for tail in ("head", "last")}
        for backend, target in common.TARGETS.items()
    }
    distributions = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}
    for backend, name in distributions.items():
        found[backend]["packages"] = packages("numpy", "click", name)

    if python:
        target = common.TARGETS["litert"]
        small = {tail: process(python, bundles / f"bundles-{tail}" / target, out) for tail in ("head", "last")}
        script = f"{inspect.getsource(packages)}\nprint(packages('numpy', 'click', 'tflite-runtime', 'edgeft'))"
        needs = "from importlib.metadata import PackageNotFoundError, distribution\nfrom pathlib import Path\n"
        size = subprocess.run([python, "-P", "-c", needs + script], capture_output=True, text=True, check=True)
        found["tflite"] = {**small, "packages": int(size.stdout)}

    return found
