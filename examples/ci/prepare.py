"""Make the two bundles of this example: the model, and the same model with one residual block twice.

    python prepare.py

Needs `edgeft[all]`. Takes about two minutes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import edgeft


def duplicate_block(bundle: Path, out: Path) -> Path:
    """A copy of an ONNX Runtime bundle whose costliest block of equal input and output shape is in it twice.

    What a careless change of a model does: the answers hardly matter here, the time does.
    """
    import onnx

    shutil.copytree(bundle, out)
    path = out / "model.onnx"
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}

    def root(name: str) -> onnx.TensorProto | None:
        """The constant behind a dequantized weight."""
        while name in makers and makers[name].op_type in ("DequantizeLinear", "Transpose", "Reshape"):
            name = makers[name].input[0]
        return constants.get(name)

    def cost(node: onnx.NodeProto) -> int:
        weight = root(node.input[1])
        square = weight is not None and len(weight.dims) == 4 and weight.dims[0] == weight.dims[1]
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1])
        return weight.dims[0] ** 2 if square and set(strides) == {1} else 0

    conv = max((node for node in graph.node if node.op_type == "Conv"), key=cost)
    if not cost(conv):
        raise SystemExit(f"{path}: no convolution keeps its shape, there is no block to repeat")
    # from the convolution up to where its result is integers again
    chain = [conv]
    while chain[-1].op_type != "DequantizeLinear":
        (chain_next,) = [node for node in graph.node if chain[-1].output[0] in node.input][:1]
        chain.append(chain_next)
    end = chain[-1].output[0]
    copies = []
    for node in chain:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name += "_again"
        copy.output[0] += "_again"
        copies.append(copy)
    for copy, node in zip(copies[1:], chain):
        copy.input[0] = node.output[0] + "_again"
    for node in graph.node:  # whoever read the block's result reads that of its repetition
        for i, name in enumerate(node.input):
            if name == end:
                node.input[i] = end + "_again"
    copies[0].input[0] = end
    at = list(graph.node).index(chain[-1]) + 1
    for copy in reversed(copies):
        graph.node.insert(at, copy)
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
