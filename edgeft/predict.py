"""What a bundle sees in a user's own inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import bundle as bundles
from . import tasks
from .errors import UsageError


def predict(
    bundle: bundles.Bundle | Path | str, inputs: Sequence[str], *, top: int = 5, threads: int | None = None
) -> list[dict[str, Any]]:
    """One result per input, in order: `input`, and what the bundle's task decodes (`label`, `confidence`, `top`, ...).

    `bundle` is an opened one or its folder. All inputs are read before the first one is run, so a wrong one costs
    nothing; errors name it (`DataError`). `BundleError` for an unusable bundle, `Missing` without its runtime.
    """
    if not inputs:
        raise UsageError("no input was given", remedy="name one or more files after the bundle")
    opened = bundle if isinstance(bundle, bundles.Bundle) else bundles.open(bundle)
    task: Any = opened.task
    raws = [task.read(name, opened.preprocess) for name in inputs]
    feeds = [task.preprocess(raw, opened.preprocess) for raw in raws]
    session = opened.session(threads=threads)
    results = []
    for name, raw, feed in zip(inputs, raws, feeds):
        decoded = tasks.tell(task, session.run(feed), raw, opened.preprocess, opened.labels, top=top)
        results.append({"input": name, **decoded})
    return results
