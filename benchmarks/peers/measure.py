"""Outputs and times of artifacts in their runtime, one thread, one runtime a process.

    python measure.py outputs NET RUNTIME ARTIFACT OUT.npy
    python measure.py latency NET RUNTIME SECONDS OURS PEER [PEER ...]      prints one JSON object

Run by `bench.py` in edgeft's environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nets  # puts the folder above on the path

import common  # isort: skip
import numpy as np

#: a comparison whose 99 % interval is wider than this is measured again, and the narrower one kept
WIDE, TRIES = 0.04, 3


def _session(runtime: str, path: Path) -> Any:
    from edgeft import backends

    return backends.get(runtime).load(path, threads=1)


def _feeds(session: Any, row: nets.Arrays) -> nets.Arrays:
    """The inputs by the artifact's own names: converters number them in the model's order, as `args_0`, `args_1`."""
    names = [tensor.name for tensor in session.inputs]
    if set(names) == set(row):
        return row
    ordered = sorted(names)
    arrays = dict(zip(ordered, row.values(), strict=True))
    shapes = {tensor.name: tensor.shape for tensor in session.inputs}
    return {name: _turned(value, shapes[name]) for name, value in arrays.items()}


def _turned(value: np.ndarray, shape: Any) -> np.ndarray:
    """Channels last where the artifact takes them so."""
    if value.ndim == 4 and value.shape[1:] != tuple(shape[1:]):
        value = np.ascontiguousarray(value.transpose(0, 2, 3, 1))
    return value


def outputs(net: Path, runtime: str, artifact: Path) -> np.ndarray:
    """(N, classes): the artifact's outputs of all test samples, one by one."""
    session = _session(runtime, artifact)
    with np.load(net / "test.npz") as arrays:
        test = {name: arrays[name] for name in arrays.files}

    found = []
    for row in nets.rows(test):
        result = session.run(_feeds(session, row))
        (values,) = result.values() if isinstance(result, dict) else result
        found.append(np.asarray(values, np.float32).reshape(1, -1))

    return np.concatenate(found)


def latency(net: Path, runtime: str, seconds: float, ours: Path, peers: list[Path]) -> dict[str, Any]:
    """{peer: how many times faster ours is than it, with its 99 % interval}; both sides run in turns."""
    with np.load(net / "test.npz") as arrays:
        row = {name: arrays[name][:1] for name in arrays.files}

    def ready(path: Path) -> Callable[[], object]:
        session = _session(runtime, path)
        session.run(_feeds(session, row))
        return session.invoke

    first = ready(ours)
    return {str(path): _compared(first, ready(path), seconds) for path in peers}


def _compared(first: Callable[[], object], second: Callable[[], object], seconds: float) -> dict[str, Any]:
    best = common.surest(first, second, wide=WIDE, tries=TRIES, max_seconds=seconds, min_quads=24)
    return {
        "ratio": best.estimate,
        "ci99": [best.low, best.high],
        "clock": best.clock,
        "least_ms": [min(best.a_ms), min(best.b_ms)],
        "ratio_of_least": min(best.b_ms) / min(best.a_ms),
    }


def main() -> None:
    step, net, runtime, *rest = sys.argv[1:]
    if step == "outputs":
        np.save(rest[1], outputs(Path(net), runtime, Path(rest[0])))
        print("{}")
    else:
        print(
            "\n" + json.dumps(latency(Path(net), runtime, float(rest[0]), Path(rest[1]), [Path(p) for p in rest[2:]]))
        )


if __name__ == "__main__":
    main()
