"""Layers that `quantize.method = "auto"` returned to float: what the search came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import words


def sentence(row: Mapping[str, Any]) -> str:
    """What `quantize.method = "auto"` came to for a scheme of summary.json; "" where it was not asked for."""
    auto = words.table(row.get("auto"))
    names = [words.line(name) for name in auto.get("keep_float") or ()]
    held = f"; keep_float = {json.dumps(names, ensure_ascii=False)}" if names else ""
    return f"auto, {words.line(auto.get('why'))}{held}" if auto else ""
