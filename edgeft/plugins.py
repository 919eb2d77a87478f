"""What edgeft and the installed packages offer by name. Nothing else reads entry points.

A registry lists names without importing anything, and imports the record behind a name when it is asked for. A name of
edgeft's own cannot be replaced by a plug-in.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from .core.errors import EdgeftError, InvalidInput, Missing, UsageError, nearest

T = TypeVar("T")


def resolve(place: str) -> Any:
    """The object at "package.module:attribute"; raises what importing it raises, `AttributeError` without it."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def builtin(folder: str, attribute: str, *, packages: bool) -> dict[str, str]:
    """{name: "edgeft.<folder>.<module>:<attribute>"} of the records in a folder of edgeft such as "data.formats".

    Records stand in packages, or in modules where `packages` is false; none of them is imported. An underscore of the
    module's name is a hyphen of the record's.
    """
    path = Path(__file__).parent.joinpath(*folder.split("."))
    names = sorted(module.name for module in pkgutil.iter_modules([str(path)]) if module.ispkg == packages)
    return {name.replace("_", "-"): f"edgeft.{folder}.{name}:{attribute}" for name in names}


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The records of one kind: those of edgeft (`builtin`: name -> "module:attribute") and of the entry-point group.

    `noun` is what messages call one of them ("runtime"), `record` the place of the class that each is an instance of.
    """

    group: str
    noun: str
    record: str
    builtin: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._plugins()

    def names(self) -> tuple[str, ...]:
        """Every known name, sorted."""
        return tuple(sorted({*self.builtin, *self._plugins()}))

    def get(self, name: str) -> T:
        """The record called `name`.

        Raises `UsageError` with the nearest known name for an unknown one, `Missing` where a plug-in does not import,
        and `InvalidInput` where what it offers is no such record or has another name.
        """
        if name in self.builtin:
            return cast(T, resolve(self.builtin[name]))

        points = self._plugins()
        if name not in points:
            raise UsageError(f"unknown {self.noun} {name!r}", remedy=nearest(name, self.names()))

        return self._load(name, points[name])

    def package(self, name: str) -> str:
        """The distribution that a plug-in's record comes from, e.g. "edgeft-example 0.1.0"; "edgeft" for a builtin."""
        point = self._plugins().get(name)
        return _distribution(point) if point and name not in self.builtin else "edgeft"

    def _plugins(self) -> dict[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=self.group), key=_distribution):
            first = points.setdefault(point.name, point)
            if first.value != point.value:
                raise InvalidInput(
                    f"two packages offer the {self.noun} {point.name!r}: {_distribution(first)} and "
                    f"{_distribution(point)}",
                    remedy="uninstall one of them",
                )

        return points

    def _load(self, name: str, point: EntryPoint) -> T:
        package = _distribution(point)
        try:
            record = point.load()
        except EdgeftError as error:
            error.where = error.where or f"{package}, {point.value}"
            raise
        except Exception as error:  # whatever a package of somebody else raises on import is the diagnosis
            raise Missing(
                f"the {self.noun} {name!r} of the package {package} cannot be loaded ({type(error).__name__}: {error})",
                where=point.value,
                remedy="update or uninstall that package",
            ) from error

        kind = _class(self.record)
        if not isinstance(record, kind):
            raise InvalidInput(
                f"the package {package} offers the {self.noun} {name!r} as {type(record).__name__}, expected a record "
                f"of the class {kind.__name__}",
                where=point.value,
                remedy=f"its entry point in {self.group!r} must name a {self.record.replace(':', '.')}",
            )

        if getattr(record, "name", name) != name:
            raise InvalidInput(
                f"the package {package} offers the {self.noun} {name!r}, whose record is called {record.name!r}",  # type: ignore[attr-defined]
                where=point.value,
                remedy="give the entry point and the record the same name",
            )

        return cast(T, record)


@functools.cache
def _class(place: str) -> type:
    return cast(type, resolve(place))


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


#: the formats of data
DATA_FORMATS: Registry[Any] = Registry(
    "edgeft.data", "data format", "edgeft.data.record:Format", builtin("data.formats", "FORMAT", packages=False)
)

#: the number formats
NUMBER_FORMATS: Registry[Any] = Registry(
    "edgeft.formats",
    "number format",
    "edgeft.config.number_format:NumberFormat",
    builtin("config.formats", "FORMAT", packages=False),
)

#: where models come from
MODEL_SOURCES: Registry[Any] = Registry(
    "edgeft.models",
    "model source",
    "edgeft.models.request:ModelSource",
    {
        "builtin": "edgeft.models.builtin:SOURCE",
        "keras": "edgeft.models.keras:SOURCE",
        "module": "edgeft.models.handed_over:SOURCE",
        "onnx": "edgeft.models.onnx:SOURCE",
        "python": "edgeft.models.python_file:SOURCE",
        "sb3": "edgeft.models.sb3:SOURCE",
        "timm": "edgeft.models.timm:SOURCE",
        "torchvision": "edgeft.models.torchvision:SOURCE",
        "transformers": "edgeft.models.transformers:SOURCE",
        "ultralytics": "edgeft.models.ultralytics:SOURCE",
    },
)

#: the runtimes
BACKENDS: Registry[Any] = Registry(
    "edgeft.backends", "runtime", "edgeft.backends:Backend", builtin("backends", "BACKEND", packages=True)
)

#: the tasks
TASKS: Registry[Any] = Registry(
    "edgeft.tasks", "task", "edgeft.tasks.record:Task", builtin("tasks", "TASK", packages=True)
)

#: the vendors' compilers
COMPILERS: Registry[Any] = Registry(
    "edgeft.compilers",
    "compiler",
    "edgeft.compilers.compiler:Compiler",
    {
        "qnn": "edgeft.compilers.qnn:COMPILER",
        "rknn": "edgeft.compilers.rknn:COMPILER",
        "vela": "edgeft.compilers.vela:COMPILER",
    },
)
