"""What all benchmarks share: the networks, images to calibrate with, the machine, and where results are written.

A benchmark writes `results/<name>.json` (every figure) and `results/<name>.md` (its section); `collect` joins the
sections into RESULTS.md. Only ratios are quoted: both sides of each were measured in turns in one run.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
#: network of `edgeft.models` -> the side of its input in pixels
NETS = {"resnet18": 224, "mobilenet_v2": 224, "resnet8": 32}
TITLES = {"resnet18": "ResNet-18", "mobilenet_v2": "MobileNetV2", "resnet8": "ResNet-8"}
RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
#: runtime -> the profile of this machine with it
TARGETS = {"onnxruntime": "host", "openvino": "host-openvino", "litert": "host-litert"}
#: the instruction sets that decide how fast integers are
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
#: the order of the sections in RESULTS.md; what is not listed follows by name
SECTIONS = ("speed", "peers", "qat_step", "export_time", "startup")


def images(count: int, side: int, seed: int) -> np.ndarray:
    """(count, 3, side, side) float32, of about zero mean and unit variance, smooth and with edges as photos are.

    Time does not depend on what a picture shows, but ranges and the peers' calibration need values of a real kind.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((count, 3, side, side), np.float32)
    for cells in (2, 4, 8, 16, 32):
        coarse = rng.standard_normal((count, 3, cells, cells)).astype(np.float32)
        index = np.arange(side) * cells // side
        total += coarse[:, :, index][:, :, :, index] * (2 / cells) ** 0.5
    total += 0.1 * rng.standard_normal(total.shape).astype(np.float32)
    return total / total.std()


def network(name: str, classes: int, side: int, seed: int = 0) -> Any:
    """A builtin network in eval mode, BatchNorm statistics taken from `images`: no layer is dead or saturated."""
    import torch

    from edgeft import models
    from edgeft.config import recipe

    torch.manual_seed(seed)
    module = models.build(models.ModelRequest(recipe.Model(source="builtin", name=name), "classify", classes)).module
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, torch.nn.BatchNorm2d):
                child.weight.uniform_(0.5, 1.5)
                child.bias.uniform_(-0.3, 0.3)
                child.momentum = None  # the plain average over batches
                child.reset_running_stats()
        module.train()
        for start in range(3):
            module(torch.from_numpy(images(16, side, seed + start)))

    for child in module.modules():
        if isinstance(child, torch.nn.BatchNorm2d):
            child.momentum = 0.1

    return module.eval()


def surest(
    first: Callable[[], object], second: Callable[[], object], *, wide: float, tries: int, **options: Any
) -> Any:
    """The comparison with the narrowest interval of up to `tries`, none after one that is at most `wide` of its ratio.

    `options` are those of `edgeft.measure.quads.compare`; each try draws the same order.
    """
    from edgeft.measure.quads import compare

    best = None
    for _ in range(tries):
        now = compare(first, second, rng=np.random.default_rng(0), **options)
        if best is None or now.high - now.low < best.high - best.low:
            best = now
        if best.high - best.low <= wide * best.estimate:
            break

    assert best is not None
    return best


def machine() -> dict[str, Any]:
    """CPU, its integer instructions, cores, kernel, Python, and how busy the machine was when this was called."""
    from edgeft.measure.fingerprint import fingerprint

    found = fingerprint()
    return {
        "cpu": found["cpu"],
        "isa": found["isa"],
        "cores": os.cpu_count(),
        "flags": [
            flag for flag in found["flags"] if flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
        ],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def versions(*names: str) -> dict[str, str]:
    """{distribution: version} of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def footing(host: dict[str, Any], used: dict[str, str]) -> str:
    """The line under each table: where and with what it was measured."""
    listed = ", ".join(f"{name} {number}" for name, number in used.items())
    flags = " ".join(host["flags"])
    return (
        f"Machine: {host['cpu']} ({host['isa']}, {host['cores']} cores, {flags}), {host['system']}, "
        f"Python {host['python']}; load average at the start {host['load']}.\n\nVersions: {listed}."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def mark(value: float, *, least: float | None = None, most: float | None = None) -> str:
    """yes or no, for a goal that is a lower or an upper bound; a value is judged as it is, not as it is printed."""
    met = (least is None or value >= least) and (most is None or value <= most)
    return "yes" if met else "**no**"


def publish(name: str, section: str, record: dict[str, Any]) -> None:
    """Write a benchmark's JSON and section, join RESULTS.md anew, and print the section."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    (RESULTS / f"{name}.md").write_text(section.rstrip() + "\n")
    collect()
    print(section)


def collect() -> None:
    """RESULTS.md from all sections in results/."""
    found = {path.stem: path.read_text().strip() for path in sorted(RESULTS.glob("*.md"))}
    names = [n for n in SECTIONS if n in found] + [n for n in found if n not in SECTIONS]
    head = (
        "# Results\n\nWritten by the scripts of this folder (see README.md); run them again rather than edit this page."
    )
    from tasks import section

    joined = section(RESULTS)
    sections = [found[n] for n in names]
    at = sum(n in SECTIONS for n in names)
    parts = [*sections[:at], *([joined] if joined else []), *sections[at:]]
    (HERE / "RESULTS.md").write_text("\n\n".join([head, *parts]) + "\n")


def child(script: str | Path, *arguments: str) -> dict[str, Any]:
    """Run a script of this folder in a fresh interpreter; it prints one JSON object on its last line."""
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr[-4000:]}")
    return json.loads(lines[-1])


def batches(values: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
