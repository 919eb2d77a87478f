"""Writes a bundle as a CMake project in C++17."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..bundle.manifest import of_model
from ..bundle.reader import Bundle, recorded_report
from ..core import files
from ..core.errors import BundleError, UsageError

Say = Callable[[str], None]
#: numpy's types that edgeft::Type has
TYPES = {
    **{name: name for name in ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64")},
    "bool": "boolean",
}


def write(bundle: Bundle, out: Path, *, say: Say = lambda text: None) -> dict[str, Any]:
    """Write the project into `out`, a new or empty folder.

    Returns {"path", "name", "samples" (how many it proves itself on), "files"}. Raises what `check` raises.
    """
    check(bundle)
    name = "_".join(re.findall(r"[a-z0-9]+", bundle.name.lower())) or "model"
    verdict = (recorded_report(bundle.path) or {}).get("verdict")
    if verdict != "pass":
        say(f"WARNING: the verdict on the bundle {bundle.name} is {verdict or 'unknown: it has no report'}.")

    stored = bundle.samples()
    inputs, outputs = _tensors(bundle, stored, "inputs", "input"), _tensors(bundle, stored, "outputs", "output")
    version = str(bundle.manifest["runtime"]["version"])
    runtime = _resource(bundle.runtime.cpp)
    texts = {
        "CMakeLists.txt": _part("CMakeLists.txt").replace("@name@", name).replace("@version@", version),
        "runtime.cmake": runtime.joinpath("runtime.cmake").read_text(encoding="utf-8"),
        "src/model.cpp": runtime.joinpath("model.cpp").read_text(encoding="utf-8"),
        "src/model.hpp": _part("model.hpp"),
        "src/parity.cpp": _part("parity.cpp"),
        "src/bundle.hpp": _header(bundle, inputs, outputs),
        "README.md": _readme(bundle, name, len(inputs[0]["values"])),
    }

    for file, text in texts.items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(out / file, text)

    for tensor in (*inputs, *outputs):
        (out / tensor["file"]).parent.mkdir(exist_ok=True)
        files.write_bytes(out / tensor["file"], tensor["values"].tobytes())

    copied = [*_copy_model(bundle, out / "model")]
    parity = [tensor["file"] for tensor in (*inputs, *outputs)]
    about = {"path": str(out), "name": name, "samples": len(inputs[0]["values"])}
    return {**about, "files": sorted([*texts, *parity, *copied])}


def check(bundle: Bundle) -> None:
    """Raise `UsageError` for a bundle of several graphs or of a runtime without a part in C++, `BundleError` for one
    whose samples hold no outputs that can be compared."""
    if len(of_model(bundle.manifest)) > 1:
        raise UsageError("the model has several graphs, which the C++ program does not join", where=str(bundle.path))
    if not bundle.runtime.cpp:
        remedy = "export it for ONNX Runtime, OpenVINO or LiteRT, or use its run.py"
        raise UsageError(
            f"there is no C++ program for {bundle.runtime.title} yet", where=str(bundle.path), remedy=remedy
        )
    _tensors(bundle, bundle.samples(), "outputs", "output")


def _tensors(bundle: Bundle, stored: Mapping[str, np.ndarray], key: str, prefix: str) -> list[dict[str, Any]]:
    """The border of the graph: each tensor of the manifest with the samples' values (N, ...) of it."""
    tensors = []
    for place, tensor in enumerate(bundle.graph()[key]):
        values = stored.get(f"{prefix}/{tensor['name']}")
        if values is None or values.dtype.name not in TYPES or not len(values):
            problem = f"the samples hold no {prefix} {tensor['name']!r} that can be compared"
            raise BundleError(problem, where=str(bundle.path), remedy="export it again")
        if prefix == "input":
            values = _stored(values, tensor)
        file = f"parity/{prefix}_{place}.bin"
        tensors.append({**tensor, "file": file, "values": np.ascontiguousarray(values)})

    return tensors


def _stored(values: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    """Values as the artifact takes them: real ones on the grid of an input of integers, as its session lays them."""
    scale, dtype = tensor.get("scale"), np.dtype(str(tensor["dtype"]))
    if values.dtype.kind != "f" or dtype.kind not in "iu" or not isinstance(scale, (int, float)):
        return values
    limits, zero_point = np.iinfo(dtype), np.float32(tensor.get("zero_point") or 0)
    return np.clip(np.rint(values / np.float32(scale)) + zero_point, limits.min, limits.max).astype(dtype)


def _copy_model(bundle: Bundle, folder: Path) -> list[str]:
    """The artifact and the files that its runtime reads with it, in `folder`; their names in the project."""
    model = bundle.graph()["file"]
    path = bundle.graph_path()
    beside = bundle.runtime.external_files(path) if model.endswith(bundle.runtime.external_data or ()) else ()
    parent = Path(model).parent
    names = [*dict.fromkeys([model, *bundle.runtime.files_of(model), *((parent / name).as_posix() for name in beside)])]

    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files.inside(bundle.path, name), folder / name)

    return [f"model/{name}" for name in names]


def _part(file: str) -> str:
    return resources.files(__package__).joinpath("parts", file).read_text(encoding="utf-8")


def _resource(place: str) -> Any:
    package, _, folder = place.partition(":")
    return resources.files(package).joinpath(folder)


def _text(value: Any) -> str:
    """A string literal of C++."""
    return json.dumps(str(value), ensure_ascii=False)


def _option(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _header(bundle: Bundle, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> str:
    runtime = bundle.manifest["runtime"]
    options = [(key, value) for key, value in runtime["options"].items() if not isinstance(value, list)]
    pairs = "".join(f"\n      {{{_text(key)}, {_text(_option(value))}}}," for key, value in options)
    return f"""// What the manifest says (sha256 {bundle.digest[:12]}). Written by edgeft {__version__}.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model.hpp"

namespace bundle {{

struct Stored {{
  std::string name, file;  // the samples of a tensor, one after another
  edgeft::Type type;
  std::vector<std::int64_t> shape;  // of one sample
  double scale;  // integers of an output become (value - zero_point) * scale; 0 = none
  double zero_point;
  double step;  // one step of the output's grid; 0 = values have to be equal
}};

inline const std::string file = {_text(bundle.graph()["file"])};
inline const int threads = {int(runtime["threads"])};
inline const std::size_t samples = {len(inputs[0]["values"])};
inline edgeft::Options options() {{
  return {{{pairs}
  }};
}}
inline const std::vector<Stored> inputs = {{{"".join(map(_entry, inputs))}
}};
inline const std::vector<Stored> outputs = {{{"".join(map(_entry, outputs))}
}};

}}  // namespace bundle
"""


def _entry(tensor: Mapping[str, Any]) -> str:
    values = tensor["values"]
    shape = ", ".join(map(str, (1, *values.shape[1:])))
    scale, zero_point = (tensor.get(key) for key in ("scale", "zero_point"))
    step = tensor.get("step") or scale
    single = [float(each) if isinstance(each, (int, float)) else 0.0 for each in (scale, zero_point, step)]
    numbers = ", ".join(map(repr, single))
    kind = f"edgeft::Type::{TYPES[values.dtype.name]}"
    return f"\n    {{{_text(tensor['name'])}, {_text(tensor['file'])}, {kind}, {{{shape}}}, {numbers}}},"


def _readme(bundle: Bundle, name: str, count: int) -> str:
    return f"""# {name}

The model of the bundle `{bundle.name}` (task {bundle.task.name}, target {bundle.target}) in C++17,
for {bundle.runtime.title}, written by edgeft {__version__}. Tensors in, tensors out: `manifest.json` of the bundle says
how they are made and read.

```sh
cmake -S . -B build              # runtime.cmake says how the runtime is named
cmake --build build
ctest --test-dir build --output-on-failure      # {count} samples of the bundle: the recorded integers
build/parity . --calls 1000      # latency
```

`src/model.hpp` is the interface, `{name}_model` the library to link.
"""
