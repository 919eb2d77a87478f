"""What a bundle sees in a user's own inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import tasks
from .bundle import reader as bundles
from .core import files, limits
from .core.errors import BundleError, DataError, UsageError
from .devices.call import call
from .devices.device import Here
from .personalize.run import session as personalized
from .report import png
from .verify import isolated

_CODE = """
from edgeft.predict import limited
answer({"predictions": limited(words[0], **options)})
"""


def apart(opened: bundles.Bundle, inputs: Sequence[str], **options: Any) -> list[dict[str, Any]]:
    """`predict` in a process of its own, with limits of memory and time; `options` are JSON values.

    Raises what `predict` raises, and `RuntimeStopped` where a signal or a limit ended the process.
    """
    job = {"inputs": list(inputs), "digest": opened.digest, **options}
    answer = call(Here(), _CODE, str(opened.path), options=job, where=opened.path)
    predictions: list[dict[str, Any]] = answer["predictions"]
    return predictions


def limited(bundle: str, inputs: Sequence[str], *, digest: str, **options: Any) -> list[dict[str, Any]]:
    """What that process does. `digest` is that of the manifest which was checked before."""
    opened = bundles.open(bundle)
    if opened.digest != digest:
        raise BundleError("the bundle was altered while it was opened", where=bundle, remedy="try it again")

    most = limits.memory(isolated.model_bytes(opened))
    limits.apply(most, limits.SECONDS)
    try:
        return predict(opened, inputs, **options)
    except MemoryError as error:
        raise isolated.out_of_memory(most, bundle) from error


def predict(
    bundle: bundles.Bundle | Path | str,
    inputs: Sequence[str],
    *,
    top: int = 5,
    threads: int | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    state: Path | str | None = None,
) -> list[dict[str, Any]]:
    """One result per input, in order: `input`, and what the bundle's task decodes (`label`, `confidence`, `top`, ...).

    Results are JSON values. With `out`, a new or empty folder, pictures that the task makes of an input (overlay and
    mask of a segmentation) are written there as PNG, and `files` names them; a task that makes none is a `UsageError`.

    What the bundle has learned on this device is used: `state` names its file, None is the one in the bundle's folder;
    results then have `version`. `bundle` is an opened one or its folder. An input that cannot be read has `input` and
    `error` (class, message, where, remedy, exit_code) in place of a prediction; where none can be read, the `DataError`
    of the first one is raised. `BundleError` for an unusable bundle or state, `Missing` without its runtime.
    """
    if not inputs:
        raise UsageError("no input was given", remedy="name one or more files after the bundle")

    opened = bundle if isinstance(bundle, bundles.Bundle) else bundles.open(bundle)
    task: Any = opened.task
    if out is not None and task.pictures is None:
        raise UsageError(f"the task {task.name} draws no pictures of its predictions", remedy="leave out --out")

    personal = personalized(opened, state, threads=threads)
    spec = personal.preprocess if personal else opened.preprocess
    loaded = _read(task, inputs, spec)
    session, labels = (
        (personal.session, personal.labels) if personal else (opened.session(threads=threads), opened.labels)
    )
    folder = None if out is None else files.claim_out(out, overwrite=overwrite)
    results: list[dict[str, Any]] = []
    for number, (name, sample) in enumerate(zip(inputs, loaded), 1):
        if isinstance(sample, DataError):
            results.append({"input": name, "error": sample.as_dict()})
            continue

        raw, feed = sample
        decoded = tasks.tell(task, session.run(feed), raw, spec, labels, top=top)
        results.append({"input": name, **{k: v for k, v in decoded.items() if not isinstance(v, np.ndarray)}})
        if personal:
            results[-1]["version"] = personal.version
        if folder is not None:
            stem = Path(name).stem if len(inputs) == 1 else f"{number:0{len(str(len(inputs)))}d}-{Path(name).stem}"
            pictures = {folder / f"{stem}.{kind}.png": value for kind, value in task.pictures(raw, decoded).items()}
            for path, pixels in pictures.items():
                files.write_bytes(path, png.encode(pixels))
            results[-1]["files"] = [str(path) for path in pictures]

    return results


def _read(task: Any, inputs: Sequence[str], spec: Any) -> list[tuple[Any, dict[str, np.ndarray]] | DataError]:
    """Each input as a raw sample and the feed of a batch of one, or the error of one that cannot be read.

    Raises the first error where no input can be read.
    """
    loaded: list[tuple[Any, dict[str, np.ndarray]] | DataError] = []
    for name in inputs:
        try:
            raw = task.read(name, spec)
            loaded.append((raw, task.preprocess(raw, spec)))
        except DataError as error:
            loaded.append(error)

    errors = [sample for sample in loaded if isinstance(sample, DataError)]
    if len(errors) == len(loaded):
        raise errors[0]

    return loaded
