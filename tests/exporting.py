"""One graph written by an exporter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeft.backends.artifact import Artifact, ExportRequest


def written(
    exporter: Any, module: Any, example: Any, inputs: Sequence[str], outputs: Sequence[str], folder: Path, **more: Any
) -> Artifact:
    """`more` are `target`, `dynamic_batch` and `kind` of the request."""
    return exporter.export(ExportRequest(module, tuple(example), tuple(inputs), tuple(outputs), **more), folder)
