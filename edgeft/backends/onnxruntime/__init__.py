"""ONNX Runtime on the CPU; and the form of its files that TensorRT's parser reads."""

from __future__ import annotations

from ..backend import Backend, BoardInstall, Form

BACKEND = Backend(
    name="onnxruntime",
    title="ONNX Runtime",
    external_data=(".onnx",),  # tensors of a model may lie in files beside it
    suffix=".onnx",
    forms=(
        # Its fast kernels take unsigned activations: u8 x s8.
        Form(
            "integer",
            activation_storage="uint8",
            formats=("int8", "fp16", "w8", "w4", "int16x8"),
            # MatMulNBits has no opset: versions of the runtime that have it read 20 and newer
            least_opset={"int16x8": 21, "w4": 20},
            own_ops=("w4",),
        ),
        # TensorRT reads signed activations with zero point 0, and builds its engine on the board.
        Form(
            "tensorrt",
            activation_storage="int8",
            symmetric_activations=True,
            runs_as_itself=False,
            compiler="trtexec",
            scripts="edgeft.backends.onnxruntime.tensorrt:scripts",
            built=(".engine", ".engine.log", ".engine.tensorrt", ".engine.tmp"),
            engine="edgeft.backends.onnxruntime.trtexec",
            formats=("int8", "fp16"),
        ),
    ),
    float_kernels=("int16x8",),  # compilers of accelerators read it
    checks=("opset", "ir_version"),
    extra="onnx",
    modules=("onnxruntime",),
    boards=(BoardInstall("onnxruntime", ("onnxruntime",)),),
    versions=("onnx", "onnxruntime"),
    session="edgeft.backends.onnxruntime.session",
    inspector="edgeft.backends.onnxruntime.inspect",
    exporter="edgeft.backends.onnxruntime.exporter",
    loader="edgeft.backends.onnxruntime.loader",
    cpp="edgeft.backends.onnxruntime:cpp",
    stream="exact",
    probe="edgeft.backends.onnxruntime.probe:FILES",
    default=True,
)
