"""Reading OpenVINO's `.xml` without the runtime."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ...core.errors import BundleError


def layers(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """The IR version and (type, opset) of each layer; a document type (entities) is refused, it has none."""
    text = path.read_bytes()
    try:
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise ValueError("it declares a document type")
        root = ElementTree.fromstring(text)
        layers = [(e.get("type", ""), e.get("version", "")) for e in root.iter("layer")]
        ir_version = int(root.get("version", ""))
    except (ElementTree.ParseError, ValueError) as error:
        raise BundleError(
            f"is not a readable OpenVINO model ({error})", where=str(path), remedy="export it again"
        ) from error

    return ir_version, layers
