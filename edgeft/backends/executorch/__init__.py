"""ExecuTorch on the CPU: the XNNPACK delegate, and ExecuTorch's own kernels for what the delegate does not take."""

from __future__ import annotations

from ..backend import Backend, BoardInstall, Form

BACKEND = Backend(
    name="executorch",
    title="ExecuTorch",
    suffix=".pte",
    forms=(Form("integer", activation_storage="int8", integer_tables=False),),
    extra="executorch",
    modules=("executorch",),
    boards=(BoardInstall("executorch", ("executorch", "torch", "torchao")),),  # its Python runtime loads libtorch
    versions=("executorch",),
    session="edgeft.backends.executorch.session",
    inspector="edgeft.backends.executorch.inspect",
    exporter="edgeft.backends.executorch.exporter",
    loader="edgeft.backends.executorch.loader",
    probe="edgeft.backends.executorch.probe:FILES",
)
