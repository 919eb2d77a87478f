"""What pip installs on a board for each runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..core.errors import UsageError, nearest

#: runtime -> distributions; a version may be named behind it (`onnxruntime==1.21.0`)
PACKAGES = {
    "litert": ("ai-edge-litert",),
    "tflite-runtime": ("tflite-runtime==2.14.0", "numpy<2"),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
}
#: what reading raw samples takes beside that, by the name of edgeft's own extra
EXTRAS = {
    "audio": ("soundfile",),
    "text": ("tokenizers",),
    "translate": ("tokenizers", "sacrebleu"),
    "detect": ("pycocotools",),
}
#: of each board: numpy and click are what edgeft imports, pillow reads pictures
ALWAYS = ("numpy", "click>=8.1", "pillow")


def bare(requirement: str) -> str:
    """The distribution's name of a requirement."""
    return re.split("[<>=!~]", requirement)[0]


def split(runtime: str) -> tuple[str, str]:
    """(name, version or "") of `name` or `name==version`; raises `UsageError` for another runtime."""
    name, _, version = runtime.partition("==")
    if name not in PACKAGES:
        raise UsageError(f"{name!r} is no runtime", where="--runtime", remedy=nearest(name, PACKAGES))
    return name, version


def for_runtime(runtimes: Sequence[str], extras: Sequence[str] = ()) -> list[str]:
    """Requirements for all of `runtimes`, what every worker imports, and `extras` (keys of `EXTRAS`)."""
    found: list[str] = []
    for extra in extras:
        if extra not in EXTRAS:
            raise UsageError(f"{extra!r} is no extra", where="--extra", remedy=nearest(extra, EXTRAS))
        found += [package for package in EXTRAS[extra] if package not in found]
    for runtime in runtimes:
        name, version = split(runtime)
        first, *rest = PACKAGES[name]
        found += [f"{first.partition('==')[0]}=={version}" if version else first, *rest]
    named = {bare(package) for package in found}
    return [*(package for package in ALWAYS if bare(package) not in named), *found]


def backend(runtime: str) -> str:
    """The backend of a runtime's name."""
    name = split(runtime)[0]
    return "litert" if name == "tflite-runtime" else name
