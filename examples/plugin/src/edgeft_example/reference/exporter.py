"""Writes the artifact: the ONNX file that ONNX Runtime would get."""

from __future__ import annotations

from edgeft.backends.onnxruntime.exporter import export

__all__ = ["export"]
