"""Checkpoints as training programs write them: a state dict somewhere among settings, optimizers and averages.

A pickle is only ever read by `torch.load(weights_only=True)`, which knows tensors and plain containers. Namespaces,
paths, dates, versions and numbers of numpy hold nothing but values and are allowed too.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import pickle
import re
import types
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import ModelError
from . import pickled_names

#: where programs put the moving average of the weights (timm, BasicSR, Lightning's callbacks, ...), and the weights
_AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "params_ema", "ema")
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "shadow")
#: first components of the names in a state dict that has the moving average beside the weights
_AVERAGED_ROOTS = ("ema_model", "model_ema", "ema")
#: what a profiler leaves among the weights, and a count of averaged steps
_COUNTS = ("n_averaged", "total_ops", "total_params")
#: classes whose objects are nothing but values; pickles of other systems and versions call some of them otherwise
_VALUES: tuple[Any, ...] = (
    *(argparse.Namespace, types.SimpleNamespace, collections.defaultdict, dict, list, int, float),
    *(datetime.date, datetime.datetime, datetime.timedelta, datetime.timezone, torch.torch_version.TorchVersion),
    *(pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath),
    *((pathlib.PureWindowsPath, f"pathlib{part}.WindowsPath") for part in ("", "._local")),
    *((pathlib.PurePosixPath, f"pathlib._local.{name}") for name in ("PosixPath", "PurePosixPath")),
)
#: the same of numpy: numbers and arrays of them, under the names of its versions 1 and 2; no arrays of objects
_NUMPY: tuple[Any, ...] = (
    *(np.ndarray, np.dtype, *(getattr(np.dtypes, name) for name in np.dtypes.__all__ if name != "ObjectDType")),
    *((np.array(0.0)[()].__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((np.empty(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
)
#: how files begin that are no weights, and what they are
_OTHER_FILES = (
    (re.compile(rb"\s*<(!doctype|html|\?xml)", re.I), "a web page: the download gave a page instead of the file"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (re.compile(rb"\x1f\x8b"), "a gzip archive: unpack it and name the file of weights in it"),
    (re.compile(rb"\s*[{\[]\s*[\"\]}]"), "a JSON text"),
    (re.compile(rb"\Z"), "empty: the download or the copy did not end"),
    (re.compile(rb"[\t\n\r\x20-\x7e]+\Z"), "a text"),
)
#: what zip archives have that hold a program beside its weights: part of a member's name, the kind, how it is loaded
_PROGRAMS = (
    (re.compile(r"(^|/)(code/.*\.py|constants\.pkl)$"), "a TorchScript archive", "torch.jit.load({!r}).state_dict()"),
    (
        re.compile(r"(^|/)(serialized_exported_program\.json|models/[^/]+\.json)$"),
        "an archive of torch.export",
        "torch.export.load({!r}).state_dict",
    ),
)


class StateDict(dict[str, torch.Tensor]):
    """Tensors by name, with `notes` for the user on what was taken of the file."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], notes: Iterable[str] = ()) -> None:
        super().__init__(tensors)
        self.notes = tuple(notes)


def refuse_other_files(path: Path) -> None:
    """Raise `ModelError` for a file that is no weights file, with what it is."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise broken(path, error) from error

    for pattern, kind in _OTHER_FILES:
        if pattern.match(start):
            raise ModelError(f"holds no weights, it is {kind}", where=str(path), remedy="check model.weights")

    _refuse_programs(path)


def _refuse_programs(path: Path) -> None:
    """Raise `ModelError` for an archive that holds a program, with the line that saves its weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return

    for pattern, kind, load in _PROGRAMS:
        if any(pattern.search(name) for name in names):
            raise ModelError(
                f"is {kind}, which holds a program beside the weights",
                where=str(path),
                remedy="where you trust it, save the tensors alone: "
                f"torch.save({load.format(path.name)}, 'weights.pth')",
            )


def read(path: Path) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors of a file that torch wrote, and notes. Raises `ModelError` for what cannot be read or used."""
    value = _loaded(path)
    notes: tuple[str, ...] = ()
    for _ in range(3):
        if not isinstance(value, Mapping):
            break
        key = next((key for key in (*_AVERAGED, *_PLAIN) if _has_tensors(value.get(key))), None)
        if key is None:
            break
        if key in _AVERAGED:
            notes = (f"the checkpoint has a moving average of the weights (EMA), {key!r}: it is taken",)
        value = value[key]

    if not isinstance(value, Mapping):
        raise ModelError(f"holds a {type(value).__name__}, expected a state dict of tensors", where=str(path))

    tensors = {str(name): t for name, t in value.items() if isinstance(t, torch.Tensor) and not _counts(name)}
    quantized = [name for name, tensor in tensors.items() if tensor.is_quantized or "float8" in str(tensor.dtype)]
    if quantized or any("_packed_params" in str(name) for name in value):
        name = (quantized or [name for name in value if "_packed_params" in str(name)])[0]
        raise ModelError(
            f"holds the weights of a quantized model (first {name!r}), and edgeft quantizes by itself",
            where=str(path),
            remedy="name the checkpoint of the float model that it was made from",
        )

    if not tensors:
        raise ModelError("holds no tensors", where=str(path), remedy="save model.state_dict()")

    return tensors, notes


def _has_tensors(value: Any, depth: int = 2) -> bool:
    """Whether a table holds tensors, or a table in it does: the settings of a moving average are a table, too."""
    if not isinstance(value, Mapping):
        return False
    return any(
        isinstance(item, torch.Tensor) or (depth > 0 and _has_tensors(item, depth - 1)) for item in value.values()
    )


def _counts(name: Any) -> bool:
    """Is it the name of a number that no layer reads?"""
    return str(name).rpartition(".")[2] in _COUNTS


def averaged(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The moving average in a state dict that has it beside the weights, {} where there is none."""
    for root in _AVERAGED_ROOTS:
        inner = {name.partition(".")[2]: tensor for name, tensor in state.items() if name.startswith(f"{root}.")}
        inner = {name.removeprefix("module."): tensor for name, tensor in inner.items() if name != "n_averaged"}
        others = {name for name in state if not name.startswith(f"{root}.")}
        others |= {name.partition(".")[2] for name in others}
        if inner and inner.keys() <= others:
            return inner

    return {}


def _loaded(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            pickled_names.check(file, str(path))
        with torch.serialization.safe_globals([*_VALUES, *_NUMPY]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights only" not in str(error).lower():
            raise broken(path, error) from error

        blocked = re.search(r"GLOBAL ([\w.]+)", str(error))
        held = f"an object of {blocked[1]}" if blocked else "a whole model or unknown classes"
        raise ModelError(
            f"this pickle runs code when it is loaded (it holds {held}), which is refused",
            where=str(path),
            remedy="where you trust it, load it yourself and save only the tensors: "
            "torch.save(model.state_dict(), 'weights.pth')",
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise broken(path, error) from error


def broken(path: Path, error: Exception) -> ModelError:
    """The error of a file that cannot be read as what it should be."""
    line = str(error).strip().splitlines()
    return ModelError(
        f"cannot be read as weights ({line[0] if line else type(error).__name__})",
        where=str(path),
        remedy="the file may be truncated or of another format",
    )
