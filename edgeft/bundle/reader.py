"""A bundle: one folder that holds a verified model for one target and everything needed to run and re-check it.

    manifest.json       what this is, and the sha256 of every other file; its own digest is in manifest.sha256
    <model files>       the artifact of the runtime            baseline/   the float model for the same runtime
    samples.npz         a few real samples, the tensors made of them and the expected outputs
    preprocess/         files that preprocessing reads, where it reads any (a tokenizer)
    run.py              a stand-alone runner                   report.*    what verification found
    bundle.sigstore.json   the signature, where somebody signed it (`edgeft.trust`)

What opening one proves: the folder is as it was exported (a digest is no signature: who can rewrite every file can
rewrite the digest too). Reports and the state of a device are not listed, since they are written later; any other file
that is not listed is refused, and so is a model that takes weights from a file that is not listed as such.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .. import backends as runtimes
from .. import tasks
from ..config import target as targets
from ..core import files, npz
from ..core.errors import BundleError, Missing, UsageError, nearest
from ..plugins import TASKS
from . import border, folders
from . import run_py as runner
from .manifest import SCHEMA, UNLISTED, check, of_model, parse

RUNNER = "run.py"
SAMPLES = "samples.npz"
_MAX_MANIFEST = 64 << 20


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `manifest` is the checked table of manifest.json, `digest` the sha256 of that file."""

    path: Path
    manifest: dict[str, Any]
    digest: str = ""

    @property
    def name(self) -> str:
        name: str = self.manifest["name"]
        return name

    @property
    def task(self) -> tasks.Task:
        """The task's record; raises `Missing`, with the package that brought the task, where it is not installed."""
        name = self.manifest["task"]
        if name not in TASKS:
            plugins = self.manifest.get("provenance", {}).get("plugins")
            package = plugins.get("task") if isinstance(plugins, Mapping) else None
            raise Missing(
                f"the task {name!r} is not installed here",
                where=f"{self.path / 'manifest.json'}: task",
                remedy=f"install the package {package}, which brings it"
                if isinstance(package, str)
                else nearest(name, TASKS.names()),
            )

        return tasks.get(name)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.manifest["labels"])

    @property
    def target(self) -> str:
        target: str = self.manifest["target"]
        return target

    @property
    def backend(self) -> str:
        backend: str = self.manifest["backend"]
        return backend

    @property
    def runtime(self) -> runtimes.Backend:
        return runtimes.get(self.backend)

    @property
    def scheme(self) -> dict[str, Any]:
        scheme: dict[str, Any] = self.manifest["scheme"]
        return scheme

    @property
    def preprocess(self) -> dict[str, Any]:
        """The manifest's table, its `files` (a tokenizer, for example) as paths that can be opened."""
        table: dict[str, Any] = self.manifest["preprocess"]
        if "files" not in table:
            return table
        return {**table, "files": {k: str(files.inside(self.path, v)) for k, v in table["files"].items()}}

    def graph(self, name: str = "main") -> dict[str, Any]:
        """The entry of `graphs` with that name; raises `UsageError` with the nearest known name."""
        graphs = {graph["name"]: graph for graph in self.manifest["graphs"]}
        if name not in graphs:
            raise UsageError(f"the bundle has no graph {name!r}", where=str(self.path), remedy=nearest(name, graphs))
        graph: dict[str, Any] = graphs[name]
        return graph

    def graph_path(self, name: str = "main") -> Path:
        return files.inside(self.path, self.graph(name)["file"])

    def baseline_path(self, name: str = "main") -> Path:
        """The float artifact of the same graph; raises `BundleError` where the bundle has none."""
        baseline = self.graph(name).get("baseline")
        if baseline is None:
            raise BundleError(f"graph {name!r} has no float baseline", where=str(self.path), remedy="export it again")
        return files.inside(self.path, baseline)

    def samples(self) -> dict[str, np.ndarray]:
        """`raw_0`.., `targets`, `input/<name>`, `output/<name>`, `graph/<name>`, `baseline/<name>`.

        Raises `BundleError` without them, and where they lack an input or an output of the manifest's graphs.
        """
        if SAMPLES not in self.manifest["files"]:
            raise BundleError(f"has no {SAMPLES}", where=str(self.path), remedy="export it again")

        with folders.reading(self.path / SAMPLES):
            stored = npz.read(self.path / SAMPLES, follow=False)

        graphs = of_model(self.manifest)
        for graph in graphs:
            place = f"{graph['name']}/" if len(graphs) > 1 else ""
            for kind in ("input", "output"):
                for tensor in graph[f"{kind}s"]:
                    if (key := f"{kind}/{place}{tensor['name']}") not in stored:
                        where = str(self.path / SAMPLES)
                        raise BundleError(
                            f"lacks {key!r}, a tensor of the manifest", where=where, remedy="export it again"
                        )

        return stored

    @property
    def exact(self) -> bool:
        """Whether this host's integer kernels would falsify the model, whose board has others (`target.exact_here`)."""
        try:
            profile = targets.load(self.target)
        except UsageError:
            return False
        return self.scheme.get("weight_bits", 8) == 8 and targets.exact_here(profile)

    def sessions(self, **how: Any) -> dict[str, runtimes.Session]:
        """The session of every graph by name; `how` as `session` takes it."""
        return {graph["name"]: self.session(name=graph["name"], **how) for graph in of_model(self.manifest)}

    def session(
        self,
        *,
        threads: int | None = None,
        baseline: bool = False,
        name: str = "",
        exact: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> runtimes.Session:
        """The artifact (or its float baseline) loaded in its runtime with the recorded options.

        Of a bundle of several graphs it is, without `name`, the session that the task composes of them. `exact` None
        follows the property: on such a host the runtime's own integer kernels are left out. Feeds and results carry the
        manifest's tensor names. `threads` None takes the recorded number; `options` are laid over the recorded ones.
        Raises `Missing` without the runtime and `BundleError` where the artifact does not fit the manifest.
        """
        if not name and len(of_model(self.manifest)) > 1:
            several = self.sessions(threads=threads, baseline=baseline, exact=exact, options=options)
            return composed(self.task, several, self.preprocess)

        name = name or of_model(self.manifest)[0]["name"]
        path = self.baseline_path(name) if baseline else self.graph_path(name)
        recorded = self.manifest["runtime"]
        own = recorded.get("artifact_options", ()) if baseline else ()
        options = {**{k: v for k, v in recorded["options"].items() if k not in own}, **(options or {})}
        if self.exact if exact is None else exact:
            options |= self.runtime.exact_options()

        session = self.runtime.load(path, threads=threads or recorded["threads"], options=options)
        self._unchanged(path)
        if not baseline:
            border.check(session, self.graph(name), where=str(path))

        return border.named(session, self.graph(name), where=str(path))

    def _unchanged(self, path: Path) -> None:
        """Raise `BundleError` where a model that a runtime has opened by its name is not the one that was checked: the
        file may have been replaced between the two."""
        model = path.relative_to(self.path).as_posix()
        external = self.runtime.external_files(path) if model.endswith(self.runtime.external_data or ()) else ()
        beside = [(PurePosixPath(model).parent / location).as_posix() for location in external]

        for name in (model, *self.runtime.files_of(model), *beside):
            entry, file = self.manifest["files"].get(name), files.inside(self.path, name)
            with folders.reading(file):
                if entry is None or files.sha256(file) != entry["sha256"]:
                    raise BundleError(
                        f"{name} was altered while it was opened", where=str(self.path), remedy=folders.EXPORT_AGAIN
                    )


def composed(task: Any, sessions: Mapping[str, runtimes.Session], spec: Mapping[str, Any]) -> runtimes.Session:
    """The sessions of several graphs as one, by the task; raises `BundleError` for a task that has one graph."""
    if task.compose is None:
        raise BundleError(f"the task {task.name} knows no models of several graphs", where="graphs")
    composed: runtimes.Session = task.compose(sessions, spec)
    return composed


def carry(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Copy the `files` of a `preprocess` table into a staging folder; the table names them from there.

    Raises `BundleError` for a file that cannot be read, `SystemFailure` where the copy cannot be written.
    """
    if "files" not in table:
        return dict(table)

    carried = {}
    for key, name in table["files"].items():
        source = Path(name)
        try:
            content = source.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot be read ({error.strerror})", where=str(source)) from error
        carried[key] = f"preprocess/{key}{source.suffix}"
        files.write_bytes(folder / carried[key], content)

    return {**table, "files": carried}


def stored_raw(number: int, raw: Any) -> dict[str, np.ndarray]:
    """A raw sample as members of samples.npz: `raw_<number>`, or `raw_<number>/<key>` for each value of a mapping."""
    if isinstance(raw, Mapping):
        return {f"raw_{number}/{key}": np.asarray(value) for key, value in raw.items()}
    return {f"raw_{number}": np.asarray(raw)}


def raws(stored: Mapping[str, np.ndarray]) -> list[Any]:
    """The raw samples of a read samples.npz in order, as `stored_raw` was given them."""
    sample_of: dict[int, Any] = {}
    for key, value in stored.items():
        head, _, field = key.partition("/")
        if not head.startswith("raw_") or not head[4:].isdecimal():
            continue
        plain = str(value) if value.dtype.kind == "U" and value.ndim == 0 else value
        if field:
            sample_of.setdefault(int(head[4:]), {})[field] = plain
        else:
            sample_of[int(head[4:])] = plain

    return [sample_of[number] for number in sorted(sample_of)]


def open(path: Path | str, *, check_files: bool = True) -> Bundle:
    """Open and check a bundle; raises `BundleError` naming the file or key that is wrong, `SystemFailure` on I/O.

    Checked: the manifest's digest, schema and keys; that every listed file is a regular file inside the folder, reached
    through no link, of the right size and, with `check_files`, of the right sha256.
    """
    path = Path(path)
    folders.refuse_other_folders(path)
    manifest, digest = _read_manifest(path)

    for name, entry in manifest["files"].items():
        file = folders.regular(path, name)
        with folders.reading(file):
            size = file.stat().st_size
            if size != entry["bytes"]:
                what = "truncated" if size < entry["bytes"] else "altered"
                raise BundleError(
                    f"was {what}: {size} bytes, not {entry['bytes']}", where=str(file), remedy=folders.EXPORT_AGAIN
                )
            if check_files and files.sha256(file) != entry["sha256"]:
                raise BundleError(
                    "was altered: its sha256 is not the manifest's", where=str(file), remedy=folders.EXPORT_AGAIN
                )

    folders.refuse_unlisted(path, manifest)
    folders.check_external(path, manifest)
    return Bundle(path, manifest, digest)


def _read_manifest(path: Path) -> tuple[dict[str, Any], str]:
    """The checked manifest and the sha256 of its file."""
    data = []
    for name in ("manifest.json", "manifest.sha256"):
        file = folders.regular(path, name)
        with folders.reading(file):
            data.append(_bounded(file))

    digest = hashlib.sha256(data[0]).hexdigest()
    if data[1].split()[:1] != [digest.encode()]:
        raise BundleError(
            "manifest.json was altered: manifest.sha256 is not its digest", where=str(path), remedy=folders.EXPORT_AGAIN
        )

    manifest = parse(data[0], str(path / "manifest.json"))
    check(manifest)
    return manifest, digest


def recorded_report(path: Path) -> dict[str, Any] | None:
    """report.json of a bundle as one strict JSON object, None where there is none.

    Raises `BundleError` for a link, anything that is no regular file, and what is too large or no JSON object.
    """
    if not os.path.lexists(path / "report.json"):
        return None
    file = folders.regular(path, "report.json")
    with folders.reading(file):
        return parse(_bounded(file), str(file))


def _bounded(file: Path) -> bytes:
    """The bytes of a regular file of bounded size."""
    with files.open_regular(file, follow=False) as handle:
        data = handle.read(_MAX_MANIFEST + 1)
    if len(data) > _MAX_MANIFEST:
        raise BundleError("is too large to be one", where=str(file))
    return data


def runner_of(manifest: Mapping[str, Any]) -> bytes:
    """The text of a bundle's `run.py`: the same for all bundles of a runtime, a task and a kind of input."""
    preprocess = manifest.get("preprocess")
    kind = preprocess.get("kind", "") if isinstance(preprocess, Mapping) else ""
    return runner.text(str(manifest.get("backend", "")), str(kind), str(manifest.get("task", ""))).encode()


def write(folder: Path | str, manifest: Mapping[str, Any]) -> None:
    """Finish a staging folder: put `run.py` in, hash every file into `files`, write manifest.json and its digest.

    `manifest` carries every key but `files` (`schema` may be left out). The folder is opened once as a reader will;
    move it into place with `files.publish`. Raises `BundleError` for a link among the files or a key that is wrong,
    and `SystemFailure` when the system refuses.
    """
    folder = Path(folder)
    files.write_bytes(folder / RUNNER, runner_of(manifest))
    listed: dict[str, dict[str, Any]] = {}

    for name in folders.walk(folder):
        if name in UNLISTED:
            continue
        file = folders.regular(folder, name)
        with folders.reading(file):
            listed[name] = {"sha256": files.sha256(file), "bytes": file.stat().st_size}

    try:
        table = json.loads(json.dumps({"schema": SCHEMA, **manifest, "files": listed}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BundleError(f"the manifest is not strict JSON ({error})", where=str(folder)) from error

    check(table)
    files.write_json(folder / "manifest.json", table)
    files.write_text(folder / "manifest.sha256", f"{files.sha256(folder / 'manifest.json')}  manifest.json\n")
    written = open(folder, check_files=False)
    if SAMPLES in listed:
        written.samples()
