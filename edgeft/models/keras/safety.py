"""What a file of Keras may not hold: code, unless it was allowed, and what lies outside of the file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import ModelError, need
from ...core.npy import BROKEN

#: the signatures that files begin with
HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
#: layers that read or run something beside the file, or take text
_OUTSIDE = {
    "HashedCrossing": "takes text",
    "Hashing": "takes text",
    "IntegerLookup": "looks values up in a table of its own",
    "JaxLayer": "runs code of another package",
    "FlaxLayer": "runs code of another package",
    "StringLookup": "takes text",
    "TFSMLayer": "is a TensorFlow SavedModel, which brings code of its own",
    "TextVectorization": "takes text",
    "TorchModuleWrapper": "holds a pickled torch module",
}
_CODE = ("Lambda", "__lambda__")
#: bytes of config.json beyond which a file is no model
_LARGEST = 64 * 2**20


def config_of(path: Path) -> dict[str, Any]:
    """The configuration of a .keras or .h5 file as JSON has it, without loading anything else of it.

    Raises `ModelError` for a file that is absent, damaged or none of both, and for HDF5 links to other files; `Missing`
    without h5py.
    """
    start = _start_of(path)
    try:
        if start.startswith(ZIP):
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _LARGEST:
                    raise ModelError("its config.json is too large for a model", where=str(path))
                text = archive.read("config.json").decode()
        else:
            text = _of_hdf5(path)
        config = json.loads(text)
    except BROKEN as error:
        raise ModelError(f"is no model that Keras saved, or damaged ({error})", where=str(path)) from error

    if not isinstance(config, dict):
        raise ModelError("is no model that Keras saved: its configuration is no table", where=str(path))
    return config


def _start_of(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError(
            "is a folder, and a TensorFlow SavedModel is not read",
            where=str(path),
            remedy="save the model as one file: model.save('model.keras'); or export it to ONNX (tf2onnx) and take "
            "model.source = 'onnx'",
        )

    if not path.is_file():
        raise ModelError("no such file", where=str(path), remedy="model.name is the path of a .keras or .h5 file")

    with path.open("rb") as file:
        start = file.read(8)

    if start[4:] == b"TFL3":
        raise ModelError(
            "is a TensorFlow Lite file, from which nothing can be trained",
            where=str(path),
            remedy="take the Keras model that it was converted from (.keras, .h5)",
        )

    if not start.startswith((ZIP, HDF5)):
        raise ModelError(
            "is neither a .keras nor an .h5 file",
            where=str(path),
            remedy="save the model with model.save('model.keras')",
        )

    return start


def _of_hdf5(path: Path) -> str:
    h5py = need("h5py", "keras")
    with h5py.File(path, "r") as file:
        _refuse_links(h5py, file, path)
        config = file.attrs.get("model_config")

    if config is None:
        raise ModelError(
            "holds weights alone, without the layers that they belong to",
            where=str(path),
            remedy="save the whole model: model.save('model.keras')",
        )

    return config.decode() if isinstance(config, bytes) else str(config)


def _refuse_links(h5py: Any, group: Any, path: Path) -> None:
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ModelError(f"{group.name}/{name} is a link to another place", where=str(path))
        item = group[name]
        if isinstance(item, h5py.Group):
            _refuse_links(h5py, item, path)
        elif item.external:
            raise ModelError(f"{group.name}/{name} has its numbers in another file", where=str(path))


def refuse_code(config: dict[str, Any], path: Path, allow_code: bool) -> None:
    """Raise `ModelError` for what brings code or reads text, and for classes that are not Keras' own unless
    `allow_code`."""
    for table in _tables(config):
        kind, module = str(table.get("class_name")), table.get("module")
        if kind in _OUTSIDE:
            raise ModelError(
                f"has a layer {kind}, which {_OUTSIDE[kind]}: it is not read",
                where=str(path),
                remedy="save the model without it, and do what it does before the model",
            )
        if allow_code:
            continue
        if kind in _CODE:
            raise ModelError(
                f"has a {'Lambda layer' if kind == 'Lambda' else 'Python function'}, whose code would run, which was "
                "not allowed",
                where=str(path),
                remedy="build it with layers of Keras; or, if you trust the file, pass --allow-code",
            )
        custom = module is not None and str(module).split(".")[0] != "keras" and "registered_name" in table
        registered = ">" in str(table.get("registered_name") or "")
        if custom or registered:
            name = table.get("config") if kind == "function" else kind
            raise ModelError(
                f"has {name!r}, which is no part of Keras and would need code that was not allowed",
                where=str(path),
                remedy="if you trust that code, name its file (model.args.code = 'layers.py') and pass --allow-code",
            )


def _tables(item: Any) -> Iterator[dict[str, Any]]:
    """Every table within `item` that names a class."""
    stack = [item]
    while stack:
        current = stack.pop()
        if isinstance(current, dict):
            if "class_name" in current:
                yield current
            stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)


def is_zip(path: Path) -> bool:
    """Whether the file is a .keras file, whatever its name; it exists."""
    with path.open("rb") as file:
        return file.read(4) == ZIP
