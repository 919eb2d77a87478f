"""Which function imports which layer; `layers/` has a file a family, imported when the first layer is looked up."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import layers

if TYPE_CHECKING:
    from .layer import Layer
    from .placed import Placed

Importer = Callable[["Layer"], "Placed"]

#: what Keras calls it: a layer, or an operation of `keras.ops` ("ops.Add")
_IMPORTERS: dict[str, Importer] = {}


def imports(*names: str) -> Callable[[Importer], Importer]:
    """Register a function for Keras layers of these classes, or operations ("ops.Add")."""

    def register(function: Importer) -> Importer:
        for name in names:
            _IMPORTERS[name] = function
        return function

    return register


def importers() -> dict[str, Importer]:
    """{name of a layer's class: its function}, of every file in `layers/`."""
    for module in pkgutil.iter_modules(layers.__path__):
        importlib.import_module(f"{layers.__name__}.{module.name}")
    return _IMPORTERS
