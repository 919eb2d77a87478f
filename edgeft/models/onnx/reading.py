"""Reading an .onnx file without trusting it: what it names must lie in its folder, and what it holds must be valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.errors import ModelError, need
from . import registry

#: opsets of the domain ai.onnx whose operators are known
OLDEST, NEWEST = 9, 23


def read(path: Path) -> Any:
    """The ModelProto of a file, with its external data in it, valid and of operators that are known by their domain.

    Raises `ModelError` for a file that is none, damaged, of an opset beyond 9 to 23, with operators of other domains,
    or whose external data are absent or outside of its folder; `Missing` without the package onnx.
    """
    onnx = need("onnx", "onnx")
    if not path.is_file():
        raise ModelError("no such file", where=str(path), remedy="model.name is the path of an .onnx file")

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises classes of several packages
        raise ModelError(f"is no ONNX model, or damaged ({_first_line(error)})", where=str(path)) from error

    if not model.HasField("graph") or not model.opset_import:
        raise ModelError("is no ONNX model: it has no graph", where=str(path))

    _refuse_domains(model, path)
    _load_external(onnx, model, path)
    for item in model.graph.output:
        item.type.tensor_type.shape.SetInParent()  # which runtimes do not ask for, and the checker does

    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"is not valid ONNX: {_first_line(error)}", where=str(path)) from error
    except ValueError:
        pass  # more than 2 GB, which the checker does not take

    if model.functions:
        model = need("onnx.inliner", "onnx").inline_local_functions(model)

    return model


def opset_of(model: Any, path: Path) -> int:
    """The opset of ai.onnx; raises `ModelError` for one that is not known."""
    opset = next((int(item.version) for item in model.opset_import if item.domain in registry.DOMAINS), 0)
    if not OLDEST <= opset <= NEWEST:
        raise ModelError(
            f"is of opset {opset}; {OLDEST} to {NEWEST} are read",
            where=str(path),
            remedy="export it again with another opset, or convert it: onnx.version_converter.convert_version",
        )
    return opset


def _refuse_domains(model: Any, path: Path) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    known = registry.importers()
    for graph in graphs(model.graph):
        for node in graph.node:
            elsewhere = node.domain not in registry.DOMAINS and registry.name_of(node) not in known
            if elsewhere and (node.domain, node.op_type) not in own:
                remedy = "export the model with standard operators (an opset of ai.onnx alone)"
                if node.domain == "ai.onnx.ml":
                    remedy = (
                        "trees and scalers of scikit-learn are no networks: ONNX Runtime runs the file as it is, or "
                    )
                    remedy += "`edgeft init tabular` trains a network on the same table"
                raise ModelError(
                    f"the operator {node.op_type} of the domain {node.domain!r} is not part of ONNX",
                    where=f"{path}, node {node.name or node.output[0]!r}",
                    remedy=remedy,
                )


def graphs(graph: Any) -> list[Any]:
    """The graph and those of its branches."""
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += graphs(attribute.g)
    return found


def _load_external(onnx: Any, model: Any, path: Path) -> None:
    folder = path.resolve().parent
    tensors = list(onnx.external_data_helper._get_all_tensors(model))
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        file = folder / name
        where = f"{path}, tensor {tensor.name!r}"
        if not name or Path(name).is_absolute() or not file.resolve().is_relative_to(folder) or _linked(file, folder):
            raise ModelError(
                f"its data lie in {name!r}, which is not a plain file in the model's folder",
                where=where,
                remedy="put the file with the weights beside the .onnx file",
            )
        if not file.is_file():
            raise ModelError(f"its data are absent: there is no {name}", where=where, remedy="copy both files")
        end = int(entries.get("offset", 0) or 0) + int(entries.get("length", 0) or 0)
        if file.stat().st_size < end:
            raise ModelError(f"{name} has {file.stat().st_size} bytes, and its data end at {end}", where=where)

    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"its external data cannot be read ({_first_line(error)})", where=str(path)) from error


def _linked(file: Path, folder: Path) -> bool:
    """Whether a part of the path below `folder` is a link."""
    while file not in (folder, file.parent):
        if file.is_symlink():
            return True
        file = file.parent
    return False


def tensor_of(proto: Any, where: str) -> torch.Tensor:
    """The tensor of an initializer or attribute; real numbers of any width become float32. Raises `ModelError`."""
    onnx = need("onnx", "onnx")
    try:
        array = onnx.numpy_helper.to_array(proto)
    except Exception as error:  # what onnx raises for sizes that do not fit differs by version
        raise ModelError(f"cannot be read ({_first_line(error)})", where=where) from error

    if array.dtype.kind not in "fiub":
        try:
            array = array.astype(np.float32)  # bfloat16 and 8-bit floats
        except (TypeError, ValueError) as error:
            raise ModelError(f"holds values of the type {array.dtype}, not numbers", where=where) from error

    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    if array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.int64)

    return torch.from_numpy(np.array(array))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
