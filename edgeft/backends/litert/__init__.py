"""LiteRT, the runtime of TFLite files, in whichever of its interpreters is there."""

from __future__ import annotations

from ..backend import Backend, BoardInstall, Form

BACKEND = Backend(
    name="litert",
    title="LiteRT",
    suffix=".tflite",
    lowering="qdq",  # its converter folds float weights itself
    forms=(Form("integer", activation_storage="int8", formats=("int8", "fp16", "w8", "int16x8")),),
    checks=("op_versions",),
    extra="litert",
    modules=("ai_edge_litert", "tflite_runtime", "tensorflow"),
    boards=(
        BoardInstall("tflite-runtime", ("tflite-runtime==2.14.0", "numpy<2"), isas=("armv7",)),
        BoardInstall("litert", ("ai-edge-litert",)),
    ),
    versions=("litert-torch", "ai-edge-litert"),
    session="edgeft.backends.litert.session",
    inspector="edgeft.backends.litert.inspect",
    exporter="edgeft.backends.litert.exporter",
    cpp="edgeft.backends.litert:cpp",
    stream="exact",
    loader="edgeft.backends.litert.loader",
    probe="edgeft.backends.litert.probe:FILES",
)
