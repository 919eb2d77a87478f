"""ExecuTorch: `.pte` files in its Python runtime, whose extension module takes and gives torch's tensors.

The extension is imported by itself. The package's public door, `executorch.runtime`, imports the whole exporter first,
which takes seconds here and half a minute on a board.
"""

from __future__ import annotations

import functools
import importlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...core.errors import BundleError, Missing, need
from ...core.quiet import quiet
from .. import Session, Tensor
from ..base_session import BaseSession, existing, reason, rename, settings
from . import BACKEND, program

#: the extension module, by the names that it has had
_EXTENSIONS = ("executorch.extension.pybindings._C", "executorch.extension.pybindings._portable_lib")


@functools.cache
def module() -> ModuleType:
    """The runtime's extension module; raises `Missing` with the pip command."""
    need("torch", BACKEND.extra)  # whose libraries the extension is linked against
    reasons = []
    for place in _EXTENSIONS:
        try:
            with quiet():  # it tells on stderr how it counts the cores for its pool of threads
                runtime = importlib.import_module(place)
                runtime._threadpool_get_thread_count()
            return runtime
        except ImportError as error:
            reasons.append(reason(error))

    raise Missing(f"ExecuTorch's Python runtime does not import ({reasons[0]})", remedy=BACKEND.install)


def version() -> str:
    module()
    try:
        return installed("executorch")
    except PackageNotFoundError:
        return "unknown"


def options() -> dict[str, Any]:
    """None: what a program computes with is fixed when it is exported."""
    return {}


def load(path: Path, *, threads: int = 1, options: Mapping[str, Any] | None = None) -> Session:
    """A session; raises `BundleError` when the file does not load, `Missing` when the runtime is absent.

    `options` may hold `input_names` and `output_names`: the graph's own names by position, which the format has not.
    """
    path = Path(path)
    _, input_names, output_names = settings(options, {}, path)
    module()
    described = program.read(existing(path))
    inputs = [_tensor(described, k, f"input_{i}", path) for i, k in enumerate(described.inputs)]
    outputs = [_tensor(described, k, f"output_{i}", path) for i, k in enumerate(described.outputs)]

    return _ExecuTorchSession(
        path,
        threads,
        rename(inputs, input_names, "input", path),
        rename(outputs, output_names, "output", path),
    )


def _tensor(described: program.Program, position: int, name: str, path: Path) -> Tensor:
    tensor = described.tensors[position]
    if not tensor.dtype:
        raise BundleError(f"the tensor {name!r} has a type that cannot be fed", where=str(path))
    return Tensor(name, tensor.shape, tensor.dtype)


def trace(path: Path, *, threads: int = 1, feeds: Mapping[str, np.ndarray] | None = None) -> bytes:
    """What the runtime records while it runs one sample of `feeds`, or zeros: an ETDump, empty where it keeps none."""
    session = load(path, threads=threads)
    assert isinstance(session, _ExecuTorchSession)
    session.run(feeds if feeds is not None else {t.name: np.zeros(t.shape, t.dtype) for t in session.inputs})
    loaded = load_program(path, traced=True)
    if not loaded.has_etdump():
        return b""

    method = loaded.load_method("forward")
    method.set_inputs(session.fed)
    method.execute()

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace"
        loaded.write_etdump_result_to_file(str(file), "")
        return file.read_bytes()


def load_program(path: Path, *, traced: bool = False) -> Any:
    """The program of a file, checked by the runtime; `traced`, it records what it executes. Raises `BundleError`."""
    runtime, error = module(), None
    with quiet() as printed:
        try:
            return runtime._load_program(
                str(path), enable_etdump=traced, program_verification=runtime.Verification.InternalConsistency
            )
        except RuntimeError as caught:
            error = caught

    raise _unloadable(path, error, printed) from error


def load_method(path: Path) -> Any:
    """The method `forward`, ready to run; raises `BundleError` where a kernel is missing or the graph is refused."""
    loaded, error = load_program(path), None
    with quiet() as printed:
        try:
            return loaded.load_method("forward")
        except RuntimeError as caught:
            error = caught

    raise _unloadable(path, error, printed) from error


def _unloadable(path: Path, error: Exception, printed: Sequence[str]) -> BundleError:
    detail = "; ".join(line.partition("] ")[2] or line for line in printed[-2:])
    return BundleError(
        f"does not load in ExecuTorch {version()}: {reason(error)}{f' ({detail})' if detail else ''}",
        where=str(path),
        remedy="export it again for this version of the runtime",
    )


class _Threads:
    """The runtime's one pool of threads. What was loaded before its size changes holds on to the pool that is gone, so
    it has to be loaded again: `generation` tells."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.generation = 0

    def resize(self, count: int) -> None:
        runtime = module()
        if runtime._threadpool_get_thread_count() != count:
            with quiet():
                runtime._unsafe_reset_threadpool(count)
            self.generation += 1


_THREADS = _Threads()


class _ExecuTorchSession(BaseSession):
    def __init__(self, path: Path, threads: int, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        super().__init__(path, inputs, outputs)
        self._threads, self._generation = threads, -1
        self._torch = need("torch", BACKEND.extra)
        self.fed: list[Any] | None = None
        with _THREADS.lock:
            self._ready()

    def _ready(self) -> None:
        """Load the program, or load it again where the threads changed since."""
        _THREADS.resize(self._threads)
        if self._generation != _THREADS.generation:
            self.handle = load_method(self.path)
            self._generation = _THREADS.generation
            if self.fed is not None:
                self.handle.set_inputs(self.fed)  # a method that is new here has none

    def _call(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        tensors = [self._torch.from_numpy(a if a.flags.writeable else a.copy()) for a in arrays]
        with _THREADS.lock:
            self.fed = None
            self._ready()
            try:
                self.handle.set_inputs(tensors)
                self.handle.execute()
                results = self.handle.get_outputs(clone_outputs=True)
            except RuntimeError as error:
                raise self._fault(f"ExecuTorch {version()} could not run the model: {reason(error)}") from error
            self.fed = tensors  # which the runtime reads in place

        return [result.numpy() for result in results]

    def invoke(self) -> None:
        """Again on the tensors last given, which stay set; outputs stay in the runtime's own memory."""
        if self.fed is None:
            raise self._fault("invoke() repeats a run, and nothing was run yet")
        with _THREADS.lock:
            self._ready()
            self.handle.execute()
