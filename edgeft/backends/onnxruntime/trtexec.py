"""TensorRT's own tool, where it is installed: builds the engine that a board runs, runs it on given inputs, times it.

Options and files of trtexec are those of TensorRT's open-source releases 8.6 to 11.1 (`sampleOptions.cpp` and
`sampleReporting.cpp` in `samples/common`).
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...config.target import Target, with_format
from ...core import environment, files, limits, strict_json
from ...core.errors import InvalidInput, SystemFailure
from . import tensorrt

#: where JetPack and NVIDIA's packages put it
PLACES = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec")
#: seconds for one engine, which tries hundreds of kernels on the board; and for one run beside its measurement
BUILD_SECONDS, RUN_SECONDS = 3600, 300
WARM_UP_MS = 200
#: from this version on times have no transfers unless they are asked for
_TRANSFERS_ASKED_FOR = 11


def find() -> str | None:
    """The tool on this machine: `TRTEXEC` where that is set, else on the path, or where JetPack puts it; None where
    there is none."""
    named = os.environ.get("TRTEXEC", "")
    candidates = (named,) if named else (shutil.which("trtexec") or "", *PLACES)
    return next((place for place in candidates if place and os.access(place, os.X_OK)), None)


def title() -> str:
    return "TensorRT"


def build(
    tool: str, target: Target, graphs: Sequence[Mapping[str, Any]], bundle: Path, folder: Path, *, quantized: bool
) -> tuple[str, dict[str, Path]]:
    """(version, {graph name: engine}) of `graphs` (entries of a manifest), built into `folder` by the script that
    bundles carry.

    `quantized` False builds in fp16 kernels, for a float baseline. Raises `InvalidInput` with the tool's own reason for
    a model that it refuses, and for a version that cannot read it.
    """
    profile = target if quantized else with_format(target, "fp16")
    place = folder / ("quantized" if quantized else "float")
    place.mkdir()
    for graph in graphs:
        model = place / graph["file"]
        model.parent.mkdir(parents=True, exist_ok=True)
        model.symlink_to((bundle / graph["file"]).resolve())

    digests = [{**graph, "sha256": files.sha256(bundle / graph["file"])} for graph in graphs]
    script = place / tensorrt.FILE
    script.write_text(tensorrt.build_script(profile, *digests), encoding="utf-8")
    done = _ended(["bash", str(script), str(place)], BUILD_SECONDS, place, {"TRTEXEC": tool, "BATCH": "1"})
    if done.returncode:
        raise InvalidInput(_reason(done.stderr))

    engines = {graph["name"]: place / f"{Path(graph['file']).stem}.engine" for graph in graphs}
    version = next(iter(engines.values())).with_suffix(".engine.tensorrt").read_text().strip()
    return version, engines


def _reason(stderr: str) -> str:
    """What the script printed: its own sentence behind the errors of the tool that it shows first."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(("  ->", "note:"))]
    own = [line.removeprefix(f"{tensorrt.FILE}: ") for line in lines if line.startswith(f"{tensorrt.FILE}: ")]
    errors = [re.sub(r"^\[[^\]]*\]\s*\[E\]\s*", "", line) for line in lines if "[E]" in line]
    return "; ".join([*own, *errors][:3]) or "it ended without a reason"


def run(
    tool: str, engine: Path, version: str, feeds: Mapping[str, np.ndarray], dynamic: bool, seconds: float = 0.0
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(outputs by name, float32, milliseconds of single runs (n,)) of an engine on one sample (1, ...) of inputs.

    `seconds` 0 runs it once. Times are of transfers and kernels as the device's own events tell. Raises `InvalidInput`
    where the tool fails, or writes outputs that are no numbers or do not fit their shape.
    """
    place = engine.parent
    words = [tool, f"--loadEngine={engine}", f"--exportOutput={place / 'outputs.json'}"]
    words += [f"--exportTimes={place / 'times.json'}"]
    loaded = []
    for number, (name, values) in enumerate(feeds.items()):
        path = place / f"input{number}.raw"
        path.write_bytes(np.ascontiguousarray(values).tobytes())
        loaded.append(f"{name}:{path}")

    words.append("--loadInputs=" + ",".join(loaded))
    if dynamic:
        words.append("--shapes=" + ",".join(f"{name}:{'x'.join(map(str, v.shape))}" for name, v in feeds.items()))
    if int(version.split(".")[0]) >= _TRANSFERS_ASKED_FOR:
        words.append("--includeDataTransfers")
    long = seconds > 0
    words += [
        f"--duration={max(1, round(seconds)) if long else 0}",
        f"--warmUp={WARM_UP_MS if long else 0}",
        f"--iterations={10 if long else 1}",
    ]

    done = _ended(words, RUN_SECONDS + seconds, place)
    if done.returncode:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "[E]" in line]
        raise InvalidInput(f"the engine did not run: {errors[-1].strip() if errors else f'exit {done.returncode}'}")

    return _outputs(place / "outputs.json"), _times(place / "times.json")


def _ended(
    words: Sequence[str], seconds: float, folder: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """How a command that writes into `folder` ended, which may take more memory than a bundle.

    Raises `InvalidInput` for one that takes too long, `SystemFailure` where it says that the disk refused it.
    """
    try:
        done = environment.run(words, seconds, variables, prepare=limits.lift)
    except SystemFailure as error:
        raise InvalidInput(f"trtexec did not end within {seconds:.0f} s and was stopped") from error

    if done.returncode:
        environment.refused(done.stdout + done.stderr, folder)
    return done


def _outputs(path: Path) -> dict[str, np.ndarray]:
    """Outputs by name: trtexec writes a list of {"name", "dimensions": "1x10", "values"}, in any order."""
    outputs = {}
    for entry in _json(path, ("name", "dimensions", "values")):
        try:
            shape = tuple(int(side) for side in str(entry["dimensions"]).split("x"))
            values = np.asarray(entry["values"], np.float32)
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"the engine's output {entry['name']!r} cannot be read: {error}") from error
        if values.size != math.prod(shape) or not np.isfinite(values).all():
            raise InvalidInput(f"the engine's output {entry['name']!r} has {values.size} numbers for {shape}")
        outputs[str(entry["name"])] = values.reshape(shape)

    return outputs


def _times(path: Path) -> np.ndarray:
    entries = [entry["latencyMs"] for entry in _json(path, ("latencyMs",))]
    times = np.array([value for value in entries if isinstance(value, (int, float))], np.float64)
    if not times.size or not (times > 0).all():
        raise InvalidInput("trtexec wrote no times")
    return times


def _json(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The tables of a list, each with `keys`."""
    try:
        entries = [dict(entry) for entry in strict_json.loads(path.read_text(encoding="utf-8"))]
        for key in keys:
            if any(key not in entry for entry in entries):
                raise ValueError(f"a table has no {key!r}")
        return entries
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(f"trtexec's {path.name} cannot be read: {error}") from error
