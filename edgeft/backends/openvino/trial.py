"""Whether the CPU plug-in survives the compilation of a model, tried in a process of its own.

OpenVINO 2026 fuses consecutive linear layers of a perceptron into one kernel of its own code
(`TokenizeMLPSeqSnippets`). Where the result meets another computed tensor, as in `fc2(relu(fc1(x))) * sigmoid(x)`,
compiling for one thread in float32 ends the process with a segmentation fault. Kept apart, the same layers compile.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core import interpreter
from .session import OPTIONS, exact_options, read_model

#: layers are kept apart that the plug-in would fuse into one kernel (an internal property of the CPU plug-in)
APART = {"SNIPPETS_MODE": "DISABLE"}
#: seconds that a compilation may take; a model that takes longer is not one that crashes at once
_SECONDS = 300.0
_BINARY = {"Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Power", "SquaredDifference"}
_COMPILE = """
import json
from pathlib import Path
from edgeft.backends.openvino import session
path = Path(sys.argv[1])
session.compile_model(path, session.read_model(path), 1, json.loads(sys.argv[2]))
"""


def surviving_options(path: Path) -> dict[str, Any]:
    """The options without which compiling the model at `path` ends the process: `APART`, or none."""
    stat = Path(path).stat()
    return dict(_tried(Path(path), stat.st_size, stat.st_mtime_ns))


@functools.lru_cache(maxsize=64)
def _tried(path: Path, size: int, changed_ns: int) -> Mapping[str, Any]:
    if not _may_be_fused(read_model(path)):
        return {}

    variants = (dict(OPTIONS), {**OPTIONS, **exact_options()})
    return APART if any(_dies(path, options) for options in variants) else {}


def _dies(path: Path, options: Mapping[str, Any]) -> bool:
    """Whether a signal ends the process that compiles the model; other faults are reported where it is loaded."""
    command = interpreter.here(_COMPILE, str(path), json.dumps(options))
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False

    return done.returncode < 0


def _may_be_fused(model: Any) -> bool:
    """Whether two or more products of rank 2 may become one kernel and two computed tensors meet behind one of them."""
    constant: dict[str, bool] = {}
    behind: dict[str, bool] = {}
    products, meets = 0, False

    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        constant[name] = kind == "Constant" or (bool(sources) and all(constant[source] for source in sources))
        product = kind == "MatMul" and node.get_output_partial_shape(0).rank.get_length() == 2
        products += product
        behind[name] = product or any(behind[source] for source in sources)
        meets |= kind in _BINARY and behind[name] and not any(constant[source] for source in sources)

    return products > 1 and meets
