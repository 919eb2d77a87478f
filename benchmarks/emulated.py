"""MLPerf Tiny's published int8 models in the real ARM builds of TFLite, on emulated CPUs: the values, to the bit.

    python benchmarks/emulated.py          (`EDGEFT_DATA` names the folder with the models)

Sets up `emulate:rpi4` (Cortex-A72) and `emulate:rpi5` (Cortex-A76) with tflite-runtime 2.14 and with LiteRT, runs each
model on eight inputs of fixed seeds, and compares the digests of the outputs, among CPUs and with this machine's build.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import common

from edgeft.devices import emulate
from edgeft.devices.device import Here

MODELS = {
    "ResNet-8": "pretrainedResnet_quant.tflite",
    "DS-CNN": "kws_ref_model.tflite",
    "autoencoder": "ad01_int8.tflite",
}
BOARDS = {"emulate:rpi4": "Cortex-A72", "emulate:rpi5": "Cortex-A76"}
RUNTIMES = ("tflite-runtime", "litert")
INPUTS = 8
CODE = f"""
import hashlib, json, sys
from pathlib import Path
import numpy as np
from edgeft.backends.litert import session as litert
found = {{"runtime": litert.version()}}
for path in sys.argv[1:]:
    session = litert.load(Path(path), threads=1)
    (x,) = session.inputs
    rng = np.random.default_rng(0)
    values = []
    for _ in range({INPUTS}):
        q = rng.integers(-128, 128, [abs(d) for d in x.shape])
        out = session.run({{x.name: ((q - (x.zero_point or 0)) * (x.scale or 1)).astype("float32")}})
        # as integers again: a session's border is float
        values.append(np.concatenate([np.rint(out[y.name] / (y.scale or 1)).ravel() for y in session.outputs]))
    flat = np.stack(values)
    found[Path(path).name] = {{"sha256": hashlib.sha256(flat.tobytes()).hexdigest(), "values": flat.tolist()}}
print("@" + json.dumps(found))
"""


def run(device: Any, paths: list[Path]) -> dict[str, Any]:
    done = subprocess.run(device.argv(CODE, *map(str, paths)), capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("@{")]
    if not lines:
        raise SystemExit(f"{device.name}: {done.stderr[-800:]}")
    answer: dict[str, Any] = json.loads(lines[-1][1:])
    return answer


def furthest(one: list[list[float]], other: list[list[float]]) -> float:
    return max(abs(a - b) for row, peer in zip(one, other) for a, b in zip(row, peer))


def main() -> None:
    root = Path(os.environ["EDGEFT_DATA"]) / "09_mlperf_tiny" / "models"
    paths = [root / file for file in MODELS.values()]
    here = run(Here(), paths)
    found: dict[str, dict[str, Any]] = {}

    for runtime in RUNTIMES:
        for board in BOARDS:
            emulate.setup(board, runtimes=[runtime], say=print)
            found[f"{runtime} {BOARDS[board]}"] = run(emulate.Emulated.known(board), paths)

    rows = []
    for title, file in MODELS.items():
        for runtime in RUNTIMES:
            sides = [found[f"{runtime} {cpu}"][file] for cpu in BOARDS.values()]
            same = (
                "yes"
                if sides[0]["sha256"] == sides[1]["sha256"]
                else f"no, up to {furthest(*(s['values'] for s in sides)):g}"
            )
            apart = furthest(sides[0]["values"], here[file]["values"])
            rows.append(
                (
                    title,
                    runtime,
                    same,
                    f"`{sides[0]['sha256'][:16]}`",
                    "equal" if not apart else f"up to {apart:g} steps",
                )
            )

    table = common.table(
        ("model", "runtime", "A72 and A76 equal to the bit", "sha256 of the outputs", "against this machine's LiteRT"),
        rows,
    )
    used = {name: entry["runtime"] for name, entry in found.items()}
    section = (
        "## Emulated CPUs: MLPerf Tiny's models to the bit\n\nThe real aarch64 builds under qemu-user 10, "
        f"{INPUTS} inputs of fixed seeds; outputs are int8 steps.\n\n{table}\n\n{common.footing(common.machine(), {**used, 'here': here['runtime']})}"
    )
    digests = {
        name: {file: entry[file]["sha256"] for file in MODELS.values()}
        for name, entry in {**found, "here": here}.items()
    }
    common.publish("emulated", section, {"digests": digests, "versions": used, "machine": common.machine()})


if __name__ == "__main__":
    main()
