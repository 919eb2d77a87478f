"""edgeft: fine-tune with quantization-aware training, export to edge runtimes, prove the artifact.

    edgeft.tune(recipe, out)            -> summary of a run          (edgeft[tune])
    edgeft.export(run, targets, out)    -> one report a bundle       (edgeft[tune] and the runtime's extra)
    edgeft.check(target, recipe)        -> problems before training  (edgeft[tune])
    edgeft.sweep(recipe, out, ...)      -> trials and the best one   (edgeft[tune,sweep])
    edgeft.verify(bundle, data)         -> the report                (numpy and the runtime)
    edgeft.bench(bundle)                -> latency percentiles       (numpy and the runtime)
    edgeft.personalize(bundle, data)    -> verdict of the update     (numpy and the runtime)
    edgeft.predict(bundle, inputs)      -> one decoded result each   (numpy and the runtime)
    edgeft.listen(bundle, sound)        -> detections as they come  (numpy and the runtime)
    edgeft.report(paths, out)           -> one offline HTML page     (numpy)
    edgeft.load(bundle)                 -> a checked Bundle          (numpy)
    edgeft.sign(bundle, key)            -> a signature in it         (model-signing)

Importing edgeft imports none of numpy, torch or a runtime; each function imports what it needs (see `api.py`).
It switches off the telemetry of packages that may be imported later (see `core/telemetry.py`).
Some subpackages have the name of a function. `edgeft.tune` is always the function; what is inside the subpackage is
imported from it: `from edgeft.tune.run import ...`.
"""

import sys

# `python -m edgeft` puts the current folder first on the path, and imports this file before edgeft/__main__.py: nothing
# may be imported from there, not even `__future__`.
if sys.argv[:1] == ["-m"] and "edgeft" in sys.orig_argv and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .core import telemetry

#: public function -> the module that defines it, imported at the first access (PEP 562)
_FUNCTIONS = {
    "bench": "edgeft.api",
    "check": "edgeft.api",
    "export": "edgeft.api",
    "listen": "edgeft.api",
    "load": "edgeft.api",
    "personalize": "edgeft.api",
    "predict": "edgeft.api",
    "report": "edgeft.api",
    "sensitivity": "edgeft.api",
    "sign": "edgeft.api",
    "sweep": "edgeft.api",
    "tune": "edgeft.api",
    "verify": "edgeft.api",
}

__all__ = [
    "__version__",
    "bench",
    "check",
    "export",
    "listen",
    "load",
    "personalize",
    "predict",
    "report",
    "sensitivity",
    "sign",
    "sweep",
    "tune",
    "verify",
]

if TYPE_CHECKING:
    from .api import bench as bench
    from .api import check as check
    from .api import export as export
    from .api import load as load
    from .api import personalize as personalize
    from .api import predict as predict
    from .api import report as report
    from .api import sensitivity as sensitivity
    from .api import sign as sign
    from .api import sweep as sweep
    from .api import tune as tune
    from .api import verify as verify


class _Package(ModuleType):
    """Keeps the name of a public function from being bound to the submodule of the same name.

    After it has loaded `edgeft.tune.run`, the import system sets the attribute `tune` of this package to the subpackage
    (`importlib._bootstrap._find_and_load_unlocked`). It does so with `setattr`, after the subpackage's own code has
    run, whoever imports it and by whichever path, so the package is the only place that can decline. Submodules are
    found through `sys.modules`, which is left alone. A module may have a class of its own since Python 3.5.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _FUNCTIONS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
telemetry.switch_off()


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = getattr(importlib.import_module(_FUNCTIONS[name]), name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted(__all__)
