"""Which function imports which ONNX operator; `ops/` has a file a family, imported when the first node is looked up."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import ops

if TYPE_CHECKING:
    from .node import Node
    from .values import Value

#: names of the domain of ONNX's own operators
DOMAINS = ("", "ai.onnx")
#: what an operator computes: a value for each of its outputs
Importer = Callable[["Node"], "Value | Iterable[Value]"]

_IMPORTERS: dict[str, Importer] = {}


def operator(*names: str) -> Callable[[Importer], Importer]:
    """Register a function for the ONNX operators with these names, of the domain ai.onnx or with another in front."""

    def register(function: Importer) -> Importer:
        for name in names:
            _IMPORTERS[name] = function
        return function

    return register


def name_of(node: Any) -> str:
    """The name of a NodeProto's operator as it is registered."""
    return str(node.op_type) if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"


def importers() -> dict[str, Importer]:
    """{name of an operator: its function}, of every file in `ops/`."""
    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"{ops.__name__}.{module.name}")
    return _IMPORTERS
