"""The predictions of a bundle for a user's inputs."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import tasks
from .backends import Session
from .bundle import reader as bundles
from .core import files, limits
from .core.errors import BundleError, DataError, UsageError
from .devices.call import call
from .devices.device import Here
from .inputs.batches import in_batches, row_by_row
from .personalize.run import Personal
from .personalize.run import session as personalized
from .report import png
from .verify import isolated

#: a raw sample and its feed, or the error of an input that cannot be read
Loaded = tuple[Any, dict[str, np.ndarray]] | DataError

#: what stands for standard input, and the bytes that are read of it
STANDARD_INPUT, MOST_BYTES = "-", 1 << 28

_CODE = """
from edgeft.predict import limited
answer({"predictions": limited(words[0], **options)})
"""


def apart(opened: bundles.Bundle, inputs: Sequence[str], **options: Any) -> list[dict[str, Any]]:
    """`predict` in a process of its own, with limits of memory and time; `options` are JSON values. It has no standard
    input.

    Raises what `predict` raises, and `RuntimeStopped` where a signal or a limit ended the process.
    """
    if STANDARD_INPUT in inputs:
        remedy = "write it into a file, and name that"
        raise UsageError("standard input does not go with --untrusted", where=STANDARD_INPUT, remedy=remedy)

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


@dataclass(frozen=True)
class Predictor:
    """A bundle with its session open, for one thread at a time. `version`: of the personalized state, or None."""

    task: Any
    session: Session
    spec: Mapping[str, Any]
    labels: Sequence[str]
    version: int | None

    def result(self, name: str, loaded: Loaded, *, top: int = 5) -> tuple[dict[str, Any], dict[str, Any]]:
        """The result of one input as JSON values, and all that the task decoded, arrays too (of an error: nothing)."""
        if isinstance(loaded, DataError):
            return {"input": name, "error": loaded.as_dict()}, {}
        raw, feed = loaded
        run = in_batches if self.task.windows_of is None else row_by_row  # one window at a time, as run.py does
        decoded = tasks.tell(self.task, run(self.session, feed), raw, self.spec, self.labels, top=top)
        values = {key: value for key, value in decoded.items() if not isinstance(value, np.ndarray)}
        version = {} if self.version is None else {"version": self.version}
        return {"input": name, **values, **version}, decoded


def predictor(bundle: bundles.Bundle, *, state: Path | str | None = None, threads: int | None = None) -> Predictor:
    """The bundle's model in its runtime, with its state on this device; raises as `predict` does."""
    return _opened(bundle, personalized(bundle, state, threads=threads), threads)


def _opened(bundle: bundles.Bundle, personal: Personal | None, threads: int | None) -> Predictor:
    if personal:
        return Predictor(bundle.task, personal.session, personal.preprocess, personal.labels, personal.version)
    return Predictor(bundle.task, bundle.session(threads=threads), bundle.preprocess, bundle.labels, None)


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
    """One result per input (of a table with several rows: per row), in order: `input`, and what the bundle's task
    decodes (`label`, `confidence`, `top`, ...).

    Results are JSON values. With `out`, a new or empty folder, what the task makes of an input (overlay and mask of a
    segmentation as PNG, arrays as .npy) is written there, and `files` names it; a task that makes none is a
    `UsageError`.

    The bundle's state on this device is used: `state` names its file, None is the one in the bundle's folder;
    results then have `version`. `bundle` is an opened one or its folder. An input that cannot be read has `input` and
    `error` (class, message, where, remedy, exit_code) in place of a prediction; where none can be read, the `DataError`
    of the first one is raised. `BundleError` for an unusable bundle or state, `Missing` without its runtime.
    """
    if not inputs:
        raise UsageError("no input was given", remedy="name one or more files after the bundle")

    opened = bundle if isinstance(bundle, bundles.Bundle) else bundles.open(bundle)
    task: Any = opened.task
    if out is not None and task.pictures is None and task.arrays is None:
        raise UsageError(f"the task {task.name} has no files of its predictions", remedy="leave out --out")

    # Inputs are read before the runtime opens the model, since they are wrong more often.
    personal = personalized(opened, state, threads=threads)
    spec = personal.preprocess if personal else opened.preprocess
    samples = [entry for name in inputs for entry in _samples(name, task, spec)]
    inputs, loaded = [name for name, _ in samples], [each for _, each in samples]
    raise_if_none(loaded)
    model = _opened(opened, personal, threads)
    folder = None if out is None else files.claim_out(out, overwrite=overwrite)
    results: list[dict[str, Any]] = []

    for number, (name, each) in enumerate(zip(inputs, loaded), 1):
        result, decoded = model.result(name, each, top=top)
        results.append(result)
        if folder is not None and not isinstance(each, DataError):
            stem = Path(name).stem if len(inputs) == 1 else f"{number:0{len(str(len(inputs)))}d}-{Path(name).stem}"
            content = _files_of(task, each[0], decoded)
            for name_of_file, written in content.items():
                files.write_bytes(folder / f"{stem}.{name_of_file}", written)
            results[-1]["files"] = [str(folder / f"{stem}.{name_of_file}") for name_of_file in content]

    if task.relate is not None:
        task.relate([result for result in results if "error" not in result])

    return results


def _samples(name: str, task: Any, spec: Mapping[str, Any]) -> list[tuple[str, Loaded]]:
    """What an input holds: one sample, or each row of a table that has several, by line; "-" is standard input."""
    if name == STANDARD_INPUT:
        return _of_standard_input(task, spec)

    try:
        rows = task.rows(name, spec) if task.rows is not None else []
    except DataError as error:
        return [(name, error)]

    if not rows:
        return [(name, sample(partial(task.read, name, spec), task, spec))]

    samples: list[tuple[str, Loaded]] = []
    for line, raw in rows:
        loaded = sample(partial(_same, raw), task, spec)
        samples.append((line, _placed(loaded, line)))

    return samples


def _of_standard_input(task: Any, spec: Mapping[str, Any]) -> list[tuple[str, Loaded]]:
    """A table's rows, or a text or row of numbers a line, as standard input has them; named as lines of "-".

    Raises `UsageError` for a task whose inputs are files alone.
    """
    if task.rows is None and task.parse is None:
        raise UsageError(
            f"the task {task.name} reads files: standard input holds tables, texts and rows of numbers",
            where=STANDARD_INPUT,
            remedy="write the input into a file, and name it",
        )

    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"has more than {MOST_BYTES} bytes", where=STANDARD_INPUT, remedy="give it in parts")
    if not content.strip():
        raise DataError("is empty", where=STANDARD_INPUT, remedy="send a table, or a text or row a line")

    if task.rows is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            path.write_bytes(content)
            return [_renamed(entry, str(path)) for entry in _samples(str(path), task, spec)]

    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"is no UTF-8 text ({error})", where=STANDARD_INPUT) from error

    named = [(f"{STANDARD_INPUT}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    return [(name, _placed(sample(partial(task.parse, line, spec), task, spec), name)) for name, line in named]


def _placed(loaded: Loaded, where: str) -> Loaded:
    return DataError(loaded.message, where=where, remedy=loaded.remedy) if isinstance(loaded, DataError) else loaded


def _renamed(entry: tuple[str, Loaded], path: str) -> tuple[str, Loaded]:
    """An entry whose name and error say "-" in the place of `path`."""
    name, loaded = entry
    where = str(loaded.where).replace(path, STANDARD_INPUT) if isinstance(loaded, DataError) else ""
    return name.replace(path, STANDARD_INPUT), _placed(loaded, where)


def _same(raw: Any) -> Any:
    return raw


def _files_of(task: Any, raw: Any, decoded: Mapping[str, Any]) -> dict[str, bytes]:
    """{ending: content} of the files of a prediction: the task's pictures as PNG, its arrays as .npy."""
    pictures = {} if task.pictures is None else task.pictures(raw, decoded)
    arrays = {} if task.arrays is None else task.arrays(decoded)
    content = {f"{name}.png": png.encode(pixels) for name, pixels in pictures.items()}
    for name, values in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        content[f"{name}.npy"] = buffer.getvalue()
    return content


def sample(read: Callable[[], Any], task: Any, spec: Mapping[str, Any]) -> Loaded:
    """What `read` reads as a raw sample and the feed of a batch of one, or the error of one that cannot be read."""
    try:
        raw = read()
        return raw, task.preprocess(raw, spec)
    except DataError as error:
        return error


def raise_if_none(loaded: Sequence[Loaded]) -> None:
    """Raise the first error where no input could be read."""
    errors = [each for each in loaded if isinstance(each, DataError)]
    if len(errors) == len(loaded):
        raise errors[0]
