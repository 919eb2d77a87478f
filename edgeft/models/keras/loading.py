"""Keras with its torch backend, and a file through it."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ...core.errors import Missing, ModelError, need
from ..python_file import run_file
from . import safety

_BACKEND = "torch"


def keras() -> ModuleType:
    """The package Keras 3, imported with its torch backend whatever the environment and ~/.keras say.

    Raises `Missing` without it, for Keras 2, and where this process imported it with another backend before.
    """
    loaded = sys.modules.get("keras")
    if loaded is None:
        with tempfile.TemporaryDirectory() as home, _environment(KERAS_BACKEND=_BACKEND, KERAS_HOME=home):
            loaded = need("keras", "keras")

    backend = getattr(getattr(loaded, "config", None), "backend", None)
    if backend is None:
        raise Missing(f"Keras 3 is needed here, and {loaded.__version__} is installed", remedy="pip install -U keras")
    if backend() != _BACKEND:
        raise Missing(
            f"this process has imported Keras with the backend {backend()!r}, and edgeft needs {_BACKEND!r}",
            remedy="start anew and import keras after edgeft has read the model, or with KERAS_BACKEND=torch",
        )

    return loaded


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def load(path: Path, allow_code: bool = False, code: str = "") -> Any:
    """The Keras model of a .keras or .h5 file, on the CPU, not compiled.

    `code` is a Python file with the classes and functions that the model was built with; it runs, as Lambda layers do,
    with `allow_code` alone. Raises `ModelError` for what is not read and `Missing` without the package.
    """
    if code and not allow_code:
        raise ModelError(
            f"would run {code!r}, which was not allowed",
            where="model.args.code",
            remedy="read that file, and if you trust it, pass --allow-code",
        )

    safety.refuse_code(safety.config_of(path), path, allow_code)
    package = keras()
    custom = {}

    if code:
        members = vars(run_file(Path(code), "model.args.code"))
        custom = {name: member for name, member in members.items() if callable(member) and not name.startswith("_")}

    suffix = ".keras" if safety.is_zip(path) else ".h5"
    try:
        with _with_suffix(path, suffix) as named, package.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = package.models.load_model(
                str(named), custom_objects=custom, compile=False, safe_mode=not allow_code
            )
    except Exception as error:  # Keras raises errors of many types for what a file holds
        raise ModelError(f"Keras cannot load it: {_line(error)}", where=str(path), remedy=_remedy(error)) from error

    if not getattr(model, "inputs", None) and type(model).__module__.split(".")[0] != package.__name__:
        raise ModelError(
            f"is a {type(model).__name__}, a class of its own with a call method, whose layers cannot be followed",
            where=str(path),
            remedy="build the model with keras.Sequential or keras.Model(inputs, outputs); or export it to ONNX",
        )

    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise ModelError(
            "was saved before its layers had weights",
            where=str(path),
            remedy="call model.build(input_shape), or the model on a sample, before model.save",
        )

    return model


@contextmanager
def _with_suffix(path: Path, suffix: str) -> Iterator[Path]:
    """`path` with the suffix by which Keras knows the kind of file."""
    if path.suffix.lower() in ((".keras",) if suffix == ".keras" else (".h5", ".hdf5")):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{suffix}"
        link.symlink_to(path.resolve())
        yield link


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _remedy(error: Exception) -> str:
    if "custom" in str(error).lower() or "Could not locate" in str(error) or "Unknown" in str(error):
        return "name the file of the code that it was built with: model.args.code = 'layers.py', and pass --allow-code"
    return "load and save it again with Keras 3: keras.saving.load_model(...).save('model.keras')"
