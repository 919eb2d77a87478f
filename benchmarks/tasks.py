"""One table of all tasks: int8 over float in each runtime, integer share and size, out of what the other scripts measured.

    python benchmarks/tasks.py

It measures nothing itself: each row is read from `results/<name>.json`, with the machine that row was measured on. A
figure that a script does not record, or a script that has not run, leaves its place empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common

#: results -> the task and model of its rows ({name} is a row's own)
SOURCES = {
    "accuracy": "classify, ResNet-20: {name}",
    "medical": "classify, torchvision: {name}",
    "traffic": "detect, EfficientNet-Lite0",
    "camvid": "segment, LR-ASPP",
    "reviews": "text-classify, MiniLM: {name}, {length} tokens",
    "translation": "translate, encoder-decoder",
    "keywords": "keyword, DS-CNN",
    "speech": "speech, QuartzNet",
    "recommend": "recommend, {net}",
    "control": "control: {name}",
}


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """speedup, its interval, integer share and size of one runtime, wherever a script keeps them."""
    latency = found.get("latency") or {}
    return {
        "speedup": found.get("speedup", latency.get("speedup")),
        "ci99": found.get("ci99", found.get("speedup_ci99", latency.get("ci99"))),
        "share": found.get("int8_share"),
        "size": found.get("size"),
    }


def rows(results: Path) -> Iterator[tuple[str, dict[str, dict[str, Any]], dict[str, Any]]]:
    """(title, {runtime: figures}, machine) of everything that was measured, the first row of several alike."""
    for name, title in SOURCES.items():
        path = results / f"{name}.json"
        if not path.is_file():
            continue
        record = json.loads(path.read_text())
        listed = record.get("rows") or [record]
        if "backend" in listed[0]:  # a row a runtime
            listed = [{"runtimes": {row["backend"]: row for row in listed}}]
        seen = set()
        for row in listed:
            words = title.format_map({"name": "", "length": "", "net": "", **row})
            if words in seen:
                continue  # another seed of the same
            seen.add(words)
            yield words, {kind: figures(one) for kind, one in row["runtimes"].items()}, record["machine"]


def speed(one: dict[str, Any]) -> str:
    if one.get("speedup") is None:
        return ""
    text = f"{one['speedup']:.2f}"
    text = f"**{text}**" if one["speedup"] < 1 else text
    return f"{text} [{one['ci99'][0]:.2f}, {one['ci99'][1]:.2f}]" if one.get("ci99") else text


def size(one: dict[str, Any]) -> str:
    sizes = one.get("size") or {}
    if not sizes.get("float_bytes") or not sizes.get("quantized_bytes"):
        return ""
    return f"{sizes['float_bytes'] / 1e6:.2f} → {sizes['quantized_bytes'] / 1e6:.2f}"


def section(results: Path) -> str:
    """The section of RESULTS.md; empty where nothing was measured."""
    lines = []
    for title, found, machine in rows(results):
        if not any(one["speedup"] is not None for one in found.values()):
            continue
        each = [found.get(kind, {}) for kind in common.RUNTIMES]
        shares = [f"{100 * one['share']:.0f}" for one in each if one.get("share") is not None]
        lines.append(
            (
                title,
                *map(speed, each),
                " / ".join(shares),
                *map(size, each[:1]),
                " ".join(machine["flags"]) or machine["isa"],
            )
        )

    if not lines:
        return ""

    head = ["task and model", *common.RUNTIMES.values(), "int8 share, %", "MB, ONNX Runtime", "CPU"]
    return (
        "## Speed of the tasks\n\nTime of the float artifact over time of the int8 artifact in the same runtime, batch 1, one "
        "thread, with a 99 % interval where there is one; below 1 int8 is slower, and that bundle's report names what to do. "
        "Read from the sections of the tasks, which have the accuracy. Processors without `avx512_vnni` gain less from int8."
        f"\n\n{common.table(head, lines)}"
    )


def main() -> None:
    common.collect()
    print(section(common.RESULTS))


if __name__ == "__main__":
    main()
