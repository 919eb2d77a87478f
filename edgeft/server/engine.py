"""The model behind a server: the bundle, its runtime session, and the answer to a request. One thread owns it.

Files of a request are written into a private temporary folder, since every task reads its inputs from files, and are
removed with the answer. Errors name the input as the client calls it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from ..bundle.reader import Bundle
from ..core.errors import DataError, EdgeftError
from ..personalize import state as states
from ..predict import Loaded, Predictor, predictor, raise_if_none, sample
from .body import Input

#: what a file's ending may be to be kept; readers look at it
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


class Engine:
    """Answers requests with a bundle. Not for several threads at once: the server gives it one of its own.

    `name` is how answers call the bundle, `state` the file of a personalization (None: the one in the bundle's folder),
    `threads` those of the runtime (None: as exported).
    """

    def __init__(self, bundle: Bundle, name: str, *, state: Path | None = None, threads: int | None = None) -> None:
        self.bundle, self.name, self._state, self._threads = bundle, name, state, threads
        self._predictor: Predictor | None = None
        self._learned: tuple[int, ...] | None = None

    def open(self) -> None:
        """Load the model, and again where its state on this device has changed since.

        Raises `BundleError` for a bundle or state that cannot be used, `Missing` without the runtime.
        """
        learned = _stamp(states.place(self.bundle, self._state))
        if self._predictor is None or learned != self._learned:
            self._predictor = predictor(self.bundle, state=self._state, threads=self._threads)
            self._learned = learned

    def answer(self, inputs: Sequence[Input]) -> dict[str, Any]:
        """What `edgeft predict --json` prints for these inputs: `bundle` and `predictions`, one an input, in order.

        Raises the first input's `DataError` where none can be read, and what `open` raises.
        """
        self.open()
        assert self._predictor is not None
        model = self._predictor
        with tempfile.TemporaryDirectory(prefix="edgeft-serve-") as folder:
            loaded = [self._load(model, each, Path(folder) / str(number)) for number, each in enumerate(inputs)]
            raise_if_none(loaded)
            results = [model.result(each.name, read)[0] for each, read in zip(inputs, loaded)]
        return {"bundle": self.name, "predictions": results}

    def _load(self, model: Predictor, each: Input, place: Path) -> Loaded:
        if isinstance(each.content, str):
            if model.task.parse is None:
                remedy = "send the file itself: curl --data-binary @FILE URL/predict"
                problem = f"the task {model.task.name} reads files, not words"
                return DataError(problem, where=each.name[:80], remedy=remedy)
            return sample(partial(model.task.parse, each.content, model.spec), model.task, model.spec)

        suffix = PurePath(each.name).suffix
        path = place.with_suffix(suffix if _SUFFIX.fullmatch(suffix) else "")
        path.write_bytes(each.content)

        try:
            loaded = sample(partial(model.task.read, str(path), model.spec), model.task, model.spec)
        except EdgeftError as error:
            raise _renamed(error, str(path), each.name) from error

        return _renamed(loaded, str(path), each.name) if isinstance(loaded, DataError) else loaded


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _renamed(error: EdgeftError, path: str, name: str) -> Any:
    """The same error, with the client's name of the input in the place of our file."""
    texts = [error.message, error.where, error.remedy]
    for place in (path, path[:80]):  # readers shorten what may be a long text
        texts = [text.replace(place, name) for text in texts]
    return type(error)(texts[0], where=texts[1], remedy=texts[2])
