"""edgeft: fine-tune with quantization-aware training, export to edge runtimes, prove the artifact.

    edgeft.tune(recipe, out)            -> summary of a run          (edgeft[tune])
    edgeft.export(run, targets, out)    -> one report a bundle       (edgeft[tune] and the runtime's extra)
    edgeft.verify(bundle, data)         -> the report                (numpy and the runtime)
    edgeft.measure(bundle)                -> latency percentiles       (numpy and the runtime)
    edgeft.personalize(bundle, data)    -> what was learned          (numpy and the runtime)
    edgeft.load(bundle)                 -> a checked Bundle          (numpy)

Importing edgeft imports none of numpy, torch or a runtime; each function imports what it needs (see `api.py`).
`tune`, `export`, `verify` and `personalize` are also rooms of this package, and such a room can be called like
the function.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._version import __version__

__all__ = ["__version__", "bench", "export", "load", "personalize", "tune", "verify"]

_ROOMS = ("tune", "export", "verify", "personalize")

if TYPE_CHECKING:
    from .api import bench, export, load, personalize, tune, verify


class _Room(ModuleType):
    """A subpackage that is also the public function of its name: calling `edgeft.tune` calls `edgeft.api.tune`."""

    @property
    def _function(self) -> Any:
        return getattr(importlib.import_module("edgeft.api"), self.__name__.rpartition(".")[2])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(self._function)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # The import system binds a subpackage here, whoever imports it first and by whichever path.
        if name in _ROOMS and type(value) is ModuleType:
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in ("bench", "load"):
        return getattr(importlib.import_module(f"{__name__}.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
