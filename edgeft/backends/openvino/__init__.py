"""OpenVINO on the CPU."""

from __future__ import annotations

from ..backend import Backend, BoardInstall, Form

BACKEND = Backend(
    name="openvino",
    title="OpenVINO",
    external_data=(".onnx",),  # tensors of a model may lie in files beside it
    suffix=".xml",
    companions=(".bin",),  # the weights
    forms=(Form("integer", activation_storage="uint8", formats=("int8", "fp16", "w8", "w4")),),
    extra="openvino",
    modules=("openvino",),
    boards=(BoardInstall("openvino", ("openvino",)),),
    versions=("openvino",),
    session="edgeft.backends.openvino.session",
    inspector="edgeft.backends.openvino.inspect",
    exporter="edgeft.backends.openvino.exporter",
    loader="edgeft.backends.openvino.loader",
    cpp="edgeft.backends.openvino:cpp",
    stream="close",
    probe="edgeft.backends.openvino.probe:FILES",
)
