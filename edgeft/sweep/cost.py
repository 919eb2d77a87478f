"""Size and latency of a trial's model as it would be exported: quantized after training, before it is trained.

Both follow from the graph and its number format, not from what the weights will be, so that they are known in seconds,
and a model that misses its budget is not trained. The ranges come from one training sample. Test data are not touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import backends
from ..config import target as targets
from ..config.recipe import Gates
from ..config.target import Target
from ..core.errors import UsageError
from ..devices import registry
from ..devices.call import call
from ..devices.device import Device
from ..devices.speeds import unmeasured
from ..export.trial import artifact
from ..report.swept import COSTS
from ..session.session import Session

#: seconds of timing, in a process of its own
SECONDS = 2.0
_CODE = """
import numpy as np
from edgeft import backends
from edgeft.measure.latency import measure
with np.load(words[2]) as file:
    feeds = dict(file)
session = backends.get(words[0]).load(words[1], threads=1, options=options["runtime"])
session.run(feeds)
answer(measure(session.invoke, max_seconds=options["seconds"]))
"""


def needed(objectives: Sequence[str], gates: Gates) -> tuple[str, ...]:
    """The costs that have to be measured: those that are objectives, and those that the recipe's gates limit."""
    limited = {"latency": gates.latency_ms, "size": gates.size_mb}
    return tuple(name for name in COSTS if name in objectives or limited[name])


def check(
    profile: Target, costs: Sequence[str], objectives: Sequence[str], device: str = ""
) -> tuple[tuple[str, ...], Device]:
    """The costs that can be measured for a target, and where: on this machine or the device of that name.

    A latency that is a limit alone is left out where this machine is not the target: the export judges it. Raises
    `UsageError` where an objective cannot be measured, and for a device without a latency to measure; `Missing` for one
    that was never set up or does not answer.
    """
    if device and "latency" not in costs:
        raise UsageError(
            "no latency is measured in this sweep",
            where=f"--device {device}",
            remedy="add --minimize latency, or gates.latency_ms to the recipe, or leave out --device",
        )
    there = registry.get(device)
    why = unmeasured(profile, there) if "latency" in costs else ""
    if why and "latency" in objectives:
        raise UsageError(
            f"the latency on {profile.title} cannot be an objective here: {why.split(':')[0]}",
            where="--minimize latency",
            remedy="measure on a board with --device ssh://..., name --target host, or --minimize size",
        )
    return tuple(name for name in costs if name != "latency" or not why), there


def cost(session: Session, profile: Target, costs: Sequence[str], device: Device) -> dict[str, Any]:
    """{"bytes", and with the latency "p50_ms", "p95_ms", "samples"} of the session's model for a target, on `device`.

    Raises `ModelError` for a model that the converter refuses, `UsageError` for a model of several graphs, and what the
    runtime and the connection raise.
    """
    if not costs:
        return {}

    backend = backends.get(profile.backend)
    with tempfile.TemporaryDirectory(prefix="edgeft-sweep-") as folder:
        captured = session.capture(session.built.module)
        if not captured.single:
            raise UsageError("size and latency of a model of several graphs are not measured by a sweep")
        file = artifact(session, captured, profile, Path(folder))
        figures: dict[str, Any] = {"bytes": sum(Path(folder, name).stat().st_size for name in backend.files_of(file))}
        if "latency" not in costs:
            return figures

        path = Path(folder, file)
        feeds = {name: value.numpy()[:1] for name, value in zip(session.input_names, session.example)}
        np.savez(Path(folder, "feeds.npz"), **feeds)
        names = {"input_names": list(session.input_names)}
        runtime = {**names, **backend.options(), **backend.baseline_options(path), **backend.artifact_options(path)}
        there = device.carry(Path(folder))
        options = {"runtime": runtime, "seconds": SECONDS}
        words = (profile.backend, f"{there}/{file}", f"{there}/feeds.npz")
        measured = call(device, _CODE, *words, options=options, where=path)

    return {**figures, **{key: measured.get(key) for key in ("p50_ms", "p95_ms", "samples")}}


def over_budget(figures: dict[str, Any], gates: Gates) -> str:
    """The sentence that a model misses a limit of the recipe by; "" where it meets them."""
    p95, size = figures.get("p95_ms"), figures.get("bytes")
    if gates.latency_ms and p95 is not None and p95 > gates.latency_ms:
        return f"p95 {p95:.4g} ms, budget {gates.latency_ms:.4g} ms: not trained"
    if gates.size_mb and size is not None and size > gates.size_mb * 1e6:
        return f"{size / 1e6:.3g} MB, budget {gates.size_mb:.3g} MB: not trained"
    return ""


def profile_of(name: str, recipe_: Any) -> Target:
    """The target whose model is judged, in the number format that the recipe asks for."""
    return targets.requested(targets.load(name), recipe_.quantize.format, recipe_.quantize.embeddings)
