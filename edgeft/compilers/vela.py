"""Vela, Arm's compiler for the Ethos-U55, U65 and U85: a .tflite file becomes one whose operations are its own.

What it does not take stays in the file as an ordinary TFLite operation, which the CPU runs. Vela has no simulator; Arm
states that the NPU computes what the reference kernels of TFLite compute.
https://gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .compiler import Compiler, Setting
from .printed import printed

ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)

COMPILER = Compiler(
    name="vela",
    title="Vela",
    module="edgeft.compilers.vela",
    requirements=("ethos-u-vela==5.2.0",),
    versions=("5.2.0",),
    accelerator="Ethos-U",
    settings=(
        Setting("accelerator", choices=ACCELERATORS),
        Setting("system_config"),
        Setting("memory_mode"),
        Setting("optimise", "Performance", ("Performance", "Size")),
    ),
    repeats=True,
    machines=("x86_64", "aarch64"),
    compile_seconds=600.0,
    gigabytes=0.1,
)
#: the custom operation that stands for what the NPU runs
NPU_OPERATION = "CUSTOM:ethos-u"
_WARNING = re.compile(r"operator: (?P<op>\w+), ofm: '(?P<node>.*)'\nReason: (?P<why>.*)")
#: an operation that breaks the rules of TFLite itself, and the rules below it
_SEMANTICS = re.compile(r"Error: +(?P<op>\w*) *'(?P<node>[^'\n]*)' (?P<why>Does not have valid [^\n]*(\n +[^\n]*)*)")
#: column of the summary -> key of the estimate, and what it is multiplied by
_ESTIMATES = {
    "cycles_total": ("cycles", 1.0),
    "inference_time": ("milliseconds", 1e3),
    "sram_memory_used": ("sram_bytes", 1024.0),
    "dram_memory_used": ("dram_bytes", 1024.0),
}


def version(job: Mapping[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version as version_of

    packages = {name: version_of(name) for name in (*COMPILER.distributions, "numpy")}
    return {"version": packages["ethos-u-vela"], "packages": packages}


def compile(job: Mapping[str, Any]) -> dict[str, Any]:
    """Compile job["model"] into job["folder"]; see `Compiler`."""
    from ethosu.vela import vela

    settings, folder = job["settings"], Path(job["folder"])
    arguments = [
        *(job["model"], "--output-dir", str(folder), "--config", "Arm/vela.ini"),
        *("--accelerator-config", settings["accelerator"], "--system-config", settings["system_config"]),
        *("--memory-mode", settings["memory_mode"], "--optimise", settings["optimise"]),
    ]

    error = ""
    with printed() as lines:
        try:
            vela.main(arguments)
        except SystemExit as end:
            error = "" if not end.code else f"exit code {end.code}"
        except Exception as caught:  # whatever the compiler raises is its diagnosis
            error = f"{type(caught).__name__}: {caught}"

    text = "\n".join(lines)
    stem = Path(job["model"]).stem
    made = folder / f"{stem}_vela.tflite"
    if error or not made.is_file():
        return {"refusal": refusal(text, error)}

    summary = next(folder.glob(f"{stem}_summary_*.csv"))
    estimate = _estimate(summary)
    summary.unlink()
    return {"files": [made.name], "on_cpu": _left(made, reasons(text)), "estimate": estimate}


def reasons(text: str) -> list[dict[str, str]]:
    """{op, node, why} of each operation that Vela says it leaves to the CPU, in the order in which it printed them."""
    return [match.groupdict() for match in _WARNING.finditer(text)]


def refusal(text: str, error: str) -> dict[str, str]:
    """{why, node, op} of a model that Vela made no file of: what it printed, or the `error` that it raised."""
    if match := _SEMANTICS.search(f"{text}\n{error}"):
        return {"why": " ".join(match["why"].split()), "node": match["node"], "op": match["op"]}

    lines = [line.strip() for line in text.splitlines() if "error" in line.lower()]
    why = (lines or [" ".join(error.split()) or "no file was written"])[0]
    first = next(iter(reasons(text)), {})
    return {"why": why, "node": first.get("node", ""), "op": first.get("op", "")}


def _left(compiled: Path, printed_reasons: list[dict[str, str]]) -> list[dict[str, str]]:
    """The operations of the compiled file that are not the NPU's, with Vela's reason by the name of their output."""
    from ..backends.litert import flatbuffer

    model = flatbuffer.read(compiled)
    why_of = {reason["node"]: reason["why"] for reason in printed_reasons}
    left = []

    for operator in model.operators:
        if operator.name.startswith(NPU_OPERATION):
            continue
        outputs = [model.tensors[k].name for k in operator.outputs if k >= 0]
        why = next((why_of[name] for name in outputs if name in why_of), "")
        left.append({"op": operator.name, "node": outputs[0] if outputs else "", "why": why})

    return left


def _estimate(summary: Path) -> dict[str, float]:
    with summary.open(newline="") as handle:
        row = next(csv.DictReader(handle))
    estimate = {}
    for column, (key, factor) in _ESTIMATES.items():
        with contextlib.suppress(KeyError, ValueError):
            estimate[key] = float(row[column]) * factor

    return estimate
