"""A runtime: ONNX files, evaluated op by op in numpy."""

from __future__ import annotations

from edgeft.backends import Backend, BoardInstall, Form

BACKEND = Backend(
    name="reference",
    title="ONNX reference evaluator",
    suffix=".onnx",
    forms=(Form("integer", activation_storage="uint8"),),
    checks=("opset", "ir_version"),
    packages=("onnx>=1.19",),
    modules=("onnx",),
    boards=(BoardInstall("reference", ("onnx",)),),
    versions=("edgeft-example", "onnx"),
    session="edgeft_example.reference.session",
    inspector="edgeft_example.reference.inspect",
    exporter="edgeft_example.reference.exporter",
    loader="edgeft_example.reference.loader",
    probe="edgeft.backends.onnxruntime.probe:FILES",  # y = relu(x) as an ONNX file
)
