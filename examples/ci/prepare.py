"""Make the two bundles of this example: the model, and the same model with one residual block twice.

    python prepare.py

Needs the extras `tune` and `onnx`. Takes about two minutes.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import edgeft


def residual_block(nodes: list[Any], add: Any) -> tuple[str, list[Any]] | None:
    """(the tensor it begins with, its nodes in order) of the block that an Add ends, None where it ends none."""
    for begin in add.input:
        depends = {begin}
        for node in nodes:
            if depends & set(node.input):
                depends |= set(node.output)
        if not depends.issuperset(add.input):
            continue
        needed, block = set(add.input), [add]
        for node in reversed(nodes[: nodes.index(add)]):
            if needed & set(node.output) & (depends - {begin}):
                needed |= set(node.input)
                block.insert(0, node)
        return begin, block
    return None


def duplicate_block(bundle: Path, out: Path) -> Path:
    """A copy of an ONNX Runtime bundle whose costliest residual block is in it twice.

    What a careless change of a model does: the answers hardly matter here, the time does.
    """
    import onnx

    shutil.copytree(bundle, out)
    path = out / "model.onnx"
    model = onnx.load(str(path))
    nodes = list(model.graph.node)
    blocks = [block for node in nodes if node.op_type == "Add" and (block := residual_block(nodes, node))]
    if not blocks:
        raise SystemExit(f"{path}: no residual block, there is nothing to repeat")

    known = onnx.shape_inference.infer_shapes(model).graph
    sizes = {v.name: math.prod(d.dim_value or 1 for d in v.type.tensor_type.shape.dim) for v in known.value_info}
    begin, block = max(blocks, key=lambda found: sum(sizes.get(node.output[0], 0) for node in found[1]))

    end, again = block[-1].output[0], "_again"
    inside = {name for node in block for name in node.output}
    for node in nodes:  # whoever reads the block's result reads that of its repetition
        for i, name in enumerate(node.input):
            if name == end:
                node.input[i] = end + again

    at = nodes.index(block[-1]) + 1
    for node in reversed(block):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name += again
        for i, name in enumerate(node.input):
            copy.input[i] = end if name == begin else name + again if name in inside else name
        for i, name in enumerate(node.output):
            copy.output[i] = name + again
        model.graph.node.insert(at, copy)

    onnx.save(model, str(path))

    # a bundle knows its files by their digests
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    digest = hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest()
    (out / "manifest.sha256").write_text(f"{digest}  manifest.json\n")

    return out


def main() -> None:
    run = edgeft.tune(None, "runs/example", overrides=["train.epochs=1", "quantize.epochs=1"], overwrite=True)
    edgeft.export(run["run"], ["host"], "bundles", overwrite=True)
    shutil.rmtree("slower", ignore_errors=True)
    print(duplicate_block(Path("bundles/host"), Path("slower/host")))


if __name__ == "__main__":
    main()
