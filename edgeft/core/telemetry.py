"""Telemetry of other packages, switched off before any of them is imported: edgeft and what it loads report to nobody.

The packages read these variables when they are imported (ONNX Runtime 1.32 opens a database with a device identifier
in the user's cache and queues an event within its import), so `edgeft/__init__.py` sets them first. Processes that
edgeft starts inherit them, and those on a board import edgeft before any runtime. `backends.openvino` shuts out
OpenVINO's telemetry package, which has no variable.
"""

from __future__ import annotations

import os

VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, timm
    "DO_NOT_TRACK": "1",
}


def switch_off() -> None:
    """Set the variables in this process's environment, whatever they were."""
    os.environ.update(VARIABLES)
