"""The record of a runtime: all that the rest of edgeft knows of it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from ..config.formats import fp32, int8
from ..core import installation
from ..core.errors import InvalidInput, Missing, UsageError, nearest
from ..plugins import resolve
from .flow import Flow
from .values import Grid, IntegerShare, Operation, Session, WeightTensor

#: rules of a target profile that concern the files of some runtimes only
VERSION_RULES = ("opset", "ir_version", "op_versions")
#: how a graph is lowered for the exporter (`quantize.lower`): int8 weights, or float weights that the converter folds
LOWERINGS = ("int", "qdq")
#: how an artifact stores quantized activations
STORAGES = ("int8", "uint8")
#: functions of each module that a record names
PARTS = {
    "session": ("version", "load", "options"),
    "inspector": ("integer_weights", "activation_grids", "integer_share", "emitted"),
    "exporter": ("export",),
}
#: functions of the module that `Form.engine` names
ENGINE = ("find", "title", "build", "run")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_PLACE = re.compile(rf"{_MODULE.pattern}:[A-Za-z_]\w*")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]+")


@dataclass(frozen=True)
class Form:
    """One way in which a runtime's artifact is written; a target profile names it (`form`).

    `activation_storage` is the type of quantized activations in the file: "uint8" where a kernel wants zero points from
    0 to 255 (`activation_grids` tells them for int8 all the same). `symmetric_activations`: only zero point 0 is read.
    `runs_as_itself` is false where a compiler makes something else of the file, whose speed this runtime cannot tell.
    `scripts`, where there is a `compiler`, is the "module:function" that writes what a bundle carries for it: called
    with the target and the manifest's graphs it returns {file name: text}; `built` are the suffixes of what that builds
    beside a model later. `engine`, where that compiler runs on the board itself, is the dotted name of a module with
    the functions of `ENGINE`, by which `verify` builds, runs and times there what the board will run. `formats` are the
    number formats that the exporter writes and the inspector reads; the float model is always one of them, since every
    exporter writes the float baseline. `least_opset` is the opset from which on a format can be written, for profiles
    that allow none so new; `own_ops` are formats that are written with ops of the runtime's own, which no vendor's
    compiler reads. `integer_tables` is false where the file has no lookup in a table of integers (embeddings), which
    then stays float.
    """

    name: str = "integer"
    activation_storage: str = "int8"
    symmetric_activations: bool = False
    runs_as_itself: bool = True
    compiler: str = ""
    scripts: str = ""
    built: tuple[str, ...] = ()
    engine: str = ""
    formats: tuple[str, ...] = (int8.FORMAT.name,)
    least_opset: Mapping[str, int] = field(default_factory=dict)
    own_ops: tuple[str, ...] = ()
    integer_tables: bool = True

    def __post_init__(self) -> None:
        if fp32.FORMAT.name not in self.formats:
            object.__setattr__(self, "formats", (*self.formats, fp32.FORMAT.name))


@dataclass(frozen=True)
class BoardInstall:
    """What pip installs on a board. `name` is what `edgeft device setup --runtime` takes.

    The first requirement takes the version that a user asks for. On the instruction sets `isas` it is installed unless
    another is named; without any, on all that no other install of the runtime lists.
    """

    name: str
    requirements: tuple[str, ...]
    isas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backend:
    """One runtime. Raises `InvalidInput` when a field is wrong, at the moment it is made.

    `session`, `inspector` and `exporter` are dotted names of modules with the functions of `PARTS`; `loader` is the
    module whose text is this runtime's part of run.py. None of them is imported before it is needed, so a record
    costs nothing where its runtime is not installed.

    session     version() -> str; load(path, *, threads, options) -> Session; options() -> the runtime options that
                verification sets and run.py repeats; optional exact_options() (they replace some of `options` so that
                integer kernels cannot saturate) and knobs(threads) (options that change the speed alone, values to try)
    inspector   integer_weights(path), activation_grids(path), emitted(path) read the file without converters;
                integer_share(path, *, threads, feeds, options) is measured from what the runtime really executes;
                optional operations(path), which the coverage of a vendor's compiler is counted by, flow(path) -> Flow
                (backends/flow.py), which distinguishes weights that no output depends on from those that compute, and
                external_files(path), the names of files with tensors, where `external_data` is set
    exporter    export(request, folder) -> Artifact, with the `ExportRequest` and `Artifact` of backends/artifact.py
    loader      RUNTIME (its name) and open_model(path, threads, options) -> (input names, output names, run), see
                bundle/run_py.py

    `checks` are those of `VERSION_RULES` that its files have. `extra` is an extra of edgeft that installs it on a host;
    a plug-in lists `packages` instead. `modules` are import names of which one must be there for it to count as
    installed, `versions` the distributions whose versions a run records. `probe` is the place of {file name: content}
    of a tiny model y = relu(x), float32 (1, 2), whose first file is opened. `default`: the runtime of a target profile
    that names none. `float_kernels` are formats of integers whose artifacts quantize by pairs of ops while this runtime
    computes in float: no share of integer kernels is asked of them. `external_data` are the suffixes of files in which
    names of further files may stand, which the runtime then reads too: a bundle has to list those.
    `stream` is "exact" where its integer kernels round alike whatever the shape of a tensor, so that a streaming graph
    gives the integers of the whole one; "close" where they may be a step apart; "" = no streaming graph is written.
    `cpp` is "package:folder" of the model.cpp and runtime.cmake of `edgeft cpp`; "" = it writes none for this runtime.
    """

    name: str
    title: str
    suffix: str
    session: str
    inspector: str
    exporter: str
    loader: str
    probe: str
    modules: tuple[str, ...]
    lowering: str = "int"
    companions: tuple[str, ...] = ()
    forms: tuple[Form, ...] = field(default=(Form(),))
    checks: tuple[str, ...] = ()
    extra: str = ""
    packages: tuple[str, ...] = ()
    boards: tuple[BoardInstall, ...] = ()
    versions: tuple[str, ...] = ()
    default: bool = False
    external_data: tuple[str, ...] = ()
    float_kernels: tuple[str, ...] = ()
    cpp: str = ""
    stream: str = ""

    def __post_init__(self) -> None:
        engines = [form.engine for form in self.forms if form.engine]
        modules = (self.session, self.inspector, self.exporter, self.loader, *self.modules, *engines)
        places = (self.probe, *(form.scripts for form in self.forms if form.compiler))
        names = [form.name for form in self.forms]
        storages = [form.activation_storage for form in self.forms]

        self._require(_NAME.fullmatch(self.name), f"the name {self.name!r} is not of small letters, digits, - and _")
        self._require(self.title, "the title is empty")
        self._require(self.modules, "no import name is given (`modules`)")
        self._require(self.extra or self.packages, "neither `extra` nor `packages` says what pip installs")
        self._require(self.lowering in LOWERINGS, f"the lowering {self.lowering!r} is none of {', '.join(LOWERINGS)}")
        self._require(names and len({*names}) == len(names), "`forms` is empty or names a form twice")
        for storage in storages:
            self._require(storage in STORAGES, f"activations are stored as {' or '.join(STORAGES)}, not {storage!r}")

        for rule in self.checks:
            self._require(rule in VERSION_RULES, f"the rule {rule!r} is none of {', '.join(VERSION_RULES)}")

        for suffix in (self.suffix, *self.companions, *self.external_data):
            self._require(_SUFFIX.fullmatch(suffix), f"{suffix!r} is not a file suffix like .onnx")

        for module in modules:
            self._require(_MODULE.fullmatch(module), f"{module!r} is not a dotted name of a module")

        for place in places:
            self._require(_PLACE.fullmatch(place), f"{place!r} is not of the form package.module:name")

    def _require(self, holds: object, message: str) -> None:
        if not holds:
            raise InvalidInput(f"the record of the runtime {self.name!r} is wrong: {message}")

    # --- what the record says ---------------------------------------------------------------------------------------

    @property
    def install(self) -> str:
        """The command that installs the runtime on this host."""
        if self.extra:
            return installation.command(self.extra)
        return f"pip install {' '.join(repr(name) if re.search('[<>=~!]', name) else name for name in self.packages)}"

    def installed(self) -> bool:
        """Whether one of its import names is there; it may still not load."""
        return any(importlib.util.find_spec(module) is not None for module in self.modules)

    def form(self, name: str) -> Form:
        """The form called `name`; raises `UsageError` with the nearest one."""
        forms = {form.name: form for form in self.forms}
        if name not in forms:
            raise UsageError(f"the runtime {self.name!r} has no form {name!r}", remedy=nearest(name, forms))
        return forms[name]

    def board_install(self, isa: str) -> BoardInstall | None:
        """What is installed on a board of that instruction set when nobody names it; None where pip has nothing."""
        general = [install for install in self.boards if not install.isas]
        return next((install for install in self.boards if isa in install.isas), general[0] if general else None)

    def files_of(self, file: str) -> tuple[str, ...]:
        """The files of an artifact that is opened as `file`: its companions lie beside it."""
        if not file.endswith(self.suffix):
            return (file,)
        return (file, *(PurePosixPath(file).with_suffix(suffix).as_posix() for suffix in self.companions))

    def compiler_scripts(self, target: Any, graphs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """{file name: text} of what a bundle carries for the compiler of `target`; empty where nothing is known of it.

        `graphs` are entries of the manifest, with the `sha256` of their file.
        """
        forms = [form for form in self.forms if form.compiler and form.compiler == target.compiler]
        return {name: text for form in forms for name, text in resolve(form.scripts)(target, *graphs).items()}

    def engine(self, target: Any) -> ModuleType | None:
        """The module that builds and runs, on the board itself, what the compiler of `target` makes of this runtime's
        files (`ENGINE`); None where the form has none."""
        names = [form.engine for form in self.forms if form.compiler and form.compiler == target.compiler]
        return importlib.import_module(names[0]) if names and names[0] else None

    def probe_files(self) -> dict[str, bytes]:
        """The files of the tiny model that `edgeft doctor` runs, the one that is opened first."""
        return dict(resolve(self.probe))

    def loader_text(self) -> str:
        """The text of this runtime's part of run.py; raises `InvalidInput` where the module has no source."""
        package, _, module = self.loader.rpartition(".")
        try:
            return resources.files(package).joinpath(f"{module}.py").read_text(encoding="utf-8")
        except (ImportError, OSError, ValueError) as error:
            raise InvalidInput(
                f"the loader of the runtime {self.name!r} has no source text ({error})", where=self.loader
            ) from error

    # --- what its modules do ----------------------------------------------------------------------------------------

    def part(self, part: str) -> ModuleType:
        """The module behind `session`, `inspector` or `exporter`.

        Raises `Missing` with the pip command when it does not import, `InvalidInput` when a function is absent.
        """
        place: str = getattr(self, part)
        try:
            return _complete(place, part)
        except ImportError as error:
            raise Missing(
                f"the {part} of the runtime {self.name!r} does not import ({error})", where=place, remedy=self.install
            ) from error

    def version(self) -> str:
        """The runtime's version, e.g. "1.32.0"; raises `Missing` with the pip command when it is not installed."""
        version: str = self.part("session").version()
        return version

    def load(self, path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
        """A session; raises `BundleError` when the file does not load, `Missing` when the runtime is absent."""
        session: Session = self.part("session").load(path, threads=threads, options=options)
        return session

    def options(self) -> dict[str, Any]:
        """The runtime options that verification sets and `run.py` repeats (recorded in the manifest)."""
        options: dict[str, Any] = self.part("session").options()
        return options

    def exact_options(self) -> dict[str, Any]:
        """Options that replace some of `options` so that a model is computed as its graph says, on any CPU and slower:
        for a host whose integer kernels saturate, where a board's do not. Empty where kernels are always exact."""
        state = getattr(self.part("session"), "exact_options", None)
        return dict(state()) if state else {}

    def artifact_options(self, path: Path) -> dict[str, Any]:
        """Options beside `options` that this artifact needs to load and so that its quantized layers run in integer
        kernels; the float baseline runs without them. Empty where the runtime has no such option."""
        state = getattr(self.part("inspector"), "artifact_options", None)
        return dict(state(path)) if state else {}

    def baseline_options(self, path: Path) -> dict[str, Any]:
        """Options beside `options` without which this float baseline cannot be loaded; the artifact runs with them too.
        Empty where the runtime has no such option."""
        state = getattr(self.part("inspector"), "baseline_options", None)
        return dict(state(path)) if state else {}

    def knobs(self, threads: int) -> dict[str, tuple[Any, ...]]:
        """Options that may change the speed of `threads` threads and not what is computed, and the values to try."""
        state = getattr(self.part("session"), "knobs", None)
        return dict(state(threads)) if state else {}

    def integer_weights(self, path: Path) -> list[WeightTensor]:
        """Every constant of quantized weights, read from the file itself without the converter's packages."""
        weights: list[WeightTensor] = self.part("inspector").integer_weights(path)
        return weights

    def activation_grids(self, path: Path) -> list[Grid]:
        """The grid of every quantized tensor that is no constant, read from the file like the weights."""
        grids: list[Grid] = self.part("inspector").activation_grids(path)
        return grids

    def integer_share(
        self,
        path: Path,
        *,
        threads: int = 1,
        feeds: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> IntegerShare:
        """Measured from what the runtime really executes (its optimized graph), not from the file's Q/DQ nodes.

        Without `feeds` one batch of zeros is run, with 1 for every dynamic dimension. `options` are those that the
        model is run with (a bundle's recorded ones); None takes what the artifact itself needs.
        """
        measure = self.part("inspector").integer_share
        share: IntegerShare = measure(path, threads=threads, feeds=feeds, options=options)
        return share

    def operations(self, path: Path) -> list[Operation]:
        """The operations of the file that compute or move values; empty where the runtime's package lists none."""
        state = getattr(self.part("inspector"), "operations", None)
        return list(state(path)) if state else []

    def flow(self, path: Path) -> Flow | None:
        """How values flow through the artifact; None where the runtime's package does not read it."""
        state = getattr(self.part("inspector"), "flow", None)
        return state(path) if state else None

    def external_files(self, path: Path) -> list[str]:
        """The files that the artifact names for the runtime to read too, as it names them; from its own folder."""
        state = getattr(self.part("inspector"), "external_files", None)
        return list(state(path)) if state and path.name.endswith(self.external_data) else []

    def emitted(self, path: Path) -> dict[str, Any]:
        """What the exporter really wrote, read from the file: opset, IR or op versions, and `ops` {type: count}."""
        emitted: dict[str, Any] = self.part("inspector").emitted(path)
        return emitted


@functools.cache
def _complete(place: str, part: str) -> ModuleType:
    module = importlib.import_module(place)
    absent = [name for name in PARTS[part] if not callable(getattr(module, name, None))]
    if absent:
        raise InvalidInput(f"the {part} module lacks the function {absent[0]!r}", where=place)
    return module
