"""`pip:NAME`: weights that are packages of the package index, found without importing them (`pip_packages.toml`)."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..config import recipe, tables
from ..core import files
from ..core.errors import InternalError, Missing, ModelError, RecipeError, nearest
from .built import Origin
from .named import Kind, Located

PREFIX = "pip:"
_LIST = "pip_packages.toml"


@dataclass(frozen=True)
class Package:
    """A weights package: `file` in the folder of `module`, its SHA-256 as published, and the network it is for.

    `folder` is that of a model with its settings and tokenizer, "" where the file is all. `no_dependencies`: pip must
    not install what the package says that it needs.
    """

    package: str
    version: str
    module: str
    file: str
    sha256: str
    model: str
    license: str
    trained_on: str
    folder: str = ""
    no_dependencies: bool = False

    @property
    def command(self) -> str:
        """What installs it."""
        options = "--no-deps " if self.no_dependencies else ""
        return f"pip install {options}{self.package}=={self.version}"


@functools.cache
def packages() -> dict[str, Package]:
    """The list that comes with edgeft, by name."""
    text = resources.files(__package__).joinpath(_LIST).read_text(encoding="utf-8")
    source = tables.Source(_LIST, text, RecipeError)
    try:
        return {name: tables.build(Package, table, source, (name,)) for name, table in tables.parse(source).items()}
    except RecipeError as error:
        raise InternalError(f"the list of weights packages is broken: {error}") from error


def locate(model: recipe.Model, allow: bool = False) -> Located:
    """The file or folder of an installed package; pip installs it, so that `allow` changes nothing.

    Raises `RecipeError` for an unknown name, `Missing` where the package is not installed, `ModelError` where its file
    is not the published one.
    """
    name = model.weights.removeprefix(PREFIX)
    known = packages()
    if name not in known:
        raise RecipeError(f"unknown weights package {name!r}", where="model.weights", remedy=nearest(name, known))

    package = known[name]
    root = _installed(package)
    if root is None:
        raise Missing(f"the weights package {name!r} is not installed", where="model.weights", remedy=package.command)

    digest = files.sha256(root / package.file)
    if digest != package.sha256:
        raise ModelError(
            f"{package.file} of the package {package.package} is not the published file: its digest is another one",
            where=str(root),
            remedy=f"{package.command} --force-reinstall",
        )

    path = root / (package.folder or package.file)
    return Located(path, Origin(model.weights, {Path(package.file).name: digest}))


def _installed(package: Package) -> Path | None:
    """The folder of the installed module that has the file."""
    spec = importlib.util.find_spec(package.module)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / package.file).is_file():
            return Path(folder)
    return None


KIND = Kind("pip", locate, ("pip:efficientnet-lite0", "pip:mobilenet-v2"))
